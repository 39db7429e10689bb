/* What the intake does with old keys that were found, and with duplicates of jobs that have ended. */
#include "broker/wire/result.h"
#include "tests/unit/loop/playing.h"

enum { MANY = 5000, IN_A_TRANSACTION = 2048 };

static void add_key(uint64_t offset) {
        char key[32];
        snprintf(key, sizeof(key), "key-%llu", (unsigned long long)offset);
        expired_append(&played.slice.keys, &(struct expired){.key = {offset, 1},
                                                             .offset = offset,
                                                             .state_offset = 1000 + offset,
                                                             .state_key = bytes_of(key)});
}

/* A tick of the intake is what looks for old keys, and its partition's time must have come. */
static void ask(void) {
        played.intake->parts[0]->expiry_ns = 0;
        played.intake->tick_ns = 0;
        gather();
}

static void finds(uint64_t from, uint64_t until, bool more) {
        assert_true(played.asked);
        buffer_init(&played.slice.keys, 1 << 20);
        for (uint64_t offset = from; offset < until; offset++)
                add_key(offset);
        played.slice.from = 1000 + until;
        played.slice.more = more;
        played.expired = true;
        gather();
}

/* Those of the last publication that forgets. */
static size_t count_forgotten(uint64_t *out_first) {
        struct publication *last = NULL;
        for (size_t i = 0; i < played.intents_count; i++) {
                struct publication *publication = played.intents[i].publication;
                if (publication && publication->kind == PUBLICATION_FORGET)
                        last = publication;
        }
        if (!last)
                return 0;
        struct bytes rest = buffer_view(&last->value);
        struct expired expired;
        size_t count = 0;
        while (expired_take(&rest, &expired))
                if (count++ == 0)
                        *out_first = expired.offset;
        return count;
}

/* A partition whose mark is at 3, with all its records done. */
static void begin(int64_t retention_ns) {
        played.intake->options.retention_ns = retention_ns;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
        for (size_t i = 0; i < 3; i++) {
                struct origin *origin = played.given[i]->origin;
                window_settle(&played.intake->parts[0]->window, origin->record.offset);
                ends(played.given[i]);
        }
}

static void only_what_is_before_the_mark(void **state) {
        (void)state;
        uint64_t first = 0;
        begin(1000 * NS_PER_MS);
        ask();
        assert_int_equal(played.slice.from, 0);
        int64_t age_ms = clock_now_unix_ms() - played.slice.before_unix_ms;
        assert_true(age_ms >= 1000 && age_ms < 60000);
        finds(1, 6, true);
        gather();
        assert_int_equal(count_forgotten(&first), 2);
        assert_int_equal(first, 1);
        assert_int_equal(played.intake->stats.forgotten, 2);
        /* the mark is in the same transaction, or in one before */
        assert_int_equal(played.intents[played.intents_count - 1].publication->kind, PUBLICATION_FORGET);
        assert_int_equal(played.intents[played.intents_count - 2].publication->kind, PUBLICATION_MARK);
        assert_int_equal(played.intents[played.intents_count - 2].publication->offset, 3);
        atomic_store(&played.board.forgetting, 0);
        gather();
        ask();
        assert_int_equal(played.slice.from, 1003); /* again from the first that had to wait */
}

static void a_transaction_has_not_too_many(void **state) {
        (void)state;
        uint64_t first = 0;
        played.end = 0;
        hears(CONSUMER_ASSIGNED);
        gather();
        window_start(&played.intake->parts[0]->window, MANY);
        ask();
        finds(0, MANY, false);
        gather();
        for (size_t left = MANY; left > 0;) {
                size_t wanted = left < IN_A_TRANSACTION ? left : IN_A_TRANSACTION;
                assert_int_equal(count_forgotten(&first), wanted);
                assert_int_equal(first, MANY - left);
                assert_int_equal(atomic_load(&played.board.forgetting), 1);
                gather(); /* one at a time */
                assert_int_equal(count_forgotten(&first), wanted);
                atomic_store(&played.board.forgetting, 0);
                gather();
                left -= wanted;
        }
        assert_int_equal(played.intake->stats.forgotten, MANY);
        assert_false(played.asked); /* its time has not come again */
}

static void what_has_gone_is_not_forgotten_here(void **state) {
        (void)state;
        uint64_t first;
        begin(1000 * NS_PER_MS);
        ask();
        hears(CONSUMER_LOST);
        hears(CONSUMER_ASSIGNED);
        finds(0, 2, false);
        gather();
        assert_int_equal(count_forgotten(&first), 0);
        assert_int_equal(played.intake->parts[0]->expiry_from, 0);
}

static void a_failure_is_tried_again_later(void **state) {
        (void)state;
        uint64_t first;
        begin(1000 * NS_PER_MS);
        ask();
        played.slice.error = error_new(ERROR_NETWORK, "nobody is there");
        finds(0, 2, false);
        gather();
        assert_int_equal(count_forgotten(&first), 0);
        assert_false(played.asked);
        assert_true(played.intake->parts[0]->expiry_ns > clock_now_ns());
        ask();
        assert_int_equal(played.slice.from, 0);
}

/* ---- duplicates ---- */

/* The job of the first record was settled at that offset, and its result is kept. */
static void settle_and_keep(const struct job_spec *job, uint64_t offset, bool keep) {
        struct store_batch *batch = store_batch_new(played.store);
        struct settled settled = {
                .offset = offset, .settled_unix_ms = 5000, .attempts = 1, .fingerprint_known = true};
        memcpy(settled.fingerprint, job->fingerprint, sizeof(settled.fingerprint));
        store_batch_settle(batch, job->key, &settled, (struct begun_id){0});
        struct outcome outcome = {.failure = FAILURE_PROVIDER_REJECTED};
        struct buffer result;
        buffer_init(&result, 1 << 16);
        result_append_value(&result, &(struct result_source){
                                             .job = job, .outcome = &outcome, .catalog = &played.catalog});
        if (keep)
                store_batch_keep(batch, 0, job->key, 5000, buffer_view(&result));
        buffer_deinit(&result);
        assert_null(store_write(played.store, batch));
        store_batch_free(batch);
}

static struct publication *replay(void) {
        for (size_t i = 0; i < played.intents_count; i++) {
                struct publication *publication = played.intents[i].publication;
                if (publication && publication->kind == PUBLICATION_REPLAY)
                        return publication;
        }
        return NULL;
}

static void come(bool republish) {
        played.intake->options.republish = republish;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
}

static void end_all_but_the_first(void) {
        for (size_t i = 1; i < 3; i++)
                ends(played.given[i]);
}

static void a_duplicate_gets_the_result_once_more(void **state) {
        (void)state;
        come(true);
        settle_and_keep(played.given[0], 77, true);
        repeats(played.given[0], NULL, false);
        const struct publication *publication = replay();
        assert_non_null(publication);
        assert_int_equal(publication->offset, 0);
        assert_true(key128_equal(publication->key, job_record_key(played.decoder, &(struct record_name){0})));
        assert_true(bytes_equal_string(publication->job->custom_id, "a"));
        assert_true(bytes_equal(publication->job->idempotency, BYTES("k")));
        assert_non_null(memmem(publication->value.data, publication->value.size, "\"replayed\":true", 15));
        assert_int_equal(played.intake->parts[0]->window.mark, 1);
        assert_int_equal(atomic_load(&played.board.copied_bytes), publication->copied_bytes);
        assert_true(publication->copied_bytes > publication->value.size);
        end_all_but_the_first();
}

static void expect_dropped(uint64_t missing) {
        repeats(played.given[0], NULL, false);
        assert_null(replay());
        assert_int_equal(played.intake->parts[0]->window.mark, 1);
        assert_int_equal(played.intake->stats.not_kept, missing);
        end_all_but_the_first();
}

static void nothing_when_it_is_not_kept(void **state) {
        (void)state;
        come(true);
        settle_and_keep(played.given[0], 77, false);
        expect_dropped(1);
}

static void nothing_when_it_is_not_asked_for(void **state) {
        (void)state;
        come(false);
        settle_and_keep(played.given[0], 77, true);
        expect_dropped(0);
}

/* After a crash a record comes again whose job has ended. */
static void nothing_for_the_job_itself(void **state) {
        (void)state;
        come(true);
        settle_and_keep(played.given[0], 0, true);
        expect_dropped(0);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(only_what_is_before_the_mark),          TEST(a_transaction_has_not_too_many),
                TEST(what_has_gone_is_not_forgotten_here),   TEST(a_failure_is_tried_again_later),
                TEST(a_duplicate_gets_the_result_once_more), TEST(nothing_when_it_is_not_kept),
                TEST(nothing_when_it_is_not_asked_for),      TEST(nothing_for_the_job_itself),
        };
        return cmocka_run_group_tests_name("record expiry", tests, NULL, NULL);
}
