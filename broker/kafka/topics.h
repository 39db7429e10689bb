#pragma once
/*
 * Making and describing topics (librdkafka's admin client). Blocks, with a timeout.
 */
#include "broker/kafka/client.h"

enum { TOPIC_CONFIGS_MAX = 64, TOPIC_NAME_MAX = 249, TOPICS_MAX = 64 };

struct topic_config {
        char name[64], value[128];
        bool is_default;
};

struct topic_description {
        char name[TOPIC_NAME_MAX + 1];
        bool exists;
        uint32_t partitions, replication; /* smallest of its partitions */
        uint32_t leaderless;              /* partitions without a leader */
        struct topic_config configs[TOPIC_CONFIGS_MAX];
        size_t configs_count;
        char config_error[200]; /* configs could not be read (rights): why; "" otherwise */
};

struct topic_wish {
        const char *name;
        uint32_t partitions;
        int32_t replication; /* -1: the broker's default */
        const struct kafka_property *configs;
        size_t configs_count;
};

enum topic_made { TOPIC_MADE, TOPIC_WAS_THERE, TOPIC_REFUSED };

struct topic_outcome {
        enum topic_made made;
        char message[200]; /* TOPIC_REFUSED */
};

/* What the brokers are set to, as the controller's host says; those settings that bear on exactly-once. */
struct cluster_description {
        uint32_t brokers;
        struct topic_config configs[TOPIC_CONFIGS_MAX];
        size_t configs_count;
        char config_error[200];
};

struct topics; /* an admin client */

struct error *topics_open(const struct kafka_properties *properties, const char *client_id,
                          struct topics **out_topics) MUST_USE;
struct topics *topics_close(struct topics *topics); /* NULL gives NULL */
/* The name of the cluster; at most 63 bytes and a NUL. */
struct error *topics_cluster(struct topics *topics, int64_t timeout_ns, char out_id[64]) MUST_USE;
struct error *topics_describe_cluster(struct topics *topics, int64_t timeout_ns,
                                      struct cluster_description *out_description) MUST_USE;
/* At most TOPICS_MAX. A topic that is not there is no error: `exists`. Never makes one. */
struct error *topics_describe(struct topics *topics, const char *const *names, size_t count,
                              int64_t timeout_ns, struct topic_description *out_descriptions) MUST_USE;
/* At most TOPICS_MAX. Waits until the new ones can be used. */
struct error *topics_create(struct topics *topics, const struct topic_wish *wishes, size_t count,
                            int64_t timeout_ns, struct topic_outcome *out_outcomes) MUST_USE;
