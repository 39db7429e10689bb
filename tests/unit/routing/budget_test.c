/*
 * Ledgers: what may be reserved and when, what becomes of it, periods that end, risks that are released, and
 * that nothing that honest calls do ever leads above a limit.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "workers/routing/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS   INT64_C(86400000)
#define AT_MS    INT64_C(1790000000000) /* 2026-09-21T14:13:20Z */
#define DAY      INT64_C(20717)         /* of it */
#define MONTH    INT64_C(680)           /* September 2026 */
#define NEXT_DAY (DAY_MS * (DAY + 1))
/* 2026-10-01T00:00:00Z */
#define NEXT_MONTH INT64_C(1790812800000)

static void periods(void **state) {
        static const struct {
                const char *time;
                int64_t day, month;
        } table[] = {
                {"1970-01-01T00:00:00Z", 0, 0},        {"1970-01-31T23:59:59.999Z", 30, 0},
                {"1970-02-01T00:00:00Z", 31, 1},       {"1999-12-31T23:59:59Z", 10956, 359},
                {"2000-02-29T12:00:00Z", 11016, 361},  {"2000-03-01T00:00:00Z", 11017, 362},
                {"2026-09-21T14:13:20Z", DAY, MONTH},  {"2026-12-31T23:59:59Z", 20818, 683},
                {"2027-01-01T00:00:00Z", 20819, 684},  {"2028-02-29T00:00:00Z", 21243, 697},
                {"2100-03-01T00:00:00Z", 47541, 1562}, {"9999-12-31T23:59:59Z", 2932896, 96359},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
                int64_t unix_ms;
                assert_true(rfc3339_parse(bytes_of(table[i].time), &unix_ms));
                assert_int_equal(budget_day(unix_ms), table[i].day);
                assert_int_equal(budget_month(table[i].day), table[i].month);
        }
        for (int64_t month = -3000; month < 3000; month++) {
                int64_t starts_ms = budget_month_starts_unix_ms(month);
                assert_int_equal(starts_ms % DAY_MS, 0);
                assert_int_equal(budget_month(budget_day(starts_ms)), month);
                assert_int_equal(budget_month(budget_day(starts_ms - 1)), month - 1);
        }
        assert_int_equal(budget_month_starts_unix_ms(MONTH + 1), NEXT_MONTH);
        assert_int_equal(budget_day(-1), -1);
}

/* What was settled, is at risk (released at a time, or never) and reserved today; and what that leaves. */
static const struct {
        const char *name;
        struct budget_spec limit;
        bool fails;
        int64_t settled, risk, released_ms, reserved, amount;
        enum budget_verdict verdict;
        int64_t when_ms;
} verdicts[] = {
        {"no limit", {0}, false, 500, 0, 0, 50, INT64_MAX, BUDGET_NOW, 0},
        {"all of it", {100, 0, 0}, false, 0, 0, 0, 0, 100, BUDGET_NOW, 0},
        {"more than there is in a day", {100, 0, 0}, false, 0, 0, 0, 0, 101, BUDGET_NEVER, 0},
        {"nothing costs nothing", {100, 0, 0}, false, 100, 0, 0, 0, 0, BUDGET_NOW, 0},
        {"spent today", {100, 0, 0}, false, 60, 0, 0, 0, 41, BUDGET_LATER, NEXT_DAY},
        {"spent today, to the last", {100, 0, 0}, false, 60, 0, 0, 0, 40, BUDGET_NOW, 0},
        {"reserved today", {100, 0, 0}, false, 20, 0, 0, 50, 31, BUDGET_SOON, 0},
        {"reserved today, but no use", {100, 0, 0}, false, 60, 0, 0, 20, 41, BUDGET_LATER, NEXT_DAY},
        {"at risk today", {100, 0, 0}, false, 20, 50, BUDGET_KEPT, 0, 31, BUDGET_LATER, NEXT_DAY},
        {"at risk for an hour",
         {100, 0, 0},
         false,
         20,
         50,
         AT_MS + 3600000,
         0,
         31,
         BUDGET_LATER,
         AT_MS + 3600000},
        {"at risk, but no use", {100, 0, 0}, false, 80, 10, AT_MS + 3600000, 0, 31, BUDGET_LATER, NEXT_DAY},
        {"would wait", {100, 0, 0}, true, 60, 0, 0, 0, 41, BUDGET_NEVER, 0},
        {"waits for calls under way all the same", {100, 0, 0}, true, 20, 0, 0, 50, 31, BUDGET_SOON, 0},
        {"this month", {0, 100, 0}, false, 60, 0, 0, 0, 41, BUDGET_LATER, NEXT_MONTH},
        {"this month and today", {70, 100, 0}, false, 60, 0, 0, 0, 41, BUDGET_LATER, NEXT_MONTH},
        {"today only", {70, 1000, 10000}, false, 60, 0, 0, 0, 41, BUDGET_LATER, NEXT_DAY},
        {"for ever", {0, 0, 100}, false, 60, 0, 0, 0, 41, BUDGET_NEVER, 0},
        {"for ever, but for calls under way", {0, 0, 100}, false, 20, 0, 0, 60, 41, BUDGET_SOON, 0},
        {"for ever, but for a risk",
         {0, 0, 100},
         false,
         20,
         60,
         AT_MS + 5000,
         0,
         41,
         BUDGET_LATER,
         AT_MS + 5000},
        {"for ever, at risk for ever", {0, 0, 100}, false, 20, 60, BUDGET_KEPT, 0, 41, BUDGET_NEVER, 0},
        {"huge", {PICOUSD_MAX, 0, 0}, false, PICOUSD_MAX - 5, 0, 0, 0, PICOUSD_MAX, BUDGET_NOW, 0},
        {"huge, saturated",
         {PICOUSD_MAX - 1, 0, 0},
         false,
         PICOUSD_MAX - 5,
         0,
         0,
         0,
         5,
         BUDGET_LATER,
         NEXT_DAY},
};

static void what_may_be_reserved(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++) {
                struct ledger ledger;
                int64_t when_ms = 0;
                const struct budget_spec none = {0};
                ledger_init(&ledger, &none, verdicts[i].fails);
                ledger_roll(&ledger, AT_MS);
                if (verdicts[i].reserved > 0)
                        ledger_reserve(&ledger, verdicts[i].reserved);
                budget_add_settled(&ledger.spend, DAY, verdicts[i].settled);
                budget_add_risk(&ledger.spend,
                                &(struct budget_risk){DAY, verdicts[i].released_ms, verdicts[i].risk});
                ledger.limit = verdicts[i].limit;
                enum budget_verdict verdict = ledger_when(&ledger, verdicts[i].amount, &when_ms);
                if (verdict != verdicts[i].verdict || when_ms != verdicts[i].when_ms)
                        fail_msg("%s: verdict %d at %lld", verdicts[i].name, (int)verdict,
                                 (long long)when_ms);
        }
}

static struct budget_view view(const struct ledger *ledger, enum budget_kind kind) {
        struct budget_view out;
        ledger_view(ledger, kind, &out);
        return out;
}

static void what_becomes_of_it(void **state) {
        struct ledger ledger;
        const struct budget_spec limit = {100, 200, 300};
        (void)state;
        ledger_init(&ledger, &limit, false);
        ledger_roll(&ledger, AT_MS);
        int64_t day = ledger_reserve(&ledger, 40);
        assert_int_equal(day, DAY);
        ledger_reserve(&ledger, 30);
        ledger_reserve(&ledger, 20);
        ledger_settle(&ledger, 40, day, 10);
        ledger_release(&ledger, 30, day);
        ledger_hold(&ledger, 20, day, &(struct budget_risk){day, AT_MS + 1000, 20});
        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                struct budget_view now = view(&ledger, (enum budget_kind)kind);
                assert_int_equal(now.settled_picousd, 10);
                assert_int_equal(now.risk_picousd, 20);
                assert_int_equal(now.reserved_picousd, 0);
        }
        ledger_roll(&ledger, AT_MS + 999);
        assert_int_equal(view(&ledger, BUDGET_DAILY).risk_picousd, 20);
        ledger_roll(&ledger, AT_MS + 1000);
        assert_int_equal(view(&ledger, BUDGET_DAILY).risk_picousd, 0);
        /* a provider that lies: shown as it is, and nothing more is reserved */
        ledger_settle(&ledger, ledger_reserve(&ledger, 0) * 0, day, 500);
        int64_t when_ms;
        assert_int_equal(view(&ledger, BUDGET_LIFETIME).settled_picousd, 510);
        assert_int_equal(ledger_when(&ledger, 1, &when_ms), BUDGET_NEVER);
}

static void periods_end(void **state) {
        struct ledger ledger;
        const struct budget_spec limit = {100, 150, 0};
        int64_t when_ms;
        (void)state;
        ledger_init(&ledger, &limit, false);
        ledger_roll(&ledger, AT_MS);
        int64_t day = ledger_reserve(&ledger, 80);
        ledger_roll(&ledger, NEXT_DAY); /* what was reserved yesterday is yesterday's */
        assert_int_equal(view(&ledger, BUDGET_DAILY).reserved_picousd, 0);
        assert_int_equal(view(&ledger, BUDGET_MONTHLY).reserved_picousd, 80);
        assert_int_equal(ledger_when(&ledger, 71, &when_ms), BUDGET_SOON);
        int64_t next = ledger_reserve(&ledger, 70);
        ledger_settle(&ledger, 80, day, 60);
        assert_int_equal(view(&ledger, BUDGET_DAILY).settled_picousd, 0);
        assert_int_equal(view(&ledger, BUDGET_MONTHLY).settled_picousd, 60);
        ledger_roll(&ledger, NEXT_DAY - 1); /* the clock is set back: yesterday stands as it was */
        assert_int_equal(view(&ledger, BUDGET_DAILY).settled_picousd, 60);
        assert_int_equal(ledger_when(&ledger, 41, &when_ms), BUDGET_LATER);
        assert_int_equal(when_ms, NEXT_DAY);
        ledger_roll(&ledger, NEXT_DAY);
        assert_int_equal(view(&ledger, BUDGET_DAILY).reserved_picousd, 70);
        ledger_settle(&ledger, 70, next, 70);
        ledger_roll(&ledger, NEXT_MONTH);
        assert_int_equal(view(&ledger, BUDGET_MONTHLY).settled_picousd, 0);
        assert_int_equal(view(&ledger, BUDGET_LIFETIME).settled_picousd, 130);
        ledger_settle(&ledger, 0, day, 5); /* of a day that is no longer kept */
        assert_int_equal(view(&ledger, BUDGET_LIFETIME).settled_picousd, 135);
        assert_int_equal(view(&ledger, BUDGET_DAILY).settled_picousd, 0);
}

static int64_t all_risks(const struct budget_spend *spend) {
        int64_t sum = 0;
        for (uint32_t i = 0; i < spend->risks_count; i++)
                sum += spend->risks[i].picousd;
        return sum;
}

static void risks_stay_few(void **state) {
        struct budget_spend spend;
        (void)state;
        budget_spend_init(&spend);
        for (int64_t i = 0; i < 100; i++) {
                budget_add_risk(&spend, &(struct budget_risk){DAY + i / 3, AT_MS + i * 1000, 10});
                assert_true(spend.risks_count <= BUDGET_RISKS_MAX);
                assert_int_equal(all_risks(&spend), 10 * (i + 1));
        }
        int64_t today = 0; /* those of the last day are still its own */
        for (uint32_t i = 0; i < spend.risks_count; i++)
                today += spend.risks[i].day == DAY + 33 ? spend.risks[i].picousd : 0;
        assert_int_equal(today, 10);
        budget_take_risk(&spend, DAY + 33, 4);
        assert_int_equal(all_risks(&spend), 996);
        budget_take_risk(&spend, DAY + 33, 100);
        assert_int_equal(all_risks(&spend), 990);
        budget_take_risk(&spend, DAY + 33, 100);
        assert_int_equal(all_risks(&spend), 990);
        assert_int_equal(budget_release_unix_ms(AT_MS, 0), BUDGET_KEPT);
        assert_int_equal(budget_release_unix_ms(AT_MS, INT64_MAX) > AT_MS, true);
        for (int64_t ns = 1; ns < INT64_C(1) << 60; ns *= 3) {
                int64_t after_ms = budget_release_unix_ms(AT_MS, ns) - AT_MS;
                assert_true(after_ms > ns / NS_PER_MS && after_ms <= ns / NS_PER_MS + ns / NS_PER_MS / 8 + 4);
        }
}

/*
 * Calls at random, of providers that never bill more than the ceiling; days pass, and the clock is set back.
 */
struct day_sum {
        int64_t day, billed;
};

static void never_above(void **state) {
        enum { CALLS = 64, STEPS = 4000, DAYS = 4096 };
        (void)state;
        for (uint64_t seed = 1; seed <= 200; seed++) {
                static struct day_sum days[DAYS];
                struct prng prng;
                struct ledger ledger;
                struct {
                        int64_t reserved, day;
                } calls[CALLS];
                size_t count = 0;
                int64_t now_ms = AT_MS, all = 0;
                prng_init(&prng, seed);
                memset(days, 0, sizeof(days));
                struct budget_spec limit = {1 + (int64_t)prng_below(&prng, 1000), 0, 0};
                limit.monthly = limit.daily + (int64_t)prng_below(&prng, 10000);
                limit.lifetime = limit.monthly + (int64_t)prng_below(&prng, 100000);
                ledger_init(&ledger, &limit, false);
                for (int i = 0; i < STEPS; i++) {
                        int64_t when_ms, amount = (int64_t)prng_below(&prng, 300);
                        now_ms += (int64_t)prng_below(&prng, 3000000) -
                                  (prng_below(&prng, 50) == 0 ? 4000000 : 0);
                        ledger_roll(&ledger, now_ms);
                        enum budget_verdict verdict = ledger_when(&ledger, amount, &when_ms);
                        if (verdict == BUDGET_LATER)
                                assert_true(when_ms > now_ms);
                        if (verdict == BUDGET_NOW && count < CALLS) {
                                calls[count].reserved = amount;
                                calls[count++].day = ledger_reserve(&ledger, amount);
                        }
                        if (count == 0 || prng_below(&prng, 2))
                                continue;
                        size_t at = (size_t)prng_below(&prng, count);
                        int64_t reserved = calls[at].reserved, day = calls[at].day;
                        int64_t billed = (int64_t)prng_below(&prng, (uint64_t)reserved + 1);
                        calls[at] = calls[--count];
                        switch (prng_below(&prng, 3)) {
                        case 0:
                                ledger_release(&ledger, reserved, day);
                                continue;
                        case 1:
                                ledger_settle(&ledger, reserved, day, billed);
                                break;
                        default:
                                ledger_hold(&ledger, reserved, day,
                                            &(struct budget_risk){day, BUDGET_KEPT, reserved});
                        }
                        all += billed;
                        days[day - DAY + 10].billed += billed;
                        assert_true(days[day - DAY + 10].billed <= limit.daily);
                        assert_true(all <= limit.lifetime);
                        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                                struct budget_view v = view(&ledger, (enum budget_kind)kind);
                                assert_true(v.settled_picousd + v.risk_picousd + v.reserved_picousd <=
                                            v.limit_picousd);
                        }
                }
                assert_true(all > 0);
        }
}

static void subjects(void **state) {
        struct provider providers[2] = {{.name = "a"}, {.name = "b"}};
        struct workspace workspaces[2] = {{.name = "default"}, {.name = "x", .budget = {7, 0, 0}}};
        struct catalog catalog = {.providers = providers, .providers_count = 2};
        struct ledger ledger;
        (void)state;
        assert_int_equal(budget_subjects(&catalog), 0);
        providers[1].budget.monthly = 5;
        assert_int_equal(budget_subjects(&catalog), 2);
        assert_false(budget_is_counted(&catalog, 0));
        assert_true(budget_is_counted(&catalog, 1));
        catalog.workspaces = workspaces;
        catalog.workspaces_count = 2;
        assert_int_equal(budget_subjects(&catalog), 4);
        assert_true(budget_is_counted(&catalog, 0));
        assert_false(budget_is_counted(&catalog, 2));
        workspaces[1].over_budget = OVER_BUDGET_FAIL;
        budget_subject_ledger(&catalog, 1, &ledger);
        assert_true(ledger.fails && ledger.limit.daily == 7 && ledger_bounded(&ledger));
        budget_subject_ledger(&catalog, 0, &ledger);
        assert_false(ledger_bounded(&ledger));
        budget_subject_ledger(&catalog, 3, &ledger);
        assert_int_equal(ledger.limit.monthly, 5);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(periods),
                cmocka_unit_test(what_may_be_reserved),
                cmocka_unit_test(what_becomes_of_it),
                cmocka_unit_test(periods_end),
                cmocka_unit_test(risks_stay_few),
                cmocka_unit_test(never_above),
                cmocka_unit_test(subjects),
        };
        return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
