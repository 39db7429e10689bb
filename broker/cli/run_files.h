#pragma once
/*
 * What a run works on: the store, the input, the outputs, and where they stood when the last run of the same
 * input ended. Opening them is recovery: lines that an output has and the store does not know of are adopted,
 * a torn end is cut, lines in the store that a pipe never got are written.
 */
#include "broker/files/sink.h"
#include "broker/files/source.h"
#include "broker/loop/committer.h"
#include "broker/loop/spend_book.h"
#include "broker/store/store.h"

struct run_files_options {
        const char *state, *input, *output, *errors; /* errors may be NULL */
        size_t line_max;
        const struct catalog *catalog; /* for its workspaces; NULL: none */
        /*
         * For tests, else NULL: of the store (see store_options) and of the outputs (see sink_set_fault()).
         */
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

struct run_files {
        struct store *store;
        struct source *source;
        struct sink *sinks[SINKS_COUNT];
        char source_name[4096]; /* under which the store knows the input */
        struct source_state state;
        bool known; /* an earlier run had begun */
        /* the part of the input that was settled has been changed since: every line is looked up */
        bool changed;
        uint64_t adopted;
        struct spend_book book; /* what was spent before */
};

struct error *run_files_open(const struct run_files_options *options, struct run_files *out_files) MUST_USE;
void run_files_close(struct run_files *files); /* a zeroed one is fine */
