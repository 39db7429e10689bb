/* The window of open offsets: by example, and against a list of states that needs no cleverness. */
#include "broker/base/prng.h"
#include "broker/core/window.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void starts_empty(void **state) {
        (void)state;
        struct window window;
        uint64_t oldest = 77;
        assert_true(window_init(&window, 100));
        assert_int_equal(window.span_max, 128);
        window_start(&window, 5);
        assert_int_equal(window.mark, 5);
        assert_int_equal(window.next, 5);
        assert_false(window_oldest(&window, &oldest));
        assert_int_equal(oldest, 77);
        assert_false(window_settle(&window, 5));
        assert_false(window_settle(&window, 4));
        window_deinit(&window);
        window_deinit(&window);
}

static void mark_waits_for_the_oldest(void **state) {
        (void)state;
        struct window window;
        uint64_t oldest = 0;
        assert_true(window_init(&window, 64));
        window_start(&window, 10);
        for (uint64_t offset = 10; offset < 14; offset++)
                window_receive(&window, offset);
        assert_true(window_settle(&window, 11));
        assert_true(window_settle(&window, 13));
        assert_int_equal(window.mark, 10);
        assert_true(window_oldest(&window, &oldest));
        assert_int_equal(oldest, 10);
        assert_false(window_settle(&window, 11));
        assert_false(window_settle(&window, 14));
        assert_true(window_settle(&window, 10));
        assert_int_equal(window.mark, 12);
        assert_true(window_is_open(&window, 12));
        assert_false(window_is_open(&window, 13));
        assert_true(window_settle(&window, 12));
        assert_int_equal(window.mark, 14);
        assert_int_equal(window.open, 0);
        window_deinit(&window);
}

static void gaps_count_as_settled(void **state) {
        (void)state;
        struct window window;
        assert_true(window_init(&window, 64));
        window_start(&window, 3);
        window_receive(&window, 10);
        assert_int_equal(window.mark, 10);
        window_receive(&window, 20);
        assert_false(window_is_open(&window, 15));
        assert_false(window_settle(&window, 15));
        assert_true(window_settle(&window, 10));
        assert_int_equal(window.mark, 20);
        assert_true(window_settle(&window, 20));
        assert_int_equal(window.mark, 21);
        /* nothing is open: however wide */
        assert_true(window_has_room(&window, 1000000));
        window_receive(&window, 1000000);
        assert_int_equal(window.mark, 1000000);
        assert_int_equal(window.open, 1);
        window_deinit(&window);
}

static void room_ends_with_the_span(void **state) {
        (void)state;
        struct window window;
        assert_true(window_init(&window, 64));
        window_start(&window, 100);
        window_receive(&window, 100);
        assert_true(window_has_room(&window, 163));
        assert_false(window_has_room(&window, 164));
        window_receive(&window, 163);
        assert_false(window_has_room(&window, 164));
        assert_true(window_settle(&window, 100));
        assert_int_equal(window.mark, 163);
        assert_true(window_has_room(&window, 226));
        assert_false(window_has_room(&window, 227));
        window_deinit(&window);
}

static void skips(void **state) {
        (void)state;
        struct window window;
        assert_true(window_init(&window, 64));
        window_start(&window, 7);
        window_skip(&window, 9);
        assert_int_equal(window.mark, 9);
        window_skip(&window, 8);
        assert_int_equal(window.mark, 9);
        window_receive(&window, 9);
        window_skip(&window, 5000); /* beyond the span, with one open */
        assert_int_equal(window.mark, 9);
        assert_int_equal(window.next, 5000);
        assert_false(window_has_room(&window, 5000));
        assert_false(window_settle(&window, 4000));
        assert_true(window_settle(&window, 9));
        assert_int_equal(window.mark, 5000);
        /* skipped behind an open one, then more received: a gap like any other */
        window_receive(&window, 5000);
        window_skip(&window, 5010);
        window_receive(&window, 5020);
        assert_true(window_settle(&window, 5000));
        assert_int_equal(window.mark, 5020);
        window_deinit(&window);
}

static void starts_anew(void **state) {
        (void)state;
        struct window window;
        assert_true(window_init(&window, 64));
        window_start(&window, 0);
        for (uint64_t offset = 0; offset < 64; offset++)
                window_receive(&window, offset);
        window_start(&window, 32);
        assert_int_equal(window.open, 0);
        assert_false(window_settle(&window, 40));
        window_receive(&window, 32);
        window_receive(&window, 33);
        assert_true(window_settle(&window, 32));
        assert_int_equal(window.mark, 33);
        window_deinit(&window);
}

/* The mark passes a whole span of settled offsets at once, and the ring comes round many times. */
static void mark_moves_over_whole_words(void **state) {
        (void)state;
        enum { SPAN = 1 << 20, ROUNDS = 2000 };
        struct window window;
        assert_true(window_init(&window, SPAN));
        window_start(&window, 0);
        uint64_t offset = 13;
        window_receive(&window, offset);
        for (int round = 0; round < ROUNDS; round++) {
                assert_false(window_has_room(&window, offset + SPAN));
                window_receive(&window, offset + SPAN - 1);
                assert_true(window_settle(&window, offset));
                offset += SPAN - 1;
                assert_int_equal(window.mark, offset);
        }
        window_deinit(&window);
}

/* --- against a naive model --- */

enum { MODEL_MAX = 200000 };
enum fate { FATE_NONE, FATE_OPEN, FATE_SETTLED };

struct model {
        uint64_t base, next;
        uint8_t fates[MODEL_MAX]; /* by offset - base */
};

static struct model model;

static uint64_t model_mark(void) {
        for (uint64_t offset = model.base; offset < model.next; offset++)
                if (model.fates[offset - model.base] == FATE_OPEN)
                        return offset;
        return model.next;
}

static uint32_t model_open(uint64_t mark) {
        uint32_t open = 0;
        for (uint64_t offset = mark; offset < model.next; offset++)
                open += model.fates[offset - model.base] == FATE_OPEN;
        return open;
}

static void agree(const struct window *window, uint64_t probe) {
        uint64_t mark = model_mark(), oldest = 0;
        assert_int_equal(window->mark, mark);
        assert_int_equal(window->next, model.next);
        assert_int_equal(window->open, model_open(mark));
        assert_int_equal(window_oldest(window, &oldest), window->open > 0);
        if (window->open > 0)
                assert_int_equal(oldest, mark);
        bool open = probe >= model.base && probe < model.next && model.fates[probe - model.base] == FATE_OPEN;
        assert_int_equal(window_is_open(window, probe), open);
}

static bool act(struct window *window, struct prng *prng, uint64_t gap_max, uint32_t settle_share) {
        uint64_t mark = model_mark();
        uint64_t ahead = model.next + prng_below(prng, gap_max + 1);
        if (ahead - model.base + 2 >= MODEL_MAX)
                return false;
        if (prng_below(prng, 100) < settle_share) {
                /* anything around: open, settled, a gap, behind, ahead */
                uint64_t reach = model.next - mark + 4;
                uint64_t offset = mark + prng_below(prng, reach) - (mark > model.base + 2 ? 2 : 0);
                bool open = offset < model.next && model.fates[offset - model.base] == FATE_OPEN;
                assert_int_equal(window_settle(window, offset), open);
                if (open)
                        model.fates[offset - model.base] = FATE_SETTLED;
        } else if (prng_below(prng, 20) == 0) {
                window_skip(window, ahead);
                model.next = ahead > model.next ? ahead : model.next;
        } else {
                bool room = mark == model.next || ahead - mark < window->span_max;
                assert_int_equal(window_has_room(window, ahead), room);
                if (!room)
                        return true;
                window_receive(window, ahead);
                model.fates[ahead - model.base] = FATE_OPEN;
                model.next = ahead + 1;
        }
        return true;
}

static void does_what_the_model_does(void **state) {
        (void)state;
        static const uint32_t spans[] = {1, 64, 65, 128, 512, 1000};
        static const uint64_t gaps[] = {0, 1, 3, 70, 300};
        for (uint64_t seed = 1; seed <= 300; seed++) {
                struct prng prng;
                struct window window;
                prng_init(&prng, seed);
                memset(&model, 0, sizeof(model));
                assert_true(window_init(&window, spans[prng_below(&prng, 6)]));
                model.base = model.next = prng_below(&prng, 2) ? prng_below(&prng, 5000) : UINT64_MAX / 2;
                window_start(&window, model.base);
                uint64_t gap_max = gaps[prng_below(&prng, 5)];
                /* the share of settling goes up and down, so that the window fills and empties */
                for (uint32_t step = 0; step < 1500; step++) {
                        uint32_t share = step / 250 % 2 == 0 ? 30 : 80;
                        if (!act(&window, &prng, gap_max, share))
                                break;
                        agree(&window, model_mark() + prng_below(&prng, 100));
                }
                window_deinit(&window);
        }
}

/* --- what is refused as a bug --- */

static void dies(void (*what)(struct window *)) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                struct window window;
                signal(SIGABRT, SIG_DFL);
                if (!freopen("/dev/null", "w", stderr) || !window_init(&window, 64))
                        _exit(1);
                window_start(&window, 10);
                window_receive(&window, 10);
                what(&window);
                _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void receive_again(struct window *window) {
        window_receive(window, 10);
}
static void receive_without_room(struct window *window) {
        window_receive(window, 74);
}
static void receive_the_last_number(struct window *window) {
        window_settle(window, 10);
        window_receive(window, UINT64_MAX);
}
static void make_too_wide(struct window *window) {
        window_deinit(window);
        (void)window_init(window, WINDOW_SPAN_MAX + 1);
}

static void refuses_misuse(void **state) {
        (void)state;
        dies(receive_again);
        dies(receive_without_room);
        dies(receive_the_last_number);
        dies(make_too_wide);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(starts_empty),
                cmocka_unit_test(mark_waits_for_the_oldest),
                cmocka_unit_test(gaps_count_as_settled),
                cmocka_unit_test(room_ends_with_the_span),
                cmocka_unit_test(skips),
                cmocka_unit_test(starts_anew),
                cmocka_unit_test(mark_moves_over_whole_words),
                cmocka_unit_test(does_what_the_model_does),
                cmocka_unit_test(refuses_misuse),
        };
        return cmocka_run_group_tests_name("window", tests, NULL, NULL);
}
