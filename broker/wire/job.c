/*
 * Decoding has three parts: the text is parsed and checked into a scratch spec whose strings point into the
 * text or the parsed document (read_job), its names are hashed (name_job), and what it points to is packed
 * behind it in one piece of memory (pack). The decoder keeps its scratch memory, which is bounded by
 * job_bytes_max: about 15 times that in the worst case, of which ordinary jobs touch little.
 */
#include "broker/wire/job.h"

#include "broker/base/check.h"
#include "broker/base/time.h"
#include "broker/wire/canonical.h"
#include "broker/wire/cloudevent.h"
#include "broker/wire/digest.h"
#include "broker/wire/job_body.h"
#include "broker/wire/job_inside.h"
#include "broker/wire/job_key.h"
#include "broker/wire/json_span.h"
#include "broker/wire/json_value.h"
#include "broker/wire/layers.h"

#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum {
        CUSTOM_ID_BYTES_MAX = 512,
        IDEMPOTENCY_KEY_BYTES_MAX = 512,
        NAME_BYTES_MAX = 128,
        DEFAULT_NAME_BYTES_MAX = 4096,
        PRIORITY_MAX = 10,
        METADATA_PAIRS_MAX = 16,
        METADATA_KEY_CHARACTERS_MAX = 64,
        METADATA_VALUE_CHARACTERS_MAX = 512,
};

#define READ_FLAGS (YYJSON_READ_NUMBER_AS_RAW | YYJSON_READ_INSITU)

enum job_field {
#define JOB_FIELD(name, text) JOB_##name,
#include "schemas/job_fields.def"
#undef JOB_FIELD
        JOB_FIELDS_COUNT,
};

static const struct bytes field_names[JOB_FIELDS_COUNT] = {
#define JOB_FIELD(name, text) {text, sizeof(text) - 1},
#include "schemas/job_fields.def"
#undef JOB_FIELD
};

static const char *const field_texts[JOB_FIELDS_COUNT] = {
#define JOB_FIELD(name, text) text,
#include "schemas/job_fields.def"
#undef JOB_FIELD
};

struct job_decoder {
        struct bytes batch, workspace;
        char *names; /* their memory */
        size_t job_bytes_max;
        struct layers *layers; /* of rules */

        struct digest *digest;
        struct canonical *canonical;
        struct buffer text; /* the line, which the parser unescapes in place */
        struct buffer pool; /* the parser's memory */
        struct buffer canonical_text;
        struct buffer class_text, class_last; /* jobs of one class come in long runs */
        struct key128 class_key;
        struct buffer transcoded; /* the JSON text of a value that came in another encoding */
        struct buffer idempotency;

        /* the line or the value that is being decoded */
        struct yyjson_val *values[JOB_FIELDS_COUNT]; /* NULL when absent */
        struct span spans[JOB_FIELDS_COUNT];         /* in the line */
        const char *noun;                            /* what it is called: "line", "value" */
        const struct job_envelope *envelope;         /* NULL: a line */
        struct bytes ce_source, ce_id;               /* of the headers, or of a structured event */
        struct problem problem;
        struct job_spec spec;
};

struct job_decoder *job_decoder_free(struct job_decoder *decoder) {
        if (decoder == NULL)
                return NULL;
        digest_free(decoder->digest);
        canonical_free(decoder->canonical);
        buffer_deinit(&decoder->text);
        buffer_deinit(&decoder->pool);
        buffer_deinit(&decoder->canonical_text);
        buffer_deinit(&decoder->class_text);
        buffer_deinit(&decoder->class_last);
        buffer_deinit(&decoder->transcoded);
        buffer_deinit(&decoder->idempotency);
        layers_free(decoder->layers);
        free(decoder->names);
        free(decoder);
        return NULL;
}

static void init_buffers(struct job_decoder *decoder) {
        size_t bytes_max = decoder->job_bytes_max;
        buffer_init(&decoder->text, bytes_max + YYJSON_PADDING_SIZE);
        buffer_init(&decoder->pool, yyjson_read_max_memory_usage(bytes_max, READ_FLAGS) + 64);
        buffer_init(&decoder->canonical_text, bytes_max * 6 + 64);
        buffer_init(&decoder->class_text, 1 << 20);
        buffer_init(&decoder->class_last, 1 << 20);
        buffer_init(&decoder->transcoded, bytes_max);
        buffer_init(&decoder->idempotency, IDEMPOTENCY_BYTES_MAX);
}

struct error *job_decoder_new(const struct job_decoder_options *options, struct job_decoder **out_decoder) {
        struct bytes batch = bytes_of(options->batch);
        struct bytes workspace =
                options->workspace_default == NULL ? BYTES("default") : bytes_of(options->workspace_default);
        if (batch.size > DEFAULT_NAME_BYTES_MAX || workspace.size > DEFAULT_NAME_BYTES_MAX)
                return error_new(ERROR_USAGE, "the name of a batch or workspace is longer than %d bytes",
                                 DEFAULT_NAME_BYTES_MAX);
        if (workspace.size == 0)
                return error_new(ERROR_USAGE, "the default workspace must have a name");
        if (options->job_bytes_max == 0 || options->job_bytes_max > JOB_BYTES_CEILING)
                return error_new(ERROR_USAGE, "limits.job_bytes must be between 1 byte and 1 GiB");
        struct job_decoder *decoder = calloc(1, sizeof *decoder);
        if (decoder == NULL)
                return error_new(ERROR_MEMORY, "no memory for a job decoder");
        decoder->job_bytes_max = options->job_bytes_max;
        init_buffers(decoder);
        decoder->digest = digest_new();
        decoder->canonical = canonical_new();
        decoder->names = malloc(batch.size + workspace.size + 1);
        decoder->layers = layers_new(options->prefs_default, options->workspaces, options->workspaces_count);
        if (decoder->digest == NULL || decoder->canonical == NULL || decoder->names == NULL ||
            decoder->layers == NULL) {
                job_decoder_free(decoder);
                return error_new(ERROR_MEMORY, "no memory for a job decoder");
        }
        if (batch.size > 0)
                memcpy(decoder->names, batch.data, batch.size);
        memcpy(decoder->names + batch.size, workspace.data, workspace.size);
        decoder->batch = (struct bytes){decoder->names, batch.size};
        decoder->workspace = (struct bytes){decoder->names + batch.size, workspace.size};
        *out_decoder = decoder;
        return NULL;
}

/* ---- fields ---- */

static bool read_text(struct job_decoder *decoder, enum job_field field, size_t bytes_max,
                      struct bytes *out_text) {
        struct yyjson_val *value = decoder->values[field];
        struct bytes text = json_text(value);
        if (!json_is_string(value) || text.size == 0 || text.size > bytes_max)
                return problem_in(&decoder->problem, field_texts[field], "must be a string of 1 to %zu bytes",
                                  bytes_max);
        *out_text = text;
        return true;
}

/* An absent name keeps its default. */
static bool read_name(struct job_decoder *decoder, enum job_field field, struct bytes *name) {
        struct bytes text = {NULL, 0};
        if (json_is_absent(decoder->values[field]))
                return true;
        if (!read_text(decoder, field, NAME_BYTES_MAX, &text))
                return false;
        if (!text_is_printable(text))
                return problem_in(&decoder->problem, field_texts[field], "must not hold control characters");
        *name = text;
        return true;
}

static bool read_url(struct job_decoder *decoder) {
        struct yyjson_val *value = decoder->values[JOB_URL];
        enum kind kind;
        if (!json_is_string(value) || json_text(value).size == 0)
                return problem_in(&decoder->problem, "url",
                                  "must be a string that names the endpoint, such as \"%s\"",
                                  kind_facts[KIND_CHAT].url);
        if (bytes_equal_string(json_text(value), "/v1/videos"))
                return problem_set(&decoder->problem, FAILURE_UNSUPPORTED_ENDPOINT, "url",
                                   "names an endpoint that cannot be run yet");
        if (!kind_from_url(json_text(value), &kind))
                return problem_set(&decoder->problem, FAILURE_UNSUPPORTED_ENDPOINT, "url",
                                   "must be one of the known endpoints, such as \"%s\"",
                                   kind_facts[KIND_CHAT].url);
        demand_init(&decoder->spec.demand, kind);
        decoder->spec.unknown = kind_facts[kind].unknown;
        return true;
}

static bool read_method(struct job_decoder *decoder) {
        struct yyjson_val *value = decoder->values[JOB_METHOD];
        if (json_is_absent(value) || yyjson_equals_str(value, "POST"))
                return true;
        return problem_in(&decoder->problem, "method", "must be \"POST\"");
}

static bool read_key(struct job_decoder *decoder) {
        if (json_is_absent(decoder->values[JOB_IDEMPOTENCY_KEY]))
                return true;
        return read_text(decoder, JOB_IDEMPOTENCY_KEY, IDEMPOTENCY_KEY_BYTES_MAX, &decoder->spec.idempotency);
}

void job_idempotency_append(struct buffer *out, const struct job_spec *job) {
        if (job->idempotency.size > 0) {
                buffer_append_bytes(out, job->idempotency);
                return;
        }
        buffer_append_bytes(out, job->batch);
        if (job->batch.size > 0)
                buffer_append_char(out, '/');
        buffer_append_bytes(out, job->custom_id);
}

/* Of a record, when the job does not say it itself (job_record.h). */
static bool choose_key(struct job_decoder *decoder) {
        const struct job_envelope *envelope = decoder->envelope;
        struct bytes *key = &decoder->spec.idempotency;
        struct bytes source = decoder->ce_source, id = decoder->ce_id;
        if (envelope == NULL || key->size > 0)
                return true;
        if (envelope->idempotency.size > IDEMPOTENCY_BYTES_MAX)
                return problem_in(&decoder->problem, "", "The idempotency key is longer than %d bytes.",
                                  IDEMPOTENCY_BYTES_MAX);
        if (envelope->idempotency.size > 0) {
                *key = envelope->idempotency;
                return true;
        }
        if (source.size + id.size >= IDEMPOTENCY_BYTES_MAX)
                return problem_in(&decoder->problem, "",
                                  "The source and id of the CloudEvent are longer than %d bytes.",
                                  IDEMPOTENCY_BYTES_MAX);
        buffer_clear(&decoder->idempotency);
        if (source.size > 0 && id.size > 0) {
                buffer_append_bytes(&decoder->idempotency, source);
                buffer_append_char(&decoder->idempotency, '/');
                buffer_append_bytes(&decoder->idempotency, id);
        } else {
                job_idempotency_append(&decoder->idempotency, &decoder->spec);
        }
        *key = buffer_view(&decoder->idempotency);
        return !decoder->idempotency.failed;
}

static bool read_priority(struct job_decoder *decoder) {
        struct yyjson_val *value = decoder->values[JOB_PRIORITY];
        int64_t priority = 0;
        if (!json_is_absent(value) && !json_integer(value, -PRIORITY_MAX, PRIORITY_MAX, &priority))
                return problem_in(&decoder->problem, "priority", "must be a whole number from %d to %d",
                                  -PRIORITY_MAX, PRIORITY_MAX);
        decoder->spec.priority = (int32_t)priority;
        return true;
}

static bool read_time(struct job_decoder *decoder, enum job_field field, int64_t *out_unix_ms) {
        struct yyjson_val *value = decoder->values[field];
        int64_t unix_ms;
        if (json_is_absent(value))
                return true;
        if (!json_is_string(value) || !rfc3339_parse(json_text(value), &unix_ms))
                return problem_in(&decoder->problem, field_texts[field],
                                  "must be an RFC 3339 time such as \"2026-11-23T06:00:00Z\"");
        *out_unix_ms = unix_ms < 1 ? 1 : unix_ms; /* 0 is "none" */
        return true;
}

static bool read_times(struct job_decoder *decoder) {
        struct job_spec *spec = &decoder->spec;
        if (!read_time(decoder, JOB_NOT_BEFORE, &spec->not_before_unix_ms) ||
            !read_time(decoder, JOB_DEADLINE, &spec->deadline_unix_ms))
                return false;
        if (spec->deadline_unix_ms != 0 && spec->deadline_unix_ms <= spec->not_before_unix_ms)
                return problem_in(&decoder->problem, "deadline", "must be later than not_before");
        return true;
}

static bool read_max_cost(struct job_decoder *decoder) {
        struct yyjson_val *value = decoder->values[JOB_MAX_COST_USD];
        if (json_is_absent(value) ||
            (json_is_number(value) && money_parse(json_text(value), &decoder->spec.demand.max_cost_picousd)))
                return true;
        return problem_in(&decoder->problem, "max_cost_usd",
                          "must be a number of at least 0 with at most 12 decimal places");
}

static bool read_unknown_policy(struct job_decoder *decoder) {
        struct yyjson_val *value = decoder->values[JOB_ON_UNKNOWN_OUTCOME];
        if (json_is_absent(value))
                return true;
        if (yyjson_equals_str(value, "retry"))
                decoder->spec.unknown = UNKNOWN_RETRY;
        else if (yyjson_equals_str(value, "fail"))
                decoder->spec.unknown = UNKNOWN_FAIL;
        else
                return problem_in(&decoder->problem, "on_unknown_outcome", "must be \"retry\" or \"fail\"");
        return true;
}

static bool check_metadata_pair(struct yyjson_val *name, struct yyjson_val *value, struct problem *problem) {
        if (text_characters(json_text(name)) > METADATA_KEY_CHARACTERS_MAX)
                return problem_in(problem, "metadata", "must have names of at most %d characters",
                                  METADATA_KEY_CHARACTERS_MAX);
        if (!json_is_string(value) || text_characters(json_text(value)) > METADATA_VALUE_CHARACTERS_MAX)
                return problem_in(problem, "metadata",
                                  "must have values that are strings of at most %d characters",
                                  METADATA_VALUE_CHARACTERS_MAX);
        return true;
}

static bool read_metadata(struct job_decoder *decoder, struct bytes line) {
        struct yyjson_val *object = decoder->values[JOB_METADATA], *name, *value;
        size_t index, count;
        if (json_is_absent(object))
                return true;
        if (!yyjson_is_obj(object) || yyjson_obj_size(object) > METADATA_PAIRS_MAX)
                return problem_in(&decoder->problem, "metadata", "must be an object of at most %d strings",
                                  METADATA_PAIRS_MAX);
        yyjson_obj_foreach(object, index, count, name, value) {
                if (!check_metadata_pair(name, value, &decoder->problem))
                        return false;
        }
        if (!canonical_walk(decoder->canonical, object, 2, "metadata", NULL, &decoder->problem))
                return false;
        decoder->spec.metadata = span_of(line, decoder->spans[JOB_METADATA]);
        return true;
}

/* Who pays, and whose rules hold whatever the job says. */
static bool read_workspace(struct job_decoder *decoder) {
        struct job_spec *spec = &decoder->spec;
        return read_name(decoder, JOB_WORKSPACE, &spec->workspace) &&
               layers_enter(decoder->layers, spec->workspace, &spec->demand, &decoder->problem);
}

/* The body has been walked by now, `routing` not yet. */
static bool read_routing(struct job_decoder *decoder, const struct job_wishes *wishes) {
        struct yyjson_val *routing = decoder->values[JOB_ROUTING];
        if (yyjson_is_obj(routing) &&
            !canonical_walk(decoder->canonical, routing, 2, "routing", NULL, &decoder->problem))
                return false;
        return layers_read(decoder->layers, wishes, routing, &decoder->spec.demand, &decoder->problem);
}

static bool read_body(struct job_decoder *decoder, struct bytes line) {
        struct job_spec *spec = &decoder->spec;
        struct yyjson_val *body = decoder->values[JOB_BODY];
        struct job_wishes wishes;
        if (!yyjson_is_obj(body))
                return problem_in(&decoder->problem, "body", "must be an object");
        buffer_clear(&decoder->canonical_text);
        if (!canonical_walk(decoder->canonical, body, 2, "body", &decoder->canonical_text, &decoder->problem))
                return false;
        spec->body = span_of(line, decoder->spans[JOB_BODY]);
        if (!job_body_read(body, spec, &wishes, &decoder->problem))
                return false;
        return read_routing(decoder, &wishes);
}

/* ---- the line ---- */

static bool refuse_name(struct job_decoder *decoder, struct bytes name) {
        char shown[64];
        if (decoder->problem.failure != FAILURE_NONE)
                return false; /* only the first counts, and a line may hold very many */
        struct bytes nearest = problem_nearest(name, field_names, JOB_FIELDS_COUNT);
        problem_quote(name, shown, sizeof shown);
        if (nearest.size == 0)
                return problem_in(&decoder->problem, shown, "is not a field of a job");
        return problem_in(&decoder->problem, shown, "is not a field of a job; did you mean \"%s\"?",
                          nearest.data);
}

/* Goes on behind a problem, so that the error line can tell the custom_id. */
static void find_fields(struct job_decoder *decoder, struct yyjson_val *root, struct bytes line) {
        struct json_members members;
        struct json_member member;
        size_t index, count;
        yyjson_val *name, *value;
        json_members_init(&members, line);
        yyjson_obj_foreach(root, index, count, name, value) {
                if (!json_members_next(&members, &member))
                        return; /* cannot be: the parser has seen them */
                size_t found = text_find(json_text(name), field_names, JOB_FIELDS_COUNT);
                if (found == JOB_FIELDS_COUNT) {
                        refuse_name(decoder, json_text(name));
                } else if (decoder->values[found] != NULL) {
                        problem_in(&decoder->problem, field_texts[found], "must not stand there twice");
                } else {
                        decoder->values[found] = value;
                        decoder->spans[found] = member.value;
                }
        }
}

static bool read_fields(struct job_decoder *decoder, struct bytes line) {
        struct job_spec *spec = &decoder->spec;
        bool has_id = read_text(decoder, JOB_CUSTOM_ID, CUSTOM_ID_BYTES_MAX, &spec->custom_id);
        return has_id && decoder->problem.failure == FAILURE_NONE && read_method(decoder) &&
               read_url(decoder) && read_workspace(decoder) && read_name(decoder, JOB_BATCH, &spec->batch) &&
               read_key(decoder) && choose_key(decoder) && read_priority(decoder) && read_times(decoder) &&
               read_max_cost(decoder) && read_unknown_policy(decoder) && read_metadata(decoder, line) &&
               read_body(decoder, line);
}

/*
 * The pool is as large as any valid JSON of that length can need (yyjson_read_max_memory_usage()),
 * so when it is used up the text opens more brackets than it has room to close.
 */
static void refuse_json(struct job_decoder *decoder, const yyjson_read_err *error) {
        bool pool_full = error->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION;
        problem_in(&decoder->problem, "", "The %s is not valid JSON: %s at byte %zu.", decoder->noun,
                   pool_full ? "unclosed brackets" : error->msg, error->pos + 1);
}

/* The document, in memory that lasts until the next line. NULL with or (memory) without a problem. */
static yyjson_doc *parse(struct job_decoder *decoder, struct bytes line) {
        yyjson_alc alc;
        yyjson_read_err error;
        size_t pool_bytes = yyjson_read_max_memory_usage(line.size, READ_FLAGS) + 32;
        buffer_clear(&decoder->text);
        buffer_append_bytes(&decoder->text, line);
        buffer_append(&decoder->text, (const char[YYJSON_PADDING_SIZE]){0}, YYJSON_PADDING_SIZE);
        buffer_clear(&decoder->pool);
        if (decoder->text.failed || !buffer_reserve(&decoder->pool, pool_bytes) ||
            !yyjson_alc_pool_init(&alc, decoder->pool.data, decoder->pool.capacity))
                return NULL;
        yyjson_doc *doc = yyjson_read_opts(decoder->text.data, line.size, READ_FLAGS, &alc, &error);
        if (doc == NULL)
                refuse_json(decoder, &error);
        return doc;
}

/* The root and the text become those of the job in it. */
static bool open_event(struct job_decoder *decoder, struct yyjson_val **root, struct bytes *text) {
        struct cloudevent event;
        if (!cloudevent_read(*root, *text, &event, &decoder->problem))
                return false;
        decoder->ce_source = event.source;
        decoder->ce_id = event.id;
        *root = event.data;
        *text = event.data_text;
        return true;
}

/* false with a problem, or without one when memory is refused. */
static bool read_job(struct job_decoder *decoder, const struct job_input *input) {
        struct bytes text = input->text;
        if (input->problem != NULL) {
                decoder->problem = *input->problem;
                return false;
        }
        if (input->too_long || text.size > decoder->job_bytes_max)
                return problem_set(&decoder->problem, FAILURE_INPUT_TOO_LARGE, "",
                                   "The %s is longer than limits.job_bytes, %zu bytes.", decoder->noun,
                                   decoder->job_bytes_max);
        if (text.size == 0)
                return problem_in(&decoder->problem, "", "The %s is empty.", decoder->noun);
        yyjson_doc *doc = parse(decoder, text);
        if (doc == NULL)
                return false;
        struct yyjson_val *root = yyjson_doc_get_root(doc);
        if (input->envelope != NULL && input->envelope->structured && !open_event(decoder, &root, &text))
                return false;
        if (!yyjson_is_obj(root))
                return problem_in(&decoder->problem, "", "The %s must be a JSON object.", decoder->noun);
        find_fields(decoder, root, text);
        return read_fields(decoder, text);
}

/* ---- names ---- */

#define DOMAIN_ID    BYTES("batchferry/id/1\0")
#define DOMAIN_ALIAS BYTES("batchferry/alias/1\0")
#define DOMAIN_CLASS BYTES("batchferry/class/1\0")
#define ZERO         BYTES("\0")

enum { HASH_PARTS_MAX = 6 };

static void hash(struct digest *digest, const struct bytes *parts, size_t count,
                 uint8_t out_hash[DIGEST_BYTES]) {
        digest_begin(digest);
        for (size_t i = 0; i < count; i++)
                digest_add(digest, parts[i]);
        digest_end(digest, out_hash);
}

static struct key128 hash_key(struct digest *digest, const struct bytes *parts, size_t count) {
        uint8_t full[DIGEST_BYTES];
        hash(digest, parts, count, full);
        return key128_from_hash(full);
}

static void append_bytes(struct buffer *buffer, struct bytes bytes) {
        uint32_t size = (uint32_t)bytes.size;
        buffer_append(buffer, &size, sizeof size);
        buffer_append_bytes(buffer, bytes);
}

static void append_names(struct buffer *buffer, const struct names *names) {
        buffer_append_char(buffer, (char)names->count);
        for (unsigned i = 0; i < names->count; i++)
                append_bytes(buffer, names->items[i]);
}

/* Parameters count only as far as routing looks at them: else a temperature would make a class. */
static uint64_t class_parameters(const struct demand *demand) {
        return demand->prefs.require_parameters ? demand->parameters
                                                : demand->parameters & DEMAND_SOFT_PARAMETERS;
}

static void write_class(struct buffer *text, const struct job_spec *spec) {
        const struct demand *demand = &spec->demand;
        const struct routing_prefs *prefs = &demand->prefs;
        const struct names *lists[] = {&prefs->order, &prefs->only, &prefs->ignore, &prefs->regions,
                                       &prefs->quantizations};
        char flags[] = {(char)demand->kind,
                        (char)spec->priority,
                        (char)demand->models_count,
                        (char)prefs->sort,
                        (char)prefs->sort_across_models,
                        (char)prefs->allow_fallbacks,
                        (char)prefs->deny_training,
                        (char)prefs->zdr,
                        (char)prefs->require_parameters,
                        (char)prefs->deny_unknown_price};
        uint64_t numbers[] = {demand->workspace, demand->input_modalities, demand->output_modalities,
                              class_parameters(demand)};
        int64_t amounts[] = {prefs->max_price_input, prefs->max_price_output, prefs->max_price_request,
                             prefs->max_price_image, prefs->spread_ppm};
        buffer_clear(text);
        buffer_append(text, flags, sizeof flags);
        buffer_append(text, numbers, sizeof numbers);
        buffer_append(text, amounts, sizeof amounts);
        buffer_append(text, prefs->preferred_min_throughput, sizeof prefs->preferred_min_throughput);
        buffer_append(text, prefs->preferred_max_latency, sizeof prefs->preferred_max_latency);
        for (unsigned i = 0; i < demand->models_count; i++)
                append_bytes(text, demand->models[i]);
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
                append_names(text, lists[i]);
        if (demand->service != SERVICE_STANDARD)
                buffer_append_char(text, (char)demand->service);
}

/*
 * A hash that nobody can aim at: a class shares its rules, and two jobs with different rules must never
 * share one.
 */
static void name_class(struct job_decoder *decoder) {
        struct buffer *text = &decoder->class_text;
        write_class(text, &decoder->spec);
        if (!bytes_equal(buffer_view(text), buffer_view(&decoder->class_last))) {
                const struct bytes parts[] = {DOMAIN_CLASS, buffer_view(text)};
                decoder->class_key = hash_key(decoder->digest, parts, 2);
                struct buffer last = decoder->class_last;
                decoder->class_last = *text;
                *text = last;
        }
        decoder->spec.class_key = decoder->class_key;
}

static void name_alias(struct job_decoder *decoder) {
        struct job_spec *spec = &decoder->spec;
        uint8_t key[16];
        key128_to_bytes(spec->key, key);
        const struct bytes parts[] = {DOMAIN_ALIAS,
                                      {(const char *)key, sizeof key},
                                      {(const char *)spec->fingerprint, DIGEST_BYTES}};
        spec->alias = hash_key(decoder->digest, parts, 3);
}

static void name_job(struct job_decoder *decoder) {
        struct job_spec *spec = &decoder->spec;
        struct bytes url = bytes_of(kind_facts[spec->demand.kind].url);
        const struct bytes body[] = {url, ZERO, buffer_view(&decoder->canonical_text)};
        const struct bytes id[] = {DOMAIN_ID, spec->workspace, ZERO, spec->batch, ZERO, spec->custom_id};
        hash(decoder->digest, body, 3, spec->fingerprint);
        spec->key = spec->idempotency.size > 0 ? job_key(decoder->digest, spec->workspace, spec->idempotency)
                                               : hash_key(decoder->digest, id, 6);
        name_alias(decoder);
        name_class(decoder);
}

struct key128 job_record_key(struct job_decoder *decoder, const struct record_name *name) {
        return job_key_of_record(decoder->digest, name);
}

static void name_bad(struct job_decoder *decoder, struct bytes raw) {
        struct job_spec *spec = &decoder->spec;
        const struct record_name name = {spec->partition, spec->sequence, spec->timestamp_unix_ms};
        if (decoder->envelope == NULL)
                spec->key = job_key_of_bad_line(decoder->digest, decoder->batch, spec->line, raw);
        else
                spec->key = job_record_key(decoder, &name);
        hash(decoder->digest, &raw, 1, spec->fingerprint);
        name_alias(decoder);
        spec->class_key = (struct key128){0, 0};
}

/* ---- packing ---- */

struct packing {
        struct bytes old_body; /* strings inside of it move with it */
        char *body, *at;
        struct bytes *items;  /* of lists */
        size_t bytes, listed; /* counted in the first round, when `at` is NULL: bytes of strings; items */
};

static bool is_inside(struct bytes part, struct bytes whole) {
        uintptr_t from = (uintptr_t)part.data, start = (uintptr_t)whole.data;
        return whole.size > 0 && from >= start && from + part.size <= start + whole.size;
}

static void pack_string(struct packing *packing, struct bytes *string) {
        bool inside = is_inside(*string, packing->old_body);
        if (string->size == 0) {
                *string = BYTES("");
        } else if (packing->at == NULL) {
                packing->bytes += inside ? 0 : string->size;
        } else if (inside) {
                string->data = packing->body + (string->data - packing->old_body.data);
        } else {
                memcpy(packing->at, string->data, string->size);
                string->data = packing->at;
                packing->at += string->size;
        }
}

static void pack_names(struct packing *packing, struct names *names) {
        struct bytes *items = packing->items;
        for (unsigned i = 0; i < names->count; i++) {
                struct bytes item = names->items[i];
                pack_string(packing, &item);
                if (packing->at != NULL)
                        items[i] = item;
        }
        packing->listed += names->count;
        if (packing->at == NULL)
                return;
        names->items = items;
        packing->items += names->count;
}

static void pack_strings(struct packing *packing, struct job_spec *spec) {
        struct routing_prefs *prefs = &spec->demand.prefs;
        pack_string(packing, &spec->failure_field);
        pack_string(packing, &spec->failure_message);
        pack_string(packing, &spec->custom_id);
        pack_string(packing, &spec->workspace);
        pack_string(packing, &spec->batch);
        pack_string(packing, &spec->metadata);
        pack_string(packing, &spec->idempotency);
        pack_string(packing, &spec->traceparent);
        pack_string(packing, &spec->tracestate);
        pack_string(packing, &spec->file_url);
        pack_string(packing, &spec->response_format);
        for (unsigned i = 0; i < spec->demand.models_count; i++)
                pack_string(packing, &spec->demand.models[i]);
        pack_names(packing, &prefs->order);
        pack_names(packing, &prefs->only);
        pack_names(packing, &prefs->ignore);
        pack_names(packing, &prefs->regions);
        pack_names(packing, &prefs->quantizations);
}

static struct job_spec *pack(struct job_spec *scratch) {
        struct packing packing = {.old_body = scratch->body};
        pack_strings(&packing, scratch);
        size_t lists = packing.listed * sizeof *packing.items;
        size_t size = sizeof(struct job_spec) + lists + scratch->body.size + packing.bytes;
        struct job_spec *spec = size > UINT32_MAX ? NULL : malloc(size);
        if (spec == NULL)
                return NULL;
        memcpy(spec, scratch, sizeof *spec);
        packing.items = (struct bytes *)(spec + 1);
        packing.body = (char *)(spec + 1) + lists;
        packing.at = packing.body + scratch->body.size;
        if (scratch->body.size > 0)
                memcpy(packing.body, scratch->body.data, scratch->body.size);
        pack_strings(&packing, spec);
        CHECK(packing.at == (char *)spec + size);
        spec->body = (struct bytes){packing.body, scratch->body.size};
        spec->memory_bytes = (uint32_t)size;
        return spec;
}

/* ---- the whole ---- */

static void begin_record(struct job_decoder *decoder, const struct job_envelope *envelope) {
        struct job_spec *spec = &decoder->spec;
        decoder->noun = "value";
        decoder->ce_source = envelope->ce_source;
        decoder->ce_id = envelope->ce_id;
        spec->batch = BYTES("");
        spec->partition = envelope->partition;
        spec->timestamp_unix_ms = envelope->timestamp_unix_ms;
        spec->traceparent = envelope->traceparent;
        spec->tracestate = envelope->tracestate;
}

static void begin(struct job_decoder *decoder, const struct job_input *input) {
        struct job_spec *spec = &decoder->spec;
        for (int i = 0; i < JOB_FIELDS_COUNT; i++)
                decoder->values[i] = NULL;
        problem_init(&decoder->problem);
        memset(spec, 0, sizeof *spec);
        spec->line = input->line;
        spec->sequence = input->sequence;
        spec->workspace = decoder->workspace;
        spec->batch = decoder->batch;
        decoder->noun = "line";
        decoder->envelope = input->envelope;
        if (input->envelope != NULL)
                begin_record(decoder, input->envelope);
}

/* Keeps of a bad line what its error line tells; the rest may be half read. */
static void make_failed(struct job_decoder *decoder) {
        struct job_spec *spec = &decoder->spec;
        struct job_spec bad = {
                .line = spec->line,
                .sequence = spec->sequence,
                .partition = spec->partition,
                .timestamp_unix_ms = spec->timestamp_unix_ms,
                .traceparent = spec->traceparent,
                .tracestate = spec->tracestate,
                .custom_id = spec->custom_id,
                .workspace = spec->workspace,
                .batch = spec->batch,
                .metadata = spec->metadata,
                .failure = decoder->problem.failure,
                .failure_field = bytes_of(decoder->problem.field),
                .failure_message = bytes_of(decoder->problem.message),
        };
        demand_init(&bad.demand, spec->demand.kind);
        *spec = bad;
}

struct job_spec *job_decode_input(struct job_decoder *decoder, const struct job_input *input) {
        begin(decoder, input);
        bool read = read_job(decoder, input);
        if (!read && decoder->problem.failure == FAILURE_NONE)
                return NULL;
        if (read) {
                name_job(decoder);
        } else {
                make_failed(decoder);
                name_bad(decoder, input->raw);
        }
        if (digest_failed(decoder->digest) || decoder->class_text.failed)
                return NULL;
        return pack(&decoder->spec);
}

struct job_spec *job_decode(struct job_decoder *decoder, struct bytes line, uint64_t line_number,
                            uint64_t sequence, bool too_long) {
        const struct job_input input = {
                .text = line, .raw = line, .line = line_number, .sequence = sequence, .too_long = too_long};
        return job_decode_input(decoder, &input);
}

struct buffer *job_decoder_text(struct job_decoder *decoder) {
        return &decoder->transcoded;
}

struct job_spec *job_spec_free(struct job_spec *job) {
        free(job);
        return NULL;
}
