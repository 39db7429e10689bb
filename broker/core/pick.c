#include "broker/core/pick.h"

#include "broker/base/minmax.h"
#include "broker/core/limits.h"

/*
 * Dearer endpoints will do when the cheapest is not fit, is full for long, or when half of the job's time has
 * gone.
 */
static bool accepts_dearer(const struct demand *demand, const struct decision_moment *moment,
                           const struct candidate *best) {
        bool brief =
                best->excluded_by == EXCLUSION_AT_LIMIT || best->excluded_by == EXCLUSION_BUDGET_EXCEEDED;
        if (demand->prefs.sort != SORT_PRICE || !brief)
                return true;
        if (moment->pressed)
                return true;
        return best->ready_ns - moment->route.now_ns > PATIENCE_NS;
}

/* Neither is to be waited for on account of the other: they cost the same, or share the load. */
static bool same_cost(const struct candidate *a, const struct candidate *b) {
        if (a->shares && b->shares)
                return true;
        return a->cost_known == b->cost_known && a->model == b->model &&
               (!a->cost_known || a->cost_expected_picousd == b->cost_expected_picousd);
}

/* Behind the best only because it is slow: better than to wait until there is room at a dearer one. */
static bool only_slower(const struct candidate *best, const struct candidate *candidate) {
        return (candidate->penalties & PENALTY_SLOW) && !(best->penalties & PENALTY_SLOW) &&
               candidate->model == best->model && candidate->cost_known && best->cost_known &&
               candidate->cost_expected_picousd <= best->cost_expected_picousd;
}

/* Where a plan says which candidates are worth using now. */
static const struct candidate *pick_planned(const struct route *route, const struct decision_moment *moment,
                                            int64_t *out_wake_ns) {
        for (uint32_t i = 0; i < route->usable; i++) {
                const struct candidate *candidate = &route->candidates[i];
                if ((moment->tried >> candidate->place & 1U) || !(moment->worth >> candidate->place & 1U))
                        continue;
                if (candidate->ready_ns <= moment->route.now_ns)
                        return candidate;
                *out_wake_ns = min64(*out_wake_ns, candidate->ready_ns);
        }
        *out_wake_ns = min64(*out_wake_ns, moment->plan_until_ns);
        return NULL;
}

const struct candidate *pick(const struct demand *demand, const struct route *route,
                             const struct decision_moment *moment, int64_t *out_wake_ns) {
        const struct candidate *best = NULL;
        if (moment->planned)
                return pick_planned(route, moment, out_wake_ns);
        for (uint32_t i = 0; i < route->usable; i++) {
                const struct candidate *candidate = &route->candidates[i];
                if (moment->tried >> candidate->place & 1U)
                        continue;
                if (best && !same_cost(best, candidate) && !only_slower(best, candidate) &&
                    !accepts_dearer(demand, moment, best))
                        break;
                if (!best)
                        best = candidate;
                if (candidate->ready_ns <= moment->route.now_ns)
                        return candidate;
                *out_wake_ns = min64(*out_wake_ns, candidate->ready_ns);
        }
        return NULL;
}

static bool any(const struct route *route, enum exclusion why) {
        for (uint32_t i = 0; i < route->count; i++)
                if (route->candidates[i].excluded_by == why)
                        return true;
        return false;
}

bool pick_unbounded(const struct route *route) {
        return any(route, EXCLUSION_BUDGET_PRICE_UNKNOWN) && !any(route, EXCLUSION_REFUSED) &&
               !any(route, EXCLUSION_BUDGET_EXCEEDED);
}

static bool all(const struct route *route, enum exclusion why) {
        for (uint32_t i = 0; i < route->count; i++)
                if (route->candidates[i].excluded_by != why)
                        return false;
        return true;
}

enum failure pick_refusal(const struct route *route) {
        if (route->count == 0 || all(route, EXCLUSION_WRONG_ENDPOINT)) /* gone with an earlier catalog */
                return FAILURE_NO_PROVIDER;
        if (any(route, EXCLUSION_REFUSED))
                return FAILURE_ATTEMPTS_EXHAUSTED;
        if (any(route, EXCLUSION_BUDGET_EXCEEDED))
                return FAILURE_BUDGET_EXCEEDED;
        if (pick_unbounded(route))
                return FAILURE_EXCLUDED_BY_POLICY;
        if (any(route, EXCLUSION_CONTEXT_LENGTH) || any(route, EXCLUSION_AT_LIMIT))
                return FAILURE_INPUT_TOO_LARGE;
        if (any(route, EXCLUSION_MAX_COST) || any(route, EXCLUSION_MAX_PRICE))
                return FAILURE_MAX_COST_EXCEEDED;
        return FAILURE_EXCLUDED_BY_POLICY;
}
