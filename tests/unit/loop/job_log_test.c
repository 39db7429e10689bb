/* What the log says of a job that has failed: its names and why, in one line. */
#include "broker/core/job_spec.h"
#include "broker/loop/job_log.h"
#include "broker/loop/origin.h"
#include "broker/ops/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2];

static void said(char *out_text, size_t size) {
        log_write(LOG_LEVEL_ERROR, "end"); /* so that there is something to read */
        ssize_t got = read(ends[0], out_text, size - 1);
        assert_true(got > 0);
        out_text[got] = '\0';
}

static void names_the_job(void **state) {
        struct origin origin = {.partition = 3, .record = {.offset = 42}};
        struct job_spec job = {.custom_id = BYTES("job-1"),
                               .traceparent =
                                       BYTES("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
                               .body = BYTES("private"),
                               .origin = &origin};
        struct outcome outcome = {
                .failure = FAILURE_ATTEMPTS_EXHAUSTED, .attempts = 5, .message = "private too"};
        char text[1024];
        (void)state;
        job_log_failed(&job, &outcome);
        said(text, sizeof(text));
        assert_non_null(strstr(text, "a job has failed"));
        assert_non_null(strstr(text, "job=job-1 partition=3 offset=42 code=attempts_exhausted attempts=5"
                                     " trace_id=0af7651916cd43dd8448eb211c80319c"));
        assert_null(strstr(text, "private"));
}

static void says_nothing_of_others(void **state) {
        struct origin origin = {.partition = 3};
        struct job_spec job = {.origin = &origin}, line = {.custom_id = BYTES("line")};
        struct outcome well = {.failure = FAILURE_NONE}, failed = {.failure = FAILURE_NO_PROVIDER};
        char text[1024];
        (void)state;
        job_log_failed(&job, &well);
        job_log_failed(&line, &failed);
        said(text, sizeof(text));
        assert_null(strstr(text, "a job has failed"));
        job_log_failed(&job, &failed); /* without an id, without a trace */
        said(text, sizeof(text));
        assert_non_null(strstr(text, "a job has failed partition=3 offset=0 code=no_provider attempts=0\n"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_the_job),
                cmocka_unit_test(says_nothing_of_others),
        };
        if (pipe(ends) < 0)
                return 1;
        log_init(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, ends[1]);
        return cmocka_run_group_tests_name("job_log", tests, NULL, NULL);
}
