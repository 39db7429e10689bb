/* Views, buffers and their ceiling, and the encodings: JSON escapes, hex, base64. */
#include "broker/base/bytes.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(struct buffer *buffer, struct bytes expected) {
        assert_false(buffer->failed);
        assert_int_equal(buffer->size, expected.size);
        if (expected.size > 0)
                assert_memory_equal(buffer->data, expected.data, expected.size);
        buffer_clear(buffer);
}

static void views(void **state) {
        char *copy = bytes_dup((struct bytes){"abc", 2});

        (void)state;
        assert_string_equal(copy, "ab");
        free(copy);
        copy = bytes_dup((struct bytes){NULL, 0});
        assert_string_equal(copy, "");
        free(copy);
        assert_null(bytes_dup((struct bytes){"", SIZE_MAX}));
        assert_int_equal(bytes_of(NULL).size, 0);
        assert_true(bytes_equal(bytes_of(NULL), BYTES("")));
        assert_true(bytes_equal(BYTES("a\0b"), BYTES("a\0b")));
        assert_false(bytes_equal(BYTES("a\0b"), BYTES("a\0c")));
        assert_false(bytes_equal_string(BYTES("abc"), "ab"));
        assert_true(bytes_equal_string(BYTES("abc"), "abc"));
        assert_true(bytes_starts_with(BYTES("abc"), "ab"));
        assert_true(bytes_starts_with(bytes_of(NULL), ""));
        assert_false(bytes_starts_with(BYTES("ab"), "abc"));
        assert_false(bytes_starts_with(BYTES("xbc"), "ab"));
        assert_true(bytes_equal_nocase(BYTES("Retry-AFTER"), "retry-after"));
        assert_false(bytes_equal_nocase(BYTES("retry-afte"), "retry-after"));
        assert_false(bytes_equal_nocase(BYTES("@["), "`{"));
}

static void numbers_and_printf(void **state) {
        struct buffer buffer;
        char expected[300];

        (void)state;
        buffer_init(&buffer, 1000);
        buffer_append_u64(&buffer, 0);
        buffer_append_char(&buffer, ' ');
        buffer_append_u64(&buffer, UINT64_MAX);
        buffer_append_string(&buffer, " ");
        buffer_append_i64(&buffer, INT64_MIN);
        buffer_append_i64(&buffer, -7);
        buffer_append_i64(&buffer, INT64_MAX);
        assert_holds(&buffer, BYTES("0 18446744073709551615 -9223372036854775808-79223372036854775807"));
        buffer_deinit(&buffer);
        buffer_init(&buffer, 1000);
        buffer_printf(&buffer, "%s", "");
        assert_holds(&buffer, BYTES(""));
        buffer_printf(&buffer, "%s=%d", "x", 5);
        assert_holds(&buffer, BYTES("x=5"));
        buffer_append_string(&buffer, "ab");
        buffer_printf(&buffer, "%0250d", 1); /* grows between its two tries */
        memset(expected, '0', sizeof(expected));
        memcpy(expected, "ab", 2);
        expected[251] = '1';
        assert_holds(&buffer, (struct bytes){expected, 252});
        buffer_deinit(&buffer);
}

static void ceiling_fails_once_and_for_all(void **state) {
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 5);
        buffer_append_string(&buffer, "abc");
        buffer_append_string(&buffer, "def");
        assert_true(buffer.failed);
        buffer_append_string(&buffer, "d");
        buffer_printf(&buffer, "d");
        assert_false(buffer_reserve(&buffer, 0));
        assert_int_equal(buffer.size, 3);
        assert_memory_equal(buffer.data, "abc", 3);
        buffer_clear(&buffer);
        assert_false(buffer.failed);
        buffer_printf(&buffer, "%s", "12345");
        assert_holds(&buffer, BYTES("12345"));
        buffer_printf(&buffer, "%s", "123456");
        assert_true(buffer.failed);
        assert_int_equal(buffer.size, 0);
        buffer_deinit(&buffer);
        buffer_init(&buffer, SIZE_MAX);
        buffer_append_char(&buffer, 'x');
        assert_false(buffer_reserve(&buffer, SIZE_MAX));
        assert_true(buffer.failed);
        buffer_clear(&buffer);
        assert_false(buffer_reserve(&buffer, PTRDIFF_MAX));
        buffer_deinit(&buffer);
        buffer_init(&buffer, 0);
        assert_true(buffer_reserve(&buffer, 0));
        buffer_append_char(&buffer, 'x');
        assert_true(buffer.failed);
        buffer_deinit(&buffer);
}

static void json_escapes(void **state) {
#define BAD "\xef\xbf\xbd"
        const struct {
                struct bytes text, escaped;
        } cases[] = {
                {BYTES(""), BYTES("")},
                {BYTES("plain text, longer than eight"), BYTES("plain text, longer than eight")},
                {BYTES("say \"hi\" \\ now"), BYTES("say \\\"hi\\\" \\\\ now")},
                {BYTES("\b\f\n\r\t"), BYTES("\\b\\f\\n\\r\\t")},
                {BYTES("a\0b\x01\x1f\x7f"), BYTES("a\\u0000b\\u0001\\u001f\x7f")},
                {BYTES("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
                 BYTES("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")},
                {BYTES("\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf"),
                 BYTES("\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf")},
                {BYTES("\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf"),
                 BYTES("\xee\x80\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf")},
                {BYTES("\x80x\xbf"), BYTES(BAD "x" BAD)},
                {BYTES("\xc0\xaf"), BYTES(BAD BAD)},                 /* overlong "/" */
                {BYTES("\xc1\xbf"), BYTES(BAD BAD)},                 /* overlong */
                {BYTES("\xe0\x9f\xbf"), BYTES(BAD BAD BAD)},         /* overlong */
                {BYTES("\xf0\x8f\xbf\xbf"), BYTES(BAD BAD BAD BAD)}, /* overlong */
                {BYTES("\xed\xa0\x80"), BYTES(BAD BAD BAD)},         /* surrogate */
                {BYTES("\xed\xbf\xbf"), BYTES(BAD BAD BAD)},         /* surrogate */
                {BYTES("\xf4\x90\x80\x80"), BYTES(BAD BAD BAD BAD)}, /* U+110000 */
                {BYTES("\xf5\x80\x80\x80"), BYTES(BAD BAD BAD BAD)},
                {BYTES("\xff\xfe"), BYTES(BAD BAD)},
                {BYTES("\xe2\x82"), BYTES(BAD BAD)}, /* cut */
                {BYTES("\xe2\x82"
                       "a"),
                 BYTES(BAD BAD "a")},
                {BYTES("\xe2\x82\""), BYTES(BAD BAD "\\\"")},
                {BYTES("\xf0\x9f\x98"), BYTES(BAD BAD BAD)},
                {BYTES("\xc3"), BYTES(BAD)},
        };
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 1000);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                buffer_append_json_escaped(&buffer, cases[i].text);
                assert_holds(&buffer, cases[i].escaped);
        }
        buffer_append_json_escaped(&buffer, (struct bytes){NULL, 0});
        assert_holds(&buffer, BYTES(""));
        buffer_deinit(&buffer);
}

/* Each byte at each place of a run, which the eight-at-a-time test must see like the one-at-a-time one. */
static void json_escape_finds_every_byte_everywhere(void **state) {
        struct buffer buffer, expected;

        (void)state;
        buffer_init(&buffer, 1000);
        buffer_init(&expected, 1000);
        for (int c = 0; c < 256; c++) {
                for (size_t place = 0; place < 19; place++) {
                        char text[19];

                        memset(text, '~', sizeof(text));
                        text[place] = (char)c;
                        buffer_clear(&expected);
                        buffer_append(&expected, "~~~~~~~~~~~~~~~~~~~", place);
                        buffer_append_json_escaped(&expected, (struct bytes){text + place, 1});
                        buffer_append(&expected, "~~~~~~~~~~~~~~~~~~~", 18 - place);
                        buffer_append_json_escaped(&buffer, (struct bytes){text, 19});
                        assert_holds(&buffer, buffer_view(&expected));
                }
        }
        buffer_deinit(&buffer);
        buffer_deinit(&expected);
}

static void json_escape_stops_at_the_ceiling(void **state) {
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 8);
        buffer_append_json_escaped(&buffer, BYTES("abc\x01\x02"));
        assert_true(buffer.failed);
        assert_int_equal(buffer.size, 3); /* no half of an escape */
        buffer_deinit(&buffer);
}

static void hex(void **state) {
        static const uint8_t data[] = {0x00, 0x0f, 0xa5, 0xff};
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 100);
        buffer_append_hex(&buffer, data, sizeof(data));
        assert_holds(&buffer, BYTES("000fa5ff"));
        buffer_append_hex(&buffer, NULL, 0);
        assert_holds(&buffer, BYTES(""));
        buffer_deinit(&buffer);
}

/* RFC 4648 section 10, and the two digits that differ between the alphabets. */
static void base64_vectors(void **state) {
        const struct {
                struct bytes data, text;
        } cases[] = {{BYTES(""), BYTES("")},
                     {BYTES("f"), BYTES("Zg==")},
                     {BYTES("fo"), BYTES("Zm8=")},
                     {BYTES("foo"), BYTES("Zm9v")},
                     {BYTES("foob"), BYTES("Zm9vYg==")},
                     {BYTES("fooba"), BYTES("Zm9vYmE=")},
                     {BYTES("foobar"), BYTES("Zm9vYmFy")},
                     {BYTES("\xfb\xff\xbf"), BYTES("+/+/")},
                     {BYTES("\0\0\0"), BYTES("AAAA")}};
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 100);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                buffer_append_base64(&buffer, cases[i].data.data, cases[i].data.size);
                assert_holds(&buffer, cases[i].text);
                assert_true(buffer_append_base64_decoded(&buffer, cases[i].text));
                assert_holds(&buffer, cases[i].data);
        }
        buffer_deinit(&buffer);
}

static void base64_refuses(void **state) {
        const struct bytes cases[] = {
                BYTES("Z"),     BYTES("Zg"),       BYTES("Zg="),      BYTES("Zm8"),      BYTES("===="),
                BYTES("Z==="),  BYTES("Zg==Zg=="), BYTES("Zm8=Zm8="), BYTES("Zg=x"),     BYTES("Z=g="),
                BYTES("Zm-v"),  BYTES("Zm_v"),     BYTES("Zm v"),     BYTES("Zm9v\n"),   BYTES("Zm9\n"),
                BYTES("Zm9\0"), BYTES("Zm9\x80"),  BYTES("Zm9vYmF!"), BYTES("Zh=="),     BYTES("Zm9="),
                BYTES("=Zm9"),  BYTES("Zm9v===="), BYTES("Zm9\xff"),  BYTES(" Zm9vYmE"),
        };
        struct buffer buffer;

        (void)state;
        buffer_init(&buffer, 100);
        buffer_append_string(&buffer, "kept");
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                if (buffer_append_base64_decoded(&buffer, cases[i]))
                        fail_msg("'%.*s' was taken", (int)cases[i].size, cases[i].data);
                assert_int_equal(buffer.size, 4);
        }
        assert_holds(&buffer, BYTES("kept"));
        buffer_deinit(&buffer);
        buffer_init(&buffer, 2);
        assert_false(buffer_append_base64_decoded(&buffer, BYTES("Zm9v")));
        assert_true(buffer.failed);
        buffer_clear(&buffer);
        assert_true(buffer_append_base64_decoded(&buffer, BYTES("Zm8=")));
        buffer_deinit(&buffer);
}

/* Any bytes; and a text with one character changed is refused, or decodes to what encodes to it again. */
static void base64_round_trips(void **state) {
        struct buffer data, text, back;
        struct prng prng;

        (void)state;
        prng_init(&prng, 21);
        buffer_init(&data, 1000);
        buffer_init(&text, 2000);
        buffer_init(&back, 2000);
        for (int i = 0; i < 3000; i++) {
                buffer_clear(&data);
                for (uint64_t n = prng_below(&prng, 200); n > 0; n--)
                        buffer_append_char(&data, (char)prng_below(&prng, 256));
                buffer_append_base64(&text, data.data, data.size);
                assert_int_equal(text.size, (data.size + 2) / 3 * 4);
                assert_true(buffer_append_base64_decoded(&back, buffer_view(&text)));
                assert_holds(&back, buffer_view(&data));
                if (text.size > 0)
                        text.data[prng_below(&prng, text.size)] = (char)prng_below(&prng, 256);
                if (buffer_append_base64_decoded(&back, buffer_view(&text))) {
                        buffer_clear(&data);
                        buffer_append_base64(&data, back.data, back.size);
                        assert_holds(&data, buffer_view(&text));
                }
                buffer_clear(&back);
                buffer_clear(&text);
        }
        buffer_deinit(&data);
        buffer_deinit(&text);
        buffer_deinit(&back);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(views),
                cmocka_unit_test(numbers_and_printf),
                cmocka_unit_test(ceiling_fails_once_and_for_all),
                cmocka_unit_test(json_escapes),
                cmocka_unit_test(json_escape_finds_every_byte_everywhere),
                cmocka_unit_test(json_escape_stops_at_the_ceiling),
                cmocka_unit_test(hex),
                cmocka_unit_test(base64_vectors),
                cmocka_unit_test(base64_refuses),
                cmocka_unit_test(base64_round_trips),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
