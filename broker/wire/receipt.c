/*
 * The line is parsed where it is copied to, into memory that is kept from line to line, so that long files
 * cost no allocations.
 */
#include "broker/wire/receipt.h"

#include "broker/base/money.h"
#include "broker/wire/decision.h"
#include "broker/wire/json_value.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { LINE_BYTES_MAX = 1 << 30 };

#define READ_FLAGS (YYJSON_READ_NUMBER_AS_RAW | YYJSON_READ_INSITU)

struct receipt_reader {
        struct buffer text, pool, record;
};

struct receipt_reader *receipt_reader_new(void) {
        struct receipt_reader *reader = calloc(1, sizeof *reader);
        if (reader == NULL)
                return NULL;
        buffer_init(&reader->text, LINE_BYTES_MAX + YYJSON_PADDING_SIZE);
        buffer_init(&reader->pool, SIZE_MAX / 4);
        buffer_init(&reader->record, DECISION_TEXT_MAX);
        return reader;
}

struct receipt_reader *receipt_reader_free(struct receipt_reader *reader) {
        if (reader == NULL)
                return NULL;
        buffer_deinit(&reader->text);
        buffer_deinit(&reader->pool);
        buffer_deinit(&reader->record);
        free(reader);
        return NULL;
}

static struct bytes text_at(yyjson_val *object, const char *name) {
        yyjson_val *value = yyjson_obj_get(object, name);
        return json_is_string(value) ? json_text(value) : BYTES("");
}

static bool read_money(yyjson_val *value, bool *out_known, int64_t *out_picousd) {
        *out_known = json_is_number(value);
        return *out_known ? money_parse(json_text(value), out_picousd) : json_is_absent(value);
}

static int64_t count_at(yyjson_val *usage, const char *name) {
        int64_t count = -1;
        json_integer(yyjson_obj_get(usage, name), 0, INT64_MAX, &count);
        return count;
}

/* 1.25 seconds are as many thousandths as 1.25 dollars. */
static int64_t milliseconds_at(yyjson_val *usage, const char *name) {
        int64_t picousd;
        yyjson_val *value = yyjson_obj_get(usage, name);
        if (!json_is_number(value) || !money_parse(json_text(value), &picousd))
                return -1;
        return picousd / (PICOUSD_PER_USD / 1000);
}

static void read_usage(yyjson_val *from, struct usage *usage) {
        usage_init(usage);
#define USAGE_FIELD(member, text) usage->member = count_at(from, text);
#include "schemas/usage_fields.def"
#undef USAGE_FIELD
        usage->audio_ms = milliseconds_at(from, "audio_seconds");
}

static void read_service(struct bytes text, struct usage *usage) {
        usage->served = text.size > 0;
        usage->service = usage->served ? service_from_text(text) : SERVICE_STANDARD;
}

static bool read_exclusion(yyjson_val *value, enum exclusion *out_exclusion) {
        *out_exclusion = EXCLUSION_NONE;
        if (value == NULL)
                return true;
        for (int i = EXCLUSION_NONE + 1; i < EXCLUSIONS_COUNT; i++)
                if (bytes_equal_string(json_text(value), exclusion_text((enum exclusion)i))) {
                        *out_exclusion = (enum exclusion)i;
                        return true;
                }
        return false;
}

static bool read_candidates(yyjson_val *from, struct receipt *receipt) {
        size_t index, count;
        yyjson_val *item;
        if (!yyjson_is_arr(from) || yyjson_arr_size(from) > DECISION_CANDIDATES_MAX)
                return false;
        yyjson_arr_foreach(from, index, count, item) {
                struct receipt_candidate *candidate = &receipt->candidates[receipt->candidates_count++];
                yyjson_val *cost = yyjson_obj_get(item, "cost_usd");
                candidate->endpoint = text_at(item, "endpoint");
                candidate->cost_said = cost != NULL;
                if (!read_exclusion(yyjson_obj_get(item, "excluded_by"), &candidate->excluded_by) ||
                    !read_money(cost, &candidate->cost_known, &candidate->cost_picousd))
                        return false;
        }
        return true;
}

static bool read_seed(struct bytes text, uint64_t *out_seed) {
        uint64_t seed = 0;
        if (text.size != 16)
                return false;
        for (size_t i = 0; i < text.size; i++) {
                const char *digits = "0123456789abcdef", *digit = memchr(digits, text.data[i], 16);
                if (digit == NULL)
                        return false;
                seed = seed << 4 | (uint64_t)(digit - digits);
        }
        *out_seed = seed;
        return true;
}

static bool read_decision(yyjson_val *from, struct receipt *receipt) {
        receipt->policy = text_at(from, "policy");
        receipt->catalog = text_at(from, "catalog");
        receipt->chosen = text_at(from, "chosen");
        receipt->truncated = yyjson_is_true(yyjson_obj_get(from, "truncated"));
        return yyjson_is_obj(from) && read_seed(text_at(from, "seed"), &receipt->seed) &&
               read_candidates(yyjson_obj_get(from, "candidates"), receipt);
}

static bool read_failure(yyjson_val *root, enum failure *out_failure) {
        yyjson_val *error = yyjson_obj_get(root, "error");
        int64_t status = 0;
        if (error == NULL)
                return false;
        if (!yyjson_is_null(error))
                return failure_from_text(text_at(error, "code"), out_failure);
        json_integer(yyjson_obj_get(yyjson_obj_get(root, "response"), "status_code"), 0, 999, &status);
        *out_failure = status >= 400 ? FAILURE_PROVIDER_REJECTED : FAILURE_NONE;
        return true;
}

static bool read_root(yyjson_val *root, struct receipt *out) {
        yyjson_val *from = yyjson_obj_get(root, "receipt");
        int64_t attempts = 0;
        memset(out, 0, offsetof(struct receipt, inputs));
        out->custom_id = text_at(root, "custom_id");
        out->workspace = text_at(from, "workspace");
        out->provider = text_at(from, "provider");
        out->model = text_at(from, "model");
        out->replayed = yyjson_is_true(yyjson_obj_get(from, "replayed"));
        out->cost_is_estimate = yyjson_is_true(yyjson_obj_get(from, "cost_is_estimate"));
        read_usage(yyjson_obj_get(from, "usage"), &out->usage);
        read_service(text_at(from, "service_tier"), &out->usage);
        if (!json_integer(yyjson_obj_get(from, "attempts"), 0, UINT32_MAX, &attempts) ||
            !read_money(yyjson_obj_get(from, "cost_usd"), &out->cost_known, &out->cost_picousd))
                return false;
        out->attempts = (uint32_t)attempts;
        return read_failure(root, &out->failure) && read_decision(yyjson_obj_get(from, "decision"), out);
}

static yyjson_doc *parse(struct receipt_reader *reader, struct bytes line) {
        yyjson_alc alc;
        buffer_clear(&reader->text);
        buffer_clear(&reader->pool);
        buffer_append_bytes(&reader->text, line);
        buffer_append(&reader->text, (const char[YYJSON_PADDING_SIZE]){0}, YYJSON_PADDING_SIZE);
        if (reader->text.failed ||
            !buffer_reserve(&reader->pool, yyjson_read_max_memory_usage(line.size, READ_FLAGS) + 64) ||
            !yyjson_alc_pool_init(&alc, reader->pool.data, reader->pool.capacity))
                return NULL;
        return yyjson_read_opts(reader->text.data, line.size, READ_FLAGS, &alc, NULL);
}

enum receipt_outcome receipt_read(struct receipt_reader *reader, struct bytes line,
                                  struct receipt *out_receipt) {
        yyjson_doc *doc = line.size == 0 ? NULL : parse(reader, line);
        if (doc == NULL)
                return reader->text.failed || reader->pool.failed ? RECEIPT_MEMORY : RECEIPT_STRANGE;
        yyjson_val *root = yyjson_doc_get_root(doc);
        if (!yyjson_is_obj(root) || !read_root(root, out_receipt))
                return RECEIPT_STRANGE;
        yyjson_val *decision = yyjson_obj_get(yyjson_obj_get(root, "receipt"), "decision");
        yyjson_val *replay = yyjson_obj_get(decision, "replay");
        if (replay == NULL)
                return RECEIPT_OK;
        out_receipt->has_inputs = decision_read(json_text(replay), &reader->record, &out_receipt->inputs);
        out_receipt->inputs.moment.route.seed = out_receipt->seed;
        if (reader->record.failed)
                return RECEIPT_MEMORY;
        return out_receipt->has_inputs ? RECEIPT_OK : RECEIPT_UNREADABLE;
}
