/*
 * Zones of the system against what is known of their clocks, zoneinfo files made by hand with each form of
 * the rule at their end, files that are none; and times of the week as text, there and back.
 */
#include "broker/base/time.h"
#include "broker/ops/window.h"
#include "broker/ops/zone.h"
#include "workers/routing/price.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HEADER = 44, ARENA = 1 << 20 };

static int32_t offset_at(const struct zone *zone, const char *time) {
        int64_t unix_ms = 0;
        int32_t offset = zone->changes[0].offset_s;
        assert_true(rfc3339_parse(bytes_of(time), &unix_ms));
        for (uint32_t i = 0; i < zone->changes_count; i++) {
                assert_true(i == 0 || zone->changes[i].from_unix_s > zone->changes[i - 1].from_unix_s);
                if (zone->changes[i].from_unix_s <= unix_ms / 1000)
                        offset = zone->changes[i].offset_s;
        }
        return offset;
}

static void zones_of_the_system(void **state) {
        (void)state;
        static const struct {
                const char *zone, *time;
                int minutes;
        } cases[] = {
                {"UTC", "2026-07-01T00:00:00Z", 0},
                {"+08:00", "2026-07-01T00:00:00Z", 480},
                {"-03:30", "2026-07-01T00:00:00Z", -210},
                {"Asia/Shanghai", "2026-07-01T00:00:00Z", 480},
                {"Asia/Kolkata", "2026-07-01T00:00:00Z", 330},
                {"Europe/Berlin", "2026-03-29T00:59:59Z", 60},
                {"Europe/Berlin", "2026-03-29T01:00:00Z", 120},
                {"Europe/Berlin", "2026-10-25T00:59:59Z", 120},
                {"Europe/Berlin", "2026-10-25T01:00:00Z", 60},
                {"Europe/Berlin", "2090-03-26T00:59:59Z", 60}, /* far beyond what is listed: the rule */
                {"Europe/Berlin", "2090-03-26T01:00:00Z", 120},
                {"Europe/Berlin", "2090-10-29T01:00:00Z", 60},
                {"America/New_York", "2026-03-08T06:59:59Z", -300},
                {"America/New_York", "2026-03-08T07:00:00Z", -240},
                {"America/New_York", "2026-11-01T05:59:59Z", -240},
                {"America/New_York", "2026-11-01T06:00:00Z", -300},
                {"Australia/Sydney", "2026-04-04T15:59:59Z", 660},
                {"Australia/Sydney", "2026-04-04T16:00:00Z", 600},
                {"Australia/Sydney", "2026-10-03T16:00:00Z", 660},
        };
        struct arena arena;
        arena_init(&arena, ARENA);
        struct zones zones = {.arena = &arena};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char problem[ZONE_PROBLEM_MAX];
                const struct zone *zone = zones_get(&zones, bytes_of(cases[i].zone), problem);
                if (zone == NULL)
                        fail_msg("%s: %s", cases[i].zone, problem);
                assert_ptr_equal(zone, zones_get(&zones, bytes_of(cases[i].zone), problem));
                if (offset_at(zone, cases[i].time) != cases[i].minutes * 60)
                        fail_msg("%s at %s: %d", cases[i].zone, cases[i].time,
                                 offset_at(zone, cases[i].time));
        }
        arena_deinit(&arena);
}

static void no_zones(void **state) {
        (void)state;
        static const char *const names[] = {"",        "Mars/Base", "../../etc/passwd", "/etc/passwd",
                                            "+8",      "+15:00",    "+08:60",           "-0x:00",
                                            "Europe",  "CEST?",     "+08:00 ",          "Europe/Berlin/",
                                            "zone.tab"};
        struct arena arena;
        arena_init(&arena, ARENA);
        struct zones zones = {.arena = &arena};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                char problem[ZONE_PROBLEM_MAX] = "";
                if (zones_get(&zones, bytes_of(names[i]), problem) != NULL || problem[0] == '\0')
                        fail_msg("\"%s\" is a zone", names[i]);
        }
        assert_false(zones.memory_refused);
        arena_deinit(&arena);
}

/* ---- files made by hand ---- */

static void put_u32(struct buffer *file, uint32_t value) {
        for (int shift = 24; shift >= 0; shift -= 8)
                buffer_append_char(file, (char)(value >> shift & 0xff));
}

static void put_header(struct buffer *file, uint32_t times, uint32_t types) {
        static const char reserved[15] = "";
        buffer_append_string(file, "TZif2");
        buffer_append(file, reserved, sizeof reserved);
        const uint32_t counts[] = {0, 0, 0, times, types, 4};
        for (size_t i = 0; i < 6; i++)
                put_u32(file, counts[i]);
}

/* No change is listed: the first type has the offset, the rule says the rest. */
static void make_file(struct buffer *file, int32_t offset_s, const char *footer) {
        buffer_init(file, 4096);
        put_header(file, 0, 1);
        put_u32(file, (uint32_t)offset_s);
        buffer_append(file, "\0\0XXX", 6);
        put_header(file, 0, 1);
        put_u32(file, (uint32_t)offset_s);
        buffer_append(file, "\0\0XXX", 6);
        buffer_append_string(file, footer);
}

static void rules_at_the_end(void **state) {
        (void)state;
        static const struct {
                const char *footer, *time;
                int minutes;
        } cases[] = {
                {"\n\n", "2026-07-01T00:00:00Z", 0},
                {"\nXXX-1\n", "2026-07-01T00:00:00Z", 60},
                {"\n<+0330>-3:30\n", "2026-07-01T00:00:00Z", 210},
                {"\nXXX5\n", "2026-07-01T00:00:00Z", -300},
                {"\nXXX-1YYY,M3.5.0,M10.5.0/3\n", "2026-03-29T00:59:59Z", 60},
                {"\nXXX-1YYY,M3.5.0,M10.5.0/3\n", "2026-03-29T01:00:00Z", 120},
                {"\nXXX-1YYY,M3.5.0,M10.5.0/3\n", "2026-10-25T01:00:00Z", 60},
                {"\nXXX-1YYY-3,M3.5.0,M10.5.0/3\n", "2026-07-01T00:00:00Z", 180},
                /* 29 February counts for one form and not for the other: 1 March is J60, and 59 or 60 */
                {"\nXXX0YYY,J60/0,J300/0\n", "2028-02-29T23:59:59Z", 0},
                {"\nXXX0YYY,J60/0,J300/0\n", "2028-03-01T00:00:00Z", 60},
                {"\nXXX0YYY,59/0,300/0\n", "2028-02-28T23:59:59Z", 0},
                {"\nXXX0YYY,59/0,300/0\n", "2028-02-29T00:00:00Z", 60},
                {"\nXXX0YYY,J60/0,J300/0\n", "2027-03-01T00:00:00Z", 60},
                /* hours beyond a day, and before it (Greenland's) */
                {"\n<-02>2<-01>,M3.5.0/-1,M10.5.0/0\n", "2026-03-29T00:59:59Z", -120},
                {"\n<-02>2<-01>,M3.5.0/-1,M10.5.0/0\n", "2026-03-29T01:00:00Z", -60},
                {"\nXXX0YYY,M3.1.0/25,M10.1.0/0\n", "2026-03-02T00:59:59Z", 0},
                {"\nXXX0YYY,M3.1.0/25,M10.1.0/0\n", "2026-03-02T01:00:00Z", 60},
                /* the south: the year begins in summer */
                {"\nXXX0YYY,M10.1.0/0,M4.1.0/0\n", "2026-01-15T00:00:00Z", 60},
                {"\nXXX0YYY,M10.1.0/0,M4.1.0/0\n", "2026-07-15T00:00:00Z", 0},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct arena arena;
                struct buffer file;
                struct zone zone = {.name = "made"};
                bool refused;
                arena_init(&arena, ARENA);
                make_file(&file, 0, cases[i].footer);
                if (!zone_parse(buffer_view(&file), &arena, &zone, &refused))
                        fail_msg("row %zu is refused: %s", i, cases[i].footer);
                if (offset_at(&zone, cases[i].time) != cases[i].minutes * 60)
                        fail_msg("row %zu, %s at %s: %d", i, cases[i].footer, cases[i].time,
                                 offset_at(&zone, cases[i].time));
                buffer_deinit(&file);
                arena_deinit(&arena);
        }
}

/* A change of the name alone is listed for 2020; before it the rule does not hold. */
static void the_rule_begins_where_the_list_ends(void **state) {
        (void)state;
        struct buffer file;
        struct arena arena;
        struct zone zone = {.name = "made"};
        bool refused;
        buffer_init(&file, 4096);
        put_header(&file, 0, 1);
        buffer_append(&file, "\0\0\0\0\0\0XXX", 10);
        put_header(&file, 1, 1);
        put_u32(&file, 0);
        put_u32(&file, 1577836800); /* 2020-01-01 */
        buffer_append(&file, "\0\0\0\0\0\0\0XXX", 11);
        buffer_append_string(&file, "\nXXX0YYY,M3.5.0,M10.5.0\n");
        arena_init(&arena, ARENA);
        assert_true(zone_parse(buffer_view(&file), &arena, &zone, &refused));
        assert_int_equal(offset_at(&zone, "2019-07-01T00:00:00Z"), 0);
        assert_int_equal(offset_at(&zone, "2020-07-01T00:00:00Z"), 3600);
        arena_deinit(&arena);
        buffer_deinit(&file);
}

static void files_that_are_none(void **state) {
        (void)state;
        static const char *const footers[] = {"",
                                              "XXX0\n",
                                              "\nXXX0",
                                              "\nX0\n",
                                              "\nXXX\n",
                                              "\nXXX999\n",
                                              "\nXXX0YYY\n",
                                              "\nXXX0YYY,M3.5.0\n",
                                              "\nXXX0YYY,M13.1.0,M1.1.0\n",
                                              "\nXXX0YYY,M3.0.0,M1.1.0\n",
                                              "\nXXX0YYY,M3.6.0,M1.1.0\n",
                                              "\nXXX0YYY,J0,J1\n",
                                              "\nXXX0YYY,J366,J1\n",
                                              "\nXXX0YYY,J1,J2,\n",
                                              "\n<+03-3\n"};
        struct arena arena;
        struct buffer file;
        struct zone zone;
        bool refused;
        arena_init(&arena, ARENA);
        for (size_t i = 0; i < sizeof footers / sizeof *footers; i++) {
                make_file(&file, 0, footers[i]);
                if (zone_parse(buffer_view(&file), &arena, &zone, &refused) || refused)
                        fail_msg("row %zu is taken: %s", i, footers[i]);
                buffer_deinit(&file);
        }
        /* Cut anywhere, from memory of its very size, so that reading beyond it is seen. */
        make_file(&file, 0, "\nXXX0YYY,J60/0,J300/0\n");
        for (size_t size = 0; size < file.size; size++) {
                char *cut = malloc(size + 1);
                assert_non_null(cut);
                memcpy(cut, file.data, size);
                assert_false(zone_parse((struct bytes){cut, size}, &arena, &zone, &refused));
                free(cut);
        }
        /* Counts that are larger than the file, and an offset of more than a day. */
        for (size_t i = 0; i < 6; i++) {
                char *bytes = malloc(file.size);
                assert_non_null(bytes);
                memcpy(bytes, file.data, file.size);
                bytes[20 + 4 * i] = '\x7f';
                assert_false(zone_parse((struct bytes){bytes, file.size}, &arena, &zone, &refused));
                free(bytes);
        }
        buffer_deinit(&file);
        make_file(&file, 27 * 3600, "\n\n");
        assert_false(zone_parse(buffer_view(&file), &arena, &zone, &refused));
        buffer_deinit(&file);
        arena_deinit(&arena);
}

/* ---- times of the week ---- */

static void times_as_text(void **state) {
        (void)state;
        static const struct {
                const char *text, *printed; /* NULL: refused */
        } cases[] = {
                {"Mon-Fri 16:30-00:30 UTC", "Mon-Fri 16:30-00:30 UTC"},
                {"mon-fri  16:30-00:30   UTC", "Mon-Fri 16:30-00:30 UTC"},
                {"Sat,Sun", "Sat-Sun 00:00-24:00 UTC"},
                {"Mon,Wed,Fri 00:00-24:00", "Mon,Wed,Fri 00:00-24:00 UTC"},
                {"Fri-Mon 08:00-08:00 +08:00", "Mon,Fri-Sun 08:00-08:00 +08:00"},
                {"Mon-Sun 01:00-02:00 Asia/Shanghai", "01:00-02:00 Asia/Shanghai"},
                {"22:00-00:00", "22:00-24:00 UTC"},
                {"UTC", "00:00-24:00 UTC"},
                {"Sun Europe/Berlin", "Sun 00:00-24:00 Europe/Berlin"},
                {"", NULL},
                {"   ", NULL},
                {"Mon-", NULL},
                {"Mon,", NULL},
                {"Mon-Fry 10:00-12:00", NULL},
                {"10:00", NULL},
                {"10:00-25:00", NULL},
                {"24:00-10:00", NULL},
                {"10:60-12:00", NULL},
                {"1:00-2:00", NULL},
                {"10:00-12:00 Mon", NULL},
                {"Mon 10:00-12:00 UTC UTC", NULL},
                {"Mon 10:00-12:00 Nowhere/Town", NULL},
        };
        struct arena arena;
        arena_init(&arena, ARENA);
        struct zones zones = {.arena = &arena};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                char problem[WINDOW_PROBLEM_MAX] = "";
                struct price_window window = {0};
                bool taken = window_parse(bytes_of(cases[i].text), &zones, &window, problem);
                if (taken != (cases[i].printed != NULL) || (!taken && problem[0] == '\0'))
                        fail_msg("\"%s\": %s", cases[i].text, problem);
                if (!taken)
                        continue;
                struct buffer text;
                buffer_init(&text, 256);
                window_append(&text, &window);
                if (!bytes_equal_string(buffer_view(&text), cases[i].printed))
                        fail_msg("\"%s\" is \"%.*s\"", cases[i].text, (int)text.size, text.data);
                buffer_deinit(&text);
        }
        arena_deinit(&arena);
}

static void factors_as_text(void **state) {
        (void)state;
        static const struct {
                const char *text;
                int64_t millionths; /* -1: refused */
        } cases[] = {{"0.5", 500000},      {"1", 1000000},    {"0", 0},        {"0.000001", 1},
                     {"1000", 1000000000}, {"0.0000001", -1}, {"1001", -1},    {"-1", -1},
                     {"half", -1},         {"0.3333333", -1}, {"5e-1", 500000}};
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                uint32_t millionths = 0;
                bool taken = multiply_parse(bytes_of(cases[i].text), &millionths);
                if (taken != (cases[i].millionths >= 0) || (taken && millionths != cases[i].millionths))
                        fail_msg("%s: %u", cases[i].text, millionths);
        }
}

/* What a name gives evaluates as it should: the two parts work together. */
static void prices_by_the_clocks_of_a_place(void **state) {
        (void)state;
        char problem[WINDOW_PROBLEM_MAX];
        struct arena arena;
        struct price_window window = {.multiply_millionths = 500000};
        int64_t before = 0, in = 0;
        arena_init(&arena, ARENA);
        struct zones zones = {.arena = &arena};
        assert_true(window_parse(BYTES("Mon-Fri 09:00-17:00 America/New_York"), &zones, &window, problem));
        const struct endpoint endpoint = {.windows = &window, .windows_count = 1};
        assert_true(rfc3339_parse(BYTES("2026-07-06T12:59:59Z"), &before));
        assert_true(rfc3339_parse(BYTES("2026-07-06T13:00:00Z"), &in));
        assert_int_equal(price_multiply_at(&endpoint, before), PRICE_MULTIPLY_ONE);
        assert_int_equal(price_multiply_at(&endpoint, in), 500000);
        assert_true(rfc3339_parse(BYTES("2026-12-07T13:59:59Z"), &before));
        assert_true(rfc3339_parse(BYTES("2026-12-07T14:00:00Z"), &in));
        assert_int_equal(price_multiply_at(&endpoint, before), PRICE_MULTIPLY_ONE);
        assert_int_equal(price_multiply_at(&endpoint, in), 500000);
        arena_deinit(&arena);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(zones_of_the_system),
                cmocka_unit_test(no_zones),
                cmocka_unit_test(rules_at_the_end),
                cmocka_unit_test(files_that_are_none),
                cmocka_unit_test(the_rule_begins_where_the_list_ends),
                cmocka_unit_test(times_as_text),
                cmocka_unit_test(factors_as_text),
                cmocka_unit_test(prices_by_the_clocks_of_a_place),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
