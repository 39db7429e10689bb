#pragma once
/*
 * MessagePack to JSON text and back (https://github.com/msgpack/msgpack/blob/master/spec.md). A job that came
 * in MessagePack is written as JSON text first and then read by the one decoder that there is, so it has one
 * fingerprint whichever way it came. Stateless; any thread.
 *
 * What one can say and the other cannot:
 *   bin, ext (timestamps too)  refused. The names and types are those of JSON: bytes are base64 text, times
 *                              RFC 3339 text, and nobody can tell which kind of text bytes were meant to be
 *   names that are no strings  refused
 *   NaN, infinities            refused
 *   str                        must be valid UTF-8
 *   integers                   exact, -2^63 to 2^64-1
 *   float 32, float 64         the shortest decimal number that reads back as the same float 64
 *   duplicate names            pass here; the job decoder refuses them in either encoding
 * and from JSON:
 *   a number with fraction or exponent, or an integer beyond 64 bits, becomes a float 64: 15 significant
 *   digits survive, so an amount of money below 1000 dollars keeps its 12 places; 1.50 comes back as 1.5
 *   a number beyond a float 64 (1e999) is refused
 *
 * Nothing is allocated for what a message only claims to hold: a count of elements is believed up to the
 * bytes that are really there.
 */
#include "broker/wire/problem.h"

enum { MSGPACK_DEPTH_MAX = 64 };

enum msgpack_outcome {
        MSGPACK_DONE,
        MSGPACK_REFUSED,   /* out_problem: field and sentence as in problem.h; `out` is as it was */
        MSGPACK_TOO_LARGE, /* the text would go beyond out->size_max; `out` is as it was */
        MSGPACK_NO_MEMORY, /* `out` is as it was, but for out->failed */
};

/*
 * One message, all of `message`. Appends to `out`, which must not have failed; out_problem has been
 * initialised.
 */
enum msgpack_outcome msgpack_to_json(struct bytes message, struct buffer *out, struct problem *out_problem);
/*
 * Any JSON text, such as a result's or a job's. A result that is refused (its body is some provider's) can
 * always be sent as JSON instead: content-type tells.
 */
enum msgpack_outcome msgpack_from_json(struct bytes json, struct buffer *out, struct problem *out_problem);
