#pragma once
/*
 * The parts of a MessagePack message, one after the other, in place. msgpack-c reads into a tree that it
 * allocates by what a message claims to hold (24 bytes for every element of a count of 4 bytes), so messages
 * from outside are read with this instead; written with msgpack-c.
 *
 * Every length is checked against the bytes that are there: a count of elements that cannot stand behind it
 * is refused with the count, before anybody makes room for it.
 */
#include "broker/base/bytes.h"

struct msgpack_reader {
        const uint8_t *begin, *at, *end;
};

enum msgpack_type {
        MSGPACK_NIL,
        MSGPACK_BOOL,
        MSGPACK_UINT, /* any integer that is not negative, however it was written */
        MSGPACK_INT,  /* a negative one */
        MSGPACK_FLOAT,
        MSGPACK_STR,
        MSGPACK_BIN,
        MSGPACK_EXT, /* the bytes without the type; nobody here asks for that */
        MSGPACK_ARRAY,
        MSGPACK_MAP,
};

struct msgpack_part {
        enum msgpack_type type;
        union {
                bool boolean;
                uint64_t uint;
                int64_t sint;
                double real;
                struct bytes bytes; /* of STR, BIN, EXT */
                uint32_t count;     /* of ARRAY: elements, of MAP: pairs; they follow */
        };
};

static inline void msgpack_reader_init(struct msgpack_reader *reader, struct bytes message) {
        reader->begin = reader->at = (const uint8_t *)message.data;
        reader->end = message.size == 0 ? reader->at : reader->at + message.size;
}

static inline bool msgpack_reader_at_end(const struct msgpack_reader *reader) {
        return reader->at == reader->end;
}

/* false, and nothing is taken: the message ends too early, or holds the byte c1, which is never used. */
bool msgpack_next(struct msgpack_reader *reader, struct msgpack_part *out_part);
/* Passes over one whole value, of any depth; false as above. */
bool msgpack_skip(struct msgpack_reader *reader);
