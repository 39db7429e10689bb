/*
 * Every file of tests/decisions/golden holds jobs with the decision of each, under the excerpts of real
 * catalogues in data/ and the configuration there. The test decides again and compares byte for byte. With
 * BATCHFERRY_GOLDEN_WRITE=1 it writes what comes out now: read the difference before it is committed.
 */
#include "table.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HERE TEST_SOURCE_DIR "/tests/decisions/"

enum { FILES_MAX = 64 };

static char names[FILES_MAX][256];
static struct book book;

static int open_book(void **state) {
        struct bytes configuration = book_read(HERE "data/batchferry.yaml");
        (void)state;
        book_open(&book, HERE "data/litellm.json", HERE "data/openrouter.json", configuration);
        free((char *)(uintptr_t)configuration.data);
        return 0;
}

static int close_book(void **state) {
        (void)state;
        book_close(&book);
        return 0;
}

static void run_file(void **state) {
        char path[4096];
        snprintf(path, sizeof path, HERE "golden/%s", (const char *)*state);
        struct bytes wanted = book_read(path);
        struct buffer got;
        buffer_init(&got, BOOK_TEXT_MAX);
        table_run(&book, wanted, &got);
        if (getenv("BATCHFERRY_GOLDEN_WRITE")) {
                FILE *file = fopen(path, "w");
                assert_non_null(file);
                fwrite(got.data, 1, got.size, file);
                fclose(file);
        } else if (!bytes_equal(wanted, buffer_view(&got))) {
                fail_msg("%s: it comes out as\n%.*s", path, (int)got.size, got.data);
        }
        buffer_deinit(&got);
        free((char *)(uintptr_t)wanted.data);
}

int main(void) {
        DIR *directory = opendir(HERE "golden");
        if (!directory)
                return 1;
        struct CMUnitTest tests[FILES_MAX];
        size_t count = 0;
        for (struct dirent *entry; (entry = readdir(directory)) && count < FILES_MAX;) {
                size_t size = strlen(entry->d_name);
                if (size < 10 || strcmp(entry->d_name + size - 10, ".decisions") != 0)
                        continue;
                snprintf(names[count], sizeof names[count], "%s", entry->d_name);
                tests[count] = (struct CMUnitTest){
                        .name = names[count], .test_func = run_file, .initial_state = names[count]};
                count++;
        }
        closedir(directory);
        if (count == 0)
                return 1;
        return _cmocka_run_group_tests("decisions", tests, count, open_book, close_book);
}
