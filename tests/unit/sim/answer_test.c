#include "broker/base/money.h"
#include "broker/sim/answer.h"
#include "broker/sim/answers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include <cmocka.h>

static struct sim_settings settings = {
        .reply_tokens = {SIM_SHAPE_FIXED, 16, 0},
        .dimensions = 8,
        .prices = {.input_picousd = PICOUSD_PER_USD,
                   .output_picousd = 2 * PICOUSD_PER_USD,
                   .audio_input_picousd = 10 * PICOUSD_PER_USD,
                   .audio_output_picousd = 20 * PICOUSD_PER_USD,
                   .tiers = {{"flex", PICOUSD_PER_USD / 2}, {"third", PICOUSD_PER_USD / 3}},
                   .tiers_count = 2},
        .report_cost = true,
};

struct asked {
        struct sim_problem problem;
        yyjson_doc *doc; /* NULL when the answer is no JSON */
        char text[65536];
        size_t text_bytes;
};

static void ask(enum sim_endpoint endpoint, const char *body, struct sim_fault fault,
                struct asked *out_asked) {
        struct sim_request request;
        struct sim_order order = {&settings, &request, fault};
        struct sim_answer answer;

        sim_request_init(&request, endpoint, 100000);
        buffer_append_string(&request.body, body);
        *out_asked = (struct asked){.problem = sim_request_read(&request)};
        if (out_asked->problem.message == NULL) {
                sim_answer_init(&answer);
                sim_answer_make(&order, &answer);
                assert_true(answer.body.size < sizeof(out_asked->text));
                memcpy(out_asked->text, answer.body.data, answer.body.size);
                out_asked->text_bytes = answer.body.size;
                out_asked->doc = yyjson_read(answer.body.data, answer.body.size, YYJSON_READ_NOFLAG);
                sim_answer_deinit(&answer);
        }
        sim_request_deinit(&request);
}

static yyjson_val *at(const struct asked *asked, const char *pointer) {
        return yyjson_doc_ptr_get(asked->doc, pointer);
}

static void ask_well(enum sim_endpoint endpoint, const char *body, enum sim_fault_kind kind,
                     struct asked *out_asked) {
        ask(endpoint, body, (struct sim_fault){.kind = kind, .parameter = 3}, out_asked);
        if (out_asked->problem.message != NULL || out_asked->doc == NULL)
                fail_msg("%s: %s", body,
                         out_asked->problem.message == NULL ? "no JSON" : out_asked->problem.message);
}

#define CHAT "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"0123456789\"}]"

static struct asked asked, other;

static void paths_lead_to_endpoints(void **state) {
        struct bytes deployment;

        (void)state;
        assert_int_equal(sim_endpoint_of("/v1/chat/completions", &deployment), SIM_ENDPOINT_CHAT);
        assert_int_equal(sim_endpoint_of("/api/v1/embeddings", &deployment), SIM_ENDPOINT_EMBEDDINGS);
        assert_int_equal(sim_endpoint_of("/openai/v1/responses", &deployment), SIM_ENDPOINT_RESPONSES);
        assert_int_equal(deployment.size, 0);
        assert_int_equal(sim_endpoint_of("/openai/deployments/gpt 4/audio/speech", &deployment),
                         SIM_ENDPOINT_SPEECH);
        assert_true(bytes_equal_string(deployment, "gpt 4"));
        assert_int_equal(sim_endpoint_of("/chat/completions", &deployment), SIM_ENDPOINTS);
        assert_int_equal(sim_endpoint_of("/v1/chat", &deployment), SIM_ENDPOINTS);
        assert_int_equal(sim_endpoint_of("/v1", &deployment), SIM_ENDPOINTS);
}

static void bad_requests_are_refused(void **state) {
        static const struct {
                enum sim_endpoint endpoint;
                const char *body;
        } rows[] = {
                {SIM_ENDPOINT_CHAT, ""},
                {SIM_ENDPOINT_CHAT, "[]"},
                {SIM_ENDPOINT_CHAT, "{\"model\":\"m\"}"},
                {SIM_ENDPOINT_CHAT, "{\"messages\":[{}]}"},
                {SIM_ENDPOINT_CHAT, CHAT ",\"stream\":true}"},
                {SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":\"\"}"},
                {SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[]}"},
                {SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",{}]}"},
                {SIM_ENDPOINT_RERANK, "{\"model\":\"m\",\"query\":\"q\"}"},
                {SIM_ENDPOINT_TRANSCRIPTIONS, ""},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                ask(rows[i].endpoint, rows[i].body, (struct sim_fault){0}, &asked);
                assert_non_null(asked.problem.message);
                assert_int_equal(asked.problem.status, 400);
        }
}

static void chat_has_the_shape_and_true_usage(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_NONE, &asked);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_NONE, &other);
        assert_int_equal(asked.text_bytes, other.text_bytes);
        assert_memory_equal(asked.text, other.text, asked.text_bytes);
        assert_int_equal(yyjson_get_len(at(&asked, "/choices/0/message/content")), 64);
        assert_non_null(strstr(yyjson_get_str(at(&asked, "/choices/0/message/content")), "0123456789"));
        assert_string_equal(yyjson_get_str(at(&asked, "/choices/0/finish_reason")), "stop");
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/prompt_tokens")), 3);
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/total_tokens")), 19);
        assert_true(fabs(yyjson_get_real(at(&asked, "/usage/cost")) - 35e-6) < 1e-12);
        yyjson_doc_free(asked.doc);
        yyjson_doc_free(other.doc);
}

static void output_is_capped(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_CHAT, CHAT ",\"max_tokens\":5,\"n\":2}", SIM_FAULT_NONE, &asked);
        assert_string_equal(yyjson_get_str(at(&asked, "/choices/1/finish_reason")), "length");
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/completion_tokens")), 10);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_RESPONSES, "{\"model\":\"m\",\"input\":\"x\",\"max_output_tokens\":1}",
                 SIM_FAULT_NONE, &asked);
        assert_string_equal(yyjson_get_str(at(&asked, "/status")), "incomplete");
        assert_int_equal(yyjson_get_len(at(&asked, "/output/0/content/0/text")), 4);
        yyjson_doc_free(asked.doc);
}

static void text_is_never_cut_inside_a_character(void **state) {
        char body[200];

        (void)state;
        for (int tokens = 1; tokens < 12; tokens++) {
                (void)snprintf(body, sizeof(body),
                               "{\"model\":\"m\",\"max_tokens\":%d,\"prompt\":\"xäöüß€€€€€€€€€€€€€€\"}",
                               tokens);
                ask_well(SIM_ENDPOINT_COMPLETIONS, body, SIM_FAULT_NONE, &asked);
                assert_null(strstr(asked.text, "\xef\xbf\xbd"));
                yyjson_doc_free(asked.doc);
        }
}

/* FLAC by its header, of 90 seconds: ten tokens for each. */
#define LISTEN                                                                                               \
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"        \
        "\"01234567\"},"                                                                                     \
        "{\"type\":\"input_audio\",\"input_audio\":{\"data\":"                                               \
        "\"ZkxhQwAAACIAAAAAAAAAAAAACsRC8AA8j+gAAAAAAAAAAAAAAAAAAAAA\",\"format\":\"flac\"}}]}]"

static int64_t whole(const char *pointer) {
        return yyjson_get_sint(at(&asked, pointer));
}

static void sound_is_counted_apart(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_CHAT, LISTEN "}", SIM_FAULT_NONE, &asked);
        assert_int_equal(whole("/usage/prompt_tokens"), 902);
        assert_int_equal(whole("/usage/prompt_tokens_details/audio_tokens"), 900);
        assert_int_equal(whole("/usage/prompt_tokens_details/text_tokens"), 2);
        assert_null(at(&asked, "/usage/completion_tokens_details"));
        assert_true(fabs(yyjson_get_real(at(&asked, "/usage/cost")) - (2 + 9000 + 32) * 1e-6) < 1e-12);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT ",\"modalities\":[\"text\",\"audio\"]}", SIM_FAULT_NONE, &asked);
        assert_int_equal(whole("/usage/completion_tokens"), 16);
        assert_int_equal(whole("/usage/completion_tokens_details/audio_tokens"), 13);
        assert_int_equal(yyjson_get_len(at(&asked, "/choices/0/message/audio/transcript")), 64);
        assert_int_equal(yyjson_get_len(at(&asked, "/choices/0/message/audio/data")),
                         (44 + 13 * 800 + 2) / 3 * 4);
        assert_true(fabs(yyjson_get_real(at(&asked, "/usage/cost")) - (3 + 6 + 260) * 1e-6) < 1e-12);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, LISTEN "}", SIM_FAULT_USAGE_LIE, &asked);
        assert_int_equal(whole("/usage/prompt_tokens_details/audio_tokens"), 2700);
        yyjson_doc_free(asked.doc);
}

static void caches_and_thoughts_are_counted_apart(void **state) {
        (void)state;
        struct sim_settings before = settings;
        settings.cached_share_picos = PICOUSD_PER_USD / 2;
        settings.reasoning_share_picos = PICOUSD_PER_USD / 4;
        settings.prices.cached_input_picousd = PICOUSD_PER_USD / 10;
        settings.prices.reasoning_picousd = 3 * PICOUSD_PER_USD;
        ask_well(SIM_ENDPOINT_CHAT, LISTEN ",\"modalities\":[\"audio\"]}", SIM_FAULT_NONE, &asked);
        assert_int_equal(whole("/usage/prompt_tokens_details/cached_tokens"), 1); /* of two that are text */
        assert_int_equal(whole("/usage/completion_tokens_details/reasoning_tokens"), 0);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_RESPONSES, "{\"model\":\"m\",\"input\":\"01234567\"}", SIM_FAULT_NONE, &asked);
        assert_int_equal(whole("/usage/input_tokens_details/cached_tokens"), 1);
        assert_int_equal(whole("/usage/output_tokens_details/reasoning_tokens"), 4);
        assert_true(fabs(yyjson_get_real(at(&asked, "/usage/cost")) - (1.1 + 12 * 2 + 4 * 3) * 1e-6) < 1e-12);
        yyjson_doc_free(asked.doc);
        settings = before;
}

static void a_tier_of_service_is_said_and_billed(void **state) {
        static const struct {
                const char *member, *said;
                double cost;
        } rows[] = {
                {"", NULL, 35e-6},
                {",\"service_tier\":\"flex\"", "flex", 17.5e-6},
                {",\"service_tier\":\"priority\"", "default", 35e-6},
                {",\"service_tier\":\"auto\"", "default", 35e-6},
                {",\"service_tier\":\"third\"", "third",
                 0.000011666667}, /* prices and parts are rounded up */
                {",\"service_tier\":7", NULL, 35e-6},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                char body[256];

                snprintf(body, sizeof(body), CHAT "%s}", rows[i].member);
                ask_well(SIM_ENDPOINT_CHAT, body, SIM_FAULT_NONE, &asked);
                assert_true((rows[i].said == NULL) == (at(&asked, "/service_tier") == NULL));
                if (rows[i].said != NULL)
                        assert_string_equal(yyjson_get_str(at(&asked, "/service_tier")), rows[i].said);
                assert_true(fabs(yyjson_get_real(at(&asked, "/usage/cost")) - rows[i].cost) < 1e-12);
                yyjson_doc_free(asked.doc);
        }
}

static void usage_lies_as_told(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_USAGE_ABSENT, &asked);
        assert_null(at(&asked, "/usage"));
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_USAGE_ZERO, &asked);
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/total_tokens")), 0);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_USAGE_NEGATIVE, &asked);
        assert_true(yyjson_get_sint(at(&asked, "/usage/total_tokens")) < 0);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_USAGE_HUGE, &asked);
        assert_true(yyjson_get_uint(at(&asked, "/usage/total_tokens")) == UINT64_C(1) << 63);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_USAGE_LIE, &asked);
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/prompt_tokens")), 9);
        yyjson_doc_free(asked.doc);
}

static void refusals_and_filters_are_said(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_CONTENT_FILTER, &asked);
        assert_string_equal(yyjson_get_str(at(&asked, "/choices/0/finish_reason")), "content_filter");
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_CHAT, CHAT "}", SIM_FAULT_REFUSAL, &asked);
        assert_true(yyjson_is_str(at(&asked, "/choices/0/message/refusal")));
        yyjson_doc_free(asked.doc);
}

static void vectors_are_deterministic_and_of_unit_length(void **state) {
        double sum = 0;

        (void)state;
        ask_well(SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",\"b\",\"a\"]}", SIM_FAULT_NONE,
                 &asked);
        ask_well(SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"other\",\"input\":\"b\"}", SIM_FAULT_NONE, &other);
        assert_int_equal(yyjson_arr_size(at(&asked, "/data")), 3);
        for (size_t i = 0; i < 8; i++) {
                double first = yyjson_get_num(yyjson_arr_get(at(&asked, "/data/0/embedding"), i));
                double second = yyjson_get_num(yyjson_arr_get(at(&asked, "/data/1/embedding"), i));

                assert_true(first == yyjson_get_num(yyjson_arr_get(at(&asked, "/data/2/embedding"), i)));
                assert_true(second == yyjson_get_num(yyjson_arr_get(at(&other, "/data/0/embedding"), i)));
                assert_true(first != second);
                sum += first * first;
        }
        assert_true(fabs(sum - 1) < 1e-6);
        assert_int_equal(yyjson_get_int(at(&asked, "/data/2/index")), 2);
        yyjson_doc_free(asked.doc);
        yyjson_doc_free(other.doc);
}

static void base64_says_the_same_floats(void **state) {
        struct buffer packed;

        (void)state;
        buffer_init(&packed, 1000);
        ask_well(SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[1,2,3],\"dimensions\":5}",
                 SIM_FAULT_NONE, &asked);
        ask_well(SIM_ENDPOINT_EMBEDDINGS,
                 "{\"model\":\"m\",\"input\":[[1,2,3]],\"dimensions\":5,\"encoding_format\":\"base64\"}",
                 SIM_FAULT_NONE, &other);
        assert_int_equal(yyjson_get_int(at(&asked, "/usage/prompt_tokens")), 3);
        assert_true(buffer_append_base64_decoded(&packed,
                                                 bytes_of(yyjson_get_str(at(&other, "/data/0/embedding")))));
        assert_int_equal(packed.size, 5 * sizeof(float));
        for (size_t i = 0; i < 5; i++) {
                float component;

                memcpy(&component, packed.data + i * sizeof(float), sizeof(float));
                assert_true(component ==
                            (float)yyjson_get_num(yyjson_arr_get(at(&asked, "/data/0/embedding"), i)));
        }
        buffer_deinit(&packed);
        yyjson_doc_free(asked.doc);
        yyjson_doc_free(other.doc);
}

static void a_vector_can_be_missing(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_EMBEDDINGS, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}", SIM_FAULT_WRONG_COUNT,
                 &asked);
        assert_int_equal(yyjson_arr_size(at(&asked, "/data")), 1);
        yyjson_doc_free(asked.doc);
}

static void rerank_sorts_and_keeps_top_n(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_RERANK,
                 "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"},\"c\"],\"top_n\":2}",
                 SIM_FAULT_NONE, &asked);
        assert_int_equal(yyjson_arr_size(at(&asked, "/results")), 2);
        assert_true(yyjson_get_num(at(&asked, "/results/0/relevance_score")) >=
                    yyjson_get_num(at(&asked, "/results/1/relevance_score")));
        yyjson_doc_free(asked.doc);
}

static void the_rest_answers_too(void **state) {
        (void)state;
        ask_well(SIM_ENDPOINT_MODERATIONS, "{\"input\":[\"a\",\"b\"]}", SIM_FAULT_NONE, &asked);
        assert_int_equal(yyjson_arr_size(at(&asked, "/results")), 2);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_IMAGES, "{\"model\":\"m\",\"prompt\":\"a cat\",\"n\":2}", SIM_FAULT_NONE,
                 &asked);
        assert_int_equal(yyjson_arr_size(at(&asked, "/data")), 2);
        assert_memory_equal(yyjson_get_str(at(&asked, "/data/0/b64_json")), "iVBORw0KGgo", 11);
        yyjson_doc_free(asked.doc);
        ask_well(SIM_ENDPOINT_MODELS, "", SIM_FAULT_NONE, &asked);
        assert_true(yyjson_is_str(at(&asked, "/data/0/id")));
        yyjson_doc_free(asked.doc);
        ask(SIM_ENDPOINT_SPEECH, "{\"model\":\"m\",\"input\":\"hi\",\"response_format\":\"flac\"}",
            (struct sim_fault){0}, &asked);
        assert_memory_equal(asked.text, "fLaC", 4);
        ask(SIM_ENDPOINT_SPEECH, "{\"model\":\"m\",\"input\":\"hi\"}", (struct sim_fault){0}, &asked);
        assert_memory_equal(asked.text, "RIFF", 4);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_lead_to_endpoints),
                cmocka_unit_test(bad_requests_are_refused),
                cmocka_unit_test(chat_has_the_shape_and_true_usage),
                cmocka_unit_test(output_is_capped),
                cmocka_unit_test(text_is_never_cut_inside_a_character),
                cmocka_unit_test(sound_is_counted_apart),
                cmocka_unit_test(caches_and_thoughts_are_counted_apart),
                cmocka_unit_test(a_tier_of_service_is_said_and_billed),
                cmocka_unit_test(usage_lies_as_told),
                cmocka_unit_test(refusals_and_filters_are_said),
                cmocka_unit_test(vectors_are_deterministic_and_of_unit_length),
                cmocka_unit_test(base64_says_the_same_floats),
                cmocka_unit_test(a_vector_can_be_missing),
                cmocka_unit_test(rerank_sorts_and_keeps_top_n),
                cmocka_unit_test(the_rest_answers_too),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
