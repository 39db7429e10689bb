#pragma once
/*
 * JSON from outside through yyjson, within limits: nesting, and memory in proportion to the text. Small
 * texts are parsed without an allocation, in memory that lies inside the struct; so it must not move,
 * and is best left on the stack.
 */
#include "broker/base/bytes.h"

enum { PARSE_DEPTH_MAX = 64, PARSE_POOL_BYTES = 32768 };

struct yyjson_doc;
struct yyjson_val;

struct parse {
        struct yyjson_doc *doc;
        struct yyjson_val *root;
        size_t block_max; /* largest single allocation; 0 refuses all */
        _Alignas(16) char pool[PARSE_POOL_BYTES];
};

/* Strict RFC 8259. Numbers that no double holds are accepted and are raw values. false: nothing to end. */
bool parse_begin(struct parse *parse, struct bytes text);
/* The same, with every number left as its text. */
bool parse_begin_raw_numbers(struct parse *parse, struct bytes text);
void parse_end(struct parse *parse);
