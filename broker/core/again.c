#include "broker/core/again.h"

#include "broker/base/array.h"

#include <stdlib.h>
#include <string.h>

void again_deinit(struct again *again) {
        free(again->records);
        *again = (struct again){0};
}

/* How many stand before that place. */
static size_t before(const struct again *again, uint32_t partition, uint64_t offset) {
        size_t low = 0, high = again->count;
        while (low < high) {
                size_t middle = (low + high) / 2;
                const struct again_record *record = &again->records[middle];
                bool less = record->partition < partition ||
                            (record->partition == partition && record->offset < offset);
                low = less ? middle + 1 : low;
                high = less ? high : middle;
        }
        return low;
}

bool again_keep(struct again *again, const struct again_record *record) {
        if (!array_reserve((void **)&again->records, &again->capacity, again->count + 1,
                           sizeof(*again->records)))
                return false;
        size_t at = before(again, record->partition, record->offset);
        memmove(again->records + at + 1, again->records + at, (again->count - at) * sizeof(*again->records));
        again->records[at] = *record;
        again->count++;
        return true;
}

static void take_out(struct again *again, size_t first, size_t count, struct again_record *out_records) {
        struct again_record *records = again->records + first;
        memcpy(out_records, records, count * sizeof(*records));
        memmove(records, records + count, (again->count - first - count) * sizeof(*records));
        again->count -= count;
}

size_t again_take(struct again *again, struct again_record *out_records, size_t max) {
        size_t first = before(again, again->next, 0);
        size_t behind = again->count - first;
        size_t taken = behind < max ? behind : max;
        if (again->count == 0 || max == 0)
                return 0;
        take_out(again, first, taken, out_records);
        size_t round = first < max - taken ? first : max - taken;
        take_out(again, 0, round, out_records + taken);
        again->next = out_records[taken + round - 1].partition + 1;
        return taken + round;
}

bool again_holds(const struct again *again, uint32_t partition, uint32_t epoch) {
        for (size_t i = before(again, partition, 0);
             i < again->count && again->records[i].partition == partition; i++)
                if (again->records[i].holds && again->records[i].epoch == epoch)
                        return true;
        return false;
}
