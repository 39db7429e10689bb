/* Records as text and JSON, and secrets in every place of one; lines of many threads stay whole. */
#include "broker/ops/log.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_UNIX_MS INT64_C(1795395847250) /* 2026-11-23T01:04:07.250Z */

static void formats(void **state) {
        const struct log_field fields[] = {LOG_TEXT("provider", BYTES("openai")), LOG_NUMBER("attempt", 2),
                                           LOG_TEXT("why", BYTES("said \"no\"\nthen left")),
                                           LOG_TEXT("none", BYTES(""))};
        struct buffer line;
        (void)state;
        buffer_init(&line, 4096);
        log_format_record(LOG_FORMAT_JSON, LOG_LEVEL_WARNING, NOW_UNIX_MS, "retry\tlater", fields, 4, &line);
        assert_true(
                bytes_equal(buffer_view(&line), BYTES("{\"time\":\"2026-11-23T01:04:07.250Z\",\"level\":"
                                                      "\"warning\",\"message\":\"retry\\tlater\","
                                                      "\"provider\":\"openai\",\"attempt\":2,\"why\":\"said "
                                                      "\\\"no\\\"\\nthen left\",\"none\":\"\"}\n")));
        buffer_clear(&line);
        log_format_record(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, NOW_UNIX_MS, "done\n\x1b[2J", fields, 4, &line);
        assert_true(bytes_equal(buffer_view(&line),
                                BYTES("01:04:07.250 info done ?[2J provider=openai attempt=2 why=\"said "
                                      "\\\"no\\\"\\nthen left\" none=\"\"\n")));
        buffer_deinit(&line);
}

static void secrets_are_replaced(void **state) {
        static const struct {
                const char *text, *safe;
        } cases[] = {
                {"nothing here", "nothing here"},
                {"sk-abcd", "***"},
                {"sk-abcd-longer", "***"}, /* the longer secret, whole */
                {"sk-abcsk-abcd", "sk-abc***"},
                {"<sk-abcd><sk-abcd>", "<***><***>"},
                {"q\"uote", "***"},
                {"abc", "abc"},
                {"", ""},
        };
        (void)state;
        log_secret(BYTES("sk-abcd"));
        log_secret(BYTES("sk-abcd-longer"));
        log_secret(BYTES("sk-abcd"));
        log_secret(BYTES("q\"uote"));
        log_secret(BYTES("abc")); /* too short to be one */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct buffer safe;
                buffer_init(&safe, 256);
                log_redact(bytes_of(cases[i].text), &safe);
                if (!bytes_equal(buffer_view(&safe), bytes_of(cases[i].safe)))
                        fail_msg("%s gives %.*s", cases[i].text, (int)safe.size, safe.data);
                buffer_deinit(&safe);
        }

        /* In JSON the quote is escaped: the secret has to be seen before. */
        const struct log_field field = LOG_TEXT("q\"uote", BYTES("<q\"uote>"));
        for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
                struct buffer line;
                buffer_init(&line, 4096);
                log_format_record((enum log_format)format, LOG_LEVEL_ERROR, NOW_UNIX_MS, "sk-abcd", &field, 1,
                                  &line);
                buffer_append_char(&line, '\0');
                assert_null(strstr(line.data, "sk-"));
                assert_null(strstr(line.data, "uote>"));
                buffer_deinit(&line);
        }
        log_forget();
        struct buffer safe;
        buffer_init(&safe, 256);
        log_redact(BYTES("sk-abcd"), &safe);
        assert_true(bytes_equal(buffer_view(&safe), BYTES("sk-abcd")));
        buffer_deinit(&safe);
}

static void levels(void **state) {
        enum log_level level;
        (void)state;
        assert_true(log_level_from_text("debug", &level));
        assert_int_equal(level, LOG_LEVEL_DEBUG);
        assert_false(log_level_from_text("loud", &level));
        log_init(LOG_FORMAT_TEXT, LOG_LEVEL_WARNING, STDERR_FILENO);
        assert_true(log_enabled(LOG_LEVEL_ERROR));
        assert_true(log_enabled(LOG_LEVEL_WARNING));
        assert_false(log_enabled(LOG_LEVEL_INFO));
}

enum { THREADS = 4, RECORDS = 200 };

static void *write_records(void *unused) {
        (void)unused;
        for (unsigned i = 0; i < RECORDS; i++) {
                log_write(LOG_LEVEL_INFO, "record %u of a thread", i);
                log_write(LOG_LEVEL_DEBUG, "not this one");
        }
        return NULL;
}

static void lines_stay_whole(void **state) {
        FILE *file = tmpfile();
        pthread_t threads[THREADS];
        char line[256];
        unsigned lines = 0;
        (void)state;
        assert_non_null(file);
        log_init(LOG_FORMAT_JSON, LOG_LEVEL_INFO, fileno(file));
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, write_records, NULL), 0);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        log_init(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, STDERR_FILENO);
        rewind(file);
        for (; fgets(line, sizeof line, file) != NULL; lines++) {
                assert_int_equal(strncmp(line, "{\"time\":\"", 9), 0);
                assert_non_null(strstr(line, " of a thread\"}\n"));
        }
        assert_int_equal(lines, THREADS * RECORDS);
        fclose(file);
}

static void *write_repeated(void *unused) {
        (void)unused;
        for (unsigned i = 0; i < RECORDS; i++) {
                const struct log_field fields[] = {LOG_TEXT("job", BYTES("b1/c7")), LOG_NUMBER("attempt", i)};
                log_fields_limited(LOG_LEVEL_WARNING, "a call failed", fields, 2);
                log_fields_limited(LOG_LEVEL_DEBUG, "not this one", fields, 2);
        }
        return NULL;
}

/* However long it takes: what was not written was told, to the last one. */
static void repeated_lines_are_counted(void **state) {
        FILE *file = tmpfile();
        pthread_t threads[THREADS];
        char line[256];
        uint64_t written = 0, suppressed = 0, before = log_suppressed_count();
        (void)state;
        assert_non_null(file);
        log_init(LOG_FORMAT_JSON, LOG_LEVEL_INFO, fileno(file));
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, write_repeated, NULL), 0);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
        log_report_suppressed(true);
        log_report_suppressed(true); /* nothing is told twice */
        log_init(LOG_FORMAT_TEXT, LOG_LEVEL_INFO, STDERR_FILENO);
        rewind(file);
        while (fgets(line, sizeof line, file) != NULL) {
                const char *count = strstr(line, ",\"suppressed\":");
                assert_non_null(strstr(line, "\"level\":\"warning\",\"message\":\"a call failed\""));
                written += strstr(line, ",\"job\":\"b1/c7\",\"attempt\":") != NULL;
                suppressed += count == NULL ? 0 : strtoull(count + strlen(",\"suppressed\":"), NULL, 10);
        }
        assert_int_equal(written + suppressed, THREADS * RECORDS);
        assert_true(written >= 10 && suppressed > 0);
        assert_int_equal(log_suppressed_count() - before, suppressed);
        fclose(file);
}

static int zone(void **state) {
        (void)state;
        setenv("TZ", "UTC", 1);
        tzset();
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(formats),
                cmocka_unit_test(secrets_are_replaced),
                cmocka_unit_test(levels),
                cmocka_unit_test(lines_stay_whole),
                cmocka_unit_test(repeated_lines_are_counted),
        };
        return cmocka_run_group_tests(tests, zone, NULL);
}
