#include "broker/core/window.h"

#include "broker/base/check.h"

#include <stdlib.h>

enum { WORD_BITS = 64 };

static uint32_t word_of(const struct window *window, uint64_t offset) {
        return (uint32_t)(offset & (window->span_max - 1)) / WORD_BITS;
}

static uint32_t bit_of(uint64_t offset) {
        return (uint32_t)(offset % WORD_BITS); /* the span is a multiple of the word */
}

bool window_init(struct window *window, uint32_t span_max) {
        CHECK(span_max > 0 && span_max <= WINDOW_SPAN_MAX);
        uint32_t span = WORD_BITS;
        while (span < span_max)
                span *= 2;
        *window = (struct window){.span_max = span};
        window->settled = calloc(span / WORD_BITS, sizeof(*window->settled));
        return window->settled != NULL;
}

void window_deinit(struct window *window) {
        free(window->settled);
        window->settled = NULL;
}

void window_start(struct window *window, uint64_t offset) {
        window->mark = window->next = window->received = offset;
        window->open = 0;
}

bool window_has_room(const struct window *window, uint64_t offset) {
        return window->open == 0 || offset - window->mark < window->span_max;
}

/* The offsets from `from` to below `to` are settled, a word at a time. */
static void fill(struct window *window, uint64_t from, uint64_t to) {
        while (from < to) {
                uint64_t bits = ~UINT64_C(0) << bit_of(from);
                uint64_t end = from - bit_of(from) + WORD_BITS; /* of the word */
                if (end > to)
                        bits &= ~UINT64_C(0) >> (end - to);
                window->settled[word_of(window, from)] |= bits;
                from = end;
        }
}

void window_receive(struct window *window, uint64_t offset) {
        CHECK(offset >= window->next && offset < UINT64_MAX && window_has_room(window, offset));
        if (window->open == 0)
                window->mark = offset;
        else
                fill(window, window->received, offset);
        window->settled[word_of(window, offset)] &= ~(UINT64_C(1) << bit_of(offset));
        window->received = window->next = offset + 1;
        window->open++;
}

bool window_is_open(const struct window *window, uint64_t offset) {
        if (window->open == 0 || offset < window->mark || offset >= window->received)
                return false;
        return (window->settled[word_of(window, offset)] >> bit_of(offset) & 1) == 0;
}

/* To the next open offset; there is one. */
static void move_mark(struct window *window) {
        for (;;) {
                uint32_t bit = bit_of(window->mark);
                uint64_t open = ~window->settled[word_of(window, window->mark)] >> bit;
                if (open != 0) {
                        window->mark += (uint64_t)__builtin_ctzll(open);
                        break;
                }
                window->mark += WORD_BITS - bit;
                CHECK(window->mark < window->received);
        }
}

bool window_settle(struct window *window, uint64_t offset) {
        if (!window_is_open(window, offset))
                return false;
        window->settled[word_of(window, offset)] |= UINT64_C(1) << bit_of(offset);
        window->open--;
        if (window->open == 0)
                window->mark = window->next;
        else if (offset == window->mark)
                move_mark(window);
        return true;
}

void window_skip(struct window *window, uint64_t offset) {
        if (offset <= window->next)
                return;
        window->next = offset;
        if (window->open == 0)
                window->mark = offset;
}

bool window_oldest(const struct window *window, uint64_t *out_offset) {
        if (window->open == 0)
                return false;
        *out_offset = window->mark;
        return true;
}
