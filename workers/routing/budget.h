#pragma once
/*
 * What one subject, a workspace or a provider, has spent and may still spend: a ledger. An amount is reserved
 * at the ceiling before a call; when the call has ended it is settled at what it cost, released when it cost
 * nothing, or held as a risk when nobody knows. So, whatever comes of the calls that are under way, in every
 * period settled + at risk + reserved stays within the limit. What a provider bills beyond the ceiling that
 * was reserved is recorded as it is: then a sum is above its limit, and nothing more is reserved.
 *
 * Periods are the days and months of UTC, and the whole lifetime. A reservation belongs to the day in which
 * it was made, and so does what becomes of it. The two days (and months) used last are kept, so that a clock
 * that is set back a little finds its day as it was. Pure: the time is an argument, and nothing moves without
 * one.
 */
#include "workers/routing/catalog.h"

#define BUDGET_NO_PERIOD INT64_MIN
#define BUDGET_KEPT      INT64_MAX /* a risk that is never released by itself */

enum {
        BUDGET_RISKS_MAX = 16,
        BUDGET_PARTS_MAX = 4096,
};

struct budget_sum {
        int64_t number; /* of the period; BUDGET_NO_PERIOD */
        int64_t settled_picousd;
};

/* What calls of unknown outcome of a day may have cost, until it no longer counts. */
struct budget_risk {
        int64_t day, release_unix_ms, picousd;
};

/* What must outlive the process. The period used last stands first. */
struct budget_spend {
        struct budget_sum days[2], months[2];
        int64_t lifetime_picousd;
        struct budget_risk risks[BUDGET_RISKS_MAX];
        uint32_t risks_count;
};

/* Of a day: what may come of it at the most, besides what is settled and at risk. */
struct budget_allowed {
        int64_t day, picousd; /* 0: nothing */
};

/*
 * What whoever takes over must know before it is used, where that is another process (a partition of the jobs
 * topic): a word, that stands where that one will read it, of what may be spent until the next. Only what
 * such a word has allowed may be reserved, and only in its day; one word is on its way at a time.
 */
struct allowance {
        bool needed;
        int64_t left_picousd;   /* may be reserved */
        int64_t coming_picousd; /* and so much more, once the word that is on its way has arrived */
        int64_t ahead_picousd;  /* what is allowed ahead: the more, the more often somebody waits for it */
        int64_t wanted_picousd; /* somebody waits for so much; 0: nobody */
        int64_t taken_picousd;  /* reserved since the last word */
        int64_t told_picousd;   /* what the last word answers for */
        uint32_t rested;        /* so often ledger_rests() has found nothing to do */
};

struct ledger {
        struct budget_spec limit; /* 0: none */
        uint32_t part, whole;     /* of the subject's budget that is this ledger's; whole 0: all of it */
        bool fails;               /* what would have to wait for a period's end never comes */
        struct budget_spend spend;
        int64_t reserved_days[2], reserved_months[2], reserved_picousd; /* beside the sums; all together */
        struct allowance allowance;
};

/* NOW; SOON, should calls under way cost less than they may; LATER, at a time; NEVER. */
enum budget_verdict { BUDGET_NOW, BUDGET_SOON, BUDGET_LATER, BUDGET_NEVER };

int64_t budget_day(int64_t unix_ms); /* days since 1970 */
int64_t budget_month(int64_t day);   /* months since 1970 */
/* Of a time in milliseconds that a number holds. */
bool budget_is_day(int64_t day);
bool budget_is_month(int64_t month);
int64_t budget_day_starts_unix_ms(int64_t day);
int64_t budget_month_starts_unix_ms(int64_t month);

void budget_spend_init(struct budget_spend *spend);
void ledger_init(struct ledger *ledger, const struct budget_spec *limit, bool fails);
/* It can be divided so: no part of a limit is nothing, which would be no limit. */
bool ledger_takes_share(const struct budget_spec *limit, uint32_t part, uint32_t whole);
/* It has that part of the limits; whole 0: all of them. */
void ledger_share(struct ledger *ledger, const struct budget_spec *limit, uint32_t part, uint32_t whole);
/* Goes to the periods of that time and releases the risks whose time has come. */
void ledger_roll(struct ledger *ledger, int64_t now_unix_ms);
/* Any period has a limit: what cannot be bounded must not be spent. */
bool ledger_bounded(const struct ledger *ledger);
/* Whether an amount may be reserved. Of a ledger that was rolled to that time. out_unix_ms: of LATER. */
enum budget_verdict ledger_when(const struct ledger *ledger, int64_t picousd, int64_t *out_unix_ms);
/* Only what may be reserved now. Gives the day to which it belongs. */
int64_t ledger_reserve(struct ledger *ledger, int64_t picousd);
/* Allowances. A limit would let that be reserved, and only the word for it is missing: it is asked for. */
void ledger_want(struct ledger *ledger, int64_t picousd);
/* There is reason for another word: somebody waits, or soon will. */
bool ledger_is_short(const struct ledger *ledger);
/*
 * The next word, while none is on its way: with the spend, what the ledger answers for from here on, by day.
 * `last`: nothing more will be reserved.
 */
void ledger_tell(struct ledger *ledger, bool last, struct budget_allowed out_allowed[2]);
/* It stands there; or never will. */
void ledger_told(struct ledger *ledger, bool stands);
/* Called now and then: true when nothing was reserved for long, and a word should say so. */
bool ledger_rests(struct ledger *ledger);
/* The reservation of that day ends: nothing was spent; so much was; so much may have been. */
void ledger_release(struct ledger *ledger, int64_t reserved_picousd, int64_t day);
void ledger_settle(struct ledger *ledger, int64_t reserved_picousd, int64_t day, int64_t spent_picousd);
void ledger_hold(struct ledger *ledger, int64_t reserved_picousd, int64_t day,
                 const struct budget_risk *risk);

/* What a dead process had reserved, or what is known better by now. Saturating; nothing goes below 0. */
void budget_add_settled(struct budget_spend *spend, int64_t day, int64_t picousd);
void budget_add_risk(struct budget_spend *spend, const struct budget_risk *risk);
void budget_take_risk(struct budget_spend *spend, int64_t day, int64_t picousd);
/* Nobody knows what became of that: from here on it is at risk. */
void budget_take_over(struct budget_spend *spend, const struct budget_allowed allowed[2],
                      int64_t release_unix_ms);
/*
 * When a risk that begins now is released: after that time, a little rounded up, so that risks of about the
 * same time are one. 0: never.
 */
int64_t budget_release_unix_ms(int64_t now_unix_ms, int64_t after_ns);

struct budget_view {
        int64_t limit_picousd; /* 0: none */
        int64_t settled_picousd, risk_picousd, reserved_picousd;
};
enum budget_kind { BUDGET_DAILY, BUDGET_MONTHLY, BUDGET_LIFETIME, BUDGET_KINDS_COUNT };
void ledger_view(const struct ledger *ledger, enum budget_kind kind, struct budget_view *out_view);

/*
 * The subjects of a catalog: its workspaces, then its providers. 0 when none has rules or budgets: then
 * nothing is counted. Of the providers, only those that have a budget are.
 */
uint32_t budget_subjects(const struct catalog *catalog);
bool budget_is_counted(const struct catalog *catalog, uint32_t subject);
/* Who pays for a job of the workspace, and for one at the endpoint; BUDGET_NO_SUBJECT: nobody is counted. */
#define BUDGET_NO_SUBJECT UINT32_MAX
uint32_t budget_workspace_subject(const struct catalog *catalog, uint32_t workspace);
uint32_t budget_provider_subject(const struct catalog *catalog, uint32_t endpoint);
/* Any period has a limit. */
bool budget_bounds(const struct budget_spec *budget);
/* A workspace or a provider has a budget. */
bool budget_any(const struct catalog *catalog);
const struct budget_spec *budget_of_subject(const struct catalog *catalog, uint32_t subject);
/* As budget_release_unix_ms(), of what is at risk for a subject, whoever's job it was: no sooner than any. */
int64_t budget_subject_release_unix_ms(const struct catalog *catalog, uint32_t subject, int64_t now_unix_ms);
/*
 * A number of the subject that stays when another catalog follows in which more workspaces stand before the
 * providers. Less than BUDGET_LASTING_MAX.
 */
enum { BUDGET_LASTING_MAX = 2 * CATALOG_WORKSPACES_MAX };
_Static_assert((int)CATALOG_PROVIDERS_MAX <= (int)CATALOG_WORKSPACES_MAX, "a number for each");
uint32_t budget_lasting(const struct catalog *catalog, uint32_t subject);
uint32_t budget_of_lasting(const struct catalog *catalog, uint32_t lasting);
void budget_subject_ledger(const struct catalog *catalog, uint32_t subject, struct ledger *out_ledger);
