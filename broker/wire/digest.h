#pragma once
/*
 * SHA-256 (FIPS 180-4) with everything that can be fetched once fetched once. One per thread. A digest that
 * libcrypto refuses to compute (memory) sets `failed`, which stays; the owner looks once at the end.
 */
#include "broker/base/bytes.h"
#include "broker/base/key.h"

struct digest;

enum { DIGEST_BYTES = 32 };

struct digest *digest_new(void); /* NULL when libcrypto has no SHA-256 or memory is refused */
struct digest *digest_free(struct digest *digest);

void digest_begin(struct digest *digest);
void digest_add(struct digest *digest, struct bytes bytes);
void digest_end(struct digest *digest, uint8_t out_hash[DIGEST_BYTES]);
bool digest_failed(const struct digest *digest);

/* The first half of a hash; its hex digits in order are those of the hash. */
struct key128 key128_from_hash(const uint8_t *hash);
void key128_to_bytes(struct key128 key, uint8_t out_bytes[16]);
