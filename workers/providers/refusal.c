/*
 * Error bodies. Every member may be absent, of another type or hostile; what is not understood is left
 * out. Shapes: reference providers.md sections 1, 2, 4, 8, 10, 11.
 */
#include "workers/providers/refusal.h"

#include "workers/providers/waits.h"

#include <string.h>
#include <yyjson.h>

enum { DETAILS_MAX = 16, WORD_BYTES_MAX = 100, STATUS_MIN = 400, STATUS_MAX = 599 };

static struct bytes string_of(yyjson_val *value) {
        if (!yyjson_is_str(value))
                return (struct bytes){0};
        return (struct bytes){yyjson_get_str(value), yyjson_get_len(value)};
}

static void add_word(struct refusal *refusal, struct bytes word) {
        if (word.size > 0 && word.size <= WORD_BYTES_MAX && refusal->words_count < REFUSAL_WORDS_MAX)
                refusal->words[refusal->words_count++] = word;
}

static void note_status(struct refusal *refusal, int64_t status) {
        if (status >= STATUS_MIN && status <= STATUS_MAX)
                refusal->status = (int32_t)status;
}

/* A code is a word or a number; Azure writes the number as a word. */
static void add_code(struct refusal *refusal, yyjson_val *value) {
        struct bytes word = string_of(value);
        int64_t number = 0;

        if (yyjson_is_int(value))
                note_status(refusal, yyjson_get_sint(value));
        add_word(refusal, word);
        if (word.size != 3)
                return;
        for (size_t i = 0; i < word.size; i++)
                number = number * 10 +
                         (word.data[i] >= '0' && word.data[i] <= '9' ? word.data[i] - '0' : -1000);
        note_status(refusal, number);
}

static void add_named(struct refusal *refusal, yyjson_val *object, const char *name) {
        add_word(refusal, string_of(yyjson_obj_get(object, name)));
}

static int64_t wait_of_value(yyjson_val *value) {
        const double ns_max = (double)WAIT_MAX_NS;
        double ns = yyjson_is_num(value) ? yyjson_get_num(value) * (double)NS_PER_S : -1;

        if (yyjson_is_str(value))
                return wait_of_delay(string_of(value));
        if (!(ns >= 0))
                return -1;
        return ns >= ns_max ? WAIT_MAX_NS : (int64_t)ns;
}

static void note_wait(struct refusal *refusal, int64_t wait_ns) {
        if (wait_ns > refusal->wait_ns)
                refusal->wait_ns = wait_ns;
}

/* google.rpc: ErrorInfo.reason, RetryInfo.retryDelay, QuotaFailure.violations[].quotaId */
static void read_detail(struct refusal *refusal, yyjson_val *detail) {
        yyjson_val *violations = yyjson_obj_get(detail, "violations"), *violation;
        size_t i, count;

        add_named(refusal, detail, "reason");
        note_wait(refusal, wait_of_value(yyjson_obj_get(detail, "retryDelay")));
        yyjson_arr_foreach(violations, i, count, violation) {
                struct bytes quota = string_of(yyjson_obj_get(violation, "quotaId"));

                if (i == DETAILS_MAX)
                        break;
                if (quota.size > 0 && memmem(quota.data, quota.size, "PerDay", 6) != NULL)
                        add_word(refusal, BYTES("quota_per_day"));
        }
}

static void read_details(struct refusal *refusal, yyjson_val *details) {
        yyjson_val *detail;
        size_t i, count;

        yyjson_arr_foreach(details, i, count, detail) {
                if (i == DETAILS_MAX)
                        break;
                read_detail(refusal, detail);
        }
}

/* OpenRouter */
static void read_metadata(struct refusal *refusal, yyjson_val *error, int64_t now_unix_ms) {
        yyjson_val *metadata = yyjson_obj_get(error, "metadata");
        yyjson_val *availability = yyjson_obj_get(error, "availability");
        yyjson_val *headers = yyjson_obj_get(metadata, "headers");
        struct bytes reset = string_of(yyjson_obj_get(headers, "X-RateLimit-Reset"));

        add_named(refusal, metadata, "error_type");
        add_named(refusal, metadata, "reason");
        add_named(refusal, availability, "code");
        note_wait(refusal, wait_of_value(yyjson_obj_get(metadata, "retry_after_seconds")));
        note_wait(refusal, wait_of_value(yyjson_obj_get(availability, "retry_after")));
        if (reset.size > 0)
                note_wait(refusal, wait_of_reset(reset, now_unix_ms));
}

/*
 * The first text among what may hold it: a string, an object with `message` or `msg`, or an array of
 * these.
 */
static struct bytes message_of(yyjson_val *value) {
        static const char *const names[] = {"message", "msg", "error", "detail"};

        for (int depth = 0; depth < 4; depth++) {
                yyjson_val *inner = NULL;

                if (yyjson_is_str(value))
                        return string_of(value);
                if (yyjson_is_arr(value))
                        inner = yyjson_arr_get_first(value);
                for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && inner == NULL; i++)
                        inner = yyjson_obj_get(value, names[i]);
                value = inner;
        }
        return (struct bytes){0};
}

static void read_error_object(struct refusal *refusal, yyjson_val *error, int64_t now_unix_ms) {
        add_code(refusal, yyjson_obj_get(error, "code"));
        add_named(refusal, error, "type");
        add_named(refusal, error, "status");
        add_named(refusal, error, "error_type");
        add_named(refusal, error, "reason");
        add_named(refusal, yyjson_obj_get(error, "innererror"), "code");
        read_metadata(refusal, error, now_unix_ms);
        read_details(refusal, yyjson_obj_get(error, "details"));
        refusal->message = message_of(error);
}

static bool is_flat_error(yyjson_val *root, bool succeeded) {
        if (yyjson_equals_str(yyjson_obj_get(root, "object"), "error"))
                return true;
        return !succeeded &&
               (yyjson_is_str(yyjson_obj_get(root, "message")) || yyjson_obj_get(root, "detail") != NULL ||
                yyjson_obj_get(root, "errors") != NULL);
}

void refusal_read(struct yyjson_val *root, bool succeeded, int64_t now_unix_ms, struct refusal *out_refusal) {
        yyjson_val *error;

        *out_refusal = (struct refusal){.wait_ns = -1};
        if (yyjson_is_arr(root))
                root = yyjson_arr_get_first(root);
        error = yyjson_obj_get(root, "error");
        if (yyjson_is_obj(error) && yyjson_obj_size(error) > 0) {
                read_error_object(out_refusal, error, now_unix_ms);
                out_refusal->present = true;
        } else if (yyjson_is_str(error) && yyjson_get_len(error) > 0) {
                add_code(out_refusal, yyjson_obj_get(root, "code"));
                add_named(out_refusal, root, "error_type");
                add_named(out_refusal, root, "type");
                add_word(out_refusal, string_of(error));
                out_refusal->message = string_of(error);
                out_refusal->present = true;
        } else if (is_flat_error(root, succeeded)) {
                read_error_object(out_refusal, root, now_unix_ms);
                if (out_refusal->message.size == 0)
                        out_refusal->message = message_of(yyjson_obj_get(root, "errors"));
                out_refusal->present = true;
        }
}

void refusal_of_text(struct bytes text, struct refusal *out_refusal) {
        *out_refusal = (struct refusal){.present = text.size > 0, .message = text, .wait_ns = -1};
}
