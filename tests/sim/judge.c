/*
 * The promises, checked by one who sees everything. Nothing here is shared with the engine but the catalog,
 * the decoded jobs and route_check(), of which the rules are checked once more by compliance.h.
 */
#include "tests/sim/compliance.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_NS (60 * NS_PER_S)

void judge_broken(struct world *world, const char *format, ...) {
        if (world->violation[0])
                return;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(world->violation, sizeof(world->violation), format, arguments);
        va_end(arguments);
        if (getenv("SIM_SEED") && world->engine) {
                struct buffer trace;
                buffer_init(&trace, 1 << 20);
                engine_trace(world->engine, &trace);
                fwrite(trace.data, 1, trace.size, stderr);
                buffer_deinit(&trace);
        }
}

void judge_note(struct world *world, uint64_t value) {
        world->hash = (world->hash ^ value ^ (uint64_t)world->now_ns) * UINT64_C(1099511628211);
        world->hash ^= world->hash >> 29;
}

uint32_t judge_fact(struct world *world, struct key128 key) {
        uint32_t index;
        if (map_get(&world->keys, key, &index))
                return index;
        index = world->facts_count;
        if (index == KEYS_MAX) {
                judge_broken(world, "more keys than lines can make");
                return 0;
        }
        world->facts[world->facts_count++] = (struct fact){.key = key};
        map_put(&world->keys, key, index);
        return index;
}

/*
 * The first line with a key owns it; another body under that key is one conflict. What an earlier input
 * settled stays settled.
 */
void judge_file(struct world *world) {
        memset(world->line_settled, 0, sizeof(world->line_settled));
        for (uint32_t i = 0; i < world->lines_count; i++) {
                struct job_spec *job = job_decode(world->decoder, bytes_of(world->lines[i]), i + 1, i, false);
                struct fact *fact = &world->facts[judge_fact(world, job->key)];
                if (!fact->owned) {
                        memcpy(fact->fingerprint, job->fingerprint, sizeof(fact->fingerprint));
                        fact->owned = fact->expected = true;
                        fact->is_bad = job->failure != FAILURE_NONE;
                        fact->must_not_repeat = job->unknown == UNKNOWN_FAIL;
                } else if (memcmp(fact->fingerprint, job->fingerprint, sizeof(fact->fingerprint)) != 0) {
                        struct fact *alias = &world->facts[judge_fact(world, job->alias)];
                        alias->expected = alias->is_alias = true;
                }
                job_spec_free(job);
        }
}

void judge_open(struct world *world, const struct command *command) {
        const struct fact *fact = &world->facts[judge_fact(world, command->key)];
        if (world->held)
                judge_broken(world, "an attempt was opened while the disk is full");
        if (world->drained)
                judge_broken(world, "an attempt was opened while draining");
        if (fact->answered || fact->settled)
                judge_broken(world, "an attempt was opened for a job that has ended");
}

static void check_durable(struct world *world, const struct command *command, const struct fact *fact) {
        uint32_t row = world->slot_attempts[command->handle.slot];
        const struct attempt *attempt = row > 0 ? &world->disk.attempts[row - 1] : NULL;
        if (!attempt || !attempt->durable || !attempt->live || !key128_equal(attempt->row.key, fact->key))
                judge_broken(world, "a call was made whose attempt is not durable");
}

/* By the rules as the line says them, whatever the engine was told. */
static void check_compliance(struct world *world, const struct command *command) {
        const struct endpoint *endpoint = &world->endpoints[command->endpoint];
        uint64_t line = command->job->sequence;
        struct job_spec *job =
                job_decode(world->decoder, bytes_of(world->lines[line]), line + 1, line, false);
        const char *rule =
                compliance_broken(&job->demand.prefs, &world->providers[endpoint->provider], endpoint);
        if (rule)
                judge_broken(world, "a call was made to %s, which %s of the job forbids", endpoint->name,
                             rule);
        job_spec_free(job);
}

static void check_place(struct world *world, const struct command *command, struct fact *fact) {
        const struct demand *demand = &command->job->demand;
        const struct endpoint *endpoint = &world->endpoints[command->endpoint];
        check_compliance(world, command);
        if (route_check(&world->catalog, demand, command->endpoint, world_time(world).now_unix_ms) !=
            EXCLUSION_NONE)
                judge_broken(world, "a call was made against the rules, to %s", endpoint->name);
        if (world->reloads.in_force->endpoints[command->endpoint].kinds == 0)
                judge_broken(world, "a call was made to %s, which is gone", endpoint->name);
        struct bytes model = demand->models[command->model];
        if (endpoint->model[0] != '*' && !bytes_equal_string(model, endpoint->model))
                judge_broken(world, "a call for another model than %s", endpoint->name);
        if (demand->prefs.allow_fallbacks || demand->prefs.order.count > 0)
                return;
        uint32_t name = command->endpoint + 1 + world->life * 64;
        if (fact->pinned / 64 == name / 64 && fact->pinned != name)
                judge_broken(world, "a fallback was used though allow_fallbacks is false");
        fact->pinned = name;
}

static void check_concurrency(struct world *world, const struct call *call) {
        const struct endpoint *endpoint = &world->endpoints[call->endpoint];
        int64_t own = 0, shared = 0, of_workspace = 0;
        for (uint32_t i = world->calls_open_first; i < world->calls_count; i++) {
                const struct call *other = &world->calls[i];
                own += other->open && other->endpoint == call->endpoint;
                of_workspace += other->open && other->workspace == call->workspace;
                shared += other->open && world->endpoints[other->endpoint].provider == endpoint->provider;
        }
        int64_t own_max = endpoint->limits.concurrency;
        int64_t workspace_max = world->workspaces[call->workspace].limits.concurrency;
        if (workspace_max > 0 && of_workspace > workspace_max)
                judge_broken(world, "too many calls at a time of a workspace: %lld of %lld",
                             (long long)of_workspace, (long long)workspace_max);
        int64_t shared_max = world->providers[endpoint->provider].limits.concurrency;
        if ((own_max > 0 && own > own_max) || (shared_max > 0 && shared > shared_max) ||
            world->in_flight > world->config.in_flight_max)
                judge_broken(world, "too many calls at a time at %s: %lld of %lld, %lld of %lld",
                             endpoint->name, (long long)own, (long long)own_max, (long long)shared,
                             (long long)shared_max);
}

static void check_time(struct world *world, const struct job_spec *job) {
        int64_t wall_ms = world_time(world).now_unix_ms;
        struct job_spec *told = NULL;
        int64_t deadline_ms = job->deadline_unix_ms;
        if (world->plant == PLANT_NO_DEADLINE) {
                told = job_decode(world->decoder, bytes_of(world->lines[job->sequence]), job->sequence + 1,
                                  job->sequence, false);
                deadline_ms = told->deadline_unix_ms;
                job_spec_free(told);
        }
        if (deadline_ms > 0 && wall_ms >= deadline_ms + CLOCK_SLACK_MS)
                judge_broken(world, "a call started %lld ms after the deadline",
                             (long long)(wall_ms - deadline_ms));
        if (job->not_before_unix_ms > wall_ms + CLOCK_SLACK_MS &&
            world->wall_offset_ms >= world->wall_start_ms)
                judge_broken(world, "a call started %lld ms too early",
                             (long long)(job->not_before_unix_ms - wall_ms));
}

void judge_call(struct world *world, const struct command *command, struct call *call) {
        call->fact = judge_fact(world, command->job->key);
        struct fact *fact = &world->facts[call->fact];
        judge_note(world, fact->key.lo);
        check_durable(world, command, fact);
        check_place(world, command, fact);
        check_concurrency(world, call);
        check_time(world, command->job);
        if (fact->settled || fact->answered)
                judge_broken(world, "a call was made for a job whose result is durable");
        if (fact->in_flight++ > 0)
                judge_broken(world, "two calls at a time for one job");
        if (memcmp(fact->fingerprint, command->job->fingerprint, sizeof(fact->fingerprint)) != 0)
                judge_broken(world, "a call was made for a job in conflict");
        if (command->job->unknown == UNKNOWN_FAIL && fact->failed_unknown)
                judge_broken(world,
                             "a job that must not be repeated was called again after an unknown outcome");
        if (world->held || world->drained)
                judge_broken(world, "a call was made while held or draining");
        if (command->timeout_ns <= 0 || command->timeout_ns > world->config.call_timeout_ns)
                judge_broken(world, "a timeout of %lld ns", (long long)command->timeout_ns);
}

static bool counts_as_attempt(enum verdict verdict) {
        switch (verdict) {
        case VERDICT_THROTTLED:
        case VERDICT_OVERLOADED:
        case VERDICT_PAUSE:
        case VERDICT_AUTH:
        case VERDICT_INPUT:
        case VERDICT_INPUT_RETRY:
                return false;
        case VERDICT_OK:
        case VERDICT_REJECTED:
        case VERDICT_CONTENT_REFUSED:
        case VERDICT_OTHER_MODEL:
        case VERDICT_RETRY:
        case VERDICT_UNUSABLE:
        case VERDICT_NOT_SENT:
        case VERDICT_UNKNOWN:
                return true;
        }
        return true;
}

static void check_bounds(struct world *world, const struct call *call, const struct fact *fact) {
        /*
         * attempts that failed surely are forgotten by a drain: somebody who starts again wants them tried
         * again
         */
        uint32_t most = world->config.attempts_max * (1 + world->drains) + fact->crashes_in_flight;
        if (call->job->unknown == UNKNOWN_FAIL) /* its known failures are not journaled */
                most = world->config.attempts_max * (1 + fact->crashes_since + world->drains);
        if (fact->calls > most)
                judge_broken(world, "%u calls for one job; %u attempts, %u crashes under way", fact->calls,
                             world->config.attempts_max, fact->crashes_in_flight);
        int64_t max_picousd = call->job->demand.max_cost_picousd;
        bool forgets = call->job->unknown == UNKNOWN_FAIL && fact->crashes_since > 0;
        if (world->honest && !forgets && call->job->demand.output_tokens_max >= 0 &&
            fact->billed_picousd > max_picousd)
                judge_broken(world, "a job cost %lld of at most %lld picodollars",
                             (long long)fact->billed_picousd, (long long)max_picousd);
}

void judge_answered(struct world *world, const struct call *call) {
        struct fact *fact = &world->facts[call->fact];
        fact->in_flight--;
        fact->calls += counts_as_attempt(call->answer.verdict);
        fact->succeeded += call->answer.verdict == VERDICT_OK;
        if (call->answer.verdict == VERDICT_UNKNOWN)
                fact->failed_unknown = true;
        if (call->executed) {
                fact->billed_picousd += call->cost_picousd;
                money_billed(world, call);
        }
        check_bounds(world, call, fact);
}

void judge_line(struct world *world, const struct output_line *line) {
        struct fact *fact = &world->facts[judge_fact(world, line->key)];
        fact->answered = true;
        if (++fact->lines > 1)
                judge_broken(world, "two result lines for one job: %.*s", (int)line->size,
                             world->disk.text.data + line->offset);
        if (fact->in_flight > 0)
                judge_broken(world, "a result while the call is under way");
        bool conflict = line->failure == FAILURE_IDEMPOTENCY_CONFLICT;
        if (conflict != fact->is_alias || (fact->is_bad && line->failure == FAILURE_NONE))
                judge_broken(world, "a line that says %s for the wrong job: %.*s",
                             failure_text(line->failure), (int)line->size,
                             world->disk.text.data + line->offset);
        if (line->failure == FAILURE_NONE && fact->succeeded == 0)
                judge_broken(world, "a result though no call succeeded");
        judge_note(world, line->key.lo);
}

void judge_lost_line(struct world *world, const struct output_line *line) {
        const struct fact *fact = &world->facts[judge_fact(world, line->key)];
        if (fact->settled)
                judge_broken(world, "the store knows a result whose line was not durable");
}

void judge_end_of_file(struct world *world) {
        for (uint32_t i = 0; i < world->facts_count; i++) {
                const struct fact *fact = &world->facts[i];
                if (fact->expected != (fact->lines == 1))
                        judge_broken(world, "a job has %u result lines (%s)", fact->lines,
                                     !fact->expected  ? "not expected"
                                     : fact->is_alias ? "a conflict"
                                     : fact->is_bad   ? "a bad line"
                                                      : "a job");
                if (fact->expected && !fact->settled)
                        judge_broken(world, "a result line without a settled row");
        }
        for (uint32_t i = 0; i < world->disk.attempts_count; i++)
                if (world->disk.attempts[i].live && world->disk.attempts[i].durable)
                        judge_broken(world, "an attempt is open though all is done");
}

struct moment {
        int64_t at_ns, tokens;
};

/* Whatever window is looked at: no more than the limits. */
static void check_window(struct world *world, const struct moment *moments, uint32_t count, int64_t window_ns,
                         int64_t requests_max, int64_t tokens_max, const char *name) {
        int64_t tokens = 0;
        uint32_t first = 0;
        for (uint32_t i = 0; i < count; i++) {
                tokens += moments[i].tokens;
                while (moments[i].at_ns - moments[first].at_ns >= window_ns)
                        tokens -= moments[first++].tokens;
                if (requests_max > 0 && i - first + 1 > requests_max)
                        judge_broken(world, "%s: %u requests in %lld s of %lld", name, i - first + 1,
                                     (long long)(window_ns / NS_PER_S), (long long)requests_max);
                if (world->honest && tokens_max > 0 && tokens > tokens_max)
                        judge_broken(world, "%s: %lld tokens in %lld s of %lld", name, (long long)tokens,
                                     (long long)(window_ns / NS_PER_S), (long long)tokens_max);
        }
}

#define ALL_LIVES UINT32_MAX

enum whose { OF_PROVIDER, OF_ENDPOINT, OF_WORKSPACE };

static bool is_of(const struct world *world, const struct call *call, enum whose whose, uint32_t index) {
        if (whose == OF_PROVIDER)
                return world->endpoints[call->endpoint].provider == index;
        return (whose == OF_ENDPOINT ? call->endpoint : call->workspace) == index;
}

/* Of one life, or of all together (ALL_LIVES). */
static void check_limits(struct world *world, struct moment *moments, uint32_t life, enum whose whose,
                         uint32_t index) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < world->calls_count; i++) {
                const struct call *call = &world->calls[i];
                if ((call->life == life || life == ALL_LIVES) && is_of(world, call, whose, index))
                        moments[count++] = (struct moment){call->start_ns, call->tokens};
        }
        const struct limits_spec *limits = whose == OF_PROVIDER   ? &world->providers[index].limits
                                           : whose == OF_ENDPOINT ? &world->endpoints[index].limits
                                                                  : &world->workspaces[index].limits;
        const char *name = whose == OF_PROVIDER   ? world->providers[index].name
                           : whose == OF_ENDPOINT ? world->endpoints[index].name
                                                  : world->workspaces[index].name;
        /* what a minute has given is not known to the second by a clock that was set meanwhile */
        if (life != ALL_LIVES || !world->jumped)
                check_window(world, moments, count, MINUTE_NS, limits->requests_per_minute,
                             limits->tokens_per_minute, name);
        check_window(world, moments, count, 24 * 60 * MINUTE_NS, limits->requests_per_day,
                     limits->tokens_per_day, name);
}

static void check_life(struct world *world, struct moment *moments, uint32_t life) {
        for (uint32_t i = 0; i < world->catalog.providers_count; i++)
                check_limits(world, moments, life, OF_PROVIDER, i);
        for (uint32_t i = 0; i < world->catalog.endpoints_count; i++)
                check_limits(world, moments, life, OF_ENDPOINT, i);
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++)
                check_limits(world, moments, life, OF_WORKSPACE, i);
}

void judge_end(struct world *world) {
        struct moment *moments = calloc(world->calls_count + 1, sizeof(*moments));
        for (uint32_t life = 0; life <= world->life; life++)
                check_life(world, moments, life);
        check_life(world, moments, ALL_LIVES);
        free(moments);
}
