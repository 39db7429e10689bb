/* Levenshtein's distance in one row, of names that are bounded, so the work is bounded as well. */
#include "broker/base/nearest.h"

#include <string.h>

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static size_t least(size_t a, size_t b) {
        return a < b ? a : b;
}

static size_t distance_between(struct bytes a, struct bytes b) {
        size_t row[NEAREST_NAME_MAX + 1];

        for (size_t j = 0; j <= b.size; j++)
                row[j] = j;
        for (size_t i = 0; i < a.size; i++) {
                size_t diagonal = row[0];

                row[0] = i + 1;
                for (size_t j = 0; j < b.size; j++) {
                        size_t replaced = diagonal + (lower(a.data[i]) != lower(b.data[j]));

                        diagonal = row[j + 1];
                        row[j + 1] = least(replaced, least(row[j], diagonal) + 1);
                }
        }
        return row[b.size];
}

static bool begins_with(struct bytes whole, struct bytes start) {
        if (start.size < NEAREST_PREFIX_MIN || start.size > whole.size)
                return false;
        for (size_t i = 0; i < start.size; i++)
                if (lower(whole.data[i]) != lower(start.data[i]))
                        return false;
        return true;
}

void nearest_init(struct nearest *nearest, struct bytes name) {
        *nearest = (struct nearest){.name = name, .distance = SIZE_MAX};
}

void nearest_offer(struct nearest *nearest, struct bytes candidate) {
        struct bytes name = nearest->name;
        size_t distance;

        if (name.size == 0 || name.size > NEAREST_NAME_MAX || candidate.size == 0 ||
            candidate.size > NEAREST_NAME_MAX)
                return;
        distance = distance_between(name, candidate);
        if (distance > NEAREST_DISTANCE_MAX || distance * 2 >= name.size) {
                if (!begins_with(candidate, name) && !begins_with(name, candidate))
                        return;
                /* Farther than anything that is near by letters. */
                distance += NEAREST_DISTANCE_MAX;
        }
        if (distance < nearest->distance) {
                nearest->distance = distance;
                nearest->best = candidate;
        }
}
