/* Answers on their way into the result line: byte for byte where possible, one line of valid JSON always. */
#include "tests/unit/providers/jobs.h"

#include <yyjson.h>

static const struct {
        const char *name;
        enum kind kind;
        const char *job;
        int32_t status;
        const char *headers, *body, *expected;
} rows[] = {
        {"as it is", KIND_CHAT, "{\"model\":\"m\"}", 200, "",
         "{\"a\": 1.50,\"b\" :\"\\u00e9\\/ \xc3\xa9\",\"c\":1e400,\"d\":[ ]}",
         "{\"a\": 1.50,\"b\" :\"\\u00e9\\/ \xc3\xa9\",\"c\":1e400,\"d\":[ ]}"},
        {"space around", KIND_CHAT, "{\"model\":\"m\"}", 200, "", "\r\n\t {\"a\": 1} \n", "{\"a\": 1}"},
        {"line ends inside", KIND_CHAT, "{\"model\":\"m\"}", 200, "",
         "{\n  \"a b\": [1,\r\n 2 ],\n \"c\": \" \\\" \\\\\" ,\"d\":\"\\n\"\n}\n",
         "{\"a b\":[1,2],\"c\":\" \\\" \\\\\",\"d\":\"\\n\"}"},
        {"error as it is", KIND_CHAT, "{\"model\":\"m\"}", 400, "",
         "{\"error\": {\"message\":\"no\",\"code\":null}}",
         "{\"error\": {\"message\":\"no\",\"code\":null}}"},
        {"error on lines", KIND_CHAT, "{\"model\":\"m\"}", 404, "", "{\n  \"error\": \"x y\"\n}\n",
         "{\"error\":\"x y\"}"},
        {"page", KIND_CHAT, "{\"model\":\"m\"}", 502, "", "<html>\r\n<b>\"Bad\"\x01 Gateway</b>\xff",
         "{\"error\":{\"message\":\"<html> <b>\\\"Bad\\\"  Gateway</b>?\",\"type\":null,\"param\":null,"
         "\"code\":null}}"},
        {"nothing", KIND_CHAT, "{\"model\":\"m\"}", 500, "", "",
         "{\"error\":{\"message\":\"the provider answered with an empty body\",\"type\":null,\"param\":null,"
         "\"code\":null}}"},
        {"cut", KIND_CHAT, "{\"model\":\"m\"}", 200, "", "{\"choices\":[",
         "{\"error\":{\"message\":\"{\\\"choices\\\":[\",\"type\":null,\"param\":null,\"code\":null}}"},
        {"invalid utf-8", KIND_CHAT, "{\"model\":\"m\"}", 400, "", "{\"error\":\"\xc3\x28\"}",
         "{\"error\":{\"message\":\"{\\\"error\\\":\\\"?(\\\"}\",\"type\":null,\"param\":null,\"code\":null}"
         "}"},
        {"a key in the refusal", KIND_CHAT, "{\"model\":\"m\"}", 401, "",
         "{\"error\":{\"message\":\"Incorrect API key:\\nsk-A1b2C3d4E5f6G7h8I9j0 \\u00e9.\"}}",
         "{\"error\":{\"message\":\"Incorrect API key:\\n[redacted] \\u00e9.\"}}"},
        {"a key of no known shape", KIND_CHAT, "{\"model\":\"m\"}", 403, "",
         "{\"k\":\"0123456789abcdef0123456789abcdef\",\"n\":1e0000000000000000000000001}",
         "{\"k\":\"[redacted]\",\"n\":1e0000000000000000000000001}"},
        {"a result is not touched", KIND_CHAT, "{\"model\":\"m\"}", 200, "",
         "{\"content\":\"sk-A1b2C3d4E5f6G7h8I9j0\"}", "{\"content\":\"sk-A1b2C3d4E5f6G7h8I9j0\"}"},

        {"numbers for who did not say", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", 200, "",
         "{\"data\":[{\"embedding\":\"zczMPQ==\",\"index\":0}],\"usage\":{\"prompt_tokens\": 1}}",
         "{\"data\":[{\"embedding\":[0.1],\"index\":0}],\"usage\":{\"prompt_tokens\": 1}}"},
        {"numbers for who asked, over lines", KIND_EMBEDDINGS,
         "{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"float\"}", 200, "",
         "{\n \"data\": [\n  {\"embedding\": \"zczMPQ==\"}\n ]\n}", "{\"data\":[{\"embedding\":[0.1]}]}"},
        {"base64 for who asked", KIND_EMBEDDINGS,
         "{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"base64\"}", 200, "",
         "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}", "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}"},
        {"base64 though the provider ignored it", KIND_EMBEDDINGS,
         "{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"base64\"}", 200, "",
         "{\"data\":[{\"embedding\":[0.1]}]}", "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}"},
        {"another encoding", KIND_EMBEDDINGS,
         "{\"model\":\"m\",\"input\":\"x\",\"encoding_format\":\"int8\"}", 200, "",
         "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}", "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}"},
        {"an error is no vector", KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", 400, "",
         "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}", "{\"data\":[{\"embedding\":\"zczMPQ==\"}]}"},

        {"speech", KIND_SPEECH, "{\"model\":\"m\"}", 200, "Content-Type: audio/mpeg\r\n", "ID3\x04",
         "{\"object\":\"audio.speech\",\"content_type\":\"audio/mpeg\",\"bytes\":4,\"b64\":\"SUQzBA==\"}"},
        {"speech without a type", KIND_SPEECH, "{\"model\":\"m\"}", 200, "", "RIFF",
         "{\"object\":\"audio.speech\",\"content_type\":\"application/octet-stream\",\"bytes\":4,"
         "\"b64\":\"UklGRg==\"}"},
        {"no speech", KIND_SPEECH, "{\"model\":\"m\"}", 400, "content-type: application/json\r\n",
         "{\"error\":1}", "{\"error\":1}"},
        {"subtitles", KIND_TRANSCRIPTIONS, "{\"model\":\"m\",\"response_format\":\"vtt\"}", 200,
         "content-type: text/plain\r\n", "WEBVTT\n\n00:00 --> 00:01\nhi \"you\"\n",
         "{\"text\":\"WEBVTT\\n\\n00:00 --> 00:01\\nhi \\\"you\\\"\\n\"}"},
        {"transcript", KIND_TRANSCRIPTIONS, "{\"model\":\"m\"}", 200, "", "{\"text\":\"hi\"}",
         "{\"text\":\"hi\"}"},
};

static void check_valid(const char *name, struct bytes json) {
        yyjson_doc *doc = yyjson_read(json.data, json.size, YYJSON_READ_BIGNUM_AS_RAW);

        if (doc == NULL || memchr(json.data, '\n', json.size) != NULL)
                fail_msg("%s: no JSON line: %.*s", name, (int)json.size, json.data);
        yyjson_doc_free(doc);
}

/* With `read_before`, what has been parsed then is not parsed again. */
static void check_rendered(bool read_before) {
        struct buffer out;

        buffer_init(&out, 1 << 16);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct job_spec job = job_of(rows[i].kind, rows[i].job);
                struct response response = {rows[i].status, bytes_of(rows[i].headers), bytes_of(rows[i].body),
                                            0, false};
                struct answer answer;

                if (read_before) {
                        dialect_find(BYTES("openai"))->read(&job, &response, &answer);
                        response.is_json = answer.is_json;
                }
                buffer_clear(&out);
                buffer_append_string(&out, "before");
                dialect_find(BYTES("openai"))->render(&job, &response, &out);
                assert_text("what was there", (struct bytes){out.data, 6}, BYTES("before"));
                assert_text(rows[i].name, (struct bytes){out.data + 6, out.size - 6},
                            bytes_of(rows[i].expected));
                check_valid(rows[i].name, (struct bytes){out.data + 6, out.size - 6});
        }
        buffer_deinit(&out);
}

static void answers_are_rendered(void **state) {
        (void)state;
        check_rendered(false);
        check_rendered(true);
}

static void long_rubbish_is_cut(void **state) {
        struct job_spec job = job_of(KIND_CHAT, "{\"model\":\"m\"}");
        struct response response = {.status = 500};
        struct buffer out, body;

        (void)state;
        buffer_init(&out, 1 << 16);
        buffer_init(&body, 1 << 16);
        for (int i = 0; i < 60000; i++)
                buffer_append_char(&body, (char)('a' + i % 26));
        response.body = buffer_view(&body);
        dialect_find(BYTES("azure"))->render(&job, &response, &out);
        assert_true(out.size < 600);
        check_valid("rubbish", buffer_view(&out));
        buffer_deinit(&out);
        buffer_deinit(&body);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(answers_are_rendered),
                cmocka_unit_test(long_rubbish_is_cut),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
