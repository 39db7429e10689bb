#pragma once
/*
 * Which requests were ever seen, and how often each was executed and answered: a growing open-addressing
 * table of 32-byte entries, made for many millions. Pointers into it live until the next
 * sim_identities_see().
 */
#include "broker/base/bytes.h"
#include "broker/base/key.h"

struct sim_identity {
        struct key128 key;
        uint32_t seen, executed, answered; /* all zero: a free place, since every stored one was seen */
        uint32_t name;                     /* place of the name in `names`, in units of 8 bytes; 0 is none */
};

struct sim_identities {
        struct sim_identity *entries;
        size_t mask, count;
        uint64_t executed_again, answered_again; /* identities with more than one */
        uint32_t executed_max;
        struct buffer names;
};

bool sim_identities_init(struct sim_identities *identities); /* false when memory is refused */
void sim_identities_deinit(struct sim_identities *identities);
bool sim_identities_reset(struct sim_identities *identities);
uint32_t sim_identities_seen(const struct sim_identities *identities, struct key128 key);
/* Counts one sight. The name (may be empty) is kept from the first. NULL when memory is refused. */
struct sim_identity *sim_identities_see(struct sim_identities *identities, struct key128 key,
                                        struct bytes name);
void sim_identities_executed(struct sim_identities *identities, struct key128 key);
void sim_identities_answered(struct sim_identities *identities, struct key128 key);
/* One JSON line each: {"id","seen","count","answered"}, where count is how often it was executed. */
void sim_identities_append_json(const struct sim_identities *identities, struct buffer *buffer);
