#pragma once
/*
 * Parked jobs of the record intake: their records stand in the state topic and in the store, and their
 * offsets are settled. One that holds back others runs on; one that will do nothing for long leaves memory.
 *
 * A job with `zdr` is never parked, since its record may not be written down: its offset stays open, it waits
 * in memory, and the mark waits with it.
 */
#include "broker/loop/intake_state.h"

/* Now and then: parks what holds offsets back, and what will do nothing for long. */
void parking_park(struct record_intake *intake);
/* Brings back those that are due. `tick`: also looks where there was nothing the last time. */
void parking_take_due(struct record_intake *intake, bool tick);
