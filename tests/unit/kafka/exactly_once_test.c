/*
 * What only real brokers show: fencing, records that were taken back, offsets inside transactions, static
 * truth about retries. Needs a cluster and skips without one:
 *
 *   BATCHFERRY_TEST_BOOTSTRAP   host:port
 *   BATCHFERRY_TEST_KAFKA       the directory of a node of scripts/kafka, which is stopped and started here;
 *                               without it these tests are left out
 *
 * Run as `exactly_once_test zombie ...` it is the other process that is stopped while it holds partitions.
 */
#include "broker/kafka/topics.h"
#include "tests/unit/kafka/cluster.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static const char *bootstrap;
static char jobs[64], results[64], group[64], id[64];
static struct test_properties common;
static int sequence;

/* --- topics of its own for every test --- */

static void create(const char *name, uint32_t partitions) {
        struct topics *topics;
        struct kafka_properties properties = view(&common);
        struct topic_wish wish = {.name = name, .partitions = partitions, .replication = 1};
        struct topic_outcome outcome;
        assert_ok(topics_open(&properties, "test", &topics));
        assert_ok(topics_create(topics, &wish, 1, 30 * NS_PER_S, &outcome));
        if (outcome.made != TOPIC_MADE)
                fail_msg("%s: %s", name, outcome.message);
        topics_close(topics);
}

static int setup(void **state) {
        (void)state;
        unsigned stamp = (unsigned)(clock_now_unix_ms() % 100000000);
        sequence++;
        snprintf(jobs, sizeof(jobs), "test-%u-%d-jobs", stamp, sequence);
        snprintf(results, sizeof(results), "test-%u-%d-results", stamp, sequence);
        snprintf(group, sizeof(group), "test-%u-%d", stamp, sequence);
        snprintf(id, sizeof(id), "test-%u-%d-id", stamp, sequence);
        common.count = 0;
        set_property(&common, "bootstrap.servers", bootstrap);
        set_property(&common, "group.id", group);
        set_property(&common, "session.timeout.ms", "6000");
        set_property(&common, "heartbeat.interval.ms", "300");
        create(jobs, 3);
        create(results, 2);
        return 0;
}

static struct producer *open_producer(enum producer_fault (*fault)(void *, const char *), void *userdata) {
        struct producer *producer;
        const char *topics[] = {results};
        struct producer_options options = {.properties = view(&common),
                                           .transactional_id = id,
                                           .client_id = "test",
                                           .start_timeout_ns = 60 * NS_PER_S,
                                           .topics = topics,
                                           .topics_count = 1,
                                           .fault = fault,
                                           .fault_userdata = userdata};
        assert_ok(producer_open(&options, &producer));
        return producer;
}

static void put(struct producer *producer, const char *value) {
        struct producer_message message = {
                .topic = results, .partition = 0, .has_value = true, .value = bytes_of(value)};
        assert_int_equal(producer_send(producer, &message), PRODUCER_SENT);
}

static void put_many(struct producer *producer, int from, int to) {
        for (int i = from; i < to; i++) {
                char value[16];
                snprintf(value, sizeof(value), "%d", i);
                put(producer, value);
        }
}

static enum producer_end commit(struct producer *producer, struct consumer *consumer, uint32_t partition,
                                uint64_t offset) {
        struct producer_offset offsets = {partition, offset};
        return producer_commit(producer, consumer, jobs, &offsets, 1);
}

static void assert_end(const struct producer *producer, enum producer_end got, enum producer_end wanted) {
        if (got != wanted)
                fail_msg("ended as %d, not %d: %s", (int)got, (int)wanted, producer_message(producer));
}

static int visible(void) {
        return read_all(bootstrap, results, 0, "read_committed", NULL, NULL);
}

static uint64_t committed(struct member *member, uint32_t partition) {
        uint64_t offset;
        bool found;
        assert_ok(consumer_committed(member->consumer, partition, 20 * NS_PER_S, &offset, &found));
        return found ? offset : UINT64_MAX;
}

/* --- the plain way --- */

static void test_in_and_out(void **state) {
        struct member member;
        struct consumer_record record;
        (void)state;
        fill(bootstrap, jobs, 1, 0, 100);
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3 && consumer_partitions(member.consumer) == 3, &member);
        assert_int_equal(committed(&member, 1), UINT64_MAX);
        struct producer *producer = open_producer(NULL, NULL);
        for (int i = 0; i < 100; i++) {
                member_take(&member, 1, &record);
                assert_int_equal(record.offset, i);
                assert_int_equal(record.partition, 1);
                assert_false(record.has_key);
                assert_true(value_is(record.value, i));
                assert_true(record.timestamp_unix_ms > INT64_C(1600000000000));
                consumer_release(&record);
        }
        assert_false(consumer_take(member.consumer, 1, &record));
        assert_int_equal(consumer_log_end(member.consumer, 1), 100);
        put_many(producer, 0, 100);
        assert_end(producer, commit(producer, member.consumer, 1, 100), PRODUCER_COMMITTED);
        assert_string_equal(producer_message(producer), "");
        assert_int_equal(committed(&member, 1), 100);
        assert_int_equal(visible(), 100);
        /* Nothing at all is a commit too; offsets alone are a transaction. */
        assert_end(producer, producer_commit(producer, NULL, jobs, NULL, 0), PRODUCER_COMMITTED);
        assert_end(producer, commit(producer, member.consumer, 1, 99), PRODUCER_COMMITTED);
        assert_int_equal(committed(&member, 1), 99);
        producer_close(producer);
        member_close(&member);
        /* The next one begins there. */
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        member_take(&member, 1, &record);
        assert_int_equal(record.offset, 99);
        consumer_release(&record);
        member_close(&member);
}

struct seen {
        int count;
        int64_t offsets[64];
        bool bad;
};

static void see_offset(const rd_kafka_message_t *message, void *userdata) {
        struct seen *seen = userdata;
        if (seen->count < 64)
                seen->offsets[seen->count] = message->offset;
        seen->count++;
}

/* Markers and aborted records lie in between. */
static void test_offsets_of_records(void **state) {
        struct producer *producer = open_producer(NULL, NULL);
        uint64_t offsets[40];
        struct seen seen = {0};
        (void)state;
        for (int i = 0; i < 40; i++) {
                struct producer_message message = {.topic = results, .has_value = true, .value = BYTES("v")};
                message.out_offset = i % 3 ? &offsets[i] : NULL;
                offsets[i] = 77777;
                assert_int_equal(producer_send(producer, &message), PRODUCER_SENT);
                if (i % 10 == 9)
                        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0),
                                   PRODUCER_COMMITTED);
        }
        assert_int_equal(read_all(bootstrap, results, 0, "read_committed", see_offset, &seen), 40);
        for (int i = 0; i < 40; i++)
                assert_int_equal(offsets[i], i % 3 ? (uint64_t)seen.offsets[i] : 77777);
        assert_true(seen.offsets[39] >= 42); /* three markers at least */
        producer_close(producer);
}

static void see_record(const rd_kafka_message_t *message, void *userdata) {
        struct seen *seen = userdata;
        struct consumer_record record;
        consumer_record_fill((rd_kafka_message_t *)(uintptr_t)message, &record);
        if (seen->count == 0) {
                seen->bad |= !record.has_key || record.key.size || !record.has_value || record.value.size;
                seen->bad |= record.headers_count != 3 || record.headers_cut;
                if (!seen->bad) {
                        seen->bad |= !bytes_equal_string(record.headers[0].name, "a");
                        seen->bad |= !bytes_equal_string(record.headers[0].value, "1");
                        seen->bad |= record.headers[1].value.data != NULL;
                        seen->bad |= !bytes_equal_string(record.headers[2].name, "a");
                        seen->bad |=
                                record.headers[2].value.size != 3 || record.headers[2].value.data[1] != '\0';
                }
        } else if (seen->count == 1) {
                seen->bad |= !record.has_key || record.has_value || record.headers_count;
        } else {
                seen->bad |=
                        record.has_key || record.headers_count != CONSUMER_HEADERS_MAX || !record.headers_cut;
        }
        seen->count++;
        record.message = NULL; /* not ours */
        consumer_release(&record);
}

static void test_keys_and_headers(void **state) {
        struct producer *producer = open_producer(NULL, NULL);
        struct seen seen = {0};
        struct kafka_header few[] = {
                {BYTES("a"), BYTES("1")}, {BYTES("b"), {NULL, 0}}, {BYTES("a"), BYTES("x\0y")}};
        struct kafka_header many[CONSUMER_HEADERS_MAX + 1];
        (void)state;
        for (size_t i = 0; i < CONSUMER_HEADERS_MAX + 1; i++)
                many[i] = few[0];
        struct producer_message first = {
                .topic = results, .has_key = true, .has_value = true, .headers = few, .headers_count = 3};
        struct producer_message second = {.topic = results, .has_key = true, .key = BYTES("k")};
        struct producer_message third = {
                .topic = results, .headers = many, .headers_count = CONSUMER_HEADERS_MAX + 1};
        assert_int_equal(producer_send(producer, &first), PRODUCER_SENT);
        assert_int_equal(producer_send(producer, &second), PRODUCER_SENT);
        assert_int_equal(producer_send(producer, &third), PRODUCER_SENT);
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        assert_int_equal(read_all(bootstrap, results, 0, "read_committed", see_record, &seen), 3);
        assert_false(seen.bad);
        producer_close(producer);
}

static void test_too_large(void **state) {
        struct producer *producer = open_producer(NULL, NULL);
        char *large = calloc(1, 1000001);
        struct producer_message message = {.topic = results, .has_value = true, .value = {large, 1000001}};
        (void)state;
        put(producer, "before");
        assert_int_equal(producer_send(producer, &message), PRODUCER_TOO_LARGE);
        put(producer, "after");
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        assert_int_equal(visible(), 2);
        free(large);
        producer_close(producer);
}

static void test_no_such_partition(void **state) {
        struct producer *producer = open_producer(NULL, NULL);
        struct kafka_header header = {BYTES("a"), BYTES("1")};
        struct producer_message message = {
                .topic = results, .partition = 2, .has_value = true, .headers = &header, .headers_count = 1};
        (void)state;
        put(producer, "before");
        assert_int_equal(producer_send(producer, &message), PRODUCER_BROKEN);
        assert_int_equal(producer_send(producer, &message), PRODUCER_BROKEN);
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_ABORTED);
        assert_non_null(strstr(producer_message(producer), results));
        assert_int_equal(visible(), 0);
        put(producer, "again");
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        assert_int_equal(visible(), 1);
        producer_close(producer);
}

/* --- what was taken back, and what is not known --- */

static void test_aborted_is_unseen(void **state) {
        struct producer *producer = open_producer(NULL, NULL);
        (void)state;
        put_many(producer, 0, 10);
        /* Until it is sure that they were in the log. */
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        while (read_all(bootstrap, results, 0, "read_uncommitted", NULL, NULL) < 10)
                assert_true(clock_now_ns() < end_ns);
        assert_end(producer, producer_abort(producer), PRODUCER_ABORTED);
        assert_int_equal(visible(), 0);
        put_many(producer, 10, 15);
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        assert_int_equal(visible(), 5);
        assert_int_equal(read_all(bootstrap, results, 0, "read_uncommitted", NULL, NULL), 15);
        producer_close(producer);
}

struct script {
        const char *step;
        enum producer_fault fault;
};

static enum producer_fault follow(void *userdata, const char *step) {
        struct script *script = userdata;
        if (!script->step || strcmp(script->step, step) != 0)
                return PRODUCER_NO_FAULT;
        script->step = NULL;
        return script->fault;
}

/* Gone before the commit: nothing is there. Gone after it: all is there. The successor finds out. */
static void test_gone_and_resolved(void **state) {
        struct script script = {"commit", PRODUCER_FAULT_FATAL};
        struct member member;
        (void)state;
        fill(bootstrap, jobs, 0, 0, 20);
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(follow, &script);
        put_many(producer, 0, 10);
        assert_end(producer, commit(producer, member.consumer, 0, 10), PRODUCER_GONE);
        assert_non_null(strstr(producer_message(producer), "commit"));
        assert_end(producer, producer_abort(producer), PRODUCER_GONE);
        assert_end(producer, commit(producer, member.consumer, 0, 10), PRODUCER_GONE);

        /* Its transaction is open: the offset is not to be had, whatever it will be. */
        uint64_t offset;
        bool found;
        assert_error(consumer_committed(member.consumer, 0, NS_PER_S, &offset, &found), ERROR_NETWORK,
                     "offset");
        producer_close(producer);
        script = (struct script){"committed", PRODUCER_FAULT_FATAL};
        producer = open_producer(follow, &script);
        assert_int_equal(committed(&member, 0), UINT64_MAX);
        assert_int_equal(visible(), 0);
        put_many(producer, 0, 10);
        assert_end(producer, commit(producer, member.consumer, 0, 10), PRODUCER_GONE);
        producer_close(producer);

        producer = open_producer(NULL, NULL);
        assert_int_equal(committed(&member, 0), 10);
        assert_int_equal(visible(), 10);
        producer_close(producer);
        member_close(&member);
}

static void test_injected_ends(void **state) {
        struct script script = {0};
        struct producer *producer = open_producer(follow, &script);
        const char *steps[] = {"begin", "send", "commit"};
        struct producer_message message = {.topic = results, .has_value = true, .value = BYTES("v")};
        (void)state;
        for (size_t i = 0; i < 6; i++) {
                bool fence = i >= 3;
                script = (struct script){steps[i % 3], fence ? PRODUCER_FAULT_FENCED : PRODUCER_FAULT_ABORT};
                assert_int_equal(producer_send(producer, &message),
                                 i % 3 == 2 ? PRODUCER_SENT : PRODUCER_BROKEN);
                assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0),
                           fence ? PRODUCER_FENCED : PRODUCER_ABORTED);
        }
        assert_int_equal(visible(), 0);
        put(producer, "v");
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        script = (struct script){"abort", PRODUCER_FAULT_ABORT};
        put(producer, "v");
        assert_end(producer, producer_abort(producer), PRODUCER_GONE);
        producer_close(producer);
        producer = open_producer(NULL, NULL);
        assert_int_equal(visible(), 1);
        producer_close(producer);
}

/* --- fences --- */

static void test_fenced_by_id(void **state) {
        struct producer *old = open_producer(NULL, NULL);
        (void)state;
        put_many(old, 0, 10);
        struct producer *new = open_producer(NULL, NULL);
        assert_end(old, producer_commit(old, NULL, NULL, NULL, 0), PRODUCER_GONE);
        put_many(new, 10, 15);
        assert_end(new, producer_commit(new, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        assert_int_equal(visible(), 5);
        assert_end(old, producer_commit(old, NULL, NULL, NULL, 0), PRODUCER_GONE);
        producer_close(old);
        producer_close(new);
}

/* The member gave the partition back and commits its offset all the same. */
static void test_not_owned(void **state) {
        struct member first, second;
        struct consumer_record record;
        (void)state;
        member_open(&first, &common, jobs);
        MEMBER_UNTIL(first.count == 3, &first);
        struct producer *producer = open_producer(NULL, NULL);
        member_open(&second, &common, jobs);
        MEMBER_UNTIL(second.count > 0 && first.count > 0 && second.count + first.count == 3, &first, &second);
        uint32_t theirs = second.mine[0] ? 0 : second.mine[1] ? 1 : 2;
        uint32_t ours = first.mine[0] ? 0 : first.mine[1] ? 1 : 2;
        assert_false(consumer_take(first.consumer, theirs, &record));
        put_many(producer, 0, 5);
        assert_end(producer, commit(producer, first.consumer, theirs, 5), PRODUCER_FENCED);
        assert_int_equal(visible(), 0);
        assert_int_equal(committed(&second, theirs), UINT64_MAX);
        put_many(producer, 0, 5);
        assert_end(producer, commit(producer, first.consumer, ours, 5), PRODUCER_COMMITTED);
        assert_int_equal(visible(), 5);
        producer_close(producer);
        member_close(&first);
        member_close(&second);
}

static char zombie_word[] = "zombie";
static char *zombie_argv[] = {zombie_word, zombie_word, jobs, results, group, id, NULL};

/*
 * The process that is stopped: takes partitions, sends, stops itself; then commits at once, or after a poll.
 */
static int zombie(char **arguments) {
        snprintf(jobs, sizeof(jobs), "%s", arguments[0]);
        snprintf(results, sizeof(results), "%s", arguments[1]);
        snprintf(group, sizeof(group), "%s", arguments[2]);
        snprintf(id, sizeof(id), "%s-zombie", arguments[3]);
        set_property(&common, "bootstrap.servers", bootstrap);
        set_property(&common, "group.id", group);
        set_property(&common, "session.timeout.ms", "3000");
        set_property(&common, "heartbeat.interval.ms", "300");
        struct member member;
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(NULL, NULL);
        put_many(producer, 0, 10);
        raise(SIGSTOP);
        enum producer_end end = commit(producer, member.consumer, 0, 10);
        fprintf(stderr, "zombie: ended as %d: %s\n", (int)end, producer_message(producer));
        producer_close(producer);
        member_close(&member);
        return (int)end;
}

static void await_stopped(pid_t pid) {
        int status;
        assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
        assert_true(WIFSTOPPED(status));
}

static void test_zombie_process(void **state) {
        extern char **environ;
        struct member member;
        pid_t pid;
        int status;
        (void)state;
        assert_int_equal(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, zombie_argv, environ), 0);
        await_stopped(pid);
        fill(bootstrap, jobs, 0, 0, 10);
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member); /* the other one's session is over */
        struct producer *producer = open_producer(NULL, NULL);
        put_many(producer, 100, 105);
        assert_end(producer, commit(producer, member.consumer, 0, 5), PRODUCER_COMMITTED);
        kill(pid, SIGCONT);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), PRODUCER_FENCED);
        assert_int_equal(committed(&member, 0), 5);
        assert_int_equal(visible(), 5);
        producer_close(producer);
        member_close(&member);
}

/* --- rebalances --- */

static void take_until(struct member *member, uint32_t partition, uint64_t *next, uint64_t end) {
        struct consumer_record record;
        for (; *next < end; (*next)++) {
                member_take(member, partition, &record);
                assert_int_equal(record.offset, *next);
                consumer_release(&record);
        }
}

/* What comes while a partition is being given back, if anything, is in order. */
static void take_some(struct member *member, uint64_t *next) {
        struct consumer_record record;
        for (uint32_t i = 0; i < 3; i++)
                while (consumer_take(member->consumer, i, &record)) {
                        assert_int_equal(record.offset, next[i]++);
                        consumer_release(&record);
                }
}

/* What a member gives back is answered late, by one that goes on polling; nothing comes twice or is lost. */
static void test_handover(void **state) {
        struct member first, second;
        struct consumer_record record;
        uint64_t next[3] = {0};
        (void)state;
        for (int32_t i = 0; i < 3; i++)
                fill(bootstrap, jobs, i, 0, 500);
        member_open(&first, &common, jobs);
        MEMBER_UNTIL(first.count == 3, &first);
        take_until(&first, 0, &next[0], 100);
        take_until(&first, 1, &next[1], 100);
        first.hold_revoked = true;
        member_open(&second, &common, jobs);
        MEMBER_UNTIL(first.revoked, &first, &second);
        assert_int_equal(first.going_count, 1);
        uint32_t going = first.going[0], other = (going + 1) % 3, third = (going + 2) % 3;
        int64_t end_ns = clock_now_ns() + 8 * NS_PER_S; /* longer than the session */
        MEMBER_UNTIL((take_some(&first, next), clock_now_ns() > end_ns), &first, &second);
        assert_int_equal(second.count, 0);
        assert_int_equal(first.lost_reports, 0);
        struct producer *producer = open_producer(NULL, NULL);
        assert_end(producer, commit(producer, first.consumer, going, next[going]), PRODUCER_COMMITTED);
        member_answer(&first);
        assert_false(consumer_take(first.consumer, going, &record));
        MEMBER_UNTIL(second.count == 1, &first, &second);
        assert_true(second.mine[going]);
        assert_false(consumer_take(first.consumer, going, &record));
        take_until(&second, going, &next[going], 500);
        take_until(&first, other, &next[other], 300);
        take_until(&first, third, &next[third], 500);
        /* And back: what was prefetched here before is not given out, the group's offset counts. */
        assert_end(producer, commit(producer, second.consumer, going, 300), PRODUCER_COMMITTED);
        member_close(&second);
        MEMBER_UNTIL(first.count == 3, &first);
        next[going] = 300;
        take_until(&first, going, &next[going], 500);
        take_until(&first, other, &next[other], 500);
        producer_close(producer);
        member_close(&first);
}

static void test_eager(void **state) {
        struct member first, second;
        (void)state;
        set_property(&common, "partition.assignment.strategy", "range");
        member_open(&first, &common, jobs);
        MEMBER_UNTIL(first.count == 3, &first);
        member_open(&second, &common, jobs);
        MEMBER_UNTIL(second.count > 0 && first.count + second.count == 3, &first, &second);
        assert_int_equal(first.assigned_reports, 2);
        assert_int_equal(first.revoked_reports, 1);
        assert_int_equal(first.going_count, 3);
        member_close(&first);
        MEMBER_UNTIL(second.count == 3, &second);
        member_close(&second);
}

/* Not polled for longer than max.poll.interval.ms: the partitions are gone, and it joins again. */
static void test_lost(void **state) {
        struct member member, other;
        (void)state;
        set_property(&common, "max.poll.interval.ms", "6000");
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(NULL, NULL);
        member_open(&other, &common, jobs);
        /* The other one asks for its share and never gets an answer. */
        member.hold_revoked = true;
        MEMBER_UNTIL(other.count == 3, &other);
        put_many(producer, 0, 5);
        assert_end(producer, commit(producer, member.consumer, 0, 5), PRODUCER_FENCED);
        MEMBER_UNTIL(member.lost_partitions == 3, &member, &other);
        MEMBER_UNTIL(member.count > 0 && member.count + other.count == 3, &member, &other);
        assert_int_equal(visible(), 0);
        producer_close(producer);
        member_close(&member);
        member_close(&other);
}

static void test_out_of_range(void **state) {
        struct member member;
        struct consumer_record record;
        (void)state;
        set_property(&common, "auto.offset.reset", "error");
        fill(bootstrap, jobs, 0, 0, 10);
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(NULL, NULL);
        MEMBER_UNTIL(!consumer_take(member.consumer, 0, &record) && member.failed, &member);
        assert_non_null(strstr(member.message, jobs));
        assert_non_null(strstr(member.message, "auto.offset.reset"));
        assert_end(producer, commit(producer, member.consumer, 0, 1000), PRODUCER_COMMITTED);
        member_close(&member);
        producer_close(producer);
}

/* With 2.0.2, a client destroyed between joining and its first assignment would crash. */
static void test_closed_early(void **state) {
        (void)state;
        for (int i = 0; i < 40; i++) {
                struct member member;
                member_open(&member, &common, jobs);
                int64_t until_ns = clock_now_ns() + i * 500 * NS_PER_US;
                MEMBER_UNTIL(clock_now_ns() >= until_ns, &member);
                member_close(&member);
        }
}

/* --- brokers that go away --- */

static char node_command[1200];

static pid_t node_pid(void) {
        char path[600];
        int pid = 0;
        snprintf(path, sizeof(path), "%s/pid", getenv("BATCHFERRY_TEST_KAFKA"));
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        assert_int_equal(fscanf(file, "%d", &pid), 1);
        fclose(file);
        return pid;
}

static void node(const char *verb, const char *more) {
        snprintf(node_command, sizeof(node_command), "%s/scripts/kafka %s --quiet %s --dir %s",
                 TEST_SOURCE_DIR, verb, more, getenv("BATCHFERRY_TEST_KAFKA"));
        assert_int_equal(system(node_command), 0);
}

/*
 * Records 0 to 99 go over in transactions of ten, whatever the ends are, while the broker is restarted. The
 * session may end meanwhile: then every commit is fenced until the consumer tells of it.
 */
static void test_restart(void **state) {
        struct member member;
        bool restarted = false, killed = false;
        (void)state;
        if (!getenv("BATCHFERRY_TEST_KAFKA"))
                skip();
        fill(bootstrap, jobs, 0, 0, 100);
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(NULL, NULL);
        int64_t end_ns = clock_now_ns() + 2 * TEST_WAIT_S * NS_PER_S;
        for (int from = 0; from < 100;) {
                assert_true(clock_now_ns() < end_ns);
                put_many(producer, from, from + 10);
                bool restart = (from == 30 && !restarted) || (from == 70 && !killed);
                if (restart)
                        node("restart", from == 70 ? "--kill" : "");
                if (restart)
                        end_ns = clock_now_ns() + 2 * TEST_WAIT_S * NS_PER_S;
                restarted |= from == 30;
                killed |= from == 70;
                enum producer_end end = commit(producer, member.consumer, 0, (uint64_t)from + 10);
                MEMBER_UNTIL(member.mine[0], &member);
                member_poll(&member);
                if (end == PRODUCER_COMMITTED) {
                        from += 10;
                } else if (end == PRODUCER_GONE) {
                        producer_close(producer);
                        producer = open_producer(NULL, NULL);
                        uint64_t at = committed(&member, 0);
                        from = at == UINT64_MAX ? 0 : (int)at;
                } else {
                        poll(NULL, 0, 20); /* a shard would wait for the consumer's next report */
                }
        }
        assert_int_equal(visible(), 100);
        assert_int_equal(committed(&member, 0), 100);
        producer_close(producer);
        member_close(&member);
}

/* A broker that stands still for longer than a transaction may last. */
static void test_stopped_broker(void **state) {
        (void)state;
        if (!getenv("BATCHFERRY_TEST_KAFKA"))
                skip();
        set_property(&common, "transaction.timeout.ms", "3000");
        struct producer *producer = open_producer(NULL, NULL);
        put_many(producer, 0, 10);
        assert_end(producer, producer_commit(producer, NULL, NULL, NULL, 0), PRODUCER_COMMITTED);
        put_many(producer, 10, 20);
        /* Delivered, so that only the commit is left. */
        int64_t end_ns = clock_now_ns() + TEST_WAIT_S * NS_PER_S;
        while (read_all(bootstrap, results, 0, "read_uncommitted", NULL, NULL) < 20)
                assert_true(clock_now_ns() < end_ns);
        pid_t pid = node_pid();
        kill(pid, SIGSTOP);
        int64_t begun_ns = clock_now_ns();
        enum producer_end end = producer_commit(producer, NULL, NULL, NULL, 0);
        int64_t took_ns = clock_now_ns() - begun_ns;
        kill(pid, SIGCONT);
        printf("a commit without a broker ended after %.1f s: %s\n", (double)took_ns / 1e9,
               producer_message(producer));
        assert_end(producer, end, PRODUCER_GONE);
        producer_close(producer);
        producer = open_producer(NULL, NULL);
        int seen = visible();
        assert_true(seen == 10 || seen == 20); /* not known, but all or nothing */
        producer_close(producer);
}

/* Offsets wait for the group's coordinator, for as long as it is away if one lets them. */
static void test_killed_broker(void **state) {
        struct member member;
        (void)state;
        if (!getenv("BATCHFERRY_TEST_KAFKA"))
                skip();
        set_property(&common, "transaction.timeout.ms", "3000");
        member_open(&member, &common, jobs);
        MEMBER_UNTIL(member.count == 3, &member);
        struct producer *producer = open_producer(NULL, NULL);
        put_many(producer, 0, 10);
        node("stop", "--kill");
        enum producer_end end = commit(producer, member.consumer, 0, 10);
        printf("offsets without a broker: %s\n", producer_message(producer));
        assert_end(producer, end, PRODUCER_GONE);
        producer_close(producer);
        node("restart", "");
        producer = open_producer(NULL, NULL); /* whatever was left behind is over now */
        assert_int_equal(visible(), 0);
        producer_close(producer);
        member_close(&member);
}

int main(int count, char **arguments) {
        bootstrap = getenv("BATCHFERRY_TEST_BOOTSTRAP");
        if (!bootstrap || !*bootstrap) {
                fprintf(stderr, "skipped: BATCHFERRY_TEST_BOOTSTRAP names no cluster\n");
                return 77;
        }
        if (count == 6 && strcmp(arguments[1], "zombie") == 0)
                return zombie(arguments + 2);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_in_and_out, setup),
                cmocka_unit_test_setup(test_offsets_of_records, setup),
                cmocka_unit_test_setup(test_keys_and_headers, setup),
                cmocka_unit_test_setup(test_too_large, setup),
                cmocka_unit_test_setup(test_no_such_partition, setup),
                cmocka_unit_test_setup(test_aborted_is_unseen, setup),
                cmocka_unit_test_setup(test_gone_and_resolved, setup),
                cmocka_unit_test_setup(test_injected_ends, setup),
                cmocka_unit_test_setup(test_fenced_by_id, setup),
                cmocka_unit_test_setup(test_not_owned, setup),
                cmocka_unit_test_setup(test_zombie_process, setup),
                cmocka_unit_test_setup(test_handover, setup),
                cmocka_unit_test_setup(test_eager, setup),
                cmocka_unit_test_setup(test_lost, setup),
                cmocka_unit_test_setup(test_out_of_range, setup),
                cmocka_unit_test_setup(test_closed_early, setup),
                cmocka_unit_test_setup(test_restart, setup),
                cmocka_unit_test_setup(test_killed_broker, setup),
                cmocka_unit_test_setup(test_stopped_broker, setup),
        };
        if (count == 2)
                cmocka_set_test_filter(arguments[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
