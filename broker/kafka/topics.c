/*
 * Facts from outside: a DescribeConfigs request takes any number of topics, but of brokers one at a time, and
 * that one must be asked itself, for which librdkafka sees to. Producers ask for metadata in a way that makes
 * brokers with auto.create.topics.enable create the topic; this client is told not to.
 */
#include "broker/kafka/topics.h"

#include "broker/base/check.h"
#include "broker/base/time.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MARGIN_MS = 1000, PAUSE_MS = 50 };

struct topics {
        rd_kafka_t *client;
        rd_kafka_queue_t *queue;
};

/* Of the some hundred that a broker has. */
static const char *const broker_configs[] = {
        "auto.create.topics.enable",
        "default.replication.factor",
        "message.max.bytes",
        "min.insync.replicas",
        "offset.metadata.max.bytes",
        "offsets.topic.replication.factor",
        "transaction.max.timeout.ms",
        "transaction.state.log.min.isr",
        "transactional.id.expiration.ms",
        "transaction.state.log.replication.factor",
};

struct error *topics_open(const struct kafka_properties *properties, const char *client_id,
                          struct topics **out_topics) {
        rd_kafka_conf_t *conf;
        rd_kafka_t *client;
        struct error *error = client_configure(CLIENT_ADMIN, properties, client_id, &conf);
        if (error)
                return error;
        rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", NULL, 0);
        error = client_new(CLIENT_ADMIN, conf, &client);
        if (error)
                return error;
        struct topics *topics = calloc(1, sizeof(*topics));
        if (!topics) {
                rd_kafka_destroy(client);
                return error_new(ERROR_MEMORY, "no memory for a client of the cluster");
        }
        topics->client = client;
        topics->queue = rd_kafka_queue_new(client);
        *out_topics = topics;
        return NULL;
}

struct topics *topics_close(struct topics *topics) {
        if (!topics)
                return NULL;
        rd_kafka_queue_destroy(topics->queue);
        rd_kafka_destroy(topics->client);
        free(topics);
        return NULL;
}

static int ms_of(int64_t ns) {
        int64_t ms = ns / NS_PER_MS;
        return ms < 1 ? 1 : ms > 3600000 ? 3600000 : (int)ms;
}

static int ms_until(int64_t end_ns) {
        return ms_of(end_ns - clock_now_ns());
}

struct error *topics_cluster(struct topics *topics, int64_t timeout_ns, char out_id[64]) {
        char *id = rd_kafka_clusterid(topics->client, ms_of(timeout_ns));
        if (!id)
                return client_error(RD_KAFKA_RESP_ERR__TRANSPORT, "cannot reach the cluster");
        snprintf(out_id, 64, "%s", id);
        rd_kafka_mem_free(topics->client, id);
        return NULL;
}

static rd_kafka_AdminOptions_t *options_new(struct topics *topics, rd_kafka_admin_op_t what, int ms) {
        rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(topics->client, what);
        rd_kafka_AdminOptions_set_request_timeout(options, ms, NULL, 0);
        if (what == RD_KAFKA_ADMIN_OP_CREATETOPICS)
                rd_kafka_AdminOptions_set_operation_timeout(options, ms, NULL, 0);
        return options;
}

/* The answer to the request that was just made; the caller destroys the event. */
static struct error *await(struct topics *topics, int ms, const char *doing, rd_kafka_event_t **out_event) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(topics->queue, ms + ANSWER_MARGIN_MS);
        if (!event)
                return client_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "cannot %s", doing);
        rd_kafka_resp_err_t code = rd_kafka_event_error(event);
        if (code) {
                struct error *error = client_error((int)code, "cannot %s", doing);
                rd_kafka_event_destroy(event);
                return error;
        }
        *out_event = event;
        return NULL;
}

/* A name or value that is too long is cut; the ones that are looked at are short. */
static size_t take_configs(const rd_kafka_ConfigResource_t *resource, const char *const *wanted,
                           size_t wanted_count, struct topic_config *out_configs) {
        size_t count, kept = 0;
        const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
        for (size_t i = 0; i < count && kept < TOPIC_CONFIGS_MAX; i++) {
                const char *name = rd_kafka_ConfigEntry_name(entries[i]);
                const char *value = rd_kafka_ConfigEntry_value(entries[i]);
                bool keep = wanted_count == 0;
                for (size_t j = 0; j < wanted_count; j++)
                        keep = keep || strcmp(name, wanted[j]) == 0;
                if (!keep)
                        continue;
                struct topic_config *config = &out_configs[kept++];
                snprintf(config->name, sizeof(config->name), "%s", name);
                snprintf(config->value, sizeof(config->value), "%s", value ? value : "");
                config->is_default = rd_kafka_ConfigEntry_is_default(entries[i]) == 1;
        }
        return kept;
}

static struct error *ask_configs(struct topics *topics, rd_kafka_ConfigResource_t **asked, size_t count,
                                 int ms, rd_kafka_event_t **out_event) {
        rd_kafka_AdminOptions_t *options = options_new(topics, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, ms);
        rd_kafka_DescribeConfigs(topics->client, asked, count, options, topics->queue);
        rd_kafka_AdminOptions_destroy(options);
        return await(topics, ms, "read the settings of topics", out_event);
}

static void take_resource(const rd_kafka_ConfigResource_t *resource, struct topic_description *descriptions,
                          size_t count) {
        for (size_t i = 0; i < count; i++) {
                struct topic_description *description = &descriptions[i];
                if (strcmp(description->name, rd_kafka_ConfigResource_name(resource)) != 0)
                        continue;
                if (rd_kafka_ConfigResource_error(resource))
                        snprintf(description->config_error, sizeof(description->config_error), "%s",
                                 rd_kafka_ConfigResource_error_string(resource));
                description->configs_count = take_configs(resource, NULL, 0, description->configs);
        }
}

static struct error *describe_configs(struct topics *topics, struct topic_description *descriptions,
                                      size_t count, int ms) {
        rd_kafka_ConfigResource_t *asked[TOPICS_MAX];
        size_t asked_count = 0, answers;
        for (size_t i = 0; i < count; i++)
                if (descriptions[i].exists)
                        asked[asked_count++] =
                                rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, descriptions[i].name);
        if (asked_count == 0)
                return NULL;
        rd_kafka_event_t *event = NULL;
        struct error *error = ask_configs(topics, asked, asked_count, ms, &event);
        rd_kafka_ConfigResource_destroy_array(asked, asked_count);
        if (error)
                return error;
        const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
                rd_kafka_event_DescribeConfigs_result(event), &answers);
        for (size_t i = 0; i < answers; i++)
                take_resource(resources[i], descriptions, count);
        rd_kafka_event_destroy(event);
        return NULL;
}

static void take_partitions(const rd_kafka_metadata_topic_t *topic, struct topic_description *description) {
        description->exists = true;
        description->partitions = (uint32_t)topic->partition_cnt;
        for (int i = 0; i < topic->partition_cnt; i++) {
                const rd_kafka_metadata_partition_t *partition = &topic->partitions[i];
                uint32_t replicas = (uint32_t)partition->replica_cnt;
                if (i == 0 || replicas < description->replication)
                        description->replication = replicas;
                if (partition->leader < 0)
                        description->leaderless++;
        }
}

/*
 * One question per topic: a list of them cannot be asked for, and all topics of a cluster may be thousands.
 */
static struct error *describe_partitions(struct topics *topics, struct topic_description *description,
                                         int ms) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_topic_t *handle = rd_kafka_topic_new(topics->client, description->name, NULL);
        if (!handle)
                return client_error((int)rd_kafka_last_error(), "topic %s", description->name);
        rd_kafka_resp_err_t code = rd_kafka_metadata(topics->client, 0, handle, &metadata, ms);
        rd_kafka_topic_destroy(handle);
        if (code)
                return client_error((int)code, "cannot ask about topic %s", description->name);
        if (metadata->topic_cnt == 1) {
                code = metadata->topics[0].err;
                /* A topic of which no partition has a leader is there. */
                if (!code || code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
                        take_partitions(&metadata->topics[0], description);
        }
        rd_kafka_metadata_destroy(metadata);
        if (code && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
            code != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
                return client_error((int)code, "topic %s", description->name);
        return NULL;
}

struct error *topics_describe(struct topics *topics, const char *const *names, size_t count,
                              int64_t timeout_ns, struct topic_description *out_descriptions) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        CHECK(count <= TOPICS_MAX);
        struct topic_description *descriptions = calloc(count + 1, sizeof(*descriptions));
        if (!descriptions)
                return error_new(ERROR_MEMORY, "no memory to describe topics");
        struct error *error = NULL;
        for (size_t i = 0; i < count && !error; i++) {
                snprintf(descriptions[i].name, sizeof(descriptions[i].name), "%s", names[i]);
                error = describe_partitions(topics, &descriptions[i], ms_until(end_ns));
        }
        if (!error)
                error = describe_configs(topics, descriptions, count, ms_until(end_ns));
        if (!error)
                memcpy(out_descriptions, descriptions, count * sizeof(*descriptions));
        free(descriptions);
        return error;
}

static struct error *find_broker(struct topics *topics, int ms, char out_id[16], uint32_t *out_brokers) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(topics->client, 0, NULL, &metadata, ms);
        if (code)
                return client_error((int)code, "cannot reach the cluster");
        struct error *error = NULL;
        if (metadata->broker_cnt > 0) {
                *out_brokers = (uint32_t)metadata->broker_cnt;
                snprintf(out_id, 16, "%d", (int)metadata->brokers[0].id);
        } else {
                error = client_error(RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "cannot reach the cluster");
        }
        rd_kafka_metadata_destroy(metadata);
        return error;
}

/* What the rights do not allow to see is no error. */
static void take_broker(const rd_kafka_ConfigResource_t *resource, struct cluster_description *description) {
        if (rd_kafka_ConfigResource_error(resource))
                snprintf(description->config_error, sizeof(description->config_error), "%s",
                         rd_kafka_ConfigResource_error_string(resource));
        description->configs_count =
                take_configs(resource, broker_configs, sizeof(broker_configs) / sizeof(*broker_configs),
                             description->configs);
}

struct error *topics_describe_cluster(struct topics *topics, int64_t timeout_ns,
                                      struct cluster_description *out_description) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        char id[16];
        size_t answers = 0;
        rd_kafka_event_t *event = NULL;
        struct cluster_description description = {0};
        struct error *error = find_broker(topics, ms_until(end_ns), id, &description.brokers);
        if (error)
                return error;
        rd_kafka_ConfigResource_t *asked[] = {rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id)};
        error = ask_configs(topics, asked, 1, ms_until(end_ns), &event);
        rd_kafka_ConfigResource_destroy_array(asked, 1);
        if (error)
                return error;
        const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
                rd_kafka_event_DescribeConfigs_result(event), &answers);
        if (answers > 0)
                take_broker(resources[0], &description);
        rd_kafka_event_destroy(event);
        *out_description = description;
        return NULL;
}

static struct error *topic_of(const struct topic_wish *wish, rd_kafka_NewTopic_t **out_topic) {
        char text[200] = "";
        rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(wish->name, (int)wish->partitions,
                                                           wish->replication, text, sizeof(text));
        if (!topic)
                return error_new(ERROR_USAGE, "topic %s cannot be made: %s", wish->name, text);
        for (size_t i = 0; i < wish->configs_count; i++) {
                rd_kafka_resp_err_t code =
                        rd_kafka_NewTopic_set_config(topic, wish->configs[i].name, wish->configs[i].value);
                if (!code)
                        continue;
                rd_kafka_NewTopic_destroy(topic);
                return client_error((int)code, "topic %s, setting %s", wish->name, wish->configs[i].name);
        }
        *out_topic = topic;
        return NULL;
}

static void take_outcome(const rd_kafka_topic_result_t *result, const struct topic_wish *wishes, size_t count,
                         struct topic_outcome *outcomes) {
        for (size_t i = 0; i < count; i++) {
                if (strcmp(wishes[i].name, rd_kafka_topic_result_name(result)) != 0)
                        continue;
                const char *text = rd_kafka_topic_result_error_string(result);
                rd_kafka_resp_err_t code = rd_kafka_topic_result_error(result);
                outcomes[i].made = TOPIC_REFUSED;
                if (!code)
                        outcomes[i].made = TOPIC_MADE;
                else if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
                        outcomes[i].made = TOPIC_WAS_THERE;
                else
                        snprintf(outcomes[i].message, sizeof(outcomes[i].message), "%s",
                                 text ? text : rd_kafka_err2str(code));
        }
}

static struct error *make(struct topics *topics, rd_kafka_NewTopic_t **made, const struct topic_wish *wishes,
                          size_t count, int ms, struct topic_outcome *outcomes) {
        rd_kafka_AdminOptions_t *options = options_new(topics, RD_KAFKA_ADMIN_OP_CREATETOPICS, ms);
        rd_kafka_event_t *event = NULL;
        size_t answers;
        rd_kafka_CreateTopics(topics->client, made, count, options, topics->queue);
        rd_kafka_AdminOptions_destroy(options);
        struct error *error = await(topics, ms, "make topics", &event);
        if (error)
                return error;
        const rd_kafka_topic_result_t **results =
                rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &answers);
        for (size_t i = 0; i < answers; i++)
                take_outcome(results[i], wishes, count, outcomes);
        rd_kafka_event_destroy(event);
        return NULL;
}

/*
 * A new topic is known to the brokers one after the other, and its partitions get their leaders after that.
 */
static struct error *await_leaders(struct topics *topics, const struct topic_wish *wish, int64_t end_ns) {
        for (;;) {
                struct topic_description description = {0};
                snprintf(description.name, sizeof(description.name), "%s", wish->name);
                struct error *error = describe_partitions(topics, &description, ms_until(end_ns));
                bool usable = !error && description.exists && description.leaderless == 0 &&
                              description.partitions >= wish->partitions;
                bool late = clock_now_ns() >= end_ns;
                if (usable || (error && late))
                        return error;
                error_free(error);
                if (late)
                        return error_new(ERROR_NETWORK,
                                         "topic %s was made, but its partitions have no leaders yet; "
                                         "`batchferry topics check` tells when they have",
                                         wish->name);
                nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * NS_PER_MS}, NULL);
        }
}

struct error *topics_create(struct topics *topics, const struct topic_wish *wishes, size_t count,
                            int64_t timeout_ns, struct topic_outcome *out_outcomes) {
        int64_t end_ns = clock_now_ns() + timeout_ns;
        rd_kafka_NewTopic_t *made[TOPICS_MAX];
        struct topic_outcome outcomes[TOPICS_MAX] = {0};
        struct error *error = NULL;
        size_t ready = 0;
        CHECK(count > 0 && count <= TOPICS_MAX);
        while (ready < count && !error) {
                outcomes[ready].made = TOPIC_REFUSED;
                error = topic_of(&wishes[ready], &made[ready]);
                ready += error ? 0 : 1;
        }
        if (!error)
                error = make(topics, made, wishes, count, ms_until(end_ns), outcomes);
        rd_kafka_NewTopic_destroy_array(made, ready);
        for (size_t i = 0; i < count && !error; i++)
                if (outcomes[i].made == TOPIC_MADE)
                        error = await_leaders(topics, &wishes[i], end_ns);
        if (!error)
                memcpy(out_outcomes, outcomes, count * sizeof(*outcomes));
        return error;
}
