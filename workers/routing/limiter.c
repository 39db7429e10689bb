/*
 * See the header. The ring holds the current sub-window [slot_start, slot_start + width) and the
 * LIMITER_SLOTS before it, where LIMITER_SLOTS * width >= window_ns. So for any `now` in the current sub-
 * window, [now - window_ns, now] lies inside the ring, and sum(ring) <= limit at every take makes the limit
 * hold for every position of the window.
 *
 * The price of counting whole sub-windows is that a limit is usable to LIMITER_SLOTS / (LIMITER_SLOTS + 1).
 *
 * In windows that are not paced, sub-windows begin at multiples of their width on a clock that processes
 * share (limiter_align), so that what one of them has taken stands in the same sub-window elsewhere, however
 * often it is moved; and the ring reaches back for one sub-window more than the window, so that clocks may
 * differ by nearly so much.
 *
 * The pacer is the generic cell rate algorithm (ATM Forum TM 4.0, 4.4.2): paced_until_ns is when an even
 * flow would have used up what was taken.
 */
#include "workers/routing/limiter.h"

#include "broker/base/check.h"
#include "workers/routing/limits.h"

#include <string.h>

/* What was charged comes from outside: it saturates here, which is far above any limit. */
#define SUM_MAX (INT64_MAX / 4)

enum { RING = LIMITER_RING };

__extension__ typedef unsigned __int128 wide;

static bool is_paced(const struct limiter *limiter) {
        return limiter->window_ns <= LIMITER_PACED_NS;
}

/* How long an even flow takes for it; at most a window. */
static int64_t flow_ns(const struct limiter *limiter, int64_t amount) {
        if (amount >= limiter->limit)
                return limiter->window_ns;
        uint64_t product;
        if (!__builtin_mul_overflow((uint64_t)amount, (uint64_t)limiter->window_ns, &product))
                return (int64_t)(product / (uint64_t)limiter->limit);
        return (int64_t)((wide)amount * (wide)limiter->window_ns / (wide)limiter->limit);
}

/* When the flow admits it, a little ahead of its even pace. */
static int64_t paced_ns(const struct limiter *limiter, int64_t amount) {
        int64_t needs_ns = flow_ns(limiter, amount);
        int64_t ahead_ns = needs_ns < LIMITER_AHEAD_NS ? LIMITER_AHEAD_NS - needs_ns : 0;
        return limiter->paced_until_ns - ahead_ns;
}

static void advance(struct limiter *limiter, int64_t now_ns) {
        int64_t width = limiter->width_ns;
        if (now_ns - limiter->slot_start_ns < width)
                return;
        int64_t steps = (now_ns - limiter->slot_start_ns) / width;
        limiter->slot_start_ns += steps * width;
        if (steps > LIMITER_SLOTS) {
                memset(limiter->counts, 0, sizeof limiter->counts);
                limiter->sum = 0;
                return;
        }
        for (; steps > 0; steps--) {
                limiter->slot = (limiter->slot + 1) % RING;
                limiter->sum -= limiter->counts[limiter->slot];
                limiter->counts[limiter->slot] = 0;
        }
}

/* When the oldest sub-windows that hold `excess` together have all slid out. */
static int64_t slid_out_ns(const struct limiter *limiter, int64_t excess) {
        int64_t at_ns = limiter->slot_start_ns, width = limiter->width_ns;
        for (uint32_t i = 1; i <= RING && excess > 0; i++) {
                excess -= limiter->counts[(limiter->slot + i) % RING];
                at_ns += width;
        }
        return at_ns;
}

/* In the sub-window that is so many before the current one. */
static void add(struct limiter *limiter, uint32_t back, int64_t amount) {
        if (amount > SUM_MAX - limiter->sum)
                amount = SUM_MAX - limiter->sum;
        limiter->counts[(limiter->slot + RING - back) % RING] += amount;
        limiter->sum += amount;
}

static void count(struct limiter *limiter, int64_t amount, int64_t now_ns) {
        add(limiter, 0, amount);
        if (!is_paced(limiter))
                return;
        if (limiter->paced_until_ns < now_ns)
                limiter->paced_until_ns = now_ns;
        limiter->paced_until_ns += flow_ns(limiter, amount);
}

void limiter_init(struct limiter *limiter, int64_t limit, int64_t window_ns, int64_t now_ns) {
        CHECK(limit >= 0 && window_ns > 0);
        memset(limiter, 0, sizeof *limiter);
        limiter->limit = limiter->whole = limit < SUM_MAX ? limit : SUM_MAX;
        limiter->window_ns = window_ns;
        int64_t slots = is_paced(limiter) ? LIMITER_SLOTS : LIMITER_SLOTS - 1;
        limiter->width_ns = (window_ns + slots - 1) / slots;
        limiter->slot_start_ns = now_ns;
        limiter->paced_until_ns = now_ns;
}

void limiter_align(struct limiter *limiter, int64_t clock_ns, int64_t now_ns) {
        CHECK(limiter->sum == 0);
        if (is_paced(limiter) || limiter->whole == 0)
                return;
        int64_t width = limiter->width_ns, since_ns = clock_ns % width;
        limiter->slot_start_ns = now_ns - (since_ns < 0 ? since_ns + width : since_ns);
}

void limiter_change(struct limiter *limiter, int64_t whole, int64_t part) {
        CHECK(whole > 0 && part >= 0 && part <= whole);
        limiter->whole = whole < SUM_MAX ? whole : SUM_MAX;
        limiter->limit = part < SUM_MAX ? part : SUM_MAX;
}

void limiter_give(struct limiter *limiter, int64_t part, int64_t now_ns, int64_t out_taken[LIMITER_RING]) {
        int64_t sum = 0, given = 0;
        CHECK(part >= 0 && part <= limiter->limit);
        advance(limiter, now_ns);
        for (uint32_t back = 0; back < RING; back++) {
                int64_t *taken = &limiter->counts[(limiter->slot + RING - back) % RING];
                sum += *taken;
                int64_t all = part == 0 ? 0 : (int64_t)((wide)sum * (wide)part / (wide)limiter->limit);
                out_taken[back] = all - given;
                *taken -= out_taken[back];
                given = all;
        }
        limiter->sum -= given;
        limiter->limit -= part;
}

void limiter_add(struct limiter *limiter, int64_t amount, int64_t until_ns, int64_t now_ns) {
        CHECK(amount >= 0);
        if (limiter->whole == 0 || amount == 0)
                return;
        advance(limiter, now_ns);
        int64_t width = limiter->width_ns, back = 0;
        if (until_ns <= limiter->slot_start_ns)
                back = until_ns < limiter->slot_start_ns - RING * width
                               ? RING
                               : (limiter->slot_start_ns - until_ns) / width + 1;
        if (back < RING)
                add(limiter, (uint32_t)back, amount);
}

int64_t limiter_taken(const struct limiter *limiter, uint32_t back, int64_t *out_until_ns) {
        CHECK(back < RING);
        *out_until_ns = limiter->slot_start_ns - ((int64_t)back - 1) * limiter->width_ns;
        return limiter->counts[(limiter->slot + RING - back) % RING];
}

void limiter_share(struct limiter *limiter, int64_t kept, int64_t fresh, int64_t used, int64_t now_ns) {
        CHECK(kept >= 0 && fresh >= 0 && used >= 0);
        if (limiter->whole == 0)
                return;
        if (kept > limiter->limit) { /* the whole has more parts than before, which lie elsewhere in it */
                used += kept - limiter->limit;
                kept = limiter->limit;
        }
        int64_t gone[RING];
        limiter_give(limiter, limiter->limit - kept, now_ns, gone);
        limiter->limit = kept + fresh + used;
        add(limiter, 0, used);
}

int64_t limiter_when(struct limiter *limiter, int64_t amount, int64_t now_ns) {
        CHECK(amount >= 0);
        int64_t when_ns = now_ns;
        if (limiter->whole == 0 || amount == 0)
                return when_ns;
        if (amount > limiter->whole)
                return LIMITER_NEVER;
        if (amount > limiter->limit)
                return now_ns + LIMITER_SMALL_PART_NS;
        advance(limiter, now_ns);
        if (is_paced(limiter) && limiter->paced_until_ns > now_ns && when_ns < paced_ns(limiter, amount))
                when_ns = paced_ns(limiter, amount);
        int64_t excess = limiter->sum + amount - limiter->limit;
        if (excess > 0) {
                int64_t out_ns = slid_out_ns(limiter, excess);
                when_ns = when_ns > out_ns ? when_ns : out_ns;
        }
        return when_ns;
}

void limiter_take(struct limiter *limiter, int64_t amount, int64_t now_ns) {
        CHECK(amount >= 0);
        if (limiter->whole == 0 || amount == 0)
                return;
        advance(limiter, now_ns);
        CHECK(amount <= limiter->limit - limiter->sum);
        count(limiter, amount, now_ns);
}

void limiter_charge(struct limiter *limiter, int64_t amount, int64_t now_ns) {
        if (limiter->whole == 0 || amount <= 0)
                return;
        advance(limiter, now_ns);
        count(limiter, amount, now_ns);
        /*
         * What is charged at once cannot be paced any more: the window holds it, and the flow owes it a
         * window at most.
         */
        if (limiter->paced_until_ns > now_ns + limiter->window_ns)
                limiter->paced_until_ns = now_ns + limiter->window_ns;
}
