#pragma once
/*
 * What providers write, made fit to be shown: one printable line of UTF-8 of bounded size, without
 * anything that looks like an API key.
 */
#include "broker/base/bytes.h"

/* A fixed piece of memory that is always a terminated string. */
struct sentence {
        char *text;
        size_t size, size_max; /* without the terminator */
};

void sentence_init(struct sentence *sentence, char *memory, size_t memory_bytes);
void sentence_add(struct sentence *sentence, const char *text);
/*
 * Adds what fits. Control characters become spaces, bytes that are no UTF-8 a question mark, secrets
 * "[redacted]". `strict`: any long run of letters and digits is a secret (answers about keys).
 */
void sentence_add_foreign(struct sentence *sentence, struct bytes text, bool strict);
