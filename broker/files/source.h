#pragma once
/*
 * The input file as a log: lines with their number and byte offsets, read in big blocks, never more than a
 * few MB in memory. The position up to which everything is settled is kept with a CRC of all bytes before it,
 * so that a resumed run skips at the speed of reading, and notices when the part that it skips has been
 * changed.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

struct source;

struct source_options {
        const char *path; /* "-": standard input */
        size_t line_max;  /* longer lines are cut and reported as too long */
};

/* What a settled prefix is known by. */
struct source_mark {
        uint64_t offset, lines, sequence;
        uint32_t crc;
};

struct source_line {
        struct bytes text; /* without the line's end; valid until the next call */
        uint64_t line;     /* 1-based */
        uint64_t sequence; /* counts lines that are not blank, from 0 */
        bool too_long;     /* text is the first line_max bytes */
};

enum source_outcome {
        SOURCE_LINE,
        SOURCE_END,
        SOURCE_LATER /* standard input has nothing yet */,
        SOURCE_FAILED
};

struct error *source_open(const struct source_options *options, struct source **out_source) MUST_USE;
struct source *source_close(struct source *source);
/*
 * Before the first line: skips to the mark if the bytes before it are those that it was made from;
 * out_matches false: they are not, and the source stands at 0. What is no file is read, and waited for; when
 * it does not match it cannot go back: ERROR_INPUT.
 */
struct error *source_skip(struct source *source, const struct source_mark *mark, bool *out_matches) MUST_USE;
/* Must not be full. Blank lines are passed over. SOURCE_END is not for ever: a file may grow. A byte-order
 * mark at the start, a CR before the LF and a missing last LF are accepted. */
enum source_outcome source_next(struct source *source, struct source_line *out_line);
struct error *source_error(struct source *source) MUST_USE; /* after SOURCE_FAILED; the caller's */
/* The line with that sequence is settled. Marks move over the contiguous prefix only. */
void source_settled(struct source *source, uint64_t sequence);
void source_get_mark(const struct source *source, struct source_mark *out_mark);
/* Lines given out and not yet below the mark are remembered; full: give out no more until the oldest is
 * settled. */
bool source_full(const struct source *source);
uint64_t source_bytes(const struct source *source);  /* of the file; 0 when not known */
uint64_t source_offset(const struct source *source); /* read so far */
int source_fd(const struct source *source);          /* for epoll, when SOURCE_LATER */
