/*
 * RocksDB has a lock of its own, but its error does not say who holds it, and the logs must be looked at
 * under the lock and before RocksDB reads them. So there is a lock file of ours.
 */
#include "broker/store/directory.h"

#include "broker/store/log_check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static struct error *sync_parent(const char *directory) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s", directory);
        char *slash = strrchr(path, '/');
        if (slash == path)
                slash[1] = 0;
        else if (slash)
                *slash = 0;
        int fd = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(errno, "cannot open the directory of %s", directory);
        int code = fsync(fd) < 0 ? errno : 0;
        close(fd);
        return code ? error_errno(code, "cannot sync the directory of %s", directory) : NULL;
}

static struct error *make_one(const char *directory) {
        if (mkdir(directory, 0700) == 0)
                return sync_parent(directory);
        if (errno != EEXIST)
                return error_errno(errno, "cannot make the state directory %s", directory);
        struct stat status;
        if (stat(directory, &status) < 0)
                return error_errno(errno, "cannot look at the state directory %s", directory);
        if (!S_ISDIR(status.st_mode))
                return error_new(ERROR_INPUT, "state directory %s: that is a file, not a directory",
                                 directory);
        return NULL;
}

struct error *directory_make(const char *directory) {
        char path[PATH_MAX];
        size_t size = strlen(directory);
        while (size > 1 && directory[size - 1] == '/')
                size--;
        /* RocksDB's own files need room behind it. */
        if (size == 0 || size > sizeof(path) - 256)
                return error_new(ERROR_USAGE, "the name of the state directory is %s",
                                 size ? "too long" : "empty");
        memcpy(path, directory, size);
        path[size] = 0;
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                struct error *error = make_one(path);
                if (error)
                        return error;
                *slash = '/';
        }
        return make_one(path);
}

static struct error *busy(const char *directory, int fd) {
        char owner[32] = "";
        ssize_t n = pread(fd, owner, sizeof(owner) - 1, 0);
        long pid = n > 0 ? strtol(owner, NULL, 10) : 0;
        if (pid > 0)
                return error_new(
                        ERROR_BUSY,
                        "state directory %s is in use by another process (%ld); wait for its end, or "
                        "name another directory with --state",
                        directory, pid);
        return error_new(ERROR_BUSY,
                         "state directory %s is in use by another process; wait for its end, or name another "
                         "directory with --state",
                         directory);
}

struct error *directory_lock(const char *directory, int *out_fd) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/owner", directory);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_errno(errno, "cannot write in the state directory %s", directory);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                int code = errno;
                struct error *error =
                        code == EWOULDBLOCK
                                ? busy(directory, fd)
                                : error_errno(code, "cannot lock the state directory %s", directory);
                close(fd);
                return error;
        }
        /* Only for the message above: that it may be torn or old does no harm. */
        char owner[32];
        int size = snprintf(owner, sizeof(owner), "%ld\n", (long)getpid());
        if (ftruncate(fd, 0) < 0 || pwrite(fd, owner, (size_t)size, 0) < 0) {
                int code = errno;
                close(fd);
                return error_errno(code, "cannot write in the state directory %s", directory);
        }
        *out_fd = fd;
        return NULL;
}

static bool ends_with(const char *name, const char *end) {
        size_t size = strlen(name), end_size = strlen(end);
        return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

/* A file that is only there when there has been a CURRENT. */
static bool holds_data(int directory_fd, const char *name) {
        struct stat status;
        if (!ends_with(name, ".sst") && !ends_with(name, ".blob") && !ends_with(name, ".log"))
                return false;
        return fstatat(directory_fd, name, &status, 0) == 0 && status.st_size > 0;
}

static struct error *check_files(const char *directory, DIR *entries, bool exists) {
        struct dirent *entry;
        while ((entry = readdir(entries))) {
                const char *name = entry->d_name;
                if (!exists && holds_data(dirfd(entries), name))
                        return error_new(ERROR_CORRUPT, "the file CURRENT is missing in %s", directory);
                if (!exists || (!ends_with(name, ".log") && strncmp(name, "MANIFEST-", 9) != 0))
                        continue;
                char path[PATH_MAX];
                if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
                        continue;
                struct error *error = log_check(path);
                if (error)
                        return error;
        }
        return NULL;
}

struct error *directory_check(const char *directory, bool *out_exists) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/CURRENT", directory);
        bool exists = access(path, F_OK) == 0;
        if (!exists && errno != ENOENT)
                return error_errno(errno, "it cannot be read");
        DIR *entries = opendir(directory);
        if (!entries)
                return error_errno(errno, "it cannot be read");
        struct error *error = check_files(directory, entries, exists);
        closedir(entries);
        if (!error)
                *out_exists = exists;
        return error;
}

uint64_t directory_bytes(const char *directory) {
        DIR *entries = opendir(directory);
        if (!entries)
                return 0;
        uint64_t bytes = 0;
        struct dirent *entry;
        struct stat status;
        while ((entry = readdir(entries))) {
                if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(status.st_mode))
                        bytes += (uint64_t)status.st_size;
        }
        closedir(entries);
        return bytes;
}
