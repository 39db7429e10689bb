/* Texts that say the same have the same fingerprint, and others have not. */
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>

static void fingerprint(struct job_decoder *decoder, const char *url, const char *body,
                        uint8_t out_hash[32]) {
        char line[4096];
        snprintf(line, sizeof line, "{\"custom_id\":\"a\",\"url\":\"%s\",\"body\":%s}", url, body);
        struct job_spec *job = decode(decoder, line);
        if (job->failure != FAILURE_NONE)
                fail_msg("%s: %.*s", line, (int)job->failure_message.size, job->failure_message.data);
        memcpy(out_hash, job->fingerprint, 32);
        job_spec_free(job);
}

#define RESPONSES "/v1/responses"

static const struct {
        const char *a, *b;
        bool equal;
} pairs[] = {
        {"{\"model\":\"m\",\"x\":1}", "{\"x\":1,\"model\":\"m\"}", true},
        {"{\"model\":\"m\",\"x\":1}", " { \"model\" :\t\"m\" , \"x\" : 1 } ", true},
        {"{\"model\":\"m\",\"x\":{\"b\":[1,{\"d\":1,\"c\":2}],\"a\":0}}",
         "{\"x\":{\"a\":0,\"b\":[1,{\"c\":2,\"d\":1}]},\"model\":\"m\"}", true},
        {"{\"model\":\"m\",\"\\u0078\":\"\\u0041\\/\\u00e9\\ud83d\\ude00\"}",
         "{\"model\":\"m\",\"x\":\"A/\xc3\xa9\xf0\x9f\x98\x80\"}", true},
        {"{\"model\":\"m\",\"x\":\"\\u000a\\u0022\\u005c\"}", "{\"model\":\"m\",\"x\":\"\\n\\\"\\\\\"}",
         true},
        {"{\"model\":\"m\",\"x\":\"a\\u0000b\"}", "{\"model\":\"m\",\"x\":\"a\"}", false},
        {"{\"model\":\"m\",\"x\":1}", "{\"model\":\"m\",\"x\":1.0}", false},
        {"{\"model\":\"m\",\"x\":1}", "{\"model\":\"m\",\"x\":\"1\"}", false},
        {"{\"model\":\"m\",\"x\":null}", "{\"model\":\"m\"}", false},
        {"{\"model\":\"m\",\"x\":null}", "{\"model\":\"m\",\"x\":\"null\"}", false},
        {"{\"model\":\"m\",\"x\":true}", "{\"model\":\"m\",\"x\":false}", false},
        {"{\"model\":\"m\",\"x\":[1,2]}", "{\"model\":\"m\",\"x\":[2,1]}", false},
        {"{\"model\":\"m\",\"x\":[1,[2]]}", "{\"model\":\"m\",\"x\":[[1],2]}", false},
        {"{\"model\":\"m\",\"x\":[]}", "{\"model\":\"m\",\"x\":{}}", false},
        {"{\"model\":\"m\",\"x\":[\"a\",\"b\"]}", "{\"model\":\"m\",\"x\":[\"a\\\",\\\"b\"]}", false},
        {"{\"model\":\"m\",\"a\":1,\"ab\":2}", "{\"model\":\"m\",\"a\":2,\"ab\":1}", false},
        {"{\"model\":\"m\",\"x\":\"caf\xc3\xa9\"}", "{\"model\":\"m\",\"x\":\"cafe\xcc\x81\"}", false},
        {"{\"model\":\"m\"}", "{\"model\":\"M\"}", false},
};

static void equal_when_they_say_the_same(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
                uint8_t a[32], b[32];
                fingerprint(decoder, RESPONSES, pairs[i].a, a);
                fingerprint(decoder, RESPONSES, pairs[i].b, b);
                if ((memcmp(a, b, 32) == 0) != pairs[i].equal)
                        fail_msg("%s and %s", pairs[i].a, pairs[i].b);
        }
        job_decoder_free(decoder);
}

static void the_endpoint_is_part_of_it(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        uint8_t a[32], b[32];
        fingerprint(decoder, RESPONSES, "{\"model\":\"m\"}", a);
        fingerprint(decoder, "/v1/moderations", "{\"model\":\"m\"}", b);
        assert_memory_not_equal(a, b, 32);
        job_decoder_free(decoder);
}

/* Both ways of sorting: in any order of writing, 2 to 100 members give one fingerprint. */
static void any_number_of_members_in_any_order(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        for (size_t count = 2; count <= 100; count += 7) {
                uint8_t first[32], turned[32];
                for (size_t turn = 0; turn < count; turn += 3) {
                        char body[4096];
                        size_t used = (size_t)snprintf(body, sizeof body, "{\"model\":\"m\"");
                        for (size_t i = 0; i < count; i++)
                                used += (size_t)snprintf(body + used, sizeof body - used, ",\"k%zu\":%zu",
                                                         (i * 11 + turn) % count, (i * 11 + turn) % count);
                        snprintf(body + used, sizeof body - used, "}");
                        if (count % 11 == 0)
                                continue;
                        fingerprint(decoder, RESPONSES, body, turn == 0 ? first : turned);
                        if (turn > 0)
                                assert_memory_equal(first, turned, 32);
                }
        }
        job_decoder_free(decoder);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(equal_when_they_say_the_same),
                cmocka_unit_test(the_endpoint_is_part_of_it),
                cmocka_unit_test(any_number_of_members_in_any_order),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
