/*
 * Errors are made, wrapped and freed here. The one who holds the pointer owns it. When even the error cannot
 * be allocated one static error stands in for it: it says ERROR_MEMORY, is never changed, and error_free()
 * leaves it alone, so callers always get something that is not NULL.
 */
#include "broker/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char out_of_memory_message[] = "out of memory";
static struct error out_of_memory = {ERROR_MEMORY, ENOMEM, out_of_memory_message};

/* Takes `message`, also on failure; NULL is a refused allocation. */
static struct error *error_make(enum error_class kind, int code, char *message) {
        struct error *error = message == NULL ? NULL : malloc(sizeof(*error));

        if (error == NULL) {
                free(message);
                return &out_of_memory;
        }
        *error = (struct error){kind, code, message};
        return error;
}

static char *format_message(const char *fmt, va_list args) __attribute__((format(printf, 1, 0)));
static char *format_message(const char *fmt, va_list args) {
        char *message;

        return vasprintf(&message, fmt, args) < 0 ? NULL : message;
}

static char *join(const char *a, const char *b) {
        char *joined;

        return asprintf(&joined, "%s: %s", a, b) < 0 ? NULL : joined;
}

static enum error_class class_of_errno(int code) {
        switch (code) {
        case ENOSPC:
        case EDQUOT:
                return ERROR_FULL;
        case ENOMEM:
                return ERROR_MEMORY;
        default:
                return ERROR_IO;
        }
}

struct error *error_new(enum error_class kind, const char *fmt, ...) {
        va_list args;
        char *message;

        va_start(args, fmt);
        message = format_message(fmt, args);
        va_end(args);
        return error_make(kind, 0, message);
}

struct error *error_errno(int code, const char *fmt, ...) {
        char text[128];
        va_list args;
        char *message, *joined = NULL;

        va_start(args, fmt);
        message = format_message(fmt, args);
        va_end(args);
        if (message != NULL)
                joined = join(message, strerror_r(code, text, sizeof(text)));
        free(message);
        return error_make(class_of_errno(code), code, joined);
}

struct error *error_wrap(struct error *error, const char *fmt, ...) {
        va_list args;
        char *prefix, *joined;

        if (error == NULL || error == &out_of_memory)
                return error;
        va_start(args, fmt);
        prefix = format_message(fmt, args);
        va_end(args);
        if (prefix == NULL)
                return error;
        joined = join(prefix, error->message);
        free(prefix);
        if (joined != NULL) {
                free(error->message);
                error->message = joined;
        }
        return error;
}

struct error *error_free(struct error *error) {
        if (error == NULL || error == &out_of_memory)
                return NULL;
        free(error->message);
        free(error);
        return NULL;
}
