#pragma once
/* The kinds of job and the words for how things end or are passed over, from the tables in schemas/. */
#include "broker/base/bytes.h"
#include "broker/base/check.h"

enum kind {
#define KIND(name, url, unknown, request, answer) KIND_##name,
#include "schemas/kinds.def"
#undef KIND
        KINDS_COUNT,
};

enum unknown_policy { UNKNOWN_RETRY, UNKNOWN_FAIL };
enum request_form { REQUEST_JSON, REQUEST_MULTIPART };
enum answer_form { ANSWER_JSON, ANSWER_BINARY, ANSWER_TEXT };

struct kind_facts {
        const char *url; /* "/v1/chat/completions" */
        enum unknown_policy unknown;
        enum request_form request;
        enum answer_form answer;
};

extern const struct kind_facts kind_facts[KINDS_COUNT];
/* It answers with text: billed by the tokens of input and output, which share one context. */
static inline bool kind_writes(enum kind kind) {
        return kind == KIND_CHAT || kind == KIND_RESPONSES || kind == KIND_COMPLETIONS;
}
bool kind_from_url(struct bytes url, enum kind *out_kind);
/* All that goes in is sound, all that comes out is pictures. */
static inline bool kind_listens(enum kind kind) {
        return kind == KIND_TRANSCRIPTIONS || kind == KIND_TRANSLATIONS;
}
static inline bool kind_paints(enum kind kind) {
        return kind == KIND_IMAGES || kind == KIND_IMAGE_EDITS;
}

/*
 * What a request may ask for as `service_tier`. OTHER is a word that is not known here, or one of another
 * sort of contract.
 */
enum service_tier { SERVICE_STANDARD, SERVICE_FLEX, SERVICE_PRIORITY, SERVICE_OTHER };
const char *service_text(enum service_tier service); /* "default", "flex", "priority"; "" for OTHER */
enum service_tier service_from_text(struct bytes text);

enum failure {
        FAILURE_NONE,
#define FAILURE(name, text, meaning) FAILURE_##name,
#include "schemas/errors.def"
#undef FAILURE
        FAILURES_COUNT,
};

const char *failure_text(enum failure failure); /* "" for none */
bool failure_from_text(struct bytes text, enum failure *out_failure);

enum exclusion {
#define EXCLUSION(name, text, hard, meaning) EXCLUSION_##name,
#include "schemas/exclusions.def"
#undef EXCLUSION
        EXCLUSIONS_COUNT,
};

enum parameter {
#define PARAMETER(name, text) PARAMETER_##name,
#include "schemas/parameters.def"
#undef PARAMETER
        PARAMETERS_COUNT, /* at most 64: sets of them are bits */
};

const char *parameter_text(enum parameter parameter);
bool parameter_from_text(struct bytes text, enum parameter *out_parameter);
/* The set with all names of those that are in it by one. */
uint64_t parameters_supported(uint64_t set);

enum modality {
#define MODALITY(name, text) MODALITY_##name,
#include "schemas/modalities.def"
#undef MODALITY
        MODALITIES_COUNT,
};

const char *modality_text(enum modality modality);
bool modality_from_text(struct bytes text, enum modality *out_modality);

const char *exclusion_text(enum exclusion exclusion);
const char *exclusion_meaning(enum exclusion exclusion); /* one sentence */
_Static_assert(EXCLUSIONS_COUNT <= 64, "sets of them are bits");

static inline bool exclusion_is_hard(enum exclusion exclusion) {
        const uint64_t hard_ones = 0
#define EXCLUSION(name, text, hard, meaning) | (uint64_t)(hard) << EXCLUSION_##name
#include "schemas/exclusions.def"
#undef EXCLUSION
                ;
        CHECK((unsigned)exclusion < EXCLUSIONS_COUNT);
        return (hard_ones >> exclusion & 1) != 0;
}
