#include "workers/routing/pace.h"

#include "workers/routing/limits.h"
#include "workers/routing/percentiles.h"

#include <string.h>

#define TEMPO_ONE INT64_C(65536)

static int64_t clamped(int64_t value, int64_t min, int64_t max) {
        return value < min ? min : value > max ? max : value;
}

/* How far it is above its usual, in eighths of octaves. */
static int64_t above(const struct tempo *tempo, int64_t at) {
        return (at - tempo->usual) / TEMPO_ONE;
}

static bool is_known(const struct tempo *tempo) {
        return tempo->answers >= USUAL_ANSWERS_MIN;
}

/*
 * At first the usual is the mean of what was seen; then it follows by the clock and not by the number of
 * answers, so that a busy endpoint forgets no faster than a quiet one.
 */
static void tempo_note(struct tempo *tempo, int64_t value, bool slow, int64_t now_ns) {
        int64_t at = (int64_t)bucket_of(value) * TEMPO_ONE;
        if (tempo->answers == 0)
                tempo->recent = tempo->usual = at;
        tempo->recent += (at - tempo->recent) / (slow ? 2 : 4);
        if (!is_known(tempo)) {
                tempo->usual += (at - tempo->usual) / (int64_t)++tempo->answers;
                tempo->usual_ns = now_ns;
                return;
        }
        int64_t follows_ns = slow ? USUAL_SLOW_NS : USUAL_NS, apart_ns = now_ns - tempo->usual_ns;
        if (apart_ns < NS_PER_S)
                return;
        int64_t share_ms = clamped(apart_ns, 0, follows_ns / 8) / NS_PER_MS;
        tempo->usual += (tempo->recent - tempo->usual) * share_ms / (follows_ns / NS_PER_MS);
        tempo->usual_ns = now_ns;
}

void pace_init(struct pace *pace, int64_t now_ns) {
        memset(pace, 0, sizeof *pace);
        pace->slow_for_ns = SLOW_FOR_MIN_NS;
        pace->answered_ns = pace->good_ns = now_ns;
        pace->well_since_ns = now_ns - BREAKER_FORGET_NS;
}

/* The mean age of the calls under way; 0 without any. */
static int64_t age_ns(const struct pace *pace, int64_t now_ns) {
        if (pace->in_flight == 0)
                return 0;
        int64_t mean_ms = now_ns / NS_PER_MS - pace->started_sum_ms / (int64_t)pace->in_flight;
        return mean_ms * NS_PER_MS;
}

/* How long a call takes by the answers. */
static int64_t answer_ns(const struct pace *pace) {
        return bucket_value((int32_t)(pace->call.recent / TEMPO_ONE));
}

/* The same while marked: by those under way as long as no quick answer has come. */
static int64_t takes_ns(const struct pace *pace, int64_t now_ns) {
        int64_t seen_ns = answer_ns(pace), open_ns = age_ns(pace, now_ns);
        return pace->well_in_row == 0 && open_ns > seen_ns ? open_ns : seen_ns;
}

static void plan_probe(struct pace *pace, int64_t now_ns) {
        int64_t now_takes_ns = takes_ns(pace, now_ns);
        if (now_takes_ns > pace->worst_ns)
                pace->worst_ns = now_takes_ns;
        pace->probe_ns = now_ns + clamped(2 * now_takes_ns, SLOW_PROBE_MIN_NS, SLOW_PROBE_MAX_NS);
}

void pace_started(struct pace *pace, int64_t now_ns) {
        pace->in_flight++;
        pace->started_sum_ms += now_ns / NS_PER_MS;
        if (pace->slow)
                plan_probe(pace, now_ns);
}

void pace_ended(struct pace *pace, int64_t started_ns) {
        pace->in_flight--;
        pace->started_sum_ms -= started_ns / NS_PER_MS;
}

static void mark(struct pace *pace, int64_t now_ns) {
        bool again = now_ns - pace->well_since_ns < BREAKER_FORGET_NS;
        pace->slow_for_ns = again ? clamped(2 * pace->slow_for_ns, 0, SLOW_FOR_MAX_NS) : SLOW_FOR_MIN_NS;
        pace->slow = true;
        pace->suspected = false;
        pace->slow_since_ns = now_ns;
        pace->well_in_row = 0;
        pace->worst_ns = 0;
        plan_probe(pace, now_ns);
}

static void unmark(struct pace *pace, int64_t now_ns) {
        pace->slow = false;
        pace->well_since_ns = now_ns;
        pace->slow_in_row = 0;
}

static void suspect(struct pace *pace, bool slow, int64_t now_ns) {
        if (!slow || pace->slow) {
                pace->suspected = false;
        } else if (!pace->suspected) {
                pace->suspected = true;
                pace->suspected_ns = now_ns;
        } else if (now_ns - pace->suspected_ns >= SLOW_AFTER_NS) {
                mark(pace, now_ns);
        }
}

/* Both measures, where both are known. */
static bool all_above(const struct pace *pace, int64_t call, int64_t unit, int64_t buckets) {
        return is_known(&pace->call) && above(&pace->call, call) >= buckets &&
               (!is_known(&pace->unit) || above(&pace->unit, unit) >= buckets);
}

static bool answers_slowly(const struct pace *pace) {
        return pace->slow_in_row >= SLOW_IN_ROW &&
               all_above(pace, pace->call.recent, pace->unit.recent, SLOW_BUCKETS);
}

void pace_answered(struct pace *pace, int64_t latency_ns, int64_t units, int64_t now_ns) {
        if (latency_ns <= 0)
                return;
        int64_t unit_ns = units > 0 ? latency_ns / units : 0;
        int64_t unit = units > 0 ? (int64_t)bucket_of(unit_ns) * TEMPO_ONE : INT64_MAX / 2;
        bool slow = all_above(pace, (int64_t)bucket_of(latency_ns) * TEMPO_ONE, unit, SLOW_BUCKETS);
        pace->slow_in_row = slow ? pace->slow_in_row + 1 : 0;
        pace->well_in_row = slow ? 0 : pace->well_in_row + 1;
        pace->answered_ns = now_ns;
        if (!slow)
                pace->good_ns = now_ns;
        tempo_note(&pace->call, latency_ns, pace->slow, now_ns);
        if (units > 0)
                tempo_note(&pace->unit, unit_ns, pace->slow, now_ns);
        if (!pace->slow)
                suspect(pace, answers_slowly(pace), now_ns);
        else if (pace->well_in_row == 1) /* the first after slow ones: the next to be asked soon */
                plan_probe(pace, now_ns);
        else if (pace->well_in_row >= SLOW_IN_ROW && now_ns - pace->slow_since_ns >= pace->slow_for_ns &&
                 !all_above(pace, pace->call.recent, pace->unit.recent, WELL_BUCKETS))
                unmark(pace, now_ns);
}

/* Calls are under way for far longer than nearly all others took, and no quick answer came meanwhile. */
static bool hangs(const struct pace *pace, int64_t p99_ns, int64_t now_ns) {
        int64_t long_ns = clamped(p99_ns, 0, INT64_MAX / SLOW_HANGING_TIMES) * SLOW_HANGING_TIMES;
        long_ns = clamped(long_ns, SLOW_HANGING_MIN_NS, INT64_MAX);
        return p99_ns > 0 && is_known(&pace->call) && pace->in_flight >= SLOW_HANGING_CALLS &&
               age_ns(pace, now_ns) > long_ns && now_ns - pace->good_ns > long_ns;
}

void pace_look(struct pace *pace, int64_t p99_ns, int64_t now_ns) {
        if (!pace->slow) {
                suspect(pace, answers_slowly(pace) || hangs(pace, p99_ns, now_ns), now_ns);
        } else if (pace->in_flight == 0 && now_ns - pace->answered_ns >= SLOW_FORGET_NS &&
                   now_ns - pace->slow_since_ns >= SLOW_FORGET_NS) {
                unmark(pace, now_ns);
                pace->call.recent = pace->call.usual;
                pace->unit.recent = pace->unit.usual;
        }
}

bool pace_avoided(const struct pace *pace, int64_t now_ns) {
        return pace->slow && now_ns < pace->probe_ns;
}

bool pace_slower(const struct pace *pace, const struct pace *peer, int64_t now_ns) {
        if (peer->slow || peer->suspected)
                return false;
        if (peer->call.answers == 0 || now_ns - peer->answered_ns >= SLOW_FORGET_NS)
                return true;
        return pace->worst_ns / 3 * 2 > answer_ns(peer);
}
