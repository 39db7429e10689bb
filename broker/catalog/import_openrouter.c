/*
 * OpenRouter's list of models, the answer of /api/v1/models (2026-08): {"data": [...]}. Prices are texts, in
 * dollars for one; "-1" stands for "it depends". A price of 0 is one: these models are free.
 */
#include "broker/catalog/import.h"
#include "broker/catalog/import_json.h"

#include <stddef.h>
#include <yyjson.h>

static const struct part {
        const char *key;
        size_t offset; /* in struct price */
        enum unit unit;
} parts[] = {
        {"prompt", offsetof(struct price, input), PER_TOKEN},
        {"completion", offsetof(struct price, output), PER_TOKEN},
        {"input_cache_read", offsetof(struct price, cached_input), PER_TOKEN},
        {"input_cache_write", offsetof(struct price, cache_write), PER_TOKEN},
        {"internal_reasoning", offsetof(struct price, reasoning), PER_TOKEN},
        {"request", offsetof(struct price, request), PER_UNIT},
        {"audio", offsetof(struct price, audio_input), PER_TOKEN},
        {"audio_output", offsetof(struct price, audio_output), PER_TOKEN},
        {"image_token", offsetof(struct price, image_input), PER_TOKEN},
        {"image_output", offsetof(struct price, image_output), PER_TOKEN},
};

static const struct part *find_part(struct bytes key) {
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
                if (bytes_equal_string(key, parts[i].key))
                        return &parts[i];
        return NULL;
}

/* "image" may be of a picture, or of one of its tokens: told only where it is the price of any token. */
static bool says_nothing(yyjson_val *pricing, yyjson_val *key, yyjson_val *value) {
        return yyjson_equals_str(key, "image") &&
               bytes_equal(import_text(value), import_text(yyjson_obj_get(pricing, "prompt")));
}

/* `skip` names what stands among the prices and is none. */
static void take_prices(struct import *import, struct bytes entry, yyjson_val *pricing, const char *skip,
                        struct price *price) {
        yyjson_val *key, *value;
        yyjson_obj_iter keys;
        yyjson_obj_iter_init(pricing, &keys);
        while ((key = yyjson_obj_iter_next(&keys)) != NULL) {
                value = yyjson_obj_iter_get_val(key);
                const struct part *part = find_part(import_text(key));
                if (part != NULL)
                        *(int64_t *)(void *)((char *)price + part->offset) =
                                import_price(import, entry, value, part->unit);
                else if (!yyjson_equals_str(key, skip) && !says_nothing(pricing, key, value))
                        import_unused_price(import, entry, import_text(key));
        }
}

/* overrides: [{min_prompt_tokens: 200000, prompt: ...}]: from that many on, so above one less. */
static void take_overrides(struct import *import, struct bytes entry, yyjson_val *pricing,
                           struct endpoint *endpoint) {
        yyjson_val *overrides = yyjson_obj_get(pricing, "overrides"), *override;
        size_t i, count;
        yyjson_arr_foreach(overrides, i, count, override) {
                int64_t from = import_count(yyjson_obj_get(override, "min_prompt_tokens"));
                struct price_tier *tier = from > 1 ? import_tier(import, endpoint, from - 1) : NULL;
                if (tier != NULL)
                        take_prices(import, entry, override, "min_prompt_tokens", &tier->price);
                else
                        import_without(import, entry, "an override of prices that is not by input tokens",
                                       BYTES(""));
        }
        import_finish_prices(endpoint);
}

/* Artificial Analysis's index of intelligence, 0 to 100, to the nearest whole mark. */
static int64_t quality_of(yyjson_val *model) {
        yyjson_val *marks = yyjson_obj_get(yyjson_obj_get(model, "benchmarks"), "artificial_analysis");
        yyjson_val *index = yyjson_obj_get(marks, "intelligence_index");
        int64_t quality = -1;
        if (!yyjson_is_raw(index))
                return -1;
        enum exact exact = exact_parse(import_text(index), 0, 1, &quality);
        return (exact == EXACT_WHOLE || exact == EXACT_ROUNDED) && quality <= 100 ? quality : -1;
}

/* The smaller of what the model and its best provider say. */
static int64_t context_of(yyjson_val *model) {
        int64_t a = import_count(yyjson_obj_get(model, "context_length"));
        int64_t b = import_count(yyjson_obj_get(yyjson_obj_get(model, "top_provider"), "context_length"));
        return a == 0 || (b > 0 && b < a) ? b : a;
}

static void read_model(struct import *import, yyjson_val *model) {
        struct bytes id = import_text(yyjson_obj_get(model, "id"));
        yyjson_val *pricing = yyjson_obj_get(model, "pricing");
        yyjson_val *architecture = yyjson_obj_get(model, "architecture");
        struct endpoint endpoint = import_endpoint();
        if (id.size == 0) {
                import_leave_out(import, BYTES("(no id)"), "it has no id", BYTES(""));
                return;
        }
        endpoint.kinds = 1U << KIND_CHAT;
        endpoint.input_modalities =
                import_modalities(import, id, yyjson_obj_get(architecture, "input_modalities"));
        endpoint.output_modalities =
                import_modalities(import, id, yyjson_obj_get(architecture, "output_modalities"));
        if ((endpoint.output_modalities & 1U << MODALITY_TEXT) == 0 && endpoint.output_modalities != 0) {
                import_leave_out(import, id, "it does not answer with text", BYTES(""));
                return;
        }
        take_prices(import, id, pricing, "overrides", &endpoint.price);
        take_overrides(import, id, pricing, &endpoint);
        if (!import_is_priced(&endpoint, KIND_CHAT))
                import_without(import, id, "a price: it says -1, or nothing", BYTES(""));
        yyjson_val *top = yyjson_obj_get(model, "top_provider");
        import_limits(import, id, &endpoint, context_of(model),
                      import_count(yyjson_obj_get(top, "max_completion_tokens")));
        import_parameters(import, id, yyjson_obj_get(model, "supported_parameters"), &endpoint);
        endpoint.quality = quality_of(model);
        if (import_text(yyjson_obj_get(model, "expiration_date")).size > 0)
                import_without(import, id, "a date from which it is gone", BYTES(""));
        import_add(import, id, BYTES("openrouter"), id, &endpoint);
}

struct error *import_openrouter(struct import *import, const char *name, struct bytes text) {
        yyjson_read_err problem;
        yyjson_doc *document = yyjson_read_opts((char *)(uintptr_t)text.data, text.size,
                                                YYJSON_READ_NUMBER_AS_RAW, NULL, &problem);
        if (document == NULL)
                return import_syntax_error(name, text, problem.pos, problem.msg);
        yyjson_val *list = yyjson_obj_get(yyjson_doc_get_root(document), "data"), *model;
        struct error *error = NULL;
        size_t i, count;
        if (!yyjson_is_arr(list))
                error = error_new(
                        ERROR_INPUT,
                        "%s:1:1: not OpenRouter's list of models, which is an object with a list \"data\"",
                        name);
        yyjson_arr_foreach(list, i, count, model) {
                import->entries_seen++;
                read_model(import, model);
        }
        yyjson_doc_free(document);
        return error;
}
