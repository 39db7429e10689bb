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

enum { BUDGET_RISKS_MAX = 16 };

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

struct ledger {
        struct budget_spec limit; /* 0: none */
        bool fails;               /* what would have to wait for a period's end never comes */
        struct budget_spend spend;
        int64_t reserved_days[2], reserved_months[2], reserved_picousd; /* beside the sums; all together */
};

/* NOW; SOON, should calls under way cost less than they may; LATER, at a time; NEVER. */
enum budget_verdict { BUDGET_NOW, BUDGET_SOON, BUDGET_LATER, BUDGET_NEVER };

int64_t budget_day(int64_t unix_ms); /* days since 1970 */
int64_t budget_month(int64_t day);   /* months since 1970 */
int64_t budget_day_starts_unix_ms(int64_t day);
int64_t budget_month_starts_unix_ms(int64_t month);

void budget_spend_init(struct budget_spend *spend);
void ledger_init(struct ledger *ledger, const struct budget_spec *limit, bool fails);
/* Goes to the periods of that time and releases the risks whose time has come. */
void ledger_roll(struct ledger *ledger, int64_t now_unix_ms);
/* Any period has a limit: what cannot be bounded must not be spent. */
bool ledger_bounded(const struct ledger *ledger);
/* Whether an amount may be reserved. Of a ledger that was rolled to that time. out_unix_ms: of LATER. */
enum budget_verdict ledger_when(const struct ledger *ledger, int64_t picousd, int64_t *out_unix_ms);
/* Only what may be reserved now. Gives the day to which it belongs. */
int64_t ledger_reserve(struct ledger *ledger, int64_t picousd);
/* The reservation of that day ends: nothing was spent; so much was; so much may have been. */
void ledger_release(struct ledger *ledger, int64_t reserved_picousd, int64_t day);
void ledger_settle(struct ledger *ledger, int64_t reserved_picousd, int64_t day, int64_t spent_picousd);
void ledger_hold(struct ledger *ledger, int64_t reserved_picousd, int64_t day,
                 const struct budget_risk *risk);

/* What a dead process had reserved, or what is known better by now. Saturating; nothing goes below 0. */
void budget_add_settled(struct budget_spend *spend, int64_t day, int64_t picousd);
void budget_add_risk(struct budget_spend *spend, const struct budget_risk *risk);
void budget_take_risk(struct budget_spend *spend, int64_t day, int64_t picousd);
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
/*
 * A number of the subject that stays when another catalog follows in which more workspaces stand before the
 * providers. Less than BUDGET_LASTING_MAX.
 */
enum { BUDGET_LASTING_MAX = 2 * CATALOG_WORKSPACES_MAX };
_Static_assert((int)CATALOG_PROVIDERS_MAX <= (int)CATALOG_WORKSPACES_MAX, "a number for each");
uint32_t budget_lasting(const struct catalog *catalog, uint32_t subject);
uint32_t budget_of_lasting(const struct catalog *catalog, uint32_t lasting);
void budget_subject_ledger(const struct catalog *catalog, uint32_t subject, struct ledger *out_ledger);
