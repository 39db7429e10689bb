#pragma once
/*
 * How a job ended, for the result line and the state: what messages.md calls the receipt, without the bytes
 * of the answer. Made by the engine, valid as long as the job's slot is.
 */
#include "broker/core/answer.h"

enum {
        DECISION_CANDIDATES_MAX = 12,
        /* Of a record: 32 places of endpoints that have answered, or 20 with percentiles as well. */
        DECISION_RECORD_MAX = 1024,
        SPEND_UNKNOWN = -1,
};

struct catalog;

struct decision_candidate {
        uint32_t endpoint;
        enum exclusion excluded_by;
        bool cost_known;
        int64_t cost_expected_picousd;
        /* What it was sorted by, as struct candidate has it */
        bool measure_known;
        uint8_t penalties;
        int64_t measure;
};

/* Why this endpoint: the ranking of the last attempt. */
struct decision {
        const struct catalog *catalog; /* under which it was made; at first, under which the job came */
        struct decision_candidate candidates[DECISION_CANDIDATES_MAX];
        uint8_t count;
        bool truncated, chosen;
        uint32_t chosen_endpoint;
        uint8_t chosen_model; /* index in demand.models */
        uint64_t seed;
        uint16_t record_size;                /* 0: none, or it did not fit */
        uint8_t record[DECISION_RECORD_MAX]; /* moment and places (workers/routing/record.h) */
};

struct outcome {
        enum failure failure; /* FAILURE_NONE: a result */
        bool has_answer;      /* a last answer of a provider stands in `response` */
        bool journaled;       /* the result stands in the store already: nothing but that is known here */
        int32_t status;
        uint32_t attempts; /* calls that were, or may have been, made */
        bool cost_known, cost_is_estimate, list_cost_known;
        int64_t cost_picousd;      /* all attempts */
        int64_t list_cost_picousd; /* the same usage at the catalog's price */
        bool estimate_known;
        int64_t estimate_picousd; /* what the last call was expected to cost when its endpoint was chosen */
        struct usage usage;
        int64_t queued_ns;   /* from admission to the start of the last call */
        int64_t provider_ns; /* of the last call */
        struct decision decision;
        char message[ANSWER_MESSAGE_MAX]; /* for `error`; "" when there is none */
};

/* Nothing has been called yet. Sets every field; of arrays only how much of them is used. */
void outcome_init(struct outcome *outcome, const struct catalog *catalog);
