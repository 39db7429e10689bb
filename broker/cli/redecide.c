#include "broker/cli/redecide.h"

#include "broker/base/money.h"
#include "broker/wire/decision.h"
#include "workers/routing/merge.h"

#include <stdio.h>
#include <string.h>

#define FROM_NOW_NS 0 /* times of a record count from the moment of the decision */

static struct bytes endpoint_name(const struct catalog *catalog, uint32_t endpoint) {
        return endpoint == ENDPOINT_GONE ? BYTES("one that is gone")
                                         : bytes_of(catalog->endpoints[endpoint].name);
}

static const struct candidate *pick_now(const struct demand *demand, const struct route *route,
                                        const struct decision_moment *moment) {
        int64_t wake_ns = INT64_MAX;
        return pick(demand, route, moment, &wake_ns);
}

/* ---- the same again ---- */

static enum redecided differ(struct difference *out, const char *what, struct bytes expected,
                             struct bytes got) {
        snprintf(out->what, sizeof out->what, "%s", what);
        snprintf(out->expected, sizeof out->expected, "%.*s", (int)expected.size, expected.data);
        snprintf(out->got, sizeof out->got, "%.*s", (int)got.size, got.data);
        return REDECIDED_DIFFERENT;
}

/* "openai/m capacity_exhausted $0.0001" */
static void describe(struct buffer *out, struct bytes endpoint, enum exclusion why, bool cost_known,
                     int64_t cost_picousd) {
        buffer_clear(out);
        buffer_append_bytes(out, endpoint);
        if (why != EXCLUSION_NONE)
                buffer_printf(out, " %s", exclusion_text(why));
        if (exclusion_is_hard(why))
                return;
        buffer_append_string(out, cost_known ? " $" : " of unknown cost");
        if (cost_known)
                money_append(out, cost_picousd);
}

static enum redecided check_candidate(const struct catalog *catalog, const struct receipt *receipt,
                                      uint32_t at, const struct candidate *now, struct difference *out) {
        const struct receipt_candidate *then = &receipt->candidates[at];
        bool gone = now->endpoint == ENDPOINT_GONE; /* nothing but the receipt knows its name */
        struct buffer expected, got;
        char what[32];
        buffer_init(&expected, 4096);
        buffer_init(&got, 4096);
        describe(&expected, then->endpoint, then->excluded_by, then->cost_known, then->cost_picousd);
        describe(&got, gone ? then->endpoint : endpoint_name(catalog, now->endpoint), now->excluded_by,
                 now->cost_known, now->cost_expected_picousd);
        snprintf(what, sizeof what, "candidate %u", at + 1);
        enum redecided same = bytes_equal(buffer_view(&expected), buffer_view(&got))
                                      ? REDECIDED_SAME
                                      : differ(out, what, buffer_view(&expected), buffer_view(&got));
        buffer_deinit(&expected);
        buffer_deinit(&got);
        return same;
}

static enum redecided check_route(const struct catalog *catalog, const struct receipt *receipt,
                                  const struct route *route, struct difference *out) {
        const struct decision_inputs *inputs = &receipt->inputs;
        enum redecided same = REDECIDED_SAME;
        for (uint32_t i = 0; i < route->count && same == REDECIDED_SAME; i++) {
                const struct candidate *candidate = &route->candidates[i];
                if (inputs->ranks[candidate->place] != i)
                        return differ(out, "order", BYTES("another one first"),
                                      endpoint_name(catalog, candidate->endpoint));
                if (i < receipt->candidates_count)
                        same = check_candidate(catalog, receipt, i, candidate, out);
        }
        if (same != REDECIDED_SAME)
                return same;
        const struct candidate *taken = pick_now(&inputs->demand, route, &inputs->moment);
        struct bytes got = taken ? endpoint_name(catalog, taken->endpoint) : BYTES("");
        return bytes_equal(got, receipt->chosen) ? REDECIDED_SAME
                                                 : differ(out, "chosen", receipt->chosen, got);
}

/*
 * The job's workspace where the configuration has it. One that is gone since a reload kept its own rules,
 * which nothing tells any more: false. All others fall under the first one.
 */
static bool bind_workspace(const struct catalog *catalog, const struct receipt *receipt,
                           struct demand *demand) {
        for (uint32_t i = 0; i < catalog->workspaces_count && demand->workspace > 0; i++)
                if (bytes_equal_string(receipt->workspace, catalog->workspaces[i].name)) {
                        demand->workspace = i;
                        return true;
                }
        return demand->workspace == 0;
}

enum redecided redecide_check(const struct catalog *catalog, struct receipt *receipt,
                              struct difference *out_difference) {
        struct decision_inputs *inputs = &receipt->inputs;
        struct route route;
        if (receipt->candidates_count == 0 && !receipt->has_inputs)
                return REDECIDED_NOTHING;
        if (!bytes_equal_string(receipt->catalog, catalog->id))
                return REDECIDED_OTHER_CATALOG;
        if (!receipt->has_inputs)
                return REDECIDED_NO_RECORD;
        if (!bind_workspace(catalog, receipt, &inputs->demand))
                return REDECIDED_OTHER_CATALOG;
        if (!record_bind(catalog, inputs))
                return differ(out_difference, "candidates", BYTES("those recorded"), BYTES("others"));
        route_rank(catalog, &inputs->demand, &inputs->set, inputs->states, &inputs->moment.route, &route);
        return check_route(catalog, receipt, &route, out_difference);
}

/* ---- otherwise ---- */

void redecide_fresh(const struct route_set *set, struct route_state *states) {
        for (uint32_t i = 0; i < set->count; i++)
                states[i] = (struct route_state){.tokens_ratio = 1, .success_permille = -1};
}

/* The place of the record that has this endpoint by name; the receipt names as many as it lists. */
static uint32_t recorded_place(const struct receipt *receipt, struct bytes endpoint, uint8_t model) {
        const struct decision_inputs *inputs = &receipt->inputs;
        for (uint32_t place = 0; place < inputs->set.count; place++) {
                uint32_t rank = inputs->ranks[place];
                if (inputs->set.models[place] == model && rank < receipt->candidates_count &&
                    bytes_equal(receipt->candidates[rank].endpoint, endpoint))
                        return place;
        }
        return UINT32_MAX;
}

static void take_states(const struct catalog *catalog, const struct receipt *receipt,
                        struct redecision *out) {
        const struct decision_inputs *inputs = &receipt->inputs;
        out->moment = inputs->moment;
        out->moment.tried = out->moment.route.refused = 0;
        out->moment.planned = false; /* it was made for other prices */
        redecide_fresh(&out->set, out->states);
        for (uint32_t i = 0; i < out->set.count; i++) {
                uint32_t place = recorded_place(receipt, endpoint_name(catalog, out->set.endpoints[i]),
                                                out->set.models[i]);
                if (place == UINT32_MAX)
                        continue;
                out->states[i] = inputs->states[place];
                out->moment.tried |= (inputs->moment.tried >> place & 1U) << i;
                out->moment.route.refused |= (inputs->moment.route.refused >> place & 1U) << i;
        }
}

/* What was used, at the price there; what the providers did not tell counts as it was expected. */
static void take_cost(const struct catalog *catalog, const struct receipt *receipt, struct redecision *out) {
        const struct candidate *taken = out->taken;
        struct price scratch;
        if (!taken)
                return;
        const struct price *price =
                price_at(&catalog->endpoints[taken->endpoint], usage_service(&receipt->usage, &out->demand),
                         out->moment.route.now_unix_ms, out->demand.input_tokens, &scratch);
        out->cost_known = cost_of_usage(price, out->demand.kind, &receipt->usage, &out->cost_picousd);
        if (!out->cost_known && taken->cost_known) {
                out->cost_known = true;
                out->cost_picousd = taken->cost_expected_picousd;
        }
}

/* All are closed for a while, and budgets for the longest. */
static const struct candidate *first_to_open(const struct route *route) {
        for (uint32_t i = 0; i < route->usable; i++)
                if (route->candidates[i].excluded_by != EXCLUSION_BUDGET_EXCEEDED)
                        return &route->candidates[i];
        return &route->candidates[0];
}

static void decide(const struct catalog *catalog, const struct receipt *receipt, struct redecision *out) {
        route_rank(catalog, &out->demand, &out->set, out->states, &out->moment.route, &out->route);
        out->taken = pick_now(&out->demand, &out->route, &out->moment);
        if (!out->taken && out->route.usable > 0)
                out->taken = first_to_open(&out->route);
        if (!out->taken)
                out->failure = pick_refusal(&out->route);
        take_cost(catalog, receipt, out);
}

static uint32_t workspace_of(const struct catalog *catalog, struct bytes name) {
        for (uint32_t i = 0; i < catalog->workspaces_count; i++)
                if (bytes_equal_string(name, catalog->workspaces[i].name))
                        return i;
        return 0;
}

static void redecision_init(const struct receipt *receipt, struct redecision *out) {
        out->demand = receipt->inputs.demand;
        out->room.used = 0;
        out->taken = NULL;
        out->failure = FAILURE_NONE;
        out->over_budget = false;
        out->cost_known = false;
        out->cost_picousd = 0;
}

/* false when nothing can follow all of the rules. */
static bool merge_rules(const struct config *config, enum redecide_rules rules, struct names_room *room,
                        struct demand *demand) {
        const struct catalog *catalog = &config->catalog;
        const char *field;
        if (rules == RULES_RECORDED)
                return true;
        if (rules == RULES_CONFIG)
                demand->prefs = config->prefs;
        else if (prefs_merge(&demand->prefs, &config->prefs, room, &field) != MERGE_WELL)
                return false;
        if (catalog->workspaces_count > 0 &&
            prefs_merge(&demand->prefs, &catalog->workspaces[demand->workspace].prefs, room, &field) !=
                    MERGE_WELL)
                return false;
        if (demand->prefs.max_cost_picousd < demand->max_cost_picousd)
                demand->max_cost_picousd = demand->prefs.max_cost_picousd;
        return true;
}

static void spend(struct respend *respend, struct redecision *out) {
        const struct candidate *taken = out->taken;
        if (!taken)
                return;
        out->over_budget = taken->excluded_by == EXCLUSION_BUDGET_EXCEEDED;
        if (out->cost_known && !out->over_budget)
                respend_add(respend, out->demand.workspace, taken->endpoint, out->moment.route.now_unix_ms,
                            out->cost_picousd);
}

static void forget_budgets(struct redecision *out) {
        for (uint32_t i = 0; i < out->set.count; i++)
                out->states[i].budgets[0] = out->states[i].budgets[1] = NULL;
}

void redecide_with(const struct config *config, enum redecide_rules rules, const struct receipt *receipt,
                   struct respend *respend, struct redecision *out) {
        redecision_init(receipt, out);
        out->demand.workspace = workspace_of(&config->catalog, receipt->workspace);
        if (!merge_rules(config, rules, &out->room, &out->demand)) {
                out->failure = FAILURE_EXCLUDED_BY_POLICY;
                return;
        }
        route_match(&config->catalog, &out->demand, &out->set);
        take_states(&config->catalog, receipt, out);
        respend_view(respend, out->demand.workspace, &out->set, out->moment.route.now_unix_ms, out->states);
        decide(&config->catalog, receipt, out);
        spend(respend, out);
}

/* ---- neutral ---- */

void redecide_neutral(const struct catalog *catalog, const struct receipt *receipt, struct redecision *out) {
        struct demand nothing;
        redecision_init(receipt, out);
        demand_init(&nothing, out->demand.kind);
        out->demand.prefs = nothing.prefs;
        out->demand.parameters = 0;
        out->demand.max_cost_picousd = PICOUSD_MAX;
        route_match(catalog, &out->demand, &out->set);
        take_states(catalog, receipt, out);
        out->moment.tried = out->moment.route.refused = 0;
        out->moment.route.spent_picousd = 0;
        for (uint32_t i = 0; i < out->set.count; i++) {
                out->states[i].ready_ns = FROM_NOW_NS;
                out->states[i].waiting = EXCLUSION_NONE;
                out->states[i].slow = false;
                out->states[i].success_permille = -1;
        }
        forget_budgets(out);
        decide(catalog, receipt, out);
}

const struct penalty_words *redecide_penalty(uint8_t penalties) {
        static const struct penalty_words heaviest_first[] = {
                {PENALTY_UNKNOWN_PRICE, "price unknown", "its price for this job is not known"},
                {PENALTY_FAILING, "failing", "too many of its calls fail"},
                {PENALTY_SLOW, "slow", "it is far slower than usual, or than the others"},
                {PENALTY_PARAMETERS, "parameters",
                 "it is known not to support tools, response_format or verbosity of the request"},
                {PENALTY_THROUGHPUT, "preferred throughput", "it misses `preferred_min_throughput`"},
                {PENALTY_LATENCY, "preferred latency", "it misses `preferred_max_latency`"},
        };
        for (size_t i = 0; i < sizeof heaviest_first / sizeof *heaviest_first; i++)
                if (penalties & heaviest_first[i].penalty)
                        return &heaviest_first[i];
        return NULL;
}

/* Both were usable: what put the other one before it. */
static const char *preference(const struct receipt *receipt, const struct candidate *then,
                              const struct candidate *taken) {
        const struct routing_prefs *prefs = &receipt->inputs.demand.prefs;
        if (prefs->order.count > 0)
                return "order";
        if (taken && then->penalties > taken->penalties)
                return redecide_penalty(then->penalties)->words;
        if (receipt->inputs.moment.planned)
                return "plan for the deadline";
        switch (prefs->sort) {
        case SORT_THROUGHPUT:
                return "sort:throughput";
        case SORT_LATENCY:
                return "sort:latency";
        case SORT_QUALITY:
                return "sort:quality";
        case SORT_BALANCED:
                return "sort:balanced";
        case SORT_PRICE:
                break;
        }
        return prefs->spread_ppm > 0 ? "spread" : "preference";
}

/* Whether it would have been taken then if it had been fit and had had room. */
static bool only_had_to_wait(const struct catalog *catalog, const struct decision_inputs *inputs,
                             uint32_t place) {
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route route;
        for (uint32_t i = 0; i < inputs->set.count; i++)
                states[i] = inputs->states[i];
        states[place].ready_ns = FROM_NOW_NS;
        states[place].waiting = EXCLUSION_NONE;
        states[place].budgets[0] = states[place].budgets[1] = NULL;
        route_rank(catalog, &inputs->demand, &inputs->set, states, &inputs->moment.route, &route);
        const struct candidate *taken = pick_now(&inputs->demand, &route, &inputs->moment);
        return taken && taken->place == place;
}

static const char *cause_at(const struct catalog *catalog, const struct receipt *receipt,
                            const struct candidate *then, const struct candidate *taken) {
        const struct decision_inputs *inputs = &receipt->inputs;
        if (exclusion_is_hard(then->excluded_by))
                return exclusion_text(then->excluded_by);
        if (inputs->moment.tried >> then->place & 1U)
                return "retry after failure";
        if (then->excluded_by != EXCLUSION_NONE && only_had_to_wait(catalog, inputs, then->place))
                return then->excluded_by == EXCLUSION_AT_LIMIT && inputs->moment.pressed
                               ? "deadline pressure"
                               : exclusion_text(then->excluded_by);
        if (taken && taken->cost_known && then->cost_known &&
            taken->cost_expected_picousd == then->cost_expected_picousd)
                return "same cost";
        return preference(receipt, then, taken);
}

const char *redecide_cause(const struct catalog *catalog, const struct receipt *receipt,
                           const struct redecision *neutral) {
        const struct decision_inputs *inputs = &receipt->inputs;
        const struct candidate *wanted = neutral->taken;
        struct route route;
        route_rank(catalog, &inputs->demand, &inputs->set, inputs->states, &inputs->moment.route, &route);
        const struct candidate *taken = pick_now(&inputs->demand, &route, &inputs->moment);
        for (uint32_t i = 0; i < route.count; i++) {
                const struct candidate *then = &route.candidates[i];
                if (then->endpoint != wanted->endpoint || then->model != wanted->model)
                        continue;
                return cause_at(catalog, receipt, then, taken);
        }
        return "retry without fallbacks"; /* pinned to the place that was asked first */
}
