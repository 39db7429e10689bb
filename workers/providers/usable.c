/*
 * One check per kind: a 200 may be empty, cut, of another kind, or a refusal in polite words (reference
 * providers.md 12.2). Only what would make the result worthless is checked; unknown members are nobody's
 * business here.
 */
#include "workers/providers/usable.h"

#include "workers/providers/vectors.h"
#include "workers/providers/walk.h"

#include <yyjson.h>

static bool is_filled_array(yyjson_val *value) {
        return yyjson_is_arr(value) && yyjson_arr_size(value) > 0;
}

/* ---- chat, completions ---- */

/* Every choice ended by the filter: nothing that the caller could use without knowing. */
static enum verdict check_choices(yyjson_val *root, const char *content, const char **out_message) {
        yyjson_val *choices = yyjson_obj_get(root, "choices"), *choice;
        size_t i, count, filtered = 0;

        if (!is_filled_array(choices)) {
                *out_message = "the answer has no choices";
                return VERDICT_UNUSABLE;
        }
        yyjson_arr_foreach(choices, i, count, choice) {
                yyjson_val *reason = yyjson_obj_get(choice, "finish_reason");
                yyjson_val *held = yyjson_obj_get(choice, content);
                bool by_filter = yyjson_equals_str(reason, "content_filter");

                filtered += by_filter;
                if (yyjson_equals_str(reason, "error")) {
                        *out_message = "the provider failed in the middle of the answer";
                        return VERDICT_UNUSABLE;
                }
                if (!by_filter && (held == NULL || yyjson_is_null(held))) {
                        *out_message = "a choice of the answer is empty";
                        return VERDICT_UNUSABLE;
                }
        }
        if (filtered < count)
                return VERDICT_OK;
        *out_message = "the provider's content filter ended the answer";
        return VERDICT_CONTENT_REFUSED;
}

/* ---- responses ---- */

static const struct {
        const char *status;
        enum verdict verdict;
        const char *message;
} response_states[] = {
        {"completed", VERDICT_OK, ""},
        {"failed", VERDICT_UNUSABLE, "the response failed"},
        {"cancelled", VERDICT_UNUSABLE, "the response was cancelled"},
        {"in_progress", VERDICT_REJECTED, "background responses are not supported"},
        {"queued", VERDICT_REJECTED, "background responses are not supported"},
};

static enum verdict check_response(yyjson_val *root, const char **out_message) {
        yyjson_val *status = yyjson_obj_get(root, "status");
        yyjson_val *reason = yyjson_obj_get(yyjson_obj_get(root, "incomplete_details"), "reason");

        for (size_t i = 0; i < sizeof(response_states) / sizeof(response_states[0]); i++)
                if (yyjson_equals_str(status, response_states[i].status)) {
                        *out_message = response_states[i].message;
                        return response_states[i].verdict;
                }
        if (yyjson_equals_str(reason, "content_filter")) {
                *out_message = "the provider's content filter ended the answer";
                return VERDICT_CONTENT_REFUSED;
        }
        if (yyjson_is_arr(yyjson_obj_get(root, "output")))
                return VERDICT_OK;
        *out_message = "the response has no output";
        return VERDICT_UNUSABLE;
}

/* ---- embeddings ---- */

size_t usable_inputs(struct bytes body) {
        struct bytes input, element;
        struct walk walk;
        size_t count = 0;

        if (!walk_find(body, "input", &input))
                return 0;
        walk_init(&walk, input);
        if (!walk_open(&walk, '['))
                return 0;
        while (walk_element(&walk) && walk_value(&walk, &element)) {
                /* a list of numbers is one input, already in tokens */
                if (element.data[0] != '"' && element.data[0] != '[' && element.data[0] != '{')
                        return 0;
                count++;
        }
        return count;
}

/* A list, or base64 of whole floats; the letters are only looked at when they will be converted. */
static bool is_vector(yyjson_val *vector, bool converted) {
        struct bytes text = {yyjson_get_str(vector), yyjson_get_len(vector)};

        if (!yyjson_is_str(vector))
                return is_filled_array(vector) || (yyjson_is_obj(vector) && yyjson_obj_size(vector) > 0);
        return text.size > 0 && (!converted || vector_is_base64(text));
}

static enum verdict check_embeddings(const struct job_spec *job, yyjson_val *root, const char **out_message) {
        yyjson_val *data = yyjson_obj_get(root, "data"), *item;
        bool converted = job->vector_format == VECTOR_UNSAID || job->vector_format == VECTOR_FLOAT;
        size_t i, count, inputs;

        *out_message = "the answer has no vectors";
        if (!is_filled_array(data))
                return VERDICT_UNUSABLE;
        yyjson_arr_foreach(data, i, count, item) {
                if (!is_vector(yyjson_obj_get(item, "embedding"), converted)) {
                        *out_message = "a vector of the answer cannot be read";
                        return VERDICT_UNUSABLE;
                }
        }
        inputs = usable_inputs(job->body);
        if (count != (inputs == 0 ? 1 : inputs)) {
                *out_message = "the answer has another number of vectors than the request has inputs";
                return VERDICT_UNUSABLE;
        }
        return VERDICT_OK;
}

/* ---- the others ---- */

static enum verdict check_images(yyjson_val *root, struct usage *out_usage, const char **out_message) {
        yyjson_val *data = yyjson_obj_get(root, "data");

        if (!is_filled_array(data)) {
                *out_message = "the answer has no images";
                return VERDICT_UNUSABLE;
        }
        if (out_usage->images < 0)
                out_usage->images = (int64_t)yyjson_arr_size(data);
        return VERDICT_OK;
}

static enum verdict expect(bool there, const char *message, const char **out_message) {
        if (!there)
                *out_message = message;
        return there ? VERDICT_OK : VERDICT_UNUSABLE;
}

bool usable_is_text(const struct job_spec *job) {
        static const char *const formats[] = {"text", "srt", "vtt"};

        if (job->demand.kind != KIND_TRANSCRIPTIONS && job->demand.kind != KIND_TRANSLATIONS)
                return false;
        for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
                if (bytes_equal_string(job->response_format, formats[i]))
                        return true;
        return false;
}

enum verdict usable_json(const struct job_spec *job, struct yyjson_val *root, struct usage *out_usage,
                         const char **out_message) {
        *out_message = "";
        switch (job->demand.kind) {
        case KIND_CHAT:
                return check_choices(root, "message", out_message);
        case KIND_COMPLETIONS:
                return check_choices(root, "text", out_message);
        case KIND_RESPONSES:
                return check_response(root, out_message);
        case KIND_EMBEDDINGS:
                return check_embeddings(job, root, out_message);
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
                return expect(yyjson_is_str(yyjson_obj_get(root, "text")) ||
                                      (usable_is_text(job) && yyjson_is_str(root)),
                              "the answer has no text", out_message);
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                return check_images(root, out_usage, out_message);
        case KIND_RERANK:
                return expect(yyjson_is_arr(yyjson_obj_get(root, "results")) ||
                                      yyjson_is_arr(yyjson_obj_get(root, "data")),
                              "the answer has no results", out_message);
        case KIND_MODERATIONS:
                return expect(is_filled_array(yyjson_obj_get(root, "results")), "the answer has no results",
                              out_message);
        case KIND_SPEECH:
                *out_message = "the answer is JSON instead of audio";
                return VERDICT_UNUSABLE;
        case KINDS_COUNT:
                break;
        }
        return expect(false, "an answer of an unknown kind", out_message);
}
