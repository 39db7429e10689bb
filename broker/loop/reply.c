#include "broker/loop/reply.h"

#include <string.h>

void reply_deinit(struct reply *reply) {
        buffer_deinit(&reply->headers);
        buffer_deinit(&reply->body);
        *reply = (struct reply){0};
}

static struct bytes trim(struct bytes text) {
        while (text.size && (*text.data == ' ' || *text.data == '\t')) {
                text.data++;
                text.size--;
        }
        while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\r'))
                text.size--;
        return text;
}

static bool is_request_id(struct bytes name) {
        return bytes_equal_nocase(name, "x-request-id") || bytes_equal_nocase(name, "request-id") ||
               bytes_equal_nocase(name, "apim-request-id");
}

struct bytes reply_request_id(const struct reply *reply) {
        const char *at = reply->headers.data, *end = at + reply->headers.size;
        while (at && at < end) {
                const char *line_end = memchr(at, '\n', (size_t)(end - at));
                if (!line_end)
                        line_end = end;
                const char *colon = memchr(at, ':', (size_t)(line_end - at));
                if (colon && is_request_id((struct bytes){at, (size_t)(colon - at)}))
                        return trim((struct bytes){colon + 1, (size_t)(line_end - colon - 1)});
                at = line_end + 1;
        }
        return (struct bytes){NULL, 0};
}
