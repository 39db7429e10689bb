#include "broker/core/dispatch.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/core/classes.h"
#include "broker/core/conclude.h"

static int64_t max64(int64_t a, int64_t b) {
        return a > b ? a : b;
}

static int64_t min64(int64_t a, int64_t b) {
        return a < b ? a : b;
}

static int64_t believed(int64_t tokens) {
        return min64(max64(tokens, 0), TOKENS_BELIEVED);
}

/* The tighter limit of tokens per minute; 0: none. */
static int64_t tokens_limit(const struct engine *engine, uint32_t endpoint) {
        const struct limiter *own = &engine->endpoints[endpoint].gate.tokens;
        const struct limiter *shared = &engine_provider(engine, endpoint)->tokens;
        return own->whole == 0 || (shared->whole > 0 && shared->limit < own->limit) ? shared->limit
                                                                                    : own->limit;
}

/*
 * Tokens that this call takes from the limits: providers charge the request's maximum at admission (reference
 * providers.md 0.9). Only what the job itself says can make it too large for a limit, not what was learned
 * from answers: those may lie.
 */
static int64_t call_tokens(const struct engine *engine, const struct job *job, uint32_t endpoint) {
        const struct health *health = &engine->endpoints[endpoint].health;
        const struct demand *demand = job_demand(job);
        bool said = demand->output_tokens_max >= 0;
        int64_t input = believed(demand->input_tokens), output = believed(demand->output_tokens_max);
        int64_t guess = (int64_t)((double)input * health->tokens_ratio) +
                        (said ? output : (int64_t)health->output_tokens);
        int64_t limit = tokens_limit(engine, endpoint);
        return limit > 0 && guess > limit && input + output <= limit ? limit : guess;
}

static int64_t gate_when(struct gate *gate, int64_t calls, int64_t tokens, int64_t now_ns) {
        return max64(limiter_when(&gate->requests, calls, now_ns),
                     limiter_when(&gate->tokens, tokens, now_ns));
}

/* When the limits would admit one call; with `behind_opened`, one behind those that are opened already. */
static int64_t permit_when(struct engine *engine, uint32_t endpoint, int64_t tokens, bool behind_opened) {
        struct gate *own = &engine->endpoints[endpoint].gate, *shared = engine_provider(engine, endpoint);
        int64_t now_ns = engine->time.now_ns;
        if (!behind_opened)
                return max64(gate_when(own, 1, tokens, now_ns), gate_when(shared, 1, tokens, now_ns));
        return max64(gate_when(own, 1 + (int64_t)own->opened, tokens + own->opened_tokens, now_ns),
                     gate_when(shared, 1 + (int64_t)shared->opened, tokens + shared->opened_tokens, now_ns));
}

static int64_t room_to_call(const struct engine *engine, uint32_t endpoint) {
        const struct endpoint_state *state = &engine->endpoints[endpoint];
        const struct gate *own = &state->gate, *shared = engine_provider(engine, endpoint);
        int64_t room = min64(health_window(&state->health), own->concurrency) - own->in_flight;
        room = min64(room, shared->concurrency - shared->in_flight);
        return min64(room, (int64_t)engine->config.in_flight_max - engine->in_flight);
}

/* The same, less what is opened already. */
static int64_t room_to_open(const struct engine *engine, uint32_t endpoint) {
        const struct endpoint_state *state = &engine->endpoints[endpoint];
        const struct gate *own = &state->gate, *shared = engine_provider(engine, endpoint);
        int64_t room = min64(health_window(&state->health), own->concurrency) - own->in_flight - own->opened;
        room = min64(room, shared->concurrency - shared->in_flight - shared->opened);
        return min64(room, (int64_t)engine->config.in_flight_max - engine->in_flight - engine->opened);
}

/*
 * Jobs that must not be repeated are opened only when they can be sent at once: an open attempt that a crash
 * leaves behind would fail them.
 */
static bool opens_ahead(const struct job *job) {
        return job->spec->unknown == UNKNOWN_RETRY;
}

static int64_t open_ahead(const struct engine *engine, const struct job *job) {
        if (!opens_ahead(job))
                return 0;
        int64_t recent = engine->pace_calls > engine->pace_last ? engine->pace_calls : engine->pace_last;
        return min64((int64_t)engine->config.open_ahead, OPEN_AHEAD_MIN + recent);
}

/* What the endpoint's limits say: READY now, or when to look again. */
static void view_limits(struct engine *engine, const struct job *job, uint32_t endpoint,
                        struct route_state *view) {
        const struct endpoint_state *state = &engine->endpoints[endpoint];
        int64_t now_ns = engine->time.now_ns;
        int64_t tokens = call_tokens(engine, job, endpoint);
        int64_t permit_ns = permit_when(engine, endpoint, tokens, false);
        int64_t queued_ns = permit_ns;
        if (permit_ns != LIMITER_NEVER && engine->opened > 0)
                queued_ns = permit_when(engine, endpoint, tokens, true);
        int64_t ahead_ns = opens_ahead(job) ? OPEN_AHEAD_NS : 0;
        bool full = room_to_open(engine, endpoint) + open_ahead(engine, job) <= 0;
        full = full || (state->health.state == BREAKER_HALF_OPEN && state->gate.opened > 0);
        if (!full && queued_ns - ahead_ns <= now_ns)
                return;
        view->waiting = EXCLUSION_AT_LIMIT;
        view->ready_ns = LIMITER_NEVER;
        if (permit_ns == LIMITER_NEVER)
                return;
        int64_t again_ns = now_ns + LOOK_AGAIN_NS; /* sooner when a call ends */
        view->ready_ns =
                full || queued_ns == LIMITER_NEVER ? max64(permit_ns, again_ns) : queued_ns - ahead_ns;
}

void dispatch_view(struct engine *engine, const struct job *job, uint32_t endpoint,
                   struct route_state *out_view) {
        struct endpoint_state *state = &engine->endpoints[endpoint];
        int64_t now_ns = engine->time.now_ns;
        health_look(&state->health, &engine->recents[endpoint], now_ns);
        *out_view = (struct route_state){
                .ready_ns = now_ns,
                .waiting = EXCLUSION_NONE,
                .expected_output_tokens =
                        health_output_tokens(&state->health, job_demand(job)->output_tokens_max),
                .tokens_ratio = state->health.tokens_ratio,
                .input_permille = (int32_t)(state->health.tokens_mean * 1000 + 0.5),
                .cached_permille = (int32_t)(state->health.cached_share * 1000),
                .latency_ns = state->health.latency_ns,
                .output_tokens_per_s = state->health.output_tokens_per_s,
                .in_flight = (int64_t)state->gate.in_flight + state->gate.opened,
                .success_permille = state->health.figures.success_permille,
                .slow = pace_avoided(&state->health.pace, now_ns) ||
                        (state->health.pace.slow && state->gate.opened > 0),
        };
        if (state->health.pace.slow && !out_view->slow)
                out_view->in_flight = 0; /* calls that hang there must not keep away the one that finds out */
        for (int i = 0; i < PERCENTILES_COUNT; i++) {
                out_view->latency_p_ns[i] = state->health.figures.latency_p_ns[i];
                out_view->throughput_p_milli[i] = state->health.figures.throughput_p_milli[i];
        }
        int64_t fit_ns = health_when(&state->health, now_ns);
        if (fit_ns <= now_ns) {
                view_limits(engine, job, endpoint, out_view);
                return;
        }
        out_view->ready_ns = fit_ns;
        out_view->waiting = state->health.paused_until_ns > now_ns ? EXCLUSION_PAUSED : EXCLUSION_BREAKER;
}

static void record_decision(struct job *job, const struct route *route, uint64_t seed) {
        struct decision *decision = &job->outcome.decision;
        decision->count = 0;
        decision->seed = seed;
        decision->chosen = false;
        decision->truncated = route->truncated || route->count > DECISION_CANDIDATES_MAX;
        for (uint32_t i = 0; i < route->count && i < DECISION_CANDIDATES_MAX; i++) {
                const struct candidate *candidate = &route->candidates[i];
                decision->candidates[decision->count++] = (struct decision_candidate){
                        .endpoint = candidate->endpoint,
                        .excluded_by = candidate->excluded_by,
                        .cost_known = candidate->cost_known,
                        .cost_expected_picousd = candidate->cost_expected_picousd,
                };
        }
}

static void open_at(struct engine *engine, struct job *job, const struct candidate *candidate) {
        classes_dequeue(engine, job);
        engine_move(engine, job, JOB_OPENING);
        job->endpoint = candidate->endpoint;
        job->place = candidate->place;
        job->model = candidate->model;
        job->exposure_picousd = SPEND_UNKNOWN;
        if (candidate->cost_known)
                job->exposure_picousd =
                        max64(candidate->cost_ceiling_picousd, candidate->cost_expected_picousd);
        job->outcome.estimate_known = candidate->cost_known;
        job->outcome.estimate_picousd = candidate->cost_expected_picousd;
        job->tokens = call_tokens(engine, job, candidate->endpoint);
        job->outcome.decision.chosen = true;
        job->outcome.decision.chosen_endpoint = candidate->endpoint;
        job->outcome.decision.chosen_model = candidate->model;
        struct gate *gates[] = {&engine->endpoints[job->endpoint].gate,
                                engine_provider(engine, job->endpoint)};
        for (size_t i = 0; i < 2; i++) {
                gates[i]->opened++;
                gates[i]->opened_tokens += job->tokens;
        }
        engine->opened++;
        struct command *command = engine_command(engine, job, COMMAND_OPEN, true);
        command->key = job->key;
        command->endpoint = candidate->endpoint;
        command->attempt = job->attempts + 1;
        if (job->exposure_picousd != SPEND_UNKNOWN && !job->spent_unknown)
                command->exposure_picousd = money_add(job->spent_picousd, job->exposure_picousd);
        else
                command->exposure_picousd = SPEND_UNKNOWN;
        engine_arm(engine, job);
}

/*
 * Dearer endpoints will do when the cheapest is not fit, is full for long, or when half of the job's time has
 * gone.
 */
static bool accepts_dearer(const struct engine *engine, const struct job *job, const struct candidate *best) {
        int64_t now_ns = engine->time.now_ns;
        if (job_demand(job)->prefs.sort != SORT_PRICE || best->excluded_by != EXCLUSION_AT_LIMIT)
                return true;
        if (engine_pressed(engine, job))
                return true;
        return best->ready_ns - now_ns > PATIENCE_NS;
}

static bool same_cost(const struct candidate *a, const struct candidate *b) {
        return a->cost_known == b->cost_known && a->model == b->model &&
               (!a->cost_known || a->cost_expected_picousd == b->cost_expected_picousd);
}

/* Behind the best only because it is slow: better than to wait until there is room at a dearer one. */
static bool only_slower(const struct candidate *best, const struct candidate *candidate) {
        return candidate->slow && !best->slow && candidate->model == best->model && candidate->cost_known &&
               best->cost_known && candidate->cost_expected_picousd <= best->cost_expected_picousd;
}

/*
 * The first candidate that was not tried just now, may start now and is acceptable; NULL: none, and
 * out_wake_ns says when to look again.
 */
static const struct candidate *pick(const struct engine *engine, const struct job *job,
                                    const struct route *route, int64_t *out_wake_ns) {
        const struct candidate *best = NULL;
        for (uint32_t i = 0; i < route->usable; i++) {
                const struct candidate *candidate = &route->candidates[i];
                if (job->tried & (1U << candidate->place))
                        continue;
                if (best && !same_cost(best, candidate) && !only_slower(best, candidate) &&
                    !accepts_dearer(engine, job, best))
                        break;
                if (!best)
                        best = candidate;
                if (candidate->ready_ns <= engine->time.now_ns)
                        return candidate;
                *out_wake_ns = min64(*out_wake_ns, candidate->ready_ns);
        }
        return NULL;
}

/* No endpoint can take this job at all: the code tells what stopped it where it came farthest. */
static void refuse(struct engine *engine, struct job *job, const struct route *route) {
        bool refused = false, large = false, cost = false;
        for (uint32_t i = 0; i < route->count; i++) {
                enum exclusion why = route->candidates[i].excluded_by;
                refused = refused || why == EXCLUSION_REFUSED;
                large = large || why == EXCLUSION_CONTEXT_LENGTH || why == EXCLUSION_AT_LIMIT;
                cost = cost || why == EXCLUSION_MAX_COST || why == EXCLUSION_MAX_PRICE;
        }
        enum failure failure = FAILURE_EXCLUDED_BY_POLICY;
        if (refused)
                failure = FAILURE_ATTEMPTS_EXHAUSTED;
        else if (large)
                failure = FAILURE_INPUT_TOO_LARGE;
        else if (cost)
                failure = FAILURE_MAX_COST_EXCEEDED;
        classes_dequeue(engine, job);
        conclude_without_answer(engine, job, failure);
}

/* The places that are closed to this very job, whatever its class may do. */
static uint32_t closed_places(const struct job *job, const struct route *route) {
        if (job->pinned)
                return ~(1U << job->place);
        uint32_t closed = 0;
        for (uint32_t i = route->usable; i < route->count; i++) {
                enum exclusion why = route->candidates[i].excluded_by;
                if (why == EXCLUSION_CONTEXT_LENGTH || why == EXCLUSION_MAX_COST ||
                    why == EXCLUSION_REFUSED || why == EXCLUSION_AT_LIMIT)
                        closed |= 1U << route->candidates[i].place;
        }
        return closed;
}

/* Another place for the same model that may take calls and would be quicker. */
static bool quicker_peer(const struct engine *engine, const struct route_set *set,
                         const struct route_state *views, uint32_t place) {
        const struct pace *pace = &engine->endpoints[set->endpoints[place]].health.pace;
        for (uint32_t i = 0; i < set->count; i++)
                if (i != place && set->models[i] == set->models[place] && views[i].ready_ns != NEVER_NS &&
                    (views[i].waiting == EXCLUSION_NONE || views[i].waiting == EXCLUSION_AT_LIMIT) &&
                    pace_slower(pace, &engine->endpoints[set->endpoints[i]].health.pace, engine->time.now_ns))
                        return true;
        return false;
}

/* Slowness counts only against those who are quicker: the last way is never closed by it. */
static void compare_paces(const struct engine *engine, const struct route_set *set,
                          struct route_state *views) {
        for (uint32_t i = 0; i < set->count; i++)
                if (views[i].slow)
                        views[i].slow = quicker_peer(engine, set, views, i);
}

/* Ranks the places where the job may go; without fallbacks, once it was called, that is one. */
static void rank(struct engine *engine, struct job *job, const struct job_class *job_class,
                 struct route *out_route) {
        struct route_state views[ROUTE_CANDIDATES_MAX];
        const struct route_set *set = &job_class->set;
        struct route_set only;
        uint32_t refused = job->refused;
        if (job->pinned) {
                only.endpoints[0] = set->endpoints[job->place];
                only.models[0] = set->models[job->place];
                only.count = 1;
                only.truncated = set->truncated;
                set = &only;
                refused = refused >> job->place & 1U;
        }
        for (uint32_t i = 0; i < set->count; i++)
                dispatch_view(engine, job, set->endpoints[i], &views[i]);
        compare_paces(engine, set, views);
        uint64_t seed = engine->config.seed ^ job->key.lo ^ job->attempts;
        route_rank(engine->catalog, job_demand(job), set, views,
                   &(struct route_moment){.now_unix_ms = engine->time.now_unix_ms,
                                          .refused = refused,
                                          .spent_picousd = job->spent_picousd,
                                          .seed = seed},
                   out_route);
        if (job->pinned)
                out_route->candidates[0].place = (uint8_t)job->place;
        record_decision(job, out_route, seed);
}

/*
 * true: the head went somewhere, look at the next one. out_more: to another class, which must be looked at
 * too.
 */
static bool open_head(struct engine *engine, struct job_class *job_class, bool *out_more) {
        struct job *job = LIST_ENTRY(job_class->waiting.next, struct job, link);
        struct route route;
        rank(engine, job, job_class, &route);
        if (route.usable == 0) {
                refuse(engine, job, &route);
                return true;
        }
        int64_t wake_ns = NEVER_NS;
        const struct candidate *candidate = pick(engine, job, &route, &wake_ns);
        if (candidate) {
                open_at(engine, job, candidate);
                return true;
        }
        if (job->tried) { /* nobody else can take it now */
                classes_dequeue(engine, job);
                conclude_back_off(engine, job);
                return true;
        }
        uint32_t closed = closed_places(job, &route);
        if (closed != job_class->closed) { /* what holds it need not hold the others */
                classes_move(engine, job, closed);
                *out_more = true;
                return true;
        }
        job_class->blocked_until_ns = wake_ns;
        job_class->blocked_epoch = classes_epoch(engine, job_class);
        return false;
}

static void open_class(struct engine *engine, struct job_class *job_class, bool *out_more) {
        if (job_class->blocked_until_ns > engine->time.now_ns &&
            job_class->blocked_epoch == classes_epoch(engine, job_class)) {
                engine_wake_at(engine, job_class->blocked_until_ns);
                return;
        }
        for (int i = 0; i < CLASS_BURST && !list_empty(&job_class->waiting); i++) {
                if (!engine_out_room(engine, 2))
                        return;
                if (!open_head(engine, job_class, out_more)) {
                        engine_wake_at(engine, job_class->blocked_until_ns);
                        return;
                }
        }
        if (list_empty(&job_class->waiting))
                return;
        *out_more = true;
        list_unlink(&job_class->link);
        list_append(&engine->active[job_class->priority], &job_class->link);
}

static bool open_priority(struct engine *engine, struct list *active) {
        bool more = false;
        struct list *last = active->prev, *next;
        for (struct list *link = active->next; link != active; link = next) {
                next = link->next;
                bool at_last = link == last;
                open_class(engine, LIST_ENTRY(link, struct job_class, link), &more);
                if (at_last)
                        break;
        }
        return more;
}

void dispatch_open(struct engine *engine) {
        int64_t room = (int64_t)engine->config.in_flight_max + engine->config.open_ahead;
        if (engine->draining || engine->held || room <= (int64_t)engine->in_flight + engine->opened)
                return;
        for (int priority = PRIORITIES - 1; priority >= 0; priority--)
                while (!list_empty(&engine->active[priority]) && engine_out_room(engine, 2))
                        if (!open_priority(engine, &engine->active[priority]))
                                break;
}

static void call_now(struct engine *engine, struct job *job, int64_t tokens) {
        struct endpoint_state *state = &engine->endpoints[job->endpoint];
        int64_t now_ns = engine->time.now_ns;
        struct gate *gates[] = {&state->gate, engine_provider(engine, job->endpoint)};
        for (size_t i = 0; i < 2; i++) {
                gates[i]->opened--;
                gates[i]->opened_tokens -= job->tokens;
                limiter_take(&gates[i]->requests, 1, now_ns);
                limiter_take(&gates[i]->tokens, tokens, now_ns);
                gates[i]->in_flight++;
        }
        health_started(&state->health, now_ns);
        engine->opened--;
        engine->in_flight++;
        engine->pace_calls++;
        list_unlink(&job->link);
        engine_move(engine, job, JOB_CALLING);
        job->tokens = tokens;
        job->pinned = !job_demand(job)->prefs.allow_fallbacks && job_demand(job)->prefs.order.count == 0;
        job->attempts++;
        job->outcome.queued_ns = now_ns - job->admitted_ns;
        struct command *command = engine_command(engine, job, COMMAND_CALL, true);
        command->endpoint = job->endpoint;
        command->model = job->model;
        command->timeout_ns = min64(engine->config.call_timeout_ns, job->deadline_ns - now_ns);
        state->stats.calls++;
        engine->stats.calls++;
        if (job->attempts > 1)
                engine->stats.retries++;
        engine_arm(engine, job);
}

/* false: the head must wait, or the queue is empty. */
static bool call_head(struct engine *engine, struct endpoint_state *state) {
        struct job *job = LIST_ENTRY(state->ready.next, struct job, link);
        int64_t now_ns = engine->time.now_ns;
        if (room_to_call(engine, job->endpoint) <= 0)
                return false;
        int64_t tokens = call_tokens(engine, job, job->endpoint);
        int64_t permit_ns = permit_when(engine, job->endpoint, tokens, false);
        if (permit_ns > now_ns + READY_PATIENCE_NS ||
            route_check(engine->catalog, job_demand(job), job->endpoint, engine->time.now_unix_ms) !=
                    EXCLUSION_NONE) {
                conclude_unsent(engine, job);
                return true;
        }
        if (permit_ns > now_ns) {
                engine_wake_at(engine, permit_ns);
                return false;
        }
        call_now(engine, job, tokens);
        return true;
}

static void withdraw(struct engine *engine, struct endpoint_state *state) {
        while (!list_empty(&state->ready) &&
               engine_out_room(engine, 2)) /* the last one first: each goes to the head of its class */
                conclude_unsent(engine, LIST_ENTRY(state->ready.prev, struct job, link));
}

static void call_endpoint(struct engine *engine, struct endpoint_state *state) {
        int64_t now_ns = engine->time.now_ns;
        if (engine->draining || health_when(&state->health, now_ns) > now_ns)
                withdraw(engine, state);
        while (!list_empty(&state->ready) && engine_out_room(engine, 2))
                if (health_when(&state->health, now_ns) > now_ns || !call_head(engine, state))
                        break;
        if (list_empty(&state->ready))
                list_unlink(&state->ready_link);
}

void dispatch_call(struct engine *engine) {
        if (engine->held && !engine->draining)
                return;
        struct list *next, *last = engine->ready_endpoints.prev;
        for (struct list *link = engine->ready_endpoints.next; link != &engine->ready_endpoints;
             link = next) {
                next = link->next;
                bool at_last = link == last;
                call_endpoint(engine, LIST_ENTRY(link, struct endpoint_state, ready_link));
                if (at_last)
                        break;
        }
        if (!list_empty(&engine->ready_endpoints)) { /* another one first, next time */
                struct list *first = engine->ready_endpoints.next;
                list_unlink(first);
                list_append(&engine->ready_endpoints, first);
        }
}
