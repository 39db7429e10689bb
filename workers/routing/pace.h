#pragma once
/*
 * Grey failure: an endpoint that answers, but far slower than it used to. Pure, fixed memory, O(1).
 *
 * Two measures, each on a logarithmic scale so that single long answers weigh little: the time of a call, and
 * the time per unit of work in it (output tokens, or input tokens where there is no output). Both must have
 * risen: jobs that became longer raise only the one, jobs that became shorter only the other. Calls that do
 * not come back at all are seen by the age of those under way.
 *
 * Marked and unmarked at different speeds and for a least time that doubles when the mark comes back, so
 * that a limit between the two cannot make it flap. Whether the mark counts against the endpoint depends on
 * who else could do the job: see pace_slower().
 */
#include <stdbool.h>
#include <stdint.h>

/* In eighths of octaves, times TEMPO_ONE. */
struct tempo {
        int64_t recent, usual;
        int64_t usual_ns; /* when `usual` was last brought up to date */
        uint32_t answers; /* behind it, as far as they matter */
};

struct pace {
        bool slow;
        bool suspected;
        uint32_t slow_in_row, well_in_row;
        uint32_t in_flight;
        int64_t started_sum_ms; /* of the calls in flight */
        struct tempo call, unit;
        int64_t answered_ns;  /* the last answer */
        int64_t good_ns;      /* the last one that was not slow */
        int64_t suspected_ns; /* since when */
        int64_t slow_since_ns, slow_for_ns, well_since_ns, probe_ns;
        int64_t worst_ns; /* how long calls took since it is marked: what its peers are compared with */
};

void pace_init(struct pace *pace, int64_t now_ns);
void pace_started(struct pace *pace, int64_t now_ns);
/* The call that started then is over, in whatever way. */
void pace_ended(struct pace *pace, int64_t started_ns);
/* A result. `units` of work: <= 0 when nobody can tell. */
void pace_answered(struct pace *pace, int64_t latency_ns, int64_t units, int64_t now_ns);
/* Time has passed. `p99_ns` of the latency over the last minutes; 0: not known. */
void pace_look(struct pace *pace, int64_t p99_ns, int64_t now_ns);

/* It is marked, and it is not time for a call that finds out whether it still should be. */
bool pace_avoided(const struct pace *pace, int64_t now_ns);
/* `peer` does better: it is not marked nor about to be, and quicker by half, or not known yet. */
bool pace_slower(const struct pace *pace, const struct pace *peer, int64_t now_ns);
