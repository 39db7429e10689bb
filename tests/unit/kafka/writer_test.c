/*
 * Records out, acknowledged or told. Transactions only real brokers show: those tests need
 * BATCHFERRY_TEST_BOOTSTRAP (host:port) and are left out without it.
 */
#include "broker/kafka/topics.h"
#include "broker/kafka/writer.h"
#include "tests/unit/kafka/cluster.h"

#include <errno.h>

static struct mock mock;
static const char *real;
static char topic[64];
static int sequence;

static int setup_mock(void **state) {
        (void)state;
        snprintf(topic, sizeof(topic), "out-%d", ++sequence);
        assert_int_equal(rd_kafka_mock_topic_create(mock.cluster, topic, 4, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
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
        snprintf(topic, sizeof(topic), "test-out-%u-%d", (unsigned)(clock_now_unix_ms() % 100000000),
                 ++sequence);
        struct topic_wish wish = {.name = topic, .partitions = 4, .replication = 1};
        assert_ok(topics_open(&properties, "test", &topics));
        assert_ok(topics_create(topics, &wish, 1, 30 * NS_PER_S, &outcome));
        assert_int_equal(outcome.made, TOPIC_MADE);
        topics_close(topics);
        return 0;
}

static struct writer *open_writer(const char *bootstrap, const char *id) {
        struct kafka_property items[] = {{"bootstrap.servers", bootstrap}, {"message.max.bytes", "20000"}};
        struct writer_options options = {
                .properties = {items, 2}, .client_id = "test", .transactional_id = id};
        struct writer *writer = NULL;
        assert_ok(writer_open(&options, &writer));
        return writer;
}

static enum producer_sent send_value(struct writer *writer, int32_t partition, const char *key,
                                     const char *value) {
        struct producer_message message = {.topic = topic,
                                           .partition = partition,
                                           .has_key = key != NULL,
                                           .has_value = value != NULL,
                                           .key = bytes_of(key),
                                           .value = bytes_of(value)};
        return writer_send(writer, &message);
}

static void everything_is_acknowledged(void **state) {
        (void)state;
        struct writer *writer = open_writer(mock.bootstrap, NULL);
        char key[32];
        int expected[4] = {0};
        for (int i = 0; i < 1000; i++) {
                snprintf(key, sizeof(key), "key-%d", i);
                expected[client_partition_of(bytes_of(key), 4)]++;
                assert_int_equal(send_value(writer, -1, key, "v"), PRODUCER_SENT);
        }
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        assert_int_equal(writer_acknowledged(writer), 1000);
        assert_null(writer_error(writer));
        writer_close(writer);
        for (int i = 0; i < 4; i++) {
                assert_true(expected[i] > 0);
                assert_int_equal(read_all(mock.bootstrap, topic, i, "read_uncommitted", NULL, NULL),
                                 expected[i]);
        }
}

struct one {
        bool has_key, has_value;
        char header[32];
};

static void look(const rd_kafka_message_t *message, void *userdata) {
        struct one *one = userdata;
        rd_kafka_headers_t *headers;
        const void *value;
        size_t size;
        one->has_key = message->key != NULL;
        one->has_value = message->payload != NULL;
        assert_int_equal(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_int_equal(rd_kafka_header_get_last(headers, "name", &value, &size),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
        snprintf(one->header, sizeof(one->header), "%.*s", (int)size, (const char *)value);
}

/* What is empty is there; what is not there is null. */
static void empty_is_not_null(void **state) {
        (void)state;
        struct kafka_header header = {BYTES("name"), BYTES("of it")};
        struct writer *writer = open_writer(mock.bootstrap, NULL);
        for (int i = 0; i < 4; i++) {
                struct one one = {0};
                struct producer_message message = {.topic = topic,
                                                   .partition = i,
                                                   .has_key = (i & 1) != 0,
                                                   .has_value = (i & 2) != 0,
                                                   .headers = &header,
                                                   .headers_count = 1};
                assert_int_equal(writer_send(writer, &message), PRODUCER_SENT);
                assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
                assert_int_equal(read_all(mock.bootstrap, topic, i, "read_uncommitted", look, &one), 1);
                assert_int_equal(one.has_key, (i & 1) != 0);
                assert_int_equal(one.has_value, (i & 2) != 0);
                assert_string_equal(one.header, "of it");
        }
        writer_close(writer);
}

static void too_large_goes_on(void **state) {
        (void)state;
        static char large[30000];
        memset(large, 'x', sizeof(large) - 1);
        struct writer *writer = open_writer(mock.bootstrap, NULL);
        assert_int_equal(send_value(writer, 0, "k", large), PRODUCER_TOO_LARGE);
        assert_int_equal(send_value(writer, 0, "k", "small"), PRODUCER_SENT);
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        assert_int_equal(writer_acknowledged(writer), 1);
        writer_close(writer);
}

static void refusal_is_told(void **state) {
        (void)state;
        struct writer *writer = open_writer(mock.bootstrap, NULL);
        rd_kafka_mock_push_request_errors(mock.cluster, 0 /* Produce */, 1,
                                          RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
        assert_int_equal(send_value(writer, 2, "k", "v"), PRODUCER_SENT);
        struct error *error = writer_flush(writer, TEST_WAIT_S * NS_PER_S);
        assert_non_null(error);
        assert_int_not_equal(error->code, ETIMEDOUT);
        assert_non_null(strstr(error->message, topic));
        error_free(error);
        assert_int_equal(writer_acknowledged(writer), 0);
        assert_int_equal(send_value(writer, 2, "k", "v"), PRODUCER_BROKEN);
        error = writer_error(writer);
        assert_non_null(error);
        error_free(error);
        writer_close(writer);
}

static void waiting_can_be_gone_on_with(void **state) {
        (void)state;
        struct writer *writer = open_writer(mock.bootstrap, NULL);
        uint32_t partitions = 0;
        assert_ok(writer_partitions(writer, topic, TEST_WAIT_S * NS_PER_S, &partitions));
        assert_int_equal(partitions, 4);
        rd_kafka_mock_broker_set_down(mock.cluster, 1);
        assert_int_equal(send_value(writer, 0, "k", "v"), PRODUCER_SENT);
        struct error *error = writer_flush(writer, 20 * NS_PER_MS);
        assert_non_null(error);
        assert_int_equal(error->code, ETIMEDOUT);
        error_free(error);
        rd_kafka_mock_broker_set_up(mock.cluster, 1);
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        assert_int_equal(writer_acknowledged(writer), 1);
        writer_close(writer);
}

static int committed(void) {
        int count = 0;
        for (int i = 0; i < 4; i++)
                count += read_all(real, topic, i, "read_committed", NULL, NULL);
        return count;
}

static void a_flush_is_a_transaction(void **state) {
        (void)state;
        if (!real)
                skip();
        struct writer *writer = open_writer(real, topic);
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S)); /* nothing to commit */
        for (int i = 0; i < 10; i++)
                assert_int_equal(send_value(writer, i % 4, "k", "v"), PRODUCER_SENT);
        assert_int_equal(committed(), 0);
        assert_ok(writer_flush(writer, TEST_WAIT_S * NS_PER_S));
        assert_int_equal(committed(), 10);
        assert_int_equal(send_value(writer, 0, "k", "v"), PRODUCER_SENT);
        writer_close(writer); /* taken back */
        assert_int_equal(committed(), 10);
}

static void the_later_one_wins(void **state) {
        (void)state;
        if (!real)
                skip();
        struct writer *first = open_writer(real, topic);
        assert_int_equal(send_value(first, 0, "k", "first"), PRODUCER_SENT);
        struct writer *second = open_writer(real, topic);
        struct error *error = writer_flush(first, TEST_WAIT_S * NS_PER_S);
        assert_non_null(error);
        error_free(error);
        assert_int_equal(send_value(first, 0, "k", "first again"), PRODUCER_BROKEN);
        assert_int_equal(send_value(second, 1, "k", "second"), PRODUCER_SENT);
        assert_ok(writer_flush(second, TEST_WAIT_S * NS_PER_S));
        writer_close(first);
        writer_close(second);
        assert_int_equal(committed(), 1);
        assert_int_equal(read_all(real, topic, 1, "read_committed", NULL, NULL), 1);
}

static void no_topic_is_made_by_the_way(void **state) {
        (void)state;
        if (!real)
                skip();
        uint32_t partitions = 77;
        struct writer *writer = open_writer(real, NULL);
        assert_error(writer_partitions(writer, "test-nonesuch", TEST_WAIT_S * NS_PER_S, &partitions),
                     ERROR_INPUT, "test-nonesuch");
        assert_int_equal(partitions, 77);
        writer_close(writer);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(everything_is_acknowledged, setup_mock),
                cmocka_unit_test_setup(empty_is_not_null, setup_mock),
                cmocka_unit_test_setup(too_large_goes_on, setup_mock),
                cmocka_unit_test_setup(refusal_is_told, setup_mock),
                cmocka_unit_test_setup(waiting_can_be_gone_on_with, setup_mock),
                cmocka_unit_test_setup(a_flush_is_a_transaction, setup_real),
                cmocka_unit_test_setup(the_later_one_wins, setup_real),
                cmocka_unit_test_setup(no_topic_is_made_by_the_way, setup_real),
        };
        real = getenv("BATCHFERRY_TEST_BOOTSTRAP");
        if (real && !*real)
                real = NULL;
        mock = mock_start();
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        mock_stop(&mock);
        return failed;
}
