#pragma once
/*
 * A limit per window that is a bound: whatever the calls, the sum admitted in any window of `window_ns` never
 * exceeds `limit`. Kept as a ring of LIMITER_SLOTS + 1 sub-windows, counted conservatively (one that is
 * partly inside counts whole), plus pacing: no more than a second's worth ahead of an even flow, so that
 * providers that judge by the second are not met with a minute's burst; an amount that is more than that by
 * itself waits until the flow has caught up. Windows longer than LIMITER_PACED_NS are not paced: a day's
 * quota is there to be used when there is work. A single amount above `limit` is never admitted:
 * LIMITER_NEVER. limit 0 admits everything. A part of a limit (limiter_share) may be too small for an amount,
 * or nothing: such an amount waits, since the part may grow; only one above the whole limit is never
 * admitted. O(1) amortised, no allocation; only while the limit is reached does limiter_when() look at up to
 * LIMITER_SLOTS sub-windows.
 */
#include <stdbool.h>
#include <stdint.h>

enum { LIMITER_SLOTS = 120, LIMITER_RING = LIMITER_SLOTS + 1 };
#define LIMITER_NEVER INT64_MAX

struct limiter {
        int64_t limit, window_ns;
        int64_t width_ns;       /* of a sub-window */
        int64_t whole;          /* the limit of which `limit` may be a part; 0: admits everything */
        int64_t paced_until_ns; /* theoretical arrival time of the next unit */
        int64_t slot_start_ns;  /* start of the current sub-window */
        int64_t sum;
        uint32_t slot;
        int64_t counts[LIMITER_RING];
};

void limiter_init(struct limiter *limiter, int64_t limit, int64_t window_ns, int64_t now_ns);
/*
 * Before anything is taken: the limiter's sub-windows are those of all limiters of its window that are
 * aligned by the same clock, which shows clock_ns now. Paced ones need not be.
 */
void limiter_align(struct limiter *limiter, int64_t clock_ns, int64_t now_ns);
/*
 * From here on the limit is kept + fresh + used, parts of the whole. `kept` of it was there before: of what
 * was taken, that share stays, and the rest has gone with the parts that were lost. `used` counts as taken
 * now, as does what of `kept` is more than there was.
 */
void limiter_share(struct limiter *limiter, int64_t kept, int64_t fresh, int64_t used, int64_t now_ns);
/*
 * `part` of the limit is not ours any more. Of what was taken, its share goes with it, by sub-windows as
 * limiter_taken() names them: what goes and what stays is together what there was, and within the parts if it
 * was within the limit.
 */
void limiter_give(struct limiter *limiter, int64_t part, int64_t now_ns, int64_t out_taken[LIMITER_RING]);
/*
 * That was taken of the limit before `until_ns`, and after the sub-window began that ends then; somewhere
 * else, or in an earlier life. What is to come was taken now.
 */
void limiter_add(struct limiter *limiter, int64_t amount, int64_t until_ns, int64_t now_ns);
/*
 * What was taken in one sub-window, the current one (back 0) or one of the LIMITER_SLOTS before it: all of it
 * before out_until_ns. The current one is that of the last call with a time.
 */
int64_t limiter_taken(const struct limiter *limiter, uint32_t back, int64_t *out_until_ns);
/* From here on that is the limit, and `part` of it is ours. What was taken in the window stays taken. */
void limiter_change(struct limiter *limiter, int64_t whole, int64_t part);
/*
 * When `amount` may be taken: now_ns or earlier means now; a later time means look again then (a lower
 * bound); LIMITER_NEVER.
 */
int64_t limiter_when(struct limiter *limiter, int64_t amount, int64_t now_ns);
/* Takes it; the caller has just seen limiter_when() <= now_ns for it. */
void limiter_take(struct limiter *limiter, int64_t amount, int64_t now_ns);
/*
 * Corrects what was taken too low (the call used more); never refunds. May bring the sum above the
 * limit: then nothing is admitted until enough of it has slid out.
 */
void limiter_charge(struct limiter *limiter, int64_t amount, int64_t now_ns);
