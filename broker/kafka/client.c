/*
 * Facts from outside: librdkafka's CONFIGURATION.md and rdkafka_conf.c (2.0.2 to 2.16). A property of a topic
 * may be set on the global configuration, from where it goes to the default topic configuration. The checks
 * across properties are done when a client is made, so client_check() makes clients without brokers.
 */
#include "broker/kafka/client.h"

#include "broker/base/check.h"

#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

enum {
        ALL = 0,
        CONSUMER = 1u << CLIENT_CONSUMER,
        READER = 1u << CLIENT_READER,
        PRODUCER = 1u << CLIENT_PRODUCER,
        TRANSACTIONAL = 1u << CLIENT_TRANSACTIONAL,
        CONSUMING = CONSUMER | READER,
        PRODUCING = PRODUCER | TRANSACTIONAL,
        HEADERS_MAX = 1024,
};

struct setting {
        unsigned kinds;
        const char *name, *value;
};

/* Before the user's properties. */
static const struct setting defaults[] = {
        {ALL, "client.software.name", "batchferry"},
        {ALL, "client.software.version", BATCHFERRY_VERSION},
        /* Nagle is on by default before 2.10. */
        {ALL, "socket.nagle.disable", "true"},
        {ALL, "socket.keepalive.enable", "true"},
        /* Brokers close idle connections all the time. */
        {ALL, "log.connection.close", "false"},
        /* 10 s by default: too long a pause after a broker has come back. */
        {ALL, "reconnect.backoff.max.ms", "2000"},

        {CONSUMING, "auto.offset.reset", "earliest"},
        {CONSUMING, "fetch.wait.max.ms", "100"},
        {CONSUMING, "check.crcs", "true"},
        /*
         * Both hold per partition, since each has a queue of its own. Reaching one of them keeps 2.0.2 from
         * fetching for a whole second, so they should be about what a partition gives in that time.
         */
        {CONSUMING, "queued.min.messages", "10000"},
        {CONSUMING, "queued.max.messages.kbytes", "16384"},

        {PRODUCER, "linger.ms", "5"},
        /*
         * Longer than it takes to hand over what is there: larger requests for half of the CPU. A commit
         * flushes, but only behind its offsets.
         */
        {TRANSACTIONAL, "linger.ms", "10"},
        {PRODUCING, "compression.type", "lz4"},
        {PRODUCING, "queue.buffering.max.kbytes", "131072"},
        {TRANSACTIONAL, "transaction.timeout.ms", "30000"},
        /* Also the time between two tries of AddOffsetsToTxn, which meets CONCURRENT_TRANSACTIONS often. */
        {TRANSACTIONAL, "retry.backoff.ms", "20"},
};

/* The same for what not every version knows. */
static const struct setting newer_defaults[] = {
        {CONSUMING, "fetch.queue.backoff.ms", "50"}, /* 2.2 */
        /*
         * 2.11. When no broker can be reached, "rebootstrap" forgets the group's coordinator while offsets of
         * a transaction wait for it, which then never end, whatever their timeout (librdkafka #5511, #5456;
         * seen with 2.16). A producer that gets nowhere is opened anew here, with the bootstrap servers.
         */
        {TRANSACTIONAL, "metadata.recovery.strategy", "none"},
};

/* Not for group.protocol=consumer, where the brokers assign. */
static const struct setting classic_defaults[] = {
        {CONSUMER, "partition.assignment.strategy", "cooperative-sticky"},
};

/* After the user's properties: what `refused` keeps from being set otherwise. */
static const struct setting fixed[] = {
        {CONSUMING, "enable.auto.commit", "false"},
        {CONSUMING, "enable.auto.offset.store", "false"},
        {CONSUMING, "isolation.level", "read_committed"},
        {CONSUMER, "enable.partition.eof", "false"},
        {READER, "enable.partition.eof", "true"},
        {PRODUCING, "enable.idempotence", "true"},
        {PRODUCING, "acks", "all"},
        {PRODUCING, "partitioner", "murmur2_random"},
};

#define COMMITS     "offsets are committed in the transaction that holds the results, never by the consumer"
#define CALLBACKS   "it is a function of the program"
#define IDEMPOTENCE "a retry would write results twice or out of order"
static const struct {
        const char *name, *why;
} refused[] = {
        {"enable.auto.commit", COMMITS},
        {"auto.commit.enable", COMMITS},
        {"auto.commit.interval.ms", COMMITS},
        {"enable.auto.offset.store", COMMITS},
        {"offset.store.method", COMMITS},
        {"offset.store.path", COMMITS},
        {"offset.store.sync.interval.ms", COMMITS},
        {"isolation.level", "results of transactions that were taken back must not be read"},
        {"enable.partition.eof", "the program counts on its own choice"},
        {"enable.idempotence", IDEMPOTENCE},
        {"acks", "a result counts as written when all in-sync replicas have it"},
        {"request.required.acks", "a result counts as written when all in-sync replicas have it"},
        {"queuing.strategy", IDEMPOTENCE},
        {"transactional.id", "every shard has its own, made from group.id"},
        {"partitioner", "the partition of a key must be the one that the Java client chooses (murmur2)"},
        {"enabled_events", CALLBACKS},
        {"delivery.report.only.error", CALLBACKS},
        {"produce.offset.report", CALLBACKS},
        {"log.queue", CALLBACKS},
        {"msg_order_cmp", CALLBACKS},
        {"opaque", CALLBACKS},
        {"default_topic_conf", CALLBACKS},
        {"interceptors", CALLBACKS},
        {"ssl_engine_callback_data", CALLBACKS},
        {"ut_handle_ProduceResponse", CALLBACKS},
};

static const struct {
        int code;
        enum error_class kind;
        const char *advice;
} codes[] = {
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, ERROR_USAGE, "check sasl.* and security.protocol"},
        {RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, ERROR_USAGE, "check sasl.username and sasl.password"},
        {RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, ERROR_USAGE,
         "set sasl.mechanism to one that the brokers have enabled"},
        {RD_KAFKA_RESP_ERR__SSL, ERROR_USAGE, "check ssl.* and security.protocol"},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ERROR_USAGE,
         "give this user the right to read, write and describe the topic"},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, ERROR_USAGE,
         "give this user the right to read the group"},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, ERROR_USAGE,
         "give this user the right IdempotentWrite on the cluster"},
        {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ERROR_USAGE,
         "give this user the rights Write and Describe on the transactional id"},
        {RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT, ERROR_USAGE,
         "transaction.timeout.ms is above the brokers' transaction.max.timeout.ms"},
        {RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT, ERROR_USAGE,
         "session.timeout.ms must be within the brokers' group.min.session.timeout.ms and "
         "group.max.session.timeout.ms"},
        {RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL, ERROR_USAGE,
         "another member of the group uses another partition.assignment.strategy; use one for all, or "
         "another "
         "group.id"},
        {RD_KAFKA_RESP_ERR_INVALID_GROUP_ID, ERROR_USAGE, "set group.id"},
        {RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, ERROR_USAGE, "the brokers are too old: 2.5 is needed"},
        {RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, ERROR_USAGE, "the brokers are too old: 2.5 is needed"},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, ERROR_INPUT,
         "see 'batchferry topics check'; 'batchferry topics create' makes what is missing"},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, ERROR_INPUT,
         "see 'batchferry topics check'; 'batchferry topics create' makes what is missing"},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, ERROR_INPUT, "see 'batchferry topics check'"},
        {RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, ERROR_INPUT, "the name of the topic is not a valid one"},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ERROR_INPUT,
         "raise max.message.bytes of the topic and message.max.bytes"},
        {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, ERROR_INPUT,
         "the log no longer has what the group has not read; set auto.offset.reset to earliest or latest"},
        {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, ERROR_INPUT,
         "the log no longer has what the group has not read; set auto.offset.reset to earliest or latest"},
        {RD_KAFKA_RESP_ERR__FENCED, ERROR_BUSY,
         "another process has taken over; give every worker its own identity"},
        {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, ERROR_BUSY,
         "another member has the same group.instance.id; give every worker its own"},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, ERROR_BUSY, "another process has taken over"},
        {RD_KAFKA_RESP_ERR__RESOLVE, ERROR_NETWORK, "check bootstrap.servers"},
        {RD_KAFKA_RESP_ERR__TRANSPORT, ERROR_NETWORK,
         "check bootstrap.servers, and security.protocol when the brokers want TLS"},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, ERROR_NETWORK,
         "check bootstrap.servers, and security.protocol when the brokers want TLS"},
        {RD_KAFKA_RESP_ERR__INVALID_ARG, ERROR_USAGE, NULL},
        {RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, ERROR_MEMORY, NULL},
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static _Atomic(void (*)(int, const char *, const char *)) log_sink;

void client_log_to(void (*sink)(int syslog_level, const char *facility, const char *text)) {
        atomic_store(&log_sink, sink);
}

void client_log(const char *facility, const char *text) {
        void (*sink)(int, const char *, const char *) = atomic_load(&log_sink);
        if (sink)
                sink(LOG_WARNING, facility, text);
}

static void log_line(const rd_kafka_t *client, int level, const char *facility, const char *text) {
        void (*sink)(int, const char *, const char *) = atomic_load(&log_sink);
        (void)client;
        if (strcmp(facility, "CONFWARN") == 0 && strstr(text, "will be ignored by this"))
                return;
        if (sink)
                sink(level, facility, text);
}

const char *client_advice(int code) {
        for (size_t i = 0; i < COUNT(codes); i++)
                if (codes[i].code == code)
                        return codes[i].advice;
        return NULL;
}

static enum error_class kind_of(int code) {
        for (size_t i = 0; i < COUNT(codes); i++)
                if (codes[i].code == code)
                        return codes[i].kind;
        return ERROR_NETWORK;
}

static struct error *error_make(int code, const char *text, const char *fmt, va_list args)
        __attribute__((format(printf, 3, 0)));

static struct error *error_make(int code, const char *text, const char *fmt, va_list args) {
        char doing[CLIENT_TEXT_MAX];
        const char *advice = client_advice(code);
        vsnprintf(doing, sizeof(doing), fmt, args);
        struct error *error =
                error_new(kind_of(code), "%s: %s%s%s", doing, text, advice ? "; " : "", advice ? advice : "");
        return error;
}

struct error *client_error(int code, const char *fmt, ...) {
        va_list args;
        va_start(args, fmt);
        struct error *error = error_make(code, rd_kafka_err2str((rd_kafka_resp_err_t)code), fmt, args);
        va_end(args);
        return error;
}

struct error *client_error_of(struct rd_kafka_error_s *from, const char *fmt, ...) {
        va_list args;
        if (!from)
                return NULL;
        va_start(args, fmt);
        struct error *error =
                error_make((int)rd_kafka_error_code(from), rd_kafka_error_string(from), fmt, args);
        va_end(args);
        rd_kafka_error_destroy(from);
        return error;
}

/*
 * What librdkafka says of a value that it refuses, without the value. Its texts quote values; those with a
 * range, and those that explain a property that only other clients have, are worth showing.
 */
static struct error *refusal(const char *name, const char *text) {
        const char *range = strstr(text, "allowed range");
        if (range)
                return error_new(ERROR_USAGE, "kafka property %s: the value is outside the %.80s", name,
                                 range);
        if (!strchr(text, '"') || strncmp(text, "Expected", 8) == 0)
                return error_new(ERROR_USAGE, "kafka property %s: %.200s", name, text);
        return error_new(ERROR_USAGE, "kafka property %s: librdkafka %s does not take this value", name,
                         rd_kafka_version_str());
}

static struct error *set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char text[512] = "";
        switch (rd_kafka_conf_set(conf, name, value, text, sizeof(text))) {
        case RD_KAFKA_CONF_OK:
                return NULL;
        case RD_KAFKA_CONF_UNKNOWN:
                return error_new(ERROR_USAGE, "kafka property %s: librdkafka %s knows no such property", name,
                                 rd_kafka_version_str());
        case RD_KAFKA_CONF_INVALID:
                break;
        }
        return refusal(name, text);
}

static struct error *set_all(rd_kafka_conf_t *conf, enum client_kind kind, const struct setting *settings,
                             size_t count) {
        for (size_t i = 0; i < count; i++) {
                struct error *error = NULL;
                if (settings[i].kinds == ALL || settings[i].kinds >> kind & 1)
                        error = set(conf, settings[i].name, settings[i].value);
                if (error)
                        return error;
        }
        return NULL;
}

static struct error *refuse(const char *name) {
        size_t size = strlen(name);
        for (size_t i = 0; i < COUNT(refused); i++)
                if (strcasecmp(refused[i].name, name) == 0)
                        return error_new(ERROR_USAGE, "kafka property %s cannot be set: %s", name,
                                         refused[i].why);
        if (size > 3 && strcasecmp(name + size - 3, "_cb") == 0)
                return error_new(ERROR_USAGE, "kafka property %s cannot be set: " CALLBACKS, name);
        return NULL;
}

static const char *find(const struct kafka_properties *properties, const char *name) {
        const char *value = NULL;
        for (size_t i = 0; i < properties->count; i++)
                if (strcmp(properties->items[i].name, name) == 0)
                        value = properties->items[i].value;
        return value;
}

static bool has_brokers(const struct kafka_properties *properties) {
        const char *names[] = {"bootstrap.servers", "metadata.broker.list", "test.mock.num.brokers"};
        for (size_t i = 0; i < COUNT(names); i++) {
                const char *value = find(properties, names[i]);
                if (value && *value)
                        return true;
        }
        return false;
}

/*
 * A login or a certificate that is never used: librdkafka would go on without it, as if there were none to be
 * given. Of the protocol librdkafka has judged the value.
 */
static struct error *refuse_unused(const struct kafka_properties *properties) {
        static const struct {
                const char *prefix, *needs, *advice;
        } layers[] = {{"sasl.", "sasl", "SASL_SSL or SASL_PLAINTEXT"}, {"ssl.", "ssl", "SSL or SASL_SSL"}};
        const char *protocol = find(properties, "security.protocol");
        for (size_t i = 0; i < properties->count; i++) {
                const char *name = properties->items[i].name;
                for (size_t j = 0; j < COUNT(layers); j++)
                        if (strncmp(name, layers[j].prefix, strlen(layers[j].prefix)) == 0 &&
                            !(protocol && strcasestr(protocol, layers[j].needs)))
                                return error_new(ERROR_USAGE,
                                                 "kafka property %s has no use without security.protocol: %s",
                                                 name, layers[j].advice);
        }
        return NULL;
}

static struct error *set_users(rd_kafka_conf_t *conf, const struct kafka_properties *properties) {
        if (properties->count > CLIENT_PROPERTIES_MAX)
                return error_new(ERROR_USAGE, "more than %d kafka properties", CLIENT_PROPERTIES_MAX);
        for (size_t i = 0; i < properties->count; i++) {
                const struct kafka_property *property = &properties->items[i];
                struct error *error = refuse(property->name);
                if (!error)
                        error = set(conf, property->name, property->value);
                if (error)
                        return error;
        }
        return NULL;
}

/* A message may not outlive its transaction; by itself librdkafka would let both end at the same time. */
static struct error *set_message_timeout(rd_kafka_conf_t *conf, const struct kafka_properties *properties) {
        char text[32], value[32];
        size_t size = sizeof(text);
        if (find(properties, "message.timeout.ms") || find(properties, "delivery.timeout.ms"))
                return NULL;
        if (rd_kafka_conf_get(conf, "transaction.timeout.ms", text, &size) != RD_KAFKA_CONF_OK)
                return NULL;
        snprintf(value, sizeof(value), "%ld", strtol(text, NULL, 10) / 6 * 5);
        return set(conf, "message.timeout.ms", value);
}

static struct error *fill(rd_kafka_conf_t *conf, enum client_kind kind,
                          const struct kafka_properties *properties, const char *client_id) {
        const char *protocol = find(properties, "group.protocol");
        struct error *error = set(conf, "client.id", client_id ? client_id : "batchferry");
        if (!error)
                error = set_all(conf, kind, defaults, COUNT(defaults));
        if (!error && (!protocol || strcmp(protocol, "classic") == 0))
                error = set_all(conf, kind, classic_defaults, COUNT(classic_defaults));
        for (size_t i = 0; i < COUNT(newer_defaults); i++)
                if (newer_defaults[i].kinds >> kind & 1)
                        rd_kafka_conf_set(conf, newer_defaults[i].name, newer_defaults[i].value, NULL, 0);
        if (!error)
                error = set_users(conf, properties);
        if (!error && kind == CLIENT_TRANSACTIONAL)
                error = set_message_timeout(conf, properties);
        return error ? error : set_all(conf, kind, fixed, COUNT(fixed));
}

struct error *client_configure(enum client_kind kind, const struct kafka_properties *properties,
                               const char *client_id, struct rd_kafka_conf_s **out_conf) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        struct error *error = fill(conf, kind, properties, client_id);
        if (!error && !has_brokers(properties))
                error = error_new(ERROR_USAGE, "kafka property bootstrap.servers is missing");
        if (error) {
                rd_kafka_conf_destroy(conf);
                return error;
        }
        rd_kafka_conf_set_log_cb(conf, log_line);
        *out_conf = conf;
        return NULL;
}

/*
 * A program that polls by events would have to make the token itself; a thread of librdkafka's calls the
 * function that is built in.
 */
static bool wants_token(const rd_kafka_conf_t *conf) {
        char mechanism[64];
        size_t size = sizeof(mechanism);
        return rd_kafka_conf_get(conf, "sasl.mechanisms", mechanism, &size) == RD_KAFKA_CONF_OK &&
               strcasecmp(mechanism, "OAUTHBEARER") == 0;
}

struct error *client_new(enum client_kind kind, struct rd_kafka_conf_s *conf,
                         struct rd_kafka_s **out_client) {
        char text[512] = "";
        bool consuming = kind == CLIENT_CONSUMER || kind == CLIENT_READER, token = wants_token(conf);
        if (token)
                rd_kafka_conf_enable_sasl_queue(conf, 1);
        rd_kafka_t *client =
                rd_kafka_new(consuming ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, text, sizeof(text));
        if (!client) {
                rd_kafka_conf_destroy(conf);
                return error_new(ERROR_USAGE, "kafka: %s", text);
        }
        /* Fails where it is not needed: the OIDC method has it by itself. */
        if (token)
                rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(client));
        *out_client = client;
        return NULL;
}

static void no_token(rd_kafka_t *client, const char *config, void *opaque) {
        (void)client, (void)config, (void)opaque;
}

/* Makes a client that knows no broker, and that fetches no token. */
static struct error *check_kind(enum client_kind kind, const struct kafka_properties *properties) {
        static const char *const left_out[] = {"bootstrap.servers", "metadata.broker.list",
                                               "test.mock.num.brokers", "test.mock.broker.rtt"};
        struct kafka_property items[CLIENT_PROPERTIES_MAX];
        struct kafka_properties kept = {.items = items};
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        const char *method = find(properties, "sasl.oauthbearer.method");
        rd_kafka_t *client = NULL;
        for (size_t i = 0; i < properties->count; i++) {
                bool keep = true;
                for (size_t j = 0; j < COUNT(left_out); j++)
                        keep &= strcmp(properties->items[i].name, left_out[j]) != 0;
                if (keep)
                        items[kept.count++] = properties->items[i];
        }
        struct error *error = fill(conf, kind, &kept, NULL);
        if (!error && kind == CLIENT_TRANSACTIONAL)
                error = set(conf, "transactional.id", "check");
        if (error) {
                rd_kafka_conf_destroy(conf);
                return error;
        }
        rd_kafka_conf_set_log_cb(conf, NULL);
        if (method && strcmp(method, "oidc") == 0)
                rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, no_token);
        error = client_new(kind, conf, &client);
        if (!error)
                rd_kafka_destroy_flags(client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        return error;
}

struct error *client_check(const struct kafka_properties *properties) {
        /* All values once, those of brokers too. */
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        struct error *error = set_users(conf, properties);
        rd_kafka_conf_destroy(conf);
        if (!error)
                error = refuse_unused(properties);
        if (!error && !has_brokers(properties))
                error = error_new(ERROR_USAGE, "kafka property bootstrap.servers is missing");
        if (!error)
                error = check_kind(CLIENT_CONSUMER, properties);
        return error ? error : check_kind(CLIENT_TRANSACTIONAL, properties);
}

struct rd_kafka_headers_s *client_headers(const struct kafka_header *headers, size_t count) {
        if (count == 0)
                return NULL;
        CHECK(count <= HEADERS_MAX);
        rd_kafka_headers_t *copies = rd_kafka_headers_new(count);
        for (size_t i = 0; i < count; i++) {
                const struct kafka_header *header = &headers[i];
                rd_kafka_header_add(copies, header->name.size ? header->name.data : "",
                                    (ssize_t)header->name.size, header->value.data,
                                    (ssize_t)header->value.size);
        }
        return copies;
}

uint32_t client_partition_of(struct bytes key, uint32_t partitions) {
        CHECK(partitions > 0 && partitions <= INT32_MAX);
        /* Exported for applications' own partitioners; of its arguments only these are looked at. */
        return (uint32_t)rd_kafka_msg_partitioner_murmur2(NULL, key.data, key.size, (int32_t)partitions, NULL,
                                                          NULL);
}
