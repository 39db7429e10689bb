#include "broker/core/gate.h"

#include "broker/base/check.h"
#include "broker/base/part.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/limits.h"

#define MINUTE_NS (60 * NS_PER_S)
#define HOUR_NS   (60 * MINUTE_NS)
#define DAY_NS    (24 * HOUR_NS)

static const struct {
        size_t member; /* offset in struct limits_spec */
        enum unit unit;
        int64_t window_ns;
} quotas[QUOTAS_COUNT] = {
#define QUOTA(member, unit, window) {offsetof(struct limits_spec, member), UNIT_##unit, window##_NS},
#include "schemas/quotas.def"
#undef QUOTA
};

/* What the member counts, in the unit of its limiter. */
static const int64_t scales[UNITS_COUNT] = {
        [UNIT_CALLS] = 1, [UNIT_TOKENS] = 1, [UNIT_AUDIO_MS] = 1000, [UNIT_IMAGES] = 1};

static int64_t limit_of(const struct limits_spec *limits, enum quota quota) {
        int64_t limit = *(const int64_t *)(const void *)((const char *)limits + quotas[quota].member);
        int64_t scale = scales[quotas[quota].unit];
        if (limit <= 0)
                return 0;
        return limit < INT64_MAX / scale ? limit * scale : INT64_MAX;
}

const char *quota_text(enum quota quota) {
        static const char *const texts[QUOTAS_COUNT] = {
#define QUOTA(member, unit, window) #member,
#include "schemas/quotas.def"
#undef QUOTA
        };
        CHECK((unsigned)quota < QUOTAS_COUNT);
        return texts[quota];
}

bool quota_from_text(struct bytes text, enum quota *out_quota) {
        for (int quota = 0; quota < QUOTAS_COUNT; quota++) {
                if (!bytes_equal_string(text, quota_text((enum quota)quota)))
                        continue;
                *out_quota = (enum quota)quota;
                return true;
        }
        return false;
}

bool quota_is_long(enum quota quota) {
        return quotas[quota].window_ns > MINUTE_NS;
}

static enum unit unit_of(const struct gate *gate, uint32_t limiter) {
        return quotas[gate->quotas[limiter]].unit;
}

uint32_t gate_limiters(const struct limits_spec *limits) {
        uint32_t count = 0;
        for (int quota = 0; quota < QUOTAS_COUNT; quota++)
                count += limit_of(limits, (enum quota)quota) > 0;
        return count;
}

static void make_limiter(struct gate *gate, int quota, int64_t limit, struct gate_clock now,
                         struct limiter *limiter) {
        limiter_init(limiter, limit, quotas[quota].window_ns, now.now_ns);
        limiter_align(limiter, now.now_ns + now.wall_ahead_ns, now.now_ns);
        gate->new_quotas |= 1U << quota;
}

struct limiter *gate_init(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                          struct gate_clock now) {
        *gate = (struct gate){.limiters = limiters, .blocked_until_ns = INT64_MIN, .told_ns = now.now_ns};
        gate->concurrency = gate->concurrency_whole =
                limits->concurrency > 0 ? limits->concurrency : INT64_MAX;
        for (int quota = 0; quota < QUOTAS_COUNT; quota++) {
                int64_t limit = limit_of(limits, (enum quota)quota);
                if (limit == 0)
                        continue;
                make_limiter(gate, quota, limit, now, &limiters[gate->limiters_count]);
                gate->quotas[gate->limiters_count++] = (uint8_t)quota;
        }
        return limiters + gate->limiters_count;
}

int64_t gate_hourly(const struct gate *gate, const struct amounts *amounts) {
        int64_t most = INT64_MAX;
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                int64_t amount = amounts->of[unit_of(gate, i)], limit = gate->limiters[i].limit;
                int64_t minutes = gate->limiters[i].window_ns / MINUTE_NS;
                if (amount <= 0)
                        continue;
                int64_t calls = limit / amount;
                int64_t hourly = calls < INT64_MAX / 60 ? calls * 60 / minutes : INT64_MAX;
                most = hourly < most ? hourly : most;
        }
        return most;
}

int64_t gate_when_limited(struct gate *gate, const struct amounts *amounts, bool behind_opened,
                          int64_t now_ns) {
        int64_t when_ns = gate->blocked_until_ns > now_ns ? gate->blocked_until_ns : now_ns;
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                enum unit unit = unit_of(gate, i);
                if (amounts->of[unit] == 0)
                        continue;
                int64_t before = behind_opened ? gate->opened_amounts.of[unit] : 0;
                int64_t at_ns = limiter_when(&gate->limiters[i], amounts->of[unit] + before, now_ns);
                when_ns = at_ns > when_ns ? at_ns : when_ns;
        }
        return when_ns;
}

static void add_opened(struct gate *gate, const struct amounts *amounts, int64_t sign) {
        gate->opened += (uint32_t)sign;
        for (int unit = 0; unit < UNITS_COUNT; unit++)
                gate->opened_amounts.of[unit] += sign * amounts->of[unit];
}

void gate_open(struct gate *gate, const struct amounts *amounts) {
        add_opened(gate, amounts, 1);
}

void gate_unopen(struct gate *gate, const struct amounts *amounts) {
        CHECK(gate->opened > 0);
        add_opened(gate, amounts, -1);
}

void gate_take(struct gate *gate, const struct amounts *amounts, int64_t now_ns) {
        for (uint32_t i = 0; i < gate->limiters_count; i++)
                limiter_take(&gate->limiters[i], amounts->of[unit_of(gate, i)], now_ns);
        gate->in_flight++;
}

void gate_charge(struct gate *gate, const struct amounts *more, int64_t now_ns) {
        for (uint32_t i = 0; i < gate->limiters_count; i++)
                limiter_charge(&gate->limiters[i], more->of[unit_of(gate, i)], now_ns);
}

void gate_block(struct gate *gate, int64_t until_ns) {
        if (gate->blocked_until_ns < until_ns)
                gate->blocked_until_ns = until_ns;
}

int64_t gate_tokens_limited(const struct gate *gate, int64_t guess, int64_t said) {
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                const struct limiter *limiter = &gate->limiters[i];
                if (unit_of(gate, i) != UNIT_TOKENS)
                        continue;
                int64_t most = said <= limiter->limit ? limiter->limit : limiter->whole;
                if (said <= most && guess > most)
                        guess = most;
        }
        return guess;
}

static int64_t shares_of(int64_t limit, const uint32_t *parts, size_t count, uint32_t whole) {
        int64_t sum = whole == 0 ? limit : 0;
        for (size_t i = 0; i < count && whole > 0; i++)
                sum += part_of(limit, parts[i], whole);
        return sum;
}

struct limiter *gate_limiter(const struct gate *gate, enum quota quota) {
        for (uint32_t i = 0; i < gate->limiters_count; i++)
                if (gate->quotas[i] == quota)
                        return &gate->limiters[i];
        return NULL;
}

struct limiter *gate_change(struct gate *gate, const struct limits_spec *limits, struct limiter *limiters,
                            const uint32_t *parts, size_t count, uint32_t whole, struct gate_clock now) {
        const struct gate before = *gate;
        gate->limiters = limiters;
        gate->limiters_count = 0;
        for (int quota = 0; quota < QUOTAS_COUNT; quota++) {
                int64_t limit = limit_of(limits, (enum quota)quota);
                const struct limiter *was = gate_limiter(&before, (enum quota)quota);
                struct limiter *limiter = &limiters[gate->limiters_count];
                if (limit == 0)
                        continue;
                if (was)
                        *limiter = *was;
                else
                        make_limiter(gate, quota, limit, now, limiter);
                limiter_change(limiter, limit, shares_of(limit, parts, count, whole));
                gate->quotas[gate->limiters_count++] = (uint8_t)quota;
        }
        gate->concurrency = gate->concurrency_whole = INT64_MAX;
        if (limits->concurrency > 0) {
                gate->concurrency_whole = limits->concurrency;
                gate->concurrency = shares_of(limits->concurrency, parts, count, whole);
        }
        gate->epoch++;
        return limiters + gate->limiters_count;
}

/* Nobody has used the part for at least a window, or it is said what was used of it. */
static bool is_fresh(const struct limit_part *part, int64_t window_ns) {
        if (window_ns <= MINUTE_NS)
                return part->kind == PART_FRESH;
        return part->told || (part->kind == PART_FRESH && part->free_ns >= window_ns);
}

void gate_share(struct gate *gate, const struct limit_part *parts, size_t count, uint32_t whole,
                int64_t now_ns) {
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                struct limiter *limiter = &gate->limiters[i];
                int64_t kept = 0, fresh = 0, used = 0;
                for (size_t j = 0; j < count; j++) {
                        int64_t share = part_of(limiter->whole, parts[j].part, whole);
                        if (parts[j].kind == PART_KEPT)
                                kept += share;
                        else if (is_fresh(&parts[j], limiter->window_ns))
                                fresh += share;
                        else
                                used += share;
                }
                limiter_share(limiter, kept, fresh, used, now_ns);
        }
        if (gate->concurrency_whole != INT64_MAX) {
                gate->concurrency = 0;
                for (size_t j = 0; j < count; j++)
                        gate->concurrency += part_of(gate->concurrency_whole, parts[j].part, whole);
        }
        gate->epoch++;
}

void gate_release(struct gate *gate, uint32_t part, uint32_t whole, int64_t now_ns,
                  void (*each)(void *userdata, enum quota quota, int64_t until_ns, int64_t amount),
                  void *userdata) {
        int64_t taken[LIMITER_RING], until_ns;
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                struct limiter *limiter = &gate->limiters[i];
                limiter_give(limiter, part_of(limiter->whole, part, whole), now_ns, taken);
                for (uint32_t back = 0; back < LIMITER_RING && quota_is_long(gate->quotas[i]); back++) {
                        limiter_taken(limiter, back, &until_ns);
                        if (taken[back] > 0)
                                each(userdata, (enum quota)gate->quotas[i], until_ns, taken[back]);
                }
        }
        if (gate->concurrency_whole != INT64_MAX)
                gate->concurrency -= part_of(gate->concurrency_whole, part, whole);
}

/* Of what is counted by estimates, an eighth more: an estimate may grow until the call. */
static int64_t opened_at_most(enum unit unit, int64_t amount) {
        return unit == UNIT_TOKENS || unit == UNIT_AUDIO_MS ? amount + amount / 8 : amount;
}

int64_t gate_opened(const struct gate *gate, enum quota quota) {
        enum unit unit = quotas[quota].unit;
        return opened_at_most(unit, gate->opened_amounts.of[unit]);
}

bool gate_covers(const struct gate *gate, const struct amounts *opened, const struct amounts *amounts) {
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                enum unit unit = unit_of(gate, i);
                if (quota_is_long(gate->quotas[i]) &&
                    amounts->of[unit] > opened_at_most(unit, opened->of[unit]))
                        return false;
        }
        return true;
}

bool gate_crowded(const struct gate *gate, const struct amounts *amounts) {
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                int64_t opened = gate->opened_amounts.of[unit_of(gate, i)];
                if (quota_is_long(gate->quotas[i]) && opened > 0 &&
                    opened + amounts->of[unit_of(gate, i)] > gate->limiters[i].limit / OPENED_PART)
                        return true;
        }
        return false;
}
