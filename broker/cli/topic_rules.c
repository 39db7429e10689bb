#include "broker/cli/topic_rules.h"

#include "broker/base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS_PER_DAY INT64_C(86400000)
enum {
        RECORD_OVERHEAD = 64 << 10, /* key, headers, the batch around it */
        BROKER_RECORD_BYTES = 1048588,
        STATE_SEGMENT_BYTES = 64 << 20,
};

static const char *const role_texts[] = {"jobs", "results", "dead_letters", "state", "audit", "cluster"};

const char *topic_role_text(enum topic_role role) {
        return role_texts[role];
}

const char *topic_role_name(const struct settings *settings, enum topic_role role) {
        switch (role) {
        case ROLE_JOBS:
                return settings->topic_jobs;
        case ROLE_RESULTS:
                return settings->topic_results;
        case ROLE_DEAD_LETTERS:
                return settings->topic_dead_letters;
        case ROLE_STATE:
                return settings->topic_state;
        case ROLE_AUDIT:
                return settings->topic_audit;
        case ROLES_COUNT:
                break;
        }
        return "the cluster";
}

void topic_duration_text(int64_t ms, char out_text[32]) {
        struct buffer text;
        if (ms < 0 || ms > INT64_MAX / NS_PER_MS) {
                snprintf(out_text, 32, "for ever");
                return;
        }
        buffer_init(&text, 256);
        duration_append(&text, ms * NS_PER_MS);
        snprintf(out_text, 32, "%.*s", (int)text.size, text.data ? text.data : "");
        buffer_deinit(&text);
}

static int64_t at_least(int64_t a, int64_t b) {
        return a > b ? a : b;
}

static int64_t idempotency_ms(const struct settings *settings) {
        return settings->idempotency_retention / NS_PER_MS;
}

/* The largest record that is written to such a topic; 0: small ones. */
static int64_t record_bytes(const struct settings *settings, enum topic_role role) {
        switch (role) {
        case ROLE_JOBS:
        case ROLE_STATE: /* parked jobs, as they came */
                return settings->job_bytes + RECORD_OVERHEAD;
        case ROLE_DEAD_LETTERS: /* with our headers */
                return settings->job_bytes + (int64_t)2 * RECORD_OVERHEAD;
        case ROLE_RESULTS:
                return settings->response_bytes + RECORD_OVERHEAD;
        case ROLE_AUDIT:
        case ROLES_COUNT:
                break;
        }
        return 0;
}

static int64_t retention_ms(const struct settings *settings, enum topic_role role) {
        int64_t days = role == ROLE_DEAD_LETTERS || role == ROLE_AUDIT ? 30 : 7;
        return at_least(days * MS_PER_DAY, idempotency_ms(settings));
}

static void wish_text(struct topic_plan *plan, const char *name, const char *value) {
        size_t at = plan->wish.configs_count++;
        snprintf(plan->values[at], sizeof(plan->values[at]), "%s", value);
        plan->configs[at] = (struct kafka_property){name, plan->values[at]};
}

static void wish_number(struct topic_plan *plan, const char *name, int64_t value) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%lld", (long long)value);
        wish_text(plan, name, digits);
}

void topic_plan(const struct settings *settings, enum topic_role role, uint32_t partitions,
                int32_t replication, uint32_t replicas, struct topic_plan *out_plan) {
        struct topic_plan *plan = out_plan;
        int64_t bytes = at_least(record_bytes(settings, role), BROKER_RECORD_BYTES);
        *plan = (struct topic_plan){.wish = {.name = topic_role_name(settings, role),
                                             .partitions = partitions,
                                             .replication = replication,
                                             .configs = plan->configs}};
        wish_number(plan, "max.message.bytes", bytes < INT32_MAX ? bytes : INT32_MAX);
        if (replicas >= 3)
                wish_text(plan, "min.insync.replicas", "2");
        if (role != ROLE_STATE) {
                wish_text(plan, "cleanup.policy", "delete");
                wish_number(plan, "retention.ms", retention_ms(settings, role));
                return;
        }
        /*
         * Small segments, since the last one is never compacted and a takeover reads it all. Tombstones stay
         * for as long as keys are kept: who comes back with an older state must see them.
         */
        wish_text(plan, "cleanup.policy", "compact");
        wish_number(plan, "segment.bytes", STATE_SEGMENT_BYTES);
        wish_number(plan, "segment.ms", MS_PER_DAY);
        wish_text(plan, "min.cleanable.dirty.ratio", "0.2");
        wish_number(plan, "delete.retention.ms", at_least(7 * MS_PER_DAY, idempotency_ms(settings)));
}

const char *topic_config_value(const struct topic_config *configs, size_t count, const char *name) {
        for (size_t i = 0; i < count; i++)
                if (strcmp(configs[i].name, name) == 0)
                        return configs[i].value;
        return NULL;
}

/* ---- what is wrong ---- */

struct check {
        const struct topic_facts *facts;
        struct findings *findings;
        enum topic_role role;
        const struct topic_description *topic;
};

static struct finding *find(struct check *check, enum severity severity, const char *fmt, ...)
        PRINTF_LIKE(3, 4);
static struct finding *find(struct check *check, enum severity severity, const char *fmt, ...) {
        static struct finding spare; /* written to when there is no room; nobody reads it */
        struct findings *findings = check->findings;
        struct finding *finding =
                findings->count < FINDINGS_MAX ? &findings->items[findings->count++] : &spare;
        va_list arguments;
        *finding = (struct finding){.severity = severity, .role = check->role};
        va_start(arguments, fmt);
        vsnprintf(finding->what, sizeof(finding->what), fmt, arguments);
        va_end(arguments);
        findings->errors += severity == SEVERITY_ERROR ? 1 : 0;
        return finding;
}

static void follows(struct finding *finding, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void follows(struct finding *finding, const char *fmt, ...) {
        va_list arguments;
        va_start(arguments, fmt);
        vsnprintf(finding->follows, sizeof(finding->follows), fmt, arguments);
        va_end(arguments);
}

static void mend_config(const struct check *check, struct finding *finding, const char *name, int64_t value,
                        const char *text) {
        char digits[24];
        snprintf(digits, sizeof(digits), "%lld", (long long)value);
        snprintf(finding->mend, sizeof(finding->mend),
                 "kafka-configs.sh --bootstrap-server %.100s --alter --entity-type topics --entity-name "
                 "%.120s "
                 "--add-config %s=%s",
                 check->facts->bootstrap, check->topic->name, name, text ? text : digits);
}

static void mend_partitions(const struct check *check, struct finding *finding, uint32_t count) {
        snprintf(finding->mend, sizeof(finding->mend),
                 "kafka-topics.sh --bootstrap-server %.100s --alter --topic %.120s --partitions %u",
                 check->facts->bootstrap, check->topic->name, count);
}

static const char *text_of(const struct check *check, const char *name) {
        return topic_config_value(check->topic->configs, check->topic->configs_count, name);
}

static bool number_of(const struct check *check, const char *name, int64_t *out_value) {
        const char *text = text_of(check, name);
        char *end;
        if (!text || !*text)
                return false;
        long long value = strtoll(text, &end, 10);
        if (*end)
                return false;
        *out_value = value;
        return true;
}

static const char *loss(enum topic_role role) {
        switch (role) {
        case ROLE_JOBS:
                return "jobs that no worker has read by then are gone";
        case ROLE_RESULTS:
                return "a result may be gone while its key is still known as done, so that the job cannot be "
                       "had again";
        case ROLE_DEAD_LETTERS:
                return "dead letters may be gone before somebody looks at them";
        case ROLE_STATE:
                return "what is known of jobs is forgotten too early: duplicates are done and paid again";
        case ROLE_AUDIT:
        case ROLES_COUNT:
                break;
        }
        return "records may be gone before somebody looks at them";
}

static void check_retention(struct check *check) {
        int64_t ms, bytes, needed = idempotency_ms(check->facts->settings);
        char is[32], should[32];
        if (number_of(check, "retention.ms", &ms) && ms >= 0 && ms < needed) {
                topic_duration_text(ms, is);
                topic_duration_text(needed, should);
                enum severity severity = check->role == ROLE_STATE ? SEVERITY_ERROR : SEVERITY_WARNING;
                struct finding *finding =
                        find(check, severity, "retention.ms is %s, shorter than idempotency.retention, %s",
                             is, should);
                follows(finding, "%s", loss(check->role));
                mend_config(check, finding, "retention.ms", needed, NULL);
        }
        if (number_of(check, "retention.bytes", &bytes) && bytes >= 0) {
                struct finding *finding = find(check, SEVERITY_WARNING,
                                               "retention.bytes is %lld per partition", (long long)bytes);
                follows(finding, "with more than that, %s", loss(check->role));
                mend_config(check, finding, "retention.bytes", -1, NULL);
        }
}

static void check_cleanup(struct check *check) {
        const char *policy = text_of(check, "cleanup.policy");
        bool state = check->role == ROLE_STATE;
        if (!policy)
                return;
        bool compacts = strstr(policy, "compact") != NULL, deletes = strstr(policy, "delete") != NULL;
        if (state && !compacts) {
                struct finding *finding =
                        find(check, SEVERITY_ERROR, "cleanup.policy is %.20s, not compact", policy);
                follows(finding,
                        "state is deleted by age whether it is still needed or not, and until then it only "
                        "grows: parked jobs are lost, takeovers get slow");
                mend_config(check, finding, "cleanup.policy", 0, "compact");
        }
        if (!state && compacts) {
                struct finding *finding =
                        find(check, SEVERITY_ERROR, "cleanup.policy is %.20s, not delete", policy);
                follows(finding,
                        "of records with the same key only the last one stays, and records without a key are "
                        "refused");
                mend_config(check, finding, "cleanup.policy", 0, "delete");
        }
        if (deletes || !compacts)
                check_retention(check);
}

static void check_tombstones(struct check *check) {
        int64_t ms, needed = idempotency_ms(check->facts->settings);
        char is[32], should[32];
        if (check->role != ROLE_STATE || !number_of(check, "delete.retention.ms", &ms) || ms >= needed)
                return;
        topic_duration_text(ms, is);
        topic_duration_text(needed, should);
        struct finding *finding =
                find(check, SEVERITY_WARNING,
                     "delete.retention.ms is %s, shorter than idempotency.retention, %s", is, should);
        follows(finding,
                "a worker that comes back later than that with its old state directory does not see what was "
                "deleted meanwhile");
        mend_config(check, finding, "delete.retention.ms", needed, NULL);
}

static void check_sizes(struct check *check) {
        const struct settings *settings = check->facts->settings;
        int64_t bytes, needed = record_bytes(settings, check->role);
        const char *limit = check->role == ROLE_RESULTS ? "limits.response_bytes" : "limits.job_bytes";
        int64_t limit_bytes = check->role == ROLE_RESULTS ? settings->response_bytes : settings->job_bytes;
        if (needed == 0 || !number_of(check, "max.message.bytes", &bytes) || bytes >= limit_bytes)
                return;
        /* Answers of that size are rare; jobs and what is kept of them are not. */
        enum severity severity = check->role == ROLE_RESULTS ? SEVERITY_WARNING : SEVERITY_ERROR;
        struct finding *finding = find(check, severity, "max.message.bytes is %lld, smaller than %s, %lld",
                                       (long long)bytes, limit, (long long)limit_bytes);
        follows(finding, "%s",
                check->role == ROLE_JOBS      ? "jobs that are within the limit are refused by the brokers"
                : check->role == ROLE_RESULTS ? "a larger answer is paid for, but cannot be published whole"
                : check->role == ROLE_STATE
                        ? "a large job cannot be parked"
                        : "a large record is set aside without its value, and cannot be sent back");
        mend_config(check, finding, "max.message.bytes", needed < INT32_MAX ? needed : INT32_MAX, NULL);
}

static void check_replicas(struct check *check) {
        const struct topic_description *topic = check->topic;
        const char *unclean = text_of(check, "unclean.leader.election.enable");
        int64_t in_sync = 0;
        bool told = number_of(check, "min.insync.replicas", &in_sync);
        if (topic->leaderless > 0) {
                struct finding *finding =
                        find(check, SEVERITY_ERROR, "%u partitions have no leader", topic->leaderless);
                follows(finding,
                        "nothing can be read from them or written to them until their brokers are back");
        }
        if (check->facts->cluster->brokers > 1 && topic->replication == 1) {
                struct finding *finding = find(check, SEVERITY_WARNING, "replication is 1");
                follows(finding, "when a broker's disk is lost, so is what is on it");
        }
        if (told && topic->replication >= 3 && in_sync < 2) {
                struct finding *finding =
                        find(check, SEVERITY_WARNING, "min.insync.replicas is %lld with %u replicas",
                             (long long)in_sync, topic->replication);
                follows(finding, "a record may count as written while one broker alone has it");
                mend_config(check, finding, "min.insync.replicas", 2, NULL);
        }
        if (told && topic->replication > 0 && in_sync > (int64_t)topic->replication) {
                struct finding *finding =
                        find(check, SEVERITY_ERROR, "min.insync.replicas is %lld with %u replicas",
                             (long long)in_sync, topic->replication);
                follows(finding, "nothing can be written");
                mend_config(check, finding, "min.insync.replicas", topic->replication, NULL);
        }
        if (unclean && strcmp(unclean, "true") == 0) {
                struct finding *finding =
                        find(check, SEVERITY_WARNING, "unclean.leader.election.enable is true");
                follows(finding, "what was committed can be lost when brokers fail");
                mend_config(check, finding, "unclean.leader.election.enable", 0, "false");
        }
}

static void check_partitions(struct check *check) {
        uint32_t jobs = check->facts->topics[ROLE_JOBS].partitions, count = check->topic->partitions;
        if (check->role != ROLE_STATE || !check->facts->topics[ROLE_JOBS].exists || count == jobs)
                return;
        struct finding *finding = find(check, SEVERITY_ERROR, "%u partitions, but %s has %u", count,
                                       check->facts->topics[ROLE_JOBS].name, jobs);
        if (count < jobs) {
                follows(finding,
                        "the state of a jobs partition is kept in the partition of the same number: jobs of "
                        "partitions %u to %u cannot be done",
                        count, jobs - 1);
                mend_partitions(check, finding, jobs);
                return;
        }
        follows(finding,
                "the jobs topic was made anew with fewer partitions: keys now name other partitions, where "
                "nothing is known of what was done before. Once all jobs have ended, delete this topic and "
                "run "
                "batchferry topics create");
}

static void check_topic(struct check *check) {
        if (!check->topic->exists) {
                struct finding *finding = find(check, SEVERITY_ERROR, "it does not exist");
                follows(finding, "workers do not start");
                snprintf(finding->mend, sizeof(finding->mend), "batchferry topics create");
                return;
        }
        check_partitions(check);
        check_replicas(check);
        if (check->topic->config_error[0]) {
                struct finding *finding = find(check, SEVERITY_WARNING, "its settings cannot be read: %.120s",
                                               check->topic->config_error);
                follows(finding, "they were not checked; the right DESCRIBE_CONFIGS on the topic lets this "
                                 "user see them");
                return;
        }
        check_cleanup(check);
        check_tombstones(check);
        check_sizes(check);
}

static bool cluster_number(const struct check *check, const char *name, int64_t *out_value) {
        const struct cluster_description *cluster = check->facts->cluster;
        const char *text = topic_config_value(cluster->configs, cluster->configs_count, name);
        if (!text || !*text)
                return false;
        *out_value = strtoll(text, NULL, 10);
        return true;
}

static void check_cluster(struct check *check) {
        int64_t value, timeout_ms = check->facts->transaction_timeout_ms;
        uint32_t brokers = check->facts->cluster->brokers;
        if (brokers == 1)
                follows(find(check, SEVERITY_WARNING, "it has one broker"),
                        "there is one copy of everything: well for trying things, not for work that counts");
        if (cluster_number(check, "transaction.max.timeout.ms", &value) && value < timeout_ms)
                follows(find(check, SEVERITY_ERROR,
                             "transaction.max.timeout.ms is %lld, below kafka.transaction.timeout.ms, %lld",
                             (long long)value, (long long)timeout_ms),
                        "workers cannot begin; set kafka.transaction.timeout.ms to no more than that");
        if (brokers > 1 && cluster_number(check, "transaction.state.log.replication.factor", &value) &&
            value == 1)
                follows(find(check, SEVERITY_WARNING, "transaction.state.log.replication.factor is 1"),
                        "when that broker's disk is lost, nobody knows which transactions were committed");
        if (brokers > 1 && cluster_number(check, "offsets.topic.replication.factor", &value) && value == 1)
                follows(find(check, SEVERITY_WARNING, "offsets.topic.replication.factor is 1"),
                        "when that broker's disk is lost, jobs are read again from the beginning");
}

void topic_rules(const struct topic_facts *facts, struct findings *out_findings) {
        *out_findings = (struct findings){0};
        for (int role = 0; role < ROLES_COUNT; role++) {
                struct check check = {facts, out_findings, (enum topic_role)role, &facts->topics[role]};
                check_topic(&check);
        }
        struct check check = {facts, out_findings, ROLES_COUNT, NULL};
        check_cluster(&check);
}
