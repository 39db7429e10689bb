/* Any bytes as an Accept header: one of the two formats, the same whatever stands behind the header's end. */
#include "broker/base/check.h"
#include "broker/ops/exposition.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char *accept = bytes_dup((struct bytes){(const char *)data, size});
        if (accept == NULL)
                return 0;
        enum exposition_format format = exposition_negotiate(accept);
        CHECK(format == EXPOSITION_PROMETHEUS || strcasestr(accept, "application/openmetrics-text") != NULL);
        free(accept);
        return 0;
}
