#pragma once
/*
 * How the five topics should be (messages.md, "Topics"): what `topics create` wishes for and what `topics
 * check` finds. No I/O.
 *
 * Facts about the settings: Kafka's documentation of topic configurations (3.9).
 */
#include "broker/kafka/topics.h"
#include "broker/ops/config.h"

enum topic_role { ROLE_JOBS, ROLE_RESULTS, ROLE_DEAD_LETTERS, ROLE_STATE, ROLE_AUDIT, ROLES_COUNT };
enum { WISH_CONFIGS_MAX = 8, FINDINGS_MAX = 64 };

struct topic_plan {
        struct topic_wish wish;
        struct kafka_property configs[WISH_CONFIGS_MAX];
        char values[WISH_CONFIGS_MAX][24];
};

enum severity { SEVERITY_WARNING, SEVERITY_ERROR };

struct finding {
        enum severity severity;
        enum topic_role role; /* ROLES_COUNT: of the cluster */
        char what[200];       /* what is so */
        char follows[300];    /* what comes of it */
        char mend[400];       /* the command that mends it; may be empty */
};

struct findings {
        struct finding items[FINDINGS_MAX];
        size_t count, errors;
};

const char *topic_role_text(enum topic_role role); /* as in `topics` of the configuration: "dead_letters" */
const char *topic_role_name(const struct settings *settings, enum topic_role role);
/* `replicas`: how many there will be; 0 when not known. */
void topic_plan(const struct settings *settings, enum topic_role role, uint32_t partitions,
                int32_t replication, uint32_t replicas, struct topic_plan *out_plan);
/* A setting of a topic, of a broker; NULL when it was not told. */
const char *topic_config_value(const struct topic_config *configs, size_t count, const char *name);
/* "7d" and such; "for ever" for what has no end. */
void topic_duration_text(int64_t ms, char out_text[32]);

struct topic_facts {
        const struct settings *settings;
        const struct topic_description *topics; /* by role */
        const struct cluster_description *cluster;
        const char *bootstrap; /* for the commands */
        int64_t transaction_timeout_ms;
};

void topic_rules(const struct topic_facts *facts, struct findings *out_findings);
