/*
 * The memory of all parts is reserved once, so that views into it stay valid: texts only become shorter
 * on their way out of JSON, and names are stored once each.
 */
#include "workers/providers/form.h"

#include "workers/providers/parse.h"

#include <stdlib.h>
#include <yyjson.h>

struct form {
        struct request *request;
        struct bytes model;
        const char *message; /* why not; NULL: all well so far */
};

static const char too_large[] = "the request is larger than allowed";

/* A copy that stays where it is; what does not fit, though it should have, ends the form. */
static struct bytes keep(struct form *form, struct bytes text, const char *suffix) {
        struct buffer *body = &form->request->body;
        struct bytes ending = bytes_of(suffix);
        size_t start = body->size;

        if (body->failed || text.size + ending.size > body->capacity - body->size) {
                form->message = too_large;
                return (struct bytes){0};
        }
        buffer_append_bytes(body, text);
        buffer_append_bytes(body, ending);
        return (struct bytes){body->data + start, body->size - start};
}

static void add_part(struct form *form, struct request_part part) {
        if (form->request->parts_count == REQUEST_PARTS_MAX)
                form->message = "the request has too many form fields";
        else
                form->request->parts[form->request->parts_count++] = part;
}

/* The value of one field, kept. */
static struct bytes field_text(struct form *form, yyjson_val *value) {
        struct bytes text = {0}, kept;
        char *json = NULL;

        if (yyjson_is_str(value)) {
                text = (struct bytes){yyjson_get_str(value), yyjson_get_len(value)};
        } else if (yyjson_is_raw(value)) {
                text = (struct bytes){yyjson_get_raw(value), yyjson_get_len(value)};
        } else if (yyjson_is_bool(value)) {
                text = yyjson_get_bool(value) ? BYTES("true") : BYTES("false");
        } else {
                json = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &text.size);
                text.data = json;
                if (json == NULL)
                        form->message = "a member cannot be written as a form field";
        }
        kept = keep(form, text, "");
        free(json);
        return kept;
}

static void add_field(struct form *form, struct bytes name, yyjson_val *value) {
        yyjson_val *element;
        size_t i, count;

        if (yyjson_is_null(value))
                return;
        if (!yyjson_is_arr(value)) {
                name = keep(form, name, "");
                add_part(form, (struct request_part){.name = name, .value = field_text(form, value)});
                return;
        }
        if (yyjson_arr_size(value) > 0)
                name = keep(form, name, "[]");
        yyjson_arr_foreach(value, i, count, element) {
                if (form->message != NULL)
                        return;
                add_part(form, (struct request_part){.name = name, .value = field_text(form, element)});
        }
}

static bool left_out(struct bytes name) {
        static const char *const names[] = {"models", "provider", "stream", "file_url", "file"};

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                if (bytes_equal_string(name, names[i]))
                        return true;
        return false;
}

static void add_members(struct form *form, yyjson_val *root) {
        yyjson_val *key, *value;
        size_t i, count;

        yyjson_obj_foreach(root, i, count, key, value) {
                struct bytes name = {yyjson_get_str(key), yyjson_get_len(key)};

                if (form->message != NULL)
                        return;
                if (bytes_equal_string(name, "model")) {
                        name = keep(form, name, "");
                        add_part(form,
                                 (struct request_part){.name = name, .value = keep(form, form->model, "")});
                } else if (!left_out(name)) {
                        add_field(form, name, value);
                }
        }
}

bool form_fields(const struct job_spec *job, struct bytes model, struct request *out_request,
                 const char **out_message) {
        struct form form = {.request = out_request, .model = model};
        struct parse parse;

        out_request->parts_count = 0;
        /* every element is at least two bytes of the body, so that "[]" behind each name fits as well */
        if (!buffer_reserve(&out_request->body, job->body.size * 2 + model.size + 64)) {
                *out_message = too_large;
                return false;
        }
        if (!parse_begin_raw_numbers(&parse, job->body)) {
                *out_message = "the body cannot be read as JSON";
                return false;
        }
        if (yyjson_is_obj(parse.root))
                add_members(&form, parse.root);
        parse_end(&parse);
        if (form.message == NULL) {
                struct bytes name = keep(&form, BYTES("file"), "");

                add_part(&form, (struct request_part){.name = name, .file = true});
        }
        if (form.message != NULL)
                *out_message = form.message;
        return form.message == NULL;
}
