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

#define FORMAT_VERSION     1
#define KEY_BYTES          16
#define SETTLED_BYTES      72
#define BLOCK_KEY_BYTES    8
#define END_KEY_BYTES      12
#define SOURCE_PREFIX      "source/"
#define SOURCE_NAME_MAX    4096
#define SOURCE_BYTES_MAX   (58 + 2 * 512)
#define BEGUN_BYTES_MAX    (61 + 63)
#define RECORD_VERSION     1
#define FORMAT_KEY         "format"
#define FORMAT_VALUE_BYTES 4

void key_encode(struct key128 key, uint8_t out_row[KEY_BYTES]);
bool key_decode(struct bytes row, struct key128 *out_key);

void settled_encode(const struct settled *settled, uint8_t out_row[SETTLED_BYTES]);
enum record_outcome settled_decode(struct bytes row, struct settled *out_settled);

/* The row of a block is its version byte and then one entry per attempt. Gives the size. */
size_t begun_encode(const struct begun *begun, uint8_t out_entry[BEGUN_BYTES_MAX]);
/* Takes the next entry off `rest`. Only RECORD_OK and RECORD_DAMAGED. */
enum record_outcome begun_decode(struct bytes *rest, struct begun *out_begun);
/* Looks at the version byte; out_rest is what stands behind it. For blocks, ends and bodies. */
enum record_outcome version_decode(struct bytes row, struct bytes *out_rest);

void block_key_encode(uint64_t block, uint8_t out_key[BLOCK_KEY_BYTES]);
void end_key_encode(struct begun_id id, uint8_t out_key[END_KEY_BYTES]);
/* A key of the family `begun`: out_is_end tells which of the two it is. */
bool begun_key_decode(struct bytes key, struct begun_id *out_id, bool *out_is_end);

size_t source_encode(const struct source_state *state, uint8_t out_row[SOURCE_BYTES_MAX]);
enum record_outcome source_decode(struct bytes row, struct source_state *out_state);

void format_encode(uint32_t version, uint8_t out_value[FORMAT_VALUE_BYTES]);
bool format_decode(struct bytes value, uint32_t *out_version);
