#pragma once
/*
 * Reads a partition of the state topic from an offset to where it ended when the reading began, committed
 * records only, in order. Blocks; for the thread that restores a partition. It waits for transactions that
 * are still open below that end (a worker that died in one): their timeout bounds that.
 */
#include "broker/kafka/client.h"

#include <stdatomic.h>

struct changelog;

struct changelog_record {
        uint64_t offset;
        int64_t timestamp_unix_ms;
        struct bytes key, value;
        bool has_value; /* false: a tombstone */
};

struct changelog_options {
        struct kafka_properties properties;
        const char *topic, *client_id;
};

/* One client for many readings, one at a time. */
struct error *changelog_open(const struct changelog_options *options,
                             struct changelog **out_changelog) MUST_USE;
struct changelog *changelog_close(struct changelog *changelog); /* NULL gives NULL */

/*
 * Calls `each` (which stops the reading by an error). out_next: where the next reading goes on. An offset
 * below the start of the log (retention, compaction) begins at the start; one above its end (the topic was
 * made anew) is ERROR_CORRUPT with what to do. `stop`: looked at between records, ends with ERROR_CANCELLED
 * or the nearest kind there is.
 */
struct error *changelog_read(struct changelog *changelog, uint32_t partition, uint64_t from_offset,
                             const atomic_bool *stop,
                             struct error *(*each)(void *userdata, const struct changelog_record *record),
                             void *userdata, uint64_t *out_next) MUST_USE;
