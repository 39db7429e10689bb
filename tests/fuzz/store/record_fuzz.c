/* Rows of the state from any bytes: no crash, and what decodes encodes to the same bytes. The first byte
 * picks the kind of row. */
#include "broker/base/check.h"
#include "broker/store/packet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_settled(struct bytes row) {
        struct settled settled;
        uint8_t again[SETTLED_BYTES];
        if (settled_decode(row, &settled) != RECORD_OK)
                return;
        settled_encode(&settled, again);
        CHECK(row.size == sizeof(again) && memcmp(row.data, again, row.size) == 0);
}

static void try_job_row(struct bytes row) {
        struct job_row job;
        uint8_t settled[SETTLED_BYTES], mark[MARK_BYTES];
        if (job_row_decode(row, 3, &job) != RECORD_OK)
                return;
        if (job.kind == JOB_ROW_SETTLED) {
                settled_encode(&job.settled, settled);
                CHECK(job.settled.partition == 3 && row.size == sizeof(settled) &&
                      memcmp(row.data, settled, row.size) == 0);
        } else {
                mark_encode(job.due_unix_ms, job.fingerprint, mark);
                CHECK(row.size == sizeof(mark) && memcmp(row.data, mark, row.size) == 0);
        }
}

static void try_answer(struct bytes row) {
        struct settled settled;
        struct bytes value;
        bool dead_letter;
        uint8_t head[ANSWER_HEAD_BYTES];
        if (answer_decode(row, &settled, &dead_letter, &value) != RECORD_OK)
                return;
        answer_head_encode(&settled, dead_letter, head);
        CHECK(row.size == sizeof(head) + value.size && memcmp(row.data, head, sizeof(head)) == 0 &&
              value.data + value.size == row.data + row.size);
}

static void try_partition(struct bytes row) {
        struct partition_state state;
        uint8_t again[STATE_BYTES];
        char name[NUMBER_NAME_MAX];
        uint32_t number;
        if (partition_state_decode(row, &state) == RECORD_OK) {
                partition_state_encode(&state, again);
                CHECK(row.size == sizeof(again) && memcmp(row.data, again, row.size) == 0);
        }
        if (number_of_name(row, STATE_PREFIX, &number))
                CHECK(number_name(STATE_PREFIX, number, name) == row.size &&
                      memcmp(row.data, name, row.size) == 0);
}

static void try_partition_keys(struct bytes row) {
        uint32_t partition;
        struct key128 key;
        struct parked_cursor at;
        uint8_t again[DUE_KEY_BYTES];
        if (answer_key_decode(row, &partition, &key)) {
                answer_key_encode(partition, key, again);
                CHECK(memcmp(row.data, again, ANSWER_KEY_BYTES) == 0);
        }
        uint64_t number;
        if (answer_number_decode(row, &number)) {
                answer_number_encode(number, again);
                CHECK(memcmp(row.data, again, ANSWER_NUMBER_BYTES) == 0);
        }
        struct bytes rest = row;
        if (answer_take_owner(&rest, &partition, &key)) {
                answer_key_encode(partition, key, again);
                CHECK(rest.size == row.size - ANSWER_KEY_BYTES &&
                      memcmp(row.data, again, ANSWER_KEY_BYTES) == 0);
        }
        if (due_key_decode(row, &partition, &at)) {
                due_key_encode(partition, &at, again);
                CHECK(memcmp(row.data, again, DUE_KEY_BYTES) == 0);
        }
        if (parked_key_decode(row, &partition, &key)) {
                parked_key_encode(partition, key, again);
                CHECK(memcmp(row.data, again, PARKED_KEY_BYTES) == 0);
        }
}

static void try_begun(struct bytes row) {
        struct bytes rest;
        struct begun begun;
        uint8_t again[BEGUN_BYTES_MAX], version;
        if (block_decode(row, &version, &rest) != RECORD_OK)
                return;
        for (struct bytes before = rest; rest.size > 0 && begun_decode(version, &rest, &begun) == RECORD_OK;
             before = rest) {
                CHECK(block_version(&begun) == version);
                size_t size = begun_encode(&begun, again);
                CHECK(size == before.size - rest.size && memcmp(before.data, again, size) == 0);
        }
}

static void try_source(struct bytes row) {
        struct source_state state;
        uint8_t again[SOURCE_BYTES_MAX];
        if (source_decode(row, &state) != RECORD_OK)
                return;
        size_t size = source_encode(&state, again);
        CHECK(size == row.size && memcmp(row.data, again, size) == 0);
}

static void try_spend(struct bytes row) {
        struct budget_spend spend;
        uint8_t again[SPEND_BYTES_MAX];
        uint64_t block;
        if (spend_decode(row, &spend) == RECORD_OK)
                CHECK(spend_encode(&spend, again) == row.size && memcmp(row.data, again, row.size) == 0);
        if (counted_decode(row, &block) == RECORD_OK) {
                counted_encode(block, again);
                CHECK(memcmp(row.data, again, COUNTED_BYTES) == 0);
        }
}

static void try_spend_key(struct bytes row) {
        char again[SPEND_KEY_MAX];
        enum spend_kind kind;
        struct bytes name;
        if (spend_key_decode(row, &kind, &name))
                CHECK(spend_key_encode(kind, name, again) == row.size &&
                      memcmp(row.data, again, row.size) == 0);
}

static void try_keys(struct bytes row) {
        struct begun_id id;
        struct key128 key;
        uint32_t version;
        uint8_t again[KEY_BYTES];
        bool is_end;
        if (begun_key_decode(row, &id, &is_end)) {
                end_key_encode(id, again);
                CHECK(memcmp(row.data, again, row.size) == 0);
        }
        if (key_decode(row, &key)) {
                key_encode(key, again);
                CHECK(memcmp(row.data, again, KEY_BYTES) == 0);
        }
        if (format_decode(row, &version)) {
                format_encode(version, again);
                CHECK(memcmp(row.data, again, FORMAT_VALUE_BYTES) == 0);
        }
}

/* The row behind its key, whose size is the first byte. */
static void try_quota(struct bytes row) {
        struct quota_row read;
        char key[QUOTA_KEY_MAX];
        uint8_t again[QUOTA_BYTES];
        size_t size = row.size > 0 ? (uint8_t)row.data[0] : 0;
        if (size + 1 > row.size)
                return;
        struct bytes name = {row.data + 1, size}, value = {row.data + 1 + size, row.size - size - 1};
        if (quota_decode(name, value, &read) != RECORD_OK)
                return;
        quota_encode(&read, again);
        CHECK(value.size == sizeof(again) && memcmp(value.data, again, sizeof(again)) == 0);
        CHECK(quota_key_encode(&read, key) == size && memcmp(key, name.data, size) == 0);
}

static void try_packet(struct bytes row) {
        struct buffer again;
        struct late_row late;
        struct bytes rest;
        uint8_t key[PACKET_KEY_BYTES];
        uint64_t number;
        uint32_t partition;
        if (packet_key_decode(row, &partition, &number)) {
                packet_key_encode(partition, number, key);
                CHECK(memcmp(row.data, key, sizeof(key)) == 0);
        }
        if (packet_decode(row, &rest) != RECORD_OK)
                return;
        buffer_init(&again, SIZE_MAX / 2);
        packet_begin(&again);
        while (packet_take(&rest, &late))
                packet_append(&late, &again);
        CHECK(bytes_equal(buffer_view(&again), row));
        buffer_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static void (*const tries[])(struct bytes) = {
                try_settled,   try_begun,          try_source, try_keys,      try_job_row, try_answer,
                try_partition, try_partition_keys, try_spend,  try_spend_key, try_quota,   try_packet};
        if (size == 0)
                return 0;
        tries[data[0] % (sizeof(tries) / sizeof(*tries))]((struct bytes){(const char *)data + 1, size - 1});
        return 0;
}
