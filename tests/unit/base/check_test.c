/* A failed CHECK() says where, calls the hook of its thread once, and ends the process by SIGABRT. */
#include "broker/base/check.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void check_again(void *userdata) {
        const char *text = userdata;

        (void)!write(STDERR_FILENO, text, strlen(text));
        CHECK(text == NULL);
}

/* Runs in the child: fails a check with standard error in the pipe. */
static _Noreturn void fail_in_child(int fd, bool with_hook) {
        static char text[] = "hook runs\n";
        int two = 2;

        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(SIGABRT, SIG_DFL);
        dup2(fd, STDERR_FILENO);
        if (with_hook)
                check_set_hook(check_again, text);
        CHECK(two == 2);
        CHECK(two + two == 5);
        _exit(0);
}

static void run_child(bool with_hook, char *out_text, size_t size, int *out_status) {
        int fds[2];
        size_t used = 0;
        ssize_t got;
        pid_t child;

        assert_int_equal(pipe(fds), 0);
        child = fork();
        assert_true(child >= 0);
        if (child == 0)
                fail_in_child(fds[1], with_hook);
        close(fds[1]);
        while (used < size - 1 && (got = read(fds[0], out_text + used, size - 1 - used)) > 0)
                used += (size_t)got;
        out_text[used] = '\0';
        close(fds[0]);
        assert_int_equal(waitpid(child, out_status, 0), child);
}

static void aborts_with_the_place(void **state) {
        char text[1024];
        int status;

        (void)state;
        run_child(false, text, sizeof(text), &status);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, "check_test.c:"));
        assert_non_null(strstr(text, "two + two == 5"));
        assert_null(strstr(text, "two == 2"));
}

static void hook_runs_once_even_when_it_fails(void **state) {
        char text[1024], *hook;
        int status;

        (void)state;
        run_child(true, text, sizeof(text), &status);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        hook = strstr(text, "hook runs\n");
        assert_non_null(hook);
        assert_null(strstr(hook + 1, "hook runs\n"));
        assert_non_null(strstr(hook, "text == NULL"));
        assert_true(strstr(text, "two + two == 5") < hook);
}

static void hook_can_be_taken_away(void **state) {
        char text[1024];
        int status;

        (void)state;
        check_set_hook(check_again, text);
        check_set_hook(NULL, NULL);
        run_child(false, text, sizeof(text), &status);
        assert_null(strstr(text, "hook runs"));
        assert_int_equal(WTERMSIG(status), SIGABRT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(aborts_with_the_place),
                cmocka_unit_test(hook_runs_once_even_when_it_fails),
                cmocka_unit_test(hook_can_be_taken_away),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
