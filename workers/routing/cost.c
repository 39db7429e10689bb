/*
 * See the header. A bill adds up parts; it stays known only while every part is. A part is a price and how
 * many units of it were used; where the price is 0 nobody needs to know how many.
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

static void bill_add(struct bill *bill, int64_t price, int64_t units) {
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

/* Tokens of sound or of pictures, where a price or an answer tells them from text. */
enum medium {
        MEDIUM_APART, /* nobody knows what they cost where their price is not known */
        MEDIUM_PLAIN, /* there they cost what text costs */
        MEDIUM_WHOLE, /* so there, and all tokens are of it unless the answer says otherwise */
};

static enum medium audio_of_input(enum kind kind) {
        return kind_listens(kind) ? MEDIUM_WHOLE : MEDIUM_APART;
}

static enum medium audio_of_output(enum kind kind) {
        return kind == KIND_SPEECH ? MEDIUM_WHOLE : MEDIUM_APART;
}

static enum medium images_of_output(enum kind kind) {
        return kind_paints(kind) ? MEDIUM_WHOLE : MEDIUM_APART;
}

/* Adds those of `all` tokens that are billed as a medium; gives how many. */
static int64_t bill_add_medium(struct bill *bill, enum medium medium, int64_t price, int64_t said,
                               int64_t all) {
        if (price == PRICE_UNKNOWN) {
                bill->known = bill->known && (said <= 0 || medium != MEDIUM_APART);
                return 0;
        }
        if (said < 0)
                said = medium == MEDIUM_WHOLE ? all : 0;
        said = said < all ? said : all;
        bill_add(bill, price, said);
        return said;
}

/*
 * All of the input is said when any part of it is. Nobody says which of the tokens from a cache are sound or
 * pictures: those are taken for what was read anew, as far as there is any.
 */
static void bill_add_input(struct bill *bill, enum kind kind, const struct price *price,
                           const struct usage *usage) {
        const int64_t prices[] = {price->input, price->cached_input < 0 ? price->input : price->cached_input,
                                  price->cache_write < 0 ? price->input : price->cache_write};
        int64_t all = usage_input_tokens(usage);
        int64_t tokens[] = {or_zero(usage->input_tokens), or_zero(usage->cached_input_tokens),
                            or_zero(usage->cache_write_tokens)};
        if (all < 0) {
                bill_add(bill, price->input, -1);
                return;
        }
        int64_t apart = bill_add_medium(bill, audio_of_input(kind), price->audio_input,
                                        usage->audio_input_tokens, all);
        apart += bill_add_medium(bill, MEDIUM_PLAIN, price->image_input, usage->image_input_tokens,
                                 all - apart);
        bool none = apart == 0;
        for (int i = 0; i < 3; i++) {
                int64_t less = tokens[i] < apart ? tokens[i] : apart;
                tokens[i] -= less;
                apart -= less;
                if (tokens[i] > 0 || (i == 0 && none))
                        bill_add(bill, prices[i], tokens[i]);
        }
}

static void bill_add_output(struct bill *bill, enum kind kind, const struct price *price,
                            const struct usage *usage) {
        int64_t all = usage->output_tokens;
        if (all < 0) {
                bill_add(bill, price->output, -1);
                return;
        }
        int64_t rest = all - bill_add_medium(bill, audio_of_output(kind), price->audio_output,
                                             usage->audio_output_tokens, all);
        rest -= bill_add_medium(bill, images_of_output(kind), price->image_output, usage->image_output_tokens,
                                rest);
        int64_t reasoning = price->reasoning < 0 ? 0 : or_zero(usage->reasoning_tokens);
        reasoning = reasoning < rest ? reasoning : rest;
        if (reasoning > 0)
                bill_add(bill, price->reasoning, reasoning);
        if (rest > reasoning || rest == all)
                bill_add(bill, price->output, rest - reasoning);
}

static void bill_add_tokens(struct bill *bill, enum kind kind, const struct price *price,
                            const struct usage *usage) {
        bill_add_input(bill, kind, price, usage);
        bill_add_output(bill, kind, price, usage);
}

static bool tokens_priced(enum kind kind, const struct price *price) {
        bool input = price->input >= 0 || (kind_listens(kind) && price->audio_input >= 0);
        bool output = price->output >= 0 || (kind == KIND_SPEECH && price->audio_output >= 0) ||
                      (kind_paints(kind) && price->image_output >= 0);
        return input && output;
}

/* Endpoints without output: billed by input, by search units, or by the request alone. */
static void bill_add_input_only(struct bill *bill, enum kind kind, const struct price *price,
                                const struct usage *usage) {
        bool by_search = kind == KIND_RERANK && price->search_unit >= 0;
        if (by_search)
                bill_add(bill, price->search_unit, usage->search_units);
        if (price->input >= 0)
                bill_add_input(bill, kind, price, usage);
        else if (!by_search && price->request < 0)
                bill->known = false;
}

static void bill_add_listening(struct bill *bill, enum kind kind, const struct price *price,
                               const struct usage *usage) {
        bool tokens_said = usage->input_tokens >= 0 && usage->output_tokens >= 0;
        if (tokens_said && tokens_priced(kind, price))
                bill_add_tokens(bill, kind, price, usage);
        else
                bill_add_audio(bill, price->audio_minute, usage->audio_ms);
}

/*
 * By pieces (characters, images) where a piece has a price and they were counted, else by tokens where
 * these have one.
 */
static void bill_add_pieces(struct bill *bill, enum kind kind, int64_t piece_price, int64_t pieces,
                            const struct price *price, const struct usage *usage) {
        if (tokens_priced(kind, price) && (piece_price < 0 || pieces < 0))
                bill_add_tokens(bill, kind, price, usage);
        else
                bill_add(bill, piece_price, pieces);
}

void usage_init(struct usage *usage) {
        *usage = (struct usage){
#define USAGE_FIELD(member, text) .member = -1,
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
                .audio_ms = -1,
        };
}

static void add_said(int64_t *total, int64_t units) {
        if (units >= 0)
                *total = money_add(or_zero(*total), units);
}

void usage_add(struct usage *total, const struct usage *usage) {
#define USAGE_FIELD(member, text) add_said(&total->member, usage->member);
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        add_said(&total->audio_ms, usage->audio_ms);
}

enum service_tier usage_service(const struct usage *usage, const struct demand *demand) {
        return usage->served ? usage->service : demand->service;
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
                bill_add_tokens(&bill, kind, price, usage);
                break;
        case KIND_EMBEDDINGS:
        case KIND_MODERATIONS:
        case KIND_RERANK:
                bill_add_input_only(&bill, kind, price, usage);
                break;
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
                bill_add_listening(&bill, kind, price, usage);
                break;
        case KIND_SPEECH:
                bill_add_pieces(&bill, kind, price->character, usage->characters, price, usage);
                break;
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                bill_add_pieces(&bill, kind, price->image, usage->images, price, usage);
                break;
        case KINDS_COUNT:
                return false;
        }
        if (price->request > 0)
                bill_add(&bill, price->request, 1);
        if (bill.known)
                *out_picousd = bill.picousd;
        return bill.known;
}

static bool takes(const struct demand *demand, uint32_t modalities) {
        return (demand->input_modalities & modalities) != 0;
}

static bool gives(const struct demand *demand, uint32_t modalities) {
        return (demand->output_modalities & modalities) != 0;
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
        if (kind_listens(demand->kind))
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

/* A part of the tokens of one side, and whether the job may have any. */
struct part {
        int64_t price, *tokens;
        bool may;
};

/* All tokens are of the part that costs the most; NULL: they are of none, as none costs more than `most`. */
static const struct part *take_dearest(const struct part *parts, size_t count, int64_t most, int64_t all) {
        const struct part *dearest = NULL;
        for (size_t i = 0; i < count; i++) {
                *parts[i].tokens = 0;
                if (!parts[i].may || parts[i].price <= most)
                        continue;
                most = parts[i].price;
                dearest = &parts[i];
        }
        if (dearest)
                *dearest->tokens = all;
        return dearest;
}

/*
 * All of the input where a token costs the most: read anew, from a cache, into one, as sound or as a picture.
 * false: a part that the job is sure to have has no price.
 */
static bool usage_take_input(struct usage *usage, const struct price *price, const struct demand *demand,
                             int64_t input_tokens) {
        const struct part parts[] = {
                {price->cache_write, &usage->cache_write_tokens, true},
                {price->cached_input, &usage->cached_input_tokens, true},
                {price->audio_input, &usage->audio_input_tokens,
                 takes(demand, MODALITY_BIT(AUDIO) | MODALITY_BIT(VIDEO))},
                {price->image_input, &usage->image_input_tokens,
                 takes(demand, MODALITY_BIT(IMAGE) | MODALITY_BIT(VIDEO) | MODALITY_BIT(FILE))},
        };
        if (input_tokens < 0)
                return true;
        if (price->input < 0 || (takes(demand, MODALITY_BIT(AUDIO)) && price->audio_input < 0))
                return price->input < 0;
        const struct part *dearest =
                take_dearest(parts, sizeof parts / sizeof *parts, price->input, input_tokens);
        usage->input_tokens = dearest == &parts[0] || dearest == &parts[1] ? 0 : input_tokens;
        return true;
}

/*
 * And of the output: said, thought, as sound, or as pictures, which a model that gives any may give unasked.
 */
static bool usage_take_output(struct usage *usage, const struct price *price, const struct endpoint *endpoint,
                              const struct demand *demand) {
        bool audio = gives(demand, MODALITY_BIT(AUDIO)), images = gives(demand, MODALITY_BIT(IMAGE));
        const struct part parts[] = {
                {price->reasoning, &usage->reasoning_tokens, true},
                {price->audio_output, &usage->audio_output_tokens, audio},
                {price->image_output, &usage->image_output_tokens,
                 images || (endpoint->output_modalities & MODALITY_BIT(IMAGE)) != 0},
        };
        if ((audio && price->audio_output < 0 && audio_of_output(demand->kind) == MEDIUM_APART) ||
            (images && price->image_output < 0 && images_of_output(demand->kind) == MEDIUM_APART))
                return false;
        const struct part *dearest =
                take_dearest(parts, sizeof parts / sizeof *parts, price->output, usage->output_tokens);
        return usage->output_tokens >= 0 || !dearest || !kind_writes(demand->kind);
}

/*
 * Each part of a bill is rounded up, and input and output may be billed in more parts than the bound has:
 * read anew, from a cache and into one; thought and said; and as what else has a price.
 */
static int64_t rounding(const struct price *price) {
        const int64_t parts[] = {price->input,       price->cached_input, price->cache_write,
                                 price->output,      price->reasoning,    price->audio_input,
                                 price->image_input, price->audio_output, price->image_output};
        const size_t plain = 5;
        int64_t more = PARTS_MORE;
        bool any = false;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                any = any || (parts[i] > 0 && parts[i] % MILLION != 0);
                more += i >= plain && parts[i] > 0;
        }
        return any ? more : 0;
}

/* The most that one call can cost at that price; false: not known. */
static bool most_at(const struct price *price, const struct endpoint *endpoint, const struct demand *demand,
                    struct usage *usage, int64_t *dearest) {
        int64_t cost = 0;
        if (!usage_take_input(usage, price, demand, usage_input_tokens(usage)) ||
            !usage_take_output(usage, price, endpoint, demand) ||
            !cost_of_usage(price, demand->kind, usage, &cost))
                return false;
        cost = money_add(cost, rounding(price));
        *dearest = cost > *dearest ? cost : *dearest;
        return true;
}

bool cost_ceiling_until(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                        int64_t until_unix_ms, int64_t input_tokens, int64_t *out_picousd) {
        int64_t multiply = PRICE_MULTIPLY_ONE, dearest = 0;
        if (endpoint->windows_count > 0)
                multiply = price_multiply_most(endpoint, now_unix_ms, until_unix_ms);
        int64_t output_tokens = output_tokens_ceiling(endpoint, demand, input_tokens);
        struct usage usage = usage_of_demand(demand, input_tokens, output_tokens, demand->audio_ms);
        /*
         * The input is a bound, so a shorter one may find itself in any tier below; and who asks for another
         * tier of service may be served at the standard one.
         */
        for (unsigned tiers = 0; tiers <= price_tiers_reached(endpoint, input_tokens); tiers++) {
                struct price scratch;
                if (!most_at(price_of_tier(endpoint, SERVICE_STANDARD, tiers, multiply, &scratch), endpoint,
                             demand, &usage, &dearest))
                        return false;
                if (demand->service != SERVICE_STANDARD &&
                    !most_at(price_of_tier(endpoint, demand->service, tiers, multiply, &scratch), endpoint,
                             demand, &usage, &dearest))
                        return false;
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

/* Of so many tokens of input those that are of the part that the demand says. */
static int64_t part_of(int64_t part, int64_t input_tokens, const struct demand *demand) {
        if (part <= 0 || demand->input_tokens <= 0)
                return 0;
        wide tokens = ((wide)part * (wide)input_tokens + (wide)demand->input_tokens - 1) /
                      (wide)demand->input_tokens;
        return tokens < (wide)input_tokens ? (int64_t)tokens : input_tokens;
}

bool cost_expected_cached_at(const struct endpoint *endpoint, const struct demand *demand,
                             int64_t now_unix_ms, int64_t input_tokens, int64_t cached_tokens,
                             int64_t expected_output_tokens, int64_t *out_picousd) {
        int64_t output_tokens = output_tokens_ceiling(endpoint, demand, input_tokens);
        if (output_tokens < 0 || output_tokens > expected_output_tokens)
                output_tokens = or_zero(expected_output_tokens);
        int64_t audio_ms = demand->audio_ms < 0 ? AUDIO_GUESS_MS : demand->audio_ms;
        struct usage usage = usage_of_demand(demand, input_tokens, output_tokens, audio_ms);
        if (usage.input_tokens > 0) {
                int64_t audio = part_of(demand->audio_tokens, input_tokens, demand);
                usage.audio_input_tokens = audio == 0 && takes(demand, MODALITY_BIT(AUDIO)) ? 1 : audio;
                usage.image_input_tokens = part_of(demand->image_tokens, input_tokens, demand);
        }
        if (usage.output_tokens >= 0 && demand->kind != KIND_SPEECH && !kind_paints(demand->kind)) {
                usage.audio_output_tokens = gives(demand, MODALITY_BIT(AUDIO)) ? output_tokens : 0;
                usage.image_output_tokens = gives(demand, MODALITY_BIT(IMAGE)) ? output_tokens : 0;
        }
        if (usage.input_tokens > 0 && cached_tokens > 0) {
                usage.cached_input_tokens = cached_tokens < input_tokens ? cached_tokens : input_tokens;
                usage.input_tokens -= usage.cached_input_tokens;
        }
        struct price scratch;
        return cost_of_usage(price_at(endpoint, demand->service, now_unix_ms, input_tokens, &scratch),
                             demand->kind, &usage, out_picousd);
}

static bool is_plain(int64_t price, bool needed) {
        return price < 0 ? !needed : money_is_whole(price) && price / MILLION <= UINT32_MAX;
}

/* Text alone, or what costs as text does, at the standard tier of service. */
static bool is_plain_demand(const struct demand *demand) {
        const uint32_t text = MODALITY_BIT(TEXT);
        return kind_writes(demand->kind) && demand->service == SERVICE_STANDARD &&
               (demand->input_modalities & ~text) == 0 && (demand->output_modalities & ~text) == 0;
}

static bool is_plain_price(const struct price *price) {
        return is_plain(price->audio_input, false) && is_plain(price->image_input, false) &&
               is_plain(price->audio_output, false) && is_plain(price->image_output, false) &&
               price->request <= 0 && is_plain(price->input, true) && is_plain(price->output, true) &&
               is_plain(price->cached_input, false) && is_plain(price->cache_write, false) &&
               is_plain(price->reasoning, false);
}

static uint32_t rate_of(int64_t price, uint32_t otherwise) {
        return price < 0 ? otherwise : (uint32_t)(price / MILLION);
}

static uint32_t dearer(int64_t price, uint32_t rate) {
        uint32_t other = rate_of(price, 0);
        return other > rate ? other : rate;
}

/*
 * The most that a token costs: of the input read anew, from a cache, or into one; and of the output said, or
 * thought.
 */
bool cost_rates_at(const struct endpoint *endpoint, const struct demand *demand, int64_t now_unix_ms,
                   struct cost_rates *out_rates) {
        struct price scratch;
        if (!is_plain_demand(demand) || (endpoint->output_modalities & MODALITY_BIT(IMAGE)) != 0 ||
            (uint64_t)endpoint->context > COST_TOKENS_MAX || (uint64_t)endpoint->output_max > COST_TOKENS_MAX)
                return false;
        const struct price *price = price_of_tier(endpoint, SERVICE_STANDARD, 0,
                                                  price_multiply_at(endpoint, now_unix_ms), &scratch);
        if (!is_plain_price(price))
                return false;
        *out_rates = (struct cost_rates){.input = rate_of(price->input, 0),
                                         .output = rate_of(price->output, 0),
                                         .context = (uint32_t)endpoint->context,
                                         .output_max = (uint32_t)endpoint->output_max,
                                         .input_limit = (uint32_t)COST_TOKENS_MAX};
        out_rates->cached_input = rate_of(price->cached_input, out_rates->input);
        out_rates->input_most = dearer(price->cache_write, dearer(price->cached_input, out_rates->input));
        out_rates->output_most = dearer(price->reasoning, out_rates->output);
        if (endpoint->tiers_count > 0 && endpoint->tiers[0].above_input < COST_TOKENS_MAX)
                out_rates->input_limit = (uint32_t)endpoint->tiers[0].above_input;
        return true;
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
