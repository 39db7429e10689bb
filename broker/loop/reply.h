#pragma once
/* The bytes of the last answer to a job's call, kept from the call to the result line. */
#include "broker/base/bytes.h"

struct dialect;

struct reply {
        const struct dialect *dialect; /* NULL: there was no answer */
        int32_t status;
        bool is_json; /* as the dialect has found */
        struct buffer headers, body;
        int64_t now_unix_ms;
};

void reply_deinit(struct reply *reply); /* a zeroed one is fine; leaves a zeroed one */
/*
 * The provider's own name for the call (x-request-id, request-id, apim-request-id); empty when there is none.
 */
struct bytes reply_request_id(const struct reply *reply);
