/*
 * A decision's record: the bytes of one that is written out by hand, and thousands that come from random
 * catalogs, demands and states. Each is read back as the same, decided again with the same candidates, and
 * refused when anything is cut off, added or changed into what nobody writes.
 */
#include "broker/base/money.h"
#include "broker/base/prng.h"
#include "broker/base/time.h"
#include "broker/core/pick.h"
#include "broker/wire/decision.h"
#include "broker/wire/receipt.h"
#include "broker/wire/result.h"
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 20000, PROVIDERS = 6, ENDPOINTS_MAX = 48, NAMES = 12, NOW_NS = 77 };

static const char *const words[NAMES] = {"p0", "p1", "p2", "p3", "p4", "p5",
                                         "m0", "m1", "m2", "eu", "us", "fp8"};

struct world {
        struct prng prng;
        struct provider providers[PROVIDERS];
        struct endpoint endpoints[ENDPOINTS_MAX];
        char endpoint_names[ENDPOINTS_MAX][16];
        struct catalog catalog;
        struct demand demand;
        struct decision_moment moment;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct workspace workspaces[2];
        struct ledger ledgers[2 + PROVIDERS];
        struct route route;
        struct decision decision;
};

static bool one_in(struct world *world, uint64_t n) {
        return prng_below(&world->prng, n) == 0;
}

static int64_t upto(struct world *world, uint64_t n) {
        return (int64_t)prng_below(&world->prng, n + 1);
}

/* Of any size, with an exact zero now and then. */
static int64_t amount(struct world *world) {
        return (int64_t)(prng_next(&world->prng) >> (1 + prng_below(&world->prng, 62))) * !one_in(world, 8);
}

static double measured(struct world *world) {
        return one_in(world, 3) ? 0 : prng_unit(&world->prng) * (double)(1 + amount(world));
}

static const struct zone_change utc_changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", utc_changes, 1};
static const struct price_window windows[] = {{&utc, 500000, 0, 720, 0x7f}, {&utc, 3000000, 1000, 90, 0x15}};

static void make_catalog(struct world *world) {
        world->catalog = (struct catalog){world->providers, PROVIDERS, world->endpoints, 0, "c", NULL, 0};
        for (int i = 0; i < PROVIDERS; i++)
                world->providers[i] = (struct provider){.name = words[i],
                                                        .region = words[9 + upto(world, 1)],
                                                        .zdr = one_in(world, 2),
                                                        .training = one_in(world, 3),
                                                        .data_policy_known = !one_in(world, 3),
                                                        .retention_days = -1};
        world->catalog.endpoints_count =
                (uint32_t)(1 + upto(world, one_in(world, 4) ? ENDPOINTS_MAX - 1 : 5));
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++) {
                struct endpoint *endpoint = &world->endpoints[i];
                snprintf(world->endpoint_names[i], sizeof world->endpoint_names[i], "e%u", i);
                *endpoint = (struct endpoint){.name = world->endpoint_names[i],
                                              .provider = (uint32_t)upto(world, PROVIDERS - 1),
                                              .model = one_in(world, 6) ? "*" : words[6 + upto(world, 2)],
                                              .upstream = "u",
                                              .context = one_in(world, 2) ? 0 : upto(world, 4000),
                                              .output_max = one_in(world, 2) ? 0 : upto(world, 4000),
                                              .quantization = one_in(world, 2) ? "fp8" : "unknown",
                                              .quality = upto(world, 101) - 1,
                                              .windows = windows,
                                              .windows_count = (uint8_t)(one_in(world, 3) ? 2 : 0),
                                              .kinds = UINT32_MAX};
                int64_t *prices = (int64_t *)&endpoint->price;
                for (size_t j = 0; j < sizeof endpoint->price / sizeof *prices; j++)
                        prices[j] = one_in(world, 6) ? PRICE_UNKNOWN : upto(world, 3) * 1000000;
        }
}

static void make_names(struct world *world, struct names *names) {
        /* of the lists of three demands, one after the other */
        static struct bytes items[16][PREFS_NAMES_MAX];
        static unsigned used;
        struct bytes *made = items[used++ % 16];
        *names = (struct names){made, one_in(world, 5) ? (uint8_t)upto(world, 4) : 0};
        for (unsigned i = 0; i < names->count; i++)
                made[i] = bytes_of(words[upto(world, NAMES - 1)]);
}

static void make_prefs(struct world *world, struct routing_prefs *prefs) {
        make_names(world, &prefs->order);
        make_names(world, &prefs->only);
        make_names(world, &prefs->ignore);
        make_names(world, &prefs->regions);
        make_names(world, &prefs->quantizations);
        prefs->allow_fallbacks = !one_in(world, 6);
        prefs->deny_training = one_in(world, 6);
        prefs->zdr = one_in(world, 6);
        prefs->sort = (enum sort_by)upto(world, SORT_BALANCED);
        prefs->sort_across_models = one_in(world, 4);
        prefs->require_parameters = one_in(world, 8);
        prefs->deny_unknown_price = one_in(world, 4);
        prefs->spread_ppm = one_in(world, 5) ? upto(world, SPREAD_MAX) : 0;
        for (int i = 0; i < PERCENTILES_COUNT; i++) {
                prefs->preferred_min_throughput[i] = one_in(world, 6) ? upto(world, 100000) : 0;
                prefs->preferred_max_latency[i] = one_in(world, 6) ? amount(world) : 0;
        }
        int64_t *prices[] = {&prefs->max_price_input, &prefs->max_price_output, &prefs->max_price_request,
                             &prefs->max_price_image};
        for (size_t i = 0; i < 4; i++)
                *prices[i] = one_in(world, 8) ? upto(world, 3) * 1000000 : PICOUSD_MAX;
}

static void make_demand(struct world *world) {
        struct demand *demand = &world->demand;
        demand_init(demand, (enum kind)upto(world, KINDS_COUNT - 1));
        demand->models_count = (uint8_t)(1 + upto(world, 2));
        for (unsigned i = 0; i < demand->models_count; i++)
                demand->models[i] = bytes_of(words[6 + upto(world, 2)]);
        demand->input_tokens = one_in(world, 9) ? amount(world) : upto(world, 5000);
        demand->output_tokens_max = upto(world, 1000) - 1;
        demand->audio_ms = upto(world, 100000) - 1;
        demand->characters = upto(world, 100);
        demand->images = upto(world, 3);
        demand->search_units = upto(world, 3);
        demand->max_cost_picousd = one_in(world, 4) ? upto(world, 10000) : PICOUSD_MAX;
        demand->parameters = one_in(world, 4) ? prng_next(&world->prng) : 0;
        demand->input_modalities = (uint32_t)upto(world, 7);
        demand->output_modalities = (uint32_t)upto(world, 7);
        make_prefs(world, &demand->prefs);
}

static void make_state(struct world *world, struct route_state *state) {
        static const enum exclusion waits[] = {EXCLUSION_PAUSED, EXCLUSION_BREAKER, EXCLUSION_AT_LIMIT};
        *state = (struct route_state){.ready_ns = NOW_NS, .tokens_ratio = 1};
        if (one_in(world, 3)) {
                state->waiting = waits[upto(world, 2)];
                state->ready_ns = one_in(world, 6) ? INT64_MAX : NOW_NS + 1 + upto(world, 100 * NS_PER_S);
        }
        state->expected_output_tokens = measured(world);
        state->tokens_ratio = one_in(world, 2) ? 1 : 0.25 + prng_unit(&world->prng) * 3;
        state->latency_ns = measured(world);
        state->output_tokens_per_s = measured(world);
        state->in_flight = upto(world, 100);
        state->input_permille = (int32_t)upto(world, 1500) * one_in(world, 2);
        state->cached_permille = (int32_t)upto(world, 1000) * one_in(world, 2);
        state->success_permille = (int32_t)upto(world, 1001) - 1;
        state->slow = one_in(world, 5);
        for (int i = 0; i < PERCENTILES_COUNT; i++) {
                state->latency_p_ns[i] = one_in(world, 3) ? amount(world) : 0;
                state->throughput_p_milli[i] = one_in(world, 3) ? amount(world) : 0;
        }
        record_round(state);
}

static void make_spec(struct world *world, struct budget_spec *spec) {
        int64_t *limits[] = {&spec->daily, &spec->monthly, &spec->lifetime};
        for (size_t i = 0; i < 3; i++)
                *limits[i] = one_in(world, 3) ? 1 + upto(world, 8000) : 0;
}

static void make_ledger(struct world *world, uint32_t subject, int64_t now_unix_ms) {
        struct ledger *ledger = &world->ledgers[subject];
        budget_subject_ledger(&world->catalog, subject, ledger);
        if (one_in(world, 3)) { /* a partition's */
                uint32_t whole = 1 + (uint32_t)upto(world, 5), part = (uint32_t)upto(world, whole - 1);
                if (ledger_takes_share(budget_of_subject(&world->catalog, subject), part, whole))
                        ledger_share(ledger, budget_of_subject(&world->catalog, subject), part, whole);
                ledger->allowance.needed = true;
        }
        ledger_roll(ledger, now_unix_ms);
        if (ledger->allowance.needed)
                ledger->allowance.left_picousd = upto(world, 3000);
        for (int i = one_in(world, 2) ? 0 : (int)upto(world, 4); i > 0; i--) {
                int64_t when, amount_picousd = upto(world, 2000), day = budget_day(now_unix_ms);
                struct budget_risk risk = {day, now_unix_ms + 1 + upto(world, 100000000), amount_picousd};
                if (ledger_when(ledger, amount_picousd, &when) != BUDGET_NOW)
                        continue;
                ledger_reserve(ledger, amount_picousd);
                if (one_in(world, 3))
                        ledger_hold(ledger, amount_picousd, day, &risk);
                else if (one_in(world, 2))
                        ledger_settle(ledger, amount_picousd, day, upto(world, (uint64_t)amount_picousd));
        }
}

/* Of a workspace and of providers, with reservations, spend and risks. */
static void make_budgets(struct world *world, int64_t now_unix_ms) {
        bool budgets = one_in(world, 3);
        world->catalog.workspaces = world->workspaces;
        world->catalog.workspaces_count = budgets ? 2 : 0;
        for (int i = 0; budgets && i < 2; i++) {
                world->workspaces[i] =
                        (struct workspace){.name = words[i], .over_budget = (enum over_budget)upto(world, 1)};
                make_spec(world, &world->workspaces[i].budget);
        }
        for (int i = 0; budgets && i < PROVIDERS; i++)
                make_spec(world, &world->providers[i].budget);
        for (uint32_t i = 0; i < budget_subjects(&world->catalog); i++)
                make_ledger(world, i, now_unix_ms);
        world->demand.workspace = budgets ? (uint32_t)upto(world, 1) : 0;
        for (uint32_t i = 0; budgets && i < world->set.count; i++) {
                uint32_t provider = world->endpoints[world->set.endpoints[i]].provider;
                world->states[i].budgets[0] = &world->ledgers[world->demand.workspace];
                world->states[i].budgets[1] = &world->ledgers[2 + provider];
        }
}

static void decide(struct world *world, uint64_t seed) {
        prng_init(&world->prng, seed);
        make_catalog(world);
        make_demand(world);
        route_match(&world->catalog, &world->demand, &world->set);
        for (uint32_t i = 0; i < world->set.count; i++)
                make_state(world, &world->states[i]);
        int64_t now_unix_ms = upto(world, INT64_C(1) << 41);
        make_budgets(world, now_unix_ms);
        world->moment = (struct decision_moment){
                .route = {.now_unix_ms = now_unix_ms,
                          .now_ns = NOW_NS,
                          .spent_picousd = one_in(world, 3) ? upto(world, 10000) : 0,
                          .refused = one_in(world, 3) ? (uint32_t)prng_next(&world->prng) : 0,
                          .call_ms = one_in(world, 2) ? upto(world, 100000000) : 0,
                          .seed = prng_next(&world->prng)},
                .tried = one_in(world, 3) ? (uint32_t)prng_next(&world->prng) : 0,
                .pressed = one_in(world, 3),
                .planned = one_in(world, 6),
                .worth = (uint32_t)prng_next(&world->prng),
                .truncated = world->set.truncated,
                .audio_ms = world->demand.audio_ms};
        route_rank(&world->catalog, &world->demand, &world->set, world->states, &world->moment.route,
                   &world->route);
        struct decision *decision = &world->decision;
        struct record_writer writer = {decision->record, decision->record + DECISION_RECORD_MAX};
        record_write_places(&writer, &world->catalog, &world->moment, NOW_NS, &world->set, world->states,
                            &world->route);
        decision->record_size = writer.at ? (uint16_t)(writer.at - decision->record) : 0;
}

static const struct candidate *taken(const struct world *world, const struct demand *demand,
                                     const struct route *route, const struct decision_moment *moment,
                                     int64_t now_ns) {
        int64_t wake_ns = INT64_MAX;
        (void)world, (void)now_ns;
        return pick(demand, route, moment, &wake_ns);
}

static void decided_again(const struct world *world, struct decision_inputs *inputs) {
        struct route again;
        inputs->moment.route.seed = world->moment.route.seed;
        assert_true(record_bind(&world->catalog, inputs));
        route_rank(&world->catalog, &inputs->demand, &inputs->set, inputs->states, &inputs->moment.route,
                   &again);
        assert_int_equal(again.count, world->route.count);
        assert_int_equal(again.usable, world->route.usable);
        assert_int_equal(again.truncated, world->route.truncated);
        for (uint32_t i = 0; i < again.count; i++) {
                const struct candidate *now = &again.candidates[i], *then = &world->route.candidates[i];
                assert_int_equal(now->place, then->place);
                assert_int_equal(now->endpoint, then->endpoint);
                assert_int_equal(now->excluded_by, then->excluded_by);
                assert_int_equal(now->cost_known, then->cost_known);
                assert_int_equal(now->cost_expected_picousd, then->cost_expected_picousd);
                assert_int_equal(now->cost_ceiling_picousd, then->cost_ceiling_picousd);
                assert_int_equal(inputs->ranks[now->place], i);
        }
        const struct candidate *now = taken(world, &inputs->demand, &again, &inputs->moment, 0);
        const struct candidate *then = taken(world, &world->demand, &world->route, &world->moment, NOW_NS);
        assert_int_equal(now != NULL, then != NULL);
        if (now)
                assert_int_equal(now->place, then->place);
}

static void random_decisions_come_out_the_same(void **state) {
        (void)state;
        static struct world world;
        struct decision_inputs inputs;
        struct buffer text, record;
        unsigned places = 0, taken_count = 0, left_out = 0;
        buffer_init(&text, DECISION_TEXT_MAX);
        buffer_init(&record, DECISION_TEXT_MAX);
        for (uint64_t seed = 0; seed < ROUNDS; seed++) {
                decide(&world, seed);
                buffer_clear(&text);
                if (!decision_append(&text, &world.demand, &world.decision)) {
                        assert_true(world.decision.record_size == 0 && world.set.count > 12);
                        left_out++;
                        continue;
                }
                assert_true(decision_read(buffer_view(&text), &record, &inputs));
                decided_again(&world, &inputs);
                places += world.set.count;
                taken_count += taken(&world, &world.demand, &world.route, &world.moment, NOW_NS) != NULL;
        }
        assert_true(places > 3 * ROUNDS && taken_count > ROUNDS / 6 && left_out < ROUNDS / 20);
        buffer_deinit(&text);
        buffer_deinit(&record);
}

/* As text, from what was read: the one text that stands for it. Ledgers are written where they bound. */
static void append_again(struct buffer *text, struct decision_inputs *inputs) {
        inputs->workspace.limit.daily = 1;
        for (uint32_t place = 0; place < inputs->set.count; place++)
                inputs->providers[place].limit.daily = 1;
        struct route route = {.count = inputs->set.count};
        struct decision decision = {0};
        for (uint32_t place = 0; place < route.count; place++)
                route.candidates[inputs->ranks[place]].place = (uint8_t)place;
        struct record_writer writer = {decision.record, decision.record + DECISION_RECORD_MAX};
        record_write_places(&writer, NULL, &inputs->moment, 0, &inputs->set, inputs->states, &route);
        decision.record_size = writer.at ? (uint16_t)(writer.at - decision.record) : 0;
        buffer_clear(text);
        assert_true(decision_append(text, &inputs->demand, &decision));
}

/* What is cut, longer, or changed is refused, or is another record: never a second text of the same one. */
static void damaged_records_are_refused(void **state) {
        (void)state;
        static struct world world;
        struct decision_inputs inputs;
        struct buffer text, record, again;
        unsigned read = 0;
        buffer_init(&text, DECISION_TEXT_MAX);
        buffer_init(&record, DECISION_TEXT_MAX);
        buffer_init(&again, DECISION_TEXT_MAX);
        for (uint64_t seed = 0; seed < 300; seed++) {
                decide(&world, seed);
                buffer_clear(&text);
                if (!decision_append(&text, &world.demand, &world.decision))
                        continue;
                for (size_t size = 0; size < text.size; size++)
                        assert_false(decision_read((struct bytes){text.data, size}, &record, &inputs));
                for (size_t at = 0; at < text.size; at++) {
                        char was = text.data[at];
                        text.data[at] = was == 'A' ? 'B' : 'A';
                        if (decision_read(buffer_view(&text), &record, &inputs)) {
                                append_again(&again, &inputs);
                                assert_true(bytes_equal(buffer_view(&again), buffer_view(&text)));
                                read++;
                        }
                        text.data[at] = was;
                }
                buffer_append_string(&text, "AAAA");
                assert_false(decision_read(buffer_view(&text), &record, &inputs));
        }
        assert_true(read > 0);
        static const char *const wrong[] = {"", "A", "AQ", "AQ==", "AQAB+", "AQAB/", "\n", "_____"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                assert_false(decision_read(bytes_of(wrong[i]), &record, &inputs));
        buffer_deinit(&text);
        buffer_deinit(&record);
        buffer_deinit(&again);
}

/* Two providers of one chat model, the first at its limit; by hand, from the words of the header. */
static const uint8_t golden[] = {
        1,                                        /* version */
        0x06, 0xac, 0x02, 0xc8, 0x01,             /* input_tokens 300, output_tokens_max 100 */
        1,    2,    'm',  'x',                    /* models */
        0x01, 0x80, 0xa0, 0xf1, 0xc2, 0xb1, 0x34, /* now_unix_ms 1800000000000 */
        0,                                        /* no budget of a workspace */
        2,                                        /* places */
        4,    0,    1,                            /* endpoint 4, model 0, came out second */
        0x43, 0xe8, 0x07, 0x0f, 0x06, 0,          /* 1000 ns from now, capacity_exhausted, 3 in flight */
        7,    0,    0,                            /* endpoint 7 came out first */
        0x10, 0xc1, 0x9a, 0xb7, 0xae, 0x06, 0,    /* latency 1e9 ns: 0x41cdcd6500000000 */
};

static void one_record_byte_by_byte(void **state) {
        (void)state;
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        demand.models[0] = BYTES("mx");
        demand.models_count = 1;
        demand.input_tokens = 300;
        demand.output_tokens_max = 100;
        struct decision_moment moment = {.route.now_unix_ms = INT64_C(1800000000000), .audio_ms = -1};
        struct route_set set = {.endpoints = {4, 7}, .count = 2};
        struct route_state states[2] = {
                {.ready_ns = 6000, .waiting = EXCLUSION_AT_LIMIT, .tokens_ratio = 1, .in_flight = 3},
                {.ready_ns = 5000, .tokens_ratio = 1, .latency_ns = 1e9}};
        struct route route = {.candidates = {{.place = 1}, {.place = 0}}, .count = 2, .usable = 2};
        struct decision decision = {0};
        struct record_writer writer = {decision.record, decision.record + DECISION_RECORD_MAX};
        record_write_places(&writer, NULL, &moment, 5000, &set, states, &route);
        decision.record_size = (uint16_t)(writer.at - decision.record);
        struct decision_inputs inputs;
        struct buffer text, record;
        buffer_init(&text, 4096);
        buffer_init(&record, 4096);
        assert_true(decision_append(&text, &demand, &decision));
        assert_bytes(buffer_view(&text), "AQasAsgBAQJteAGAoPHCsTQAAgQAAUPoBw8GAAcAABDBmreuBgA");
        assert_true(decision_read(buffer_view(&text), &record, &inputs));
        assert_int_equal(record.size, sizeof golden);
        assert_memory_equal(record.data, golden, sizeof golden);
        assert_int_equal(inputs.demand.max_cost_picousd, PICOUSD_MAX);
        assert_int_equal(inputs.demand.prefs.max_cost_picousd, PICOUSD_MAX); /* for other rules to lower */
        assert_int_equal(inputs.states[0].ready_ns, 1000);
        assert_true(inputs.states[1].latency_ns == 1e9);
        buffer_deinit(&text);
        buffer_deinit(&record);
}

/* No name of a job is too long for its record, and none is cut. */
static void long_names_are_kept(void **state) {
        (void)state;
        char name[RECORD_NAME_MAX + 1];
        memset(name, 'n', sizeof name);
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        struct names *lists[] = {&demand.prefs.order, &demand.prefs.only, &demand.prefs.ignore};
        struct bytes items[3][PREFS_NAMES_MAX];
        for (size_t i = 0; i < 3; i++) {
                for (size_t j = 0; j < PREFS_NAMES_MAX; j++)
                        items[i][j] = (struct bytes){name, RECORD_NAME_MAX - i};
                *lists[i] = (struct names){items[i], PREFS_NAMES_MAX};
        }
        demand.models[demand.models_count++] = BYTES("m");
        struct decision decision = {.record_size = 3}; /* an empty moment, no budget, no places */
        struct decision_inputs inputs;
        struct buffer text, record;
        buffer_init(&text, 1 << 20);
        buffer_init(&record, DECISION_TEXT_MAX);
        demand.prefs.ignore.count = 0;
        assert_true(decision_append(&text, &demand, &decision));
        assert_true(decision_read(buffer_view(&text), &record, &inputs));
        assert_int_equal(inputs.demand.prefs.only.items[15].size, RECORD_NAME_MAX - 1);
        buffer_clear(&text);
        demand.prefs.ignore.count = PREFS_NAMES_MAX;
        assert_false(decision_append(&text, &demand, &decision)); /* 48 KiB do not fit */
        assert_int_equal(text.size, 0);
        demand.prefs.ignore.count = demand.prefs.only.count = 0;
        items[0][0].size++;
        assert_true(decision_append(&text, &demand, &decision));
        assert_false(decision_read(buffer_view(&text), &record, &inputs));
        buffer_deinit(&text);
        buffer_deinit(&record);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_record_byte_by_byte),
                cmocka_unit_test(random_decisions_come_out_the_same),
                cmocka_unit_test(damaged_records_are_refused),
                cmocka_unit_test(long_names_are_kept),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
