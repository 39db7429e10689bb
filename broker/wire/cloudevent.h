#pragma once
/*
 * A CloudEvent in structured mode (CloudEvents 1.0.2, JSON format): one JSON object whose member `data` is
 * the job. Only what the broker needs is looked at; attributes and extensions that it does not know pass.
 */
#include "broker/wire/problem.h"

struct yyjson_val;

struct cloudevent {
        struct yyjson_val *data;
        struct bytes data_text;  /* of the same, in the text */
        struct bytes source, id; /* unescaped, in the parsed document; empty when absent */
};

/*
 * `root` is what was parsed of `text`. false with a problem when it is no event, or when its data is no
 * object (data_base64 is none).
 */
bool cloudevent_read(struct yyjson_val *root, struct bytes text, struct cloudevent *out_event,
                     struct problem *problem);
