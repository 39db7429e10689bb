/*
 * On librdkafka's side (2.0.2 to 2.15; rdkafka_queue.c, rdkafka_cgrp.c, rdkafka_fetcher.c):
 *   - A partition's queue whose forwarding was taken off by the application keeps it so through an assign.
 *     It is drained before each assign: an outdated record left in it would keep librdkafka from signalling,
 *     since it signals only what comes into an empty queue.
 *   - A fetched record carries a version that each assign and unassign makes outdated, so nothing that was
 *     prefetched before comes out after.
 *   - A rebalance that was not answered keeps the member in the group as long as heartbeats go (librdkafka's
 *     thread) and somebody polls (max.poll.interval.ms). That another member waits is bounded by the group's
 *     rebalance timeout, which is max.poll.interval.ms too.
 *   - Before 2.3 (#4381), destroying a client that has joined but never got an assignment is a crash with
 *     cooperative-sticky. Such a client leaves the group and is then left behind.
 *   - Closing may hang (#4187, #4528, #4724), so it has a deadline and runs on a thread of its own.
 */
#include "broker/kafka/consumer.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/kafka/deadline.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
        EVENTS_PER_POLL = 64,
        ERRORS_PER_TAKE = 16,
        METADATA_MS = 2000,
        MEMBER_ID_BYTES = 512,
        VERSION_SAFE_DESTROY = 0x020300ff,
};
#define METADATA_EVERY_NS (60 * NS_PER_S)
#define METADATA_AGAIN_NS (1 * NS_PER_S)
#define RETRY_NS          (50 * NS_PER_MS)
#define CLOSE_SLICE_MS    50

/* What outlives the consumer when closing takes too long. */
struct remains {
        rd_kafka_t *client;
        rd_kafka_topic_t *topic;
        bool never_assigned;
        int64_t end_ns;         /* of leaving the group */
        atomic_uint partitions; /* of the topic */
        pthread_t watcher;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        bool stop; /* the watcher's */
};

struct consumer {
        struct remains *remains;
        rd_kafka_t *client;
        rd_kafka_queue_t *main;
        char *topic;
        int event_fd;
        rd_kafka_queue_t *queues[CONSUMER_PARTITIONS_MAX]; /* NULL: not assigned */
        atomic_bool owned[CONSUMER_PARTITIONS_MAX];        /* the same, for other threads */
        enum consumer_event pending;                       /* ASSIGNED or REVOKED, until answered */
        bool lost_told;
        size_t owned_count;
        char member[MEMBER_ID_BYTES];          /* under which they are owned; guarded by remains->mutex */
        atomic_bool thrown_out;                /* found by another thread */
        rd_kafka_topic_partition_list_t *list; /* of `pending` */
        uint32_t partitions[CONSUMER_PARTITIONS_MAX]; /* the same */
        struct consumer_report trouble;               /* that consumer_take() met */
};

/* --- the watcher: how many partitions the topic has --- */

static bool look_up(struct remains *remains) {
        const struct rd_kafka_metadata *metadata;
        bool known = false;
        if (rd_kafka_metadata(remains->client, 0, remains->topic, &metadata, METADATA_MS) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
                return false;
        if (metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
            metadata->topics[0].partition_cnt > 0) {
                atomic_store(&remains->partitions, (unsigned)metadata->topics[0].partition_cnt);
                known = true;
        }
        rd_kafka_metadata_destroy(metadata);
        return known;
}

static struct timespec deadline_after(int64_t ns) {
        int64_t end = clock_now_ns() + ns;
        return (struct timespec){.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};
}

static void *watch(void *userdata) {
        struct remains *remains = userdata;
        pthread_mutex_lock(&remains->mutex);
        while (!remains->stop) {
                pthread_mutex_unlock(&remains->mutex);
                bool known = look_up(remains);
                struct timespec until = deadline_after(known ? METADATA_EVERY_NS : METADATA_AGAIN_NS);
                pthread_mutex_lock(&remains->mutex);
                while (!remains->stop &&
                       pthread_cond_timedwait(&remains->changed, &remains->mutex, &until) == 0)
                        ;
        }
        pthread_mutex_unlock(&remains->mutex);
        return NULL;
}

/* --- opening --- */

static struct error *client_open(const struct consumer_options *options, rd_kafka_t **out_client) {
        rd_kafka_conf_t *conf;
        char group[512] = "";
        size_t size = sizeof(group);
        struct error *error =
                client_configure(CLIENT_CONSUMER, &options->properties, options->client_id, &conf);
        if (error)
                return error;
        if (rd_kafka_conf_get(conf, "group.id", group, &size) != RD_KAFKA_CONF_OK || !*group) {
                rd_kafka_conf_destroy(conf);
                return error_new(ERROR_USAGE, "kafka property group.id is missing");
        }
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR);
        error = client_new(CLIENT_CONSUMER, conf, out_client);
        if (!error)
                rd_kafka_poll_set_consumer(*out_client);
        return error;
}

static struct remains *remains_new(rd_kafka_t *client, const char *topic) {
        struct remains *remains = calloc(1, sizeof(*remains));
        pthread_condattr_t monotonic;
        if (!remains)
                return NULL;
        remains->client = client;
        remains->never_assigned = true;
        pthread_mutex_init(&remains->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&remains->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        remains->topic = rd_kafka_topic_new(client, topic, NULL);
        if (!remains->topic || pthread_create(&remains->watcher, NULL, watch, remains) != 0) {
                if (remains->topic)
                        rd_kafka_topic_destroy(remains->topic);
                pthread_cond_destroy(&remains->changed);
                pthread_mutex_destroy(&remains->mutex);
                free(remains);
                return NULL;
        }
        return remains;
}

static void signal_on(rd_kafka_queue_t *queue, int event_fd) {
        static const uint64_t one = 1;
        rd_kafka_queue_io_event_enable(queue, event_fd, &one, sizeof(one));
}

static struct error *subscribe(struct consumer *consumer) {
        rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(topics, consumer->topic, RD_KAFKA_PARTITION_UA);
        rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->client, topics);
        rd_kafka_topic_partition_list_destroy(topics);
        return code ? client_error((int)code, "cannot subscribe to %s", consumer->topic) : NULL;
}

struct error *consumer_open(const struct consumer_options *options, struct consumer **out_consumer) {
        rd_kafka_t *client = NULL;
        struct error *error = client_open(options, &client);
        if (error)
                return error;
        struct consumer *consumer = calloc(1, sizeof(*consumer));
        char *topic = strdup(options->topic);
        struct remains *remains = consumer && topic ? remains_new(client, topic) : NULL;
        if (!remains) {
                free(topic);
                free(consumer);
                rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
                return error_new(ERROR_MEMORY, "cannot open a consumer of %s", options->topic);
        }
        consumer->remains = remains;
        consumer->client = client;
        consumer->topic = topic;
        consumer->event_fd = options->event_fd;
        consumer->main = rd_kafka_queue_get_consumer(client);
        signal_on(consumer->main, options->event_fd);
        error = subscribe(consumer);
        if (error) {
                consumer_close(consumer, NS_PER_S);
                return error;
        }
        *out_consumer = consumer;
        return NULL;
}

/* --- closing --- */

/*
 * Answers what a rebalance asks while the group is being left: everything goes. It must be asked for: a
 * client that has left answers no calls any more, and rd_kafka_assign() would wait for ever.
 */
static void leave(struct remains *remains) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(remains->client);
        rd_kafka_error_t *error = rd_kafka_consumer_close_queue(remains->client, queue);
        while (!error && !rd_kafka_consumer_closed(remains->client) && clock_now_ns() < remains->end_ns) {
                rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CLOSE_SLICE_MS);
                if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
                        remains->never_assigned = false;
                        rd_kafka_assign(remains->client, NULL);
                }
                rd_kafka_event_destroy(event);
        }
        rd_kafka_error_destroy(error); /* of a client that has failed, and so is closed */
        rd_kafka_queue_destroy(queue);
}

static void leave_and_destroy(void *userdata) {
        struct remains *remains = userdata;
        leave(remains);
        pthread_join(remains->watcher, NULL);
        rd_kafka_topic_destroy(remains->topic);
        if (!remains->never_assigned || rd_kafka_version() >= VERSION_SAFE_DESTROY)
                rd_kafka_destroy_flags(remains->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        pthread_cond_destroy(&remains->changed);
        pthread_mutex_destroy(&remains->mutex);
        free(remains);
}

static bool eager(const struct consumer *consumer) {
        const char *protocol = rd_kafka_rebalance_protocol(consumer->client);
        return protocol && strcmp(protocol, "EAGER") == 0;
}

static struct error *change(struct consumer *consumer, bool assign,
                            const rd_kafka_topic_partition_list_t *list) {
        const char *doing = assign ? "cannot take partitions" : "cannot give partitions back";
        if (eager(consumer)) {
                rd_kafka_resp_err_t code = rd_kafka_assign(consumer->client, assign ? list : NULL);
                return code ? client_error((int)code, "%s: %s", consumer->topic, doing) : NULL;
        }
        return client_error_of(assign ? rd_kafka_incremental_assign(consumer->client, list)
                                      : rd_kafka_incremental_unassign(consumer->client, list),
                               "%s: %s", consumer->topic, doing);
}

static void forget_pending(struct consumer *consumer) {
        consumer->pending = CONSUMER_NOTHING;
        consumer->lost_told = false;
        if (consumer->list)
                rd_kafka_topic_partition_list_destroy(consumer->list);
        consumer->list = NULL;
}

/* Takes nothing, gives what is asked for. */
static void decline(struct consumer *consumer, bool assign, const rd_kafka_topic_partition_list_t *list) {
        rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(1);
        error_free(change(consumer, assign, assign ? none : list));
        rd_kafka_topic_partition_list_destroy(none);
        consumer->remains->never_assigned = false;
}

/*
 * Leaves no rebalance unanswered, since leaving then asks a second time and counts one answer for both.
 * Before 2.3 it waits for the first assignment, if one is on its way (see the top).
 */
static void settle(struct consumer *consumer, int64_t end_ns) {
        char *member = rd_kafka_memberid(consumer->client);
        bool joining = member && *member && rd_kafka_version() < VERSION_SAFE_DESTROY, waiting = true;
        rd_kafka_event_t *event = NULL;
        rd_kafka_mem_free(consumer->client, member);
        if (consumer->pending != CONSUMER_NOTHING)
                decline(consumer, consumer->pending == CONSUMER_ASSIGNED, consumer->list);
        forget_pending(consumer);
        while (event || waiting) {
                if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
                        decline(consumer, rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS,
                                rd_kafka_event_topic_partition_list(event));
                rd_kafka_event_destroy(event);
                waiting = joining && consumer->remains->never_assigned && clock_now_ns() < end_ns;
                event = rd_kafka_queue_poll(consumer->main, waiting ? CLOSE_SLICE_MS : 0);
        }
}

static void drain(rd_kafka_queue_t *queue) {
        rd_kafka_message_t *message;
        while ((message = rd_kafka_consume_queue(queue, 0)))
                rd_kafka_message_destroy(message);
}

static void queue_close(struct consumer *consumer, uint32_t partition) {
        rd_kafka_queue_t *queue = consumer->queues[partition];
        if (!queue)
                return;
        consumer->queues[partition] = NULL;
        signal_on(queue, -1);
        drain(queue);
        rd_kafka_queue_destroy(queue);
}

struct consumer *consumer_close(struct consumer *consumer, int64_t limit_ns) {
        if (!consumer)
                return NULL;
        struct remains *remains = consumer->remains;
        int64_t now = clock_now_ns(), end_ns = now + limit_ns;
        pthread_mutex_lock(&remains->mutex);
        remains->stop = true;
        pthread_cond_broadcast(&remains->changed);
        pthread_mutex_unlock(&remains->mutex);
        settle(consumer, now + limit_ns / 2);
        for (uint32_t i = 0; i < CONSUMER_PARTITIONS_MAX; i++)
                queue_close(consumer, i);
        remains->end_ns = end_ns;
        signal_on(consumer->main, -1);
        rd_kafka_queue_destroy(consumer->main);
        free(consumer->topic);
        free(consumer);
        deadline_run(leave_and_destroy, remains, end_ns - clock_now_ns(), "a consumer");
        return NULL;
}

/* --- what other threads ask --- */

bool consumer_owns(const struct consumer *consumer, uint32_t partition) {
        return partition < CONSUMER_PARTITIONS_MAX && atomic_load(&consumer->owned[partition]);
}

/* The id of this member now; "" when it has none. */
static void member_id(struct consumer *consumer, char out_id[MEMBER_ID_BYTES]) {
        char *id = rd_kafka_memberid(consumer->client);
        snprintf(out_id, MEMBER_ID_BYTES, "%s", id ? id : "");
        rd_kafka_mem_free(consumer->client, id);
}

static bool is_member(struct consumer *consumer, const char *id) {
        pthread_mutex_lock(&consumer->remains->mutex);
        bool same = *id && strcmp(id, consumer->member) == 0;
        pthread_mutex_unlock(&consumer->remains->mutex);
        return same;
}

/*
 * A member that was thrown out has no id, and then the group's coordinator would take offsets without asking
 * whose they are [Kafka 3.9, GroupCoordinator.validateOffsetCommit]; one that has joined again has another
 * id, which is never given twice, and may hold on to partitions that others had meanwhile.
 */
struct rd_kafka_consumer_group_metadata_s *consumer_membership(struct consumer *consumer) {
        char before[MEMBER_ID_BYTES], after[MEMBER_ID_BYTES];
        member_id(consumer, before);
        rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(consumer->client);
        member_id(consumer, after);
        if (is_member(consumer, before) && is_member(consumer, after) &&
            !rd_kafka_assignment_lost(consumer->client))
                return metadata;
        atomic_store(&consumer->thrown_out, true);
        if (metadata)
                rd_kafka_consumer_group_metadata_destroy(metadata);
        return NULL;
}

/* --- reports --- */

static void say(struct consumer_report *report, enum consumer_event event, int code, const char *text) {
        const char *advice = client_advice(code);
        report->event = event;
        snprintf(report->message, sizeof(report->message), "kafka: %s%s%s", text, advice ? "; " : "",
                 advice ? advice : "");
}

static bool is_final(int code) {
        return code == RD_KAFKA_RESP_ERR__FATAL || code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
               code == RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL ||
               code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT ||
               code == RD_KAFKA_RESP_ERR_INVALID_GROUP_ID || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static void report_error(struct consumer *consumer, rd_kafka_event_t *event, struct consumer_report *report) {
        char text[CLIENT_TEXT_MAX];
        int code = (int)rd_kafka_event_error(event);
        const char *said = rd_kafka_event_error_string(event);
        if (rd_kafka_event_error_is_fatal(event) || code == RD_KAFKA_RESP_ERR__FATAL) {
                code = (int)rd_kafka_fatal_error(consumer->client, text, sizeof(text));
                say(report, CONSUMER_FAILED, code, text);
                return;
        }
        say(report, is_final(code) ? CONSUMER_FAILED : CONSUMER_TROUBLE, code,
            said ? said : rd_kafka_err2str((rd_kafka_resp_err_t)code));
}

static bool keep_list(struct consumer *consumer, const rd_kafka_topic_partition_list_t *list) {
        for (int i = 0; i < list->cnt; i++) {
                if (list->elems[i].partition < 0 || list->elems[i].partition >= CONSUMER_PARTITIONS_MAX)
                        return false;
                if (i < CONSUMER_PARTITIONS_MAX)
                        consumer->partitions[i] = (uint32_t)list->elems[i].partition;
        }
        if (list->cnt > CONSUMER_PARTITIONS_MAX)
                return false;
        consumer->list = rd_kafka_topic_partition_list_copy(list);
        return true;
}

static bool is_lost(struct consumer *consumer) {
        return rd_kafka_assignment_lost(consumer->client) || atomic_load(&consumer->thrown_out);
}

/* Has this member been thrown out, and joined again without giving back what it owned? librdkafka tells of it
 * unless a rebalance was under way and the member is a static one. */
static bool has_stale(struct consumer *consumer) {
        char id[MEMBER_ID_BYTES];
        if (consumer->owned_count == 0)
                return false;
        member_id(consumer, id);
        return *id && !is_member(consumer, id);
}

static void report_list(struct consumer *consumer, enum consumer_event event,
                        struct consumer_report *report) {
        consumer->lost_told |= event == CONSUMER_LOST;
        report->event = event;
        report->partitions = consumer->partitions;
        report->partitions_count = (size_t)consumer->list->cnt;
}

/* What has nothing for the shard is answered here. */
static void report_rebalance(struct consumer *consumer, rd_kafka_event_t *event,
                             struct consumer_report *report) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
        bool assign = rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        bool stale = has_stale(consumer);
        consumer->remains->never_assigned = false;
        if (!list || consumer->pending != CONSUMER_NOTHING) {
                say(report, CONSUMER_FAILED, 0, "a rebalance came while one is under way");
        } else if (assign && stale) {
                say(report, CONSUMER_FAILED, 0,
                    "thrown out of the group during a rebalance; start the worker again");
        } else if (list->cnt == 0) {
                struct error *error = change(consumer, assign, list);
                if (error)
                        say(report, CONSUMER_TROUBLE, 0, error->message);
                error_free(error);
        } else if (!keep_list(consumer, list)) {
                say(report, CONSUMER_FAILED, 0, "the topic has more partitions than this program can serve");
        } else {
                consumer->pending = assign ? CONSUMER_ASSIGNED : CONSUMER_REVOKED;
                bool lost = !assign && (stale || is_lost(consumer));
                report_list(consumer, lost ? CONSUMER_LOST : consumer->pending, report);
        }
}

static void report_event(struct consumer *consumer, rd_kafka_event_t *event, struct consumer_report *report) {
        switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_REBALANCE:
                report_rebalance(consumer, event, report);
                break;
        case RD_KAFKA_EVENT_ERROR:
                report_error(consumer, event, report);
                break;
        default: /* nothing else is asked for */
                break;
        }
        rd_kafka_event_destroy(event);
}

void consumer_poll(struct consumer *consumer, struct consumer_report *out_report) {
        struct consumer_report report = {.event = CONSUMER_NOTHING};
        if (consumer->trouble.event != CONSUMER_NOTHING) {
                report = consumer->trouble;
                consumer->trouble.event = CONSUMER_NOTHING;
        } else if (consumer->pending == CONSUMER_REVOKED && !consumer->lost_told && is_lost(consumer)) {
                report_list(consumer, CONSUMER_LOST, &report);
        }
        for (int i = 0; i < EVENTS_PER_POLL && report.event == CONSUMER_NOTHING; i++) {
                rd_kafka_event_t *event = rd_kafka_queue_poll(consumer->main, 0);
                if (!event)
                        break;
                report_event(consumer, event, &report);
        }
        *out_report = report;
}

/* --- the answers --- */

static struct error *queue_open(struct consumer *consumer, uint32_t partition) {
        rd_kafka_queue_t *queue =
                rd_kafka_queue_get_partition(consumer->client, consumer->topic, (int32_t)partition);
        if (!queue)
                return error_new(ERROR_INPUT, "%s has no partition %u", consumer->topic, partition);
        rd_kafka_queue_forward(queue, NULL);
        drain(queue);
        signal_on(queue, consumer->event_fd);
        consumer->queues[partition] = queue;
        return NULL;
}

/* The first partitions after none say as whom this member owns all that follow. */
static void note_member(struct consumer *consumer) {
        char id[MEMBER_ID_BYTES];
        member_id(consumer, id);
        pthread_mutex_lock(&consumer->remains->mutex);
        memcpy(consumer->member, id, sizeof(id));
        pthread_mutex_unlock(&consumer->remains->mutex);
        atomic_store(&consumer->thrown_out, false);
}

static void set_owned(struct consumer *consumer, bool owned) {
        for (int i = 0; i < consumer->list->cnt; i++) {
                bool was = atomic_exchange(&consumer->owned[consumer->partitions[i]], owned);
                consumer->owned_count = consumer->owned_count + (owned && !was) - (was && !owned);
        }
}

struct error *consumer_assign(struct consumer *consumer) {
        struct error *error = NULL;
        CHECK(consumer->pending == CONSUMER_ASSIGNED);
        for (int i = 0; i < consumer->list->cnt && !error; i++) {
                queue_close(consumer, consumer->partitions[i]);
                error = queue_open(consumer, consumer->partitions[i]);
        }
        if (!error && consumer->owned_count == 0)
                note_member(consumer);
        if (!error)
                error = change(consumer, true, consumer->list);
        if (!error)
                set_owned(consumer, true);
        forget_pending(consumer);
        return error;
}

struct error *consumer_unassign(struct consumer *consumer) {
        CHECK(consumer->pending == CONSUMER_REVOKED);
        set_owned(consumer, false); /* before anybody else can get them */
        struct error *error = change(consumer, false, consumer->list);
        for (int i = 0; i < consumer->list->cnt; i++)
                queue_close(consumer, consumer->partitions[i]);
        forget_pending(consumer);
        return error;
}

/* --- records --- */

static void fill_headers(rd_kafka_headers_t *headers, struct consumer_record *record) {
        struct kafka_header items[CONSUMER_HEADERS_MAX];
        const char *name;
        const void *value;
        size_t size, count = 0;
        while (count < CONSUMER_HEADERS_MAX &&
               rd_kafka_header_get_all(headers, count, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR)
                items[count++] = (struct kafka_header){bytes_of(name), {value, value ? size : 0}};
        record->headers_cut = rd_kafka_header_cnt(headers) > count;
        if (count == 0)
                return;
        record->headers_owned = malloc(count * sizeof(*items));
        if (!record->headers_owned) {
                record->headers_cut = true;
                return;
        }
        memcpy(record->headers_owned, items, count * sizeof(*items));
        record->headers = record->headers_owned;
        record->headers_count = count;
}

void consumer_record_fill(struct rd_kafka_message_s *message, struct consumer_record *out_record) {
        rd_kafka_headers_t *headers;
        *out_record = (struct consumer_record){
                .partition = (uint32_t)message->partition,
                .offset = (uint64_t)message->offset,
                .timestamp_unix_ms = rd_kafka_message_timestamp(message, NULL),
                .has_key = message->key != NULL,
                .has_value = message->payload != NULL,
                .key = {message->key, message->key_len},
                .value = {message->payload, message->len},
                .message = message,
        };
        if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
            rd_kafka_header_cnt(headers) > 0)
                fill_headers(headers, out_record);
}

void consumer_release(struct consumer_record *record) {
        if (record->message)
                rd_kafka_message_destroy(record->message);
        free(record->headers_owned);
        *record = (struct consumer_record){0};
}

static void note_trouble(struct consumer *consumer, const rd_kafka_message_t *message) {
        char text[CLIENT_TEXT_MAX];
        int code = (int)message->err;
        snprintf(text, sizeof(text), "%s partition %d: %s", consumer->topic, (int)message->partition,
                 rd_kafka_message_errstr(message));
        say(&consumer->trouble, is_final(code) ? CONSUMER_FAILED : CONSUMER_TROUBLE, code, text);
}

bool consumer_take(struct consumer *consumer, uint32_t partition, struct consumer_record *out_record) {
        rd_kafka_queue_t *queue = partition < CONSUMER_PARTITIONS_MAX ? consumer->queues[partition] : NULL;
        for (int i = 0; queue && i < ERRORS_PER_TAKE; i++) {
                rd_kafka_message_t *message = rd_kafka_consume_queue(queue, 0);
                if (!message)
                        return false;
                if (!message->err) {
                        consumer_record_fill(message, out_record);
                        return true;
                }
                if (message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
                        note_trouble(consumer, message);
                rd_kafka_message_destroy(message);
        }
        return false;
}

/* --- offsets --- */

uint64_t consumer_log_end(const struct consumer *consumer, uint32_t partition) {
        int64_t low, high;
        if (rd_kafka_get_watermark_offsets(consumer->client, consumer->topic, (int32_t)partition, &low,
                                           &high) != RD_KAFKA_RESP_ERR_NO_ERROR)
                return 0;
        return high > 0 ? (uint64_t)high : 0;
}

uint32_t consumer_partitions(const struct consumer *consumer) {
        return atomic_load(&consumer->remains->partitions);
}

static bool passes(rd_kafka_resp_err_t code) {
        return code == RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT || code == RD_KAFKA_RESP_ERR__WAIT_COORD ||
               code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR_NOT_COORDINATOR ||
               code == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
               code == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
               code == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
}

struct error *consumer_committed(struct consumer *consumer, uint32_t partition, int64_t timeout_ns,
                                 uint64_t *out_offset, bool *out_found) {
        static const struct timespec pause = {.tv_nsec = RETRY_NS};
        int64_t end_ns = clock_now_ns() + timeout_ns, left;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_t *item =
                rd_kafka_topic_partition_list_add(list, consumer->topic, (int32_t)partition);
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
        while ((left = end_ns - clock_now_ns()) > 0) {
                rd_kafka_resp_err_t now = rd_kafka_committed(consumer->client, list, (int)(left / NS_PER_MS));
                if (!now)
                        now = item->err;
                if (now != RD_KAFKA_RESP_ERR__TIMED_OUT)
                        code = now; /* what it waited for says more than that it waited */
                if (!passes(now))
                        break;
                nanosleep(&pause, NULL);
        }
        int64_t offset = item->offset;
        rd_kafka_topic_partition_list_destroy(list);
        if (code)
                return client_error((int)code, "cannot read the offset of %s partition %u", consumer->topic,
                                    partition);
        *out_found = offset >= 0;
        *out_offset = offset >= 0 ? (uint64_t)offset : 0;
        return NULL;
}
