/*
 * The text's members are found twice in the same order, by the parser and as spans, so names with escapes
 * need no second look.
 */
#include "broker/wire/job_body.h"

#include "broker/wire/estimate.h"
#include "broker/wire/json_span.h"
#include "broker/wire/json_value.h"

#include <stdio.h>
#include <yyjson.h>

enum { MODEL_BYTES_MAX = 256, CHOICES_MAX = 1000, DOCUMENTS_PER_SEARCH_UNIT = 100 };

#define OUTPUT_TOKENS_MAX INT64_C(1000000000)

enum body_field {
#define BODY_FIELD(name, text) BODY_##name,
#include "schemas/body_fields.def"
#undef BODY_FIELD
        BODY_FIELDS_COUNT,
};

static const struct bytes field_names[BODY_FIELDS_COUNT] = {
#define BODY_FIELD(name, text) {text, sizeof(text) - 1},
#include "schemas/body_fields.def"
#undef BODY_FIELD
};

static const struct bytes parameter_names[PARAMETERS_COUNT] = {
#define PARAMETER(name, text) {text, sizeof(text) - 1},
#include "schemas/parameters.def"
#undef PARAMETER
};

struct body {
        uint64_t parameters;                          /* bit set of enum parameter */
        struct yyjson_val *values[BODY_FIELDS_COUNT]; /* NULL when absent */
        struct json_member members[BODY_FIELDS_COUNT];
};

static void find_members(struct yyjson_val *object, struct bytes text, struct body *body) {
        struct json_members members;
        struct json_member member;
        json_members_init(&members, text);
        size_t index, count;
        yyjson_val *name, *value;
        body->parameters = 0;
        for (int i = 0; i < BODY_FIELDS_COUNT; i++)
                body->values[i] = NULL;
        yyjson_obj_foreach(object, index, count, name, value) {
                if (!json_members_next(&members, &member))
                        break; /* cannot be: the parser has seen them */
                size_t found = text_find(json_text(name), field_names, BODY_FIELDS_COUNT);
                if (found < BODY_FIELDS_COUNT) {
                        body->values[found] = value;
                        body->members[found] = member;
                }
                found = text_find(json_text(name), parameter_names, PARAMETERS_COUNT);
                if (found < PARAMETERS_COUNT && !json_is_absent(value))
                        body->parameters |= UINT64_C(1) << found;
        }
}

static struct span member_span(const struct body *body, enum body_field field) {
        return body->values[field] == NULL ? (struct span){0, 0} : body->members[field].member;
}

static bool ends_with(struct bytes text, struct bytes end) {
        return text.size >= end.size &&
               bytes_equal((struct bytes){text.data + text.size - end.size, end.size}, end);
}

/* OpenRouter's shortcuts; other suffixes (":free", "llama3:8b") belong to the name. */
static struct bytes strip_suffix(struct bytes model, struct job_wishes *wishes) {
        const struct {
                struct bytes text;
                enum sort_by sort;
        } suffixes[] = {{BYTES(":floor"), SORT_PRICE}, {BYTES(":nitro"), SORT_THROUGHPUT}};
        for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
                if (!ends_with(model, suffixes[i].text))
                        continue;
                if (!wishes->sort_said)
                        wishes->sort = suffixes[i].sort;
                wishes->sort_said = true;
                model.size -= suffixes[i].text.size;
        }
        return model;
}

static bool add_model(yyjson_val *value, const char *field, struct job_spec *spec, struct job_wishes *wishes,
                      struct problem *problem) {
        struct demand *demand = &spec->demand;
        struct bytes model = strip_suffix(json_text(value), wishes);
        if (!json_is_string(value) || model.size == 0)
                return problem_in(problem, field, "must be a non-empty string");
        if (model.size > MODEL_BYTES_MAX || !text_is_printable(model))
                return problem_in(problem, field, "must be at most %d bytes without control characters",
                                  MODEL_BYTES_MAX);
        for (unsigned i = 0; i < demand->models_count; i++)
                if (bytes_equal(demand->models[i], model))
                        return true;
        if (demand->models_count == DEMAND_MODELS_MAX)
                return problem_in(problem, field, "must hold at most %d models besides body.model",
                                  DEMAND_MODELS_MAX - 1);
        demand->models[demand->models_count++] = model;
        return true;
}

static bool read_models(const struct body *body, struct job_spec *spec, struct job_wishes *wishes,
                        struct problem *problem) {
        if (!add_model(body->values[BODY_MODEL], "body.model", spec, wishes, problem))
                return false;
        spec->model_value = body->members[BODY_MODEL].value;
        spec->models_member = member_span(body, BODY_MODELS);
        yyjson_val *models = body->values[BODY_MODELS];
        if (json_is_absent(models))
                return true;
        if (!yyjson_is_arr(models))
                return problem_in(problem, "body.models", "must be a list of model names");
        size_t index, count;
        yyjson_val *model;
        yyjson_arr_foreach(models, index, count, model) {
                char field[40];
                snprintf(field, sizeof field, "body.models[%zu]", index);
                if (!add_model(model, field, spec, wishes, problem))
                        return false;
        }
        return true;
}

static bool need_string(const struct body *body, enum body_field field, const char *path,
                        struct problem *problem) {
        yyjson_val *value = body->values[field];
        if (json_is_string(value) && json_text(value).size > 0)
                return true;
        return problem_in(problem, path, "must be a non-empty string");
}

static bool need_list(const struct body *body, enum body_field field, const char *path,
                      struct problem *problem) {
        yyjson_val *value = body->values[field];
        if (yyjson_is_arr(value) && yyjson_arr_size(value) > 0)
                return true;
        return problem_in(problem, path, "must be a list with at least one item");
}

/* vLLM's embeddings take `messages` in place of `input` for models that read images. */
static bool need_input(const struct body *body, struct problem *problem) {
        yyjson_val *input = body->values[BODY_INPUT];
        if (json_is_absent(input) && yyjson_is_arr(body->values[BODY_MESSAGES]))
                return true;
        if (json_is_string(input) || (yyjson_is_arr(input) && yyjson_arr_size(input) > 0))
                return true;
        return problem_in(problem, "body.input", "must be a string or a list with at least one item");
}

static bool check_by_kind(const struct body *body, enum kind kind, struct problem *problem) {
        switch (kind) {
        case KIND_CHAT:
                return need_list(body, BODY_MESSAGES, "body.messages", problem);
        case KIND_EMBEDDINGS:
                return need_input(body, problem);
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
                return need_string(body, BODY_FILE_URL, "body.file_url", problem);
        case KIND_SPEECH:
                return need_string(body, BODY_INPUT, "body.input", problem) &&
                       (yyjson_is_obj(body->values[BODY_VOICE]) ||
                        need_string(body, BODY_VOICE, "body.voice", problem));
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                return need_string(body, BODY_PROMPT, "body.prompt", problem);
        case KIND_RERANK:
                return need_string(body, BODY_QUERY, "body.query", problem) &&
                       need_list(body, BODY_DOCUMENTS, "body.documents", problem);
        case KIND_RESPONSES:
        case KIND_COMPLETIONS:
        case KIND_MODERATIONS:
        case KINDS_COUNT:
                break;
        }
        return true;
}

/* How many answers one request asks for. */
static int64_t choices(const struct body *body, enum kind kind) {
        int64_t n = 1, best_of = 1;
        json_integer(body->values[BODY_N], 1, CHOICES_MAX, &n);
        if (kind != KIND_COMPLETIONS)
                return n;
        json_integer(body->values[BODY_BEST_OF], 1, CHOICES_MAX, &best_of);
        n = best_of > n ? best_of : n;
        yyjson_val *prompts = body->values[BODY_PROMPT];
        yyjson_val *first = yyjson_arr_get_first(prompts);
        return json_is_string(first) || yyjson_is_arr(first) ? n * (int64_t)yyjson_arr_size(prompts) : n;
}

static int64_t output_tokens(const struct body *body, enum kind kind) {
        static const enum body_field fields[] = {BODY_MAX_COMPLETION_TOKENS, BODY_MAX_TOKENS,
                                                 BODY_MAX_OUTPUT_TOKENS};
        int64_t tokens;
        if (kind == KIND_EMBEDDINGS || kind == KIND_RERANK || kind == KIND_MODERATIONS)
                return 0;
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
                if (json_integer(body->values[fields[i]], 1, OUTPUT_TOKENS_MAX, &tokens))
                        return tokens * choices(body, kind);
        return -1;
}

static void estimate(const struct body *body, struct demand *demand, uint32_t *media) {
        static const enum body_field contents[] = {BODY_MESSAGES,     BODY_INPUT,  BODY_PROMPT,
                                                   BODY_INSTRUCTIONS, BODY_SUFFIX, BODY_QUERY,
                                                   BODY_DOCUMENTS};
        static const enum body_field schemas[] = {BODY_TOOLS, BODY_FUNCTIONS, BODY_RESPONSE_FORMAT};
        struct estimate sum = {0};
        for (size_t i = 0; i < sizeof contents / sizeof *contents; i++)
                estimate_add(body->values[contents[i]], &sum);
        for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++)
                sum.tokens += estimate_schema_tokens(body->values[schemas[i]]);
        demand->input_tokens = sum.tokens;
        demand->audio_tokens = sum.audio_tokens;
        demand->image_tokens = sum.image_tokens;
        *media = sum.media;
        demand->output_tokens_max = output_tokens(body, demand->kind);
        if (demand->kind == KIND_SPEECH)
                demand->characters = (int64_t)text_characters(json_text(body->values[BODY_INPUT]));
        if (kind_paints(demand->kind))
                demand->images = choices(body, demand->kind);
        if (demand->kind == KIND_RERANK)
                demand->search_units = (int64_t)(yyjson_arr_size(body->values[BODY_DOCUMENTS]) +
                                                 DOCUMENTS_PER_SEARCH_UNIT - 1) /
                                       DOCUMENTS_PER_SEARCH_UNIT;
}

/* A format with a schema asks for more than one without. */
static uint64_t parameters(const struct body *body) {
        yyjson_val *format = body->values[BODY_RESPONSE_FORMAT];
        if (yyjson_is_obj(format) && yyjson_equals_str(yyjson_obj_get(format, "type"), "json_schema"))
                return body->parameters | PARAMETER_BIT(STRUCTURED_OUTPUTS);
        return body->parameters;
}

/* What a chat is asked to answer in; text when it does not say. */
static uint32_t chat_output(const struct body *body) {
        yyjson_val *words = body->values[BODY_MODALITIES], *word;
        size_t index, count;
        uint32_t set = 0;
        enum modality modality;
        if (yyjson_is_arr(words)) {
                yyjson_arr_foreach(words, index, count, word) {
                        if (json_is_string(word) && modality_from_text(json_text(word), &modality))
                                set |= UINT32_C(1) << modality;
                }
        }
        return set != 0 ? set : MODALITY_BIT(TEXT);
}

static void read_modalities(const struct body *body, uint32_t media, struct demand *demand) {
        switch (demand->kind) {
        case KIND_CHAT:
        case KIND_RESPONSES:
        case KIND_COMPLETIONS:
                demand->input_modalities = MODALITY_BIT(TEXT) | media;
                demand->output_modalities = chat_output(body);
                return;
        case KIND_EMBEDDINGS: /* what comes out of these has no word */
        case KIND_MODERATIONS:
                demand->input_modalities = media != 0 ? media : MODALITY_BIT(TEXT);
                return;
        case KIND_RERANK:
                demand->input_modalities = MODALITY_BIT(TEXT);
                return;
        case KIND_TRANSCRIPTIONS:
        case KIND_TRANSLATIONS:
                demand->input_modalities = MODALITY_BIT(AUDIO);
                demand->output_modalities = MODALITY_BIT(TEXT);
                return;
        case KIND_SPEECH:
                demand->input_modalities = MODALITY_BIT(TEXT);
                demand->output_modalities = MODALITY_BIT(AUDIO);
                return;
        case KIND_IMAGES:
        case KIND_IMAGE_EDITS:
                demand->input_modalities = demand->kind == KIND_IMAGES
                                                   ? MODALITY_BIT(TEXT)
                                                   : MODALITY_BIT(TEXT) | MODALITY_BIT(IMAGE);
                demand->output_modalities = MODALITY_BIT(IMAGE);
                return;
        case KINDS_COUNT:
                return;
        }
}

/* null is left as it is: a default of some sort. */
static enum vector_format vector_format(yyjson_val *value) {
        if (value == NULL)
                return VECTOR_UNSAID;
        if (yyjson_equals_str(value, "float"))
                return VECTOR_FLOAT;
        return yyjson_equals_str(value, "base64") ? VECTOR_BASE64 : VECTOR_OTHER;
}

/* Points into the body's text when that has it without escapes: a data: URL may be most of the job. */
static struct bytes string_in_body(const struct body *body, enum body_field field, struct bytes text) {
        struct bytes string = json_text(body->values[field]);
        struct bytes raw = span_of(text, body->members[field].value);
        return raw.size == string.size + 2 ? (struct bytes){raw.data + 1, string.size} : string;
}

static void read_audio(const struct body *body, struct job_spec *spec) {
        enum kind kind = spec->demand.kind;
        bool to_text = kind_listens(kind);
        if (to_text) {
                spec->file_url_member = member_span(body, BODY_FILE_URL);
                spec->file_url = string_in_body(body, BODY_FILE_URL, spec->body);
        }
        if ((to_text || kind == KIND_SPEECH) && json_is_string(body->values[BODY_RESPONSE_FORMAT]))
                spec->response_format = json_text(body->values[BODY_RESPONSE_FORMAT]);
}

bool job_body_read(struct yyjson_val *object, struct job_spec *spec, struct job_wishes *out_wishes,
                   struct problem *problem) {
        struct body body;
        struct job_wishes wishes = {0};
        find_members(object, spec->body, &body);
        if (!read_models(&body, spec, &wishes, problem))
                return false;
        if (yyjson_is_true(body.values[BODY_STREAM]))
                return problem_in(problem, "body.stream", "must not be true: a batch job has no stream");
        if (!check_by_kind(&body, spec->demand.kind, problem))
                return false;
        spec->provider_member = member_span(&body, BODY_PROVIDER);
        if (!json_is_absent(body.values[BODY_PROVIDER]))
                wishes.provider = body.values[BODY_PROVIDER];
        if (spec->demand.kind == KIND_EMBEDDINGS && body.values[BODY_ENCODING_FORMAT] != NULL)
                spec->encoding_format_value = body.members[BODY_ENCODING_FORMAT].value;
        if (spec->demand.kind == KIND_EMBEDDINGS)
                spec->vector_format = vector_format(body.values[BODY_ENCODING_FORMAT]);
        read_audio(&body, spec);
        uint32_t media = 0;
        estimate(&body, &spec->demand, &media);
        spec->demand.parameters = parameters(&body);
        if (json_is_string(body.values[BODY_SERVICE_TIER]))
                spec->demand.service = service_from_text(json_text(body.values[BODY_SERVICE_TIER]));
        read_modalities(&body, media, &spec->demand);
        *out_wishes = wishes;
        return true;
}
