/*
 * A partition goes and comes back while jobs of it are inside: what the intake does with their records, which
 * come once more. Consumer, shard, publisher and restorer are played; the engine only counts.
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

static struct engine_time now(void) {
        return (struct engine_time){.now_ns = clock_now_ns(), .now_unix_ms = clock_now_unix_ms()};
}

static int set_up(void **state) {
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

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
        (void)status, (void)kind, (void)at;
        return remove(path);
}

static int tear_down(void **state) {
        (void)state;
        record_intake_free(played.intake);
        for (size_t i = 0; i < played.intents_count; i++)
                intent_deinit(&played.intents[i]);
        engine_free(played.engine);
        job_decoder_free(played.decoder);
        store_close(played.store);
        return nftw(played.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void gather(void) {
        assert_null(record_intake_ops.gather(played.intake, a_shard));
}

/* Of the consumer group; then the state topic says whose the partition is. */
static void hears(enum consumer_event event) {
        played.events[played.events_count++] = event;
        gather();
        atomic_store(&played.board.owner[0], atomic_load(&played.board.epoch[0]));
}

static void comes_again(void) {
        played.position = played.given_count = 0;
        hears(CONSUMER_LOST);
        hears(CONSUMER_ASSIGNED);
}

/* The engine says of a job that it repeats one inside. */
static void repeats(struct job_spec *job, struct job_spec *twin, bool goes) {
        struct command command = {
                .kind = COMMAND_FORGET, .job = job, .duplicate = true, .twin = twin, .twin_goes = goes};
        record_intake_ops.forgotten(played.intake, a_shard, &command);
}

static void ends(struct job_spec *job) {
        struct command command = {.kind = COMMAND_FORGET, .job = job};
        record_intake_ops.forgotten(played.intake, a_shard, &command);
}

/* Refused without a call; nobody will ever see it. */
static void settles(struct job_spec *job) {
        static const struct outcome outcome = {.failure = FAILURE_DEADLINE_EXCEEDED};
        struct intent intent = {.kind = INTENT_SETTLE, .job = job, .outcome = &outcome};
        record_intake_ops.settling(played.intake, &intent);
}

static void gather_until(size_t given) {
        int64_t until_ns = clock_now_ns() + 60 * NS_PER_S;
        while (played.given_count < given && clock_now_ns() < until_ns)
                gather();
        assert_int_equal(played.given_count, given);
}

static void gave(size_t index, const char *name) {
        assert_true(index < played.given_count);
        assert_true(bytes_equal_string(played.given[index]->custom_id, name));
}

/*
 * Two under one key are on their way out: they come once more in their order, and before what is behind them.
 */
static void the_first_comes_first(void **state) {
        struct job_spec *strays[3];
        (void)state;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
        memcpy(strays, played.given, sizeof(strays));
        settles(strays[1]);
        settles(strays[0]);
        settles(strays[2]);
        comes_again();
        gather_until(3);
        struct job_spec *records[3];
        memcpy(records, played.given, sizeof(records));
        for (size_t i = 0; i < 3; i++)
                repeats(records[i], strays[i], false);
        played.end = RECORDS; /* one more has come */
        played.given_count = 0;
        ends(strays[1]);
        ends(strays[0]);
        ends(strays[2]);
        gather();
        assert_true(played.given_count == 0 || played.given_count == RECORDS);
        gather_until(RECORDS);
        gave(0, "a");
        gave(1, "b");
        gave(2, "c");
        gave(3, "d");
        for (size_t i = 0; i < RECORDS; i++)
                ends(played.given[i]);
}

/* One that is being called is taken over, but not one that is being given up. */
static void one_that_goes_is_not_taken_over(void **state) {
        struct job_spec *strays[3];
        (void)state;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
        memcpy(strays, played.given, sizeof(strays));
        comes_again();
        gather_until(3);
        repeats(played.given[0], strays[0], true);
        repeats(played.given[1], strays[1], false);
        ends(played.given[2]);
        played.given_count = 0;
        ends(strays[0]);
        gather_until(1);
        gave(0, "a");
        assert_true(intake_is_current(played.intake, strays[1]->origin));
        ends(played.given[0]);
        ends(strays[1]);
        ends(strays[2]);
}

static bool every(void *userdata, const struct job_spec *job) {
        (void)userdata, (void)job;
        return true;
}

/* No record is let in while a job from before is still being looked up. */
static void records_wait_for_answers(void **state) {
        struct command items[16];
        struct commands commands = {items, 0, 16};
        struct job_spec spec = plain_spec(1);
        struct origin origin = {0};
        struct event event = {.kind = EVENT_JOB, .job = &spec};
        spec.origin = &origin;
        (void)state;
        engine_step(played.engine, now(), &event, 1, &commands);
        assert_int_equal(items[0].kind, COMMAND_LOOK_UP);
        event = (struct event){.kind = EVENT_LOOKED_UP, .handle = items[0].handle};
        assert_true(engine_revoke(played.engine, now(), every, NULL, &commands));
        hears(CONSUMER_ASSIGNED);
        for (int i = 0; i < 3; i++)
                gather();
        assert_int_equal(played.given_count, 0);
        commands.count = 0;
        engine_step(played.engine, now(), &event, 1, &commands);
        assert_true(commands.count == 1 && items[0].revoked);
        gather_until(3);
        for (size_t i = 0; i < 3; i++)
                ends(played.given[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_first_comes_first, set_up, tear_down),
                cmocka_unit_test_setup_teardown(one_that_goes_is_not_taken_over, set_up, tear_down),
                cmocka_unit_test_setup_teardown(records_wait_for_answers, set_up, tear_down),
        };
        return cmocka_run_group_tests_name("record again", tests, NULL, NULL);
}
