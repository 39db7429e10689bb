#pragma once
/* What is said of a job that has ended: to whoever asked, as a line or a value, and to the store. */
#include "broker/base/bytes.h"
#include "broker/loop/committer.h"

/* Under which the decision was made; else the one that is given. */
const struct catalog *told_catalog(const struct outcome *outcome, const struct catalog *now);
/* Appends the result to `out`; `scratch` is overwritten. out->failed: memory was refused. */
void told_result(const struct intent *intent, const struct catalog *now, bool line, struct buffer *scratch,
                 struct buffer *out);
/* Without partition, sink and place. */
void told_settled(const struct intent *intent, struct settled *out_settled);
