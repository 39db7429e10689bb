/* Addresses, keys, and jobs on their way out: what must change changes, every other byte stays. */
#include "tests/unit/providers/jobs.h"

#include <stdio.h>

static const struct {
        enum kind kind;
        const char *body, *model, *expected;
} splice_rows[] = {
        /* nothing to do */
        {KIND_CHAT, "{\"model\":\"m\",\"x\":1.50,\"y\":\"\\u00e9\"}", "m",
         "{\"model\":\"m\",\"x\":1.50,\"y\":\"\\u00e9\"}"},
        {KIND_CHAT, "{}", "m", "{}"},
        {KIND_CHAT, "", "m", ""},
        /* the model: first, middle, last, only; escapes */
        {KIND_CHAT, "{\"model\":\"m\",\"x\":1}", "up", "{\"model\":\"up\",\"x\":1}"},
        {KIND_CHAT, "{\"a\":1, \"model\" : \"m\" ,\"x\":1}", "longer-name",
         "{\"a\":1, \"model\" : \"longer-name\" ,\"x\":1}"},
        {KIND_CHAT, "{\"x\":1,\"model\":\"m\"}", "u", "{\"x\":1,\"model\":\"u\"}"},
        {KIND_CHAT, "{\"model\":\"m\"}", "u", "{\"model\":\"u\"}"},
        {KIND_CHAT, "{\"model\":\"m\"}", "a\"b\\\n", "{\"model\":\"a\\\"b\\\\\\n\"}"},
        {KIND_CHAT, "{\"model\":\"a\\/b\"}", "a/b", "{\"model\":\"a/b\"}"},
        {KIND_CHAT, "{\"model\":\"a\\/b\"}", "a\\/b", "{\"model\":\"a\\\\/b\"}"},
        /* models and provider: first, middle, last, only */
        {KIND_CHAT, "{\"models\":[\"a\"],\"model\":\"m\"}", "m", "{\"model\":\"m\"}"},
        {KIND_CHAT, "{ \"models\" : [\"a\"] , \"model\":\"m\" }", "m", "{  \"model\":\"m\" }"},
        {KIND_CHAT, "{\"model\":\"m\",\"models\":[\"a\"],\"x\":1}", "m", "{\"model\":\"m\",\"x\":1}"},
        {KIND_CHAT, "{\"model\":\"m\",\"models\":[\"a\"]}", "m", "{\"model\":\"m\"}"},
        {KIND_CHAT, "{\"model\":\"m\" , \"models\":[\"a\"] }", "m", "{\"model\":\"m\"  }"},
        {KIND_CHAT, "{\"models\":[\"a\"]}", "m", "{}"},
        {KIND_CHAT, "{ \"models\":[\"a\"] }", "m", "{ }"},
        {KIND_CHAT, "{\"provider\":{\"order\":[\"a\"]},\"model\":\"m\"}", "u", "{\"model\":\"u\"}"},
        /* both, in all neighbourhoods */
        {KIND_CHAT, "{\"models\":[],\"provider\":{},\"model\":\"m\"}", "u", "{\"model\":\"u\"}"},
        {KIND_CHAT, "{\"models\":[],\"model\":\"m\",\"provider\":{}}", "u", "{\"model\":\"u\"}"},
        {KIND_CHAT, "{\"model\":\"m\",\"models\":[],\"provider\":{}}", "u", "{\"model\":\"u\"}"},
        {KIND_CHAT, "{\"model\":\"m\",\"provider\":{},\"models\":[]}", "m", "{\"model\":\"m\"}"},
        {KIND_CHAT, "{\"model\":\"m\" , \"provider\":{} , \"models\":[] }", "m", "{\"model\":\"m\"  }"},
        {KIND_CHAT, "{\"a\":1,\"models\":[],\"model\":\"m\",\"provider\":{},\"b\":2}", "u",
         "{\"a\":1,\"model\":\"u\",\"b\":2}"},
        {KIND_CHAT, "{\"models\":[],\"provider\":{}}", "m", "{}"},
        {KIND_CHAT, "{\"provider\":{\"a\":\"},]\"},\"models\":[\"},\"],\"model\":\"m\"}", "m",
         "{\"model\":\"m\"}"},
        /* embeddings: numbers travel as base64 */
        {KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}", "m",
         "{\"encoding_format\":\"base64\",\"model\":\"m\",\"input\":\"x\"}"},
        {KIND_EMBEDDINGS, "\n { \"model\":\"m\",\"input\":\"x\"}", "u",
         "\n {\"encoding_format\":\"base64\", \"model\":\"u\",\"input\":\"x\"}"},
        {KIND_EMBEDDINGS, "{\"model\":\"m\",\"encoding_format\": \"float\",\"input\":\"x\"}", "m",
         "{\"model\":\"m\",\"encoding_format\": \"base64\",\"input\":\"x\"}"},
        {KIND_EMBEDDINGS, "{\"model\":\"m\",\"encoding_format\":\"base64\"}", "m",
         "{\"model\":\"m\",\"encoding_format\":\"base64\"}"},
        {KIND_EMBEDDINGS, "{\"model\":\"m\",\"encoding_format\":\"int8\"}", "m",
         "{\"model\":\"m\",\"encoding_format\":\"int8\"}"},
        {KIND_EMBEDDINGS, "{\"models\":[],\"model\":\"m\",\"provider\":{}}", "u",
         "{\"encoding_format\":\"base64\",\"model\":\"u\"}"},
        {KIND_EMBEDDINGS, "{\"models\":[],\"provider\":{}}", "u", "{\"encoding_format\":\"base64\"}"},
        {KIND_EMBEDDINGS, "{ }", "u", "{\"encoding_format\":\"base64\" }"},
        {KIND_EMBEDDINGS, "", "u", ""},
        {KIND_IMAGE_EDITS, "{\"model\":\"m\",\"image\":\"https://x\"}", "u",
         "{\"model\":\"u\",\"image\":\"https://x\"}"},
};

static void bodies_are_spliced(void **state) {
        struct request request = {0};
        struct answer answer;

        (void)state;
        buffer_init(&request.body, 1 << 16);
        for (size_t i = 0; i < sizeof(splice_rows) / sizeof(splice_rows[0]); i++) {
                struct job_spec job = job_of(splice_rows[i].kind, splice_rows[i].body);

                assert_true(dialect_find(BYTES("openai"))
                                    ->request(&job, bytes_of(splice_rows[i].model), &request, &answer));
                assert_text(splice_rows[i].body, buffer_view(&request.body),
                            bytes_of(splice_rows[i].expected));
                assert_int_equal(request.parts_count, 0);
        }
        buffer_deinit(&request.body);
}

static void a_body_that_does_not_fit_is_refused(void **state) {
        struct job_spec job = job_of(KIND_CHAT, "{\"model\":\"m\",\"x\":1}");
        struct request request = {0};
        struct answer answer;

        (void)state;
        buffer_init(&request.body, 10);
        assert_false(dialect_find(BYTES("openai"))->request(&job, BYTES("m"), &request, &answer));
        assert_int_equal(answer.verdict, VERDICT_REJECTED);
        assert_true(answer.message[0] != '\0');
        buffer_deinit(&request.body);
}

static void spans_that_lie_do_no_harm(void **state) {
        struct job_spec job = job_of(KIND_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"x\"}");
        struct request request = {0};
        struct answer answer;

        (void)state;
        buffer_init(&request.body, 1000);
        job.model_value = (struct span){UINT32_MAX, UINT32_MAX};
        job.models_member = (struct span){5, 1000};
        job.provider_member = (struct span){3, 10};
        job.encoding_format_value = (struct span){4, 10};
        assert_true(dialect_find(BYTES("openai"))->request(&job, BYTES("u"), &request, &answer));
        buffer_deinit(&request.body);
}

/* "name=value|name=value|FILE file" */
static void describe(const struct request *request, struct buffer *out) {
        buffer_clear(out);
        for (uint32_t i = 0; i < request->parts_count; i++) {
                const struct request_part *part = &request->parts[i];

                if (i > 0)
                        buffer_append_char(out, '|');
                if (part->file)
                        buffer_append_string(out, "FILE ");
                buffer_append_bytes(out, part->name);
                if (!part->file)
                        buffer_append_char(out, '=');
                buffer_append_bytes(out, part->value);
        }
}

static const struct {
        const char *body, *expected;
} form_rows[] = {
        {"{\"model\":\"m\",\"file_url\":\"https://x/a.mp3\"}", "model=up|FILE file"},
        {"{\"file_url\":\"x\",\"language\":\"de\",\"model\":\"m\",\"models\":[\"a\"],\"provider\":{},"
         "\"stream\":false,\"file\":\"x\",\"prompt\":\"\\u00e9\\n\\\"q\\\"\"}",
         "language=de|model=up|prompt=\xc3\xa9\n\"q\"|FILE file"},
        {"{\"model\":\"m\",\"temperature\":0.10,\"n\":12345678901234567890123,\"flag\":true,\"off\":false,"
         "\"none\":null}",
         "model=up|temperature=0.10|n=12345678901234567890123|flag=true|off=false|FILE file"},
        {"{\"model\":\"m\",\"timestamp_granularities\":[\"word\",\"segment\"],\"empty\":[],\"mixed\":[1.50,"
         "{\"a\":[2]}]}",
         "model=up|timestamp_granularities[]=word|timestamp_granularities[]=segment|mixed[]=1.50|"
         "mixed[]={\"a\":[2]}|FILE file"},
        {"{\"model\":\"m\",\"chunking_strategy\":{\"type\":\"server_vad\",\"threshold\": 0.50}}",
         "model=up|chunking_strategy={\"type\":\"server_vad\",\"threshold\":0.50}|FILE file"},
};

static void audio_jobs_become_forms(void **state) {
        struct request request = {0};
        struct answer answer;
        struct buffer text;

        (void)state;
        buffer_init(&request.body, 1 << 16);
        buffer_init(&text, 1 << 16);
        for (size_t i = 0; i < sizeof(form_rows) / sizeof(form_rows[0]); i++) {
                struct job_spec job = job_of(KIND_TRANSCRIPTIONS, form_rows[i].body);

                assert_true(dialect_find(BYTES("openai"))->request(&job, BYTES("up"), &request, &answer));
                describe(&request, &text);
                assert_text(form_rows[i].body, buffer_view(&text), bytes_of(form_rows[i].expected));
        }
        buffer_deinit(&request.body);
        buffer_deinit(&text);
}

/* A form of `fields` fields beside the model and the file. */
static bool form_of_size(int fields, struct answer *out_answer) {
        struct request request = {0};
        struct buffer body;
        struct job_spec job;
        bool made;

        buffer_init(&body, 1 << 16);
        buffer_init(&request.body, 1 << 16);
        buffer_append_string(&body, "{\"model\":\"m\",\"include\":[0");
        for (int i = 1; i < fields; i++)
                buffer_append_string(&body, ",1");
        buffer_append(&body, "]}", 3);
        job = job_of(KIND_TRANSLATIONS, body.data);
        made = dialect_find(BYTES("openai"))->request(&job, BYTES("up"), &request, out_answer);
        buffer_deinit(&body);
        buffer_deinit(&request.body);
        return made;
}

static void too_many_fields_are_refused(void **state) {
        struct answer answer;

        (void)state;
        assert_true(form_of_size(REQUEST_PARTS_MAX - 2, &answer));
        assert_false(form_of_size(REQUEST_PARTS_MAX - 1, &answer));
        assert_int_equal(answer.verdict, VERDICT_REJECTED);
        assert_string_equal(answer.message, "the request has too many form fields");
        assert_false(form_of_size(1000, &answer));
}

/* ---- addresses ---- */

static const struct {
        const char *dialect, *base_url;
        enum kind kind;
        const char *model, *expected; /* NULL: the dialect does not have it */
} url_rows[] = {
        {"openai", "https://api.openai.com/v1", KIND_CHAT, "m", "https://api.openai.com/v1/chat/completions"},
        {"openai", "https://api.groq.com/openai/v1", KIND_TRANSCRIPTIONS, "m",
         "https://api.groq.com/openai/v1/audio/transcriptions"},
        {"openai", "https://api.deepinfra.com/v1/openai", KIND_EMBEDDINGS, "m",
         "https://api.deepinfra.com/v1/openai/embeddings"},
        {"openai", "https://api.deepseek.com", KIND_CHAT, "m",
         "https://api.deepseek.com/v1/chat/completions"},
        {"openai", "http://127.0.0.1:8000", KIND_RERANK, "m", "http://127.0.0.1:8000/v1/rerank"},
        {"openai", "http://127.0.0.1:8000/", KIND_RERANK, "m", "http://127.0.0.1:8000/v1/rerank"},
        {"openai", "https://openrouter.ai/api/v1/", KIND_RESPONSES, "m",
         "https://openrouter.ai/api/v1/responses"},
        {"openai", "https://x/v1?a=b", KIND_IMAGES, "m", "https://x/v1/images/generations?a=b"},
        {"openai", "", KIND_CHAT, "m", NULL},
        {"openai", "https://x/\r\nHost: evil", KIND_CHAT, "m", NULL},
        {"openai", "https://x /v1", KIND_CHAT, "m", NULL},
        {"azure", "https://r.openai.azure.com", KIND_CHAT, "gpt 4o/mini",
         "https://r.openai.azure.com/openai/deployments/gpt%204o%2Fmini/chat/"
         "completions?api-version=2024-10-21"},
        {"azure", "https://r.openai.azure.com/openai", KIND_EMBEDDINGS, "emb",
         "https://r.openai.azure.com/openai/deployments/emb/embeddings?api-version=2024-10-21"},
        {"azure", "https://r.openai.azure.com?api-version=2025-04-01-preview", KIND_TRANSCRIPTIONS, "w",
         "https://r.openai.azure.com/openai/deployments/w/audio/"
         "transcriptions?api-version=2025-04-01-preview"},
        {"azure", "https://r.openai.azure.com/openai/v1", KIND_RESPONSES, "m",
         "https://r.openai.azure.com/openai/v1/responses"},
        {"azure", "https://r.openai.azure.com", KIND_RESPONSES, "m", NULL},
        {"azure", "https://r.openai.azure.com", KIND_CHAT, "", NULL},
        {"azure", "https://r.openai.azure.com", KIND_CHAT, "..", NULL},
};

static void addresses_are_made(void **state) {
        struct buffer url;

        (void)state;
        buffer_init(&url, 1000);
        for (size_t i = 0; i < sizeof(url_rows) / sizeof(url_rows[0]); i++) {
                struct provider provider = {.base_url = url_rows[i].base_url};
                struct endpoint endpoint = {.upstream = url_rows[i].model};
                const struct dialect *dialect = dialect_find(bytes_of(url_rows[i].dialect));
                bool made;

                buffer_clear(&url);
                made = dialect->url(&provider, &endpoint, url_rows[i].kind, bytes_of(url_rows[i].model),
                                    &url);
                assert_int_equal(made, url_rows[i].expected != NULL);
                if (made)
                        assert_text("url", buffer_view(&url), bytes_of(url_rows[i].expected));
        }
        buffer_deinit(&url);
}

static void keys_are_sent(void **state) {
        struct buffer header;

        (void)state;
        buffer_init(&header, 1000);
        dialect_find(BYTES("openai"))->auth(BYTES("k1"), &header);
        assert_text("openai", buffer_view(&header), BYTES("Authorization: Bearer k1"));
        buffer_clear(&header);
        dialect_find(BYTES("azure"))->auth(BYTES("k2"), &header);
        assert_text("azure", buffer_view(&header), BYTES("api-key: k2"));
        buffer_deinit(&header);
}

static void dialects_are_found_by_name(void **state) {
        const char *const *names = dialect_names();
        size_t count = 0;

        (void)state;
        for (; names[count] != NULL; count++)
                assert_string_equal(dialect_find(bytes_of(names[count]))->name, names[count]);
        assert_int_equal(count, 2);
        assert_null(dialect_find(BYTES("OpenAI")));
        assert_null(dialect_find((struct bytes){0}));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(bodies_are_spliced),
                cmocka_unit_test(a_body_that_does_not_fit_is_refused),
                cmocka_unit_test(spans_that_lie_do_no_harm),
                cmocka_unit_test(audio_jobs_become_forms),
                cmocka_unit_test(too_many_fields_are_refused),
                cmocka_unit_test(addresses_are_made),
                cmocka_unit_test(keys_are_sent),
                cmocka_unit_test(dialects_are_found_by_name),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
