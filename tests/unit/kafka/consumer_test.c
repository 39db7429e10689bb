/*
 * The consumer on librdkafka's mock cluster, with one member only: the mock refuses the member that syncs
 * after the leader has, and forgets its next join [librdkafka 2.0.2, seen with debug=mock]. Groups of several
 * and all that only a real broker does are in exactly_once_test.c.
 */
#include "tests/unit/kafka/cluster.h"

static struct mock mock;
static struct test_properties common;

static int setup(void **state) {
        (void)state;
        mock = mock_start();
        common.count = 0;
        set_property(&common, "bootstrap.servers", mock.bootstrap);
        set_property(&common, "group.id", "workers");
        set_property(&common, "session.timeout.ms", "10000"); /* more than a busy machine stands still for */
        set_property(&common, "reconnect.backoff.max.ms", "500");
        set_property(&common, "fetch.wait.max.ms", "10");
        rd_kafka_mock_topic_create(mock.cluster, "jobs", 4, 1);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        mock_stop(&mock);
        return 0;
}

static bool woken(int event_fd) {
        struct pollfd fd = {.fd = event_fd, .events = POLLIN};
        return poll(&fd, 1, 0) == 1;
}

static void take(struct member *member, uint32_t partition, uint64_t offset) {
        struct consumer_record record;
        member_take(member, partition, &record);
        assert_int_equal(record.offset, offset);
        consumer_release(&record);
}

/*
 * A partition that is not served holds a bounded number of records, which are all there is to take once the
 * broker is away; the others are read meanwhile. The fd wakes for new records.
 */
static void test_flow(void **state) {
        enum { MANY = 20000, PREFETCH = 1000, BATCH = 100, SERVED = 1, UNSERVED = 0, NO_SUCH = 4 };
        struct member member;
        struct consumer_record record;
        uint64_t ignored;
        int held = 0;
        (void)state;
        set_property(&common, "queued.min.messages", "1000");
        fill(mock.bootstrap, "jobs", UNSERVED, 0, MANY);
        fill(mock.bootstrap, "jobs", SERVED, 0, 2000);
        member_open(&member, &common, "jobs");
        MEMBER_UNTIL(member.count == 4, &member);
        for (uint64_t i = 0; i < 2000; i++)
                take(&member, SERVED, i);
        assert_false(consumer_take(member.consumer, SERVED, &record));
        assert_false(consumer_take(member.consumer, NO_SUCH, &record));
        assert_int_equal(consumer_log_end(member.consumer, SERVED), 2000);
        assert_int_equal(consumer_partitions(member.consumer), 4);

        /* The other has been waiting all the time; a full queue is not fetched for. */
        MEMBER_UNTIL(consumer_log_end(member.consumer, UNSERVED) == MANY, &member);
        ignored = 0;
        MEMBER_UNTIL(read(member.event_fd, &ignored, sizeof(ignored)) < 0, &member);
        fill(mock.bootstrap, "jobs", SERVED, 2000, 2001);
        MEMBER_UNTIL(woken(member.event_fd), &member);
        take(&member, SERVED, 2000);
        take(&member, UNSERVED, (uint64_t)held++); /* something was fetched before the broker goes */
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        MEMBER_UNTIL(member.troubled, &member);
        assert_false(member.failed);
        while (consumer_take(member.consumer, UNSERVED, &record)) {
                assert_int_equal(record.offset, held++);
                consumer_release(&record);
        }
        assert_true(held < PREFETCH + 2 * BATCH); /* how far it had got by then is a matter of time */
        rd_kafka_mock_broker_set_up(mock.cluster, 1);
        while (held < MANY)
                take(&member, UNSERVED, (uint64_t)held++);
        member_close(&member);
}

static void test_errors(void **state) {
        struct consumer *consumer;
        struct member member;
        struct consumer_options options = {.topic = "jobs", .client_id = "test", .event_fd = -1};
        struct test_properties nameless = {.count = 0};
        (void)state;
        set_property(&nameless, "bootstrap.servers", mock.bootstrap);
        options.properties = view(&nameless);
        assert_error(consumer_open(&options, &consumer), ERROR_USAGE, "group.id");
        set_property(&nameless, "group.id", "g");
        set_property(&nameless, "no.such", "x");
        options.properties = view(&nameless);
        assert_error(consumer_open(&options, &consumer), ERROR_USAGE, "no.such");

        rd_kafka_mock_topic_set_error(mock.cluster, "jobs", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        member_open(&member, &common, "jobs");
        MEMBER_UNTIL(member.troubled || member.failed, &member);
        assert_non_null(strstr(member.message, "jobs"));
        assert_non_null(strstr(member.message, "right"));
        member_close(&member);
}

static void test_committed(void **state) {
        struct member member;
        uint64_t offset = 7;
        bool found = true;
        (void)state;
        member_open(&member, &common, "jobs");
        assert_ok(consumer_committed(member.consumer, 2, 20 * NS_PER_S, &offset, &found));
        assert_false(found);
        /* UNSTABLE_OFFSET_COMMIT passes when the transaction ends; the wait for it has an end too. */
        rd_kafka_mock_push_request_errors(mock.cluster, 9 /* OffsetFetch */, 2,
                                          RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
                                          RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
        assert_ok(consumer_committed(member.consumer, 2, 20 * NS_PER_S, &offset, &found));
        rd_kafka_mock_push_request_errors(mock.cluster, 9, 1, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
        assert_error(consumer_committed(member.consumer, 2, 20 * NS_PER_S, &offset, &found), ERROR_USAGE,
                     "right");
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        assert_error(consumer_committed(member.consumer, 2, NS_PER_S, &offset, &found), ERROR_NETWORK,
                     "partition 2");
        member_close(&member);
}

/* Closing ends in time where no broker answers, and where one never did. */
static void test_close_without_broker(void **state) {
        struct member member;
        (void)state;
        member_open(&member, &common, "jobs");
        MEMBER_UNTIL(member.count == 4, &member);
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        member.consumer = consumer_close(member.consumer, 2 * NS_PER_S);
        close(member.event_fd);
        struct test_properties nobody = {.count = 0};
        set_property(&nobody, "bootstrap.servers", "127.0.0.1:1");
        set_property(&nobody, "group.id", "g");
        member_open(&member, &nobody, "jobs");
        MEMBER_UNTIL(member.troubled, &member);
        assert_non_null(strstr(member.message, "bootstrap.servers"));
        assert_int_equal(consumer_partitions(member.consumer), 0);
        assert_int_equal(consumer_log_end(member.consumer, 0), 0);
        member.consumer = consumer_close(member.consumer, 2 * NS_PER_S);
        close(member.event_fd);
        assert_null(consumer_close(NULL, 0));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_flow, setup, teardown),
                cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
                cmocka_unit_test_setup_teardown(test_committed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_close_without_broker, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
