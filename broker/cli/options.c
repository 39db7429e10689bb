#include "broker/cli/options.h"

#include "broker/cli/say.h"
#include "workers/providers/dialect.h"

#include <argp.h>
#include <stdio.h>

enum { KEY_STATE = 256, KEY_SET, KEY_LOG_FORMAT, KEY_BASE_URL, KEY_API_KEY_ENV };

static const struct argp_option known[] = {
        {"config", 'c', "FILE", 0,
         "Configuration (default: ./batchferry.yaml, then $XDG_CONFIG_HOME/batchferry/batchferry.yaml)", 10},
        {"state", KEY_STATE, "DIR", 0, "Directory of the durable state (default: ./batchferry-state)", 10},
        {"set", KEY_SET, "KEY=VALUE", 0, "One setting, over the file: --set limits.in_flight=64", 10},
        {"base-url", KEY_BASE_URL, "URL", 0,
         "Work without a file: one OpenAI-compatible provider that serves every model", 10},
        {"api-key-env", KEY_API_KEY_ENV, "NAME", 0,
         "Environment variable with its key (default: OPENAI_API_KEY)", 10},
        {"quiet", 'q', NULL, 0, "Say nothing but errors", 11},
        {"verbose", 'v', NULL, 0, "Say more", 11},
        {"log-format", KEY_LOG_FORMAT, "text|json", 0, "How log lines look", 11},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct options *options = state->input;
        switch (key) {
        case 'c':
                options->config_path = value;
                return 0;
        case KEY_STATE:
                options->state = value;
                return 0;
        case KEY_SET:
                if (options->sets_count >= SETS_MAX)
                        argp_error(state, "more than %d times --set: put them into a configuration file",
                                   SETS_MAX);
                else
                        options->sets[options->sets_count++] = value;
                return 0;
        case KEY_BASE_URL:
                options->base_url = value;
                return 0;
        case KEY_API_KEY_ENV:
                options->api_key_env = value;
                return 0;
        case 'q':
                options->quiet = true;
                return 0;
        case 'v':
                options->verbose = true;
                return 0;
        case KEY_LOG_FORMAT:
                options->log_format = value;
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

const struct argp options_argp = {known, parse, NULL, NULL, NULL, NULL, NULL};

struct error *options_load(const struct options *options, struct config **out_config) {
        char state[4096 + 8], format[32];
        const char *sets[SETS_MAX + 2];
        size_t count = options->sets_count;
        for (size_t i = 0; i < count; i++)
                sets[i] = options->sets[i];
        if (options->state) {
                snprintf(state, sizeof(state), "state=%s", options->state);
                sets[count++] = state;
        }
        if (options->log_format) {
                snprintf(format, sizeof(format), "log.format=%s", options->log_format);
                sets[count++] = format;
        }
        struct config_options config = {.path = options->config_path,
                                        .sets = sets,
                                        .sets_count = count,
                                        .base_url = options->base_url,
                                        .api_key_env = options->api_key_env,
                                        .dialect_names = dialect_names()};
        return config_load(&config, out_config);
}

int options_fail(struct error *error) {
        say(LOG_LEVEL_ERROR, "%s", error->message);
        int code = error->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
        error_free(error);
        return code;
}
