#pragma once
/*
 * Catalogues as others publish them, imported by what ships, filled into a configuration by what ships, and
 * jobs that are decided under it. A decision is made as `explain` makes it (the seed is the job's key), but
 * in a state that the caller gives.
 */
#include "broker/core/job_spec.h"
#include "broker/ops/config.h"
#include "broker/wire/job.h"
#include "workers/routing/record.h"

enum { BOOK_TEXT_MAX = 64 << 20 };

struct book {
        char directory[64]; /* of its own: litellm.yaml, openrouter.yaml, batchferry.yaml */
        struct config *config;
        struct job_decoder *decoder;
};

/* Whole, terminated; the caller frees `data`. Fails the test when the file cannot be read. */
struct bytes book_read(const char *path);
/* Imports both catalogues, and loads that configuration in their place. Fails the test when that fails. */
void book_open(struct book *book, const char *litellm_path, const char *openrouter_path,
               struct bytes configuration);
void book_close(struct book *book);

/* What a decision stands on, and what came of it. */
struct deciding {
        struct job_spec *job;
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct decision_moment moment;
        struct route route;
};

/* A job whose endpoints are all fit, with room, and never called. false: no job; `job` says why. */
bool deciding_begin(const struct book *book, struct bytes line, int64_t at_unix_ms,
                    struct deciding *out_deciding);
/*
 * Decides, twice, and a third time by the record of the first: fails the test when they do not come out the
 * same.
 */
void deciding_rank(const struct book *book, struct deciding *deciding);
void deciding_end(struct deciding *deciding);
