#include "broker/cli/cmd_dead_letters.h"

#include "broker/base/time.h"
#include "broker/cli/ctrl_c.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/options.h"
#include "broker/cli/record_text.h"
#include "broker/cli/redrive.h"
#include "broker/cli/say.h"
#include "workers/routing/kind.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_CODE = 512, KEY_SINCE, KEY_UNTIL, KEY_BATCH, KEY_JSON, KEY_LIMIT, KEY_ALL, KEY_DRY_RUN };
enum { LINE_BYTES_SPARE = 1 << 20 };

struct request {
        struct options options;
        const char *verb;
        struct letter_filter filter;
        struct letter_place places[LETTER_PLACES_MAX];
        bool json, all, dry_run;
        uint64_t limit, shown; /* limit 0: none */
        struct config *config;
        struct kafka_options kafka;
        struct buffer line, value;
};

static const struct argp_option known[] = {
        {"code", KEY_CODE, "CODE", 0, "Letters with this error code, such as invalid_job", 1},
        {"since", KEY_SINCE, "TIME", 0, "Letters from then on: 2026-11-23T01:00:00Z, or 2h for two hours ago",
         1},
        {"until", KEY_UNTIL, "TIME", 0, "Letters before then", 1},
        {"batch", KEY_BATCH, "NAME", 0, "Letters whose job names this batch", 1},
        {"limit", KEY_LIMIT, "N", 0, "list: at most N", 1},
        {"json", KEY_JSON, NULL, 0, "list, show: one JSON object in a line for each, with headers", 1},
        {"all", KEY_ALL, NULL, 0, "redrive: all that were not sent back before", 1},
        {"dry-run", KEY_DRY_RUN, NULL, 0, "redrive: only say which ones", 1},
        {0},
};

static int64_t parse_time(struct argp_state *state, const char *name, const char *text) {
        int64_t unix_ms = 0;
        if (!record_time_parse(text, clock_now_unix_ms(), &unix_ms))
                argp_error(state, "%s takes a time such as 2026-11-23T01:00:00Z, or 2h, not \"%s\"", name,
                           text);
        return unix_ms;
}

static error_t parse_word(struct request *request, char *value, struct argp_state *state) {
        if (!request->verb) {
                request->verb = value;
                return 0;
        }
        struct letter_place *place = &request->places[request->filter.places_count];
        if (strcmp(request->verb, "list") == 0)
                argp_error(state, "\"%s\" is one word too many", value);
        else if (request->filter.places_count >= LETTER_PLACES_MAX)
                argp_error(state, "at most %d places at a time", LETTER_PLACES_MAX);
        else if (!letter_place_parse(bytes_of(value), place))
                argp_error(state, "\"%s\" is no place: write PARTITION-OFFSET, as `list` shows it", value);
        request->filter.places_count++;
        return 0;
}

static void check_together(const struct request *request, struct argp_state *state) {
        const char *verb = request->verb ? request->verb : "";
        const struct letter_filter *filter = &request->filter;
        bool filtered = filter->code || filter->batch || filter->since_unix_ms || filter->until_unix_ms;
        enum failure failure;
        if (strcmp(verb, "list") != 0 && strcmp(verb, "show") != 0 && strcmp(verb, "redrive") != 0)
                argp_error(state, "say list, show or redrive");
        else if (strcmp(verb, "show") == 0 && (filter->places_count != 1 || filtered))
                argp_error(state, "show which one? give one PARTITION-OFFSET, as `list` shows it");
        else if (strcmp(verb, "redrive") == 0 && !filtered && !filter->places_count && !request->all)
                argp_error(state,
                           "redrive which ones? give places, --code, --since, --until or --batch, or --all");
        else if (filter->code && !failure_from_text(bytes_of(filter->code), &failure))
                argp_error(state, "there is no error code \"%s\"", filter->code);
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                request->filter.places = request->places;
                return 0;
        case KEY_CODE:
                request->filter.code = value;
                return 0;
        case KEY_BATCH:
                request->filter.batch = value;
                return 0;
        case KEY_SINCE:
                request->filter.since_unix_ms = parse_time(state, "--since", value);
                return 0;
        case KEY_UNTIL:
                request->filter.until_unix_ms = parse_time(state, "--until", value);
                return 0;
        case KEY_LIMIT: {
                char *end;
                request->limit = strtoull(value, &end, 10);
                if (*end || end == value || *value == '-' || request->limit == 0)
                        argp_error(state, "--limit takes a whole number from 1 on, not \"%s\"", value);
                return 0;
        }
        case KEY_JSON:
                request->json = true;
                return 0;
        case KEY_ALL:
                request->all = true;
                return 0;
        case KEY_DRY_RUN:
                request->dry_run = true;
                return 0;
        case ARGP_KEY_ARG:
                return parse_word(request, value, state);
        case ARGP_KEY_END:
                check_together(request, state);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "list | show PARTITION-OFFSET | redrive [PARTITION-OFFSET...]",
        "Records that were no jobs, or that were refused: what is wrong with them, and sending them back.\v"
        "list      shows them, with time, place, error code, key, where they came from and why they are "
        "here\n"
        "show      writes the value of one to standard output, and what is known of it to standard error\n"
        "redrive   sends those that are chosen back to the jobs topic, with key, value and headers as they "
        "came. "
        "None is ever sent back twice: run it again after any interruption. What was redriven and fails "
        "again comes "
        "back as a new dead letter\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage or configuration, 3 some cannot be redriven, 130 "
        "interrupted.\n\n"
        "Examples:\n"
        "  batchferry dead-letters list --since 2h --code no_provider\n"
        "  batchferry dead-letters redrive --code no_provider --since 2h --dry-run\n"
        "  batchferry dead-letters show 3-1718 > job.json",
        children,
        NULL,
        NULL};

/* ---- list and show ---- */

static void append_text(struct buffer *line, const char *name, struct bytes text) {
        buffer_printf(line, ",\"%s\":\"", name);
        buffer_append_json_escaped(line, text);
        buffer_append_char(line, '"');
}

static void append_headers(struct buffer *line, const struct consumer_record *record) {
        buffer_append_string(line, ",\"headers\":[");
        for (size_t i = 0; i < record->headers_count; i++) {
                const struct kafka_header *header = &record->headers[i];
                buffer_append_string(line, i > 0 ? ",[\"" : "[\"");
                buffer_append_json_escaped(line, header->name);
                buffer_append_string(line, header->value.data ? "\",\"" : "\",null");
                buffer_append_json_escaped(line, header->value);
                buffer_append_string(line, header->value.data ? "\"]" : "]");
        }
        buffer_append_char(line, ']');
}

static struct error *print_json(struct request *request, const struct consumer_record *record,
                                bool redriven) {
        struct buffer *line = &request->line;
        buffer_clear(line);
        buffer_printf(line, "{\"place\":\"%u-%llu\",\"time\":\"", record->partition,
                      (unsigned long long)record->offset);
        rfc3339_append(line, record->timestamp_unix_ms);
        buffer_append_char(line, '"');
        append_text(line, "code", letter_header(record, LETTER_CODE));
        append_text(line, "message", letter_header(record, LETTER_MESSAGE));
        append_text(line, "field", letter_header(record, LETTER_FIELD));
        if (record->has_key)
                append_text(line, "key", record->key);
        buffer_printf(line, ",\"redriven\":%s", redriven ? "true" : "false");
        append_headers(line, record);
        append_text(line, "value", record->value);
        buffer_append_string(line, "}\n");
        if (line->failed)
                return error_new(ERROR_MEMORY, "no memory to show %u-%llu", record->partition,
                                 (unsigned long long)record->offset);
        bool well = fwrite(line->data, 1, line->size, stdout) == line->size;
        return well ? NULL : error_errno(errno, "cannot write the output");
}

static void origin_text(const struct consumer_record *record, char *out_text, size_t size) {
        char topic[LETTER_TEXT_MAX], partition[16], offset[24];
        letter_text(letter_header(record, LETTER_TOPIC), topic, sizeof(topic));
        letter_text(letter_header(record, LETTER_PARTITION), partition, sizeof(partition));
        letter_text(letter_header(record, LETTER_OFFSET), offset, sizeof(offset));
        snprintf(out_text, size, "%.200s/%s-%s", topic, partition, offset);
}

static struct error *print_row(struct request *request, const struct consumer_record *record, bool redriven) {
        char place[40], code[40], key[60], origin[260], message[LETTER_TEXT_MAX];
        struct buffer *time = &request->line;
        buffer_clear(time);
        rfc3339_append(time, record->timestamp_unix_ms);
        snprintf(place, sizeof(place), "%u-%llu", record->partition, (unsigned long long)record->offset);
        letter_text(letter_header(record, LETTER_CODE), code, sizeof(code));
        letter_text(record->has_key ? record->key : BYTES("-"), key, sizeof(key));
        letter_text(letter_header(record, LETTER_MESSAGE), message, sizeof(message));
        origin_text(record, origin, sizeof(origin));
        if (request->shown == 1)
                printf("%-24s  %-12s %-9s %-20s  %-24s  %-28s  %s\n", "time", "place", "redriven", "code",
                       "key", "from", "why");
        int written = printf("%.*s  %-12s %-9s %-20s  %-24s  %-28s  %s\n", (int)time->size,
                             time->data ? time->data : "", place, redriven ? "yes" : "no", code, key, origin,
                             message);
        return written < 0 ? error_errno(errno, "cannot write the output") : NULL;
}

static struct error *list_one(void *userdata, const struct consumer_record *record, bool redriven,
                              bool *stop) {
        struct request *request = userdata;
        request->shown++;
        *stop = request->limit && request->shown >= request->limit;
        return request->json ? print_json(request, record, redriven) : print_row(request, record, redriven);
}

static struct error *show_one(void *userdata, const struct consumer_record *record, bool redriven,
                              bool *stop) {
        struct request *request = userdata;
        char name[LETTER_TEXT_MAX], value[LETTER_TEXT_MAX];
        (void)stop;
        if (request->json)
                return print_json(request, record, redriven);
        for (size_t i = 0; i < record->headers_count && !request->options.quiet; i++) {
                letter_text(record->headers[i].name, name, sizeof(name));
                letter_text(record->headers[i].value, value, sizeof(value));
                fprintf(stderr, "%s: %s\n", name, value);
        }
        struct bytes text = record->value;
        if (record_json(record, &request->value))
                text = buffer_view(&request->value);
        bool well = text.size == 0 || fwrite(text.data, 1, text.size, stdout) == text.size;
        if (well && text.size > 0)
                well = fputc('\n', stdout) != EOF;
        return well ? NULL : error_errno(errno, "cannot write the output");
}

static int tell_list(const struct request *request) {
        if (request->shown == 0 && strcmp(request->verb, "list") == 0)
                say(LOG_LEVEL_INFO, "no dead letters%s",
                    request->filter.code || request->filter.batch || request->filter.since_unix_ms
                            ? " like that"
                            : "");
        return ctrl_c_came() ? EXIT_INTERRUPTED : EXIT_WELL;
}

/* ---- redrive ---- */

static int tell_redriven(const struct request *request, const struct redrive_counts *counts) {
        char before[80] = "", left[80] = "";
        if (counts->before)
                snprintf(before, sizeof(before), "; %llu were sent back before",
                         (unsigned long long)counts->before);
        if (counts->left)
                snprintf(left, sizeof(left), "; %llu cannot be", (unsigned long long)counts->left);
        say(LOG_LEVEL_INFO, "%llu dead letters %s sent back to %s%s%s%s", (unsigned long long)counts->sent,
            request->dry_run ? "would be" : "were", request->config->settings.topic_jobs, before, left,
            ctrl_c_came() ? "; interrupted, run it again to go on" : "");
        if (ctrl_c_came())
                return EXIT_INTERRUPTED;
        return counts->left ? EXIT_JOBS_FAILED : EXIT_WELL;
}

static struct error *run_redrive(struct request *request, const struct letters_options *letters,
                                 int *out_code) {
        struct redrive_options options = {.letters = *letters,
                                          .jobs_topic = request->config->settings.topic_jobs,
                                          .job_bytes_max = (size_t)request->config->settings.job_bytes,
                                          .dry_run = request->dry_run};
        struct redrive_counts counts = {0};
        struct error *error = redrive(&options, &counts);
        if (error)
                return error_wrap(error,
                                  "%llu dead letters were sent back, none twice; run it again to go on",
                                  (unsigned long long)counts.sent);
        *out_code = tell_redriven(request, &counts);
        return NULL;
}

static struct error *answer(struct request *request, int *out_code) {
        const struct settings *settings = &request->config->settings;
        struct error *error = kafka_options_init(&request->kafka, request->config, settings->job_bytes);
        if (error)
                return error;
        struct letters_options letters = {.properties = kafka_options_properties(&request->kafka),
                                          .topic = settings->topic_dead_letters,
                                          .client_id = "batchferry-dead-letters",
                                          .filter = request->filter,
                                          .value_bytes_max = (size_t)settings->job_bytes};
        buffer_init(&request->line, (size_t)settings->job_bytes * 8 + LINE_BYTES_SPARE);
        buffer_init(&request->value, (size_t)settings->job_bytes * 8 + LINE_BYTES_SPARE);
        if (strcmp(request->verb, "redrive") == 0)
                return run_redrive(request, &letters, out_code);
        if (strcmp(request->verb, "show") == 0)
                error = letters_show(&letters, request->places[0], show_one, request);
        else
                error = letters_read(&letters, list_one, request);
        *out_code = tell_list(request);
        return error;
}

int cmd_dead_letters(int argc, char **argv) {
        struct request *request = calloc(1, sizeof(*request));
        int code = EXIT_FAILED;
        if (!request)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, request);
        struct error *error = options_load(&request->options, &request->config);
        if (!error) {
                say_init(request->config, request->options.quiet, request->options.verbose);
                ctrl_c_catch();
                error = answer(request, &code);
        }
        if (!error && fflush(stdout) != 0)
                error = error_errno(errno, "cannot write the output");
        if (error && error->code == EPIPE) { /* whoever read has seen enough */
                error_free(error);
                code = EXIT_WELL;
        } else if (error) {
                code = kafka_options_fail(error);
        }
        buffer_deinit(&request->line);
        buffer_deinit(&request->value);
        config_free(request->config);
        free(request);
        return code;
}
