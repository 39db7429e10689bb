#pragma once
/*
 * Where the members of a JSON object stand in its text. For text that a parser has already found to be
 * valid JSON: it is measured here, not judged. Text that is not valid gives wrong spans or an early end,
 * never a read outside of it.
 */
#include "broker/core/job_spec.h"

struct json_members {
        struct bytes text;
        size_t at;
};

struct json_member {
        struct span member; /* "name": value */
        struct span key;    /* with its quotes */
        struct span value;
};

/* Starts at an object's text; blanks around it are allowed. Larger than 4 GiB: has no members. */
void json_members_init(struct json_members *members, struct bytes object);
/* The next top-level member; offsets count from the start of the text. false at the end. */
bool json_members_next(struct json_members *members, struct json_member *out_member);

static inline struct bytes span_of(struct bytes text, struct span span) {
        return (struct bytes){text.data + span.offset, span.size};
}
