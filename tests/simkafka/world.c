/*
 * Time, and what goes wrong: processes are killed at some step, stopped past their session and continued,
 * lose their disk, and the group is shuffled, until the time of faults is over. Then all must finish.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS_MAX = 200000, TURNS_OF_DAYS_MAX = 2000000 };
#define LIVENESS_NS      (1800 * NS_PER_S)
#define LIVENESS_DAYS_NS (40 * 86400 * NS_PER_S)

void world_note(struct world *world, uint32_t process, const char *text, uint64_t a, uint64_t b, uint64_t c) {
        world->notes[world->notes_count++ % NOTES_MAX] = (struct note){
                .now_ns = world->now_ns, .text = text, .a = a, .b = b, .c = c, .process = process};
        uint64_t value = a << 40 ^ b << 20 ^ c ^ (uint64_t)process << 60;
        world->hash = (world->hash ^ value ^ (uint64_t)world->now_ns) * UINT64_C(1099511628211);
        world->hash ^= world->hash >> 29;
}

void world_print(const struct world *world, uint32_t notes_max) {
        uint64_t count = world->notes_count < NOTES_MAX ? world->notes_count : NOTES_MAX;
        count = count < notes_max ? count : notes_max;
        for (uint64_t i = world->notes_count - count; i < world->notes_count; i++) {
                const struct note *note = &world->notes[i % NOTES_MAX];
                fprintf(stderr, "%10.3f ms  process %u  %s: %llu %llu %llu\n",
                        (double)(note->now_ns - 5000 * NS_PER_S) / 1e6, note->process, note->text,
                        (unsigned long long)note->a, (unsigned long long)note->b,
                        (unsigned long long)note->c);
        }
}

static struct process *some_process(struct world *world) {
        return &world->processes[prng_below(&world->prng, world->processes_count)];
}

static void stop(struct world *world, struct process *process) {
        int64_t until_ns = in_ms(world, 10, 12000);
        world->counts.stops++;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct process *shard = &world->processes[i];
                if (shard->machine != process->machine || !shard->alive || shard->stopped_ns > 0)
                        continue;
                shard->stopped_ns = until_ns;
                group_silent(world, i, true);
                world_note(world, i, "fault: stopped", 0, 0, 0);
        }
}

/* All shards of it at once. */
static void crash(struct world *world, uint32_t machine) {
        int64_t back_ns = in_ms(world, 0, 6000);
        world->counts.crashes++;
        world->money_lost = true;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct process *shard = &world->processes[i];
                if (shard->machine != machine)
                        continue;
                if (shard->alive)
                        process_end(world, shard);
                shard->back_ns = back_ns;
        }
        disk_crash(world, machine);
        if (faulty(world) && chance(world, 25))
                disk_delete(world, machine);
}

static void fault(struct world *world) {
        if (world->faults_left == 0 || world->next_fault_ns > world->now_ns || !faulty(world))
                return;
        world->faults_left--;
        world->next_fault_ns = in_ms(world, 0, world->contested ? 1000 : 4000);
        struct process *process = some_process(world);
        if (world->contested && process->alive && prng_below(&world->contest_prng, 4) > 0) {
                group_leave(world, process->slot);
                return;
        }
        if (!process->alive || chance(world, 20)) {
                world_note(world, process->slot, "fault: shuffled", 0, 0, 0);
                group_shuffle(world);
        } else if (chance(world, world->crashes_percent)) {
                process->crash_at = process->steps + (uint32_t)between(world, 1, 60);
        } else if (chance(world, 50)) {
                stop(world, process);
        } else if (chance(world, 40)) {
                group_leave(world, process->slot); /* thrown out, and alive */
        } else if (chance(world, 40)) {
                partition_leave(world, process);
        } else if (chance(world, 40)) {
                cluster_usurp(world, process->slot);
        } else {
                world_note(world, process->slot, "fault: shuffled", 0, 0, 0);
                group_shuffle(world);
        }
}

static void come_back(struct world *world, struct process *process) {
        if (process->alive && process->stopped_ns > 0 &&
            (process->stopped_ns <= world->now_ns || !faulty(world))) {
                process->stopped_ns = 0;
                group_silent(world, process->slot, false);
                if (chance(world, 70))
                        group_hears_late(world, process->slot);
                world_note(world, process->slot, "goes on", 0, 0, 0);
        }
        if (process->alive || (process->back_ns > world->now_ns && faulty(world)))
                return;
        process_start(world, process);
}

static void run_process(struct world *world, struct process *process) {
        come_back(world, process);
        if (process->stopped_ns > 0 || !process->alive)
                return;
        if (process_wake_ns(world, process) > world->now_ns && !chance(world, 5))
                return;
        process_turn(world, process);
        world->turns++;
        if (process->left) {
                process_end(world, process);
                process->back_ns = in_ms(world, 0, 6000);
        } else if (process->dies) {
                crash(world, process->machine);
        }
}

static int64_t least(int64_t a, int64_t b) {
        return a < b ? a : b;
}

static int64_t next_ns(struct world *world) {
        int64_t next = least(cluster_wake_ns(world), group_wake_ns(world));
        if (world->produced < world->lines_count)
                next = least(next, world->produce_ns);
        if (faulty(world))
                next = least(next, world->faults_left > 0 ? world->next_fault_ns : world->faults_end_ns);
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct process *process = &world->processes[i];
                int64_t when_ns = !process->alive           ? process->back_ns
                                  : process->stopped_ns > 0 ? process->stopped_ns
                                                            : process_wake_ns(world, process);
                next = least(next, when_ns);
        }
        return next;
}

/* What is missing, for the trace. */
static void note_missing(struct world *world) {
        struct cluster *cluster = &world->cluster;
        for (uint32_t p = 0; p < cluster->partitions; p++)
                world_note(world, cluster->owner[p], "at the end: owner, partition, committed, log end", p,
                           cluster->committed[p], cluster->jobs[p].end);
        for (uint32_t i = 0; i < world->facts_count; i++)
                if (world->facts[i].expected && !world->facts[i].settled)
                        world_note(world, NOBODY, "at the end: not settled (key, kind, home)", i,
                                   world->facts[i].kind, world->facts[i].home);
        for (uint32_t i = 0; i < world->processes_count; i++) {
                const struct process *process = &world->processes[i];
                if (!process->alive)
                        continue;
                world_note(world, i, "at the end: jobs inside, items, step of the publisher",
                           engine_stats(process->engine)->inside, process->publisher.count,
                           process->publisher.step);
                for (uint32_t p = 0; p < cluster->partitions; p++)
                        if (process->parts[p].state != PART_NONE)
                                world_note(world, i, "at the end: partition, its state, its mark", p,
                                           process->parts[p].state, process->parts[p].window.mark);
        }
}

static void pass_time(struct world *world) {
        int64_t next = next_ns(world);
        if (next == INT64_MAX && judge_done(world))
                return;
        if (next == INT64_MAX)
                judge_broken(world, "nothing will ever happen, and not all is done");
        else if (next > world->now_ns)
                world->now_ns = next;
        else
                world->now_ns += between(world, 1, 300) * NS_PER_US;
        if (world->turns > (world->days ? TURNS_OF_DAYS_MAX : TURNS_MAX))
                judge_broken(world, "too many turns");
        if (world->now_ns > world->faults_end_ns + (world->days ? LIVENESS_DAYS_NS : LIVENESS_NS))
                judge_broken(world, "not finished %s after the last fault",
                             world->days ? "40 days" : "half an hour");
        if (broken(world))
                note_missing(world);
}

static void live(struct world *world) {
        while (!broken(world) && !judge_done(world)) {
                scenario_produce(world);
                fault(world);
                group_tick(world);
                cluster_tick(world);
                uint32_t first = (uint32_t)prng_below(&world->prng, world->processes_count);
                for (uint32_t i = 0; i < world->processes_count && !broken(world); i++)
                        run_process(world, &world->processes[(first + i) % world->processes_count]);
                if (!broken(world))
                        pass_time(world);
        }
}

static bool make_process(struct world *world, uint32_t slot) {
        struct process *process = &world->processes[slot];
        process->slot = slot;
        process->machine = slot / world->shards;
        process->disk = &world->disks[process->machine];
        bool good = true;
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                process->tracks[p] = calloc(LOG_MAX, sizeof(*process->tracks[p]));
                process->parts[p].window_made = window_init(&process->parts[p].window, world->span_max);
                good = good && process->tracks[p] && process->parts[p].window_made;
        }
        if (!process->disk->unsynced)
                process->disk->unsynced = calloc(WRITES_MAX, sizeof(*process->disk->unsynced));
        process->committer.pending = calloc(ITEMS_MAX, sizeof(*process->committer.pending));
        process->committer.working = calloc(ITEMS_MAX, sizeof(*process->committer.working));
        process->publisher.queue = calloc(ITEMS_MAX, sizeof(*process->publisher.queue));
        process->told = calloc(EVENTS_MAX, sizeof(*process->told));
        return good && process->disk->unsynced && process->committer.pending && process->committer.working &&
               process->publisher.queue && process->told;
}

static bool make(struct world *world) {
        world->cluster.txns = calloc(TXNS_MAX, sizeof(*world->cluster.txns));
        world->cluster.outputs = calloc(OUTPUTS_MAX, sizeof(*world->cluster.outputs));
        world->saids = calloc(SAIDS_MAX, sizeof(*world->saids));
        world->answers = calloc(ANSWERS_MAX, sizeof(*world->answers));
        world->calls = calloc(CALLS_MAX, sizeof(*world->calls));
        world->words = calloc(WORDS_MAX, sizeof(*world->words));
        world->events = calloc(EVENTS_MAX, sizeof(*world->events));
        world->events_answers = calloc(EVENTS_MAX, sizeof(*world->events_answers));
        world->commands.items = calloc(COMMANDS_MAX, sizeof(*world->commands.items));
        world->commands.capacity = COMMANDS_MAX;
        world->notes = calloc(NOTES_MAX, sizeof(*world->notes));
        return world->cluster.txns && world->cluster.outputs && world->saids && world->answers &&
               world->calls && world->events && world->events_answers && world->commands.items &&
               world->notes && world->words && map_init(&world->keys, FACTS_MAX);
}

bool world_run(uint64_t seed, enum plant plant, struct world *out_world) {
        struct world *world = out_world;
        memset(world, 0, sizeof(*world));
        world->seed = seed;
        world->plant = plant;
        world->hash = UINT64_C(14695981039346656037);
        prng_init(&world->prng, seed);
        bool made = make(world);
        if (made)
                scenario_make(world);
        for (uint32_t i = 0; made && i < world->processes_count; i++)
                made = make_process(world, i);
        if (!made) {
                judge_broken(world, "no memory");
                return false;
        }
        cluster_init(world);
        for (uint32_t i = 0; i < world->processes_count; i++)
                process_start(world, &world->processes[i]);
        live(world);
        if (!broken(world))
                judge_end(world);
        if (world->calm && world->counts.cut_off == 0 && world->counts.repeated > 0)
                judge_broken(world, "answered calls were repeated though nothing had died or gone");
        return !broken(world);
}

static void free_job(void *userdata, struct job_spec *job) {
        (void)userdata;
        job_spec_free(job);
}

void world_deinit(struct world *world) {
        for (uint32_t i = 0; i < world->lines_count; i++)
                free(world->lines[i].text);
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct process *process = &world->processes[i];
                if (process->engine) {
                        engine_each_job(process->engine, free_job, NULL);
                        process->engine = engine_free(process->engine);
                }
                for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                        free(process->tracks[p]);
                        if (process->parts[p].window_made)
                                window_deinit(&process->parts[p].window);
                }
                free(process->committer.pending);
                free(process->committer.working);
                free(process->publisher.queue);
                free(process->told);
                process_drop_again(process);
        }
        for (uint32_t i = 0; i < PROCESSES_MAX; i++)
                free(world->disks[i].unsynced);
        map_deinit(&world->keys);
        job_decoder_free(world->decoder);
        free(world->cluster.txns);
        free(world->cluster.outputs);
        parts_deinit(world);
        free(world->answers);
        free(world->calls);
        free(world->words);
        free(world->events);
        free(world->events_answers);
        free(world->commands.items);
        free(world->notes);
}
