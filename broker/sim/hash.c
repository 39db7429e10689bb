/*
 * Two lanes of multiply-and-fold (the 128-bit product's halves xored), each with its own odd constants, over
 * words of eight bytes; the final value stirs the total length in. The constants are digits of pi.
 */
#include "broker/sim/hash.h"

#include <string.h>

__extension__ typedef unsigned __int128 product128;

#define LANE_A UINT64_C(0x243f6a8885a308d3)
#define LANE_B UINT64_C(0x13198a2e03707345)
#define FINAL  UINT64_C(0xa4093822299f31d1)

static uint64_t fold(uint64_t x, uint64_t y) {
        product128 product = (product128)x * y;

        return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t sim_hash_mix(uint64_t a, uint64_t b) {
        uint64_t z = fold(fold(a ^ LANE_A, LANE_B) + b, FINAL) ^ fold(b ^ LANE_B, LANE_A);

        /* splitmix64's last steps: a + 1 looks unrelated to a */
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

void sim_hash_init(struct sim_hash *hash, uint64_t seed) {
        *hash = (struct sim_hash){.a = sim_hash_mix(seed, 1), .b = sim_hash_mix(seed, 2)};
}

static void hash_word(struct sim_hash *hash, uint64_t word) {
        hash->a = fold(hash->a ^ word, LANE_A) + word;
        hash->b = fold(hash->b ^ ((word << 32) | (word >> 32)), LANE_B) + hash->a;
}

void sim_hash_update(struct sim_hash *hash, struct bytes bytes) {
        size_t i = 0;

        while (i < bytes.size) {
                uint64_t word;

                if (hash->size % 8 == 0 && bytes.size - i >= 8) {
                        memcpy(&word, bytes.data + i, 8);
                        hash_word(hash, word);
                        hash->size += 8;
                        i += 8;
                        continue;
                }
                hash->pending |= (uint64_t)(unsigned char)bytes.data[i++] << (hash->size % 8 * 8);
                if (++hash->size % 8 == 0) {
                        hash_word(hash, hash->pending);
                        hash->pending = 0;
                }
        }
}

void sim_hash_field(struct sim_hash *hash, struct bytes bytes) {
        uint64_t size = bytes.size;

        sim_hash_update(hash, (struct bytes){(const char *)&size, sizeof(size)});
        sim_hash_update(hash, bytes);
}

struct key128 sim_hash_final(const struct sim_hash *hash) {
        struct sim_hash end = *hash;

        hash_word(&end, end.pending);
        hash_word(&end, end.size);
        return (struct key128){.hi = sim_hash_mix(end.a, end.b), .lo = sim_hash_mix(end.b, end.a ^ FINAL)};
}

struct key128 sim_hash_of(uint64_t seed, struct bytes bytes) {
        struct sim_hash hash;

        sim_hash_init(&hash, seed);
        sim_hash_update(&hash, bytes);
        return sim_hash_final(&hash);
}
