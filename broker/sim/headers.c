#include "broker/sim/headers.h"

#include "broker/base/check.h"

#include <stdarg.h>
#include <stdio.h>

void sim_headers_add(struct sim_headers *headers, const char *name, const char *fmt, ...) {
        va_list args;

        CHECK(headers->count < SIM_HEADERS_MAX);
        va_start(args, fmt);
        (void)vsnprintf(headers->list[headers->count].value, SIM_HEADER_VALUE_BYTES, fmt, args);
        va_end(args);
        headers->list[headers->count++].name = name;
}
