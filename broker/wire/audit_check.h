#pragma once
/*
 * Follows chains of audit records and finds the first place where one is not as it was written. Records are
 * given in the order in which they stand; those of several chains may come mixed.
 *
 *   changed    its bytes do not agree with its hash, or the next record of the chain names another hash
 *   removed    the chain goes on behind a gap, or lacks its beginning
 *   reordered  as removed, but what is missing comes later
 *   inserted   a place of the chain is taken twice, or, in a file, another chain begins in the middle
 *   torn       the last line has no end: a write that was cut off
 *   empty      there is no record at all, in files: a run begins one with a record. Topics may have expired
 *
 * What is taken off the end of a chain leaves no trace in it: audit_check_want() names a hash that must be
 * there.
 */
#include "broker/base/error.h"
#include "broker/wire/audit.h"

enum audit_break {
        AUDIT_WHOLE,
        AUDIT_CHANGED,
        AUDIT_REMOVED,
        AUDIT_REORDERED,
        AUDIT_INSERTED,
        AUDIT_TORN,
        AUDIT_EMPTY,
};
const char *audit_break_text(enum audit_break what); /* "whole", "changed", ... */

/* Where a record stands, in the caller's terms: a file and a line, a partition and an offset. */
struct audit_place {
        uint32_t source;
        uint64_t number;
};

struct audit_finding {
        enum audit_break what;
        struct audit_place place;
        char message[200]; /* half a sentence; "" when whole */
};

struct audit_check;

struct audit_check_options {
        /*
         * A topic: several chains, and the oldest records may be gone with its retention. Else files: each
         * goes on with the chain of the one before, or begins one.
         */
        bool topic;
};

struct error *audit_check_new(const struct audit_check_options *options,
                              struct audit_check **out_check) MUST_USE;
struct audit_check *audit_check_free(struct audit_check *check); /* NULL gives NULL */
/* Before the records: one with this hash must be among them. */
void audit_check_want(struct audit_check *check, const uint8_t hash[DIGEST_BYTES]);
/* The next record, without its line end. Sources come one after the other, unless it is a topic. */
struct error *audit_check_add(struct audit_check *check, struct audit_place place,
                              struct bytes line) MUST_USE;
/* What stands behind the last line end. */
void audit_check_torn(struct audit_check *check, struct audit_place place);
/* After all records. Valid until the check is freed. */
const struct audit_finding *audit_check_end(struct audit_check *check);

/* The record that was added last; NULL when it was none. */
const struct audit_head *audit_check_last(const struct audit_check *check);
struct audit_check_stats {
        uint64_t records; /* that are whole each by itself */
        size_t chains;
};
void audit_check_get_stats(const struct audit_check *check, struct audit_check_stats *out_stats);
/* The end of the chain that was begun last; false: there is none. */
bool audit_check_chain(const struct audit_check *check, struct audit_chain *out_chain);
