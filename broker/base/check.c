/*
 * Ends the process at a bug found at run time. The hook of the failing thread runs at most once: it is taken
 * away before it is called, so a CHECK() that fails inside the hook prints its own place and aborts. Nothing
 * here allocates memory of its own, because the heap may be what broke.
 */
#include "broker/base/check.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local void (*check_hook)(void *);
static _Thread_local void *check_hook_userdata;

_Noreturn void check_failed(const char *expr, const char *file, int line) {
        void (*hook)(void *) = check_hook;

        check_hook = NULL;
        dprintf(STDERR_FILENO, "%s:%d: check failed: %s\n", file, line, expr);
        if (hook != NULL)
                hook(check_hook_userdata);
        abort();
}

void check_set_hook(void (*hook)(void *), void *userdata) {
        check_hook = hook;
        check_hook_userdata = userdata;
}
