#pragma once
/*
 * How far the outputs of a run are ahead of what the store says of them. As long as all of them are files and
 * nothing is spent, the outputs say as well what has been settled, so settled rows and the source's place
 * come late, thousands at a time (store_batch_settle_late()); what is ahead is read again after a crash.
 */
#include "broker/files/sink.h"
#include "broker/store/store.h"

struct ahead {
        bool late;                 /* they may be ahead */
        struct source_state place; /* the last one */
        bool has_place, placed;    /* placed: the store has it */
        uint64_t bytes, rows;
        int64_t since_ns;
};

void ahead_init(struct ahead *ahead, struct sink *const *sinks, size_t count);
void ahead_moved(struct ahead *ahead, const struct source_state *place);
void ahead_settle(struct ahead *ahead, struct store_batch *batch, struct key128 key,
                  const struct settled *settled, struct begun_id begun);
/* From here on the store says everything at once. */
void ahead_end(struct ahead *ahead, struct store_batch *batch);
/* Whether `place` is to go into this batch; then it counts as written. */
bool ahead_due(struct ahead *ahead, int64_t now_ns, bool catch_up);
