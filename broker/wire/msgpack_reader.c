/* The first byte names the type and, of small values, the value (spec.md, "Formats"). */
#include "broker/wire/msgpack_reader.h"

#include <string.h>

/* What stands behind a first byte of c0 to df, which all other bytes say themselves. */
enum form { FORM_NONE, FORM_FLOAT, FORM_UINT, FORM_INT, FORM_BYTES, FORM_FIXED_EXT, FORM_COUNT };

static const struct {
        uint8_t form, type;
        uint8_t width; /* of the number that follows: value, size, count, or the type of a fixed ext */
} forms[0xE0 - 0xC0] = {
        [0xC0 - 0xC0] = {FORM_NONE, MSGPACK_NIL, 0},      [0xC2 - 0xC0] = {FORM_NONE, MSGPACK_BOOL, 0},
        [0xC3 - 0xC0] = {FORM_NONE, MSGPACK_BOOL, 0},     [0xC4 - 0xC0] = {FORM_BYTES, MSGPACK_BIN, 1},
        [0xC5 - 0xC0] = {FORM_BYTES, MSGPACK_BIN, 2},     [0xC6 - 0xC0] = {FORM_BYTES, MSGPACK_BIN, 4},
        [0xC7 - 0xC0] = {FORM_BYTES, MSGPACK_EXT, 1},     [0xC8 - 0xC0] = {FORM_BYTES, MSGPACK_EXT, 2},
        [0xC9 - 0xC0] = {FORM_BYTES, MSGPACK_EXT, 4},     [0xCA - 0xC0] = {FORM_FLOAT, MSGPACK_FLOAT, 4},
        [0xCB - 0xC0] = {FORM_FLOAT, MSGPACK_FLOAT, 8},   [0xCC - 0xC0] = {FORM_UINT, MSGPACK_UINT, 1},
        [0xCD - 0xC0] = {FORM_UINT, MSGPACK_UINT, 2},     [0xCE - 0xC0] = {FORM_UINT, MSGPACK_UINT, 4},
        [0xCF - 0xC0] = {FORM_UINT, MSGPACK_UINT, 8},     [0xD0 - 0xC0] = {FORM_INT, MSGPACK_INT, 1},
        [0xD1 - 0xC0] = {FORM_INT, MSGPACK_INT, 2},       [0xD2 - 0xC0] = {FORM_INT, MSGPACK_INT, 4},
        [0xD3 - 0xC0] = {FORM_INT, MSGPACK_INT, 8},       [0xD4 - 0xC0] = {FORM_FIXED_EXT, MSGPACK_EXT, 1},
        [0xD5 - 0xC0] = {FORM_FIXED_EXT, MSGPACK_EXT, 1}, [0xD6 - 0xC0] = {FORM_FIXED_EXT, MSGPACK_EXT, 1},
        [0xD7 - 0xC0] = {FORM_FIXED_EXT, MSGPACK_EXT, 1}, [0xD8 - 0xC0] = {FORM_FIXED_EXT, MSGPACK_EXT, 1},
        [0xD9 - 0xC0] = {FORM_BYTES, MSGPACK_STR, 1},     [0xDA - 0xC0] = {FORM_BYTES, MSGPACK_STR, 2},
        [0xDB - 0xC0] = {FORM_BYTES, MSGPACK_STR, 4},     [0xDC - 0xC0] = {FORM_COUNT, MSGPACK_ARRAY, 2},
        [0xDD - 0xC0] = {FORM_COUNT, MSGPACK_ARRAY, 4},   [0xDE - 0xC0] = {FORM_COUNT, MSGPACK_MAP, 2},
        [0xDF - 0xC0] = {FORM_COUNT, MSGPACK_MAP, 4},
};

enum { NEVER_USED = 0xC1 };

/* A position in the message that moves the reader's only when the whole part is there. */
struct cursor {
        const uint8_t *at, *end;
};

static size_t left(const struct cursor *cursor) {
        return (size_t)(cursor->end - cursor->at);
}

static bool take_number(struct cursor *cursor, size_t width, uint64_t *out_number) {
        uint64_t number = 0;
        if (left(cursor) < width)
                return false;
        for (size_t i = 0; i < width; i++)
                number = number << 8 | cursor->at[i];
        cursor->at += width;
        *out_number = number;
        return true;
}

static bool take_bytes(struct cursor *cursor, uint64_t size, struct bytes *out_bytes) {
        if (left(cursor) < size)
                return false;
        *out_bytes = (struct bytes){(const char *)cursor->at, (size_t)size};
        cursor->at += size;
        return true;
}

/* An element is at least one byte, a pair two. */
static bool take_count(struct cursor *cursor, uint64_t count, struct msgpack_part *part) {
        size_t least = part->type == MSGPACK_MAP ? 2 : 1;
        if (count > left(cursor) / least)
                return false;
        part->count = (uint32_t)count;
        return true;
}

static void set_signed(struct msgpack_part *part, uint64_t bits, size_t width) {
        int64_t number = width == 1   ? (int8_t)bits
                         : width == 2 ? (int16_t)bits
                         : width == 4 ? (int32_t)bits
                                      : (int64_t)bits;
        part->type = number < 0 ? MSGPACK_INT : MSGPACK_UINT;
        part->sint = number; /* the same bits as `uint` when not negative */
}

static void set_float(struct msgpack_part *part, uint64_t bits, size_t width) {
        uint32_t half = (uint32_t)bits;
        float single;
        if (width == sizeof part->real) {
                memcpy(&part->real, &bits, sizeof part->real);
        } else {
                memcpy(&single, &half, sizeof single);
                part->real = (double)single;
        }
}

/* First bytes c0 to df. */
static bool take_formed(struct cursor *cursor, uint8_t first, struct msgpack_part *part) {
        uint8_t width = forms[first - 0xC0].width;
        uint64_t number, ext_type;
        part->type = (enum msgpack_type)forms[first - 0xC0].type;
        if (!take_number(cursor, width, &number))
                return false;
        switch ((enum form)forms[first - 0xC0].form) {
        case FORM_NONE:
                part->boolean = first == 0xC3;
                return first != NEVER_USED;
        case FORM_FLOAT:
                set_float(part, number, width);
                return true;
        case FORM_UINT:
                part->uint = number;
                return true;
        case FORM_INT:
                set_signed(part, number, width);
                return true;
        case FORM_FIXED_EXT:
                return take_bytes(cursor, UINT64_C(1) << (first - 0xD4), &part->bytes);
        case FORM_BYTES:
                if (part->type == MSGPACK_EXT && !take_number(cursor, 1, &ext_type))
                        return false;
                return take_bytes(cursor, number, &part->bytes);
        case FORM_COUNT:
                return take_count(cursor, number, part);
        }
        return false;
}

static bool take_part(struct cursor *cursor, uint8_t first, struct msgpack_part *part) {
        if (first < 0x80) {
                *part = (struct msgpack_part){.type = MSGPACK_UINT, .uint = first};
                return true;
        }
        if (first < 0xA0) {
                part->type = first < 0x90 ? MSGPACK_MAP : MSGPACK_ARRAY;
                return take_count(cursor, first & 0x0F, part);
        }
        if (first < 0xC0) {
                part->type = MSGPACK_STR;
                return take_bytes(cursor, first & 0x1F, &part->bytes);
        }
        if (first < 0xE0)
                return take_formed(cursor, first, part);
        *part = (struct msgpack_part){.type = MSGPACK_INT, .sint = (int64_t)first - 256};
        return true;
}

bool msgpack_next(struct msgpack_reader *reader, struct msgpack_part *out_part) {
        struct cursor cursor = {reader->at, reader->end};
        struct msgpack_part part;
        if (msgpack_reader_at_end(reader))
                return false;
        uint8_t first = *cursor.at++;
        if (!take_part(&cursor, first, &part))
                return false;
        reader->at = cursor.at;
        *out_part = part;
        return true;
}

/* What is still to come is counted, so that depth costs nothing; it is never more than the bytes left. */
bool msgpack_skip(struct msgpack_reader *reader) {
        struct msgpack_reader at = *reader;
        struct msgpack_part part;
        for (uint64_t open = 1; open > 0; open--) {
                if (!msgpack_next(&at, &part))
                        return false;
                if (part.type == MSGPACK_ARRAY)
                        open += part.count;
                else if (part.type == MSGPACK_MAP)
                        open += 2 * (uint64_t)part.count;
        }
        *reader = at;
        return true;
}
