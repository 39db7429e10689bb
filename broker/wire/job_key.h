#pragma once
/* Keys by which stores and maps know jobs: hashes of what names them. */
#include "broker/wire/digest.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A record of the jobs topic. Its timestamp tells it from one that has its place in a topic of the same name
 * that was made anew, or after an election that lost records.
 */
struct record_name {
        uint32_t partition;
        uint64_t offset;
        int64_t timestamp_unix_ms; /* -1: it has none */
};

/* Each of both has one or more bytes; a workspace's name holds no zero byte. */
struct key128 job_key(struct digest *digest, struct bytes workspace, struct bytes idempotency);
struct key128 job_key_of_bad_line(struct digest *digest, struct bytes batch, uint64_t line,
                                  struct bytes text);
/* Of a record that is settled under its own name: one that is no job, a conflict. */
struct key128 job_key_of_record(struct digest *digest, const struct record_name *name);
/*
 * Which of these keys a record of the state topic speaks of, by its own key (state_record.h). false: of no
 * job and no record.
 */
bool job_key_of_state(struct digest *digest, uint32_t partition, struct bytes state_key,
                      struct key128 *out_key);
