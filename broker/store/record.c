/*
 * The layouts. Keys are big-endian, so that they sort; numbers inside rows are little-endian. Every row
 * begins with a version byte, 1 unless something else stands here.
 *
 * settled, key: the job's key, 16 bytes; value, 72 bytes:
 *    0 u8   version
 *    1 u8   flags: 1 cost known, 2 cost is an estimate, 4 fingerprint known
 *    2 u8   failure: 0 none, else its place in schemas/errors.def from 1, which only grows at its end
 *    3 u8   sink: 0 results, 1 errors
 *    4 i32  HTTP status
 *    8 u32  attempts
 *   12 u32  size of the line
 *   16 i64  cost in picodollars
 *   24 i64  settled at, milliseconds since 1970
 *   32 u64  offset of the line
 *   40      fingerprint, 32 bytes
 * Among those of a partition also the mark of a parked job, 42 bytes:
 *    0 u8   version
 *    1 u8   8
 *    2 i64  due, milliseconds since 1970
 *   10      fingerprint, 32 bytes
 *
 * begun, key: block number, u64; value: u8 version, then one entry per attempt, its index counted from 0:
 *    0      the job's key, 16 bytes
 *   16      fingerprint, 32 bytes
 *   48 u32  attempt, from 1
 *   52 i64  exposure in picodollars, -1 unknown
 *   60 u8   n, at most 63
 *   61      name of the endpoint, n bytes
 * In a block of version 2, of attempts of partitions, these are
 *   60 u32  partition
 *   64 u8   n, at most 63
 *   65      name of the endpoint, n bytes
 * In a block of version 3, of attempts that hold something of a budget, the partition is 2^32-1 for files,
 * and behind the name of the endpoint follow
 *    0 i64  picodollars
 *    8 i64  day since 1970
 *   16 u8   n, at most 64, and the name of the workspace, n bytes; the same for the provider
 * An end, in the same family, key: block number u64, index u32; value: u8 version.
 *
 * bodies, key: the job's key; value: u8 version, then the body.
 *
 * gathered, key: partition u32, number u64; value: u8 version, then rows of jobs that were settled in it: the
 * job's key and what would be its row among the settled ones (packet.c).
 *
 * answers-2, key: number u64, from 1; value: u8 version, u8 flags (1 dead letter), 72 bytes like a settled
 * row, the partition u32 and the job's key, both as in a key, then the value; nothing when it may not be
 * written down.
 * answers, from before there were numbers, key: partition u32, the job's key; value: the same without these.
 *
 * parked, key: "d", partition u32, due u64 in milliseconds since 1970, the job's key; value: u8 version.
 * And key: "b", partition u32, the job's key; value: u8 version, then what the caller gave.
 *
 * meta, key "partition/" and five digits:
 *    0 u8   version
 *    1 u64  offset of the state topic
 *    9 u64  highest offset of the jobs topic, and one more
 *   17 i64  updated at, milliseconds since 1970
 * Key "loading/" and five digits: u8 version; the partition's rows do not agree until it is loaded again.
 * Key "spend/w/" and the name of a workspace, "spend/p/" and that of a provider:
 *    0 u8   version
 *    1 i64  day since 1970, i64 picodollars; the same for the day before it
 *   33 i64  month since 1970, i64 picodollars; the same for the one before it
 *   65 i64  picodollars of all time
 *   73 u8   n, at most 16, and n times: i64 day, i64 released at, milliseconds since 1970, i64 picodollars
 * Key "share/", five digits of a partition, "/" and a name: u8 version, then the last word on what was spent
 * for its jobs, as the state topic has it.
 * Key "holds-counted": u8 version, u64: what attempts of blocks before that one hold is part of the spend.
 * Key "quota/", "p" (provider), "e" (endpoint) or "w" (workspace), "/", the limit as in the configuration,
 * "/", a name, "/" and a place in three digits:
 *    0 u8   version
 *    1 i64  until, milliseconds since 1970
 *    9 i64  taken before that
 *   17 i64  and what opened attempts will take
 * Key "identity": u8 version, then a text. Key "note/" and a name: u8 version, then what the caller gave.
 * Key "format": u32 FORMAT_VERSION. Key "source/" and a name:
 *    0 u8   version
 *    1 u8   flags: 1 finished
 *    2 u32  crc
 *    6 u64  offset, lines, sequence, bytes of results, bytes of errors
 *   46 i64  updated at, milliseconds since 1970
 *   54 u16  n, at most 511, and the path of the results, n bytes; the same for the errors
 */
#include "broker/store/record.h"

#include "broker/base/check.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

enum { COST_KNOWN = 1, COST_IS_ESTIMATE = 2, FINGERPRINT_KNOWN = 4, MARK_PARKED = 8 };
enum { SOURCE_FINISHED = 1, SOURCE_FIXED_BYTES = 54, BEGUN_FIXED_BYTES = 60, ANSWER_DEAD_LETTER = 1 };

_Static_assert(FAILURES_COUNT <= 256, "a failure is one byte on disk");

static void put16(uint8_t *at, uint16_t value) {
        value = htole16(value);
        memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value) {
        value = htole32(value);
        memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value) {
        value = htole64(value);
        memcpy(at, &value, sizeof(value));
}

static uint16_t get16(const char *at) {
        uint16_t value;
        memcpy(&value, at, sizeof(value));
        return le16toh(value);
}

static uint32_t get32(const char *at) {
        uint32_t value;
        memcpy(&value, at, sizeof(value));
        return le32toh(value);
}

static uint64_t get64(const char *at) {
        uint64_t value;
        memcpy(&value, at, sizeof(value));
        return le64toh(value);
}

static void put64_big(uint8_t *at, uint64_t value) {
        value = htobe64(value);
        memcpy(at, &value, sizeof(value));
}

static uint64_t get64_big(const char *at) {
        uint64_t value;
        memcpy(&value, at, sizeof(value));
        return be64toh(value);
}

void key_encode(struct key128 key, uint8_t out_row[KEY_BYTES]) {
        put64_big(out_row, key.hi);
        put64_big(out_row + 8, key.lo);
}

bool key_decode(struct bytes row, struct key128 *out_key) {
        if (row.size != KEY_BYTES)
                return false;
        *out_key = (struct key128){get64_big(row.data), get64_big(row.data + 8)};
        return true;
}

void settled_encode(const struct settled *settled, uint8_t out_row[SETTLED_BYTES]) {
        CHECK(settled->sink <= 1 && (unsigned)settled->failure < FAILURES_COUNT);
        out_row[0] = RECORD_VERSION;
        out_row[1] = (uint8_t)((settled->cost_known ? COST_KNOWN : 0) |
                               (settled->cost_is_estimate ? COST_IS_ESTIMATE : 0) |
                               (settled->fingerprint_known ? FINGERPRINT_KNOWN : 0));
        out_row[2] = (uint8_t)settled->failure;
        out_row[3] = (uint8_t)settled->sink;
        put32(out_row + 4, (uint32_t)settled->status);
        put32(out_row + 8, settled->attempts);
        put32(out_row + 12, settled->size);
        put64(out_row + 16, (uint64_t)settled->cost_picousd);
        put64(out_row + 24, (uint64_t)settled->settled_unix_ms);
        put64(out_row + 32, settled->offset);
        memcpy(out_row + 40, settled->fingerprint, 32);
}

enum record_outcome settled_decode(struct bytes row, struct settled *out_settled) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size != SETTLED_BYTES)
                return RECORD_DAMAGED;
        uint8_t flags = (uint8_t)row.data[1], failure = (uint8_t)row.data[2], sink = (uint8_t)row.data[3];
        if (flags > (COST_KNOWN | COST_IS_ESTIMATE | FINGERPRINT_KNOWN) || failure >= FAILURES_COUNT ||
            sink > 1)
                return RECORD_DAMAGED;
        struct settled settled = {
                .partition = STORE_NO_PARTITION,
                .failure = (enum failure)failure,
                .status = (int32_t)get32(row.data + 4),
                .attempts = get32(row.data + 8),
                .cost_known = flags & COST_KNOWN,
                .cost_is_estimate = flags & COST_IS_ESTIMATE,
                .cost_picousd = (int64_t)get64(row.data + 16),
                .settled_unix_ms = (int64_t)get64(row.data + 24),
                .fingerprint_known = flags & FINGERPRINT_KNOWN,
                .sink = sink,
                .offset = get64(row.data + 32),
                .size = get32(row.data + 12),
        };
        memcpy(settled.fingerprint, row.data + 40, 32);
        *out_settled = settled;
        return RECORD_OK;
}

void mark_encode(int64_t due_unix_ms, const uint8_t fingerprint[32], uint8_t out_row[MARK_BYTES]) {
        CHECK(due_unix_ms >= 0);
        out_row[0] = RECORD_VERSION;
        out_row[1] = MARK_PARKED;
        put64(out_row + 2, (uint64_t)due_unix_ms);
        memcpy(out_row + 10, fingerprint, 32);
}

enum record_outcome job_row_decode(struct bytes row, uint32_t partition, struct job_row *out_row) {
        if (partition == STORE_NO_PARTITION || row.size != MARK_BYTES) {
                enum record_outcome outcome = settled_decode(row, &out_row->settled);
                if (outcome != RECORD_OK)
                        return outcome;
                out_row->kind = JOB_ROW_SETTLED;
                out_row->settled.partition = partition;
                return RECORD_OK;
        }
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if ((uint8_t)row.data[1] != MARK_PARKED || get64(row.data + 2) > INT64_MAX)
                return RECORD_DAMAGED;
        out_row->kind = JOB_ROW_PARKED;
        out_row->due_unix_ms = (int64_t)get64(row.data + 2);
        memcpy(out_row->fingerprint, row.data + 10, 32);
        return RECORD_OK;
}

uint8_t block_version(const struct begun *begun) {
        if (begun->holds)
                return HOLDING_VERSION;
        return begun->partition == STORE_NO_PARTITION ? RECORD_VERSION : BLOCK_VERSION;
}

enum record_outcome block_decode(struct bytes row, uint8_t *out_version, struct bytes *out_rest) {
        if (row.size == 0 || row.data[0] == 0)
                return RECORD_DAMAGED;
        if ((uint8_t)row.data[0] > HOLDING_VERSION)
                return RECORD_NEWER;
        *out_version = (uint8_t)row.data[0];
        *out_rest = (struct bytes){row.data + 1, row.size - 1};
        return RECORD_OK;
}

/* A name that is too long loses its end. */
static size_t put_name(uint8_t *out, size_t at, struct bytes name) {
        size_t size = name.size < SPEND_NAME_MAX ? name.size : SPEND_NAME_MAX;
        out[at] = (uint8_t)size;
        if (size > 0)
                memcpy(out + at + 1, name.data, size);
        return at + 1 + size;
}

size_t begun_encode(const struct begun *begun, uint8_t out_entry[BEGUN_BYTES_MAX]) {
        size_t name = strnlen(begun->endpoint, sizeof(begun->endpoint) - 1), size = BEGUN_FIXED_BYTES;
        key_encode(begun->key, out_entry);
        memcpy(out_entry + 16, begun->fingerprint, 32);
        put32(out_entry + 48, begun->attempt);
        put64(out_entry + 52, (uint64_t)begun->exposure_picousd);
        if (block_version(begun) >= BLOCK_VERSION) {
                put32(out_entry + size, begun->partition);
                size += 4;
        }
        out_entry[size++] = (uint8_t)name;
        memcpy(out_entry + size, begun->endpoint, name);
        size += name;
        if (!begun->holds)
                return size;
        put64(out_entry + size, (uint64_t)begun->hold_picousd);
        put64(out_entry + size + 8, (uint64_t)begun->hold_day);
        size = put_name(out_entry, size + 16, begun->workspace);
        return put_name(out_entry, size, begun->provider);
}

static bool get_name(struct bytes *rest, struct bytes *out_name) {
        size_t size = rest->size > 0 ? (uint8_t)rest->data[0] : 0;
        if (rest->size < 1 + size || size > SPEND_NAME_MAX || memchr(rest->data + 1, 0, size))
                return false;
        *out_name = (struct bytes){rest->data + 1, size};
        *rest = (struct bytes){rest->data + 1 + size, rest->size - 1 - size};
        return true;
}

static bool get_hold(struct bytes *rest, struct begun *begun) {
        if (rest->size < 16)
                return false;
        begun->holds = true;
        begun->hold_picousd = (int64_t)get64(rest->data);
        begun->hold_day = (int64_t)get64(rest->data + 8);
        *rest = (struct bytes){rest->data + 16, rest->size - 16};
        return begun->hold_picousd >= 0 && budget_is_day(begun->hold_day) &&
               get_name(rest, &begun->workspace) && get_name(rest, &begun->provider);
}

enum record_outcome begun_decode(uint8_t version, struct bytes *rest, struct begun *out_begun) {
        size_t fixed = BEGUN_FIXED_BYTES + (version >= BLOCK_VERSION ? 5 : 1);
        if (rest->size < fixed)
                return RECORD_DAMAGED;
        const char *at = rest->data;
        size_t name = (uint8_t)at[fixed - 1];
        struct begun begun = {.partition = STORE_NO_PARTITION,
                              .attempt = get32(at + 48),
                              .exposure_picousd = (int64_t)get64(at + 52)};
        if (version >= BLOCK_VERSION)
                begun.partition = get32(at + BEGUN_FIXED_BYTES);
        bool of_file = version == HOLDING_VERSION && begun.partition == STORE_NO_PARTITION;
        if (name >= sizeof(begun.endpoint) || rest->size - fixed < name || begun.attempt == 0 ||
            begun.exposure_picousd < -1 || memchr(at + fixed, 0, name) ||
            (version >= BLOCK_VERSION && !of_file && begun.partition >= STORE_PARTITIONS_MAX))
                return RECORD_DAMAGED;
        begun.key = (struct key128){get64_big(at), get64_big(at + 8)};
        memcpy(begun.fingerprint, at + 16, 32);
        memcpy(begun.endpoint, at + fixed, name);
        struct bytes behind = {at + fixed + name, rest->size - fixed - name};
        if (version == HOLDING_VERSION && !get_hold(&behind, &begun))
                return RECORD_DAMAGED;
        *out_begun = begun;
        *rest = behind;
        return RECORD_OK;
}

enum record_outcome version_decode(struct bytes row, struct bytes *out_rest) {
        if (row.size == 0 || row.data[0] == 0)
                return RECORD_DAMAGED;
        if (row.data[0] != RECORD_VERSION)
                return RECORD_NEWER;
        *out_rest = (struct bytes){row.data + 1, row.size - 1};
        return RECORD_OK;
}

void block_key_encode(uint64_t block, uint8_t out_key[BLOCK_KEY_BYTES]) {
        put64_big(out_key, block);
}

void end_key_encode(struct begun_id id, uint8_t out_key[END_KEY_BYTES]) {
        uint32_t index = htobe32(id.index);
        put64_big(out_key, id.block);
        memcpy(out_key + 8, &index, sizeof(index));
}

bool begun_key_decode(struct bytes key, struct begun_id *out_id, bool *out_is_end) {
        if (key.size != BLOCK_KEY_BYTES && key.size != END_KEY_BYTES)
                return false;
        struct begun_id id = {.block = get64_big(key.data)};
        if (key.size == END_KEY_BYTES) {
                memcpy(&id.index, key.data + 8, sizeof(id.index));
                id.index = be32toh(id.index);
        }
        if (id.block == 0)
                return false;
        *out_id = id;
        *out_is_end = key.size == END_KEY_BYTES;
        return true;
}

size_t source_key_encode(const char *name, char out_key[SOURCE_KEY_MAX]) {
        size_t prefix = sizeof(SOURCE_PREFIX) - 1, size = strnlen(name, SOURCE_NAME_MAX + 1);
        if (size > SOURCE_NAME_MAX)
                return 0;
        memcpy(out_key, SOURCE_PREFIX, prefix);
        memcpy(out_key + prefix, name, size);
        return prefix + size;
}

size_t source_encode(const struct source_state *state, uint8_t out_row[SOURCE_BYTES_MAX]) {
        out_row[0] = RECORD_VERSION;
        out_row[1] = state->finished ? SOURCE_FINISHED : 0;
        put32(out_row + 2, state->crc);
        put64(out_row + 6, state->offset);
        put64(out_row + 14, state->lines);
        put64(out_row + 22, state->sequence);
        put64(out_row + 30, state->outputs_bytes[0]);
        put64(out_row + 38, state->outputs_bytes[1]);
        put64(out_row + 46, (uint64_t)state->updated_unix_ms);
        size_t size = SOURCE_FIXED_BYTES;
        for (size_t i = 0; i < 2; i++) {
                size_t length = strnlen(state->outputs[i], sizeof(state->outputs[i]) - 1);
                put16(out_row + size, (uint16_t)length);
                memcpy(out_row + size + 2, state->outputs[i], length);
                size += 2 + length;
        }
        return size;
}

static bool output_decode(struct bytes row, size_t *at, char out_path[512]) {
        if (row.size - *at < 2)
                return false;
        size_t length = get16(row.data + *at);
        if (length > 511 || row.size - *at - 2 < length || memchr(row.data + *at + 2, 0, length))
                return false;
        memcpy(out_path, row.data + *at + 2, length);
        out_path[length] = 0;
        *at += 2 + length;
        return true;
}

enum record_outcome source_decode(struct bytes row, struct source_state *out_state) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size < SOURCE_FIXED_BYTES || (uint8_t)row.data[1] > SOURCE_FINISHED)
                return RECORD_DAMAGED;
        const char *at = row.data;
        struct source_state state = {
                .offset = get64(at + 6),
                .lines = get64(at + 14),
                .sequence = get64(at + 22),
                .crc = get32(at + 2),
                .outputs_bytes = {get64(at + 30), get64(at + 38)},
                .finished = at[1] == SOURCE_FINISHED,
                .updated_unix_ms = (int64_t)get64(at + 46),
        };
        size_t size = SOURCE_FIXED_BYTES;
        if (!output_decode(row, &size, state.outputs[0]) || !output_decode(row, &size, state.outputs[1]) ||
            size != row.size)
                return RECORD_DAMAGED;
        *out_state = state;
        return RECORD_OK;
}

/* ---- answers, parked jobs, partitions ---- */

static void put32_big(uint8_t *at, uint32_t value) {
        value = htobe32(value);
        memcpy(at, &value, sizeof(value));
}

static bool get_partition(const char *at, uint32_t *out_partition) {
        uint32_t value;
        memcpy(&value, at, sizeof(value));
        *out_partition = be32toh(value);
        return *out_partition < STORE_PARTITIONS_MAX;
}

void answer_key_encode(uint32_t partition, struct key128 key, uint8_t out_key[ANSWER_KEY_BYTES]) {
        put32_big(out_key, partition);
        key_encode(key, out_key + 4);
}

bool answer_key_decode(struct bytes key, uint32_t *out_partition, struct key128 *out_key) {
        uint32_t partition;
        if (key.size != ANSWER_KEY_BYTES || !get_partition(key.data, &partition))
                return false;
        *out_partition = partition;
        return key_decode((struct bytes){key.data + 4, KEY_BYTES}, out_key);
}

void answer_number_encode(uint64_t number, uint8_t out_key[ANSWER_NUMBER_BYTES]) {
        put64_big(out_key, number);
}

bool answer_number_decode(struct bytes key, uint64_t *out_number) {
        if (key.size != ANSWER_NUMBER_BYTES || get64_big(key.data) == 0)
                return false;
        *out_number = get64_big(key.data);
        return true;
}

bool answer_take_owner(struct bytes *rest, uint32_t *out_partition, struct key128 *out_key) {
        if (rest->size < ANSWER_KEY_BYTES ||
            !answer_key_decode((struct bytes){rest->data, ANSWER_KEY_BYTES}, out_partition, out_key))
                return false;
        *rest = (struct bytes){rest->data + ANSWER_KEY_BYTES, rest->size - ANSWER_KEY_BYTES};
        return true;
}

void answer_head_encode(const struct settled *settled, bool dead_letter,
                        uint8_t out_head[ANSWER_HEAD_BYTES]) {
        out_head[0] = RECORD_VERSION;
        out_head[1] = dead_letter ? ANSWER_DEAD_LETTER : 0;
        settled_encode(settled, out_head + 2);
}

enum record_outcome answer_decode(struct bytes row, struct settled *out_settled, bool *out_dead_letter,
                                  struct bytes *out_value) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size < ANSWER_HEAD_BYTES || (uint8_t)row.data[1] > ANSWER_DEAD_LETTER)
                return RECORD_DAMAGED;
        outcome = settled_decode((struct bytes){row.data + 2, SETTLED_BYTES}, out_settled);
        if (outcome != RECORD_OK)
                return outcome;
        *out_dead_letter = row.data[1] == ANSWER_DEAD_LETTER;
        *out_value = (struct bytes){row.data + ANSWER_HEAD_BYTES, row.size - ANSWER_HEAD_BYTES};
        return RECORD_OK;
}

void due_key_encode(uint32_t partition, const struct parked_cursor *at, uint8_t out_key[DUE_KEY_BYTES]) {
        CHECK(at->due_unix_ms >= 0);
        out_key[0] = 'd';
        put32_big(out_key + 1, partition);
        put64_big(out_key + 5, (uint64_t)at->due_unix_ms);
        key_encode(at->key, out_key + 13);
}

bool due_key_decode(struct bytes key, uint32_t *out_partition, struct parked_cursor *out_at) {
        uint32_t partition;
        if (key.size != DUE_KEY_BYTES || key.data[0] != 'd' || !get_partition(key.data + 1, &partition) ||
            get64_big(key.data + 5) > INT64_MAX)
                return false;
        *out_partition = partition;
        out_at->due_unix_ms = (int64_t)get64_big(key.data + 5);
        return key_decode((struct bytes){key.data + 13, KEY_BYTES}, &out_at->key);
}

void parked_key_encode(uint32_t partition, struct key128 key, uint8_t out_key[PARKED_KEY_BYTES]) {
        out_key[0] = 'b';
        put32_big(out_key + 1, partition);
        key_encode(key, out_key + 5);
}

bool parked_key_decode(struct bytes key, uint32_t *out_partition, struct key128 *out_key) {
        uint32_t partition;
        if (key.size != PARKED_KEY_BYTES || key.data[0] != 'b' || !get_partition(key.data + 1, &partition))
                return false;
        *out_partition = partition;
        return key_decode((struct bytes){key.data + 5, KEY_BYTES}, out_key);
}

void partition_state_encode(const struct partition_state *state, uint8_t out_row[STATE_BYTES]) {
        out_row[0] = RECORD_VERSION;
        put64(out_row + 1, state->changelog_offset);
        put64(out_row + 9, state->source_high);
        put64(out_row + 17, (uint64_t)state->updated_unix_ms);
}

enum record_outcome partition_state_decode(struct bytes row, struct partition_state *out_state) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size != STATE_BYTES)
                return RECORD_DAMAGED;
        *out_state = (struct partition_state){.changelog_offset = get64(row.data + 1),
                                              .source_high = get64(row.data + 9),
                                              .updated_unix_ms = (int64_t)get64(row.data + 17)};
        return RECORD_OK;
}

size_t number_name(const char *prefix, uint32_t partition, char out_name[NUMBER_NAME_MAX]) {
        CHECK(partition < STORE_PARTITIONS_MAX && strlen(prefix) <= NUMBER_PREFIX_MAX);
        return (size_t)snprintf(out_name, NUMBER_NAME_MAX, "%s%05u", prefix, partition);
}

bool number_of_name(struct bytes name, const char *prefix, uint32_t *out_partition) {
        size_t length = strlen(prefix);
        uint32_t number = 0;
        if (name.size != length + 5 || memcmp(name.data, prefix, length) != 0)
                return false;
        for (size_t i = length; i < name.size; i++) {
                if (name.data[i] < '0' || name.data[i] > '9')
                        return false;
                number = number * 10 + (uint32_t)(name.data[i] - '0');
        }
        if (number >= STORE_PARTITIONS_MAX)
                return false;
        *out_partition = number;
        return true;
}

/* ---- spend ---- */

size_t spend_key_encode(enum spend_kind kind, struct bytes name, char out_key[SPEND_KEY_MAX]) {
        size_t prefix = sizeof(SPEND_PREFIX) - 1;
        CHECK(name.size > 0 && name.size <= SPEND_NAME_MAX);
        memcpy(out_key, SPEND_PREFIX, prefix);
        out_key[prefix] = kind == SPEND_WORKSPACE ? 'w' : 'p';
        out_key[prefix + 1] = '/';
        memcpy(out_key + prefix + 2, name.data, name.size);
        return prefix + 2 + name.size;
}

bool spend_key_decode(struct bytes key, enum spend_kind *out_kind, struct bytes *out_name) {
        size_t prefix = sizeof(SPEND_PREFIX) - 1;
        if (key.size <= prefix + 2 || key.size > prefix + 2 + SPEND_NAME_MAX ||
            memcmp(key.data, SPEND_PREFIX, prefix) != 0 || key.data[prefix + 1] != '/' ||
            (key.data[prefix] != 'w' && key.data[prefix] != 'p'))
                return false;
        *out_kind = key.data[prefix] == 'w' ? SPEND_WORKSPACE : SPEND_PROVIDER;
        *out_name = (struct bytes){key.data + prefix + 2, key.size - prefix - 2};
        return true;
}

bool share_key_decode(struct bytes key, uint32_t *out_partition) {
        size_t prefix = sizeof(SHARE_PREFIX) - 1, digits = 5;
        if (key.size <= prefix + digits + 1 || !bytes_starts_with(key, SHARE_PREFIX) ||
            key.data[prefix + digits] != '/')
                return false;
        *out_partition = 0;
        for (size_t i = prefix; i < prefix + digits; i++) {
                if (key.data[i] < '0' || key.data[i] > '9')
                        return false;
                *out_partition = 10 * *out_partition + (uint32_t)(key.data[i] - '0');
        }
        return true;
}

enum { SPEND_FIXED_BYTES = 74, SUM_BYTES = 16, RISK_BYTES = 24 };

static void put_sums(uint8_t *at, const struct budget_sum sums[2]) {
        for (int i = 0; i < 2; i++) {
                put64(at + SUM_BYTES * i, (uint64_t)sums[i].number);
                put64(at + SUM_BYTES * i + 8, (uint64_t)sums[i].settled_picousd);
        }
}

size_t spend_encode(const struct budget_spend *spend, uint8_t out_row[SPEND_BYTES_MAX]) {
        CHECK(spend->risks_count <= BUDGET_RISKS_MAX);
        out_row[0] = RECORD_VERSION;
        put_sums(out_row + 1, spend->days);
        put_sums(out_row + 33, spend->months);
        put64(out_row + 65, (uint64_t)spend->lifetime_picousd);
        out_row[73] = (uint8_t)spend->risks_count;
        for (uint32_t i = 0; i < spend->risks_count; i++) {
                uint8_t *at = out_row + SPEND_FIXED_BYTES + RISK_BYTES * i;
                put64(at, (uint64_t)spend->risks[i].day);
                put64(at + 8, (uint64_t)spend->risks[i].release_unix_ms);
                put64(at + 16, (uint64_t)spend->risks[i].picousd);
        }
        return SPEND_FIXED_BYTES + RISK_BYTES * spend->risks_count;
}

static bool get_sums(const char *at, struct budget_sum out_sums[2]) {
        for (int i = 0; i < 2; i++) {
                out_sums[i].number = (int64_t)get64(at + SUM_BYTES * i);
                out_sums[i].settled_picousd = (int64_t)get64(at + SUM_BYTES * i + 8);
                if (out_sums[i].settled_picousd < 0 ||
                    (out_sums[i].number != BUDGET_NO_PERIOD && !budget_is_day(out_sums[i].number)))
                        return false;
        }
        return true;
}

enum record_outcome spend_decode(struct bytes row, struct budget_spend *out_spend) {
        struct bytes rest;
        struct budget_spend spend = {0};
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        size_t count = row.size < SPEND_FIXED_BYTES ? 0 : (uint8_t)row.data[73];
        if (row.size != SPEND_FIXED_BYTES + RISK_BYTES * count || count > BUDGET_RISKS_MAX ||
            !get_sums(row.data + 1, spend.days) || !get_sums(row.data + 33, spend.months))
                return RECORD_DAMAGED;
        spend.lifetime_picousd = (int64_t)get64(row.data + 65);
        spend.risks_count = (uint32_t)count;
        for (size_t i = 0; i < count; i++) {
                const char *at = row.data + SPEND_FIXED_BYTES + RISK_BYTES * i;
                spend.risks[i] = (struct budget_risk){(int64_t)get64(at), (int64_t)get64(at + 8),
                                                      (int64_t)get64(at + 16)};
                if (spend.risks[i].picousd < 0 || !budget_is_day(spend.risks[i].day))
                        return RECORD_DAMAGED;
        }
        if (spend.lifetime_picousd < 0)
                return RECORD_DAMAGED;
        *out_spend = spend;
        return RECORD_OK;
}

void counted_encode(uint64_t block, uint8_t out_row[COUNTED_BYTES]) {
        out_row[0] = RECORD_VERSION;
        put64(out_row + 1, block);
}

enum record_outcome counted_decode(struct bytes row, uint64_t *out_block) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size != COUNTED_BYTES)
                return RECORD_DAMAGED;
        *out_block = get64(row.data + 1);
        return RECORD_OK;
}

/* ---- quotas ---- */

enum { PLACE_BYTES = 4 };

static const char quota_letters[QUOTA_OF_COUNT] = {
        [QUOTA_OF_PROVIDER] = 'p', [QUOTA_OF_ENDPOINT] = 'e', [QUOTA_OF_WORKSPACE] = 'w'};

size_t quota_key_encode(const struct quota_row *row, char out_key[QUOTA_KEY_MAX]) {
        CHECK(row->place < 1000);
        int size = (int)(row->name.size < QUOTA_NAME_MAX ? row->name.size : QUOTA_NAME_MAX);
        int head = snprintf(out_key, QUOTA_KEY_MAX, QUOTA_PREFIX "%c/%s/", quota_letters[row->of],
                            quota_text(row->quota));
        CHECK(head > 0 && (size_t)head + QUOTA_NAME_MAX + PLACE_BYTES < QUOTA_KEY_MAX);
        memcpy(out_key + head, row->name.data, (size_t)size);
        snprintf(out_key + head + size, PLACE_BYTES + 1, "/%03u", row->place);
        return (size_t)head + (size_t)size + PLACE_BYTES;
}

void quota_encode(const struct quota_row *row, uint8_t out_row[QUOTA_BYTES]) {
        out_row[0] = RECORD_VERSION;
        put64(out_row + 1, (uint64_t)row->until_unix_ms);
        put64(out_row + 9, (uint64_t)row->amount);
        put64(out_row + 17, (uint64_t)row->opened);
}

/* What stands before the next slash, which is taken off with it. */
static bool take_word(struct bytes *rest, struct bytes *out_word) {
        const char *slash = rest->size > 0 ? memchr(rest->data, '/', rest->size) : NULL;
        if (!slash)
                return false;
        *out_word = (struct bytes){rest->data, (size_t)(slash - rest->data)};
        *rest = (struct bytes){slash + 1, rest->size - out_word->size - 1};
        return true;
}

static bool get_quota_of(struct bytes word, enum quota_of *out_of) {
        for (int of = 0; of < QUOTA_OF_COUNT; of++) {
                if (word.size != 1 || word.data[0] != quota_letters[of])
                        continue;
                *out_of = (enum quota_of)of;
                return true;
        }
        return false;
}

/* Takes it off the end. */
static bool take_place(struct bytes *rest, uint32_t *out_place) {
        if (rest->size <= PLACE_BYTES || rest->data[rest->size - PLACE_BYTES] != '/')
                return false;
        *out_place = 0;
        rest->size -= PLACE_BYTES;
        for (size_t i = 1; i < PLACE_BYTES; i++) {
                char digit = rest->data[rest->size + i];
                if (digit < '0' || digit > '9')
                        return false;
                *out_place = *out_place * 10 + (uint32_t)(digit - '0');
        }
        return true;
}

enum record_outcome quota_decode(struct bytes key, struct bytes row, struct quota_row *out_row) {
        struct bytes rest, prefix, of, quota;
        struct quota_row read = {0};
        enum record_outcome outcome = version_decode(row, &rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (row.size != QUOTA_BYTES || !take_word(&key, &prefix) || !take_word(&key, &of) ||
            !bytes_equal(prefix, BYTES("quota")) || !take_word(&key, &quota) ||
            !take_place(&key, &read.place) || !get_quota_of(of, &read.of))
                return RECORD_DAMAGED;
        if (!quota_from_text(quota, &read.quota))
                return RECORD_NEWER;
        if (key.size > QUOTA_NAME_MAX)
                return RECORD_DAMAGED;
        read.name = key;
        read.until_unix_ms = (int64_t)get64(row.data + 1);
        read.amount = (int64_t)get64(row.data + 9);
        read.opened = (int64_t)get64(row.data + 17);
        if (read.amount < 0 || read.opened < 0)
                return RECORD_DAMAGED;
        *out_row = read;
        return RECORD_OK;
}

void format_encode(uint32_t version, uint8_t out_value[FORMAT_VALUE_BYTES]) {
        put32(out_value, version);
}

bool format_decode(struct bytes value, uint32_t *out_version) {
        if (value.size != FORMAT_VALUE_BYTES)
                return false;
        *out_version = get32(value.data);
        return true;
}
