/*
 * The consumer on librdkafka's mock cluster, whose first join takes 3 s, and a later round the session less
 * 1 s. What only a real broker does is in exactly_once_test.c.
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
        set_property(&common, "session.timeout.ms", "6000");
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

/*
 * Two members join in one round. A partition that is not served holds a bounded number of records, which are
 * all there is to take once the broker is away; the others are read meanwhile. The fd wakes for new records.
 */
static void test_flow(void **state) {
        enum { MANY = 20000, PREFETCH = 1000, BATCH = 100 };
        struct member first, second, *served, *unserved;
        struct consumer_record record;
        uint64_t ignored;
        int held = 0;
        (void)state;
        set_property(&common, "queued.min.messages", "1000");
        fill(mock.bootstrap, "jobs", 0, 0, MANY);
        fill(mock.bootstrap, "jobs", 1, 0, 2000);
        member_open(&first, &common, "jobs");
        member_open(&second, &common, "jobs");
        MEMBER_UNTIL(first.count == 2 && second.count == 2, &first, &second);
        unserved = first.mine[0] ? &first : &second;
        served = first.mine[1] ? &first : &second;
        for (uint64_t i = 0; i < 2000; i++) {
                member_take(served, 1, &record);
                assert_int_equal(record.offset, i);
                consumer_release(&record);
        }
        assert_false(consumer_take(served->consumer, 1, &record));
        assert_false(consumer_take(first.mine[1] ? second.consumer : first.consumer, 1, &record));
        assert_int_equal(consumer_log_end(served->consumer, 1), 2000);
        assert_int_equal(consumer_partitions(served->consumer), 4);

        /* Partition 0 has been waiting all the time; a full queue is not fetched for. */
        MEMBER_UNTIL(consumer_log_end(unserved->consumer, 0) == MANY, &first, &second);
        ignored = 0;
        MEMBER_UNTIL(read(served->event_fd, &ignored, sizeof(ignored)) < 0, &first, &second);
        fill(mock.bootstrap, "jobs", 1, 2000, 2001);
        MEMBER_UNTIL(woken(served->event_fd), &first, &second);
        member_take(served, 1, &record);
        assert_int_equal(record.offset, 2000);
        consumer_release(&record);
        member_take(unserved, 0, &record); /* something was fetched before the broker goes */
        assert_int_equal(record.offset, held++);
        consumer_release(&record);
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        MEMBER_UNTIL(first.troubled && second.troubled, &first, &second);
        assert_false(first.failed);
        while (consumer_take(unserved->consumer, 0, &record)) {
                assert_int_equal(record.offset, held++);
                consumer_release(&record);
        }
        assert_true(held < PREFETCH + 2 * BATCH); /* how far it had got by then is a matter of time */
        rd_kafka_mock_broker_set_up(mock.cluster, 1);
        for (; held < MANY; held++) {
                member_take(unserved, 0, &record);
                assert_int_equal(record.offset, held);
                consumer_release(&record);
        }
        member_close(&second);
        member_close(&first);
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
