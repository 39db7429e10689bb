/* Every way in which a line can be wrong, with the failure, the field and the sentence that a user gets. */
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>

#define EMBED(body)    "{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":" body "}"
#define AT(url, body)  "{\"custom_id\":\"a\",\"url\":\"" url "\",\"body\":" body "}"
#define ROUTING(value) JOB(",\"routing\":" value)
#define TEN            "0123456789"
#define FIFTY          TEN TEN TEN TEN TEN
#define HUNDRED        FIFTY FIFTY
#define PAIRS_17                                                                                             \
        "{\"0\":\"\",\"1\":\"\",\"2\":\"\",\"3\":\"\",\"4\":\"\",\"5\":\"\",\"6\":\"\",\"7\":\"\",\"8\":"    \
        "\"\",\"9\":\"\",\"10\":\"\",\"11\":\"\",\"12\":\"\",\"13\":\"\",\"14\":\"\",\"15\":\"\",\"16\":"    \
        "\"\"}"
#define NAMES_17                                                                                             \
        "[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\",\"13\",\"14\","   \
        "\"15\",\"16\"]"

static const struct {
        const char *line;
        enum failure failure;
        const char *field;
        const char *message; /* its beginning */
} cases[] = {
        {"", FAILURE_INVALID_JOB, "", "The line is empty."},
        {"{", FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {"hello", FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB("") "x", FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"priority\":01"), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"priority\":NaN"), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"batch\":\"\xff\""), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"batch\":\"\xc0\xaf\""), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"batch\":\"\\ud800\""), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {JOB(",\"batch\":\"a\tb\""), FAILURE_INVALID_JOB, "", "The line is not valid JSON: "},
        {"[]", FAILURE_INVALID_JOB, "", "The line must be a JSON object."},
        {"null", FAILURE_INVALID_JOB, "", "The line must be a JSON object."},
        {"\"{}\"", FAILURE_INVALID_JOB, "", "The line must be a JSON object."},
        {"{}", FAILURE_INVALID_JOB, "custom_id", "must be a string of 1 to 512 bytes"},
        {"{\"custom_id\":7}", FAILURE_INVALID_JOB, "custom_id", "must be a string of 1 to 512 bytes"},
        {"{\"custom_id\":\"\"}", FAILURE_INVALID_JOB, "custom_id", "must be a string of 1 to 512 bytes"},
        {"{\"custom_id\":\"" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "0123456789012\"}", FAILURE_INVALID_JOB,
         "custom_id", "must be a string of 1 to 512 bytes"},
        {JOB(",\"custom_id\":\"b\""), FAILURE_INVALID_JOB, "custom_id", "must not stand there twice"},
        {JOB(",\"bo\\u0064y\":{}"), FAILURE_INVALID_JOB, "body", "must not stand there twice"},
        {JOB(",\"colour\":1"), FAILURE_INVALID_JOB, "colour", "is not a field of a job"},
        {JOB(",\"Batch\":\"b\""), FAILURE_INVALID_JOB, "Batch",
         "is not a field of a job; did you mean \"batch\"?"},
        {JOB(",\"\\u0000\\n\":1"), FAILURE_INVALID_JOB, "??", "is not a field of a job"},
        {JOB(",\"method\":\"GET\""), FAILURE_INVALID_JOB, "method", "must be \"POST\""},
        {"{\"custom_id\":\"a\"}", FAILURE_INVALID_JOB, "url", "must be a string that names the endpoint"},
        {AT("", "{}"), FAILURE_INVALID_JOB, "url", "must be a string that names the endpoint"},
        {AT("/v1/videos", "{}"), FAILURE_UNSUPPORTED_ENDPOINT, "url",
         "names an endpoint that cannot be run yet"},
        {AT("/v1/chat", "{}"), FAILURE_UNSUPPORTED_ENDPOINT, "url", "must be one of the known endpoints"},
        {AT("/v1/chat/completions/", "{}"), FAILURE_UNSUPPORTED_ENDPOINT, "url", "must be one of"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\"}", FAILURE_INVALID_JOB, "body",
         "must be an object"},
        {EMBED("[]"), FAILURE_INVALID_JOB, "body", "must be an object"},
        {EMBED("{\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.model", "must be a non-empty string"},
        {EMBED("{\"model\":\"\",\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.model",
         "must be a non-empty string"},
        {EMBED("{\"model\":7,\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.model",
         "must be a non-empty string"},
        {EMBED("{\"model\":\":floor\",\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.model",
         "must be a non-empty string"},
        {EMBED("{\"model\":\"a\\u0000\",\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.model",
         "must be at most 256 bytes without control characters"},
        {EMBED("{\"model\":\"" HUNDRED HUNDRED FIFTY TEN "\",\"input\":\"x\"}"), FAILURE_INVALID_JOB,
         "body.model", "must be at most 256 bytes"},
        {EMBED("{\"model\":\"m\",\"input\":\"x\",\"models\":\"n\"}"), FAILURE_INVALID_JOB, "body.models",
         "must be a list of model names"},
        {EMBED("{\"model\":\"m\",\"input\":\"x\",\"models\":[\"n\",1]}"), FAILURE_INVALID_JOB,
         "body.models[1]", "must be a non-empty string"},
        {EMBED("{\"model\":\"m\",\"input\":\"x\",\"models\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]"
               "}"),
         FAILURE_INVALID_JOB, "body.models[7]", "must hold at most 7 models besides body.model"},
        {EMBED("{\"model\":\"m\",\"model\":\"m\",\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body",
         "has the name \"model\" twice"},
        {EMBED("{\"model\":\"m\",\"input\":[{\"a\":[0,{\"b\":1,\"b\":1}]}]}"), FAILURE_INVALID_JOB,
         "body.input[0].a[1]", "has the name \"b\" twice"},
        {CHAT(",\"stream\":true"), FAILURE_INVALID_JOB, "body.stream", "must not be true"},
        {AT("/v1/chat/completions", "{\"model\":\"m\"}"), FAILURE_INVALID_JOB, "body.messages",
         "must be a list with at least one item"},
        {AT("/v1/chat/completions", "{\"model\":\"m\",\"messages\":[]}"), FAILURE_INVALID_JOB,
         "body.messages", "must be a list with at least one item"},
        {AT("/v1/chat/completions", "{\"model\":\"m\",\"messages\":\"hi\"}"), FAILURE_INVALID_JOB,
         "body.messages", "must be a list with at least one item"},
        {EMBED("{\"model\":\"m\"}"), FAILURE_INVALID_JOB, "body.input", "must be a string or a list"},
        {EMBED("{\"model\":\"m\",\"input\":[]}"), FAILURE_INVALID_JOB, "body.input",
         "must be a string or a list"},
        {EMBED("{\"model\":\"m\",\"input\":7}"), FAILURE_INVALID_JOB, "body.input",
         "must be a string or a list"},
        {AT("/v1/audio/transcriptions", "{\"model\":\"m\"}"), FAILURE_INVALID_JOB, "body.file_url",
         "must be a non-empty string"},
        {AT("/v1/audio/translations", "{\"model\":\"m\",\"file_url\":{}}"), FAILURE_INVALID_JOB,
         "body.file_url", "must be a non-empty string"},
        {AT("/v1/audio/speech", "{\"model\":\"m\",\"voice\":\"v\"}"), FAILURE_INVALID_JOB, "body.input",
         "must be a non-empty string"},
        {AT("/v1/audio/speech", "{\"model\":\"m\",\"input\":\"x\"}"), FAILURE_INVALID_JOB, "body.voice",
         "must be a non-empty string"},
        {AT("/v1/images/generations", "{\"model\":\"m\"}"), FAILURE_INVALID_JOB, "body.prompt",
         "must be a non-empty string"},
        {AT("/v1/images/edits", "{\"model\":\"m\",\"prompt\":\"\"}"), FAILURE_INVALID_JOB, "body.prompt",
         "must be a non-empty string"},
        {AT("/v1/rerank", "{\"model\":\"m\",\"documents\":[\"d\"]}"), FAILURE_INVALID_JOB, "body.query",
         "must be a non-empty string"},
        {AT("/v1/rerank", "{\"model\":\"m\",\"query\":\"q\",\"documents\":[]}"), FAILURE_INVALID_JOB,
         "body.documents", "must be a list with at least one item"},
        {JOB(",\"idempotency_key\":\"\""), FAILURE_INVALID_JOB, "idempotency_key",
         "must be a string of 1 to 512 bytes"},
        {JOB(",\"idempotency_key\":1"), FAILURE_INVALID_JOB, "idempotency_key",
         "must be a string of 1 to 512 bytes"},
        {JOB(",\"workspace\":\"\""), FAILURE_INVALID_JOB, "workspace", "must be a string of 1 to 128 bytes"},
        {JOB(",\"workspace\":\"a\\u001fb\""), FAILURE_INVALID_JOB, "workspace",
         "must not hold control characters"},
        {JOB(",\"batch\":\"" HUNDRED TEN TEN TEN "\""), FAILURE_INVALID_JOB, "batch",
         "must be a string of 1 to 128 bytes"},
        {JOB(",\"priority\":11"), FAILURE_INVALID_JOB, "priority", "must be a whole number from -10 to 10"},
        {JOB(",\"priority\":-11"), FAILURE_INVALID_JOB, "priority", "must be a whole number from -10 to 10"},
        {JOB(",\"priority\":1.5"), FAILURE_INVALID_JOB, "priority", "must be a whole number from -10 to 10"},
        {JOB(",\"priority\":\"1\""), FAILURE_INVALID_JOB, "priority", "must be a whole number"},
        {JOB(",\"priority\":99999999999999999999999"), FAILURE_INVALID_JOB, "priority",
         "must be a whole number"},
        {JOB(",\"not_before\":\"tomorrow\""), FAILURE_INVALID_JOB, "not_before", "must be an RFC 3339 time"},
        {JOB(",\"deadline\":1763856000"), FAILURE_INVALID_JOB, "deadline", "must be an RFC 3339 time"},
        {JOB(",\"deadline\":\"2026-02-30T00:00:00Z\""), FAILURE_INVALID_JOB, "deadline",
         "must be an RFC 3339 time"},
        {JOB(",\"not_before\":\"2026-01-01T00:00:00Z\",\"deadline\":\"2026-01-01T01:00:00+01:00\""),
         FAILURE_INVALID_JOB, "deadline", "must be later than not_before"},
        {JOB(",\"max_cost_usd\":-1"), FAILURE_INVALID_JOB, "max_cost_usd", "must be a number of at least 0"},
        {JOB(",\"max_cost_usd\":\"1\""), FAILURE_INVALID_JOB, "max_cost_usd",
         "must be a number of at least 0"},
        {JOB(",\"max_cost_usd\":1e-13"), FAILURE_INVALID_JOB, "max_cost_usd",
         "must be a number of at least 0 with at most 12 decimal places"},
        {JOB(",\"max_cost_usd\":1e300"), FAILURE_INVALID_JOB, "max_cost_usd", "must be a number"},
        {JOB(",\"on_unknown_outcome\":\"ignore\""), FAILURE_INVALID_JOB, "on_unknown_outcome",
         "must be \"retry\" or \"fail\""},
        {JOB(",\"metadata\":[]"), FAILURE_INVALID_JOB, "metadata", "must be an object of at most 16 strings"},
        {JOB(",\"metadata\":" PAIRS_17), FAILURE_INVALID_JOB, "metadata",
         "must be an object of at most 16 strings"},
        {JOB(",\"metadata\":{\"a\":1}"), FAILURE_INVALID_JOB, "metadata",
         "must have values that are strings of at most 512 characters"},
        {JOB(",\"metadata\":{\"a\":{}}"), FAILURE_INVALID_JOB, "metadata",
         "must have values that are strings"},
        {JOB(",\"metadata\":{\"" FIFTY TEN "01234\":\"\"}"), FAILURE_INVALID_JOB, "metadata",
         "must have names of at most 64 characters"},
        {JOB(",\"metadata\":{\"a\":\"" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED TEN "012\"}"),
         FAILURE_INVALID_JOB, "metadata", "must have values that are strings of at most 512 characters"},
        {JOB(",\"metadata\":{\"a\":\"1\",\"\\u0061\":\"2\"}"), FAILURE_INVALID_JOB, "metadata",
         "has the name \"a\" twice"},
        {ROUTING("[]"), FAILURE_INVALID_JOB, "routing", "must be an object"},
        {ROUTING("{\"sorted\":1}"), FAILURE_INVALID_JOB, "routing.sorted",
         "is not a known field; did you mean \"sort\"?"},
        {ROUTING("{\"zdr\":true,\"zdr\":true}"), FAILURE_INVALID_JOB, "routing",
         "has the name \"zdr\" twice"},
        {ROUTING("{\"order\":\"openai\"}"), FAILURE_INVALID_JOB, "routing.order", "must be a list of names"},
        {ROUTING("{\"only\":[1]}"), FAILURE_INVALID_JOB, "routing.only", "must hold names of 1 to 128 bytes"},
        {ROUTING("{\"ignore\":[\"\"]}"), FAILURE_INVALID_JOB, "routing.ignore", "must hold names"},
        {ROUTING("{\"order\":" NAMES_17 "}"), FAILURE_INVALID_JOB, "routing.order",
         "must hold at most 16 names"},
        {ROUTING("{\"sort\":\"exacto\"}"), FAILURE_INVALID_JOB, "routing.sort",
         "must be \"price\", \"throughput\", \"latency\", \"quality\" or \"balanced\""},
        {ROUTING("{\"sort\":{\"by\":\"price\",\"partition\":\"all\"}}"), FAILURE_INVALID_JOB, "routing.sort",
         "must have \"model\" or \"none\" as partition"},
        {ROUTING("{\"sort\":{\"order\":\"price\"}}"), FAILURE_INVALID_JOB, "routing.sort",
         "can hold \"by\" and \"partition\" only"},
        {ROUTING("{\"zdr\":\"yes\"}"), FAILURE_INVALID_JOB, "routing.zdr", "must be true or false"},
        {ROUTING("{\"allow_fallbacks\":0}"), FAILURE_INVALID_JOB, "routing.allow_fallbacks",
         "must be true or false"},
        {ROUTING("{\"data_collection\":\"no\"}"), FAILURE_INVALID_JOB, "routing.data_collection",
         "must be \"allow\" or \"deny\""},
        {ROUTING("{\"max_price\":1}"), FAILURE_INVALID_JOB, "routing.max_price", "must be an object"},
        {ROUTING("{\"max_price\":{\"audio\":1}}"), FAILURE_INVALID_JOB, "routing.max_price", "can hold"},
        {ROUTING("{\"max_price\":{\"prompt\":-1}}"), FAILURE_INVALID_JOB, "routing.max_price",
         "must hold amounts of at least 0 USD"},
        {ROUTING("{\"preferred_max_latency\":\"1s\"}"), FAILURE_INVALID_JOB, "routing.preferred_max_latency",
         "must be a number of at least 0, or an object"},
        {ROUTING("{\"preferred_max_latency\":-1}"), FAILURE_INVALID_JOB, "routing.preferred_max_latency",
         "must be a number of at least 0, or an object"},
        {ROUTING("{\"preferred_min_throughput\":{\"p80\":1}}"), FAILURE_INVALID_JOB,
         "routing.preferred_min_throughput", "can hold \"p50\", \"p75\", \"p90\" and \"p99\" only"},
        {ROUTING("{\"preferred_min_throughput\":{\"p99\":\"1\"}}"), FAILURE_INVALID_JOB,
         "routing.preferred_min_throughput", "must hold numbers of at least 0"},
        {ROUTING("{\"unknown_price\":true}"), FAILURE_INVALID_JOB, "routing.unknown_price",
         "must be \"allow\" or \"deny\""},
        {ROUTING("{\"max_cost_usd\":\"1\"}"), FAILURE_INVALID_JOB, "routing.max_cost_usd",
         "must be a number of at least 0"},
        {ROUTING("{\"spread\":10.1}"), FAILURE_INVALID_JOB, "routing.spread",
         "must be a number from 0 to 10"},
        {ROUTING("{\"enforce_distillable_text\":true}"), FAILURE_INVALID_JOB,
         "routing.enforce_distillable_text",
         "cannot be kept: no catalog says whose authors permit distillation"},
        {EMBED("{\"model\":\"m\",\"input\":\"x\",\"provider\":{\"regionz\":[]}}"), FAILURE_INVALID_JOB,
         "body.provider.regionz", "is not a known field; did you mean \"regions\"?"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/"
         "embeddings\",\"body\":{\"model\":\"m\",\"input\":\"x\",\"provider\":"
         "{\"only\":[\"x\"]}},\"routing\":{\"only\":[\"y\"]}}",
         FAILURE_EXCLUDED_BY_POLICY, "routing.only",
         "leaves nothing to choose from: no name stands in all of body.provider, routing"},
};

static void check(struct job_decoder *decoder, const char *line, enum failure failure, const char *field,
                  const char *message) {
        struct job_spec *job = decode(decoder, line);
        if (job->failure != failure || !bytes_equal_string(job->failure_field, field) ||
            !bytes_starts_with(job->failure_message, message))
                fail_msg("%s\ngot %s, \"%.*s\" %.*s", line, failure_text(job->failure),
                         (int)job->failure_field.size, job->failure_field.data,
                         (int)job->failure_message.size, job->failure_message.data);
        assert_true(job->workspace.size > 0 && job->batch.size > 0);
        job_spec_free(job);
}

static void each_says_what_is_wrong(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
                check(decoder, cases[i].line, cases[i].failure, cases[i].field, cases[i].message);
        job_decoder_free(decoder);
}

/* The line's own object is level 1, its body level 2. */
static void depth_is_bounded(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (int levels = 61; levels <= 63; levels++) {
                char line[512] =
                        "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\",\"x\":";
                for (int i = 0; i < levels; i++)
                        strcat(line, "[");
                for (int i = 0; i < levels; i++)
                        strcat(line, "]");
                strcat(line, "}}");
                struct job_spec *job = decode(decoder, line);
                assert_int_equal(job->failure, levels <= 62 ? FAILURE_NONE : FAILURE_INVALID_JOB);
                if (levels > 62)
                        assert_bytes(job->failure_message, "is nested deeper than 64 levels");
                job_spec_free(job);
        }
        job_decoder_free(decoder);
}

static void deep_routing_is_bounded(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        char line[2048] =
                "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\"},\"routing\":"
                "{\"preferred_max_latency\":";
        for (int i = 0; i < 100; i++)
                strcat(line, "{\"p\":");
        strcat(line, "1");
        for (int i = 0; i < 102; i++)
                strcat(line, "}");
        /* `routing` is level 2 and its member level 3, so the 62nd name below it leads to level 65. */
        char place[256] = "routing.preferred_max_latency";
        for (int i = 0; i < 62; i++)
                strcat(place, ".p");
        check(decoder, line, FAILURE_INVALID_JOB, place, "is nested deeper than 64 levels");
        job_decoder_free(decoder);
}

static void long_lines_are_too_large(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        char *line = malloc(TEST_JOB_BYTES_MAX + 1);
        assert_non_null(line);
        memset(line, ' ', TEST_JOB_BYTES_MAX + 1);
        memcpy(line, JOB(""), sizeof(JOB("")) - 1);
        struct job_spec *fits = decode_bytes(decoder, (struct bytes){line, TEST_JOB_BYTES_MAX}, 1);
        assert_int_equal(fits->failure, FAILURE_NONE);
        struct job_spec *over = decode_bytes(decoder, (struct bytes){line, TEST_JOB_BYTES_MAX + 1}, 1);
        assert_int_equal(over->failure, FAILURE_INPUT_TOO_LARGE);
        struct job_spec *cut = job_decode(decoder, BYTES(JOB("")), 1, 0, true);
        assert_non_null(cut);
        assert_int_equal(cut->failure, FAILURE_INPUT_TOO_LARGE);
        assert_bytes(cut->failure_message, "The line is longer than limits.job_bytes, 1048576 bytes.");
        job_spec_free(fits);
        job_spec_free(over);
        job_spec_free(cut);
        free(line);
        job_decoder_free(decoder);
}

/* Broken JSON can need more of the parser's memory than any valid text of that length. */
static void unclosed_brackets_are_no_lack_of_memory(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        char *line = malloc(TEST_JOB_BYTES_MAX);
        assert_non_null(line);
        for (size_t size = 1; size <= TEST_JOB_BYTES_MAX; size *= 2) {
                memset(line, size % 3 == 1 ? '[' : '{', size);
                struct job_spec *job = decode_bytes(decoder, (struct bytes){line, size}, 1);
                assert_int_equal(job->failure, FAILURE_INVALID_JOB);
                assert_true(bytes_starts_with(job->failure_message, "The line is not valid JSON: "));
                job_spec_free(job);
        }
        free(line);
        job_decoder_free(decoder);
}

/* What can be read of a bad line goes into its error line. */
static void what_can_be_read_is_kept(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *job =
                decode(decoder, "{\"oops\":1,\"custom_id\":\"x\",\"url\":\"/v1/embeddings\",\"body\":{}}");
        assert_bytes(job->failure_field, "oops");
        assert_bytes(job->custom_id, "x");
        job_spec_free(job);
        job = decode(decoder,
                     "{\"custom_id\":\"x\",\"url\":\"/v1/embeddings\",\"workspace\":\"w\",\"batch\":\"b\","
                     "\"metadata\":{\"k\":\"v\"},\"body\":{}}");
        assert_bytes(job->workspace, "w");
        assert_bytes(job->batch, "b");
        assert_bytes(job->metadata, "{\"k\":\"v\"}");
        assert_int_equal(job->demand.models_count, 0);
        assert_int_equal(job->body.size, 0);
        job_spec_free(job);
        job = decode(decoder, "{");
        assert_int_equal(job->custom_id.size, 0);
        assert_bytes(job->workspace, "default");
        assert_bytes(job->batch, "jobs.jsonl");
        job_spec_free(job);
        job_decoder_free(decoder);
}

/* One error line per bad line: the name depends on the text and on the place. */
static void bad_lines_have_names(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        struct job_spec *a = decode_bytes(decoder, BYTES("{"), 1),
                        *again = decode_bytes(decoder, BYTES("{"), 1);
        struct job_spec *below = decode_bytes(decoder, BYTES("{"), 2);
        struct job_spec *other = decode_bytes(decoder, BYTES("["), 1);
        assert_true(key128_equal(a->key, again->key));
        assert_false(key128_equal(a->key, below->key));
        assert_false(key128_equal(a->key, other->key));
        assert_memory_equal(a->fingerprint, below->fingerprint, 32);
        assert_memory_not_equal(a->fingerprint, other->fingerprint, 32);
        job_spec_free(a);
        job_spec_free(again);
        job_spec_free(below);
        job_spec_free(other);
        job_decoder_free(decoder);
}

/* An object with very many names, forwards and backwards, and one of them twice. */
static void many_names_are_sorted_not_compared(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        enum { NAMES = 60000 };
        char *line = malloc(TEST_JOB_BYTES_MAX);
        assert_non_null(line);
        for (int twice = 0; twice <= 1; twice++) {
                size_t used = (size_t)sprintf(
                        line, "{\"custom_id\":\"a\",\"url\":\"/v1/responses\",\"body\":{\"model\":\"m\"");
                for (int i = NAMES; i > 0; i--)
                        used += (size_t)sprintf(line + used, ",\"k%d\":0", i);
                used += (size_t)sprintf(line + used, "%s}}", twice ? ",\"k777\":0" : "");
                struct job_spec *job = decode_bytes(decoder, (struct bytes){line, used}, 1);
                assert_int_equal(job->failure, twice ? FAILURE_INVALID_JOB : FAILURE_NONE);
                if (twice)
                        assert_bytes(job->failure_message, "has the name \"k777\" twice");
                job_spec_free(job);
        }
        free(line);
        job_decoder_free(decoder);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_says_what_is_wrong),
                cmocka_unit_test(depth_is_bounded),
                cmocka_unit_test(deep_routing_is_bounded),
                cmocka_unit_test(long_lines_are_too_large),
                cmocka_unit_test(what_can_be_read_is_kept),
                cmocka_unit_test(bad_lines_have_names),
                cmocka_unit_test(many_names_are_sorted_not_compared),
                cmocka_unit_test(unclosed_brackets_are_no_lack_of_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
