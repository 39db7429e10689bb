#pragma once
/* Settled rows of a partition that were written together, as one row (gather.h). The layout stands in
 * record.c. Decoding believes nothing, as there. */
#include "broker/base/bytes.h"
#include "broker/store/late.h"
#include "broker/store/record.h"

#define PACKET_KEY_BYTES 12
#define PACKET_ROW_BYTES (KEY_BYTES + SETTLED_BYTES)

void packet_key_encode(uint32_t partition, uint64_t number, uint8_t out_key[PACKET_KEY_BYTES]);
bool packet_key_decode(struct bytes key, uint32_t *out_partition, uint64_t *out_number);

void packet_begin(struct buffer *packet); /* what is in it goes */
void packet_append(const struct late_row *row, struct buffer *packet);
/* Checks all rows; out_rest: what packet_take() goes on with. */
enum record_outcome packet_decode(struct bytes packet, struct bytes *out_rest);
/* Takes the next row off; false: there is none left. */
bool packet_take(struct bytes *rest, struct late_row *out_row);
