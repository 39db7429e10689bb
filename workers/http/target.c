#include "workers/http/target.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define USER_AGENT "User-Agent: batchferry/" BATCHFERRY_VERSION

static bool has_control(const char *text) {
        for (; *text != '\0'; text++)
                if ((unsigned char)*text < 0x20 || *text == 0x7f)
                        return true;
        return false;
}

/* The tokens of RFC 9110 section 5.6.2, then a colon and something behind it. */
static bool header_valid(const char *line) {
        size_t name = strspn(line, "!#$%&'*+-.^_`|~0123456789"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
        return name > 0 && line[name] == ':' && line[name + 1 + strspn(line + name + 1, " ")] != '\0';
}

static bool header_is(const char *line, const char *name) {
        size_t size = strlen(name);
        return strncasecmp(line, name, size) == 0 && line[size] == ':';
}

static bool headers_append(struct curl_slist **headers, const char *line) {
        struct curl_slist *longer = curl_slist_append(*headers, line);
        if (longer == NULL)
                return false;
        *headers = longer;
        return true;
}

static void headers_wipe(struct curl_slist *headers) {
        for (struct curl_slist *node = headers; node != NULL; node = node->next)
                explicit_bzero(node->data, strlen(node->data));
        curl_slist_free_all(headers);
}

static struct error *target_headers(struct target *target, const struct http_target *given) {
        bool typed = false, agent = false;
        for (uint32_t i = 0; i < given->headers_count; i++) {
                const char *line = given->headers[i];
                if (has_control(line) ||
                    !header_valid(line)) /* the line may hold a key: not in the message */
                        return error_new(ERROR_USAGE, "header %u of %s is not \"Name: value\"", i + 1,
                                         given->url);
                bool type = header_is(line, "content-type");
                typed |= type;
                agent |= header_is(line, "user-agent");
                if (!headers_append(&target->json_headers, line) ||
                    (!type && !headers_append(&target->form_headers, line)))
                        return error_new(ERROR_MEMORY, "no memory for headers");
        }
        /* Not by CURLOPT_USERAGENT, which libcurl writes out twice for each request. */
        if (!agent && (!headers_append(&target->json_headers, USER_AGENT) ||
                       !headers_append(&target->form_headers, USER_AGENT)))
                return error_new(ERROR_MEMORY, "no memory for headers");
        /* "Expect:" without a value: never wait for "100 Continue". */
        if ((!typed && !headers_append(&target->json_headers, "Content-Type: application/json")) ||
            !headers_append(&target->json_headers, "Expect:") ||
            !headers_append(&target->form_headers, "Expect:"))
                return error_new(ERROR_MEMORY, "no memory for headers");
        return NULL;
}

static bool host_literal(const char *host) {
        struct in_addr address;
        return host[0] == '[' || inet_pton(AF_INET, host, &address) == 1;
}

static struct error *target_url(struct target *target, const char *url) {
        char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
        struct error *error = NULL;
        CURLU *parsed = target->parsed;
        if (has_control(url) || curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
            curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK) {
                error = error_new(ERROR_USAGE, "cannot use this URL of a provider: not well formed");
        } else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
                error = error_new(ERROR_USAGE, "cannot use \"%s\" for a provider: http or https", scheme);
        } else if (curl_url_get(parsed, CURLUPART_USER, &user, 0) == CURLUE_OK) {
                error = error_new(ERROR_USAGE, "cannot use a URL with user information for a provider");
        } else {
                target->https = strcmp(scheme, "https") == 0;
                target->literal = host_literal(host);
                target->url = strdup(url);
                if (target->url == NULL || asprintf(&target->origin, "%s://%s:%s", scheme, host, port) < 0) {
                        target->origin = NULL;
                        error = error_new(ERROR_MEMORY, "no memory for a URL");
                }
        }
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_free(user);
        return error;
}

struct error *target_init(struct target *target, const struct http_target *given) {
        *target = (struct target){.parsed = curl_url()};
        struct error *error = target->parsed ? target_url(target, given->url)
                                             : error_new(ERROR_MEMORY, "no memory for a URL");
        if (error == NULL)
                error = target_headers(target, given);
        if (error != NULL)
                target_deinit(target);
        return error;
}

void target_deinit(struct target *target) {
        if (target->url != NULL)
                explicit_bzero(target->url,
                               strlen(target->url)); /* some providers take the key in the query */
        headers_wipe(target->json_headers);
        headers_wipe(target->form_headers);
        curl_url_cleanup(target->parsed);
        free(target->url);
        free(target->origin);
        *target = (struct target){0};
}
