/*
 * Properties: which are taken, which are refused and how, without a word of their values. And keys to
 * partitions.
 */
#include "tests/unit/kafka/cluster.h"

#include <syslog.h>

static struct error *check(const char *name, const char *value) {
        struct test_properties properties = {.count = 0};
        set_property(&properties, "bootstrap.servers", "localhost:1");
        set_property(&properties, "group.id", "g");
        if (name)
                set_property(&properties, name, value);
        struct kafka_properties seen = view(&properties);
        struct error *error = client_check(&seen);
        if (error && value)
                assert_null(strstr(error->message, value));
        return error;
}

static void test_taken(void **state) {
        static const struct kafka_property good[] = {
                {"linger.ms", "50"},
                {"delivery.timeout.ms", "9000"},
                {"session.timeout.ms", "10000"},
                {"fetch.min.bytes", "5"},
                {"auto.offset.reset", "latest"},
                {"partition.assignment.strategy", "range,roundrobin"},
                {"client.id", "quota-of-mine"},
                {"group.instance.id", "one"},
                {"transaction.timeout.ms", "5000"},
                {"compression.type", "zstd"},
                {"security.protocol", "ssl"},
                {"message.max.bytes", "20000000"},
                {"debug", "cgrp"},
                {"test.mock.num.brokers", "2"},
        };
        (void)state;
        assert_ok(check(NULL, NULL));
        for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
                assert_ok(check(good[i].name, good[i].value));
}

static void test_refused(void **state) {
        static const struct {
                const char *name, *value, *words;
        } bad[] = {
                {"enable.auto.commit", "true", "in the transaction"},
                {"auto.commit.enable", "true", "in the transaction"},
                {"enable.idempotence", "false", "twice"},
                {"acks", "1", "in-sync"},
                {"request.required.acks", "1", "in-sync"},
                {"isolation.level", "read_uncommitted", "taken back"},
                {"transactional.id", "mine", "shard"},
                {"partitioner", "consistent", "Java"},
                {"enabled_events", "4095", "function"},
                {"rebalance_cb", "0x1234567", "function"},
                {"dr_msg_cb", "0x1234567", "function"},
                {"ut_handle_ProduceResponse", "0x1234567", "function"},
                {"opaque", "0x1234567", "function"},
                /* By librdkafka. */
                {"lingr.ms", "5007", "knows no such property"},
                {"linger.ms", "99999999", "0..900000"},
                {"sasl.jaas.config", "secret-in-here", "Java JAAS"},
                {"compression.type", "secret-in-here", "does not take this value"},
                {"socket.nagle.disable", "secret-in-here", "Expected bool"},
                {"session.timeout.ms", "secret-in-here", "does not take this value"},
                /* When clients are made. */
                {"max.in.flight", "1000", "max.in.flight"},
                {"message.timeout.ms", "299999", "transaction.timeout.ms"},
                {"sasl.mechanism", "GSSAPI", "security.protocol: SASL_SSL"},
                {"ssl.ca.location", "/nowhere/at-all", "security.protocol: SSL"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                struct error *error = check(bad[i].name, bad[i].value);
                if (!error)
                        fail_msg("%s was taken", bad[i].name);
                if (!strstr(error->message, bad[i].words))
                        fail_msg("%s: %s", bad[i].name, error->message);
                assert_int_equal(error->kind, ERROR_USAGE);
                error_free(error);
        }
}

/* What one layer of security has is of use with that layer only. */
static void test_security(void **state) {
        static const struct {
                const char *protocol, *name, *value, *words;
        } cases[] = {
                {"SASL_PLAINTEXT", "sasl.mechanism", "OAUTHBEARER", NULL},
                {"sasl_ssl", "sasl.mechanism", "OAUTHBEARER", NULL},
                {"sasl_ssl", "sasl.mechanism", "PLAIN", "sasl.username and sasl.password"},
                {"ssl", "ssl.endpoint.identification.algorithm", "none", NULL},
                {"ssl", "ssl.keystore.location", "/nowhere/at-all", "keystore"},
                {"ssl", "sasl.username", "somebody", "sasl.username has no use"},
                {"sasl_plaintext", "ssl.key.password", "secret-in-here", "ssl.key.password has no use"},
                {"PLAINTEXT", "sasl.password", "secret-in-here", "sasl.password has no use"},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
                struct test_properties properties = {.count = 0};
                set_property(&properties, "bootstrap.servers", "localhost:1");
                set_property(&properties, "group.id", "g");
                set_property(&properties, "security.protocol", cases[i].protocol);
                set_property(&properties, cases[i].name, cases[i].value);
                struct kafka_properties seen = view(&properties);
                struct error *error = client_check(&seen);
                if (!cases[i].words)
                        assert_ok(error);
                else
                        assert_error(error, ERROR_USAGE, cases[i].words);
        }
}

static void test_no_brokers(void **state) {
        struct kafka_properties none = {NULL, 0};
        (void)state;
        assert_error(client_check(&none), ERROR_USAGE, "bootstrap.servers");
        struct rd_kafka_conf_s *conf;
        assert_error(client_configure(CLIENT_ADMIN, &none, NULL, &conf), ERROR_USAGE, "bootstrap.servers");
}

static const char *setting(enum client_kind kind, const struct test_properties *properties,
                           const char *name) {
        static char value[128];
        size_t size = sizeof(value);
        rd_kafka_conf_t *conf;
        struct kafka_properties seen = view(properties);
        assert_ok(client_configure(kind, &seen, "short", &conf));
        assert_int_equal(rd_kafka_conf_get(conf, name, value, &size), RD_KAFKA_CONF_OK);
        rd_kafka_conf_destroy(conf);
        return value;
}

static void test_precedence(void **state) {
        struct test_properties properties = {.count = 0};
        (void)state;
        set_property(&properties, "bootstrap.servers", "localhost:1");
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "client.id"), "short");
        /* Another word for the earliest; both are the first of their kind that librdkafka knows. */
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "auto.offset.reset"), "smallest");
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "partition.assignment.strategy"),
                            "cooperative-sticky");
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "enable.auto.commit"), "false");
        assert_string_equal(setting(CLIENT_TRANSACTIONAL, &properties, "transaction.timeout.ms"), "30000");
        assert_string_equal(setting(CLIENT_TRANSACTIONAL, &properties, "message.timeout.ms"), "25000");
        assert_string_equal(setting(CLIENT_PRODUCER, &properties, "acks"), "-1");
        set_property(&properties, "client.id", "theirs");
        set_property(&properties, "auto.offset.reset", "latest");
        set_property(&properties, "transaction.timeout.ms", "6000");
        set_property(&properties, "linger.ms", "7");
        set_property(&properties, "linger.ms", "8");
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "client.id"), "theirs");
        assert_string_equal(setting(CLIENT_CONSUMER, &properties, "auto.offset.reset"), "largest");
        assert_string_equal(setting(CLIENT_TRANSACTIONAL, &properties, "message.timeout.ms"), "5000");
        assert_string_equal(setting(CLIENT_TRANSACTIONAL, &properties, "linger.ms"), "8");
}

static char logged[4096];

static void log_here(int level, const char *facility, const char *text) {
        size_t size = strlen(logged);
        assert_true(level <= LOG_DEBUG);
        snprintf(logged + size, sizeof(logged) - size, "%s %s\n", facility, text);
}

/* A consumer's properties say nothing in a producer, but other warnings are heard. */
static void test_log(void **state) {
        struct test_properties properties = {.count = 0};
        rd_kafka_conf_t *conf;
        rd_kafka_t *client;
        (void)state;
        set_property(&properties, "bootstrap.servers", "localhost:1");
        set_property(&properties, "fetch.min.bytes", "5");
        set_property(&properties, "sasl.mechanism", "PLAIN");
        struct kafka_properties seen = view(&properties);
        client_log_to(log_here);
        assert_ok(client_configure(CLIENT_PRODUCER, &seen, NULL, &conf));
        assert_ok(client_new(CLIENT_PRODUCER, conf, &client));
        client_log_to(NULL);
        rd_kafka_destroy(client);
        assert_null(strstr(logged, "fetch.min.bytes"));
        assert_non_null(strstr(logged, "sasl.mechanism"));
}

static void test_errors(void **state) {
        (void)state;
        struct error *error =
                client_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "reading %s", "jobs");
        assert_error(error, ERROR_USAGE, "reading jobs: Broker: Topic authorization failed; give this user");
        assert_error(client_error(RD_KAFKA_RESP_ERR_UNKNOWN, "x"), ERROR_NETWORK, "x: Unknown broker error");
        assert_null(client_error_of(NULL, "x"));
        assert_error(client_error_of(rd_kafka_error_new(RD_KAFKA_RESP_ERR__TRANSPORT, "no %d", 7), "x"),
                     ERROR_NETWORK, "x: no 7; check bootstrap.servers");
}

/* Hashes of Kafka's UtilsTest.testMurmur2; toPositive(hash) % partitions is its default partitioner. */
static void test_partitions(void **state) {
        static const struct {
                const char *key;
                int32_t hash;
        } known[] = {
                {"21", -973932308},
                {"foobar", -790332482},
                {"a-little-bit-long-string", -985981536},
                {"a-little-bit-longer-string", -1486304829},
                {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
                {"abc", 479470107},
        };
        (void)state;
        for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
                for (uint32_t partitions = 1; partitions < 200; partitions++)
                        assert_int_equal(client_partition_of(bytes_of(known[i].key), partitions),
                                         ((uint32_t)known[i].hash & 0x7fffffff) % partitions);
        assert_int_equal(client_partition_of((struct bytes){NULL, 0}, 1), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_taken),      cmocka_unit_test(test_refused),
                cmocka_unit_test(test_security),   cmocka_unit_test(test_no_brokers),
                cmocka_unit_test(test_precedence), cmocka_unit_test(test_log),
                cmocka_unit_test(test_errors),     cmocka_unit_test(test_partitions),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
