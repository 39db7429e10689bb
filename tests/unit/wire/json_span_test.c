/* Spans of members: where they begin and end, whatever stands inside them. */
#include "broker/wire/json_span.h"
#include "wire_fixture.h"

#include <string.h>

struct expected_member {
        const char *key, *value;
};

static const struct span_case {
        const char *text;
        struct expected_member members[5];
} cases[] = {
        {"{}", {{0}}},
        {" \t\r\n{ \n} ", {{0}}},
        {"{\"a\":1}", {{"\"a\"", "1"}}},
        {"{\"a\":-1.5e+7,\"b\":true}", {{"\"a\"", "-1.5e+7"}, {"\"b\"", "true"}}},
        {" { \"a\" : null , \"b\" : \"x\" } ", {{"\"a\"", "null"}, {"\"b\"", "\"x\""}}},
        {"{\"a\":[1,[2,{\"b\":[]}],\"]\"],\"c\":{}}",
         {{"\"a\"", "[1,[2,{\"b\":[]}],\"]\"]"}, {"\"c\"", "{}"}}},
        {"{\"a\":\"\\\"\",\"b\":\"\\\\\",\"c\":\"\\\\\\\"}\"}",
         {{"\"a\"", "\"\\\"\""}, {"\"b\"", "\"\\\\\""}, {"\"c\"", "\"\\\\\\\"}\""}}},
        {"{\"a\\\"b,:{\":{\"}\":\"{\"},\"\":0}", {{"\"a\\\"b,:{\"", "{\"}\":\"{\"}"}, {"\"\"", "0"}}},
        {"{\"k\":\"0123456\\\"0123456789\",\"l\":\"01234567\"}",
         {{"\"k\"", "\"0123456\\\"0123456789\""}, {"\"l\"", "\"01234567\""}}},
        {"{\"a\":[\"\xe2\x82\xac\"],\"\xc3\xa9\":\"\xf0\x9f\x98\x80\"}",
         {{"\"a\"", "[\"\xe2\x82\xac\"]"}, {"\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\""}}},
        {"{\"a\":1\n}", {{"\"a\"", "1"}}},
        {"[1]", {{0}}},
        {"", {{0}}},
};

static void spans_cover_keys_and_values(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct bytes text = bytes_of(cases[i].text);
                struct json_members members;
                struct json_member member;
                json_members_init(&members, text);
                for (const struct expected_member *expected = cases[i].members; expected->key; expected++) {
                        assert_true(json_members_next(&members, &member));
                        assert_bytes(span_of(text, member.key), expected->key);
                        assert_bytes(span_of(text, member.value), expected->value);
                        assert_int_equal(member.member.offset, member.key.offset);
                        assert_int_equal(member.member.offset + member.member.size,
                                         member.value.offset + member.value.size);
                }
                assert_false(json_members_next(&members, &member));
                assert_false(json_members_next(&members, &member));
        }
}

/* Text that is not valid JSON must not be given, but must not be read beyond either (sanitizer). */
static void cut_text_ends_inside(void **state) {
        (void)state;
        static const char text[] = "{\"a\\\"\":[\"x\\\\\",{\"y\":[1,2]}],\"b\":\"0123456789\\\"\",\"c\":12}";
        for (size_t size = 0; size < sizeof text; size++) {
                char *copy = malloc(size + 1);
                assert_non_null(copy);
                memcpy(copy, text, size);
                char *exact = realloc(copy, size > 0 ? size : 1);
                struct json_members members;
                struct json_member member;
                json_members_init(&members, (struct bytes){exact, size});
                while (json_members_next(&members, &member))
                        assert_true(member.member.offset + member.member.size <= size);
                free(exact);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(spans_cover_keys_and_values),
                cmocka_unit_test(cut_text_ends_inside),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
