/*
 * The publisher with a producer that is made to fail at every step: what was submitted is published once and
 * in order, what no longer belongs here is dropped and told, and after a transaction of unknown end the state
 * topic says what is there. On librdkafka's mock cluster, which shows aborted records, and, with
 * BATCHFERRY_TEST_BOOTSTRAP=host:port, on a real one, which shows who reads what.
 */
#include "tests/unit/loop/publishing.h"

#define CALM_NS (4 * NS_PER_S) /* half of it is more than a busy machine stands still for */

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

static struct error *see_word(void *userdata, uint32_t partition, struct bytes value) {
        struct state_record record;
        int64_t *allowed = userdata;
        assert_int_equal(partition, 0);
        assert_int_equal(state_record_read(value, &lists, &record), STATE_RECORD_OK);
        assert_int_equal(record.kind, STATE_SPEND);
        *allowed = record.spend.allowed[0].picousd;
        return NULL;
}

static int64_t allowed_in_store(struct fixture *fixture) {
        int64_t allowed = -1;
        assert_ok(store_each_share(fixture->store, 0, see_word, &allowed));
        return allowed;
}

/* The last of a partition stands in its state and in the store, and who said it is told. */
static void tells_what_became_of_words(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct partition_state at;
        bool found;
        struct publication items[] = {word(fixture, 0, 5), result(fixture, 0), word(fixture, 0, 6)};
        submit(fixture, items, 3);
        wait_told(fixture, 1);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->words_standing, 6);
        assert_int_equal(allowed_in_store(fixture), 6);
        assert_ok(store_partition_open(fixture->store, 0, &found, &at));
        assert_int_equal(at.source_high, 101); /* that of the result: a word is of no record */
        fail_at(fixture, "committed", PRODUCER_FAULT_FATAL, false); /* it may be there: said again */
        struct publication again[] = {word(fixture, 0, 7)};
        submit(fixture, again, 1);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->words_standing, 7);
        assert_int_equal(allowed_in_store(fixture), 7);
        hold_at(fixture, "commit");
        fail_at(fixture, "commit", PRODUCER_FAULT_ABORT, false);
        struct publication gone[] = {word(fixture, 0, 8)};
        submit(fixture, gone, 1);
        wait_for(fixture, &fixture->holding, 0);
        atomic_store(&fixture->board.epoch[0], 2);
        hold_at(fixture, NULL);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->words_fallen, 8);
        assert_int_equal(fixture->words_standing, 7);
        assert_int_equal(allowed_in_store(fixture), 7);
        /* it is there, but that is only found out when the partition has gone: the state topic was read */
        atomic_store(&fixture->board.epoch[0], 1);
        hold_at(fixture, "committed");
        fail_at(fixture, "committed", PRODUCER_FAULT_FATAL, false);
        struct publication lost[] = {word(fixture, 0, 9)};
        submit(fixture, lost, 1);
        wait_for(fixture, &fixture->holding, 0);
        atomic_store(&fixture->board.epoch[0], 2);
        hold_at(fixture, NULL);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        assert_int_equal(fixture->words_fallen, 9);
        assert_int_equal(allowed_in_store(fixture), 9);
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

/* The first part of a transaction is sent at half of the interval; what comes then goes with it. */
static void takes_more_into_what_is_open(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(CALM_NS);
        struct publisher_stats stats;
        submit_results(fixture, 0, 10); /* at once: nothing was published just before */
        wait_told(fixture, 10);
        hold_at(fixture, "begin");
        submit_results(fixture, 10, 20);
        wait_for(fixture, &fixture->holding, 0);
        submit_results(fixture, 20, 30);
        hold_at(fixture, NULL);
        wait_told(fixture, 30);
        publisher_get_stats(fixture->publisher, &stats);
        assert_int_equal(stats.committed, 2);
        expect_well(fixture, 30);
        expect_results(fixture, 30);
        close_fixture(fixture);
}

/*
 * What is revoked behind its sending takes the transaction with it, also where no offset tells; the rest is
 * sent once more.
 */
static void drops_what_goes_while_it_is_open(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(CALM_NS);
        struct publisher_stats stats;
        struct seen seen;
        struct publication first[] = {result(fixture, 0)};
        submit(fixture, first, 1);
        wait_told(fixture, 1);
        hold_at(fixture, "begin");
        struct publication items[] = {result(fixture, 1), result(fixture, 2), result(fixture, 3)};
        submit(fixture, items, 3);
        wait_for(fixture, &fixture->holding, 0);
        atomic_store(&fixture->board.epoch[1], 2);
        hold_at(fixture, NULL);
        wait_for(fixture, NULL, 4);
        MEMBER_UNTIL(publisher_idle(fixture->publisher), &cluster.member);
        publisher_get_stats(fixture->publisher, &stats);
        assert_int_equal(stats.fenced, 1);
        for (uint32_t i = 0; i < 4; i++)
                assert_int_equal(is_settled(fixture, i), i % 2 == 0);
        if (cluster.real)
                assert_int_equal(read_topic(fixture->results, 0, &seen), 2);
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
        items[0].key = job_record_key(fixture->decoder, &(struct record_name){.offset = 100});
        submit(fixture, items, 2);
        wait_told(fixture, 1);
        assert_int_equal(
                read_all(cluster.bootstrap, fixture->dead, 0, "read_committed", see_dead_letter, NULL), 1);
        assert_true(dead_headers > 10);
        assert_false(is_settled(fixture, 0)); /* under the record's name, not the job's */
        assert_ok(store_look_up(fixture->store, 0,
                                job_record_key(fixture->decoder, &(struct record_name){.offset = 100}),
                                &record));
        assert_int_equal(record.found, STORE_SETTLED);
        close_fixture(fixture);
}

/* What is left of them: key, value, the header that is too large. */
static char set_aside[3][4];

static void see_set_aside(const rd_kafka_message_t *message, void *userdata) {
        rd_kafka_headers_t *headers;
        const void *value;
        size_t size;
        uint32_t *count = userdata;
        char *seen = set_aside[(*count)++ % 3];
        assert_int_equal(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_int_equal(rd_kafka_header_get_last(headers, "batchferry-error-code", &value, &size),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
        seen[0] = message->key ? 'k' : '-';
        seen[1] = message->payload ? 'v' : '-';
        seen[2] = rd_kafka_header_get_last(headers, "large", &value, &size) ? '-' : 'h';
}

/* Headers or a key that no topic takes are left out too; nothing waits behind such a letter. */
static void sets_aside_what_is_too_large(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        static char large[200000];
        memset(large, 'x', sizeof(large));
        struct bytes text = {large, sizeof(large)};
        struct job_header header = {BYTES("large"), text};
        struct publication items[4];
        for (uint32_t i = 0; i < 3; i++) {
                struct job_spec *job = fixture->jobs[i];
                struct origin *origin = job->origin;
                struct job_record record = origin->record;
                if (i == 0)
                        record.headers = &header;
                else if (i == 1)
                        record.key = text;
                else
                        record.value = text;
                job->origin = origin_new(&record, origin->partition);
                assert_non_null(job->origin);
                origin_free(origin);
                items[i] = item_of(fixture, PUBLICATION_DEAD_LETTER, i);
                fixture->outcomes[i].failure = items[i].settled.failure = FAILURE_INVALID_JOB;
                const struct record_name name = {i % 2, record.offset, record.timestamp_unix_ms};
                items[i].key = job_record_key(fixture->decoder, &name);
        }
        items[3] = mark(fixture, 0, 101);
        submit(fixture, items, 4);
        wait_told(fixture, 3);
        uint32_t count = 0;
        read_all(cluster.bootstrap, fixture->dead, 0, "read_committed", see_set_aside, &count);
        assert_int_equal(count, 3);
        assert_string_equal(set_aside[0], "k--"); /* headers too large */
        assert_string_equal(set_aside[1], "---"); /* the key */
        assert_string_equal(set_aside[2], "k--"); /* the value alone */
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
        items[0].copied_bytes = origin_bytes(items[0].origin);
        atomic_fetch_add(&fixture->board.copied_bytes, items[0].copied_bytes);
        submit(fixture, items, 2);
        MEMBER_UNTIL(atomic_load(&fixture->board.pending[0]) == 0, &cluster.member);
        assert_int_equal(atomic_load(&fixture->board.copied_bytes), 0);
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
                        cmocka_unit_test(tells_what_became_of_words),
                        cmocka_unit_test(drops_what_has_gone),
                        cmocka_unit_test(takes_more_into_what_is_open),
                        cmocka_unit_test(drops_what_goes_while_it_is_open),
                        cmocka_unit_test(writes_dead_letters),
                        cmocka_unit_test(sets_aside_what_is_too_large),
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
