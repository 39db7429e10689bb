/*
 * Usage by names: OpenAI's chat and responses names, the speech-to-text union, DeepSeek's, Mistral's,
 * Cohere's, Jina's and OpenRouter's extras. One list of names per amount; the first that is there
 * counts.
 */
#include "workers/providers/usage.h"

#include "broker/base/money.h"
#include "workers/providers/walk.h"

#include <math.h>
#include <yyjson.h>

/* Rounded up, since amounts are what is paid for; -1 for what is no believable amount. `scale` per unit. */
static int64_t amount(yyjson_val *value, int64_t scale) {
        double number;

        if (yyjson_is_uint(value)) {
                uint64_t whole = yyjson_get_uint(value);

                return whole > (uint64_t)USAGE_MAX ? -1 : (int64_t)whole * scale;
        }
        if (!yyjson_is_real(value))
                return -1;
        number = yyjson_get_real(value);
        if (!(number >= 0 && number <= (double)USAGE_MAX))
                return -1;
        return (int64_t)ceil(number * (double)scale);
}

static int64_t first_of(yyjson_val *object, const char *a, const char *b, int64_t scale) {
        int64_t value = amount(yyjson_obj_get(object, a), scale);

        return value < 0 && b != NULL ? amount(yyjson_obj_get(object, b), scale) : value;
}

static void put(int64_t *field, int64_t value) {
        if (value >= 0)
                *field = value;
}

/* The details object has three names. */
static yyjson_val *input_details(yyjson_val *usage) {
        yyjson_val *details = yyjson_obj_get(usage, "prompt_tokens_details");

        if (details == NULL)
                details = yyjson_obj_get(usage, "input_tokens_details");
        return details == NULL ? yyjson_obj_get(usage, "input_token_details") : details;
}

/* Chat's name for the details, and that of responses and images. */
static yyjson_val *output_details(yyjson_val *usage) {
        yyjson_val *details = yyjson_obj_get(usage, "completion_tokens_details");
        return details == NULL ? yyjson_obj_get(usage, "output_tokens_details") : details;
}

/* A part of so many tokens, where that is known: never more than all of them. */
static int64_t part_of(yyjson_val *details, const char *name, int64_t all) {
        int64_t part = first_of(details, name, NULL, 1);
        return all >= 0 && part > all ? all : part;
}

static void read_tokens(yyjson_val *usage, struct usage *out_usage) {
        yyjson_val *details = input_details(usage), *said = output_details(usage);
        int64_t input = first_of(usage, "prompt_tokens", "input_tokens", 1);
        int64_t output = first_of(usage, "completion_tokens", "output_tokens", 1);
        int64_t total = first_of(usage, "total_tokens", NULL, 1);
        int64_t cached = first_of(details, "cached_tokens", NULL, 1);
        int64_t written = first_of(details, "cache_write_tokens", NULL, 1);

        if (cached < 0)
                cached = first_of(usage, "prompt_cache_hit_tokens", NULL, 1);
        if (input < 0 && total >= 0)
                input = output > 0 ? (total > output ? total - output : 0) : total;
        put(&out_usage->audio_input_tokens, part_of(details, "audio_tokens", input));
        put(&out_usage->image_input_tokens, part_of(details, "image_tokens", input));
        if (input >= 0) {
                cached = cached > input ? input : cached;
                input -= cached > 0 ? cached : 0;
                written = written > input ? input : written;
                input -= written > 0 ? written : 0;
        }
        put(&out_usage->input_tokens, input);
        put(&out_usage->cached_input_tokens, cached);
        put(&out_usage->cache_write_tokens, written);
        put(&out_usage->output_tokens, output);
        put(&out_usage->reasoning_tokens, part_of(said, "reasoning_tokens", output));
        put(&out_usage->audio_output_tokens, part_of(said, "audio_tokens", output));
        put(&out_usage->image_output_tokens, part_of(said, "image_tokens", output));
}

/*
 * `usage.seconds` (whisper, OpenRouter), Mistral's prompt_audio_seconds, and verbose_json's duration
 * beside it.
 */
static void read_audio(yyjson_val *root, yyjson_val *usage, struct usage *out_usage) {
        int64_t ms = first_of(usage, "seconds", "prompt_audio_seconds", 1000);

        if (ms < 0)
                ms = amount(yyjson_obj_get(root, "duration"), 1000);
        put(&out_usage->audio_ms, ms);
}

/* Cohere: meta.billed_units */
static void read_billed_units(yyjson_val *root, struct usage *out_usage) {
        yyjson_val *units = yyjson_obj_get(yyjson_obj_get(root, "meta"), "billed_units");

        if (units == NULL)
                return;
        put(&out_usage->input_tokens, first_of(units, "input_tokens", NULL, 1));
        put(&out_usage->output_tokens, first_of(units, "output_tokens", NULL, 1));
        put(&out_usage->search_units, first_of(units, "search_units", NULL, 1));
        put(&out_usage->images, first_of(units, "images", NULL, 1));
}

/* At which tier of service, where it is one with a price. */
static void read_service(yyjson_val *root, struct usage *out_usage) {
        yyjson_val *value = yyjson_obj_get(root, "service_tier");
        enum service_tier service = SERVICE_OTHER;
        if (yyjson_is_str(value))
                service = service_from_text((struct bytes){yyjson_get_str(value), yyjson_get_len(value)});
        if (service == SERVICE_OTHER || yyjson_equals_str(value, "auto"))
                return;
        out_usage->served = true;
        out_usage->service = service;
}

void usage_read(struct yyjson_val *root, struct usage *out_usage) {
        yyjson_val *usage = yyjson_obj_get(root, "usage");
        read_service(root, out_usage);

        if (yyjson_is_obj(usage)) {
                read_tokens(usage, out_usage);
                put(&out_usage->search_units, first_of(usage, "search_units", NULL, 1));
        }
        read_audio(root, usage, out_usage);
        read_billed_units(root, out_usage);
}

bool usage_cost_read(struct yyjson_val *root, struct bytes text, int64_t *out_picousd) {
        yyjson_val *cost = yyjson_obj_get(yyjson_obj_get(root, "usage"), "cost");
        struct bytes usage_text, cost_text;
        double dollars;

        if (!yyjson_is_num(cost))
                return false;
        dollars = yyjson_get_num(cost);
        if (!(dollars >= 0 && dollars <= (double)(PICOUSD_MAX / PICOUSD_PER_USD - 1)))
                return false;
        if (walk_find(text, "usage", &usage_text) && walk_find(usage_text, "cost", &cost_text) &&
            money_parse(cost_text, out_picousd))
                return true;
        *out_picousd = (int64_t)ceil(dollars * (double)PICOUSD_PER_USD);
        return true;
}
