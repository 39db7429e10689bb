#pragma once
/*
 * What the tests of the publisher share: a cluster, a producer that fails where it is told to, jobs and
 * items.
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
        uint32_t words_standing, words_fallen; /* the last words of which that was told */
        const char *fails_at;                  /* once, unless `always` */
        enum producer_fault fault;
        bool always;
        const char *holds_at; /* waits there */
        bool holding;
        bool failed;
        int store_code;
};

static const struct catalog catalog = {.id = "0"};

/* ---- hooks ---- */

static inline enum producer_fault on_step(void *userdata, const char *step) {
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

static inline void fail_at(struct fixture *fixture, const char *step, enum producer_fault fault,
                           bool always) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->fails_at = step;
        fixture->fault = fault;
        fixture->always = always;
        pthread_mutex_unlock(&fixture->mutex);
}

static inline void hold_at(struct fixture *fixture, const char *step) {
        pthread_mutex_lock(&fixture->mutex);
        fixture->holds_at = step;
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static inline void on_complete(void *userdata, const struct completion *completions, size_t count) {
        struct fixture *fixture = userdata;
        pthread_mutex_lock(&fixture->mutex);
        for (size_t i = 0; i < count; i++) {
                struct reply reply = completions[i].reply;
                if (completions[i].kind == INTENT_PUBLISH) {
                        *(completions[i].stands ? &fixture->words_standing : &fixture->words_fallen) =
                                completions[i].word;
                        continue;
                }
                assert_int_equal(completions[i].kind, INTENT_SETTLE);
                assert_true(fixture->told_count < STEPS_MAX);
                fixture->told[fixture->told_count++] = completions[i].handle.slot;
                reply_deinit(&reply);
        }
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static inline void on_fail(void *userdata, const char *message) {
        struct fixture *fixture = userdata;
        assert_true(*message);
        pthread_mutex_lock(&fixture->mutex);
        fixture->failed = true;
        pthread_cond_broadcast(&fixture->cond);
        pthread_mutex_unlock(&fixture->mutex);
}

static inline int on_store(void *userdata, const char *operation) {
        struct fixture *fixture = userdata;
        pthread_mutex_lock(&fixture->mutex);
        int code = strcmp(operation, "write") == 0 ? fixture->store_code : 0;
        pthread_mutex_unlock(&fixture->mutex);
        return code;
}

/* The membership lives on being polled. */
static inline void wait_for(struct fixture *fixture, const bool *flag, size_t told) {
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

static inline void wait_told(struct fixture *fixture, size_t count) {
        wait_for(fixture, NULL, count);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->told_count, count);
        for (size_t i = 0; i < count; i++)
                assert_int_equal(fixture->told[i], i);
}

/* ---- opening ---- */

static inline void create(const char *name, int partitions) {
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

static inline int open_cluster(bool real) {
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

static inline int open_mock(void **state) {
        (void)state;
        return open_cluster(false);
}

static inline int open_real(void **state) {
        (void)state;
        return open_cluster(true);
}

static inline int close_cluster(void **state) {
        (void)state;
        member_close(&cluster.member);
        if (!cluster.real)
                mock_stop(&cluster.mock);
        return 0;
}

static inline uint64_t committed(uint32_t partition) {
        uint64_t offset = 0;
        bool found = false;
        assert_ok(consumer_committed(cluster.member.consumer, partition, 20 * NS_PER_S, &offset, &found));
        return found ? offset : UINT64_MAX;
}

static inline void make_topics(struct fixture *fixture) {
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
static inline void make_jobs(struct fixture *fixture) {
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

static inline void open_publisher(struct fixture *fixture, int64_t interval_ns) {
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

static inline struct fixture *open_fixture(int64_t interval_ns) {
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

static inline void close_fixture(struct fixture *fixture) {
        struct dirent *entry;
        publisher_free(fixture->publisher);
        for (uint32_t i = 0; i < MANY; i++) {
                if (fixture->jobs[i]) /* else a publication had it */
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

static inline struct publication item_of(struct fixture *fixture, enum publication_kind kind,
                                         uint32_t index) {
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

static inline struct publication result(struct fixture *fixture, uint32_t index) {
        struct publication item = item_of(fixture, PUBLICATION_RESULT, index);
        char text[32];
        snprintf(text, sizeof(text), "{\"n\":%u}", index);
        buffer_append_string(&item.value, text);
        buffer_init(&item.reply.body, 1024);
        buffer_append_string(&item.reply.body, "an answer");
        return item;
}

static inline struct publication mark(struct fixture *fixture, uint32_t partition, uint64_t offset) {
        struct publication item = item_of(fixture, PUBLICATION_MARK, partition);
        item.offset = offset;
        return item;
}

static inline struct publication parking(struct fixture *fixture, uint32_t index) {
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

static inline struct publication word(struct fixture *fixture, uint32_t partition, uint32_t number) {
        struct publication item = item_of(fixture, PUBLICATION_SPEND, partition);
        struct state_record record = {.kind = STATE_SPEND,
                                      .spend = {.name = BYTES("w"), .allowed = {{1, number}, {0, 0}}}};
        item.offset = 0;
        item.word = number;
        budget_spend_init(&record.spend.spend);
        state_key_append_spend(&item.state_key, false, record.spend.name);
        state_record_append(&item.value, &record);
        return item;
}

static inline void submit(struct fixture *fixture, struct publication *items, size_t count) {
        assert_true(publisher_submit(fixture->publisher, items, count));
}

static inline void submit_results(struct fixture *fixture, uint32_t from, uint32_t to) {
        struct publication items[MANY + 2];
        size_t count = 0;
        for (uint32_t i = from; i < to; i++)
                items[count++] = result(fixture, i);
        items[count++] = mark(fixture, 0, 100 + to / 2);
        items[count++] = mark(fixture, 1, 100 + to / 2);
        submit(fixture, items, count);
}

/* ---- what is there afterwards ---- */

static inline bool is_settled(struct fixture *fixture, uint32_t index) {
        struct store_record record;
        assert_ok(store_look_up(fixture->store, index % 2, fixture->jobs[index]->key, &record));
        return record.found == STORE_SETTLED;
}

/* Offsets in transactions get lost in the mock. */
static inline void expect_committed(uint32_t partition, uint64_t wanted) {
        if (cluster.real)
                assert_int_equal(committed(partition), wanted);
}

struct seen {
        uint32_t count, order;
        int values[256];
};

static inline void see(const rd_kafka_message_t *message, void *userdata) {
        struct seen *seen = userdata;
        int value = -1;
        assert_true(seen->count < 256);
        sscanf(message->payload ? message->payload : "", "{\"n\":%d}", &value);
        seen->values[seen->count++] = value;
}

static inline uint32_t read_topic(const char *topic, int partition, struct seen *out_seen) {
        memset(out_seen, 0, sizeof(*out_seen));
        read_all(cluster.bootstrap, topic, partition, "read_committed", see, out_seen);
        return out_seen->count;
}

static inline void expect_results(struct fixture *fixture, uint32_t count) {
        struct seen seen;
        assert_int_equal(read_topic(fixture->results, 0, &seen), count);
        for (uint32_t i = 0; i < count; i++)
                assert_int_equal(seen.values[i], i);
        uint32_t states = read_topic(fixture->state, 0, &seen);
        states += read_topic(fixture->state, 1, &seen);
        assert_int_equal(states, count);
}

static inline void expect_well(struct fixture *fixture, uint32_t count) {
        for (uint32_t i = 0; i < count; i++)
                assert_true(is_settled(fixture, i));
        assert_int_equal(atomic_load(&fixture->board.pending[0]), 0);
        assert_int_equal(atomic_load(&fixture->board.pending[1]), 0);
        expect_committed(0, 100 + count / 2);
        expect_committed(1, 100 + count / 2);
}
