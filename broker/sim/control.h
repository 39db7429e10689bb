#pragma once
/* The paths under /sim/: statistics, calls, reset, faults. */
#include "broker/base/bytes.h"

struct sim_call;

/* Gives the status; *out_body is appended to. */
int sim_control(struct sim_call *call, struct buffer *out_body);
