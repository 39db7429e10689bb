#include "broker/core/classes.h"

#include "broker/base/check.h"
#include "broker/core/order.h"
#include "broker/core/planning.h"
#include "broker/core/spend.h"

/* Earliest deadline first; those without one last. */
static bool job_before(const struct job *a, const struct job *b) {
        if (a->due_unix_ms != b->due_unix_ms)
                return (uint64_t)a->due_unix_ms - 1 < (uint64_t)b->due_unix_ms - 1; /* 0 is none */
        return a->arrival < b->arrival;
}

static bool node_before(const struct pairing_node *a, const struct pairing_node *b) {
        return job_before(PAIRING_ITEM(a, struct job, node), PAIRING_ITEM(b, struct job, node));
}

static uint64_t mix(uint64_t hash, uint64_t value) {
        hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
        return hash ^ hash >> 32;
}

/*
 * A class's name: its jobs' class key, told apart by workspace, by what is closed to them, by haste, by whose
 * budgets they have, and by the catalog for which their places were numbered.
 */
static struct key128 name_class(const struct engine *engine, const struct job *job, uint32_t closed,
                                bool pressed, uint32_t generation) {
        struct key128 key = job->spec->class_key;
        uint64_t haste = (uint64_t)pressed << 1 | (job->spec->deadline_unix_ms != 0);
        uint32_t part = spend_part(engine, job);
        if (part > 0)
                key.lo = mix(key.lo, part);
        key.hi = mix(mix(key.hi, (uint64_t)generation << 32 | closed),
                     (uint64_t)engine_workspace(engine, job) << 2 | haste);
        return key;
}

/* There are as many as jobs. Memory of those that were never needed at one time is never touched. */
static struct job_class *take_class(struct engine *engine) {
        if (list_empty(&engine->free_classes)) {
                CHECK(engine->classes_made < engine->config.jobs_max);
                return &engine->classes[engine->classes_made++];
        }
        struct job_class *taken = LIST_ENTRY(engine->free_classes.next, struct job_class, link);
        list_unlink(&taken->link);
        return taken;
}

static void enter(struct engine *engine, struct job *job, const struct route_set *set, uint32_t closed,
                  uint32_t generation) {
        uint32_t index;
        bool pressed = engine_pressed(engine, job);
        struct key128 key = name_class(engine, job, closed, pressed, generation);
        if (!map_get(&engine->by_class, key, &index)) {
                struct job_class *made = take_class(engine);
                index = (uint32_t)(made - engine->classes);
                *made = (struct job_class){.key = key,
                                           .set = *set,
                                           .closed = closed,
                                           .pressed = pressed,
                                           .generation = generation,
                                           .matched = engine->generation,
                                           .workspace = engine_workspace(engine, job),
                                           .part = spend_part(engine, job),
                                           .blocked_until_ns = INT64_MIN};
                made->priority = (uint32_t)(job->spec->priority - PRIORITY_MIN);
                list_init(&made->in_order);
                pairing_init(&made->waiting, node_before);
                CHECK(map_put(&engine->by_class, key, index));
                planning_join(engine, made, job);
        }
        engine->classes[index].jobs++;
        job->job_class = index;
}

bool classes_join(struct engine *engine, struct job *job) {
        uint32_t index;
        struct route_set matched;
        const struct route_set *set = &matched;
        if (map_get(&engine->by_class,
                    name_class(engine, job, 0, engine_pressed(engine, job), engine->generation), &index))
                set = &engine->classes[index].set;
        else
                route_match(engine->catalog, job_demand(job), &matched);
        if (set->count == 0)
                return false;
        enter(engine, job, set, 0, engine->generation);
        return true;
}

/* The job is in no queue. */
static void change(struct engine *engine, struct job *job, uint32_t closed) {
        struct route_set set = engine->classes[job->job_class].set;
        uint32_t generation = engine->classes[job->job_class].generation;
        classes_leave(engine,
                      job); /* first: it may be the last one there, and its class the one that is needed */
        enter(engine, job, &set, closed, generation);
}

void classes_move(struct engine *engine, struct job *job, uint32_t closed) {
        classes_dequeue(engine, job);
        change(engine, job, closed);
        classes_enqueue(engine, job);
}

void classes_leave(struct engine *engine, struct job *job) {
        if (job->job_class == NO_CLASS)
                return;
        struct job_class *job_class = &engine->classes[job->job_class];
        job->job_class = NO_CLASS;
        if (--job_class->jobs > 0)
                return;
        CHECK(!classes_first(job_class));
        map_remove(&engine->by_class, job_class->key);
        planning_leave(engine, job_class);
        list_prepend(&engine->free_classes, &job_class->link); /* to be taken first: it is at hand */
}

/* Behind all that are in the class, as most are when they come. */
static bool comes_last(const struct job_class *job_class, const struct job *job) {
        if (job->due_unix_ms != 0)
                return false;
        struct list *last = job_class->in_order.prev;
        return last == &job_class->in_order || LIST_ENTRY(last, struct job, link)->arrival < job->arrival;
}

void classes_enqueue(struct engine *engine, struct job *job) {
        const struct job_class *had = &engine->classes[job->job_class];
        if (had->pressed != engine_pressed(engine, job) || had->part != spend_part(engine, job))
                change(engine, job, had->closed);
        struct job_class *job_class = &engine->classes[job->job_class];
        if (job->arrival == 0)
                job->arrival = ++engine->arrivals;
        planning_waits(engine, job);
        job->due_unix_ms = job->spec->deadline_unix_ms;
        if (comes_last(job_class, job))
                list_append(&job_class->in_order, &job->link);
        else
                pairing_put(&job_class->waiting, &job->node);
        if (classes_first(job_class) == job)
                order_head(engine, job_class);
}

void classes_dequeue(struct engine *engine, struct job *job) {
        struct job_class *job_class = &engine->classes[job->job_class];
        bool first = classes_first(job_class) == job;
        planning_waits_no_more(engine, job);
        if (list_linked(&job->link))
                list_unlink(&job->link);
        else
                pairing_remove(&job_class->waiting, &job->node);
        if (first)
                order_head(engine, job_class);
}

static void match_again(struct engine *engine, struct job_class *job_class, const struct job *job) {
        uint64_t before = order_openings(engine, job_class);
        route_match_again(engine->catalog, job_demand(job), &job_class->set);
        job_class->passed += order_openings(engine, job_class) - before;
        job_class->matched = engine->generation;
        planning_join(engine, job_class, job);
}

/* Where a budget applies from now on, or does no longer: jobs of each partition wait for their own. */
static void split_classes(struct engine *engine) {
        for (uint32_t i = 0; i < engine->config.jobs_max; i++) {
                struct job *job = &engine->jobs[i];
                if (job->state != JOB_WAITING ||
                    engine->classes[job->job_class].part == spend_part(engine, job))
                        continue;
                classes_dequeue(engine, job);
                classes_enqueue(engine, job);
        }
}

void classes_match_again(struct engine *engine) {
        planning_dissolve(engine);
        engine->generation++;
        for (uint32_t i = 0; i < engine->config.jobs_max; i++) {
                struct job *job = &engine->jobs[i];
                if (job->state == JOB_FREE || job->job_class == NO_CLASS)
                        continue;
                if (engine->classes[job->job_class].matched != engine->generation)
                        match_again(engine, &engine->classes[job->job_class], job);
                if (job->state == JOB_WAITING)
                        planning_waits(engine, job);
        }
        split_classes(engine);
        engine->epoch++; /* what was blocked is looked at again */
}

struct job *classes_first(const struct job_class *job_class) {
        struct list *link = job_class->in_order.next;
        struct pairing_node *node = pairing_first(&job_class->waiting);
        struct job *came = link != &job_class->in_order ? LIST_ENTRY(link, struct job, link) : NULL;
        struct job *other = node ? LIST_ENTRY(node, struct job, node) : NULL;
        if (!came || !other)
                return came ? came : other;
        return job_before(other, came) ? other : came;
}

uint64_t classes_epoch(const struct engine *engine, const struct job_class *job_class) {
        uint64_t sum = engine->epoch + engine->workspaces[job_class->workspace].gate.epoch +
                       spend_epoch(engine, job_class->workspace, job_class->part);
        for (uint32_t i = 0; i < job_class->set.count; i++) {
                uint32_t endpoint = job_class->set.endpoints[i];
                sum += engine->endpoints[endpoint].gate.epoch + engine_provider(engine, endpoint)->epoch;
        }
        return sum;
}
