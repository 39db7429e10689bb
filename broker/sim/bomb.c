/*
 * One block with the fixed Huffman codes: the literal ' ', then matches of 258 bytes at distance 1,
 * thirteen bits each, then literals for the rest. The checksum at the end is wrong on purpose: a client
 * that gets so far has unpacked everything already.
 */
#include "broker/sim/bomb.h"

#define MATCH_BYTES  258
#define LITERAL_BITS 8
#define BLANK_CODE   (0x30 + ' ')

struct bits {
        struct buffer *buffer;
        uint32_t pending, count;
};

static void put_bit(struct bits *bits, uint32_t bit) {
        bits->pending |= bit << bits->count;
        if (++bits->count == 8) {
                buffer_append_char(bits->buffer, (char)bits->pending);
                bits->pending = bits->count = 0;
        }
}

/* Huffman codes go in from their highest bit. */
static void put_code(struct bits *bits, uint32_t code, int length) {
        for (int i = length - 1; i >= 0; i--)
                put_bit(bits, code >> i & 1);
}

void sim_bomb_append(uint64_t unpacked_bytes, struct buffer *buffer) {
        struct bits bits = {.buffer = buffer};
        uint64_t left = unpacked_bytes;

        buffer_append(buffer, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10);
        put_bit(&bits, 1);
        put_bit(&bits, 1); /* last block; fixed codes: 1 then 0 */
        put_bit(&bits, 0);
        for (; left % MATCH_BYTES != 1 && left > 0; left--)
                put_code(&bits, BLANK_CODE, LITERAL_BITS);
        if (left > 0)
                put_code(&bits, BLANK_CODE, LITERAL_BITS);
        for (left /= MATCH_BYTES; left > 0; left--) {
                put_code(&bits, 0xc5, 8); /* length 258 */
                put_code(&bits, 0, 5);    /* distance 1 */
        }
        put_code(&bits, 0, 7); /* end of block */
        while (bits.count != 0)
                put_bit(&bits, 0);
        for (int i = 0; i < 4; i++)
                buffer_append_char(buffer, 0);
        for (int i = 0; i < 4; i++)
                buffer_append_char(buffer, (char)(unpacked_bytes >> (8 * i)));
}
