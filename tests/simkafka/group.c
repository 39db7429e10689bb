/*
 * The consumer group: a generation, who owns which partition, who shall. A rebalance is cooperative: the
 * generation goes up, who has to give something back hears of it, and when all have, it goes up again and
 * what is free is assigned. Who is silent for too long, or does not give back in time, is out: its partitions
 * go to others at once, and it hears that they are lost when it comes back. A client knows the new generation
 * when word of it arrives, before the program has looked at what it means.
 */
#include "world.h"

#include <string.h>

enum { RELEASE_MS = 6000 };

static void report(struct world *world, uint32_t slot, enum report_kind kind, uint32_t partitions) {
        struct member *member = &world->cluster.members[slot];
        if (member->reports_count == REPORTS_MAX) {
                judge_broken(world, "more reports than any run needs");
                return;
        }
        int64_t at_ns = in_ms(world, 0, 50);
        if (member->reports_count > 0 && member->reports[member->reports_count - 1].at_ns > at_ns)
                at_ns = member->reports[member->reports_count - 1].at_ns;
        member->reports[member->reports_count++] = (struct report){
                .kind = kind,
                .partitions = partitions,
                .generation = kind == REPORT_LOST ? NOBODY : world->cluster.generation,
                .at_ns = at_ns,
        };
}

void group_init(struct world *world) {
        struct cluster *cluster = &world->cluster;
        for (uint32_t p = 0; p < PARTITIONS_MAX; p++)
                cluster->owner[p] = cluster->target[p] = NOBODY;
        for (uint32_t i = 0; i < PROCESSES_MAX; i++)
                cluster->members[i].silent_ns = cluster->members[i].release_ns = INT64_MAX;
}

/* What is free goes to whom it shall. */
static void assign_free(struct world *world) {
        struct cluster *cluster = &world->cluster;
        cluster->generation++;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                uint32_t gets = 0;
                if (!cluster->members[i].joined)
                        continue;
                for (uint32_t p = 0; p < cluster->partitions; p++) {
                        if (cluster->owner[p] != NOBODY || cluster->target[p] != i)
                                continue;
                        cluster->owner[p] = i;
                        gets |= 1U << p;
                        world->counts.moves++;
                }
                world_note(world, i, "group: assigned (partitions, generation)", gets, cluster->generation,
                           0);
                report(world, i, gets ? REPORT_ASSIGNED : REPORT_KEPT, gets);
        }
}

static uint32_t owes(const struct world *world, uint32_t slot) {
        const struct cluster *cluster = &world->cluster;
        uint32_t partitions = 0;
        for (uint32_t p = 0; p < cluster->partitions; p++)
                if (cluster->owner[p] == slot && cluster->target[p] != slot)
                        partitions |= 1U << p;
        return partitions;
}

static void choose(struct world *world, bool sticky) {
        struct cluster *cluster = &world->cluster;
        uint32_t joined[PROCESSES_MAX], count = 0;
        for (uint32_t i = 0; i < world->processes_count; i++)
                if (cluster->members[i].joined)
                        joined[count++] = i;
        uint32_t share = count > 0 ? (cluster->partitions + count - 1) / count : 0;
        uint32_t has[PROCESSES_MAX] = {0};
        for (uint32_t p = 0; p < cluster->partitions; p++) {
                uint32_t owner = cluster->owner[p];
                bool stays =
                        sticky && owner != NOBODY && cluster->members[owner].joined && has[owner] < share;
                cluster->target[p] = stays ? owner : NOBODY;
                has[stays ? owner : 0] += stays;
        }
        for (uint32_t p = 0; p < cluster->partitions && count > 0; p++) {
                uint32_t first = (uint32_t)prng_below(&world->prng, count);
                for (uint32_t i = 0; i < count && cluster->target[p] == NOBODY; i++) {
                        uint32_t slot = joined[(first + i) % count];
                        if (has[slot] < share) {
                                has[slot]++;
                                cluster->target[p] = slot;
                        }
                }
        }
}

static void rebalance(struct world *world, bool sticky) {
        struct cluster *cluster = &world->cluster;
        choose(world, sticky);
        cluster->generation++;
        bool waits = false;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct member *member = &cluster->members[i];
                if (!member->joined)
                        continue;
                uint32_t owed = owes(world, i);
                if (owed != 0 && member->release_ns == INT64_MAX)
                        member->release_ns = world->now_ns + RELEASE_MS * NS_PER_MS;
                waits = waits || owed != 0;
                report(world, i, owed ? REPORT_REVOKED : REPORT_KEPT, owed);
                if (owed)
                        world_note(world, i, "group: to give back (partitions, generation)", owed,
                                   cluster->generation, 0);
        }
        if (!waits)
                assign_free(world);
}

static void settle_debts(struct world *world) {
        bool waits = false;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                bool owed = owes(world, i) != 0;
                if (!owed)
                        world->cluster.members[i].release_ns = INT64_MAX;
                waits = waits || owed;
        }
        if (!waits)
                assign_free(world);
}

static void evict(struct world *world, uint32_t slot) {
        struct cluster *cluster = &world->cluster;
        struct member *member = &cluster->members[slot];
        uint32_t lost = 0;
        for (uint32_t p = 0; p < cluster->partitions; p++) {
                if (cluster->owner[p] != slot)
                        continue;
                lost |= 1U << p;
                cluster->owner[p] = NOBODY;
        }
        member->joined = false;
        member->release_ns = INT64_MAX;
        world->money_lost = world->money_lost || lost > 0; /* what it was allowed stays so */
        world_note(world, slot, "group: out (partitions)", lost, 0, 0);
        report(world, slot, REPORT_LOST, lost);
        rebalance(world, true);
}

void group_join(struct world *world, struct process *process) {
        struct member *member = &world->cluster.members[process->slot];
        if (member->joined)
                evict(world, process->slot);
        member->reports_count = 0;
        member->joined = true;
        member->incarnation = process->incarnation;
        member->silent_ns = member->release_ns = INT64_MAX;
        world_note(world, process->slot, "group: joins", process->incarnation, 0, 0);
        rebalance(world, true);
}

void group_released(struct world *world, struct process *process, uint32_t partitions, bool lost) {
        struct cluster *cluster = &world->cluster;
        const struct member *member = &cluster->members[process->slot];
        if (lost || !member->joined || member->incarnation != process->incarnation)
                return;
        bool any = false;
        for (uint32_t p = 0; p < cluster->partitions; p++) {
                if ((partitions >> p & 1) == 0 || cluster->owner[p] != process->slot)
                        continue;
                cluster->owner[p] = NOBODY;
                any = true;
        }
        if (any)
                settle_debts(world);
}

void group_leave(struct world *world, uint32_t slot) {
        if (world->cluster.members[slot].joined)
                evict(world, slot);
}

void group_silent(struct world *world, uint32_t slot, bool silent) {
        world->cluster.members[slot].silent_ns = silent ? world->now_ns : INT64_MAX;
}

void group_hears_late(struct world *world, uint32_t slot) {
        struct member *member = &world->cluster.members[slot];
        int64_t at_ns = in_ms(world, 0, 400);
        for (uint32_t i = 0; i < member->reports_count; i++)
                if (member->reports[i].at_ns < at_ns)
                        member->reports[i].at_ns = at_ns;
}

void group_shuffle(struct world *world) {
        rebalance(world, false);
}

bool group_takes(const struct world *world, const struct process *process) {
        const struct member *member = &world->cluster.members[process->slot];
        return member->joined && member->incarnation == process->incarnation &&
               process->generation == world->cluster.generation;
}

void group_tick(struct world *world) {
        for (uint32_t i = 0; i < world->processes_count; i++) {
                const struct member *member = &world->cluster.members[i];
                bool silent = member->silent_ns != INT64_MAX &&
                              member->silent_ns + world->session_ns <= world->now_ns;
                if (member->joined && (silent || member->release_ns <= world->now_ns))
                        evict(world, i);
        }
}

int64_t group_wake_ns(const struct world *world) {
        int64_t wake_ns = INT64_MAX;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                const struct member *member = &world->cluster.members[i];
                if (!member->joined)
                        continue;
                if (member->silent_ns != INT64_MAX && member->silent_ns + world->session_ns < wake_ns)
                        wake_ns = member->silent_ns + world->session_ns;
                if (member->release_ns < wake_ns)
                        wake_ns = member->release_ns;
        }
        return wake_ns;
}
