/*
 * LiteLLM's model_prices_and_context_window.json (2026-08): an object of entries by name, "PROVIDER/MODEL" or
 * the bare model, with `litellm_provider`, `mode` and flat prices for one token, image, second.
 *
 * A 0 there stands for what is free and for what nobody knew ("anthropic.claude-mythos-preview" costs 0), so
 * it is taken for neither: unknown.
 */
#include "broker/catalog/import.h"
#include "broker/catalog/import_json.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define KIND_BIT(kind) (1U << (kind))
#define IMAGES         (KIND_BIT(KIND_IMAGES) | KIND_BIT(KIND_IMAGE_EDITS))
#define LISTENING      (KIND_BIT(KIND_TRANSCRIPTIONS) | KIND_BIT(KIND_TRANSLATIONS))
#define SPEAKING       KIND_BIT(KIND_SPEECH)
#define RERANKING      KIND_BIT(KIND_RERANK)
#define ANY            UINT32_MAX

/* In the order of trust: the first that says something counts. */
static const struct part {
        const char *key;
        size_t offset; /* in struct endpoint */
        enum unit unit;
        uint32_t kinds;      /* of the entry; for others the price has no place */
        bool without_tokens; /* only when input tokens have no price */
        bool tiered;         /* may have other prices for long inputs */
} parts[] = {
        {"input_cost_per_token", offsetof(struct endpoint, price.input), PER_TOKEN, ANY, false, true},
        {"output_cost_per_token", offsetof(struct endpoint, price.output), PER_TOKEN, ANY, false, true},
        {"cache_read_input_token_cost", offsetof(struct endpoint, price.cached_input), PER_TOKEN, ANY, false,
         true},
        {"input_cost_per_token_cache_hit", offsetof(struct endpoint, price.cached_input), PER_TOKEN, ANY,
         false, false},
        {"cache_creation_input_token_cost", offsetof(struct endpoint, price.cache_write), PER_TOKEN, ANY,
         false, true},
        {"output_cost_per_reasoning_token", offsetof(struct endpoint, price.reasoning), PER_TOKEN, ANY, false,
         true},
        {"input_cost_per_audio_token", offsetof(struct endpoint, price.audio_input), PER_TOKEN, ANY, false,
         true},
        {"input_cost_per_image_token", offsetof(struct endpoint, price.image_input), PER_TOKEN, ANY, false,
         true},
        {"output_cost_per_audio_token", offsetof(struct endpoint, price.audio_output), PER_TOKEN, ANY, false,
         true},
        {"output_cost_per_image_token", offsetof(struct endpoint, price.image_output), PER_TOKEN, ANY, false,
         true},
        {"input_cost_per_token_batches", offsetof(struct endpoint, batch.input), PER_TOKEN, ANY, false,
         false},
        {"output_cost_per_token_batches", offsetof(struct endpoint, batch.output), PER_TOKEN, ANY, false,
         false},
        {"input_cost_per_request", offsetof(struct endpoint, price.request), PER_UNIT, ANY, false, false},
        {"input_cost_per_query", offsetof(struct endpoint, price.search_unit), PER_UNIT, RERANKING, false,
         false},
        {"input_cost_per_character", offsetof(struct endpoint, price.character), PER_TOKEN, SPEAKING, false,
         false},
        {"output_cost_per_image", offsetof(struct endpoint, price.image), PER_UNIT, IMAGES, false, false},
        {"input_cost_per_image", offsetof(struct endpoint, price.image), PER_UNIT, IMAGES, true, false},
        {"input_cost_per_second", offsetof(struct endpoint, price.audio_minute), PER_SECOND, LISTENING, false,
         false},
        {"output_cost_per_second", offsetof(struct endpoint, price.audio_minute), PER_SECOND, LISTENING,
         false, false},
};

enum { PARTS_COUNT = sizeof parts / sizeof *parts };

/* What is read: an entry of the file. */
struct entry {
        struct import *import;
        struct bytes name;
        yyjson_val *fields;
        struct endpoint endpoint;
        bool zero; /* a price of 0 was not taken */
};

static void without(struct entry *entry, const char *reason, struct bytes detail) {
        import_without(entry->import, entry->name, reason, detail);
}

/* ---- prices ---- */

static int64_t *price_of(struct endpoint *endpoint, const struct part *part) {
        return (int64_t *)(void *)((char *)endpoint + part->offset);
}

/* The same part of a price that stands elsewhere. Only for parts of endpoint.price. */
static int64_t *price_in(struct price *price, const struct part *part) {
        return (int64_t *)(void *)((char *)price + (part->offset - offsetof(struct endpoint, price)));
}

static void take_price(struct entry *entry, const struct part *part, yyjson_val *value, int64_t *price) {
        int64_t amount = import_price(entry->import, entry->name, value, part->unit);
        entry->zero = entry->zero || amount == 0;
        if (*price == PRICE_UNKNOWN && amount > 0)
                *price = amount;
}

static bool has_place(const struct entry *entry, const struct part *part) {
        if (part->without_tokens && yyjson_obj_get(entry->fields, "input_cost_per_token") != NULL)
                return false;
        return part->kinds == ANY || (entry->endpoint.kinds & part->kinds) != 0;
}

/* "input_cost_per_token_above_200k_tokens": the part before "_above_", and 200000. */
static const struct part *tiered_part(struct bytes key, int64_t *out_above) {
        for (size_t i = 0; i < PARTS_COUNT; i++) {
                size_t size = strlen(parts[i].key);
                int64_t thousands = 0;
                if (!parts[i].tiered || key.size < size + 7 || memcmp(key.data, parts[i].key, size) != 0 ||
                    memcmp(key.data + size, "_above_", 7) != 0)
                        continue;
                struct bytes rest = {key.data + size + 7, key.size - size - 7};
                size_t digits = 0;
                while (digits < rest.size && digits < 6 && rest.data[digits] >= '0' &&
                       rest.data[digits] <= '9')
                        thousands = thousands * 10 + (rest.data[digits++] - '0');
                struct bytes unit = {rest.data + digits, rest.size - digits};
                if (thousands > 0 && bytes_equal_string(unit, "k_tokens")) {
                        *out_above = thousands * 1000;
                        return &parts[i];
                }
        }
        return NULL;
}

static void take_tiered(struct entry *entry, const struct part *part, int64_t above, yyjson_val *value) {
        struct price_tier *tier = import_tier(entry->import, &entry->endpoint, above);
        if (tier != NULL)
                take_price(entry, part, value, price_in(&tier->price, part));
}

/* "..._flex", "..._priority": the key without that. */
static enum service_tier cut_service(struct bytes *key) {
        static const enum service_tier services[] = {SERVICE_FLEX, SERVICE_PRIORITY};
        for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
                const char *word = service_text(services[i]);
                size_t size = strlen(word) + 1;
                if (key->size <= size || key->data[key->size - size] != '_' ||
                    memcmp(key->data + key->size - size + 1, word, size - 1) != 0)
                        continue;
                key->size -= size;
                return services[i];
        }
        return SERVICE_STANDARD;
}

static const struct part *find_part(struct bytes key) {
        for (size_t i = 0; i < PARTS_COUNT; i++)
                if (bytes_equal_string(key, parts[i].key))
                        return &parts[i];
        return NULL;
}

/* A price of tokens at a tier of service, for long inputs or any. false: it is none, or has no place. */
static bool take_service(struct entry *entry, struct bytes key, yyjson_val *value) {
        int64_t above = 0;
        enum service_tier service = cut_service(&key);
        if (service == SERVICE_STANDARD)
                return false;
        const struct part *part = find_part(key), *tiered = tiered_part(key, &above);
        struct price *services = entry->endpoint.service;
        if (tiered != NULL) {
                struct price_tier *tier = import_tier(entry->import, &entry->endpoint, above);
                if (tier == NULL)
                        return true;
                services = tier->service;
                part = tiered;
        }
        if (part == NULL || !part->tiered || !has_place(entry, part))
                return false;
        take_price(entry, part, value, price_in(&services[service - 1], part));
        return true;
}

static bool is_cost(struct bytes key) {
        return memmem(key.data, key.size, "cost", 4) != NULL ||
               memmem(key.data, key.size, "uplift", 6) != NULL;
}

/* By the order of the table, then what has no place in it. */
static void take_prices(struct entry *entry) {
        yyjson_val *key, *value;
        for (size_t part = 0; part < PARTS_COUNT; part++) {
                value = yyjson_obj_get(entry->fields, parts[part].key);
                if (value != NULL && has_place(entry, &parts[part]))
                        take_price(entry, &parts[part], value, price_of(&entry->endpoint, &parts[part]));
        }
        yyjson_obj_iter keys;
        yyjson_obj_iter_init(entry->fields, &keys);
        while ((key = yyjson_obj_iter_next(&keys)) != NULL) {
                value = yyjson_obj_iter_get_val(key);
                struct bytes name = import_text(key);
                int64_t above;
                const struct part *part = find_part(name), *tiered = tiered_part(name, &above);
                if (tiered != NULL)
                        take_tiered(entry, tiered, above, value);
                else if (take_service(entry, name, value))
                        continue;
                else if (part == NULL ? is_cost(name) : !has_place(entry, part))
                        import_unused_price(entry->import, entry->name, name);
        }
}

/* tiered_pricing: [{range: [0, 256000], input_cost_per_token: ...}, {range: [256000, 1000000], ...}] */
static void take_ranges(struct entry *entry) {
        yyjson_val *ranges = yyjson_obj_get(entry->fields, "tiered_pricing"), *range, *key, *value;
        size_t i, count;
        yyjson_arr_foreach(ranges, i, count, range) {
                yyjson_val *from = yyjson_arr_get_first(yyjson_obj_get(range, "range"));
                int64_t above = import_count(from);
                struct price_tier *tier =
                        above > 0 ? import_tier(entry->import, &entry->endpoint, above) : NULL;
                if (above > 0 ? tier == NULL : i > 0)
                        continue;
                struct price *price = tier != NULL ? &tier->price : &entry->endpoint.price;
                yyjson_obj_iter keys;
                yyjson_obj_iter_init(range, &keys);
                while ((key = yyjson_obj_iter_next(&keys)) != NULL) {
                        value = yyjson_obj_iter_get_val(key);
                        const struct part *part = find_part(import_text(key));
                        if (part != NULL && part->tiered)
                                take_price(entry, part, value, price_in(price, part));
                        else if (!yyjson_equals_str(key, "range"))
                                import_unused_price(entry->import, entry->name, import_text(key));
                }
        }
}

static void say_unpriced(struct entry *entry) {
        for (unsigned kind = 0; kind < KINDS_COUNT; kind++)
                if ((entry->endpoint.kinds >> kind & 1) != 0 &&
                    import_is_priced(&entry->endpoint, (enum kind)kind))
                        return;
        without(entry,
                entry->zero ? "a price: 0 stands for free and for not known, so it is left unknown"
                            : "a price: what its kind is billed by has none",
                BYTES(""));
}

/* ---- what it is ---- */

static const struct mode {
        const char *name;
        uint32_t kinds;
} modes[] = {
        {"chat", KIND_BIT(KIND_CHAT)},
        {"responses", KIND_BIT(KIND_RESPONSES)},
        {"completion", KIND_BIT(KIND_COMPLETIONS)},
        {"embedding", KIND_BIT(KIND_EMBEDDINGS)},
        {"audio_transcription", KIND_BIT(KIND_TRANSCRIPTIONS)},
        {"audio_speech", KIND_BIT(KIND_SPEECH)},
        {"image_generation", KIND_BIT(KIND_IMAGES)},
        {"image_edit", KIND_BIT(KIND_IMAGE_EDITS)},
        {"rerank", KIND_BIT(KIND_RERANK)},
        {"moderation", KIND_BIT(KIND_MODERATIONS)},
};

/* By its mode, and by the URLs that it says it has. 0: nothing that a job can ask for. */
static uint32_t kinds_of(yyjson_val *fields) {
        struct bytes mode = import_text(yyjson_obj_get(fields, "mode"));
        yyjson_val *item;
        uint32_t kinds = 0;
        size_t i, count;
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++)
                if (bytes_equal_string(mode, modes[m].name))
                        kinds = modes[m].kinds;
        if (kinds == 0)
                return 0;
        yyjson_val *urls = yyjson_obj_get(fields, "supported_endpoints");
        yyjson_arr_foreach(urls, i, count, item) {
                enum kind kind;
                if (kind_from_url(import_text(item), &kind))
                        kinds |= KIND_BIT(kind);
        }
        return kinds;
}

static const struct {
        const char *key;
        enum modality modality;
} flags[] = {
        {"supports_vision", MODALITY_IMAGE},      {"supports_image_input", MODALITY_IMAGE},
        {"supports_pdf_input", MODALITY_FILE},    {"supports_audio_input", MODALITY_AUDIO},
        {"supports_video_input", MODALITY_VIDEO},
};

/* Flags only ever say that something is possible, so without any of them nothing is said. */
static void take_modalities(struct entry *entry) {
        struct endpoint *endpoint = &entry->endpoint;
        yyjson_val *in = yyjson_obj_get(entry->fields, "supported_modalities");
        yyjson_val *out = yyjson_obj_get(entry->fields, "supported_output_modalities");
        endpoint->input_modalities = import_modalities(entry->import, entry->name, in);
        endpoint->output_modalities = import_modalities(entry->import, entry->name, out);
        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
                if (yyjson_is_true(yyjson_obj_get(entry->fields, flags[i].key)))
                        endpoint->input_modalities |= 1U << MODALITY_TEXT | 1U << flags[i].modality;
}

static bool is_modality(struct bytes key) {
        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
                if (bytes_equal_string(key, flags[i].key))
                        return true;
        return false;
}

/*
 * "supports_function_calling" and the like are no list of what is supported: the rest would count as missing.
 * Some maps have such a list, LiteLLM's supported_openai_params.
 */
static void take_parameters(struct entry *entry) {
        yyjson_val *key, *value;
        yyjson_obj_iter keys;
        import_parameters(entry->import, entry->name,
                          yyjson_obj_get(entry->fields, "supported_openai_params"), &entry->endpoint);
        yyjson_obj_iter_init(entry->fields, &keys);
        while ((key = yyjson_obj_iter_next(&keys)) != NULL) {
                struct bytes name = import_text(key);
                value = yyjson_obj_iter_get_val(key);
                if (!entry->endpoint.parameters_known && bytes_starts_with(name, "supports_") &&
                    yyjson_is_true(value) && !is_modality(name))
                        without(entry, "`parameters`: single flags do not make a list", name);
        }
}

static void take_facts(struct entry *entry) {
        yyjson_val *fields = entry->fields;
        struct endpoint *endpoint = &entry->endpoint;
        bool writes = (endpoint->kinds &
                       (KIND_BIT(KIND_CHAT) | KIND_BIT(KIND_RESPONSES) | KIND_BIT(KIND_COMPLETIONS))) != 0;
        int64_t context = import_count(yyjson_obj_get(fields, "max_input_tokens"));
        int64_t output_max = import_count(yyjson_obj_get(fields, "max_output_tokens"));
        int64_t legacy = import_count(yyjson_obj_get(fields, "max_tokens"));
        if (context == 0 && !writes)
                context = legacy;
        if (output_max == 0 && writes)
                output_max = legacy;
        import_limits(entry->import, entry->name, endpoint, context, writes ? output_max : 0);
        int64_t dimensions = import_count(yyjson_obj_get(fields, "output_vector_size"));
        endpoint->dimensions = dimensions <= 1000000 ? dimensions : 0;
        endpoint->limits.requests_per_minute = import_count(yyjson_obj_get(fields, "rpm"));
        endpoint->limits.tokens_per_minute = import_count(yyjson_obj_get(fields, "tpm"));
        if (yyjson_obj_get(fields, "deprecation_date") != NULL)
                without(entry, "a date from which it is gone", BYTES(""));
        if (yyjson_obj_get(fields, "supported_regions") != NULL)
                without(entry, "a list of regions", BYTES(""));
        take_modalities(entry);
        take_parameters(entry);
}

/* ---- names ---- */

/* LiteLLM has several names for the ways to one provider. */
static struct bytes provider_of(struct bytes name) {
        static const struct {
                const char *theirs, *ours;
        } names[] = {
                {"bedrock_converse", "bedrock"},
                {"cohere_chat", "cohere"},
                {"azure_text", "azure"},
                {"fireworks_ai-embedding-models", "fireworks_ai"},
        };
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                if (bytes_equal_string(name, names[i].theirs))
                        return bytes_of(names[i].ours);
        if (bytes_starts_with(name, "text-completion-"))
                return (struct bytes){name.data + 16, name.size - 16};
        if (bytes_starts_with(name, "vertex_ai-"))
                return BYTES("vertex_ai");
        return name;
}

static bool cut_prefix(struct bytes *name, struct bytes prefix) {
        if (name->size <= prefix.size + 1 || memcmp(name->data, prefix.data, prefix.size) != 0 ||
            name->data[prefix.size] != '/')
                return false;
        *name = (struct bytes){name->data + prefix.size + 1, name->size - prefix.size - 1};
        return true;
}

/* "1024-x-1024/dall-e-2", "azure/hd/1024-x-1792/dall-e-3": prices of one model by what is asked for. */
static bool names_a_size(struct bytes name) {
        for (size_t i = 1; i + 3 < name.size; i++)
                if (memcmp(name.data + i, "-x-", 3) == 0 && name.data[i - 1] >= '0' &&
                    name.data[i - 1] <= '9' && name.data[i + 3] >= '0' && name.data[i + 3] <= '9')
                        return true;
        return memmem(name.data, name.size, "-steps/", 7) != NULL;
}

/* NULL when it is an entry for us. */
static const char *why_left_out(struct bytes name, yyjson_val *fields, struct bytes *out_detail) {
        *out_detail = BYTES("");
        if (bytes_equal_string(name, "sample_spec"))
                return "no model: it explains the file";
        if (import_text(yyjson_obj_get(fields, "litellm_provider")).size == 0)
                return "it names no provider";
        if (names_a_size(name))
                return "the name of a size or quality, not of a model";
        if (memmem(name.data, name.size, "-commitment/", 12) != NULL)
                return "priced by the time of rented machines";
        struct bytes mode = import_text(yyjson_obj_get(fields, "mode"));
        if (mode.size == 0)
                return "it does not say what it does (mode)";
        *out_detail = mode;
        return kinds_of(fields) == 0 ? "a kind of work that jobs cannot ask for" : NULL;
}

static void read_entry(struct import *import, struct bytes name, yyjson_val *fields) {
        struct bytes detail, provider = import_text(yyjson_obj_get(fields, "litellm_provider")), model = name;
        const char *reason = why_left_out(name, fields, &detail);
        if (reason != NULL) {
                import_leave_out(import, name, reason, detail);
                return;
        }
        struct entry entry = {
                .import = import, .name = name, .fields = fields, .endpoint = import_endpoint()};
        entry.endpoint.kinds = kinds_of(fields);
        if (!cut_prefix(&model, provider))
                cut_prefix(&model, provider_of(provider));
        take_prices(&entry);
        take_ranges(&entry);
        import_finish_prices(&entry.endpoint);
        take_facts(&entry);
        say_unpriced(&entry);
        import_add(import, name, provider_of(provider), model, &entry.endpoint);
}

struct error *import_litellm(struct import *import, const char *name, struct bytes text) {
        yyjson_read_err problem;
        yyjson_doc *document = yyjson_read_opts((char *)(uintptr_t)text.data, text.size,
                                                YYJSON_READ_NUMBER_AS_RAW, NULL, &problem);
        if (document == NULL)
                return import_syntax_error(name, text, problem.pos, problem.msg);
        yyjson_val *root = yyjson_doc_get_root(document), *key, *fields;
        struct error *error = NULL;
        if (!yyjson_is_obj(root))
                error = error_new(ERROR_INPUT, "%s:1:1: not LiteLLM's price map, which is one object", name);
        yyjson_obj_iter keys;
        yyjson_obj_iter_init(root, &keys);
        while ((key = yyjson_obj_iter_next(&keys)) != NULL) {
                fields = yyjson_obj_iter_get_val(key);
                import->entries_seen++;
                if (yyjson_is_obj(fields))
                        read_entry(import, import_text(key), fields);
                else
                        import_leave_out(import, import_text(key), "it is no object", BYTES(""));
        }
        yyjson_doc_free(document);
        return error;
}
