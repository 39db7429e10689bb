#pragma once
/*
 * The OpenAI dialect: OpenAI itself and everything that copied it (vLLM, llama.cpp, Ollama, TEI, Groq,
 * Together, Mistral, DeepInfra, Fireworks, DeepSeek, OpenRouter). Their differences are rows in the
 * tables of classify.c, usage.c and waits.c, not code of their own.
 *
 * URL: base_url + the kind's path without its "/v1". A base_url without any path gets "/v1" first:
 * "https://api.deepseek.com" and "https://api.openai.com/v1" both work. A query in base_url stays behind
 * the path.
 *
 * Bodies in results. JSON answers are the provider's bytes, on one line. Two kinds of answer are no JSON
 * and get a form of ours:
 *   speech: {"object":"audio.speech","content_type":"audio/mpeg","bytes":N,"b64":"..."}
 *   transcripts as text, srt, vtt: {"text":"..."}, as vLLM's run-batch writes them
 */
#include "workers/providers/dialect.h"

extern const struct dialect openai_dialect;

/* Shared with the dialects that differ in address and key only. */
bool openai_request(const struct job_spec *job, struct bytes model, struct request *out_request,
                    struct answer *out_answer);
void openai_read(const struct job_spec *job, const struct response *response, struct answer *out_answer);
void openai_render(const struct job_spec *job, const struct response *response, struct buffer *out_json);

/* A base URL in its parts, views into it; false when it is empty or holds what no URL may hold. */
struct base_url {
        struct bytes whole; /* without query and trailing slashes */
        struct bytes path;  /* of it; may be empty */
        struct bytes query; /* without "?"; may be empty */
};
bool base_url_split(const char *base_url, struct base_url *out_base);
