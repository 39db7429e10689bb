/*
 * Every file of tests/golden/traces is a scenario with the engine's decisions. The test runs each and
 * compares. With BATCHFERRY_GOLDEN_WRITE=1 it writes what the engine says now: read the difference before it
 * is committed.
 */
#include "trace.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TRACES_MAX = 128, TRACE_BYTES_MAX = 1 << 20 };

static char names[TRACES_MAX][256];

static void path_of(const char *name, char *out_path, size_t size) {
        snprintf(out_path, size, "%s/tests/golden/traces/%s", TEST_SOURCE_DIR, name);
}

static void read_file(const char *path, struct buffer *out_text) {
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        buffer_reserve(out_text, TRACE_BYTES_MAX);
        out_text->size = fread(out_text->data, 1, TRACE_BYTES_MAX, file);
        fclose(file);
}

static void run_trace(void **state) {
        char path[4096];
        path_of(*state, path, sizeof(path));
        struct buffer wanted, got;
        buffer_init(&wanted, TRACE_BYTES_MAX);
        buffer_init(&got, TRACE_BYTES_MAX);
        read_file(path, &wanted);
        trace_run(buffer_view(&wanted), &got);
        if (getenv("BATCHFERRY_GOLDEN_WRITE")) {
                FILE *file = fopen(path, "w");
                assert_non_null(file);
                fwrite(got.data, 1, got.size, file);
                fclose(file);
        } else if (!bytes_equal(buffer_view(&wanted), buffer_view(&got))) {
                print_message("%s: the engine now says\n%.*s", path, (int)got.size, got.data);
                fail();
        }
        buffer_deinit(&wanted);
        buffer_deinit(&got);
}

int main(void) {
        char path[4096];
        path_of("", path, sizeof(path));
        DIR *directory = opendir(path);
        if (!directory)
                return 1;
        struct CMUnitTest tests[TRACES_MAX];
        size_t count = 0;
        for (struct dirent *entry; (entry = readdir(directory)) && count < TRACES_MAX;) {
                size_t size = strlen(entry->d_name);
                if (size < 6 || strcmp(entry->d_name + size - 6, ".trace") != 0)
                        continue;
                snprintf(names[count], sizeof(names[count]), "%s", entry->d_name);
                tests[count] = (struct CMUnitTest){
                        .name = names[count], .test_func = run_trace, .initial_state = names[count]};
                count++;
        }
        closedir(directory);
        if (count == 0)
                return 1;
        return _cmocka_run_group_tests("golden", tests, count, NULL, NULL);
}
