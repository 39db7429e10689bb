/*
 * See the header. A sum is found by the number of its period; what belongs to a period that is no longer kept
 * counts for the longer ones only. Risks are a short list, mostly empty: their sums are made when they are
 * asked for.
 */
#include "workers/routing/budget.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/part.h"

#define DAY_MS INT64_C(86400000)
#define NS_MS  INT64_C(1000000)

/* Of the time after which a risk is released, this part is what it may be rounded up by. */
enum { RELEASE_STEPS = 8, MONTHS = 12 };
/*
 * Allowances. For the first one that waits, so many of its like are allowed; twice as many each time that
 * somebody waited again, half as many when less than a quarter was used. What is allowed and not used is at
 * risk when the process dies. After so many looks at nothing it is given back.
 */
enum { AHEAD_FIRST = 16, AHEAD_SHARE = 4, RESTS = 5 };

/* ---- periods ---- */

static int64_t floor_divide(int64_t value, int64_t by) {
        return value / by - (value % by < 0);
}

int64_t budget_day(int64_t unix_ms) {
        return floor_divide(unix_ms, DAY_MS);
}

bool budget_is_day(int64_t day) {
        return day > -(INT64_C(1) << 36) && day < INT64_C(1) << 36;
}

bool budget_is_month(int64_t month) {
        return month > -(INT64_C(1) << 31) && month < INT64_C(1) << 31;
}

int64_t budget_day_starts_unix_ms(int64_t day) {
        return day * DAY_MS;
}

/* Gregorian, with years that begin in March (H. Hinnant, "chrono-compatible low-level date algorithms"). */
int64_t budget_month(int64_t day) {
        int64_t shifted = day + 719468, era = floor_divide(shifted, 146097);
        int64_t day_of_era = shifted - era * 146097;
        int64_t year_of_era =
                (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        int64_t from_march = (5 * day_of_year + 2) / 153;
        return (era * 400 + year_of_era - 1970) * MONTHS + from_march + 2;
}

int64_t budget_month_starts_unix_ms(int64_t month) {
        int64_t from_march = month - 2, year = floor_divide(from_march, MONTHS) + 1970;
        int64_t month_of_year = from_march - floor_divide(from_march, MONTHS) * MONTHS;
        int64_t era = floor_divide(year, 400), year_of_era = year - era * 400;
        int64_t day_of_year = (153 * month_of_year + 2) / 5;
        int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        return budget_day_starts_unix_ms(era * 146097 + day_of_era - 719468);
}

/* ---- what is kept ---- */

void budget_spend_init(struct budget_spend *spend) {
        *spend = (struct budget_spend){0};
        for (int i = 0; i < 2; i++)
                spend->days[i].number = spend->months[i].number = BUDGET_NO_PERIOD;
}

/*
 * Two sums; not said in the type, of which GCC 12 believes under ASan that it is larger than what is given.
 */
static void add_to(struct budget_sum *sums, int64_t number, int64_t picousd) {
        for (int i = 0; i < 2; i++)
                if (sums[i].number == number)
                        sums[i].settled_picousd = money_add(sums[i].settled_picousd, picousd);
}

/* The periods of that day are there, in front if they are later than those that are known. */
static bool use_period(struct budget_sum sums[2], int64_t reserved[2], int64_t number) {
        if (sums[0].number == number)
                return false;
        struct budget_sum sum = {number, 0}, before = sums[0];
        int64_t held = 0, held_before = reserved[0];
        if (sums[1].number == number) {
                sum = sums[1];
                held = reserved[1];
        }
        sums[0] = sum;
        reserved[0] = held;
        sums[1] = before;
        reserved[1] = held_before;
        return true;
}

void budget_add_settled(struct budget_spend *spend, int64_t day, int64_t picousd) {
        int64_t none[2] = {0, 0}, month = budget_month(day);
        if (spend->days[0].number < day)
                use_period(spend->days, none, day);
        if (spend->months[0].number < month)
                use_period(spend->months, none, month);
        add_to(spend->days, day, picousd);
        add_to(spend->months, month, picousd);
        spend->lifetime_picousd = money_add(spend->lifetime_picousd, picousd);
}

/* ---- risks ---- */

static void remove_risk(struct budget_spend *spend, uint32_t index) {
        spend->risks_count--;
        for (uint32_t i = index; i < spend->risks_count; i++)
                spend->risks[i] = spend->risks[i + 1];
}

/* The younger day and the later release of both: it counts for no less, and for no shorter. */
static void merge_risks(struct budget_spend *spend, uint32_t into, uint32_t from) {
        struct budget_risk *a = &spend->risks[into];
        const struct budget_risk *b = &spend->risks[from];
        a->day = a->day > b->day ? a->day : b->day;
        a->release_unix_ms =
                a->release_unix_ms > b->release_unix_ms ? a->release_unix_ms : b->release_unix_ms;
        a->picousd = money_add(a->picousd, b->picousd);
        remove_risk(spend, from);
}

static bool is_kept(const struct budget_spend *spend, int64_t day) {
        return spend->days[0].number == day || spend->days[1].number == day;
}

/* How much is lost by counting the one with the other. */
static int distance(const struct budget_spend *spend, uint32_t a, uint32_t b) {
        int64_t x = spend->risks[a].day, y = spend->risks[b].day;
        if (x == y)
                return 0;
        if (is_kept(spend, x) || is_kept(spend, y))
                return 3;
        return budget_month(x) == budget_month(y) ? 1 : 2;
}

/* Of the same day, or else of the same month, or else the oldest. */
static void make_room(struct budget_spend *spend) {
        uint32_t into = 0, from = 1;
        for (uint32_t i = 1; i < spend->risks_count; i++) {
                for (uint32_t k = 0; k < i; k++) {
                        int now = distance(spend, k, i), best = distance(spend, into, from);
                        int64_t age = spend->risks[k].day / 2 + spend->risks[i].day / 2;
                        int64_t best_age = spend->risks[into].day / 2 + spend->risks[from].day / 2;
                        if (now > best || (now == best && age >= best_age))
                                continue;
                        into = k;
                        from = i;
                }
        }
        merge_risks(spend, into, from);
}

void budget_add_risk(struct budget_spend *spend, const struct budget_risk *risk) {
        if (risk->picousd == 0)
                return;
        for (uint32_t i = 0; i < spend->risks_count; i++) {
                struct budget_risk *other = &spend->risks[i];
                if (other->day != risk->day || other->release_unix_ms != risk->release_unix_ms)
                        continue;
                other->picousd = money_add(other->picousd, risk->picousd);
                return;
        }
        if (spend->risks_count == BUDGET_RISKS_MAX)
                make_room(spend);
        spend->risks[spend->risks_count++] = *risk;
}

/* Those that would stay longest first. */
void budget_take_risk(struct budget_spend *spend, int64_t day, int64_t picousd) {
        while (picousd > 0) {
                uint32_t last = UINT32_MAX;
                for (uint32_t i = 0; i < spend->risks_count; i++)
                        if (spend->risks[i].day == day &&
                            (last == UINT32_MAX ||
                             spend->risks[i].release_unix_ms > spend->risks[last].release_unix_ms))
                                last = i;
                if (last == UINT32_MAX)
                        return;
                int64_t taken = spend->risks[last].picousd < picousd ? spend->risks[last].picousd : picousd;
                spend->risks[last].picousd -= taken;
                picousd -= taken;
                if (spend->risks[last].picousd == 0)
                        remove_risk(spend, last);
        }
}

void budget_take_over(struct budget_spend *spend, const struct budget_allowed allowed[2],
                      int64_t release_unix_ms) {
        for (int i = 0; i < 2; i++)
                budget_add_risk(spend,
                                &(struct budget_risk){allowed[i].day, release_unix_ms, allowed[i].picousd});
}

int64_t budget_release_unix_ms(int64_t now_unix_ms, int64_t after_ns) {
        if (after_ns == 0)
                return BUDGET_KEPT;
        int64_t after_ms = after_ns / NS_MS + 1, step_ms = after_ms / RELEASE_STEPS + 1, at_ms;
        if (__builtin_add_overflow(now_unix_ms, after_ms + step_ms, &at_ms))
                return BUDGET_KEPT;
        return floor_divide(at_ms, step_ms) * step_ms;
}

/* Of one period, or, with BUDGET_NO_PERIOD, of all time. out_release_unix_ms: when the first of them goes. */
static int64_t risk_of(const struct budget_spend *spend, enum budget_kind kind, int64_t number,
                       int64_t *out_release_unix_ms, int64_t *out_kept_picousd) {
        int64_t sum = 0;
        *out_release_unix_ms = BUDGET_KEPT;
        *out_kept_picousd = 0;
        for (uint32_t i = 0; i < spend->risks_count; i++) {
                const struct budget_risk *risk = &spend->risks[i];
                bool there = kind == BUDGET_LIFETIME || (kind == BUDGET_DAILY && risk->day == number) ||
                             (kind == BUDGET_MONTHLY && budget_month(risk->day) == number);
                if (!there)
                        continue;
                sum = money_add(sum, risk->picousd);
                if (risk->release_unix_ms == BUDGET_KEPT)
                        *out_kept_picousd = money_add(*out_kept_picousd, risk->picousd);
                else if (risk->release_unix_ms < *out_release_unix_ms)
                        *out_release_unix_ms = risk->release_unix_ms;
        }
        return sum;
}

/* ---- ledgers ---- */

void ledger_init(struct ledger *ledger, const struct budget_spec *limit, bool fails) {
        *ledger = (struct ledger){.limit = *limit, .fails = fails};
        budget_spend_init(&ledger->spend);
}

bool ledger_takes_share(const struct budget_spec *limit, uint32_t part, uint32_t whole) {
        const int64_t limits[] = {limit->daily, limit->monthly, limit->lifetime};
        bool takes = whole == 0 || part < whole;
        for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
                takes = takes && (limits[i] == 0 || limits[i] >= whole);
        return takes;
}

void ledger_share(struct ledger *ledger, const struct budget_spec *limit, uint32_t part, uint32_t whole) {
        ledger->limit = *limit;
        ledger->part = part;
        ledger->whole = whole;
        CHECK(ledger_takes_share(limit, part, whole));
        if (whole == 0)
                return;
        int64_t *limits[] = {&ledger->limit.daily, &ledger->limit.monthly, &ledger->limit.lifetime};
        for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
                *limits[i] = part_of(*limits[i], part, whole);
}

/* What was allowed was for the day that has gone. */
static void end_allowance(struct allowance *allowance) {
        allowance->left_picousd = allowance->coming_picousd = allowance->taken_picousd = 0;
}

void ledger_roll(struct ledger *ledger, int64_t now_unix_ms) {
        struct budget_spend *spend = &ledger->spend;
        int64_t day = budget_day(now_unix_ms);
        if (spend->days[0].number != day) {
                use_period(spend->days, ledger->reserved_days, day);
                use_period(spend->months, ledger->reserved_months, budget_month(day));
                end_allowance(&ledger->allowance);
        }
        for (uint32_t i = spend->risks_count; i > 0; i--)
                if (spend->risks[i - 1].release_unix_ms <= now_unix_ms)
                        remove_risk(spend, i - 1);
}

bool budget_bounds(const struct budget_spec *budget) {
        return budget->daily > 0 || budget->monthly > 0 || budget->lifetime > 0;
}

bool ledger_bounded(const struct ledger *ledger) {
        return budget_bounds(&ledger->limit);
}

/* What one period looks like. */
struct standing {
        int64_t limit, settled, risk, kept, reserved;
        int64_t release_unix_ms; /* the first of the risks */
        int64_t ends_unix_ms;    /* the period */
};

static struct standing standing_of(const struct ledger *ledger, enum budget_kind kind) {
        const struct budget_spend *spend = &ledger->spend;
        struct standing at = {.ends_unix_ms = BUDGET_KEPT};
        int64_t number = BUDGET_NO_PERIOD;
        switch (kind) {
        case BUDGET_DAILY:
                number = spend->days[0].number;
                at.limit = ledger->limit.daily;
                at.settled = spend->days[0].settled_picousd;
                at.reserved = ledger->reserved_days[0];
                at.ends_unix_ms = budget_day_starts_unix_ms(number + 1);
                break;
        case BUDGET_MONTHLY:
                number = spend->months[0].number;
                at.limit = ledger->limit.monthly;
                at.settled = spend->months[0].settled_picousd;
                at.reserved = ledger->reserved_months[0];
                at.ends_unix_ms = budget_month_starts_unix_ms(number + 1);
                break;
        case BUDGET_LIFETIME:
        case BUDGET_KINDS_COUNT:
                at.limit = ledger->limit.lifetime;
                at.settled = spend->lifetime_picousd;
                at.reserved = ledger->reserved_picousd;
                break;
        }
        at.risk = risk_of(spend, kind, number, &at.release_unix_ms, &at.kept);
        return at;
}

static bool fits(int64_t limit, int64_t a, int64_t b, int64_t c) {
        return money_add(money_add(a, b), c) <= limit;
}

static enum budget_verdict verdict_of(const struct standing *at, int64_t picousd, int64_t *out_unix_ms) {
        if (at->limit == 0 || fits(at->limit, money_add(at->settled, at->risk), at->reserved, picousd))
                return BUDGET_NOW;
        if (picousd > at->limit)
                return BUDGET_NEVER;
        if (fits(at->limit, at->settled, at->risk, picousd))
                return BUDGET_SOON;
        bool helps = at->risk > at->kept && fits(at->limit, at->settled, at->kept, picousd);
        *out_unix_ms =
                helps && at->release_unix_ms < at->ends_unix_ms ? at->release_unix_ms : at->ends_unix_ms;
        return *out_unix_ms == BUDGET_KEPT ? BUDGET_NEVER : BUDGET_LATER;
}

static bool is_allowed(const struct ledger *ledger, int64_t picousd) {
        return !ledger->allowance.needed || picousd <= ledger->allowance.left_picousd;
}

/* What the limits say. */
static enum budget_verdict limits_when(const struct ledger *ledger, int64_t picousd, int64_t *out_unix_ms) {
        enum budget_verdict worst = BUDGET_NOW;
        int64_t when_unix_ms = INT64_MIN;
        CHECK(picousd >= 0);
        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                struct standing at = standing_of(ledger, (enum budget_kind)kind);
                int64_t at_unix_ms = INT64_MIN;
                enum budget_verdict verdict = verdict_of(&at, picousd, &at_unix_ms);
                worst = verdict > worst ? verdict : worst;
                if (verdict == BUDGET_LATER && at_unix_ms > when_unix_ms)
                        when_unix_ms = at_unix_ms;
        }
        if (worst == BUDGET_LATER && ledger->fails)
                return BUDGET_NEVER;
        if (worst == BUDGET_LATER)
                *out_unix_ms = when_unix_ms;
        return worst;
}

enum budget_verdict ledger_when(const struct ledger *ledger, int64_t picousd, int64_t *out_unix_ms) {
        enum budget_verdict verdict = limits_when(ledger, picousd, out_unix_ms);
        return verdict == BUDGET_NOW && !is_allowed(ledger, picousd) ? BUDGET_SOON : verdict;
}

/* ---- allowances ---- */

/* What the limits would still let through, if all that is reserved is spent. */
static int64_t room_of(const struct ledger *ledger) {
        int64_t room = PICOUSD_MAX;
        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                struct standing at = standing_of(ledger, (enum budget_kind)kind);
                int64_t used = money_add(money_add(at.settled, at.risk), at.reserved);
                if (at.limit > 0)
                        room = min64(room, max64(at.limit - used, 0));
        }
        return room;
}

void ledger_want(struct ledger *ledger, int64_t picousd) {
        int64_t when_unix_ms;
        struct allowance *allowance = &ledger->allowance;
        if (!is_allowed(ledger, picousd) && limits_when(ledger, picousd, &when_unix_ms) == BUDGET_NOW)
                allowance->wanted_picousd = max64(allowance->wanted_picousd, picousd);
}

bool ledger_is_short(const struct ledger *ledger) {
        const struct allowance *allowance = &ledger->allowance;
        int64_t soon = money_add(allowance->left_picousd, allowance->coming_picousd);
        if (!allowance->needed)
                return false;
        return allowance->wanted_picousd > 0 ||
               (soon < allowance->ahead_picousd / 2 && soon < room_of(ledger));
}

static void look_ahead(struct allowance *allowance) {
        int64_t ahead = allowance->ahead_picousd;
        if (allowance->wanted_picousd > 0)
                ahead = max64(money_add(ahead, ahead),
                              money_multiply(allowance->wanted_picousd, AHEAD_FIRST));
        else if (allowance->taken_picousd < ahead / AHEAD_SHARE)
                ahead /= 2;
        allowance->ahead_picousd = ahead;
        allowance->wanted_picousd = allowance->taken_picousd = 0;
}

void ledger_tell(struct ledger *ledger, bool last, struct budget_allowed out_allowed[2]) {
        struct allowance *allowance = &ledger->allowance;
        const struct budget_sum *days = ledger->spend.days;
        CHECK(allowance->coming_picousd == 0);
        if (allowance->needed) {
                look_ahead(allowance);
                int64_t target = last ? 0 : min64(allowance->ahead_picousd, room_of(ledger));
                allowance->left_picousd = min64(allowance->left_picousd, target); /* given back at once */
                allowance->coming_picousd = target - allowance->left_picousd;
        }
        int64_t soon = allowance->left_picousd + allowance->coming_picousd;
        out_allowed[0] = (struct budget_allowed){days[0].number, money_add(ledger->reserved_days[0], soon)};
        /* what is of days before that one counts as of it: the younger, the longer it counts */
        out_allowed[1] =
                (struct budget_allowed){days[1].number, ledger->reserved_picousd - ledger->reserved_days[0]};
        allowance->told_picousd = money_add(out_allowed[0].picousd, out_allowed[1].picousd);
}

void ledger_told(struct ledger *ledger, bool stands) {
        struct allowance *allowance = &ledger->allowance;
        if (stands)
                allowance->left_picousd += allowance->coming_picousd;
        allowance->coming_picousd = 0;
}

bool ledger_rests(struct ledger *ledger) {
        struct allowance *allowance = &ledger->allowance;
        if (allowance->told_picousd == 0 || allowance->coming_picousd > 0 || ledger->reserved_picousd > 0 ||
            ++allowance->rested < RESTS)
                return false;
        allowance->ahead_picousd = 0;
        return true;
}

int64_t ledger_reserve(struct ledger *ledger, int64_t picousd) {
        int64_t when;
        CHECK(ledger_when(ledger, picousd, &when) == BUDGET_NOW);
        CHECK(ledger->spend.days[0].number != BUDGET_NO_PERIOD);
        ledger->reserved_days[0] = money_add(ledger->reserved_days[0], picousd);
        ledger->reserved_months[0] = money_add(ledger->reserved_months[0], picousd);
        ledger->reserved_picousd = money_add(ledger->reserved_picousd, picousd);
        if (ledger->allowance.needed) {
                ledger->allowance.left_picousd -= picousd;
                ledger->allowance.taken_picousd = money_add(ledger->allowance.taken_picousd, picousd);
                ledger->allowance.rested = 0;
        }
        return ledger->spend.days[0].number;
}

static void unreserve(const struct budget_sum sums[2], int64_t reserved[2], int64_t number, int64_t picousd) {
        for (int i = 0; i < 2; i++) {
                if (sums[i].number != number)
                        continue;
                CHECK(reserved[i] >= picousd);
                reserved[i] -= picousd;
        }
}

void ledger_release(struct ledger *ledger, int64_t reserved_picousd, int64_t day) {
        CHECK(reserved_picousd >= 0 && ledger->reserved_picousd >= reserved_picousd);
        unreserve(ledger->spend.days, ledger->reserved_days, day, reserved_picousd);
        unreserve(ledger->spend.months, ledger->reserved_months, budget_month(day), reserved_picousd);
        ledger->reserved_picousd -= reserved_picousd;
}

void ledger_settle(struct ledger *ledger, int64_t reserved_picousd, int64_t day, int64_t spent_picousd) {
        ledger_release(ledger, reserved_picousd, day);
        add_to(ledger->spend.days, day, spent_picousd);
        add_to(ledger->spend.months, budget_month(day), spent_picousd);
        ledger->spend.lifetime_picousd = money_add(ledger->spend.lifetime_picousd, spent_picousd);
}

void ledger_hold(struct ledger *ledger, int64_t reserved_picousd, int64_t day,
                 const struct budget_risk *risk) {
        ledger_release(ledger, reserved_picousd, day);
        budget_add_risk(&ledger->spend, risk);
}

void ledger_view(const struct ledger *ledger, enum budget_kind kind, struct budget_view *out_view) {
        struct standing at = standing_of(ledger, kind);
        *out_view = (struct budget_view){.limit_picousd = at.limit,
                                         .settled_picousd = at.settled,
                                         .risk_picousd = at.risk,
                                         .reserved_picousd = at.reserved};
}

/* ---- the subjects of a catalog ---- */

static bool any_provider(const struct catalog *catalog) {
        bool any = false;
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                any = any || budget_bounds(&catalog->providers[i].budget);
        return any;
}

uint32_t budget_subjects(const struct catalog *catalog) {
        bool any = catalog->workspaces_count > 0 || any_provider(catalog);
        return any ? catalog->workspaces_count + catalog->providers_count : 0;
}

bool budget_any(const struct catalog *catalog) {
        bool any = any_provider(catalog);
        for (uint32_t i = 0; i < catalog->workspaces_count; i++)
                any = any || budget_bounds(&catalog->workspaces[i].budget);
        return any;
}

bool budget_is_counted(const struct catalog *catalog, uint32_t subject) {
        return subject < catalog->workspaces_count ||
               budget_bounds(&catalog->providers[subject - catalog->workspaces_count].budget);
}

uint32_t budget_workspace_subject(const struct catalog *catalog, uint32_t workspace) {
        return workspace < catalog->workspaces_count ? workspace : BUDGET_NO_SUBJECT;
}

uint32_t budget_provider_subject(const struct catalog *catalog, uint32_t endpoint) {
        uint32_t subject = catalog->workspaces_count + catalog->endpoints[endpoint].provider;
        return budget_is_counted(catalog, subject) ? subject : BUDGET_NO_SUBJECT;
}

uint32_t budget_lasting(const struct catalog *catalog, uint32_t subject) {
        return subject < catalog->workspaces_count ? 2 * subject
                                                   : 2 * (subject - catalog->workspaces_count) + 1;
}

uint32_t budget_of_lasting(const struct catalog *catalog, uint32_t lasting) {
        return lasting % 2 == 0 ? lasting / 2 : catalog->workspaces_count + lasting / 2;
}

const struct budget_spec *budget_of_subject(const struct catalog *catalog, uint32_t subject) {
        return subject < catalog->workspaces_count
                       ? &catalog->workspaces[subject].budget
                       : &catalog->providers[subject - catalog->workspaces_count].budget;
}

void budget_subject_ledger(const struct catalog *catalog, uint32_t subject, struct ledger *out_ledger) {
        bool fails = subject < catalog->workspaces_count &&
                     catalog->workspaces[subject].over_budget == OVER_BUDGET_FAIL;
        ledger_init(out_ledger, budget_of_subject(catalog, subject), fails);
}

int64_t budget_subject_release_unix_ms(const struct catalog *catalog, uint32_t subject, int64_t now_unix_ms) {
        int64_t after_ns = 0;
        if (subject < catalog->workspaces_count)
                return budget_release_unix_ms(now_unix_ms, catalog->workspaces[subject].release_unknown_ns);
        for (uint32_t i = 0; i < catalog->workspaces_count; i++) {
                if (catalog->workspaces[i].release_unknown_ns == 0)
                        return BUDGET_KEPT;
                after_ns = max64(after_ns, catalog->workspaces[i].release_unknown_ns);
        }
        return budget_release_unix_ms(now_unix_ms, after_ns);
}
