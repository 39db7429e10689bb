#pragma once
/*
 * Embedding vectors between the two forms that the OpenAI API knows: a JSON list of numbers, and base64
 * of packed little-endian float32 (reference providers.md 1.1; the base64 form is a fifth of the work
 * and, with 17-digit text, a quarter of the bytes).
 */
#include "broker/base/bytes.h"

#include <stdint.h>

/*
 * Appends the shortest decimal that reads back as exactly this float32, whether the reader goes through
 * a double or not; always with a point or an exponent. JSON has no NaN or infinity: those become null.
 */
void vector_append_float(struct buffer *buffer, float value);
/*
 * "[0.1,-2.0]" from base64 without quotes. false, and nothing appended, when it is no base64 of whole
 * floats.
 */
bool vector_append_floats(struct buffer *buffer, struct bytes base64);
/*
 * Base64 with its quotes from the text of a JSON list of numbers. false, and nothing appended, when it
 * holds anything else.
 */
bool vector_append_base64(struct buffer *buffer, struct bytes list);
/* Whether vector_append_floats() would succeed, without doing it. */
bool vector_is_base64(struct bytes base64);

/*
 * Appends an embeddings answer (valid JSON on one line) with every data[].embedding in the form asked
 * for, all else byte for byte. Vectors that cannot be converted stay as they are.
 */
void vectors_append_answer(struct buffer *buffer, struct bytes answer, bool as_base64);
