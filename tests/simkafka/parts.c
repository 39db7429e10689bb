/*
 * Parts of the limits, as loop/parts.c and loop/membership.c have them: what was taken of a part goes with
 * its partition, through an owner's record of the state topic; a part is used only once the topic says whose
 * it is. The judge counts the calls of all processes together (judge.c).
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

struct giving {
        struct world *world;
        struct said *said;
};

static void give_use(void *userdata, const struct quota_use *use) {
        struct giving *giving = userdata;
        struct said *said = giving->said;
        said->uses = reallocarray(said->uses, said->count + 1, sizeof(*said->uses));
        said->uses[said->count++] = *use;
        giving->world->counts.parts_told += (uint64_t)use->amount;
}

static uint32_t new_said(struct world *world, bool told) {
        if (world->saids_count == SAIDS_MAX) {
                judge_broken(world, "more is said of owners than any run needs");
                return 1;
        }
        world->saids[world->saids_count++] = (struct said){.told = told};
        return world->saids_count;
}

static bool is_shared(const struct part *part) {
        return (part->state == PART_OWNED || part->state == PART_LEAVING) && part->owns && !part->given;
}

void parts_share(struct world *world, struct process *process) {
        struct limit_part shares[PARTITIONS_MAX] = {0};
        size_t count = 0;
        if (!world->days)
                return; /* the concurrency is each one's then */
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                struct part *part = &process->parts[p];
                if (!is_shared(part))
                        continue;
                struct limit_part *share = &shares[count++];
                *share = (struct limit_part){.part = p, .kind = PART_KEPT};
                if (part->shared)
                        continue;
                part->shared = true;
                share->kind = part->never ? PART_FRESH : PART_USED;
                share->free_ns = part->never ? INT64_MAX : 0;
                world->counts.parts_used_up += part->heard == 0 && !part->never;
                if (part->heard == 0)
                        continue;
                share->told = true;
                share->uses = world->saids[part->heard - 1].uses;
                share->uses_count =
                        world->plant == PLANT_PART_EMPTY ? 0 : world->saids[part->heard - 1].count;
        }
        engine_share(process->engine, world_time(world), shares, count, world->cluster.partitions);
}

static void tell(struct world *world, struct process *process, uint32_t partition, uint32_t said) {
        struct part *part = &process->parts[partition];
        struct intent intent = {.kind = INTENT_ITEM,
                                .item = {.kind = ITEM_OWNER,
                                         .partition = partition,
                                         .epoch = part->epoch,
                                         .mark = part->window.mark,
                                         .fact = said}};
        world_note(world, process->slot, "tells of its part (partition, told, sub-windows)", partition,
                   world->saids[said - 1].told, world->saids[said - 1].count);
        committer_add(world, process, &intent);
}

void parts_claim(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        part->claims = true;
        part->due_ns = INT64_MAX;
        tell(world, process, partition, new_said(world, false));
}

void parts_heard(struct world *world, struct process *process, uint32_t partition, uint64_t from) {
        struct part *part = &process->parts[partition];
        const struct log *log = &world->cluster.state[partition];
        uint64_t at = part->restore_end;
        part->heard = 0;
        part->never = true;
        for (; at > 0 && part->never; at--) {
                const struct entry *entry = &log->entries[at - 1];
                bool seen = entry->kind == ENTRY_STATE && entry->state == STATE_OWNER &&
                            cluster_visible(world, entry);
                bool told = seen && world->saids[entry->fact - 1].told;
                if (!seen || (world->plant == PLANT_CLAIM_UNSEEN && !told))
                        continue;
                part->never = false;
                /* as restore.c: read before, and not near to the end any more, it is no news */
                bool news = at - 1 >= from || part->restore_end - at < OWNER_NEAR;
                if (told && news)
                        part->heard = entry->fact;
        }
}

void parts_give(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        if (part->owns && part->shared && !part->given) {
                uint32_t said = new_said(world, true);
                struct giving giving = {world, &world->saids[said - 1]};
                if (broken(world))
                        return;
                engine_release(process->engine, world_time(world), partition, give_use, &giving);
                part->given = true;
                if (world->plant == PLANT_PART_KEPT) { /* planted: used until the partition is given back */
                        part->given = part->shared = false;
                        part->heard = said;
                        parts_share(world, process);
                }
                tell(world, process, partition, said);
        } else if (part->claims && !part->owns) { /* never used: what was heard is passed on */
                uint32_t said = part->heard;
                if (part->never)
                        said = new_said(world, true);
                if (said > 0)
                        tell(world, process, partition, said);
        }
}

void parts_deinit(struct world *world) {
        for (uint32_t i = 0; i < world->saids_count; i++)
                free(world->saids[i].uses);
        free(world->saids);
}
