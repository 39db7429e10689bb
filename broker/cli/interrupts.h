#pragma once
/*
 * Ctrl-C, SIGTERM and SIGHUP, counted. Until interrupts_attend() the process ends at once: there is nothing
 * to finish yet, and the state is as safe as after any crash.
 */
#include "broker/base/error.h"

#include <stdint.h>

struct error *interrupts_open(void) MUST_USE;
/* From here on somebody looks. */
void interrupts_attend(void);
/* Waits at most so long; how many have come since the last call. */
uint64_t interrupts_wait(int wait_ms);
