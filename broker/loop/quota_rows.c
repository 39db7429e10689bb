#include "broker/loop/quota_rows.h"

#include "broker/base/array.h"

#include <stdlib.h>
#include <string.h>

struct told_row {
        struct quota_row row;
        size_t number; /* in the order in which they were told */
};

void quota_rows_deinit(struct quota_rows *rows) {
        free(rows->items);
        *rows = (struct quota_rows){0};
}

static int compare_places(const struct quota_row *a, const struct quota_row *b) {
        size_t least = a->name.size < b->name.size ? a->name.size : b->name.size;
        int order = memcmp(a->name.data, b->name.data, least);
        if (order != 0)
                return order;
        if (a->name.size != b->name.size)
                return a->name.size < b->name.size ? -1 : 1;
        if (a->of != b->of)
                return a->of < b->of ? -1 : 1;
        if (a->quota != b->quota)
                return a->quota < b->quota ? -1 : 1;
        return (a->place > b->place) - (a->place < b->place);
}

static int by_place(const void *a, const void *b) {
        const struct told_row *x = a, *y = b;
        int order = compare_places(&x->row, &y->row);
        return order != 0 ? order : (x->number > y->number) - (x->number < y->number);
}

/* Of each place the last remains. */
static void compact(struct quota_rows *rows) {
        size_t kept = 0;
        for (size_t i = 0; i < rows->count; i++)
                rows->items[i].number = i;
        qsort(rows->items, rows->count, sizeof(*rows->items), by_place);
        for (size_t i = 0; i < rows->count; i++) {
                bool last = i + 1 == rows->count ||
                            compare_places(&rows->items[i].row, &rows->items[i + 1].row) != 0;
                if (last)
                        rows->items[kept++] = rows->items[i];
        }
        rows->count = kept;
}

static bool reserve(struct quota_rows *rows, size_t more) {
        if (rows->count + more <= rows->capacity)
                return true;
        if (rows->count > 0)
                compact(rows);
        return array_reserve((void **)&rows->items, &rows->capacity, 2 * rows->count + more,
                             sizeof(*rows->items));
}

bool quota_rows_put(struct quota_rows *rows, const struct quota_row *row) {
        if (!reserve(rows, 1))
                return false;
        rows->items[rows->count++] = (struct told_row){.row = *row};
        return true;
}

bool quota_rows_merge(struct quota_rows *into, struct quota_rows *from) {
        if (from->count == 0)
                return true;
        if (!reserve(into, from->count))
                return false;
        memcpy(into->items + into->count, from->items, from->count * sizeof(*from->items));
        into->count += from->count;
        from->count = 0;
        return true;
}

void quota_rows_stage(struct quota_rows *rows, struct store_batch *batch) {
        for (size_t i = 0; i < rows->count; i++)
                store_batch_quota(batch, &rows->items[i].row);
        rows->count = 0;
}
