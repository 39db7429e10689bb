#pragma once
/*
 * Where calls go: the parsed URL, and the header lines as libcurl lists, made once and shared by all calls to
 * that target. Header lines may hold keys: they are wiped when the target goes.
 */
#include "workers/http/http.h"

struct curl_slist;

struct target {
        char *url;
        void *parsed; /* CURLU, so that no call parses the URL again */
        struct curl_slist *json_headers, *form_headers;
        char *origin;        /* scheme://host:port, what a connection is for */
        bool https, literal; /* literal: the host is an address, there is nothing to look up */
};

/* ERROR_USAGE: control characters, no http or https URL, user info in the URL, a line that is no header. */
struct error *target_init(struct target *target, const struct http_target *given) MUST_USE;
void target_deinit(struct target *target); /* takes a zeroed struct */
