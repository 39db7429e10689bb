#pragma once
/*
 * A cursor over JSON text that keeps the place of things: where a member's value begins and ends, byte
 * for byte. For text that a parser has accepted; with any other text it still stays inside and ends, but
 * what it finds means little. No recursion.
 */
#include "broker/base/bytes.h"

struct walk {
        const char *at, *end;
};

void walk_init(struct walk *walk, struct bytes text);
/* Enters an object ('{') or array ('['); false when the next token is something else. */
bool walk_open(struct walk *walk, char bracket);
/* To the next member's value; the key is without quotes, escapes as they are. false behind the last one. */
bool walk_member(struct walk *walk, struct bytes *out_key);
/* To the next element. false behind the last one. */
bool walk_element(struct walk *walk);
/* Over a value of any kind; the view is exactly its text. */
bool walk_value(struct walk *walk, struct bytes *out_value);

/* The first member of that name of the object that `text` is. */
bool walk_find(struct bytes text, const char *key, struct bytes *out_value);
/* Without white space around, and without a byte order mark before. */
struct bytes walk_trim(struct bytes text);
/*
 * Appends the text on one line: as it is when it has no line ends, else without the white space between
 * tokens.
 */
void walk_append_line(struct buffer *buffer, struct bytes text);
