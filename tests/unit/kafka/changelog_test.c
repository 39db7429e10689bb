/*
 * A partition of the state topic from an offset to its end. What transactions do to it only real brokers
 * show: those tests need BATCHFERRY_TEST_BOOTSTRAP (host:port) and are left out without it.
 */
#include "broker/kafka/changelog.h"
#include "broker/kafka/topics.h"
#include "tests/unit/kafka/cluster.h"

#include <errno.h>
#include <pthread.h>

static struct mock mock;
static const char *real;
static char topic[64];
static int sequence;

struct seen {
        _Atomic size_t count;
        size_t fail_at, stop_at;
        uint64_t first, last;
        bool in_order, tombstone;
        char values[512]; /* with commas between */
        atomic_bool stop;
};

static struct error *see(void *userdata, const struct changelog_record *record) {
        struct seen *seen = userdata;
        if (seen->count == 0)
                seen->first = record->offset;
        seen->in_order = seen->count == 0 || (seen->in_order && record->offset > seen->last);
        seen->last = record->offset;
        seen->tombstone = seen->tombstone || !record->has_value;
        size_t size = strlen(seen->values);
        if (size + record->value.size + 2 < sizeof(seen->values))
                snprintf(seen->values + size, sizeof(seen->values) - size, "%.*s,", (int)record->value.size,
                         record->value.data ? record->value.data : "");
        seen->count++;
        if (seen->count == seen->stop_at)
                atomic_store(&seen->stop, true);
        return seen->count == seen->fail_at ? error_new(ERROR_FULL, "the disk is full") : NULL;
}

static struct changelog *open_log(const char *bootstrap, const char *name) {
        struct kafka_property property = {"bootstrap.servers", bootstrap};
        struct changelog_options options = {.properties = {&property, 1}, .topic = name, .client_id = "test"};
        struct changelog *log = NULL;
        assert_ok(changelog_open(&options, &log));
        return log;
}

static struct error *read_log(struct changelog *log, uint32_t partition, uint64_t from, struct seen *seen,
                              uint64_t *out_next) {
        *seen = (struct seen){0};
        return changelog_read(log, partition, from, &seen->stop, see, seen, out_next);
}

static int setup_mock(void **state) {
        (void)state;
        snprintf(topic, sizeof(topic), "log-%d", ++sequence);
        assert_int_equal(rd_kafka_mock_topic_create(mock.cluster, topic, 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
        return 0;
}

static void reads_to_the_end(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next = 77;
        fill(mock.bootstrap, topic, 1, 0, 5000);
        struct changelog *log = open_log(mock.bootstrap, topic);
        assert_ok(read_log(log, 1, 0, &seen, &next));
        assert_int_equal(seen.count, 5000);
        assert_true(seen.in_order);
        assert_int_equal(next, 5000);
        /* Nothing new, then something. */
        assert_ok(read_log(log, 1, next, &seen, &next));
        assert_int_equal(seen.count, 0);
        assert_int_equal(next, 5000);
        fill(mock.bootstrap, topic, 1, 5000, 5010);
        assert_ok(read_log(log, 1, next, &seen, &next));
        assert_int_equal(seen.count, 10);
        assert_int_equal(seen.first, 5000);
        assert_int_equal(next, 5010);
        /* Another partition by the same client, and the first one once more. */
        assert_ok(read_log(log, 0, 0, &seen, &next));
        assert_int_equal(seen.count, 0);
        assert_int_equal(next, 0);
        assert_ok(read_log(log, 1, 4990, &seen, &next));
        assert_int_equal(seen.count, 20);
        changelog_close(log);
}

static void refuses_what_is_behind_the_end(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next = 77;
        fill(mock.bootstrap, topic, 0, 0, 3);
        struct changelog *log = open_log(mock.bootstrap, topic);
        struct error *error = read_log(log, 0, 4, &seen, &next);
        assert_non_null(error);
        assert_int_equal(error->kind, ERROR_CORRUPT);
        assert_non_null(strstr(error->message, "ends at offset 3"));
        error_free(error);
        assert_int_equal(next, 77);
        assert_int_equal(seen.count, 0);
        changelog_close(log);
}

static void ends_when_told(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next = 77;
        fill(mock.bootstrap, topic, 0, 0, 1000);
        struct changelog *log = open_log(mock.bootstrap, topic);
        seen.fail_at = 10;
        assert_error(changelog_read(log, 0, 0, NULL, see, &seen, &next), ERROR_FULL, "the disk is full");
        assert_int_equal(seen.count, 10);
        seen = (struct seen){.stop_at = 20};
        struct error *error = changelog_read(log, 0, 0, &seen.stop, see, &seen, &next);
        assert_non_null(error);
        assert_int_equal(error->code, ECANCELED);
        error_free(error);
        assert_int_equal(seen.count, 20);
        assert_int_equal(next, 77);
        /* And it can be used again: nothing of what was fetched ahead is left. */
        seen = (struct seen){0};
        assert_ok(changelog_read(log, 0, 0, NULL, see, &seen, &next));
        assert_int_equal(seen.count, 1000);
        assert_int_equal(seen.first, 0);
        assert_int_equal(next, 1000);
        changelog_close(log);
}

static void names_what_is_missing(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next;
        struct changelog *log = open_log(mock.bootstrap, topic);
        struct error *error = read_log(log, 9, 0, &seen, &next);
        assert_non_null(error);
        assert_non_null(strstr(error->message, "partition 9"));
        error_free(error);
        changelog_close(log);
}

/* ---- on real brokers ---- */

static int setup_real(void **state) {
        (void)state;
        if (!real)
                return 0;
        struct kafka_property property = {"bootstrap.servers", real};
        struct kafka_properties properties = {&property, 1};
        struct topics *topics;
        struct topic_outcome outcome;
        snprintf(topic, sizeof(topic), "test-log-%u-%d", (unsigned)(clock_now_unix_ms() % 100000000),
                 ++sequence);
        struct topic_wish wish = {.name = topic, .partitions = 1, .replication = 1};
        assert_ok(topics_open(&properties, "test", &topics));
        assert_ok(topics_create(topics, &wish, 1, 30 * NS_PER_S, &outcome));
        assert_int_equal(outcome.made, TOPIC_MADE);
        topics_close(topics);
        return 0;
}

static rd_kafka_t *transactional(void) {
        char text[256];
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        rd_kafka_conf_set_log_cb(conf, NULL);
        rd_kafka_conf_set(conf, "bootstrap.servers", real, text, sizeof(text));
        rd_kafka_conf_set(conf, "transactional.id", topic, text, sizeof(text));
        rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        assert_non_null(client);
        assert_null(rd_kafka_init_transactions(client, TEST_WAIT_S * 1000));
        return client;
}

static void begin(rd_kafka_t *client, const char *value) {
        assert_null(rd_kafka_begin_transaction(client));
        rd_kafka_resp_err_t code = rd_kafka_producev(
                client, RD_KAFKA_VTYPE_TOPIC, topic, RD_KAFKA_VTYPE_PARTITION, (int32_t)0, RD_KAFKA_VTYPE_KEY,
                "k", (size_t)1, RD_KAFKA_VTYPE_VALUE, value, value ? strlen(value) : (size_t)0,
                RD_KAFKA_VTYPE_MSGFLAGS, RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_END);
        assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_int_equal(rd_kafka_flush(client, TEST_WAIT_S * 1000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void commit(rd_kafka_t *client) {
        assert_null(rd_kafka_commit_transaction(client, TEST_WAIT_S * 1000));
}

static void passes_over_markers_and_aborted_records(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next;
        if (!real)
                skip();
        rd_kafka_t *client = transactional();
        begin(client, "a"), commit(client);
        begin(client, "never"), assert_null(rd_kafka_abort_transaction(client, -1));
        begin(client, "b"), commit(client);
        begin(client, NULL), commit(client);
        begin(client, "nor that"), assert_null(rd_kafka_abort_transaction(client, -1));
        rd_kafka_destroy(client);
        struct changelog *log = open_log(real, topic);
        assert_ok(read_log(log, 0, 0, &seen, &next));
        assert_string_equal(seen.values, "a,b,,");
        assert_true(seen.tombstone);
        assert_int_equal(next, 10); /* each transaction is a record and a marker */
        assert_ok(read_log(log, 0, next, &seen, &next));
        assert_int_equal(seen.count, 0);
        assert_int_equal(next, 10);
        assert_ok(read_log(log, 0, 7, &seen, &next)); /* a marker stands there */
        assert_int_equal(seen.count, 0);
        assert_int_equal(next, 10);
        changelog_close(log);
}

struct reading_thread {
        struct changelog *log;
        struct seen seen;
        uint64_t next;
        struct error *error;
};

static void *read_in_thread(void *userdata) {
        struct reading_thread *reading = userdata;
        reading->error = changelog_read(reading->log, 0, 0, NULL, see, &reading->seen, &reading->next);
        return NULL;
}

/* An open transaction below the end is waited for, one way or the other. */
static void wait_for_end(bool with_commit, const char *expected) {
        struct reading_thread reading = {0};
        pthread_t thread;
        rd_kafka_t *client = transactional();
        begin(client, "a"), commit(client);
        begin(client, "b");
        reading.log = open_log(real, topic);
        assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &reading), 0);
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        while (reading.seen.count == 0 && clock_now_ns() < end_ns)
                poll(NULL, 0, 2);
        /* It may be done by now if it is wrong; then it has given up too early, which shows below. */
        assert_int_equal(reading.seen.count, 1);
        if (with_commit)
                commit(client);
        else
                assert_null(rd_kafka_abort_transaction(client, -1));
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_ok(reading.error);
        assert_string_equal(reading.seen.values, expected);
        assert_int_equal(reading.next, 3); /* the end at the start: a, its marker, b */
        rd_kafka_destroy(client);
        changelog_close(reading.log);
}

static void waits_for_a_commit(void **state) {
        (void)state;
        if (!real)
                skip();
        wait_for_end(true, "a,b,");
}

static void waits_for_an_abort(void **state) {
        (void)state;
        if (!real)
                skip();
        wait_for_end(false, "a,");
}

static void delete_before(int64_t offset) {
        rd_kafka_t *client = plain_client(RD_KAFKA_PRODUCER, real, NULL);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
        rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
        rd_kafka_DeleteRecords(client, &records, 1, NULL, queue);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TEST_WAIT_S * 1000);
        assert_non_null(event);
        assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_event_destroy(event);
        rd_kafka_DeleteRecords_destroy(records);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_queue_destroy(queue);
        rd_kafka_destroy(client);
}

static void begins_where_the_log_does(void **state) {
        (void)state;
        struct seen seen = {0};
        uint64_t next;
        if (!real)
                skip();
        fill(real, topic, 0, 0, 100);
        delete_before(40);
        struct changelog *log = open_log(real, topic);
        assert_ok(read_log(log, 0, 10, &seen, &next));
        assert_int_equal(seen.count, 60);
        assert_int_equal(seen.first, 40);
        assert_int_equal(next, 100);
        delete_before(100);
        assert_ok(read_log(log, 0, 10, &seen, &next));
        assert_int_equal(seen.count, 0);
        assert_int_equal(next, 100);
        assert_error(read_log(log, 0, 101, &seen, &next), ERROR_CORRUPT, "ends at offset 100");
        changelog_close(log);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(reads_to_the_end, setup_mock),
                cmocka_unit_test_setup(refuses_what_is_behind_the_end, setup_mock),
                cmocka_unit_test_setup(ends_when_told, setup_mock),
                cmocka_unit_test_setup(names_what_is_missing, setup_mock),
                cmocka_unit_test_setup(passes_over_markers_and_aborted_records, setup_real),
                cmocka_unit_test_setup(waits_for_a_commit, setup_real),
                cmocka_unit_test_setup(waits_for_an_abort, setup_real),
                cmocka_unit_test_setup(begins_where_the_log_does, setup_real),
        };
        real = getenv("BATCHFERRY_TEST_BOOTSTRAP");
        if (real && !*real)
                real = NULL;
        mock = mock_start();
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        mock_stop(&mock);
        return failed;
}
