/*
 * A disk that is really full: a small file system in memory, in a mount namespace of its own. Needs the right
 * to mount; else it is skipped.
 *
 * FULL_DISK_WAIT in the environment: also waits until RocksDB by itself takes writes again once there is
 * room, and prints how long that took.
 */
#include "broker/base/time.h"
#include "broker/store/store.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

static char place[] = "/tmp/full_disk_test.XXXXXX";
static char directory[64], ballast[64];

static struct key128 key_of(uint64_t n) {
        return (struct key128){n * UINT64_C(0x9e3779b97f4a7c15), ~n};
}

static void fill(struct store_batch *batch, uint64_t first) {
        struct begun begun = {.key = key_of(first + 1000000), .partition = STORE_NO_PARTITION, .attempt = 1};
        store_batch_begin(batch, &begun);
        for (uint64_t i = 0; i < 500; i++) {
                struct settled settled = {
                        .partition = STORE_NO_PARTITION, .attempts = 1, .offset = first + i};
                store_batch_settle(batch, key_of(first + i), &settled, (struct begun_id){0});
        }
}

static void make_ballast(void) {
        static char data[1 << 20]; /* 12 of them: RocksDB wants 8 MB free before it goes on */
        int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
        for (int i = 0; i < 12; i++)
                assert_int_equal(write(fd, data, sizeof(data)), (ssize_t)sizeof(data));
        close(fd);
}

/* Everything of the first batches is there. */
static void assert_whole(struct store *store, uint64_t batches) {
        struct store_record record;
        for (uint64_t n = 0; n < batches * 500; n++) {
                assert_null(store_look_up(store, STORE_NO_PARTITION, key_of(n), &record));
                assert_int_equal(record.found, STORE_SETTLED);
                assert_int_equal(record.settled.offset, n);
        }
}

static void a_full_disk_loses_nothing(void **state) {
        (void)state;
        struct store_options options = {.directory = directory};
        struct store *store = NULL;
        struct error *error = NULL;
        uint64_t batches = 0;
        make_ballast();
        assert_null(store_open(&options, &store));
        struct store_batch *batch = store_batch_new(store);
        for (; !error; batches += !error) {
                fill(batch, batches * 500);
                error = store_write(store, batch);
                assert_true(batches < 10000);
        }
        if (error->kind != ERROR_FULL)
                fail_msg("class %d: %s", (int)error->kind, error->message);
        error_free(error);
        assert_int_equal(store_batch_count(batch), 501);
        assert_whole(store, batches);
        assert_int_equal(unlink(ballast), 0);
        if (getenv("FULL_DISK_WAIT")) {
                int64_t from = clock_now_ns();
                while ((error = store_write(store, batch))) {
                        assert_int_equal(error->kind, ERROR_FULL);
                        error_free(error);
                        assert_true(clock_now_ns() - from < 60 * NS_PER_S);
                        usleep(100000);
                }
                printf("writes were taken again after %.1f s\n", (double)(clock_now_ns() - from) / 1e9);
                batches++;
                fill(batch, batches * 500);
        }
        store_batch_free(batch);
        store_close(store);
        assert_null(store_open(&options, &store));
        assert_whole(store, batches);
        batch = store_batch_new(store);
        fill(batch, batches * 500);
        assert_null(store_write(store, batch));
        assert_whole(store, batches + 1);
        store_batch_free(batch);
        store_close(store);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_disk_loses_nothing)};
        if (!mkdtemp(place) || unshare(CLONE_NEWNS) < 0 ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("none", place, "tmpfs", 0, "size=40m") < 0) {
                rmdir(place);
                return 77;
        }
        snprintf(directory, sizeof(directory), "%.40s/state", place);
        snprintf(ballast, sizeof(ballast), "%.40s/ballast", place);
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        umount2(place, MNT_DETACH);
        rmdir(place);
        return failed;
}
