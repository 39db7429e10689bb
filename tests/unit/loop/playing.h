#pragma once
/*
 * What the tests of the record intake share: consumer, shard, publisher and restorer are played; the engine
 * only counts, and the store is a real one. One test program includes it once: it defines what it plays.
 */
#include "broker/base/time.h"
#include "broker/loop/board.h"
#include "broker/loop/intake_state.h"
#include "broker/loop/shard.h"
#include "broker/wire/job.h"
#include "tests/unit/core/plain.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { GIVEN_MAX = 32, INTENTS_PLAYED = 64, RECORDS = 4 };

/* The first two have one key and different bodies. */
static const char *const texts[RECORDS] = {
        "{\"custom_id\":\"a\",\"url\":\"/v1/moderations\",\"body\":{\"model\":\"m\",\"input\":\"one\"}}",
        "{\"custom_id\":\"b\",\"url\":\"/v1/moderations\",\"body\":{\"model\":\"m\",\"input\":\"two\"}}",
        "{\"custom_id\":\"c\",\"url\":\"/v1/moderations\",\"body\":{\"model\":\"m\",\"input\":\"three\"}}",
        "{\"custom_id\":\"d\",\"url\":\"/v1/moderations\",\"body\":{\"model\":\"m\",\"input\":\"four\"}}",
};

static struct played {
        struct record_intake *intake;
        struct board board;
        char directory[64];
        struct store *store;
        struct job_decoder *decoder;
        struct provider provider;
        struct endpoint endpoint;
        struct catalog catalog;
        struct engine *engine;
        enum consumer_event events[8];
        size_t events_count, events_told;
        struct restored restored;
        bool restores;
        struct expiry_slice slice;
        bool asked, expired;    /* for old keys; they were found */
        uint64_t position, end; /* of the partition */
        struct intent intents[INTENTS_PLAYED];
        size_t intents_count;
        struct job_spec *given[GIVEN_MAX];
        size_t given_count;
} played;

/* ---- the others ---- */

void consumer_poll(struct consumer *consumer, struct consumer_report *out_report) {
        static const uint32_t partitions[] = {0};
        (void)consumer;
        *out_report = (struct consumer_report){.event = CONSUMER_NOTHING};
        if (played.events_told == played.events_count)
                return;
        out_report->event = played.events[played.events_told++];
        out_report->partitions = partitions;
        out_report->partitions_count = 1;
}

struct error *consumer_assign(struct consumer *consumer) {
        (void)consumer;
        return NULL;
}

struct error *consumer_unassign(struct consumer *consumer) {
        (void)consumer;
        return NULL;
}

bool consumer_take(struct consumer *consumer, uint32_t partition, struct consumer_record *out_record) {
        (void)consumer;
        if (played.position == played.end)
                return false;
        *out_record = (struct consumer_record){.partition = partition,
                                               .offset = played.position,
                                               .has_key = true,
                                               .has_value = true,
                                               .key = BYTES("k"),
                                               .value = bytes_of(texts[played.position])};
        played.position++;
        return true;
}

void consumer_release(struct consumer_record *record) {
        (void)record;
}

uint64_t consumer_log_end(const struct consumer *consumer, uint32_t partition) {
        (void)consumer, (void)partition;
        return played.end;
}

uint32_t consumer_partitions(const struct consumer *consumer) {
        (void)consumer;
        return 1;
}

void publisher_flush(struct publisher *publisher) {
        (void)publisher;
}

bool publisher_idle(struct publisher *publisher) {
        (void)publisher;
        return true;
}

struct error *restorer_submit(struct restorer *restorer, uint32_t partition, uint32_t epoch) {
        (void)restorer;
        played.restored = (struct restored){
                .partition = partition, .epoch = epoch, .committed = true, .free_ms = INT64_MAX};
        played.restores = true;
        return NULL;
}

void restorer_expire(struct restorer *restorer, const struct expiry_slice *slice) {
        (void)restorer;
        assert_false(played.asked);
        played.slice = *slice;
        played.asked = true;
}

bool restorer_take_expired(struct restorer *restorer, struct expiry_slice *out_slice) {
        (void)restorer;
        if (!played.asked || !played.expired)
                return false;
        *out_slice = played.slice;
        played.asked = played.expired = false;
        return true;
}

bool restorer_take(struct restorer *restorer, struct restored *out_restored) {
        bool any = played.restores;
        (void)restorer;
        *out_restored = played.restored;
        played.restores = false;
        return any;
}

void restored_deinit(struct restored *restored) {
        (void)restored;
}

const struct catalog *shard_catalog(const struct shard *shard) {
        (void)shard;
        return &played.catalog;
}

struct engine *shard_engine(const struct shard *shard) {
        (void)shard;
        return played.engine;
}

bool shard_has_room(const struct shard *shard) {
        (void)shard;
        return true;
}

bool shard_stopping(const struct shard *shard) {
        (void)shard;
        return false;
}

void shard_hold(struct shard *shard, bool held) {
        (void)shard, (void)held;
}

void shard_take(struct shard *shard, struct job_spec *job) {
        (void)shard;
        assert_true(played.given_count < GIVEN_MAX);
        played.given[played.given_count++] = job;
}

struct intent *shard_intend(struct shard *shard, enum intent_kind kind) {
        (void)shard;
        assert_true(played.intents_count < INTENTS_PLAYED);
        struct intent *intent = &played.intents[played.intents_count++];
        *intent = (struct intent){.kind = kind};
        return intent;
}

size_t shard_intents(const struct shard *shard) {
        (void)shard;
        return played.intents_count;
}

void shard_revoke(struct shard *shard, bool (*gone)(void *userdata, const struct job_spec *job),
                  void *userdata) {
        (void)shard, (void)gone, (void)userdata;
}

void shard_share(struct shard *shard, const struct limit_part *parts, size_t count, uint32_t whole) {
        (void)shard, (void)parts, (void)count, (void)whole;
}

void shard_release(struct shard *shard, uint32_t part,
                   void (*each)(void *userdata, const struct quota_use *use), void *userdata) {
        (void)shard, (void)part, (void)each, (void)userdata;
}

/* ---- the play ---- */

static struct shard *const a_shard = (struct shard *)&played;

static inline struct engine_time now(void) {
        return (struct engine_time){.now_ns = clock_now_ns(), .now_unix_ms = clock_now_unix_ms()};
}

static inline int set_up(void **state) {
        (void)state;
        played = (struct played){0};
        played.provider = (struct provider){.name = "p", .region = "", .retention_days = -1};
        played.endpoint = plain_endpoint("p/m", 0, 1000000);
        played.catalog = (struct catalog){.providers = &played.provider,
                                          .providers_count = 1,
                                          .endpoints = &played.endpoint,
                                          .endpoints_count = 1};
        struct engine_config config = plain_config(8);
        config.by_partition = true;
        played.engine = engine_new(&played.catalog, &config, now());
        struct job_decoder_options options = {.batch = "b", .job_bytes_max = 4096};
        assert_null(job_decoder_new(&options, &played.decoder));
        strcpy(played.directory, "/tmp/record-again-XXXXXX");
        assert_non_null(mkdtemp(played.directory));
        struct store_options store = {.directory = played.directory, .worker = true};
        assert_null(store_open(&store, &played.store));
        struct partition_state partition;
        bool found;
        assert_null(store_partition_open(played.store, 0, &found, &partition));
        struct record_intake_options intake = {.store = played.store,
                                               .board = &played.board,
                                               .decoder = &played.decoder,
                                               .member = "w",
                                               .park_after_ns = NS_PER_S * 3600,
                                               .session_ns = NS_PER_S * 3600,
                                               .leave_ns = NS_PER_S};
        assert_null(record_intake_new(&intake, &played.intake));
        played.end = RECORDS - 1;
        return 0;
}

static inline int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
        (void)status, (void)kind, (void)at;
        return remove(path);
}

static inline int tear_down(void **state) {
        (void)state;
        record_intake_free(played.intake);
        for (size_t i = 0; i < played.intents_count; i++)
                intent_deinit(&played.intents[i]);
        engine_free(played.engine);
        job_decoder_free(played.decoder);
        store_close(played.store);
        return nftw(played.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void gather(void) {
        assert_null(record_intake_ops.gather(played.intake, a_shard));
}

/* Of the consumer group; then the state topic says whose the partition is. */
static inline void hears(enum consumer_event event) {
        played.events[played.events_count++] = event;
        gather();
        atomic_store(&played.board.owner[0], atomic_load(&played.board.epoch[0]));
}

/* The engine says of a job that it repeats one inside. */
static inline void repeats(struct job_spec *job, struct job_spec *twin, bool goes) {
        struct command command = {
                .kind = COMMAND_FORGET, .job = job, .duplicate = true, .twin = twin, .twin_goes = goes};
        record_intake_ops.forgotten(played.intake, a_shard, &command);
}

static inline void ends(struct job_spec *job) {
        struct command command = {.kind = COMMAND_FORGET, .job = job};
        record_intake_ops.forgotten(played.intake, a_shard, &command);
}

static inline void gather_until(size_t given) {
        int64_t until_ns = clock_now_ns() + 60 * NS_PER_S;
        while (played.given_count < given && clock_now_ns() < until_ns)
                gather();
        assert_int_equal(played.given_count, given);
}
