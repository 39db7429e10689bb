#pragma once
/*
 * The money of the partitions that are here: what the store knows was spent of each goes to the engine when
 * the partition comes, and the engine's words on it (struct allowance in budget.h) go to the state topic, one
 * per partition and subject at a time, in the transactions of the results. Whoever takes the partition over
 * counts what the last word allowed, beyond what it says was spent, as at risk.
 */
#include "broker/loop/intake_state.h"

/* Of all partitions that may give jobs and have no purse yet. The number of partitions is known. */
void purses_open(struct record_intake *intake);
/* Another catalog may count others. */
void purses_reloaded(struct record_intake *intake);
/* Hands over what there is to be said. */
void purses_tell(struct record_intake *intake);
/* What is allowed and not used is given back after a while; called every second. */
void purses_rest(struct record_intake *intake);
void purses_close(struct record_intake *intake, struct part *part);
/* The last words stand. */
bool purses_closed(const struct record_intake *intake, const struct part *part);
void purses_drop(struct record_intake *intake, struct part *part);
