/* A short list, searched from its start: what comes here is to be written to a file, which costs far more. */
#include "broker/ops/log_limit.h"

#include "broker/base/time.h"

#include <string.h>

static struct log_limited *find(struct log_limit *limit, int level, const char *message) {
        for (size_t i = 0; i < LOG_LIMIT_MESSAGES_MAX; i++) {
                struct log_limited *limited = &limit->messages[i];
                if (limited->message == NULL)
                        *limited = (struct log_limited){.message = message, .level = level};
                if (limited->level == level && strcmp(limited->message, message) == 0)
                        return limited;
        }
        return NULL;
}

bool log_limit_take(struct log_limit *limit, int level, const char *message, int64_t now_ns,
                    uint64_t *out_suppressed) {
        struct log_limited *limited = find(limit, level, message);
        uint64_t suppressed = 0;
        if (limited != NULL && (limited->written == 0 || now_ns - limited->since_ns >= NS_PER_S)) {
                suppressed = limited->suppressed;
                limited->suppressed = 0;
                limited->written = 0;
                limited->since_ns = now_ns;
        }
        if (limited != NULL && limited->written == LOG_REPEATS_MAX) {
                limited->suppressed++;
                limit->suppressed++;
                return false;
        }
        if (limited != NULL)
                limited->written++;
        *out_suppressed = suppressed;
        return true;
}

bool log_limit_report(struct log_limit *limit, size_t place, int64_t now_ns,
                      struct log_limit_report *out_report) {
        struct log_limited *limited = &limit->messages[place];
        if (limited->message == NULL || limited->suppressed == 0 || now_ns - limited->since_ns < NS_PER_S)
                return false;
        *out_report = (struct log_limit_report){limited->message, limited->level, limited->suppressed};
        limited->suppressed = 0;
        return true;
}
