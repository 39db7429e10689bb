#pragma once
/*
 * A fast 128-bit hash of what was sent, taken piece by piece: where the pieces are cut does not matter. Not
 * cryptographic: it names requests and seeds draws in a simulator on loopback, nothing more.
 */
#include "broker/base/bytes.h"
#include "broker/base/key.h"

struct sim_hash {
        uint64_t a, b;
        uint64_t pending; /* the last size % 8 bytes, little-endian */
        uint64_t size;
};

void sim_hash_init(struct sim_hash *hash, uint64_t seed);
void sim_hash_update(struct sim_hash *hash, struct bytes bytes);
/* With its length, so that ("ab", "c") and ("a", "bc") differ. */
void sim_hash_field(struct sim_hash *hash, struct bytes bytes);
struct key128 sim_hash_final(const struct sim_hash *hash);

struct key128 sim_hash_of(uint64_t seed, struct bytes bytes);
uint64_t sim_hash_mix(uint64_t a, uint64_t b); /* one well-mixed word out of two */
