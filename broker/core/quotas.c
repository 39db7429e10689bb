/*
 * See the header. Times of the wall clock are reckoned from the monotonic one by a difference that changes
 * only when the clock was set; then all that is known is told anew, by the new clock.
 */
#include "broker/core/quotas.h"

#include "broker/base/check.h"
#include "broker/base/minmax.h"
#include "broker/base/time.h"

#include <stdlib.h>

/* What is older concerns no window; so much later than now nothing was taken. */
#define OLDEST_MS (INT64_C(3) * 86400 * 1000)

static uint32_t name_of(enum quota_of of, uint32_t index) {
        return index * QUOTA_OF_COUNT + (uint32_t)of;
}

static struct gate *gate_of(struct engine *engine, enum quota_of of, uint32_t index) {
        const struct catalog *catalog = engine->catalog;
        switch (of) {
        case QUOTA_OF_PROVIDER:
                return index < catalog->providers_count ? &engine->providers[index] : NULL;
        case QUOTA_OF_ENDPOINT:
                return index < catalog->endpoints_count ? &engine->endpoints[index].gate : NULL;
        case QUOTA_OF_WORKSPACE:
                return index < engine->workspaces_count ? &engine->workspaces[index].gate : NULL;
        case QUOTA_OF_COUNT:
                break;
        }
        return NULL;
}

static void each_gate(struct engine *engine, void (*each)(struct engine *, enum quota_of, uint32_t)) {
        for (uint32_t i = 0; i < engine->catalog->providers_count; i++)
                each(engine, QUOTA_OF_PROVIDER, i);
        for (uint32_t i = 0; i < engine->catalog->endpoints_count; i++)
                each(engine, QUOTA_OF_ENDPOINT, i);
        for (uint32_t i = 0; i < engine->workspaces_count; i++)
                each(engine, QUOTA_OF_WORKSPACE, i);
}

uint32_t *quotas_make(const struct catalog *catalog) {
        return calloc((size_t)catalog->providers_count + catalog->endpoints_count +
                              catalog->workspaces_count + 1,
                      sizeof(uint32_t));
}

static int64_t wall_ahead_ns(const struct engine *engine) {
        return engine->time.now_unix_ms * NS_PER_MS - engine->time.now_ns;
}

bool quotas_init(struct engine *engine) {
        engine->untold = quotas_make(engine->catalog);
        engine->quotas_ahead_ns = wall_ahead_ns(engine);
        return engine->untold != NULL;
}

void quotas_follow(struct engine *engine, uint32_t *untold) {
        for (uint32_t i = 0; i < engine->untold_count; i++)
                untold[i] = engine->untold[i];
        free(engine->untold);
        engine->untold = untold;
}

void quotas_deinit(struct engine *engine) {
        free(engine->untold);
}

static void touch(struct engine *engine, enum quota_of of, uint32_t index) {
        struct gate *gate = gate_of(engine, of, index);
        if (!engine->config.quotas_kept || gate->untold || gate->limiters_count == 0)
                return;
        gate->untold = true;
        engine->untold[engine->untold_count++] = name_of(of, index);
}

void quotas_touch(struct engine *engine, const struct job *job) {
        touch(engine, QUOTA_OF_PROVIDER, engine->catalog->endpoints[job->endpoint].provider);
        touch(engine, QUOTA_OF_ENDPOINT, job->endpoint);
        touch(engine, QUOTA_OF_WORKSPACE, engine_workspace(engine, job));
}

static void touch_all(struct engine *engine, enum quota_of of, uint32_t index) {
        touch(engine, of, index);
        gate_of(engine, of, index)->untold_all = true;
}

struct gate_clock quotas_clock(struct engine *engine) {
        int64_t ahead_ns = wall_ahead_ns(engine), moved_ns = ahead_ns - engine->quotas_ahead_ns;
        if (moved_ns > CLOCK_SET_MS * NS_PER_MS || moved_ns < -CLOCK_SET_MS * NS_PER_MS) {
                engine->quotas_ahead_ns = ahead_ns;
                each_gate(engine, touch_all);
        }
        return (struct gate_clock){engine->time.now_ns, engine->quotas_ahead_ns};
}

bool quotas_cover(const struct engine *engine, const struct job *job, const struct gates *gates,
                  const struct amounts *amounts) {
        bool covered = true;
        for (size_t i = 0; i < GATES_A_CALL && engine->config.quotas_kept; i++)
                covered = covered && gate_covers(gates->items[i], &job->amounts, amounts);
        return covered;
}

bool quotas_crowded(const struct gates *gates, const struct amounts *amounts) {
        bool crowded = false;
        for (size_t i = 0; i < GATES_A_CALL; i++)
                crowded = crowded || gate_crowded(gates->items[i], amounts);
        return crowded;
}

void quotas_called(struct engine *engine, const struct gates *gates, const struct amounts *opened) {
        for (size_t i = 0; i < GATES_A_CALL && engine->config.quotas_kept; i++) {
                if (!gate_crowded(gates->items[i], opened))
                        continue;
                gates->items[i]->epoch++;
                engine_wake_at(engine, engine->time.now_ns); /* this turn's look at the classes is over */
        }
}

/* ---- telling ---- */

struct telling {
        void (*each)(void *userdata, const struct quota_use *use);
        void *userdata;
        int64_t ahead_ns;
        struct quota_use use;
};

/* Which of the ring: sub-windows one after the other have places one after the other. */
static uint32_t place_of(int64_t until_wall_ns, int64_t width_ns) {
        int64_t number = until_wall_ns / width_ns + (until_wall_ns % width_ns > 0);
        return (uint32_t)((number % LIMITER_RING + LIMITER_RING) % LIMITER_RING);
}

static void tell(struct telling *telling, enum quota quota, int64_t until_ns, int64_t amount) {
        telling->use.quota = quota;
        telling->use.until_unix_ms = (until_ns + telling->ahead_ns) / NS_PER_MS;
        telling->use.amount = amount;
        telling->each(telling->userdata, &telling->use);
}

static void tell_gate(struct telling *telling, struct gate *gate, int64_t now_ns) {
        for (uint32_t i = 0; i < gate->limiters_count; i++) {
                const struct limiter *limiter = &gate->limiters[i];
                enum quota quota = (enum quota)gate->quotas[i];
                for (uint32_t back = 0; back < LIMITER_RING; back++) {
                        int64_t until_ns, amount = limiter_taken(limiter, back, &until_ns);
                        if (back > 0 && until_ns <= gate->told_ns && !gate->untold_all)
                                break;
                        telling->use.opened = back == 0 ? gate_opened(gate, quota) : 0;
                        telling->use.place = place_of(until_ns + telling->ahead_ns, limiter->width_ns);
                        tell(telling, quota, until_ns, amount);
                }
        }
        gate->untold = gate->untold_all = false;
        gate->told_ns = now_ns;
}

void engine_quotas_take(struct engine *engine, void (*each)(void *userdata, const struct quota_use *use),
                        void *userdata) {
        if (!engine->config.quotas_kept)
                return;
        struct gate_clock clock = quotas_clock(engine);
        struct telling telling = {.each = each, .userdata = userdata, .ahead_ns = clock.wall_ahead_ns};
        for (uint32_t i = 0; i < engine->untold_count; i++) {
                telling.use.of = (enum quota_of)(engine->untold[i] % QUOTA_OF_COUNT);
                telling.use.index = engine->untold[i] / QUOTA_OF_COUNT;
                tell_gate(&telling, gate_of(engine, telling.use.of, telling.use.index), clock.now_ns);
        }
        engine->untold_count = 0;
}

/* ---- hearing ---- */

/*
 * What a clock that was wrong calls the future was taken now. Of paced limits sub-windows are short, and not
 * those of the clock.
 */
static void hear(struct engine *engine, struct limiter *limiter, const struct quota_use *use) {
        int64_t now_unix_ms = engine->time.now_unix_ms, now_ns = engine->time.now_ns;
        int64_t until_ms = min64(use->until_unix_ms, now_unix_ms + OLDEST_MS);
        if (!quota_is_long(use->quota))
                until_ms += CLOCK_SET_MS;
        if (until_ms > now_unix_ms - OLDEST_MS)
                limiter_add(limiter, max64(use->amount, 0), until_ms * NS_PER_MS - engine->quotas_ahead_ns,
                            now_ns);
        limiter_add(limiter, max64(use->opened, 0), now_ns + 1, now_ns);
}

static void forget_new(struct engine *engine, enum quota_of of, uint32_t index) {
        gate_of(engine, of, index)->new_quotas = 0;
}

void engine_quotas_load(struct engine *engine, struct engine_time now, const struct quota_use *uses,
                        size_t count) {
        CHECK(!engine->out && now.now_ns >= engine->time.now_ns);
        engine->time = now;
        quotas_clock(engine);
        for (size_t i = 0; i < count; i++) {
                struct gate *gate = gate_of(engine, uses[i].of, uses[i].index);
                struct limiter *limiter = gate ? gate_limiter(gate, uses[i].quota) : NULL;
                if (!limiter || !(gate->new_quotas & 1U << uses[i].quota))
                        continue;
                hear(engine, limiter, &uses[i]);
                touch_all(engine, uses[i].of, uses[i].index);
        }
        each_gate(engine, forget_new);
        engine->wake_ns = now.now_ns;
}

/* ---- parts ---- */

void quotas_merge(struct engine *engine, const struct limit_part *part) {
        for (size_t i = 0; i < part->uses_count && part->told && part->kind != PART_KEPT; i++) {
                const struct quota_use *use = &part->uses[i];
                struct gate *gate = gate_of(engine, use->of, use->index);
                struct limiter *limiter = gate ? gate_limiter(gate, use->quota) : NULL;
                if (limiter && quota_is_long(use->quota))
                        hear(engine, limiter, use);
        }
}

static void tell_part(void *userdata, enum quota quota, int64_t until_ns, int64_t amount) {
        tell(userdata, quota, until_ns, amount);
}

static bool remove_part(struct engine *engine, uint32_t part) {
        size_t at = 0;
        while (at < engine->parts_count && engine->parts[at] != part)
                at++;
        if (at == engine->parts_count)
                return false;
        engine->parts_count--;
        for (; at < engine->parts_count; at++)
                engine->parts[at] = engine->parts[at + 1];
        return true;
}

void engine_release(struct engine *engine, struct engine_time now, uint32_t part,
                    void (*each)(void *userdata, const struct quota_use *use), void *userdata) {
        CHECK(now.now_ns >= engine->time.now_ns);
        engine->time = now;
        if (!remove_part(engine, part))
                return;
        struct gate_clock clock = quotas_clock(engine);
        struct telling telling = {.each = each, .userdata = userdata, .ahead_ns = clock.wall_ahead_ns};
        for (int of = 0; of < QUOTA_OF_COUNT; of++) {
                struct gate *gate;
                telling.use.of = (enum quota_of)of;
                for (uint32_t i = 0; (gate = gate_of(engine, telling.use.of, i)) != NULL; i++) {
                        telling.use.index = i;
                        gate_release(gate, part, engine->parts_whole, now.now_ns, tell_part, &telling);
                }
        }
}
