/*
 * Costs where prices are plain: those of the long way, to a picodollar; and what is not plain.
 */
#include "broker/base/prng.h"
#include "workers/routing/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define U           PRICE_UNKNOWN
#define MILLION     INT64_C(1000000)
#define PER_UNIT(n) ((n)*MILLION)

static const struct price nothing = {U, U, U, U, U, U, U, U, U, U, U, U, U, U};

static int64_t some_plain_price(struct prng *prng, bool needed) {
        if (!needed && prng_below(prng, 3) == 0)
                return U;
        uint64_t most = prng_below(prng, 9) == 0 ? UINT64_C(1) << 32 : 100000000;
        return (int64_t)prng_below(prng, prng_below(prng, 6) == 0 ? 1 : most) * MILLION;
}

static int64_t some_tokens(struct prng *prng) {
        return prng_below(prng, 9) == 0 ? COST_TOKENS_MAX - (int64_t)prng_below(prng, 2)
                                        : (int64_t)prng_below(prng, 100000);
}

/* By night they are whole numbers of picodollars too, where they are known. */
static const struct zone_change changes[] = {{INT64_MIN, 0}};
static const struct zone utc = {"UTC", changes, 1};
static const struct price_window by_night = {&utc, 2000000, 0, 360, 0x7f};
static const struct price_tier long_input = {.above_input = 60000, .price = {.input = 7}};

static struct endpoint some_plain_endpoint(struct prng *prng) {
        struct endpoint endpoint = {.name = "p/m", .model = "m", .price = nothing, .kinds = ~0U};
        endpoint.price.input = some_plain_price(prng, true);
        endpoint.price.output = some_plain_price(prng, true);
        endpoint.price.cached_input = some_plain_price(prng, false);
        endpoint.price.cache_write = some_plain_price(prng, false);
        endpoint.price.reasoning = some_plain_price(prng, false);
        endpoint.output_max = (int64_t)prng_below(prng, 3) * 1000;
        endpoint.context = (int64_t)prng_below(prng, 3) * 50000;
        if (prng_below(prng, 4) == 0) {
                endpoint.windows = &by_night;
                endpoint.windows_count = 1;
        }
        if (prng_below(prng, 4) == 0) {
                endpoint.tiers = &long_input;
                endpoint.tiers_count = 1;
        }
        return endpoint;
}

static int64_t at_most(int64_t tokens, int64_t most) {
        return tokens < most ? tokens : most;
}

/* The short way and the long one have the same answers to a picodollar, as far as the short one reaches. */
static void plain_costs_are_those_of_any_price(void **state) {
        (void)state;
        struct prng prng;
        prng_init(&prng, 7);
        uint32_t unbounded = 0, compared = 0, doubled = 0, tiers = 0;
        for (int i = 0; i < 50000; i++) {
                const int64_t now_unix_ms = (int64_t)prng_below(&prng, 24) * 3600000;
                struct endpoint endpoint = some_plain_endpoint(&prng);
                struct demand demand;
                struct cost_rates rates;
                demand_init(&demand, prng_below(&prng, 2) == 0 ? KIND_CHAT : KIND_RESPONSES);
                if (!cost_rates_at(&endpoint, &demand, now_unix_ms, &rates))
                        continue; /* twice as dear, it does not fit */
                demand.output_tokens_max = prng_below(&prng, 3) == 0 ? -1 : some_tokens(&prng);
                struct cost_tokens tokens = {.input = at_most(some_tokens(&prng), rates.input_limit),
                                             .cached = some_tokens(&prng) - 10,
                                             .output = some_tokens(&prng) - 10,
                                             .input_most = at_most(some_tokens(&prng), rates.input_limit)};
                int64_t expected = -1, ceiling = -1;
                assert_true(cost_expected_cached_at(&endpoint, &demand, now_unix_ms, tokens.input,
                                                    tokens.cached, tokens.output, &expected));
                bool known = cost_ceiling_at(&endpoint, &demand, now_unix_ms, tokens.input_most, &ceiling);
                struct cost_bounds cost = cost_plain(&rates, demand.output_tokens_max, &tokens);
                assert_int_equal(cost.expected_picousd, expected);
                assert_int_equal(cost.ceiling_known, known);
                if (known)
                        assert_int_equal(cost.ceiling_picousd, ceiling);
                unbounded += !known;
                doubled += endpoint.windows_count > 0 && now_unix_ms < 6 * 3600000;
                tiers += endpoint.tiers_count > 0;
                compared++;
        }
        assert_in_range(compared, 45000, 49999);
        assert_in_range(unbounded, 100, 49000);
        assert_true(doubled > 1000 && tiers > 1000);
}

static bool is_plain(const struct endpoint *endpoint, const struct demand *demand) {
        struct cost_rates rates;
        return cost_rates_at(endpoint, demand, 0, &rates);
}

static void a_price_that_is_rounded_is_not_plain(void **state) {
        (void)state;
        static const struct price_window half = {&utc, 500000, 0, 360, 0x7f};
        struct endpoint plain = {.name = "p/m", .model = "m", .price = nothing, .kinds = ~0U};
        plain.price.input = plain.price.output = PER_UNIT(3);
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        assert_true(is_plain(&plain, &demand));
        int64_t *const parts[] = {
                &plain.price.input,       &plain.price.output,       &plain.price.cached_input,
                &plain.price.cache_write, &plain.price.reasoning,    &plain.price.audio_input,
                &plain.price.image_input, &plain.price.audio_output, &plain.price.image_output};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                int64_t before = *parts[i];
                *parts[i] = PER_UNIT(3) + 1;
                assert_false(is_plain(&plain, &demand));
                *parts[i] = U;
                assert_int_equal(is_plain(&plain, &demand), i >= 2); /* input and output must be known */
                *parts[i] = before;
        }
        plain.price.request = PER_UNIT(1);
        assert_false(is_plain(&plain, &demand));
        plain.price.request = 0;
        assert_true(is_plain(&plain, &demand));
        plain.windows = &half; /* at half the price, a token costs a picodollar and a half */
        plain.windows_count = 1;
        assert_false(is_plain(&plain, &demand));
        plain.windows_count = 0;
        plain.price.input = PER_UNIT(INT64_C(1) << 32);
        assert_false(is_plain(&plain, &demand));
        plain.price.input = PER_UNIT(3);
        plain.context = COST_TOKENS_MAX + 1;
        assert_false(is_plain(&plain, &demand));
        plain.context = 0;
        plain.output_max = COST_TOKENS_MAX + 1;
        assert_false(is_plain(&plain, &demand));
        plain.output_max = 0;
        plain.output_modalities = MODALITY_BIT(IMAGE);
        assert_false(is_plain(&plain, &demand));
        plain.output_modalities = 0;
        demand.input_modalities = MODALITY_BIT(TEXT) | MODALITY_BIT(AUDIO);
        assert_false(is_plain(&plain, &demand));
        demand.input_modalities = MODALITY_BIT(TEXT);
        demand.output_modalities = MODALITY_BIT(AUDIO);
        assert_false(is_plain(&plain, &demand));
        demand.output_modalities = 0;
        demand.service = SERVICE_FLEX;
        assert_false(is_plain(&plain, &demand));
        demand.service = SERVICE_STANDARD;
        assert_true(is_plain(&plain, &demand));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_costs_are_those_of_any_price),
                cmocka_unit_test(a_price_that_is_rounded_is_not_plain),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
