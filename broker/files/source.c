/*
 * Reading. The buffer holds what was read and not yet given out:
 *
 *      line                searched            end
 *       |  start of a line  |  no LF before     |
 *
 * A line that does not fit is cut: its first bytes stay, and what follows is read, counted and thrown away
 * until its LF comes.
 *
 * Positions. `at` is the position before `line`, with the CRC of every byte before it. The ring holds, for
 * each line given out that is not yet below the mark, the position behind it; its head moves over settled
 * lines, and then `mark` is what the last of them was. Blank lines belong to the line before them only when
 * nothing is outstanding.
 */
#include "broker/files/source.h"

#include "broker/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define READ_BYTES      (1u << 20)
#define BUFFER_BYTES    (2u << 20) /* kept; more only while a longer line is in it */
#define OUTSTANDING_MAX (1u << 20)
#define LINE_EXTRA      4 /* a byte-order mark, and a CR before the LF */

struct outstanding {
        uint64_t offset, lines;
        uint32_t crc;
        bool settled;
};

struct source {
        char *path; /* as in messages */
        int fd;
        bool owned, regular;
        bool behind_text; /* `at` is not behind an LF: the file ended there when it was read */
        off_t base;       /* where the file began for us: standard input may be in the middle of one */
        size_t line_max;

        char *data;
        size_t capacity, line, searched, end;
        uint64_t cut; /* bytes of the line thrown away behind `searched` */
        uint32_t cut_crc;

        struct source_mark at; /* before `line` */
        struct source_mark mark;
        struct outstanding *ring;
        size_t ring_capacity; /* a power of two */
        uint64_t head;        /* sequence of the oldest outstanding line */
        struct error *error;
};

static uint32_t crc_over(uint32_t crc, const char *data, size_t size) {
        return (uint32_t)crc32_z(crc, (const unsigned char *)data, size);
}

static struct error *open_file(struct source *source, const char *path) {
        struct stat status;
        if (strcmp(path, "-") != 0) {
                source->fd = open(path, O_RDONLY | O_CLOEXEC);
                if (source->fd < 0)
                        return error_errno(errno, "cannot open %s", path);
                source->owned = true;
        } else {
                source->fd = STDIN_FILENO;
        }
        if (fstat(source->fd, &status) < 0)
                return error_errno(errno, "cannot read %s", source->path);
        if (S_ISDIR(status.st_mode))
                return error_new(ERROR_INPUT, "cannot read %s: it is a directory", source->path);
        source->regular = S_ISREG(status.st_mode);
        if (source->regular) {
                source->base = lseek(source->fd, 0, SEEK_CUR);
                if (source->base < 0)
                        return error_errno(errno, "cannot read %s", source->path);
                (void)posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* only advice */
        }
        return NULL;
}

struct error *source_open(const struct source_options *options, struct source **out_source) {
        bool standard = strcmp(options->path, "-") == 0;
        struct source *source = calloc(1, sizeof(*source));
        if (!source)
                return error_new(ERROR_MEMORY, "no memory to read %s", options->path);
        source->fd = -1;
        source->line_max = options->line_max;
        source->path = strdup(standard ? "standard input" : options->path);
        source->capacity = BUFFER_BYTES;
        source->data = malloc(source->capacity);
        source->ring_capacity = 1024;
        source->ring = malloc(source->ring_capacity * sizeof(*source->ring));
        struct error *error = NULL;
        if (!source->path || !source->data || !source->ring)
                error = error_new(ERROR_MEMORY, "no memory to read %s", options->path);
        else
                error = open_file(source, options->path);
        if (error) {
                source_close(source);
                return error;
        }
        *out_source = source;
        return NULL;
}

struct source *source_close(struct source *source) {
        if (!source)
                return NULL;
        if (source->owned)
                close(source->fd);
        error_free(source->error);
        free(source->path);
        free(source->data);
        free(source->ring);
        free(source);
        return NULL;
}

enum read_outcome { READ_SOME, READ_END, READ_LATER, READ_FAILED };

/* What is not a file may have nothing yet. Its descriptor is not made non-blocking: others share that flag.
 */
static enum read_outcome read_some(struct source *source, char *to, size_t room, bool wait,
                                   size_t *out_size) {
        for (;;) {
                struct pollfd ready = {.fd = source->fd, .events = POLLIN};
                int polled = source->regular ? 1 : poll(&ready, 1, wait ? -1 : 0);
                if (polled == 0)
                        return READ_LATER;
                if (polled < 0 && errno == EINTR)
                        continue;
                ssize_t n = read(source->fd, to, room);
                if (n > 0) {
                        *out_size = (size_t)n;
                        return READ_SOME;
                }
                if (n == 0)
                        return READ_END;
                if (errno == EAGAIN && !wait)
                        return READ_LATER;
                if (errno != EINTR && errno != EAGAIN) {
                        error_free(source->error);
                        source->error = error_errno(errno, "cannot read %s", source->path);
                        return READ_FAILED;
                }
        }
}

/* ---- skipping ---- */

static struct error *skip_error(struct source *source) {
        struct error *error = source->error;
        source->error = NULL;
        return error;
}

/* Reads and checks `size` bytes. out_last: the last of them. */
static struct error *skip_bytes(struct source *source, uint64_t size, uint32_t *out_crc, char *out_last,
                                bool *out_short) {
        uint32_t crc = 0;
        uint64_t left = size;
        char last = '\n';
        while (left > 0) {
                size_t n = 0;
                size_t room = left < READ_BYTES ? (size_t)left : READ_BYTES;
                enum read_outcome outcome = read_some(source, source->data, room, true, &n);
                if (outcome == READ_FAILED)
                        return skip_error(source);
                if (outcome == READ_END)
                        break;
                crc = crc_over(crc, source->data, n);
                last = source->data[n - 1];
                left -= n;
        }
        *out_crc = crc;
        *out_last = last;
        *out_short = left > 0;
        return NULL;
}

struct error *source_skip(struct source *source, const struct source_mark *mark, bool *out_matches) {
        CHECK(source->at.offset == 0 && source->end == 0);
        uint32_t crc = 0;
        char last = '\n';
        bool is_short = false;
        struct error *error = skip_bytes(source, mark->offset, &crc, &last, &is_short);
        if (error)
                return error;
        if (is_short || crc != mark->crc) {
                if (!source->regular)
                        return error_new(ERROR_INPUT,
                                         "%s is not what it was in the run that is to be continued; "
                                         "give the same bytes again, or use another state directory",
                                         source->path);
                if (lseek(source->fd, source->base, SEEK_SET) < 0)
                        return error_errno(errno, "cannot read %s", source->path);
                *out_matches = false;
                return NULL;
        }
        source->at = source->mark = *mark;
        source->head = mark->sequence;
        source->behind_text = last != '\n';
        *out_matches = true;
        return NULL;
}

/* ---- lines ---- */

static bool make_room(struct source *source) {
        size_t held = source->end - source->line;
        if (source->line > 0) {
                memmove(source->data, source->data + source->line, held);
                source->searched -= source->line;
                source->end = held;
                source->line = 0;
        }
        size_t wanted = held + READ_BYTES;
        size_t capacity = wanted <= BUFFER_BYTES ? BUFFER_BYTES : source->capacity;
        while (capacity < wanted)
                capacity *= 2;
        if (capacity == source->capacity)
                return true;
        char *data = realloc(source->data, capacity);
        if (!data) {
                error_free(source->error);
                source->error = error_new(ERROR_MEMORY, "no memory for a long line of %s", source->path);
                return false;
        }
        source->data = data;
        source->capacity = capacity;
        return true;
}

/* No LF so far, and more than a line may have: keeps the first bytes of the line, and counts the others. */
static void cut_line(struct source *source) {
        size_t keep = source->line_max + LINE_EXTRA, held = source->end - source->line;
        if (held <= keep)
                return;
        const char *text = source->data + source->line;
        if (source->cut == 0)
                source->cut_crc = crc_over(source->at.crc, text, keep);
        source->cut_crc = crc_over(source->cut_crc, text + keep, held - keep);
        source->cut += held - keep;
        source->end = source->searched = source->line + keep;
}

/* The position behind a line of which `size` bytes, with its LF, are in the buffer. */
static struct source_mark behind(const struct source *source, size_t size) {
        struct source_mark mark = source->at;
        const char *text = source->data + source->line;
        size_t keep = source->line_max + LINE_EXTRA;
        mark.offset += size + source->cut;
        mark.lines++;
        if (source->cut > 0)
                mark.crc = crc_over(source->cut_crc, text + keep, size - keep);
        else
                mark.crc = crc_over(mark.crc, text, size);
        return mark;
}

static struct bytes strip(const struct source *source, struct bytes text) {
        if (text.size > 0 && text.data[text.size - 1] == '\n')
                text.size--;
        if (text.size > 0 && text.data[text.size - 1] == '\r')
                text.size--;
        if (source->at.offset == 0 && bytes_starts_with(text, "\xef\xbb\xbf"))
                text = (struct bytes){text.data + 3, text.size - 3};
        return text;
}

static bool is_blank(struct bytes text) {
        for (size_t i = 0; i < text.size; i++) {
                if (text.data[i] != ' ' && text.data[i] != '\t' && text.data[i] != '\r')
                        return false;
        }
        return true;
}

static bool grow_ring(struct source *source) {
        uint64_t outstanding = source->at.sequence - source->head;
        if (outstanding < source->ring_capacity)
                return true;
        size_t capacity = source->ring_capacity * 2;
        struct outstanding *ring = malloc(capacity * sizeof(*ring));
        if (!ring) {
                error_free(source->error);
                source->error = error_new(ERROR_MEMORY, "no memory for the open lines of %s", source->path);
                return false;
        }
        for (uint64_t i = source->head; i < source->at.sequence; i++)
                ring[i & (capacity - 1)] = source->ring[i & (source->ring_capacity - 1)];
        free(source->ring);
        source->ring = ring;
        source->ring_capacity = capacity;
        return true;
}

static void set_behind(struct source *source, struct source_mark mark, size_t size) {
        source->at = mark;
        source->line += size;
        source->searched = source->line;
        source->cut = 0;
        if (source->head == mark.sequence)
                source->mark = mark;
}

enum take_outcome { TAKEN, BLANK, REFUSED };

/* Takes the line of `size` bytes at `line`. */
static enum take_outcome take_line(struct source *source, size_t size, struct source_line *out_line) {
        struct source_mark mark = behind(source, size);
        bool has_lf = source->data[source->line + size - 1] == '\n';
        struct bytes text = strip(source, (struct bytes){source->data + source->line, size});
        bool too_long = source->cut > 0 || text.size > source->line_max;
        bool blank = !too_long && is_blank(text);
        if (!blank && !grow_ring(source))
                return REFUSED;
        if (blank && source->behind_text)
                mark.lines--; /* only the LF that the last line did not have when it was read */
        source->behind_text = !has_lf;
        if (blank) {
                set_behind(source, mark, size);
                return BLANK;
        }
        if (too_long)
                text.size = source->line_max;
        *out_line = (struct source_line){text, mark.lines, mark.sequence, too_long};
        source->ring[mark.sequence & (source->ring_capacity - 1)] =
                (struct outstanding){mark.offset, mark.lines, mark.crc, false};
        mark.sequence++;
        set_behind(source, mark, size);
        return TAKEN;
}

/* The size with its LF of the line at `line`; 0 when its LF is not there yet. */
static size_t find_end(struct source *source) {
        const char *from = source->data + source->searched;
        const char *lf =
                source->end > source->searched ? memchr(from, '\n', source->end - source->searched) : NULL;
        if (!lf) {
                source->searched = source->end;
                return 0;
        }
        return (size_t)(lf + 1 - (source->data + source->line));
}

static enum read_outcome fill(struct source *source) {
        size_t n = 0;
        cut_line(source);
        if (!make_room(source))
                return READ_FAILED;
        enum read_outcome outcome =
                read_some(source, source->data + source->end, source->capacity - source->end, false, &n);
        if (outcome == READ_SOME)
                source->end += n;
        return outcome;
}

enum source_outcome source_next(struct source *source, struct source_line *out_line) {
        CHECK(!source_full(source));
        for (;;) {
                size_t size = find_end(source);
                if (size == 0) {
                        enum read_outcome outcome = fill(source);
                        if (outcome == READ_SOME)
                                continue;
                        if (outcome == READ_LATER)
                                return SOURCE_LATER;
                        if (outcome == READ_FAILED)
                                return SOURCE_FAILED;
                        size = source->end - source->line;
                        if (size == 0)
                                return SOURCE_END;
                }
                enum take_outcome outcome = take_line(source, size, out_line);
                if (outcome != BLANK)
                        return outcome == TAKEN ? SOURCE_LINE : SOURCE_FAILED;
        }
}

struct error *source_error(struct source *source) {
        struct error *error = source->error;
        source->error = NULL;
        return error;
}

/* ---- the mark ---- */

void source_settled(struct source *source, uint64_t sequence) {
        CHECK(sequence < source->at.sequence);
        if (sequence < source->head)
                return;
        source->ring[sequence & (source->ring_capacity - 1)].settled = true;
        while (source->head < source->at.sequence) {
                const struct outstanding *oldest = &source->ring[source->head & (source->ring_capacity - 1)];
                if (!oldest->settled)
                        return;
                source->head++;
                source->mark = (struct source_mark){oldest->offset, oldest->lines, source->head, oldest->crc};
        }
        source->mark = source->at; /* with the blank lines behind it */
}

void source_get_mark(const struct source *source, struct source_mark *out_mark) {
        *out_mark = source->mark;
}

bool source_full(const struct source *source) {
        return source->at.sequence - source->head >= OUTSTANDING_MAX;
}

uint64_t source_bytes(const struct source *source) {
        struct stat status;
        if (!source->regular || fstat(source->fd, &status) < 0 || status.st_size < source->base)
                return 0;
        return (uint64_t)(status.st_size - source->base);
}

uint64_t source_offset(const struct source *source) {
        return source->at.offset;
}

int source_fd(const struct source *source) {
        return source->fd;
}
