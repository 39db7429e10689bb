/*
 * The publisher with a producer that is made to fail at every step: what was submitted is published once and
 * in order, what no longer belongs here is dropped and told, and after a transaction of unknown end the state
 * topic says what is there. On librdkafka's mock cluster, which shows aborted records, and, with
 * BATCHFERRY_TEST_BOOTSTRAP=host:port, on a real one, which shows who reads what.
 */
#include "broker/kafka/topics.h"
#include "broker/loop/origin.h"
#include "broker/loop/publisher.h"
#include "broker/wire/state_record.h"
#include "tests/unit/kafka/cluster.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>

enum { MANY = 64, STEPS_MAX = 4096 };

/* Joining a group takes seconds, so that all tests of a cluster are one member. */
static struct {
        struct mock mock;
        bool real;
        const char *bootstrap;
        char jobs[64], group[64];
        unsigned stamp;
        struct test_properties common;
        struct member member;
} cluster;

struct fixture {
        char results[64], dead[64], state[64], id[64];
        uint64_t committed[2]; /* before the test */
        char directory[64];
        struct store *store;
        struct board board;
        struct job_decoder *decoder;
        struct job_spec *jobs[MANY];
        struct outcome outcomes[MANY];
        struct publisher *publisher;
        struct publisher_options options;
        int event_fd;

        pthread_mutex_t mutex;
        pthread_cond_t cond;
        /* under the mutex */
        uint32_t told[STEPS_MAX]; /* slots, in order */
        size_t told_count;
        const char *fails_at; /* once, unless `always` */
        enum producer_fault fault;
        bool always;
        const char *holds_at; /* waits there */
        bool holding;
        bool failed;
        int store_code;
};

static const struct catalog catalog = {.id = "0"};

/* ---- hooks ---- */

static enum producer_fault on_step(void *userdata, const char *step) {
        struct fixture *fixture = userdata;
        enum producer_fault fault = PRODUCER_NO_FAULT;
        pthread_mutex_lock(&fixture->mutex);
        while (fixture->holds_at && strcmp(fixture->holds_at, step) == 0) {
                fixture->holding = true;
                pthread_cond_broadcast(&fixture->cond);
                pthread_cond_wait(&fixture->cond, &fixture->mutex);
        }
        fixture->holding = false;
        if (fixture->fails_at && strcmp(fixture->fails_at, step) == 0) {
                fault = fixture->fault;
                if (!fixture->always)
                        fixture->fails_at = NULL;
        }
        pthread_mutex_unlock(&fixture->mutex);
        return fault;
}

static void fail_at(struct fixture *fixture, const char *step, enum producer_fault fault, bool always) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->fails_at = step;
        fixture->fault = fault;
        fixture->always = always;
        pthread_mutex_unlock(&fixture->mutex);
}

static void hold_at(struct fixture *fixture, const char *step) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->holds_at = step;
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static void on_complete(void *userdata, const struct completion *completions, size_t count) {
        struct fixture *fixture = userdata;
        pthread_mutex_lock(&fixture->mutex);
        for (size_t i = 0; i < count; i++) {
                struct reply reply = completions[i].reply;
                assert_int_equal(completions[i].kind, INTENT_SETTLE);
                assert_true(fixture->told_count < STEPS_MAX);
                fixture->told[fixture->told_count++] = completions[i].handle.slot;
                reply_deinit(&reply);
        }
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static void on_fail(void *userdata, const char *message) {
        struct fixture *fixture = userdata;
        assert_true(*message);
        pthread_mutex_lock(&fixture->mutex);
        fixture->failed = true;
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static int on_store(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        pthread_mutex_lock(&fixture->mutex);
        int code = strcmp(operation, "write") == 0 ? fixture->store_code : 0;
        pthread_mutex_unlock(&fixture->mutex);
        return code;
}

/* The membership lives on being polled. */
static void wait_for(struct fixture *fixture, const bool *flag, size_t told) {
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        for (bool done = false; !done;) {
                pthread_mutex_lock(&fixture->mutex);
                done = flag ? *flag : fixture->told_count >= told;
                pthread_mutex_unlock(&fixture->mutex);
                if (clock_now_ns() > end_ns)
                        fail_msg("waited %d s: %zu told", TEST_WAIT_S, fixture->told_count);
                member_poll(&cluster.member);
                poll(NULL, 0, done ? 0 : 1);
        }
}

static void wait_told(struct fixture *fixture, size_t count) {
        wait_for(fixture, NULL, count);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->told_count, count);
        for (size_t i = 0; i < count; i++)
                assert_int_equal(fixture->told[i], i);
}

/* ---- opening ---- */

static void create(const char *name, int partitions) {
        if (!cluster.real) {
                rd_kafka_mock_topic_create(cluster.mock.cluster, name, partitions, 1);
                return;
        }
        struct topics *topics;
        struct kafka_properties properties = view(&cluster.common);
        struct topic_wish wish = {.name = name, .partitions = (uint32_t)partitions, .replication = 1};
        struct topic_outcome outcome;
        assert_ok(topics_open(&properties, "test", &topics));
        assert_ok(topics_create(topics, &wish, 1, 30 * NS_PER_S, &outcome));
        assert_int_equal(outcome.made, TOPIC_MADE);
        topics_close(topics);
}

static int open_cluster(bool real) {
        memset(&cluster, 0, sizeof(cluster));
        cluster.real = real;
        cluster.stamp = (unsigned)(clock_now_unix_ms() % 100000000);
        if (!cluster.real)
                cluster.mock = mock_start();
        cluster.bootstrap = cluster.real ? getenv("BATCHFERRY_TEST_BOOTSTRAP") : cluster.mock.bootstrap;
        snprintf(cluster.jobs, sizeof(cluster.jobs), "publish-%u-jobs", cluster.stamp);
        snprintf(cluster.group, sizeof(cluster.group), "publish-%u", cluster.stamp);
        set_property(&cluster.common, "bootstrap.servers", cluster.bootstrap);
        set_property(&cluster.common, "group.id", cluster.group);
        set_property(&cluster.common, "fetch.wait.max.ms", "10");
        create(cluster.jobs, 2);
        member_open(&cluster.member, &cluster.common, cluster.jobs);
        MEMBER_UNTIL(cluster.member.count == 2, &cluster.member);
        return 0;
}

static int open_mock(void **state) {
        (void)state;
        return open_cluster(false);
}

static int open_real(void **state) {
        (void)state;
        return open_cluster(true);
}

static int close_cluster(void **state) {
        (void)state;
        member_close(&cluster.member);
        if (!cluster.real)
                mock_stop(&cluster.mock);
        return 0;
}

static uint64_t committed(uint32_t partition) {
        uint64_t offset = 0;
        bool found = false;
        assert_ok(consumer_committed(cluster.member.consumer, partition, 20 * NS_PER_S, &offset, &found));
        return found ? offset : UINT64_MAX;
}

static void make_topics(struct fixture *fixture) {
        static int sequence;
        sequence++;
        snprintf(fixture->results, 64, "publish-%u-%d-results", cluster.stamp, sequence);
        snprintf(fixture->dead, 64, "publish-%u-%d-dead", cluster.stamp, sequence);
        snprintf(fixture->state, 64, "publish-%u-%d-state", cluster.stamp, sequence);
        snprintf(fixture->id, 64, "publish-%u-%d-id", cluster.stamp, sequence);
        create(fixture->results, 1);
        create(fixture->dead, 1);
        create(fixture->state, 2);
        for (uint32_t i = 0; i < 2; i++)
                fixture->committed[i] = committed(i);
}

/* Half of the jobs are of partition 0, the other half of 1; two have failed before they were called. */
static void make_jobs(struct fixture *fixture) {
        struct job_decoder_options options = {.batch = "", .job_bytes_max = 1 << 20};
        assert_ok(job_decoder_new(&options, &fixture->decoder));
        for (uint32_t i = 0; i < MANY; i++) {
                char key[16], value[256];
                snprintf(key, sizeof(key), "key-%u", i);
                snprintf(value, sizeof(value),
                         "{\"custom_id\":\"job-%u\",\"url\":\"/v1/chat/completions\",\"body\":"
                         "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}}",
                         i);
                struct job_header header = {BYTES("traceparent"), BYTES("00-0af7651916cd43dd8448eb211c80319c-"
                                                                        "b7ad6b7169203331-01")};
                struct job_record record = {.key = bytes_of(key),
                                            .value = bytes_of(value),
                                            .has_key = true,
                                            .has_value = true,
                                            .headers = &header,
                                            .headers_count = 1,
                                            .partition = i % 2,
                                            .offset = 100 + i / 2};
                fixture->jobs[i] = job_decode_record(fixture->decoder, &record);
                assert_non_null(fixture->jobs[i]);
                struct origin *origin = origin_new(&record, record.partition);
                assert_non_null(origin);
                origin->epoch = 1;
                fixture->jobs[i]->origin = origin;
                usage_init(&fixture->outcomes[i].usage);
        }
}

static void open_publisher(struct fixture *fixture, int64_t interval_ns) {
        fixture->options = (struct publisher_options){.store = fixture->store,
                                                      .board = &fixture->board,
                                                      .consumer = cluster.member.consumer,
                                                      .properties = view(&cluster.common),
                                                      .topic_jobs = cluster.jobs,
                                                      .topic_results = fixture->results,
                                                      .topic_dead_letters = fixture->dead,
                                                      .topic_state = fixture->state,
                                                      .transactional_id = fixture->id,
                                                      .client_id = "test",
                                                      .group_id = cluster.group,
                                                      .results_bytes_max = 100000,
                                                      .dead_letters_bytes_max = 100000,
                                                      .catalog = &catalog,
                                                      .interval_ns = interval_ns,
                                                      .complete = on_complete,
                                                      .fail = on_fail,
                                                      .complete_userdata = fixture,
                                                      .event_fd = fixture->event_fd,
                                                      .fault = on_step,
                                                      .fault_userdata = fixture};
        assert_ok(publisher_new(&fixture->options, &fixture->publisher));
}

static struct fixture *open_fixture(int64_t interval_ns) {
        struct fixture *fixture = calloc(1, sizeof(*fixture));
        const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        assert_non_null(fixture);
        alarm(4 * TEST_WAIT_S);
        pthread_mutex_init(&fixture->mutex, NULL);
        pthread_cond_init(&fixture->cond, NULL);
        fixture->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        make_topics(fixture);
        snprintf(fixture->directory, sizeof(fixture->directory), "%s/publisher_test.XXXXXX", place);
        assert_non_null(mkdtemp(fixture->directory));
        struct store_options store = {.directory = fixture->directory,
                                      .worker = true,
                                      .fault = on_store,
                                      .fault_userdata = fixture};
        assert_ok(store_open(&store, &fixture->store));
        for (uint32_t i = 0; i < 2; i++) {
                bool found;
                struct partition_state state;
                assert_ok(store_partition_open(fixture->store, i, &found, &state));
                atomic_store(&fixture->board.epoch[i], 1);
        }
        make_jobs(fixture);
        open_publisher(fixture, interval_ns);
        return fixture;
}

static void close_fixture(struct fixture *fixture) {
        struct dirent *entry;
        publisher_free(fixture->publisher);
        for (uint32_t i = 0; i < MANY; i++) {
                origin_free(fixture->jobs[i]->origin);
                job_spec_free(fixture->jobs[i]);
        }
        job_decoder_free(fixture->decoder);
        store_close(fixture->store);
        DIR *entries = opendir(fixture->directory);
        while ((entry = readdir(entries)))
                unlinkat(dirfd(entries), entry->d_name, 0);
        closedir(entries);
        rmdir(fixture->directory);
        close(fixture->event_fd);
        pthread_cond_destroy(&fixture->cond);
        pthread_mutex_destroy(&fixture->mutex);
        free(fixture);
        alarm(0);
}

/* ---- what a committer does ---- */

static struct publication item_of(struct fixture *fixture, enum publication_kind kind, uint32_t index) {
        const struct job_spec *job = fixture->jobs[index];
        const struct origin *origin = job->origin;
        struct publication item = {.kind = kind,
                                   .partition = origin->partition,
                                   .epoch = 1,
                                   .offset = origin->record.offset,
                                   .handle = {index, 1},
                                   .key = job->key,
                                   .settled = {.partition = origin->partition,
                                               .attempts = 1,
                                               .settled_unix_ms = 1,
                                               .fingerprint_known = true,
                                               .offset = origin->record.offset},
                                   .job = job,
                                   .outcome = &fixture->outcomes[index]};
        memcpy(item.settled.fingerprint, job->fingerprint, sizeof(job->fingerprint));
        buffer_init(&item.value, 1 << 20);
        buffer_init(&item.state_key, 1 << 20);
        atomic_fetch_add(&fixture->board.pending[item.partition], 1);
        return item;
}

static struct publication result(struct fixture *fixture, uint32_t index) {
        struct publication item = item_of(fixture, PUBLICATION_RESULT, index);
        char text[32];
        snprintf(text, sizeof(text), "{\"n\":%u}", index);
        buffer_append_string(&item.value, text);
        buffer_init(&item.reply.body, 1024);
        buffer_append_string(&item.reply.body, "an answer");
        return item;
}

static struct publication mark(struct fixture *fixture, uint32_t partition, uint64_t offset) {
        struct publication item = item_of(fixture, PUBLICATION_MARK, partition);
        item.offset = offset;
        return item;
}

static struct publication parking(struct fixture *fixture, uint32_t index) {
        struct publication item = item_of(fixture, PUBLICATION_PARK, index);
        const struct job_spec *job = fixture->jobs[index];
        const struct origin *origin = job->origin;
        struct state_record record = {
                .kind = STATE_PARKED,
                .parked = {.key = job->key, .due_unix_ms = 7, .at_unix_ms = 7, .record = origin->record}};
        memcpy(record.parked.fingerprint, job->fingerprint, sizeof(job->fingerprint));
        state_key_append(&item.state_key, job);
        state_record_append(&item.value, &record);
        item.due_unix_ms = 7;
        return item;
}

static void submit(struct fixture *fixture, struct publication *items, size_t count) {
        assert_true(publisher_submit(fixture->publisher, items, count));
}

static void submit_results(struct fixture *fixture, uint32_t from, uint32_t to) {
        struct publication items[MANY + 2];
        size_t count = 0;
        for (uint32_t i = from; i < to; i++)
                items[count++] = result(fixture, i);
        items[count++] = mark(fixture, 0, 100 + to / 2);
        items[count++] = mark(fixture, 1, 100 + to / 2);
        submit(fixture, items, count);
}

/* ---- what is there afterwards ---- */

static bool is_settled(struct fixture *fixture, uint32_t index) {
        struct store_record record;
        assert_ok(store_look_up(fixture->store, index % 2, fixture->jobs[index]->key, &record));
        return record.found == STORE_SETTLED;
}

/* Offsets in transactions get lost in the mock. */
static void expect_committed(uint32_t partition, uint64_t wanted) {
        if (cluster.real)
                assert_int_equal(committed(partition), wanted);
}

struct seen {
        uint32_t count, order;
        int values[256];
};

static void see(const rd_kafka_message_t *message, void *userdata) {
        struct seen *seen = userdata;
        int value = -1;
        assert_true(seen->count < 256);
        sscanf(message->payload ? message->payload : "", "{\"n\":%d}", &value);
        seen->values[seen->count++] = value;
}

static uint32_t read_topic(const char *topic, int partition, struct seen *out_seen) {
        memset(out_seen, 0, sizeof(*out_seen));
        read_all(cluster.bootstrap, topic, partition, "read_committed", see, out_seen);
        return out_seen->count;
}

static void expect_results(struct fixture *fixture, uint32_t count) {
        struct seen seen;
        assert_int_equal(read_topic(fixture->results, 0, &seen), count);
        for (uint32_t i = 0; i < count; i++)
                assert_int_equal(seen.values[i], i);
        uint32_t states = read_topic(fixture->state, 0, &seen);
        states += read_topic(fixture->state, 1, &seen);
        assert_int_equal(states, count);
}

static void expect_well(struct fixture *fixture, uint32_t count) {
        for (uint32_t i = 0; i < count; i++)
                assert_true(is_settled(fixture, i));
        assert_int_equal(atomic_load(&fixture->board.pending[0]), 0);
        assert_int_equal(atomic_load(&fixture->board.pending[1]), 0);
        expect_committed(0, 100 + count / 2);
        expect_committed(1, 100 + count / 2);
}

/* ---- tests ---- */

static void publishes_in_order(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        for (uint32_t i = 0; i < MANY; i += 8)
                submit_results(fixture, i, i + 8);
        wait_told(fixture, MANY);
        expect_well(fixture, MANY);
        expect_results(fixture, MANY);
        struct publisher_stats stats;
        publisher_get_stats(fixture->publisher, &stats);
        assert_int_equal(stats.results, MANY);
        assert_true(stats.committed > 0);
        assert_int_equal(stats.aborted + stats.fenced + stats.replaced, 0);
        assert_string_equal(stats.message, "");
        close_fixture(fixture);
}

/*
 * Each step fails once in each way. A real cluster must show every result once; the mock shows aborted
 * records, also to who reads the state topic, so there only what the store and the shard are told counts.
 */
static void survives_each_failure(void **state) {
        (void)state;
        static const char *const steps[] = {"begin", "send", "offsets", "commit"};
        static const enum producer_fault faults[] = {PRODUCER_FAULT_ABORT, PRODUCER_FAULT_FENCED,
                                                     PRODUCER_FAULT_FATAL};
        for (size_t i = 0; i < 3; i++) {
                struct fixture *fixture = open_fixture(NS_PER_MS);
                struct publisher_stats stats;
                for (uint32_t j = 0; j < 4; j++) {
                        fail_at(fixture, steps[j], faults[i], false);
                        submit_results(fixture, 10 * j, 10 * (j + 1));
                        wait_told(fixture, (size_t)10 * (j + 1));
                        publisher_get_stats(fixture->publisher, &stats);
                        assert_int_equal(stats.aborted, faults[i] == PRODUCER_FAULT_ABORT ? j + 1 : 0);
                        assert_int_equal(stats.fenced, faults[i] == PRODUCER_FAULT_FENCED ? j + 1 : 0);
                        assert_int_equal(stats.replaced, faults[i] == PRODUCER_FAULT_FATAL ? j + 1 : 0);
                        expect_well(fixture, 10 * (j + 1));
                }
                if (cluster.real)
                        expect_results(fixture, 40);
                close_fixture(fixture);
        }
}

/* The abort fails as well: not known, so a new producer, which ends what is open. */
static void survives_a_failed_abort(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publisher_stats stats;
        hold_at(fixture, "abort");
        fail_at(fixture, "commit", PRODUCER_FAULT_ABORT, false);
        submit_results(fixture, 0, 10);
        wait_for(fixture, &fixture->holding, 0);
        fail_at(fixture, "abort", PRODUCER_FAULT_FATAL, false);
        hold_at(fixture, NULL);
        wait_told(fixture, 10);
        publisher_get_stats(fixture->publisher, &stats);
        assert_int_equal(stats.replaced, 1);
        expect_well(fixture, 10);
        if (cluster.real)
                expect_results(fixture, 10);
        close_fixture(fixture);
}

/* Committed, but nobody was told: read from the state topic, and not sent again. */
static void sends_nothing_twice(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publisher_stats stats;
        fail_at(fixture, "committed", PRODUCER_FAULT_FATAL, false);
        submit_results(fixture, 0, 10);
        wait_told(fixture, 10);
        publisher_get_stats(fixture->publisher, &stats);
        assert_int_equal(stats.replaced, 1);
        expect_well(fixture, 10);
        expect_results(fixture, 10);
        submit_results(fixture, 10, 20);
        wait_told(fixture, 20);
        expect_well(fixture, 20);
        expect_results(fixture, 20);
        close_fixture(fixture);
}

static enum state_kind last_kind;
static struct state_lists lists;

static void see_state(const rd_kafka_message_t *message, void *userdata) {
        struct state_record record;
        (void)userdata;
        assert_int_equal(state_record_read((struct bytes){message->payload, message->len}, &lists, &record),
                         STATE_RECORD_OK);
        last_kind = record.kind;
}

/* A job parked and settled in the same lost transaction must not be left behind as parked. */
static void parks_nothing_that_is_settled(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[] = {parking(fixture, 0), result(fixture, 0), mark(fixture, 0, 101)};
        fail_at(fixture, "committed", PRODUCER_FAULT_FATAL, false);
        submit(fixture, items, 3);
        wait_told(fixture, 1);
        assert_int_equal(read_all(cluster.bootstrap, fixture->state, 0, "read_committed", see_state, NULL),
                         2);
        assert_int_equal(last_kind, STATE_SETTLED);
        assert_true(is_settled(fixture, 0));
        assert_int_equal(store_count_parked(fixture->store, 0), 0);
        close_fixture(fixture);
}

static void parks(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[] = {parking(fixture, 2), mark(fixture, 0, 102)};
        struct store_record record;
        submit(fixture, items, 2);
        MEMBER_UNTIL(atomic_load(&fixture->board.pending[0]) == 0, &cluster.member);
        assert_ok(store_look_up(fixture->store, 0, fixture->jobs[2]->key, &record));
        assert_int_equal(record.found, STORE_PARKED);
        assert_int_equal(record.due_unix_ms, 7);
        assert_int_equal(fixture->told_count, 0);
        expect_committed(0, 102);
        assert_int_equal(read_all(cluster.bootstrap, fixture->state, 0, "read_committed", see_state, NULL),
                         1);
        assert_int_equal(last_kind, STATE_PARKED);
        close_fixture(fixture);
}

/* A partition goes while its results are on their way: they are told as done, but stay unpublished. */
static void drops_what_has_gone(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct seen seen;
        hold_at(fixture, "commit");
        fail_at(fixture, "commit", PRODUCER_FAULT_ABORT, false);
        submit_results(fixture, 0, 10);
        wait_for(fixture, &fixture->holding, 0);
        atomic_store(&fixture->board.epoch[1], 2);
        hold_at(fixture, NULL);
        wait_for(fixture, NULL, 10);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->told_count, 10);
        for (uint32_t i = 0; i < 10; i++)
                assert_int_equal(is_settled(fixture, i), i % 2 == 0);
        assert_int_equal(atomic_load(&fixture->board.pending[1]), 0);
        expect_committed(0, 105);
        expect_committed(1, fixture->committed[1]);
        if (cluster.real) {
                assert_int_equal(read_topic(fixture->results, 0, &seen), 5);
                assert_int_equal(read_topic(fixture->state, 1, &seen), 0);
        }
        /* it comes back in a new epoch; a mark of the old one is not committed for it */
        atomic_store(&fixture->board.epoch[1], 3);
        struct publication late = result(fixture, 11), old = mark(fixture, 1, 999);
        late.epoch = 3;
        struct publication items[] = {old, late};
        submit(fixture, items, 2);
        wait_for(fixture, NULL, 11);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_true(is_settled(fixture, 11));
        expect_committed(1, fixture->committed[1]);
        close_fixture(fixture);
}

static uint32_t dead_headers;

static void see_dead_letter(const rd_kafka_message_t *message, void *userdata) {
        rd_kafka_headers_t *headers;
        const void *value;
        size_t size;
        (void)userdata;
        assert_int_equal(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
        dead_headers = (uint32_t)rd_kafka_header_cnt(headers);
        assert_int_equal(rd_kafka_header_get_last(headers, "batchferry-error-code", &value, &size),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_true(bytes_equal_string((struct bytes){value, size}, "no_provider"));
        assert_true(message->len > 0 && message->key_len == 5);
}

static void writes_dead_letters(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[2] = {item_of(fixture, PUBLICATION_DEAD_LETTER, 0), mark(fixture, 0, 101)};
        struct store_record record;
        fixture->outcomes[0].failure = items[0].settled.failure = FAILURE_NO_PROVIDER;
        items[0].key = job_record_key(fixture->decoder, 0, 100);
        submit(fixture, items, 2);
        wait_told(fixture, 1);
        assert_int_equal(
                read_all(cluster.bootstrap, fixture->dead, 0, "read_committed", see_dead_letter, NULL), 1);
        assert_true(dead_headers > 10);
        assert_false(is_settled(fixture, 0)); /* under the record's name, not the job's */
        assert_ok(store_look_up(fixture->store, 0, job_record_key(fixture->decoder, 0, 100), &record));
        assert_int_equal(record.found, STORE_SETTLED);
        close_fixture(fixture);
}

/* What no topic takes becomes a sentence; nothing waits behind it. */
static void shortens_what_is_too_large(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication large = result(fixture, 0);
        struct publication items[3];
        struct store_record record;
        for (int i = 0; i < 20000; i++)
                buffer_append_string(&large.value, "0123456789");
        items[0] = large;
        items[1] = result(fixture, 1);
        items[2] = mark(fixture, 0, 101);
        submit(fixture, items, 3);
        wait_told(fixture, 2);
        assert_ok(store_look_up(fixture->store, 0, fixture->jobs[0]->key, &record));
        assert_int_equal(record.found, STORE_SETTLED);
        assert_int_equal(record.settled.failure, FAILURE_PROVIDER_ERROR);
        assert_ok(store_look_up(fixture->store, 1, fixture->jobs[1]->key, &record));
        assert_int_equal(record.settled.failure, FAILURE_NONE);
        close_fixture(fixture);
}

static void sends_home(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[2] = {item_of(fixture, PUBLICATION_REHOME, 0), mark(fixture, 0, 101)};
        const struct origin *origin = fixture->jobs[0]->origin;
        items[0].origin = origin_new(&origin->record, 0);
        items[0].home = 1;
        atomic_fetch_add(&fixture->board.rehoming_bytes, origin_bytes(items[0].origin));
        submit(fixture, items, 2);
        MEMBER_UNTIL(atomic_load(&fixture->board.pending[0]) == 0, &cluster.member);
        assert_int_equal(atomic_load(&fixture->board.rehoming_bytes), 0);
        struct consumer_record record;
        member_take(&cluster.member, 1, &record);
        assert_true(bytes_equal(record.key, origin->record.key));
        assert_true(bytes_equal(record.value, origin->record.value));
        assert_int_equal(record.headers_count, 1);
        consumer_release(&record);
        expect_committed(0, 101);
        close_fixture(fixture);
}

/* An hour between transactions, unless somebody is in a hurry. */
static void hurries_when_told(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(INT64_C(1000000) * 3600 * NS_PER_S);
        submit_results(fixture, 0, 4);
        publisher_flush(fixture->publisher);
        wait_told(fixture, 4);
        expect_well(fixture, 4);
        close_fixture(fixture);
}

/* The store takes nothing any more: that is told, since the completions never come. */
static void says_when_the_store_fails(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        hold_at(fixture, "commit");
        submit_results(fixture, 0, 4);
        wait_for(fixture, &fixture->holding, 0);
        pthread_mutex_lock(&fixture->mutex);
        fixture->store_code = EIO;
        pthread_mutex_unlock(&fixture->mutex);
        hold_at(fixture, NULL);
        wait_for(fixture, &fixture->failed, 0);
        assert_int_equal(fixture->told_count, 0);
        assert_false(publisher_idle(fixture->publisher));
        close_fixture(fixture);
}

/* It can be stopped while nothing goes; what is not published stays in the store. */
static void stops_in_the_middle(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        fail_at(fixture, "commit", PRODUCER_FAULT_ABORT, true);
        submit_results(fixture, 0, 10);
        for (struct publisher_stats stats = {0}; stats.aborted < 2;) {
                publisher_get_stats(fixture->publisher, &stats);
                member_poll(&cluster.member);
                poll(NULL, 0, 1);
        }
        publisher_stop(fixture->publisher);
        submit_results(fixture, 10, 12); /* still taken, never sent */
        assert_int_equal(fixture->told_count, 0);
        assert_false(publisher_idle(fixture->publisher));
        close_fixture(fixture);
}

int main(void) {
        int failed = 0, clusters = getenv("BATCHFERRY_TEST_BOOTSTRAP") ? 2 : 1;
        for (int i = 0; i < clusters; i++) {
                const struct CMUnitTest tests[] = {
                        cmocka_unit_test(publishes_in_order),
                        cmocka_unit_test(survives_each_failure),
                        cmocka_unit_test(survives_a_failed_abort),
                        cmocka_unit_test(sends_nothing_twice),
                        cmocka_unit_test(parks_nothing_that_is_settled),
                        cmocka_unit_test(parks),
                        cmocka_unit_test(drops_what_has_gone),
                        cmocka_unit_test(writes_dead_letters),
                        cmocka_unit_test(shortens_what_is_too_large),
                        cmocka_unit_test(sends_home),
                        cmocka_unit_test(hurries_when_told),
                        cmocka_unit_test(says_when_the_store_fails),
                        cmocka_unit_test(stops_in_the_middle),
                };
                failed += cmocka_run_group_tests_name(i ? "a real cluster" : "the mock cluster", tests,
                                                      i ? open_real : open_mock, close_cluster);
        }
        return failed;
}
