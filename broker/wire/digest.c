/* SHA-256 through libcrypto's EVP interface; the only place that includes it. */
#include "broker/wire/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct digest {
        EVP_MD *md;
        EVP_MD_CTX *ctx;
        bool failed;
};

struct digest *digest_new(void) {
        struct digest *digest = calloc(1, sizeof *digest);
        if (digest == NULL)
                return NULL;
        digest->md = EVP_MD_fetch(NULL, "SHA256", NULL);
        digest->ctx = EVP_MD_CTX_new();
        if (digest->md == NULL || digest->ctx == NULL)
                return digest_free(digest);
        return digest;
}

struct digest *digest_free(struct digest *digest) {
        if (digest == NULL)
                return NULL;
        EVP_MD_CTX_free(digest->ctx);
        EVP_MD_free(digest->md);
        free(digest);
        return NULL;
}

void digest_begin(struct digest *digest) {
        if (EVP_DigestInit_ex2(digest->ctx, digest->md, NULL) != 1)
                digest->failed = true;
}

void digest_add(struct digest *digest, struct bytes bytes) {
        if (bytes.size > 0 && EVP_DigestUpdate(digest->ctx, bytes.data, bytes.size) != 1)
                digest->failed = true;
}

void digest_end(struct digest *digest, uint8_t out_hash[DIGEST_BYTES]) {
        if (EVP_DigestFinal_ex(digest->ctx, out_hash, NULL) != 1)
                digest->failed = true;
}

bool digest_failed(const struct digest *digest) {
        return digest->failed;
}

static uint64_t read_u64(const uint8_t *bytes) {
        uint64_t value = 0;
        for (int i = 0; i < 8; i++)
                value = value << 8 | bytes[i];
        return value;
}

struct key128 key128_from_hash(const uint8_t *hash) {
        return (struct key128){read_u64(hash), read_u64(hash + 8)};
}

void key128_to_bytes(struct key128 key, uint8_t out_bytes[16]) {
        for (int i = 0; i < 8; i++) {
                out_bytes[i] = (uint8_t)(key.hi >> (56 - 8 * i));
                out_bytes[8 + i] = (uint8_t)(key.lo >> (56 - 8 * i));
        }
}
