#pragma once
/*
 * What is wrong with a line: which failure, in which field, and a sentence that goes on from the field's
 * name ("must be a non-empty string"); without a field it stands alone. Only the first one counts.
 */
#include "broker/base/error.h"
#include "workers/routing/kind.h"

enum { PROBLEM_FIELD_MAX = 256, PROBLEM_MESSAGE_MAX = 384 };

struct problem {
        enum failure failure;
        char field[PROBLEM_FIELD_MAX];
        char message[PROBLEM_MESSAGE_MAX];
};

void problem_init(struct problem *problem);
/* Gives false, so that a check can end with it. */
bool problem_set(struct problem *problem, enum failure failure, const char *field, const char *fmt, ...)
        PRINTF_LIKE(4, 5);
/* An invalid_job. */
#define problem_in(problem, field, ...) problem_set((problem), FAILURE_INVALID_JOB, (field), __VA_ARGS__)

/*
 * A stranger's name made fit to be shown: cut to `capacity`, control characters and broken ends as '?'.
 * Terminated.
 */
void problem_quote(struct bytes name, char *out_text, size_t capacity);
/* The known name that `name` was probably meant to be; empty when none is near. */
struct bytes problem_nearest(struct bytes name, const struct bytes *known, size_t count);
