/* Chat, responses and completions: text out of text. */
#include "broker/sim/answer_text.h"

#include "broker/sim/answer.h"
#include "broker/sim/answer_audio.h"
#include "broker/sim/hash.h"

#define BYTES_PER_TOKEN 4
#define CHOICES_MAX     128

struct reply {
        int64_t tokens, audio_tokens; /* all, and which of them are sound */
        bool capped;
        const char *refusal; /* NULL: the text itself */
        bool filtered;
};

static struct reply plan_reply(const struct sim_order *order) {
        const struct sim_request *request = order->request;
        struct reply reply = {0};
        struct prng prng;

        sim_answer_prng(order, &prng);
        reply.tokens = (int64_t)(sim_distribution_draw(&order->settings->reply_tokens, &prng) + 0.5);
        if (reply.tokens < 1)
                reply.tokens = 1;
        if (request->output_max >= 0 && reply.tokens > request->output_max) {
                reply.tokens = request->output_max;
                reply.capped = true;
        }
        if (order->fault.kind == SIM_FAULT_REFUSAL)
                reply.refusal = "I'm sorry, but I can't help with that.";
        reply.filtered = order->fault.kind == SIM_FAULT_CONTENT_FILTER;
        if (reply.filtered)
                reply.tokens = 0;
        if (request->speaks && request->endpoint == SIM_ENDPOINT_CHAT && reply.refusal == NULL)
                reply.audio_tokens = reply.tokens - reply.tokens / 5;
        return reply;
}

static const char *finish_reason(const struct reply *reply) {
        return reply->filtered ? "content_filter" : reply->capped ? "length" : "stop";
}

static void reply_text(const struct sim_order *order, const struct reply *reply, uint64_t variant,
                       struct buffer *out_text) {
        buffer_init(out_text, (size_t)1 << 28);
        sim_answer_text(sim_hash_mix(order->request->content.hi, variant), order->request->prefix,
                        (size_t)reply->tokens * BYTES_PER_TOKEN, out_text);
}

/* The text as the inside of a JSON string. */
static void append_reply(const struct sim_order *order, const struct reply *reply, uint64_t variant,
                         struct buffer *body) {
        struct buffer text;

        reply_text(order, reply, variant, &text);
        buffer_append_json_escaped(body, buffer_view(&text));
        buffer_deinit(&text);
}

/* ,"message":{…} with sound, and what it says as text beside it. */
static void append_voice(const struct sim_order *order, const struct reply *reply, uint64_t variant,
                         struct buffer *body) {
        struct buffer text, voice;

        reply_text(order, reply, variant, &text);
        buffer_init(&voice, (size_t)1 << 28);
        sim_answer_append_voice(buffer_view(&text), reply->audio_tokens, &voice);
        buffer_append_string(body, ",\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":null,"
                                   "\"audio\":{\"data\":\"");
        buffer_append_base64(body, voice.data, voice.size);
        buffer_append_string(body, "\",\"transcript\":\"");
        buffer_append_json_escaped(body, buffer_view(&text));
        buffer_append_string(body, "\"}}");
        buffer_deinit(&text);
        buffer_deinit(&voice);
}

static void append_head(const struct sim_order *order, const char *prefix, const char *object,
                        const char *created, struct sim_answer *answer) {
        struct buffer *body = &answer->body;

        buffer_reserve(body, 1024);
        buffer_append_char(body, '{');
        sim_answer_id(order, prefix, answer);
        buffer_append_string(body, ",\"object\":\"");
        buffer_append_string(body, object);
        buffer_append_string(body, "\",\"");
        buffer_append_string(body, created);
        buffer_append_string(body, "\":");
        buffer_append_i64(body, sim_answer_created(order));
        buffer_append_string(body, ",\"model\":\"");
        buffer_append_json_escaped(body, order->request->model);
        buffer_append_char(body, '"');
}

static int64_t choices_of(const struct sim_order *order) {
        int64_t n = sim_request_integer(order->request, "n", 1);

        return n < 1 ? 1 : n > CHOICES_MAX ? CHOICES_MAX : n;
}

static void append_choice(const struct sim_order *order, const struct reply *reply, int64_t index, bool chat,
                          struct buffer *body) {
        buffer_append_string(body, index == 0 ? "{\"index\":" : ",{\"index\":");
        buffer_append_i64(body, index);
        if (chat && reply->refusal != NULL) {
                buffer_append_string(body,
                                     ",\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":\"");
                buffer_append_string(body, reply->refusal);
                buffer_append_string(body, "\"}");
        } else if (reply->audio_tokens > 0) {
                append_voice(order, reply, (uint64_t)index, body);
        } else {
                buffer_append_string(body, chat ? ",\"message\":{\"role\":\"assistant\",\"content\":\""
                                                : ",\"text\":\"");
                append_reply(order, reply, (uint64_t)index, body);
                buffer_append_string(body, chat ? "\",\"refusal\":null}" : "\"");
        }
        buffer_append_string(body, ",\"logprobs\":null,\"finish_reason\":\"");
        buffer_append_string(body, finish_reason(reply));
        buffer_append_string(body, "\"}");
}

static void answer_choices(const struct sim_order *order, bool chat, struct sim_answer *answer) {
        struct reply reply = plan_reply(order);
        int64_t choices = choices_of(order);

        sim_answer_bill_parts(order, reply.tokens * choices, reply.audio_tokens * choices, answer);
        append_head(order, chat ? "chatcmpl-" : "cmpl-", chat ? "chat.completion" : "text_completion",
                    "created", answer);
        buffer_append_string(&answer->body, ",\"choices\":[");
        for (int64_t i = 0; i < choices; i++)
                append_choice(order, &reply, i, chat, &answer->body);
        buffer_append_char(&answer->body, ']');
        sim_answer_tier(order, answer);
        sim_answer_usage(order, &sim_usage_prompt, answer);
        buffer_append_char(&answer->body, '}');
}

void sim_answer_chat(const struct sim_order *order, struct sim_answer *answer) {
        answer_choices(order, true, answer);
}

void sim_answer_completion(const struct sim_order *order, struct sim_answer *answer) {
        answer_choices(order, false, answer);
}

static void append_status(const struct reply *reply, struct buffer *body) {
        const char *reason = reply->filtered ? "content_filter" : "max_output_tokens";

        if (reply->filtered || reply->capped)
                buffer_printf(body, ",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"%s\"}",
                              reason);
        else
                buffer_append_string(body, ",\"status\":\"completed\",\"incomplete_details\":null");
}

void sim_answer_response(const struct sim_order *order, struct sim_answer *answer) {
        struct reply reply = plan_reply(order);
        struct buffer *body = &answer->body;

        sim_answer_bill_parts(order, reply.tokens, 0, answer);
        append_head(order, "resp_", "response", "created_at", answer);
        append_status(&reply, body);
        buffer_append_string(body, ",\"error\":null,\"output\":[{\"type\":\"message\",");
        sim_answer_id(order, "msg_", answer);
        buffer_append_string(body, ",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[");
        if (reply.refusal != NULL) {
                buffer_printf(body, "{\"type\":\"refusal\",\"refusal\":\"%s\"}", reply.refusal);
        } else {
                buffer_append_string(body, "{\"type\":\"output_text\",\"annotations\":[],\"text\":\"");
                append_reply(order, &reply, 0, body);
                buffer_append_string(body, "\"}");
        }
        buffer_append_string(body, "]}]");
        sim_answer_tier(order, answer);
        sim_answer_usage(order, &sim_usage_input, answer);
        buffer_append_char(body, '}');
}
