/*
 * Every word of the routing vocabulary and every exclusion code, each with a case where it holds and one
 * where it does not. A word or a code that comes into its table without a case here fails.
 */
#include "broker/base/time.h"
#include "workers/routing/limits.h"
#include "workers/routing/merge.h"
#include "workers/routing/route.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define U            PRICE_UNKNOWN
#define MEDIA        U, U, U, U
#define USD          PICOUSD_PER_USD
#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { ENDPOINTS = 4, PROVIDERS = 3 };

/*
 * alpha costs 2 dollars a million and is fast, beta 1 and is better; nobody knows gamma's price, speed or
 * quality.
 */
struct market {
        struct provider providers[PROVIDERS];
        struct endpoint endpoints[ENDPOINTS];
        struct catalog catalog;
        struct demand demand;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route_moment moment;
        struct route route;
        struct ledger ledger;
};

static struct endpoint endpoint_of(const char *name, uint32_t provider, const char *model, int64_t dollars) {
        int64_t price = dollars < 0 ? U : dollars * USD;
        return (struct endpoint){.name = name,
                                 .provider = provider,
                                 .model = model,
                                 .upstream = model,
                                 .price = {price, U, U, price, U, U, U, U, U, U, MEDIA},
                                 .quantization = "unknown",
                                 .quality = -1,
                                 .kinds = 1U << KIND_CHAT};
}

static void market_init(struct market *market) {
        memset(market, 0, sizeof *market);
        market->providers[0] = (struct provider){
                .name = "alpha", .region = "eu", .data_policy_known = true, .zdr = true, .retention_days = 0};
        market->providers[1] = (struct provider){.name = "beta",
                                                 .region = "us",
                                                 .data_policy_known = true,
                                                 .training = true,
                                                 .retention_days = 30};
        market->providers[2] = (struct provider){.name = "gamma", .region = "", .retention_days = -1};
        market->endpoints[0] = endpoint_of("alpha/m", 0, "m", 2);
        market->endpoints[1] = endpoint_of("beta/m", 1, "m", 1);
        market->endpoints[2] = endpoint_of("gamma/m", 2, "m", -1);
        market->endpoints[3] = endpoint_of("alpha/other", 0, "other", 1);
        market->endpoints[0].quantization = "fp8";
        market->endpoints[1].quantization = "bf16";
        market->endpoints[0].quality = 50;
        market->endpoints[1].quality = 90;
        market->endpoints[0].parameters_known = market->endpoints[1].parameters_known = true;
        market->endpoints[0].parameters = PARAMETER_BIT(TOOLS) | PARAMETER_BIT(SEED);
        market->endpoints[1].parameters = PARAMETER_BIT(SEED);
        market->catalog =
                (struct catalog){market->providers, PROVIDERS, market->endpoints, ENDPOINTS, "0", NULL, 0};
        demand_init(&market->demand, KIND_CHAT);
        market->demand.models[0] = BYTES("m");
        market->demand.models_count = 1;
        market->demand.input_tokens = market->demand.output_tokens_max = 100;
        for (int i = 0; i < ROUTE_CANDIDATES_MAX; i++)
                market->states[i] = (struct route_state){.tokens_ratio = 1, .success_permille = -1};
        market->states[0].throughput_p_milli[0] = 40000;
        market->states[0].latency_p_ns[0] = NS_PER_S;
        market->states[1].throughput_p_milli[0] = 20000;
        market->states[1].latency_p_ns[0] = 2 * NS_PER_S;
}

/* "beta alpha | gamma=data_region" */
static const char *ranked(struct market *market) {
        static char text[512];
        size_t size = 0;
        route_match(&market->catalog, &market->demand, &market->set);
        route_rank(&market->catalog, &market->demand, &market->set, market->states, &market->moment,
                   &market->route);
        text[0] = '\0';
        for (uint32_t i = 0; i < market->route.count; i++) {
                const struct candidate *candidate = &market->route.candidates[i];
                const char *name = market->endpoints[candidate->endpoint].name;
                const char *before =
                        i == market->route.usable ? (i == 0 ? "| " : " | ") : (i == 0 ? "" : " ");
                size += (size_t)snprintf(
                        text + size, sizeof text - size, "%s%s%s%s", before,
                        strcmp(name, "alpha/other") == 0
                                ? "other"
                                : market->providers[market->endpoints[candidate->endpoint].provider].name,
                        candidate->excluded_by ? "=" : "", exclusion_text(candidate->excluded_by));
        }
        return text;
}

/* ---- exclusion codes ---- */

typedef void change(struct market *market, bool out); /* makes beta excluded, or just not */

static struct names one_name(const char *name) {
        static struct bytes items[64]; /* tests have few lists at a time */
        static unsigned used;
        struct bytes *item = &items[used++ % 64];
        *item = bytes_of(name);
        return (struct names){item, 1};
}

static void wrong_endpoint(struct market *market, bool out) {
        market->demand.kind = KIND_RESPONSES;
        for (int i = 0; i < ENDPOINTS; i++)
                market->endpoints[i].kinds |= 1U << KIND_RESPONSES;
        route_match(&market->catalog, &market->demand, &market->set);
        if (out)
                market->endpoints[1].kinds = 1U << KIND_CHAT;
}
static void only(struct market *market, bool out) {
        market->demand.prefs.only = one_name(out ? "beta/eu" : "beta/us");
}
static void ignore(struct market *market, bool out) {
        market->demand.prefs.ignore = one_name(out ? "beta" : "beta/m2");
}
static void region(struct market *market, bool out) {
        market->demand.prefs.regions = one_name("cn");
        market->endpoints[1].region = out ? "" : "cn"; /* its own comes before the provider's */
}
static void zdr(struct market *market, bool out) {
        market->demand.prefs.zdr = true;
        market->providers[1].zdr = true;
        market->providers[1].data_policy_known = !out;
}
static void training(struct market *market, bool out) {
        market->demand.prefs.deny_training = true;
        market->providers[1].training = out;
}
static void quantization(struct market *market, bool out) {
        market->demand.prefs.quantizations = one_name(out ? "fp8" : "bf16");
}
static void max_price(struct market *market, bool out) {
        market->demand.prefs.max_price_output = out ? USD - 1 : USD;
}
static void max_cost(struct market *market, bool out) {
        market->demand.max_cost_picousd = 200 * (USD / 1000000); /* 100 tokens in, 100 out: all of it */
        market->moment.spent_picousd = out;
}
static void context(struct market *market, bool out) {
        market->endpoints[1].context = out ? 99 : 100;
}
static void fallbacks(struct market *market, bool out) {
        market->demand.prefs.allow_fallbacks = false;
        market->demand.prefs.order = one_name(out ? "alpha" : "beta/us");
}
static void refused(struct market *market, bool out) {
        market->moment.refused = out ? 2 : 5;
}
static void waits(struct market *market, bool out, enum exclusion why) {
        if (out)
                market->states[1].waiting = why;
        market->states[1].ready_ns = out;
}
static void paused(struct market *market, bool out) {
        waits(market, out, EXCLUSION_PAUSED);
}
static void breaker(struct market *market, bool out) {
        waits(market, out, EXCLUSION_BREAKER);
}
static void at_limit(struct market *market, bool out) {
        market->states[1].ready_ns = out ? INT64_MAX : 0;
}
static void modality(struct market *market, bool out) {
        market->demand.input_modalities = MODALITY_BIT(TEXT) | MODALITY_BIT(IMAGE);
        market->demand.output_modalities = MODALITY_BIT(TEXT);
        market->endpoints[1].input_modalities = MODALITY_BIT(TEXT) | (out ? 0 : MODALITY_BIT(IMAGE));
        market->endpoints[1].output_modalities = out ? MODALITY_BIT(TEXT) : 0; /* not stated: passes */
}
static void parameters(struct market *market, bool out) {
        market->demand.prefs.require_parameters = true;
        market->demand.parameters = PARAMETER_BIT(SEED);
        market->endpoints[1].parameters_known = !out;
}
static void unknown_price(struct market *market, bool out) {
        market->demand.prefs.deny_unknown_price = true;
        if (out)
                market->endpoints[1].price.output = U;
}

/* 200 tokens at 1 USD a million are the most that the job can cost. */
static void budget(struct market *market, bool out) {
        const struct budget_spec limit = {.lifetime = 200 * (USD / 1000000) - out};
        ledger_init(&market->ledger, &limit, false);
        ledger_roll(&market->ledger, 0);
        market->states[1].budgets[1] = &market->ledger;
}
static void unbounded(struct market *market, bool out) {
        const struct budget_spec limit = {.daily = USD};
        ledger_init(&market->ledger, &limit, false);
        ledger_roll(&market->ledger, 0);
        market->states[1].budgets[0] = &market->ledger;
        if (out)
                market->demand.output_tokens_max = -1; /* nor does the endpoint say */
}

static change *const codes[EXCLUSIONS_COUNT] = {
        [EXCLUSION_WRONG_ENDPOINT] = wrong_endpoint,
        [EXCLUSION_ALLOWED_PROVIDERS] = only,
        [EXCLUSION_IGNORED] = ignore,
        [EXCLUSION_DATA_REGION] = region,
        [EXCLUSION_DATA_POLICY_ZDR] = zdr,
        [EXCLUSION_DATA_POLICY_TRAINING] = training,
        [EXCLUSION_QUANTIZATION] = quantization,
        [EXCLUSION_MAX_PRICE] = max_price,
        [EXCLUSION_MAX_COST] = max_cost,
        [EXCLUSION_CONTEXT_LENGTH] = context,
        [EXCLUSION_FALLBACKS_OFF] = fallbacks,
        [EXCLUSION_REFUSED] = refused,
        [EXCLUSION_PAUSED] = paused,
        [EXCLUSION_BREAKER] = breaker,
        [EXCLUSION_AT_LIMIT] = at_limit,
        [EXCLUSION_MODALITY] = modality,
        [EXCLUSION_REQUIRE_PARAMETERS] = parameters,
        [EXCLUSION_UNKNOWN_PRICE] = unknown_price,
        [EXCLUSION_BUDGET_EXCEEDED] = budget,
        [EXCLUSION_BUDGET_PRICE_UNKNOWN] = unbounded,
};

static enum exclusion beta_is(struct market *market) {
        ranked(market);
        for (uint32_t i = 0; i < market->route.count; i++)
                if (market->route.candidates[i].endpoint == 1)
                        return market->route.candidates[i].excluded_by;
        return EXCLUSION_WRONG_ENDPOINT; /* does not even match */
}

/* What route_rank() alone can say: it depends on the moment. */
static bool is_of_the_moment(enum exclusion code) {
        return code == EXCLUSION_MAX_COST || code == EXCLUSION_CONTEXT_LENGTH || code == EXCLUSION_REFUSED ||
               code == EXCLUSION_BUDGET_PRICE_UNKNOWN || !exclusion_is_hard(code);
}

static void every_code_excludes_and_includes(void **state) {
        (void)state;
        for (unsigned code = EXCLUSION_NONE + 1; code < EXCLUSIONS_COUNT; code++) {
                const char *text = exclusion_text((enum exclusion)code);
                if (codes[code] == NULL)
                        fail_msg("\"%s\" of schemas/exclusions.def has no case here", text);
                if (exclusion_meaning((enum exclusion)code)[0] == '\0')
                        fail_msg("\"%s\" has no meaning", text);
                for (int out = 0; out < 2; out++) {
                        struct market market;
                        market_init(&market);
                        codes[code](&market, out);
                        enum exclusion got = beta_is(&market),
                                       expected = out ? (enum exclusion)code : EXCLUSION_NONE;
                        if (got != expected)
                                fail_msg("%s: %s instead of \"%s\"", text, exclusion_text(got),
                                         exclusion_text(expected));
                        if (!is_of_the_moment((enum exclusion)code))
                                assert_int_equal(route_check(&market.catalog, &market.demand, 1, 0),
                                                 expected);
                }
        }
}

/* ---- words ---- */

enum word {
#define ROUTING_FIELD(name, text, how, meaning) WORD_##name,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
        WORDS_COUNT,
};

static const char *const word_texts[WORDS_COUNT] = {
#define ROUTING_FIELD(name, text, how, meaning) text,
#include "schemas/routing_fields.def"
#undef ROUTING_FIELD
};

typedef void say(struct market *market);

#define SAY(name, statement)                                                                                 \
        static void name(struct market *market) {                                                            \
                struct demand *demand = &market->demand;                                                     \
                struct routing_prefs *prefs = &demand->prefs;                                                \
                (void)demand;                                                                                \
                (void)prefs;                                                                                 \
                statement;                                                                                   \
        }

static void set_order(struct market *market, const char *a, const char *b) {
        static struct bytes items[2];
        items[0] = bytes_of(a);
        items[1] = bytes_of(b);
        market->demand.prefs.order = (struct names){items, 2};
}

SAY(order_two, set_order(market, "gamma", "alpha/m"))
SAY(order_region, set_order(market, "alpha/eu", "nobody"))
SAY(only_region, prefs->only = one_name("alpha/eu"))
SAY(only_base, prefs->only = one_name("alpha"))
SAY(ignore_base, prefs->ignore = one_name("beta"))
SAY(ignore_other, prefs->ignore = one_name("bet"))
SAY(no_fallbacks, prefs->allow_fallbacks = false)
SAY(require_tools, (demand->parameters = PARAMETER_BIT(TOOLS), prefs->require_parameters = true))
SAY(prefer_tools, demand->parameters = PARAMETER_BIT(TOOLS))
SAY(prefer_nothing, demand->parameters = PARAMETER_BIT(TOP_K))
SAY(deny_training, prefs->deny_training = true)
SAY(want_zdr, prefs->zdr = true)
SAY(bf16, prefs->quantizations = one_name("bf16"))
SAY(quantization_unknown, prefs->quantizations = one_name("unknown"))
SAY(by_throughput, prefs->sort = SORT_THROUGHPUT)
SAY(by_latency, prefs->sort = SORT_LATENCY)
SAY(by_quality, prefs->sort = SORT_QUALITY)
SAY(by_balance, prefs->sort = SORT_BALANCED)
SAY(two_models, (demand->models[1] = BYTES("other"), demand->models_count = 2))
SAY(two_models_across,
    (demand->models[1] = BYTES("other"), demand->models_count = 2, prefs->sort_across_models = true))
SAY(max_prompt, prefs->max_price_input = USD)
SAY(fast_enough, prefs->preferred_min_throughput[0] = 20000)
SAY(not_fast_enough, prefs->preferred_min_throughput[0] = 20001)
SAY(fast_at_p90, prefs->preferred_min_throughput[2] = 30000) /* nobody knows: nobody is moved */
SAY(soon_enough, prefs->preferred_max_latency[0] = 2 * NS_PER_S)
SAY(not_soon_enough, prefs->preferred_max_latency[0] = 2 * NS_PER_S - 1)
SAY(not_soon_at_p99,
    (prefs->preferred_max_latency[3] = 3 * NS_PER_S, market->states[1].latency_p_ns[3] = 4 * NS_PER_S))
SAY(in_eu, prefs->regions = one_name("eu"))
SAY(costs_little, demand->max_cost_picousd = 200 * (USD / 1000000))
SAY(priced_only, prefs->deny_unknown_price = true)
SAY(shared_drawn, (prefs->spread_ppm = 2 * SPREAD_WHOLE, market->moment.seed = 7))
SAY(shared_not, (prefs->spread_ppm = SPREAD_WHOLE - 1, market->moment.seed = 7))
SAY(nothing, (void)0)
SAY(slow, market->states[1].slow = true)
SAY(failing, market->states[1].success_permille = 799)
SAY(degraded, market->states[1].success_permille = 800)
SAY(all_unwell, (market->states[0].success_permille = 0, market->states[1].slow = true))

static const struct {
        enum word word;
        say *say;
        const char *route;
} words[] = {
        {WORDS_COUNT, nothing,
         "beta alpha gamma"}, /* cheapest first, unknown last: what all others differ from */
        {WORD_ORDER, order_two, "gamma alpha beta"},
        {WORD_ORDER, order_region, "alpha beta gamma"},
        {WORD_ONLY, only_region, "alpha | beta=allowed_providers gamma=allowed_providers"},
        {WORD_ONLY, only_base, "alpha | beta=allowed_providers gamma=allowed_providers"},
        {WORD_IGNORE, ignore_base, "alpha gamma | beta=ignored_providers"},
        {WORD_IGNORE, ignore_other, "beta alpha gamma"},
        {WORD_ALLOW_FALLBACKS, no_fallbacks, "beta | alpha=fallbacks_off gamma=fallbacks_off"},
        {WORD_REQUIRE_PARAMETERS, require_tools, "alpha | beta=require_parameters gamma=require_parameters"},
        {WORD_REQUIRE_PARAMETERS, prefer_tools, "alpha beta gamma"},
        {WORD_REQUIRE_PARAMETERS, prefer_nothing, "beta alpha gamma"},
        {WORD_DATA_COLLECTION, deny_training, "alpha | beta=data_policy:training gamma=data_policy:training"},
        {WORD_ZDR, want_zdr, "alpha | beta=data_policy:zdr gamma=data_policy:zdr"},
        {WORD_QUANTIZATIONS, bf16, "beta | alpha=quantization gamma=quantization"},
        {WORD_QUANTIZATIONS, quantization_unknown, "gamma | alpha=quantization beta=quantization"},
        {WORD_SORT, by_throughput, "alpha beta gamma"},
        {WORD_SORT, by_latency, "alpha beta gamma"},
        {WORD_SORT, by_quality, "beta alpha gamma"},
        /* beta 50+20+10+5, alpha 25+11+20+10, gamma without price last */
        {WORD_SORT, by_balance, "beta alpha gamma"},
        {WORD_SORT, two_models, "beta alpha gamma other"},
        {WORD_SORT, two_models_across, "beta other alpha gamma"},
        {WORD_MAX_PRICE, max_prompt, "beta | alpha=max_price gamma=max_price"},
        {WORD_PREFERRED_MIN_THROUGHPUT, fast_enough, "beta alpha gamma"},
        {WORD_PREFERRED_MIN_THROUGHPUT, not_fast_enough, "alpha beta gamma"},
        {WORD_PREFERRED_MIN_THROUGHPUT, fast_at_p90, "beta alpha gamma"},
        {WORD_PREFERRED_MAX_LATENCY, soon_enough, "beta alpha gamma"},
        {WORD_PREFERRED_MAX_LATENCY, not_soon_enough, "alpha beta gamma"},
        {WORD_PREFERRED_MAX_LATENCY, not_soon_at_p99, "alpha beta gamma"},
        {WORD_REGIONS, in_eu, "alpha | beta=data_region gamma=data_region"},
        {WORD_MAX_COST_USD, costs_little, "beta | alpha=max_cost gamma=max_cost"},
        {WORD_UNKNOWN_PRICE, priced_only, "beta alpha | gamma=price_unknown"},
        {WORD_SPREAD, shared_drawn, "alpha beta gamma"},
        {WORD_SPREAD, shared_not, "beta alpha gamma"},
        /* no words, but what moves behind in the same way */
        {WORDS_COUNT, slow, "alpha beta gamma"},
        {WORDS_COUNT, failing, "alpha beta gamma"},
        {WORDS_COUNT, degraded, "beta alpha gamma"},
        {WORDS_COUNT, all_unwell,
         "beta alpha gamma"}, /* failing is worse than slow; unknown prices stay last */
};

static void every_word_does_something_and_nothing(void **state) {
        (void)state;
        bool does[WORDS_COUNT] = {false};
        for (size_t i = 0; i < COUNT(words); i++) {
                struct market market;
                market_init(&market);
                words[i].say(&market);
                const char *route = ranked(&market);
                if (strcmp(route, words[i].route) != 0)
                        fail_msg("row %zu: %s instead of %s", i, route, words[i].route);
                if (words[i].word < WORDS_COUNT && strcmp(route, words[0].route) != 0)
                        does[words[i].word] = true;
        }
        does[WORD_ENFORCE_DISTILLABLE_TEXT] = true; /* is refused where it is read */
        for (unsigned i = 0; i < WORDS_COUNT; i++)
                if (!does[i])
                        fail_msg("\"%s\" of schemas/routing_fields.def has no case here that changes the "
                                 "route",
                                 word_texts[i]);
}

/* The score parts are what it was sorted by, so that a receipt can tell. */
static void scores_say_why(void **state) {
        (void)state;
        struct market market;
        market_init(&market);
        market.demand.prefs.sort = SORT_BALANCED;
        ranked(&market);
        const struct candidate *beta = &market.route.candidates[0], *alpha = beta + 1, *gamma = beta + 2;
        assert_int_equal(beta->measure, -(50 * 1000 + 20 * 1000 + 20 * 500 + 10 * 500));
        assert_int_equal(alpha->measure, -(50 * 500 + 20 * 555 + 20 * 1000 + 10 * 1000));
        assert_int_equal(gamma->measure, -(50 * 0 + 20 * 500 + 20 * 500 + 10 * 500));
        assert_int_equal(gamma->penalties, PENALTY_UNKNOWN_PRICE);
        market_init(&market);
        slow(&market);
        not_soon_enough(&market);
        two_models(&market);
        ranked(&market);
        const struct candidate *first = &market.route.candidates[0], *second = first + 1, *last = first + 3;
        assert_int_equal(first->penalties, 0);
        assert_int_equal(second->penalties, PENALTY_SLOW | PENALTY_LATENCY);
        assert_true(second->measure_known);
        assert_int_equal(second->measure, second->cost_expected_picousd);
        assert_int_equal(last->group, 1 << 8);
}

/* Prices of 1, 2 and 3 dollars: 73 %, 18 % and 8 % (OpenRouter's example), each time the same. */
static void load_is_shared_by_the_inverse_square(void **state) {
        (void)state;
        enum { DRAWS = 20000 };
        struct market market;
        uint32_t first[ENDPOINTS] = {0};
        market_init(&market);
        market.endpoints[2] = endpoint_of("gamma/m", 2, "m", 3);
        market.demand.prefs.spread_ppm = 2 * SPREAD_WHOLE;
        for (uint64_t seed = 0; seed < DRAWS; seed++) {
                market.moment.seed = seed;
                ranked(&market);
                uint32_t drawn = market.route.candidates[0].endpoint;
                ranked(&market);
                assert_int_equal(market.route.candidates[0].endpoint, drawn);
                /* the cheapest comes next */
                assert_true(drawn == 1 || market.route.candidates[1].endpoint == 1);
                first[drawn]++;
        }
        assert_in_range(first[1], DRAWS * 72 / 100, DRAWS * 75 / 100);
        assert_in_range(first[0], DRAWS * 17 / 100, DRAWS * 20 / 100);
        assert_in_range(first[2], DRAWS * 7 / 100, DRAWS * 9 / 100);
        /*
         * An order, another sort or a missed wish keeps out of it; nothing for nothing is drawn from those
         * for nothing.
         */
        market.demand.prefs.sort = SORT_QUALITY;
        ranked(&market);
        assert_int_equal(market.route.candidates[0].endpoint, 1);
        market.demand.prefs.sort = SORT_PRICE;
        market.states[1].slow = true;
        for (uint64_t seed = 0; seed < 200; seed++) {
                market.moment.seed = seed;
                ranked(&market);
                assert_int_not_equal(market.route.candidates[0].endpoint, 1);
        }
        market.states[1].slow = false;
        market.endpoints[1].price.input = market.endpoints[1].price.output = 0;
        for (uint64_t seed = 0; seed < 200; seed++) {
                market.moment.seed = seed;
                assert_string_equal(ranked(&market), "beta alpha gamma");
        }
}

/* More endpoints than places: those that the rules exclude make room. */
static void rules_choose_who_is_looked_at(void **state) {
        (void)state;
        enum { MANY = 80 };
        static struct endpoint many[MANY];
        struct market market;
        market_init(&market);
        for (int i = 0; i < MANY; i++)
                many[i] = endpoint_of("n/m", i >= MANY - 3, "m", 1);
        market.catalog.endpoints = many;
        market.catalog.endpoints_count = MANY;
        market.demand.prefs.only = one_name("beta");
        route_match(&market.catalog, &market.demand, &market.set);
        route_rank(&market.catalog, &market.demand, &market.set, market.states, &market.moment,
                   &market.route);
        assert_true(market.set.truncated);
        assert_int_equal(market.route.usable, 3);
}

/* The limit of output has three names: each of them supports the others, and nothing else. */
static void names_of_one_parameter(void **state) {
        static const enum parameter names[] = {PARAMETER_MAX_TOKENS, PARAMETER_MAX_COMPLETION_TOKENS,
                                               PARAMETER_MAX_OUTPUT_TOKENS};
        struct market market;
        (void)state;
        for (size_t said = 0; said < 3; said++)
                for (unsigned asked = 0; asked < PARAMETERS_COUNT; asked++) {
                        bool same = asked == names[0] || asked == names[1] || asked == names[2];
                        market_init(&market);
                        market.endpoints[1].parameters = UINT64_C(1) << names[said];
                        market.demand.prefs.require_parameters = true;
                        market.demand.parameters = UINT64_C(1) << asked;
                        assert_int_equal(route_check(&market.catalog, &market.demand, 1, 0),
                                         same ? EXCLUSION_NONE : EXCLUSION_REQUIRE_PARAMETERS);
                }
}

static void a_decision_allocates_nothing(void **state) {
        (void)state;
        struct market market;
        market_init(&market);
        shared_drawn(&market);
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < 100; i++)
                route_rank(&market.catalog, &market.demand, &market.set, market.states, &market.moment,
                           &market.route);
        assert_int_equal(mallinfo2().uordblks, before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_code_excludes_and_includes),
                cmocka_unit_test(every_word_does_something_and_nothing),
                cmocka_unit_test(scores_say_why),
                cmocka_unit_test(load_is_shared_by_the_inverse_square),
                cmocka_unit_test(rules_choose_who_is_looked_at),
                cmocka_unit_test(names_of_one_parameter),
                cmocka_unit_test(a_decision_allocates_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
