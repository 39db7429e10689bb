#include "broker/core/classes.h"

#include "broker/base/check.h"

/* A class's name: its jobs' class key, told apart by what is closed to them. */
static struct key128 name_class(const struct job *job, uint32_t closed) {
        struct key128 key = job->spec->class_key;
        key.hi ^= closed;
        return key;
}

static void enter(struct engine *engine, struct job *job, const struct route_set *set, uint32_t closed) {
        uint32_t index;
        struct key128 key = name_class(job, closed);
        if (!map_get(&engine->by_class, key, &index)) {
                CHECK(!list_empty(&engine->free_classes)); /* there are as many as jobs */
                struct job_class *made = LIST_ENTRY(engine->free_classes.next, struct job_class, link);
                list_unlink(&made->link);
                index = (uint32_t)(made - engine->classes);
                *made = (struct job_class){
                        .key = key, .set = *set, .closed = closed, .blocked_until_ns = INT64_MIN};
                made->priority = (uint32_t)(job->spec->priority - PRIORITY_MIN);
                list_init(&made->waiting);
                CHECK(map_put(&engine->by_class, key, index));
        }
        engine->classes[index].jobs++;
        job->job_class = index;
}

bool classes_join(struct engine *engine, struct job *job) {
        uint32_t index;
        struct route_set set;
        if (map_get(&engine->by_class, name_class(job, 0), &index))
                set = engine->classes[index].set;
        else
                route_match(engine->catalog, job_demand(job), &set);
        if (set.count == 0)
                return false;
        enter(engine, job, &set, 0);
        return true;
}

void classes_move(struct engine *engine, struct job *job, uint32_t closed) {
        struct route_set set = engine->classes[job->job_class].set;
        classes_dequeue(engine, job);
        classes_leave(engine,
                      job); /* first: it may be the last one there, and its class the one that is needed */
        enter(engine, job, &set, closed);
        classes_enqueue(engine, job, job->attempts > 0 || job->throttles > 0 || engine_pressed(engine, job));
}

void classes_leave(struct engine *engine, struct job *job) {
        if (job->job_class == NO_CLASS)
                return;
        struct job_class *job_class = &engine->classes[job->job_class];
        job->job_class = NO_CLASS;
        if (--job_class->jobs > 0)
                return;
        CHECK(list_empty(&job_class->waiting));
        map_remove(&engine->by_class, job_class->key);
        list_append(&engine->free_classes, &job_class->link);
}

void classes_enqueue(struct engine *engine, struct job *job, bool first) {
        struct job_class *job_class = &engine->classes[job->job_class];
        if (list_empty(&job_class->waiting))
                list_append(&engine->active[job_class->priority], &job_class->link);
        if (first || list_empty(&job_class->waiting))
                job_class->blocked_until_ns = INT64_MIN; /* another head: judge anew */
        if (first)
                list_prepend(&job_class->waiting, &job->link);
        else
                list_append(&job_class->waiting, &job->link);
}

void classes_dequeue(struct engine *engine, struct job *job) {
        struct job_class *job_class = &engine->classes[job->job_class];
        if (job_class->waiting.next == &job->link)
                job_class->blocked_until_ns = INT64_MIN;
        list_unlink(&job->link);
        if (list_empty(&job_class->waiting))
                list_unlink(&job_class->link);
}

uint64_t classes_epoch(const struct engine *engine, const struct job_class *job_class) {
        uint64_t sum = engine->epoch;
        for (uint32_t i = 0; i < job_class->set.count; i++) {
                uint32_t endpoint = job_class->set.endpoints[i];
                sum += engine->endpoints[endpoint].gate.epoch + engine_provider(engine, endpoint)->epoch;
        }
        return sum;
}
