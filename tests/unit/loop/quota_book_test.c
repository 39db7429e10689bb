/*
 * What limits have given, in a store and by names: another configuration finds its own, what is old goes, and
 * on the way to the store the last word for a place counts.
 */
#include "broker/loop/committer.h"
#include "broker/loop/quota_book.h"
#include "broker/loop/quota_rows.h"
#include "broker/store/record.h"

#include <ftw.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1790000000000)
#define DAY_MS INT64_C(86400000)

struct fixture {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
};

static void open_store(struct fixture *fixture) {
        struct store_options options = {.directory = fixture->directory};
        assert_null(store_open(&options, &fixture->store));
        fixture->batch = store_batch_new(fixture->store);
}

static void close_store(struct fixture *fixture) {
        fixture->batch = store_batch_free(fixture->batch);
        fixture->store = store_close(fixture->store);
}

static void set_up(struct fixture *fixture) {
        strcpy(fixture->directory, "/tmp/quota-book-XXXXXX");
        assert_non_null(mkdtemp(fixture->directory));
        open_store(fixture);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
        (void)status, (void)kind, (void)at;
        return remove(path);
}

static void tear_down(struct fixture *fixture) {
        close_store(fixture);
        nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static struct quota_row row_of(enum quota_of of, const char *name, uint32_t place, int64_t amount) {
        return (struct quota_row){.of = of,
                                  .name = bytes_of(name),
                                  .quota = QUOTA_requests_per_day,
                                  .place = place,
                                  .until_unix_ms = NOW_MS + place,
                                  .amount = amount};
}

static void put(struct fixture *fixture, struct quota_row row) {
        store_batch_quota(fixture->batch, &row);
        assert_null(store_write(fixture->store, fixture->batch));
}

static struct quota_uses read_uses(const struct fixture *fixture, const struct catalog *catalog) {
        struct quota_uses uses = {0};
        assert_null(quota_uses_read(&uses, fixture->store, catalog));
        return uses;
}

static void names_find_their_own(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        put(&fixture, row_of(QUOTA_OF_PROVIDER, "p", 3, 5));
        put(&fixture, row_of(QUOTA_OF_ENDPOINT, "p/m/x", 4, 6));
        put(&fixture, row_of(QUOTA_OF_WORKSPACE, "p", 5, 7));
        put(&fixture, row_of(QUOTA_OF_ENDPOINT, "p/gone", 6, 8));
        close_store(&fixture);
        open_store(&fixture);
        struct provider providers[] = {{.name = "another"}, {.name = "p"}};
        struct endpoint endpoints[] = {{.name = "another/m"}, {.name = "p/m"}, {.name = "p/m/x"}};
        struct workspace workspaces[] = {{.name = "default"}, {.name = "p"}};
        struct catalog catalog = {providers, 2, endpoints, 3, "", workspaces, 2};
        struct quota_uses uses = read_uses(&fixture, &catalog);
        assert_int_equal(uses.count, 3);
        int64_t amounts[QUOTA_OF_COUNT] = {0};
        for (size_t i = 0; i < uses.count; i++) {
                const struct quota_use *use = &uses.items[i];
                assert_int_equal(use->index, use->of == QUOTA_OF_ENDPOINT ? 2 : 1);
                assert_int_equal(use->until_unix_ms, NOW_MS + use->place);
                assert_int_equal(use->quota, QUOTA_requests_per_day);
                amounts[use->of] = use->amount;
        }
        assert_true(amounts[QUOTA_OF_PROVIDER] == 5 && amounts[QUOTA_OF_ENDPOINT] == 6 &&
                    amounts[QUOTA_OF_WORKSPACE] == 7);
        quota_uses_deinit(&uses);
        put(&fixture, row_of(QUOTA_OF_PROVIDER, "p", 3, 0)); /* nothing: no row */
        uses = read_uses(&fixture, &catalog);
        assert_int_equal(uses.count, 2);
        quota_uses_deinit(&uses);
        struct buffer findings;
        struct store_stats stats;
        buffer_init(&findings, 4096);
        assert_null(store_verify(fixture.store, &stats, &findings));
        assert_int_equal(findings.size, 0);
        buffer_deinit(&findings);
        tear_down(&fixture);
}

/* Each row says what was opened when it was written: the last one counts. */
static void what_was_opened_counts_once(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        static const uint32_t places[] = {7, 119, 118, 0};
        for (size_t i = 0; i < 4; i++) {
                struct quota_row row = row_of(QUOTA_OF_PROVIDER, "p", places[i], 1);
                row.until_unix_ms = NOW_MS + (places[i] == 0 ? 1000 : (int64_t)places[i]);
                row.opened = 10 + places[i];
                put(&fixture, row);
                row.name = BYTES("q");
                put(&fixture, row);
        }
        struct provider providers[] = {{.name = "p"}, {.name = "q"}};
        struct catalog catalog = {.providers = providers, .providers_count = 2};
        struct quota_uses uses = read_uses(&fixture, &catalog);
        assert_int_equal(uses.count, 8);
        for (size_t i = 0; i < uses.count; i++)
                assert_int_equal(uses.items[i].opened, uses.items[i].place == 0 ? 10 : 0);
        quota_uses_deinit(&uses);
        tear_down(&fixture);
}

static void what_is_old_goes(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        struct quota_row row = row_of(QUOTA_OF_PROVIDER, "p", 1, 1);
        put(&fixture, row);
        row.place = 2;
        row.until_unix_ms = NOW_MS - 3 * DAY_MS;
        put(&fixture, row);
        row.name = BYTES("nobody knows it any more");
        put(&fixture, row);
        assert_null(quota_uses_expire(fixture.store, NOW_MS, fixture.batch));
        assert_int_equal(store_batch_count(fixture.batch), 2);
        assert_null(store_write(fixture.store, fixture.batch));
        struct provider provider = {.name = "p"};
        struct catalog catalog = {.providers = &provider, .providers_count = 1};
        struct quota_uses uses = read_uses(&fixture, &catalog);
        assert_int_equal(uses.count, 1);
        assert_int_equal(uses.items[0].place, 1);
        quota_uses_deinit(&uses);
        tear_down(&fixture);
}

static void rows_on_the_way_do_not_pile_up(void **state) {
        struct fixture fixture;
        struct quota_rows told = {0}, pending = {0};
        (void)state;
        set_up(&fixture);
        for (int64_t i = 0; i < 20000; i++) {
                struct quota_row row =
                        row_of(QUOTA_OF_PROVIDER, i % 2 ? "p" : "q", (uint32_t)(i % 121), i + 1);
                assert_true(quota_rows_put(&told, &row));
                if (i % 5 == 0)
                        assert_true(quota_rows_merge(&pending, &told));
        }
        assert_true(quota_rows_merge(&pending, &told));
        assert_int_equal(told.count, 0);
        assert_true(pending.capacity <= 1024);
        struct quota_rows working = {0};
        assert_true(quota_rows_merge(&working, &pending));
        quota_rows_stage(&working, fixture.batch);
        assert_int_equal(working.count, 0);
        assert_null(store_write(fixture.store, fixture.batch));
        struct provider providers[] = {{.name = "p"}, {.name = "q"}};
        struct catalog catalog = {.providers = providers, .providers_count = 2};
        struct quota_uses uses = read_uses(&fixture, &catalog);
        assert_int_equal(uses.count, 242);
        for (size_t i = 0; i < uses.count; i++)
                assert_true(uses.items[i].amount > 20000 - 242);
        quota_uses_deinit(&uses);
        quota_rows_deinit(&told);
        quota_rows_deinit(&pending);
        quota_rows_deinit(&working);
        tear_down(&fixture);
}

/* ---- the committer ---- */

static struct error *add_row(void *userdata, const struct quota_row *row) {
        *(int64_t *)userdata += row->amount + 100 * row->opened;
        return NULL;
}

/* Submits the intent alone and waits for it; gives what the store has then, what is opened a hundredfold. */
static int64_t commit(const struct fixture *fixture, struct committer *committer, const struct intent *intent,
                      struct begun_id *out_begun) {
        struct completion completion;
        int64_t sum = 0;
        assert_true(committer_submit(committer, intent, 1, NULL));
        while (!committer_idle(committer)) {
                if (committer_take(committer, &completion, 1) == 1)
                        *out_begun = completion.begun;
                else
                        poll(NULL, 0, 1);
        }
        assert_null(store_each_quota(fixture->store, add_row, &sum));
        return sum;
}

/* What limits have given is written with the attempts that may take it: for that alone nothing is synced. */
static void quotas_come_with_attempts(void **state) {
        static const struct catalog catalog = {.id = "0"};
        struct fixture fixture;
        struct committer *committer;
        struct begun_id begun = {0};
        (void)state;
        set_up(&fixture);
        struct committer_options options = {.store = fixture.store,
                                            .catalog = &catalog,
                                            .source_name = "jobs",
                                            .event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        assert_null(committer_new(&options, &committer));
        struct quota_row row = row_of(QUOTA_OF_PROVIDER, "p", 0, 0);
        struct intent open = {.kind = INTENT_OPEN,
                              .open = {.partition = STORE_NO_PARTITION, .attempt = 1, .endpoint = "p/m"}};
        row.opened = 1;
        assert_true(committer_quota(committer, &row));
        row.opened = 2; /* the last word counts */
        assert_true(committer_quota(committer, &row));
        assert_int_equal(commit(&fixture, committer, &open, &begun), 200);
        row.amount = row.opened = 1;
        assert_true(committer_quota(committer, &row));
        struct intent over = {.kind = INTENT_END, .begun = begun};
        assert_int_equal(commit(&fixture, committer, &over, &begun), 200);
        row = row_of(QUOTA_OF_PROVIDER, "p", 1, 6);
        assert_true(committer_quota(committer, &row));
        assert_int_equal(commit(&fixture, committer, &open, &begun), 1 + 100 + 6);
        row = row_of(QUOTA_OF_PROVIDER, "p", 0, 2);
        assert_true(committer_quota(committer, &row));
        over.begun = begun;
        committer_catch_up(committer); /* in the end, what is left */
        assert_int_equal(commit(&fixture, committer, &over, &begun), 2 + 6);
        committer_free(committer);
        close(options.event_fd);
        tear_down(&fixture);
}

/* A row that the first version wrote, and every way of being none. */
static void rows_are_checked(void **state) {
        static const char key[] = "quota/e/tokens_per_day/p/m/017";
        uint8_t row[QUOTA_BYTES] = {1, 0xe8, 3, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2};
        char made[QUOTA_KEY_MAX];
        struct quota_row read;
        (void)state;
        struct bytes value = {(char *)row, sizeof(row)};
        assert_int_equal(quota_decode(BYTES(key), value, &read), RECORD_OK);
        assert_int_equal(read.of, QUOTA_OF_ENDPOINT);
        assert_int_equal(read.quota, QUOTA_tokens_per_day);
        assert_true(bytes_equal(read.name, BYTES("p/m")));
        assert_true(read.place == 17 && read.until_unix_ms == 1000 && read.amount == 5 && read.opened == 2);
        assert_int_equal(quota_key_encode(&read, made), sizeof(key) - 1);
        assert_memory_equal(made, key, sizeof(key) - 1);
        static const char *const keys[] = {"quota/",
                                           "quota/x/tokens_per_day/p/017",
                                           "quota/ep/tokens_per_day/p/017",
                                           "quota/e/tokens_per_day/p/0x7",
                                           "quota/e/tokens_per_day/p/17",
                                           "quota/e/tokens_per_day//17",
                                           "quota/e/tokens_per_day",
                                           "quota/e/tokens_per_day/017"};
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
                assert_int_equal(quota_decode(bytes_of(keys[i]), value, &read), RECORD_DAMAGED);
        assert_int_equal(quota_decode(BYTES("quota/e/per_year/p/017"), value, &read), RECORD_NEWER);
        for (size_t size = 0; size < sizeof(row); size++)
                assert_int_equal(quota_decode(BYTES(key), (struct bytes){(char *)row, size}, &read),
                                 RECORD_DAMAGED);
        row[16] = 0x80; /* less than nothing */
        assert_int_equal(quota_decode(BYTES(key), value, &read), RECORD_DAMAGED);
        row[0] = 2;
        assert_int_equal(quota_decode(BYTES(key), value, &read), RECORD_NEWER);
        char long_name[2 * QUOTA_NAME_MAX];
        memset(long_name, 'n', sizeof(long_name));
        read.name = (struct bytes){long_name, sizeof(long_name)};
        size_t size = quota_key_encode(&read, made); /* cut */
        row[0] = 1, row[16] = 0;
        assert_int_equal(quota_decode((struct bytes){made, size}, value, &read), RECORD_OK);
        assert_int_equal(read.name.size, QUOTA_NAME_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_find_their_own),      cmocka_unit_test(what_was_opened_counts_once),
                cmocka_unit_test(what_is_old_goes),          cmocka_unit_test(rows_on_the_way_do_not_pile_up),
                cmocka_unit_test(quotas_come_with_attempts), cmocka_unit_test(rows_are_checked),
        };
        return cmocka_run_group_tests_name("quota_book", tests, NULL, NULL);
}
