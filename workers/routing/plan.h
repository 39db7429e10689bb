#pragma once
/*
 * Where and when to do what waits, so that all of it is done by its deadlines as cheaply as the limits allow:
 * which endpoints are worth their price just now, and which work had better wait for cheaper capacity that
 * will still be there in time. Pure; integers only.
 *
 * Time from now on is cut into slices. A cell is one endpoint in one slice: a capacity in jobs, and the cost
 * of a job there and then. A job due in slice d can be done in any cell of the slices 0 to d. Cells are taken
 * in order of cost; each takes the jobs that are due first among those that it can take. The sets of jobs
 * that cells can take are nested (due at s or later), so this is a cheapest plan for the jobs that it does,
 * and it does as many as can be done (the greedy algorithm on a matroid: Edmonds, 1971; for nested sets the
 * earliest due is always a right choice, as with Jackson's rule).
 *
 * It is made anew every few seconds, so it need not be exact about the future: jobs that will come later are
 * not known, and capacities are what they are now.
 */
#include <stdbool.h>
#include <stdint.h>

enum {
        PLAN_OPTIONS_MAX = 32, /* endpoints of one class of jobs */
        PLAN_SLICES = 64,
};

/* The end of each slice, in ns from now: a minute at first, at most an hour, 32 hours in all. */
int64_t plan_slice_end_ns(uint32_t slice);
/*
 * The last slice that is over by then: what is due at `until_ns` from now can be done in slices up to that
 * one. false: not even the first one is over; such work is for now, whatever it costs.
 */
bool plan_due_slice(int64_t until_ns, uint32_t *out_slice);

struct plan_option {
        int64_t capacity[PLAN_SLICES];     /* jobs; INT64_MAX: as many as there are */
        int64_t cost_picousd[PLAN_SLICES]; /* of a job */
};

struct plan {
        const struct plan_option *options;
        uint32_t options_count;
        int64_t due[PLAN_SLICES]; /* jobs that wait, by the last slice in which they can be done */
};

struct plan_result {
        int64_t now[PLAN_OPTIONS_MAX]; /* jobs that each option should take in slice 0 */
        int64_t done;                  /* jobs that can be done by when they are due */
        int64_t cost_picousd;          /* of those */
};

/*
 * Jobs that fit nowhere are given to whatever there is left in slice 0, cheapest first, and do not count as
 * done: late is better than never.
 */
void plan_make(const struct plan *plan, struct plan_result *out_result);
