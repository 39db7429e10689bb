#include "broker/core/conclude.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/money.h"
#include "broker/core/classes.h"
#include "broker/core/order.h"
#include "broker/core/quotas.h"
#include "broker/core/spend.h"

static void copy_message(char *out, const char *text) {
        size_t size = 0;
        while (text[size] && size < ANSWER_MESSAGE_MAX - 1)
                size++;
        memcpy(out, text, size);
        out[size] = '\0';
}

void conclude_say(struct job *job, const char *sentence) {
        copy_message(job->outcome.message, sentence);
}

static const char *explain(enum failure failure) {
        static const char *const texts[FAILURES_COUNT] = {
                [FAILURE_NO_PROVIDER] = "no configured provider serves this model at this url",
                [FAILURE_EXCLUDED_BY_POLICY] = "the rules exclude every provider; see receipt.decision",
                [FAILURE_BUDGET_EXCEEDED] =
                        "no budget of its workspace, or of a provider, covers the most that "
                        "it may cost",
                [FAILURE_MAX_COST_EXCEEDED] = "no provider can do it within max_cost_usd or max_price",
                [FAILURE_DEADLINE_EXCEEDED] = "the deadline passed before it could be finished",
                [FAILURE_ATTEMPTS_EXHAUSTED] = "every attempt failed",
                [FAILURE_UNKNOWN_OUTCOME] = "a call may have been answered and billed, so it was not "
                                            "repeated (on_unknown_outcome: fail)",
                [FAILURE_IDEMPOTENCY_CONFLICT] =
                        "another job with this idempotency key and another body came first",
                [FAILURE_INPUT_TOO_LARGE] =
                        "larger than the context or a limit of every model that could do it",
                [FAILURE_INTERNAL] = "internal error",
        };
        return texts[failure] ? texts[failure] : "";
}

/*
 * By whose prices the call was decided on and reserved for. Another catalog may have come since; those before
 * it stay.
 */
static const struct endpoint *priced_endpoint(const struct job *job) {
        return &job->outcome.decision.catalog->endpoints[job->endpoint];
}

/*
 * Whether usage can be true. A call is reserved with the most that it can cost by what it shows; what it only
 * refers to (a file, an earlier answer) adds at most a context full of input. Far beyond both the provider is
 * wrong about what it did (reliability_performance.md, F32: clamp to the reserved bound, flag). Where no
 * bound is known, everything is believed.
 */
static bool usage_believed(const struct job *job, int64_t cost_picousd) {
        const struct endpoint *endpoint = priced_endpoint(job);
        int64_t context = endpoint->context > 0 ? endpoint->context : CONTEXT_BELIEVED;
        const struct demand *demand = job_demand(job);
        int64_t ceiling, whole;
        if (!cost_ceiling_until(endpoint, demand, job->call_unix_ms, job->call_until_unix_ms,
                                demand->input_tokens, &ceiling) ||
            !cost_ceiling_until(endpoint, demand, job->call_unix_ms, job->call_until_unix_ms, context,
                                &whole))
                return true;
        return cost_picousd <= whole ||
               cost_picousd / USAGE_BELIEVED_TIMES <= max64(ceiling, job->exposure_picousd);
}

/*
 * A call costs what is asked when its answer comes; never what is asked before it began or after it must have
 * ended, wherever the clock is set: its reservation covers the dearest price in between.
 */
static int64_t priced_unix_ms(const struct engine *engine, const struct job *job) {
        return max64(job->call_unix_ms, min64(engine->time.now_unix_ms, job->call_until_unix_ms));
}

/* Parses nothing, computes the sum: what this job has cost so far. */
static void total_cost(struct engine *engine, struct job *job, const struct answer *answer) {
        struct outcome *outcome = &job->outcome;
        struct price scratch;
        int64_t input_tokens = usage_input_tokens(&answer->usage);
        const struct price *price =
                price_at(priced_endpoint(job), usage_service(&answer->usage, job_demand(job)),
                         priced_unix_ms(engine, job),
                         input_tokens < 0 ? job_demand(job)->input_tokens : input_tokens, &scratch);
        int64_t cost = 0, list_cost = 0;
        bool list_known = cost_of_usage(price, job_demand(job)->kind, &answer->usage, &list_cost);
        if (list_known && !usage_believed(job, list_cost)) {
                usage_init(&outcome->usage);
                list_known = false;
        }
        outcome->list_cost_known = list_known;
        outcome->list_cost_picousd = list_known ? list_cost : 0;
        bool known = true;
        if (answer->cost_known) {
                cost = answer->cost_picousd;
        } else if (outcome->list_cost_known) {
                cost = outcome->list_cost_picousd;
        } else {
                known = job->exposure_picousd != SPEND_UNKNOWN;
                cost = known ? job->exposure_picousd : 0;
                outcome->cost_is_estimate = known;
        }
        spend_settle(engine, job, cost);
        outcome->cost_known = known && !job->spent_unknown;
        outcome->cost_picousd = money_add(cost, job->spent_picousd);
}

static void count_answer(struct engine *engine, const struct job *job, const struct answer *answer) {
        struct endpoint_stats *stats = &engine->endpoints[job->endpoint].stats;
        stats->last_verdict = answer->verdict;
        if (answer->verdict == VERDICT_OK)
                stats->succeeded++;
        else if (answer->verdict == VERDICT_THROTTLED || answer->verdict == VERDICT_OVERLOADED)
                stats->throttled++;
        else if (answer->verdict == VERDICT_UNKNOWN)
                stats->unknown++;
        else
                stats->failed++;
        if (answer->verdict != VERDICT_OK)
                copy_message(stats->last_error, answer->message);
}

static void settle(struct engine *engine, struct job *job, enum failure failure) {
        spend_release(engine, job); /* if nothing was said of it: it cost nothing */
        job->reserved.journaled = false;
        engine_move(engine, job, JOB_SETTLING);
        engine_arm(engine, job);
        job->outcome.failure = failure;
        job->outcome.attempts = job->attempts;
        struct command *command = engine_command(engine, job, COMMAND_SETTLE, true);
        command->outcome = &job->outcome;
}

void conclude_journaled(struct engine *engine, struct job *job, enum failure failure) {
        settle(engine, job, failure);
}

/* The sentence for a failure without an answer. */
static void give_reason(struct job *job, enum failure failure) {
        const struct bytes said = job->spec->failure_message;
        if (job->spec->failure == failure && said.size > 0) {
                size_t size = said.size < ANSWER_MESSAGE_MAX - 1 ? said.size : ANSWER_MESSAGE_MAX - 1;
                memcpy(job->outcome.message, said.data, size);
                job->outcome.message[size] = '\0';
        } else if (job->outcome.message[0] == '\0') {
                copy_message(job->outcome.message, explain(failure));
        }
}

void conclude_without_answer(struct engine *engine, struct job *job, enum failure failure) {
        struct outcome *outcome = &job->outcome;
        outcome->cost_picousd = job->spent_picousd;
        outcome->cost_known = !job->spent_unknown;
        give_reason(job, failure);
        settle(engine, job, failure);
}

/*
 * The attempt has ended and what it cost is in the ledgers: what stands in the journal of it must no longer
 * count there, should the process die.
 */
static void note_attempt(struct engine *engine, struct job *job) {
        struct command *command = engine_command(engine, job, COMMAND_NOTE, false);
        command->endpoint = job->endpoint;
        command->attempt = job->attempts > 0 ? job->attempts : 1;
        command->exposure_picousd = job->spent_unknown ? SPEND_UNKNOWN : job->spent_picousd;
}

/*
 * The attempt ended without a result. What later attempts must know of it, that it was made and what it may
 * have cost, would be forgotten by a crash if it ended in the journal too: there it stays open until the next
 * one takes its place, or the job settles. (A drain is no crash: what cost nothing ends then.) Not for jobs
 * that must not be repeated: a known failure must not come back as an unknown outcome.
 */
static void end_attempt(struct engine *engine, struct job *job) {
        spend_release(engine, job);
        bool counts =
                job->spent_picousd > 0 || job->spent_unknown || (job->attempts > 0 && !engine->draining);
        if (job->spec->unknown == UNKNOWN_FAIL || !counts)
                engine_command(engine, job, COMMAND_END, false);
        else if (job->reserved.journaled)
                note_attempt(engine, job);
        job->reserved.journaled = false;
}

static void wait_again(struct engine *engine, struct job *job) {
        end_attempt(engine, job);
        engine_move(engine, job, JOB_WAITING);
        engine_arm(engine, job);
        classes_enqueue(engine, job);
}

/* Room has come up at the endpoint. */
static void bump(struct engine *engine, const struct job *job) {
        struct gates gates = engine_gates(engine, job, job->endpoint);
        gates.items[0]->epoch++;
        for (size_t i = 1; i < GATES_A_CALL; i++) /* shared: only where others can have waited for it */
                gates.items[i]->epoch += gates.items[i]->concurrency != INT64_MAX;
        if (engine->in_flight + engine->opened + 1 >= engine->config.in_flight_max)
                engine->epoch++;
}

/* Of an attempt that is opened: what it would have taken of its gates. */
static void give_back(struct engine *engine, struct job *job) {
        struct gates gates = engine_gates(engine, job, job->endpoint);
        for (size_t i = 0; i < GATES_A_CALL; i++)
                gate_unopen(gates.items[i], &job->amounts);
        quotas_touch(engine, job);
        engine->opened--;
        order_returned(engine, engine_workspace(engine, job));
        bump(engine, job);
}

void conclude_unsent(struct engine *engine, struct job *job) {
        give_back(engine, job);
        list_unlink(&job->link);
        wait_again(engine, job);
        engine_wake_at(engine, engine->time.now_ns); /* this turn's look at the classes may be over */
}

void conclude_revoked(struct engine *engine, struct job *job) {
        engine->stats.giving_up -= job->revoked;
        bool free_of_cost = job->attempts > 0 && job->spent_picousd == 0 && !job->spent_unknown;
        bool open = job->spec->unknown == UNKNOWN_RETRY && !engine->draining; /* see end_attempt() */
        if (job->state == JOB_READY) {
                spend_release(engine, job);
                give_back(engine, job);
                list_unlink(&job->link);
        } else if (job->state == JOB_WAITING) {
                classes_dequeue(engine, job);
        }
        /* what may have cost something stays known here, should the job come back */
        if (job->state == JOB_READY || (job->state != JOB_SEEKING && free_of_cost && open))
                engine_command(engine, job, COMMAND_END, false);
        engine_command(engine, job, COMMAND_FORGET, false)->revoked = true;
        conclude_release(engine, job);
}

static void sleep_for(struct engine *engine, struct job *job, int64_t ns) {
        engine_move(engine, job, JOB_SLEEPING);
        job->wake_ns = engine->time.now_ns + ns;
        engine_arm(engine, job);
}

/*
 * Full jitter: anything from 0 to base * 2^n, at most the cap (AWS Builders' Library, "Timeouts, retries and
 * backoff with jitter").
 */
static int64_t backoff_ns(struct engine *engine, uint32_t tries) {
        int64_t most = engine->config.backoff_base_ns;
        for (uint32_t i = 1; i < tries && most < engine->config.backoff_cap_ns; i++)
                most *= 2;
        if (most > engine->config.backoff_cap_ns)
                most = engine->config.backoff_cap_ns;
        return (int64_t)prng_below(&engine->prng, (uint64_t)most + 1);
}

void conclude_back_off(struct engine *engine, struct job *job) {
        int64_t cap_ns = engine->config.backoff_cap_ns;
        int64_t wait_ns = max64(job->resume_ns - engine->time.now_ns, backoff_ns(engine, job->attempts));
        job->tried = 0;
        if (!health_take_retry(&engine->endpoints[job->endpoint].health)) {
                /* the endpoint's retry budget is used up: late, but not never */
                int64_t late_ns = cap_ns / 2 + (int64_t)prng_below(&engine->prng, (uint64_t)(cap_ns / 2) + 1);
                wait_ns = max64(wait_ns, late_ns);
        }
        sleep_for(engine, job, wait_ns);
}

/*
 * A place that the rules allow and that has not refused the job; with `now`, one that was not tried just
 * before and is not paused.
 */
static bool another_place(const struct engine *engine, const struct job *job, bool now) {
        const struct job_class *job_class = &engine->classes[job->job_class];
        const struct routing_prefs *prefs = &job_demand(job)->prefs;
        if (!prefs->allow_fallbacks && prefs->order.count == 0)
                return false;
        uint32_t passed = now ? job->refused | job->tried : job->refused;
        for (uint32_t place = 0; place < job_class->set.count; place++) {
                uint32_t endpoint = job_class->set.endpoints[place];
                if ((passed & (1U << place)) == 0 &&
                    route_check(engine->catalog, job_demand(job), endpoint, engine->time.now_unix_ms) ==
                            EXCLUSION_NONE &&
                    (!now || engine->endpoints[endpoint].health.paused_until_ns <= engine->time.now_ns))
                        return true;
        }
        return false;
}

/* A call that may have been executed: its exposure counts as spent, marked as an estimate. */
static void count_as_spent(struct engine *engine, struct job *job, const struct answer *answer) {
        if (answer->cost_known) {
                spend_settle(engine, job, answer->cost_picousd);
                job->spent_picousd = money_add(job->spent_picousd, answer->cost_picousd);
                return;
        }
        spend_hold(engine, job);
        job->outcome.cost_is_estimate = true;
        if (job->exposure_picousd == SPEND_UNKNOWN)
                job->spent_unknown = true;
        else
                job->spent_picousd = money_add(job->spent_picousd, job->exposure_picousd);
}

static void finish(struct engine *engine, struct job *job, const struct answer *answer,
                   enum failure failure) {
        struct outcome *outcome = &job->outcome;
        outcome->has_answer = answer->status != 0;
        outcome->status = answer->status;
        outcome->usage = answer->usage;
        if (answer->verdict == VERDICT_OK) {
                total_cost(engine, job, answer);
        } else {
                outcome->cost_picousd = job->spent_picousd;
                outcome->cost_known = !job->spent_unknown;
        }
        if (failure != FAILURE_NONE)
                copy_message(outcome->message, answer->message[0] ? answer->message : explain(failure));
        settle(engine, job, failure);
}

/* What the provider asked for: not below 0, and not so long that times overflow. */
static int64_t asked_wait_ns(const struct answer *answer) {
        if (answer->wait_ns < 0)
                return 0;
        return min64(answer->wait_ns, WAIT_BELIEVED_NS);
}

/* Nothing more there for so long; when that is too long to wait for, the endpoint is paused. */
static void block(struct engine *engine, struct job *job, int64_t wait_ns) {
        int64_t until_ns = engine->time.now_ns + min64(wait_ns, WAIT_BELIEVED_NS);
        if (wait_ns > WAIT_HELD_NS)
                health_pause(&engine->endpoints[job->endpoint].health, until_ns);
        else
                gate_block(&engine->endpoints[job->endpoint].gate, until_ns);
}

/* It failed in a way that may pass: elsewhere at once, here after a back-off. */
static void retry(struct engine *engine, struct job *job, const struct answer *answer) {
        int64_t now_ns = engine->time.now_ns;
        if (job->deadline_ns <= now_ns) {
                finish(engine, job, answer, FAILURE_DEADLINE_EXCEEDED);
                return;
        }
        if (job->attempts >= engine->config.attempts_max) {
                finish(engine, job, answer, FAILURE_ATTEMPTS_EXHAUSTED);
                return;
        }
        job->tried |= 1U << job->place;
        if (asked_wait_ns(answer) > WAIT_HELD_NS)
                health_pause(&engine->endpoints[job->endpoint].health, now_ns + asked_wait_ns(answer));
        else
                job->resume_ns = max64(job->resume_ns, now_ns + asked_wait_ns(answer));
        if (another_place(engine, job, true)) {
                wait_again(engine, job);
                return;
        }
        end_attempt(engine, job);
        conclude_back_off(engine, job);
}

/*
 * A burst of refusals is one signal: the window is halved once, from what was under way when the first one
 * came.
 */
static void shrink(struct engine *engine, struct job *job, bool reduce) {
        struct health *health = &engine->endpoints[job->endpoint].health;
        int64_t decreased_ns = health->decreased_ns;
        health_throttled(health, reduce, engine->time.now_ns);
        double met = (double)engine->endpoints[job->endpoint].gate.in_flight + 1;
        if (health->decreased_ns != decreased_ns && health->window > met / 2)
                health->window = met / 2 > 1 ? met / 2 : 1;
}

static void throttled(struct engine *engine, struct job *job, const struct answer *answer) {
        job->attempts--; /* refused at the door: no attempt at the job */
        if (++job->throttles >= THROTTLES_MAX) {
                finish(engine, job, answer, FAILURE_ATTEMPTS_EXHAUSTED);
                return;
        }
        shrink(engine, job, answer->verdict == VERDICT_OVERLOADED || answer->wait_ns < 0);
        if (answer->wait_ns >= 0) {
                int64_t wait_ns = asked_wait_ns(answer);
                wait_ns += (int64_t)prng_below(&engine->prng, (uint64_t)(wait_ns / 10) + 1);
                block(engine, job, wait_ns);
                wait_again(engine, job);
                return;
        }
        end_attempt(engine, job);
        sleep_for(engine, job, max64(backoff_ns(engine, job->throttles), engine->config.backoff_base_ns / 2));
}

static void pause_provider(struct engine *engine, struct job *job, const struct answer *answer) {
        int64_t pause_ns = answer->verdict == VERDICT_AUTH ? PAUSE_AUTH_NS : PAUSE_NS;
        int64_t asked_ns = asked_wait_ns(answer);
        int64_t until_ns = engine->time.now_ns + (asked_ns > 0 ? asked_ns : pause_ns);
        uint32_t provider = engine->catalog->endpoints[job->endpoint].provider;
        bool mended = job->called_under != engine->generation; /* it may be another key, or place, by now */
        for (uint32_t i = 0; i < engine->catalog->endpoints_count && !mended; i++) {
                if (engine->catalog->endpoints[i].provider != provider ||
                    (answer->endpoint_only && i != job->endpoint))
                        continue;
                health_pause(&engine->endpoints[i].health, until_ns);
                engine->endpoints[i].gate.epoch++; /* who waits for it may go elsewhere */
        }
        job->attempts--;
        wait_again(engine, job);
}

static void other_model(struct engine *engine, struct job *job, const struct answer *answer) {
        job->refused |= 1U << job->place;
        if (job->attempts >= engine->config.attempts_max || !another_place(engine, job, false))
                finish(engine, job, answer, answer->failure ? answer->failure : FAILURE_PROVIDER_REJECTED);
        else
                wait_again(engine, job);
}

static void unusable(struct engine *engine, struct job *job, const struct answer *answer) {
        count_as_spent(engine, job, answer);
        if (++job->unusables > UNUSABLES_MAX)
                finish(engine, job, answer, FAILURE_PROVIDER_ERROR);
        else
                retry(engine, job, answer);
}

static void unknown(struct engine *engine, struct job *job, const struct answer *answer) {
        count_as_spent(engine, job, answer);
        if (job->spec->unknown == UNKNOWN_FAIL)
                finish(engine, job, answer, FAILURE_UNKNOWN_OUTCOME);
        else
                retry(engine, job, answer);
}

static void input_failed(struct engine *engine, struct job *job, const struct answer *answer) {
        job->attempts--; /* no provider was called */
        if (answer->verdict == VERDICT_INPUT || ++job->input_tries >= INPUT_TRIES_MAX)
                finish(engine, job, answer, answer->failure ? answer->failure : FAILURE_INPUT_UNAVAILABLE);
        else {
                end_attempt(engine, job);
                sleep_for(engine, job, backoff_ns(engine, job->input_tries));
        }
}

static int64_t believed(int64_t tokens) {
        return min64(max64(tokens, 0), TOKENS_BELIEVED);
}

/* In the unit that time goes by; 0: nobody can tell. */
static int64_t work_of(const struct job *job, const struct answer *answer) {
        if (answer->usage.output_tokens > 0)
                return believed(answer->usage.output_tokens);
        return answer->usage.audio_ms > 0 ? answer->usage.audio_ms : job_demand(job)->input_tokens;
}

static void learn(struct engine *engine, struct job *job, const struct answer *answer) {
        struct endpoint_state *state = &engine->endpoints[job->endpoint];
        struct recent *recent = &engine->recents[job->endpoint];
        int64_t now_ns = engine->time.now_ns;
        switch (answer->verdict) {
        case VERDICT_OK:
        case VERDICT_REJECTED:
        case VERDICT_CONTENT_REFUSED:
        case VERDICT_OTHER_MODEL:
                health_succeeded(&state->health, answer->latency_ns, now_ns);
                recent_ended(recent, true, now_ns);
                break;
        case VERDICT_RETRY:
        case VERDICT_UNUSABLE:
        case VERDICT_NOT_SENT:
        case VERDICT_UNKNOWN:
                health_failed(&state->health, now_ns);
                recent_ended(recent, false, now_ns);
                break;
        case VERDICT_THROTTLED:
        case VERDICT_OVERLOADED:
                break; /* throttled() */
        case VERDICT_PAUSE:
        case VERDICT_AUTH:
        case VERDICT_INPUT:
        case VERDICT_INPUT_RETRY:
                health_abandoned(&state->health);
                break;
        }
        const struct usage *usage = &answer->usage;
        int64_t input = believed(usage->input_tokens) + believed(usage->cached_input_tokens) +
                        believed(usage->cache_write_tokens);
        int64_t output = believed(usage->output_tokens);
        if (answer->verdict == VERDICT_OK) {
                recent_answered(recent, answer->latency_ns, output, now_ns);
                pace_answered(&state->health.pace, answer->latency_ns, work_of(job, answer), now_ns);
        }
        if (answer->verdict == VERDICT_OK && usage->input_tokens >= 0)
                health_observe_tokens(&state->health,
                                      &(struct observed_tokens){
                                              .estimated = job_demand(job)->input_tokens,
                                              .input = input,
                                              .cached_input = believed(usage->cached_input_tokens),
                                              .output = output,
                                              .output_max = job_demand(job)->output_tokens_max,
                                      },
                                      answer->latency_ns);
        struct amounts more = {{0}};
        more.of[UNIT_TOKENS] = input + output - job->amounts.of[UNIT_TOKENS];
        more.of[UNIT_AUDIO_MS] = believed(usage->audio_ms) - job->amounts.of[UNIT_AUDIO_MS];
        more.of[UNIT_IMAGES] = believed(usage->images) - job->amounts.of[UNIT_IMAGES];
        struct gates gates = engine_gates(engine, job, job->endpoint);
        for (size_t i = 0; i < GATES_A_CALL; i++)
                gate_charge(gates.items[i], &more, now_ns);
        quotas_touch(engine, job);
        int64_t blocked_ns = max64(answer->requests_blocked_ns, answer->tokens_blocked_ns);
        if (blocked_ns > 0)
                block(engine, job, blocked_ns);
}

static void leave_endpoint(struct engine *engine, struct job *job) {
        struct gates gates = engine_gates(engine, job, job->endpoint);
        for (size_t i = 0; i < GATES_A_CALL; i++)
                gates.items[i]->in_flight--;
        health_ended(&engine->endpoints[job->endpoint].health, job->admitted_ns + job->outcome.queued_ns);
        engine->in_flight--;
        bump(engine, job);
}

void conclude_answer(struct engine *engine, struct job *job, const struct answer *answer) {
        leave_endpoint(engine, job);
        job->outcome.provider_ns = answer->latency_ns;
        count_answer(engine, job, answer);
        learn(engine, job, answer);
        switch (answer->verdict) {
        case VERDICT_OK:
                finish(engine, job, answer, FAILURE_NONE);
                return;
        case VERDICT_REJECTED:
                finish(engine, job, answer, FAILURE_PROVIDER_REJECTED);
                return;
        case VERDICT_CONTENT_REFUSED:
                finish(engine, job, answer, FAILURE_CONTENT_REFUSED);
                return;
        case VERDICT_OTHER_MODEL:
                other_model(engine, job, answer);
                return;
        case VERDICT_RETRY:
        case VERDICT_NOT_SENT:
                retry(engine, job, answer);
                return;
        case VERDICT_UNUSABLE:
                unusable(engine, job, answer);
                return;
        case VERDICT_THROTTLED:
        case VERDICT_OVERLOADED:
                throttled(engine, job, answer);
                return;
        case VERDICT_PAUSE:
        case VERDICT_AUTH:
                pause_provider(engine, job, answer);
                return;
        case VERDICT_UNKNOWN:
                unknown(engine, job, answer);
                return;
        case VERDICT_INPUT:
        case VERDICT_INPUT_RETRY:
                input_failed(engine, job, answer);
                return;
        }
        CHECK(false);
}

static void count_job(struct engine *engine, const struct job *job) {
        const struct outcome *outcome = &job->outcome;
        struct engine_stats *stats = &engine->stats;
        if (outcome->failure == FAILURE_NONE)
                stats->succeeded++;
        else
                stats->failures[outcome->failure]++;
        stats->cost_unknown = stats->cost_unknown || (outcome->attempts > 0 && !outcome->cost_known);
        stats->cost_picousd = money_add(stats->cost_picousd, outcome->cost_picousd);
        if (outcome->attempts == 0 || !outcome->has_answer)
                return;
        if (outcome->list_cost_known)
                stats->list_cost_picousd = money_add(stats->list_cost_picousd, outcome->list_cost_picousd);
        uint64_t input = (uint64_t)max64(outcome->usage.input_tokens, 0);
        uint64_t output = (uint64_t)max64(outcome->usage.output_tokens, 0);
        uint64_t cached = (uint64_t)max64(outcome->usage.cached_input_tokens, 0);
        struct endpoint_stats *endpoint = &engine->endpoints[job->endpoint].stats;
        stats->input_tokens += input;
        stats->output_tokens += output;
        stats->cached_tokens += cached;
        endpoint->input_tokens += input + cached;
        endpoint->output_tokens += output;
        endpoint->cost_picousd = money_add(endpoint->cost_picousd, outcome->cost_picousd);
}

void conclude_settled(struct engine *engine, struct job *job) {
        count_job(engine, job);
        engine_command(engine, job, COMMAND_FORGET, false);
        conclude_release(engine, job);
}

void conclude_release(struct engine *engine, struct job *job) {
        classes_leave(engine, job);
        map_remove(&engine->by_key, job->key);
        heap_remove(&engine->timers, engine_slot(engine, job));
        engine_move(engine, job, JOB_FREE);
        job->spec = NULL;
        job->generation++;
        engine->inside--;
        list_append(&engine->free_jobs, &job->link);
}
