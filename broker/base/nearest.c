/* The distance between names that are bounded, so the work is bounded as well. */
#include "broker/base/nearest.h"

#include <string.h>

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static size_t least(size_t a, size_t b) {
        return a < b ? a : b;
}

static bool same(struct bytes a, size_t i, struct bytes b, size_t j) {
        return lower(a.data[i]) == lower(b.data[j]);
}

/* Three rows are kept in turn: a pair that changed places looks two rows back. */
static size_t distance_between(struct bytes a, struct bytes b) {
        size_t rows[3][NEAREST_NAME_MAX + 1];

        for (size_t j = 0; j <= b.size; j++)
                rows[0][j] = j;
        for (size_t i = 1; i <= a.size; i++) {
                const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
                size_t *row = rows[i % 3];

                row[0] = i;
                for (size_t j = 1; j <= b.size; j++) {
                        row[j] = least(above[j - 1] + !same(a, i - 1, b, j - 1),
                                       least(above[j], row[j - 1]) + 1);
                        if (i > 1 && j > 1 && same(a, i - 1, b, j - 2) && same(a, i - 2, b, j - 1))
                                row[j] = least(row[j], two_above[j - 2] + 1);
                }
        }
        return rows[a.size % 3][b.size];
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
