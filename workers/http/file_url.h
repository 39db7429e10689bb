#pragma once
/*
 * Inputs that need no network: data: URLs (RFC 2397) and files under one directory. A file is opened with
 * openat2(RESOLVE_BENEATH), so that neither "..", nor an absolute path, nor a symbolic link leads out of it,
 * whatever is renamed meanwhile.
 */
#include "workers/http/fetch.h"

/* Fills all of *out but the tag. */
void data_url_read(struct bytes url, int64_t bytes_max, struct fetched *out);
/* `root_fd` is the directory, `root` its path as configured; `given` a file: URL or a path, absolute ones
 * under `root`. */
void file_url_open(struct bytes given, int root_fd, const char *root, int64_t bytes_max, struct fetched *out);

/* Neither outcome is OK without these: a file name that is safe in a header, and a media type. Both
 * terminated and bounded. */
void fetched_name(struct fetched *fetched, struct bytes path); /* from the last part of a path or URL */
void fetched_type(struct fetched *fetched,
                  struct bytes type); /* "audio/wav; x=y"; else from the name's ending */
void fetched_fail(struct fetched *fetched, enum fetch_outcome outcome, const char *fmt, ...)
        PRINTF_LIKE(3, 4);
