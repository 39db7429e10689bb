/* MessagePack to JSON and back: every form of the specification, and everything that is refused. */
#include "broker/wire/msgpack.h"
#include "wire_fixture.h"

#include <stdio.h>
#include <string.h>

#define RAW(literal) ((struct bytes){(literal), sizeof(literal) - 1})

struct fixture {
        struct buffer out;
        struct problem problem;
};

static void begin(struct fixture *fixture, size_t size_max) {
        buffer_init(&fixture->out, size_max);
        buffer_append_string(&fixture->out, "before ");
        problem_init(&fixture->problem);
}

static void assert_json(struct bytes message, const char *json) {
        struct fixture fixture;
        char *copy = bytes_dup(message); /* its end is the end of memory, for the sanitizer */
        begin(&fixture, 1 << 20);
        assert_int_equal(msgpack_to_json((struct bytes){copy, message.size}, &fixture.out, &fixture.problem),
                         MSGPACK_DONE);
        struct bytes text = {fixture.out.data + 7, fixture.out.size - 7};
        assert_bytes(text, json);
        buffer_deinit(&fixture.out);
        free(copy);
}

static void assert_refused(struct bytes message, const char *field, const char *sentence) {
        struct fixture fixture;
        begin(&fixture, 1 << 20);
        assert_int_equal(msgpack_to_json(message, &fixture.out, &fixture.problem), MSGPACK_REFUSED);
        assert_int_equal(fixture.problem.failure, FAILURE_INVALID_JOB);
        assert_string_equal(fixture.problem.field, field);
        assert_string_equal(fixture.problem.message, sentence);
        assert_bytes(buffer_view(&fixture.out), "before ");
        buffer_deinit(&fixture.out);
}

static void every_form_is_read(void **state) {
        (void)state;
        assert_json(RAW("\xc0"), "null");
        assert_json(RAW("\xc2"), "false");
        assert_json(RAW("\xc3"), "true");
        assert_json(RAW("\x7f"), "127");
        assert_json(RAW("\xe0"), "-32");
        assert_json(RAW("\xff"), "-1");
        assert_json(RAW("\xcc\xff"), "255");
        assert_json(RAW("\xcd\xff\xff"), "65535");
        assert_json(RAW("\xce\xff\xff\xff\xff"), "4294967295");
        assert_json(RAW("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615");
        assert_json(RAW("\xd0\x80"), "-128");
        assert_json(RAW("\xd0\x7f"), "127");
        assert_json(RAW("\xd1\x80\x00"), "-32768");
        assert_json(RAW("\xd2\x80\x00\x00\x00"), "-2147483648");
        assert_json(RAW("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), "-9223372036854775808");
        assert_json(RAW("\xca\x3e\x80\x00\x00"), "0.25");
        assert_json(RAW("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1");
        assert_json(RAW("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), "1.0");
        assert_json(RAW("\xa0"), "\"\"");
        assert_json(RAW("\xa3"
                        "abc"),
                    "\"abc\"");
        assert_json(RAW("\xd9\x01\""), "\"\\\"\"");
        assert_json(RAW("\xda\x00\x01\n"), "\"\\u000a\"");
        assert_json(RAW("\xdb\x00\x00\x00\x02\xc3\xa9"), "\"\xc3\xa9\"");
        assert_json(RAW("\x90"), "[]");
        assert_json(RAW("\x92\x01\x91\xc0"), "[1,[null]]");
        assert_json(RAW("\xdc\x00\x01\x01"), "[1]");
        assert_json(RAW("\xdd\x00\x00\x00\x01\x01"), "[1]");
        assert_json(RAW("\x80"), "{}");
        assert_json(RAW("\x82\xa1"
                        "a\x01\xa0\x81\xa1"
                        "b\x02"),
                    "{\"a\":1,\"\":{\"b\":2}}");
        assert_json(RAW("\xde\x00\x01\xa1"
                        "a\x01"),
                    "{\"a\":1}");
        assert_json(RAW("\xdf\x00\x00\x00\x01\xa1"
                        "a\x01"),
                    "{\"a\":1}");
}

static void what_json_cannot_say_is_refused_with_its_place(void **state) {
        (void)state;
        assert_refused(RAW(""), "", "The MessagePack value ends too early (at byte 1).");
        assert_refused(RAW("\xc1"), "", "The MessagePack value is cut short, or no MessagePack (at byte 1).");
        assert_refused(RAW("\x01\x02"), "", "The MessagePack value goes on behind its end (at byte 2).");
        assert_refused(RAW("\x81\xa1"
                           "a\x92\x01\xc4\x01x"),
                       "a[1]", "must not be binary (bin); bytes are base64 text (at byte 6)");
        assert_refused(RAW("\x81\xa1"
                           "a\x81\xa1"
                           "b\xd6\xff\x00\x00\x00\x01"),
                       "a.b", "must not be an extension (ext); times are RFC 3339 text (at byte 7)");
        assert_refused(RAW("\x91\xc7\x01\x05x"), "[0]",
                       "must not be an extension (ext); times are RFC 3339 text (at byte 2)");
        assert_refused(RAW("\x81\x01\x02"), "",
                       "The MessagePack value must have names that are strings (str) (at byte 2).");
        assert_refused(RAW("\x81\xa1"
                           "a\x81\xa1\xff\x02"),
                       "a", "must be valid UTF-8 (at byte 5)");
        assert_refused(RAW("\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), "[0]",
                       "must be a finite number (at byte 2)");
        assert_refused(RAW("\x91\xca\xff\x80\x00\x00"), "[0]", "must be a finite number (at byte 2)");
}

static void text_must_be_utf8(void **state) {
        (void)state;
        static const char *const good[] = {
                "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",     "\xed\x9f\xbf",
                "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "seven b\xc3\xa9"};
        static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",
                                          "\xc2",         "\xc2\x41",         "\xe0\x9f\xbf",
                                          "\xed\xa0\x80", "\xe2\x82",         "\xf0\x8f\xbf\xbf",
                                          "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
                                          "\xff",         "seven b\xc3"};
        for (size_t i = 0; i < sizeof good / sizeof *good + sizeof bad / sizeof *bad; i++) {
                bool is_good = i < sizeof good / sizeof *good;
                const char *text = is_good ? good[i] : bad[i - sizeof good / sizeof *good];
                char message[32], json[40];
                int size = snprintf(message, sizeof message, "%c%s", (char)(0xa0 | strlen(text)), text);
                snprintf(json, sizeof json, "\"%s\"", text);
                if (is_good)
                        assert_json((struct bytes){message, (size_t)size}, json);
                else
                        assert_refused((struct bytes){message, (size_t)size}, "",
                                       "The MessagePack value must be valid UTF-8 (at byte 1).");
        }
}

/* Nothing may be made room for before it is there: 2^32-1 elements claimed in five bytes. */
static void claims_are_believed_up_to_the_bytes_that_are_there(void **state) {
        (void)state;
        static const struct bytes claims[] = {
                {"\xdd\xff\xff\xff\xff", 5},
                {"\xdf\xff\xff\xff\xff", 5},
                {"\xdb\xff\xff\xff\xff", 5},
                {"\xc6\xff\xff\xff\xff", 5},
                {"\xc9\xff\xff\xff\xff", 5},
                {"\xde\x00\x01\x00", 4},
                {"\x81\xa0", 2},
                {"\x9f\x01", 2},
                {"\xcf\x00", 2},
        };
        for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) /* at the claim, not behind it */
                assert_refused(claims[i], "",
                               "The MessagePack value is cut short, or no MessagePack (at byte 1).");
}

static void every_shorter_message_is_refused(void **state) {
        (void)state;
        struct bytes whole = RAW("\x83\xa1"
                                 "a\x93\x01\xcd\x01\x00\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\xa1"
                                 "b\xd9\x02xy\xa1"
                                 "c\xdc\x00\x01\xc3");
        assert_json(whole, "{\"a\":[1,256,1.0],\"b\":\"xy\",\"c\":[true]}");
        for (size_t size = 0; size < whole.size; size++) {
                struct fixture fixture;
                char *copy = size == 0 ? malloc(1) : bytes_dup((struct bytes){whole.data, size});
                begin(&fixture, 1 << 10);
                assert_int_equal(msgpack_to_json((struct bytes){copy, size}, &fixture.out, &fixture.problem),
                                 MSGPACK_REFUSED);
                buffer_deinit(&fixture.out);
                free(copy);
        }
}

static void depth_is_bounded(void **state) {
        (void)state;
        char message[MSGPACK_DEPTH_MAX + 2], json[2 * MSGPACK_DEPTH_MAX + 3];
        struct fixture fixture;
        memset(message, '\x91', sizeof message);
        message[MSGPACK_DEPTH_MAX - 1] = '\x90';
        memset(json, '[', MSGPACK_DEPTH_MAX);
        memset(json + MSGPACK_DEPTH_MAX, ']', MSGPACK_DEPTH_MAX);
        json[2 * MSGPACK_DEPTH_MAX] = '\0';
        assert_json((struct bytes){message, MSGPACK_DEPTH_MAX}, json);
        begin(&fixture, 1 << 10);
        assert_int_equal(msgpack_from_json(bytes_of(json), &fixture.out, &fixture.problem), MSGPACK_DONE);
        assert_memory_equal(fixture.out.data + 7, message, MSGPACK_DEPTH_MAX);
        buffer_deinit(&fixture.out);

        message[MSGPACK_DEPTH_MAX - 1] = '\x91';
        message[MSGPACK_DEPTH_MAX] = '\x90';
        begin(&fixture, 1 << 10);
        assert_int_equal(msgpack_to_json((struct bytes){message, MSGPACK_DEPTH_MAX + 1}, &fixture.out,
                                         &fixture.problem),
                         MSGPACK_REFUSED);
        assert_non_null(strstr(fixture.problem.message, "nested deeper than 64 levels"));
        buffer_deinit(&fixture.out);
        memset(json, '[', MSGPACK_DEPTH_MAX + 1);
        memset(json + MSGPACK_DEPTH_MAX + 1, ']', MSGPACK_DEPTH_MAX + 1);
        begin(&fixture, 1 << 10);
        assert_int_equal(msgpack_from_json((struct bytes){json, 2 * MSGPACK_DEPTH_MAX + 2}, &fixture.out,
                                           &fixture.problem),
                         MSGPACK_REFUSED);
        assert_string_equal(fixture.problem.message, "The text is nested deeper than 64 levels.");
        assert_bytes(buffer_view(&fixture.out), "before ");
        buffer_deinit(&fixture.out);
}

/* With one byte less than it needs, nothing; and a ceiling is no lack of memory. */
static void the_ceiling_is_kept(void **state) {
        (void)state;
        static const struct {
                struct bytes message;
                size_t json_bytes;
        } cases[] = {{{"\xa2\n\n", 3}, 14},
                     {{"\x92\x01\xa1x", 4}, 7},
                     {{"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9}, 20},
                     {{"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", 9}, 3}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct fixture fixture;
                begin(&fixture, 7 + cases[i].json_bytes);
                assert_int_equal(msgpack_to_json(cases[i].message, &fixture.out, &fixture.problem),
                                 MSGPACK_DONE);
                assert_int_equal(fixture.out.size, 7 + cases[i].json_bytes);
                buffer_deinit(&fixture.out);
                begin(&fixture, 7 + cases[i].json_bytes - 1);
                assert_int_equal(msgpack_to_json(cases[i].message, &fixture.out, &fixture.problem),
                                 MSGPACK_TOO_LARGE);
                assert_bytes(buffer_view(&fixture.out), "before ");
                assert_false(fixture.out.failed);
                buffer_deinit(&fixture.out);
        }
        struct fixture fixture;
        begin(&fixture, 7 + 8);
        assert_int_equal(msgpack_from_json(BYTES("0.5"), &fixture.out, &fixture.problem), MSGPACK_TOO_LARGE);
        assert_bytes(buffer_view(&fixture.out), "before ");
        assert_false(fixture.out.failed);
        buffer_deinit(&fixture.out);
}

static void assert_message(const char *json, struct bytes message) {
        struct fixture fixture;
        begin(&fixture, 1 << 20);
        assert_int_equal(msgpack_from_json(bytes_of(json), &fixture.out, &fixture.problem), MSGPACK_DONE);
        assert_int_equal(fixture.out.size - 7, message.size);
        assert_memory_equal(fixture.out.data + 7, message.data, message.size);
        buffer_deinit(&fixture.out);
}

static void json_is_written_in_the_smallest_form(void **state) {
        (void)state;
        assert_message("null", RAW("\xc0"));
        assert_message(" [true, false] ", RAW("\x92\xc3\xc2"));
        assert_message("-1", RAW("\xff"));
        assert_message("128", RAW("\xcc\x80"));
        assert_message("18446744073709551615", RAW("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
        assert_message("-9223372036854775808", RAW("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"));
        assert_message("18446744073709551616", RAW("\xcb\x43\xf0\x00\x00\x00\x00\x00\x00"));
        assert_message("0.00000012", RAW("\xcb\x3e\x80\x1b\x2b\x29\xa4\x69\x2b"));
        assert_message("{\"a\":{\"b\":[[],{}]},\"\\u0000\\u00e9\":\"\"}", RAW("\x82\xa1"
                                                                              "a\x81\xa1"
                                                                              "b\x92\x90\x80\xa3\x00\xc3\xa9"
                                                                              "\xa0"));
}

static void text_that_is_no_json_is_refused(void **state) {
        (void)state;
        static const char *const texts[] = {"", " ", "{", "[1,]", "1 2", "\"\xff\"", "1e999", "NaN"};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                struct fixture fixture;
                begin(&fixture, 1 << 20);
                assert_int_equal(msgpack_from_json(bytes_of(texts[i]), &fixture.out, &fixture.problem),
                                 MSGPACK_REFUSED);
                assert_int_equal(fixture.problem.failure, FAILURE_INVALID_JOB);
                assert_bytes(buffer_view(&fixture.out), "before ");
                buffer_deinit(&fixture.out);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_form_is_read),
                cmocka_unit_test(what_json_cannot_say_is_refused_with_its_place),
                cmocka_unit_test(text_must_be_utf8),
                cmocka_unit_test(claims_are_believed_up_to_the_bytes_that_are_there),
                cmocka_unit_test(every_shorter_message_is_refused),
                cmocka_unit_test(depth_is_bounded),
                cmocka_unit_test(the_ceiling_is_kept),
                cmocka_unit_test(json_is_written_in_the_smallest_form),
                cmocka_unit_test(text_that_is_no_json_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
