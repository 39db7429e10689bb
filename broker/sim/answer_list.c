#include "broker/sim/answer_list.h"

#include "broker/sim/answer.h"
#include "broker/sim/hash.h"

#include <stdlib.h>
#include <yyjson.h>

struct ranked {
        size_t index;
        uint32_t score; /* in 1e-6 */
};

static int by_score(const void *a, const void *b) {
        const struct ranked *left = a, *right = b;

        if (left->score != right->score)
                return left->score < right->score ? 1 : -1;
        return left->index > right->index ? 1 : -1;
}

static struct bytes document_text(yyjson_val *document) {
        yyjson_val *text = yyjson_is_str(document) ? document : yyjson_obj_get(document, "text");

        return (struct bytes){yyjson_get_str(text), yyjson_get_len(text)};
}

/* Scores depend on query and document alone. */
static size_t rank(const struct sim_order *order, struct ranked *out_ranked) {
        yyjson_val *documents = yyjson_obj_get(order->request->root, "documents"), *document;
        struct key128 query = sim_hash_of(11, sim_request_text(order->request, "query"));
        size_t i, count;

        yyjson_arr_foreach(documents, i, count, document) {
                out_ranked[i] = (struct ranked){
                        i, (uint32_t)(sim_hash_of(query.hi, document_text(document)).hi % 1000000)};
        }
        qsort(out_ranked, count, sizeof(*out_ranked), by_score);
        return count;
}

/* The shape of Cohere and Jina, with OpenAI-like usage. */
void sim_answer_rerank(const struct sim_order *order, struct sim_answer *answer) {
        size_t documents = yyjson_arr_size(yyjson_obj_get(order->request->root, "documents")), count = 0, top;
        struct ranked *ranked = calloc(documents + 1, sizeof(*ranked));
        struct buffer *body = &answer->body;

        if (ranked != NULL)
                count = rank(order, ranked);
        top = (size_t)sim_request_integer(order->request, "top_n", (int64_t)count);
        if (order->fault.kind == SIM_FAULT_WRONG_COUNT)
                count = count > 0 ? count - 1 : 0;
        buffer_append_char(body, '{');
        sim_answer_id(order, "rerank-", answer);
        buffer_append_string(body, ",\"model\":\"");
        buffer_append_json_escaped(body, order->request->model);
        buffer_append_string(body, "\",\"results\":[");
        for (size_t i = 0; i < count && i < top; i++)
                buffer_printf(body, "%s{\"index\":%zu,\"relevance_score\":0.%06u}", i == 0 ? "" : ",",
                              ranked[i].index, ranked[i].score);
        buffer_append_char(body, ']');
        sim_answer_bill(order, order->request->prompt_tokens, 0, answer);
        sim_answer_usage(order, &sim_usage_no_output, answer);
        buffer_append_char(body, '}');
        free(ranked);
}

void sim_answer_moderation(const struct sim_order *order, struct sim_answer *answer) {
        static const char *const categories[] = {"harassment", "hate", "self-harm", "sexual", "violence"};
        yyjson_val *input = yyjson_obj_get(order->request->root, "input");
        size_t count = yyjson_is_arr(input) ? yyjson_arr_size(input) : 1,
               words = sizeof(categories) / sizeof(char *);
        struct bytes model = order->request->model;
        struct buffer *body = &answer->body;

        buffer_append_char(body, '{');
        sim_answer_id(order, "modr-", answer);
        buffer_append_string(body, ",\"model\":\"");
        buffer_append_json_escaped(body, model.size > 0 ? model : BYTES("omni-moderation-latest"));
        buffer_append_string(body, "\",\"results\":[");
        for (size_t i = 0; i < count; i++) {
                uint64_t hash = sim_hash_of(13, sim_content_part(input, i)).hi;

                buffer_append_string(body, i == 0 ? "{\"flagged\":false,\"categories\":{"
                                                  : ",{\"flagged\":false,\"categories\":{");
                for (size_t w = 0; w < words; w++)
                        buffer_printf(body, "%s\"%s\":false", w == 0 ? "" : ",", categories[w]);
                buffer_append_string(body, "},\"category_scores\":{");
                for (size_t w = 0; w < words; w++)
                        buffer_printf(body, "%s\"%s\":0.00%04u", w == 0 ? "" : ",", categories[w],
                                      (unsigned)(sim_hash_mix(hash, w) % 10000));
                buffer_append_string(body, "}}");
        }
        buffer_append_string(body, "]}");
        sim_answer_bill(order, 0, 0, answer);
}

void sim_answer_models(const struct sim_order *order, struct sim_answer *answer) {
        static const char *const models[] = {
                "gpt-4o-mini", "text-embedding-3-small", "whisper-1", "tts-1", "gpt-image-1",
                "rerank-v3.5", "omni-moderation-latest",
        };

        (void)order;
        buffer_append_string(&answer->body, "{\"object\":\"list\",\"data\":[");
        for (size_t i = 0; i < sizeof(models) / sizeof(*models); i++)
                buffer_printf(&answer->body,
                              "%s{\"id\":\"%s\",\"object\":\"model\",\"created\":1700000000,"
                              "\"owned_by\":\"batchferry-sim\"}",
                              i == 0 ? "" : ",", models[i]);
        buffer_append_string(&answer->body, "]}");
}
