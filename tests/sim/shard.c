/*
 * The turn, as loop/shard.c does it, and one life after another: a life ends with a crash, a drain, or when
 * all is done. What the process held in memory goes with it; what comes next starts from the disk.
 */
#include "world.h"

#include <stdlib.h>
#include <string.h>

enum { TURNS_MAX = 400000, IDLE_TURNS_MAX = 2000 };

enum end { END_DONE, END_CRASHED, END_DRAINED, END_STUCK, END_BROKEN };

bool world_dies(struct world *world) {
        if (world->crash_at == 0 || ++world->steps < world->crash_at)
                return false;
        return true;
}

static bool broken(const struct world *world) {
        return world->violation[0] != '\0';
}

/* Now and then a completion comes twice, or once more later. */
static void tell_again(struct world *world, const struct event *event) {
        if (world->events_count < EVENTS_MAX && chance(world, 3))
                world->events[world->events_count++] = *event;
        if (world->late_count < LATE_MAX && chance(world, 2))
                world->late[world->late_count++] = *event;
}

static void gather_completions(struct world *world) {
        struct disk *disk = &world->disk;
        for (uint32_t i = 0; i < disk->told_count; i++) {
                const struct event *event = &disk->told[i];
                if (event->kind == EVENT_OPENED)
                        world->slot_attempts[event->handle.slot] = disk->told_attempts[i];
                world->events[world->events_count++] = *event;
                tell_again(world, event);
        }
        disk->told_count = 0;
}

static void gather_look_ups(struct world *world) {
        uint32_t count = world->look_ups_count;
        if (count > 1 && chance(world, 20))
                count = (uint32_t)between(world, 1, count);
        for (uint32_t i = 0; i < count; i++) {
                const struct look_up *look_up = &world->look_ups[i];
                struct event event = {.kind = EVENT_LOOKED_UP, .handle = look_up->handle};
                event.known = disk_look_up(world, look_up->key, look_up->job,
                                           &world->slot_attempts[look_up->handle.slot]);
                world->events[world->events_count++] = event;
                tell_again(world, &event);
        }
        world->look_ups_count -= count;
        memmove(world->look_ups, world->look_ups + count, world->look_ups_count * sizeof(*world->look_ups));
}

static void gather_lines(struct world *world) {
        for (int i = 0; i < LINES_A_TURN; i++) {
                if (world->read == world->lines_count || world->drained ||
                    engine_room(world->engine) <= LINES_A_TURN)
                        return;
                struct job_spec *job = job_decode(world->decoder, bytes_of(world->lines[world->read]),
                                                  world->read + 1, world->read, false);
                if (world->plant == PLANT_NO_DEADLINE)
                        job->deadline_unix_ms = 0;
                if (world->plant == PLANT_NO_LISTS)
                        job->demand.prefs.only.count = job->demand.prefs.ignore.count = 0;
                job->demand.workspace =
                        world->plant == PLANT_ONE_WORKSPACE ? 0 : scenario_workspace(world, job);
                world->read++;
                world->events[world->events_count++] = (struct event){.kind = EVENT_JOB, .job = job};
        }
}

static struct intent *add_intent(struct world *world, enum intent_kind kind, const struct command *command) {
        struct intent *intent = &world->intents[world->intents_count++];
        uint32_t *attempt = &world->slot_attempts[command->handle.slot];
        *intent = (struct intent){.kind = kind,
                                  .handle = command->handle,
                                  .key = command->key,
                                  .job = command->job,
                                  .outcome = command->outcome,
                                  .attempt = *attempt};
        *attempt = 0;
        return intent;
}

static void open_attempt(struct world *world, const struct command *command) {
        judge_open(world, command);
        world->slot_days[command->handle.slot] = budget_day(world_time(world).now_unix_ms);
        if (world->slot_attempts[command->handle.slot] > 0)
                add_intent(world, INTENT_END, command);
        struct intent *intent = add_intent(world, INTENT_OPEN, command);
        intent->open = (struct begun_row){.key = command->key,
                                          .attempt = command->attempt,
                                          .exposure_picousd = command->exposure_picousd};
        money_describe(world, command, &intent->open);
        memcpy(intent->open.fingerprint, command->job->fingerprint, sizeof(intent->open.fingerprint));
}

static void note_attempt(struct world *world, const struct command *command) {
        if (world->plant == PLANT_NO_NOTE)
                return;
        struct intent *intent = add_intent(world, INTENT_NOTE, command);
        intent->open = (struct begun_row){.key = command->key,
                                          .attempt = command->attempt,
                                          .exposure_picousd = command->exposure_picousd};
        memcpy(intent->open.fingerprint, command->job->fingerprint, sizeof(intent->open.fingerprint));
}

static void carry_out(struct world *world, const struct command *command) {
        judge_note(world, (uint64_t)command->kind << 48 | (uint64_t)command->handle.generation << 24 |
                                  command->handle.slot);
        switch (command->kind) {
        case COMMAND_LOOK_UP:
                world->look_ups[world->look_ups_count++] =
                        (struct look_up){.handle = command->handle, .key = command->key, .job = command->job};
                return;
        case COMMAND_OPEN:
                open_attempt(world, command);
                return;
        case COMMAND_CALL:
                provider_call(world, command);
                return;
        case COMMAND_END:
                add_intent(world, INTENT_END, command);
                return;
        case COMMAND_NOTE:
                note_attempt(world, command);
                return;
        case COMMAND_SETTLE:
                money_settled(world, command);
                add_intent(world, INTENT_SETTLE, command);
                return;
        case COMMAND_FORGET:
                world->line_settled[command->job->sequence] = true;
                job_spec_free(command->job);
                return;
        }
}

static void take_step(struct world *world) {
        world->commands.count = 0;
        /* sometimes hardly any room: the engine must go on where it stopped */
        world->commands.capacity =
                chance(world, 10) ? 2 * world->events_count + 2 + prng_below(&world->prng, 4) : COMMANDS_MAX;
        engine_step(world->engine, world_time(world), world->events, world->events_count, &world->commands);
        for (size_t i = 0; i < world->commands.count && !broken(world); i++)
                carry_out(world, &world->commands.items[i]);
}

static void turn(struct world *world) {
        world->turns++;
        reload_now_and_then(world);
        world->events_count = 0;
        gather_completions(world);
        provider_gather(world);
        gather_look_ups(world);
        gather_lines(world);
        take_step(world);
        disk_submit(world);
        money_check(world);
        if (world->held != world->disk.full) {
                world->held = world->disk.full;
                engine_hold(world->engine, world->held);
        }
}

static int64_t next_ns(struct world *world) {
        int64_t next = engine_wake_ns(world->engine);
        int64_t disk = disk_wake_ns(world), provider = provider_wake_ns(world);
        next = disk < next ? disk : next;
        next = provider < next ? provider : next;
        bool reads = world->read < world->lines_count && !world->drained &&
                     engine_room(world->engine) > LINES_A_TURN;
        if (world->look_ups_count > 0 || reads || next < world->now_ns)
                return world->now_ns;
        return next == INT64_MAX && world->late_count > 0 ? world->now_ns + NS_PER_S : next;
}

static void pass_time(struct world *world, uint32_t *idle) {
        int64_t next = next_ns(world);
        bool stays = next == world->now_ns;
        if (next == INT64_MAX) {
                judge_broken(world, "%u jobs are inside and nothing will ever happen",
                             engine_stats(world->engine)->inside);
                return;
        }
        if (chance(world, 70) || !stays)
                world->now_ns = stays ? world->now_ns + between(world, 1, 50) * NS_PER_US : next;
        *idle = stays ? *idle + 1 : 0;
        if (*idle > IDLE_TURNS_MAX && world->calls_count == world->calls_open_first)
                judge_broken(world, "the loop spins without time passing");
        if (world->turns > TURNS_MAX)
                judge_broken(world, "too many turns");
        if (world->now_ns > world->faults_end_ns + world->liveness_ns)
                judge_broken(world, "not finished long after the last fault");
        if (world->jump_ns > 0 && world->now_ns >= world->jump_ns) {
                world->jump_ns = 0;
                world->jumped = true;
                world->wall_offset_ms += between(world, -60, 120) * 1000;
        }
}

static bool quiet(const struct world *world) {
        return engine_quiet(world->engine) && world->look_ups_count == 0 && disk_idle(world);
}

/* Only a long pause keeps the jobs: the process says so and ends; somebody acts and starts it again. */
static bool stuck(struct world *world) {
        uint32_t endpoint = UINT32_MAX;
        if (!quiet(world) || !engine_stuck(world->engine, world_time(world), 60 * NS_PER_S, &endpoint))
                return false;
        if (endpoint >= world->catalog.endpoints_count)
                judge_broken(world, "stuck at no endpoint");
        return true;
}

static enum end live(struct world *world) {
        uint32_t idle = 0;
        for (;;) {
                if (disk_work(world) || world_dies(world))
                        return END_CRASHED;
                if (!world->drained && world->crashes_left > 0 && prng_below(&world->prng, 2000) == 0) {
                        world->crashes_left--;
                        world->drained = true;
                        world->drains++;
                        engine_drain(world->engine);
                }
                turn(world);
                if (broken(world))
                        return END_BROKEN;
                if (world->drained && quiet(world))
                        return END_DRAINED;
                if (quiet(world) && engine_empty(world->engine) && world->read == world->lines_count)
                        return END_DONE;
                if (stuck(world))
                        return END_STUCK;
                pass_time(world, &idle);
                if (broken(world))
                        return END_BROKEN;
        }
}

static void free_job(void *userdata, struct job_spec *job) {
        (void)userdata;
        job_spec_free(job);
}

static void begin_life(struct world *world) {
        while (!disk_recover(world))
                world->life++;
        world->life++;
        world->held = world->drained = false;
        world->read = world->disk.mark;
        world->look_ups_count = world->intents_count = 0;
        memset(world->line_settled, 0, sizeof(world->line_settled));
        memset(world->slot_attempts, 0, sizeof(world->slot_attempts));
        world->steps = world->crash_at = 0;
        if (world->crashes_left > 0) {
                world->crashes_left--;
                world->crash_at = (uint32_t)between(world, 1, chance(world, 50) ? 60 : 3000);
        }
        if (world->now_ns >= world->faults_end_ns)
                world->crash_at = 0;
        world->engine = engine_new(reload_begin(world), &world->config, world_time(world));
        money_load(world);
        given_load(world);
}

/* The process ends: by a crash, or in good order, which leaves the last mark. */
static void end_life(struct world *world, enum end end) {
        if (end == END_CRASHED) {
                world->crashes++;
                disk_crash(world);
                provider_crash(world);
        } else {
                disk_finish(world);
        }
        if (end == END_DONE)
                money_check_end(world);
        for (uint32_t i = 0; end != END_DONE && i < world->facts_count; i++)
                world->facts[i].crashes_since++;
        engine_each_job(world->engine, free_job, NULL);
        world->engine = engine_free(world->engine);
        world->late_count = 0;
        world->now_ns += between(world, 0, 2000) * NS_PER_MS;
}

static bool make(struct world *world) {
        world->facts = calloc(KEYS_MAX, sizeof(*world->facts));
        world->calls = calloc(CALLS_MAX, sizeof(*world->calls));
        world->events = calloc(EVENTS_MAX, sizeof(*world->events));
        world->answers = calloc(EVENTS_MAX, sizeof(*world->answers));
        world->commands.items = calloc(COMMANDS_MAX, sizeof(*world->commands.items));
        world->intents = calloc(INTENTS_MAX, sizeof(*world->intents));
        disk_init(&world->disk);
        struct job_decoder_options options = {.batch = "sim", .job_bytes_max = 4096};
        return map_init(&world->keys, KEYS_MAX) && !job_decoder_new(&options, &world->decoder);
}

static void run_file(struct world *world) {
        judge_file(world);
        enum end end = END_CRASHED;
        while (end != END_DONE && !broken(world)) {
                begin_life(world);
                end = live(world);
                end_life(world, end);
        }
        if (!broken(world))
                judge_end_of_file(world);
}

bool world_run(uint64_t seed, enum plant plant, struct world *out_world) {
        struct world *world = out_world;
        memset(world, 0, sizeof(*world));
        world->seed = seed;
        world->plant = plant;
        world->hash = UINT64_C(14695981039346656037);
        prng_init(&world->prng, seed);
        if (!make(world)) {
                judge_broken(world, "no memory");
                return false;
        }
        scenario_make(world);
        money_init(world);
        run_file(world);
        if (!broken(world) && chance(world, 30)) {
                scenario_next_file(world);
                run_file(world);
        }
        if (!broken(world))
                judge_end(world);
        return !broken(world);
}

void world_deinit(struct world *world) {
        for (uint32_t i = 0; i < world->lines_count; i++)
                free(world->lines[i]);
        reload_deinit(world);
        disk_deinit(&world->disk);
        map_deinit(&world->keys);
        job_decoder_free(world->decoder);
        free(world->facts);
        free(world->calls);
        free(world->events);
        free(world->answers);
        free(world->commands.items);
        free(world->intents);
}
