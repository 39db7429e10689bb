/* float32 to text and back, and embeddings answers in the form that the caller asked for. */
#include "broker/base/prng.h"
#include "tests/unit/providers/jobs.h"
#include "workers/providers/vectors.h"

#include <math.h>
#include <stdlib.h>

static float float_of(uint32_t bits) {
        float value;

        memcpy(&value, &bits, sizeof(value));
        return value;
}

static uint32_t bits_of(float value) {
        uint32_t bits;

        memcpy(&bits, &value, sizeof(bits));
        return bits;
}

/* Both ways of reading: to float32 at once, and by way of a double. */
static void check_round_trip(struct buffer *text, float value) {
        buffer_clear(text);
        vector_append_float(text, value);
        buffer_append_char(text, '\0');
        if (bits_of(strtof(text->data, NULL)) != bits_of(value) ||
            bits_of((float)strtod(text->data, NULL)) != bits_of(value))
                fail_msg("%08x (%.9g) is written as %s", bits_of(value), (double)value, text->data);
        if (text->size > 25)
                fail_msg("%s is too long", text->data);
}

static void every_float_reads_back(void **state) {
        struct buffer text;
        struct prng prng;

        (void)state;
        buffer_init(&text, 64);
        prng_init(&prng, 7);
        for (int i = 0; i < 300000; i++) {
                float value = float_of((uint32_t)prng_next(&prng));

                if (isfinite(value))
                        check_round_trip(&text, value);
                check_round_trip(&text, (float)(prng_unit(&prng) - 0.5));
        }
        /* all exponents, at both ends of each, and its neighbours */
        for (uint32_t exponent = 0; exponent < 255; exponent++)
                for (uint32_t k = 0; k < 8; k++) {
                        check_round_trip(&text, float_of(exponent << 23 | k));
                        check_round_trip(&text, float_of(exponent << 23 | (0x7fffff - k)));
                        check_round_trip(&text, -float_of(exponent << 23 | 0x400000 | k));
                }
        buffer_deinit(&text);
}

static const struct {
        float value;
        const char *text;
} float_rows[] = {
        {0.0f, "0.0"},
        {-0.0f, "-0.0"},
        {1.0f, "1.0"},
        {-2.0f, "-2.0"},
        {0.1f, "0.1"},
        {0.5f, "0.5"},
        {123.456f, "123.456"},
        {16777216.0f, "16777216.0"},
        {123456792.0f, "123456790.0"},
        {1e9f, "1e9"},
        {3.4028235e38f, "3.4028235e38"},
        {1e-5f, "0.00001"},
        {1e-6f, "1e-6"},
        {1.1754944e-38f, "1.1754944e-38"},
        {1.4e-45f, "1e-45"},
        {-0.0046188748f, "-0.0046188748"},
        {0.333333343f, "0.33333334"},
        {9.9999994e-1f, "0.99999994"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
        {NAN, "null"},
};

static void floats_are_short(void **state) {
        struct buffer text;

        (void)state;
        buffer_init(&text, 64);
        for (size_t i = 0; i < sizeof(float_rows) / sizeof(float_rows[0]); i++) {
                buffer_clear(&text);
                vector_append_float(&text, float_rows[i].value);
                assert_text("float", buffer_view(&text), bytes_of(float_rows[i].text));
        }
        buffer_deinit(&text);
}

static void lists_and_base64_are_the_same(void **state) {
        struct buffer list, base64;
        struct prng prng;

        (void)state;
        prng_init(&prng, 3);
        buffer_init(&list, 1 << 20);
        buffer_init(&base64, 1 << 20);
        for (size_t count = 0; count < 200; count++) {
                float values[200];
                struct buffer packed, again;

                for (size_t i = 0; i < count; i++)
                        values[i] = (float)prng_normal(&prng);
                buffer_init(&packed, 4096);
                buffer_init(&again, 4096);
                buffer_clear(&list);
                buffer_clear(&base64);
                buffer_append_base64(&packed, values, count * sizeof(values[0]));
                assert_true(vector_append_floats(&list, buffer_view(&packed)));
                assert_true(vector_append_base64(&base64, buffer_view(&list)));
                buffer_append_char(&again, '"');
                buffer_append_bytes(&again, buffer_view(&packed));
                buffer_append_char(&again, '"');
                assert_text("base64", buffer_view(&base64), buffer_view(&again));
                buffer_deinit(&packed);
                buffer_deinit(&again);
        }
        buffer_deinit(&list);
        buffer_deinit(&base64);
}

static void what_is_no_vector_is_left(void **state) {
        static const char *const not_base64[] = {"A", "AAA=", "!!!!", "AACAPw", "AACA Pw==", "AACAPw==\\n"};
        static const char *const not_lists[] = {"",        "{}",     "[1,null]", "[1,[2]]",
                                                "[\"1\"]", "[1e39]", "[1,",      "1"};
        struct buffer text;

        (void)state;
        buffer_init(&text, 1000);
        for (size_t i = 0; i < sizeof(not_base64) / sizeof(not_base64[0]); i++) {
                assert_false(vector_append_floats(&text, bytes_of(not_base64[i])));
                assert_false(vector_is_base64(bytes_of(not_base64[i])));
        }
        for (size_t i = 0; i < sizeof(not_lists) / sizeof(not_lists[0]); i++)
                assert_false(vector_append_base64(&text, bytes_of(not_lists[i])));
        assert_int_equal(text.size, 0);
        buffer_deinit(&text);
}

/* 1, -2 and 0.1 as float32 */
#define V12  "AACAPwAAAMA="
#define V01  "zczMPQ=="
#define SLSH "///\\/Pw==" /* ff ff ff 3f, with JSON's escaped slash */

static const struct {
        const char *answer;
        bool as_base64;
        const char *expected;
} answer_rows[] = {
        {"{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":\"" V12
         "\"},{\"embedding\":\"" V01 "\",\"index\":1}],\"model\":\"m\",\"usage\":{\"embedding\":\"" V01
         "\"}}",
         false,
         "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[1.0,-2.0]},"
         "{\"embedding\":[0.1],\"index\":1}],\"model\":\"m\",\"usage\":{\"embedding\":\"" V01 "\"}}"},
        {"{ \"data\" : [ { \"embedding\" : \"" V01 "\" , \"x\" : \"a\\\"b\" } ] , \"z\" : 1.50 }", false,
         "{ \"data\" : [ { \"embedding\" : [0.1] , \"x\" : \"a\\\"b\" } ] , \"z\" : 1.50 }"},
        {"{\"data\":[{\"embedding\":\"" SLSH "\"}]}", false, "{\"data\":[{\"embedding\":[1.9999999]}]}"},
        {"{\"data\":[{\"embedding\":\"!!!!\"},{\"embedding\":\"" V01 "\"}]}", false,
         "{\"data\":[{\"embedding\":\"!!!!\"},{\"embedding\":[0.1]}]}"},
        {"{\"data\":[{\"embedding\":[0.1,2]}]}", false, "{\"data\":[{\"embedding\":[0.1,2]}]}"},
        {"{\"data\":[{\"embedding\":[1.0, -2]},{\"embedding\":\"" V01 "\"}]}", true,
         "{\"data\":[{\"embedding\":\"" V12 "\"},{\"embedding\":\"" V01 "\"}]}"},
        {"{\"data\":[{\"embedding\":[[1],[2]]}]}", true, "{\"data\":[{\"embedding\":[[1],[2]]}]}"},
        {"{\"data\":\"embedding\",\"embedding\":\"" V01 "\"}", false,
         "{\"data\":\"embedding\",\"embedding\":\"" V01 "\"}"},
        {"{\"data\":[1,\"x\",null,[],{}]}", false, "{\"data\":[1,\"x\",null,[],{}]}"},
        {"[]", false, "[]"},
        {"{}", false, "{}"},
};

static void answers_are_converted(void **state) {
        struct buffer out;

        (void)state;
        buffer_init(&out, 10000);
        for (size_t i = 0; i < sizeof(answer_rows) / sizeof(answer_rows[0]); i++) {
                buffer_clear(&out);
                vectors_append_answer(&out, bytes_of(answer_rows[i].answer), answer_rows[i].as_base64);
                assert_text("answer", buffer_view(&out), bytes_of(answer_rows[i].expected));
        }
        buffer_deinit(&out);
}

static void a_full_buffer_says_so(void **state) {
        struct buffer out;

        (void)state;
        buffer_init(&out, 40);
        vectors_append_answer(&out, BYTES("{\"data\":[{\"embedding\":\"" V12 "\"}]}"), false);
        assert_true(out.failed);
        buffer_deinit(&out);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_float_reads_back),        cmocka_unit_test(floats_are_short),
                cmocka_unit_test(lists_and_base64_are_the_same), cmocka_unit_test(what_is_no_vector_is_left),
                cmocka_unit_test(answers_are_converted),         cmocka_unit_test(a_full_buffer_says_so),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
