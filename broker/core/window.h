#pragma once
/*
 * The open offsets of one partition: what was received and is not yet settled. Its mark is the offset that
 * may be committed: everything before it is settled. Offsets may have gaps (transaction markers, compaction):
 * what lies between the last offset received and the next one counts as settled. Pure, one thread; memory is
 * made at window_init() and bounded: a ring of bits. Every operation is O(1) when a run of 64 settled offsets
 * counts as one, since the mark moves over whole words.
 *
 *      settled      1 0 1 1 0 1 0      gap or skipped
 *   ──────────────┬───────────────┬───────────────────┬──────►
 *                mark          received              next
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct window {
        uint64_t mark;     /* the first offset that is not settled, or `next` when none is open */
        uint64_t next;     /* the next offset expected; no lower one can be received */
        uint64_t received; /* behind the last offset received; from there to `next` all is skipped */
        uint32_t span_max; /* of received - mark; a power of two */
        uint32_t open;     /* received and not settled */
        uint64_t *settled; /* a bit per offset of [mark, received), at offset % span_max */
};

enum { WINDOW_SPAN_MAX = 1 << 24 }; /* 2 MiB of bits */

/* false: no memory. `span_max` is 1 to WINDOW_SPAN_MAX and is rounded up to a power of two, 64 at least. */
bool window_init(struct window *window, uint32_t span_max);
void window_deinit(struct window *window); /* a zeroed one too */
/* Forgets everything and begins at `offset`. */
void window_start(struct window *window, uint64_t offset);
/* `offset` can be received whatever lies between; gaps beyond the span only when nothing is open. */
bool window_has_room(const struct window *window, uint64_t offset);
/* `offset` >= next and window_has_room(). */
void window_receive(struct window *window, uint64_t offset);
/* Received and not settled. */
bool window_is_open(const struct window *window, uint64_t offset);
/* false: not open (settled before, or never received); nothing changes. */
bool window_settle(struct window *window, uint64_t offset);
/*
 * The log holds nothing more before `offset`, although nothing was received: the mark will stand there once
 * nothing is open. However far ahead; an offset that is not ahead of `next` changes nothing.
 */
void window_skip(struct window *window, uint64_t offset);
/* The offset that holds the mark; false: nothing is open. */
bool window_oldest(const struct window *window, uint64_t *out_offset);
