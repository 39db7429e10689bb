/* Says every finding as it stands, one in each line, so that editors can jump to them. */
#include "broker/cli/cmd_config.h"

#include "broker/cli/options.h"

#include <argp.h>
#include <stdio.h>
#include <string.h>

enum { PRINTED_BYTES_MAX = 64 << 20 };

enum action { ACTION_NONE, ACTION_CHECK, ACTION_PRINT, ACTION_REFERENCE };

struct arguments {
        struct options options; /* first: what the child parser is given */
        enum action action;
};

static error_t parse_action(const char *text, struct arguments *arguments, struct argp_state *state) {
        static const char *const names[] = {
                [ACTION_CHECK] = "check", [ACTION_PRINT] = "print", [ACTION_REFERENCE] = "reference"};
        for (unsigned i = ACTION_CHECK; i <= ACTION_REFERENCE; i++)
                if (strcmp(text, names[i]) == 0)
                        arguments->action = (enum action)i;
        if (arguments->action == ACTION_NONE)
                argp_error(state, "\"%s\" is none of check, print and reference", text);
        return 0;
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct arguments *arguments = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &arguments->options;
                return 0;
        case ARGP_KEY_ARG:
                if (state->arg_num == 0)
                        return parse_action(value, arguments, state);
                if (state->arg_num > 1 || arguments->action == ACTION_REFERENCE)
                        argp_error(state, "too many arguments");
                arguments->options.config_path = value;
                return 0;
        case ARGP_KEY_NO_ARGS:
                argp_usage(state);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static int finish_output(bool well) {
        if (well && fflush(stdout) == 0)
                return EXIT_WELL;
        fprintf(stderr, "batchferry: cannot write the output\n");
        return EXIT_FAILED;
}

static int write_out(struct buffer *text) {
        bool well = !text->failed && fwrite(text->data, 1, text->size, stdout) == text->size;
        buffer_deinit(text);
        return finish_output(well);
}

static int reference(void) {
        struct buffer text;
        buffer_init(&text, PRINTED_BYTES_MAX);
        config_reference(&text);
        return write_out(&text);
}

static int print(const struct config *config) {
        struct buffer text;
        buffer_init(&text, PRINTED_BYTES_MAX);
        config_print(config, &text);
        return write_out(&text);
}

static const char *plural(uint32_t count) {
        return count == 1 ? "" : "s";
}

static int check(const struct config *config, const struct options *options) {
        const struct catalog *catalog = &config->catalog;
        if (config->path == NULL && options->base_url == NULL) {
                fprintf(stderr,
                        "batchferry: there is no configuration to check: neither ./batchferry.yaml nor "
                        "$XDG_CONFIG_HOME/batchferry/batchferry.yaml exists, and no FILE is named\n");
                return EXIT_USAGE;
        }
        printf("%s: fine: %u provider%s, %u model%s, catalog %s\n",
               config->path != NULL ? config->path : "--base-url", catalog->providers_count,
               plural(catalog->providers_count), catalog->endpoints_count, plural(catalog->endpoints_count),
               catalog->id);
        return finish_output(true);
}

static const struct argp_child children[] = {{&options_argp, 0, NULL, 0}, {0}};

static const struct argp argp = {
        NULL,
        parse,
        "check [FILE]\nprint [FILE]\nreference",
        "Check the configuration, print it as it takes effect (secrets as ***), or print the reference of "
        "all names "
        "as Markdown.\vExit: 0 all well, 2 something is wrong with it.",
        children,
        NULL,
        NULL,
};

int cmd_config(int argc, char **argv) {
        static char name[] = "batchferry config";
        struct arguments arguments = {.action = ACTION_NONE};
        struct config *config;
        argv[0] = name;
        argp_err_exit_status = EXIT_USAGE;
        if (argp_parse(&argp, argc, argv, 0, NULL, &arguments) != 0)
                return EXIT_USAGE;
        if (arguments.action == ACTION_REFERENCE)
                return reference();
        struct error *error = options_load(&arguments.options, &config);
        if (error != NULL) {
                int code = error->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILED;
                fprintf(stderr, "%s\n", error->message);
                error_free(error);
                return code;
        }
        int code = arguments.action == ACTION_PRINT ? print(config) : check(config, &arguments.options);
        config_free(config);
        return code;
}
