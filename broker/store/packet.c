#include "broker/store/packet.h"

#include <endian.h>
#include <string.h>

void packet_key_encode(uint32_t partition, uint64_t number, uint8_t out_key[PACKET_KEY_BYTES]) {
        partition = htobe32(partition);
        number = htobe64(number);
        memcpy(out_key, &partition, sizeof(partition));
        memcpy(out_key + sizeof(partition), &number, sizeof(number));
}

bool packet_key_decode(struct bytes key, uint32_t *out_partition, uint64_t *out_number) {
        if (key.size != PACKET_KEY_BYTES)
                return false;
        memcpy(out_partition, key.data, sizeof(*out_partition));
        memcpy(out_number, key.data + sizeof(*out_partition), sizeof(*out_number));
        *out_partition = be32toh(*out_partition);
        *out_number = be64toh(*out_number);
        return *out_partition < STORE_PARTITIONS_MAX;
}

void packet_begin(struct buffer *packet) {
        buffer_clear(packet);
        buffer_append_char(packet, RECORD_VERSION);
}

void packet_append(const struct late_row *row, struct buffer *packet) {
        uint8_t bytes[PACKET_ROW_BYTES];
        key_encode(row->key, bytes);
        memcpy(bytes + KEY_BYTES, row->row, SETTLED_BYTES);
        buffer_append(packet, bytes, sizeof(bytes));
}

enum record_outcome packet_decode(struct bytes packet, struct bytes *out_rest) {
        struct settled settled;
        enum record_outcome outcome = version_decode(packet, out_rest);
        if (outcome != RECORD_OK)
                return outcome;
        if (out_rest->size == 0 || out_rest->size % PACKET_ROW_BYTES != 0)
                return RECORD_DAMAGED;
        for (size_t at = KEY_BYTES; at < out_rest->size && outcome == RECORD_OK; at += PACKET_ROW_BYTES)
                outcome = settled_decode((struct bytes){out_rest->data + at, SETTLED_BYTES}, &settled);
        return outcome;
}

bool packet_take(struct bytes *rest, struct late_row *out_row) {
        if (rest->size < PACKET_ROW_BYTES ||
            !key_decode((struct bytes){rest->data, KEY_BYTES}, &out_row->key))
                return false;
        memcpy(out_row->row, rest->data + KEY_BYTES, SETTLED_BYTES);
        *rest = (struct bytes){rest->data + PACKET_ROW_BYTES, rest->size - PACKET_ROW_BYTES};
        return true;
}
