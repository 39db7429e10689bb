#include "broker/cli/kafka_options.h"

#include "broker/cli/options.h"
#include "broker/cli/say.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
        SYSLOG_WARNING = 4,
        RECORD_OVERHEAD = 64 << 10, /* key, headers, and what the format adds */
        RECORD_BYTES_MIN = 1000000, /* librdkafka's default and its limit */
        RECORD_BYTES_MAX = 1000000000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char complaint[KAFKA_COMPLAINT_MAX];

static void on_log(int level, const char *facility, const char *text) {
        /* "[thrd:...]: " is of use to nobody but librdkafka's authors. */
        const char *behind = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL;
        const char *shown = behind ? behind + 3 : text;
        say(LOG_LEVEL_DEBUG, "kafka: %s: %s", facility, shown);
        if (level > SYSLOG_WARNING)
                return;
        pthread_mutex_lock(&lock);
        if (!complaint[0] || !strstr(shown, "brokers are down")) /* the one that says why came before */
                snprintf(complaint, sizeof(complaint), "%s", shown);
        pthread_mutex_unlock(&lock);
}

bool kafka_options_named(const struct config *config) {
        for (size_t i = 0; i < config->kafka_count; i++)
                if (strcmp(config->kafka[i].name, "bootstrap.servers") == 0 ||
                    strcmp(config->kafka[i].name, "metadata.broker.list") == 0)
                        return true;
        return false;
}

void kafka_options_listen(void) {
        client_log_to(on_log);
}

struct error *kafka_options_init(struct kafka_options *options, const struct config *config,
                                 int64_t record_bytes) {
        *options = (struct kafka_options){0};
        if (!kafka_options_named(config))
                options->items[options->count++] =
                        (struct kafka_property){"bootstrap.servers", KAFKA_BOOTSTRAP_DEFAULT};
        if (config->kafka_count + 2 > CLIENT_PROPERTIES_MAX)
                return error_new(ERROR_USAGE, "kafka: more than %d properties", CLIENT_PROPERTIES_MAX - 2);
        int64_t bytes = record_bytes < RECORD_BYTES_MAX - RECORD_OVERHEAD ? record_bytes + RECORD_OVERHEAD
                                                                          : RECORD_BYTES_MAX;
        snprintf(options->message_bytes, sizeof(options->message_bytes), "%lld",
                 (long long)(bytes < RECORD_BYTES_MIN ? RECORD_BYTES_MIN : bytes));
        options->items[options->count++] =
                (struct kafka_property){"message.max.bytes", options->message_bytes};
        for (size_t i = 0; i < config->kafka_count; i++)
                options->items[options->count++] =
                        (struct kafka_property){config->kafka[i].name, config->kafka[i].value};
        kafka_options_listen();
        struct kafka_properties properties = kafka_options_properties(options);
        return client_check(&properties);
}

struct kafka_properties kafka_options_properties(const struct kafka_options *options) {
        return (struct kafka_properties){options->items, options->count};
}

void kafka_options_complaint(char *out_text, size_t size) {
        pthread_mutex_lock(&lock);
        snprintf(out_text, size, "%s", complaint);
        pthread_mutex_unlock(&lock);
}

int kafka_options_fail(struct error *error) {
        char last[KAFKA_COMPLAINT_MAX];
        kafka_options_complaint(last, sizeof(last));
        if (error->kind != ERROR_NETWORK || !last[0])
                return options_fail(error);
        say(LOG_LEVEL_ERROR, "%s (%s)", error->message, last);
        error_free(error);
        return EXIT_FAILED;
}
