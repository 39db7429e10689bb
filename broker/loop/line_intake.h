#pragma once
/*
 * Jobs from the lines of a file or of standard input. The source is the log: its mark is the position before
 * which every line is settled (files/source.h).
 */
#include "broker/files/source.h"
#include "broker/loop/intake.h"
#include "broker/wire/job.h"

/* Set by the owner, who keeps what it points to: the first four. The rest begins as zero. */
struct line_intake {
        struct source *source;
        struct job_decoder *decoder;
        uint64_t jobs_limit; /* jobs to take; UINT64_MAX: all */
        /* what the store knew of the source, not `finished`: it may have grown */
        struct source_state state;
        struct source_state handed; /* the last that was given to the committer */
        uint64_t jobs_taken;
        bool ended, later, watched;
};

extern const struct intake_ops line_intake_ops;
