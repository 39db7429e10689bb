/* One walk over the text; the sentences name the variable or the file, never what is in it. */
#include "broker/ops/substitute.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REFERENCE_BYTES_MAX = 4096 };

/* ---- files ---- */

static bool read_all(int fd, struct buffer *out_text) {
        size_t total = 0;
        while (total <= SUBSTITUTE_FILE_BYTES_MAX) {
                if (!buffer_reserve(out_text, 4096)) {
                        errno = EFBIG;
                        return false;
                }
                ssize_t count = read(fd, out_text->data + out_text->size, 4096);
                if (count < 0 && errno == EINTR)
                        continue;
                if (count < 0)
                        return false;
                if (count == 0)
                        return true;
                out_text->size += (size_t)count;
                total += (size_t)count;
        }
        errno = EFBIG;
        return false;
}

static void cut_newline(struct buffer *text, size_t start) {
        if (text->size > start && text->data[text->size - 1] == '\n')
                text->size--;
        if (text->size > start && text->data[text->size - 1] == '\r')
                text->size--;
}

/* Something that is no regular file could be waited for without end. */
static enum substitution append_file(const char *path, struct buffer *out_text, char *out_problem) {
        struct stat about;
        size_t start = out_text->size;
        if (path[0] != '/') {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "${file:%.200s} needs an absolute path", path);
                return SUBSTITUTION_MALFORMED;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        bool well = fd >= 0 && fstat(fd, &about) == 0;
        if (well && !S_ISREG(about.st_mode)) {
                errno = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
                well = false;
        }
        well = well && read_all(fd, out_text);
        int code = errno;
        if (fd >= 0)
                close(fd);
        if (!well) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "cannot read %.200s: %s", path, strerror(code));
                return SUBSTITUTION_MISSING;
        }
        if (memchr(out_text->data + start, '\0', out_text->size - start) != NULL) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "%.200s is not text", path);
                return SUBSTITUTION_MISSING;
        }
        cut_newline(out_text, start);
        return SUBSTITUTION_DONE;
}

/* ---- variables ---- */

static bool is_name(const char *name) {
        size_t size = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        return size > 0 && name[size] == '\0' && (name[0] < '0' || name[0] > '9');
}

/* `reference` is what stands between the braces; may be written to. */
static enum substitution append_variable(char *reference, struct buffer *out_text, char *out_problem) {
        char *fallback = strstr(reference, ":-");
        if (fallback != NULL) {
                *fallback = '\0';
                fallback += 2;
        }
        if (!is_name(reference)) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX,
                         "\"${%.64s}\" is none of ${NAME}, ${NAME:-default} and ${file:/path}; a literal "
                         "\"${\" is written "
                         "\"$${\"",
                         reference);
                return SUBSTITUTION_MALFORMED;
        }
        const char *value = getenv(reference);
        bool empty = value == NULL || value[0] == '\0';
        if (empty && fallback == NULL) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "environment variable %.200s is %s", reference,
                         value == NULL ? "not set" : "set but empty");
                return SUBSTITUTION_MISSING;
        }
        buffer_append_string(out_text, empty ? fallback : value);
        return SUBSTITUTION_DONE;
}

static enum substitution append_reference(struct bytes inside, struct buffer *out_text, char *out_problem) {
        char reference[REFERENCE_BYTES_MAX];
        for (size_t i = 0; i + 1 < inside.size; i++)
                if (inside.data[i] == '$' && inside.data[i + 1] == '{') {
                        snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX,
                                 "\"${\" within \"${...}\" is not supported");
                        return SUBSTITUTION_MALFORMED;
                }
        if (inside.size >= sizeof reference || memchr(inside.data, '\0', inside.size) != NULL) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "\"${...}\" is too long, or not text");
                return SUBSTITUTION_MALFORMED;
        }
        memcpy(reference, inside.data, inside.size);
        reference[inside.size] = '\0';
        if (strncmp(reference, "file:", 5) == 0)
                return append_file(reference + 5, out_text, out_problem);
        return append_variable(reference, out_text, out_problem);
}

static bool has(struct bytes text, size_t at, const char *what) {
        size_t size = strlen(what);
        return text.size - at >= size && memcmp(text.data + at, what, size) == 0;
}

enum substitution substitute(struct bytes text, struct buffer *out_text, bool *out_any,
                             char out_problem[SUBSTITUTE_PROBLEM_MAX]) {
        size_t at = 0;
        bool any = false;
        while (at < text.size) {
                if (has(text, at, "$${")) {
                        buffer_append_string(out_text, "${");
                        at += 3;
                        continue;
                }
                if (!has(text, at, "${")) {
                        buffer_append_char(out_text, text.data[at++]);
                        continue;
                }
                const char *end = memchr(text.data + at, '}', text.size - at);
                if (end == NULL) {
                        snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX,
                                 "\"${\" without \"}\"; a literal \"${\" is written \"$${\"");
                        return SUBSTITUTION_MALFORMED;
                }
                struct bytes inside = {text.data + at + 2, (size_t)(end - text.data) - at - 2};
                enum substitution outcome = append_reference(inside, out_text, out_problem);
                if (outcome != SUBSTITUTION_DONE)
                        return outcome;
                any = true;
                at = (size_t)(end - text.data) + 1;
        }
        if (out_text->failed || out_text->size > SUBSTITUTE_TEXT_BYTES_MAX) {
                snprintf(out_problem, SUBSTITUTE_PROBLEM_MAX, "the value is too long");
                return SUBSTITUTION_MALFORMED;
        }
        *out_any = any;
        return SUBSTITUTION_DONE;
}

bool substitute_is_any(struct bytes text) {
        for (size_t at = 0; at < text.size; at++) {
                if (has(text, at, "$${"))
                        at += 2;
                else if (has(text, at, "${"))
                        return true;
        }
        return false;
}

void substitute_quote(struct bytes text, struct buffer *out_text) {
        for (size_t i = 0; i < text.size; i++) {
                if (has(text, i, "${"))
                        buffer_append_char(out_text, '$');
                buffer_append_char(out_text, text.data[i]);
        }
}
