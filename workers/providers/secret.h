#pragma once
/*
 * Secrets in what providers write. They echo keys in their refusals ("Incorrect API key provided:
 * sk-..."), and what they say ends in results, logs and on terminals.
 */
#include "broker/base/bytes.h"

/*
 * The size of the secret that begins at `at`, or 0. `at` must not be inside of a word: go on by
 * secret_step(). In JSON text, escapes are crossed whole, so what is found never cuts one. `strict`: any
 * long run of letters and digits is one (answers about keys).
 */
size_t secret_at(struct bytes text, size_t at, bool strict);
/* To where the next word may begin. */
size_t secret_step(struct bytes text, size_t at);
/* Appends the text with every secret replaced by SECRET_REPLACEMENT; JSON stays JSON. */
void secret_append_redacted(struct buffer *buffer, struct bytes text, bool strict);

#define SECRET_REPLACEMENT "[redacted]"
