/* The queues: who shares one, who stands first, and when a class must be looked at again. */
#include "broker/core/classes.h"
#include "broker/core/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
        struct provider provider;
        struct endpoint endpoints[2];
        struct workspace workspaces[2];
        struct catalog catalog;
        struct engine *engine;
        struct job_spec specs[4];
};

static void set_up(struct fixture *fixture) {
        *fixture = (struct fixture){0};
        fixture->provider = (struct provider){.name = "p", .region = "", .limits.concurrency = 1};
        for (int i = 0; i < 2; i++)
                fixture->endpoints[i] = (struct endpoint){.name = "p/m",
                                                          .model = i ? "other" : "m",
                                                          .quantization = "unknown",
                                                          .kinds = 1U << KIND_CHAT};
        fixture->catalog = (struct catalog){.providers = &fixture->provider,
                                            .providers_count = 1,
                                            .endpoints = fixture->endpoints,
                                            .endpoints_count = 2,
                                            .workspaces = fixture->workspaces,
                                            .workspaces_count = 2};
        struct engine_config config = {.jobs_max = 4, .in_flight_max = 4, .attempts_max = 1};
        fixture->engine = engine_new(&fixture->catalog, &config, (struct engine_time){0, 0});
        assert_non_null(fixture->engine);
        for (uint32_t i = 0; i < 4; i++) {
                struct job_spec *spec = &fixture->specs[i];
                demand_init(&spec->demand, KIND_CHAT);
                spec->class_key = (struct key128){1, 1};
                spec->demand.models[0] = BYTES("m");
                spec->demand.models_count = 1;
                list_unlink(&fixture->engine->jobs[i].link); /* as if admitted */
                fixture->engine->jobs[i].spec = spec;
                fixture->engine->jobs[i].deadline_ns = NEVER_NS;
                fixture->engine->jobs[i].job_class = NO_CLASS;
        }
}

static void jobs_of_a_key_share_a_queue(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        struct job *jobs = engine->jobs;
        fixture.specs[2].class_key = (struct key128){2, 2};
        fixture.specs[3].demand.models[0] = BYTES("nobody has it");
        fixture.specs[3].class_key = (struct key128){3, 3};
        for (int i = 0; i < 3; i++)
                assert_true(classes_join(engine, &jobs[i]));
        assert_false(classes_join(engine, &jobs[3]));
        assert_int_equal(jobs[0].job_class, jobs[1].job_class);
        assert_int_not_equal(jobs[0].job_class, jobs[2].job_class);
        struct job_class *job_class = &engine->classes[jobs[0].job_class];
        assert_null(classes_first(job_class));
        classes_enqueue(engine, &jobs[1]);
        classes_enqueue(engine, &jobs[0]);
        assert_ptr_equal(classes_first(job_class), &jobs[1]);
        assert_ptr_equal(order_next(engine).job_class, job_class);
        classes_dequeue(engine, &jobs[1]);
        assert_ptr_equal(classes_first(job_class), &jobs[0]);
        classes_enqueue(engine, &jobs[1]); /* it keeps its place among its equals */
        assert_ptr_equal(classes_first(job_class), &jobs[1]);
        classes_dequeue(engine, &jobs[1]);
        classes_dequeue(engine, &jobs[0]);
        assert_null(order_next(engine).job_class);
        for (int i = 0; i < 3; i++)
                classes_leave(engine, &jobs[i]);
        assert_int_equal(engine->by_class.count, 0);
        engine_free(engine);
}

static void a_job_with_fewer_places_has_a_queue_of_its_own(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        struct job *jobs = engine->jobs;
        for (int i = 0; i < 2; i++) {
                assert_true(classes_join(engine, &jobs[i]));
                classes_enqueue(engine, &jobs[i]);
        }
        uint32_t common = jobs[0].job_class;
        classes_move(engine, &jobs[0], 1);
        assert_int_not_equal(jobs[0].job_class, common);
        assert_int_equal(engine->classes[jobs[0].job_class].closed, 1);
        assert_ptr_equal(classes_first(&engine->classes[common]), &jobs[1]);
        classes_move(engine, &jobs[0], 0);
        assert_int_equal(jobs[0].job_class, common);
        assert_int_equal(engine->by_class.count, 1);
        engine_free(engine);
}

/* Whose jobs they are, and whether they have a deadline, or one that is near, tells classes apart as well. */
static void owner_and_haste_make_classes(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        struct job *jobs = engine->jobs;
        fixture.specs[1].demand.workspace = 1;
        fixture.specs[2].deadline_unix_ms = fixture.specs[3].deadline_unix_ms = 1000;
        jobs[2].deadline_ns = jobs[3].deadline_ns = 1000;
        for (int i = 0; i < 4; i++)
                assert_true(classes_join(engine, &jobs[i]));
        assert_int_equal(jobs[2].job_class, jobs[3].job_class);
        assert_int_equal(engine->by_class.count, 3);
        for (int i = 0; i < 4; i++)
                classes_enqueue(engine, &jobs[i]);
        classes_dequeue(engine, &jobs[3]);
        engine->time.now_ns = 500; /* half of its time */
        classes_enqueue(engine, &jobs[3]);
        assert_int_not_equal(jobs[2].job_class, jobs[3].job_class);
        assert_true(engine->classes[jobs[3].job_class].pressed);
        engine_free(engine);
}

static void earliest_deadline_first_then_as_they_came(void **state) {
        (void)state;
        static const int64_t deadlines[] = {50, 30, 30, 70};
        static const int order[] = {1, 2, 0, 3};
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        struct job *jobs = engine->jobs;
        for (int i = 0; i < 4; i++) {
                fixture.specs[i].deadline_unix_ms = deadlines[i];
                jobs[i].deadline_ns = deadlines[i] * 1000000;
                assert_true(classes_join(engine, &jobs[i]));
                classes_enqueue(engine, &jobs[i]);
        }
        const struct job_class *job_class = &engine->classes[jobs[0].job_class];
        for (int i = 0; i < 4; i++) {
                assert_ptr_equal(classes_first(job_class), &jobs[order[i]]);
                classes_dequeue(engine, &jobs[order[i]]);
        }
        engine_free(engine);
}

static void a_new_first_one_is_judged_anew(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        struct job *jobs = engine->jobs;
        for (int i = 0; i < 4; i++)
                assert_true(classes_join(engine, &jobs[i]));
        struct job_class *job_class = &engine->classes[jobs[0].job_class];
        classes_enqueue(engine, &jobs[0]);
        classes_enqueue(engine, &jobs[1]);
        order_block(engine, job_class, 99);
        assert_null(order_next(engine).job_class);
        classes_enqueue(engine, &jobs[2]);
        assert_int_equal(job_class->blocked_until_ns, 99); /* it stands behind */
        classes_dequeue(engine, &jobs[2]);
        assert_null(order_next(engine).job_class);
        classes_dequeue(engine, &jobs[0]);
        assert_int_equal(job_class->blocked_until_ns, INT64_MIN);
        assert_ptr_equal(order_next(engine).job_class, job_class);
        order_block(engine, job_class, 99);
        order_wake(engine);
        assert_null(order_next(engine).job_class);
        engine->time.now_ns = 99;
        order_wake(engine);
        assert_ptr_equal(order_next(engine).job_class, job_class);
        order_block(engine, job_class, 999);
        engine->providers[0].epoch++;
        order_wake(engine);
        assert_ptr_equal(order_next(engine).job_class, job_class);
        engine_free(engine);
}

static void room_anywhere_that_matters_wakes_it(void **state) {
        (void)state;
        struct fixture fixture;
        set_up(&fixture);
        struct engine *engine = fixture.engine;
        assert_true(classes_join(engine, &engine->jobs[0]));
        const struct job_class *job_class = &engine->classes[engine->jobs[0].job_class];
        uint64_t before = classes_epoch(engine, job_class);
        engine->endpoints[1].gate.epoch++; /* another endpoint */
        assert_int_equal(classes_epoch(engine, job_class), before);
        engine->endpoints[0].gate.epoch++;
        assert_int_equal(classes_epoch(engine, job_class), before + 1);
        engine->providers[0].epoch++; /* which another endpoint of the provider may have freed */
        assert_int_equal(classes_epoch(engine, job_class), before + 2);
        engine->epoch++;
        assert_int_equal(classes_epoch(engine, job_class), before + 3);
        engine->workspaces[1].gate.epoch++; /* somebody else's */
        assert_int_equal(classes_epoch(engine, job_class), before + 3);
        engine->workspaces[0].gate.epoch++;
        assert_int_equal(classes_epoch(engine, job_class), before + 4);
        engine_free(engine);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(jobs_of_a_key_share_a_queue),
                cmocka_unit_test(a_job_with_fewer_places_has_a_queue_of_its_own),
                cmocka_unit_test(owner_and_haste_make_classes),
                cmocka_unit_test(earliest_deadline_first_then_as_they_came),
                cmocka_unit_test(a_new_first_one_is_judged_anew),
                cmocka_unit_test(room_anywhere_that_matters_wakes_it),
        };
        return cmocka_run_group_tests_name("classes", tests, NULL, NULL);
}
