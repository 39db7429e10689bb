/*
 * Prices times usage: which parts a kind is billed by, rounding, what is unknown; and the bounds made from
 * a demand.
 */
#include "broker/base/money.h"
#include "broker/base/prng.h"
#include "workers/routing/cost.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define U       PRICE_UNKNOWN
#define MEDIA   U, U, U, U
#define MILLION INT64_C(1000000)

/* One thousand picodollars a unit, and so on: costs below are then easy to read. */
#define PER_UNIT(picousd) ((picousd)*MILLION)

static const struct price nothing = {U, U, U, U, U, U, U, U, U, U, MEDIA};
static const struct usage silent = {
#define USAGE_FIELD(member, text) .member = -1,
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        .audio_ms = -1,
};

struct row {
        const char *what;
        enum kind kind;
        struct price price; /* 0 in a table stands for "unknown" here, FREE for 0 */
        struct usage usage; /* 0 stands for "not said", NONE for 0 */
        int64_t picousd;    /* -1: unknown */
};

#define FREE INT64_MIN
#define NONE INT64_MIN

static int64_t price_in_table(int64_t value) {
        return value == FREE ? 0 : value == 0 ? U : PER_UNIT(value);
}

static int64_t units_in_table(int64_t value) {
        return value == NONE ? 0 : value == 0 ? -1 : value;
}

static struct price table_price(struct price p) {
        return (struct price){
#define TOKEN_PART(id, member, text, help)      .member = price_in_table(p.member),
#define UNIT_PART(id, member, text, type, help) .member = price_in_table(p.member),
#include "schemas/price_parts.def"
        };
}

static struct usage table_usage(struct usage u) {
        return (struct usage){
#define USAGE_FIELD(member, text) .member = units_in_table(u.member),
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
                .audio_ms = units_in_table(u.audio_ms),
        };
}

static const struct row rows[] = {
        {"chat", KIND_CHAT, {.input = 3, .output = 10}, {.input_tokens = 7, .output_tokens = 2}, 41},
        {"responses",
         KIND_RESPONSES,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2},
         41},
        {"completions",
         KIND_COMPLETIONS,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2},
         41},
        {"cached and written at their own price",
         KIND_CHAT,
         {.input = 10, .cached_input = 1, .cache_write = 12, .output = 20},
         {.input_tokens = 1, .cached_input_tokens = 100, .cache_write_tokens = 10, .output_tokens = 1},
         250},
        {"cached and written at the input price",
         KIND_CHAT,
         {.input = 10, .output = 20},
         {.input_tokens = 1, .cached_input_tokens = 100, .cache_write_tokens = 10, .output_tokens = 1},
         1130},
        {"everything cached",
         KIND_CHAT,
         {.input = 10, .cached_input = FREE, .output = 20},
         {.input_tokens = NONE, .cached_input_tokens = 100, .output_tokens = 1},
         20},
        {"a call costs too",
         KIND_CHAT,
         {.input = 3, .output = 10, .request = 1000},
         {.input_tokens = 7, .output_tokens = 2},
         1041},
        {"no output price", KIND_CHAT, {.input = 3}, {.input_tokens = 7, .output_tokens = 2}, -1},
        {"no input price", KIND_CHAT, {.output = 3}, {.input_tokens = 7, .output_tokens = 2}, -1},
        {"only a call has a price", KIND_CHAT, {.request = 3}, {.input_tokens = 7, .output_tokens = 2}, -1},
        {"output not said", KIND_CHAT, {.input = 3, .output = 10}, {.input_tokens = 7}, -1},
        {"input not said", KIND_CHAT, {.input = 3, .output = 10}, {.output_tokens = 7}, -1},
        {"free, nothing said", KIND_CHAT, {.input = FREE, .output = FREE}, {0}, 0},
        {"embeddings", KIND_EMBEDDINGS, {.input = 3}, {.input_tokens = 7}, 21},
        {"embeddings have no output",
         KIND_EMBEDDINGS,
         {.input = 3},
         {.input_tokens = 7, .output_tokens = 9},
         21},
        {"embeddings by call", KIND_EMBEDDINGS, {.request = 50}, {.input_tokens = 7}, 50},
        {"embeddings, not said", KIND_EMBEDDINGS, {.input = 3}, {0}, -1},
        {"embeddings, no price", KIND_EMBEDDINGS, {.output = 3}, {.input_tokens = 7}, -1},
        {"moderations, no price", KIND_MODERATIONS, {0}, {.input_tokens = 7}, -1},
        {"moderations, free", KIND_MODERATIONS, {.input = FREE}, {0}, 0},
        {"rerank by search unit", KIND_RERANK, {.search_unit = 2000}, {.search_units = 2}, 4000},
        {"rerank by token", KIND_RERANK, {.input = 3}, {.input_tokens = 7}, 21},
        {"rerank, units not said", KIND_RERANK, {.search_unit = 2000}, {.input_tokens = 7}, -1},
        {"rerank, no price", KIND_RERANK, {.output = 3}, {.search_units = 2}, -1},
        {"a minute", KIND_TRANSCRIPTIONS, {.audio_minute = 6000}, {.audio_ms = 60000}, 6000},
        {"a second", KIND_TRANSCRIPTIONS, {.audio_minute = 6000}, {.audio_ms = 1000}, 100},
        {"a millisecond, rounded up", KIND_TRANSLATIONS, {.audio_minute = 6000}, {.audio_ms = 1}, 1},
        {"no audio", KIND_TRANSLATIONS, {.audio_minute = 6000}, {.audio_ms = NONE}, 0},
        {"tokens before minutes",
         KIND_TRANSCRIPTIONS,
         {.input = 3, .output = 10, .audio_minute = 6000},
         {.input_tokens = 7, .output_tokens = 2, .audio_ms = 60000},
         41},
        {"minutes when tokens have no price",
         KIND_TRANSCRIPTIONS,
         {.input = 3, .audio_minute = 6000},
         {.input_tokens = 7, .output_tokens = 2, .audio_ms = 60000},
         6000},
        {"minutes when tokens are not said",
         KIND_TRANSCRIPTIONS,
         {.input = 3, .output = 3, .audio_minute = 6000},
         {.output_tokens = 2, .audio_ms = 60000},
         6000},
        {"minutes not said", KIND_TRANSCRIPTIONS, {.audio_minute = 6000}, {.output_tokens = 2}, -1},
        {"minutes without a price", KIND_TRANSCRIPTIONS, {.input = 3}, {.audio_ms = 60000}, -1},
        {"speech by character", KIND_SPEECH, {.character = 15}, {.characters = 10}, 150},
        {"speech by token",
         KIND_SPEECH,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2},
         41},
        {"speech by token when not counted",
         KIND_SPEECH,
         {.input = 3, .output = 10, .character = 15},
         {.input_tokens = 7, .output_tokens = 2},
         41},
        {"speech, no price", KIND_SPEECH, {.input = 3}, {.characters = 10}, -1},
        {"speech, no price and no characters", KIND_SPEECH, {0}, {.characters = NONE}, -1},
        {"images", KIND_IMAGES, {.image = 40000}, {.images = 2}, 80000},
        {"images by token",
         KIND_IMAGE_EDITS,
         {.input = 3, .output = 10},
         {.images = 2, .input_tokens = 7, .output_tokens = 2},
         41},
        {"chat with audio",
         KIND_CHAT,
         {.input = 3, .output = 10, .audio_input = 30, .audio_output = 50},
         {.input_tokens = 7, .output_tokens = 9, .audio_input_tokens = 5, .audio_output_tokens = 8},
         2 * 3 + 5 * 30 + 10 + 8 * 50},
        {"more audio than there is",
         KIND_CHAT,
         {.input = 3, .output = 10, .audio_input = 30, .audio_output = 50},
         {.input_tokens = 7, .output_tokens = 9, .audio_input_tokens = 50, .audio_output_tokens = 80},
         7 * 30 + 9 * 50},
        {"chat with audio, no price of it in",
         KIND_CHAT,
         {.input = 3, .output = 10, .audio_output = 50},
         {.input_tokens = 7, .output_tokens = 9, .audio_input_tokens = 5},
         -1},
        {"chat with audio, no price of it out",
         KIND_CHAT,
         {.input = 3, .output = 10, .audio_input = 30},
         {.input_tokens = 7, .output_tokens = 9, .audio_output_tokens = 1},
         -1},
        {"chat, no audio at all",
         KIND_CHAT,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2, .audio_input_tokens = NONE, .audio_output_tokens = NONE},
         41},
        {"audio that is cached counts as audio",
         KIND_CHAT,
         {.input = 3, .output = 10, .cached_input = 1, .audio_input = 30},
         {.input_tokens = 2, .cached_input_tokens = 8, .output_tokens = NONE, .audio_input_tokens = 5},
         5 * 30 + 5 * 1},
        {"pictures in chat, as text where they have no price",
         KIND_CHAT,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2, .image_input_tokens = 5},
         41},
        {"pictures in chat, at theirs",
         KIND_CHAT,
         {.input = 3, .output = 10, .image_input = 4, .image_output = 100},
         {.input_tokens = 7, .output_tokens = 2, .image_input_tokens = 5, .image_output_tokens = 1},
         2 * 3 + 5 * 4 + 10 + 100},
        {"reasoning beside pictures",
         KIND_CHAT,
         {.input = 3, .output = 10, .reasoning = 20, .image_output = 100},
         {.input_tokens = NONE, .output_tokens = 9, .image_output_tokens = 4, .reasoning_tokens = 3},
         4 * 100 + 3 * 20 + 2 * 10},
        {"pictures in chat, no price of them out",
         KIND_CHAT,
         {.input = 3, .output = 10},
         {.input_tokens = 7, .output_tokens = 2, .image_output_tokens = 1},
         -1},
        {"images by token, all of it pictures",
         KIND_IMAGES,
         {.input = 3, .output = 10, .image_output = 40},
         {.images = 1, .input_tokens = 7, .output_tokens = 2},
         21 + 80},
        {"images by token, text as well",
         KIND_IMAGES,
         {.input = 3, .output = 10, .image_output = 40},
         {.images = 1, .input_tokens = 7, .output_tokens = 2, .image_output_tokens = 1},
         21 + 50},
        {"minutes by token, all of it sound",
         KIND_TRANSCRIPTIONS,
         {.input = 3, .output = 10, .audio_input = 30},
         {.input_tokens = 7, .output_tokens = 2},
         210 + 20},
        {"speech by token, all of it sound",
         KIND_SPEECH,
         {.input = 3, .audio_output = 50},
         {.input_tokens = 7, .output_tokens = 2},
         121},
        {"images, not said", KIND_IMAGES, {.image = 40000}, {0}, -1},
        {"images, no price", KIND_IMAGES, {.output = 3}, {.images = 2}, -1},
};

static void kinds_are_billed_by_their_parts(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct price price = table_price(rows[i].price);
                struct usage usage = table_usage(rows[i].usage);
                int64_t picousd = -1;
                bool known = cost_of_usage(&price, rows[i].kind, &usage, &picousd);
                if (known != (rows[i].picousd >= 0) || picousd != rows[i].picousd)
                        fail_msg("%s: %lld", rows[i].what, (long long)picousd);
        }
}

static void every_part_is_rounded_up(void **state) {
        (void)state;
        struct price price = nothing;
        price.input = price.output = price.cached_input = 1; /* a millionth of a picodollar */
        struct usage usage = silent;
        usage.input_tokens = usage.output_tokens = usage.cached_input_tokens = 1;
        int64_t picousd = -1;
        assert_true(cost_of_usage(&price, KIND_CHAT, &usage, &picousd));
        assert_int_equal(picousd, 3);
}

static void amounts_saturate(void **state) {
        (void)state;
        const struct price price = {
#define TOKEN_PART(id, member, text, help)      .member = INT64_MAX,
#define UNIT_PART(id, member, text, type, help) .member = INT64_MAX,
#include "schemas/price_parts.def"
        };
        const struct usage usage = {
#define USAGE_FIELD(member, text) .member = INT64_MAX,
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
                .audio_ms = INT64_MAX,
        };
        for (unsigned kind = 0; kind < KINDS_COUNT; kind++) {
                int64_t picousd = -1;
                assert_true(cost_of_usage(&price, (enum kind)kind, &usage, &picousd));
                assert_int_equal(picousd, PICOUSD_MAX);
        }
}

static void usage_adds_what_is_said(void **state) {
        (void)state;
        struct usage total, more;
        usage_init(&total);
        usage_init(&more);
        usage_add(&total, &more);
        assert_memory_equal(&total, &silent, sizeof total);
        more.input_tokens = 5;
        more.audio_ms = 0;
        usage_add(&total, &more);
        more.input_tokens = 7;
        more.audio_ms = -1;
        more.search_units = INT64_MAX;
        usage_add(&total, &more);
        usage_add(&total, &more);
        assert_int_equal(total.input_tokens, 19);
        assert_int_equal(total.audio_ms, 0);
        assert_int_equal(total.output_tokens, -1);
        assert_int_equal(total.search_units, INT64_MAX);
}

static struct endpoint endpoint_with(struct price price) {
        return (struct endpoint){.name = "p/m", .model = "m", .price = table_price(price), .kinds = ~0U};
}

static void ceiling_takes_the_most_output(void **state) {
        (void)state;
        static const struct {
                int64_t allowed, output_max, context, picousd;
        } cases[] = {
                {50, 4096, 8000, 800},   /* what the request allows */
                {0, 4096, 8000, 300},    /* nothing, if it says so */
                {-1, 4096, 8000, 41260}, /* else what the endpoint can */
                {-1, 0, 8000, 79300},    /* else what is left of the context */
                {-1, 0, 60, 300},        /* nothing is left */
                {-1, 0, 0, -1},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with((struct price){.input = 3, .output = 10});
                endpoint.output_max = cases[i].output_max;
                endpoint.context = cases[i].context;
                struct demand demand;
                demand_init(&demand, KIND_CHAT);
                demand.input_tokens = 100;
                demand.output_tokens_max = cases[i].allowed;
                int64_t picousd = -1;
                assert_int_equal(cost_ceiling(&endpoint, &demand, 0, &picousd), cases[i].picousd >= 0);
                assert_int_equal(picousd, cases[i].picousd);
        }
}

/* What is said costs nothing, what is thought does, and nobody says how much that may be. */
static void no_ceiling_without_a_bound_of_thought(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with((struct price){.input = 3, .output = FREE, .reasoning = 10});
        struct demand demand;
        int64_t picousd = -1;
        demand_init(&demand, KIND_CHAT);
        demand.input_tokens = 100;
        assert_false(cost_ceiling(&endpoint, &demand, 0, &picousd));
        endpoint.output_max = 50;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 800);
}

static void expected_takes_the_guess_within_the_limit(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with((struct price){.input = 3, .output = 10});
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        demand.input_tokens = 100;
        int64_t picousd = -1;
        assert_true(cost_expected(&endpoint, &demand, 0, 20, &picousd));
        assert_int_equal(picousd, 500);
        demand.output_tokens_max = 5;
        assert_true(cost_expected(&endpoint, &demand, 0, 20, &picousd));
        assert_int_equal(picousd, 350);
        assert_true(cost_expected_at(&endpoint, &demand, 0, 200, 20, &picousd));
        assert_int_equal(picousd, 650);
        assert_true(cost_ceiling_at(&endpoint, &demand, 0, 200, &picousd));
        assert_int_equal(picousd, 650);
}

/* Cached input is expected at its own price, at most all of the input; the ceiling counts on none. */
static void expected_counts_on_cached_input(void **state) {
        (void)state;
        static const struct {
                int64_t cached_price, cached_tokens, picousd;
        } cases[] = {
                {1, 0, 10000}, {1, 400, 6400}, {1, 5000, 1000}, {1, -1, 10000}, {PRICE_UNKNOWN, 400, 10000}};
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        demand.input_tokens = 1000;
        demand.output_tokens_max = 0;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with(
                        (struct price){.input = 10, .output = 7, .cached_input = cases[i].cached_price});
                int64_t picousd = -1, ceiling = -1;
                assert_true(cost_expected_cached_at(&endpoint, &demand, 0, 1000, cases[i].cached_tokens, 0,
                                                    &picousd));
                assert_int_equal(picousd, cases[i].picousd);
                assert_true(cost_ceiling(&endpoint, &demand, 0, &ceiling));
                assert_int_equal(ceiling, 10000);
        }
}

/* What the job is sure to have is priced, or nobody knows what it costs. */
static void a_medium_without_a_price_is_unknown(void **state) {
        (void)state;
        static const struct {
                uint32_t input, output;
                struct price price;
                int64_t expected, ceiling; /* -1: unknown */
        } cases[] = {
                {MODALITY_BIT(TEXT), MODALITY_BIT(TEXT), {.input = 3, .output = 10}, 400, 400},
                {MODALITY_BIT(AUDIO), MODALITY_BIT(TEXT), {.input = 3, .output = 10}, -1, -1},
                {MODALITY_BIT(AUDIO),
                 MODALITY_BIT(TEXT),
                 {.input = 3, .output = 10, .audio_input = 5},
                 480,
                 600},
                {MODALITY_BIT(AUDIO),
                 MODALITY_BIT(TEXT),
                 {.input = 3, .output = 10, .audio_input = 1},
                 320,
                 400},
                {MODALITY_BIT(IMAGE), MODALITY_BIT(TEXT), {.input = 3, .output = 10}, 400, 400},
                {MODALITY_BIT(IMAGE),
                 MODALITY_BIT(TEXT),
                 {.input = 3, .output = 10, .image_input = 5},
                 440,
                 600},
                {MODALITY_BIT(VIDEO),
                 MODALITY_BIT(TEXT),
                 {.input = 3, .output = 10, .audio_input = 5},
                 400,
                 600},
                {MODALITY_BIT(TEXT), MODALITY_BIT(AUDIO), {.input = 3, .output = 10}, -1, -1},
                {MODALITY_BIT(TEXT),
                 MODALITY_BIT(AUDIO),
                 {.input = 3, .output = 10, .audio_output = 20},
                 500,
                 500},
                {MODALITY_BIT(TEXT), MODALITY_BIT(IMAGE), {.input = 3, .output = 10}, -1, -1},
                {MODALITY_BIT(TEXT),
                 MODALITY_BIT(IMAGE),
                 {.input = 3, .output = 10, .image_output = 30},
                 600,
                 600},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with(cases[i].price);
                struct demand demand;
                int64_t expected = -1, ceiling = -1;
                demand_init(&demand, KIND_CHAT);
                demand.input_tokens = 100;
                demand.output_tokens_max = 10;
                demand.input_modalities = cases[i].input;
                demand.output_modalities = cases[i].output;
                demand.audio_tokens = cases[i].input == MODALITY_BIT(AUDIO) ? 40 : 0;
                demand.image_tokens = cases[i].input == MODALITY_BIT(IMAGE) ? 20 : 0;
                bool known = cost_expected(&endpoint, &demand, 0, 100, &expected);
                assert_int_equal(known, cost_ceiling(&endpoint, &demand, 0, &ceiling));
                if (expected != cases[i].expected || ceiling != cases[i].ceiling)
                        fail_msg("row %zu: %lld, at most %lld", i, (long long)expected, (long long)ceiling);
        }
        struct endpoint painter = endpoint_with((struct price){.input = 3, .output = 10, .image_output = 30});
        struct demand demand;
        int64_t ceiling;
        demand_init(&demand, KIND_CHAT);
        demand.output_tokens_max = 10;
        painter.output_modalities = MODALITY_BIT(TEXT) | MODALITY_BIT(IMAGE);
        assert_true(cost_ceiling(&painter, &demand, 0, &ceiling));
        assert_int_equal(ceiling, 300); /* unasked */
}

/* Flex is expected at its price, and at most at the standard one, which may be what it is served at. */
static void a_tier_of_service_has_its_own_price(void **state) {
        (void)state;
        static const struct {
                enum service_tier service;
                int64_t tokens, expected, ceiling; /* -1: unknown */
        } cases[] = {
                {SERVICE_STANDARD, 100, 400, 400},
                {SERVICE_FLEX, 100, 200, 400},
                {SERVICE_PRIORITY, 100, 800, 800},
                {SERVICE_OTHER, 100, -1, -1},
                /* the input may be shorter */
                {SERVICE_STANDARD, 300, 900, 1200},
                {SERVICE_FLEX, 300, 450, 1200},
                {SERVICE_PRIORITY, 300, -1, -1}, /* of long inputs nobody knows it */
        };
        struct endpoint endpoint = endpoint_with((struct price){.input = 4});
        struct price_tier tier = {.above_input = 200};
        endpoint.price.output = 0;
        price_services_init(endpoint.service);
        price_services_init(tier.service);
        endpoint.service[SERVICE_FLEX - 1].input = PER_UNIT(2);
        endpoint.service[SERVICE_PRIORITY - 1].input = PER_UNIT(8);
        endpoint.service[SERVICE_FLEX - 1].output = endpoint.service[SERVICE_PRIORITY - 1].output = 0;
        tier.price = price_or(&(struct price){.input = PER_UNIT(3), .output = 0}, &endpoint.price);
        tier.service[SERVICE_FLEX - 1].input = PER_UNIT(3) / 2;
        price_services_complete(tier.service, endpoint.service);
        endpoint.tiers = &tier;
        endpoint.tiers_count = 1;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct demand demand;
                int64_t expected = -1, ceiling = -1;
                demand_init(&demand, KIND_CHAT);
                demand.service = cases[i].service;
                demand.input_tokens = cases[i].tokens;
                demand.output_tokens_max = 10;
                bool known = cost_expected(&endpoint, &demand, 0, 10, &expected);
                assert_int_equal(known, cost_ceiling(&endpoint, &demand, 0, &ceiling));
                if (expected != cases[i].expected || ceiling != cases[i].ceiling)
                        fail_msg("row %zu: %lld, at most %lld", i, (long long)expected, (long long)ceiling);
        }
}

static int64_t some_price(struct prng *prng) {
        return prng_below(prng, 4) == 0 ? U : (int64_t)prng_below(prng, 1U << 30);
}

/* However the tokens are told apart, where all that the job may have has a price. */
static void no_bill_is_above_the_ceiling(void **state) {
        struct prng prng;
        uint32_t known = 0;
        (void)state;
        prng_init(&prng, 11);
        for (int i = 0; i < 200000; i++) {
                static const enum kind kinds[] = {KIND_CHAT, KIND_RESPONSES, KIND_IMAGES, KIND_IMAGE_EDITS,
                                                  KIND_SPEECH};
                struct endpoint endpoint = endpoint_with((struct price){0});
                struct demand demand;
                struct usage usage;
                int64_t ceiling, bill = 0;
                demand_init(&demand, kinds[prng_below(&prng, 5)]);
#define TOKEN_PART(id, member, text, help) endpoint.price.member = some_price(&prng);
#include "schemas/price_parts.def"
                demand.input_modalities = (uint32_t)prng_below(&prng, 1U << MODALITIES_COUNT);
                demand.output_modalities = demand.kind == KIND_SPEECH ? MODALITY_BIT(AUDIO)
                                           : kind_paints(demand.kind)
                                                   ? MODALITY_BIT(IMAGE)
                                                   : (uint32_t)prng_below(&prng, 1U << MODALITIES_COUNT);
                demand.input_tokens = (int64_t)prng_below(&prng, 1000);
                demand.output_tokens_max = (int64_t)prng_below(&prng, 1000);
                usage_init(&usage);
                usage.input_tokens = demand.input_tokens;
                usage.cached_input_tokens = (int64_t)prng_below(&prng, (uint64_t)usage.input_tokens + 1);
                usage.input_tokens -= usage.cached_input_tokens;
                usage.cache_write_tokens = (int64_t)prng_below(&prng, (uint64_t)usage.input_tokens + 1);
                usage.input_tokens -= usage.cache_write_tokens;
                usage.output_tokens = (int64_t)prng_below(&prng, (uint64_t)demand.output_tokens_max + 1);
                usage.reasoning_tokens = (int64_t)prng_below(&prng, 1000) - 1;
                if (demand.input_modalities & MODALITY_BIT(AUDIO))
                        usage.audio_input_tokens = (int64_t)prng_below(&prng, 1000) - 1;
                if (demand.input_modalities & MODALITY_BIT(IMAGE))
                        usage.image_input_tokens = (int64_t)prng_below(&prng, 1000) - 1;
                if (demand.output_modalities & MODALITY_BIT(AUDIO))
                        usage.audio_output_tokens = (int64_t)prng_below(&prng, 1000) - 1;
                if (demand.output_modalities & MODALITY_BIT(IMAGE))
                        usage.image_output_tokens = (int64_t)prng_below(&prng, 1000) - 1;
                if (!cost_ceiling(&endpoint, &demand, 0, &ceiling))
                        continue;
                known++;
                if (!cost_of_usage(&endpoint.price, demand.kind, &usage, &bill)) /* the ceiling counts */
                        assert_int_equal(endpoint.price.output, U);
                if (bill > ceiling)
                        fail_msg("%d: %lld of %lld", i, (long long)bill, (long long)ceiling);
        }
        assert_true(known > 20000);
}

static void other_kinds_have_bounds_too(void **state) {
        (void)state;
        struct endpoint endpoint = endpoint_with(
                (struct price){.audio_minute = 6000, .character = 15, .image = 40000, .search_unit = 2000});
        struct demand demand;
        int64_t picousd = -1;
        demand_init(&demand, KIND_TRANSCRIPTIONS);
        assert_false(cost_ceiling(&endpoint, &demand, 0, &picousd)); /* before it is fetched */
        assert_true(cost_expected(&endpoint, &demand, 0, 0, &picousd));
        assert_int_equal(picousd, 6000);
        demand.audio_ms = 120000;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 12000);
        demand_init(&demand, KIND_SPEECH);
        demand.characters = 100;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 1500);
        demand_init(&demand, KIND_IMAGES);
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 40000);
        demand.images = 3;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 120000);
        demand_init(&demand, KIND_RERANK);
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 2000);
        demand.search_units = 4;
        assert_true(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_int_equal(picousd, 8000);
        demand_init(&demand, KIND_CHAT);
        assert_false(cost_ceiling(&endpoint, &demand, 0, &picousd));
        assert_false(cost_expected(&endpoint, &demand, 0, 10, &picousd));
}

/* Input that goes into a cache may cost more than other input (OpenRouter lists 1.25 and 2 times as much). */
/* However a provider splits what was bounded: each part of the bill is rounded up. */
static void no_bill_is_above_its_ceiling(void **state) {
        (void)state;
        static const struct price prices[] = {
                {.input = 1, .cached_input = 1, .cache_write = 1, .output = 1, .reasoning = 1},
                {.input = 333333, .cached_input = 33333, .cache_write = 333333, .output = 1, .reasoning = 7},
                {.input = 1500001, .cached_input = 100, .cache_write = 7, .output = 5999999, .reasoning = 3},
                {.input = 2000000, .cached_input = 1000000, .cache_write = 0, .output = 3000000},
        };
        for (size_t i = 0; i < sizeof prices / sizeof *prices; i++) {
                struct endpoint endpoint = endpoint_with((struct price){0});
                struct demand demand;
                int64_t ceiling = -1, bill = -1;
                endpoint.price = prices[i];
                demand_init(&demand, KIND_CHAT);
                demand.input_tokens = 30;
                demand.output_tokens_max = 20;
                assert_true(cost_ceiling(&endpoint, &demand, 0, &ceiling));
                for (int64_t split = 0; split < 11 * 11 * 21; split++) {
                        struct usage usage;
                        usage_init(&usage);
                        usage.cached_input_tokens = split % 11;
                        usage.cache_write_tokens = split / 11 % 11;
                        usage.input_tokens = 30 - usage.cached_input_tokens - usage.cache_write_tokens;
                        usage.output_tokens = 20;
                        usage.reasoning_tokens = split / 121;
                        assert_true(cost_of_usage(&endpoint.price, KIND_CHAT, &usage, &bill));
                        assert_true(bill <= ceiling);
                }
        }
}

static void the_ceiling_counts_input_where_it_is_dearest(void **state) {
        (void)state;
        static const struct {
                int64_t input, cached, write, picousd;
        } cases[] = {
                {4, 1, 5, 500}, {4, 1, PRICE_UNKNOWN, 400}, {4, 1, 3, 400}, {4, 6, 5, 600}, {4, 0, 0, 400},
                {0, 0, 5, 500}, {4, 6, PRICE_UNKNOWN, 600}};
        struct demand demand;
        demand_init(&demand, KIND_CHAT);
        demand.input_tokens = 100;
        demand.output_tokens_max = 0;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct endpoint endpoint = endpoint_with((struct price){.output = FREE});
                endpoint.price.input = cases[i].input * MILLION;
                endpoint.price.cached_input = cases[i].cached * MILLION;
                endpoint.price.cache_write =
                        cases[i].write == PRICE_UNKNOWN ? PRICE_UNKNOWN : cases[i].write * MILLION;
                int64_t ceiling = -1, expected = -1;
                assert_true(cost_ceiling(&endpoint, &demand, 0, &ceiling));
                assert_int_equal(ceiling, cases[i].picousd);
                assert_true(cost_expected(&endpoint, &demand, 0, 0, &expected));
                assert_int_equal(expected, 100 * cases[i].input);
        }
        struct endpoint endpoint = endpoint_with((struct price){.cache_write = 5, .output = FREE});
        int64_t unused;
        assert_false(cost_ceiling(&endpoint, &demand, 0, &unused));
}

/* Whatever was used within the bounds costs no more than the ceiling, cached or not. */
static void usage_within_bounds_stays_under_the_ceiling(void **state) {
        (void)state;
        struct prng prng;
        prng_init(&prng, 7);
        for (int i = 0; i < 20000; i++) {
                struct endpoint endpoint = endpoint_with((struct price){0});
                endpoint.price.input = (int64_t)prng_below(&prng, 1U << 30);
                endpoint.price.output = (int64_t)prng_below(&prng, 1U << 30);
                endpoint.price.cached_input = (int64_t)prng_below(&prng, (uint64_t)endpoint.price.input + 1);
                endpoint.price.cache_write = (int64_t)prng_below(&prng, 1U << 31) - 1; /* -1: unknown */
                struct demand demand;
                demand_init(&demand, KIND_CHAT);
                demand.input_tokens = (int64_t)prng_below(&prng, 100000);
                demand.output_tokens_max = (int64_t)prng_below(&prng, 100000);
                struct usage usage = silent;
                usage.input_tokens = (int64_t)prng_below(&prng, (uint64_t)demand.input_tokens + 1);
                usage.cached_input_tokens = demand.input_tokens - usage.input_tokens;
                usage.cache_write_tokens =
                        (int64_t)prng_below(&prng, (uint64_t)usage.cached_input_tokens + 1);
                usage.cached_input_tokens -= usage.cache_write_tokens;
                usage.output_tokens = (int64_t)prng_below(&prng, (uint64_t)demand.output_tokens_max + 1);
                int64_t ceiling = -1, cost = -1;
                assert_true(cost_ceiling(&endpoint, &demand, 0, &ceiling));
                assert_true(cost_of_usage(&endpoint.price, KIND_CHAT, &usage, &cost));
                assert_true(cost <= ceiling + 2); /* two parts more to round up */
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kinds_are_billed_by_their_parts),
                cmocka_unit_test(every_part_is_rounded_up),
                cmocka_unit_test(amounts_saturate),
                cmocka_unit_test(usage_adds_what_is_said),
                cmocka_unit_test(ceiling_takes_the_most_output),
                cmocka_unit_test(no_ceiling_without_a_bound_of_thought),
                cmocka_unit_test(expected_takes_the_guess_within_the_limit),
                cmocka_unit_test(expected_counts_on_cached_input),
                cmocka_unit_test(a_medium_without_a_price_is_unknown),
                cmocka_unit_test(a_tier_of_service_has_its_own_price),
                cmocka_unit_test(no_bill_is_above_the_ceiling),
                cmocka_unit_test(other_kinds_have_bounds_too),
                cmocka_unit_test(no_bill_is_above_its_ceiling),
                cmocka_unit_test(the_ceiling_counts_input_where_it_is_dearest),
                cmocka_unit_test(usage_within_bounds_stays_under_the_ceiling),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
