#include "broker/catalog/import_json.h"

#include <string.h>
#include <yyjson.h>

/*
 * Dollars for one become picodollars per million: 12 + 6 places; what is for each stands in steps of 10^-12
 * dollars.
 */
enum { MICRO = 1000000, PLACES_PER_MILLION = 18, PLACES_EACH = 12 };

struct bytes import_text(struct yyjson_val *value) {
        if (yyjson_is_raw(value))
                return (struct bytes){yyjson_get_raw(value), yyjson_get_len(value)};
        if (yyjson_is_str(value))
                return (struct bytes){yyjson_get_str(value), yyjson_get_len(value)};
        return (struct bytes){0};
}

int64_t import_count(struct yyjson_val *value) {
        int64_t count = 0;
        if (!yyjson_is_raw(value) || exact_parse(import_text(value), 0, 1, &count) != EXACT_WHOLE)
                return 0;
        return count <= 1000000000 ? count : 0;
}

static const char reason_no_price[] = "a price that is no amount";
static const char reason_rounded[] = "digits of a price below 1e-12 USD: rounded to the nearest";

int64_t import_price(struct import *import, struct bytes entry, struct yyjson_val *value, enum unit unit) {
        int64_t price = PRICE_UNKNOWN;
        enum exact exact =
                exact_parse(import_text(value), unit == PER_TOKEN ? PLACES_PER_MILLION : PLACES_EACH,
                            unit == PER_SECOND ? 60 : 1, &price);
        switch (exact) {
        case EXACT_ROUNDED:
                import_without(import, entry, reason_rounded, BYTES(""));
                break;
        case EXACT_WHOLE:
                break;
        case EXACT_NEGATIVE:
                return PRICE_UNKNOWN;
        case EXACT_TOO_LARGE:
        case EXACT_NO_NUMBER:
                import_without(import, entry, reason_no_price, BYTES(""));
                return PRICE_UNKNOWN;
        }
        if (unit != PER_TOKEN && __builtin_mul_overflow(price, INT64_C(1) * MICRO, &price)) {
                import_without(import, entry, reason_no_price, BYTES(""));
                return PRICE_UNKNOWN;
        }
        return price;
}

uint32_t import_modalities(struct import *import, struct bytes entry, struct yyjson_val *list) {
        uint32_t modalities = 0;
        yyjson_val *item;
        size_t i, count;
        yyjson_arr_foreach(list, i, count, item) {
                enum modality modality;
                struct bytes word = import_text(item);
                if (modality_from_text(word, &modality))
                        modalities |= 1U << modality;
                else
                        import_without(import, entry, "a modality that is not known here", word);
        }
        return modalities;
}

void import_parameters(struct import *import, struct bytes entry, struct yyjson_val *list,
                       struct endpoint *endpoint) {
        yyjson_val *item;
        size_t i, count;
        endpoint->parameters_known = yyjson_is_arr(list);
        yyjson_arr_foreach(list, i, count, item) {
                enum parameter parameter;
                if (parameter_from_text(import_text(item), &parameter))
                        endpoint->parameters |= UINT64_C(1) << parameter;
                else
                        import_without(import, entry, "a parameter that is not known here",
                                       import_text(item));
        }
}

/* By a part of the key; the first that is in it counts. */
static const struct unused {
        const char *part, *reason;
} unused[] = {
        {"_priority", "prices of another tier of service that have no place here"},
        {"_flex", "prices of another tier of service that have no place here"},
        {"_1hr", "prices of a cache that lasts an hour: writes are priced as those of the usual one"},
        {"_1h", "prices of a cache that lasts an hour: writes are priced as those of the usual one"},
        {"search", "prices of the provider's own tools: they are not in what is expected"},
        {"code_interpreter", "prices of the provider's own tools: they are not in what is expected"},
        {"citation", "prices of the provider's own tools: they are not in what is expected"},
        {"uplift", "surcharges by region"},
        {"dbu", "the same prices in another currency"},
        {"audio_cache", "prices of audio from a cache: it is priced as audio that is read anew"},
        {"input_audio_token_cost", "prices of audio from a cache: it is priced as audio that is read anew"},
        {"audio", "prices of audio by its length beside text: its tokens are priced"},
        {"image", "prices of images beside text: their tokens are priced"},
        {"pixel", "prices of images beside text: their tokens are priced"},
        {"video", "prices of video beside text: its tokens are priced as those of text"},
};

void import_unused_price(struct import *import, struct bytes entry, struct bytes key) {
        for (size_t i = 0; i < sizeof unused / sizeof *unused; i++)
                if (memmem(key.data, key.size, unused[i].part, strlen(unused[i].part)) != NULL) {
                        import_without(import, entry, unused[i].reason, key);
                        return;
                }
        import_without(import, entry, "prices that have no place here", key);
}

void import_limits(struct import *import, struct bytes entry, struct endpoint *endpoint, int64_t context,
                   int64_t output_max) {
        endpoint->context = context;
        endpoint->output_max = output_max;
        if (context > 0 && output_max > context) {
                endpoint->output_max = context;
                import_without(import, entry, "an output limit above the context: cut to it", BYTES(""));
        }
}
