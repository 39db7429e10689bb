/*
 * A partition goes and comes back while jobs of it are inside: what the intake does with their records, which
 * come once more.
 */
#include "tests/unit/loop/playing.h"

static void comes_again(void) {
        played.position = played.given_count = 0;
        hears(CONSUMER_LOST);
        hears(CONSUMER_ASSIGNED);
}

/* Refused without a call; nobody will ever see it. */
static void settles(struct job_spec *job) {
        static const struct outcome outcome = {.failure = FAILURE_DEADLINE_EXCEEDED};
        struct intent intent = {.kind = INTENT_SETTLE, .job = job, .outcome = &outcome};
        record_intake_ops.settling(played.intake, &intent);
}

static void gave(size_t index, const char *name) {
        assert_true(index < played.given_count);
        assert_true(bytes_equal_string(played.given[index]->custom_id, name));
}

/*
 * Two under one key are on their way out: they come once more in their order, and before what is behind them.
 */
static void the_first_comes_first(void **state) {
        struct job_spec *strays[3];
        (void)state;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
        memcpy(strays, played.given, sizeof(strays));
        settles(strays[1]);
        settles(strays[0]);
        settles(strays[2]);
        comes_again();
        gather_until(3);
        struct job_spec *records[3];
        memcpy(records, played.given, sizeof(records));
        for (size_t i = 0; i < 3; i++)
                repeats(records[i], strays[i], false);
        played.end = RECORDS; /* one more has come */
        played.given_count = 0;
        ends(strays[1]);
        ends(strays[0]);
        ends(strays[2]);
        gather();
        assert_true(played.given_count == 0 || played.given_count == RECORDS);
        gather_until(RECORDS);
        gave(0, "a");
        gave(1, "b");
        gave(2, "c");
        gave(3, "d");
        for (size_t i = 0; i < RECORDS; i++)
                ends(played.given[i]);
}

/* One that is being called is taken over, but not one that is being given up. */
static void one_that_goes_is_not_taken_over(void **state) {
        struct job_spec *strays[3];
        (void)state;
        hears(CONSUMER_ASSIGNED);
        gather_until(3);
        memcpy(strays, played.given, sizeof(strays));
        comes_again();
        gather_until(3);
        repeats(played.given[0], strays[0], true);
        repeats(played.given[1], strays[1], false);
        ends(played.given[2]);
        played.given_count = 0;
        ends(strays[0]);
        gather_until(1);
        gave(0, "a");
        assert_true(intake_is_current(played.intake, strays[1]->origin));
        ends(played.given[0]);
        ends(strays[1]);
        ends(strays[2]);
}

static bool every(void *userdata, const struct job_spec *job) {
        (void)userdata, (void)job;
        return true;
}

/* No record is let in while a job from before is still being looked up. */
static void records_wait_for_answers(void **state) {
        struct command items[16];
        struct commands commands = {items, 0, 16};
        struct job_spec spec = plain_spec(1);
        struct origin origin = {0};
        struct event event = {.kind = EVENT_JOB, .job = &spec};
        spec.origin = &origin;
        (void)state;
        engine_step(played.engine, now(), &event, 1, &commands);
        assert_int_equal(items[0].kind, COMMAND_LOOK_UP);
        event = (struct event){.kind = EVENT_LOOKED_UP, .handle = items[0].handle};
        assert_true(engine_revoke(played.engine, now(), every, NULL, &commands));
        hears(CONSUMER_ASSIGNED);
        for (int i = 0; i < 3; i++)
                gather();
        assert_int_equal(played.given_count, 0);
        commands.count = 0;
        engine_step(played.engine, now(), &event, 1, &commands);
        assert_true(commands.count == 1 && items[0].revoked);
        gather_until(3);
        for (size_t i = 0; i < 3; i++)
                ends(played.given[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(the_first_comes_first, set_up, tear_down),
                cmocka_unit_test_setup_teardown(one_that_goes_is_not_taken_over, set_up, tear_down),
                cmocka_unit_test_setup_teardown(records_wait_for_answers, set_up, tear_down),
        };
        return cmocka_run_group_tests_name("record again", tests, NULL, NULL);
}
