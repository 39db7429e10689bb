/*
 * The tables of schemas/ as arrays. Nothing here knows what a kind or a word means beyond what its line says.
 */
#include "workers/routing/kind.h"

#include "broker/base/check.h"

const struct kind_facts kind_facts[KINDS_COUNT] = {
#define KIND(name, url, unknown, request, answer)                                                            \
        [KIND_##name] = {url, UNKNOWN_##unknown, REQUEST_##request, ANSWER_##answer},
#include "schemas/kinds.def"
#undef KIND
};

static const char *const failure_texts[FAILURES_COUNT] = {
        [FAILURE_NONE] = "",
#define FAILURE(name, text, meaning) [FAILURE_##name] = text,
#include "schemas/errors.def"
#undef FAILURE
};

static const struct {
        const char *text, *meaning;
} exclusions[EXCLUSIONS_COUNT] = {
#define EXCLUSION(name, text, hard, meaning) [EXCLUSION_##name] = {text, meaning},
#include "schemas/exclusions.def"
#undef EXCLUSION
};

const char *service_text(enum service_tier service) {
        static const char *const texts[] = {
                [SERVICE_STANDARD] = "default",
                [SERVICE_FLEX] = "flex",
                [SERVICE_PRIORITY] = "priority",
                [SERVICE_OTHER] = "",
        };
        return texts[service];
}

/* OpenAI's words, then those of others for the same. */
enum service_tier service_from_text(struct bytes text) {
        static const struct {
                const char *word;
                enum service_tier service;
        } words[] = {
                {"auto", SERVICE_STANDARD},      {"default", SERVICE_STANDARD},
                {"standard", SERVICE_STANDARD},  {"standard_only", SERVICE_STANDARD},
                {"on_demand", SERVICE_STANDARD}, {"flex", SERVICE_FLEX},
                {"priority", SERVICE_PRIORITY},
        };
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (bytes_equal_string(text, words[i].word))
                        return words[i].service;
        return SERVICE_OTHER;
}

bool kind_from_url(struct bytes url, enum kind *out_kind) {
        for (unsigned i = 0; i < KINDS_COUNT; i++)
                if (bytes_equal_string(url, kind_facts[i].url)) {
                        *out_kind = (enum kind)i;
                        return true;
                }
        return false;
}

const char *failure_text(enum failure failure) {
        CHECK((unsigned)failure < FAILURES_COUNT);
        return failure_texts[failure];
}

bool failure_from_text(struct bytes text, enum failure *out_failure) {
        for (unsigned i = FAILURE_NONE + 1; i < FAILURES_COUNT; i++)
                if (bytes_equal_string(text, failure_texts[i])) {
                        *out_failure = (enum failure)i;
                        return true;
                }
        return false;
}

const char *exclusion_text(enum exclusion exclusion) {
        CHECK((unsigned)exclusion < EXCLUSIONS_COUNT);
        return exclusions[exclusion].text;
}

const char *exclusion_meaning(enum exclusion exclusion) {
        CHECK((unsigned)exclusion < EXCLUSIONS_COUNT);
        return exclusions[exclusion].meaning;
}

static const char *const parameters[] = {
#define PARAMETER(name, text) [PARAMETER_##name] = text,
#include "schemas/parameters.def"
#undef PARAMETER
};

static const char *const modalities[] = {
#define MODALITY(name, text) [MODALITY_##name] = text,
#include "schemas/modalities.def"
#undef MODALITY
};

_Static_assert(PARAMETERS_COUNT <= 64 && MODALITIES_COUNT <= 32 && KINDS_COUNT <= 32,
               "sets of them are bits");

const char *parameter_text(enum parameter parameter) {
        CHECK((unsigned)parameter < PARAMETERS_COUNT);
        return parameters[parameter];
}

/* The place of the text; `count` when it is not there. */
static unsigned find_text(struct bytes text, const char *const *texts, unsigned count) {
        unsigned i = 0;
        while (i < count && !bytes_equal_string(text, texts[i]))
                i++;
        return i;
}

bool parameter_from_text(struct bytes text, enum parameter *out_parameter) {
        unsigned found = find_text(text, parameters, PARAMETERS_COUNT);
        if (found == PARAMETERS_COUNT)
                return false;
        *out_parameter = (enum parameter)found;
        return true;
}

uint64_t parameters_supported(uint64_t set) {
        static const uint64_t output_limit = UINT64_C(1) << PARAMETER_MAX_TOKENS |
                                             UINT64_C(1) << PARAMETER_MAX_COMPLETION_TOKENS |
                                             UINT64_C(1) << PARAMETER_MAX_OUTPUT_TOKENS;
        return (set & output_limit) != 0 ? set | output_limit : set;
}

const char *modality_text(enum modality modality) {
        CHECK((unsigned)modality < MODALITIES_COUNT);
        return modalities[modality];
}

bool modality_from_text(struct bytes text, enum modality *out_modality) {
        unsigned found = find_text(text, modalities, MODALITIES_COUNT);
        if (found == MODALITIES_COUNT)
                return false;
        *out_modality = (enum modality)found;
        return true;
}
