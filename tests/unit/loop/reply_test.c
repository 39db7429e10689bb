/* The provider's own name for a call, from the header lines that were kept. */
#include "broker/loop/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_request_id(void **state) {
        static const struct {
                const char *headers, *id;
        } cases[] = {
                {"", ""},
                {"x-request-id: req_1\r\n", "req_1"},
                {"X-Request-Id:req_2\r\n", "req_2"},
                {"request-id: a b\r\n", "a b"},
                {"apim-request-id: \t 7f \r\n", "7f"},
                {"date: now\r\nRequest-ID: second\r\nx-request-id: third\r\n", "second"},
                {"x-request-id: no end", "no end"},
                {"x-request-id:", ""},
                {"x-request-id\r\n", ""},
                {"x-request-ids: a\r\nmy-x-request-id: b\r\n", ""},
                {"etag: x-request-id: a\r\n", ""},
                {"\n\n:\nx-request-id: after\n", "after"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct reply reply = {0};
                buffer_init(&reply.headers, 4096);
                buffer_append_string(&reply.headers, cases[i].headers); /* no zero behind it */
                struct bytes id = reply_request_id(&reply);
                if (!bytes_equal_string(id, cases[i].id))
                        fail_msg("\"%s\": \"%.*s\"", cases[i].headers, (int)id.size, id.data);
                reply_deinit(&reply);
                assert_null(reply.headers.data);
        }
}

static void test_no_reply(void **state) {
        struct reply reply = {0};
        (void)state;
        assert_int_equal(reply_request_id(&reply).size, 0);
        reply_deinit(&reply);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_request_id),
                cmocka_unit_test(test_no_reply),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
