#pragma once
/*
 * A failure of the world: what an adapter returns when something outside did not do what was asked. NULL is
 * success. The error carries a class, from which the exit code and the reaction follow, an errno-like code,
 * and a message that is wrapped on the way up ("cannot open results.jsonl: No space left on device"). The one
 * that stops it frees it.
 */
#define MUST_USE                __attribute__((warn_unused_result))
#define NEVER_NULL              __attribute__((returns_nonnull))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

enum error_class {
        ERROR_USAGE,   /* wrong command line or configuration: exit code 2 */
        ERROR_INPUT,   /* what was given to us cannot be used */
        ERROR_IO,      /* a file, socket or device failed */
        ERROR_FULL,    /* no space: may pass */
        ERROR_BUSY,    /* somebody else holds it */
        ERROR_CORRUPT, /* stored bytes are not what was stored */
        ERROR_MEMORY,  /* allocation refused */
        ERROR_NETWORK, /* the other side could not be reached */
};

struct error {
        enum error_class kind;
        int code; /* errno, or 0 */
        char *message;
};

struct error *error_new(enum error_class kind, const char *fmt, ...) MUST_USE NEVER_NULL PRINTF_LIKE(2, 3);
/*
 * From an errno value: class by errno (ENOSPC, EDQUOT: FULL; ENOMEM: MEMORY; else IO); message gets ":
 * strerror".
 */
struct error *error_errno(int code, const char *fmt, ...) MUST_USE NEVER_NULL PRINTF_LIKE(2, 3);
/* Puts "prefix: " before the message. Takes and returns the same error; NULL stays NULL. */
struct error *error_wrap(struct error *error, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);
struct error *error_free(struct error *error); /* takes NULL; returns NULL */

static inline void error_freep(struct error **error) {
        error_free(*error);
}
