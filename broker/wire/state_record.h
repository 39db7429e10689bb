#pragma once
/*
 * Records of the state topic: what another worker must know to take a partition over. A value is a
 * MessagePack map with the short names of schemas/state_fields.def; schemas/README.md has it byte by byte.
 *
 * Reading takes bytes from a topic that anybody may have written to: every length is checked and nothing is
 * believed. Nothing is copied or allocated. Evolution: a member that is not known is passed over; a kind, a
 * failure or a version that is not known is NEWER, and whoever reads must not act as if the record were not
 * there. The version changes only when an older program would go wrong by passing over what it does not know.
 *
 * The key of a record, unique by its construction (names of workspaces hold no zero byte and are never
 * empty):
 *   idempotency key                      of workspace "default", when that key holds no zero byte
 *   workspace . 0 . idempotency key      all other jobs; keys of records may hold any bytes
 *   0 . "record/" . offset . "@" .       a record that was settled under its own name: bad ones, conflicts,
 *       timestamp, both decimal          what went home
 *   0 . "owner"                          who has the partition
 *   0 . "spend/w/" . workspace           what was spent for jobs of the partition by a workspace,
 *   0 . "spend/p/" . provider            or at a provider
 */
#include "broker/wire/job_record.h"
#include "workers/routing/budget.h"

enum {
        STATE_HEADERS_MAX = 64,
        STATE_USAGE_MAX = 1024,     /* entries of an OWNER */
        STATE_NAME_BYTES_MAX = 128, /* of a member, an endpoint, a provider; longer ones are cut */
        STATE_SETTLED_BYTES_MAX = 140,
};

enum state_kind { STATE_SETTLED, STATE_PARKED, STATE_BEGUN, STATE_OWNER, STATE_SPEND, STATE_KINDS_COUNT };

struct state_settled {
        struct key128 key; /* of the job or the record; of a conflict, its alias */
        uint8_t fingerprint[32];
        uint64_t offset; /* of the record in the jobs topic */
        enum failure failure;
        int32_t status;
        uint32_t attempts;
        bool cost_known, cost_is_estimate;
        bool dead_letter;
        int64_t cost_picousd; /* when known; at least 0 */
        int64_t at_unix_ms;
};

struct state_parked {
        struct key128 key;
        uint8_t fingerprint[32];
        int64_t due_unix_ms, at_unix_ms;
        uint32_t attempts;
        bool spent_known;
        int64_t spent_picousd;
        /*
         * As it came: `offset` and `timestamp_unix_ms` too; `partition` is that of the state and reads as 0.
         */
        struct job_record record;
};

/* An attempt that must not be repeated, told before it is sent. */
struct state_begun {
        struct key128 key;
        uint8_t fingerprint[32];
        uint64_t offset;
        uint32_t attempt; /* from 1 */
        bool exposure_known;
        int64_t exposure_picousd;
        struct bytes endpoint; /* its name */
        int64_t at_unix_ms;
};

struct state_usage {
        struct bytes name;         /* of an endpoint or a provider */
        uint64_t requests, tokens; /* in the last minute */
};

struct state_owner {
        struct bytes member;
        int64_t since_unix_ms;
        bool released;
        const struct state_usage *usage;
        size_t usage_count;
        struct bytes quotas; /* quota_list.h: what was taken of the part that is given up; empty: not said */
};

/* The latest word of a partition's owner (struct allowance in budget.h). */
struct state_spend {
        bool provider; /* else a workspace */
        struct bytes name;
        int64_t at_unix_ms;
        struct budget_spend spend;
        struct budget_allowed allowed[2];
};

struct state_record {
        enum state_kind kind;
        union {
                struct state_settled settled;
                struct state_parked parked;
                struct state_begun begun;
                struct state_owner owner;
                struct state_spend spend;
        };
};

enum state_record_outcome {
        STATE_RECORD_OK,
        STATE_RECORD_NEWER,   /* written by a newer version, and not to be guessed at */
        STATE_RECORD_DAMAGED, /* no state record */
};

/* Where the lists of a record that is read are kept. */
struct state_lists {
        struct job_header headers[STATE_HEADERS_MAX];
        struct state_usage usage[STATE_USAGE_MAX];
};

/*
 * Appends the value or, when memory is refused, nothing (out->failed). Lists beyond the bounds, and a
 * known amount below 0, are bugs.
 */
void state_record_append(struct buffer *out, const struct state_record *record);
/*
 * What is read points into `value` and `lists`. out_record is untouched when not OK. A tombstone is the
 * caller's.
 */
enum state_record_outcome state_record_read(struct bytes value, struct state_lists *lists,
                                            struct state_record *out_record) MUST_USE;

/* The key of a job's state; of a spec that is no job, that of its record. Specs of records only. */
void state_key_append(struct buffer *out, const struct job_spec *job);
void state_key_append_record(struct buffer *out, uint64_t offset, int64_t timestamp_unix_ms);
void state_key_append_owner(struct buffer *out);
void state_key_append_spend(struct buffer *out, bool provider, struct bytes name);
/* What a key of the state topic names. */
enum state_key_kind { STATE_KEY_JOB, STATE_KEY_RECORD, STATE_KEY_OWNER, STATE_KEY_SPEND, STATE_KEY_UNKNOWN };
enum state_key_kind state_key_kind(struct bytes key);
/* false: it is not that of a record. */
bool state_key_record(struct bytes key, uint64_t *out_offset, int64_t *out_timestamp_unix_ms);
