/*
 * Vectors of unit length that look random and depend on the input alone. A component is a multiple of 1e-8,
 * so that its decimal text is exact and short to make, and decimal and base64 say the same float32.
 */
#include "broker/sim/answer_embedding.h"

#include "broker/sim/answer.h"
#include "broker/sim/hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#define DIMENSIONS_MAX 8192
#define SCALE          1e8

void sim_embedding_vector(struct key128 input, size_t dimensions, int32_t *out_scaled) {
        double *components = malloc(dimensions * sizeof(*components)), sum = 0;
        struct prng prng;

        if (components == NULL) {
                memset(out_scaled, 0, dimensions * sizeof(*out_scaled));
                return;
        }
        prng_init(&prng, input.hi ^ input.lo);
        for (size_t i = 0; i < dimensions; i++) {
                components[i] = prng_unit(&prng) - 0.5;
                sum += components[i] * components[i];
        }
        sum = sum > 0 ? SCALE / sqrt(sum) : 0;
        for (size_t i = 0; i < dimensions; i++)
                out_scaled[i] = (int32_t)(components[i] * sum);
        free(components);
}

static void append_decimal(int32_t scaled, struct buffer *body) {
        char digits[] = "-0.00000000";
        uint32_t rest = (uint32_t)(scaled < 0 ? -scaled : scaled);

        if (rest >= (uint32_t)SCALE) {
                buffer_append_string(body, scaled < 0 ? "-1.0" : "1.0");
                return;
        }
        for (int i = 10; i > 2; i--, rest /= 10)
                digits[i] = (char)('0' + rest % 10);
        buffer_append_string(body, scaled < 0 ? digits : digits + 1);
}

static void append_vector(const int32_t *scaled, size_t dimensions, bool base64, struct buffer *body) {
        struct buffer packed;

        if (!base64) {
                for (size_t i = 0; i < dimensions; i++) {
                        buffer_append_char(body, i == 0 ? '[' : ',');
                        append_decimal(scaled[i], body);
                }
                buffer_append_char(body, ']');
                return;
        }
        buffer_init(&packed, DIMENSIONS_MAX * sizeof(float));
        for (size_t i = 0; i < dimensions; i++) {
                float component =
                        (float)((double)scaled[i] / SCALE); /* little-endian hosts only, like the SDKs */

                buffer_append(&packed, &component, sizeof(component));
        }
        buffer_append_char(body, '"');
        buffer_append_base64(body, packed.data, packed.size);
        buffer_append_char(body, '"');
        buffer_deinit(&packed);
}

/* The same text gives the same vector wherever it stands; a token list is named by its numbers. */
static struct key128 name_of_input(yyjson_val *input) {
        struct sim_hash hash;
        size_t i, count;
        yyjson_val *token;

        sim_hash_init(&hash, 7);
        if (yyjson_is_str(input))
                sim_hash_update(&hash, (struct bytes){yyjson_get_str(input), yyjson_get_len(input)});
        yyjson_arr_foreach(input, i, count, token) {
                int64_t number = yyjson_get_sint(token);

                sim_hash_update(&hash, (struct bytes){(const char *)&number, sizeof(number)});
        }
        return sim_hash_final(&hash);
}

static void append_embedding(yyjson_val *input, size_t index, int32_t *scaled, size_t dimensions, bool base64,
                             struct buffer *body) {
        sim_embedding_vector(name_of_input(input), dimensions, scaled);
        buffer_append_string(body, index == 0 ? "{\"object\":\"embedding\",\"index\":"
                                              : ",{\"object\":\"embedding\",\"index\":");
        buffer_append_u64(body, index);
        buffer_append_string(body, ",\"embedding\":");
        append_vector(scaled, dimensions, base64, body);
        buffer_append_char(body, '}');
}

static size_t dimensions_of(const struct sim_order *order) {
        int64_t dimensions = sim_request_integer(order->request, "dimensions", order->settings->dimensions);

        return dimensions < 1 ? 1 : dimensions > DIMENSIONS_MAX ? DIMENSIONS_MAX : (size_t)dimensions;
}

void sim_answer_embedding(const struct sim_order *order, struct sim_answer *answer) {
        yyjson_val *input = yyjson_obj_get(order->request->root, "input");
        bool base64 = bytes_equal_string(sim_request_text(order->request, "encoding_format"), "base64");
        bool list = yyjson_is_arr(input) && !yyjson_is_int(yyjson_arr_get_first(input));
        size_t dimensions = dimensions_of(order), count = list ? yyjson_arr_size(input) : 1;
        int32_t *scaled = malloc(dimensions * sizeof(*scaled));
        yyjson_val *item = list ? yyjson_arr_get_first(input) : input;
        struct buffer *body = &answer->body;

        if (order->fault.kind == SIM_FAULT_WRONG_COUNT)
                count--;
        buffer_append_string(body, "{\"object\":\"list\",\"data\":[");
        for (size_t i = 0; i < count && scaled != NULL; i++, item = unsafe_yyjson_get_next(item))
                append_embedding(item, i, scaled, dimensions, base64, body);
        buffer_append_string(body, "],\"model\":\"");
        buffer_append_json_escaped(body, order->request->model);
        buffer_append_char(body, '"');
        sim_answer_bill(order, order->request->prompt_tokens, 0, answer);
        sim_answer_usage(order, &sim_usage_no_output, answer);
        buffer_append_char(body, '}');
        free(scaled);
}
