/* Whose turn it is, without calls: what a workspace is owed, and what it is not. */
#include "broker/base/time.h"
#include "broker/core/classes.h"
#include "broker/core/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { WORKSPACES = 2, JOBS = 2 * WORKSPACES };

struct fixture {
        struct provider provider;
        struct endpoint endpoints[2];
        struct workspace workspaces[WORKSPACES];
        struct catalog catalog;
        struct engine *engine;
        struct job_spec specs[JOBS];
};

/* Two jobs of each workspace, one for each endpoint; none waits. */
static void set_up(struct fixture *fixture, int64_t weight) {
        *fixture = (struct fixture){0};
        fixture->provider = (struct provider){.name = "p", .region = ""};
        for (int i = 0; i < 2; i++) {
                fixture->endpoints[i] = (struct endpoint){.name = "p/m",
                                                          .model = i ? "m1" : "m0",
                                                          .quantization = "unknown",
                                                          .kinds = 1U << KIND_CHAT};
                fixture->workspaces[i].weight = i ? weight : 1;
        }
        fixture->catalog = (struct catalog){.providers = &fixture->provider,
                                            .providers_count = 1,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = 2,
                                            .workspaces = fixture->workspaces,
                                            .workspaces_count = WORKSPACES};
        struct engine_config config = {.jobs_max = JOBS, .in_flight_max = JOBS, .attempts_max = 1};
        fixture->engine = engine_new(&fixture->catalog, &config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        for (uint32_t i = 0; i < JOBS; i++) {
                struct job_spec *spec = &fixture->specs[i];
                struct job *job = &fixture->engine->jobs[i];
                demand_init(&spec->demand, KIND_CHAT);
                spec->class_key = (struct key128){1 + i % 2, 1};
                spec->demand.models[0] = i % 2 ? BYTES("m1") : BYTES("m0");
                spec->demand.models_count = 1;
                spec->demand.workspace = i / 2;
                list_unlink(&job->link); /* as if admitted */
                job->spec = spec;
                job->deadline_ns = NEVER_NS;
                job->job_class = NO_CLASS;
                assert_true(classes_join(fixture->engine, job));
        }
}

/* The next turn is taken, and the job is at once replaced by another; which workspace it was. */
static uint32_t take_turn(struct engine *engine) {
        struct turn turn = order_next(engine);
        assert_non_null(turn.job_class);
        struct job *job = classes_first(turn.job_class);
        classes_dequeue(engine, job);
        order_opened(engine, &turn, turn.job_class->set.endpoints[0]);
        classes_enqueue(engine, job);
        return turn.job_class->workspace;
}

static uint32_t turns_of_second(struct engine *engine, int turns) {
        uint32_t count = 0;
        for (int i = 0; i < turns; i++)
                count += take_turn(engine);
        return count;
}

static void turns_go_by_weight(void **state) {
        static const int64_t weights[] = {1, 3, 9};
        (void)state;
        for (int i = 0; i < 3; i++) {
                struct fixture fixture;
                set_up(&fixture, weights[i]);
                classes_enqueue(fixture.engine, &fixture.engine->jobs[0]);
                classes_enqueue(fixture.engine, &fixture.engine->jobs[2]);
                uint32_t wanted = (uint32_t)(1000 * weights[i] / (1 + weights[i]));
                assert_in_range(turns_of_second(fixture.engine, 1000), wanted - 2, wanted + 2);
                engine_free(fixture.engine);
        }
}

/* Whoever had nothing to do begins where the others are. */
static void nobody_saves_up_turns(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, 1);
        classes_enqueue(fixture.engine, &fixture.engine->jobs[0]);
        assert_int_equal(turns_of_second(fixture.engine, 1000), 0);
        classes_enqueue(fixture.engine, &fixture.engine->jobs[2]);
        assert_in_range(turns_of_second(fixture.engine, 20), 9, 11);
        engine_free(fixture.engine);
}

/* Who waited for an endpoint that was dead is owed something for it, but less with time. */
static void what_was_long_ago_is_forgotten(void **state) {
        (void)state;
        for (int64_t halves = 0; halves <= 12; halves += 12) {
                struct fixture fixture;
                set_up(&fixture, 1);
                struct engine *engine = fixture.engine;
                classes_enqueue(engine, &engine->jobs[0]);
                classes_enqueue(engine, &engine->jobs[2]);
                order_block(engine, &engine->classes[engine->jobs[2].job_class], INT64_MAX);
                assert_int_equal(turns_of_second(engine, 400), 0);
                engine->time.now_ns += halves * SHARE_HALF_LIFE_NS;
                engine->epoch++;
                order_wake(engine);
                uint32_t second = turns_of_second(engine, 100);
                assert_in_range(second, halves ? 48 : 95, halves ? 52 : 100);
                engine_free(engine);
        }
}

/*
 * The first workspace has far more than its share, at an endpoint of its own. At the other one it must not
 * wait for ever for the second workspace, which never has as much.
 */
static void a_share_elsewhere_is_no_reason_to_starve(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, 1);
        struct engine *engine = fixture.engine;
        classes_enqueue(engine, &engine->jobs[0]);
        classes_enqueue(engine, &engine->jobs[1]);
        classes_enqueue(engine, &engine->jobs[2]);
        struct job_class *shared[] = {&engine->classes[engine->jobs[0].job_class],
                                      &engine->classes[engine->jobs[2].job_class]};
        uint32_t had = 0;
        for (int i = 0; i < 1000; i++) {
                for (int j = 0; j < 2; j++) /* the shared endpoint is full, the other one is not */
                        order_block(engine, shared[j], INT64_MAX);
                for (int j = 0; j < 20; j++)
                        take_turn(engine);
                engine->endpoints[0].gate.epoch++;
                order_wake(engine);
                had += take_turn(engine) == 0 && engine->jobs[0].job_class != NO_CLASS &&
                       shared[0]->served == engine->openings;
        }
        assert_in_range(had, 3, 200);
        engine_free(engine);
}

/* What was opened and not called is given back. */
static void what_was_not_called_does_not_count(void **state) {
        struct fixture fixture;
        (void)state;
        set_up(&fixture, 1);
        struct engine *engine = fixture.engine;
        classes_enqueue(engine, &engine->jobs[0]);
        classes_enqueue(engine, &engine->jobs[2]);
        uint32_t first = take_turn(engine);
        order_returned(engine, first);
        int64_t had = engine->workspaces[first].had;
        assert_int_equal(had, 0);
        engine_free(engine);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(turns_go_by_weight),
                cmocka_unit_test(nobody_saves_up_turns),
                cmocka_unit_test(what_was_long_ago_is_forgotten),
                cmocka_unit_test(a_share_elsewhere_is_no_reason_to_starve),
                cmocka_unit_test(what_was_not_called_does_not_count),
        };
        return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
