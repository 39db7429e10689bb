#include "broker/loop/parts.h"

#include "broker/base/array.h"
#include "broker/base/time.h"
#include "broker/loop/purses.h"
#include "broker/loop/quota_book.h"
#include "broker/loop/shard.h"
#include "broker/ops/log.h"
#include "broker/wire/quota_list.h"

#include <stdlib.h>

/* Of one owner's record, which holds no job: a record of the topic may be larger. */
enum { LIST_BYTES_MAX = 512 << 10 };
/* The shortest window of a limit: until it has passed, what the last owner used of a part counts. */
#define LIMIT_WINDOW_MS INT64_C(60000)

/* ---- hearing ---- */

struct hearing {
        const struct catalog *catalog;
        struct quota_uses *uses;
        struct bytes name; /* of the last row; rows of a limit share theirs */
        struct quota_use last;
        bool found, failed;
};

/* What this worker's configuration does not name concerns none of its limits. */
static bool hear_row(void *userdata, const struct quota_row *row) {
        struct hearing *hearing = userdata;
        bool same = hearing->name.data == row->name.data && hearing->name.size == row->name.size;
        if (!same || hearing->last.of != row->of)
                hearing->found = quota_find(hearing->catalog, row->of, row->name, &hearing->last.index);
        hearing->name = row->name;
        hearing->last.of = row->of;
        hearing->last.quota = row->quota;
        hearing->last.until_unix_ms = row->until_unix_ms;
        hearing->last.amount = row->amount;
        hearing->failed = hearing->found && !quota_uses_add(hearing->uses, &hearing->last);
        return !hearing->failed;
}

/* false: what was said of it is of no use here. */
static bool hear(struct record_intake *intake, const struct part *part, uint32_t whole,
                 struct quota_uses *uses) {
        struct hearing hearing = {.catalog = shard_catalog(intake->shard), .uses = uses};
        uint32_t divided;
        size_t before = uses->count;
        if (part->quotas.size == 0 || part->quotas.failed)
                return false;
        if (quota_list_read(buffer_view(&part->quotas), &divided, hear_row, &hearing) && divided == whole)
                return true;
        uses->count = before;
        if (!hearing.failed)
                log_write(LOG_LEVEL_WARNING,
                          "partition %u: what its last owner said of limits is not understood, or was for "
                          "another number of partitions; its part counts as used up for a while",
                          part->partition);
        return false;
}

/* Its part of the limits. `uses_count` of what was said stands behind what is there. */
static struct limit_part share_part(struct record_intake *intake, const struct part *part, uint32_t whole,
                                    struct quota_uses *uses) {
        struct limit_part share = {.part = part->partition, .kind = PART_KEPT};
        size_t before = uses->count;
        if (part->shared)
                return share;
        share.kind = part->free_ms > LIMIT_WINDOW_MS ? PART_FRESH : PART_USED;
        share.free_ns = part->free_ms < INT64_MAX / NS_PER_MS ? part->free_ms * NS_PER_MS : INT64_MAX;
        share.told = hear(intake, part, whole, uses);
        share.uses_count = uses->count - before;
        return share;
}

void parts_share(struct record_intake *intake) {
        size_t count = 0, heard = 0;
        struct quota_uses uses = {0};
        uint32_t whole = consumer_partitions(intake->consumer);
        if (whole == 0)
                return;
        for (size_t i = 0; i < intake->owned_count; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (!part->active || part->given || part->partition >= whole)
                        continue;
                intake->shares[count++] = share_part(intake, part, whole, &uses);
                part->shared = true;
                buffer_clear(&part->quotas);
        }
        for (size_t i = 0; i < count; i++) { /* now that they stand where they stay */
                intake->shares[i].uses = uses.items + heard;
                heard += intake->shares[i].uses_count;
        }
        intake->whole = whole;
        shard_share(intake->shard, intake->shares, count, whole);
        quota_uses_deinit(&uses);
        purses_open(intake);
}

/* ---- telling ---- */

struct giving {
        const struct catalog *catalog;
        struct quota_row *rows;
        size_t count, capacity;
        bool failed;
};

static void give_use(void *userdata, const struct quota_use *use) {
        struct giving *giving = userdata;
        if (!array_reserve((void **)&giving->rows, &giving->capacity, giving->count + 1,
                           sizeof(*giving->rows))) {
                giving->failed = true;
                return;
        }
        giving->rows[giving->count++] = quota_row_of(giving->catalog, use);
}

/* A former owner must not be believed: with offsets, the group's coordinator sees who it is. */
static bool is_fenced(const struct record_intake *intake) {
        for (size_t i = 0; i < intake->owned_count; i++) {
                const struct part *part = intake->parts[intake->owned[i]];
                if (part->started && part->mark_handed != UINT64_MAX)
                        return true;
        }
        return false;
}

bool parts_give(struct record_intake *intake, struct part *part) {
        struct giving giving = {.catalog = shard_catalog(intake->shard)};
        if (!part->active || !part->shared || part->given)
                return false;
        shard_release(intake->shard, part->partition, give_use, &giving);
        part->given = true;
        size_t most = intake->options.park_bytes_max / 2;
        buffer_deinit(&part->quotas);
        buffer_init(&part->quotas, most < LIST_BYTES_MAX ? most : LIST_BYTES_MAX);
        if (!giving.failed && is_fenced(intake))
                quota_list_append(&part->quotas, intake->whole, giving.rows, giving.count);
        free(giving.rows);
        return true;
}

void parts_heard(struct record_intake *intake, struct part *part, struct buffer *quotas) {
        uint32_t whole = consumer_partitions(intake->consumer);
        buffer_deinit(&part->quotas);
        part->quotas = *quotas;
        *quotas = (struct buffer){0};
        if (part->free_ms != INT64_MAX || whole == 0)
                return;
        buffer_deinit(&part->quotas); /* nobody ever had it */
        buffer_init(&part->quotas, LIST_BYTES_MAX);
        quota_list_append(&part->quotas, whole, NULL, 0);
}

/* Of a partition that came and goes without having been used, what was heard is passed on. */
struct bytes parts_said(const struct record_intake *intake, const struct part *part, bool released) {
        bool passed_on = released && !part->active && is_fenced(intake);
        return (part->given || passed_on) && !part->quotas.failed ? buffer_view(&part->quotas)
                                                                  : (struct bytes){0};
}
