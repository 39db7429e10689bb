/*
 * Topics made and described. The mock cluster knows no admin requests, so this needs real brokers:
 * BATCHFERRY_TEST_BOOTSTRAP (host:port); without it the program counts as skipped.
 */
#include "broker/kafka/topics.h"
#include "tests/unit/kafka/cluster.h"

static const char *real;
static struct topics *topics;

static void name_topic(char out_name[64], const char *what) {
        static int sequence;
        snprintf(out_name, 64, "test-%s-%u-%d", what, (unsigned)(clock_now_unix_ms() % 100000000),
                 ++sequence);
}

static const char *value_of(const struct topic_description *description, const char *name) {
        for (size_t i = 0; i < description->configs_count; i++)
                if (strcmp(description->configs[i].name, name) == 0)
                        return description->configs[i].value;
        return "";
}

static void makes_what_is_wished_for(void **state) {
        (void)state;
        char one[64], two[64];
        name_topic(one, "one");
        name_topic(two, "two");
        struct kafka_property configs[] = {{"cleanup.policy", "compact"}, {"segment.bytes", "1048576"}};
        struct topic_wish wishes[] = {
                {.name = one, .partitions = 5, .replication = 1, .configs = configs, .configs_count = 2},
                {.name = two, .partitions = 1, .replication = -1},
        };
        struct topic_outcome outcomes[2];
        static struct topic_description found[3];
        const char *names[] = {two, "test-nonesuch", one};
        assert_ok(topics_create(topics, wishes, 2, 30 * NS_PER_S, outcomes));
        assert_int_equal(outcomes[0].made, TOPIC_MADE);
        assert_int_equal(outcomes[1].made, TOPIC_MADE);
        assert_ok(topics_describe(topics, names, 3, 30 * NS_PER_S, found));
        assert_string_equal(found[0].name, two);
        assert_true(found[0].exists && found[2].exists);
        assert_false(found[1].exists);
        assert_int_equal(found[0].partitions, 1);
        assert_int_equal(found[2].partitions, 5);
        assert_int_equal(found[2].replication, 1);
        assert_int_equal(found[2].leaderless, 0);
        assert_string_equal(found[2].config_error, "");
        assert_string_equal(value_of(&found[2], "cleanup.policy"), "compact");
        assert_string_equal(value_of(&found[2], "segment.bytes"), "1048576");
        assert_string_equal(value_of(&found[0], "cleanup.policy"), "delete");
        /* Once more: it is there, and is left as it is. */
        wishes[0].partitions = 7;
        assert_ok(topics_create(topics, wishes, 1, 30 * NS_PER_S, outcomes));
        assert_int_equal(outcomes[0].made, TOPIC_WAS_THERE);
        assert_ok(topics_describe(topics, names, 3, 30 * NS_PER_S, found));
        assert_int_equal(found[2].partitions, 5);
}

static void refusals_are_told(void **state) {
        (void)state;
        char name[64];
        name_topic(name, "bad");
        struct kafka_property config = {"no.such.config", "1"};
        struct topic_wish wishes[] = {
                {.name = name, .partitions = 1, .replication = 1, .configs = &config, .configs_count = 1},
                {.name = "no/good/name", .partitions = 1, .replication = 1},
                {.name = name, .partitions = 1, .replication = 99},
        };
        struct topic_outcome outcome;
        for (size_t i = 0; i < 3; i++) {
                assert_ok(topics_create(topics, &wishes[i], 1, 30 * NS_PER_S, &outcome));
                assert_int_equal(outcome.made, TOPIC_REFUSED);
                assert_true(outcome.message[0] != 0);
        }
}

static void the_cluster_is_described(void **state) {
        (void)state;
        char id[64] = "";
        static struct cluster_description cluster;
        assert_ok(topics_cluster(topics, 30 * NS_PER_S, id));
        assert_true(id[0] != 0);
        assert_ok(topics_describe_cluster(topics, 30 * NS_PER_S, &cluster));
        assert_true(cluster.brokers >= 1);
        bool told = false;
        for (size_t i = 0; i < cluster.configs_count; i++)
                told = told || strcmp(cluster.configs[i].name, "transaction.max.timeout.ms") == 0;
        assert_true(told || cluster.config_error[0]);
}

static void nobody_is_there(void **state) {
        (void)state;
        struct kafka_property property = {"bootstrap.servers", "127.0.0.1:1"};
        struct kafka_properties properties = {&property, 1};
        const char *name = "x";
        static struct topic_description found;
        struct topics *lost;
        assert_ok(topics_open(&properties, "test", &lost));
        assert_error(topics_describe(lost, &name, 1, NS_PER_S, &found), ERROR_NETWORK, "bootstrap.servers");
        topics_close(lost);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(makes_what_is_wished_for),
                cmocka_unit_test(refusals_are_told),
                cmocka_unit_test(the_cluster_is_described),
                cmocka_unit_test(nobody_is_there),
        };
        real = getenv("BATCHFERRY_TEST_BOOTSTRAP");
        if (!real || !*real) {
                fprintf(stderr, "skipped: BATCHFERRY_TEST_BOOTSTRAP names no cluster\n");
                return 77;
        }
        struct kafka_property property = {"bootstrap.servers", real};
        struct kafka_properties properties = {&property, 1};
        struct error *error = topics_open(&properties, "test", &topics);
        if (error) {
                fprintf(stderr, "%s\n", error->message);
                return 1;
        }
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        topics_close(topics);
        return failed;
}
