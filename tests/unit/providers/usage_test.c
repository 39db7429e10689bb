/* What providers say was used, told in many ways, some of them lies. */
#include "tests/unit/providers/jobs.h"

#include <stdio.h>

enum { NONE = -1 };

static const struct {
        const char *name, *tail; /* behind the usable part of the answer */
        int64_t input, cached, written, output, audio_ms, units;
} rows[] = {
        {"openai chat",
         "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"total_tokens\":107,"
         "\"prompt_tokens_details\":{\"cached_tokens\":60,\"audio_tokens\":0},"
         "\"completion_tokens_details\":{\"reasoning_tokens\":3}}",
         40, 60, NONE, 7, NONE, NONE},
        {"openai with writes",
         "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"prompt_tokens_details\":{"
         "\"cached_tokens\":60,\"cache_write_tokens\":30}}",
         10, 60, 30, 7, NONE, NONE},
        {"openai responses",
         "\"usage\":{\"input_tokens\":50,\"input_tokens_details\":{\"cached_tokens\":10},"
         "\"output_tokens\":5,\"total_tokens\":55}",
         40, 10, NONE, 5, NONE, NONE},
        {"embeddings", "\"usage\":{\"prompt_tokens\":6,\"total_tokens\":6}", 6, NONE, NONE, NONE, NONE, NONE},
        {"jina", "\"usage\":{\"total_tokens\":12}", 12, NONE, NONE, NONE, NONE, NONE},
        {"deepseek",
         "\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":1,\"prompt_cache_hit_tokens\":64,"
         "\"prompt_cache_miss_tokens\":36}",
         36, 64, NONE, 1, NONE, NONE},
        {"whisper", "\"usage\":{\"type\":\"duration\",\"seconds\":12}", NONE, NONE, NONE, NONE, 12000, NONE},
        {"verbose", "\"duration\":8.470000267028809", NONE, NONE, NONE, NONE, 8471, NONE},
        {"gpt-4o-transcribe",
         "\"usage\":{\"type\":\"tokens\",\"input_tokens\":14,\"input_token_details\":{\"text_tokens\":0,"
         "\"audio_tokens\":14},\"output_tokens\":45,\"total_tokens\":59}",
         14, NONE, NONE, 45, NONE, NONE},
        {"mistral", "\"usage\":{\"prompt_audio_seconds\":203,\"completion_tokens\":9}", NONE, NONE, NONE, 9,
         203000, NONE},
        {"cohere", "\"meta\":{\"billed_units\":{\"search_units\":1}}", NONE, NONE, NONE, NONE, NONE, 1},
        {"openrouter rerank", "\"usage\":{\"search_units\":2,\"total_tokens\":3}", 3, NONE, NONE, NONE, NONE,
         2},

        {"absent", "\"x\":1", NONE, NONE, NONE, NONE, NONE, NONE},
        {"null", "\"usage\":null", NONE, NONE, NONE, NONE, NONE, NONE},
        {"another type", "\"usage\":[1,2]", NONE, NONE, NONE, NONE, NONE, NONE},
        {"zero", "\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}", 0, NONE, NONE, 0, NONE, NONE},
        {"negative", "\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":-1}", NONE, NONE, NONE, NONE,
         NONE, NONE},
        {"2^63", "\"usage\":{\"prompt_tokens\":9223372036854775808,\"completion_tokens\":2}", NONE, NONE,
         NONE, 2, NONE, NONE},
        {"2^64", "\"usage\":{\"prompt_tokens\":18446744073709551616,\"completion_tokens\":2}", NONE, NONE,
         NONE, 2, NONE, NONE},
        {"1e400", "\"usage\":{\"prompt_tokens\":1e400,\"completion_tokens\":1e18}", NONE, NONE, NONE, NONE,
         NONE, NONE},
        {"fractions", "\"usage\":{\"prompt_tokens\":12.0,\"completion_tokens\":3.2}", 12, NONE, NONE, 4, NONE,
         NONE},
        {"text", "\"usage\":{\"prompt_tokens\":\"12\",\"completion_tokens\":true}", NONE, NONE, NONE, NONE,
         NONE, NONE},
        {"more cached than there is",
         "\"usage\":{\"prompt_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":99,"
         "\"cache_write_tokens\":99}}",
         0, 10, 0, NONE, NONE, NONE},
        {"less in total than out", "\"usage\":{\"completion_tokens\":10,\"total_tokens\":4}", 0, NONE, NONE,
         10, NONE, NONE},
        {"negative duration", "\"duration\":-3", NONE, NONE, NONE, NONE, NONE, NONE},
};

static struct answer read_chat(const char *tail) {
        struct job_spec job = job_of(KIND_CHAT, "{\"model\":\"m\"}");
        struct response response = {.status = 200};
        struct answer answer;
        struct buffer body;

        buffer_init(&body, 4096);
        buffer_printf(&body, "{\"choices\":[{\"message\":{}}],%s}", tail);
        response.body = buffer_view(&body);
        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
        buffer_deinit(&body);
        assert_int_equal(answer.verdict, VERDICT_OK);
        return answer;
}

static void check(const char *name, const char *what, int64_t got, int64_t expected) {
        if (got != expected)
                fail_msg("%s: %s is %lld instead of %lld", name, what, (long long)got, (long long)expected);
}

static void usage_is_normalised(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct answer answer = read_chat(rows[i].tail);

                check(rows[i].name, "input", answer.usage.input_tokens, rows[i].input);
                check(rows[i].name, "cached", answer.usage.cached_input_tokens, rows[i].cached);
                check(rows[i].name, "written", answer.usage.cache_write_tokens, rows[i].written);
                check(rows[i].name, "output", answer.usage.output_tokens, rows[i].output);
                check(rows[i].name, "audio", answer.usage.audio_ms, rows[i].audio_ms);
                check(rows[i].name, "units", answer.usage.search_units, rows[i].units);
                check(rows[i].name, "cost", answer.cost_known, false);
        }
}

static void the_tier_of_service_is_read(void **state) {
        static const struct {
                const char *tail;
                bool served;
                enum service_tier service;
        } cases[] = {
                {"\"service_tier\":\"default\"", true, SERVICE_STANDARD},
                {"\"service_tier\":\"flex\"", true, SERVICE_FLEX},
                {"\"service_tier\":\"priority\",\"usage\":{\"prompt_tokens\":1}", true, SERVICE_PRIORITY},
                {"\"service_tier\":\"scale\"", false, SERVICE_STANDARD},
                {"\"service_tier\":\"auto\"", false, SERVICE_STANDARD},
                {"\"service_tier\":null", false, SERVICE_STANDARD},
                {"\"service_tier\":[\"flex\"]", false, SERVICE_STANDARD},
                {"\"x\":1", false, SERVICE_STANDARD},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct answer answer = read_chat(cases[i].tail);
                check(cases[i].tail, "served", answer.usage.served, cases[i].served);
                check(cases[i].tail, "service", answer.usage.service, cases[i].service);
        }
}

/* Parts of input and output that may have prices of their own. */
static void sound_and_pictures_are_read(void **state) {
        static const struct {
                const char *usage;
                int64_t input, audio_in, images_in, audio_out, images_out;
        } cases[] = {
                {"\"prompt_tokens\":9,\"completion_tokens\":7,\"prompt_tokens_details\":{\"cached_tokens\":4,"
                 "\"audio_tokens\":6,\"image_tokens\":2},\"completion_tokens_details\":{\"audio_tokens\":5,"
                 "\"image_tokens\":1}",
                 5, 6, 2, 5, 1},
                {"\"input_tokens\":9,\"output_tokens\":7,\"input_tokens_details\":{\"image_tokens\":8},"
                 "\"output_tokens_details\":{\"image_tokens\":7}",
                 9, NONE, 8, NONE, 7},
                {"\"prompt_tokens\":9,\"completion_tokens\":7,\"prompt_tokens_details\":{\"audio_tokens\":99}"
                 ","
                 "\"completion_tokens_details\":{\"audio_tokens\":-1,\"image_tokens\":99}",
                 9, 9, NONE, NONE, 7},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char tail[512];
                snprintf(tail, sizeof(tail), "\"usage\":{%s}", cases[i].usage);
                struct answer answer = read_chat(tail);
                check(tail, "input", answer.usage.input_tokens, cases[i].input);
                check(tail, "audio in", answer.usage.audio_input_tokens, cases[i].audio_in);
                check(tail, "images in", answer.usage.image_input_tokens, cases[i].images_in);
                check(tail, "audio out", answer.usage.audio_output_tokens, cases[i].audio_out);
                check(tail, "images out", answer.usage.image_output_tokens, cases[i].images_out);
        }
}

/* Part of the output, by the names of chat and of responses. */
static void reasoning_is_read(void **state) {
        static const struct {
                const char *tail;
                int64_t reasoning;
        } cases[] = {
                {"\"usage\":{\"completion_tokens\":7,\"completion_tokens_details\":{\"reasoning_tokens\":3}}",
                 3},
                {"\"usage\":{\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":5}}", 5},
                {"\"usage\":{\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":0}}", 0},
                {"\"usage\":{\"completion_tokens\":7,\"completion_tokens_details\":{\"reasoning_tokens\":9}}",
                 7},
                {"\"usage\":{\"completion_tokens\":7,\"completion_tokens_details\":{\"reasoning_tokens\":-1}"
                 "}",
                 NONE},
                {"\"usage\":{\"completion_tokens\":7,\"completion_tokens_details\":null}", NONE},
                {"\"usage\":{\"completion_tokens\":7,\"reasoning_tokens\":3}", NONE},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct answer answer = read_chat(cases[i].tail);
                check(cases[i].tail, "reasoning", answer.usage.reasoning_tokens, cases[i].reasoning);
        }
}

static const struct {
        const char *tail;
        bool known;
        int64_t picousd;
} cost_rows[] = {
        {"\"usage\":{\"cost\":0.00014}", true, 140000000},
        {"\"usage\":{\"cost\":0.000123456789}", true, 123456789},
        {"\"usage\":{\"cost\":0.000033}", true, 33000000}, /* a double is a little more */
        {"\"usage\":{\"cost\":1.4e-05}", true, 14000000},
        {"\"usage\":{\"cost\":0.0000000000012}", true, 2}, /* rounded up */
        {"\"usage\":{\"cost\":0}", true, 0},
        {"\"usage\":{\"cost\":3}", true, INT64_C(3000000000000)},
        {"\"usage\":{\"cost\":-1}", false, 0},
        {"\"usage\":{\"cost\":1e30}", false, 0},
        {"\"usage\":{\"cost\":1e400}", false, 0},
        {"\"usage\":{\"cost\":\"0.1\"}", false, 0},
        {"\"usage\":{\"cost\":null}", false, 0},
};

static void cost_is_exact(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof(cost_rows) / sizeof(cost_rows[0]); i++) {
                struct answer answer = read_chat(cost_rows[i].tail);

                check(cost_rows[i].tail, "known", answer.cost_known, cost_rows[i].known);
                if (cost_rows[i].known)
                        check(cost_rows[i].tail, "cost", answer.cost_picousd, cost_rows[i].picousd);
        }
}

static void the_job_says_what_the_provider_does_not(void **state) {
        struct job_spec speech = job_of(KIND_SPEECH, "{\"model\":\"m\"}");
        struct job_spec audio = job_of(KIND_TRANSCRIPTIONS, "{\"model\":\"m\"}");
        struct job_spec image = job_of(KIND_IMAGES, "{\"model\":\"m\"}");
        struct response sound = {.status = 200, .body = BYTES("ID3")};
        struct response text = {.status = 200, .body = BYTES("{\"text\":\"x\"}")};
        struct response images = {.status = 200, .body = BYTES("{\"data\":[{},{}]}")};
        struct answer answer;

        (void)state;
        speech.demand.characters = 321;
        dialect_find(BYTES("openai"))->read(&speech, &sound, &answer);
        assert_int_equal(answer.usage.characters, 321);
        audio.demand.audio_ms = 5000;
        dialect_find(BYTES("openai"))->read(&audio, &text, &answer);
        assert_int_equal(answer.usage.audio_ms, 5000);
        dialect_find(BYTES("openai"))->read(&image, &images, &answer);
        assert_int_equal(answer.usage.images, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(usage_is_normalised),
                cmocka_unit_test(reasoning_is_read),
                cmocka_unit_test(sound_and_pictures_are_read),
                cmocka_unit_test(the_tier_of_service_is_read),
                cmocka_unit_test(cost_is_exact),
                cmocka_unit_test(the_job_says_what_the_provider_does_not),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
