#pragma once
/* What the files of this folder see of the store. Nobody else includes this. */
#include "broker/store/journal.h"

struct store {
        struct db db;
        struct journal journal; /* loaded when `journal_loaded` */
        bool journal_loaded, read_only;
        uint64_t rows; /* written since the cache was fitted */
        char *failed;  /* why nothing is written any more; NULL: all is well. The writer's */
};

/* ERROR_IO when the store no longer writes, or never did. */
struct error *store_refuses(const struct store *store) MUST_USE;
/* Remembers a failed write that must not be tried again. Returns the error that it was given. */
struct error *store_fail(struct store *store, struct error *error) MUST_USE;
