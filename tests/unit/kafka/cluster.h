#pragma once
/*
 * What the tests of the Kafka adapters share: properties, a shard reduced to its rebalances, records sent and
 * read without the code under test, and a mock cluster. Included by one .c file per test program.
 */
#include "broker/base/time.h"
#include "broker/kafka/producer.h"

#ifdef __SANITIZE_THREAD__
#include "tests/unit/kafka/tsan_threads.h"
#endif

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PROPERTIES_MAX = 16, TEST_WAIT_S = 40, MEMBERS_MAX = 3 };

struct test_properties {
        struct kafka_property items[PROPERTIES_MAX];
        size_t count;
};

static inline void set_property(struct test_properties *properties, const char *name, const char *value) {
        assert_true(properties->count < PROPERTIES_MAX);
        properties->items[properties->count++] = (struct kafka_property){name, value};
}

static inline struct kafka_properties view(const struct test_properties *properties) {
        return (struct kafka_properties){properties->items, properties->count};
}

static inline void assert_ok(struct error *error) {
        if (error)
                fail_msg("%s", error->message);
}

static inline void assert_error(struct error *error, enum error_class kind, const char *words) {
        assert_non_null(error);
        if (error->kind != kind || !strstr(error->message, words))
                fail_msg("wanted %d \"%s\", got %d \"%s\"", (int)kind, words, (int)error->kind,
                         error->message);
        error_free(error);
}

/* --- the mock cluster --- */

struct mock {
        rd_kafka_t *owner;
        rd_kafka_mock_cluster_t *cluster;
        const char *bootstrap;
};

static inline struct mock mock_start(void) {
        char text[256];
        struct mock mock;
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(conf, NULL);
        mock.owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        assert_non_null(mock.owner);
        mock.cluster = rd_kafka_mock_cluster_new(mock.owner, 1);
        assert_non_null(mock.cluster);
        mock.bootstrap = rd_kafka_mock_cluster_bootstraps(mock.cluster);
        return mock;
}

static inline void mock_stop(struct mock *mock) {
        rd_kafka_mock_cluster_destroy(mock->cluster);
        rd_kafka_destroy(mock->owner);
}

/* --- records, by librdkafka alone --- */

static inline rd_kafka_t *plain_client(rd_kafka_type_t type, const char *bootstrap, const char *isolation) {
        char text[256];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(conf, NULL);
        rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
        if (type == RD_KAFKA_CONSUMER) {
                rd_kafka_conf_set(conf, "group.id", "plain", NULL, 0);
                rd_kafka_conf_set(conf, "isolation.level", isolation, NULL, 0);
                rd_kafka_conf_set(conf, "enable.partition.eof", "true", NULL, 0);
                rd_kafka_conf_set(conf, "enable.auto.commit", "false", NULL, 0);
                rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", NULL, 0);
        } else {
                rd_kafka_conf_set(conf, "linger.ms", "1", NULL, 0);
                rd_kafka_conf_set(conf, "batch.num.messages", "100", NULL, 0);
        }
        rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof(text));
        if (!client)
                fail_msg("%s", text);
        return client;
}

/* Values "from" to "to"-1, as text. */
static inline void fill(const char *bootstrap, const char *topic, int32_t partition, int from, int to) {
        rd_kafka_t *client = plain_client(RD_KAFKA_PRODUCER, bootstrap, NULL);
        for (int i = from; i < to; i++) {
                char value[16];
                snprintf(value, sizeof(value), "%d", i);
                rd_kafka_resp_err_t code =
                        rd_kafka_producev(client, RD_KAFKA_VTYPE_TOPIC, topic, RD_KAFKA_VTYPE_PARTITION,
                                          partition, RD_KAFKA_VTYPE_VALUE, value, strlen(value),
                                          RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_END);
                assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
        }
        assert_int_equal(rd_kafka_flush(client, TEST_WAIT_S * 1000), RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_destroy(client);
}

/* Calls `each` for every record of a partition, up to its end. Gives the number. */
static inline int read_all(const char *bootstrap, const char *topic, int32_t partition, const char *isolation,
                           void (*each)(const rd_kafka_message_t *message, void *userdata), void *userdata) {
        rd_kafka_t *client = plain_client(RD_KAFKA_CONSUMER, bootstrap, isolation);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        int count = 0;
        rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
        assert_int_equal(rd_kafka_assign(client, list), RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_topic_partition_list_destroy(list);
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        for (bool ended = false; !ended;) {
                assert_true(clock_now_ns() < end_ns);
                rd_kafka_message_t *message = rd_kafka_consumer_poll(client, 100);
                if (!message)
                        continue;
                ended = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
                if (!message->err && each)
                        each(message, userdata);
                count += !message->err;
                rd_kafka_message_destroy(message);
        }
        rd_kafka_destroy(client);
        return count;
}

/* --- a shard without an engine --- */

struct member {
        struct consumer *consumer;
        int event_fd;
        bool mine[CONSUMER_PARTITIONS_MAX];
        size_t count;      /* of `mine` */
        bool hold_revoked; /* answer REVOKED later, with member_answer() */
        bool revoked, lost, failed, troubled;
        uint32_t going[CONSUMER_PARTITIONS_MAX];
        size_t going_count;
        int assigned_reports, revoked_reports, lost_reports;
        size_t lost_partitions;
        char message[CONSUMER_MESSAGE_MAX];
};

static inline void member_open(struct member *member, const struct test_properties *properties,
                               const char *topic) {
        memset(member, 0, sizeof(*member));
        member->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        struct consumer_options options = {.properties = view(properties),
                                           .topic = topic,
                                           .client_id = "test",
                                           .event_fd = member->event_fd};
        assert_ok(consumer_open(&options, &member->consumer));
}

static inline void member_close(struct member *member) {
        member->consumer = consumer_close(member->consumer, 10 * NS_PER_S);
        close(member->event_fd);
}

static inline void member_answer(struct member *member) {
        assert_true(member->revoked || member->lost);
        member->revoked = member->lost = false;
        for (size_t i = 0; i < member->going_count; i++) {
                member->count -= member->mine[member->going[i]];
                member->mine[member->going[i]] = false;
        }
        assert_ok(consumer_unassign(member->consumer));
}

static inline void member_keep(struct member *member, const struct consumer_report *report) {
        member->going_count = report->partitions_count;
        memcpy(member->going, report->partitions, report->partitions_count * sizeof(uint32_t));
}

static inline void member_take_over(struct member *member, const struct consumer_report *report) {
        member->assigned_reports++;
        for (size_t i = 0; i < report->partitions_count; i++) {
                assert_false(member->mine[report->partitions[i]]);
                member->mine[report->partitions[i]] = true;
                member->count++;
        }
        assert_ok(consumer_assign(member->consumer));
}

static inline void member_poll(struct member *member) {
        struct consumer_report report;
        consumer_poll(member->consumer, &report);
        if (*report.message)
                snprintf(member->message, sizeof(member->message), "%s", report.message);
        switch (report.event) {
        case CONSUMER_NOTHING:
                break;
        case CONSUMER_ASSIGNED:
                member_take_over(member, &report);
                break;
        case CONSUMER_REVOKED:
                member->revoked_reports++;
                member->revoked = true;
                member_keep(member, &report);
                if (!member->hold_revoked)
                        member_answer(member);
                break;
        case CONSUMER_LOST:
                member->lost_reports++;
                member->lost_partitions += report.partitions_count;
                member->lost = true;
                member_keep(member, &report);
                member_answer(member);
                break;
        case CONSUMER_FAILED:
                member->failed = true;
                break;
        case CONSUMER_TROUBLE:
                member->troubled = true;
                break;
        }
}

/* Polls until the condition holds; fails the test after a while. */
#define MEMBER_UNTIL(condition, ...)                                                                         \
        do {                                                                                                 \
                struct member *until_members[] = {__VA_ARGS__};                                              \
                int64_t macro_end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;                              \
                while (!(condition)) {                                                                       \
                        if (clock_now_ns() > macro_end_ns)                                                   \
                                fail_msg("waited %d s for " #condition, TEST_WAIT_S);                        \
                        for (size_t until_i = 0; until_i < sizeof(until_members) / sizeof(*until_members);   \
                             until_i++)                                                                      \
                                member_poll(until_members[until_i]);                                         \
                        poll(NULL, 0, 2);                                                                    \
                }                                                                                            \
        } while (0)

/* Takes the next record of a partition, waiting for it. */
static inline void member_take(struct member *member, uint32_t partition,
                               struct consumer_record *out_record) {
        MEMBER_UNTIL(consumer_take(member->consumer, partition, out_record), member);
}

static inline bool value_is(struct bytes value, int number) {
        char text[16];
        snprintf(text, sizeof(text), "%d", number);
        return bytes_equal_string(value, text);
}
