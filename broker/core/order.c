#include "broker/core/order.h"

#include "broker/base/check.h"
#include "broker/core/classes.h"

/* One call of a workspace of weight 1. */
#define CALL_COST (INT64_C(1) << 30)

static struct workspace_state *workspace_of(const struct engine *engine, const struct job_class *job_class) {
        return &engine->workspaces[job_class->workspace];
}

static bool workspace_before(const struct pairing_node *a, const struct pairing_node *b) {
        const struct workspace_state *x = PAIRING_ITEM(a, struct workspace_state, node);
        const struct workspace_state *y = PAIRING_ITEM(b, struct workspace_state, node);
        return x->had < y->had;
}

/* 0 is no deadline, and comes last. */
static uint64_t deadline_rank(int64_t unix_ms) {
        return (uint64_t)unix_ms - 1;
}

static bool class_before(const struct pairing_node *a, const struct pairing_node *b) {
        const struct job_class *x = PAIRING_ITEM(a, struct job_class, ranked);
        const struct job_class *y = PAIRING_ITEM(b, struct job_class, ranked);
        if (x->deadline_unix_ms != y->deadline_unix_ms)
                return deadline_rank(x->deadline_unix_ms) < deadline_rank(y->deadline_unix_ms);
        return x->round < y->round;
}

static bool class_older(const struct pairing_node *a, const struct pairing_node *b) {
        const struct job_class *x = PAIRING_ITEM(a, struct job_class, aged);
        const struct job_class *y = PAIRING_ITEM(b, struct job_class, aged);
        return x->served < y->served;
}

void order_init(struct engine *engine) {
        list_init(&engine->blocked);
        pairing_init(&engine->by_share, workspace_before);
        pairing_init(&engine->by_age, class_older);
        for (uint32_t i = 0; i < engine->workspaces_count; i++) {
                struct workspace_state *workspace = &engine->workspaces[i];
                const struct catalog *catalog = engine->catalog;
                int64_t weight = i < catalog->workspaces_count ? catalog->workspaces[i].weight : 1;
                weight = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
                workspace->call_cost = CALL_COST / weight;
                for (int priority = 0; priority < PRIORITIES; priority++)
                        pairing_init(&workspace->ranked[priority], class_before);
        }
}

/* ---- the queues ---- */

static void join_share(struct engine *engine, struct workspace_state *workspace) {
        if (workspace->waiting++ == 0 && workspace->had < engine->share_now)
                workspace->had = engine->share_now;
}

static void put(struct engine *engine, struct job_class *job_class) {
        struct workspace_state *workspace = workspace_of(engine, job_class);
        struct pairing *ranked = &workspace->ranked[job_class->priority];
        if (workspace->priorities == 0)
                pairing_put(&engine->by_share, &workspace->node);
        workspace->priorities |= UINT32_C(1) << job_class->priority;
        pairing_put(ranked, &job_class->ranked);
        pairing_put(&engine->by_age, &job_class->aged);
        job_class->place = CLASS_RUNNABLE;
}

/* Out of whatever queue it is in. */
static void take(struct engine *engine, struct job_class *job_class) {
        struct workspace_state *workspace = workspace_of(engine, job_class);
        if (job_class->place == CLASS_BLOCKED) {
                list_unlink(&job_class->link);
        } else if (job_class->place == CLASS_RUNNABLE) {
                struct pairing *ranked = &workspace->ranked[job_class->priority];
                pairing_remove(ranked, &job_class->ranked);
                pairing_remove(&engine->by_age, &job_class->aged);
                if (pairing_empty(ranked))
                        workspace->priorities &= ~(UINT32_C(1) << job_class->priority);
                if (workspace->priorities == 0)
                        pairing_remove(&engine->by_share, &workspace->node);
        }
}

void order_head(struct engine *engine, struct job_class *job_class) {
        const struct job *first = classes_first(job_class);
        struct workspace_state *workspace = workspace_of(engine, job_class);
        bool waited = job_class->place != CLASS_IDLE;
        take(engine, job_class);
        job_class->blocked_until_ns = INT64_MIN;
        job_class->place = CLASS_IDLE;
        if (!first) {
                workspace->waiting -= waited;
                return;
        }
        if (!waited) {
                join_share(engine, workspace);
                job_class->served = engine->openings;
                job_class->round = ++engine->rounds;
                job_class->burst = 0;
        }
        job_class->deadline_unix_ms = first->spec->deadline_unix_ms;
        put(engine, job_class);
}

void order_block(struct engine *engine, struct job_class *job_class, int64_t until_ns) {
        CHECK(job_class->place == CLASS_RUNNABLE);
        take(engine, job_class);
        job_class->place = CLASS_BLOCKED;
        job_class->blocked_until_ns = until_ns;
        job_class->blocked_epoch = classes_epoch(engine, job_class);
        list_append(&engine->blocked, &job_class->link);
        engine_wake_at(engine, until_ns);
}

/* What the workspaces had counts for half after a half-life; only how far they are apart matters. */
static void forget(struct engine *engine) {
        int64_t halves = (engine->time.now_ns - engine->share_since_ns) / SHARE_HALF_LIFE_NS;
        if (halves == 0)
                return;
        engine->share_since_ns += halves * SHARE_HALF_LIFE_NS;
        int64_t least = engine->share_now;
        for (uint32_t i = 0; i < engine->workspaces_count; i++)
                if (engine->workspaces[i].waiting > 0 && engine->workspaces[i].had < least)
                        least = engine->workspaces[i].had;
        int shift = halves < 62 ? (int)halves : 62;
        for (uint32_t i = 0; i < engine->workspaces_count; i++) {
                int64_t ahead = engine->workspaces[i].had - least;
                engine->workspaces[i].had = ahead > 0 ? ahead >> shift : 0;
        }
        engine->share_now = (engine->share_now - least) >> shift;
}

void order_wake(struct engine *engine) {
        forget(engine);
        struct list *next;
        for (struct list *link = engine->blocked.next; link != &engine->blocked; link = next) {
                struct job_class *job_class = LIST_ENTRY(link, struct job_class, link);
                next = link->next;
                if (job_class->blocked_until_ns > engine->time.now_ns &&
                    job_class->blocked_epoch == classes_epoch(engine, job_class))
                        engine_wake_at(engine, job_class->blocked_until_ns);
                else
                        order_head(engine, job_class);
        }
}

/* ---- turns ---- */

/* Since the last time, there or over all, so many others had their turn. */
static bool guarantee_due(const struct engine *engine, const struct job_class *job_class) {
        if (engine->since_guarantee >= GUARANTEE - 1)
                return true;
        for (uint32_t i = 0; i < job_class->set.count; i++)
                if (engine->endpoints[job_class->set.endpoints[i]].since_guarantee >= GUARANTEE - 1)
                        return true;
        return false;
}

struct turn order_next(const struct engine *engine) {
        if (pairing_empty(&engine->by_age))
                return (struct turn){0};
        struct job_class *oldest = LIST_ENTRY(pairing_first(&engine->by_age), struct job_class, aged);
        if (guarantee_due(engine, oldest))
                return (struct turn){oldest, true};
        const struct workspace_state *workspace =
                LIST_ENTRY(pairing_first(&engine->by_share), struct workspace_state, node);
        int priority = 31 - __builtin_clz(workspace->priorities);
        struct pairing_node *first = pairing_first(&workspace->ranked[priority]);
        return (struct turn){LIST_ENTRY(first, struct job_class, ranked), false};
}

static void count(uint32_t *since, bool guaranteed) {
        *since = guaranteed ? 0 : *since < GUARANTEE ? *since + 1 : *since;
}

void order_opened(struct engine *engine, const struct turn *turn, uint32_t endpoint) {
        struct job_class *job_class = turn->job_class;
        struct workspace_state *workspace = workspace_of(engine, job_class);
        count(&engine->since_guarantee, turn->guaranteed);
        count(&engine->endpoints[endpoint].since_guarantee, turn->guaranteed);
        bool runnable = job_class->place == CLASS_RUNNABLE;
        if (runnable)
                take(engine, job_class);
        job_class->served = ++engine->openings;
        if (++job_class->burst >= CLASS_BURST) {
                job_class->round = ++engine->rounds;
                job_class->burst = 0;
        }
        bool shares = workspace->priorities != 0;
        if (shares)
                pairing_remove(&engine->by_share, &workspace->node);
        engine->share_now = workspace->had;
        workspace->had += workspace->call_cost;
        if (shares)
                pairing_put(&engine->by_share, &workspace->node);
        if (runnable)
                put(engine, job_class);
}

void order_returned(struct engine *engine, uint32_t index) {
        struct workspace_state *workspace = &engine->workspaces[index];
        bool shares = workspace->priorities != 0;
        if (shares)
                pairing_remove(&engine->by_share, &workspace->node);
        workspace->had = workspace->had > workspace->call_cost ? workspace->had - workspace->call_cost : 0;
        if (shares)
                pairing_put(&engine->by_share, &workspace->node);
}
