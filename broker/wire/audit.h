#pragma once
/*
 * Audit records: one for each call of a provider and for each job that was refused without one. A record is a
 * line of JSON whose members stand in a fixed order (schemas/audit_fields.def). It names the record before it
 * by that one's hash, and ends with its own: SHA-256 over its bytes before `,"hash"`. So a record that is
 * changed, taken away, put in or moved is found (audit_check.h), unless whoever did it wrote everything
 * behind it anew as well; against that helps only a hash that is kept elsewhere.
 *
 * Who, what for, where to, by which rules, how it ended, what it cost. Never a payload, never a secret.
 */
#include "broker/base/key.h"
#include "broker/wire/digest.h"

enum audit_kind { AUDIT_BEGIN, AUDIT_CALL, AUDIT_REFUSAL, AUDIT_UNKNOWN, AUDIT_RECOVERED, AUDIT_KINDS_COUNT };
enum { AUDIT_ID_HEX = 16, AUDIT_HASH_HEX = 2 * DIGEST_BYTES, AUDIT_LINE_MAX = 64 << 10 };

struct audit_event {
        enum audit_kind kind; /* all but BEGIN */
        int64_t at_unix_ms;
        struct bytes workspace, batch;
        struct key128 job;
        uint8_t fingerprint[32];
        struct bytes endpoint, provider, region; /* CALL; UNKNOWN: the first */
        uint64_t policy;
        struct bytes catalog;
        uint32_t attempt;
        const char *outcome; /* one of the program's own words */
        int32_t status;
        int64_t reserved_picousd; /* -1: not known */
        bool cost_known, cost_is_estimate;
        int64_t cost_picousd;
};

/* Where a chain ends, for who writes it. */
struct audit_chain {
        char id[AUDIT_ID_HEX + 1];
        uint64_t next; /* place of the next record */
        uint8_t head[DIGEST_BYTES];
};

/*
 * Appends the record, without a line end, and moves the chain's end behind it. With `out` failed, or the
 * digest, the chain is of no use any more.
 */
void audit_append(struct buffer *out, struct digest *digest, struct audit_chain *chain,
                  const struct audit_event *event);
/*
 * Begins a chain: its first record. `random` names it. `before`: the end of the chain that the writer wrote
 * before, NULL when it knows none.
 */
void audit_append_begin(struct buffer *out, struct digest *digest, uint64_t random, struct bytes writer,
                        const struct audit_chain *before, int64_t at_unix_ms, struct audit_chain *out_chain);

/* What must be known of a record to follow its chain. */
struct audit_head {
        enum audit_kind kind;
        char chain[AUDIT_ID_HEX + 1], after_chain[AUDIT_ID_HEX + 1]; /* after_chain: BEGIN; may be "" */
        uint64_t seq, after_seq;
        struct key128 job; /* all but BEGIN */
        uint32_t attempt;
        bool counted; /* a CALL that was an attempt at the job: it was not turned away at the door */
        uint8_t prev[DIGEST_BYTES], hash[DIGEST_BYTES];
};

/*
 * Reads a line without its end, from anywhere. false: it is no record, or one whose bytes do not agree with
 * its hash.
 */
bool audit_read(struct bytes line, struct digest *digest, struct audit_head *out_head);
