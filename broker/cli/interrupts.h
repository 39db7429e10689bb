#pragma once
/*
 * Ctrl-C and SIGTERM, counted; and SIGHUP, which asks for the configuration to be read again. Until
 * interrupts_attend() the process ends at once when it is interrupted: there is nothing to finish yet, and
 * the state is as safe as after any crash.
 */
#include "broker/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What an interrupt does before somebody looks: it says `text`, whole lines, and ends the process. */
struct interrupts_early {
        const char *text;
        int exit_code;
};

struct error *interrupts_open(struct interrupts_early early) MUST_USE;
/* From here on somebody looks. */
void interrupts_attend(void);
/* Waits at most so long, also for SIGHUP; how many interrupts have come since the last call. */
uint64_t interrupts_wait(int wait_ms);
/* SIGHUP has come since the last call. */
bool interrupts_reload(void);
/*
 * From here on the process has so long to end; then it says so and ends with this code, whatever hangs. That
 * is as good as a crash, so nothing is lost. The first call counts: asking again does not postpone it.
 */
enum { INTERRUPTS_STOP_S = 5 }; /* for what was stopped at once to end by itself */
void interrupts_limit(unsigned seconds, int exit_code);
