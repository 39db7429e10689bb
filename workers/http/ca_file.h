#pragma once
/*
 * Which certificates to trust: one bundle file, never a directory. With a directory libcurl 7.88 reads all
 * certificates again for each connection (20 ms and 900 KB each; lib/vtls/openssl.c keeps its store only when
 * there is none).
 */
#include "broker/base/error.h"

/* `given` when it can be read (ERROR_USAGE otherwise); NULL: the system's. *out_file is malloc'ed. */
struct error *ca_file_find(const char *given, char **out_file) MUST_USE;
