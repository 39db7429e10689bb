#pragma once
/* From tokens, minutes, characters and images to picodollars. */
#include "workers/routing/catalog.h"
#include "workers/routing/demand.h"
#include "workers/routing/price.h"

/*
 * What was used, as providers report it, normalised (reference: providers.md 13.2): input tokens without
 * the cached ones; reasoning is a part of output. -1: not said.
 */
struct usage {
#define USAGE_FIELD(member, text) int64_t member;
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        int64_t audio_ms;
        bool served; /* said at which tier of service */
        enum service_tier service;
};

void usage_init(struct usage *usage); /* all -1 */
/* All of the input, cached or not; -1 when none of it is said. */
int64_t usage_input_tokens(const struct usage *usage);
/* The tier of service by whose price it is billed: that at which it was served, else that asked for. */
enum service_tier usage_service(const struct usage *usage, const struct demand *demand);
/* Sums what is known; -1 plus n is n. */
void usage_add(struct usage *total, const struct usage *usage);

/*
 * What each kind is billed by (each part rounded up by itself; a known `request` price comes on top):
 *   chat, responses, completions    input and output; cached input and cache write at the input price
 *                                   where they have none of their own, and so reasoning at the output price
 *   embeddings, moderations         input; one with only a `request` price costs that
 *   rerank                          search units and input, whichever has a price; or `request` alone
 *   transcriptions, translations    tokens where usage and prices have both, else audio minutes
 *   speech                          characters where they have a price, else input and output
 *   images, image edits             images where they have a price, else input and output
 *
 * false when a price that is needed is unknown, or when the usage does not say what a price above 0 is
 * multiplied with; then out_picousd is untouched.
 */
bool cost_of_usage(const struct price *price, enum kind kind, const struct usage *usage,
                   int64_t *out_picousd);
/*
 * The most that one call of this job can cost there (maximum output, all of it reasoning where that is
 * dearer, input read from a cache or written to one only where that is dearer, the dearest price that so much
 * input or less can have, at the tier of service that it asks for or at the standard one). When the demand
 * does not say how much output it allows: the endpoint's output_max, else its context less the input, else
 * unknown: false.
 */
bool cost_ceiling(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                  int64_t *out_picousd);
/*
 * What it is expected to cost: output tokens guessed as min(limit, expected_output_tokens); audio of
 * unknown length as AUDIO_GUESS_MS, so that endpoints can be compared before it is fetched.
 */
bool cost_expected(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                   int64_t expected_output_tokens, int64_t *out_picousd);
/* The same when prices of any moment until then may be asked for: of a call that ends no later. */
bool cost_ceiling_until(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                        int64_t until_unix_ms, int64_t input_tokens, int64_t *out_picousd);
/* The same for an input of `input_tokens` in place of the demand's: the calibrated estimate. */
bool cost_ceiling_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                     int64_t input_tokens, int64_t *out_picousd);
bool cost_expected_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                      int64_t input_tokens, int64_t expected_output_tokens, int64_t *out_picousd);
/*
 * And when so many of these input tokens, at most all, are expected to be cached: where that has a price. The
 * ceiling counts on none.
 */
bool cost_expected_cached_at(const struct endpoint *endpoint, const struct demand *demand,
                             int64_t now_unix_ms, int64_t input_tokens, int64_t cached_tokens,
                             int64_t expected_output_tokens, int64_t *out_picousd);

/*
 * Nearly all endpoints, nearly always: each token costs a known number of whole picodollars, no more than
 * 2^32 of them, nothing costs anything for the request, and it is the same for all inputs that are not very
 * long. Then text for text costs a sum of products, in which nothing can overflow.
 */
#define COST_TOKENS_MAX (INT64_C(1) << 30)

struct cost_rates {
        uint32_t input, cached_input, output; /* picodollars per token */
        uint32_t input_most, output_most;     /* the most that one costs, read or written in whatever way */
        uint32_t context, output_max;         /* the endpoint's */
        uint32_t input_limit;                 /* of longer inputs it does not hold; <= COST_TOKENS_MAX */
};

/* What it asks at that moment; false: it is not so. */
bool cost_rates_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                   struct cost_rates *out_rates);

struct cost_tokens {
        int64_t input, cached, output; /* expected; the cached ones are among the input */
        int64_t input_most;
};
struct cost_bounds {
        int64_t expected_picousd, ceiling_picousd;
        bool ceiling_known; /* what is expected always is */
};

/*
 * The two above at once, with the same answers: of at most `input_limit` tokens of input, COST_TOKENS_MAX of
 * output that is expected and as many that the demand allows (-1: it does not say). In a decision, of each
 * candidate.
 */
static inline struct cost_bounds cost_plain(const struct cost_rates *rates, int64_t output_tokens_max,
                                            const struct cost_tokens *tokens) {
        int64_t context = rates->context, limit = rates->output_max > 0 ? (int64_t)rates->output_max : -1;
        int64_t left = context > tokens->input ? context - tokens->input : 0;
        int64_t left_most = context > tokens->input_most ? context - tokens->input_most : 0;
        bool by_context = output_tokens_max < 0 && limit < 0 && context > 0;
        int64_t allowed = output_tokens_max >= 0 ? output_tokens_max : limit;
        int64_t most = by_context ? left_most : allowed, room = by_context ? left : allowed;
        int64_t output = room < 0 || room > tokens->output ? tokens->output : room;
        int64_t cached = tokens->cached < tokens->input ? tokens->cached : tokens->input;
        output = output > 0 ? output : 0;
        cached = cached > 0 ? cached : 0;
        int64_t expected = (int64_t)rates->output * output + (int64_t)rates->cached_input * cached +
                           (int64_t)rates->input * (tokens->input - cached);
        int64_t ceiling = (int64_t)rates->output_most * (most > 0 ? most : 0) +
                          (int64_t)rates->input_most * tokens->input_most;
        return (struct cost_bounds){expected, ceiling, most >= 0 || rates->output_most == 0};
}
