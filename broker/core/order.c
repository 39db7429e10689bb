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
        return PAIRING_ITEM(a, struct job_class, aged)->served <
               PAIRING_ITEM(b, struct job_class, aged)->served;
}

static bool class_older_of_all(const struct pairing_node *a, const struct pairing_node *b) {
        const struct job_class *x = PAIRING_ITEM(a, struct job_class, aged_of_all);
        return x->served < PAIRING_ITEM(b, struct job_class, aged_of_all)->served;
}

static void weigh(struct engine *engine, uint32_t index) {
        struct workspace_state *workspace = &engine->workspaces[index];
        const struct catalog *catalog = engine->catalog;
        int64_t weight = index < catalog->workspaces_count ? catalog->workspaces[index].weight : 1;
        weight = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
        workspace->weight = weight;
        workspace->call_cost = CALL_COST / weight;
}

void order_workspaces(struct engine *engine, uint32_t known) {
        engine->weight_waiting = 0;
        for (uint32_t i = 0; i < engine->workspaces_count; i++) {
                struct workspace_state *workspace = &engine->workspaces[i];
                weigh(engine, i);
                if (workspace->waiting > 0)
                        engine->weight_waiting += workspace->weight;
                if (i < known)
                        continue;
                pairing_init(&workspace->by_age, class_older);
                for (int priority = 0; priority < PRIORITIES; priority++)
                        pairing_init(&workspace->ranked[priority], class_before);
        }
}

void order_init(struct engine *engine) {
        list_init(&engine->blocked);
        pairing_init(&engine->by_share, workspace_before);
        pairing_init(&engine->by_age, class_older_of_all);
        order_workspaces(engine, 0);
}

/* ---- the queues ---- */

/* Another class of the workspace has jobs. */
static void join(struct engine *engine, struct workspace_state *workspace) {
        if (workspace->waiting++ > 0)
                return;
        engine->weight_waiting += workspace->weight;
        if (workspace->had < engine->share_now)
                workspace->had = engine->share_now;
}

static void leave(struct engine *engine, struct workspace_state *workspace) {
        if (--workspace->waiting == 0)
                engine->weight_waiting -= workspace->weight;
}

uint64_t order_openings(const struct engine *engine, const struct job_class *job_class) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < job_class->set.count; i++)
                sum += engine->endpoints[job_class->set.endpoints[i]].openings;
        return sum;
}

/* It has, or had, its turn. */
static void serve(const struct engine *engine, struct job_class *job_class) {
        job_class->served = engine->openings;
        job_class->passed = order_openings(engine, job_class);
}

static void put(struct engine *engine, struct job_class *job_class) {
        struct workspace_state *workspace = workspace_of(engine, job_class);
        struct pairing *ranked = &workspace->ranked[job_class->priority];
        if (workspace->priorities == 0)
                pairing_put(&engine->by_share, &workspace->node);
        workspace->priorities |= UINT32_C(1) << job_class->priority;
        pairing_put(ranked, &job_class->ranked);
        pairing_put(&workspace->by_age, &job_class->aged);
        pairing_put(&engine->by_age, &job_class->aged_of_all);
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
                pairing_remove(&workspace->by_age, &job_class->aged);
                pairing_remove(&engine->by_age, &job_class->aged_of_all);
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
                if (waited)
                        leave(engine, workspace);
                return;
        }
        if (!waited) {
                join(engine, workspace);
                serve(engine, job_class);
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

/*
 * Far more began where it might have been than by the weights, its rank and the guarantee it would have to
 * let pass.
 */
static bool passed_over(const struct engine *engine, const struct job_class *job_class) {
        const struct workspace_state *workspace = workspace_of(engine, job_class);
        uint64_t shares = (uint64_t)(engine->weight_waiting / workspace->weight) + 1;
        return order_openings(engine, job_class) - job_class->passed >
               2 * GUARANTEE * shares * workspace->waiting;
}

struct turn order_next(const struct engine *engine) {
        if (pairing_empty(&engine->by_age))
                return (struct turn){0};
        struct job_class *oldest = LIST_ENTRY(pairing_first(&engine->by_age), struct job_class, aged_of_all);
        if (passed_over(engine, oldest))
                return (struct turn){oldest, true};
        const struct workspace_state *workspace =
                LIST_ENTRY(pairing_first(&engine->by_share), struct workspace_state, node);
        if (workspace->since_guarantee >= GUARANTEE - 1)
                return (struct turn){LIST_ENTRY(pairing_first(&workspace->by_age), struct job_class, aged),
                                     true};
        int priority = 31 - __builtin_clz(workspace->priorities);
        struct pairing_node *first = pairing_first(&workspace->ranked[priority]);
        return (struct turn){LIST_ENTRY(first, struct job_class, ranked), false};
}

/* The next one of its like has its turn after so many jobs. */
static void count_burst(struct engine *engine, struct job_class *job_class) {
        if (++job_class->burst < CLASS_BURST)
                return;
        job_class->round = ++engine->rounds;
        job_class->burst = 0;
}

/* Counts calls for the workspace, or takes them back; a queue holds nothing whose order changes. */
static void charge(struct engine *engine, struct workspace_state *workspace, int64_t cost) {
        if (workspace->priorities != 0)
                pairing_remove(&engine->by_share, &workspace->node);
        workspace->had = workspace->had + cost > 0 ? workspace->had + cost : 0;
        if (workspace->priorities != 0)
                pairing_put(&engine->by_share, &workspace->node);
}

void order_opened(struct engine *engine, const struct turn *turn, uint32_t endpoint) {
        struct job_class *job_class = turn->job_class;
        struct workspace_state *workspace = workspace_of(engine, job_class);
        bool runnable = job_class->place == CLASS_RUNNABLE;
        if (runnable)
                take(engine, job_class);
        engine->openings++;
        engine->endpoints[endpoint].openings++;
        workspace->since_guarantee = turn->guaranteed ? 0 : workspace->since_guarantee + 1;
        serve(engine, job_class);
        count_burst(engine, job_class);
        engine->share_now = workspace->had;
        charge(engine, workspace, workspace->call_cost);
        if (runnable)
                put(engine, job_class);
}

void order_returned(struct engine *engine, uint32_t workspace) {
        charge(engine, &engine->workspaces[workspace], -engine->workspaces[workspace].call_cost);
}
