/*
 * The plan against a judge that knows no shortcut: a cheapest flow, found by augmenting along cheapest paths
 * one job at a time (Busacker and Gowen, 1960), for thousands of small markets.
 */
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "workers/routing/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { OPTIONS = 3, SLICES = 5, CELLS = OPTIONS * SLICES, NODES = SLICES + CELLS + 2 };

#define MINUTE_NS (60 * NS_PER_S)

struct market {
        struct plan_option options[OPTIONS];
        struct plan plan;
};

static void market_init(struct market *market) {
        memset(market, 0, sizeof(*market));
        market->plan.options = market->options;
        market->plan.options_count = OPTIONS;
}

/* ---- the judge ---- */

struct flow {
        int64_t room[NODES][NODES], cost[NODES][NODES];
};

enum { SOURCE = 0, SINK = NODES - 1 };

static int due_node(int slice) {
        return 1 + slice;
}

static int cell_node(int option, int slice) {
        return 1 + SLICES + option * SLICES + slice;
}

static void edge(struct flow *flow, int from, int to, int64_t room, int64_t cost) {
        flow->room[from][to] = room;
        flow->cost[from][to] = cost;
        flow->cost[to][from] = -cost;
}

static void flow_init(struct flow *flow, const struct market *market) {
        memset(flow, 0, sizeof(*flow));
        for (int due = 0; due < SLICES; due++) {
                edge(flow, SOURCE, due_node(due), market->plan.due[due], 0);
                for (int option = 0; option < OPTIONS; option++)
                        for (int slice = 0; slice <= due; slice++)
                                edge(flow, due_node(due), cell_node(option, slice), 1000,
                                     market->options[option].cost_picousd[slice]);
        }
        for (int option = 0; option < OPTIONS; option++)
                for (int slice = 0; slice < SLICES; slice++)
                        edge(flow, cell_node(option, slice), SINK, market->options[option].capacity[slice],
                             0);
}

/* One job along the cheapest path with room; false: there is none. */
static bool augment(struct flow *flow, int64_t *cost) {
        int64_t far[NODES];
        int from[NODES];
        for (int i = 0; i < NODES; i++)
                far[i] = i == SOURCE ? 0 : INT64_MAX / 4;
        for (int round = 0; round < NODES; round++)
                for (int a = 0; a < NODES; a++)
                        for (int b = 0; b < NODES; b++)
                                if (flow->room[a][b] > 0 && far[a] + flow->cost[a][b] < far[b]) {
                                        far[b] = far[a] + flow->cost[a][b];
                                        from[b] = a;
                                }
        if (far[SINK] >= INT64_MAX / 8)
                return false;
        for (int node = SINK; node != SOURCE; node = from[node]) {
                flow->room[from[node]][node]--;
                flow->room[node][from[node]]++;
        }
        *cost += far[SINK];
        return true;
}

static void is_cheapest(void **state) {
        (void)state;
        struct prng prng;
        prng_init(&prng, 4);
        for (int round = 0; round < 1500; round++) {
                struct market market;
                struct plan_result result;
                struct flow flow;
                int64_t done = 0, cost = 0;
                market_init(&market);
                for (int slice = 0; slice < SLICES; slice++) {
                        market.plan.due[slice] = (int64_t)prng_below(&prng, 4);
                        for (int option = 0; option < OPTIONS; option++) {
                                market.options[option].capacity[slice] = (int64_t)prng_below(&prng, 4);
                                market.options[option].cost_picousd[slice] = (int64_t)prng_below(&prng, 9);
                        }
                }
                flow_init(&flow, &market);
                while (augment(&flow, &cost))
                        done++;
                plan_make(&market.plan, &result);
                assert_int_equal(result.done, done);
                assert_int_equal(result.cost_picousd, cost);
        }
}

/* ---- what it means ---- */

static void option_is(struct plan_option *option, int64_t capacity, int64_t cost) {
        for (int i = 0; i < PLAN_SLICES; i++) {
                option->capacity[i] = capacity;
                option->cost_picousd[i] = cost;
        }
}

static void waits_for_what_is_cheap_in_time(void **state) {
        (void)state;
        struct market market;
        struct plan_result result;
        market_init(&market);
        market.plan.options_count = 2;
        option_is(&market.options[0], 10, 1);
        option_is(&market.options[1], 1000, 5);
        market.plan.due[4] = 50;
        plan_make(&market.plan, &result);
        assert_int_equal(result.now[0], 10); /* five slices of ten */
        assert_int_equal(result.now[1], 0);
        market.plan.due[4] = 53;
        plan_make(&market.plan, &result);
        assert_int_equal(result.now[1], 3); /* what is too much goes elsewhere, and at once */
        assert_int_equal(result.cost_picousd, 50 + 3 * 5);
        market.options[0].cost_picousd[3] = 9; /* dearer than the other, for a while */
        plan_make(&market.plan, &result);
        assert_int_equal(result.now[1], 13);
}

static void waits_for_a_window(void **state) {
        (void)state;
        struct market market;
        struct plan_result result;
        market_init(&market);
        market.plan.options_count = 1;
        option_is(&market.options[0], INT64_MAX, 10);
        market.options[0].cost_picousd[7] = 5;
        market.plan.due[6] = 3;
        market.plan.due[7] = 100;
        plan_make(&market.plan, &result);
        assert_int_equal(result.now[0], 3); /* those for which the window comes too late */
        assert_int_equal(result.cost_picousd, 3 * 10 + 100 * 5);
}

static void what_cannot_be_in_time_goes_now(void **state) {
        (void)state;
        struct market market;
        struct plan_result result;
        market_init(&market);
        market.plan.options_count = 2;
        option_is(&market.options[0], 2, 1);
        option_is(&market.options[1], 3, 4);
        market.plan.due[1] = 100;
        plan_make(&market.plan, &result);
        assert_int_equal(result.done, 10);
        assert_int_equal(result.now[0], 2);
        assert_int_equal(result.now[1], 3);
        market.options[0].capacity[0] = 0; /* only later: what is late goes where there is room now */
        market.options[1].capacity[0] = 50;
        plan_make(&market.plan, &result);
        assert_int_equal(result.now[1], 50);
}

static void slices_cover_more_than_a_day(void **state) {
        (void)state;
        uint32_t slice;
        for (uint32_t i = 1; i < PLAN_SLICES; i++)
                assert_true(plan_slice_end_ns(i) > plan_slice_end_ns(i - 1));
        assert_true(plan_slice_end_ns(PLAN_SLICES - 1) == 32 * 60 * MINUTE_NS);
        assert_false(plan_due_slice(MINUTE_NS - 1, &slice));
        assert_true(plan_due_slice(MINUTE_NS, &slice));
        assert_int_equal(slice, 0);
        assert_true(plan_due_slice(61 * MINUTE_NS, &slice));
        assert_int_equal(slice, 23);
        assert_true(plan_due_slice(INT64_MAX, &slice));
        assert_int_equal(slice, PLAN_SLICES - 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(is_cheapest),
                cmocka_unit_test(waits_for_what_is_cheap_in_time),
                cmocka_unit_test(waits_for_a_window),
                cmocka_unit_test(what_cannot_be_in_time_goes_now),
                cmocka_unit_test(slices_cover_more_than_a_day),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
