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
        const char *text;
        bool hard;
} exclusions[EXCLUSIONS_COUNT] = {
#define EXCLUSION(name, text, hard) [EXCLUSION_##name] = {text, hard},
#include "schemas/exclusions.def"
#undef EXCLUSION
};

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

bool exclusion_is_hard(enum exclusion exclusion) {
        CHECK((unsigned)exclusion < EXCLUSIONS_COUNT);
        return exclusions[exclusion].hard;
}
