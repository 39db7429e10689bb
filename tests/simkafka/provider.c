/*
 * Calls and what comes of them. A process that dies hears nothing of its calls any more; one that is stopped
 * hears when it goes on.
 */
#include "world.h"

#include <string.h>

static enum verdict choose(struct world *world) {
        static const enum verdict faults[] = {
                VERDICT_REJECTED, VERDICT_RETRY,    VERDICT_RETRY,   VERDICT_THROTTLED,
                VERDICT_NOT_SENT, VERDICT_UNUSABLE, VERDICT_UNKNOWN, VERDICT_UNKNOWN,
        };
        if (!faulty(world) || !chance(world, world->faults_percent))
                return VERDICT_OK;
        return faults[prng_below(&world->prng, sizeof(faults) / sizeof(*faults))];
}

static void lose_parked_row(struct world *world, struct process *process, const struct job_spec *job) {
        uint32_t fact = judge_fact(world, job->key);
        const struct row *row = &process->disk->live.rows[fact];
        if (world->plant != PLANT_PARKED_GONE_EARLY || !row->parked)
                return;
        struct intent intent = {.kind = INTENT_ITEM,
                                .item = {.kind = ITEM_DELETE,
                                         .partition = job->partition,
                                         .epoch = process->parts[job->partition].epoch,
                                         .mark = process->parts[job->partition].window.mark,
                                         .offset = job->sequence,
                                         .fact = fact}};
        committer_add(world, process, &intent);
}

void provider_call(struct world *world, struct process *process, const struct command *command) {
        if (world->calls_count == CALLS_MAX) {
                judge_broken(world, "more calls than any run needs");
                return;
        }
        const struct job_spec *job = command->job;
        struct call *call = &world->calls[world->calls_count++];
        *call = (struct call){.handle = command->handle,
                              .process = process->slot,
                              .incarnation = process->incarnation,
                              .fact = judge_fact(world, job->key),
                              .partition = job->partition,
                              .offset = job->sequence,
                              .start_ns = world->now_ns,
                              .open = true};
        memcpy(&call->print, job->fingerprint, sizeof(call->print));
        answer_init(&call->answer);
        call->answer.verdict = choose(world);
        call->answer.status = call->answer.verdict == VERDICT_OK ? 200 : 500;
        if (call->answer.verdict == VERDICT_UNKNOWN || call->answer.verdict == VERDICT_NOT_SENT)
                call->answer.status = 0;
        int64_t latency_ns = between(world, 1, chance(world, world->slow_percent) ? 15000 : 600) * NS_PER_MS;
        world->unknown_calls += call->answer.verdict == VERDICT_UNUSABLE ||
                                call->answer.verdict == VERDICT_UNKNOWN || latency_ns >= command->timeout_ns;
        if (latency_ns >= command->timeout_ns) {
                latency_ns = command->timeout_ns;
                answer_init(&call->answer);
                call->answer.verdict = VERDICT_UNKNOWN;
        }
        call->answer.latency_ns = latency_ns;
        call->end_ns = world->now_ns + latency_ns;
        process->calls++;
        world->counts.calls++;
        world_note(world, process->slot, "call (partition, offset, attempt)", job->partition, job->sequence,
                   process->disk->live.rows[call->fact].attempt);
        judge_call(world, process, command, call);
        money_call(world, process, command, call);
        lose_parked_row(world, process, job);
}

static bool is_of(const struct call *call, const struct process *process) {
        return call->open && call->process == process->slot;
}

bool provider_calls(const struct world *world, const struct process *process, uint32_t partition) {
        for (uint32_t i = world->calls_first; i < world->calls_count && process->calls > 0; i++)
                if (is_of(&world->calls[i], process) && world->calls[i].partition == partition)
                        return true;
        return false;
}

void provider_gather(struct world *world, struct process *process) {
        for (uint32_t i = world->calls_first; i < world->calls_count && process->calls > 0; i++) {
                struct call *call = &world->calls[i];
                if (!is_of(call, process) || call->end_ns > world->now_ns ||
                    world->events_count > EVENTS_MAX / 2)
                        continue;
                call->open = false;
                process->calls--;
                judge_answered(world, process, call);
                bool again = process_current(process, call->partition, call->offset);
                if (!again && world->plant != PLANT_ORPHANS_GO_ON)
                        process->sweep = true;
                world_note(world, process->slot, "answer (partition, offset, verdict)", call->partition,
                           call->offset, call->answer.verdict);
                struct answer *answer = &world->events_answers[world->events_count];
                *answer = call->answer;
                world->events[world->events_count++] =
                        (struct event){.kind = EVENT_ANSWER, .handle = call->handle, .answer = answer};
        }
        while (world->calls_first < world->calls_count && !world->calls[world->calls_first].open)
                world->calls_first++;
}

int64_t provider_wake_ns(const struct world *world, const struct process *process) {
        int64_t wake_ns = INT64_MAX;
        if (process->calls == 0)
                return wake_ns;
        for (uint32_t i = world->calls_first; i < world->calls_count; i++)
                if (is_of(&world->calls[i], process) && world->calls[i].end_ns < wake_ns)
                        wake_ns = world->calls[i].end_ns;
        return wake_ns;
}

void provider_crash(struct world *world, struct process *process) {
        for (uint32_t i = world->calls_first; i < world->calls_count; i++) {
                struct call *call = &world->calls[i];
                if (!is_of(call, process))
                        continue;
                call->open = false;
                world->facts[call->fact].calling[process->slot]--;
        }
        process->calls = 0;
}
