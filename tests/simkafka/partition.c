/*
 * Partitions come and go. On coming: the committed offset is read when no transaction can change it any more,
 * then the state topic to the end that it has then, then records are taken. On going: no records are taken
 * any more, what is on the way may still be published, and the partition is given back when no transaction is
 * open. The epoch of a partition goes up whenever it is given back, and with it all that was said of its
 * records before is void.
 */
#include "world.h"

#include <string.h>

enum { STATE_A_STEP = 8 };

static void assigned(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        if (part->state != PART_NONE)
                judge_broken(world, "a partition was assigned that was not given back");
        part->state = PART_OFFSET;
        part->epoch++;
        part->claims = part->claimed = part->owns = part->shared = part->given = false;
        part->lost = false;
        part->due_ns = in_ms(world, 0, 20);
}

static void revoked(struct world *world, struct process *process, uint32_t partition, bool lost) {
        struct part *part = &process->parts[partition];
        if (part->state == PART_NONE)
                return;
        if (!lost && part->state != PART_LEAVING)
                parts_give(world, process, partition);
        part->leave_ns = lost ? world->now_ns : in_ms(world, 0, chance(world, 10) ? 7000 : 1500);
        part->state = PART_LEAVING;
        part->lost = part->lost || lost;
        engine_purse_close(process->engine, partition);
        process->sweep = true;
}

static void handle(struct world *world, struct process *process, const struct report *report) {
        world_note(world, process->slot, "report (kind, partitions, generation)", report->kind,
                   report->partitions, report->generation);
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                bool named = report->partitions >> p & 1;
                if (report->kind == REPORT_ASSIGNED && named)
                        assigned(world, process, p);
                else if (report->kind == REPORT_REVOKED && named)
                        revoked(world, process, p, false);
                else if (report->kind == REPORT_LOST)
                        revoked(world, process, p, true);
        }
}

void partition_report(struct world *world, struct process *process) {
        struct member *member = &world->cluster.members[process->slot];
        while (member->reports_count > 0 && member->reports[0].at_ns <= world->now_ns &&
               process->reports_count < REPORTS_MAX) {
                process->generation = member->reports[0].generation;
                process->reports[process->reports_count++] = member->reports[0];
                member->reports_count--;
                memmove(member->reports, member->reports + 1,
                        member->reports_count * sizeof(*member->reports));
        }
        if (process->reports_count == 0 || chance(world, 30))
                return;
        struct report report = process->reports[0];
        if (process->leaves && report.kind != REPORT_LOST)
                return;
        process->reports_count--;
        memmove(process->reports, process->reports + 1, process->reports_count * sizeof(*process->reports));
        handle(world, process, &report);
}

/* --- coming --- */

void partition_read_state(struct world *world, struct process *process, uint32_t partition, uint64_t end) {
        struct disk *disk = process->disk;
        const struct log *log = &world->cluster.state[partition];
        disk_next_group(disk);
        for (uint64_t i = disk->live.changelog[partition]; i < end; i++) {
                const struct entry *entry = &log->entries[i];
                bool seen = cluster_visible(world, entry) ||
                            (world->plant == PLANT_UNCOMMITTED && entry->kind == ENTRY_STATE);
                struct write write = {.fact = entry->fact,
                                      .print = entry->print,
                                      .line = entry->line,
                                      .partition = partition,
                                      .offset = entry->offset,
                                      .word = entry->word};
                if (entry->state == STATE_MONEY && entry->word > 0)
                        write.shard = world->words[entry->word - 1].subject;
                write.kind = entry->state == STATE_SETTLED  ? WRITE_SETTLED
                             : entry->state == STATE_MONEY  ? WRITE_WORD
                             : entry->state == STATE_PARKED ? WRITE_PARKED
                                                            : WRITE_DELETED;
                if (seen && entry->state != STATE_OWNER)
                        disk_write(world, disk, write);
        }
        disk_write(world, disk,
                   (struct write){.kind = WRITE_CHANGELOG, .partition = partition, .offset = end});
        disk_next_group(disk);
}

static void read_offset(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        if (process_sibling_has(world, process, partition, false) && world->plant != PLANT_SHARED_ROWS) {
                part->due_ns = in_ms(world, 1, 5);
                return;
        }
        if (cluster_unstable(world, partition) && world->plant != PLANT_UNSTABLE) {
                part->due_ns = in_ms(world, 10, 50);
                return;
        }
        part->position = part->handed = world->cluster.committed[partition];
        window_start(&part->window, part->position);
        part->restore_end = world->cluster.state[partition].end;
        part->restore_begin = process->disk->live.changelog[partition];
        part->state = PART_RESTORE;
        part->due_ns = in_ms(world, 0, 20);
        world_note(world, process->slot, "committed offset (partition, offset, state end)", partition,
                   part->position, part->restore_end);
}

static void own(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        part->state = PART_OWNED;
        money_own(world, process, partition);
        part->owns = true;
        parts_share(world, process);
        world_note(world, process->slot, "owns (partition, epoch, offset)", partition, part->epoch,
                   part->position);
        for (uint32_t i = 0; i < world->facts_count; i++) {
                const struct row *row = &process->disk->live.rows[i];
                if (row->parked && !row->settled && row->parked_partition == partition)
                        process_admit_again(world, process, partition, row->parked_offset, true, false);
        }
}

static void restore(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        struct log *log = &world->cluster.state[partition];
        uint64_t at = process->disk->live.changelog[partition];
        bool waits = cluster_open_until(world, log, part->restore_end) && world->plant != PLANT_UNCOMMITTED;
        if (at >= part->restore_end || world->plant == PLANT_NO_RESTORE) {
                if (!part->claims) {
                        parts_heard(world, process, partition, part->restore_begin);
                        parts_claim(world, process, partition);
                }
                /* a conflict of one that is to go would have its key in its place */
                bool undecided = engine_stats(process->engine)->giving_up > 0;
                if (undecided && world->plant != PLANT_FIRST_SWAPPED)
                        part->due_ns = in_ms(world, 0, 2);
                else if (part->claimed || !world->claims || world->plant == PLANT_UNCLAIMED)
                        own(world, process, partition);
                return;
        }
        part->due_ns = waits ? in_ms(world, 10, 50) : in_ms(world, 0, 5);
        if (waits)
                return;
        uint64_t end = part->restore_end < at + STATE_A_STEP ? part->restore_end : at + STATE_A_STEP;
        partition_read_state(world, process, partition, end);
}

/* --- going --- */

static void give_back(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        bool busy = publisher_in_transaction(process) && world->plant != PLANT_UNASSIGN_EARLY;
        bool under_way = provider_calls(world, process, partition) || publisher_has(process, partition) ||
                         engine_stats(process->engine)->giving_up > 0;
        under_way = under_way ||
                    (!engine_purse_told(process->engine, partition) && world->plant != PLANT_RELEASED_EARLY);
        if (busy || (under_way && !part->lost && part->leave_ns > world->now_ns))
                return;
        engine_purse_drop(process->engine, partition);
        world->counts.cut_off += under_way;
        world->money_lost = world->money_lost || under_way;
        part->state = PART_NONE;
        part->epoch++;
        parts_share(world, process);
        process->sweep = true;
        world_note(world, process->slot, "given back (partition, lost)", partition, part->lost, 0);
        publisher_drop_stale(world, process);
        group_released(world, process, 1U << partition, part->lost);
}

static void join_again(struct world *world, struct process *process) {
        const struct member *member = &world->cluster.members[process->slot];
        if (member->joined || process->generation != NOBODY || process->reports_count > 0 ||
            member->reports_count > 0)
                return;
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                if (process->parts[p].state != PART_NONE)
                        return;
        group_join(world, process);
}

void partition_leave(struct world *world, struct process *process) {
        process->leaves = true;
        process->leave_ns = in_ms(world, 0, 8000);
        engine_drain(process->engine);
        world->counts.left++;
        world_note(world, process->slot, "leaves", 0, 0, 0);
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                enum part_state state = process->parts[p].state;
                if (state != PART_OFFSET && state != PART_RESTORE && state != PART_OWNED)
                        continue;
                parts_give(world, process, p);
                process->parts[p].state = PART_LEAVING;
        }
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                engine_purse_close(process->engine, p);
        process->sweep = true;
}

/* All that was under way has come to its end, or the time is up. true: it is gone. */
static bool has_left(struct world *world, struct process *process) {
        bool quiet = engine_quiet(process->engine) && committer_idle(process) &&
                     process->publisher.count == 0 && process->told_count == 0;
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                quiet = quiet && engine_purse_told(process->engine, p);
        if (publisher_in_transaction(process) || (!quiet && process->leave_ns > world->now_ns))
                return false;
        world->money_lost = world->money_lost || !quiet;
        group_leave(world, process->slot);
        process->left = true;
        return true;
}

bool partition_step(struct world *world, struct process *process) {
        if (process->leaves)
                return has_left(world, process);
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                struct part *part = &process->parts[p];
                enum part_state state = part->state;
                if (state == PART_LEAVING)
                        give_back(world, process, p);
                else if (part->due_ns > world->now_ns)
                        continue;
                else if (state == PART_OFFSET)
                        read_offset(world, process, p);
                else if (state == PART_RESTORE)
                        restore(world, process, p);
                else
                        continue;
                if (broken(world) || world_dies(world, process))
                        return true;
        }
        join_again(world, process);
        return false;
}

int64_t partition_wake_ns(const struct world *world, const struct process *process) {
        int64_t wake_ns = INT64_MAX;
        bool any = false;
        if (process->leaves)
                return world->now_ns + NS_PER_MS;
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                const struct part *part = &process->parts[p];
                int64_t when_ns = INT64_MAX;
                if (part->state == PART_OFFSET || part->state == PART_RESTORE)
                        when_ns = part->due_ns;
                else if (part->state == PART_LEAVING)
                        when_ns = world->now_ns + NS_PER_MS;
                any = any || part->state != PART_NONE;
                wake_ns = when_ns < wake_ns ? when_ns : wake_ns;
        }
        if (!any && !world->cluster.members[process->slot].joined)
                return world->now_ns;
        return wake_ns;
}

void partition_hand_mark(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        if (part->window.mark == part->handed)
                return;
        part->handed = part->window.mark;
        struct intent intent = {.kind = INTENT_ITEM,
                                .item = {.kind = ITEM_MARK,
                                         .partition = partition,
                                         .epoch = part->epoch,
                                         .mark = part->window.mark}};
        committer_add(world, process, &intent);
}
