#pragma once
/*
 * Decides again what a receipt records: under the same catalog, to prove that it comes out the same; under
 * another one, to see what that would have chosen; and for a neutral broker that has no wishes. Pure, but for
 * the memory that the caller gives.
 */
#include "broker/base/bytes.h"
#include "broker/cli/respend.h"
#include "broker/core/pick.h"
#include "broker/ops/config.h"
#include "broker/wire/receipt.h"
#include "workers/routing/merge.h"

enum redecided {
        REDECIDED_SAME,
        REDECIDED_DIFFERENT,
        REDECIDED_OTHER_CATALOG,
        REDECIDED_NOTHING,   /* there was no decision: a bad line, a conflict, nobody serves the model */
        REDECIDED_NO_RECORD, /* there was one, but not what it stood on */
};

struct difference {
        char what[32]; /* "chosen", "place 2" */
        char expected[256], got[256];
};

/* Binds the receipt's inputs to the catalog. `difference` is written for REDECIDED_DIFFERENT only. */
enum redecided redecide_check(const struct catalog *catalog, struct receipt *receipt,
                              struct difference *out_difference);

/* What another configuration, or none at all, makes of it. */
struct redecision {
        struct route_set set;
        struct route_state states[ROUTE_CANDIDATES_MAX];
        struct decision_moment moment;
        struct demand demand;
        struct names_room room; /* for its lists, where they are of none of the layers */
        struct route route;
        const struct candidate *taken; /* NULL: nobody can take it */
        enum failure failure;          /* then */
        bool over_budget;              /* it would have waited until a budget covers it */
        bool cost_known;               /* of what was used, else of what was expected */
        int64_t cost_picousd;
};

/* Whose rules hold: recorded ones, those of the configuration, or both with the stricter one winning. */
enum redecide_rules { RULES_MERGED, RULES_RECORDED, RULES_CONFIG };

/*
 * With the recorded state of the endpoints that both know by name, and fresh state of others; with what
 * budgets have left by `respend`, which is told what is spent. A job that would have waited counts as taken
 * by the one that it would have waited for; where that is for a budget, in some later period, nothing is
 * spent of this one.
 */
void redecide_with(const struct config *config, enum redecide_rules rules, const struct receipt *receipt,
                   struct respend *respend, struct redecision *out);
/*
 * What a broker that only looks for the cheapest would have chosen: no rules, no wishes, everybody fit and
 * with room; the order of models stays, as it is what the job asks for. For a receipt that
 * redecide_check() found the same.
 */
void redecide_neutral(const struct catalog *catalog, const struct receipt *receipt, struct redecision *out);
/*
 * Why the neutral choice was not taken: an exclusion code, or "order", "sort:latency", "retry after
 * failure"...
 */
const char *redecide_cause(const struct catalog *catalog, const struct receipt *receipt,
                           const struct redecision *neutral);

/* What moves a candidate behind others: in a word or two, and as a sentence about it. */
struct penalty_words {
        enum penalty penalty;
        const char *words, *meaning;
};

/* The heaviest of a set of penalties; NULL: none. */
const struct penalty_words *redecide_penalty(uint8_t penalties);

/* States of endpoints that nobody has called yet. */
void redecide_fresh(const struct route_set *set, struct route_state *states);
