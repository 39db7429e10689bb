#pragma once
/*
 * A result line as those read it who look back: what was paid, what was used, and the decision with what it
 * stood on. result_read_head() is the smaller one, for the store.
 */
#include "broker/base/error.h"
#include "broker/core/outcome.h"
#include "workers/routing/record.h"

struct receipt_candidate {
        struct bytes endpoint;      /* its name, with escapes taken out */
        enum exclusion excluded_by; /* EXCLUSION_NONE: usable */
        bool cost_said, cost_known;
        int64_t cost_picousd;
};

/* Strings and candidates are valid until the next line is read. */
struct receipt {
        struct bytes custom_id, workspace, provider, model; /* empty when null */
        enum failure failure;                               /* as result_read_head() has it */
        uint32_t attempts;
        bool replayed, cost_known, cost_is_estimate;
        int64_t cost_picousd;
        struct usage usage;
        struct bytes policy, catalog, chosen; /* empty when null */
        uint64_t seed;
        struct receipt_candidate candidates[DECISION_CANDIDATES_MAX];
        uint32_t candidates_count;
        bool truncated;
        bool has_inputs;               /* `replay` stands there and can be read */
        struct decision_inputs inputs; /* with the seed */
};

enum receipt_outcome {
        RECEIPT_OK,
        RECEIPT_STRANGE,    /* no result of ours */
        RECEIPT_UNREADABLE, /* ours, but its `replay` is damaged, or of a version that is not known here */
        RECEIPT_MEMORY,
};

struct receipt_reader; /* one per thread */

struct receipt_reader *receipt_reader_new(void); /* NULL when memory is refused */
struct receipt_reader *receipt_reader_free(struct receipt_reader *reader);
/* out_receipt is written unless RECEIPT_STRANGE or RECEIPT_MEMORY. */
enum receipt_outcome receipt_read(struct receipt_reader *reader, struct bytes line,
                                  struct receipt *out_receipt);
