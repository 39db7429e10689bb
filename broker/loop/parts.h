#pragma once
/*
 * The parts of the limits that go with the partitions of the record intake: what is told to the engine of
 * them, and to whoever has them next.
 */
#include "broker/loop/intake_state.h"

/* After partitions have come or gone, or their number has changed. */
void parts_share(struct record_intake *intake);
/*
 * The partition's part is not used here any more, and what was taken of it is known. false: it was not ours.
 */
bool parts_give(struct record_intake *intake, struct part *part);
/* Takes what its last owner said was taken of it; the part's `free_ms` says whether there was one. */
void parts_heard(struct record_intake *intake, struct part *part, struct buffer *quotas);
/* What the state topic is to be told was taken of it; empty: nothing is said. */
struct bytes parts_said(const struct record_intake *intake, const struct part *part, bool released);
