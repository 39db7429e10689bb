#pragma once
/*
 * Keys of finished jobs of files are known for idempotency.retention; then their rows go, at the end of a run
 * (those of topics: expiry.h). Nothing goes while an input is not finished: rows behind its mark keep its
 * lines from being called, and paid for, once more. Of one that is finished the mark says that there is
 * nothing to do, without any row.
 *
 * Whether anything is old enough is known without reading the rows: a note in the store says since when there
 * are any. It may be too early, never too late, but where the clock was set back: then rows go late.
 */
#include "broker/store/store.h"

/*
 * Before a run settles anything: adds to the batch what the note must say from here on, that is when the
 * directory is new, or the clock has been set back.
 */
struct error *forget_prepare(struct store *store, int64_t now_unix_ms, struct store_batch *batch) MUST_USE;

/* Whether rows may have gone here, ever. */
struct error *forget_any(struct store *store, bool *out_any) MUST_USE;

struct forgetting {
        struct store *store;
        int64_t retention_ns;
        int64_t now_unix_ms;
        size_t rows_at_a_time; /* 0: what takes a fraction of a second */
        /* Asked before each time; true: the rest is for another time. NULL: never. */
        bool (*enough)(void *userdata);
        void *userdata;
};

/*
 * When a run is over and nobody writes any more. out_count: keys that went, also when it fails in the end.
 * out_blocked: some may be old, but an input is not finished.
 */
struct error *forget_old(const struct forgetting *forgetting, uint64_t *out_count,
                         bool *out_blocked) MUST_USE;
