#include "workers/routing/plan.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"

#include <string.h>

#define MINUTE_NS (60 * NS_PER_S)

/* 12 of a minute, 12 of four, 12 of a quarter of an hour, then hours. */
int64_t plan_slice_end_ns(uint32_t slice) {
        int64_t n = (int64_t)slice + 1;
        if (n <= 12)
                return n * MINUTE_NS;
        if (n <= 24)
                return (12 + (n - 12) * 4) * MINUTE_NS;
        if (n <= 36)
                return (60 + (n - 24) * 15) * MINUTE_NS;
        return (240 + (n - 36) * 60) * MINUTE_NS;
}

bool plan_due_slice(int64_t until_ns, uint32_t *out_slice) {
        uint32_t slice = 0;
        while (slice < PLAN_SLICES && plan_slice_end_ns(slice) <= until_ns)
                slice++;
        if (slice == 0)
                return false;
        *out_slice = slice - 1;
        return true;
}

struct cell {
        int64_t cost_picousd;
        uint8_t option, slice;
};

enum { CELLS_MAX = PLAN_OPTIONS_MAX * PLAN_SLICES };

/* Cheapest first; of equal ones the earlier slice: nothing is gained by waiting. */
static bool before(const struct cell *a, const struct cell *b) {
        if (a->cost_picousd != b->cost_picousd)
                return a->cost_picousd < b->cost_picousd;
        return a->slice != b->slice ? a->slice < b->slice : a->option < b->option;
}

static void sift(struct cell *cells, size_t count, size_t at) {
        struct cell moved = cells[at];
        for (size_t child; (child = 2 * at + 1) < count; at = child) {
                if (child + 1 < count && before(&cells[child], &cells[child + 1]))
                        child++;
                if (!before(&moved, &cells[child]))
                        break;
                cells[at] = cells[child];
        }
        cells[at] = moved;
}

/* Heap sort: in place, and no worse for any input. */
static void sort_cells(struct cell *cells, size_t count) {
        for (size_t i = count / 2; i-- > 0;)
                sift(cells, count, i);
        for (size_t i = count; i-- > 1;) {
                struct cell last = cells[i];
                cells[i] = cells[0];
                cells[0] = last;
                sift(cells, i, 0);
        }
}

static size_t list_cells(const struct plan *plan, uint32_t slices, struct cell *cells) {
        size_t count = 0;
        for (uint32_t option = 0; option < plan->options_count; option++)
                for (uint32_t slice = 0; slice < slices; slice++)
                        if (plan->options[option].capacity[slice] > 0)
                                cells[count++] = (struct cell){
                                        .cost_picousd = plan->options[option].cost_picousd[slice],
                                        .option = (uint8_t)option,
                                        .slice = (uint8_t)slice,
                                };
        return count;
}

/* Up to `capacity` of the jobs that are due in `slice` or later, those due first; gives how many. */
static int64_t take(int64_t due[PLAN_SLICES], uint32_t slice, int64_t capacity) {
        int64_t left = capacity;
        for (; slice < PLAN_SLICES && left > 0; slice++) {
                int64_t taken = due[slice] < left ? due[slice] : left;
                due[slice] -= taken;
                left -= taken;
        }
        return capacity - left;
}

/* What fits nowhere, into what slice 0 has left. */
static void take_late(const struct plan *plan, const struct cell *cells, size_t count,
                      int64_t due[PLAN_SLICES], struct plan_result *result) {
        for (size_t i = 0; i < count; i++) {
                if (cells[i].slice != 0)
                        continue;
                int64_t *taken = &result->now[cells[i].option];
                *taken += take(due, 0, plan->options[cells[i].option].capacity[0] - *taken);
        }
}

void plan_make(const struct plan *plan, struct plan_result *out_result) {
        CHECK(plan->options_count <= PLAN_OPTIONS_MAX);
        struct cell cells[CELLS_MAX];
        int64_t due[PLAN_SLICES];
        uint32_t slices = PLAN_SLICES;
        memcpy(due, plan->due, sizeof(due));
        *out_result = (struct plan_result){0};
        while (slices > 0 && due[slices - 1] == 0)
                slices--;
        size_t count = list_cells(plan, slices, cells);
        sort_cells(cells, count);
        for (size_t i = 0; i < count; i++) {
                uint32_t slice = cells[i].slice;
                int64_t taken = take(due, slice, plan->options[cells[i].option].capacity[slice]);
                out_result->done += taken;
                out_result->cost_picousd =
                        money_add(out_result->cost_picousd, money_multiply(cells[i].cost_picousd, taken));
                if (slice == 0)
                        out_result->now[cells[i].option] = taken;
        }
        take_late(plan, cells, count, due, out_result);
}
