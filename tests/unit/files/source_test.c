/* Lines out of files and pipes, and marks that a later run comes back to. */
#include "broker/files/source.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[64];

static int setup(void **state) {
        (void)state;
        strcpy(path, "/tmp/source_test.XXXXXX");
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        return 0;
}

static int teardown(void **state) {
        (void)state;
        unlink(path);
        return 0;
}

static void put(const char *data, size_t size, int flags) {
        int fd = open(path, O_WRONLY | flags);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, size), (ssize_t)size);
        close(fd);
}

static struct source *open_source(size_t line_max) {
        struct source_options options = {.path = path, .line_max = line_max};
        struct source *source = NULL;
        assert_null(source_open(&options, &source));
        return source;
}

/* "line:sequence:text|..." of all that comes, with '!' behind what is too long. */
static void describe(struct source *source, char *out, size_t room) {
        struct source_line line;
        size_t size = 0;
        out[0] = 0;
        while (source_next(source, &line) == SOURCE_LINE) {
                size += (size_t)snprintf(out + size, room - size, "%d:%d:%.*s%s|", (int)line.line,
                                         (int)line.sequence, (int)line.text.size, line.text.data,
                                         line.too_long ? "!" : "");
                assert_true(size < room);
        }
}

static void lines_are_split(void **state) {
        (void)state;
        static const struct {
                const char *file, *lines;
        } rows[] = {
                {"", ""},
                {"\n\n \t\r\n", ""},
                {"a\nb\n", "1:0:a|2:1:b|"},
                {"a\r\nb", "1:0:a|2:1:b|"},
                {"\xef\xbb\xbf"
                 "a\n\xef\xbb\xbf"
                 "b\n",
                 "1:0:a|2:1:\xef\xbb\xbf"
                 "b|"},
                {"\xef\xbb\xbf\na\n", "2:0:a|"},
                {"\n\na\n\n  \nb\n\n", "3:0:a|6:1:b|"},
                {" a \n", "1:0: a |"},
                {"12345678\n123456789\n", "1:0:12345678|2:1:12345678!|"},
                {"12345678\r\n123456789\r\n", "1:0:12345678|2:1:12345678!|"},
                {"\xef\xbb\xbf"
                 "12345678\r\nx",
                 "1:0:12345678|2:1:x|"},
                {"123456789012345678901234567890\nx", "1:0:12345678!|2:1:x|"},
                {"                                  \nx", "1:0:        !|2:1:x|"},
                {"123456789012345678901234567890", "1:0:12345678!|"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                char text[256];
                put(rows[i].file, strlen(rows[i].file), O_TRUNC);
                struct source *source = open_source(8);
                assert_int_equal(source_bytes(source), strlen(rows[i].file));
                describe(source, text, sizeof(text));
                assert_string_equal(text, rows[i].lines);
                assert_int_equal(source_offset(source), strlen(rows[i].file));
                source_close(source);
        }
}

/* Lines of all lengths around the size of a block, longer ones than the buffer, and ones that are cut in
 * several reads. */
static void long_lines_cross_blocks(void **state) {
        (void)state;
        static const size_t sizes[] = {1, (1u << 20) - 1, 1u << 20, 3u << 20, 10, (9u << 20) + 5, 5u << 20,
                                       7, 20u << 20,      3,        2u << 20};
        enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
        size_t line_max = 6u << 20;
        char *data = malloc(64u << 20);
        size_t size = 0;
        for (size_t i = 0; i < COUNT; i++) {
                memset(data + size, 'a' + (int)i, sizes[i]);
                data[size + sizes[i]] = '\n';
                size += sizes[i] + 1;
        }
        put(data, size, O_TRUNC);
        struct source *source = open_source(line_max);
        struct source_line line;
        struct source_mark whole, skipped;
        for (size_t i = 0; i < COUNT; i++) {
                assert_int_equal(source_next(source, &line), SOURCE_LINE);
                assert_int_equal(line.too_long, sizes[i] > line_max);
                assert_int_equal(line.text.size, sizes[i] > line_max ? line_max : sizes[i]);
                for (size_t k = 0; k < line.text.size; k += 997)
                        assert_int_equal(line.text.data[k], 'a' + (int)i);
                source_settled(source, line.sequence);
        }
        assert_int_equal(source_next(source, &line), SOURCE_END);
        source_get_mark(source, &whole);
        assert_int_equal(whole.offset, size);
        source_close(source);
        /* The crc counts what was thrown away, too. */
        bool matches = false;
        source = open_source(line_max);
        assert_null(source_skip(source, &whole, &matches));
        assert_true(matches);
        source_get_mark(source, &skipped);
        assert_memory_equal(&skipped, &whole, sizeof(whole));
        source_close(source);
        free(data);
}

static void marks_move_over_the_contiguous_prefix(void **state) {
        (void)state;
        struct source_line line;
        struct source_mark mark;
        put("\na\n\nbb\nccc\n\n", 12, O_TRUNC);
        struct source *source = open_source(100);
        for (int i = 0; i < 3; i++)
                assert_int_equal(source_next(source, &line), SOURCE_LINE);
        source_get_mark(source, &mark);
        assert_int_equal(mark.offset, 1);
        source_settled(source, 2);
        source_settled(source, 1);
        source_get_mark(source, &mark);
        assert_true(mark.offset == 1 && mark.sequence == 0);
        source_settled(source, 0);
        source_get_mark(source, &mark);
        assert_true(mark.offset == 11 && mark.sequence == 3 && mark.lines == 5);
        source_settled(source, 0); /* long settled: nothing */
        assert_int_equal(source_next(source, &line), SOURCE_END);
        source_get_mark(source, &mark);
        assert_true(mark.offset == 12 && mark.sequence == 3 && mark.lines == 6);
        source_close(source);
}

/* From every mark that a run can leave, the rest is the same. */
static void every_mark_continues(void **state) {
        (void)state;
        static const char file[] = "\xef\xbb\xbf"
                                   "one\r\n\ntwo\n   \nthree is longer than that\nfour";
        char whole[256], rest[256];
        put(file, sizeof(file) - 1, O_TRUNC);
        for (uint64_t settled = 0; settled <= 4; settled++) {
                struct source *source = open_source(8);
                struct source_mark mark;
                bool matches = false;
                describe(source, whole, sizeof(whole));
                for (uint64_t i = 0; i < settled; i++)
                        source_settled(source, i);
                source_get_mark(source, &mark);
                source_close(source);
                source = open_source(8);
                assert_null(source_skip(source, &mark, &matches));
                assert_true(matches);
                describe(source, rest, sizeof(rest));
                const char *expected = whole;
                for (uint64_t i = 0; i < settled; i++)
                        expected = strchr(expected, '|') + 1;
                assert_string_equal(rest, expected);
                source_close(source);
        }
}

static void a_changed_prefix_is_noticed(void **state) {
        (void)state;
        static const char file[] = "one\ntwo\nthree\n";
        char text[256];
        put(file, sizeof(file) - 1, O_TRUNC);
        struct source *source = open_source(100);
        struct source_mark mark;
        describe(source, text, sizeof(text));
        source_settled(source, 0);
        source_settled(source, 1);
        source_get_mark(source, &mark);
        assert_int_equal(mark.offset, 8);
        source_close(source);
        for (size_t i = 0; i < 10; i++) {
                char changed[sizeof(file)];
                bool matches;
                memcpy(changed, file, sizeof(file));
                changed[i] ^= 1;
                put(changed, sizeof(file) - 1, O_TRUNC);
                source = open_source(100);
                assert_null(source_skip(source, &mark, &matches));
                assert_int_equal(matches, i >= 8);
                struct source_line line;
                assert_int_equal(source_next(source, &line), SOURCE_LINE);
                assert_int_equal(line.line, i >= 8 ? 3 : 1);
                source_close(source);
        }
        bool matches = true;
        put(file, 5, O_TRUNC); /* shorter than the mark */
        source = open_source(100);
        assert_null(source_skip(source, &mark, &matches));
        assert_false(matches);
        describe(source, text, sizeof(text));
        assert_string_equal(text, "1:0:one|2:1:t|");
        source_close(source);
}

/* Lines added to a file whose last line had no LF keep their numbers. */
static void a_file_may_grow(void **state) {
        (void)state;
        static const char *const added[] = {"\nthree\n", "\r\nthree\n", "three"};
        static const char *const lines[] = {"3:2:three|", "3:2:three|", "3:2:three|"};
        for (size_t i = 0; i < 3; i++) {
                char text[256];
                struct source_mark mark;
                bool matches = false;
                put("one\ntwo", 7, O_TRUNC);
                struct source *source = open_source(100);
                describe(source, text, sizeof(text));
                source_settled(source, 0);
                source_settled(source, 1);
                source_get_mark(source, &mark);
                put(added[i], strlen(added[i]), O_APPEND);
                describe(source, text, sizeof(text));
                assert_string_equal(text, lines[i]);
                source_close(source);
                source = open_source(100);
                assert_null(source_skip(source, &mark, &matches));
                assert_true(matches);
                describe(source, text, sizeof(text));
                assert_string_equal(text, lines[i]);
                source_close(source);
        }
}

static void many_lines_may_be_outstanding(void **state) {
        (void)state;
        enum { LINES = (1 << 20) + 10 };
        char *data = malloc(LINES * 2);
        for (size_t i = 0; i < LINES; i++)
                memcpy(data + 2 * i, "x\n", 2);
        put(data, (size_t)LINES * 2, O_TRUNC);
        struct source *source = open_source(100);
        struct source_line line;
        struct source_mark mark;
        uint64_t given = 0;
        while (!source_full(source)) {
                assert_int_equal(source_next(source, &line), SOURCE_LINE);
                given++;
        }
        assert_int_equal(given, 1 << 20);
        for (uint64_t i = given; i-- > 1;)
                source_settled(source, i);
        assert_true(source_full(source));
        source_settled(source, 0);
        assert_false(source_full(source));
        source_get_mark(source, &mark);
        assert_true(mark.offset == given * 2 && mark.lines == given && mark.sequence == given);
        while (source_next(source, &line) == SOURCE_LINE)
                given++;
        assert_int_equal(given, LINES);
        source_close(source);
        free(data);
}

static struct source *standard_input(int ends[2], int *out_saved) {
        struct source_options options = {.path = "-", .line_max = 100};
        struct source *source = NULL;
        assert_int_equal(pipe(ends), 0);
        *out_saved = dup(STDIN_FILENO);
        dup2(ends[0], STDIN_FILENO);
        assert_null(source_open(&options, &source));
        return source;
}

static void restore_input(struct source *source, int ends[2], int saved) {
        source_close(source);
        if (saved >= 0)
                dup2(saved, STDIN_FILENO);
        else
                close(STDIN_FILENO);
        close(saved);
        close(ends[0]);
}

static void standard_input_may_have_nothing_yet(void **state) {
        (void)state;
        struct source_line line;
        int ends[2], saved;
        struct source *source = standard_input(ends, &saved);
        assert_int_equal(source_fd(source), STDIN_FILENO);
        assert_int_equal(source_bytes(source), 0);
        assert_int_equal(source_next(source, &line), SOURCE_LATER);
        assert_int_equal(write(ends[1], "one\ntw", 6), 6);
        assert_int_equal(source_next(source, &line), SOURCE_LINE);
        assert_true(bytes_equal_string(line.text, "one"));
        assert_int_equal(source_next(source, &line), SOURCE_LATER);
        assert_int_equal(source_next(source, &line), SOURCE_LATER);
        assert_int_equal(source_offset(source), 4);
        assert_int_equal(write(ends[1], "o\nthree", 7), 7);
        close(ends[1]);
        assert_int_equal(source_next(source, &line), SOURCE_LINE);
        assert_true(bytes_equal_string(line.text, "two"));
        assert_int_equal(source_next(source, &line), SOURCE_LINE);
        assert_true(bytes_equal_string(line.text, "three"));
        assert_int_equal(source_next(source, &line), SOURCE_END);
        restore_input(source, ends, saved);
}

static void standard_input_is_skipped_by_reading(void **state) {
        (void)state;
        static const char *const inputs[] = {"one\ntwo\nthree\n", "one\ntwX\nthree\n"};
        struct source_mark mark;
        char text[256];
        put(inputs[0], 14, O_TRUNC);
        struct source *source = open_source(100);
        describe(source, text, sizeof(text));
        source_settled(source, 0);
        source_settled(source, 1);
        source_get_mark(source, &mark);
        source_close(source);
        for (size_t i = 0; i < 2; i++) {
                int ends[2], saved;
                bool matches = false;
                source = standard_input(ends, &saved);
                assert_int_equal(write(ends[1], inputs[i], 14), 14);
                close(ends[1]);
                struct error *error = source_skip(source, &mark, &matches);
                if (i == 0) {
                        assert_null(error);
                        assert_true(matches);
                        describe(source, text, sizeof(text));
                        assert_string_equal(text, "3:2:three|");
                } else {
                        assert_non_null(error);
                        assert_int_equal(error->kind, ERROR_INPUT);
                        error_free(error);
                }
                restore_input(source, ends, saved);
        }
}

static void what_cannot_be_read_is_said(void **state) {
        (void)state;
        static const char *const paths[] = {"/tmp", "/nowhere/at/all"};
        static const char *const words[] = {"is a directory", "No such file"};
        for (size_t i = 0; i < 2; i++) {
                struct source_options options = {.path = paths[i], .line_max = 10};
                struct source *source = NULL;
                struct error *error = source_open(&options, &source);
                assert_non_null(error);
                assert_non_null(strstr(error->message, words[i]));
                assert_null(source);
                error_free(error);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(lines_are_split, setup, teardown),
                cmocka_unit_test_setup_teardown(long_lines_cross_blocks, setup, teardown),
                cmocka_unit_test_setup_teardown(marks_move_over_the_contiguous_prefix, setup, teardown),
                cmocka_unit_test_setup_teardown(every_mark_continues, setup, teardown),
                cmocka_unit_test_setup_teardown(a_changed_prefix_is_noticed, setup, teardown),
                cmocka_unit_test_setup_teardown(a_file_may_grow, setup, teardown),
                cmocka_unit_test_setup_teardown(many_lines_may_be_outstanding, setup, teardown),
                cmocka_unit_test_setup_teardown(standard_input_may_have_nothing_yet, setup, teardown),
                cmocka_unit_test_setup_teardown(standard_input_is_skipped_by_reading, setup, teardown),
                cmocka_unit_test(what_cannot_be_read_is_said),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
