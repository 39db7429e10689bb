#include "broker/core/dispatch.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/money.h"
#include "broker/core/classes.h"
#include "broker/core/conclude.h"
#include "broker/core/order.h"
#include "broker/core/pick.h"
#include "broker/core/planning.h"
#include "broker/core/quotas.h"
#include "broker/core/spend.h"
#include "workers/routing/limits.h"

static int64_t believed(int64_t tokens) {
        return min64(max64(tokens, 0), TOKENS_BELIEVED);
}

/*
 * Tokens that this call takes from the limits: providers charge the request's maximum at admission (reference
 * providers.md 0.9). Only what the job itself says can make it too large for a limit, not what was learned
 * from answers: those may lie.
 */
static int64_t call_tokens(const struct health *health, const struct demand *demand,
                           const struct gates *gates) {
        bool said = demand->output_tokens_max >= 0;
        int64_t input = believed(demand->input_tokens), output = believed(demand->output_tokens_max);
        int64_t tokens = (int64_t)((double)input * health->tokens_ratio) +
                         (said ? output : (int64_t)health->output_tokens);
        for (size_t i = 0; i < GATES_A_CALL; i++)
                tokens = gate_tokens(gates->items[i], tokens, input + output);
        return tokens;
}

static struct amounts amounts_at(const struct health *health, const struct demand *demand,
                                 const struct gates *gates) {
        struct amounts amounts = {{[UNIT_CALLS] = 1}};
        amounts.of[UNIT_TOKENS] = call_tokens(health, demand, gates);
        if (kind_listens(demand->kind))
                amounts.of[UNIT_AUDIO_MS] =
                        demand->audio_ms < 0 ? AUDIO_GUESS_MS : believed(demand->audio_ms);
        if (kind_paints(demand->kind))
                amounts.of[UNIT_IMAGES] = max64(believed(demand->images), 1);
        return amounts;
}

struct amounts dispatch_amounts(const struct engine *engine, const struct job *job, uint32_t endpoint) {
        struct gates gates = engine_gates(engine, job, endpoint);
        return amounts_at(&engine->endpoints[endpoint].health, job_demand(job), &gates);
}

/* When the limits would admit one call; with `behind_opened`, one behind those that are opened already. */
static int64_t permit_when(const struct gates *gates, const struct amounts *amounts, bool behind_opened,
                           int64_t now_ns) {
        int64_t when_ns = now_ns;
        for (size_t i = 0; i < GATES_A_CALL; i++)
                when_ns = max64(when_ns, gate_when(gates->items[i], amounts, behind_opened, now_ns));
        return when_ns;
}

/*
 * How many calls an endpoint could take by concurrency; with `behind_opened`, besides what is opened already.
 * The workspace of a job has its say apart.
 */
static int64_t room_at(const struct engine *engine, uint32_t endpoint, bool behind_opened) {
        const struct endpoint_state *state = &engine->endpoints[endpoint];
        int64_t opened = behind_opened ? state->gate.opened : 0, all = behind_opened ? engine->opened : 0;
        int64_t room = health_window(&state->health) - state->gate.in_flight - opened;
        room = min64(room, gate_room(&state->gate, behind_opened));
        room = min64(room, gate_room(engine_provider(engine, endpoint), behind_opened));
        return min64(room, (int64_t)engine->config.in_flight_max - engine->in_flight - all);
}

static bool any_closed(const struct gates *gates) {
        bool closed = false;
        for (size_t i = 0; i < GATES_A_CALL; i++)
                closed = closed || gate_closed(gates->items[i]);
        return closed;
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
        struct gates gates = engine_gates(engine, job, endpoint);
        struct amounts amounts = amounts_at(&state->health, job_demand(job), &gates);
        int64_t permit_ns = permit_when(&gates, &amounts, false, now_ns);
        int64_t queued_ns = permit_ns;
        if (permit_ns != LIMITER_NEVER && engine->opened > 0)
                queued_ns = permit_when(&gates, &amounts, true, now_ns);
        int64_t ahead_ns = opens_ahead(job) ? OPEN_AHEAD_NS : 0;
        const struct gate *workspace = gates.items[GATES_A_CALL - 1];
        bool full = room_at(engine, endpoint, true) + open_ahead(engine, job) <= 0 ||
                    gate_room(workspace, true) <= 0 ||
                    (engine->config.quotas_kept && quotas_crowded(&gates, &amounts));
        bool closed = any_closed(&gates);
        full = full || closed || (state->health.state == BREAKER_HALF_OPEN && state->gate.opened > 0);
        if (!full && queued_ns - ahead_ns <= now_ns)
                return;
        view->waiting = EXCLUSION_AT_LIMIT;
        view->ready_ns = LIMITER_NEVER;
        if (permit_ns == LIMITER_NEVER)
                return;
        /* sooner when a call ends, or a part comes */
        int64_t again_ns = now_ns + (closed ? LIMITER_SMALL_PART_NS : LOOK_AGAIN_NS);
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
        if (engine->subjects_count > 0)
                spend_view(engine, job, endpoint, out_view);
        int64_t fit_ns = health_when(&state->health, now_ns);
        if (fit_ns <= now_ns) {
                view_limits(engine, job, endpoint, out_view);
                return;
        }
        out_view->ready_ns = fit_ns;
        out_view->waiting = state->health.paused_until_ns > now_ns ? EXCLUSION_PAUSED : EXCLUSION_BREAKER;
}

/* Which moment, places and states a ranking is of. */
struct ranked {
        struct decision_moment moment;
        const struct route_set *set;
        struct route_set only; /* without fallbacks, once the job was called */
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct route route;
};

static void record_candidates(struct decision *decision, const struct route *route) {
        decision->count = 0;
        decision->truncated = route->truncated || route->count > DECISION_CANDIDATES_MAX;
        for (uint32_t i = 0; i < route->count && i < DECISION_CANDIDATES_MAX; i++) {
                const struct candidate *candidate = &route->candidates[i];
                decision->candidates[decision->count++] = (struct decision_candidate){
                        .endpoint = candidate->endpoint,
                        .excluded_by = candidate->excluded_by,
                        .cost_known = candidate->cost_known,
                        .cost_expected_picousd = candidate->cost_expected_picousd,
                        .measure_known = candidate->measure_known,
                        .measure = candidate->measure,
                        .penalties = candidate->penalties,
                };
        }
}

static void record_decision(const struct engine *engine, struct job *job, const struct ranked *ranked) {
        struct decision *decision = &job->outcome.decision;
        struct record_writer writer = {decision->record, decision->record + DECISION_RECORD_MAX};
        decision->catalog = engine->catalog;
        decision->seed = ranked->moment.route.seed;
        decision->chosen = false;
        record_candidates(decision, &ranked->route);
        record_write_places(&writer, engine->catalog, &ranked->moment, engine->time.now_ns, ranked->set,
                            ranked->states, &ranked->route);
        decision->record_size = writer.at ? (uint16_t)(writer.at - decision->record) : 0;
}

static void open_at(struct engine *engine, struct job *job, const struct candidate *candidate) {
        if (!job->pinned)
                job->place = candidate->place;
        planning_take(engine, job, job->place);
        classes_dequeue(engine, job);
        engine_move(engine, job, JOB_OPENING);
        job->endpoint = candidate->endpoint;
        job->model = candidate->model;
        job->exposure_picousd = SPEND_UNKNOWN;
        if (candidate->cost_known)
                job->exposure_picousd =
                        max64(candidate->cost_ceiling_picousd, candidate->cost_expected_picousd);
        job->amounts = dispatch_amounts(engine, job, candidate->endpoint);
        job->outcome.estimate_known = candidate->cost_known;
        job->outcome.estimate_picousd = candidate->cost_expected_picousd;
        spend_reserve(engine, job);
        job->outcome.decision.chosen = true;
        job->outcome.decision.chosen_endpoint = candidate->endpoint;
        job->outcome.decision.chosen_model = candidate->model;
        struct gates gates = engine_gates(engine, job, job->endpoint);
        for (size_t i = 0; i < GATES_A_CALL; i++)
                gate_open(gates.items[i], &job->amounts);
        quotas_touch(engine, job);
        engine->opened++;
        struct command *command = engine_command(engine, job, COMMAND_OPEN, true);
        command->endpoint = candidate->endpoint;
        command->hold =
                (struct command_hold){job->reserved.journaled, job->reserved.day, job->reserved.picousd};
        command->attempt = job->attempts + 1;
        if (job->exposure_picousd != SPEND_UNKNOWN && !job->spent_unknown)
                command->exposure_picousd = money_add(job->spent_picousd, job->exposure_picousd);
        else
                command->exposure_picousd = SPEND_UNKNOWN;
        engine_arm(engine, job);
}

/* No endpoint can take this job at all. */
static void refuse(struct engine *engine, struct job *job, const struct route *route) {
        if (pick_unbounded(route))
                conclude_say(job,
                             "a budget bounds what it may cost, and the most that it can cost is not known: "
                             "give the model its prices, and the job max_tokens or the model output_max");
        else if (engine->config.by_partition && pick_refusal(route) == FAILURE_BUDGET_EXCEEDED)
                conclude_say(
                        job,
                        "what its partition has of a budget, of its workspace or of a provider, does not "
                        "cover the most that it may cost");
        classes_dequeue(engine, job);
        conclude_without_answer(engine, job, pick_refusal(route));
}

/* The places that are closed to this very job, whatever its class may do. */
static uint32_t closed_places(const struct engine *engine, const struct job *job, const struct route *route) {
        if (job->pinned)
                return ~(1U << job->place);
        uint32_t closed = 0;
        for (uint32_t i = route->usable; i < route->count; i++) {
                enum exclusion why = route->candidates[i].excluded_by;
                if (why == EXCLUSION_CONTEXT_LENGTH || why == EXCLUSION_MAX_COST ||
                    why == EXCLUSION_REFUSED || why == EXCLUSION_AT_LIMIT ||
                    why == EXCLUSION_BUDGET_EXCEEDED || why == EXCLUSION_BUDGET_PRICE_UNKNOWN ||
                    route_goes_by_size(&engine->catalog->endpoints[route->candidates[i].endpoint], why))
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

static struct decision_moment moment_of(const struct engine *engine, const struct job *job) {
        return (struct decision_moment){
                .route = {.now_unix_ms = engine->time.now_unix_ms,
                          .now_ns = engine->time.now_ns,
                          .call_ms = engine->prices_move ? engine_call_ms(engine, job) : 0,
                          .refused = job->refused,
                          .spent_picousd = job->spent_picousd,
                          .seed = engine->config.seed ^ job->key.lo ^ job->attempts},
                .tried = job->tried,
                .pressed = engine_pressed(engine, job),
                .audio_ms = job_demand(job)->audio_ms,
        };
}

/* What the plan for its like says, where there is one. */
static void look_at_plan(struct engine *engine, const struct job *job, struct ranked *ranked) {
        struct plan_pool *pool = planning_pool(engine, job, &ranked->route);
        if (!pool)
                return;
        ranked->moment.planned = true;
        ranked->moment.plan_until_ns = pool->made_ns + PLAN_AGE_NS;
        for (uint32_t place = 0; place < ranked->set->count; place++)
                if (planning_allows(pool, place))
                        ranked->moment.worth |= 1U << place;
}

/*
 * Ranks the places where the job may go; without fallbacks, once it was called, that is one, the only place
 * of a set of its own.
 */
static void rank(struct engine *engine, struct job *job, struct job_class *job_class,
                 struct ranked *out_ranked) {
        struct decision_moment moment = moment_of(engine, job);
        const struct route_set *set = &job_class->set;
        route_set_prices(engine->catalog, job_demand(job), &job_class->set, moment.route.now_unix_ms);
        if (job->pinned) {
                route_set_one(set, job->place, &out_ranked->only);
                set = &out_ranked->only;
                moment.route.refused = job->refused >> job->place & 1U;
                moment.tried = job->tried >> job->place & 1U;
        }
        moment.truncated = set->truncated;
        for (uint32_t i = 0; i < set->count; i++)
                dispatch_view(engine, job, set->endpoints[i], &out_ranked->states[i]);
        compare_paces(engine, set, out_ranked->states);
        for (uint32_t i = 0; i < set->count; i++)
                record_round(&out_ranked->states[i]);
        out_ranked->set = set;
        out_ranked->moment = moment;
        route_rank(engine->catalog, job_demand(job), set, out_ranked->states, &moment.route,
                   &out_ranked->route);
        look_at_plan(engine, job, out_ranked);
        record_decision(engine, job, out_ranked);
}

/* Where it only waits for a word on a budget, that is asked for. */
static void want_money(struct engine *engine, const struct job *job, const struct route *route) {
        for (uint32_t i = 0; i < route->usable; i++)
                if (route->candidates[i].excluded_by == EXCLUSION_BUDGET_EXCEEDED)
                        spend_want(engine, job, &route->candidates[i]);
}

/* The first job of the class whose turn it is goes somewhere, or the class is blocked. */
static void open_first(struct engine *engine, const struct turn *turn) {
        struct job_class *job_class = turn->job_class;
        struct job *job = classes_first(job_class);
        struct ranked ranked;
        rank(engine, job, job_class, &ranked);
        const struct route *route = &ranked.route;
        if (route->usable == 0) {
                refuse(engine, job, route);
                return;
        }
        want_money(engine, job, route);
        int64_t wake_ns = NEVER_NS;
        const struct candidate *candidate = pick(job_demand(job), route, &ranked.moment, &wake_ns);
        uint32_t closed = closed_places(engine, job, route);
        if (candidate) {
                open_at(engine, job, candidate);
                order_opened(engine, turn, candidate->endpoint);
        } else if (job->tried) { /* nobody else can take it now */
                classes_dequeue(engine, job);
                conclude_back_off(engine, job);
        } else if (closed != job_class->closed) { /* what holds it need not hold the others */
                classes_move(engine, job, closed);
        } else {
                if (route->candidates[0].excluded_by == EXCLUSION_BUDGET_EXCEEDED)
                        engine->stats.budget_until_ns = route->candidates[0].ready_ns;
                order_block(engine, job_class, wake_ns);
        }
}

void dispatch_open(struct engine *engine) {
        int64_t room = (int64_t)engine->config.in_flight_max + engine->config.open_ahead;
        if (engine->draining || engine->held)
                return;
        order_wake(engine);
        while (room > (int64_t)engine->in_flight + engine->opened && engine_out_room(engine, 2)) {
                struct turn turn = order_next(engine);
                if (!turn.job_class)
                        return;
                open_first(engine, &turn);
        }
}

static void call_now(struct engine *engine, struct job *job, const struct gates *gates,
                     const struct amounts *amounts) {
        struct endpoint_state *state = &engine->endpoints[job->endpoint];
        int64_t now_ns = engine->time.now_ns;
        quotas_called(engine, gates, &job->amounts);
        for (size_t i = 0; i < GATES_A_CALL; i++) {
                gate_unopen(gates->items[i], &job->amounts);
                gate_take(gates->items[i], amounts, now_ns);
        }
        quotas_touch(engine, job);
        health_started(&state->health, now_ns);
        engine->opened--;
        engine->in_flight++;
        engine->pace_calls++;
        list_unlink(&job->link);
        engine_move(engine, job, JOB_CALLING);
        job->amounts = *amounts;
        job->pinned = !job_demand(job)->prefs.allow_fallbacks && job_demand(job)->prefs.order.count == 0;
        job->attempts++;
        job->called_under = engine->generation;
        job->call_unix_ms = engine->time.now_unix_ms;
        job->call_until_unix_ms = job->call_unix_ms + engine_call_ms(engine, job);
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

/*
 * One that is ready. false: it waits, and so do those behind it, unless it is only its own workspace that has
 * no room: then out_passed.
 */
static bool call_ready(struct engine *engine, struct job *job, bool *out_passed) {
        int64_t now_ns = engine->time.now_ns;
        struct gates gates = engine_gates(engine, job, job->endpoint);
        const struct gate *workspace = gates.items[GATES_A_CALL - 1];
        struct amounts amounts = dispatch_amounts(engine, job, job->endpoint);
        int64_t permit_ns = permit_when(&gates, &amounts, false, now_ns);
        bool older = job->outcome.decision.catalog != engine->catalog; /* by other prices, perhaps */
        if (permit_ns > now_ns + READY_PATIENCE_NS || any_closed(&gates) || older ||
            !spend_covers(engine, job) || !quotas_cover(engine, job, &gates, &amounts) ||
            route_check(engine->catalog, job_demand(job), job->endpoint, engine->time.now_unix_ms) !=
                    EXCLUSION_NONE) {
                conclude_unsent(engine, job);
                return true;
        }
        *out_passed = gate_room(workspace, false) <= 0 ||
                      gate_when(gates.items[GATES_A_CALL - 1], &amounts, false, now_ns) > now_ns;
        if (permit_ns > now_ns)
                engine_wake_at(engine, permit_ns);
        if (permit_ns > now_ns || *out_passed)
                return false;
        call_now(engine, job, &gates, &amounts);
        return true;
}

static void withdraw(struct engine *engine, struct endpoint_state *state) {
        while (!list_empty(&state->ready) &&
               engine_out_room(engine, 2)) /* the last one first: each goes to the head of its class */
                conclude_unsent(engine, LIST_ENTRY(state->ready.prev, struct job, link));
}

static void call_endpoint(struct engine *engine, struct endpoint_state *state) {
        int64_t now_ns = engine->time.now_ns;
        uint32_t endpoint = (uint32_t)(state - engine->endpoints);
        bool gone = engine->catalog->endpoints[endpoint].kinds == 0; /* whether or not it has room */
        if (gone || engine->draining || health_when(&state->health, now_ns) > now_ns)
                withdraw(engine, state);
        struct list *next;
        for (struct list *link = state->ready.next; link != &state->ready; link = next) {
                next = link->next;
                bool passed = false;
                bool full = room_at(engine, endpoint, false) <= 0 && !gate_closed(&state->gate) &&
                            !gate_closed(engine_provider(engine, endpoint));
                if (!engine_out_room(engine, 2) || health_when(&state->health, now_ns) > now_ns || full)
                        break;
                if (!call_ready(engine, LIST_ENTRY(link, struct job, link), &passed) && !passed)
                        break;
        }
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
