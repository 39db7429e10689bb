#include "broker/cli/cmd_topics.h"

#include "broker/base/time.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/options.h"
#include "broker/cli/say.h"
#include "broker/cli/topic_rules.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_PARTITIONS = 512, KEY_REPLICATION, KEY_JSON };
enum { PARTITIONS_DEFAULT = 12, PARTITIONS_MAX = 4096, REPLICATION_MAX = 99, JSON_MAX = 1 << 20 };
enum { TRANSACTION_TIMEOUT_MS = 30000 }; /* broker/kafka/client.c */
#define ASK_NS (30 * NS_PER_S)

struct request {
        struct options options;
        const char *verb;
        uint32_t partitions; /* 0: not said */
        int32_t replication; /* -1: the brokers' default */
        bool json;
        struct config *config;
        struct kafka_options kafka;
        struct topics *topics;
        struct topic_description described[ROLES_COUNT];
        struct cluster_description cluster;
        struct findings findings;
};

static const struct argp_option known[] = {
        {"partitions", KEY_PARTITIONS, "N", 0,
         "create: partitions of a topic (default: 12, or as many as the jobs topic has); as many workers' "
         "loops can "
         "share the work",
         1},
        {"replication", KEY_REPLICATION, "N", 0,
         "create: copies of each record (default: the brokers' default)", 1},
        {"json", KEY_JSON, NULL, 0, "check: what was found as JSON", 1},
        {0},
};

static uint32_t parse_number(struct argp_state *state, const char *name, const char *text, uint32_t most) {
        char *end;
        errno = 0;
        unsigned long value = strtoul(text, &end, 10);
        if (errno || *end || end == text || *text == '-' || value == 0 || value > most)
                argp_error(state, "%s takes a whole number from 1 to %u, not \"%s\"", name, most, text);
        return (uint32_t)value;
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                request->replication = -1;
                return 0;
        case KEY_PARTITIONS:
                request->partitions = parse_number(state, "--partitions", value, PARTITIONS_MAX);
                return 0;
        case KEY_REPLICATION:
                request->replication = (int32_t)parse_number(state, "--replication", value, REPLICATION_MAX);
                return 0;
        case KEY_JSON:
                request->json = true;
                return 0;
        case ARGP_KEY_ARG:
                if (request->verb)
                        argp_error(state, "\"%s\" is one word too many", value);
                request->verb = value;
                return 0;
        case ARGP_KEY_END:
                if (!request->verb ||
                    (strcmp(request->verb, "create") != 0 && strcmp(request->verb, "check") != 0))
                        argp_error(state, "say create or check");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "create | check",
        "The topics that jobs, results, dead letters, state and audit records are in.\v"
        "create    makes those that are missing, with the settings that the configuration asks for, and says "
        "what "
        "is wrong with those that are there; it changes none of them\n"
        "check     shows all five and says what is wrong with them, what follows from it, and the command "
        "that mends "
        "it\n\n"
        "Their names are in `topics` of the configuration; how long they keep records and how large those "
        "may be "
        "follows from idempotency.retention, limits.job_bytes and limits.response_bytes.\n\n"
        "Exit codes: 0 all well, or warnings only, 1 something is wrong, 2 wrong usage or configuration.",
        children,
        NULL,
        NULL};

static struct error *describe(struct request *request) {
        const char *names[ROLES_COUNT];
        for (int i = 0; i < ROLES_COUNT; i++)
                names[i] = topic_role_name(&request->config->settings, (enum topic_role)i);
        struct error *error = topics_describe_cluster(request->topics, ASK_NS, &request->cluster);
        if (!error)
                error = topics_describe(request->topics, names, ROLES_COUNT, ASK_NS, request->described);
        return error;
}

static const char *property(const struct request *request, const char *name, const char *otherwise) {
        const char *value = otherwise;
        for (size_t i = 0; i < request->config->kafka_count; i++)
                if (strcmp(request->config->kafka[i].name, name) == 0)
                        value = request->config->kafka[i].value;
        return value;
}

static void apply_rules(struct request *request) {
        const char *timeout = property(request, "transaction.timeout.ms", NULL);
        struct topic_facts facts = {
                .settings = &request->config->settings,
                .topics = request->described,
                .cluster = &request->cluster,
                .bootstrap = property(request, "bootstrap.servers", "HOST:PORT"),
                .transaction_timeout_ms = timeout ? strtoll(timeout, NULL, 10) : TRANSACTION_TIMEOUT_MS,
        };
        topic_rules(&facts, &request->findings);
}

static const char *config_of(const struct topic_description *topic, const char *name) {
        const char *value = topic_config_value(topic->configs, topic->configs_count, name);
        return value ? value : "?";
}

static void print_topic(const struct topic_description *topic) {
        char retention[32] = "-";
        const char *policy = config_of(topic, "cleanup.policy"), *ms = config_of(topic, "retention.ms");
        if (!topic->exists) {
                printf("%-28s missing\n", topic->name);
                return;
        }
        if (*ms != '?' && strstr(policy, "delete"))
                topic_duration_text(strtoll(ms, NULL, 10), retention);
        printf("%-28s %10u %11u  %-14s %-10s %12s\n", topic->name, topic->partitions, topic->replication,
               policy, retention, config_of(topic, "max.message.bytes"));
}

static void print_table(const struct request *request) {
        printf("%-28s %10s %11s  %-14s %-10s %12s\n", "topic", "partitions", "replication", "cleanup",
               "retention", "largest");
        for (int i = 0; i < ROLES_COUNT; i++)
                print_topic(&request->described[i]);
}

static void print_findings(const struct request *request) {
        for (size_t i = 0; i < request->findings.count; i++) {
                const struct finding *finding = &request->findings.items[i];
                printf("\n%s: %s: %s\n", finding->severity == SEVERITY_ERROR ? "error" : "warning",
                       topic_role_name(&request->config->settings, finding->role), finding->what);
                if (finding->follows[0])
                        printf("  %s\n", finding->follows);
                if (finding->mend[0])
                        printf("  mend it: %s\n", finding->mend);
        }
        if (request->findings.count == 0)
                printf("\nall well\n");
}

static void json_text(struct buffer *json, const char *name, const char *text) {
        buffer_printf(json, "\"%s\":\"", name);
        buffer_append_json_escaped(json, bytes_of(text));
        buffer_append_char(json, '"');
}

static void json_configs(struct buffer *json, const struct topic_config *configs, size_t count) {
        buffer_append_string(json, ",\"configs\":{");
        for (size_t i = 0; i < count; i++) {
                if (i > 0)
                        buffer_append_char(json, ',');
                json_text(json, configs[i].name, configs[i].value);
        }
        buffer_append_char(json, '}');
}

static void json_findings(struct buffer *json, const struct findings *findings, enum topic_role role) {
        bool first = true;
        buffer_append_string(json, ",\"findings\":[");
        for (size_t i = 0; i < findings->count; i++) {
                const struct finding *finding = &findings->items[i];
                if (finding->role != role)
                        continue;
                buffer_append_string(json, first ? "{" : ",{");
                json_text(json, "severity", finding->severity == SEVERITY_ERROR ? "error" : "warning");
                buffer_append_char(json, ',');
                json_text(json, "what", finding->what);
                buffer_append_char(json, ',');
                json_text(json, "follows", finding->follows);
                buffer_append_char(json, ',');
                json_text(json, "mend", finding->mend);
                buffer_append_char(json, '}');
                first = false;
        }
        buffer_append_string(json, "]}");
}

static struct error *print_json(const struct request *request) {
        struct buffer json;
        buffer_init(&json, JSON_MAX);
        buffer_append_string(&json, "{\"topics\":[");
        for (int i = 0; i < ROLES_COUNT; i++) {
                const struct topic_description *topic = &request->described[i];
                buffer_append_string(&json, i > 0 ? ",{" : "{");
                json_text(&json, "role", topic_role_text((enum topic_role)i));
                buffer_append_char(&json, ',');
                json_text(&json, "name", topic->name);
                buffer_printf(&json, ",\"exists\":%s,\"partitions\":%u,\"replication\":%u,\"leaderless\":%u",
                              topic->exists ? "true" : "false", topic->partitions, topic->replication,
                              topic->leaderless);
                json_configs(&json, topic->configs, topic->configs_count);
                json_findings(&json, &request->findings, (enum topic_role)i);
        }
        buffer_printf(&json, "],\"cluster\":{\"brokers\":%u", request->cluster.brokers);
        json_configs(&json, request->cluster.configs, request->cluster.configs_count);
        json_findings(&json, &request->findings, ROLES_COUNT);
        buffer_append_string(&json, "}\n");
        bool failed = json.failed;
        if (!failed)
                fwrite(json.data, 1, json.size, stdout);
        buffer_deinit(&json);
        return failed ? error_new(ERROR_MEMORY, "no memory for the answer") : NULL;
}

static struct error *check(struct request *request) {
        struct error *error = describe(request);
        if (error)
                return error;
        apply_rules(request);
        if (request->json)
                return print_json(request);
        print_table(request);
        print_findings(request);
        return NULL;
}

/* State has as many partitions as jobs, whichever of them was there first. */
static uint32_t partitions_for(const struct request *request, enum topic_role role) {
        const struct topic_description *jobs = &request->described[ROLE_JOBS];
        const struct topic_description *state = &request->described[ROLE_STATE];
        if (role == ROLE_STATE && jobs->exists)
                return jobs->partitions;
        if (role == ROLE_JOBS && state->exists && request->partitions == 0)
                return state->partitions;
        return request->partitions ? request->partitions
               : jobs->exists      ? jobs->partitions
                                   : (uint32_t)PARTITIONS_DEFAULT;
}

static uint32_t replicas_expected(const struct request *request) {
        const char *standard = topic_config_value(request->cluster.configs, request->cluster.configs_count,
                                                  "default.replication.factor");
        if (request->replication > 0)
                return (uint32_t)request->replication;
        return standard ? (uint32_t)strtoul(standard, NULL, 10) : 0;
}

static void print_made(const struct topic_plan *plan) {
        printf("%s: made, %u partitions", plan->wish.name, plan->wish.partitions);
        for (size_t i = 0; i < plan->wish.configs_count; i++)
                printf(", %s=%s", plan->configs[i].name, plan->configs[i].value);
        printf("\n");
}

/* false: one of them was refused. */
static bool print_outcomes(const struct topic_plan *plans, const struct topic_outcome *outcomes,
                           size_t count) {
        bool well = true;
        for (size_t i = 0; i < count; i++) {
                if (outcomes[i].made == TOPIC_MADE)
                        print_made(&plans[i]);
                if (outcomes[i].made == TOPIC_WAS_THERE)
                        printf("%s: somebody else has made it just now\n", plans[i].wish.name);
                if (outcomes[i].made != TOPIC_REFUSED)
                        continue;
                say(LOG_LEVEL_ERROR, "%s: the cluster refuses to make it: %s", plans[i].wish.name,
                    outcomes[i].message);
                well = false;
        }
        return well;
}

static struct error *create_missing(struct request *request, bool *out_well) {
        struct topic_plan plans[ROLES_COUNT];
        struct topic_wish wishes[ROLES_COUNT];
        struct topic_outcome outcomes[ROLES_COUNT];
        size_t count = 0;
        for (int i = 0; i < ROLES_COUNT; i++) {
                enum topic_role role = (enum topic_role)i;
                if (request->described[i].exists)
                        continue;
                topic_plan(&request->config->settings, role, partitions_for(request, role),
                           request->replication, replicas_expected(request), &plans[count]);
                wishes[count] = plans[count].wish;
                count++;
        }
        *out_well = true;
        if (count == 0)
                return NULL;
        struct error *error = topics_create(request->topics, wishes, count, ASK_NS, outcomes);
        if (error)
                return error;
        *out_well = print_outcomes(plans, outcomes, count);
        if (*out_well && !request->described[ROLE_RESULTS].exists)
                printf("A result may be as large as limits.response_bytes, %lld bytes; consumers that are "
                       "not "
                       "batchferry collect need room for that (librdkafka: receive.message.max.bytes).\n",
                       (long long)request->config->settings.response_bytes);
        return NULL;
}

static struct error *create(struct request *request, int *out_code) {
        bool there[ROLES_COUNT], well;
        struct error *error = describe(request);
        for (int i = 0; i < ROLES_COUNT && !error; i++)
                there[i] = request->described[i].exists;
        if (!error)
                error = create_missing(request, &well);
        if (!error)
                error = describe(request);
        if (error)
                return error;
        for (int i = 0; i < ROLES_COUNT; i++)
                if (there[i])
                        printf("%s: there already, %u partitions\n", request->described[i].name,
                               request->described[i].partitions);
        if (!well) {
                *out_code = EXIT_FAILED;
                return NULL;
        }
        apply_rules(request);
        if (request->findings.count > 0)
                print_findings(request);
        *out_code = request->findings.errors > 0 ? EXIT_FAILED : EXIT_WELL;
        return NULL;
}

static struct error *answer(struct request *request, int *out_code) {
        struct error *error = kafka_options_init(&request->kafka, request->config, 0);
        struct kafka_properties properties = kafka_options_properties(&request->kafka);
        if (!error)
                error = topics_open(&properties, "batchferry-topics", &request->topics);
        if (error)
                return error;
        if (strcmp(request->verb, "create") == 0)
                return create(request, out_code);
        error = check(request);
        *out_code = request->findings.errors > 0 ? EXIT_FAILED : EXIT_WELL;
        return error;
}

int cmd_topics(int argc, char **argv) {
        struct request *request = calloc(1, sizeof(*request));
        int code = EXIT_FAILED;
        if (!request)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, request);
        struct error *error = options_load(&request->options, &request->config);
        if (!error) {
                say_init(request->config, request->options.quiet, request->options.verbose);
                error = answer(request, &code);
        }
        if (!error && fflush(stdout) != 0)
                error = error_errno(errno, "cannot write the output");
        if (error)
                code = kafka_options_fail(error);
        topics_close(request->topics);
        config_free(request->config);
        free(request);
        return code;
}
