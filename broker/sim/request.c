#include "broker/sim/request.h"

#include "broker/base/audio.h"

#include <string.h>
#include <yyjson.h>

#define BYTES_PER_TOKEN      4
#define EMBEDDING_INPUTS_MAX 2048
#define MS_PER_AUDIO_TOKEN   100
#define BASE64_PER_MS_GUESS  21 /* of sound that does not say how long it is: 128 kbit/s */

static const struct {
        const char *path;
        enum sim_body_kind body;
} endpoints[SIM_ENDPOINTS] = {
#define X(ENDPOINT, path, body) {path, SIM_BODY_##body},
#include "broker/sim/endpoints.def"
#undef X
};

const char *sim_endpoint_path(enum sim_endpoint endpoint) {
        return endpoints[endpoint].path;
}

enum sim_body_kind sim_endpoint_body(enum sim_endpoint endpoint) {
        return endpoints[endpoint].body;
}

enum sim_endpoint sim_endpoint_of(const char *path, struct bytes *out_deployment) {
        static const char *const prefixes[] = {"/v1", "/api/v1", "/openai/v1"};
        static const char azure[] = "/openai/deployments/";
        const char *rest = path;

        *out_deployment = (struct bytes){0};
        for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
                if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0)
                        rest = path + strlen(prefixes[i]);
        if (strncmp(path, azure, strlen(azure)) == 0) {
                size_t name_bytes = strcspn(path + strlen(azure), "/");

                *out_deployment = (struct bytes){path + strlen(azure), name_bytes};
                rest = path + strlen(azure) + name_bytes;
        }
        for (int i = 0; i < SIM_ENDPOINTS && rest != path; i++)
                if (strcmp(rest, endpoints[i].path) == 0)
                        return (enum sim_endpoint)i;
        return SIM_ENDPOINTS;
}

void sim_request_init(struct sim_request *request, enum sim_endpoint endpoint, size_t body_bytes_max) {
        *request = (struct sim_request){.endpoint = endpoint, .output_max = -1};
        buffer_init(&request->body, body_bytes_max);
        sim_form_init(&request->form);
}

void sim_request_deinit(struct sim_request *request) {
        yyjson_doc_free(request->doc);
        buffer_deinit(&request->body);
        sim_form_deinit(&request->form);
        *request = (struct sim_request){0};
}

static struct bytes text_of(yyjson_val *value) {
        return (struct bytes){yyjson_get_str(value), yyjson_get_len(value)};
}

struct bytes sim_request_text(const struct sim_request *request, const char *key) {
        yyjson_val *value = yyjson_obj_get(request->root, key);

        return yyjson_is_str(value) ? text_of(value) : (struct bytes){0};
}

int64_t sim_request_integer(const struct sim_request *request, const char *key, int64_t fallback) {
        yyjson_val *value = yyjson_obj_get(request->root, key);

        return yyjson_is_uint(value) && yyjson_get_uint(value) <= INT32_MAX ? (int64_t)yyjson_get_uint(value)
                                                                            : fallback;
}

struct bytes sim_content_part(yyjson_val *content, size_t i) {
        yyjson_val *part = yyjson_arr_get(content, i);

        if (yyjson_is_str(content))
                return i == 0 ? text_of(content) : (struct bytes){0};
        if (yyjson_is_str(part))
                return text_of(part);
        return yyjson_is_str(yyjson_obj_get(part, "text")) ? text_of(yyjson_obj_get(part, "text"))
                                                           : (struct bytes){0};
}

static struct sim_problem problem(const char *code, const char *param, const char *message) {
        return (struct sim_problem){.status = 400, .code = code, .param = param, .message = message};
}

static struct sim_problem missing(const char *param, const char *message) {
        return problem("missing_required_parameter", param, message);
}

/* Of a content part that is {"input_audio": {"data": base64}}; 0 for any other. */
static int64_t audio_tokens_of(yyjson_val *part) {
        yyjson_val *data = yyjson_obj_get(yyjson_obj_get(part, "input_audio"), "data");
        int64_t ms;

        if (!yyjson_is_str(data))
                return 0;
        ms = audio_base64_ms(text_of(data));
        if (ms < 0)
                ms = (int64_t)yyjson_get_len(data) / BASE64_PER_MS_GUESS;
        return (ms + MS_PER_AUDIO_TOKEN - 1) / MS_PER_AUDIO_TOKEN;
}

static uint64_t content_bytes(struct sim_request *request, yyjson_val *content) {
        size_t parts = yyjson_is_arr(content) ? yyjson_arr_size(content) : 1;
        uint64_t bytes = 0;

        for (size_t i = 0; i < parts; i++) {
                struct bytes text = sim_content_part(content, i);

                bytes += text.size;
                request->audio_tokens += audio_tokens_of(yyjson_arr_get(content, i));
                if (text.size > 0)
                        request->prefix = text;
        }
        return bytes;
}

/* A list of messages: chat's `messages`, the items of a response's `input`. */
static uint64_t messages_bytes(struct sim_request *request, yyjson_val *messages) {
        uint64_t bytes = 0;
        size_t i, count;
        yyjson_val *message;

        yyjson_arr_foreach(messages, i, count, message) {
                bytes += content_bytes(request, yyjson_obj_get(message, "content"));
        }
        return bytes;
}

static struct sim_problem read_chat(struct sim_request *request, uint64_t *out_bytes) {
        yyjson_val *messages = yyjson_obj_get(request->root, "messages");

        if (!yyjson_is_arr(messages) || yyjson_arr_size(messages) == 0)
                return missing("messages", "Missing required parameter: 'messages'.");
        *out_bytes = messages_bytes(request, messages);
        return (struct sim_problem){0};
}

static struct sim_problem read_response(struct sim_request *request, uint64_t *out_bytes) {
        yyjson_val *input = yyjson_obj_get(request->root, "input");
        struct bytes instructions = sim_request_text(request, "instructions");

        if (!yyjson_is_str(input) && !yyjson_is_arr(input))
                return missing("input", "Missing required parameter: 'input'.");
        *out_bytes = instructions.size;
        *out_bytes += yyjson_is_str(input) ? content_bytes(request, input) : messages_bytes(request, input);
        return (struct sim_problem){0};
}

/* Text under `key`: a string or a list of strings. */
static struct sim_problem read_text(struct sim_request *request, const char *key, uint64_t *out_bytes) {
        yyjson_val *value = yyjson_obj_get(request->root, key);

        if (!yyjson_is_str(value) && !yyjson_is_arr(value))
                return missing(key, "A required parameter is missing.");
        *out_bytes = content_bytes(request, value);
        return (struct sim_problem){0};
}

static bool is_token_list(yyjson_val *value) {
        return yyjson_is_arr(value) && yyjson_is_int(yyjson_arr_get_first(value));
}

/* In bytes, one token of a token list being four. */
static struct sim_problem read_embedding(struct sim_request *request, uint64_t *out_bytes) {
        yyjson_val *input = yyjson_obj_get(request->root, "input"), *value;
        uint64_t bytes = 0;
        size_t i, count;

        if (yyjson_is_str(input) && yyjson_get_len(input) > 0) {
                *out_bytes = content_bytes(request, input);
                return (struct sim_problem){0};
        }
        if (!yyjson_is_arr(input) || yyjson_arr_size(input) == 0)
                return problem("invalid_value", "input", "'input' must be a text or a list, and not empty.");
        if (is_token_list(input)) {
                *out_bytes = yyjson_arr_size(input) * BYTES_PER_TOKEN;
                return (struct sim_problem){0};
        }
        if (yyjson_arr_size(input) > EMBEDDING_INPUTS_MAX)
                return problem("invalid_value", "input", "'input' may have at most 2048 items.");
        yyjson_arr_foreach(input, i, count, value) {
                if (yyjson_is_str(value) && yyjson_get_len(value) > 0)
                        bytes += yyjson_get_len(value);
                else if (is_token_list(value))
                        bytes += yyjson_arr_size(value) * BYTES_PER_TOKEN;
                else
                        return problem("invalid_value", "input",
                                       "an item of 'input' is empty or of a wrong type.");
        }
        *out_bytes = bytes;
        return (struct sim_problem){0};
}

static struct sim_problem read_rerank(struct sim_request *request, uint64_t *out_bytes) {
        struct bytes query = sim_request_text(request, "query");
        struct sim_problem found;

        if (query.size == 0)
                return missing("query", "Missing required parameter: 'query'.");
        found = read_text(request, "documents", out_bytes);
        *out_bytes += query.size;
        return found;
}

static struct sim_problem read_form(struct sim_request *request, uint64_t *out_bytes) {
        if (request->form.files_count == 0)
                return missing("file", "Missing required parameter: 'file'.");
        request->prefix = sim_form_field(&request->form, SIM_FIELD_PROMPT);
        *out_bytes = request->prefix.size;
        return (struct sim_problem){0};
}

/* A form, or JSON that names its pictures. */
static struct sim_problem read_image_edit(struct sim_request *request, uint64_t *out_bytes) {
        if (request->root == NULL)
                return read_form(request, out_bytes);
        if (yyjson_arr_size(yyjson_obj_get(request->root, "images")) == 0)
                return missing("images", "Missing required parameter: 'images'.");
        return read_text(request, "prompt", out_bytes);
}

static struct sim_problem read_by_endpoint(struct sim_request *request, uint64_t *out_bytes) {
        *out_bytes = 0;
        switch (request->endpoint) {
        case SIM_ENDPOINT_CHAT:
                return read_chat(request, out_bytes);
        case SIM_ENDPOINT_RESPONSES:
                return read_response(request, out_bytes);
        case SIM_ENDPOINT_COMPLETIONS:
        case SIM_ENDPOINT_IMAGES:
                return read_text(request, "prompt", out_bytes);
        case SIM_ENDPOINT_EMBEDDINGS:
                return read_embedding(request, out_bytes);
        case SIM_ENDPOINT_SPEECH:
        case SIM_ENDPOINT_MODERATIONS:
                return read_text(request, "input", out_bytes);
        case SIM_ENDPOINT_RERANK:
                return read_rerank(request, out_bytes);
        case SIM_ENDPOINT_TRANSCRIPTIONS:
        case SIM_ENDPOINT_TRANSLATIONS:
                return read_form(request, out_bytes);
        case SIM_ENDPOINT_IMAGE_EDITS:
                return read_image_edit(request, out_bytes);
        case SIM_ENDPOINT_MODELS:
        case SIM_ENDPOINTS:
                break;
        }
        return (struct sim_problem){0};
}

static void hash_content(struct sim_request *request) {
        struct sim_hash hash;
        struct key128 files = sim_hash_final(&request->form.files);

        sim_hash_init(&hash, 0);
        sim_hash_field(&hash, bytes_of(endpoints[request->endpoint].path));
        sim_hash_field(&hash, request->deployment);
        sim_hash_field(&hash, buffer_view(&request->body));
        for (int i = 0; i < SIM_FIELDS; i++)
                sim_hash_field(&hash, sim_form_field(&request->form, (enum sim_field)i));
        sim_hash_field(&hash, (struct bytes){(const char *)&files, sizeof(files)});
        request->content = sim_hash_final(&hash);
}

static void read_modalities(struct sim_request *request) {
        yyjson_val *word;
        size_t i, count;

        yyjson_arr_foreach(yyjson_obj_get(request->root, "modalities"), i, count, word) {
                request->speaks = request->speaks || yyjson_equals_str(word, "audio");
        }
}

static void read_output_max(struct sim_request *request) {
        static const char *const keys[] = {"max_completion_tokens", "max_output_tokens", "max_tokens"};

        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys) && request->output_max < 0; i++)
                request->output_max = sim_request_integer(request, keys[i], -1);
}

struct sim_problem sim_request_read(struct sim_request *request) {
        enum sim_body_kind kind = endpoints[request->endpoint].body;
        struct sim_problem found;
        uint64_t text_bytes;

        if (kind == SIM_BODY_EITHER) /* a form is taken apart as it comes, and leaves no body */
                kind = request->body.size > 0 ? SIM_BODY_JSON : SIM_BODY_FORM;
        hash_content(request);
        if (request->body.failed)
                return (struct sim_problem){413, "request_too_large", NULL, "The request body is too large."};
        if (kind == SIM_BODY_JSON) {
                request->doc = request->body.size == 0 ? NULL
                                                       : yyjson_read(request->body.data, request->body.size,
                                                                     YYJSON_READ_NOFLAG);
                request->root = yyjson_doc_get_root(request->doc);
                if (!yyjson_is_obj(request->root))
                        return problem("invalid_json", NULL,
                                       "We could not parse the JSON body of your request.");
                request->model = sim_request_text(request, "model");
        }
        if (kind == SIM_BODY_FORM)
                request->model = sim_form_field(&request->form, SIM_FIELD_MODEL);
        if (request->model.size == 0)
                request->model = request->deployment;
        if (request->model.size == 0 && kind != SIM_BODY_NONE &&
            request->endpoint != SIM_ENDPOINT_MODERATIONS)
                return missing("model", "you must provide a model parameter");
        if (yyjson_is_true(yyjson_obj_get(request->root, "stream")))
                return problem("unsupported_value", "stream", "The simulator does not stream.");
        read_output_max(request);
        read_modalities(request);
        found = read_by_endpoint(request, &text_bytes);
        request->prompt_tokens = (int64_t)((text_bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
        request->prompt_tokens += request->audio_tokens;
        return found;
}
