/* Variables and files in texts, what is malformed, what is missing, and the way back. */
#include "broker/ops/substitute.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void gives(const char *text, const char *expected, bool expected_any) {
        char problem[SUBSTITUTE_PROBLEM_MAX] = "";
        struct buffer out;
        bool any = !expected_any;
        buffer_init(&out, SUBSTITUTE_TEXT_BYTES_MAX);
        if (substitute(bytes_of(text), &out, &any, problem) != SUBSTITUTION_DONE)
                fail_msg("%s: %s", text, problem);
        if (!bytes_equal(buffer_view(&out), bytes_of(expected)))
                fail_msg("%s gives %.*s", text, (int)out.size, out.data);
        assert_int_equal(any, expected_any);
        buffer_deinit(&out);
}

static void refuses(struct bytes text, enum substitution expected, const char *sentence) {
        char problem[SUBSTITUTE_PROBLEM_MAX] = "";
        struct buffer out;
        bool any;
        buffer_init(&out, SUBSTITUTE_TEXT_BYTES_MAX + SUBSTITUTE_FILE_BYTES_MAX);
        assert_int_equal(substitute(text, &out, &any, problem), expected);
        assert_string_equal(problem, sentence);
        buffer_deinit(&out);
}

static void variables(void **state) {
        (void)state;
        gives("", "", false);
        gives("plain $ text $5 } { $", "plain $ text $5 } { $", false);
        gives("${BF_A}", "one", true);
        gives("x${BF_A}y${BF_A}", "xoneyone", true);
        gives("${BF_A:-other}", "one", true);
        gives("${BF_UNSET:-other: [1]}", "other: [1]", true);
        gives("${BF_UNSET:-}", "", true);
        gives("${BF_EMPTY:-other}", "other", true);
        gives("${BF_UNSET:-:-}", ":-", true);
        gives("$${BF_A}", "${BF_A}", false);
        gives("$$${BF_A}", "$${BF_A}", false);
        gives("${BF_DOLLAR}", "${BF_A}", true); /* what was put in is not looked at again */
}

static void malformed(void **state) {
        static const struct {
                const char *text, *sentence;
        } cases[] = {
                {"${BF_A", "\"${\" without \"}\"; a literal \"${\" is written \"$${\""},
                {"a ${", "\"${\" without \"}\"; a literal \"${\" is written \"$${\""},
                {"${BF_A:-${BF_B}}", "\"${\" within \"${...}\" is not supported"},
                {"${file:${BF_A}}", "\"${\" within \"${...}\" is not supported"},
                {"${file:relative}", "${file:relative} needs an absolute path"},
                {"${}", "\"${}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}; a literal \"${\" is "
                        "written "
                        "\"$${\""},
                {"${1A}",
                 "\"${1A}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}; a literal \"${\" is "
                 "written \"$${\""},
                {"${a-b}",
                 "\"${a-b}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}; a literal \"${\" is "
                 "written \"$${\""},
        };
        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
                refuses(bytes_of(cases[i].text), SUBSTITUTION_MALFORMED, cases[i].sentence);
        refuses(BYTES("${BF_A\0B}"), SUBSTITUTION_MALFORMED, "\"${...}\" is too long, or not text");
}

static void missing(void **state) {
        (void)state;
        refuses(BYTES("${BF_UNSET}"), SUBSTITUTION_MISSING, "environment variable BF_UNSET is not set");
        refuses(BYTES("${BF_EMPTY}"), SUBSTITUTION_MISSING, "environment variable BF_EMPTY is set but empty");
        refuses(BYTES("${file:/nonexistent/x}"), SUBSTITUTION_MISSING,
                "cannot read /nonexistent/x: No such file or directory");
        refuses(BYTES("${file:/tmp}"), SUBSTITUTION_MISSING, "cannot read /tmp: Is a directory");
        refuses(BYTES("${file:/dev/zero}"), SUBSTITUTION_MISSING, "cannot read /dev/zero: Invalid argument");
}

static void write_file(const char *path, const char *data, size_t size) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, size, file), size);
        assert_int_equal(fclose(file), 0);
}

static void files(void **state) {
        static const struct {
                const char *content, *gives;
        } cases[] = {
                {"key", "key"},
                {"key\n", "key"},
                {"key\r\n", "key"},
                {"key\n\n", "key\n"},
                {"a: *b\n# c", "a: *b\n# c"},
                {"", ""},
                {"\n", ""},
                {"${BF_A}", "${BF_A}"},
        };
        char path[] = "/tmp/batchferry-test-XXXXXX", text[64], sentence[128];
        (void)state;
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        close(fd);
        snprintf(text, sizeof text, "${file:%s}", path);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                write_file(path, cases[i].content, strlen(cases[i].content));
                gives(text, cases[i].gives, true);
        }

        write_file(path, "a\0b", 3);
        snprintf(sentence, sizeof sentence, "%s is not text", path);
        refuses(bytes_of(text), SUBSTITUTION_MISSING, sentence);

        char *large = calloc(1, SUBSTITUTE_FILE_BYTES_MAX + 1);
        assert_non_null(large);
        memset(large, 'x', SUBSTITUTE_FILE_BYTES_MAX + 1);
        write_file(path, large, SUBSTITUTE_FILE_BYTES_MAX + 1);
        snprintf(sentence, sizeof sentence, "cannot read %s: File too large", path);
        refuses(bytes_of(text), SUBSTITUTION_MISSING, sentence);
        free(large);
        unlink(path);

        /* Nobody writes to this pipe: it is not waited for. */
        assert_int_equal(mkfifo(path, 0600), 0);
        snprintf(sentence, sizeof sentence, "cannot read %s: Invalid argument", path);
        refuses(bytes_of(text), SUBSTITUTION_MISSING, sentence);
        unlink(path);
}

static void quoting_comes_back(void **state) {
        static const char *const texts[] = {"",   "plain", "${A}", "$${A}",   "$$${A}",
                                            "a$", "$$",    "${",   "x${y}z${"};
        (void)state;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                struct buffer quoted;
                buffer_init(&quoted, 256);
                substitute_quote(bytes_of(texts[i]), &quoted);
                buffer_append_char(&quoted, '\0');
                gives(quoted.data, texts[i], false);
                buffer_deinit(&quoted);
        }
}

static int environment(void **state) {
        (void)state;
        setenv("BF_A", "one", 1);
        setenv("BF_EMPTY", "", 1);
        setenv("BF_DOLLAR", "${BF_A}", 1);
        unsetenv("BF_UNSET");
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(variables), cmocka_unit_test(malformed),          cmocka_unit_test(missing),
                cmocka_unit_test(files),     cmocka_unit_test(quoting_comes_back),
        };
        return cmocka_run_group_tests(tests, environment, NULL);
}
