#pragma once
/* Partitions of the record intake come and go, by what the group says. */
#include "broker/loop/intake_state.h"

/* Hears what the group has to say; goes on with what is leaving. */
void membership_serve(struct record_intake *intake);
void membership_keep_leaving(struct record_intake *intake);
/* Lets records in where the state has been read. */
void membership_take_restored(struct record_intake *intake);
/* Nothing will be begun any more: the parts of the limits are others' from now on. */
void membership_give_parts(struct record_intake *intake);
/* Tells the next owner, through the state topic, that this one has come or gone. */
void membership_tell_owner(struct record_intake *intake, struct part *part, bool released);
/*
 * Gives up what is not being called, of partitions that have gone or are going. Before every step while there
 * may be any: the answer of a call that was kept may say "again", and it must not be called again here.
 */
void membership_sweep(struct record_intake *intake);
