/* Matching, rules and ranking on small catalogs, and properties of the ranking on random ones. */
#include "broker/base/money.h"
#include "broker/base/prng.h"
#include "workers/routing/merge.h"
#include "workers/routing/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define U             PRICE_UNKNOWN
#define MEDIA         U, U, U, U
#define USD           PICOUSD_PER_USD
#define MICRO(amount) ((amount) * (USD / 1000000))

enum { ALL_KINDS = (1 << KINDS_COUNT) - 1 };

#define NO_PRICE                                                                                             \
        { U, U, U, U, U, U, U, U, U, U, MEDIA }
#define TOKENS(in, out)                                                                                      \
        { (in) * USD / 100, U, U, (out)*USD / 100, U, U, U, U, U, U, MEDIA } /* cents per million */

static const struct provider providers[] = {
        {.name = "alpha", .region = "us", .data_policy_known = true, .zdr = true, .retention_days = 0},
        {.name = "beta", .region = "eu", .data_policy_known = true, .training = true, .retention_days = 30},
        {.name = "gamma", .region = "", .data_policy_known = false, .zdr = true, .retention_days = -1},
        {.name = "delta", .region = "us", .data_policy_known = true, .retention_days = 30},
};

/* Small is cheapest at beta, then alpha, then gamma; delta serves everything at prices that nobody knows. */
static const struct endpoint endpoints[] = {
        {.name = "alpha/small",
         .provider = 0,
         .model = "small",
         .price = TOKENS(20, 60),
         .context = 1000,
         .quantization = "fp8",
         .kinds = ALL_KINDS},
        {.name = "beta/small",
         .provider = 1,
         .model = "maker/small",
         .price = TOKENS(10, 30),
         .context = 4000,
         .quantization = "bf16",
         .kinds = ALL_KINDS},
        {.name = "gamma/small",
         .provider = 2,
         .model = "small",
         .price = TOKENS(30, 90),
         .quantization = "unknown",
         .kinds = ALL_KINDS},
        {.name = "alpha/large",
         .provider = 0,
         .model = "large",
         .price = TOKENS(1, 2),
         .quantization = "unknown",
         .kinds = 1U << KIND_CHAT},
        {.name = "delta/all",
         .provider = 3,
         .model = "*",
         .price = NO_PRICE,
         .quantization = "unknown",
         .kinds = ALL_KINDS},
        {.name = "delta/large",
         .provider = 3,
         .model = "large",
         .price = TOKENS(2, 4),
         .quantization = "unknown",
         .kinds = 1U << KIND_CHAT},
};

enum { A_SMALL, B_SMALL, C_SMALL, A_LARGE, D_ALL, D_LARGE };

static const struct catalog catalog = {providers, 4, endpoints, 6, "0", NULL, 0};

static struct demand demand_for(enum kind kind, const char *models) {
        struct demand demand;
        demand_init(&demand, kind);
        demand.input_tokens = 100;
        demand.output_tokens_max = 100;
        while (*models) {
                size_t size = strcspn(models, " ");
                demand.models[demand.models_count++] = (struct bytes){models, size};
                models += size + (models[size] == ' ');
        }
        return demand;
}

static void add_names(struct names *names, const char *list) {
        static struct names_room room; /* tests have few lists at a time */
        if (room.used > NAMES_ROOM_MAX - PREFS_NAMES_MAX)
                room.used = 0;
        while (*list) {
                size_t size = strcspn(list, " ");
                assert_true(names_add(names, &room, (struct bytes){list, size}));
                list += size + (list[size] == ' ');
        }
}

static const char *set_text(const struct route_set *set) {
        static char text[512];
        size_t size = 0;
        text[0] = '\0';
        for (uint32_t i = 0; i < set->count; i++)
                size += (size_t)snprintf(text + size, sizeof text - size, "%s%s:%u", i ? " " : "",
                                         endpoints[set->endpoints[i]].name, set->models[i]);
        return text;
}

static void models_match_by_name(void **state) {
        (void)state;
        static const struct {
                enum kind kind;
                const char *models, *set;
        } rows[] = {
                {KIND_CHAT, "small", "alpha/small:0 gamma/small:0 delta/all:0"},
                {KIND_CHAT, "maker/small", "alpha/small:0 beta/small:0 gamma/small:0 delta/all:0"},
                {KIND_CHAT, "other/small", "alpha/small:0 gamma/small:0 delta/all:0"},
                {KIND_CHAT, "Small", "delta/all:0"},
                {KIND_CHAT, "small/", "delta/all:0"},
                /* delta has it by name: "*" is not asked for it as well */
                {KIND_CHAT, "large", "alpha/large:0 delta/large:0"},
                {KIND_EMBEDDINGS, "large", "delta/all:0"},
                /* the first model that matches counts; "*" takes each that its provider does not name */
                {KIND_CHAT, "small large",
                 "alpha/small:0 gamma/small:0 alpha/large:1 delta/all:0 delta/large:1"},
                {KIND_CHAT, "small maker/small",
                 "alpha/small:0 beta/small:1 gamma/small:0 delta/all:0 delta/all:1"},
                {KIND_CHAT, "", ""},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct demand demand = demand_for(rows[i].kind, rows[i].models);
                struct route_set set;
                route_match(&catalog, &demand, &set);
                assert_string_equal(set_text(&set), rows[i].set);
                assert_false(set.truncated);
        }
}

static void closest_matches_stay_when_there_are_too_many(void **state) {
        (void)state;
        enum { MANY = 60 };
        static struct endpoint many[MANY];
        for (uint32_t i = 0; i < MANY; i++) {
                const char *model = i % 3 == 0 ? "x" : i % 3 == 1 ? "small" : "maker/small";
                many[i] = (struct endpoint){
                        .name = "n", .provider = 0, .model = model, .price = NO_PRICE, .kinds = ALL_KINDS};
        }
        struct catalog big = {providers, 4, many, MANY, "1", NULL, 0};
        struct demand demand = demand_for(KIND_CHAT, "maker/small x");
        struct route_set set;
        route_match(&big, &demand, &set);
        assert_true(set.truncated);
        assert_int_equal(set.count, ROUTE_CANDIDATES_MAX);
        uint32_t exact = 0, behind = 0;
        for (uint32_t i = 0; i < set.count; i++) {
                assert_true(i == 0 || set.endpoints[i - 1] < set.endpoints[i]);
                exact += set.endpoints[i] % 3 == 2;
                behind += set.endpoints[i] % 3 == 1;
                assert_int_equal(set.models[i], 0);
        }
        assert_int_equal(exact, 20);
        assert_int_equal(behind, 12);
}

struct world {
        struct demand demand;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        uint32_t refused;
        int64_t spent_picousd;
        uint64_t seed;
        struct route route;
};

static struct world world_for(const char *models) {
        struct world world;
        memset(&world, 0, sizeof world);
        world.demand = demand_for(KIND_CHAT, models);
        route_match(&catalog, &world.demand, &world.set);
        for (uint32_t i = 0; i < world.set.count; i++)
                world.states[i] = (struct route_state){.tokens_ratio = 1, .success_permille = -1};
        return world;
}

static const char *route_text(const struct route *route) {
        static char text[1024];
        size_t size = 0;
        text[0] = '\0';
        for (uint32_t i = 0; i < route->count; i++) {
                const struct candidate *candidate = &route->candidates[i];
                size += (size_t)snprintf(text + size, sizeof text - size, "%s%s%s%s",
                                         i == 0               ? ""
                                         : i == route->usable ? " | "
                                                              : " ",
                                         endpoints[candidate->endpoint].name,
                                         candidate->excluded_by ? "=" : "",
                                         exclusion_text(candidate->excluded_by));
        }
        return text;
}

static const char *ranked(struct world *world) {
        route_match(&catalog, &world->demand, &world->set);
        route_rank(&catalog, &world->demand, &world->set, world->states,
                   &(struct route_moment){.now_unix_ms = 0,
                                          .refused = world->refused,
                                          .spent_picousd = world->spent_picousd,
                                          .seed = world->seed},
                   &world->route);
        assert_int_equal(world->route.count, world->set.count);
        return route_text(&world->route);
}

static void cheapest_first_unknown_last(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        assert_string_equal(ranked(&world), "beta/small alpha/small gamma/small delta/all");
        assert_int_equal(world.route.usable, 4);
        const struct candidate *best = &world.route.candidates[0];
        assert_int_equal(best->place, 1);
        assert_true(best->cost_known && best->ceiling_known);
        /* 100 tokens at 0.10 and 100 at 0.30 dollars per million */
        assert_int_equal(best->cost_ceiling_picousd, MICRO(40));
        assert_false(world.route.candidates[3].cost_known);
}

static void expected_output_decides_the_order(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.output_tokens_max = 10000;
        /* beta answers at ten times the length */
        world.states[0].expected_output_tokens = 100;
        world.states[1].expected_output_tokens = 1000;
        world.states[2].expected_output_tokens = 100;
        assert_string_equal(ranked(&world), "alpha/small gamma/small beta/small delta/all");
        /* Who has not answered yet is compared by what the others answer. */
        world.states[1].expected_output_tokens = 0;
        assert_string_equal(ranked(&world), "beta/small alpha/small gamma/small delta/all");
        /* A calibration that says twice the tokens makes it dearer. */
        world.demand.output_tokens_max = 0;
        world.states[1].tokens_ratio = 2.5;
        assert_string_equal(ranked(&world), "alpha/small beta/small gamma/small delta/all");
        assert_int_equal(world.route.candidates[1].cost_expected_picousd, MICRO(25));
}

/* What is expected goes by the mean and the cached share, what is reserved by the upper calibration. */
static void expected_input_decides_the_order(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.output_tokens_max = 0;
        assert_string_equal(ranked(&world), "beta/small alpha/small gamma/small delta/all");
        int64_t ceiling = world.route.candidates[0].cost_ceiling_picousd;
        world.states[1].input_permille = 4000;
        assert_string_equal(ranked(&world), "alpha/small gamma/small beta/small delta/all");
        assert_int_equal(world.route.candidates[2].cost_ceiling_picousd, ceiling);
        world.states[1].input_permille = 500;
        world.states[1].tokens_ratio = 2;
        assert_string_equal(ranked(&world), "beta/small alpha/small gamma/small delta/all");
        assert_int_equal(world.route.candidates[0].cost_expected_picousd, ceiling / 2);
        assert_int_equal(world.route.candidates[0].cost_ceiling_picousd, ceiling * 2);
}

static void slow_ones_stand_behind_their_peers(void **state) {
        (void)state;
        struct world world = world_for("small large");
        world.states[0].slow = true; /* alpha/small */
        assert_string_equal(ranked(&world), "gamma/small alpha/small delta/all alpha/large delta/large");
        assert_int_equal(world.route.candidates[1].penalties, PENALTY_SLOW);
        assert_int_equal(world.route.candidates[0].penalties, 0);
}

static void fallback_models_stand_behind(void **state) {
        (void)state;
        struct world world = world_for("small large");
        assert_string_equal(ranked(&world), "alpha/small gamma/small delta/all alpha/large delta/large");
        add_names(&world.demand.prefs.order, "delta");
        assert_string_equal(ranked(&world), "delta/all alpha/small gamma/small delta/large alpha/large");
}

static void order_names_providers_and_endpoints(void **state) {
        (void)state;
        static const struct {
                const char *order;
                bool fallbacks;
                const char *route;
        } rows[] = {
                {"gamma alpha", true, "gamma/small alpha/small beta/small delta/all"},
                {"delta/all gamma/small", true, "delta/all gamma/small beta/small alpha/small"},
                {"alpha/large nobody", true, "beta/small alpha/small gamma/small delta/all"},
                {"gamma alpha", false,
                 "gamma/small alpha/small | beta/small=fallbacks_off delta/all=fallbacks_off"},
                {"", false,
                 "beta/small | alpha/small=fallbacks_off gamma/small=fallbacks_off delta/all=fallbacks_off"},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct world world = world_for("maker/small");
                add_names(&world.demand.prefs.order, rows[i].order);
                world.demand.prefs.allow_fallbacks = rows[i].fallbacks;
                assert_string_equal(ranked(&world), rows[i].route);
        }
}

static void refusals_leave_the_others(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.refused = 1U << 1;
        assert_string_equal(ranked(&world),
                            "alpha/small gamma/small delta/all | beta/small=refused_this_job");
        world.demand.prefs.allow_fallbacks = false;
        assert_string_equal(ranked(&world), "alpha/small=fallbacks_off gamma/small=fallbacks_off "
                                            "delta/all=fallbacks_off beta/small=refused_this_job");
        assert_int_equal(world.route.usable, 0);
}

static void rules_exclude_with_their_code(void **state) {
        (void)state;
        static const struct {
                const char *only, *ignore, *regions, *quantizations;
                bool zdr, deny_training;
                const char *route;
        } rows[] = {
                {"alpha", "", "", "", false, false,
                 "alpha/small | beta/small=allowed_providers gamma/small=allowed_providers "
                 "delta/all=allowed_providers"},
                {"beta/small delta", "", "", "", false, false,
                 "beta/small delta/all | alpha/small=allowed_providers gamma/small=allowed_providers"},
                {"", "alpha/small gamma", "", "", false, false,
                 "beta/small delta/all | alpha/small=ignored_providers gamma/small=ignored_providers"},
                {"", "", "us", "", false, false,
                 "alpha/small delta/all | beta/small=data_region gamma/small=data_region"},
                {"", "", "", "fp8 bf16", false, false,
                 "beta/small alpha/small | gamma/small=quantization delta/all=quantization"},
                {"", "", "", "unknown", false, false,
                 "gamma/small delta/all | alpha/small=quantization beta/small=quantization"},
                {"", "", "", "", true, false,
                 "alpha/small | beta/small=data_policy:zdr gamma/small=data_policy:zdr "
                 "delta/all=data_policy:zdr"},
                {"", "", "", "", false, true,
                 "alpha/small delta/all | beta/small=data_policy:training gamma/small=data_policy:training"},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct world world = world_for("maker/small");
                struct routing_prefs *prefs = &world.demand.prefs;
                add_names(&prefs->only, rows[i].only);
                add_names(&prefs->ignore, rows[i].ignore);
                add_names(&prefs->regions, rows[i].regions);
                add_names(&prefs->quantizations, rows[i].quantizations);
                prefs->zdr = rows[i].zdr;
                prefs->deny_training = rows[i].deny_training;
                assert_string_equal(ranked(&world), rows[i].route);
                for (uint32_t j = 0; j < world.route.count; j++)
                        assert_int_equal(
                                route_check(&catalog, &world.demand, world.route.candidates[j].endpoint, 0),
                                world.route.candidates[j].excluded_by);
        }
        struct demand demand = demand_for(KIND_EMBEDDINGS, "large");
        assert_int_equal(route_check(&catalog, &demand, A_LARGE, 0), EXCLUSION_WRONG_ENDPOINT);
}

static void price_ceilings_exclude_what_is_dearer_or_unknown(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.prefs.max_price_input = 20 * USD / 100;
        assert_string_equal(ranked(&world),
                            "beta/small alpha/small | gamma/small=max_price delta/all=max_price");
        world.demand.prefs.max_price_output = 60 * USD / 100 - 1;
        assert_string_equal(ranked(&world),
                            "beta/small | alpha/small=max_price gamma/small=max_price delta/all=max_price");

        struct price price = {10, U, U, U, U, U, U, U, U, U, MEDIA};
        struct endpoint endpoint = {.name = "alpha/e", .model = "e", .price = price, .kinds = ALL_KINDS};
        struct catalog one = {providers, 4, &endpoint, 1, "2", NULL, 0};
        struct demand demand = demand_for(KIND_EMBEDDINGS, "e");
        demand.prefs.max_price_output = 5; /* embeddings have no output to pay for */
        demand.prefs.max_price_request = 5;
        assert_int_equal(route_check(&one, &demand, 0, 0), EXCLUSION_NONE);
        demand.kind = KIND_CHAT;
        assert_int_equal(route_check(&one, &demand, 0, 0), EXCLUSION_MAX_PRICE);
        demand.kind = KIND_EMBEDDINGS;
        endpoint.price.request = 6;
        assert_int_equal(route_check(&one, &demand, 0, 0), EXCLUSION_MAX_PRICE);
        demand = demand_for(KIND_IMAGES, "e");
        demand.prefs.max_price_image = 5;
        assert_int_equal(route_check(&one, &demand, 0, 0), EXCLUSION_MAX_PRICE);
        endpoint.price.image = 5;
        assert_int_equal(route_check(&one, &demand, 0, 0), EXCLUSION_NONE);
}

static void max_cost_holds_over_all_attempts(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.max_cost_picousd = MICRO(80); /* what alpha costs at most */
        assert_string_equal(ranked(&world),
                            "beta/small alpha/small | gamma/small=max_cost delta/all=max_cost");
        world.spent_picousd = 1;
        assert_string_equal(ranked(&world),
                            "beta/small | alpha/small=max_cost gamma/small=max_cost delta/all=max_cost");
        world.spent_picousd = PICOUSD_MAX;
        ranked(&world);
        assert_int_equal(world.route.usable, 0);
        /* Without a ceiling the expected cost must do: gamma has neither context nor output limit. */
        world = world_for("maker/small");
        world.demand.output_tokens_max = -1;
        world.states[2].expected_output_tokens = 100;
        world.demand.max_cost_picousd = MICRO(120);
        assert_string_equal(ranked(&world),
                            "gamma/small | alpha/small=max_cost beta/small=max_cost delta/all=max_cost");
        assert_false(world.route.candidates[0].ceiling_known);
        assert_int_equal(world.route.candidates[0].cost_ceiling_picousd, MICRO(120));
}

static void input_must_fit_the_context(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.output_tokens_max = 100000; /* wishes alone exclude nothing */
        world.demand.input_tokens = 1000;
        assert_string_equal(ranked(&world), "beta/small alpha/small gamma/small delta/all");
        world.demand.input_tokens = 1001;
        assert_string_equal(ranked(&world), "beta/small gamma/small delta/all | alpha/small=context_length");
        world.states[0].tokens_ratio = 0.5;
        world.states[1].tokens_ratio = 4;
        assert_string_equal(ranked(&world), "alpha/small gamma/small delta/all | beta/small=context_length");
        /* Texts to embed share no context. */
        world.demand.kind = KIND_EMBEDDINGS;
        world.demand.input_tokens = 100000;
        ranked(&world);
        assert_int_equal(world.route.usable, 4);
}

static void waiting_ones_stay_usable(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.states[0].waiting = EXCLUSION_BREAKER;
        world.states[0].ready_ns = 5;
        world.states[1].waiting = EXCLUSION_PAUSED;
        world.states[1].ready_ns = 7;
        world.states[2].waiting = EXCLUSION_AT_LIMIT;
        world.states[2].ready_ns = INT64_MAX;
        assert_string_equal(
                ranked(&world),
                "beta/small=paused alpha/small=breaker_open delta/all | gamma/small=capacity_exhausted");
        assert_int_equal(world.route.usable, 3);
        assert_int_equal(world.route.candidates[0].ready_ns, 7);
}

static void sorts_by_speed(void **state) {
        (void)state;
        struct world world = world_for("maker/small");
        world.demand.prefs.sort = SORT_THROUGHPUT;
        world.states[2].output_tokens_per_s = 50;
        world.states[3].output_tokens_per_s = 80;
        assert_string_equal(ranked(&world), "delta/all gamma/small beta/small alpha/small");
        world.demand.prefs.sort = SORT_LATENCY;
        world.states[0].latency_ns = 2e9;
        world.states[2].latency_ns = 1e9;
        assert_string_equal(ranked(&world), "gamma/small alpha/small beta/small delta/all");
}

static struct endpoint twin(const char *name, struct price price) {
        return (struct endpoint){.name = name, .model = "t", .price = price, .kinds = ALL_KINDS};
}

static void equal_costs_go_to_the_idle_then_to_the_seed(void **state) {
        (void)state;
        struct price price = TOKENS(1, 1);
        struct endpoint twins[] = {twin("alpha/1", price), twin("alpha/2", price), twin("alpha/3", price)};
        struct catalog three = {providers, 4, twins, 3, "3", NULL, 0};
        struct demand demand = demand_for(KIND_CHAT, "t");
        struct route_set set;
        route_match(&three, &demand, &set);
        struct route_state states[3] = {{.in_flight = 2}, {.in_flight = 1}, {.in_flight = 1}};
        struct route route;
        uint32_t first[3] = {0};
        for (uint64_t seed = 0; seed < 3000; seed++) {
                route_rank(&three, &demand, &set, states,
                           &(struct route_moment){
                                   .now_unix_ms = 0, .refused = 0, .spent_picousd = 0, .seed = seed},
                           &route);
                first[route.candidates[0].endpoint]++;
                assert_int_equal(route.candidates[2].endpoint, 0);
        }
        assert_int_equal(first[0], 0);
        assert_in_range(first[1], 1300, 1700);
        /* Nobody knows a price: the order of the configuration, whatever the seed. */
        for (int i = 0; i < 3; i++)
                twins[i].price = (struct price)NO_PRICE;
        route_match(&three, &demand, &set);
        for (uint64_t seed = 0; seed < 100; seed++) {
                route_rank(&three, &demand, &set, states,
                           &(struct route_moment){
                                   .now_unix_ms = 0, .refused = 0, .spent_picousd = 0, .seed = seed},
                           &route);
                for (uint32_t i = 0; i < 3; i++)
                        assert_int_equal(route.candidates[i].endpoint, i);
        }
}

static void output_counts_before_anybody_answered(void **state) {
        (void)state;
        struct price talkative = TOKENS(1, 10), brief = TOKENS(2, 1);
        struct endpoint two[] = {twin("alpha/1", talkative), twin("alpha/2", brief)};
        struct catalog pair = {providers, 4, two, 2, "5", NULL, 0};
        struct demand demand = demand_for(KIND_CHAT, "t");
        demand.output_tokens_max = -1;
        struct route_set set;
        route_match(&pair, &demand, &set);
        struct route_state states[2] = {{.tokens_ratio = 1}, {.tokens_ratio = 1}};
        struct route route;
        route_rank(&pair, &demand, &set, states, &(struct route_moment){.seed = 1}, &route);
        assert_int_equal(route.candidates[0].endpoint, 1);
}

static void random_price(struct prng *prng, struct price *price) {
        *price = (struct price)NO_PRICE;
        if (prng_below(prng, 4) == 0)
                return;
        price->input = (int64_t)prng_below(prng, 3) * USD;
        price->output = (int64_t)prng_below(prng, 3) * USD;
}

static void random_world(struct prng *prng, struct endpoint *many, struct world *world) {
        static const char *const names[] = {"a", "b", "m/a", "*"};
        for (uint32_t i = 0; i < 40; i++) {
                many[i] = (struct endpoint){.name = "n",
                                            .model = names[prng_below(prng, 4)],
                                            .provider = (uint32_t)prng_below(prng, 4),
                                            .kinds = ALL_KINDS,
                                            .quantization = "unknown",
                                            .context = (int64_t)prng_below(prng, 3) * 90};
                random_price(prng, &many[i].price);
        }
        memset(world, 0, sizeof *world);
        world->demand = demand_for(KIND_CHAT, prng_below(prng, 2) ? "m/a b" : "b a");
        if (prng_below(prng, 3) == 0)
                add_names(&world->demand.prefs.order, "gamma alpha");
        world->demand.prefs.allow_fallbacks = prng_below(prng, 5) != 0;
        world->demand.prefs.deny_training = prng_below(prng, 3) == 0;
        world->demand.prefs.sort = (enum sort_by)prng_below(prng, 3);
        if (prng_below(prng, 3) == 0)
                world->demand.max_cost_picousd = MICRO((int64_t)prng_below(prng, 400));
        for (uint32_t i = 0; i < ROUTE_CANDIDATES_MAX; i++)
                world->states[i] = (struct route_state){.in_flight = (int64_t)prng_below(prng, 3),
                                                        .latency_ns = (double)prng_below(prng, 3),
                                                        .output_tokens_per_s = (double)prng_below(prng, 3),
                                                        .expected_output_tokens = (double)prng_below(prng, 2),
                                                        .tokens_ratio = (double)prng_below(prng, 3),
                                                        .ready_ns = prng_below(prng, 9) ? 0 : INT64_MAX};
        world->refused = (uint32_t)(prng_next(prng) & prng_next(prng) & prng_next(prng));
        world->spent_picousd = MICRO((int64_t)prng_below(prng, 100));
        world->seed = prng_next(prng);
}

static bool same_candidate(const struct candidate *a, const struct candidate *b) {
        return a->endpoint == b->endpoint && a->model == b->model && a->place == b->place &&
               a->cost_known == b->cost_known && a->ceiling_known == b->ceiling_known &&
               a->excluded_by == b->excluded_by && a->cost_expected_picousd == b->cost_expected_picousd &&
               a->cost_ceiling_picousd == b->cost_ceiling_picousd && a->ready_ns == b->ready_ns;
}

/* Each place once; usable ones first, models in order; and nothing but the arguments decides. */
static void random_routes_are_whole_and_repeat(void **state) {
        (void)state;
        static struct endpoint many[40];
        struct catalog big = {providers, 4, many, 40, "4", NULL, 0};
        for (uint64_t seed = 0; seed < 3000; seed++) {
                struct prng prng;
                prng_init(&prng, seed);
                struct world world;
                random_world(&prng, many, &world);
                route_match(&big, &world.demand, &world.set);
                struct route again;
                memset(&again, 0xa5, sizeof again);
                route_rank(&big, &world.demand, &world.set, world.states,
                           &(struct route_moment){.now_unix_ms = 0,
                                                  .refused = world.refused,
                                                  .spent_picousd = world.spent_picousd,
                                                  .seed = world.seed},
                           &world.route);
                route_rank(&big, &world.demand, &world.set, world.states,
                           &(struct route_moment){.now_unix_ms = 0,
                                                  .refused = world.refused,
                                                  .spent_picousd = world.spent_picousd,
                                                  .seed = world.seed},
                           &again);
                assert_int_equal(world.route.count, world.set.count);
                assert_int_equal(again.count, world.route.count);
                assert_int_equal(again.usable, world.route.usable);
                assert_int_equal(again.truncated, world.set.truncated);
                uint64_t seen = 0;
                for (uint32_t i = 0; i < world.route.count; i++) {
                        const struct candidate *candidate = &world.route.candidates[i];
                        assert_true(same_candidate(candidate, &again.candidates[i]));
                        seen |= UINT64_C(1) << candidate->place;
                        assert_int_equal(candidate->endpoint, world.set.endpoints[candidate->place]);
                        bool usable = i < world.route.usable;
                        assert_int_equal(usable, candidate->excluded_by == EXCLUSION_NONE);
                        if (usable && i > 0)
                                assert_true(candidate[-1].model <= candidate->model);
                        if (usable && world.demand.max_cost_picousd != PICOUSD_MAX)
                                assert_true(candidate->cost_ceiling_picousd + world.spent_picousd <=
                                            world.demand.max_cost_picousd);
                }
                assert_true(seen == (UINT64_C(1) << world.route.count) - 1);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(models_match_by_name),
                cmocka_unit_test(closest_matches_stay_when_there_are_too_many),
                cmocka_unit_test(cheapest_first_unknown_last),
                cmocka_unit_test(expected_output_decides_the_order),
                cmocka_unit_test(expected_input_decides_the_order),
                cmocka_unit_test(slow_ones_stand_behind_their_peers),
                cmocka_unit_test(fallback_models_stand_behind),
                cmocka_unit_test(order_names_providers_and_endpoints),
                cmocka_unit_test(refusals_leave_the_others),
                cmocka_unit_test(rules_exclude_with_their_code),
                cmocka_unit_test(price_ceilings_exclude_what_is_dearer_or_unknown),
                cmocka_unit_test(max_cost_holds_over_all_attempts),
                cmocka_unit_test(input_must_fit_the_context),
                cmocka_unit_test(waiting_ones_stay_usable),
                cmocka_unit_test(sorts_by_speed),
                cmocka_unit_test(equal_costs_go_to_the_idle_then_to_the_seed),
                cmocka_unit_test(output_counts_before_anybody_answered),
                cmocka_unit_test(random_routes_are_whole_and_repeat),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
