/*
 * A worker process: the turn, as loop/shard.c does it, with partitions as the source. A record that is open
 * in the window of its partition has a job in the engine, an item on the way, or is on the list of those to
 * be admitted again: when it meets its own job from before, whose result is on its way out, or which is given
 * up, and when the admission of a parked row met another record of the same key.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS_A_TURN = 4, AGAIN_A_TURN = 8, AGAIN_MS = 50, PARK_LOOK_MS = 200, PARK_LOOK_LATER_MS = 60000 };
#define FROM_STATE 1 /* job_spec.line of a job that was admitted from its parked row */

bool world_dies(struct world *world, struct process *process) {
        (void)world;
        process->steps++;
        return process->crash_at > 0 && process->steps >= process->crash_at;
}

struct job_spec *process_decode(struct world *world, uint32_t line, uint32_t partition, uint64_t offset,
                                bool parked) {
        struct job_spec *job =
                job_decode(world->decoder, bytes_of(world->lines[line].text), 1, offset, false);
        job->partition = partition;
        job->sequence = offset;
        job->line = parked ? FROM_STATE : 0;
        if (world->lines[line].bad)
                job->key = judge_record_key(partition, offset);
        rules_hide(world, job);
        return job;
}

/* What is said of this record counts: its partition is ours, and has not been away since. */
bool process_current(const struct process *process, uint32_t partition, uint64_t offset) {
        const struct part *part = &process->parts[partition];
        return (part->state == PART_OWNED || part->state == PART_LEAVING) &&
               process->tracks[partition][offset].epoch == part->epoch;
}

void process_start(struct world *world, struct process *process) {
        process->alive = true;
        process->incarnation++;
        process->stopped_ns = 0;
        process->steps = process->crash_at = 0;
        process->generation = NOBODY;
        process->reloaded = false;
        process->engine = engine_new(&world->told, &world->config, world_time(world));
        process->committer.pending_count = process->committer.working_count = 0;
        process->committer.step = COMMIT_IDLE;
        struct item *queue = process->publisher.queue;
        process->publisher = (struct publisher){.queue = queue, .due_ns = world->now_ns};
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                process->parts[p].state = PART_NONE;
                process->parts[p].lost = false;
                memset(process->tracks[p], 0, LOG_MAX * sizeof(*process->tracks[p]));
        }
        process->reports_count = process->look_ups_count = process->told_count = 0;
        process->calls = 0;
        process->sweep = process->leaves = process->left = process->dies = false;
        process->park_ns = world->now_ns;
        parts_share(world, process);
        world_note(world, process->slot, "process: starts (life)", process->incarnation, 0, 0);
        group_join(world, process);
}

static void free_job(void *userdata, struct job_spec *job) {
        (void)userdata;
        job_spec_free(job);
}

void process_end(struct world *world, struct process *process) {
        world_note(world, process->slot, "process: ends (steps)", process->steps, 0, 0);
        process->alive = false;
        process->crash_at = 0;
        provider_crash(world, process);
        engine_each_job(process->engine, free_job, NULL);
        process_drop_again(process);
        process->engine = engine_free(process->engine);
        group_silent(world, process->slot, true);
}

void process_drop_again(struct process *process) {
        for (size_t i = 0; i < process->again.count; i++)
                job_spec_free(process->again.records[i].job);
        again_deinit(&process->again);
}

bool process_sibling_has(const struct world *world, const struct process *process, uint32_t partition,
                         bool takes) {
        for (uint32_t i = 0; i < world->processes_count; i++) {
                const struct process *other = &world->processes[i];
                if (other == process || other->machine != process->machine || !other->alive)
                        continue;
                enum part_state state = other->parts[partition].state;
                if (takes ? state >= PART_OWNED : state != PART_NONE && state != PART_OFFSET)
                        return true;
        }
        return false;
}

void process_end_told(struct world *world, struct process *process, struct handle handle) {
        if (process->told_count == EVENTS_MAX)
                judge_broken(world, "more is told than any turn needs");
        else
                process->told[process->told_count++] =
                        (struct event){.kind = EVENT_SETTLED, .handle = handle};
}

static uint32_t line_at(const struct world *world, const struct job_spec *job) {
        return world->cluster.jobs[job->partition].entries[job->sequence].line;
}

static int64_t least(int64_t a, int64_t b) {
        return a < b ? a : b;
}

/* --- gathering --- */

static void give(struct world *world, const struct event *event) {
        if (world->events_count == EVENTS_MAX)
                judge_broken(world, "more events than a turn can hold");
        else
                world->events[world->events_count++] = *event;
}

static void gather_told(struct world *world, struct process *process) {
        for (uint32_t i = 0; i < process->told_count; i++)
                give(world, &process->told[i]);
        process->told_count = 0;
}

static void gather_look_ups(struct world *world, struct process *process) {
        if (process->look_ups_count == 0 || process->look_up_ns > world->now_ns)
                return;
        uint32_t count = process->look_ups_count;
        if (count > 1 && chance(world, 30))
                count = (uint32_t)between(world, 1, count);
        for (uint32_t i = 0; i < count; i++) {
                const struct look_up *look_up = &process->look_ups[i];
                struct event event = {.kind = EVENT_LOOKED_UP, .handle = look_up->handle};
                event.known = disk_look_up(world, process, look_up);
                struct track *track = &process->tracks[look_up->job->partition][look_up->job->sequence];
                enum known known = event.known.known;
                track->own = key128_equal(look_up->key, look_up->job->key) && event.known.same_fingerprint &&
                             known != KNOWN_SETTLED && known != KNOWN_PARKED;
                world_note(world, process->slot, "look-up (offset, known, same)", look_up->job->sequence,
                           known, event.known.same_fingerprint);
                give(world, &event);
        }
        process->look_ups_count -= count;
        memmove(process->look_ups, process->look_ups + count,
                process->look_ups_count * sizeof(*process->look_ups));
        process->look_up_ns = in_ms(world, 0, 3);
}

static uint32_t room(const struct world *world, const struct process *process) {
        uint32_t jobs = 0;
        for (uint32_t i = 0; i < world->events_count; i++)
                jobs += world->events[i].kind == EVENT_JOB;
        uint32_t inside = engine_room(process->engine);
        return inside > jobs ? inside - jobs : 0;
}

static void admit(struct world *world, struct process *process, struct job_spec *job) {
        uint32_t partition = job->partition;
        struct track *track = &process->tracks[partition][job->sequence];
        track->epoch = process->parts[partition].epoch;
        track->own = track->own && track->inside; /* it may be inside already */
        track->inside = true;
        world_note(world, process->slot,
                   job->line == FROM_STATE ? "admitted, parked (partition, offset, line)"
                                           : "admitted (partition, offset, line)",
                   partition, job->sequence, line_at(world, job));
        give(world, &(struct event){.kind = EVENT_JOB, .job = job});
}

void process_admit_again(struct world *world, struct process *process, uint32_t partition, uint64_t offset,
                         bool parked, bool holds) {
        struct again *again = &process->again;
        uint32_t epoch = process->parts[partition].epoch;
        for (size_t i = 0; i < again->count; i++)
                if (again->records[i].partition == partition && again->records[i].offset == offset &&
                    again->records[i].epoch == epoch)
                        return;
        uint32_t line = world->cluster.jobs[partition].entries[offset].line;
        struct again_record record = {.partition = partition,
                                      .epoch = epoch,
                                      .offset = offset,
                                      .holds = holds && world->plant != PLANT_AGAIN_PASSED,
                                      .job = process_decode(world, line, partition, offset, parked)};
        if (!again_keep(again, &record))
                judge_broken(world, "no memory");
        world->counts.again++;
        process->again_ns = in_ms(world, 0, AGAIN_MS);
}

static bool again_wanted(struct world *world, const struct process *process,
                         const struct again_record *record) {
        const struct part *part = &process->parts[record->partition];
        if (part->state != PART_OWNED || part->epoch != record->epoch)
                return false;
        if (record->job->line != FROM_STATE)
                return window_is_open(&part->window, record->offset);
        const struct row *row = &process->disk->live.rows[judge_fact(world, record->job->key)];
        return row->parked && !row->settled && row->parked_offset == record->offset;
}

static void gather_again(struct world *world, struct process *process) {
        struct again_record records[AGAIN_A_TURN];
        if (process->again.count == 0 || process->again_ns > world->now_ns)
                return;
        uint32_t most = room(world, process);
        size_t count = again_take(&process->again, records, most < AGAIN_A_TURN ? most : AGAIN_A_TURN);
        for (size_t i = 0; i < count; i++) {
                size_t at = world->plant == PLANT_AGAIN_BACKWARDS ? count - 1 - i : i;
                if (again_wanted(world, process, &records[at]))
                        admit(world, process, records[at].job);
                else
                        job_spec_free(records[at].job);
        }
}

static void rehome(struct world *world, struct process *process, uint32_t partition, uint64_t offset,
                   uint32_t line) {
        struct part *part = &process->parts[partition];
        window_settle(&part->window, offset);
        part->handed = part->window.mark;
        struct intent intent = {.kind = INTENT_ITEM,
                                .item = {.kind = ITEM_REHOME,
                                         .partition = partition,
                                         .epoch = part->epoch,
                                         .offset = offset,
                                         .mark = part->window.mark,
                                         .line = line}};
        world->counts.rehomed++;
        world_note(world, process->slot, "rehomed (partition, offset, line)", partition, offset, line);
        committer_add(world, process, &intent);
}

static bool record_waits(struct world *world, const struct process *process, uint32_t partition) {
        const struct part *part = &process->parts[partition];
        return part->state == PART_OWNED &&
               part->position < cluster_stable(world, &world->cluster.jobs[partition]) &&
               !again_holds(&process->again, partition, part->epoch) &&
               window_has_room(&part->window, part->position);
}

static void take(struct world *world, struct process *process, uint32_t partition) {
        struct part *part = &process->parts[partition];
        const struct entry *entry = &world->cluster.jobs[partition].entries[part->position];
        uint64_t offset = part->position++;
        if (!cluster_visible(world, entry))
                return;
        window_receive(&part->window, offset);
        struct track *track = &process->tracks[partition][offset];
        track->parking = track->parked = false;
        track->taken_ns = world->now_ns;
        const struct line *line = &world->lines[entry->line];
        if (!line->bad && world->facts[line->fact].home != partition) {
                track->epoch = part->epoch;
                rehome(world, process, partition, offset, entry->line);
        } else {
                admit(world, process, process_decode(world, entry->line, partition, offset, false));
        }
}

static void gather_records(struct world *world, struct process *process) {
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                struct part *part = &process->parts[p];
                for (int i = 0; i < RECORDS_A_TURN && record_waits(world, process, p) &&
                                room(world, process) > process->again.count;
                     i++)
                        take(world, process, p);
                if (part->state != PART_OWNED)
                        continue;
                window_skip(&part->window, part->position);
                partition_hand_mark(world, process, p);
        }
}

/* --- carrying out --- */

static void settle(struct world *world, struct process *process, const struct command *command) {
        const struct job_spec *job = command->job;
        const struct outcome *outcome = command->outcome;
        struct part *part = &process->parts[job->partition];
        struct intent intent = {.kind = INTENT_ITEM, .journaled = outcome->journaled};
        struct item *item = &intent.item;
        *item = (struct item){.kind = ITEM_RESULT,
                              .partition = job->partition,
                              .epoch = part->epoch,
                              .offset = job->sequence,
                              .fact = judge_fact(world, command->key),
                              .handle = command->handle};
        memcpy(&item->print, job->fingerprint, sizeof(item->print));
        item->dead = outcome->failure == FAILURE_IDEMPOTENCY_CONFLICT || job->failure != FAILURE_NONE;
        item->current = process_current(process, job->partition, job->sequence);
        if (world->plant == PLANT_EPOCH_IGNORED && part->state == PART_OWNED)
                item->current = true;
        if (!item->current)
                world->counts.late_answers++;
        item->answer = outcome->journaled ? process->disk->live.rows[item->fact].answer : 0;
        if (item->answer == 0 && world->answers_count < ANSWERS_MAX) {
                world->answers[world->answers_count++] =
                        (struct answer_made){.fact = item->fact,
                                             .print = item->print,
                                             .failure = outcome->failure,
                                             .status = outcome->status,
                                             .attempts = outcome->attempts,
                                             .private = job->demand.prefs.zdr};
                item->answer = world->answers_count;
        }
        world_note(world, process->slot, "settle (partition, offset, failure * 2 + current)", job->partition,
                   job->sequence, (uint64_t)outcome->failure * 2 + item->current);
        process->tracks[job->partition][job->sequence].handed = true;
        if (item->current) {
                window_settle(&part->window, job->sequence);
                part->handed = item->mark = part->window.mark;
                if (world->plant == PLANT_MARK_FIRST) {
                        struct item mark = *item;
                        mark.kind = ITEM_MARK;
                        publisher_put(world, process, &mark);
                }
        }
        committer_add(world, process, &intent);
}

static void open_attempt(struct world *world, struct process *process, const struct command *command) {
        struct intent intent = {.kind = INTENT_OPEN,
                                .handle = command->handle,
                                .attempt = command->attempt,
                                .exposure_picousd = command->exposure_picousd};
        intent.item.partition = command->job->partition;
        intent.item.offset = command->job->sequence;
        intent.item.fact = judge_fact(world, command->key);
        memcpy(&intent.item.print, command->job->fingerprint, sizeof(intent.item.print));
        process->tracks[command->job->partition][command->job->sequence].opened_day =
                budget_day(world_time(world).now_unix_ms);
        bool stale = !process_current(process, command->job->partition, command->job->sequence) &&
                     world->plant != PLANT_SHARED_ROWS && world->plant != PLANT_ORPHANS_GO_ON;
        if (world->plant == PLANT_OPEN_UNWRITTEN && process->told_count < EVENTS_MAX)
                process->told[process->told_count++] =
                        (struct event){.kind = EVENT_OPENED, .handle = command->handle};
        process->sweep = process->sweep || stale; /* it is given up as soon as it is opened */
        committer_add(world, process, &intent);
}

static void end_attempt(struct world *world, struct process *process, const struct command *command) {
        struct intent intent = {.kind = INTENT_END};
        intent.item.fact = judge_fact(world, command->job->key);
        committer_add(world, process, &intent);
}

/* Settled elsewhere, or before, or by the job inside that it repeats. */
static void settle_duplicate(struct world *world, struct process *process, const struct job_spec *job) {
        if (!process_current(process, job->partition, job->sequence))
                return;
        window_settle(&process->parts[job->partition].window, job->sequence);
        partition_hand_mark(world, process, job->partition);
}

/*
 * While the partition was away another one may have settled what is being called here: the engine, which
 * finds the job inside, does not look it up.
 */
static bool is_settled(struct world *world, const struct process *process, const struct job_spec *job) {
        const struct row *row = &process->disk->live.rows[judge_fact(world, job->key)];
        const struct row *alias = &process->disk->live.rows[judge_fact(world, job->alias)];
        uint64_t print;
        memcpy(&print, job->fingerprint, sizeof(print));
        return (row->settled && row->settled_print == print) || (!job->failure && alias->settled);
}

/*
 * The job inside that it is ends without a result that counts, and the record is taken again then. In the
 * meantime its key is free, unless the store has an answer.
 */
static bool waits_for_twin(struct world *world, struct process *process, const struct command *command) {
        const struct job_spec *job = command->job;
        bool holds = process->tracks[job->partition][job->sequence].handed || command->twin_goes;
        bool answered = process->disk->live.rows[judge_fact(world, job->key)].answer > 0;
        if (!holds && !answered)
                return false;
        if (world->plant != PLANT_FORGOTTEN)
                process_admit_again(world, process, job->partition, job->sequence, job->line == FROM_STATE,
                                    holds);
        return true;
}

static void forget_duplicate(struct world *world, struct process *process, const struct command *command) {
        const struct job_spec *job = command->job, *twin = command->twin;
        bool itself = twin && twin->partition == job->partition && twin->sequence == job->sequence;
        world_note(world, process->slot, "duplicate (offset, twin inside, itself)", job->sequence,
                   twin != NULL, itself);
        if (itself && is_settled(world, process, job) && world->plant != PLANT_ADOPTED_UNSEEN) {
                settle_duplicate(world, process, job);
                process->tracks[job->partition][job->sequence].epoch = 0; /* its answer comes too late */
                process->sweep = true;
                return;
        }
        if (itself && waits_for_twin(world, process, command)) {
                process->tracks[job->partition][job->sequence].epoch = 0; /* that one is of the old one */
                process->sweep = true;
                return;
        }
        if (itself) {
                world->counts.adopted++;
                if (world->plant == PLANT_DUPLICATE_SETTLES)
                        settle_duplicate(world, process, job);
                return;
        }
        process->tracks[job->partition][job->sequence].inside = false;
        if (job->line != FROM_STATE)
                settle_duplicate(world, process, job);
}

static void forget(struct world *world, struct process *process, const struct command *command) {
        const struct job_spec *job = command->job;
        const struct part *part = &process->parts[job->partition];
        struct track *track = &process->tracks[job->partition][job->sequence];
        bool itself = command->duplicate && command->twin && command->twin->partition == job->partition &&
                      command->twin->sequence == job->sequence;
        if (command->duplicate) {
                forget_duplicate(world, process, command);
        } else {
                track->inside = track->own = track->handed = false;
                world_note(world, process->slot, "forgotten (partition, offset, revoked)", job->partition,
                           job->sequence, command->revoked);
        }
        if (job->failure != FAILURE_NONE || part->state != PART_OWNED || itself)
                return;
        uint32_t fact = judge_fact(world, job->key);
        const struct row *row = &process->disk->live.rows[fact];
        if (row->parked && !row->settled)
                process_admit_again(world, process, job->partition, row->parked_offset, true, false);
}

static void carry_out(struct world *world, struct process *process, const struct command *command) {
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                if (process->look_ups_count == EVENTS_MAX) {
                        judge_broken(world, "more look-ups than jobs");
                        return;
                }
                if (process->look_ups_count == 0)
                        process->look_up_ns =
                                in_ms(world, 0, chance(world, world->slow_disk_percent) ? 4000 : 3);
                process->tracks[command->job->partition][command->job->sequence].own = false;
                process->look_ups[process->look_ups_count++] =
                        (struct look_up){.handle = command->handle, .key = command->key, .job = command->job};
                return;
        case COMMAND_OPEN:
                open_attempt(world, process, command);
                return;
        case COMMAND_CALL:
                provider_call(world, process, command);
                return;
        case COMMAND_END:
                end_attempt(world, process, command);
                return;
        case COMMAND_NOTE:
                judge_broken(world, "an attempt is noted though nothing is counted");
                return;
        case COMMAND_SETTLE:
                settle(world, process, command);
                return;
        case COMMAND_FORGET:
                forget(world, process, command);
                job_spec_free(command->job);
                return;
        }
}

static void carry_out_all(struct world *world, struct process *process) {
        for (size_t i = 0; i < world->commands.count && !broken(world); i++)
                carry_out(world, process, &world->commands.items[i]);
        world->commands.count = 0;
}

struct sweep {
        const struct process *process;
};

static bool has_gone(void *userdata, const struct job_spec *job) {
        const struct process *process = ((const struct sweep *)userdata)->process;
        return process->parts[job->partition].state != PART_OWNED ||
               !process_current(process, job->partition, job->sequence);
}

static void sweep(struct world *world, struct process *process) {
        struct sweep userdata = {process};
        bool whole = false;
        process->sweep = false;
        while (!whole && !broken(world)) {
                whole = engine_revoke(process->engine, world_time(world), has_gone, &userdata,
                                      &world->commands);
                carry_out_all(world, process);
        }
}

/* The record at the mark has been there for long: it is written to the state topic and does not hold it. */
static void park(struct world *world, struct process *process) {
        if (process->park_ns > world->now_ns)
                return;
        bool waits = world->days && !faulty(world); /* for the next day, perhaps */
        process->park_ns = world->now_ns + (waits ? PARK_LOOK_LATER_MS : PARK_LOOK_MS) * NS_PER_MS;
        money_rest(world, process);
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                struct part *part = &process->parts[p];
                uint64_t offset;
                if (part->state != PART_OWNED || !window_oldest(&part->window, &offset))
                        continue;
                struct track *track = &process->tracks[p][offset];
                uint32_t line = world->cluster.jobs[p].entries[offset].line;
                bool own = track->own || world->plant == PLANT_PARK_ANYTHING;
                bool comes = !process_current(process, p, offset) && world->plant != PLANT_PARKED_WAITING;
                if (comes || !track->inside || !own || track->parking || world->lines[line].bad ||
                    world->now_ns - track->taken_ns < world->park_ns)
                        continue;
                if (world->lines[line].private && world->plant != PLANT_PARK_PRIVATE) {
                        world->counts.not_parked++;
                        continue;
                }
                track->parking = true;
                struct intent intent = {.kind = INTENT_ITEM,
                                        .item = {.kind = ITEM_PARK,
                                                 .partition = p,
                                                 .epoch = part->epoch,
                                                 .offset = offset,
                                                 .mark = part->window.mark,
                                                 .fact = world->lines[line].fact,
                                                 .print = world->lines[line].print,
                                                 .line = line}};
                world_note(world, process->slot, "parking (partition, offset, line)", p, offset, line);
                committer_add(world, process, &intent);
        }
}

static void turn(struct world *world, struct process *process) {
        world->events_count = 0;
        world->commands.count = 0;
        if (process->sweep && world->plant != PLANT_SWEPT_LATE)
                sweep(world, process); /* before the engine starts anything */
        money_reload(world, process);
        gather_told(world, process);
        provider_gather(world, process);
        gather_look_ups(world, process);
        gather_again(world, process);
        gather_records(world, process);
        engine_step(process->engine, world_time(world), world->events, world->events_count, &world->commands);
        carry_out_all(world, process);
        if (process->sweep && !broken(world))
                sweep(world, process);
        park(world, process);
        money_tell(world, process);
}

void process_turn(struct world *world, struct process *process) {
        partition_report(world, process);
        bool dies = partition_step(world, process) || committer_step(world, process) ||
                    publisher_step(world, process);
        if (!dies && !broken(world)) {
                turn(world, process);
                dies = world_dies(world, process);
        }
        process->dies = dies;
}

int64_t process_wake_ns(struct world *world, struct process *process) {
        const struct member *member = &world->cluster.members[process->slot];
        if (process->told_count > 0 || (process->reports_count > 0 && !process->leaves) || process->sweep)
                return world->now_ns;
        int64_t wake_ns = engine_wake_ns(process->engine);
        if (process->look_ups_count > 0)
                wake_ns = least(wake_ns, process->look_up_ns);
        if (member->reports_count > 0 && !process->leaves)
                wake_ns = least(wake_ns, member->reports[0].at_ns);
        wake_ns = least(wake_ns, committer_wake_ns(process));
        wake_ns = least(wake_ns, publisher_wake_ns(process));
        wake_ns = least(wake_ns, partition_wake_ns(world, process));
        wake_ns = least(wake_ns, provider_wake_ns(world, process));
        if (!engine_empty(process->engine))
                wake_ns = least(wake_ns, process->park_ns);
        bool has_room = engine_room(process->engine) > 0;
        if (process->again.count > 0 && has_room)
                wake_ns = least(wake_ns, process->again_ns);
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                if (has_room && record_waits(world, process, p) &&
                    engine_room(process->engine) > process->again.count)
                        return world->now_ns;
        return wake_ns;
}
