/* Messages about bad lines, bounded whatever the line holds. */
#include "broker/wire/problem.h"

#include "broker/base/nearest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void problem_init(struct problem *problem) {
        problem->failure = FAILURE_NONE;
        problem->field[0] = problem->message[0] = '\0';
}

bool problem_set(struct problem *problem, enum failure failure, const char *field, const char *fmt, ...) {
        va_list args;
        if (problem->failure != FAILURE_NONE)
                return false;
        problem->failure = failure;
        snprintf(problem->field, sizeof problem->field, "%s", field);
        va_start(args, fmt);
        vsnprintf(problem->message, sizeof problem->message, fmt, args);
        va_end(args);
        return false;
}

void problem_quote(struct bytes name, char *out_text, size_t capacity) {
        size_t size = name.size < capacity - 1 ? name.size : capacity - 1;
        /* A character that does not fit whole is left out. */
        while (size < name.size && size > 0 && ((unsigned char)name.data[size] & 0xC0) == 0x80)
                size--;
        for (size_t i = 0; i < size; i++) {
                unsigned char c = (unsigned char)name.data[i];
                out_text[i] = c < 0x20 || c == 0x7F ? '?' : name.data[i];
        }
        out_text[size] = '\0';
}

struct bytes problem_nearest(struct bytes name, const struct bytes *known, size_t count) {
        struct nearest nearest;
        nearest_init(&nearest, name);
        for (size_t i = 0; i < count; i++)
                nearest_offer(&nearest, known[i]);
        return nearest.best;
}
