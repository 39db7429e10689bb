#include "broker/cli/cmd_audit.h"

#include "broker/base/time.h"
#include "broker/cli/kafka_options.h"
#include "broker/cli/options.h"
#include "broker/cli/say.h"
#include "broker/files/lines.h"
#include "broker/kafka/reader.h"
#include "broker/wire/audit_check.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_HEAD = 512, KEY_FROM_TOPIC, KEY_JSON, FILES_MAX = 1024, JSON_MAX = 1 << 20 };

struct request {
        struct options options;
        const char *verb, *head;
        const char *files[FILES_MAX];
        uint32_t files_count;
        bool from_topic, json;
        struct config *config;
        struct audit_check *check;
};

static const struct argp_option known[] = {
        {"head", KEY_HEAD, "HASH", 0,
         "A record with this hash must be there: shows that none was taken off the end", 1},
        {"from-topic", KEY_FROM_TOPIC, NULL, 0, "Reads topics.audit instead of files", 1},
        {"json", KEY_JSON, NULL, 0, "What was found as JSON", 1},
        {0},
};

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                return 0;
        case KEY_HEAD:
                request->head = value;
                return 0;
        case KEY_FROM_TOPIC:
                request->from_topic = true;
                return 0;
        case KEY_JSON:
                request->json = true;
                return 0;
        case ARGP_KEY_ARG:
                if (!request->verb)
                        request->verb = value;
                else if (request->files_count < FILES_MAX)
                        request->files[request->files_count++] = value;
                else
                        argp_error(state, "more than %d files", FILES_MAX);
                return 0;
        case ARGP_KEY_END:
                if (!request->verb || strcmp(request->verb, "verify") != 0)
                        argp_error(state, "say verify");
                if (request->from_topic == (request->files_count > 0))
                        argp_error(state, "verify what? give files, or --from-topic");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "verify FILE [FILE...] | verify --from-topic",
        "Reads audit records (audit.file of a run, or topics.audit of the workers) and says whether they are "
        "as "
        "they were written: none changed, taken away, put in or moved.\v"
        "Files are read in the order given; each goes on with the chain of the one before, or begins one. Of "
        "a "
        "topic the oldest records may be gone with its retention.\n\n"
        "What is taken off the end of a chain leaves no trace in it: keep the head that a run prints, and "
        "give "
        "it "
        "with --head.\n\n"
        "Exit codes: 0 as written, 1 something is wrong, 2 wrong usage or configuration.\n\n"
        "Examples:\n"
        "  batchferry audit verify audit.jsonl\n"
        "  batchferry audit verify --from-topic -c batchferry.yaml",
        children,
        NULL,
        NULL};

static bool parse_hash(const char *text, uint8_t out_hash[DIGEST_BYTES]) {
        if (strlen(text) != AUDIT_HASH_HEX || strspn(text, "0123456789abcdef") != AUDIT_HASH_HEX)
                return false;
        for (size_t i = 0; i < DIGEST_BYTES; i++) {
                char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
                out_hash[i] = (uint8_t)strtoul(digits, NULL, 16);
        }
        return true;
}

/* ---- reading ---- */

static struct error *read_lines(struct request *request, uint32_t file, struct lines *lines) {
        struct bytes line;
        for (;;) {
                enum lines_outcome outcome = lines_next(lines, &line);
                struct audit_place place = {file, lines_number(lines)};
                struct error *error = NULL;
                switch (outcome) {
                case LINES_LINE:
                        error = audit_check_add(request->check, place, line);
                        break;
                case LINES_TAIL:
                        audit_check_torn(request->check, place);
                        break;
                case LINES_END:
                        return NULL;
                case LINES_FAILED:
                        return lines_error(lines);
                }
                if (error)
                        return error;
        }
}

static struct error *read_files(struct request *request) {
        struct error *error = NULL;
        for (uint32_t i = 0; i < request->files_count && !error; i++) {
                struct lines *lines = NULL;
                error = lines_open(request->files[i], AUDIT_LINE_MAX + 1, &lines);
                if (!error)
                        error = read_lines(request, i, lines);
                lines_close(lines);
        }
        return error;
}

static struct error *take_record(void *userdata, const struct consumer_record *record) {
        const struct request *request = userdata;
        return audit_check_add(request->check, (struct audit_place){record->partition, record->offset},
                               record->value);
}

static struct error *read_topic(struct request *request) {
        struct kafka_options kafka;
        struct reader *reader = NULL;
        struct error *error = kafka_options_init(&kafka, request->config, 0);
        if (error)
                return error;
        struct reader_options options = {.properties = kafka_options_properties(&kafka),
                                         .topic = request->config->settings.topic_audit,
                                         .client_id = "batchferry-audit",
                                         .wait_open = true};
        error = reader_open(&options, &reader);
        if (!error)
                error = reader_each(reader, NULL, take_record, request);
        reader_close(reader);
        return error;
}

/* ---- telling ---- */

static void place_text(const struct request *request, const struct audit_finding *finding,
                       struct buffer *out_text) {
        const struct audit_place *place = &finding->place;
        if (request->from_topic && place->number == 0 && finding->what == AUDIT_REMOVED)
                buffer_append_string(out_text, request->config->settings.topic_audit);
        else if (request->from_topic)
                buffer_printf(out_text, "%s, partition %u, offset %llu",
                              request->config->settings.topic_audit, place->source,
                              (unsigned long long)place->number);
        else if (place->number == 0)
                buffer_append_string(out_text, request->files[place->source]);
        else
                buffer_printf(out_text, "%s, line %llu", request->files[place->source],
                              (unsigned long long)place->number);
}

static void append_heads(const struct request *request, struct buffer *out) {
        struct audit_chain chain;
        buffer_append_string(out, ",\"head\":");
        if (request->from_topic || !audit_check_chain(request->check, &chain)) {
                buffer_append_string(out, "null");
                return;
        }
        buffer_append_char(out, '"');
        buffer_append_hex(out, chain.head, sizeof(chain.head));
        buffer_append_char(out, '"');
}

static void json_member(struct buffer *out, const char *before, const char *text, size_t size) {
        buffer_append_string(out, before);
        buffer_append_json_escaped(out, (struct bytes){text, size});
        buffer_append_char(out, '"');
}

static void append_json(const struct request *request, const struct audit_finding *finding,
                        struct bytes place, struct buffer *out) {
        struct audit_check_stats stats;
        audit_check_get_stats(request->check, &stats);
        buffer_printf(out, "{\"records\":%llu,\"chains\":%zu,\"whole\":%s", (unsigned long long)stats.records,
                      stats.chains, finding->what == AUDIT_WHOLE ? "true" : "false");
        append_heads(request, out);
        buffer_append_string(out, ",\"broken\":");
        if (finding->what == AUDIT_WHOLE) {
                buffer_append_string(out, "null}\n");
                return;
        }
        json_member(out, "{\"what\":\"", audit_break_text(finding->what),
                    strlen(audit_break_text(finding->what)));
        json_member(out, ",\"where\":\"", place.data, place.size);
        buffer_printf(out, ",\"%s\":%llu", request->from_topic ? "offset" : "line",
                      (unsigned long long)finding->place.number);
        json_member(out, ",\"message\":\"", finding->message, strlen(finding->message));
        buffer_append_string(out, "}}\n");
}

static void append_text(const struct request *request, const struct audit_finding *finding,
                        struct bytes place, struct buffer *out) {
        struct audit_check_stats stats;
        struct audit_chain chain;
        audit_check_get_stats(request->check, &stats);
        buffer_printf(out, "%llu records in %zu chain%s\n", (unsigned long long)stats.records, stats.chains,
                      stats.chains == 1 ? "" : "s");
        if (finding->what != AUDIT_WHOLE) {
                buffer_printf(out, "%s: %.*s: %s\n", audit_break_text(finding->what), (int)place.size,
                              place.data, finding->message);
                return;
        }
        buffer_append_string(out, "all as they were written\n");
        if (request->from_topic || !audit_check_chain(request->check, &chain))
                return;
        buffer_append_string(out, "head ");
        buffer_append_hex(out, chain.head, sizeof(chain.head));
        buffer_append_char(out, '\n');
}

static struct error *tell(const struct request *request, int *out_code) {
        const struct audit_finding *finding = audit_check_end(request->check);
        struct buffer place, text;
        buffer_init(&place, JSON_MAX);
        buffer_init(&text, JSON_MAX);
        place_text(request, finding, &place);
        if (request->json)
                append_json(request, finding, buffer_view(&place), &text);
        else
                append_text(request, finding, buffer_view(&place), &text);
        struct error *error = NULL;
        if (place.failed || text.failed)
                error = error_new(ERROR_MEMORY, "no memory for the answer");
        else if (fwrite(text.data, 1, text.size, stdout) != text.size || fflush(stdout) != 0)
                error = error_errno(errno, "cannot write the output");
        buffer_deinit(&place);
        buffer_deinit(&text);
        *out_code = finding->what == AUDIT_WHOLE ? EXIT_WELL : EXIT_FAILED;
        return error;
}

static struct error *verify(struct request *request, int *out_code) {
        struct audit_check_options options = {.topic = request->from_topic};
        uint8_t head[DIGEST_BYTES];
        if (request->head && !parse_hash(request->head, head))
                return error_new(ERROR_USAGE,
                                 "--head takes the 64 hexadecimal digits that a run prints, not \"%s\"",
                                 request->head);
        struct error *error = audit_check_new(&options, &request->check);
        if (error)
                return error;
        if (request->head)
                audit_check_want(request->check, head);
        error = request->from_topic ? read_topic(request) : read_files(request);
        return error ? error : tell(request, out_code);
}

int cmd_audit(int argc, char **argv) {
        struct request *request = calloc(1, sizeof(*request));
        int code = EXIT_FAILED;
        if (!request)
                return options_fail(error_new(ERROR_MEMORY, "no memory"));
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, request);
        struct error *error = options_load(&request->options, &request->config);
        if (!error) {
                say_init(request->config, request->options.quiet, request->options.verbose);
                error = verify(request, &code);
        }
        if (error)
                code = request->from_topic ? kafka_options_fail(error) : options_fail(error);
        audit_check_free(request->check);
        config_free(request->config);
        free(request);
        return code;
}
