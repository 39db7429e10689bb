#pragma once
/*
 * The audit of `run`: a file with one chain of records (wire/audit.h), appended to and synced with each
 * commit, before the results that the records are about. So no result is without its record; a record whose
 * result a crash took away stands there too, for that call was made.
 *
 * At opening the whole chain is checked. A torn end is cut, and the chain goes on from the last whole record;
 * anything else that is wrong is left as it is, and refused.
 *
 * Two threads: audit_log_ended() may be asked from any, all else is for the committer's.
 */
#include "broker/loop/audit_note.h"
#include "broker/store/store.h"

struct audit_log;

struct audit_log_options {
        const char *path;
        struct store *store; /* whose attempts of unknown outcome are looked for in the file */
        uint64_t random;     /* names a new chain */
        int (*fault)(void *userdata, const char *operation); /* as of a sink; NULL */
        void *fault_userdata;
};

struct error *audit_log_open(const struct audit_log_options *options, struct audit_log **out_log) MUST_USE;
struct audit_log *audit_log_close(struct audit_log *log); /* NULL gives NULL */
/* For the next commit. What goes wrong is told by that. */
void audit_log_add(struct audit_log *log, const struct audit_note *note);
/* Appends what was added, and syncs. ERROR_FULL may be tried again. */
struct error *audit_log_commit(struct audit_log *log) MUST_USE;
/* The file, as it was at opening, says how that attempt ended, or that nobody knows. */
bool audit_log_ended(const void *log, struct key128 job, uint32_t attempt);
/* After the last commit. */
const struct audit_chain *audit_log_chain(const struct audit_log *log);
const char *audit_log_path(const struct audit_log *log);
