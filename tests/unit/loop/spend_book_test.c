/*
 * What was spent, over the deaths of processes: what their attempts held is added once, whoever looks and
 * however often, and what turns out to be known better takes its place.
 */
#include "broker/loop/spend_book.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DAY    INT64_C(20000)
#define NOW_MS (DAY * 86400000 + 1000)

struct fixture {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
        struct spend_book book;
        struct workspace workspace;
        struct catalog catalog;
};

static void open_store(struct fixture *fixture) {
        struct store_options options = {.directory = fixture->directory};
        assert_null(store_open(&options, &fixture->store));
        fixture->batch = store_batch_new(fixture->store);
        fixture->book = (struct spend_book){0};
        assert_null(spend_book_load(&fixture->book, fixture->store, &fixture->catalog, NOW_MS));
}

static void close_store(struct fixture *fixture) {
        spend_book_deinit(&fixture->book);
        fixture->batch = store_batch_free(fixture->batch);
        fixture->store = store_close(fixture->store);
}

static void write_book(struct fixture *fixture) {
        spend_book_write(&fixture->book, fixture->batch);
        assert_null(store_write(fixture->store, fixture->batch));
}

static void set_up(struct fixture *fixture) {
        *fixture = (struct fixture){.workspace = {.name = "w", .release_unknown_ns = 1000000}};
        fixture->catalog = (struct catalog){.workspaces = &fixture->workspace, .workspaces_count = 1};
        strcpy(fixture->directory, "/tmp/spend-book-XXXXXX");
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

static struct begun_id begin(struct fixture *fixture, uint64_t key, int64_t before, int64_t hold) {
        struct begun begun = {.key = {key, key},
                              .partition = STORE_NO_PARTITION,
                              .attempt = 1,
                              .exposure_picousd = before + hold,
                              .endpoint = "p/m",
                              .holds = true,
                              .hold_picousd = hold,
                              .hold_day = DAY,
                              .workspace = BYTES("w"),
                              .provider = BYTES("p")};
        return store_batch_begin(fixture->batch, &begun);
}

static void commit(struct fixture *fixture) {
        assert_null(store_write(fixture->store, fixture->batch));
}

static int64_t risk(const struct fixture *fixture, enum spend_kind kind, const char *name) {
        const struct budget_spend *spend = spend_book_find(&fixture->book, kind, bytes_of(name));
        int64_t sum = 0;
        for (uint32_t i = 0; spend && i < spend->risks_count; i++)
                sum += spend->risks[i].picousd;
        return sum;
}

static int64_t spent(const struct fixture *fixture, enum spend_kind kind, const char *name) {
        const struct budget_spend *spend = spend_book_find(&fixture->book, kind, bytes_of(name));
        return spend ? spend->lifetime_picousd : -1;
}

static void reopen(struct fixture *fixture) {
        close_store(fixture);
        open_store(fixture);
}

static void holds_are_added_once(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        begin(&fixture, 1, 0, 70);
        struct begun_id second = begin(&fixture, 2, 0, 500);
        commit(&fixture);
        store_batch_end(fixture.batch, second);
        commit(&fixture);
        for (int i = 0; i < 2; i++) { /* it dies before it has written that */
                reopen(&fixture);
                assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 70);
                assert_int_equal(risk(&fixture, SPEND_PROVIDER, "p"), 70);
        }
        write_book(&fixture);
        for (int i = 0; i < 3; i++) {
                reopen(&fixture);
                assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 70);
                write_book(&fixture);
        }
        begin(&fixture, 3, 0, 5); /* of a later life; its block has a higher number */
        commit(&fixture);
        reopen(&fixture);
        assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 75);
        assert_true(spend_book_find(&fixture.book, SPEND_WORKSPACE, BYTES("w"))->risks[0].release_unix_ms >
                    NOW_MS);
        assert_int_equal(spent(&fixture, SPEND_WORKSPACE, "w"), 0);
        assert_int_equal(spent(&fixture, SPEND_WORKSPACE, "other"), -1);
        tear_down(&fixture);
}

/* When the journal is empty its blocks begin at 1 again, below what was counted before. */
static void numbers_that_come_again(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture);
        for (uint64_t i = 0; i < 5; i++) {
                struct begun_id id = begin(&fixture, i, 0, 1);
                commit(&fixture);
                store_batch_end(fixture.batch, id);
                commit(&fixture);
        }
        write_book(&fixture);
        reopen(&fixture);
        write_book(&fixture);
        begin(&fixture, 9, 0, 8);
        commit(&fixture);
        reopen(&fixture);
        assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 8);
        tear_down(&fixture);
}

static struct error *take(void *userdata, const struct begun *begun) {
        struct fixture *fixture = userdata;
        return spend_book_settle(&fixture->book, begun, begun->key.lo != 3, begun->key.lo == 1 ? 130 : 5);
}

static void adopted_results_say_what_it_cost(void **state) {
        struct fixture fixture;
        (void)state;
        for (int counted = 0; counted < 2; counted++) {
                set_up(&fixture);
                begin(&fixture, 1, 100, 50); /* 130 in all: 30 by this one */
                begin(&fixture, 2, 100, 50); /* less than before: nothing by this one */
                begin(&fixture, 3, 0, 7);    /* nobody knows: all that it could */
                commit(&fixture);
                reopen(&fixture);
                if (counted) {
                        write_book(&fixture);
                        reopen(&fixture);
                }
                assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 107);
                assert_null(store_each_unknown(fixture.store, take, &fixture));
                assert_int_equal(risk(&fixture, SPEND_WORKSPACE, "w"), 0);
                assert_int_equal(spent(&fixture, SPEND_WORKSPACE, "w"), 37);
                assert_int_equal(spent(&fixture, SPEND_PROVIDER, "p"), 37);
                tear_down(&fixture);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(holds_are_added_once),
                cmocka_unit_test(numbers_that_come_again),
                cmocka_unit_test(adopted_results_say_what_it_cost),
        };
        return cmocka_run_group_tests_name("spend_book", tests, NULL, NULL);
}
