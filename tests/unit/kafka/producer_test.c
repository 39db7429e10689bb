/*
 * Every request of a transaction answered with errors of every class, on librdkafka's mock cluster. It fences
 * nobody and shows aborted records, so what is there afterwards is exactly_once_test.c's to show.
 */
#include "tests/unit/kafka/cluster.h"

enum api { PRODUCE = 0, INIT = 22, ADD_PARTITIONS = 24, ADD_OFFSETS = 25, END = 26, OFFSETS = 28 };

static struct mock mock;
static struct test_properties common;
static struct member member;

static int setup(void **state) {
        (void)state;
        mock = mock_start();
        set_property(&common, "bootstrap.servers", mock.bootstrap);
        set_property(&common, "group.id", "workers");
        set_property(&common, "fetch.wait.max.ms", "10");
        rd_kafka_mock_topic_create(mock.cluster, "jobs", 1, 1);
        rd_kafka_mock_topic_create(mock.cluster, "results", 2, 1);
        member_open(&member, &common, "jobs");
        MEMBER_UNTIL(member.count == 1, &member);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        member_close(&member);
        mock_stop(&mock);
        return 0;
}

static struct error *open_with(const char *name, const char *value, struct producer **out_producer) {
        struct test_properties properties = common;
        const char *topics[] = {"results", "jobs"};
        if (name)
                set_property(&properties, name, value);
        struct producer_options options = {.properties = view(&properties),
                                           .transactional_id = "workers-0",
                                           .client_id = "test",
                                           .start_timeout_ns = 2 * NS_PER_S,
                                           .topics = topics,
                                           .topics_count = 2};
        return producer_open(&options, out_producer);
}

static struct producer *open_producer(void) {
        struct producer *producer;
        assert_ok(open_with(NULL, NULL, &producer));
        return producer;
}

static enum producer_sent put(struct producer *producer, uint64_t *out_offset) {
        struct producer_message message = {
                .topic = "results", .has_value = true, .value = BYTES("v"), .out_offset = out_offset};
        return producer_send(producer, &message);
}

static enum producer_end finish(struct producer *producer) {
        struct producer_offset offsets = {0, 5};
        member_poll(&member);
        return producer_commit(producer, member.consumer, "jobs", &offsets, 1);
}

static const struct {
        enum api api;
        rd_kafka_resp_err_t error;
        enum producer_end end;
} answers[] = {
        {PRODUCE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, PRODUCER_COMMITTED},
        {PRODUCE, RD_KAFKA_RESP_ERR__TRANSPORT, PRODUCER_COMMITTED},
        {PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, PRODUCER_ABORTED},
        {PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, PRODUCER_ABORTED},
        {ADD_PARTITIONS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, PRODUCER_COMMITTED},
        {ADD_PARTITIONS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, PRODUCER_COMMITTED},
        {ADD_PARTITIONS, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, PRODUCER_ABORTED},
        {ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, PRODUCER_GONE},
        {ADD_OFFSETS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, PRODUCER_COMMITTED},
        {ADD_OFFSETS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, PRODUCER_COMMITTED},
        {ADD_OFFSETS, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, PRODUCER_ABORTED},
        {ADD_OFFSETS, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, PRODUCER_GONE},
        {OFFSETS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, PRODUCER_COMMITTED},
        {OFFSETS, RD_KAFKA_RESP_ERR__TRANSPORT, PRODUCER_COMMITTED},
        {OFFSETS, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, PRODUCER_FENCED},
        {OFFSETS, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, PRODUCER_FENCED},
        {OFFSETS, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, PRODUCER_FENCED},
        {OFFSETS, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, PRODUCER_ABORTED},
        {OFFSETS, RD_KAFKA_RESP_ERR_UNKNOWN, PRODUCER_ABORTED},
        {OFFSETS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, PRODUCER_GONE},
        {END, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, PRODUCER_COMMITTED},
        {END, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, PRODUCER_COMMITTED},
        {END, RD_KAFKA_RESP_ERR__TRANSPORT, PRODUCER_COMMITTED},
        {END, RD_KAFKA_RESP_ERR_UNKNOWN, PRODUCER_ABORTED},
        {END, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, PRODUCER_GONE},
        {END, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, PRODUCER_GONE},
        {END, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, PRODUCER_GONE},
};

/* A topic that was refused once is refused until its metadata comes anew: sent again, as a shard would. */
static void commit_in_the_end(struct producer *producer) {
        enum producer_end end;
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        do {
                put(producer, NULL);
                end = finish(producer);
                if ((end != PRODUCER_ABORTED && end != PRODUCER_COMMITTED) || clock_now_ns() > end_ns)
                        fail_msg("ended as %d: %s", (int)end, producer_message(producer));
        } while (end != PRODUCER_COMMITTED);
}

/* After each end but GONE the same producer commits the next transaction; after GONE another one does. */
static void test_answers(void **state) {
        struct producer *producer = open_producer();
        (void)state;
        for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
                uint64_t offset = 77777;
                rd_kafka_mock_push_request_errors(mock.cluster, (int16_t)answers[i].api, 1, answers[i].error);
                assert_int_equal(put(producer, &offset), PRODUCER_SENT);
                enum producer_end end = finish(producer);
                if (end != answers[i].end)
                        fail_msg("request %d, %s: ended as %d: %s", (int)answers[i].api,
                                 rd_kafka_err2name(answers[i].error), (int)end, producer_message(producer));
                assert_true((end == PRODUCER_COMMITTED) == (*producer_message(producer) == '\0'));
                assert_true(end != PRODUCER_COMMITTED || offset < 77777);
                rd_kafka_mock_clear_request_errors(mock.cluster, (int16_t)answers[i].api);
                if (end == PRODUCER_GONE) {
                        producer_close(producer);
                        producer = open_producer();
                }
                commit_in_the_end(producer);
        }
        producer_close(producer);
}

static void test_queue_full(void **state) {
        struct producer *producer;
        uint64_t offsets[200];
        (void)state;
        assert_ok(open_with("queue.buffering.max.messages", "10", &producer));
        for (int i = 0; i < 200; i++)
                assert_int_equal(put(producer, &offsets[i]), PRODUCER_SENT);
        assert_int_equal(finish(producer), PRODUCER_COMMITTED);
        for (int i = 1; i < 200; i++)
                assert_int_equal(offsets[i], offsets[0] + (uint64_t)i);
        producer_close(producer);
}

/* No partition given: by the key, as client_partition_of() says. */
static void test_partitioner(void **state) {
        struct producer *producer = open_producer();
        int expected[2] = {read_all(mock.bootstrap, "results", 0, "read_committed", NULL, NULL),
                           read_all(mock.bootstrap, "results", 1, "read_committed", NULL, NULL)};
        (void)state;
        for (int i = 0; i < 50; i++) {
                char key[16];
                snprintf(key, sizeof(key), "key %d", i);
                struct producer_message message = {
                        .topic = "results", .partition = -1, .has_key = true, .key = bytes_of(key)};
                expected[client_partition_of(message.key, 2)]++;
                assert_int_equal(producer_send(producer, &message), PRODUCER_SENT);
        }
        assert_int_equal(finish(producer), PRODUCER_COMMITTED);
        for (int i = 0; i < 2; i++)
                assert_int_equal(read_all(mock.bootstrap, "results", i, "read_committed", NULL, NULL),
                                 expected[i]);
        producer_close(producer);
}

/* Nothing hangs: a commit whose coordinator is away is GONE within the transaction's time and a little. */
static void test_away(void **state) {
        struct producer *producer;
        (void)state;
        assert_ok(open_with("transaction.timeout.ms", "1000", &producer));
        assert_int_equal(put(producer, NULL), PRODUCER_SENT);
        assert_int_equal(finish(producer), PRODUCER_COMMITTED);
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        put(producer, NULL);
        assert_int_equal(producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_GONE);
        assert_int_equal(put(producer, NULL), PRODUCER_BROKEN);
        producer_close(producer);
        assert_error(open_with(NULL, NULL, &producer), ERROR_NETWORK, "refused");
        rd_kafka_mock_broker_set_up(mock.cluster, 1);
        producer = open_producer();
        producer_close(producer);
}

static void test_not_opened(void **state) {
        struct producer *producer;
        (void)state;
        assert_error(open_with("no.such", "1", &producer), ERROR_USAGE, "no.such");
        assert_error(open_with("message.timeout.ms", "40000", &producer), ERROR_USAGE, "message.timeout.ms");
        rd_kafka_mock_push_request_errors(mock.cluster, INIT, 1,
                                          RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        assert_error(open_with(NULL, NULL, &producer), ERROR_USAGE, "transactional id");
        rd_kafka_mock_clear_request_errors(mock.cluster, INIT);
        assert_null(producer_close(NULL));
}

/* Its own cluster, inside of the client. */
static void test_mock_property(void **state) {
        struct test_properties properties = {.count = 0};
        struct producer *producer;
        (void)state;
        set_property(&properties, "test.mock.num.brokers", "1");
        struct producer_options options = {
                .properties = view(&properties), .transactional_id = "x", .start_timeout_ns = 20 * NS_PER_S};
        assert_ok(producer_open(&options, &producer));
        assert_int_equal(put(producer, NULL), PRODUCER_SENT);
        assert_int_equal(producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        producer_close(producer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answers),       cmocka_unit_test(test_queue_full),
                cmocka_unit_test(test_partitioner),   cmocka_unit_test(test_not_opened),
                cmocka_unit_test(test_mock_property), cmocka_unit_test(test_away),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
