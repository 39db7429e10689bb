#pragma once
/*
 * Rows of the state as bytes. Decoding takes bytes from a disk that may be damaged, or written by another
 * version: every length and value is checked, and nothing is believed. The layouts stand in record.c.
 */
#include "broker/store/store.h"

enum record_outcome {
        RECORD_OK,
        RECORD_NEWER,   /* its version byte is one that this program does not know */
        RECORD_DAMAGED, /* wrong length or an impossible value */
};

#define FORMAT_VERSION      1
#define KEY_BYTES           16
#define SETTLED_BYTES       72
#define BLOCK_KEY_BYTES     8
#define END_KEY_BYTES       12
#define SOURCE_PREFIX       "source/"
#define SOURCE_NAME_MAX     4096
#define SOURCE_KEY_MAX      (sizeof(SOURCE_PREFIX) + SOURCE_NAME_MAX)
#define SOURCE_BYTES_MAX    (58 + 2 * 512)
#define BEGUN_BYTES_MAX     (65 + 63 + 18 + 2 * SPEND_NAME_MAX)
#define RECORD_VERSION      1
#define BLOCK_VERSION       2 /* of a block with attempts of partitions */
#define HOLDING_VERSION     3 /* of a block whose attempts hold something of a budget */
#define FORMAT_KEY          "format"
#define FORMAT_VALUE_BYTES  4
#define IDENTITY_KEY        "identity"
#define IDENTITY_BYTES_MAX  1024
#define MARK_BYTES          42
#define ANSWER_KEY_BYTES    20 /* of rows from before they had numbers; in those with one, whose it is */
#define ANSWER_NUMBER_BYTES 8
#define ANSWER_HEAD_BYTES   (2 + SETTLED_BYTES)
#define DUE_KEY_BYTES       29
#define PARKED_KEY_BYTES    21
#define KEPT_KEY_BYTES      28
#define STATE_PREFIX        "partition/"
#define LOADING_PREFIX      "loading/"
#define NOTE_PREFIX         "note/"
#define NUMBER_PREFIX_MAX   16 /* of a name that ends with a partition's number */
#define NUMBER_NAME_MAX     (NUMBER_PREFIX_MAX + 8)
#define STATE_BYTES         25
#define SPEND_PREFIX        "spend/"
#define SHARE_PREFIX        "share/"
#define SHARE_KEY_MAX       (sizeof(SHARE_PREFIX) + 12 + STORE_SHARE_NAME_MAX)
#define SPEND_KEY_MAX       (sizeof(SPEND_PREFIX) + 1 + SPEND_NAME_MAX)
#define SPEND_BYTES_MAX     (74 + 24 * BUDGET_RISKS_MAX)
#define QUOTA_PREFIX        "quota/"
#define QUOTA_KEY_MAX       (sizeof(QUOTA_PREFIX) + 48 + QUOTA_NAME_MAX)
#define QUOTA_BYTES         25
#define COUNTED_KEY         "holds-counted"
#define COUNTED_BYTES       9

void key_encode(struct key128 key, uint8_t out_row[KEY_BYTES]);
bool key_decode(struct bytes row, struct key128 *out_key);

void settled_encode(const struct settled *settled, uint8_t out_row[SETTLED_BYTES]);
/* The partition is STORE_NO_PARTITION then: the row does not say. */
enum record_outcome settled_decode(struct bytes row, struct settled *out_settled);

/* What stands among the settled rows of a partition. */
enum job_row_kind { JOB_ROW_NONE, JOB_ROW_SETTLED, JOB_ROW_PARKED };
struct job_row {
        enum job_row_kind kind;
        struct settled settled; /* SETTLED */
        int64_t due_unix_ms;    /* PARKED */
        uint8_t fingerprint[32];
};
void mark_encode(int64_t due_unix_ms, const uint8_t fingerprint[32], uint8_t out_row[MARK_BYTES]);
enum record_outcome job_row_decode(struct bytes row, uint32_t partition, struct job_row *out_row);

/* The row of a block is its version byte and then one entry per attempt. */
uint8_t block_version(const struct begun *begun); /* of the block that may hold it */
enum record_outcome block_decode(struct bytes row, uint8_t *out_version, struct bytes *out_rest);
/* Gives the size. */
size_t begun_encode(const struct begun *begun, uint8_t out_entry[BEGUN_BYTES_MAX]);
/* Takes the next entry off `rest`. Only RECORD_OK and RECORD_DAMAGED. */
enum record_outcome begun_decode(uint8_t version, struct bytes *rest, struct begun *out_begun);
/* Looks at the version byte; out_rest is what stands behind it. For ends, bodies and what is parked. */
enum record_outcome version_decode(struct bytes row, struct bytes *out_rest);

void block_key_encode(uint64_t block, uint8_t out_key[BLOCK_KEY_BYTES]);
void end_key_encode(struct begun_id id, uint8_t out_key[END_KEY_BYTES]);
/* A key of the family `begun`: out_is_end tells which of the two it is. */
bool begun_key_decode(struct bytes key, struct begun_id *out_id, bool *out_is_end);

/* The key of a source's row; gives its size, or 0 when the name is too long. */
size_t source_key_encode(const char *name, char out_key[SOURCE_KEY_MAX]);
size_t source_encode(const struct source_state *state, uint8_t out_row[SOURCE_BYTES_MAX]);
enum record_outcome source_decode(struct bytes row, struct source_state *out_state);

void answer_key_encode(uint32_t partition, struct key128 key, uint8_t out_key[ANSWER_KEY_BYTES]);
bool answer_key_decode(struct bytes key, uint32_t *out_partition, struct key128 *out_key);
void answer_number_encode(uint64_t number, uint8_t out_key[ANSWER_NUMBER_BYTES]);
bool answer_number_decode(struct bytes key, uint64_t *out_number); /* from 1 */
/* The row is this head, of one with a number then the key that it had before, then the value. */
void answer_head_encode(const struct settled *settled, bool dead_letter, uint8_t out_head[ANSWER_HEAD_BYTES]);
enum record_outcome answer_decode(struct bytes row, struct settled *out_settled, bool *out_dead_letter,
                                  struct bytes *out_value);
/* Takes the key off what stands behind the head. */
bool answer_take_owner(struct bytes *rest, uint32_t *out_partition, struct key128 *out_key);

void due_key_encode(uint32_t partition, const struct parked_cursor *at, uint8_t out_key[DUE_KEY_BYTES]);
bool due_key_decode(struct bytes key, uint32_t *out_partition, struct parked_cursor *out_at);
void parked_key_encode(uint32_t partition, struct key128 key, uint8_t out_key[PARKED_KEY_BYTES]);
bool parked_key_decode(struct bytes key, uint32_t *out_partition, struct key128 *out_key);

void partition_state_encode(const struct partition_state *state, uint8_t out_row[STATE_BYTES]);
enum record_outcome partition_state_decode(struct bytes row, struct partition_state *out_state);

/* Names of families and keys of rows: the prefix and a partition's number in five digits. */
size_t number_name(const char *prefix, uint32_t partition, char out_name[NUMBER_NAME_MAX]);
bool number_of_name(struct bytes name, const char *prefix, uint32_t *out_partition);

/* "spend/w/" or "spend/p/" and the name; gives its size. */
size_t spend_key_encode(enum spend_kind kind, struct bytes name, char out_key[SPEND_KEY_MAX]);
bool spend_key_decode(struct bytes key, enum spend_kind *out_kind, struct bytes *out_name);
/* "share/", the partition, "/" and a name. */
bool share_key_decode(struct bytes key, uint32_t *out_partition);
size_t spend_encode(const struct budget_spend *spend, uint8_t out_row[SPEND_BYTES_MAX]);
enum record_outcome spend_decode(struct bytes row, struct budget_spend *out_spend);
void counted_encode(uint64_t block, uint8_t out_row[COUNTED_BYTES]);
enum record_outcome counted_decode(struct bytes row, uint64_t *out_block);

/* "quota/", p, e or w, the limit, the name and the place in three digits; gives its size. */
size_t quota_key_encode(const struct quota_row *row, char out_key[QUOTA_KEY_MAX]);
void quota_encode(const struct quota_row *row, uint8_t out_row[QUOTA_BYTES]);
/* NEWER: also a limit that is not known. What is read points into the key. */
enum record_outcome quota_decode(struct bytes key, struct bytes row, struct quota_row *out_row);

void format_encode(uint32_t version, uint8_t out_value[FORMAT_VALUE_BYTES]);
bool format_decode(struct bytes value, uint32_t *out_version);
