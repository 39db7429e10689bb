#pragma once
/*
 * The log: one line per record on standard error, as text ("12:04:07.250 warning retry provider=openai")
 * or as JSON. Any thread may write; a line goes out whole. What was registered as a secret is replaced
 * by *** wherever it occurs.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

enum {
        LOG_SECRETS_MAX = 1024,
        LOG_SECRET_BYTES_MIN = 4, /* shorter ones would blot out words everywhere, and are no secrets */
        LOG_LINE_BYTES_MAX = 16 << 10,
        LOG_FIELDS_MAX = 16,
};

/* One named value of a record: a text, or a number when `text.data` is NULL. */
struct log_field {
        const char *name;
        struct bytes text;
        int64_t number;
};

#define LOG_TEXT(field_name, value)                                                                          \
        (struct log_field) {                                                                                 \
                .name = (field_name), .text = (value)                                                        \
        }
#define LOG_NUMBER(field_name, value)                                                                        \
        (struct log_field) {                                                                                 \
                .name = (field_name), .number = (value)                                                      \
        }

/* Before threads start; without it: text, info, standard error. */
void log_init(enum log_format format, enum log_level level, int fd);
/* "error", "warning", "info", "debug"; false when it is none. */
bool log_level_from_text(const char *text, enum log_level *out_level);
bool log_enabled(enum log_level level);
/*
 * A copy is kept until log_forget(). The same value again changes nothing; more than LOG_SECRETS_MAX are
 * not kept.
 */
void log_secret(struct bytes value);
void log_forget(void); /* wipes all secrets */
/* Appends the text with its secrets replaced. */
void log_redact(struct bytes text, struct buffer *out_text);

void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The message and named values, which are easier to search for than what a sentence holds. */
void log_fields(enum log_level level, const char *message, const struct log_field *fields, size_t count);
/*
 * The same for what can come a thousand times a second: of one message at most LOG_REPEATS_MAX lines a second
 * are written, and the next one tells how many were not (suppressed=N). The message is a literal; what varies
 * belongs into the fields, of which LOG_FIELDS_MAX are written.
 */
void log_fields_limited(enum log_level level, const char *message, const struct log_field *fields,
                        size_t count);
/*
 * A line for each message of which some were suppressed and none came since, a second ago or, at the end, at
 * all. Once a second or so, and before the program ends.
 */
void log_report_suppressed(bool at_end);
uint64_t log_suppressed_count(void); /* since the start */
/* What log_fields() writes, newline included, for a given time. */
void log_format_record(enum log_format format, enum log_level level, int64_t now_unix_ms, const char *message,
                       const struct log_field *fields, size_t count, struct buffer *out_line);
