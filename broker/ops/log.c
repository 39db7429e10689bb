/*
 * Text is searched for secrets before it is escaped or cut, so that neither hides one. A record that
 * cannot be made for want of memory is replaced by a line that says so; one that cannot be written is
 * lost, there being nobody left to tell.
 */
#include "broker/ops/log.h"

#include "broker/base/time.h"
#include "broker/ops/log_limit.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
        enum log_format format;
        enum log_level level;
        int fd;
} output = {LOG_FORMAT_TEXT, LOG_LEVEL_INFO, STDERR_FILENO};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over the secrets and over writing */
static struct bytes secrets[LOG_SECRETS_MAX];
static size_t secrets_count;

/* Never held while a line is written, which may take its time. */
static pthread_mutex_t limit_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit limit;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_init(enum log_format format, enum log_level level, int fd) {
        output.format = format;
        output.level = level;
        output.fd = fd;
}

bool log_level_from_text(const char *text, enum log_level *out_level) {
        for (size_t i = 0; i < sizeof level_names / sizeof *level_names; i++)
                if (strcmp(text, level_names[i]) == 0) {
                        *out_level = (enum log_level)i;
                        return true;
                }
        return false;
}

bool log_enabled(enum log_level level) {
        return level <= output.level;
}

/* ---- secrets ---- */

/* Longer ones first: a secret that begins with another is replaced whole. */
void log_secret(struct bytes value) {
        if (value.size < LOG_SECRET_BYTES_MIN)
                return;
        pthread_mutex_lock(&lock);
        bool known = false;
        for (size_t i = 0; i < secrets_count; i++)
                known = known || bytes_equal(secrets[i], value);
        char *copy = known || secrets_count == LOG_SECRETS_MAX ? NULL : bytes_dup(value);
        if (copy != NULL) {
                size_t at = secrets_count++;
                for (; at > 0 && secrets[at - 1].size < value.size; at--)
                        secrets[at] = secrets[at - 1];
                secrets[at] = (struct bytes){copy, value.size};
        }
        pthread_mutex_unlock(&lock);
}

void log_forget(void) {
        pthread_mutex_lock(&lock);
        while (secrets_count > 0) {
                struct bytes secret = secrets[--secrets_count];
                char *data = (char *)(uintptr_t)secret.data;
                explicit_bzero(data, secret.size);
                free(data);
        }
        pthread_mutex_unlock(&lock);
}

/* The size of the secret that stands at `at`, or 0. */
static size_t secret_at(struct bytes text, size_t at) {
        for (size_t i = 0; i < secrets_count; i++)
                if (secrets[i].size <= text.size - at &&
                    memcmp(text.data + at, secrets[i].data, secrets[i].size) == 0)
                        return secrets[i].size;
        return 0;
}

void log_redact(struct bytes text, struct buffer *out_text) {
        pthread_mutex_lock(&lock);
        for (size_t at = 0; at < text.size;) {
                size_t size = secret_at(text, at);
                if (size > 0)
                        buffer_append_string(out_text, "***");
                else
                        buffer_append_char(out_text, text.data[at]);
                at += size > 0 ? size : 1;
        }
        pthread_mutex_unlock(&lock);
}

/* ---- records ---- */

static void append_json(struct bytes text, struct buffer *line) {
        struct buffer safe;
        buffer_init(&safe, LOG_LINE_BYTES_MAX);
        log_redact(text, &safe);
        buffer_append_char(line, '"');
        buffer_append_json_escaped(line, buffer_view(&safe));
        buffer_append_char(line, '"');
        buffer_deinit(&safe);
}

/* Control characters, which could forge a line or speak to a terminal, become '?'. */
static void append_text(struct bytes text, struct buffer *line) {
        size_t start = line->size;
        log_redact(text, line);
        for (size_t i = start; i < line->size; i++)
                if ((unsigned char)line->data[i] < 0x20 || line->data[i] == 0x7f)
                        line->data[i] = line->data[i] == '\n' ? ' ' : '?';
}

static void append_value(struct bytes text, struct buffer *line) {
        bool quoted = text.size == 0;
        for (size_t i = 0; i < text.size; i++)
                quoted = quoted || text.data[i] == ' ' || text.data[i] == '"' || text.data[i] == '=';
        if (quoted)
                append_json(text, line);
        else
                append_text(text, line);
}

static void format_json(enum log_level level, int64_t now_unix_ms, const char *message,
                        const struct log_field *fields, size_t count, struct buffer *line) {
        buffer_append_string(line, "{\"time\":\"");
        rfc3339_append(line, now_unix_ms);
        buffer_printf(line, "\",\"level\":\"%s\",\"message\":", level_names[level]);
        append_json(bytes_of(message), line);
        for (size_t i = 0; i < count; i++) {
                buffer_append_char(line, ',');
                append_json(bytes_of(fields[i].name), line);
                buffer_append_char(line, ':');
                if (fields[i].text.data != NULL)
                        append_json(fields[i].text, line);
                else
                        buffer_append_i64(line, fields[i].number);
        }
        buffer_append_char(line, '}');
}

static void format_text(enum log_level level, int64_t now_unix_ms, const char *message,
                        const struct log_field *fields, size_t count, struct buffer *line) {
        time_t seconds = (time_t)(now_unix_ms / 1000);
        struct tm local;
        localtime_r(&seconds, &local);
        buffer_printf(line, "%02d:%02d:%02d.%03d %s ", local.tm_hour, local.tm_min, local.tm_sec,
                      (int)(now_unix_ms % 1000), level_names[level]);
        append_text(bytes_of(message), line);
        for (size_t i = 0; i < count; i++) {
                buffer_printf(line, " %s=", fields[i].name);
                if (fields[i].text.data != NULL)
                        append_value(fields[i].text, line);
                else
                        buffer_append_i64(line, fields[i].number);
        }
}

void log_format_record(enum log_format format, enum log_level level, int64_t now_unix_ms, const char *message,
                       const struct log_field *fields, size_t count, struct buffer *out_line) {
        if (format == LOG_FORMAT_JSON)
                format_json(level, now_unix_ms, message, fields, count, out_line);
        else
                format_text(level, now_unix_ms, message, fields, count, out_line);
        buffer_append_char(out_line, '\n');
}

static void write_whole(struct bytes line) {
        pthread_mutex_lock(&lock);
        while (line.size > 0) {
                ssize_t count = write(output.fd, line.data, line.size);
                if (count < 0 && errno == EINTR)
                        continue;
                if (count <= 0)
                        break;
                line = (struct bytes){line.data + count, line.size - (size_t)count};
        }
        pthread_mutex_unlock(&lock);
}

void log_fields(enum log_level level, const char *message, const struct log_field *fields, size_t count) {
        struct buffer line;
        int code = errno;
        if (!log_enabled(level))
                return;
        buffer_init(&line, (size_t)8 * LOG_LINE_BYTES_MAX);
        log_format_record(output.format, level, clock_now_unix_ms(), message, fields, count, &line);
        write_whole(line.failed ? BYTES("a log record was too large\n") : buffer_view(&line));
        buffer_deinit(&line);
        errno = code;
}

void log_write(enum log_level level, const char *fmt, ...) {
        char *message;
        va_list args;
        if (!log_enabled(level))
                return;
        va_start(args, fmt);
        int size = vasprintf(&message, fmt, args);
        va_end(args);
        if (size < 0)
                return;
        log_fields(level, message, NULL, 0);
        free(message);
}

/* ---- repeated ones ---- */

static void write_suppressed(enum log_level level, const char *message, const struct log_field *fields,
                             size_t count, uint64_t suppressed) {
        struct log_field all[LOG_FIELDS_MAX + 1];
        count = count > LOG_FIELDS_MAX ? LOG_FIELDS_MAX : count;
        if (count > 0)
                memcpy(all, fields, count * sizeof(*all));
        if (suppressed > 0)
                all[count++] = LOG_NUMBER("suppressed", (int64_t)suppressed);
        log_fields(level, message, all, count);
}

void log_fields_limited(enum log_level level, const char *message, const struct log_field *fields,
                        size_t count) {
        uint64_t suppressed;
        if (!log_enabled(level))
                return;
        pthread_mutex_lock(&limit_lock);
        bool taken = log_limit_take(&limit, (int)level, message, clock_now_ns(), &suppressed);
        pthread_mutex_unlock(&limit_lock);
        if (taken)
                write_suppressed(level, message, fields, count, suppressed);
}

void log_report_suppressed(bool at_end) {
        int64_t now_ns = at_end ? INT64_MAX : clock_now_ns();
        struct log_limit_report report;
        for (size_t i = 0; i < LOG_LIMIT_MESSAGES_MAX; i++) {
                pthread_mutex_lock(&limit_lock);
                bool due = log_limit_report(&limit, i, now_ns, &report);
                pthread_mutex_unlock(&limit_lock);
                if (due)
                        write_suppressed((enum log_level)report.level, report.message, NULL, 0,
                                         report.suppressed);
        }
}

uint64_t log_suppressed_count(void) {
        pthread_mutex_lock(&limit_lock);
        uint64_t count = limit.suppressed;
        pthread_mutex_unlock(&limit_lock);
        return count;
}
