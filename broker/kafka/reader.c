/*
 * The plain consumer of librdkafka, without a group: all partitions into one queue, so its bounds on what is
 * read ahead (queued.min.messages, queued.max.messages.kbytes) hold for all of them together. A partition is
 * at its end when a record there or behind it has come, or the EOF event, which names the position behind
 * markers and aborted records.
 */
#include "broker/kafka/reader.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/kafka/ends.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_NS      (30 * NS_PER_S)
#define LOOK_NS     (5 * NS_PER_S)  /* nothing came for so long: does anybody answer? */
#define PATIENCE_NS (60 * NS_PER_S) /* nobody did */
#define GROWN_NS    (10 * NS_PER_S) /* between looks for new partitions */
#define EACH_NS     (100 * NS_PER_MS)
enum { NAME_MAX_BYTES = 249, PARTITIONS_MAX = 100000 };

struct part {
        uint64_t start, next, end;
        bool started, ended;
};

struct reader {
        rd_kafka_t *client;
        rd_kafka_topic_t *topic;
        rd_kafka_queue_t *queue;
        struct part *parts;
        uint32_t count, open; /* open: not yet at their end */
        bool follow, unanswered;
        int64_t came_ns, answered_ns, grown_ns;
        struct error *error;
        char name[NAME_MAX_BYTES + 1];
};

static const struct {
        const char *name, *value;
} settings[] = {
        {"auto.offset.reset", "earliest"}, /* what retention took away under the reading is passed over */
        {"queued.min.messages", "100000"},
        {"queued.max.messages.kbytes", "65536"},
};

static struct error *client_open(const struct reader_options *options, bool committed,
                                 rd_kafka_t **out_client) {
        rd_kafka_conf_t *conf;
        char text[256];
        struct error *error =
                client_configure(CLIENT_READER, &options->properties, options->client_id, &conf);
        if (error)
                return error;
        bool set = true;
        for (size_t i = 0; i < sizeof(settings) / sizeof(*settings) && set; i++)
                set = rd_kafka_conf_set(conf, settings[i].name, settings[i].value, text, sizeof(text)) ==
                      RD_KAFKA_CONF_OK;
        if (!committed)
                set = set && rd_kafka_conf_set(conf, "isolation.level", "read_uncommitted", text,
                                               sizeof(text)) == RD_KAFKA_CONF_OK;
        if (set)
                return client_new(CLIENT_READER, conf, out_client);
        rd_kafka_conf_destroy(conf);
        return error_new(ERROR_USAGE, "kafka: %s", text);
}

static struct error *ask_ends(const struct reader_options *options, struct reader *reader, int64_t *offsets) {
        rd_kafka_t *client = reader->client;
        struct error *error = NULL;
        if (options->wait_open)
                error = client_open(options, false, &client);
        if (!error)
                error = ends_of_all(client, options->topic, reader->count, ENDS_LAST, ASK_NS, NULL, offsets);
        if (client && client != reader->client)
                rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return error;
}

static void place_parts(const struct reader_options *options, struct reader *reader, const int64_t *first,
                        const int64_t *last) {
        CHECK(reader->parts && first && last);
        for (uint32_t i = 0; i < reader->count; i++) {
                struct part *part = &reader->parts[i];
                part->end = last[i] < 0 ? 0 : (uint64_t)last[i];
                /* Nothing since that time: nothing to read. */
                part->start = first[i] < 0 ? part->end : (uint64_t)first[i];
                if (options->only && i == options->only_partition && options->only_offset > part->start)
                        part->start = options->only_offset;
                part->next = part->start;
                part->ended = (options->only && i != options->only_partition) ||
                              (!reader->follow && part->start >= part->end);
                reader->open += part->ended ? 0 : 1;
        }
}

static struct error *find_parts(const struct reader_options *options, struct reader *reader) {
        struct error *error = ends_partitions(reader->client, options->topic, ASK_NS, NULL, &reader->count);
        if (error)
                return error;
        if (reader->count > PARTITIONS_MAX)
                return error_new(ERROR_INPUT, "topic %s has more than %d partitions", options->topic,
                                 PARTITIONS_MAX);
        if (options->only && options->only_partition >= reader->count)
                return error_new(ERROR_USAGE, "topic %s has no partition %u, only 0 to %u", options->topic,
                                 options->only_partition, reader->count - 1);
        reader->parts = calloc(reader->count, sizeof(*reader->parts));
        int64_t *first = calloc(reader->count, sizeof(*first)), *last = calloc(reader->count, sizeof(*last));
        if (!reader->parts || !first || !last)
                error = error_new(ERROR_MEMORY, "no memory to read topic %s", options->topic);
        if (!error)
                error = ask_ends(options, reader, last);
        if (!error)
                error = ends_of_all(reader->client, options->topic, reader->count,
                                    options->since_unix_ms > 0 ? options->since_unix_ms : ENDS_FIRST, ASK_NS,
                                    NULL, first);
        if (!error)
                place_parts(options, reader, first, last);
        free(first);
        free(last);
        return error;
}

static struct error *start_part(struct reader *reader, uint32_t partition) {
        struct part *part = &reader->parts[partition];
        if (part->ended || part->started)
                return NULL;
        if (rd_kafka_consume_start_queue(reader->topic, (int32_t)partition, (int64_t)part->next,
                                         reader->queue) < 0)
                return client_error((int)rd_kafka_last_error(), "topic %s, partition %u", reader->name,
                                    partition);
        part->started = true;
        return NULL;
}

static struct error *start(struct reader *reader) {
        struct error *error = NULL;
        reader->topic = rd_kafka_topic_new(reader->client, reader->name, NULL);
        reader->queue = rd_kafka_queue_new(reader->client);
        if (!reader->topic)
                return client_error((int)rd_kafka_last_error(), "topic %s", reader->name);
        for (uint32_t i = 0; i < reader->count && !error; i++)
                error = start_part(reader, i);
        reader->came_ns = reader->answered_ns = reader->grown_ns = clock_now_ns();
        return error;
}

struct error *reader_open(const struct reader_options *options, struct reader **out_reader) {
        struct reader *reader = calloc(1, sizeof(*reader));
        if (!reader)
                return error_new(ERROR_MEMORY, "no memory to read topic %s", options->topic);
        snprintf(reader->name, sizeof(reader->name), "%s", options->topic);
        reader->follow = options->follow;
        struct error *error = client_open(options, true, &reader->client);
        if (!error)
                error = find_parts(options, reader);
        if (!error)
                error = start(reader);
        if (error)
                reader_close(reader);
        else
                *out_reader = reader;
        return error;
}

struct reader *reader_close(struct reader *reader) {
        if (!reader)
                return NULL;
        for (uint32_t i = 0; i < reader->count && reader->parts; i++)
                if (reader->parts[i].started)
                        rd_kafka_consume_stop(reader->topic, (int32_t)i);
        if (reader->queue)
                rd_kafka_queue_destroy(reader->queue);
        if (reader->topic)
                rd_kafka_topic_destroy(reader->topic);
        if (reader->client)
                rd_kafka_destroy_flags(reader->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        error_free(reader->error);
        free(reader->parts);
        free(reader);
        return NULL;
}

/* Everything below `next` has come. */
static void reach(struct reader *reader, struct part *part, uint64_t next) {
        if (!reader->follow && next > part->end)
                next = part->end;
        if (next > part->next)
                part->next = next;
        if (reader->follow || part->ended || part->next < part->end)
                return;
        part->ended = true;
        reader->open--;
}

/* A partition that did not exist when the reader was opened is read from its beginning. */
static struct error *grow(struct reader *reader) {
        uint32_t count;
        reader->grown_ns = clock_now_ns();
        struct error *error = ends_partitions(reader->client, reader->name, NS_PER_S, NULL, &count);
        reader->unanswered = error && error->kind == ERROR_NETWORK;
        /* Not answered: there is another time. */
        if (error || count <= reader->count || count > PARTITIONS_MAX)
                return error_free(error);
        struct part *parts = realloc(reader->parts, count * sizeof(*parts));
        if (!parts)
                return error_new(ERROR_MEMORY, "no memory to read topic %s", reader->name);
        memset(parts + reader->count, 0, (count - reader->count) * sizeof(*parts));
        reader->parts = parts;
        while (reader->count < count && !error) {
                error = start_part(reader, reader->count++);
                reader->open++;
        }
        return error;
}

/* Whether anybody is there. */
static struct error *look(struct reader *reader) {
        uint32_t partition = 0;
        uint64_t first, end;
        int64_t now_ns = clock_now_ns();
        rd_kafka_poll(reader->client, 0);
        if (reader->follow && now_ns - reader->grown_ns > GROWN_NS)
                return grow(reader);
        if (reader->follow || now_ns - reader->came_ns < LOOK_NS)
                return NULL;
        while (partition + 1 < reader->count && reader->parts[partition].ended)
                partition++;
        struct error *error =
                ends_of_one(reader->client, reader->name, partition, NS_PER_S, NULL, &first, &end);
        reader->came_ns = now_ns;
        reader->unanswered = error && error->kind == ERROR_NETWORK;
        if (!error)
                reader->answered_ns = now_ns;
        if (!error || now_ns - reader->answered_ns > PATIENCE_NS)
                return error;
        return error_free(error);
}

/* false: the message is no record to be given out. Takes the message. */
static bool take(struct reader *reader, rd_kafka_message_t *message, struct consumer_record *out_record) {
        bool known = message->partition >= 0 && (uint32_t)message->partition < reader->count;
        struct part *part = known ? &reader->parts[message->partition] : NULL;
        uint64_t offset = message->offset < 0 ? 0 : (uint64_t)message->offset;
        bool give = false;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                if (part)
                        reach(reader, part, offset);
        } else if (message->err) {
                reader->error = client_error((int)message->err, "topic %s, partition %d", reader->name,
                                             (int)message->partition);
        } else if (part && !part->ended) {
                give = reader->follow || offset < part->end;
                reach(reader, part, offset + 1);
        }
        if (give)
                consumer_record_fill(message, out_record);
        else
                rd_kafka_message_destroy(message);
        return give;
}

enum reader_outcome reader_next(struct reader *reader, int64_t timeout_ns,
                                struct consumer_record *out_record) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        for (;;) {
                if (reader->error)
                        return READER_FAILED;
                if (!reader->follow && reader->open == 0)
                        return READER_END;
                int64_t left_ms = (end_ns - clock_now_ns()) / NS_PER_MS;
                rd_kafka_message_t *message =
                        rd_kafka_consume_queue(reader->queue, left_ms > 0 ? (int)left_ms : 0);
                if (message) {
                        reader->came_ns = reader->answered_ns = clock_now_ns();
                        reader->unanswered = false;
                        if (take(reader, message, out_record))
                                return READER_RECORD;
                        continue;
                }
                reader->error = look(reader);
                if (!reader->error && clock_now_ns() >= end_ns)
                        return READER_LATER;
        }
}

struct error *reader_each(struct reader *reader, bool (*stops)(void *userdata),
                          struct error *(*each)(void *userdata, const struct consumer_record *record),
                          void *userdata) {
        struct error *error = NULL;
        bool end = false;
        while (!error && !end && !(stops && stops(userdata))) {
                struct consumer_record record;
                switch (reader_next(reader, EACH_NS, &record)) {
                case READER_RECORD:
                        error = each(userdata, &record);
                        consumer_release(&record);
                        break;
                case READER_END:
                        end = true;
                        break;
                case READER_LATER:
                        break;
                case READER_FAILED:
                        error = reader_error(reader);
                        break;
                }
        }
        return error;
}

struct error *reader_error(struct reader *reader) {
        struct error *error = reader->error;
        reader->error = NULL;
        return error ? error : error_new(ERROR_NETWORK, "topic %s: reading has ended", reader->name);
}

bool reader_unanswered(const struct reader *reader) {
        return reader->unanswered;
}

uint32_t reader_partitions(const struct reader *reader) {
        return reader->count;
}

void reader_progress(const struct reader *reader, uint64_t *out_read, uint64_t *out_total) {
        uint64_t read = 0, total = 0;
        for (uint32_t i = 0; i < reader->count; i++) {
                const struct part *part = &reader->parts[i];
                read += part->next - part->start;
                total += part->end > part->start && (part->started || part->ended) ? part->end - part->start
                                                                                   : 0;
        }
        *out_read = read;
        *out_total = total;
}
