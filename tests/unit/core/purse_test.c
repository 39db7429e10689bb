/*
 * Budgets by partition: each has its part of every budget, nothing is reserved that the last word which
 * stands has not allowed, jobs of one partition do not wait for another's money, and what a partition that
 * has gone had under way is nobody's here any more.
 */
#include "broker/base/part.h"
#include "broker/base/time.h"
#include "tests/unit/core/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPECS = 40, ITEMS = 512, WORDS = 64, PARTITIONS = 3 };

/* Ten tokens in and ten out at most. */
#define CEILING   30
#define COST      10
#define DAY_MS    INT64_C(86400000)
#define STARTS_MS (DAY_MS * 20000 + DAY_MS / 2)

struct fixture {
        struct provider providers[1];
        struct endpoint endpoints[1];
        struct workspace workspaces[2];
        struct catalog catalog, next;
        struct engine *engine;
        struct job_spec specs[SPECS];
        struct command items[ITEMS];
        struct commands commands;
        int64_t now_ns, wall_ms;
        struct handle called[SPECS];
        uint32_t calls, calls_of[PARTITIONS], notes, settled;
        enum failure failure;
        bool held;        /* an attempt said that it holds something in the journal */
        bool words_stand; /* at once */
        struct spend_news words[WORDS];
        struct budget_spend spends[WORDS];
        uint32_t words_count;
};

static struct engine_time now(const struct fixture *fixture) {
        return (struct engine_time){fixture->now_ns, fixture->wall_ms};
}

static void set_up(struct fixture *fixture) {
        memset(fixture, 0, sizeof(*fixture));
        fixture->providers[0] = (struct provider){
                .name = "p", .dialect = "openai", .base_url = "", .region = "", .retention_days = -1};
        fixture->endpoints[0] = plain_endpoint("p/m", 0, 1000000);
        fixture->workspaces[0].name = "default";
        fixture->workspaces[1].name = "other";
        fixture->catalog = (struct catalog){.providers = fixture->providers,
                                            .providers_count = 1,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = 1,
                                            .workspaces = fixture->workspaces,
                                            .workspaces_count = 2};
        fixture->wall_ms = STARTS_MS;
        fixture->now_ns = NS_PER_S;
        for (uint32_t i = 0; i < SPECS; i++) {
                fixture->called[i].slot = UINT32_MAX;
                fixture->specs[i] = plain_spec(i);
        }
}

static void open_purse(struct fixture *fixture, uint32_t partition) {
        assert_true(engine_purse_open(fixture->engine, now(fixture), partition, PARTITIONS));
        engine_purse_ready(fixture->engine, partition);
}

static void start(struct fixture *fixture) {
        struct engine_config config = plain_config(SPECS);
        config.by_partition = true;
        fixture->engine = engine_new(&fixture->catalog, &config, now(fixture));
        assert_non_null(fixture->engine);
        fixture->commands = (struct commands){fixture->items, 0, ITEMS};
}

/* The first workspace has so much a day; words stand at once, or when tell() says so. */
static void begin(struct fixture *fixture, int64_t daily, bool words_stand) {
        set_up(fixture);
        fixture->workspaces[0].budget.daily = daily;
        fixture->words_stand = words_stand;
        start(fixture);
}

static void note_word(void *userdata, const struct spend_news *news) {
        struct fixture *fixture = userdata;
        assert_true(fixture->words_count < WORDS && news->word != 0);
        fixture->spends[fixture->words_count] = *news->spend;
        fixture->words[fixture->words_count++] = *news;
}

/* The last word of a partition on the first workspace. */
static const struct spend_news *last_word(const struct fixture *fixture, uint32_t partition) {
        for (uint32_t i = fixture->words_count; i > 0; i--)
                if (fixture->words[i - 1].partition == partition && fixture->words[i - 1].subject == 0)
                        return &fixture->words[i - 1];
        return NULL;
}

static size_t carry_out(struct fixture *fixture, const struct command *command, struct event *event) {
        *event = (struct event){.handle = command->handle, .known.same_fingerprint = true};
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                event->kind = EVENT_LOOKED_UP;
                return 1;
        case COMMAND_OPEN:
                fixture->held = fixture->held || command->hold.any;
                event->kind = EVENT_OPENED;
                return 1;
        case COMMAND_CALL:
                fixture->calls++;
                fixture->calls_of[command->job->partition]++;
                fixture->called[command->job - fixture->specs] = command->handle;
                return 0;
        case COMMAND_NOTE:
                fixture->notes++;
                return 0;
        case COMMAND_SETTLE:
                fixture->settled++;
                fixture->failure = command->outcome->failure;
                event->kind = EVENT_SETTLED;
                return 1;
        case COMMAND_END:
        case COMMAND_FORGET:
                return 0;
        }
        return 0;
}

static void steps(struct fixture *fixture, struct event *events, size_t count) {
        bool more = true;
        while (more) {
                fixture->commands.count = 0;
                engine_step(fixture->engine, now(fixture), events, count, &fixture->commands);
                count = 0;
                for (size_t i = 0; i < fixture->commands.count; i++)
                        count += carry_out(fixture, &fixture->commands.items[i], &events[count]);
                uint32_t first = fixture->words_count;
                engine_spend_take(fixture->engine, SIZE_MAX, note_word, fixture);
                more = fixture->commands.count > 0 || (fixture->words_stand && fixture->words_count > first);
                for (uint32_t i = first; i < fixture->words_count && fixture->words_stand; i++)
                        engine_spend_told(fixture->engine, fixture->words[i].partition,
                                          fixture->words[i].word, true);
        }
}

static void step(struct fixture *fixture) {
        struct event events[ITEMS];
        steps(fixture, events, 0);
}

static void add(struct fixture *fixture, uint32_t first, uint32_t count, uint32_t partition) {
        struct event events[ITEMS];
        for (uint32_t i = 0; i < count; i++) {
                fixture->specs[first + i].partition = partition;
                events[i] = (struct event){.kind = EVENT_JOB, .job = &fixture->specs[first + i]};
        }
        steps(fixture, events, count);
}

static void tell(struct fixture *fixture, const struct spend_news *word, bool stands) {
        engine_spend_told(fixture->engine, word->partition, word->word, stands);
        step(fixture);
}

static void answer(struct fixture *fixture, uint32_t spec, enum verdict verdict) {
        struct event events[ITEMS];
        struct answer said;
        answer_init(&said);
        said.verdict = verdict;
        said.status = verdict == VERDICT_UNKNOWN ? 0 : 200;
        if (verdict == VERDICT_OK) {
                said.usage.input_tokens = 4;
                said.usage.output_tokens = 3; /* COST */
        }
        assert_int_not_equal(fixture->called[spec].slot, UINT32_MAX);
        events[0] = (struct event){.kind = EVENT_ANSWER, .handle = fixture->called[spec], .answer = &said};
        fixture->called[spec].slot = UINT32_MAX;
        steps(fixture, events, 1);
}

static struct budget_view view(struct fixture *fixture, uint32_t partition) {
        struct budget_view out;
        ledger_view(engine_ledger(fixture->engine, now(fixture), partition, 0), BUDGET_DAILY, &out);
        return out;
}

static void parts_are_the_whole(void **state) {
        static const int64_t amounts[] = {0, 1, 7, 1000000, PICOUSD_MAX / 4097, PICOUSD_MAX};
        static const uint32_t wholes[] = {1, 2, 3, 7, 64, 4095, 4096};
        (void)state;
        for (size_t i = 0; i < sizeof(amounts) / sizeof(*amounts); i++)
                for (size_t k = 0; k < sizeof(wholes) / sizeof(*wholes); k++) {
                        int64_t sum = 0;
                        for (uint32_t p = 0; p < wholes[k]; p++) {
                                int64_t part = part_of(amounts[i], p, wholes[k]);
                                int64_t more = part - amounts[i] / wholes[k];
                                assert_true(more == 0 || more == 1);
                                sum += part;
                        }
                        assert_true(sum == amounts[i]);
                }
}

/* In any order of partitions: 100 is 33, 33 and 34, and a call takes 30 of one of them. */
static void each_has_its_part(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 100, true);
        int64_t sum = 0;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
                open_purse(&fixture, p);
                sum += view(&fixture, p).limit_picousd;
                add(&fixture, 4 * p, 3, p);
                assert_int_equal(fixture.calls_of[p], 1);
                assert_int_equal(view(&fixture, p).reserved_picousd, CEILING);
        }
        assert_int_equal(sum, 100);
        assert_false(fixture.held);      /* the words answer for it, not the journal */
        answer(&fixture, 0, VERDICT_OK); /* 23 are left of the first: tomorrow */
        assert_int_equal(fixture.calls, 3);
        assert_true(engine_wake_ns(fixture.engine) >= fixture.now_ns);
        fixture.now_ns += DAY_MS / 2 * NS_PER_MS;
        fixture.wall_ms += DAY_MS / 2;
        step(&fixture);
        assert_int_equal(fixture.calls_of[0], 2);
        engine_free(fixture.engine);
}

static void nothing_before_the_word_stands(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3000, false);
        open_purse(&fixture, 1);
        add(&fixture, 0, 2, 1);
        assert_int_equal(fixture.calls, 0);
        assert_int_equal(fixture.words_count, 1); /* one at a time */
        const struct spend_news *word = last_word(&fixture, 1);
        assert_true(word->allowed[0].picousd >= CEILING && word->allowed[0].picousd <= 1000);
        assert_int_equal(word->allowed[0].day, 20000);
        tell(&fixture, word, false); /* it never will: another one */
        assert_int_equal(fixture.calls, 0);
        assert_int_equal(fixture.words_count, 2);
        tell(&fixture, last_word(&fixture, 1), true);
        assert_int_equal(fixture.calls, 2);
        engine_free(fixture.engine);
}

/* What a word answers for is what is settled, at risk, reserved and allowed, and never above the part. */
static void words_answer_for_all(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3 * 10 * CEILING, true);
        open_purse(&fixture, 0);
        add(&fixture, 0, 8, 0);
        assert_int_equal(fixture.calls, 8);
        answer(&fixture, 0, VERDICT_OK);
        fixture.specs[1].unknown = UNKNOWN_FAIL;
        answer(&fixture, 1, VERDICT_UNKNOWN);
        const struct spend_news *word = last_word(&fixture, 0);
        const struct budget_spend *spend = &fixture.spends[word - fixture.words];
        assert_int_equal(spend->days[0].settled_picousd, COST);
        assert_int_equal(spend->risks_count, 1);
        assert_int_equal(spend->risks[0].picousd, CEILING);
        int64_t all = COST + CEILING + word->allowed[0].picousd + word->allowed[1].picousd;
        assert_true(word->allowed[0].picousd >= 6 * CEILING && all <= 10 * CEILING);
        engine_free(fixture.engine);
}

/* Of the first partition all is used up, of the second nothing: jobs of one kind, and of one workspace. */
static void nobody_waits_for_anothers_money(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3 * (CEILING + 1), true);
        open_purse(&fixture, 0);
        open_purse(&fixture, 1);
        add(&fixture, 0, 5, 0);
        assert_int_equal(fixture.calls, 1);
        add(&fixture, 5, 5, 1);
        assert_int_equal(fixture.calls_of[1], 1);
        fixture.specs[10].demand.workspace = 1; /* without a budget */
        add(&fixture, 10, 1, 0);
        assert_int_equal(fixture.calls, 3);
        engine_free(fixture.engine);
}

/* What a word of yesterday allows is not for today; what is reserved stays with its day. */
static void a_word_is_for_its_day(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3000, true);
        open_purse(&fixture, 0);
        add(&fixture, 0, 1, 0);
        assert_int_equal(fixture.calls, 1);
        fixture.words_stand = false;
        fixture.now_ns += DAY_MS / 2 * NS_PER_MS;
        fixture.wall_ms += DAY_MS / 2;
        add(&fixture, 1, 1, 0);
        assert_int_equal(fixture.calls, 1);
        const struct spend_news *word = last_word(&fixture, 0);
        assert_int_equal(word->allowed[0].day, 20001);
        assert_int_equal(word->allowed[1].day, 20000);
        assert_int_equal(word->allowed[1].picousd, CEILING);
        tell(&fixture, word, true);
        assert_int_equal(fixture.calls, 2);
        engine_free(fixture.engine);
}

static void the_last_words_allow_no_more(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 30000, true);
        open_purse(&fixture, 0);
        add(&fixture, 0, 2, 0);
        assert_true(last_word(&fixture, 0)->allowed[0].picousd > 2 * CEILING);
        fixture.words_stand = false;
        engine_purse_close(fixture.engine, 0);
        assert_false(engine_purse_told(fixture.engine, 0));
        step(&fixture);
        assert_int_equal(last_word(&fixture, 0)->allowed[0].picousd, 2 * CEILING); /* the calls */
        tell(&fixture, last_word(&fixture, 0), true);
        assert_true(engine_purse_told(fixture.engine, 0));
        add(&fixture, 2, 1, 0);
        assert_int_equal(fixture.calls, 2);
        fixture.words_stand = true;
        answer(&fixture, 0, VERDICT_OK);
        answer(&fixture, 1, VERDICT_REJECTED); /* cost nothing: that too is said now */
        assert_int_equal(last_word(&fixture, 0)->allowed[0].picousd, 0);
        engine_free(fixture.engine);
}

/* The partition goes with a call under way and comes back: its answer is no matter of the new purse. */
static void what_has_gone_is_not_counted_twice(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3000, true);
        open_purse(&fixture, 0);
        add(&fixture, 0, 2, 0);
        struct spend_news word = *last_word(&fixture, 0);
        struct budget_spend spend = fixture.spends[last_word(&fixture, 0) - fixture.words];
        engine_purse_drop(fixture.engine, 0);
        answer(&fixture, 0, VERDICT_OK);
        assert_true(engine_purse_open(fixture.engine, now(&fixture), 0, PARTITIONS));
        budget_take_over(&spend, word.allowed, BUDGET_KEPT);
        assert_true(engine_spend_wanted(fixture.engine, 0, 0));
        engine_spend_load(fixture.engine, 0, 0, &spend, true);
        engine_purse_ready(fixture.engine, 0);
        engine_spend_told(fixture.engine, 0, word.word, true); /* late, of the life before */
        answer(&fixture, 1, VERDICT_OK);
        struct budget_view at = view(&fixture, 0);
        assert_int_equal(at.settled_picousd, 0);
        assert_int_equal(at.risk_picousd, word.allowed[0].picousd);
        assert_int_equal(at.reserved_picousd, 0);
        add(&fixture, 2, 1, 0);
        assert_int_equal(fixture.calls, 3);
        engine_free(fixture.engine);
}

/* Without a purse that is ready no job is called where a budget applies, and elsewhere it is. */
static void without_a_purse_nothing_is_spent(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 3000, true);
        fixture.specs[1].demand.workspace = 1;
        add(&fixture, 0, 2, 2);
        assert_int_equal(fixture.calls, 1);
        assert_true(engine_purse_open(fixture.engine, now(&fixture), 2, PARTITIONS));
        fixture.now_ns += 2 * NS_PER_S;
        step(&fixture);
        assert_int_equal(fixture.calls, 1);
        engine_purse_ready(fixture.engine, 2);
        fixture.now_ns += 2 * NS_PER_S;
        step(&fixture);
        assert_int_equal(fixture.calls, 2);
        engine_free(fixture.engine);
}

static void what_is_not_used_is_given_back(void **state) {
        struct fixture fixture;
        (void)state;
        begin(&fixture, 30000, true);
        open_purse(&fixture, 0);
        add(&fixture, 0, 1, 0);
        answer(&fixture, 0, VERDICT_OK);
        assert_true(last_word(&fixture, 0)->allowed[0].picousd > 0);
        for (int i = 0; i < 5; i++) {
                engine_purse_rest(fixture.engine, 0);
                step(&fixture);
        }
        assert_int_equal(last_word(&fixture, 0)->allowed[0].picousd, 0);
        uint32_t words = fixture.words_count;
        for (int i = 0; i < 20; i++) {
                engine_purse_rest(fixture.engine, 0);
                step(&fixture);
        }
        assert_int_equal(fixture.words_count, words); /* and that is all */
        add(&fixture, 1, 1, 0);
        assert_int_equal(fixture.calls, 2);
        engine_free(fixture.engine);
}

/* A budget comes: jobs that wait in one class go to one per partition, and what was spent before counts. */
static void a_budget_comes_with_another_catalog(void **state) {
        struct fixture fixture;
        struct workspace workspaces[3];
        struct budget_spend spend;
        (void)state;
        set_up(&fixture);
        fixture.endpoints[0].limits.concurrency = 1;
        fixture.workspaces[1].budget.daily = 3000; /* else nothing is counted */
        start(&fixture);
        open_purse(&fixture, 0);
        open_purse(&fixture, 1);
        for (uint32_t p = 0; p < 2; p++)
                add(&fixture, 4 * p, 3, p);
        assert_int_equal(fixture.calls, 1);
        memcpy(workspaces, fixture.workspaces, sizeof(fixture.workspaces));
        workspaces[2] = (struct workspace){.name = "third", .budget.daily = 3000};
        workspaces[0].budget.daily = 3 * (CEILING + COST);
        fixture.endpoints[0].limits.concurrency = 0;
        fixture.next = fixture.catalog;
        fixture.next.workspaces = workspaces;
        fixture.next.workspaces_count = 3;
        struct engine_config config = plain_config(SPECS);
        assert_true(engine_reload(fixture.engine, now(&fixture), &fixture.next, &config, NULL));
        assert_false(engine_spend_wanted(fixture.engine, 1, 0)); /* it was counted before */
        assert_true(engine_spend_wanted(fixture.engine, 1, 2));
        budget_spend_init(&spend);
        budget_add_settled(&spend, 20000, 1000 - CEILING + 1);
        engine_spend_load(fixture.engine, 1, 2, &spend, false);
        for (uint32_t p = 0; p < 2; p++)
                engine_purse_ready(fixture.engine, p);
        fixture.words_stand = true;
        step(&fixture);
        /* of partition 0 what is called already was reserved; of both one more call fits at a time */
        assert_int_equal(fixture.calls_of[0], 1);
        assert_int_equal(fixture.calls_of[1], 1);
        for (uint32_t i = 0; i < 2; i++)
                fixture.specs[10 + i].demand.workspace = 2;
        add(&fixture, 10, 1, 1);
        assert_int_equal(fixture.calls, 2); /* no more than 29 are left there */
        add(&fixture, 11, 1, 0);
        assert_int_equal(fixture.calls, 3);
        engine_free(fixture.engine);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(parts_are_the_whole),
                cmocka_unit_test(each_has_its_part),
                cmocka_unit_test(nothing_before_the_word_stands),
                cmocka_unit_test(words_answer_for_all),
                cmocka_unit_test(nobody_waits_for_anothers_money),
                cmocka_unit_test(a_word_is_for_its_day),
                cmocka_unit_test(the_last_words_allow_no_more),
                cmocka_unit_test(what_has_gone_is_not_counted_twice),
                cmocka_unit_test(without_a_purse_nothing_is_spent),
                cmocka_unit_test(what_is_not_used_is_given_back),
                cmocka_unit_test(a_budget_comes_with_another_catalog),
        };
        return cmocka_run_group_tests_name("purse", tests, NULL, NULL);
}
