/* Found in the parsed document; where they stand is measured in the text. */
#include "broker/wire/cloudevent.h"

#include "broker/wire/json_span.h"
#include "broker/wire/json_value.h"

#include <yyjson.h>

enum member { MEMBER_DATA, MEMBER_SOURCE, MEMBER_ID, MEMBER_SPECVERSION, MEMBERS_COUNT };

#define NAME(text)                                                                                           \
        { text, sizeof(text) - 1 }
static const struct bytes member_names[MEMBERS_COUNT] = {
        [MEMBER_DATA] = NAME("data"),
        [MEMBER_SOURCE] = NAME("source"),
        [MEMBER_ID] = NAME("id"),
        [MEMBER_SPECVERSION] = NAME("specversion"),
};

/* false with a problem when one of them stands there twice. */
static bool find_members(struct yyjson_val *root, struct bytes text, struct yyjson_val **out_values,
                         struct bytes *out_data, struct problem *problem) {
        struct json_members members;
        struct json_member member;
        size_t index, count;
        yyjson_val *name, *value;
        json_members_init(&members, text);
        yyjson_obj_foreach(root, index, count, name, value) {
                if (!json_members_next(&members, &member))
                        return true; /* cannot be: the parser has seen them */
                size_t found = text_find(json_text(name), member_names, MEMBERS_COUNT);
                if (found == MEMBERS_COUNT)
                        continue;
                if (out_values[found] != NULL)
                        return problem_in(problem, member_names[found].data,
                                          "must not stand in the event twice");
                out_values[found] = value;
                if (found == MEMBER_DATA)
                        *out_data = span_of(text, member.value);
        }
        return true;
}

bool cloudevent_read(struct yyjson_val *root, struct bytes text, struct cloudevent *out_event,
                     struct problem *problem) {
        struct yyjson_val *values[MEMBERS_COUNT] = {NULL};
        struct bytes data = {NULL, 0};
        if (!yyjson_is_obj(root))
                return problem_in(problem, "", "A CloudEvent must be a JSON object.");
        if (!find_members(root, text, values, &data, problem))
                return false;
        if (!json_is_string(values[MEMBER_SPECVERSION]))
                return problem_in(problem, "specversion", "must stand in a CloudEvent");
        if (!yyjson_is_obj(values[MEMBER_DATA]))
                return problem_in(problem, "data", "must be the job, a JSON object");
        *out_event = (struct cloudevent){.data = values[MEMBER_DATA], .data_text = data};
        if (json_is_string(values[MEMBER_SOURCE]))
                out_event->source = json_text(values[MEMBER_SOURCE]);
        if (json_is_string(values[MEMBER_ID]))
                out_event->id = json_text(values[MEMBER_ID]);
        return true;
}
