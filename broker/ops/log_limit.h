#pragma once
/*
 * Which lines of the log are written when one message comes too often: of each at most LOG_REPEATS_MAX in a
 * second, counted from its first. What is left out is counted and told with the first line of a later second,
 * or by a report when none comes. Pure; one thread at a time.
 *
 * A message is a literal and is kept by its pointer, but known by its text. Those beyond
 * LOG_LIMIT_MESSAGES_MAX different ones (a program has as many as its source) are not limited.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_REPEATS_MAX = 10, LOG_LIMIT_MESSAGES_MAX = 128 };

struct log_limit {
        struct log_limited {
                const char *message; /* NULL: free, as all behind it */
                int level;
                uint32_t written;    /* in the second that began at since_ns */
                uint64_t suppressed; /* not told yet */
                int64_t since_ns;
        } messages[LOG_LIMIT_MESSAGES_MAX];
        uint64_t suppressed; /* all of them */
};

struct log_limit_report {
        const char *message;
        int level;
        uint64_t suppressed;
};

/* Whether the line is written; then out_suppressed is how many before it were not. */
bool log_limit_take(struct log_limit *limit, int level, const char *message, int64_t now_ns,
                    uint64_t *out_suppressed);
/* Whether the message at this place has something to tell and its second is over; it is told, then. */
bool log_limit_report(struct log_limit *limit, size_t place, int64_t now_ns,
                      struct log_limit_report *out_report);
