/*
 * Whole topics, to their end or on and on. Transactions and times only real brokers show: those tests need
 * BATCHFERRY_TEST_BOOTSTRAP (host:port) and are left out without it.
 */
#include "broker/kafka/reader.h"
#include "broker/kafka/topics.h"
#include "broker/kafka/writer.h"
#include "tests/unit/kafka/cluster.h"

static struct mock mock;
static const char *real;
static char topic[64];
static int sequence;

static int setup_mock(void **state) {
        (void)state;
        snprintf(topic, sizeof(topic), "in-%d", ++sequence);
        assert_int_equal(rd_kafka_mock_topic_create(mock.cluster, topic, 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
        return 0;
}

static int setup_real(void **state) {
        (void)state;
        if (!real)
                return 0;
        struct kafka_property property = {"bootstrap.servers", real};
        struct kafka_properties properties = {&property, 1};
        struct topics *topics;
        struct topic_outcome outcome;
        snprintf(topic, sizeof(topic), "test-in-%u-%d", (unsigned)(clock_now_unix_ms() % 100000000),
                 ++sequence);
        struct topic_wish wish = {.name = topic, .partitions = 3, .replication = 1};
        assert_ok(topics_open(&properties, "test", &topics));
        assert_ok(topics_create(topics, &wish, 1, 30 * NS_PER_S, &outcome));
        assert_int_equal(outcome.made, TOPIC_MADE);
        topics_close(topics);
        return 0;
}

static struct reader *open_reader(const char *bootstrap, struct reader_options options) {
        struct kafka_property property = {"bootstrap.servers", bootstrap};
        struct reader *reader = NULL;
        options.properties = (struct kafka_properties){&property, 1};
        options.topic = topic;
        options.client_id = "test";
        assert_ok(reader_open(&options, &reader));
        return reader;
}

/* Until something else than LATER. */
static enum reader_outcome next(struct reader *reader, struct consumer_record *out_record) {
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        enum reader_outcome outcome = READER_LATER;
        while (outcome == READER_LATER && clock_now_ns() < end_ns)
                outcome = reader_next(reader, 100 * NS_PER_MS, out_record);
        return outcome;
}

/* Records up to the end. */
static size_t count_all(struct reader *reader) {
        struct consumer_record record;
        enum reader_outcome outcome;
        size_t count = 0;
        while ((outcome = next(reader, &record)) == READER_RECORD) {
                count++;
                consumer_release(&record);
        }
        assert_int_equal(outcome, READER_END);
        return count;
}

static void reads_all_partitions_to_the_end(void **state) {
        (void)state;
        uint64_t read, total, nexts[3] = {0};
        struct consumer_record record;
        fill(mock.bootstrap, topic, 0, 0, 2000);
        fill(mock.bootstrap, topic, 2, 0, 3000);
        struct reader *reader = open_reader(mock.bootstrap, (struct reader_options){0});
        assert_int_equal(reader_partitions(reader), 3);
        reader_progress(reader, &read, &total);
        assert_int_equal(read, 0);
        assert_int_equal(total, 5000);
        fill(mock.bootstrap, topic, 0, 2000, 2100); /* behind the end at opening */
        enum reader_outcome outcome;
        while ((outcome = next(reader, &record)) == READER_RECORD) {
                assert_int_equal(record.offset, nexts[record.partition]++);
                consumer_release(&record);
        }
        assert_int_equal(outcome, READER_END);
        assert_int_equal(nexts[0], 2000);
        assert_int_equal(nexts[1], 0);
        assert_int_equal(nexts[2], 3000);
        reader_progress(reader, &read, &total);
        assert_int_equal(read, 5000);
        assert_int_equal(next(reader, &record), READER_END); /* and stays there */
        reader_close(reader);
}

static void an_empty_topic_ends_at_once(void **state) {
        (void)state;
        struct consumer_record record;
        struct reader *reader = open_reader(mock.bootstrap, (struct reader_options){0});
        assert_int_equal(reader_next(reader, 0, &record), READER_END);
        reader_close(reader);
}

static void follows(void **state) {
        (void)state;
        struct consumer_record record;
        fill(mock.bootstrap, topic, 1, 0, 3);
        struct reader *reader = open_reader(mock.bootstrap, (struct reader_options){.follow = true});
        for (int i = 0; i < 6; i++) {
                if (i == 3) {
                        assert_int_equal(reader_next(reader, 0, &record), READER_LATER);
                        fill(mock.bootstrap, topic, 1, 3, 6);
                }
                assert_int_equal(next(reader, &record), READER_RECORD);
                assert_true(value_is(record.value, i));
                consumer_release(&record);
        }
        reader_close(reader);
}

static void reads_from_one_place(void **state) {
        (void)state;
        struct consumer_record record;
        struct reader_options options = {.only = true, .only_partition = 1, .only_offset = 7};
        fill(mock.bootstrap, topic, 0, 0, 10);
        fill(mock.bootstrap, topic, 1, 0, 10);
        struct reader *reader = open_reader(mock.bootstrap, options);
        assert_int_equal(next(reader, &record), READER_RECORD);
        assert_int_equal(record.partition, 1);
        assert_int_equal(record.offset, 7);
        consumer_release(&record);
        assert_int_equal(count_all(reader), 2);
        reader_close(reader);
        options.only_offset = 1000;
        reader = open_reader(mock.bootstrap, options);
        assert_int_equal(next(reader, &record), READER_END);
        reader_close(reader);
}

static void put(struct writer *writer, const char *value) {
        struct producer_message message = {
                .topic = topic, .partition = 0, .has_value = true, .value = bytes_of(value)};
        assert_int_equal(writer_send(writer, &message), PRODUCER_SENT);
}

static struct writer *open_writer(const char *id) {
        struct kafka_property items[] = {{"bootstrap.servers", real}, {"linger.ms", "0"}};
        struct writer_options options = {
                .properties = {items, 2}, .client_id = "test", .transactional_id = id};
        struct writer *writer = NULL;
        assert_ok(writer_open(&options, &writer));
        return writer;
}

/* Until the log has so many offsets, those of open transactions too. */
static void wait_for_log(int count) {
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        while (read_all(real, topic, 0, "read_uncommitted", NULL, NULL) < count)
                assert_true(clock_now_ns() < end_ns);
}

static void what_is_taken_back_is_unseen(void **state) {
        (void)state;
        if (!real)
                skip();
        struct writer *writer = open_writer(topic);
        put(writer, "1");
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        put(writer, "2");
        wait_for_log(2);
        /* Open: the end stands before it. */
        struct reader *reader = open_reader(real, (struct reader_options){0});
        assert_int_equal(count_all(reader), 1);
        reader_close(reader);
        /* Waited for, and taken back while that goes on. */
        reader = open_reader(real, (struct reader_options){.wait_open = true});
        struct consumer_record record;
        assert_int_equal(next(reader, &record), READER_RECORD);
        consumer_release(&record);
        assert_int_equal(reader_next(reader, 0, &record), READER_LATER);
        writer_close(writer);
        assert_int_equal(count_all(reader), 0);
        reader_close(reader);
        /* And when it is committed it is seen. */
        writer = open_writer(topic);
        put(writer, "3");
        wait_for_log(3);
        reader = open_reader(real, (struct reader_options){.wait_open = true});
        assert_int_equal(next(reader, &record), READER_RECORD);
        consumer_release(&record);
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        assert_int_equal(count_all(reader), 1);
        reader_close(reader);
        writer_close(writer);
}

static void begins_at_a_time(void **state) {
        (void)state;
        if (!real)
                skip();
        fill(real, topic, 0, 0, 10);
        int64_t now = clock_now_unix_ms();
        while (clock_now_unix_ms() <= now)
                poll(NULL, 0, 1);
        now = clock_now_unix_ms();
        fill(real, topic, 1, 10, 15);
        struct reader *reader = open_reader(real, (struct reader_options){.since_unix_ms = now});
        assert_int_equal(count_all(reader), 5);
        reader_close(reader);
        reader = open_reader(real, (struct reader_options){.since_unix_ms = now + 1000000});
        assert_int_equal(count_all(reader), 0);
        reader_close(reader);
}

static void a_missing_topic_is_named(void **state) {
        (void)state;
        if (!real)
                skip();
        struct kafka_property property = {"bootstrap.servers", real};
        struct reader_options options = {
                .properties = {&property, 1}, .topic = "test-nonesuch", .client_id = "test"};
        struct reader *reader = NULL;
        assert_error(reader_open(&options, &reader), ERROR_INPUT, "test-nonesuch");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(reads_all_partitions_to_the_end, setup_mock),
                cmocka_unit_test_setup(an_empty_topic_ends_at_once, setup_mock),
                cmocka_unit_test_setup(follows, setup_mock),
                cmocka_unit_test_setup(reads_from_one_place, setup_mock),
                cmocka_unit_test_setup(what_is_taken_back_is_unseen, setup_real),
                cmocka_unit_test_setup(begins_at_a_time, setup_real),
                cmocka_unit_test_setup(a_missing_topic_is_named, setup_real),
        };
        real = getenv("BATCHFERRY_TEST_BOOTSTRAP");
        if (real && !*real)
                real = NULL;
        mock = mock_start();
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        mock_stop(&mock);
        return failed;
}
