#pragma once
/*
 * ${NAME}, ${NAME:-default} and ${file:/path} inside a text of the configuration. What they give is
 * taken as it is: never parsed as YAML, never looked at for another ${. `$${` stands for `${`. One
 * newline at the end of a file is cut off.
 */
#include "broker/base/bytes.h"

enum {
        SUBSTITUTE_FILE_BYTES_MAX = 64 << 10, /* a key or a certificate, not data */
        SUBSTITUTE_TEXT_BYTES_MAX = 128 << 10,
        SUBSTITUTE_PROBLEM_MAX = 512,
};

enum substitution {
        SUBSTITUTION_DONE,
        SUBSTITUTION_MALFORMED, /* the text is wrong */
        SUBSTITUTION_MISSING,   /* a variable or file is */
};

/*
 * Appends the text to `out_text`, which should have room for SUBSTITUTE_TEXT_BYTES_MAX beforehand when
 * secrets must not be left behind in memory that it grew out of. *out_any: whether anything was put in.
 * But for DONE there is a sentence, which never holds a value, and what was appended is without meaning.
 */
enum substitution substitute(struct bytes text, struct buffer *out_text, bool *out_any,
                             char out_problem[SUBSTITUTE_PROBLEM_MAX]);
/* Whether something would be put in, before it is. */
bool substitute_is_any(struct bytes text);
/* Writes a text so that substitute() gives it back. */
void substitute_quote(struct bytes text, struct buffer *out_text);
