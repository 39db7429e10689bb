/*
 * See the header. A bill adds up parts; it stays known only while every part is. A part is a price and how
 * many units of it were used; where the price is 0 nobody needs to know how many.
 *
 * What writes is billed by tokens alone, and most jobs are of that kind: a decision looks at its bill of each
 * candidate twice. So it goes by a way of its own here, in which nothing is called.
 */
#include "workers/routing/cost.h"

#include "broker/base/money.h"
#include "workers/routing/limits.h"

#define MS_PER_MINUTE INT64_C(60000)
#define MILLION       INT64_C(1000000)
#define PARTS_MORE    3 /* of a bill than of what bounds it */

__extension__ typedef unsigned __int128 wide;

struct bill {
        int64_t picousd;
        bool known;
};

static inline void bill_add(struct bill *bill, int64_t price, int64_t units) {
        if (price == 0)
                return;
        if (price < 0 || units < 0)
                bill->known = false;
        else
                bill->picousd = money_add(bill->picousd, money_per_million(price, units));
}

static void bill_add_audio(struct bill *bill, int64_t price, int64_t audio_ms) {
        if (price == 0)
                return;
        if (price < 0 || audio_ms < 0) {
                bill->known = false;
                return;
        }
        wide divisor = (wide)(MILLION * MS_PER_MINUTE);
        wide picousd = ((wide)price * (wide)audio_ms + divisor - 1) / divisor;
        bill->picousd =
                money_add(bill->picousd, picousd < (wide)PICOUSD_MAX ? (int64_t)picousd : PICOUSD_MAX);
}

static int64_t or_zero(int64_t units) {
        return units < 0 ? 0 : units;
}

/* A price for each request comes on top. */
static inline bool bill_close(struct bill *bill, const struct price *price, int64_t *out_picousd) {
        if (price->request > 0)
                bill_add(bill, price->request, 1);
        if (bill->known)
                *out_picousd = bill->picousd;
        return bill->known;
}

/* All of the input is said when any part of it is. */
static void bill_add_input(struct bill *bill, const struct price *price, const struct usage *usage) {
        if (usage->input_tokens < 0 && usage->cached_input_tokens < 0 && usage->cache_write_tokens < 0) {
                bill_add(bill, price->input, -1);
                return;
        }
        bill_add(bill, price->input, or_zero(usage->input_tokens));
        if (usage->cached_input_tokens > 0)
                bill_add(bill, price->cached_input < 0 ? price->input : price->cached_input,
                         usage->cached_input_tokens);
        if (usage->cache_write_tokens > 0)
                bill_add(bill, price->cache_write < 0 ? price->input : price->cache_write,
                         usage->cache_write_tokens);
}

static void bill_add_output(struct bill *bill, const struct price *price, const struct usage *usage) {
        int64_t reasoning = price->reasoning < 0 ? 0 : or_zero(usage->reasoning_tokens);
        if (reasoning == 0 || usage->output_tokens < 0) {
                bill_add(bill, price->output, usage->output_tokens);
                return;
        }
        reasoning = reasoning < usage->output_tokens ? reasoning : usage->output_tokens;
        bill_add(bill, price->reasoning, reasoning);
        bill_add(bill, price->output, usage->output_tokens - reasoning);
}

static void bill_add_tokens(struct bill *bill, const struct price *price, const struct usage *usage) {
        bill_add_input(bill, price, usage);
        bill_add_output(bill, price, usage);
}

/* Endpoints without output: billed by input, by search units, or by the request alone. */
static void bill_add_input_only(struct bill *bill, enum kind kind, const struct price *price,
                                const struct usage *usage) {
        bool by_search = kind == KIND_RERANK && price->search_unit >= 0;
        if (by_search)
                bill_add(bill, price->search_unit, usage->search_units);
        if (price->input >= 0)
                bill_add_input(bill, price, usage);
        else if (!by_search && price->request < 0)
                bill->known = false;
}

static void bill_add_listening(struct bill *bill, const struct price *price, const struct usage *usage) {
        bool tokens_said = usage->input_tokens >= 0 && usage->output_tokens >= 0;
        bool tokens_priced = price->input >= 0 && price->output >= 0;
        if (tokens_said && tokens_priced)
                bill_add_tokens(bill, price, usage);
        else
                bill_add_audio(bill, price->audio_minute, usage->audio_ms);
}

/*
 * By pieces (characters, images) where a piece has a price and they were counted, else by tokens where
 * these have one.
 */
static void bill_add_pieces(struct bill *bill, int64_t piece_price, int64_t pieces, const struct price *price,
                            const struct usage *usage) {
        bool tokens_priced = price->input >= 0 && price->output >= 0;
        if (tokens_priced && (piece_price < 0 || pieces < 0))
                bill_add_tokens(bill, price, usage);
        else
                bill_add(bill, piece_price, pieces);
}

void usage_init(struct usage *usage) {
        *usage = (struct usage){-1, -1, -1, -1, -1, -1, -1, -1, -1};
}

static void add_said(int64_t *total, int64_t units) {
        if (units >= 0)
                *total = money_add(or_zero(*total), units);
}

void usage_add(struct usage *total, const struct usage *usage) {
        add_said(&total->input_tokens, usage->input_tokens);
        add_said(&total->cached_input_tokens, usage->cached_input_tokens);
        add_said(&total->cache_write_tokens, usage->cache_write_tokens);
        add_said(&total->output_tokens, usage->output_tokens);
        add_said(&total->audio_ms, usage->audio_ms);
        add_said(&total->characters, usage->characters);
        add_said(&total->images, usage->images);
        add_said(&total->search_units, usage->search_units);
        add_said(&total->reasoning_tokens, usage->reasoning_tokens);
}

int64_t usage_input_tokens(const struct usage *usage) {
        int64_t total = -1;
        add_said(&total, usage->input_tokens);
        add_said(&total, usage->cached_input_tokens);
        add_said(&total, usage->cache_write_tokens);
        return total;
}

bool cost_of_usage(const struct price *price, enum kind kind, const struct usage *usage,
                   int64_t *out_picousd) {
        struct bill bill = {0, true};
        switch (kind) {
        case KIND_CHAT:
        case KIND_RESPONSES:
        case KIND_COMPLETIONS:
                bill_add_tokens(&bill, price, usage);
                break;
        case KIND_EMBEDDINGS:
        case KIND_MODERATIONS:
        case KIND_RERANK:
                bill_add_input_only(&bill, kind, price, usage);
                break;
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
                bill_add_listening(&bill, price, usage);
                break;
        case KIND_SPEECH:
                bill_add_pieces(&bill, price->character, usage->characters, price, usage);
                break;
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                bill_add_pieces(&bill, price->image, usage->images, price, usage);
                break;
        case KINDS_COUNT:
                return false;
        }
        return bill_close(&bill, price, out_picousd);
}

/* What the demand will use when all of `input_tokens` is fresh; -1 where it cannot be told. */
static struct usage usage_of_demand(const struct demand *demand, int64_t input_tokens, int64_t output_tokens,
                                    int64_t audio_ms) {
        struct usage usage;
        usage_init(&usage);
        usage.input_tokens = input_tokens;
        usage.output_tokens = output_tokens;
        usage.audio_ms = audio_ms;
        usage.characters = or_zero(demand->characters);
        usage.images = demand->images > 0 ? demand->images : 1;
        usage.search_units = demand->search_units > 0 ? demand->search_units : 1;
        /* Nobody says beforehand how many tokens a minute of audio makes: only minutes can tell. */
        if (demand->kind == KIND_TRANSCRIPTIONS || demand->kind == KIND_TRANSLATIONS)
                usage.input_tokens = usage.output_tokens = -1;
        return usage;
}

static inline int64_t output_tokens_ceiling(const struct endpoint *endpoint, const struct demand *demand,
                                            int64_t input_tokens) {
        if (demand->output_tokens_max >= 0)
                return demand->output_tokens_max;
        if (endpoint->output_max > 0)
                return endpoint->output_max;
        if (endpoint->context > 0)
                return endpoint->context > input_tokens ? endpoint->context - input_tokens : 0;
        return -1;
}

static inline int64_t expected_output(const struct endpoint *endpoint, const struct demand *demand,
                                      int64_t input_tokens, int64_t seen_tokens) {
        int64_t most = output_tokens_ceiling(endpoint, demand, input_tokens);
        return most < 0 || most > seen_tokens ? or_zero(seen_tokens) : most;
}

/*
 * The most that a token costs: of the input read anew, from a cache, or into one. What is unknown stays so.
 */
static inline int64_t dearest_input(const struct price *price) {
        int64_t dearest = price->cached_input > price->cache_write ? price->cached_input : price->cache_write;
        return price->input >= 0 && dearest > price->input ? dearest : price->input;
}

/* And of so much output: said, or all of it thought. */
static inline int64_t dearest_output(const struct price *price, int64_t output_tokens) {
        bool thought = price->output >= 0 && output_tokens > 0 && price->reasoning > price->output;
        return thought ? price->reasoning : price->output;
}

static inline bool is_rounded(int64_t price) {
        return price > 0 && !money_is_whole(price);
}

/*
 * Each part of a bill is rounded up, and input and output may be billed in more parts than the bound has:
 * read anew, from a cache and into one; thought and said.
 */
static inline int64_t rounding(const struct price *price) {
        bool any = is_rounded(price->input) || is_rounded(price->cached_input) ||
                   is_rounded(price->cache_write) || is_rounded(price->output) ||
                   is_rounded(price->reasoning);
        return any ? PARTS_MORE : 0;
}

/* Of what does not write. */
static bool cost_of_most(const struct price *price, const struct demand *demand, int64_t input_tokens,
                         int64_t output_tokens, int64_t *out_picousd) {
        struct usage usage = usage_of_demand(demand, input_tokens, output_tokens, demand->audio_ms);
        struct price dearest = *price;
        dearest.input = dearest_input(price);
        dearest.output = dearest_output(price, usage.output_tokens);
        return cost_of_usage(&dearest, demand->kind, &usage, out_picousd);
}

static inline bool ceiling_of_price(const struct price *price, const struct demand *demand,
                                    int64_t input_tokens, int64_t output_tokens, int64_t *out_picousd) {
        struct bill bill = {0, true};
        if (!kind_writes(demand->kind))
                return cost_of_most(price, demand, input_tokens, output_tokens, out_picousd);
        bill_add(&bill, dearest_input(price), input_tokens);
        bill_add(&bill, dearest_output(price, output_tokens), output_tokens);
        return bill_close(&bill, price, out_picousd);
}

bool cost_ceiling_until(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                        int64_t until_unix_ms, int64_t input_tokens, int64_t *out_picousd) {
        int64_t multiply = PRICE_MULTIPLY_ONE;
        if (endpoint->windows_count > 0)
                multiply = price_multiply_most(endpoint, now_unix_ms, until_unix_ms);
        int64_t output_tokens = output_tokens_ceiling(endpoint, demand, input_tokens);
        int64_t dearest = 0, cost = 0;
        /* The input is a bound, so a shorter one may find itself in any tier below. */
        for (unsigned tiers = 0; tiers <= price_tiers_reached(endpoint, input_tokens); tiers++) {
                struct price scratch;
                const struct price *price = price_of_tier(endpoint, tiers, multiply, &scratch);
                if (!ceiling_of_price(price, demand, input_tokens, output_tokens, &cost))
                        return false;
                cost = money_add(cost, rounding(price));
                dearest = cost > dearest ? cost : dearest;
        }
        *out_picousd = dearest;
        return true;
}

bool cost_ceiling_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                     int64_t input_tokens, int64_t *out_picousd) {
        return cost_ceiling_until(endpoint, demand, now_unix_ms, now_unix_ms, input_tokens, out_picousd);
}

bool cost_expected_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                      int64_t input_tokens, int64_t expected_output_tokens, int64_t *out_picousd) {
        return cost_expected_cached_at(endpoint, demand, now_unix_ms, input_tokens, 0, expected_output_tokens,
                                       out_picousd);
}

/* Of what does not write. */
static bool cost_of_expected(const struct price *price, const struct demand *demand, int64_t input_tokens,
                             int64_t cached_tokens, int64_t output_tokens, int64_t *out_picousd) {
        int64_t audio_ms = demand->audio_ms < 0 ? AUDIO_GUESS_MS : demand->audio_ms;
        struct usage usage = usage_of_demand(demand, input_tokens, output_tokens, audio_ms);
        if (usage.input_tokens > 0 && cached_tokens > 0) {
                usage.cached_input_tokens = cached_tokens;
                usage.input_tokens -= cached_tokens;
        }
        return cost_of_usage(price, demand->kind, &usage, out_picousd);
}

bool cost_expected_cached_at(const struct endpoint *endpoint, const struct demand *demand,
                             int64_t now_unix_ms, int64_t input_tokens, int64_t cached_tokens,
                             int64_t expected_output_tokens, int64_t *out_picousd) {
        struct bill bill = {0, true};
        struct price scratch;
        const struct price *price = price_at(endpoint, now_unix_ms, input_tokens, &scratch);
        int64_t output_tokens = expected_output(endpoint, demand, input_tokens, expected_output_tokens);
        cached_tokens = cached_tokens < input_tokens ? or_zero(cached_tokens) : input_tokens;
        if (!kind_writes(demand->kind))
                return cost_of_expected(price, demand, input_tokens, cached_tokens, output_tokens,
                                        out_picousd);
        bill_add(&bill, price->input, input_tokens - cached_tokens);
        if (cached_tokens > 0)
                bill_add(&bill, price->cached_input < 0 ? price->input : price->cached_input, cached_tokens);
        bill_add(&bill, price->output, output_tokens);
        return bill_close(&bill, price, out_picousd);
}

static bool is_plain(int64_t price, bool needed) {
        return price < 0 ? !needed : money_is_whole(price);
}

bool cost_is_plain(const struct endpoint *endpoint) {
        const struct price *price = &endpoint->price;
        return price_is_fixed(endpoint) && price->request <= 0 && is_plain(price->input, true) &&
               is_plain(price->output, true) && is_plain(price->cached_input, false) &&
               is_plain(price->cache_write, false) && is_plain(price->reasoning, false);
}

static inline wide plain_part(int64_t price, int64_t units) {
        return (wide)((uint64_t)price / MILLION) * (uint64_t)units;
}

static inline int64_t plain_sum(wide picousd) {
        return picousd < (wide)PICOUSD_MAX ? (int64_t)picousd : PICOUSD_MAX;
}

struct cost_bounds cost_plain(const struct endpoint *endpoint, const struct demand *demand,
                              const struct cost_tokens *tokens) {
        const struct price *price = &endpoint->price;
        int64_t most = output_tokens_ceiling(endpoint, demand, tokens->input_most);
        int64_t output = expected_output(endpoint, demand, tokens->input, tokens->output);
        int64_t output_price = dearest_output(price, most);
        wide expected = plain_part(price->output, output), ceiling = 0;
        if (tokens->cached > 0) {
                int64_t cached = tokens->cached < tokens->input ? tokens->cached : tokens->input;
                expected += plain_part(price->cached_input < 0 ? price->input : price->cached_input, cached);
                expected += plain_part(price->input, tokens->input - cached);
        } else {
                expected += plain_part(price->input, tokens->input);
        }
        if (most > 0)
                ceiling = plain_part(output_price, most);
        ceiling += plain_part(dearest_input(price), tokens->input_most);
        return (struct cost_bounds){plain_sum(expected), plain_sum(ceiling), most >= 0 || output_price == 0};
}

bool cost_ceiling(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                  int64_t *out_picousd) {
        return cost_ceiling_at(endpoint, demand, now_unix_ms, demand->input_tokens, out_picousd);
}

bool cost_expected(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                   int64_t expected_output_tokens, int64_t *out_picousd) {
        return cost_expected_at(endpoint, demand, now_unix_ms, demand->input_tokens, expected_output_tokens,
                                out_picousd);
}
