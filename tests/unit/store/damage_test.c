/*
 * A store whose process died, with rows in tables and in the log, and then one bit of one of its files is
 * flipped, or the log is cut. It must refuse, or read right; a record that is missing or different without an
 * error is the one thing that must not be.
 *
 * DAMAGE_FLIPS in the environment: how many bits to flip, 300 when it is not set.
 */
#include "broker/store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES_MAX = 32, BATCHES = 24, PER_BATCH = 10 };

struct file {
        char name[64];
        char *data;
        size_t size;
};

struct image {
        struct file files[FILES_MAX];
        size_t count;
};

/* In memory where there is such a place: hundreds of stores are opened here. */
static char original[64], copy[64];
static struct image image;

static struct key128 key_of(uint64_t n) {
        return (struct key128){n * UINT64_C(0x9e3779b97f4a7c15), ~n};
}

static struct settled settled_of(uint64_t n) {
        struct settled settled = {.partition = STORE_NO_PARTITION,
                                  .attempts = (uint32_t)n + 1,
                                  .settled_unix_ms = (int64_t)n,
                                  .offset = n * 3,
                                  .size = 9};
        memset(settled.fingerprint, (int)n, sizeof(settled.fingerprint));
        return settled;
}

static void empty_directory(const char *path) {
        DIR *entries = opendir(path);
        struct dirent *entry;
        assert_non_null(entries);
        while ((entry = readdir(entries)))
                unlinkat(dirfd(entries), entry->d_name, 0);
        closedir(entries);
}

/* In batch b: the jobs 10b to 10b+9 are settled, and 10b+1000 is begun. */
static void write_batches(uint64_t from, uint64_t to, struct store **out_store) {
        struct store_options options = {.directory = original};
        assert_null(store_open(&options, out_store));
        struct store_batch *batch = store_batch_new(*out_store);
        for (uint64_t b = from; b < to; b++) {
                struct begun begun = {.partition = STORE_NO_PARTITION,
                                      .key = key_of(b * PER_BATCH + 1000),
                                      .attempt = 1,
                                      .endpoint = "somebody"};
                store_batch_begin(batch, &begun);
                for (uint64_t i = 0; i < PER_BATCH; i++) {
                        struct settled settled = settled_of(b * PER_BATCH + i);
                        store_batch_settle(batch, key_of(b * PER_BATCH + i), &settled, (struct begun_id){0});
                }
                assert_null(store_write(*out_store, batch));
        }
        store_batch_free(batch);
}

static void read_image(void) {
        DIR *entries = opendir(original);
        struct dirent *entry;
        struct stat status;
        while ((entry = readdir(entries))) {
                const char *name = entry->d_name;
                bool wanted = strstr(name, ".sst") || strstr(name, ".log") ||
                              strncmp(name, "MANIFEST", 8) == 0 || strcmp(name, "CURRENT") == 0;
                int fd = wanted ? openat(dirfd(entries), name, O_RDONLY) : -1;
                if (fd < 0)
                        continue;
                assert_int_equal(fstat(fd, &status), 0);
                struct file *file = &image.files[image.count++];
                assert_true(image.count <= FILES_MAX);
                snprintf(file->name, sizeof(file->name), "%.60s", name);
                file->size = (size_t)status.st_size;
                file->data = malloc(file->size + 1);
                assert_int_equal(read(fd, file->data, file->size), (ssize_t)file->size);
                close(fd);
        }
        closedir(entries);
}

static int setup(void **state) {
        struct store *store;
        (void)state;
        const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(original, sizeof(original), "%s/damage_test.XXXXXX", place);
        snprintf(copy, sizeof(copy), "%s", original);
        assert_non_null(mkdtemp(original));
        assert_non_null(mkdtemp(copy));
        write_batches(0, 8, &store);
        store_close(store);
        write_batches(8, 16, &store); /* opening has put the first ones into a table */
        store_close(store);
        write_batches(16, BATCHES, &store); /* these are in the log, and the store is open, as at a kill */
        read_image();
        store_close(store);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        for (size_t i = 0; i < image.count; i++)
                free(image.files[i].data);
        empty_directory(original);
        empty_directory(copy);
        rmdir(original);
        rmdir(copy);
        return 0;
}

static void write_image(void) {
        empty_directory(copy);
        for (size_t i = 0; i < image.count; i++) {
                char path[128];
                snprintf(path, sizeof(path), "%s/%s", copy, image.files[i].name);
                int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
                assert_int_equal(write(fd, image.files[i].data, image.files[i].size),
                                 (ssize_t)image.files[i].size);
                close(fd);
        }
}

/* -1: refused. Else how many batches are there, all of them whole and right and none missing before the last.
 */
static int batches_found(void) {
        struct store_options options = {.directory = copy};
        struct store *store = NULL;
        struct store_record record;
        struct error *error = store_open(&options, &store);
        int batches = 0;
        bool missing = false;
        for (uint64_t b = 0; b < BATCHES && !error; b++) {
                uint64_t found = 0;
                for (uint64_t i = 0; i < PER_BATCH && !error; i++) {
                        error = store_look_up(store, STORE_NO_PARTITION, key_of(b * PER_BATCH + i), &record);
                        if (error || record.found == STORE_NONE)
                                continue;
                        struct settled expected = settled_of(b * PER_BATCH + i);
                        assert_int_equal(record.found, STORE_SETTLED);
                        assert_int_equal(record.settled.offset, expected.offset);
                        assert_int_equal(record.settled.attempts, expected.attempts);
                        assert_memory_equal(record.settled.fingerprint, expected.fingerprint, 32);
                        found++;
                }
                if (!error)
                        error = store_look_up(store, STORE_NO_PARTITION, key_of(b * PER_BATCH + 1000),
                                              &record);
                if (error)
                        break;
                assert_true(found == (record.found == STORE_UNKNOWN ? PER_BATCH : 0));
                assert_false(missing && found > 0);
                missing = found == 0;
                batches += !missing;
        }
        store_close(store);
        if (!error)
                return batches;
        assert_true(error->kind == ERROR_CORRUPT || error->kind == ERROR_IO || error->kind == ERROR_INPUT);
        error_free(error);
        return -1;
}

static void the_image_is_whole(void **state) {
        (void)state;
        write_image();
        assert_int_equal(batches_found(), BATCHES);
}

static void a_flipped_bit_is_refused_or_harmless(void **state) {
        (void)state;
        const char *setting = getenv("DAMAGE_FLIPS");
        size_t flips = setting ? strtoul(setting, NULL, 10) : 300, refused = 0, total = 0;
        for (size_t i = 0; i < image.count; i++)
                total += image.files[i].size;
        for (size_t n = 0; n < flips; n++) {
                size_t file = 0, at = n * total / flips; /* spread over all files as if they were one */
                while (at >= image.files[file].size)
                        at -= image.files[file++].size;
                char *byte = &image.files[file].data[at], bit = (char)(1 << (n * 5 + at) % 8);
                *byte ^= bit;
                write_image();
                *byte ^= bit;
                int found = batches_found();
                if (found != -1 && found != BATCHES)
                        fail_msg("%s, byte %zu, bit %#x: %d of %d batches, and no error",
                                 image.files[file].name, at, (unsigned)bit, found, BATCHES);
                refused += found == -1;
        }
        assert_true(refused > flips / 2);
}

static size_t length_at(const struct file *file, size_t at) {
        return (size_t)(uint8_t)file->data[at + 4] | (size_t)(uint8_t)file->data[at + 5] << 8;
}

/* Every bit of the length and the type of the record at `at`. */
static void flip_header(const struct file *file, size_t at) {
        for (size_t bit = 0; bit < 24; bit++) {
                char *byte = &file->data[at + 4 + bit / 8], flip = (char)(1 << bit % 8);
                *byte ^= flip;
                write_image();
                *byte ^= flip;
                int found = batches_found();
                if (found != -1)
                        fail_msg("%s, header at %zu, bit %zu: %d batches", file->name, at, bit, found);
        }
}

/* Where RocksDB itself would be silent. */
static void a_flipped_bit_in_a_record_header_is_refused(void **state) {
        (void)state;
        for (size_t i = 0; i < image.count; i++) {
                struct file *file = &image.files[i];
                bool is_log = strstr(file->name, ".log") || strncmp(file->name, "MANIFEST", 8) == 0;
                size_t records = 0;
                for (size_t at = 0; is_log && at + 7 <= file->size && records < 12; records++) {
                        flip_header(file, at);
                        at += 7 + length_at(file, at);
                }
        }
}

/* A torn end: what is there is a prefix, batch by batch. */
static void a_cut_log_loses_only_its_end(void **state) {
        (void)state;
        struct file *log = NULL;
        for (size_t i = 0; i < image.count; i++) {
                if (strstr(image.files[i].name, ".log") && image.files[i].size > 0)
                        log = &image.files[i];
        }
        assert_non_null(log);
        size_t whole = log->size, last = 0;
        for (size_t at = 0; at < whole;) {
                last = at;
                at += 7 + length_at(log, at);
        }
        size_t step = (whole - last) / 60 + 1;
        for (size_t size = last; size < whole; size += step) {
                log->size = size;
                write_image();
                log->size = whole;
                assert_int_equal(batches_found(), BATCHES - 1);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_image_is_whole),
                cmocka_unit_test(a_cut_log_loses_only_its_end),
                cmocka_unit_test(a_flipped_bit_in_a_record_header_is_refused),
                cmocka_unit_test(a_flipped_bit_is_refused_or_harmless),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
