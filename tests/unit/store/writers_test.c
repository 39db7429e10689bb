/*
 * Several threads that write, and a process that dies at every step of a worker's day.
 *
 * The second part plays a worker with one partition: the state topic is an array in memory that outlives the
 * process, a call to a provider is a count. Whatever step it dies at, the next process goes on; nothing that
 * was bought is bought again, nothing is published twice, and no call that may have been made is forgotten.
 */
#include "broker/base/check.h"
#include "broker/base/prng.h"
#include "tests/unit/store/partitions.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { THREADS = 3, JOBS = 1500, PER_BATCH = 8 };

struct writer {
        struct world *world;
        uint32_t partition; /* all of them write attempts there, and each its own jobs */
        uint64_t first;
        bool wrong;
};

static void write_or_fail(struct writer *writer, struct store_batch *batch, bool lazy) {
        struct error *error = lazy ? store_write_lazy(writer->world->store, batch)
                                   : store_write(writer->world->store, batch);
        writer->wrong = writer->wrong || error;
        error_free(error);
}

static void expect_found(struct writer *writer, uint64_t n, enum store_found found) {
        struct store_record record;
        struct error *error = store_look_up(writer->world->store, writer->partition, key_of(n), &record);
        writer->wrong = writer->wrong || error || record.found != found;
        error_free(error);
}

/* Jobs of which one in three ends at once, one is answered first, and one stays under way. */
static void write_jobs(struct writer *writer, struct store_batch *batch, uint64_t first) {
        struct begun_id ids[PER_BATCH];
        for (uint64_t i = 0; i < PER_BATCH; i++) {
                struct begun begun = {.key = key_of(first + i), .partition = writer->partition, .attempt = 1};
                ids[i] = store_batch_begin(batch, &begun);
        }
        write_or_fail(writer, batch, false);
        for (uint64_t i = 0; i < PER_BATCH; i++) {
                uint64_t n = first + i;
                struct settled settled = settled_of(writer->partition, n);
                struct answer_row answer = {.key = key_of(n), .settled = settled, .value = BYTES("answer")};
                if (n % 3 == 0)
                        store_batch_settle(batch, key_of(n), &settled, ids[i]);
                else if (n % 3 == 1)
                        store_batch_answer(batch, &answer, ids[i]);
                if (n % 7 == 0)
                        store_batch_park(batch, writer->partition, (int64_t)n, key_of(n + 1000000),
                                         settled.fingerprint, BYTES("parked"));
        }
        write_or_fail(writer, batch, false);
        for (uint64_t i = 0; i < PER_BATCH; i++) {
                uint64_t n = first + i;
                struct settled settled = settled_of(writer->partition, n);
                expect_found(writer, n,
                             n % 3 == 0   ? STORE_SETTLED
                             : n % 3 == 1 ? STORE_ANSWERED
                                          : STORE_NONE);
                if (n % 3 == 1 && n % 2 == 0)
                        store_batch_settle(batch, key_of(n), &settled, no_id);
                if (n % 7 == 0 && n % 2 == 0)
                        store_batch_unpark(batch, writer->partition, key_of(n + 1000000));
                if (n % 16 == 3)
                        store_batch_remove(batch, writer->partition, key_of(n + 2000000));
        }
        write_or_fail(writer, batch, true);
}

static void *write_along(void *userdata) {
        struct writer *writer = userdata;
        struct store_batch *batch = store_batch_new(writer->world->store);
        for (uint64_t n = 0; n < JOBS; n += PER_BATCH)
                write_jobs(writer, batch, writer->first + n);
        store_batch_free(batch);
        return NULL;
}

static struct error *nothing(void *userdata, const struct parked_job *job) {
        (void)userdata;
        (void)job;
        return NULL;
}

static void *scan_along(void *userdata) {
        struct writer *writer = userdata;
        int64_t due;
        for (int i = 0; i < 200 && !writer->wrong; i++) {
                struct error *error = store_parked(writer->world->store, writer->partition, NULL,
                                                   (int64_t)i * 20, 10, nothing, NULL);
                if (!error)
                        error = store_parked_next(writer->world->store, writer->partition, NULL, &due);
                writer->wrong = error;
                error_free(error);
        }
        return NULL;
}

static void threads_write_beside_each_other(void **state) {
        struct world *world = *state;
        pthread_t threads[THREADS + 1];
        struct writer writers[THREADS + 1];
        world_partition(world, 5);
        world_state(world, 5, 1);
        world_write(world);
        for (size_t i = 0; i <= THREADS; i++) {
                writers[i] = (struct writer){.world = world, .partition = 5, .first = i * 100000};
                assert_int_equal(pthread_create(&threads[i], NULL, i < THREADS ? write_along : scan_along,
                                                &writers[i]),
                                 0);
        }
        for (size_t i = 0; i <= THREADS; i++) {
                pthread_join(threads[i], NULL);
                assert_false(writers[i].wrong);
        }
        for (int round = 0; round < 2; round++) {
                uint64_t live = 0, parked = 0, answers = 0;
                for (uint64_t i = 0; i < THREADS * JOBS; i++) {
                        uint64_t n = i / JOBS * 100000 + i % JOBS;
                        bool settled = n % 3 == 0 || (n % 3 == 1 && n % 2 == 0);
                        enum store_found rest = n % 3 == 1 ? STORE_ANSWERED
                                                : round    ? STORE_UNKNOWN
                                                           : STORE_NONE;
                        assert_int_equal(world_found(world, 5, n), settled ? STORE_SETTLED : rest);
                        live += n % 3 == 2;
                        answers += n % 3 == 1 && n % 2 == 1;
                        parked += n % 7 == 0 && n % 2 == 1;
                }
                struct store_stats stats = world_verify(world);
                /* the last batch of each may reach beyond JOBS */
                assert_true(stats.parked >= parked && stats.parked <= parked + THREADS * PER_BATCH);
                assert_true(stats.answers >= answers && stats.answers <= answers + THREADS * PER_BATCH);
                assert_true(round == 0 ||
                            (stats.unknown >= live && stats.unknown <= live + THREADS * PER_BATCH));
                assert_int_equal(store_count_parked(world->store, 5), stats.parked);
                assert_int_equal(store_count_answers(world->store), stats.answers);
                world_reopen(world, 5);
        }
}

/* The hook writes another batch while the first is on its way, and the first fails. */
struct between {
        struct store *store;
        struct store_batch *batch; /* NULL: has been written */
        int code;                  /* for the first */
};

static int write_between(void *userdata, const char *operation) {
        struct between *between = userdata;
        struct store_batch *batch = between->batch;
        if (!batch || strcmp(operation, "write") != 0)
                return 0;
        between->batch = NULL;
        struct error *error = store_write(between->store, batch);
        CHECK(!error);
        return between->code;
}

/*
 * Of two attempts of a block each is ended by a batch, one within the other. Whether the first succeeds or
 * not: its attempt is over only if it did.
 */
static void ends_that_cross_are_kept_apart(void **state) {
        struct world *world = *state;
        for (int fails = 0; fails < 2; fails++) {
                struct between between = {.code = fails ? ENOSPC : 0};
                struct store_options options = {.directory = world->directory,
                                                .worker = true,
                                                .fault = write_between,
                                                .fault_userdata = &between};
                world_close(world);
                remove_directory(world->directory);
                assert_null(store_open(&options, &world->store));
                world->batch = store_batch_new(world->store);
                between.store = world->store;
                world_partition(world, 5);
                struct begun_id first = world_begin(world, 5, 1, 1), second = world_begin(world, 5, 2, 1);
                world_state(world, 5, 1);
                world_write(world);
                struct store_batch *inner = store_batch_new(world->store);
                store_batch_end(inner, second);
                store_batch_end(world->batch, first);
                between.batch = inner;
                struct error *error = store_write(world->store, world->batch);
                assert_int_equal(error != NULL, fails);
                error_free(error);
                store_batch_free(inner);
                if (!fails) { /* the next batch takes the block away */
                        world_state(world, 5, 2);
                        world_write(world);
                }
                world_reopen(world, 5);
                assert_int_equal(world_found(world, 5, 1), fails ? STORE_UNKNOWN : STORE_NONE);
                assert_int_equal(world_found(world, 5, 2), STORE_NONE);
                assert_int_equal(world_verify(world).unknown, fails);
        }
}

/* What fails in one thread is over for all. */
static void a_failure_stops_everybody(void **state) {
        struct world *world = *state;
        world_partition(world, 5);
        struct store_batch *another = store_batch_new(world->store);
        struct settled settled = settled_of(5, 1);
        store_batch_settle(another, key_of(1), &settled, no_id);
        world_settle(world, 5, 2, no_id);
        world->operation = "write";
        world->code = EIO;
        world->countdown = 0;
        expect_error(store_write(world->store, world->batch), ERROR_IO, "Input/output error");
        expect_error(store_write(world->store, another), ERROR_IO, "closed for writing");
        expect_error(store_write_lazy(world->store, another), ERROR_IO, "closed for writing");
        struct store_load *load;
        bool found;
        struct partition_state back;
        expect_error(store_load_begin(world->store, 5, &load), ERROR_IO, "closed for writing");
        expect_error(store_partition_open(world->store, 6, &found, &back), ERROR_IO, "closed for writing");
        expect_error(store_partition_drop(world->store, 5), ERROR_IO, "closed for writing");
        store_batch_free(another);
}

/* ---- a worker that dies ---- */

enum { DAY_JOBS = 24, TOPIC_MAX = 200, P = 5 };

/* Outlives the process. */
struct outside {
        struct {
                uint64_t job;
                enum { SAYS_SETTLED, SAYS_PARKED } kind;
        } topic[TOPIC_MAX];
        uint64_t topic_count;
        struct {
                unsigned calls, unknown, published; /* unknown: found as such by a later process */
                bool bought;                        /* store_write() has said so */
        } jobs[DAY_JOBS];
        int countdown; /* to death, in operations of the store */
};

static int die(void *userdata, const char *operation) {
        struct outside *outside = userdata;
        (void)operation;
        if (outside->countdown-- == 0)
                _exit(3);
        return 0;
}

static void no_error(struct error *error) {
        if (error)
                fprintf(stderr, "%s\n", error->message);
        CHECK(!error);
}

static void catch_up(struct world *world, struct outside *outside) {
        struct partition_state state = {0};
        bool found;
        struct store_load *load;
        no_error(store_partition_open(world->store, P, &found, &state));
        uint64_t from = found ? state.changelog_offset : 0;
        CHECK(from <= outside->topic_count);
        no_error(store_load_begin(world->store, P, &load));
        for (uint64_t i = from; i < outside->topic_count; i++) {
                uint64_t n = outside->topic[i].job;
                struct settled settled = settled_of(P, n);
                if (outside->topic[i].kind == SAYS_SETTLED)
                        no_error(store_load_settled(load, key_of(n), &settled));
                else
                        no_error(store_load_park(load, (int64_t)n, key_of(n), settled.fingerprint,
                                                 BYTES("job")));
        }
        state.changelog_offset = outside->topic_count;
        no_error(store_load_end(load, &state));
}

static void append(struct outside *outside, uint64_t n, bool settled) {
        CHECK(outside->topic_count < TOPIC_MAX);
        outside->topic[outside->topic_count].job = n;
        outside->topic[outside->topic_count].kind = settled ? SAYS_SETTLED : SAYS_PARKED;
        outside->topic_count++;
        outside->jobs[n].published += settled;
}

static void write_state(struct world *world, const struct outside *outside, bool lazy) {
        struct partition_state state = {.changelog_offset = outside->topic_count, .source_high = DAY_JOBS};
        store_batch_partition(world->batch, P, &state);
        no_error(lazy ? store_write_lazy(world->store, world->batch)
                      : store_write(world->store, world->batch));
}

static void buy(struct world *world, struct outside *outside, uint64_t n, uint32_t attempt) {
        struct settled settled = settled_of(P, n);
        struct answer_row answer = {.key = key_of(n), .settled = settled, .value = BYTES("answer")};
        CHECK(!outside->jobs[n].bought);
        struct begun_id id = world_begin(world, P, n, attempt);
        no_error(store_write(world->store, world->batch));
        outside->jobs[n].calls++;
        store_batch_answer(world->batch, &answer, id);
        no_error(store_write(world->store, world->batch));
        outside->jobs[n].bought = true;
}

static void do_job(struct world *world, struct outside *outside, uint64_t n) {
        struct store_record record;
        no_error(store_look_up(world->store, P, key_of(n), &record));
        if (record.found == STORE_SETTLED)
                return;
        if (record.found == STORE_NONE && n % 3 == 0) { /* first it is parked */
                append(outside, n, false);
                struct settled settled = settled_of(P, n);
                store_batch_park(world->batch, P, (int64_t)n, key_of(n), settled.fingerprint, BYTES("job"));
                write_state(world, outside, n % 2);
                no_error(store_look_up(world->store, P, key_of(n), &record));
                CHECK(record.found == STORE_PARKED);
        }
        if (record.attempted) {
                outside->jobs[n].unknown++;
                CHECK(outside->jobs[n].calls <= record.begun.attempt);
        }
        if (!record.answered)
                buy(world, outside, n, record.attempted ? record.begun.attempt + 1 : 1);
        append(outside, n, true);
        struct settled settled = settled_of(P, n);
        store_batch_settle(world->batch, key_of(n), &settled, no_id);
        write_state(world, outside, n % 2);
}

static int live_a_day(const char *directory, struct outside *outside) {
        struct world world = {0};
        struct store_options options = {
                .directory = directory, .worker = true, .fault = die, .fault_userdata = outside};
        no_error(store_open(&options, &world.store));
        world.batch = store_batch_new(world.store);
        catch_up(&world, outside);
        for (uint64_t n = 0; n < DAY_JOBS; n++)
                do_job(&world, outside, n);
        world_close(&world);
        return 0;
}

static bool dies(const char *directory, struct outside *outside) {
        pid_t child = fork();
        if (child == 0)
                _exit(live_a_day(directory, outside));
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3));
        return WEXITSTATUS(status) == 3;
}

static void assert_day(struct world *world, const struct outside *outside, unsigned deaths) {
        unsigned calls = 0, unknown = 0;
        for (uint64_t n = 0; n < DAY_JOBS; n++) {
                assert_int_equal(outside->jobs[n].published, 1);
                /* each call but the one that was bought has been seen as unknown */
                assert_true(outside->jobs[n].calls >= 1);
                assert_true(outside->jobs[n].unknown + 1 >= outside->jobs[n].calls);
                calls += outside->jobs[n].calls;
                unknown += outside->jobs[n].unknown;
        }
        assert_true(calls <= DAY_JOBS + deaths && unknown <= deaths);
        world_open(world);
        struct store_stats stats = world_verify(world);
        assert_int_equal(stats.settled, DAY_JOBS);
        assert_int_equal(stats.answers + stats.parked + stats.unknown, 0);
        world_close(world);
}

/* Dies at operation n of the first day; in the second round also at random ones of the next days. */
static void a_worker_dies_at_every_step(void **state) {
        struct world *world = *state;
        if (!CAN_FORK)
                skip();
        struct outside *outside =
                mmap(NULL, sizeof(*outside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(outside != MAP_FAILED);
        struct prng dice;
        int steps = 0;
        prng_init(&dice, 5);
        world_close(world);
        for (bool died = true; died; steps++) {
                memset(outside, 0, sizeof(*outside));
                remove_directory(world->directory);
                outside->countdown = steps;
                unsigned deaths = 0;
                for (died = false; dies(world->directory, outside); deaths++) {
                        died = true;
                        outside->countdown = deaths < 3 ? (int)prng_below(&dice, 400) : -1;
                }
                assert_day(world, outside, deaths);
                steps += steps > 50 ? 16 : 0; /* job after job is the same */
        }
        assert_true(steps > 100);
        munmap(outside, sizeof(*outside));
        world_open(world);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(threads_write_beside_each_other, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(ends_that_cross_are_kept_apart, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_failure_stops_everybody, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_worker_dies_at_every_step, world_setup, world_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
