#include "broker/cli/outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BUFFER_BYTES = 256 << 10 };

struct outfile {
        FILE *stream;
        bool standard, live, finished;
        char path[PATH_MAX], written[PATH_MAX + 8];
};

struct error *outfile_open(const char *path, bool live, struct outfile **out_file) {
        struct outfile *file = calloc(1, sizeof(*file));
        if (!file)
                return error_new(ERROR_MEMORY, "no memory to write %s", path);
        file->standard = strcmp(path, "-") == 0;
        file->live = live || file->standard;
        snprintf(file->path, sizeof(file->path), "%s", file->standard ? "standard output" : path);
        snprintf(file->written, sizeof(file->written), live ? "%s" : "%s.part", path);
        int fd = file->standard ? dup(STDOUT_FILENO)
                                : open(file->written, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        struct error *error = NULL;
        if (fd < 0)
                error = error_errno(errno, "cannot open %s", file->path);
        else if (!file->standard && flock(fd, LOCK_EX | LOCK_NB) < 0)
                error = error_new(ERROR_BUSY, "another process is writing %s", file->written);
        else if (!file->standard && ftruncate(fd, 0) < 0 && errno != EINVAL) /* EINVAL: a pipe or a device */
                error = error_errno(errno, "cannot write %s", file->written);
        if (!error)
                file->stream = fdopen(fd, "w");
        if (!error && !file->stream)
                error = error_errno(errno, "cannot open %s", file->path);
        if (error) {
                if (fd >= 0)
                        close(fd);
                free(file);
                return error;
        }
        setvbuf(file->stream, NULL, _IOFBF, BUFFER_BYTES);
        *out_file = file;
        return NULL;
}

struct outfile *outfile_close(struct outfile *file) {
        if (!file)
                return NULL;
        fclose(file->stream);
        if (!file->live && !file->finished)
                unlink(file->written);
        free(file);
        return NULL;
}

struct error *outfile_line(struct outfile *file, struct bytes line) {
        bool well = fwrite(line.data, 1, line.size, file->stream) == line.size &&
                    fputc('\n', file->stream) != EOF;
        return well ? NULL : error_errno(errno, "cannot write %s", file->path);
}

struct error *outfile_flush(struct outfile *file) {
        return fflush(file->stream) == 0 ? NULL : error_errno(errno, "cannot write %s", file->path);
}

struct error *outfile_finish(struct outfile *file) {
        struct error *error = outfile_flush(file);
        if (error || file->live)
                return error;
        if (fsync(fileno(file->stream)) < 0)
                return error_errno(errno, "cannot write %s", file->written);
        if (rename(file->written, file->path) < 0)
                return error_errno(errno, "cannot rename %s to %s", file->written, file->path);
        file->finished = true;
        return NULL;
}
