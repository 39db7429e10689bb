/* What was taken of a part of the limits, as bytes: there and back, and every way of being no such list. */
#include "broker/wire/quota_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAW_INIT(literal)                                                                                    \
        { (literal), sizeof(literal) - 1 }
#define RAW(literal) ((struct bytes)RAW_INIT(literal))

enum { ROWS = 5 };

static const struct quota_row rows[ROWS] = {
        {.of = QUOTA_OF_PROVIDER,
         .name = {"p", 1},
         .quota = QUOTA_requests_per_day,
         .until_unix_ms = INT64_C(1790000000000),
         .amount = 7},
        {.of = QUOTA_OF_PROVIDER,
         .name = {"p", 1},
         .quota = QUOTA_requests_per_day,
         .until_unix_ms = INT64_C(1790000726050),
         .amount = INT64_MAX},
        {.of = QUOTA_OF_PROVIDER,
         .name = {"p", 1},
         .quota = QUOTA_tokens_per_day,
         .until_unix_ms = -1,
         .amount = 0},
        {.of = QUOTA_OF_ENDPOINT,
         .name = {"p/m/\"x", 6},
         .quota = QUOTA_audio_seconds_per_hour,
         .until_unix_ms = 5,
         .amount = 6},
        {.of = QUOTA_OF_WORKSPACE,
         .name = {"w", 1},
         .quota = QUOTA_requests_per_day,
         .until_unix_ms = 8,
         .amount = 9},
};

struct heard {
        struct quota_row rows[ROWS];
        size_t count, stop_at;
};

static bool hear(void *userdata, const struct quota_row *row) {
        struct heard *heard = userdata;
        assert_true(heard->count < ROWS);
        heard->rows[heard->count++] = *row;
        return heard->count != heard->stop_at;
}

static bool read_list(struct bytes list, struct heard *heard, uint32_t *out_whole) {
        *heard = (struct heard){.stop_at = SIZE_MAX};
        return quota_list_read(list, out_whole, hear, heard);
}

static void goes_there_and_back(void **state) {
        (void)state;
        for (size_t count = 0; count <= ROWS; count++) {
                struct buffer list;
                struct heard heard;
                uint32_t whole = 0;
                buffer_init(&list, 4096);
                quota_list_append(&list, 600, rows, count);
                assert_true(read_list(buffer_view(&list), &heard, &whole));
                assert_int_equal(whole, 600);
                assert_int_equal(heard.count, count);
                for (size_t i = 0; i < count; i++) {
                        assert_int_equal(heard.rows[i].of, rows[i].of);
                        assert_int_equal(heard.rows[i].quota, rows[i].quota);
                        assert_true(bytes_equal(heard.rows[i].name, rows[i].name));
                        assert_int_equal(heard.rows[i].until_unix_ms, rows[i].until_unix_ms);
                        assert_int_equal(heard.rows[i].amount, rows[i].amount);
                }
                for (size_t cut = 0; cut < list.size; cut++) { /* its end is the end of memory */
                        char *copy = malloc(cut + (cut == 0));
                        memcpy(copy, list.data, cut);
                        assert_false(read_list((struct bytes){copy, cut}, &heard, &whole));
                        free(copy);
                }
                buffer_append_char(&list, '\0');
                assert_false(read_list(buffer_view(&list), &heard, &whole));
                buffer_deinit(&list);
        }
}

/* As the first version wrote it: it must be read for ever. */
static void is_what_it_was(void **state) {
        struct buffer list;
        (void)state;
        static const char bytes[] = "\x96\x01\x06\xa1p\xa1q\xb0requests_per_day\x92\xcd\x03\xe8\x05";
        struct quota_row row = {.of = QUOTA_OF_PROVIDER,
                                .name = BYTES("q"),
                                .quota = QUOTA_requests_per_day,
                                .until_unix_ms = 1000,
                                .amount = 5};
        buffer_init(&list, 4096);
        quota_list_append(&list, 6, &row, 1);
        assert_int_equal(list.size, sizeof(bytes) - 1);
        assert_memory_equal(list.data, bytes, sizeof(bytes) - 1);
        buffer_deinit(&list);
}

static void what_is_no_list_is_none(void **state) {
        static const struct bytes lists[] = {
                RAW_INIT(""),
                RAW_INIT("\xc0"),
                RAW_INIT("\x80"),
                RAW_INIT("\x91\x01"),
                RAW_INIT("\x92\x02\x06"),                                 /* another version */
                RAW_INIT("\x92\x01\xff"),                                 /* parts below 0 */
                RAW_INIT("\x92\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00"), /* more of them than there can be */
                RAW_INIT("\x93\x01\x06\xa1p"),                            /* half a limit */
                RAW_INIT("\x96\x01\x06\xa1x\xa1p\xb0requests_per_day\x90"),     /* of whom? */
                RAW_INIT("\x96\x01\x06\xa1p\x05\xb0requests_per_day\x90"),      /* no name */
                RAW_INIT("\x96\x01\x06\xa1p\xa1p\xb0requests_per_day\x91\x05"), /* half a sub-window */
                /* less than nothing taken */
                RAW_INIT("\x96\x01\x06\xa1p\xa1p\xb0requests_per_day\x92\x05\xff"),
                RAW_INIT("\x96\x01\x06\xa1p\xa1p\xb0requests_per_day\x92\xa1\x35\x05"),
                RAW_INIT("\x96\x01\x06\xa1p\xa1p\xb0requests_per_day\xdd\xff\xff\xff\xfe"),
                RAW_INIT("\x96\x01\x06\xa1p\xa1p\xb0requests_per_"
                         "day\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x05"),
        };
        struct heard heard;
        uint32_t whole;
        (void)state;
        for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
                if (read_list(lists[i], &heard, &whole))
                        fail_msg("list %zu was read", i);
}

static void other_limits_are_passed_over(void **state) {
        struct heard heard;
        uint32_t whole;
        (void)state;
        assert_true(read_list(RAW("\x9a\x01\x06\xa1p\xa1p\xa8per_year\x92\x05\x06"
                                  "\xa1w\xa1w\xb0requests_per_day\x92\x05\x06"),
                              &heard, &whole));
        assert_int_equal(heard.count, 1);
        assert_int_equal(heard.rows[0].of, QUOTA_OF_WORKSPACE);
}

static void who_is_told_may_refuse(void **state) {
        struct buffer list;
        struct heard heard = {.stop_at = 2};
        uint32_t whole;
        (void)state;
        buffer_init(&list, 4096);
        quota_list_append(&list, 1, rows, ROWS);
        assert_false(quota_list_read(buffer_view(&list), &whole, hear, &heard));
        assert_int_equal(heard.count, 2);
        buffer_deinit(&list);
        buffer_init(&list, 10); /* no room */
        quota_list_append(&list, 1, rows, ROWS);
        assert_true(list.failed && list.size == 0);
        buffer_deinit(&list);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(goes_there_and_back),     cmocka_unit_test(is_what_it_was),
                cmocka_unit_test(what_is_no_list_is_none), cmocka_unit_test(other_limits_are_passed_over),
                cmocka_unit_test(who_is_told_may_refuse),
        };
        return cmocka_run_group_tests_name("quota_list", tests, NULL, NULL);
}
