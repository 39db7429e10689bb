#pragma once
/*
 * One request, as far as the answer depends on it: which endpoint, the body, and what was read from it.
 * Pure; the bytes come from the server piece by piece, sim_request_read() is called once when all are
 * there.
 */
#include "broker/base/bytes.h"
#include "broker/base/key.h"
#include "broker/sim/form.h"

struct yyjson_doc;
struct yyjson_val;

enum sim_endpoint {
#define X(ENDPOINT, path, body) SIM_ENDPOINT_##ENDPOINT,
#include "broker/sim/endpoints.def"
#undef X
        SIM_ENDPOINTS
};

enum sim_body_kind {
        SIM_BODY_NONE,
        SIM_BODY_JSON,
        SIM_BODY_FORM,
        SIM_BODY_EITHER, /* a form, or JSON */
};

/*
 * Where a path leads, behind any of "/v1", "/api/v1", "/openai/v1" and Azure's "/openai/deployments/NAME";
 * SIM_ENDPOINTS when nowhere. *out_deployment is that NAME, empty otherwise.
 */
enum sim_endpoint sim_endpoint_of(const char *path, struct bytes *out_deployment);
const char *sim_endpoint_path(enum sim_endpoint endpoint);
enum sim_body_kind sim_endpoint_body(enum sim_endpoint endpoint);

/* Why a request cannot be answered; `message` NULL: it can. All static text. */
struct sim_problem {
        int status;
        const char *code, *param, *message;
};

struct sim_request {
        enum sim_endpoint endpoint;
        struct bytes deployment; /* of Azure's path: stands in for a missing model; not owned */
        struct buffer body;      /* JSON */
        struct sim_form form;    /* multipart */
        struct yyjson_doc *doc;
        struct yyjson_val *root; /* NULL for a form */
        struct bytes model;      /* inside the body, the form or the path */
        struct bytes prefix;     /* start of the last thing that was said, for the echo */
        struct key128 content; /* hash of path and body: seeds the answer; the identity, if no job is named */
        int64_t prompt_tokens; /* a quarter of the text's bytes, rounded up, and those of sound */
        int64_t audio_tokens;  /* which of them are sound: ten for each second of an input_audio */
        bool speaks;           /* `modalities` asks for sound */
        int64_t output_max;    /* max_tokens under any of its names; -1 is absent */
};

void sim_request_init(struct sim_request *request, enum sim_endpoint endpoint, size_t body_bytes_max);
void sim_request_deinit(struct sim_request *request);
struct sim_problem sim_request_read(struct sim_request *request);
/* A text field of the JSON body; empty when absent or not text. */
struct bytes sim_request_text(const struct sim_request *request, const char *key);
int64_t sim_request_integer(const struct sim_request *request, const char *key, int64_t fallback);
/* The text of a message's content: a string, or its i-th part when the content is a list. */
struct bytes sim_content_part(struct yyjson_val *content, size_t i);
