/*
 * Writing. `bytes` is the length up to which the file is ours; every write goes to that place, so what a
 * failed write has left behind is cut, or written over. After a failed sync nothing is known about what is on
 * the disk (the kernel may have dropped the pages and called them clean), so the sink takes nothing more; the
 * same when a file could not be cut back.
 */
#include "broker/files/sink.h"

#include "broker/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES     (1u << 20)
#define LINE_BYTES_MAX (1u << 30)

struct sink {
        char *path;
        int fd;
        bool owned, is_file, ours;
        bool failed;
        uint64_t bytes;
        int (*fault)(void *userdata, const char *operation);
        void *fault_userdata;
};

static const char *name_of(const struct sink *sink) {
        return strcmp(sink->path, "-") == 0 ? "standard output" : sink->path;
}

static int fault(const struct sink *sink, const char *operation) {
        return sink->fault ? sink->fault(sink->fault_userdata, operation) : 0;
}

/* ---- opening ---- */

static struct error *sync_directory(const char *path) {
        char copy[PATH_MAX];
        if (strlen(path) >= sizeof(copy))
                return error_new(ERROR_USAGE, "the name %s is too long", path);
        memcpy(copy, path, strlen(path) + 1);
        int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(errno, "cannot open the directory of %s", path);
        int code = fsync(fd) < 0 ? errno : 0;
        close(fd);
        return code ? error_errno(code, "cannot sync the directory of %s", path) : NULL;
}

static struct error *open_error(const char *path, int code) {
        char copy[PATH_MAX];
        if (code != ENOENT || strlen(path) >= sizeof(copy))
                return error_errno(code, "cannot write %s", path);
        memcpy(copy, path, strlen(path) + 1);
        return error_new(ERROR_INPUT, "cannot write %s: there is no directory %s", path, dirname(copy));
}

/* What is not a file can only be written; its reading end must not be ours. */
static int open_flags(const char *path) {
        struct stat status;
        bool file = stat(path, &status) < 0 || S_ISREG(status.st_mode);
        return (file ? O_RDWR : O_WRONLY) | O_CLOEXEC | O_NOCTTY;
}

static struct error *open_path(struct sink *sink, const char *path) {
        struct stat status;
        bool made = false;
        sink->fd = open(path, open_flags(path));
        if (sink->fd < 0 && errno == ENOENT) {
                sink->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
                made = true;
        }
        if (sink->fd < 0)
                return open_error(path, errno);
        sink->owned = true;
        if (fstat(sink->fd, &status) < 0)
                return error_errno(errno, "cannot write %s", path);
        sink->is_file = S_ISREG(status.st_mode);
        sink->path = realpath(path, NULL);
        if (!sink->path)
                return error_errno(errno, "cannot write %s", path);
        if (!sink->is_file)
                return NULL;
        sink->bytes = (uint64_t)status.st_size;
        if (flock(sink->fd, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return error_new(ERROR_BUSY, "%s is being written by another process", path);
                /* Some file systems have no locks; the state directory has one as well. */
                if (errno != ENOLCK && errno != EOPNOTSUPP && errno != ENOSYS)
                        return error_errno(errno, "cannot lock %s", path);
        }
        return made ? sync_directory(sink->path) : NULL;
}

struct error *sink_open(const char *path, struct sink **out_sink) {
        struct error *error = NULL;
        struct sink *sink = calloc(1, sizeof(*sink));
        if (!sink)
                return error_new(ERROR_MEMORY, "no memory to write %s", path);
        sink->fd = -1;
        if (strcmp(path, "-") == 0) {
                sink->fd = STDOUT_FILENO;
                sink->path = strdup("-");
                if (!sink->path)
                        error = error_new(ERROR_MEMORY, "no memory to write standard output");
        } else {
                error = open_path(sink, path);
        }
        if (error) {
                sink_close(sink);
                return error;
        }
        *out_sink = sink;
        return NULL;
}

struct sink *sink_close(struct sink *sink) {
        if (!sink)
                return NULL;
        if (sink->owned)
                close(sink->fd);
        free(sink->path);
        free(sink);
        return NULL;
}

bool sink_is_file(const struct sink *sink) {
        return sink->is_file;
}

const char *sink_path(const struct sink *sink) {
        return sink->path;
}

uint64_t sink_bytes(const struct sink *sink) {
        return sink->bytes;
}

void sink_set_ours(struct sink *sink) {
        sink->ours = true;
}

void sink_set_fault(struct sink *sink, int (*hook)(void *userdata, const char *operation), void *userdata) {
        sink->fault = hook;
        sink->fault_userdata = userdata;
}

static struct error *refuse_failed(const struct sink *sink) {
        return error_new(
                ERROR_IO,
                "%s is closed for writing since a write to it failed; stop, look at the disk, and run again "
                "to continue",
                name_of(sink));
}

/* ---- recovery ---- */

struct tail {
        struct sink *sink;
        struct buffer data;
        uint64_t start; /* offset of data[0] */
        bool (*adopt)(void *userdata, struct bytes line, uint64_t offset);
        void *userdata;
};

/* Every line that we write is one JSON object; a page that was never written is zeros. */
static bool is_whole(struct bytes line) {
        return line.size >= 2 && line.data[0] == '{' && line.data[line.size - 1] == '}' &&
               !memchr(line.data, 0, line.size);
}

static struct error *not_ours(const struct sink *sink, uint64_t offset) {
        if (offset == 0)
                return error_new(ERROR_INPUT,
                                 "%s is not empty and holds something else than results of this input; "
                                 "move it away, or name another output",
                                 sink->path);
        return error_new(
                ERROR_INPUT,
                "%s was changed by somebody else: at byte %llu stands something else than a result of this "
                "input; restore it, or use another output and another state directory",
                sink->path, (unsigned long long)offset);
}

static struct error *read_more(struct tail *tail, bool *out_end) {
        size_t size = tail->data.size;
        if (size > LINE_BYTES_MAX - READ_BYTES)
                return error_new(ERROR_INPUT, "%s holds a line that is too long to be a result",
                                 tail->sink->path);
        if (!buffer_reserve(&tail->data, READ_BYTES))
                return error_new(ERROR_MEMORY, "no memory to read %s", tail->sink->path);
        ssize_t n;
        do
                n = pread(tail->sink->fd, tail->data.data + size, READ_BYTES, (off_t)(tail->start + size));
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return error_errno(errno, "cannot read %s", tail->sink->path);
        tail->data.size = size + (size_t)n;
        *out_end = n == 0;
        return NULL;
}

/* Adopts the whole lines that are in the buffer. out_torn: the next one is whole but not valid. */
static struct error *adopt_lines(struct tail *tail, size_t searched, bool *out_torn) {
        size_t at = 0;
        struct error *error = NULL;
        *out_torn = false;
        while (!error && !*out_torn) {
                const char *from = tail->data.data + searched;
                const char *lf = memchr(from, '\n', tail->data.size - searched);
                if (!lf)
                        break;
                struct bytes line = {tail->data.data + at, (size_t)(lf - (tail->data.data + at))};
                if (!is_whole(line)) {
                        *out_torn = true;
                } else if (!tail->adopt(tail->userdata, line, tail->start + at)) {
                        error = not_ours(tail->sink, tail->start + at);
                } else {
                        at += line.size + 1;
                        searched = at;
                }
        }
        memmove(tail->data.data, tail->data.data + at, tail->data.size - at);
        tail->data.size -= at;
        tail->start += at;
        return error;
}

static struct error *read_tail(struct tail *tail) {
        bool end = false, torn = false;
        while (!end && !torn) {
                size_t searched = tail->data.size;
                struct error *error = read_more(tail, &end);
                if (!error && !end)
                        error = adopt_lines(tail, searched, &torn);
                if (error)
                        return error;
        }
        return NULL;
}

static struct error *check_recorded(const struct sink *sink, uint64_t size, uint64_t recorded) {
        char last = 0;
        if (size < recorded)
                return error_new(ERROR_INPUT,
                                 "%s has %llu bytes, and %llu bytes of results were written to it: results "
                                 "are missing; "
                                 "restore it, or use another output and another state directory",
                                 sink->path, (unsigned long long)size, (unsigned long long)recorded);
        if (recorded == 0)
                return NULL;
        if (pread(sink->fd, &last, 1, (off_t)recorded - 1) < 0)
                return error_errno(errno, "cannot read %s", sink->path);
        return last == '\n' ? NULL : not_ours(sink, recorded - 1);
}

static struct error *cut_to(struct sink *sink, uint64_t size) {
        int code = fault(sink, "truncate");
        if (code == 0 && ftruncate(sink->fd, (off_t)size) < 0)
                code = errno;
        return code ? error_errno(code, "cannot cut %s back", sink->path) : NULL;
}

struct error *sink_recover(struct sink *sink, uint64_t recorded,
                           bool (*adopt)(void *userdata, struct bytes line, uint64_t offset),
                           void *userdata) {
        struct stat status;
        if (!sink->is_file)
                return NULL;
        if (fstat(sink->fd, &status) < 0)
                return error_errno(errno, "cannot read %s", sink->path);
        uint64_t size = (uint64_t)status.st_size;
        struct error *error = check_recorded(sink, size, recorded);
        if (error)
                return error;
        struct tail tail = {.sink = sink, .start = recorded, .adopt = adopt, .userdata = userdata};
        buffer_init(&tail.data, LINE_BYTES_MAX);
        error = read_tail(&tail);
        buffer_deinit(&tail.data);
        /* Nothing was known as ours before, and nothing is: it may be any file, named by mistake. */
        if (!error && tail.start == 0 && size > 0 && !sink->ours)
                error = not_ours(sink, 0);
        if (!error && size > tail.start)
                error = cut_to(sink, tail.start);
        if (error)
                return error;
        sink->bytes = tail.start;
        /* What is adopted will be called settled, and may never have been synced. */
        return size > recorded ? sink_sync(sink) : NULL;
}

/* ---- appending ---- */

static bool wait_writable(const struct sink *sink) {
        struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
        return poll(&ready, 1, -1) >= 0 || errno == EINTR;
}

static int write_all(const struct sink *sink, struct bytes lines) {
        size_t done = 0;
        while (done < lines.size) {
                ssize_t n = sink->is_file ? pwrite(sink->fd, lines.data + done, lines.size - done,
                                                   (off_t)(sink->bytes + done))
                                          : write(sink->fd, lines.data + done, lines.size - done);
                if (n < 0 && errno == EAGAIN && wait_writable(sink))
                        continue;
                if (n < 0 && errno != EINTR)
                        return errno;
                if (n > 0)
                        done += (size_t)n;
        }
        return 0;
}

struct error *sink_append(struct sink *sink, struct bytes lines) {
        if (sink->failed)
                return refuse_failed(sink);
        if (lines.size == 0)
                return NULL;
        CHECK(lines.data[lines.size - 1] == '\n');
        int code = fault(sink, "append");
        if (code != 0)
                lines.size /= 2; /* as a disk does that becomes full */
        int written = write_all(sink, lines);
        code = code ? code : written;
        if (code == 0) {
                sink->bytes += lines.size;
                return NULL;
        }
        struct error *error = error_errno(code, "cannot write %s", name_of(sink));
        struct error *cut = sink->is_file ? cut_to(sink, sink->bytes) : NULL;
        if (cut || !sink->is_file) {
                sink->failed = true;
                error_free(cut);
        }
        return error;
}

struct error *sink_sync(struct sink *sink) {
        if (sink->failed)
                return refuse_failed(sink);
        if (!sink->is_file)
                return NULL;
        int code = fault(sink, "sync");
        if (code == 0 && fdatasync(sink->fd) < 0)
                code = errno;
        if (code == 0)
                return NULL;
        sink->failed = true;
        /* Not ERROR_FULL, whatever the code: this must not be tried again. */
        return error_new(ERROR_IO, "cannot sync %s: %s", sink->path, strerror(code));
}
