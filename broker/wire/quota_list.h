#pragma once
/*
 * What was taken of a part of the limits, as an owner's record of the state topic tells it to whoever has the
 * part next. MessagePack, an array: the version, 1; into how many parts the limits were divided; then per
 * limit four more elements: "p", "e" or "w" (of a provider, endpoint or workspace), its name, the limit as in
 * the configuration, and an array: of each sub-window when it ended, in milliseconds since 1970, and what was
 * taken in it.
 *
 * Reading takes bytes that anybody may have written: a list that is not understood is as good as none. Limits
 * that this program does not know are passed over.
 */
#include "broker/core/quota.h"

/*
 * Rows of a limit stand together. Nothing is appended when memory is refused (out->failed). Of a row, `place`
 * and `opened` are not told.
 */
void quota_list_append(struct buffer *out, uint32_t whole, const struct quota_row *rows, size_t count);
/*
 * false: not understood, or `each` said so; what it was given before counts for nothing. Rows point into
 * `list`.
 */
bool quota_list_read(struct bytes list, uint32_t *out_whole,
                     bool (*each)(void *userdata, const struct quota_row *row), void *userdata);
