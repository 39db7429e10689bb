#pragma once
/*
 * The canonical text of a JSON value: what two texts have in common that say the same. Members sorted by
 * the bytes of their names, no blanks, strings unescaped and escaped again in one way (\" \\ and \u00xx
 * below 0x20, nothing else), numbers as they were written (1.0 is not 1: a provider may tell them apart).
 * Sorting shows duplicate names at no further cost, so the same walk checks for those, and for depth.
 */
#include "broker/wire/problem.h"

struct yyjson_val;
struct canonical;

enum { JSON_DEPTH_MAX = 64 };

struct canonical *canonical_new(void); /* scratch of one thread; NULL when memory is refused */
struct canonical *canonical_free(struct canonical *canonical);

/*
 * Walks a container that stands `depth` levels deep in the line (the line's own object is level 1) under
 * the name `field`. Appends its canonical text to `text`, unless that is NULL. false with a problem for a
 * duplicate name or more than JSON_DEPTH_MAX levels, or without one (problem->failure none) when memory is
 * refused. Numbers must have been read as raw text.
 */
bool canonical_walk(struct canonical *canonical, struct yyjson_val *value, unsigned depth, const char *field,
                    struct buffer *text, struct problem *problem);
/* A string as the canonical text has it, with quotes. */
void canonical_string(struct buffer *text, struct bytes string);
