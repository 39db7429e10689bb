#include "broker/sim/answer.h"

#include "broker/base/money.h"
#include "broker/sim/hash.h"

#include <string.h>

#define ANSWER_BYTES_MAX   ((size_t)1 << 30)
#define ECHO_BYTES_MAX     32
#define CREATED_UNIX_FIRST INT64_C(1760000000)
#define CREATED_SPAN       10000000

__extension__ typedef __int128 wide;

const struct sim_usage_words sim_usage_prompt = {"prompt_tokens", "completion_tokens", "total_tokens",
                                                 "prompt_tokens_details", "completion_tokens_details"};
const struct sim_usage_words sim_usage_input = {"input_tokens", "output_tokens", "total_tokens",
                                                "input_tokens_details", "output_tokens_details"};
const struct sim_usage_words sim_usage_no_output = {"prompt_tokens", NULL, "total_tokens", NULL, NULL};

void sim_answer_init(struct sim_answer *answer) {
        *answer = (struct sim_answer){.content_type = "application/json"};
        buffer_init(&answer->body, ANSWER_BYTES_MAX);
}

void sim_answer_deinit(struct sim_answer *answer) {
        buffer_deinit(&answer->body);
}

static const struct sim_tier *tier_of(const struct sim_order *order) {
        const struct sim_prices *prices = &order->settings->prices;
        struct bytes wanted = sim_request_text(order->request, "service_tier");

        for (size_t i = 0; i < prices->tiers_count; i++)
                if (bytes_equal_string(wanted, prices->tiers[i].name))
                        return &prices->tiers[i];
        return NULL;
}

static int64_t share_of(int64_t tokens, int64_t share_picos) {
        return (int64_t)((wide)tokens * share_picos / PICOUSD_PER_USD);
}

/* Of so many tokens, at the tier's price per million; both are rounded up. */
static void bill(struct sim_answer *answer, int64_t price_picousd, int64_t tokens) {
        wide price = price_picousd;

        if (answer->tier != NULL)
                price = (price * answer->tier->share_picos + PICOUSD_PER_USD - 1) / PICOUSD_PER_USD;
        answer->cost_picousd =
                money_add(answer->cost_picousd,
                          money_per_million(price < PICOUSD_MAX ? (int64_t)price : PICOUSD_MAX, tokens));
}

void sim_answer_bill(const struct sim_order *order, int64_t prompt_tokens, int64_t completion_tokens,
                     struct sim_answer *answer) {
        const struct sim_prices *prices = &order->settings->prices;

        answer->prompt_tokens = prompt_tokens;
        answer->completion_tokens = completion_tokens;
        answer->tier = tier_of(order);
        answer->cost_picousd = 0;
        bill(answer, prices->input_picousd,
             prompt_tokens - answer->prompt_audio_tokens - answer->prompt_cached_tokens);
        bill(answer, prices->audio_input_picousd, answer->prompt_audio_tokens);
        bill(answer, prices->cached_input_picousd, answer->prompt_cached_tokens);
        bill(answer, prices->output_picousd,
             completion_tokens - answer->completion_audio_tokens - answer->completion_reasoning_tokens);
        bill(answer, prices->audio_output_picousd, answer->completion_audio_tokens);
        bill(answer, prices->reasoning_picousd, answer->completion_reasoning_tokens);
}

void sim_answer_bill_parts(const struct sim_order *order, int64_t completion_tokens,
                           int64_t completion_audio_tokens, struct sim_answer *answer) {
        answer->prompt_audio_tokens = order->request->audio_tokens;
        answer->completion_audio_tokens = completion_audio_tokens;
        answer->prompt_cached_tokens = share_of(order->request->prompt_tokens - answer->prompt_audio_tokens,
                                                order->settings->cached_share_picos);
        answer->completion_reasoning_tokens =
                share_of(completion_tokens - completion_audio_tokens, order->settings->reasoning_share_picos);
        sim_answer_bill(order, order->request->prompt_tokens, completion_tokens, answer);
}

void sim_answer_tier(const struct sim_order *order, struct sim_answer *answer) {
        if (sim_request_text(order->request, "service_tier").size > 0)
                buffer_printf(&answer->body, ",\"service_tier\":\"%s\"",
                              answer->tier == NULL ? "default" : answer->tier->name);
}

/* "NAME":COUNT with a comma, bent as the fault says. */
static void append_count(const struct sim_order *order, const char *name, int64_t count,
                         struct buffer *body) {
        double lie;

        if (name == NULL)
                return;
        buffer_append_char(body, '"');
        buffer_append_string(body, name);
        buffer_append_string(body, "\":");
        switch ((int)order->fault.kind) {
        case SIM_FAULT_USAGE_ZERO:
                buffer_append_char(body, '0');
                break;
        case SIM_FAULT_USAGE_NEGATIVE:
                buffer_append_i64(body, -count - 1);
                break;
        case SIM_FAULT_USAGE_HUGE:
                buffer_append_string(body, "9223372036854775808"); /* 2^63 */
                break;
        case SIM_FAULT_USAGE_LIE:
                lie = (double)count * order->fault.parameter;
                buffer_append_i64(body, lie < 9e18 ? (int64_t)lie : INT64_MAX);
                break;
        default:
                buffer_append_i64(body, count);
        }
        buffer_append_char(body, ',');
}

/* "NAME":{"text_tokens":…,"audio_tokens":…,PART:…} with a comma, when there is any of these two. */
static void append_details(const struct sim_order *order, const char *name, int64_t all, int64_t audio,
                           const char *part, int64_t tokens, struct buffer *body) {
        if (name == NULL || (audio == 0 && tokens == 0))
                return;
        buffer_printf(body, "\"%s\":{", name);
        append_count(order, "text_tokens", all - audio, body);
        append_count(order, "audio_tokens", audio, body);
        append_count(order, part, tokens, body);
        body->size--; /* the last comma */
        buffer_append_string(body, "},");
}

static void append_cost_and_close(const struct sim_order *order, struct sim_answer *answer) {
        if (order->settings->report_cost) {
                buffer_append_string(&answer->body, "\"cost\":");
                money_append(&answer->body, answer->cost_picousd);
        } else {
                answer->body.size--; /* the last comma */
        }
        buffer_append_char(&answer->body, '}');
}

void sim_answer_usage(const struct sim_order *order, const struct sim_usage_words *words,
                      struct sim_answer *answer) {
        struct buffer *body = &answer->body;

        if (order->fault.kind == SIM_FAULT_USAGE_ABSENT)
                return;
        buffer_append_string(body, ",\"usage\":{");
        append_count(order, words->input, answer->prompt_tokens, body);
        append_count(order, words->output, answer->completion_tokens, body);
        append_count(order, words->total, answer->prompt_tokens + answer->completion_tokens, body);
        append_details(order, words->input_details, answer->prompt_tokens, answer->prompt_audio_tokens,
                       "cached_tokens", answer->prompt_cached_tokens, body);
        append_details(order, words->output_details, answer->completion_tokens,
                       answer->completion_audio_tokens, "reasoning_tokens",
                       answer->completion_reasoning_tokens, body);
        append_cost_and_close(order, answer);
}

void sim_answer_usage_seconds(const struct sim_order *order, int64_t duration_ms, struct sim_answer *answer) {
        if (order->fault.kind == SIM_FAULT_USAGE_ABSENT)
                return;
        buffer_append_string(&answer->body, ",\"usage\":{\"type\":\"duration\",");
        append_count(order, "seconds", (duration_ms + 999) / 1000, &answer->body);
        append_cost_and_close(order, answer);
}

void sim_answer_id(const struct sim_order *order, const char *prefix, struct sim_answer *answer) {
        uint8_t id[12];
        struct key128 content = order->request->content;

        memcpy(id, &content.hi, 8);
        memcpy(id + 8, &content.lo, 4);
        buffer_append_string(&answer->body, "\"id\":\"");
        buffer_append_string(&answer->body, prefix);
        buffer_append_hex(&answer->body, id, sizeof(id));
        buffer_append_char(&answer->body, '"');
}

int64_t sim_answer_created(const struct sim_order *order) {
        return CREATED_UNIX_FIRST + (int64_t)(order->request->content.lo % CREATED_SPAN);
}

void sim_answer_prng(const struct sim_order *order, struct prng *out_prng) {
        prng_init(out_prng, sim_hash_mix(order->settings->seed, order->request->content.hi));
}

/* Up to so many bytes from the start, not inside a character. */
static void append_echo(struct bytes text, size_t bytes_max, struct buffer *out_text) {
        size_t size = text.size < bytes_max ? text.size : bytes_max;

        while (size > 0 && size < text.size && ((unsigned char)text.data[size] & 0xc0) == 0x80)
                size--;
        buffer_append(out_text, text.data, size);
}

void sim_answer_text(uint64_t seed, struct bytes echo, size_t bytes, struct buffer *out_text) {
        static const char *const words[] = {
                "cargo",  "river",   "lamp",   "stone",  "paper",  "cloud",  "harbor", "signal",
                "garden", "winter",  "copper", "table",  "north",  "quiet",  "early",  "seven",
                "bridge", "window",  "orange", "summer", "letter", "market", "engine", "silver",
                "island", "morning", "candle", "meadow", "thread", "velvet", "anchor", "barrel",
        };
        uint64_t state = seed;
        size_t start = out_text->size;

        if (!buffer_reserve(out_text, bytes + 64))
                return;
        buffer_append_hex(out_text, (const uint8_t *)&state, 4);
        if (echo.size > 0) {
                buffer_append_char(out_text, ' ');
                append_echo(echo, ECHO_BYTES_MAX, out_text);
        }
        while (out_text->size - start < bytes) {
                buffer_append_char(out_text, ' ');
                buffer_append_string(out_text, words[state >> 59]);
                state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        }
        out_text->size = start + bytes;
        while (bytes > 0 && ((unsigned char)out_text->data[start + bytes] & 0xc0) == 0x80)
                out_text->size = start + --bytes;
}
