#pragma once
/*
 * Keys that are older than idempotency.retention are forgotten. The state topic has them in the order in
 * which they were settled, so whoever has a partition reads it now and then from the beginning, a slice at a
 * time, up to the first record that is young enough. A key of which the store still says what the record says
 * (else it was settled anew, or has gone already) gets a tombstone, in a transaction like any other; then its
 * row goes. Until then it is known, so nobody takes it anew while its tombstone is on the way.
 *
 * Here: what the restorer's thread does of it. The shard's part is in expiring.h.
 */
#include "broker/kafka/changelog.h"
#include "broker/store/store.h"

struct expired {
        struct key128 key;
        uint64_t offset;       /* of its job in the jobs topic */
        uint64_t state_offset; /* of its record in the state topic */
        struct bytes state_key;
};

/* A list of them in a buffer, in no order. */
void expired_append(struct buffer *list, const struct expired *expired);
/* The next one, which points into the list; false: there is none. */
bool expired_take(struct bytes *rest, struct expired *out_expired);

struct expiry_slice {
        uint32_t partition, epoch;
        uint64_t from; /* where in the state topic it begins, and then where the next one goes on */
        int64_t before_unix_ms;
        struct error *error; /* the taker's */
        bool more;           /* it ended for its size, not for want of old keys */
        struct buffer keys;  /* a list; the taker's */
};

void expiry_slice_deinit(struct expiry_slice *slice);
/* `stop`, that somebody waits for the thread, ends it early, with `more`. */
void expiry_read(struct store *store, struct changelog *changelog, struct expiry_slice *slice,
                 const atomic_bool *stop);
