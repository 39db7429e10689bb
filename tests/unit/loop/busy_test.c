/* When a loop counts as busy. */
#include "broker/base/time.h"
#include "broker/loop/busy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* So many turns of 1 ms, of which it sleeps `asleep_us`. Gives how often that changed. */
static unsigned turn(struct busy *busy, int64_t *now_ns, unsigned turns, int64_t asleep_us) {
        unsigned changes = 0;
        for (; turns > 0; turns--) {
                int64_t awake_ns = NS_PER_MS - asleep_us * NS_PER_US;
                *now_ns += awake_ns;
                int64_t before_ns = *now_ns;
                *now_ns += asleep_us * NS_PER_US;
                changes += busy_slept(busy, before_ns, *now_ns);
        }
        return changes;
}

static void follows_the_load(void **state) {
        struct busy busy = {0};
        int64_t now_ns = 1000 * NS_PER_S;
        (void)state;
        assert_int_equal(turn(&busy, &now_ns, 1, 0), 0); /* of what was before nothing is known */
        assert_int_equal(turn(&busy, &now_ns, 99, 150), 0);
        assert_int_equal(turn(&busy, &now_ns, 2, 150), 1);
        assert_true(busy.is);
        assert_int_equal(turn(&busy, &now_ns, 1000, 150), 0); /* 15 % asleep: it stays so */
        assert_int_equal(turn(&busy, &now_ns, 200, 250), 1);
        assert_false(busy.is);
        assert_int_equal(turn(&busy, &now_ns, 1000, 250), 0);
        now_ns += 3600 * NS_PER_S;
        assert_false(busy_slept(&busy, now_ns - 3600 * NS_PER_S, now_ns)); /* a long sleep */
        assert_false(busy.is);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(follows_the_load)};
        return cmocka_run_group_tests(tests, NULL, NULL);
}
