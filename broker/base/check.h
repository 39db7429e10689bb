#pragma once
/*
 * CHECK(): a bug found at run time. On in every build. Prints the expression and its place, calls the hook
 * (which prints the trace of the engine: ids and states, never a payload or a key), and aborts. Input from
 * outside is validated, never checked this way.
 */
#define CHECK(cond)                                                                                          \
        do {                                                                                                 \
                if (__builtin_expect(!(cond), 0))                                                            \
                        check_failed(#cond, __FILE__, __LINE__);                                             \
        } while (0)

_Noreturn void check_failed(const char *expr, const char *file, int line);

/* Called before the abort; NULL for none. One per thread. */
void check_set_hook(void (*hook)(void *), void *userdata);
