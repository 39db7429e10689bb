#include "broker/cli/worker_cluster.h"

#include "broker/base/time.h"
#include "broker/cli/kafka_options.h"
#include "broker/kafka/topics.h"
#include "broker/wire/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum {
        TOPIC_JOBS,
        TOPIC_RESULTS,
        TOPIC_DEAD_LETTERS,
        TOPIC_STATE,
        TOPIC_AUDIT,
        TOPICS_COUNT,
        NAME_BYTES = 12,
        RECORD_BYTES_LEAST = AUDIT_LINE_MAX + 4096,
};
#define SESSION_MS_DEFAULT "45000" /* librdkafka's */
#define ASK_NS             (20 * NS_PER_S)
/* What librdkafka takes at most. */
#define MESSAGE_BYTES_MAX ((size_t)1000000000)
/* Its batch.size. */
#define BATCH_BYTES_DEFAULT 1000000ULL

static const char *property(const struct config *config, const char *name, const char *otherwise) {
        for (size_t i = 0; i < config->kafka_count; i++)
                if (strcmp(config->kafka[i].name, name) == 0)
                        return config->kafka[i].value;
        return otherwise;
}

static void add(struct cluster *cluster, const char *name, const char *value) {
        cluster->items[cluster->properties.count++] = (struct kafka_property){name, value};
}

static struct error *take_properties(const struct config *config, struct cluster *cluster) {
        cluster->items = calloc(config->kafka_count + 4, sizeof(*cluster->items));
        if (!cluster->items)
                return error_new(ERROR_MEMORY, "no memory");
        cluster->properties.items = cluster->items;
        kafka_options_listen();
        for (size_t i = 0; i < config->kafka_count; i++)
                add(cluster, config->kafka[i].name, config->kafka[i].value);
        cluster->bootstrap =
                property(config, "bootstrap.servers", property(config, "metadata.broker.list", NULL));
        if (!cluster->bootstrap) {
                cluster->bootstrap = KAFKA_BOOTSTRAP_DEFAULT;
                add(cluster, "bootstrap.servers", cluster->bootstrap);
        }
        cluster->group_id = property(config, "group.id", NULL);
        if (!cluster->group_id) {
                cluster->group_id = "batchferry";
                add(cluster, "group.id", cluster->group_id);
        }
        cluster->session_ns =
                strtoll(property(config, "session.timeout.ms", SESSION_MS_DEFAULT), NULL, 10) * NS_PER_MS;
        return client_check(&cluster->properties);
}

static size_t bytes_max(const struct topic_description *topic) {
        for (size_t i = 0; i < topic->configs_count; i++)
                if (strcmp(topic->configs[i].name, "max.message.bytes") == 0)
                        return (size_t)strtoull(topic->configs[i].value, NULL, 10);
        return SIZE_MAX;
}

/* `count`: without the audit's, if that is off. */
static struct error *look_at(const struct topic_description topics[TOPICS_COUNT], size_t count) {
        for (size_t i = 0; i < count; i++)
                if (!topics[i].exists)
                        return error_new(ERROR_USAGE,
                                         "there is no topic %s; `batchferry topics create` makes those that "
                                         "are missing",
                                         topics[i].name);
        if (topics[TOPIC_JOBS].partitions != topics[TOPIC_STATE].partitions)
                return error_new(
                        ERROR_USAGE,
                        "%s has %u partitions and %s %u; they must have the same number: `batchferry topics "
                        "check` says what to do",
                        topics[TOPIC_JOBS].name, topics[TOPIC_JOBS].partitions, topics[TOPIC_STATE].name,
                        topics[TOPIC_STATE].partitions);
        return NULL;
}

static size_t smaller(size_t a, size_t b) {
        return a < b ? a : b;
}

/* What is never made smaller to fit: records of the audit, of owners. */
static struct error *check_bounds(const struct topic_description topics[TOPICS_COUNT], size_t count,
                                  size_t own) {
        if (own < RECORD_BYTES_LEAST)
                return error_new(ERROR_USAGE, "kafka.message.max.bytes is %zu; a worker needs at least %d",
                                 own, RECORD_BYTES_LEAST);
        for (size_t i = TOPIC_STATE; i < count; i++)
                if (bytes_max(&topics[i]) < RECORD_BYTES_LEAST)
                        return error_new(ERROR_USAGE,
                                         "max.message.bytes of topic %s is %zu; a worker needs at least %d",
                                         topics[i].name, bytes_max(&topics[i]), RECORD_BYTES_LEAST);
        return NULL;
}

/*
 * The producer's own bound must let through whatever any topic takes, unless the user has set it; ours, per
 * topic, are tighter.
 */
static struct error *bound_messages(const struct config *config, struct cluster *cluster,
                                    const struct topic_description topics[TOPICS_COUNT], size_t count) {
        const char *set = property(config, "message.max.bytes", NULL);
        size_t own = set ? (size_t)strtoull(set, NULL, 10) : MESSAGE_BYTES_MAX, largest = 0, smallest = own;
        cluster->jobs_bytes_max = smaller(bytes_max(&topics[TOPIC_JOBS]), own);
        cluster->results_bytes_max = smaller(bytes_max(&topics[TOPIC_RESULTS]), own);
        cluster->dead_letters_bytes_max = smaller(bytes_max(&topics[TOPIC_DEAD_LETTERS]), own);
        cluster->state_bytes_max = smaller(bytes_max(&topics[TOPIC_STATE]), own);
        for (size_t i = 0; i < count; i++) {
                size_t bytes = bytes_max(&topics[i]);
                if (bytes != SIZE_MAX && bytes > largest)
                        largest = bytes;
                smallest = smaller(smallest, bytes);
        }
        /* what each may be by itself may be too much together */
        if (smallest < BATCH_BYTES_DEFAULT && !property(config, "batch.size", NULL)) {
                snprintf(cluster->batch_size, sizeof(cluster->batch_size), "%zu", smallest);
                add(cluster, "batch.size", cluster->batch_size);
        }
        if (!set && largest > 0) {
                snprintf(cluster->message_max, sizeof(cluster->message_max), "%zu", smaller(largest, own));
                add(cluster, "message.max.bytes", cluster->message_max);
        }
        return check_bounds(topics, count, own);
}

static struct error *ask(const struct config *config, struct cluster *cluster) {
        const struct settings *settings = &config->settings;
        const char *names[TOPICS_COUNT] = {settings->topic_jobs, settings->topic_results,
                                           settings->topic_dead_letters, settings->topic_state,
                                           settings->topic_audit};
        size_t count = settings->audit_topic ? TOPICS_COUNT : TOPIC_AUDIT;
        struct topics *client;
        struct topic_description *topics = calloc(TOPICS_COUNT, sizeof(*topics));
        if (!topics)
                return error_new(ERROR_MEMORY, "no memory");
        struct error *error = topics_open(&cluster->properties, "batchferry-start", &client);
        if (error) {
                free(topics);
                return error;
        }
        error = topics_cluster(client, ASK_NS, cluster->id);
        if (!error)
                error = topics_describe(client, names, count, ASK_NS, topics);
        if (!error)
                error = look_at(topics, count);
        if (!error) {
                error = bound_messages(config, cluster, topics, count);
                cluster->partitions = topics[TOPIC_JOBS].partitions;
                cluster->audit_partitions = settings->audit_topic ? topics[TOPIC_AUDIT].partitions : 0;
                snprintf(cluster->identity, sizeof(cluster->identity), "%s/%s/%s", cluster->id,
                         settings->topic_jobs, settings->topic_state);
        }
        topics_close(client);
        free(topics);
        return error;
}

struct error *cluster_open(const struct config *config, struct cluster *out_cluster) {
        *out_cluster = (struct cluster){0}; /* in place: properties point into it */
        struct error *error = take_properties(config, out_cluster);
        if (!error)
                error = ask(config, out_cluster);
        if (error)
                cluster_close(out_cluster);
        return error;
}

void cluster_close(struct cluster *cluster) {
        free(cluster->items);
        cluster->items = NULL;
}

static struct error *make_name(const char *path, char out_name[64]) {
        uint8_t random[NAME_BYTES];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return error_errno(errno, "cannot make a name for this worker");
        char text[64] = "";
        for (size_t i = 0; i < NAME_BYTES; i++)
                snprintf(text + 2 * i, 3, "%02x", random[i]);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0)
                return error_errno(errno, "cannot write %s", path);
        bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0;
        struct error *error = written ? NULL : error_errno(errno, "cannot write %s", path);
        close(fd);
        if (!error)
                memcpy(out_name, text, sizeof(text));
        return error;
}

struct error *cluster_name(struct cluster *cluster, const char *state_directory) {
        char path[4096], text[64] = "";
        snprintf(path, sizeof(path), "%s/worker", state_directory);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
        if (fd >= 0)
                close(fd);
        size_t hex = strspn(text, "0123456789abcdef");
        if (size == 2 * NAME_BYTES && hex == 2 * NAME_BYTES) {
                memcpy(cluster->name, text, sizeof(text));
                return NULL;
        }
        return make_name(path, cluster->name); /* none yet, or half of one */
}
