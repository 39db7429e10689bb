/* Old keys are forgotten, in the state topic and in the store, and by whoever reads the topic afterwards. */
#include "broker/loop/expiry.h"
#include "broker/loop/restore.h"
#include "publishing.h"

enum { OLD = 20, ALL = 40 };

/* Settled at 1000, 1001 and so on. */
static void publish_results(struct fixture *fixture, uint32_t from, uint32_t to) {
        struct publication items[MANY];
        size_t count = 0;
        for (uint32_t i = from; i < to; i++) {
                items[count] = result(fixture, i);
                items[count++].settled.settled_unix_ms = 1000 + i;
        }
        submit(fixture, items, count);
        wait_told(fixture, to);
}

static struct changelog *open_state(struct fixture *fixture) {
        struct changelog *changelog;
        struct changelog_options options = {
                .properties = view(&cluster.common), .topic = fixture->state, .client_id = "test"};
        assert_ok(changelog_open(&options, &changelog));
        return changelog;
}

static struct expiry_slice read_slice(struct fixture *fixture, uint32_t partition, uint64_t from,
                                      int64_t before_unix_ms, bool waited_for) {
        struct expiry_slice slice = {
                .partition = partition, .epoch = 1, .from = from, .before_unix_ms = before_unix_ms};
        atomic_bool stop = waited_for;
        struct changelog *changelog = open_state(fixture);
        expiry_read(fixture->store, changelog, &slice, &stop);
        assert_ok(slice.error);
        changelog_close(changelog);
        return slice;
}

static uint32_t count_keys(const struct expiry_slice *slice) {
        struct bytes rest = buffer_view(&slice->keys);
        struct expired expired;
        uint32_t count = 0;
        while (expired_take(&rest, &expired))
                count++;
        return count;
}

/* The slice's keys are the publication's then. */
static void forget(struct fixture *fixture, struct expiry_slice *slice) {
        struct publication item = {.kind = PUBLICATION_FORGET,
                                   .partition = slice->partition,
                                   .epoch = 1,
                                   .value = slice->keys,
                                   .state_offset = UINT64_MAX};
        slice->keys = (struct buffer){0};
        atomic_fetch_add(&fixture->board.pending[slice->partition], 1);
        atomic_fetch_add(&fixture->board.forgetting, 1);
        submit(fixture, &item, 1);
        MEMBER_UNTIL(atomic_load(&fixture->board.forgetting) == 0, &cluster.member);
        assert_int_equal(atomic_load(&fixture->board.pending[slice->partition]), 0);
}

static void expect_forgotten(struct fixture *fixture, uint32_t old) {
        for (uint32_t i = 0; i < ALL; i++)
                assert_int_equal(is_settled(fixture, i), i >= old);
}

/* What somebody knows who begins with the state topic alone, or with what is in the store. */
static uint32_t count_restored(struct fixture *fixture, bool anew) {
        struct changelog *changelog = open_state(fixture);
        atomic_bool stop = false;
        uint32_t known = 0;
        for (uint32_t p = 0; p < 2; p++) {
                struct restored restored = {.partition = p};
                if (anew)
                        assert_ok(store_partition_clear(fixture->store, p));
                assert_ok(restore_catch_up(fixture->store, changelog, p, &stop, &restored));
                restored_deinit(&restored);
        }
        for (uint32_t i = 0; i < ALL; i++)
                known += is_settled(fixture, i);
        changelog_close(changelog);
        return known;
}

static void old_keys_are_forgotten_everywhere(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        publish_results(fixture, 0, ALL);
        for (uint32_t p = 0; p < 2; p++) {
                struct expiry_slice slice = read_slice(fixture, p, 0, 1000 + OLD, false);
                assert_int_equal(count_keys(&slice), OLD / 2);
                assert_false(slice.more);
                uint64_t from = slice.from; /* the first that is young enough */
                forget(fixture, &slice);
                slice = read_slice(fixture, p, from, 1000 + OLD, false);
                assert_int_equal(count_keys(&slice), 0);
                assert_int_equal(slice.from, from);
                expiry_slice_deinit(&slice);
        }
        expect_forgotten(fixture, OLD);
        publisher_free(fixture->publisher);
        fixture->publisher = NULL;
        assert_int_equal(count_restored(fixture, false), ALL - OLD);
        assert_int_equal(count_restored(fixture, true), ALL - OLD);
        expect_forgotten(fixture, OLD);
        struct expiry_slice slice = read_slice(fixture, 0, 0, 1000 + OLD, false); /* all over again */
        assert_int_equal(count_keys(&slice), 0);
        expiry_slice_deinit(&slice);
        slice = read_slice(fixture, 0, 0, clock_now_unix_ms(), false);
        assert_int_equal(count_keys(&slice), (ALL - OLD) / 2);
        expiry_slice_deinit(&slice);
        close_fixture(fixture);
}

/* The topic still has what was said first. */
static void what_was_settled_anew_stays(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        publish_results(fixture, 0, 4);
        struct publication again = result(fixture, 0);
        again.handle.slot = 4;
        again.settled.settled_unix_ms = 5000;
        submit(fixture, &again, 1);
        wait_told(fixture, 5);
        struct expiry_slice slice = read_slice(fixture, 0, 0, 2000, false);
        struct bytes rest = buffer_view(&slice.keys);
        struct expired expired;
        assert_true(expired_take(&rest, &expired));
        assert_true(key128_equal(expired.key, fixture->jobs[2]->key));
        assert_int_equal(expired.offset, 101);
        assert_true(bytes_equal_string(expired.state_key, "key-2"));
        assert_false(expired_take(&rest, &expired));
        expiry_slice_deinit(&slice);
        close_fixture(fixture);
}

/* Somebody's clock was years ahead. */
static void what_is_of_the_future_holds_nothing_up(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[] = {result(fixture, 0), result(fixture, 2), result(fixture, 4)};
        items[0].handle.slot = 0;
        items[1].handle.slot = 1;
        items[2].handle.slot = 2;
        items[0].settled.settled_unix_ms = clock_now_unix_ms() + INT64_C(100000000000);
        items[2].settled.settled_unix_ms = clock_now_unix_ms();
        submit(fixture, items, 3);
        wait_told(fixture, 3);
        struct expiry_slice slice = read_slice(fixture, 0, 0, 1000, false);
        assert_int_equal(count_keys(&slice), 1);
        assert_true(slice.from >= 2 && !slice.more);
        expiry_slice_deinit(&slice);
        close_fixture(fixture);
}

static void gives_way(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        publish_results(fixture, 0, ALL);
        struct expiry_slice slice = read_slice(fixture, 0, 5, INT64_MAX, true);
        assert_true(count_keys(&slice) <= 1); /* one at a time is looked at */
        assert_true(slice.from == 5 + count_keys(&slice));
        assert_true(slice.more);
        expiry_slice_deinit(&slice);
        close_fixture(fixture);
}

/* Whether it is known that they went is not the same as that they went. */
static void survives_each_failure(void **state) {
        (void)state;
        static const enum producer_fault faults[] = {PRODUCER_FAULT_ABORT, PRODUCER_FAULT_FATAL};
        for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
                struct fixture *fixture = open_fixture(NS_PER_MS);
                publish_results(fixture, 0, ALL);
                fail_at(fixture, "commit", faults[i], false);
                for (uint32_t p = 0; p < 2; p++) {
                        struct expiry_slice slice = read_slice(fixture, p, 0, 1000 + OLD, false);
                        forget(fixture, &slice);
                }
                expect_forgotten(fixture, OLD);
                publisher_free(fixture->publisher);
                fixture->publisher = NULL;
                assert_int_equal(count_restored(fixture, true), ALL - OLD);
                close_fixture(fixture);
        }
}

static void restore(struct fixture *fixture, int64_t retention_ns) {
        struct restorer *restorer;
        struct restored restored;
        struct restore_options options = {.store = fixture->store,
                                          .consumer = cluster.member.consumer,
                                          .properties = view(&cluster.common),
                                          .topic_state = fixture->state,
                                          .client_id = "test",
                                          .event_fd = fixture->event_fd,
                                          .retention_ns = retention_ns};
        assert_ok(restorer_new(&options, &restorer));
        assert_ok(restorer_submit(restorer, 0, 1));
        MEMBER_UNTIL(restorer_take(restorer, &restored), &cluster.member);
        assert_ok(restored.error);
        restored_deinit(&restored);
        restorer_free(restorer);
}

static void set_state(struct fixture *fixture, uint64_t changelog_offset, int64_t age_ms) {
        struct store_batch *batch = store_batch_new(fixture->store);
        struct partition_state at = {.changelog_offset = changelog_offset,
                                     .updated_unix_ms = clock_now_unix_ms() - age_ms};
        store_batch_settle(batch, fixture->jobs[2]->key, &(struct settled){.attempts = 1},
                           (struct begun_id){0});
        store_batch_partition(batch, 0, &at);
        assert_ok(store_write(fixture->store, batch));
        store_batch_free(batch);
}

/* Of a key that was forgotten while the disk was away even the tombstone has gone. */
static void what_was_away_for_long_is_read_anew(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        publish_results(fixture, 0, 2);
        publisher_free(fixture->publisher);
        fixture->publisher = NULL;
        set_state(fixture, 1, 3 * 3600 * 1000);
        restore(fixture, 4 * 3600 * NS_PER_S);
        assert_true(is_settled(fixture, 2));
        set_state(fixture, 1, 3 * 3600 * 1000);
        restore(fixture, 2 * 3600 * NS_PER_S);
        assert_false(is_settled(fixture, 2));
        assert_true(is_settled(fixture, 0));
        close_fixture(fixture);
}

/* ---- results that are published again ---- */

static bool is_kept(struct fixture *fixture, uint32_t index, int64_t at_unix_ms, const char *expected) {
        struct buffer value;
        bool found;
        buffer_init(&value, 1 << 20);
        assert_ok(store_get_kept(fixture->store, index % 2, fixture->jobs[index]->key, at_unix_ms, &value,
                                 &found));
        if (found)
                assert_true(bytes_equal_string(buffer_view(&value), expected));
        buffer_deinit(&value);
        return found;
}

static void keeps_what_it_may(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        publish_results(fixture, 0, 1);
        assert_false(is_kept(fixture, 0, 1000, ""));
        publisher_free(fixture->publisher);
        fixture->options.keep_results = true;
        assert_ok(publisher_new(&fixture->options, &fixture->publisher));
        fixture->jobs[3]->demand.prefs.zdr = true;
        publish_results(fixture, 1, 4);
        assert_true(is_kept(fixture, 1, 1001, "{\"n\":1}"));
        assert_true(is_kept(fixture, 2, 1002, "{\"n\":2}"));
        assert_false(is_kept(fixture, 3, 1003, ""));
        close_fixture(fixture);
}

static void publishes_again(void **state) {
        (void)state;
        struct fixture *fixture = open_fixture(NS_PER_MS);
        struct publication items[2] = {item_of(fixture, PUBLICATION_REPLAY, 0), mark(fixture, 0, 101)};
        struct job_spec *job = fixture->jobs[0];
        struct publication *replay = &items[0];
        struct seen seen;
        replay->key = job_record_key(fixture->decoder, &(struct record_name){.offset = 100});
        replay->repeat = job;
        replay->origin = job->origin;
        replay->copied_bytes = 77;
        atomic_store(&fixture->board.copied_bytes, 77);
        buffer_append_string(&replay->value, "{\"n\":0}");
        fixture->jobs[0] = NULL;
        submit(fixture, items, 2);
        MEMBER_UNTIL(atomic_load(&fixture->board.pending[0]) == 0, &cluster.member);
        assert_int_equal(atomic_load(&fixture->board.copied_bytes), 0);
        assert_int_equal(read_topic(fixture->results, 0, &seen), 1);
        assert_int_equal(seen.values[0], 0);
        assert_int_equal(read_topic(fixture->state, 0, &seen), 1);
        struct store_record record;
        assert_ok(store_look_up(fixture->store, 0,
                                job_record_key(fixture->decoder, &(struct record_name){.offset = 100}),
                                &record));
        assert_int_equal(record.found, STORE_SETTLED); /* read once more, it gets nothing */
        expect_committed(0, 101);
        close_fixture(fixture);
}

int main(void) {
        int failed = 0, clusters = getenv("BATCHFERRY_TEST_BOOTSTRAP") ? 2 : 1;
        for (int i = 0; i < clusters; i++) {
                const struct CMUnitTest tests[] = {
                        cmocka_unit_test(old_keys_are_forgotten_everywhere),
                        cmocka_unit_test(what_was_settled_anew_stays),
                        cmocka_unit_test(what_is_of_the_future_holds_nothing_up),
                        cmocka_unit_test(gives_way),
                        cmocka_unit_test(survives_each_failure),
                        cmocka_unit_test(what_was_away_for_long_is_read_anew),
                        cmocka_unit_test(keeps_what_it_may),
                        cmocka_unit_test(publishes_again),
                };
                failed += cmocka_run_group_tests_name(i ? "a real cluster" : "the mock cluster", tests,
                                                      i ? open_real : open_mock, close_cluster);
        }
        return failed;
}
