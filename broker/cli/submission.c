#include "broker/cli/submission.h"

#include "broker/wire/json_span.h"
#include "broker/wire/msgpack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct submission {
        struct job_decoder *decoder;
        struct buffer key, json, packed;
        struct job_spec *spec; /* of the last line */
        size_t job_bytes_max;
        bool msgpack;
        char batch[BATCH_BYTES_MAX + 1];
};

struct error *submission_new(const struct submission_options *options, struct submission **out_submission) {
        struct submission *submission = calloc(1, sizeof(*submission));
        if (!submission)
                return error_new(ERROR_MEMORY, "no memory to read jobs");
        size_t room = options->job_bytes_max + 6 * BATCH_BYTES_MAX + 64;
        struct job_decoder_options decoder = {.job_bytes_max = options->job_bytes_max};
        buffer_init(&submission->key, 8192);
        buffer_init(&submission->json, room);
        buffer_init(&submission->packed, room * 2);
        submission->job_bytes_max = options->job_bytes_max;
        submission->msgpack = options->msgpack;
        struct error *error = NULL;
        if (strlen(options->batch) > BATCH_BYTES_MAX)
                error = error_new(ERROR_USAGE, "the name of a batch may have %d bytes", BATCH_BYTES_MAX);
        else
                snprintf(submission->batch, sizeof(submission->batch), "%s", options->batch);
        if (!error)
                error = job_decoder_new(&decoder, &submission->decoder);
        if (error)
                submission_free(submission);
        else
                *out_submission = submission;
        return error;
}

struct submission *submission_free(struct submission *submission) {
        if (!submission)
                return NULL;
        job_spec_free(submission->spec);
        job_decoder_free(submission->decoder);
        buffer_deinit(&submission->key);
        buffer_deinit(&submission->json);
        buffer_deinit(&submission->packed);
        free(submission);
        return NULL;
}

/* The text of the job, which is a valid object, with the batch as its first member; "batch": null goes. */
static void name_batch(struct submission *submission, struct bytes text) {
        struct buffer *json = &submission->json;
        struct json_members members;
        struct json_member member;
        bool any = false;
        buffer_clear(json);
        buffer_append_string(json, "{\"batch\":\"");
        buffer_append_json_escaped(json, bytes_of(submission->batch));
        buffer_append_char(json, '"');
        json_members_init(&members, text);
        while (json_members_next(&members, &member)) {
                any = true;
                if (bytes_equal_string(span_of(text, member.key), "\"batch\""))
                        continue;
                buffer_append_char(json, ',');
                buffer_append_bytes(json, span_of(text, member.member));
        }
        buffer_append_char(json, '}');
        json->failed = json->failed || !any;
}

static bool bad(struct submitted *submitted, const char *problem) {
        snprintf(submitted->problem, sizeof(submitted->problem), "%s", problem);
        return false;
}

static bool pack(struct submission *submission, struct submitted *submitted) {
        struct problem problem;
        problem_init(&problem);
        buffer_clear(&submission->packed);
        switch (msgpack_from_json(submitted->value, &submission->packed, &problem)) {
        case MSGPACK_DONE:
                submitted->value = buffer_view(&submission->packed);
                return true;
        case MSGPACK_REFUSED:
                snprintf(submitted->problem, sizeof(submitted->problem), "%s%s%s", problem.field,
                         problem.field[0] ? ": " : "", problem.message);
                return false;
        case MSGPACK_TOO_LARGE:
                return bad(submitted, "too large for MessagePack");
        case MSGPACK_NO_MEMORY:
                break;
        }
        submission->packed.failed = true;
        return false;
}

/* false: the problem says why, or a buffer has failed. */
static bool make(struct submission *submission, const struct source_line *line, struct submitted *submitted) {
        struct job_spec *spec = submission->spec;
        submitted->value = line->text;
        if (spec->batch.size == 0 && submission->batch[0]) {
                spec->batch = bytes_of(submission->batch);
                name_batch(submission, line->text);
                submitted->value = buffer_view(&submission->json);
        }
        buffer_clear(&submission->key);
        job_idempotency_append(&submission->key, spec);
        submitted->key = buffer_view(&submission->key);
        submitted->custom_id = spec->custom_id;
        if (submission->json.failed || submission->key.failed)
                return false;
        if (submitted->key.size > IDEMPOTENCY_BYTES_MAX)
                return bad(submitted,
                           "batch and custom_id together are longer than an idempotency key may be (1024 "
                           "bytes): give the job an idempotency_key");
        if (submitted->value.size > submission->job_bytes_max)
                return bad(submitted, "with its batch it is larger than limits.job_bytes");
        return true;
}

static bool identify(struct submission *submission, struct submitted *submitted) {
        struct job_record record = {
                .key = submitted->key, .value = submitted->value, .has_key = true, .has_value = true};
        struct job_spec *spec = job_decode_record(submission->decoder, &record);
        if (!spec)
                return false;
        submitted->job = spec->key;
        submitted->alias = spec->alias;
        job_spec_free(spec);
        return true;
}

static bool failed(const struct submission *submission) {
        return submission->json.failed || submission->key.failed || submission->packed.failed;
}

enum submission_outcome submission_read(struct submission *submission, const struct source_line *line,
                                        bool with_names, struct submitted *out_submitted) {
        struct submitted submitted = {0};
        job_spec_free(submission->spec);
        submission->spec =
                job_decode(submission->decoder, line->text, line->line, line->sequence, line->too_long);
        struct job_spec *spec = submission->spec;
        if (!spec)
                return SUBMISSION_NO_MEMORY;
        bool good = spec->failure == FAILURE_NONE;
        if (!good)
                snprintf(submitted.problem, sizeof(submitted.problem), "%.*s%s%.*s",
                         (int)spec->failure_field.size,
                         spec->failure_field.data ? spec->failure_field.data : "",
                         spec->failure_field.size ? ": " : "", (int)spec->failure_message.size,
                         spec->failure_message.data ? spec->failure_message.data : "");
        good = good && make(submission, line, &submitted);
        if (good && with_names && !identify(submission, &submitted))
                return SUBMISSION_NO_MEMORY;
        good = good && (!submission->msgpack || pack(submission, &submitted));
        if (!good && failed(submission))
                return SUBMISSION_NO_MEMORY;
        *out_submitted = submitted;
        return good ? SUBMISSION_JOB : SUBMISSION_BAD;
}

void submission_batch_of(const char *path, char *out_batch, size_t size) {
        const char *slash = strrchr(path, '/');
        snprintf(out_batch, size, "%s", strcmp(path, "-") == 0 ? "stdin" : slash ? slash + 1 : path);
}
