#include "broker/cli/input.h"

#include "broker/cli/meter.h"
#include "broker/cli/say.h"
#include "broker/core/job_spec.h"

#include <argp.h>
#include <poll.h>

enum { KEY_JSON = 0x1000 }; /* beside the keys of the commands */
enum { LINES_PER_LOOK = 64 };

static const struct argp_option known[] = {
        {"json", KEY_JSON, NULL, 0, "JSON instead of tables", 1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct input *input = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &input->options;
                return 0;
        case KEY_JSON:
                input->json = true;
                return 0;
        case ARGP_KEY_ARG:
                if (input->path)
                        argp_error(state, "one file at a time; \"%s\" is a second one", value);
                input->path = value;
                return 0;
        case ARGP_KEY_END:
                if (!input->path)
                        argp_error(state, "%s", input->missing);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

const struct argp input_argp = {known, parse, NULL, NULL, children, NULL, NULL};

static double share_read(const struct source *source) {
        uint64_t bytes = source_bytes(source);
        return bytes > 0 ? (double)source_offset(source) / (double)bytes : -1;
}

static struct error *visit_all(struct source *source, struct meter *meter, input_visit *visit,
                               void *userdata) {
        struct source_line line;
        for (;;) {
                struct error *error = NULL;
                struct pollfd more = {.fd = source_fd(source), .events = POLLIN};
                switch (source_next(source, &line)) {
                case SOURCE_END:
                        return NULL;
                case SOURCE_FAILED:
                        return source_error(source);
                case SOURCE_LATER:
                        poll(&more, 1, -1);
                        break;
                case SOURCE_LINE:
                        error = visit(userdata, &line);
                        source_settled(source, line.sequence);
                        if (line.sequence % LINES_PER_LOOK == 0)
                                meter_show(meter, line.sequence + 1, share_read(source));
                        break;
                }
                if (error)
                        return error;
        }
}

struct error *input_each(const struct input_lines *lines, input_visit *visit, void *userdata) {
        struct source_options source_options = {.path = lines->path, .line_max = lines->line_max};
        struct source *source = NULL;
        struct meter meter;
        struct error *error = source_open(&source_options, &source);
        if (error)
                return error;
        meter_init(&meter, lines->things, lines->quiet);
        error = visit_all(source, &meter, visit, userdata);
        meter_clear(&meter);
        source_close(source);
        return error;
}

void input_say_bad(const char *path, const struct job_spec *job) {
        say(LOG_LEVEL_ERROR, "%s line %llu: %.*s%s%.*s", path, (unsigned long long)job->line,
            (int)job->failure_field.size, job->failure_field.data ? job->failure_field.data : "",
            job->failure_field.size ? ": " : "", (int)job->failure_message.size, job->failure_message.data);
}
