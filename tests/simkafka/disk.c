/*
 * The local store of a machine. A write is seen at once and is durable with the next sync; a crash keeps any
 * number of whole groups of the unsynced ones, from the first, as a write-ahead log does.
 */
#include "world.h"

#include <string.h>

static void apply(struct store *store, const struct write *write) {
        struct row *row = &store->rows[write->fact];
        switch (write->kind) {
        case WRITE_OPEN:
                row->attempt_live = true;
                row->attempt_by = write->shard;
                row->attempt = write->attempt;
                row->attempt_print = write->print;
                row->exposure_picousd = write->exposure_picousd;
                return;
        case WRITE_END:
                row->attempt_live = row->attempt_live && row->attempt_by != write->shard;
                return;
        case WRITE_ANSWER:
                row->attempt_live = row->attempt_live && row->attempt_by != write->shard;
                if (!row->settled)
                        row->answer = write->answer;
                return;
        case WRITE_UNKEPT:
                row->attempt_live = row->attempt_live && row->attempt_by != write->shard;
                row->unkept = !row->settled;
                row->attempt = write->attempt;
                row->attempt_print = write->print;
                return;
        case WRITE_DROP_ANSWER:
                row->answer = 0;
                row->unkept = false;
                return;
        case WRITE_SETTLED:
                *row = (struct row){.settled = true, .settled_print = write->print};
                return;
        case WRITE_PARKED:
                row->parked = true;
                row->parked_print = write->print;
                row->parked_line = write->line;
                row->parked_partition = write->partition;
                row->parked_offset = write->offset;
                return;
        case WRITE_DELETED:
                row->parked = false;
                return;
        case WRITE_WORD:
                store->words[write->partition][write->shard] = write->word;
                return;
        case WRITE_CHANGELOG:
                if (store->changelog[write->partition] < write->offset)
                        store->changelog[write->partition] = write->offset;
                return;
        }
}

void disk_write(struct world *world, struct disk *disk, struct write write) {
        judge_written(world, &write);
        write.group = disk->group;
        apply(&disk->live, &write);
        if (disk->unsynced_count == WRITES_MAX) { /* the system writes old ones by itself */
                uint32_t half = WRITES_MAX / 2;
                for (uint32_t i = 0; i < half; i++)
                        apply(&disk->durable, &disk->unsynced[i]);
                memmove(disk->unsynced, disk->unsynced + half, half * sizeof(*disk->unsynced));
                disk->unsynced_count -= half;
        }
        disk->unsynced[disk->unsynced_count++] = write;
}

void disk_next_group(struct disk *disk) {
        disk->group++;
}

static void make_durable(struct world *world, uint32_t machine, uint32_t count) {
        struct disk *disk = &world->disks[machine];
        for (uint32_t i = 0; i < count; i++) {
                apply(&disk->durable, &disk->unsynced[i]);
                judge_durable(world, machine, &disk->unsynced[i]);
        }
        disk->unsynced_count = 0;
}

void disk_sync(struct world *world, uint32_t machine) {
        make_durable(world, machine, world->disks[machine].unsynced_count);
}

void disk_crash(struct world *world, uint32_t machine) {
        struct disk *disk = &world->disks[machine];
        uint32_t kept = (uint32_t)between(world, 0, disk->unsynced_count);
        while (kept > 0 && kept < disk->unsynced_count &&
               disk->unsynced[kept].group == disk->unsynced[kept - 1].group)
                kept--;
        make_durable(world, machine, kept);
        disk->live = disk->durable;
}

void disk_delete(struct world *world, uint32_t machine) {
        struct disk *disk = &world->disks[machine];
        memset(&disk->live, 0, sizeof(disk->live));
        memset(&disk->durable, 0, sizeof(disk->durable));
        disk->unsynced_count = 0;
        for (uint32_t i = 0; i < world->facts_count; i++)
                world->facts[i].durable[machine] = world->facts[i].unknown[machine] = false;
        world_note(world, NOBODY, "disk: deleted (machine)", machine, 0, 0);
}

static struct known_job known_answer(const struct world *world, const struct row *row, uint64_t print) {
        const struct answer_made *answer = &world->answers[row->answer - 1];
        return (struct known_job){.known = KNOWN_ANSWERED,
                                  .same_fingerprint = answer->print == print,
                                  .failure = answer->failure,
                                  .status = answer->status,
                                  .attempts = answer->attempts};
}

struct known_job disk_look_up(struct world *world, struct process *process, const struct look_up *look_up) {
        struct known_job known = {.known = KNOWN_NOTHING, .same_fingerprint = true};
        const struct job_spec *job = look_up->job;
        const struct row *row = &process->disk->live.rows[judge_fact(world, look_up->key)];
        uint64_t print;
        memcpy(&print, job->fingerprint, sizeof(print));
        if (world->plant == PLANT_NO_RECORD_NAMES && job->failure != FAILURE_NONE)
                return known;
        if (row->settled) {
                known.known = KNOWN_SETTLED;
                known.same_fingerprint = row->settled_print == print;
        } else if (row->parked && job->line == 0) {
                known.known = KNOWN_PARKED;
                known.same_fingerprint = row->parked_print == print;
        } else if (row->answer > 0) {
                known = known_answer(world, row, print);
        } else if (row->attempt_live || row->unkept) {
                known.known = KNOWN_UNKNOWN;
                known.attempts = row->attempt;
                known.exposure_picousd = row->exposure_picousd;
                known.same_fingerprint = row->attempt_print == print;
        }
        return known;
}
