#pragma once
/*
 * `decision.replay` of a receipt: the record of a decision (workers/routing/record.h has it byte by byte) as
 * base64url without padding (RFC 4648 section 5). Text that a record cannot have, or that stands for bits
 * that are not there, is refused: one record has one text.
 */
#include "broker/core/job_spec.h"
#include "broker/core/outcome.h"
#include "workers/routing/record.h"

enum {
        DECISION_TEXT_MAX = 64 << 10, /* of the text; longer is no record */
};

/*
 * Appends the text of the decision that the job's outcome holds, for the inside of a JSON string. false, and
 * nothing appended, when there is no record, when the job's names make it longer than a record may be, or
 * when memory is refused (out->failed).
 */
bool decision_append(struct buffer *out, const struct demand *demand, const struct decision *decision);
/* The record into `record`, which is cleared before; names in the inputs point there. */
bool decision_read(struct bytes text, struct buffer *record, struct decision_inputs *out_inputs);
/*
 * The score parts of a candidate, as receipts have them, each with a comma before it: the known measure that
 * it was sorted by besides the cost, and what put it behind its peers. Nothing where there is none.
 */
void decision_append_measure(struct buffer *out, enum sort_by sort, int64_t measure);
void decision_append_penalties(struct buffer *out, uint8_t penalties);
/* "price", "throughput", ... as in `routing.sort`. */
const char *decision_sort_text(enum sort_by sort);
