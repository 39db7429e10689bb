#pragma once
/*
 * What an error body says, whatever its shape: {"error": {...}} (OpenAI and most), flat {"object":
 * "error", ...} (Mistral, TEI, old vLLM), {"error": "text"} (Ollama, TEI), {"detail": ...} (FastAPI:
 * DeepInfra, Mistral's 422), a one-element array (Gemini). Views point into the parsed document.
 */
#include "broker/base/bytes.h"

enum { REFUSAL_WORDS_MAX = 16 };

struct yyjson_val;

struct refusal {
        bool present;
        int32_t status;                        /* an integer `code` that is an HTTP status; 0: none */
        struct bytes words[REFUSAL_WORDS_MAX]; /* code, type, status, reasons: whatever names the cause */
        uint32_t words_count;
        struct bytes message;
        int64_t wait_ns; /* told in the body; -1: not said */
};

/* `succeeded`: the HTTP status was 2xx, so that only what is clearly an error is taken for one. */
void refusal_read(struct yyjson_val *root, bool succeeded, int64_t now_unix_ms, struct refusal *out_refusal);
/* A body that is no JSON: the text itself. */
void refusal_of_text(struct bytes text, struct refusal *out_refusal);
