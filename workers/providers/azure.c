/* Addresses and keys of Azure OpenAI. */
#include "workers/providers/azure.h"

#include "workers/providers/openai.h"

#include <string.h>

static const char api_version[] = "api-version=2024-10-21";

/* Kinds that the classic form knows, by path below the deployment. */
static const char *classic_path(enum kind kind) {
        switch (kind) {
        case KIND_CHAT:
        case KIND_COMPLETIONS:
        case KIND_EMBEDDINGS:
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
        case KIND_SPEECH:
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                return kind_facts[kind].url + strlen("/v1");
        case KIND_RESPONSES:
        case KIND_RERANK:
        case KIND_MODERATIONS:
        case KINDS_COUNT:
                break;
        }
        return NULL;
}

/* RFC 3986: all but unreserved characters. */
static void append_segment(struct buffer *out, struct bytes text) {
        static const char hex[] = "0123456789ABCDEF";

        for (size_t i = 0; i < text.size; i++) {
                unsigned char c = (unsigned char)text.data[i];
                bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                  (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';

                if (unreserved)
                        buffer_append_char(out, (char)c);
                else
                        buffer_append(out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3);
        }
}

static bool ends_with(struct bytes text, const char *ending) {
        size_t size = strlen(ending);

        return text.size >= size && memcmp(text.data + text.size - size, ending, size) == 0;
}

static bool is_dots(struct bytes text) {
        return bytes_equal_string(text, ".") || bytes_equal_string(text, "..");
}

static bool azure_url(const struct provider *provider, const struct endpoint *endpoint, enum kind kind,
                      struct bytes model, struct buffer *out_url) {
        const char *path = classic_path(kind);
        struct base_url base;

        if (!base_url_split(provider->base_url, &base))
                return false;
        if (ends_with(base.path, "/openai/v1"))
                return openai_dialect.url(provider, endpoint, kind, model, out_url);
        if (path == NULL || model.size == 0 || is_dots(model))
                return false;
        buffer_append_bytes(out_url, base.whole);
        if (!ends_with(base.path, "/openai"))
                buffer_append_string(out_url, "/openai");
        buffer_append_string(out_url, "/deployments/");
        append_segment(out_url, model);
        buffer_append_string(out_url, path);
        buffer_append_char(out_url, '?');
        buffer_append_bytes(out_url, base.query.size > 0 ? base.query : bytes_of(api_version));
        return !out_url->failed;
}

static void azure_auth(struct bytes key, struct buffer *out_header) {
        buffer_append_string(out_header, "api-key: ");
        buffer_append_bytes(out_header, key);
}

const struct dialect azure_dialect = {
        .name = "azure",
        .url = azure_url,
        .auth = azure_auth,
        .request = openai_request,
        .read = openai_read,
        .render = openai_render,
};
