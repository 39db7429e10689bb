#include "broker/loop/quota_book.h"

#include "broker/base/array.h"
#include "broker/base/check.h"

#include <stdlib.h>
#include <string.h>

/* Twice the longest window: a clock that is wrong by less does no harm. */
#define KEPT_MS (INT64_C(2) * 86400 * 1000)

static uint32_t count_of(const struct catalog *catalog, enum quota_of of) {
        switch (of) {
        case QUOTA_OF_PROVIDER:
                return catalog->providers_count;
        case QUOTA_OF_ENDPOINT:
                return catalog->endpoints_count;
        case QUOTA_OF_WORKSPACE:
                return catalog->workspaces_count;
        case QUOTA_OF_COUNT:
                break;
        }
        CHECK(false);
}

struct bytes quota_name(const struct catalog *catalog, enum quota_of of, uint32_t index) {
        CHECK(index < count_of(catalog, of));
        struct bytes name = bytes_of(of == QUOTA_OF_PROVIDER   ? catalog->providers[index].name
                                     : of == QUOTA_OF_ENDPOINT ? catalog->endpoints[index].name
                                                               : catalog->workspaces[index].name);
        if (name.size > QUOTA_NAME_MAX)
                name.size = QUOTA_NAME_MAX;
        return name;
}

bool quota_find(const struct catalog *catalog, enum quota_of of, struct bytes name, uint32_t *out_index) {
        for (uint32_t i = 0; i < count_of(catalog, of); i++) {
                if (!bytes_equal(name, quota_name(catalog, of, i)))
                        continue;
                *out_index = i;
                return true;
        }
        return false;
}

struct quota_row quota_row_of(const struct catalog *catalog, const struct quota_use *use) {
        return (struct quota_row){.of = use->of,
                                  .name = quota_name(catalog, use->of, use->index),
                                  .quota = use->quota,
                                  .place = use->place,
                                  .until_unix_ms = use->until_unix_ms,
                                  .amount = use->amount,
                                  .opened = use->opened};
}

bool quota_uses_add(struct quota_uses *uses, const struct quota_use *use) {
        if (!array_reserve((void **)&uses->items, &uses->capacity, uses->count + 1, sizeof(*uses->items)))
                return false;
        uses->items[uses->count++] = *use;
        return true;
}

void quota_uses_deinit(struct quota_uses *uses) {
        free(uses->items);
        *uses = (struct quota_uses){0};
}

/* ---- from the store ---- */

struct reading {
        struct quota_uses *uses;
        const struct catalog *catalog;
        /* rows of a limit come one after the other: where those of this one begin */
        size_t first;
        struct quota_use last;
        bool found;
        char name[QUOTA_NAME_MAX];
        size_t name_size;
};

static bool is_same(const struct reading *reading, const struct quota_row *row) {
        struct bytes name = {reading->name, reading->name_size};
        return reading->name_size > 0 && reading->last.of == row->of && reading->last.quota == row->quota &&
               bytes_equal(name, row->name);
}

static void begin(struct reading *reading, const struct quota_row *row) {
        reading->last.of = row->of;
        reading->last.quota = row->quota;
        reading->name_size = row->name.size;
        memcpy(reading->name, row->name.data, row->name.size);
        reading->first = reading->uses->count;
        reading->found = quota_find(reading->catalog, row->of, row->name, &reading->last.index);
}

/* What was opened counts as the last row says: those before have what was opened in their time. */
static struct error *read_row(void *userdata, const struct quota_row *row) {
        struct reading *reading = userdata;
        struct quota_uses *uses = reading->uses;
        if (!is_same(reading, row))
                begin(reading, row);
        if (!reading->found)
                return NULL;
        struct quota_use use = reading->last;
        use.place = row->place;
        use.until_unix_ms = row->until_unix_ms;
        use.amount = row->amount;
        use.opened = row->opened;
        for (size_t i = reading->first; i < uses->count; i++) {
                if (uses->items[i].until_unix_ms < use.until_unix_ms)
                        uses->items[i].opened = 0;
                else
                        use.opened = 0;
        }
        return quota_uses_add(uses, &use) ? NULL
                                          : error_new(ERROR_MEMORY, "no memory for what limits have given");
}

struct error *quota_uses_read(struct quota_uses *uses, struct store *store, const struct catalog *catalog) {
        struct reading reading = {.uses = uses, .catalog = catalog};
        return store_each_quota(store, read_row, &reading);
}

struct expiring {
        struct store_batch *batch;
        int64_t before_unix_ms;
};

static struct error *expire(void *userdata, const struct quota_row *row) {
        struct expiring *expiring = userdata;
        struct quota_row none = *row;
        if (row->until_unix_ms >= expiring->before_unix_ms)
                return NULL;
        none.amount = none.opened = 0;
        store_batch_quota(expiring->batch, &none);
        return NULL;
}

struct error *quota_uses_expire(struct store *store, int64_t now_unix_ms, struct store_batch *batch) {
        struct expiring expiring = {batch, now_unix_ms - KEPT_MS};
        return store_each_quota(store, expire, &expiring);
}
