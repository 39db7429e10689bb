#include "workers/http/file_url.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

/* The first ending of a type is the one that a nameless input gets. */
static const struct {
        const char *ending, *type;
} media[] = {
        {"wav", "audio/wav"},         {"wav", "audio/x-wav"},         {"wav", "audio/wave"},
        {"mp3", "audio/mpeg"},        {"mp3", "audio/mp3"},           {"mpga", "audio/mpeg"},
        {"m4a", "audio/mp4"},         {"m4a", "audio/x-m4a"},         {"flac", "audio/flac"},
        {"flac", "audio/x-flac"},     {"ogg", "audio/ogg"},           {"oga", "audio/ogg"},
        {"opus", "audio/opus"},       {"webm", "audio/webm"},         {"webm", "video/webm"},
        {"aac", "audio/aac"},         {"mp4", "video/mp4"},           {"mpeg", "video/mpeg"},
        {"png", "image/png"},         {"jpg", "image/jpeg"},          {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},         {"webp", "image/webp"},         {"pdf", "application/pdf"},
        {"json", "application/json"}, {"jsonl", "application/jsonl"}, {"txt", "text/plain"},
};
enum { MEDIA_COUNT = sizeof media / sizeof *media };

static const char token_chars[] = "!#$&^_+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
static const char name_chars[] = "_-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void fetched_fail(struct fetched *fetched, enum fetch_outcome outcome, const char *fmt, ...) {
        va_list arguments;
        fetched->outcome = outcome;
        va_start(arguments, fmt);
        (void)vsnprintf(fetched->message, sizeof fetched->message, fmt, arguments);
        va_end(arguments);
}

static const char *ending_of(const char *name) {
        const char *dot = strrchr(name, '.');
        return dot != NULL ? dot + 1 : "";
}

void fetched_name(struct fetched *fetched, struct bytes path) {
        size_t end = 0, start = 0, size = 0;
        while (end < path.size && path.data[end] != '?' && path.data[end] != '#')
                if (path.data[end++] == '/')
                        start = end;
        for (size_t i = start; i < end && size < sizeof fetched->filename - 1; i++) {
                char c = path.data[i];
                fetched->filename[size++] = c != '\0' && strchr(name_chars, c) != NULL ? c : '_';
        }
        fetched->filename[size] = '\0';
}

/* "TYPE/SUBTYPE" in lower case into `out`; false when it is none, or too long. */
static bool type_parse(struct bytes type, char *out, size_t out_size) {
        size_t size = 0, slashes = 0;
        while (size < type.size && size < out_size - 1 && type.data[size] != ';' && type.data[size] != ' ') {
                char c = type.data[size];
                slashes += c == '/';
                if (c != '/' && (c == '\0' || strchr(token_chars, c) == NULL))
                        return false;
                out[size++] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        out[size] = '\0';
        bool ended = size == type.size || type.data[size] == ';' || type.data[size] == ' ';
        return ended && slashes == 1 && out[0] != '/' && out[size - 1] != '/';
}

void fetched_type(struct fetched *fetched, struct bytes type) {
        if (!type_parse(type, fetched->content_type, sizeof fetched->content_type) ||
            strcmp(fetched->content_type, "application/octet-stream") == 0) {
                const char *found = "application/octet-stream", *ending = ending_of(fetched->filename);
                for (size_t i = MEDIA_COUNT; i-- > 0;)
                        if (strcasecmp(media[i].ending, ending) == 0)
                                found = media[i].type;
                snprintf(fetched->content_type, sizeof fetched->content_type, "%s", found);
        }
        if (ending_of(fetched->filename)[0] != '\0')
                return;
        const char *ending = "bin"; /* providers go by the ending of the name */
        for (size_t i = MEDIA_COUNT; i-- > 0;)
                if (strcmp(media[i].type, fetched->content_type) == 0)
                        ending = media[i].ending;
        size_t size = strcspn(fetched->filename, ".");
        if (size > sizeof fetched->filename - 8)
                size = sizeof fetched->filename - 8;
        if (size == 0)
                size = (size_t)snprintf(fetched->filename, sizeof fetched->filename, "input");
        snprintf(fetched->filename + size, sizeof fetched->filename - size, ".%s", ending);
}

static int hex_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986 section 2.1; false: a % without two digits. Memory that is refused shows in out->failed. */
static bool percent_decode(struct bytes text, struct buffer *out) {
        for (size_t i = 0; i < text.size; i++) {
                char c = text.data[i];
                if (c == '%') {
                        int high = text.size - i > 2 ? hex_value(text.data[i + 1]) : -1;
                        int low = text.size - i > 2 ? hex_value(text.data[i + 2]) : -1;
                        if (high < 0 || low < 0)
                                return false;
                        c = (char)(high << 4 | low);
                        i += 2;
                }
                buffer_append_char(out, c);
        }
        return true;
}

/* --- data: ---------------------------------------------------------------------------------------------- */

static bool ends_with_base64(struct bytes head) {
        static const char mark[] = ";base64";
        size_t size = sizeof mark - 1;
        return head.size >= size &&
               bytes_equal_nocase((struct bytes){head.data + head.size - size, size}, mark);
}

static void data_decode(struct bytes text, bool base64, size_t bytes_max, struct fetched *out) {
        struct buffer plain;
        buffer_init(&plain, text.size);
        buffer_reserve(&plain, text.size);
        buffer_init(&out->content, bytes_max);
        if (!percent_decode(text, &plain)) {
                fetched_fail(out, FETCH_UNAVAILABLE, "the data: URL has a broken %% escape");
        } else if (plain.failed) {
                fetched_fail(out, FETCH_FAILED, "no memory for the data: URL");
        } else if ((base64 ? plain.size / 4 * 3 : plain.size) > bytes_max + (base64 ? 2 : 0)) {
                fetched_fail(out, FETCH_TOO_LARGE, "the data: URL holds more than %zu bytes", bytes_max);
        } else if (!base64) {
                out->content = plain;
                return;
        } else if (!buffer_append_base64_decoded(&out->content, buffer_view(&plain))) {
                bool large = out->content.failed;
                fetched_fail(out, large ? FETCH_TOO_LARGE : FETCH_UNAVAILABLE,
                             large ? "the data: URL is larger than allowed" : "the data: URL is not base64");
        } else if (out->content.failed) {
                fetched_fail(out, FETCH_TOO_LARGE, "the data: URL is larger than allowed");
        }
        buffer_deinit(&plain);
        if (out->outcome != FETCH_OK)
                buffer_deinit(&out->content);
}

void data_url_read(struct bytes url, int64_t bytes_max, struct fetched *out) {
        *out = (struct fetched){.outcome = FETCH_OK, .file_fd = -1};
        struct bytes rest = {url.data + 5, url.size - 5};
        const char *comma = rest.size ? memchr(rest.data, ',', rest.size) : NULL;
        if (comma == NULL) {
                fetched_fail(out, FETCH_UNAVAILABLE, "the data: URL has no comma");
                return;
        }
        struct bytes head = {rest.data, (size_t)(comma - rest.data)};
        struct bytes text = {comma + 1, rest.size - head.size - 1};
        /* An escape takes three characters for one byte; more than that cannot fit. */
        if (text.size / 3 > (size_t)bytes_max * 2 + 8) {
                fetched_fail(out, FETCH_TOO_LARGE, "the data: URL is larger than allowed");
                return;
        }
        data_decode(text, ends_with_base64(head), (size_t)bytes_max, out);
        if (out->outcome == FETCH_OK)
                fetched_type(out, head.size && head.data[0] != ';' ? head : bytes_of("text/plain"));
}

/* --- files ---------------------------------------------------------------------------------------------- */

/* The path of a file: URL: "file:///a", "file://localhost/a", "file:/a", "file:a". NULL data: another host.
 */
static struct bytes file_path(struct bytes url) {
        struct bytes path = {url.data + 5, url.size - 5};
        if (!bytes_starts_with(path, "//"))
                return path;
        path = (struct bytes){path.data + 2, path.size - 2};
        if (bytes_starts_with(path, "localhost/"))
                path = (struct bytes){path.data + 9, path.size - 9};
        return bytes_starts_with(path, "/") ? path : (struct bytes){0};
}

static bool path_plain(struct bytes given, struct buffer *path) {
        bool url = given.size >= 5 && bytes_equal_nocase((struct bytes){given.data, 5}, "file:");
        struct bytes part = url ? file_path(given) : given;
        if (part.data == NULL || part.size == 0)
                return false;
        if (!url)
                buffer_append_bytes(path, part);
        else if (!percent_decode(part, path))
                return false;
        if (path->failed || path->size == 0 || memchr(path->data, '\0', path->size) != NULL)
                return false;
        buffer_append_char(path, '\0');
        return !path->failed;
}

/* An absolute path is taken when it is spelled with the root in front; what is behind it is looked up beneath
 * the root. */
static const char *path_beneath(const char *path, const char *root) {
        if (path[0] != '/')
                return path;
        size_t size = strlen(root);
        while (size > 0 && root[size - 1] == '/')
                size--;
        if (strncmp(path, root, size) != 0 || path[size] != '/')
                return NULL;
        path += size;
        return path + strspn(path, "/");
}

static void file_open(const char *path, int root_fd, int64_t bytes_max, struct fetched *out) {
        struct open_how how = {
                .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, /* a FIFO must not block us */
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
        };
        int fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
        struct stat stat;
        if (fd < 0) {
                bool passes = errno == EAGAIN || errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
                              errno == EIO || errno == EINTR;
                fetched_fail(out, passes ? FETCH_FAILED : FETCH_UNAVAILABLE, "cannot open the file: %s",
                             errno == EXDEV ? "outside of the directory for files" : strerror(errno));
                return;
        }
        if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
                fetched_fail(out, FETCH_UNAVAILABLE, "cannot open the file: not a regular file");
        } else if (stat.st_size > bytes_max) {
                fetched_fail(out, FETCH_TOO_LARGE, "the file has %lld bytes; %lld are allowed",
                             (long long)stat.st_size, (long long)bytes_max);
        } else {
                out->file_fd = fd;
                out->file_bytes = stat.st_size;
                return;
        }
        close(fd);
}

void file_url_open(struct bytes given, int root_fd, const char *root, int64_t bytes_max,
                   struct fetched *out) {
        struct buffer path;
        *out = (struct fetched){.outcome = FETCH_OK, .file_fd = -1};
        buffer_init(&path, PATH_BYTES_MAX);
        const char *beneath = path_plain(given, &path) ? path_beneath(path.data, root) : NULL;
        if (path.size == 0 || path.failed || path.data[path.size - 1] != '\0')
                fetched_fail(out, FETCH_UNAVAILABLE, "the path of the file is malformed");
        else if (beneath == NULL || beneath[0] == '\0')
                fetched_fail(out, FETCH_UNAVAILABLE, "the file is outside of the directory for files");
        else
                file_open(beneath, root_fd, bytes_max, out);
        if (out->outcome == FETCH_OK) {
                fetched_name(out, bytes_of(beneath));
                fetched_type(out, (struct bytes){0});
        }
        buffer_deinit(&path);
}
