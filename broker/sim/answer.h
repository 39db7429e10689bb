#pragma once
/*
 * What every answer shares: the settings it depends on, its bytes and what it cost, usage, and deterministic
 * text. An answer is a function of the request, the settings and the seed, so asking again gives the same.
 */
#include "broker/base/bytes.h"
#include "broker/base/prng.h"
#include "broker/sim/distribution.h"
#include "broker/sim/faults.h"
#include "broker/sim/request.h"

#define SIM_TIERS_MAX       4
#define SIM_TIER_NAME_BYTES 32

/* A tier of service besides the standard one: what its tokens cost, as a share of that one's prices. */
struct sim_tier {
        char name[SIM_TIER_NAME_BYTES];
        int64_t share_picos; /* 10^12: the same */
};

struct sim_prices {
        int64_t input_picousd, output_picousd;             /* per million tokens */
        int64_t audio_input_picousd, audio_output_picousd; /* per million of those that are sound */
        int64_t minute_picousd;                            /* of audio */
        int64_t image_picousd;
        int64_t cached_input_picousd, reasoning_picousd; /* per million of those */
        struct sim_tier tiers[SIM_TIERS_MAX];
        size_t tiers_count;
};

struct sim_settings {
        struct sim_distribution reply_tokens;
        int64_t dimensions; /* of an embedding, when the request does not say */
        struct sim_prices prices;
        int64_t cached_share_picos, reasoning_share_picos; /* of the text in, and out; 10^12: all of it */
        bool report_cost;                                  /* usage.cost, as OpenRouter does */
        int64_t retry_after_ns;
        uint64_t seed;
};

struct sim_order {
        const struct sim_settings *settings;
        const struct sim_request *request;
        struct sim_fault
                fault; /* those that change the text: usage-*, content-filter, refusal, wrong-count */
};

struct sim_answer {
        struct buffer body; /* owned */
        const char *content_type;
        /* the truth, whatever the text claims: */
        int64_t prompt_tokens, completion_tokens, cost_picousd;
        int64_t prompt_audio_tokens, completion_audio_tokens;      /* which of them are sound */
        int64_t prompt_cached_tokens, completion_reasoning_tokens; /* and from a cache, and thought */
        const struct sim_tier *tier; /* at which it is served; NULL: the standard one */
};

void sim_answer_init(struct sim_answer *answer);
void sim_answer_deinit(struct sim_answer *answer);

struct sim_usage_words { /* names of the counts; NULL: not told */
        const char *input, *output, *total;
        const char *input_details, *output_details; /* told where they are not all the same */
};
extern const struct sim_usage_words sim_usage_prompt; /* prompt_tokens, completion_tokens, total_tokens */
extern const struct sim_usage_words sim_usage_input;  /* input_tokens, output_tokens, total_tokens */
extern const struct sim_usage_words sim_usage_no_output;

void sim_answer_bill(const struct sim_order *order, int64_t prompt_tokens, int64_t completion_tokens,
                     struct sim_answer *answer);
/*
 * The same of a text answer: so many of the completion's tokens are sound, and of the prompt's those of the
 * request; of the others so large a share as the settings say are thought, and from a cache.
 */
void sim_answer_bill_parts(const struct sim_order *order, int64_t completion_tokens,
                           int64_t completion_audio_tokens, struct sim_answer *answer);
/* ,"service_tier":"…" where the request says one: that, or "default" where there is no such. */
void sim_answer_tier(const struct sim_order *order, struct sim_answer *answer);
/* ,"usage":{…} with the lies of the fault; nothing for usage-absent. */
void sim_answer_usage(const struct sim_order *order, const struct sim_usage_words *words,
                      struct sim_answer *answer);
/* ,"usage":{"type":"duration","seconds":N} */
void sim_answer_usage_seconds(const struct sim_order *order, int64_t duration_ms, struct sim_answer *answer);
/* "id":"PREFIX…" from the request's hash */
void sim_answer_id(const struct sim_order *order, const char *prefix, struct sim_answer *answer);
/* "created" or so: a time that depends on the request alone. */
int64_t sim_answer_created(const struct sim_order *order);
void sim_answer_prng(const struct sim_order *order, struct prng *out_prng);
/* Appends a text of so many bytes, not yet escaped: a hash, the start of `echo` (may be empty), and words. */
void sim_answer_text(uint64_t seed, struct bytes echo, size_t bytes, struct buffer *out_text);
