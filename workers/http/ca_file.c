#include "workers/http/ca_file.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

struct error *ca_file_find(const char *given, char **out_file) {
        static const char *const places[] = {
                "/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Alpine, Arch */
                "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora, RHEL */
                "/etc/ssl/ca-bundle.pem",             /* openSUSE */
                "/etc/ssl/cert.pem",
        };
        const char *file = given;
        if (given != NULL && access(given, R_OK) < 0)
                return error_new(ERROR_USAGE, "cannot read the certificates in %s", given);
        for (size_t i = 0; file == NULL && i < sizeof places / sizeof *places; i++)
                if (access(places[i], R_OK) == 0)
                        file = places[i];
        if (file == NULL) /* https will be refused as untrusted */
                file = places[0];
        char *copy = strdup(file);
        if (copy == NULL)
                return error_new(ERROR_MEMORY, "no memory for the HTTP client");
        *out_file = copy;
        return NULL;
}
