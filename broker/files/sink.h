#pragma once
/*
 * An output of result lines. A regular file is its own journal: lines are appended and synced before the
 * store says that they are settled, so what stands behind the recorded length after a crash is either whole
 * lines, which are adopted, or a torn end, which is cut. A pipe or a terminal cannot be read back
 * (sink_is_file() is false): its lines are kept in the store until they are written.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct sink;

/* "-" is standard output. Does not truncate. Two processes on one file: ERROR_BUSY. */
struct error *sink_open(const char *path, struct sink **out_sink) MUST_USE;
struct sink *sink_close(struct sink *sink);
bool sink_is_file(const struct sink *sink);
const char *sink_path(const struct sink *sink); /* absolute; "-" */
/*
 * The file must be at least `recorded` bytes long (else ERROR_INPUT: somebody took results away). Calls
 * `adopt` for each whole, valid JSON line behind it, then cuts what remains. For a new run `recorded` is 0
 * and a file that is not empty is refused unless `adopt` accepts its first line. `adopt` gives false for a
 * line that is not ours: it and everything behind it is refused (ERROR_INPUT), nothing is cut.
 */
struct error *sink_recover(struct sink *sink, uint64_t recorded,
                           bool (*adopt)(void *userdata, struct bytes line, uint64_t offset),
                           void *userdata) MUST_USE;
/*
 * Before sink_recover(): the state names this file as its output, so a file with nothing but a torn first
 * line is cut, not refused. The state should name it (with 0 bytes) before the first append.
 */
void sink_set_ours(struct sink *sink);
uint64_t sink_bytes(const struct sink *sink); /* length with everything appended so far */
/*
 * Appends whole lines with one write; on an error nothing of them stays behind (the file is cut back),
 * ERROR_FULL may be tried again. When it cannot be cut back, and for a pipe, where some lines may have gone
 * out, the sink takes nothing more.
 */
struct error *sink_append(struct sink *sink, struct bytes lines) MUST_USE;
/* After a failed sync the sink takes nothing more: a second one would succeed without the data. */
struct error *sink_sync(struct sink *sink) MUST_USE;
/* For tests: asked before each "append", "sync" and "truncate"; gives 0 or the errno that it is to fail with.
 * A failed append writes half. */
void sink_set_fault(struct sink *sink, int (*hook)(void *userdata, const char *operation), void *userdata);
