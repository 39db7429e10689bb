/*
 * Providers: what comes of a call is decided when it starts. In some seeds they lie about what they used; in
 * all of them they may throttle, fail, time out (executed or not), refuse, or ask for a pause, until the time
 * of faults is over.
 */
#include "world.h"

#include <stdio.h>
#include <string.h>

static int64_t some_wait(struct world *world) {
        return chance(world, 50) ? -1 : between(world, 0, 3000) * NS_PER_MS;
}

static void use(struct world *world, const struct call *call, struct answer *answer) {
        const struct demand *demand = &call->job->demand;
        answer->usage.input_tokens = demand->input_tokens * 6 / 10;
        answer->usage.output_tokens =
                demand->output_tokens_max > 0 ? between(world, 0, demand->output_tokens_max) : 0;
        answer->usage.images = demand->images;
        prices_use(world, demand, &answer->usage);
}

static void lie(struct world *world, struct answer *answer) {
        static const int64_t lies[] = {0, -1, -7, 1, 100000, INT64_MAX, INT64_MIN};
        answer->usage.input_tokens = lies[prng_below(&world->prng, 7)];
        answer->usage.output_tokens = lies[prng_below(&world->prng, 7)];
        answer->usage.cached_input_tokens = lies[prng_below(&world->prng, 7)];
        if (chance(world, 10))
                answer->wait_ns = INT64_MAX;
        if (chance(world, 20))
                answer->tokens_blocked_ns = between(world, 0, 5000) * NS_PER_MS;
}

static enum verdict choose(struct world *world) {
        static const enum verdict faults[] = {
                VERDICT_REJECTED,    VERDICT_CONTENT_REFUSED, VERDICT_OTHER_MODEL, VERDICT_RETRY,
                VERDICT_RETRY,       VERDICT_RETRY,           VERDICT_UNUSABLE,    VERDICT_THROTTLED,
                VERDICT_THROTTLED,   VERDICT_OVERLOADED,      VERDICT_PAUSE,       VERDICT_AUTH,
                VERDICT_NOT_SENT,    VERDICT_UNKNOWN,         VERDICT_UNKNOWN,     VERDICT_INPUT,
                VERDICT_INPUT_RETRY,
        };
        if (world->now_ns >= world->faults_end_ns || !chance(world, world->faults_percent))
                return VERDICT_OK;
        if (world->costly && chance(world, 80))
                return VERDICT_UNKNOWN;
        return faults[prng_below(&world->prng, sizeof(faults) / sizeof(*faults))];
}

static void decide(struct world *world, struct call *call) {
        struct answer *answer = &call->answer;
        answer_init(answer);
        answer->verdict = choose(world);
        call->executed = answer->verdict == VERDICT_OK || answer->verdict == VERDICT_UNUSABLE ||
                         (answer->verdict == VERDICT_UNKNOWN && chance(world, world->costly ? 90 : 50));
        answer->status = answer->verdict == VERDICT_OK || answer->verdict == VERDICT_UNUSABLE ? 200 : 500;
        if (answer->verdict == VERDICT_UNKNOWN || answer->verdict == VERDICT_NOT_SENT)
                answer->status = 0;
        if (answer->verdict != VERDICT_OK)
                answer->wait_ns = some_wait(world);
        if (answer->verdict == VERDICT_PAUSE || answer->verdict == VERDICT_AUTH)
                answer->wait_ns = chance(world, 10) ? -1 : between(world, 1, 100) * NS_PER_S;
        struct answer truth = *answer;
        use(world, call, &truth);
        call->used = truth.usage;
        windows_bill(world, call, world->now_ns);
        call->tokens = truth.usage.input_tokens + truth.usage.output_tokens;
        if (world->plant == PLANT_NO_RESERVATION) {
                answer->cost_known = call->executed;
                answer->cost_picousd = call->cost_picousd;
        }
        if (answer->verdict == VERDICT_OK)
                answer->usage = truth.usage;
        if (!world->honest && chance(world, 30))
                lie(world, answer);
}

void provider_call(struct world *world, const struct command *command) {
        if (world->calls_count == CALLS_MAX) {
                judge_broken(world, "more calls than any run needs");
                return;
        }
        struct call *call = &world->calls[world->calls_count++];
        *call = (struct call){.handle = command->handle,
                              .job = command->job,
                              .endpoint = command->endpoint,
                              .life = world->life,
                              .workspace = scenario_workspace(world, command->job),
                              .start_ns = world->now_ns,
                              .asked = prices_asked(world, command->endpoint),
                              .day = world->slot_days[command->handle.slot],
                              .open = true};
        decide(world, call);
        int64_t latency_ns = between(world, 1, chance(world, 10) ? 20000 : 800) * NS_PER_MS;
        if (latency_ns >= command->timeout_ns) {
                latency_ns = command->timeout_ns;
                if (call->executed || chance(world, 50))
                        call->executed = true;
                answer_init(&call->answer);
                call->answer.verdict = VERDICT_UNKNOWN;
        }
        call->answer.latency_ns = latency_ns;
        call->end_ns = world->now_ns + latency_ns;
        world->in_flight++;
        world->calls_total++;
        world->slot_calls[command->handle.slot] = world->calls_count;
        judge_call(world, command, call);
}

/* The same answer once more, under the handle that it had, in a later turn. */
static void repeat_later(struct world *world, const struct call *call) {
        if (world->late_count == LATE_MAX || !chance(world, 5))
                return;
        world->late_answers[world->late_count] = call->answer;
        world->late[world->late_count++] = (struct event){.kind = EVENT_ANSWER, .handle = call->handle};
}

static void give(struct world *world, struct handle handle, const struct answer *answer) {
        if (world->events_count == EVENTS_MAX)
                return;
        struct answer *copy = &world->answers[world->events_count];
        *copy = *answer;
        world->events[world->events_count++] =
                (struct event){.kind = EVENT_ANSWER, .handle = handle, .answer = copy};
}

/*
 * The mistake that generations are there against: the handle names the slot, and the answer counts for
 * whoever is there.
 */
static void mistake(const struct world *world, struct event *late) {
        uint32_t present = world->slot_calls[late->handle.slot];
        if (late->kind == EVENT_ANSWER && present > 0)
                late->handle = world->calls[present - 1].handle;
}

static bool waits_for_a_call(const struct world *world, const struct event *late) {
        uint32_t present = world->slot_calls[late->handle.slot];
        return world->plant == PLANT_FRESH_LATE && (present == 0 || !world->calls[present - 1].open);
}

static void give_late(struct world *world) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < world->late_count; i++) {
                struct event late = world->late[i];
                if (!chance(world, 30) || waits_for_a_call(world, &late)) {
                        world->late_answers[kept] = world->late_answers[i];
                        world->late[kept++] = late;
                        continue;
                }
                if (world->plant == PLANT_FRESH_LATE)
                        mistake(world, &late);
                if (late.kind == EVENT_ANSWER)
                        give(world, late.handle, &world->late_answers[i]);
                else if (world->events_count < EVENTS_MAX)
                        world->events[world->events_count++] = late;
        }
        world->late_count = kept;
}

void provider_gather(struct world *world) {
        for (uint32_t i = world->calls_open_first; i < world->calls_count; i++) {
                struct call *call = &world->calls[i];
                if (!call->open || call->end_ns > world->now_ns || world->events_count > EVENTS_MAX / 4)
                        continue;
                call->open = false;
                world->in_flight--;
                windows_bill(world, call, world->now_ns);
                judge_answered(world, call);
                give(world, call->handle, &call->answer);
                if (chance(world, 3))
                        give(world, call->handle, &call->answer); /* twice in one turn */
                repeat_later(world, call);
        }
        while (world->calls_open_first < world->calls_count && !world->calls[world->calls_open_first].open)
                world->calls_open_first++;
        give_late(world);
}

int64_t provider_wake_ns(const struct world *world) {
        int64_t wake_ns = INT64_MAX;
        for (uint32_t i = world->calls_open_first; i < world->calls_count; i++)
                if (world->calls[i].open && world->calls[i].end_ns < wake_ns)
                        wake_ns = world->calls[i].end_ns;
        return wake_ns;
}

void provider_crash(struct world *world) {
        for (uint32_t i = world->calls_open_first; i < world->calls_count; i++) {
                struct call *call = &world->calls[i];
                if (!call->open)
                        continue;
                struct fact *fact = &world->facts[call->fact];
                call->open = false;
                call->answer.verdict = VERDICT_UNKNOWN;
                if (call->end_ns > world->now_ns)
                        call->end_ns = world->now_ns;
                windows_bill(world, call, call->end_ns);
                fact->in_flight--;
                fact->crashes_in_flight++;
                fact->failed_unknown = true;
                if (call->executed) {
                        fact->billed_picousd += call->cost_picousd;
                        money_billed(world, call);
                }
        }
        world->calls_open_first = world->calls_count;
        world->in_flight = 0;
        world->late_count = 0;
        memset(world->slot_calls, 0, sizeof(world->slot_calls));
}
