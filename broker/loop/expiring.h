#pragma once
/* The shard's part in forgetting old keys (expiry.h): when, and that what was found is published. */
#include "broker/loop/intake_state.h"

/* When a partition has come. */
void expiring_begin(const struct record_intake *intake, struct part *part);
/* In each turn: asks for slices, one at a time, and hands on what they have found. */
void expiring_serve(struct record_intake *intake, bool tick);
/* What was found and is not handed on; it is found again. */
void expiring_drop(struct record_intake *intake);
