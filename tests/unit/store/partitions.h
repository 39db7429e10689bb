#pragma once
/* What tests of the store share: one in a directory of its own, and jobs by number. */
#include "broker/store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A process with threads forks, which ThreadSanitizer does not follow. */
#ifdef __SANITIZE_THREAD__
#define CAN_FORK false
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CAN_FORK false
#endif
#endif
#ifndef CAN_FORK
#define CAN_FORK true
#endif

struct world {
        char directory[64];
        struct store *store;
        struct store_batch *batch;
        const char *operation; /* the hook fails this one, the countdown-th from now on */
        atomic_int countdown, code;
        atomic_uint files; /* of rows, that were put in */
};

static const struct begun_id no_id;

static inline int world_hook(void *userdata, const char *operation) {
        struct world *world = userdata;
        world->files += strcmp(operation, "ingest") == 0;
        if (!world->operation || strcmp(world->operation, operation) != 0)
                return 0;
        return world->code && world->countdown-- == 0 ? world->code : 0;
}

static inline void world_open(struct world *world) {
        struct store_options options = {
                .directory = world->directory, .worker = true, .fault = world_hook, .fault_userdata = world};
        assert_null(store_open(&options, &world->store));
        world->batch = store_batch_new(world->store);
}

static inline void world_close(struct world *world) {
        world->batch = store_batch_free(world->batch);
        world->store = store_close(world->store);
}

static inline bool world_partition(struct world *world, uint32_t partition) {
        bool found;
        struct partition_state state;
        assert_null(store_partition_open(world->store, partition, &found, &state));
        return found;
}

/* And opens the partition again, if it is one. */
static inline void world_reopen(struct world *world, uint32_t partition) {
        world_close(world);
        world_open(world);
        if (partition != STORE_NO_PARTITION)
                world_partition(world, partition);
}

static inline int world_setup(void **state) {
        struct world *world = calloc(1, sizeof(*world));
        strcpy(world->directory, "/tmp/partition_test.XXXXXX");
        assert_non_null(mkdtemp(world->directory));
        world_open(world);
        *state = world;
        return 0;
}

static inline void remove_directory(const char *path) {
        DIR *entries = opendir(path);
        struct dirent *entry;
        while (entries && (entry = readdir(entries))) {
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        unlinkat(dirfd(entries), entry->d_name, 0);
        }
        if (entries)
                closedir(entries);
        rmdir(path);
}

static inline int world_teardown(void **state) {
        struct world *world = *state;
        world_close(world);
        remove_directory(world->directory);
        free(world);
        return 0;
}

/* Spread over a map as hashes are (base/map.c). */
static inline struct key128 key_of(uint64_t n) {
        return (struct key128){n * UINT64_C(0x94d049bb133111eb), ~n};
}

static inline struct settled settled_of(uint32_t partition, uint64_t n) {
        struct settled settled = {.partition = partition,
                                  .attempts = (uint32_t)n + 1,
                                  .status = 200,
                                  .cost_known = true,
                                  .cost_picousd = (int64_t)n * 3,
                                  .settled_unix_ms = 1000 + (int64_t)n,
                                  .fingerprint_known = true,
                                  .offset = n};
        settled.fingerprint[3] = (uint8_t)n;
        return settled;
}

static inline struct begun_id world_begin(struct world *world, uint32_t partition, uint64_t n,
                                          uint32_t attempt) {
        struct begun begun = {.key = key_of(n),
                              .partition = partition,
                              .attempt = attempt,
                              .exposure_picousd = 9,
                              .endpoint = "somebody"};
        return store_batch_begin(world->batch, &begun);
}

static inline void world_settle(struct world *world, uint32_t partition, uint64_t n, struct begun_id id) {
        struct settled settled = settled_of(partition, n);
        store_batch_settle(world->batch, key_of(n), &settled, id);
}

static inline void world_answer(struct world *world, uint32_t partition, uint64_t n, struct begun_id id,
                                struct bytes value) {
        struct answer_row row = {
                .key = key_of(n), .settled = settled_of(partition, n), .dead_letter = n & 1, .value = value};
        store_batch_answer(world->batch, &row, id);
}

static inline void world_park(struct world *world, uint32_t partition, uint64_t n, int64_t due_unix_ms) {
        uint8_t fingerprint[32] = {(uint8_t)n};
        char value[32];
        int size = snprintf(value, sizeof(value), "job %llu", (unsigned long long)n);
        store_batch_park(world->batch, partition, due_unix_ms, key_of(n), fingerprint,
                         (struct bytes){value, (size_t)size});
}

static inline void world_write(struct world *world) {
        assert_null(store_write(world->store, world->batch));
        assert_int_equal(store_batch_count(world->batch), 0);
}

static inline void world_state(struct world *world, uint32_t partition, uint64_t offset) {
        struct partition_state state = {
                .changelog_offset = offset, .source_high = offset * 2, .updated_unix_ms = 5};
        store_batch_partition(world->batch, partition, &state);
}

static inline struct store_record world_record(struct world *world, uint32_t partition, uint64_t n) {
        struct store_record record;
        assert_null(store_look_up(world->store, partition, key_of(n), &record));
        return record;
}

static inline enum store_found world_found(struct world *world, uint32_t partition, uint64_t n) {
        return world_record(world, partition, n).found;
}

static inline struct store_stats world_verify(struct world *world) {
        struct store_stats stats;
        struct buffer findings;
        buffer_init(&findings, 1 << 16);
        assert_null(store_verify(world->store, &stats, &findings));
        if (findings.size > 0)
                fail_msg("%.*s", (int)findings.size, findings.data);
        buffer_deinit(&findings);
        return stats;
}

static inline void expect_error(struct error *error, enum error_class kind, const char *part) {
        assert_non_null(error);
        if (error->kind != kind || !strstr(error->message, part))
                fail_msg("class %d: %s", (int)error->kind, error->message);
        error_free(error);
}
