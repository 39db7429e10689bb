/*
 * The disk and the committer's steps: append, sync, write, tell. Durable are the lines up to lines_synced,
 * the attempts with `durable`, the facts' `settled` that are not late, the mark. A crash keeps any part of
 * the lines that were appended but not synced: whole ones up to some point, and perhaps the beginning of
 * another, which recovery cuts.
 */
#include "broker/wire/result.h"
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum { OUTPUT_LINES_MAX = 8 * LINES_MAX, ATTEMPTS_MAX = 20000, TEXT_MAX = 64 << 20, COMMITS_TOGETHER = 5 };

void disk_init(struct disk *disk) {
        buffer_init(&disk->text, TEXT_MAX);
        disk->lines = calloc(OUTPUT_LINES_MAX, sizeof(*disk->lines));
        disk->attempts = calloc(ATTEMPTS_MAX, sizeof(*disk->attempts));
        disk->pending = calloc(INTENTS_MAX, sizeof(*disk->pending));
        disk->working = calloc(INTENTS_MAX, sizeof(*disk->working));
        disk->told = calloc(EVENTS_MAX, sizeof(*disk->told));
        given_init(disk);
}

void disk_deinit(struct disk *disk) {
        buffer_deinit(&disk->text);
        free(disk->lines);
        free(disk->attempts);
        free(disk->pending);
        free(disk->working);
        free(disk->told);
        given_deinit(disk);
}

void disk_submit(struct world *world) {
        struct disk *disk = &world->disk;
        uint32_t mark = disk->mark_lines;
        while (mark < world->lines_count && world->line_settled[mark])
                mark++;
        if (world->plant == PLANT_MARK_TOO_FAR)
                mark = world->read;
        if (world->intents_count > 0 && mark != disk->mark_lines) {
                disk->mark_lines = disk->mark_next = mark;
                disk->mark_pending = true;
        }
        if (disk->pending_count + world->intents_count > INTENTS_MAX) {
                judge_broken(world, "more intents than the model holds");
                return;
        }
        if (world->intents_count > 0) {
                money_keep(world);
                given_keep(world);
        }
        memcpy(disk->pending + disk->pending_count, world->intents,
               world->intents_count * sizeof(*world->intents));
        disk->pending_count += world->intents_count;
        world->intents_count = 0;
        if (disk->step == COMMIT_IDLE && disk->pending_count > 0) {
                int64_t spaced_ns = disk->started_ns + world->spacing_ns;
                disk->due_ns = spaced_ns > world->now_ns ? spaced_ns : world->now_ns;
        }
}

int64_t disk_wake_ns(const struct world *world) {
        const struct disk *disk = &world->disk;
        if (disk->told_count > 0)
                return world->now_ns;
        return disk->step == COMMIT_IDLE && disk->pending_count == 0 ? INT64_MAX : disk->due_ns;
}

bool disk_idle(const struct world *world) {
        const struct disk *disk = &world->disk;
        return disk->step == COMMIT_IDLE && disk->pending_count == 0 && disk->told_count == 0;
}

static void append_line(struct world *world, const struct intent *intent) {
        struct disk *disk = &world->disk;
        struct output_line *line = &disk->lines[disk->lines_count++];
        line->offset = (uint32_t)disk->text.size;
        struct result_source source = {.job = intent->job,
                                       .outcome = intent->outcome,
                                       .catalog = &world->catalog,
                                       .body_json = intent->outcome->has_answer ? BYTES("{\"object\":\"x\"}")
                                                                                : (struct bytes){NULL, 0}};
        result_append(&disk->text, &source);
        line->size = (uint32_t)(disk->text.size - line->offset);
        line->key = intent->key;
        line->failure = intent->outcome->failure;
        memcpy(line->fingerprint, intent->job->fingerprint, sizeof(line->fingerprint));
}

static void take_pending(struct disk *disk) {
        struct intent *taken = disk->pending;
        disk->pending = disk->working;
        disk->working = taken;
        disk->working_count = disk->pending_count;
        disk->pending_count = 0;
        disk->mark_working = disk->mark_pending;
        disk->spends_working = disk->spends_pending;
        memset(disk->spends_pending.changed, 0, sizeof(disk->spends_pending.changed));
        given_stage(disk);
        disk->mark_staged = disk->mark_next;
        disk->mark_pending = false;
}

/* As the committer does: what was noted for the job of a slot ends with what comes next for it. */
static void stage_noted(struct disk *disk, struct intent *intent) {
        uint32_t *noted = &disk->noted[intent->handle.slot];
        bool same = *noted > 0 && key128_equal(disk->attempts[*noted - 1].row.key, intent->key);
        intent->noted = same ? *noted : 0;
        *noted = intent->kind == INTENT_NOTE ? intent->made : 0;
}

static void append(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->working_count; i++) {
                struct intent *intent = &disk->working[i];
                if (intent->kind == INTENT_OPEN) {
                        struct attempt *attempt = &disk->attempts[disk->attempts_count++];
                        *attempt = (struct attempt){.row = intent->open};
                        intent->attempt = disk->attempts_count;
                } else if (intent->kind == INTENT_NOTE) {
                        disk->attempts[disk->attempts_count++] = (struct attempt){.row = intent->open};
                        intent->made = disk->attempts_count;
                } else if (intent->kind == INTENT_SETTLE) {
                        append_line(world, intent);
                        if (world->plant == PLANT_SETTLE_TWICE && chance(world, 5))
                                append_line(world, intent);
                }
                stage_noted(disk, intent);
        }
        disk->recorded_staged = disk->lines_count;
}

static void sync_lines(struct world *world) {
        struct disk *disk = &world->disk;
        for (; disk->lines_synced < disk->lines_count; disk->lines_synced++)
                judge_line(world, &disk->lines[disk->lines_synced]);
}

static void end_attempt(struct world *world, uint32_t attempt) {
        if (attempt > 0 && world->plant != PLANT_NO_END)
                world->disk.attempts[attempt - 1].live = false;
}

/*
 * Without budgets rows come late, those of a few commits together, and with them the mark and the outputs'
 * recorded length. An attempt that ended with a late row may be live again after a crash: its block stays as
 * long as another attempt of it is live.
 */
static void catch_up(struct world *world) {
        struct disk *disk = &world->disk;
        bool all = world->budgets || ++disk->commits % COMMITS_TOGETHER == 0;
        if (disk->mark_working)
                disk->mark_late = disk->mark_staged;
        if (all || world->plant == PLANT_RECORDED_TOO_FAR)
                disk->lines_recorded = disk->recorded_staged;
        if (!all)
                return;
        disk->mark = disk->mark_late;
        for (uint32_t i = 0; i < world->facts_count; i++)
                world->facts[i].late = false;
}

void disk_finish(struct world *world) {
        world->disk.commits = COMMITS_TOGETHER - 1;
        world->disk.recorded_staged = world->disk.lines_synced;
        catch_up(world);
        world->disk.mark_working = false; /* of this process: the next one may have another input */
        given_keep(world);
        given_stage(&world->disk);
        given_write(world, true);
}

static void lose_late(struct world *world) {
        for (uint32_t i = 0; i < world->facts_count; i++) {
                struct fact *fact = &world->facts[i];
                if (!fact->late)
                        continue;
                fact->late = fact->settled = fact->fingerprint_known = false;
                if (fact->late_attempt > 0 && chance(world, 50))
                        world->disk.attempts[fact->late_attempt - 1].live = true;
        }
}

static void write_rows(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->working_count; i++) {
                struct intent *intent = &disk->working[i];
                end_attempt(world, intent->noted);
                if (intent->kind == INTENT_NOTE)
                        disk->attempts[intent->made - 1].durable = disk->attempts[intent->made - 1].live =
                                true;
                if (intent->kind == INTENT_OPEN) {
                        disk->attempts[intent->attempt - 1].durable = true;
                        disk->attempts[intent->attempt - 1].live = true;
                        continue;
                }
                end_attempt(world, intent->attempt);
                struct fact *fact = &world->facts[judge_fact(world, intent->key)];
                if (intent->attempt > 0 && fact->attempt_row == intent->attempt)
                        fact->attempt_row = 0;
                if (intent->kind != INTENT_SETTLE)
                        continue;
                fact->settled = fact->fingerprint_known = fact->late = true;
                fact->late_attempt = intent->attempt;
                memcpy(fact->fingerprint, intent->job->fingerprint, sizeof(fact->fingerprint));
        }
        money_write(world);
        given_write(world, false);
        catch_up(world);
}

static void tell(struct world *world, bool opened_only) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->working_count; i++) {
                const struct intent *intent = &disk->working[i];
                bool open = intent->kind == INTENT_OPEN;
                if (intent->kind == INTENT_END || intent->kind == INTENT_NOTE ||
                    disk->told_count == EVENTS_MAX || open != opened_only)
                        continue;
                disk->told_attempts[disk->told_count] = open ? intent->attempt : 0;
                disk->told[disk->told_count++] =
                        (struct event){.kind = open ? EVENT_OPENED : EVENT_SETTLED, .handle = intent->handle};
        }
}

/* The disk is full: nothing of this step happened, it is tried again. */
static bool out_of_space(struct world *world) {
        struct disk *disk = &world->disk;
        bool full = world->now_ns >= world->full_from_ns && world->now_ns < world->full_until_ns;
        disk->full = full;
        if (full)
                disk->due_ns = world->now_ns + 500 * NS_PER_MS;
        return full;
}

static void do_step(struct world *world) {
        struct disk *disk = &world->disk;
        bool rows_first = world->plant == PLANT_STORE_BEFORE_OUTPUT;
        switch (disk->step) {
        case COMMIT_IDLE:
                take_pending(disk);
                disk->started_ns = world->now_ns;
                disk->step = COMMIT_APPEND;
                break;
        case COMMIT_APPEND:
                if (out_of_space(world))
                        return;
                append(world);
                if (world->plant == PLANT_OPEN_UNWRITTEN)
                        tell(world, true);
                disk->step = COMMIT_SYNC;
                break;
        case COMMIT_SYNC:
                if (rows_first)
                        write_rows(world);
                else
                        sync_lines(world);
                disk->step = COMMIT_WRITE;
                break;
        case COMMIT_WRITE:
                if (out_of_space(world))
                        return;
                if (rows_first)
                        sync_lines(world);
                else
                        write_rows(world);
                disk->step = COMMIT_TELL;
                break;
        case COMMIT_TELL:
                if (world->plant != PLANT_OPEN_UNWRITTEN)
                        tell(world, true);
                tell(world, false);
                disk->step = COMMIT_IDLE;
                break;
        }
        disk->due_ns = world->now_ns + between(world, 0, 2000) * NS_PER_US;
}

bool disk_work(struct world *world) {
        struct disk *disk = &world->disk;
        bool idle = disk->step == COMMIT_IDLE && disk->pending_count == 0;
        if (idle || disk->due_ns > world->now_ns || disk->told_count > 0)
                return false;
        do_step(world);
        judge_note(world, (uint64_t)disk->step);
        return world_dies(world);
}

void disk_crash(struct world *world) {
        struct disk *disk = &world->disk;
        uint32_t survive = (uint32_t)between(world, disk->lines_synced, disk->lines_count);
        for (uint32_t i = survive; i < disk->lines_count; i++)
                judge_lost_line(world, &disk->lines[i]);
        disk->text.size = survive < disk->lines_count ? disk->lines[survive].offset : disk->text.size;
        disk->lines_count = survive;
        lose_late(world);
        disk->mark_late = disk->mark;
        disk->pending_count = disk->working_count = disk->told_count = 0;
        disk->mark_pending = disk->mark_working = false;
        disk->step = COMMIT_IDLE;
        memset(&disk->spends_pending, 0, sizeof(disk->spends_pending));
        memset(&disk->spends_working, 0, sizeof(disk->spends_working));
        given_crash(disk);
        memset(disk->noted, 0, sizeof(disk->noted));
        disk->full = false;
        disk->due_ns = disk->started_ns = 0;
}

static void adopt(struct world *world, const struct output_line *line) {
        struct disk *disk = &world->disk;
        struct result_head head;
        struct bytes text = {disk->text.data + line->offset, line->size - 1};
        if (!result_read_head(text, &head) || !key128_equal(head.key, line->key)) {
                judge_broken(world, "a line of ours cannot be read back: %.*s", (int)text.size, text.data);
                return;
        }
        struct fact *fact = &world->facts[judge_fact(world, head.key)];
        if (fact->settled)
                return;
        fact->settled = true;
        /* of the journal, or, of a job that was never called, of the line itself */
        fact->fingerprint_known = fact->attempt_row > 0 || world->plant != PLANT_BLIND_ADOPTION;
        if (fact->fingerprint_known)
                memcpy(fact->fingerprint, line->fingerprint, sizeof(fact->fingerprint));
        if (fact->attempt_row > 0) {
                money_adopt(world, &disk->attempts[fact->attempt_row - 1], head.cost_known,
                            head.cost_picousd);
                disk->attempts[fact->attempt_row - 1].live = false;
        }
        fact->attempt_row = 0;
}

/* Attempts of the last life that are live now are of unknown outcome. */
static void find_unknown(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->attempts_count; i++) {
                struct attempt *attempt = &disk->attempts[i];
                attempt->live = attempt->live && attempt->durable && world->plant != PLANT_FORGETS_UNKNOWN;
                if (attempt->live)
                        world->facts[judge_fact(world, attempt->row.key)].attempt_row = i + 1;
        }
}

bool disk_recover(struct world *world) {
        struct disk *disk = &world->disk;
        find_unknown(world);
        sync_lines(world); /* what is read back is there */
        if (world->crashes_left > 0 && chance(world, 20)) {
                world->crashes_left--;
                return false;
        }
        money_recover(world);
        for (uint32_t i = disk->lines_recorded; i < disk->lines_count && world->plant != PLANT_NO_ADOPTION;
             i++)
                adopt(world, &disk->lines[i]);
        disk->lines_recorded = disk->lines_count;
        disk->mark_lines = disk->mark;
        return true;
}

struct known_job disk_look_up(struct world *world, struct key128 key, const struct job_spec *job,
                              uint32_t *out_attempt) {
        struct known_job known = {.known = KNOWN_NOTHING, .same_fingerprint = true};
        *out_attempt = 0;
        if (world->plant == PLANT_NO_LOOK_UP)
                return known;
        const struct fact *fact = &world->facts[judge_fact(world, key)];
        const uint8_t *fingerprint = NULL;
        if (fact->settled) {
                known.known = KNOWN_SETTLED;
                fingerprint = fact->fingerprint_known ? fact->fingerprint : NULL;
        } else if (fact->attempt_row > 0) {
                const struct begun_row *row = &world->disk.attempts[fact->attempt_row - 1].row;
                known.known = KNOWN_UNKNOWN;
                known.attempts = row->attempt;
                known.exposure_picousd = row->exposure_picousd;
                fingerprint = row->fingerprint;
                *out_attempt = fact->attempt_row;
        }
        known.same_fingerprint = !fingerprint || memcmp(fingerprint, job->fingerprint, 32) == 0;
        return known;
}
