#pragma once
/* The few response headers of one answer, as text. */
#include "broker/base/error.h"

#include <stddef.h>

#define SIM_HEADERS_MAX        16
#define SIM_HEADER_VALUE_BYTES 64

struct sim_headers {
        struct {
                const char *name; /* static */
                char value[SIM_HEADER_VALUE_BYTES];
        } list[SIM_HEADERS_MAX];
        size_t count;
};

/* A value that is too long is cut. */
void sim_headers_add(struct sim_headers *headers, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
