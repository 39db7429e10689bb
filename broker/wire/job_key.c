#include "broker/wire/job_key.h"

#include "broker/wire/state_record.h"

#include <string.h>

#define DOMAIN_KEY    BYTES("batchferry/key/1\0")
#define DOMAIN_BAD    BYTES("batchferry/bad/1\0")
#define DOMAIN_RECORD BYTES("batchferry/record/2\0")
#define ZERO          BYTES("\0")

static struct key128 hash(struct digest *digest, const struct bytes *parts, size_t count) {
        uint8_t full[DIGEST_BYTES];
        digest_begin(digest);
        for (size_t i = 0; i < count; i++)
                digest_add(digest, parts[i]);
        digest_end(digest, full);
        return key128_from_hash(full);
}

struct key128 job_key(struct digest *digest, struct bytes workspace, struct bytes idempotency) {
        const struct bytes parts[] = {DOMAIN_KEY, workspace, ZERO, idempotency};
        return hash(digest, parts, 4);
}

static void put_big(uint64_t number, size_t width, uint8_t *out_bytes) {
        for (size_t i = width; i > 0; i--, number >>= 8)
                out_bytes[i - 1] = (uint8_t)number;
}

struct key128 job_key_of_bad_line(struct digest *digest, struct bytes batch, uint64_t line,
                                  struct bytes text) {
        uint8_t number[8];
        put_big(line, sizeof number, number);
        const struct bytes parts[] = {DOMAIN_BAD, batch, ZERO, {(const char *)number, sizeof number}, text};
        return hash(digest, parts, 5);
}

struct key128 job_key_of_record(struct digest *digest, const struct record_name *name) {
        uint8_t numbers[20];
        put_big(name->partition, 4, numbers);
        put_big(name->offset, 8, numbers + 4);
        put_big((uint64_t)name->timestamp_unix_ms, 8, numbers + 12);
        const struct bytes parts[] = {DOMAIN_RECORD, {(const char *)numbers, sizeof numbers}};
        return hash(digest, parts, 2);
}

bool job_key_of_state(struct digest *digest, uint32_t partition, struct bytes state_key,
                      struct key128 *out_key) {
        struct record_name name = {.partition = partition};
        if (state_key_record(state_key, &name.offset, &name.timestamp_unix_ms)) {
                *out_key = job_key_of_record(digest, &name);
                return true;
        }
        if (state_key_kind(state_key) != STATE_KEY_JOB)
                return false;
        const char *zero = memchr(state_key.data, '\0', state_key.size);
        size_t workspace = zero ? (size_t)(zero - state_key.data) : 0;
        if (zero && workspace + 1 == state_key.size)
                return false; /* no idempotency key is empty */
        struct bytes behind = {state_key.data + workspace + 1, state_key.size - workspace - 1};
        *out_key = zero ? job_key(digest, (struct bytes){state_key.data, workspace}, behind)
                        : job_key(digest, BYTES("default"), state_key);
        return true;
}
