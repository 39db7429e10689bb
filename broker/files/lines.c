/* One buffer, refilled from its beginning; a line that fills it is cut there. */
#include "broker/files/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 18 };

struct lines {
        char *path;
        int fd;
        bool owned, ended, skipping; /* skipping: the rest of a line that was too long */
        char *data;
        size_t capacity, start, size, line_max; /* data[start..size) has not been given */
        uint64_t number, offset, bytes;         /* offset: of data[start] in the file */
        int code;
};

struct error *lines_open(const char *path, size_t line_max, struct lines **out_lines) {
        struct lines *lines = calloc(1, sizeof(*lines));
        if (!lines)
                return error_new(ERROR_MEMORY, "no memory to read %s", path);
        lines->line_max = line_max;
        lines->capacity = line_max + READ_BYTES;
        lines->data = malloc(lines->capacity);
        lines->path = strdup(path);
        lines->owned = strcmp(path, "-") != 0;
        lines->fd = lines->owned ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
        struct error *error = NULL;
        if (lines->fd < 0)
                error = error_errno(errno, "cannot read %s", path);
        else if (!lines->data || !lines->path)
                error = error_new(ERROR_MEMORY, "no memory to read %s", path);
        if (error) {
                lines_close(lines);
                return error;
        }
        *out_lines = lines;
        return NULL;
}

struct lines *lines_close(struct lines *lines) {
        if (!lines)
                return NULL;
        if (lines->owned && lines->fd >= 0)
                close(lines->fd);
        free(lines->data);
        free(lines->path);
        free(lines);
        return NULL;
}

static bool fill(struct lines *lines) {
        memmove(lines->data, lines->data + lines->start, lines->size - lines->start);
        lines->size -= lines->start;
        lines->start = 0;
        ssize_t n;
        do
                n = read(lines->fd, lines->data + lines->size, lines->capacity - lines->size);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                lines->code = errno;
        else
                lines->size += (size_t)n;
        lines->ended = n <= 0;
        return n >= 0;
}

static void pass(struct lines *lines, size_t size) {
        lines->start += size;
        lines->offset += size;
}

/* Gives what stands in front, `size` bytes of it and then `more` that are passed over. */
static enum lines_outcome give(struct lines *lines, size_t size, size_t more, enum lines_outcome outcome,
                               struct bytes *out_line) {
        *out_line = (struct bytes){lines->data + lines->start, size};
        lines->number++;
        pass(lines, size + more);
        return outcome;
}

enum lines_outcome lines_next(struct lines *lines, struct bytes *out_line) {
        for (;;) {
                size_t left = lines->size - lines->start;
                const char *from = lines->data + lines->start;
                const char *end = left > 0 ? memchr(from, '\n', left) : NULL;
                if (end) {
                        size_t size = (size_t)(end - from);
                        size_t given = size < lines->line_max ? size : lines->line_max;
                        lines->bytes = lines->offset + size + 1;
                        if (!lines->skipping)
                                return give(lines, given, size + 1 - given, LINES_LINE, out_line);
                        lines->skipping = false;
                        pass(lines, size + 1);
                } else if (lines->skipping) {
                        pass(lines, left);
                } else if (left > lines->line_max) {
                        lines->skipping = true;
                        return give(lines, lines->line_max, left - lines->line_max, LINES_LINE, out_line);
                }
                if (lines->ended && lines->size == lines->start)
                        return lines->code ? LINES_FAILED : LINES_END;
                if (lines->ended && !end)
                        return give(lines, lines->size - lines->start, 0, LINES_TAIL, out_line);
                if (!end && !fill(lines))
                        return LINES_FAILED;
        }
}

struct error *lines_error(struct lines *lines) {
        return error_errno(lines->code, "cannot read %s", lines->path);
}

uint64_t lines_number(const struct lines *lines) {
        return lines->number;
}

uint64_t lines_bytes(const struct lines *lines) {
        return lines->bytes;
}
