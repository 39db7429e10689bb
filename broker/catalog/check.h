#pragma once
/*
 * What looks wrong in a catalog, or is missing: holes (no price, no context, no parameters, no limits), and
 * prices that contradict themselves or those of the same model elsewhere. A finding is a guess; a person
 * decides.
 */
#include "workers/routing/catalog.h"

enum check {
#define CHECK_CODE(id, code, hole, text) CHECK_##id,
#include "broker/catalog/checks.def"
#undef CHECK_CODE
        CHECKS_COUNT,
};

struct check_finding {
        enum check check;
        uint32_t endpoint;
        int64_t is, other; /* picodollars per million, of a check that compares */
        uint32_t others;   /* how many `other` is the median of; 0: it is no median */
        const char *part;  /* "input", or the kind that has no price; "" when the check says all */
};

struct check_findings {
        struct check_finding *items;
        uint32_t count, capacity;
        bool memory_refused;
};

const char *check_code(enum check check);
bool check_from_code(struct bytes code, enum check *out_check);

/* Everything, but for checks whose bits are set in `ignored`; in the order of the catalog. */
void check_catalog(const struct catalog *catalog, uint32_t ignored, struct check_findings *out_findings);
void check_findings_deinit(struct check_findings *findings);
/* For a person: a line for each contradiction; holes together by provider unless `all`. */
void check_append(const struct catalog *catalog, const struct check_findings *findings, bool all,
                  struct buffer *out_text);
/* An object in each line: endpoint, code, message. */
void check_append_json(const struct catalog *catalog, const struct check_findings *findings,
                       struct buffer *out_text);
/* The codes as a Markdown table. */
void check_reference(struct buffer *out_text);
