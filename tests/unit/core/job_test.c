/* The table of moves: every pair of states is either listed here as legal or must end the process. */
#include "broker/core/job.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
        enum job_state from, to;
} legal[] = {
        {JOB_FREE, JOB_SEEKING},     {JOB_SEEKING, JOB_SEEKING},   {JOB_SEEKING, JOB_FREE},
        {JOB_SEEKING, JOB_WAITING},  {JOB_SEEKING, JOB_SLEEPING},  {JOB_SEEKING, JOB_SETTLING},
        {JOB_WAITING, JOB_OPENING},  {JOB_WAITING, JOB_SLEEPING},  {JOB_WAITING, JOB_SETTLING},
        {JOB_SLEEPING, JOB_WAITING}, {JOB_SLEEPING, JOB_SETTLING}, {JOB_OPENING, JOB_READY},
        {JOB_READY, JOB_CALLING},    {JOB_READY, JOB_WAITING},     {JOB_CALLING, JOB_SETTLING},
        {JOB_CALLING, JOB_WAITING},  {JOB_CALLING, JOB_SLEEPING},  {JOB_SETTLING, JOB_FREE},
        {JOB_WAITING, JOB_FREE},     {JOB_SLEEPING, JOB_FREE},     {JOB_READY, JOB_FREE},
};

static bool is_legal(enum job_state from, enum job_state to) {
        for (size_t i = 0; i < sizeof(legal) / sizeof(*legal); i++)
                if (legal[i].from == from && legal[i].to == to)
                        return true;
        return false;
}

static void allows_the_listed_moves_only(void **state) {
        (void)state;
        for (int from = 0; from < JOB_STATES_COUNT; from++)
                for (int to = 0; to < JOB_STATES_COUNT; to++)
                        assert_int_equal(job_may_move((enum job_state)from, (enum job_state)to),
                                         is_legal((enum job_state)from, (enum job_state)to));
}

static void moves(void **state) {
        (void)state;
        struct job job = {.state = JOB_OPENING};
        job_move(&job, JOB_READY);
        assert_int_equal(job.state, JOB_READY);
}

static void an_illegal_move_ends_the_process(void **state) {
        (void)state;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                struct job job = {.state = JOB_CALLING};
                if (!freopen("/dev/null", "w", stderr))
                        _exit(1);
                job_move(&job, JOB_READY);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void has_a_word_for_each_state(void **state) {
        (void)state;
        for (int i = 0; i < JOB_STATES_COUNT; i++)
                assert_non_null(job_state_text((enum job_state)i));
        assert_string_equal(job_state_text(JOB_CALLING), "calling");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(allows_the_listed_moves_only),
                cmocka_unit_test(moves),
                cmocka_unit_test(an_illegal_move_ends_the_process),
                cmocka_unit_test(has_a_word_for_each_state),
        };
        return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
