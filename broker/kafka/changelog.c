/*
 * The plain consumer of librdkafka, without a group: one partition into one queue, served by callback, which
 * moves everything that has come in one go. The end is asked of a second client that reads uncommitted,
 * because a client that reads committed is told the last stable offset instead of the end (ends.h).
 * Transaction markers and records of aborted transactions are never seen, so that the end has come is told by
 * the partition's EOF, which names the position behind them.
 */
#include "broker/kafka/changelog.h"

#include "broker/base/time.h"
#include "broker/kafka/ends.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        NAME_MAX_BYTES = 249,
        SERVE_MS = 200, /* also how soon `stop` is seen when nothing comes */
        /*
         * When so much waits, 2.0.2 fetches no more and does not look again for up to a second, unless there
         * is work for the leader's thread. So that thread is asked something whenever a good part of it was
         * taken at once: the rest is then read while this is being worked on.
         */
        QUEUED_RECORDS = 20000,
        QUEUED_KBYTES = 32768,
        POKE_AT = 4, /* at a quarter of either */
        POKE_MS = 1000,
};
#define ASK_NS  (60 * NS_PER_S) /* for the ends, and for a leader that does not answer */
#define LOOK_NS (1 * NS_PER_S)  /* nothing came for so long: does the leader still answer? */

struct changelog {
        rd_kafka_t *reader, *ends;
        rd_kafka_topic_t *topic;
        rd_kafka_queue_t *queue;
        char name[NAME_MAX_BYTES + 1];
};

struct reading {
        struct changelog *changelog;
        uint32_t partition;
        uint64_t next, end; /* what has come, where it ends */
        const atomic_bool *stop;
        struct error *(*each)(void *userdata, const struct changelog_record *record);
        void *userdata;
        uint32_t served; /* in this serve */
        size_t served_bytes;
        bool poked, ended, out_of_range;
        struct error *error;
};

static const struct {
        const char *name, *value;
} settings[] = {
        {"auto.offset.reset", "error"}, /* what is out of range is decided here */
        {"fetch.message.max.bytes", "4194304"},
        {"fetch.wait.max.ms", "10"}, /* that the end has come is only told by a fetch that finds nothing */
};

static bool set_number(rd_kafka_conf_t *conf, const char *name, int value, char *text, size_t size) {
        char digits[16];
        snprintf(digits, sizeof(digits), "%d", value);
        return rd_kafka_conf_set(conf, name, digits, text, size) == RD_KAFKA_CONF_OK;
}

static struct error *client_open(const struct changelog_options *options, bool committed,
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
        set = set && set_number(conf, "queued.min.messages", QUEUED_RECORDS, text, sizeof(text)) &&
              set_number(conf, "queued.max.messages.kbytes", QUEUED_KBYTES, text, sizeof(text));
        if (!committed)
                set = set && rd_kafka_conf_set(conf, "isolation.level", "read_uncommitted", text,
                                               sizeof(text)) == RD_KAFKA_CONF_OK;
        if (set)
                return client_new(CLIENT_READER, conf, out_client);
        rd_kafka_conf_destroy(conf);
        return error_new(ERROR_USAGE, "kafka: %s", text);
}

struct error *changelog_open(const struct changelog_options *options, struct changelog **out_changelog) {
        struct changelog *changelog = calloc(1, sizeof(*changelog));
        if (!changelog)
                return error_new(ERROR_MEMORY, "no memory to read topic %s", options->topic);
        snprintf(changelog->name, sizeof(changelog->name), "%s", options->topic);
        struct error *error = client_open(options, true, &changelog->reader);
        if (!error)
                error = client_open(options, false, &changelog->ends);
        if (!error) {
                changelog->topic = rd_kafka_topic_new(changelog->reader, options->topic, NULL);
                changelog->queue = rd_kafka_queue_new(changelog->reader);
                if (!changelog->topic)
                        error = client_error((int)rd_kafka_last_error(), "topic %s", options->topic);
        }
        if (error)
                changelog_close(changelog);
        else
                *out_changelog = changelog;
        return error;
}

struct changelog *changelog_close(struct changelog *changelog) {
        if (!changelog)
                return NULL;
        if (changelog->queue)
                rd_kafka_queue_destroy(changelog->queue);
        if (changelog->topic)
                rd_kafka_topic_destroy(changelog->topic);
        if (changelog->reader)
                rd_kafka_destroy_flags(changelog->reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        if (changelog->ends)
                rd_kafka_destroy_flags(changelog->ends, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        free(changelog);
        return NULL;
}

static struct error *stopped(void) {
        struct error *error = error_new(ERROR_BUSY, "stopped");
        error->code = ECANCELED;
        return error;
}

static void take_error(struct reading *reading, const rd_kafka_message_t *message) {
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                reading->ended = message->offset >= 0 && (uint64_t)message->offset >= reading->end;
        } else if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                   message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
                reading->out_of_range = true;
        } else {
                reading->error = client_error((int)message->err, "topic %s, partition %u, offset %llu",
                                              reading->changelog->name, reading->partition,
                                              (unsigned long long)reading->next);
        }
}

static void give(struct reading *reading, const rd_kafka_message_t *message) {
        uint64_t offset = (uint64_t)message->offset;
        struct changelog_record record = {
                .offset = offset,
                .timestamp_unix_ms = rd_kafka_message_timestamp(message, NULL),
                .key = {message->key, message->key_len},
                .value = {message->payload, message->len},
                .has_value = message->payload != NULL,
        };
        reading->error = reading->each(reading->userdata, &record);
        reading->next = offset + 1;
        reading->ended = reading->next >= reading->end;
}

static void poke_leader(struct reading *reading) {
        int64_t first, end;
        const struct changelog *changelog = reading->changelog;
        bool much = reading->served >= QUEUED_RECORDS / POKE_AT ||
                    reading->served_bytes / 1024 >= QUEUED_KBYTES / POKE_AT;
        if (!much || reading->poked)
                return;
        reading->poked = true;
        rd_kafka_query_watermark_offsets(changelog->reader, changelog->name, (int32_t)reading->partition,
                                         &first, &end, POKE_MS);
}

static void take(rd_kafka_message_t *message, void *userdata) {
        struct reading *reading = userdata;
        bool over = reading->ended || reading->error || reading->out_of_range;
        if (over || message->partition != (int32_t)reading->partition)
                return;
        reading->served++;
        reading->served_bytes += message->len;
        poke_leader(reading);
        if (message->err)
                take_error(reading, message);
        else if (message->offset >= (int64_t)reading->end)
                reading->ended = true;
        else if (message->offset >= (int64_t)reading->next)
                give(reading, message);
        if (!reading->error && reading->stop && atomic_load_explicit(reading->stop, memory_order_relaxed))
                reading->error = stopped();
        if (reading->ended || reading->error || reading->out_of_range)
                rd_kafka_yield(reading->changelog->reader);
}

/* Nothing has come for a while: either transactions are open, or nobody answers. */
static struct error *look(const struct reading *reading) {
        uint64_t first, end;
        const struct changelog *changelog = reading->changelog;
        rd_kafka_poll(changelog->reader, 0);
        rd_kafka_poll(changelog->ends, 0);
        return ends_of_one(changelog->reader, changelog->name, reading->partition, ASK_NS, reading->stop,
                           &first, &end);
}

static struct error *serve(struct reading *reading) {
        struct changelog *changelog = reading->changelog;
        int64_t came_ns = clock_now_ns();
        while (!reading->ended && !reading->error && !reading->out_of_range) {
                reading->served = 0;
                reading->served_bytes = 0;
                reading->poked = false;
                if (rd_kafka_consume_callback_queue(changelog->queue, SERVE_MS, take, reading) < 0)
                        return client_error((int)rd_kafka_last_error(), "topic %s", changelog->name);
                if (reading->served > 0) {
                        came_ns = clock_now_ns();
                        continue;
                }
                if (reading->stop && atomic_load(reading->stop))
                        return stopped();
                if (clock_now_ns() - came_ns < LOOK_NS)
                        continue;
                struct error *error = look(reading);
                if (error)
                        return error;
                came_ns = clock_now_ns();
        }
        return NULL;
}

static struct error *find_ends(struct reading *reading, bool first_time) {
        const struct changelog *changelog = reading->changelog;
        uint64_t first, end;
        struct error *error = ends_of_one(changelog->ends, changelog->name, reading->partition, ASK_NS,
                                          reading->stop, &first, &end);
        if (error)
                return error;
        if (reading->next > end)
                return error_new(
                        ERROR_CORRUPT,
                        "topic %s, partition %u ends at offset %llu, but was read up to %llu before: the "
                        "topic was made anew or has lost records. If that was meant, remove the state "
                        "directory and start again; if not, restore the topic first",
                        changelog->name, reading->partition, (unsigned long long)end,
                        (unsigned long long)reading->next);
        if (first_time)
                reading->end = end;
        if (reading->next < first)
                reading->next = first;
        return NULL;
}

/* From reading->next; leaves the partition stopped and the queue without what was fetched ahead. */
static struct error *read_on(struct reading *reading) {
        struct changelog *changelog = reading->changelog;
        reading->out_of_range = false;
        if (rd_kafka_consume_start_queue(changelog->topic, (int32_t)reading->partition,
                                         (int64_t)reading->next, changelog->queue) < 0)
                return client_error((int)rd_kafka_last_error(), "topic %s, partition %u", changelog->name,
                                    reading->partition);
        struct error *error = serve(reading);
        rd_kafka_consume_stop(changelog->topic, (int32_t)reading->partition);
        return error;
}

struct error *changelog_read(struct changelog *changelog, uint32_t partition, uint64_t from_offset,
                             const atomic_bool *stop,
                             struct error *(*each)(void *userdata, const struct changelog_record *record),
                             void *userdata, uint64_t *out_next) {
        struct reading reading = {.changelog = changelog,
                                  .partition = partition,
                                  .next = from_offset,
                                  .stop = stop,
                                  .each = each,
                                  .userdata = userdata};
        struct error *error = find_ends(&reading, true);
        while (!error && reading.next < reading.end && !reading.ended) {
                error = read_on(&reading);
                if (!error)
                        error = reading.error;
                /* The log's beginning has moved away under the reading. */
                if (!error && reading.out_of_range)
                        error = find_ends(&reading, false);
        }
        if (error)
                return error;
        *out_next = reading.next > reading.end ? reading.next : reading.end;
        return NULL;
}
