/* Files that are named take the place of the configuration's catalog; several are looked at as one. */
#include "broker/cli/cmd_catalog.h"

#include "broker/base/money.h"
#include "broker/catalog/check.h"
#include "broker/catalog/import.h"
#include "broker/catalog/table.h"
#include "broker/cli/options.h"
#include "broker/cli/outfile.h"
#include "broker/ops/listing.h"
#include "broker/ops/model.h"
#include "workers/routing/merge.h"

#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
        FILES_MAX = 16,
        OUTPUT_BYTES_MAX = 256 << 20,
        FILES_ARENA_BYTES_MAX = 256 << 20,
        WIDTH_DEFAULT = 80,
};

enum {
        KEY_JSON = 512,
        KEY_PROVIDER,
        KEY_MODEL,
        KEY_KIND,
        KEY_PARAMETER,
        KEY_MAX_INPUT,
        KEY_MAX_OUTPUT,
        KEY_MIN_CONTEXT,
        KEY_REGION,
        KEY_QUANTIZATION,
        KEY_ZDR,
        KEY_DATA_COLLECTION,
        KEY_IGNORE
};

enum verb { VERB_NONE, VERB_IMPORT, VERB_LIST, VERB_CHECK, VERB_CODES };

struct request {
        struct options options; /* first: what the child parser is given */
        enum verb verb;
        import_format *format;
        const char *files[FILES_MAX], *output;
        unsigned files_count;
        struct table_filter filter;
        struct names_room regions, quantizations; /* of the filter */
        uint32_t ignored;                         /* bits of enum check */
        bool json;
};

static const struct argp_option known[] = {
        {"output", 'o', "CATALOG.yaml", 0, "import: where it goes (default: standard output)", 1},
        {"provider", KEY_PROVIDER, "GLOB", 0, "list: of these providers", 2},
        {"model", KEY_MODEL, "GLOB", 0, "list: these models, such as 'gpt-4*'", 2},
        {"kind", KEY_KIND, "KIND", 0, "list: that serve it: chat, embeddings, /v1/rerank, ...", 2},
        {"parameter", KEY_PARAMETER, "NAME", 0,
         "list: known to support it: tools, response_format, ...; more than once: all of them", 2},
        {"max-input-price", KEY_MAX_INPUT, "USD", 0,
         "list: at most that, per million tokens; known ones only", 2},
        {"max-output-price", KEY_MAX_OUTPUT, "USD", 0, "list: the same of output", 2},
        {"min-context", KEY_MIN_CONTEXT, "TOKENS", 0, "list: at least that", 2},
        {"region", KEY_REGION, "NAME", 0, "list: known to be there; more than once: in any of them", 2},
        {"quantization", KEY_QUANTIZATION, "NAME", 0, "list: fp8, ...; more than once: any of them", 2},
        {"zdr", KEY_ZDR, NULL, 0, "list: of providers known to retain nothing", 2},
        {"data-collection", KEY_DATA_COLLECTION, "deny|allow", 0,
         "list: deny: of providers known not to train on what they are sent", 2},
        {"ignore", KEY_IGNORE, "CODE", 0, "check: does not look for it; may be given more than once", 3},
        {"json", KEY_JSON, NULL, 0, "list, check: a JSON object in each line", 4},
        {0},
};

/* ---- the command line ---- */

static void parse_verb(struct request *request, const char *word, struct argp_state *state) {
        static const char *const names[] = {[VERB_IMPORT] = "import",
                                            [VERB_LIST] = "list",
                                            [VERB_CHECK] = "check",
                                            [VERB_CODES] = "codes"};
        for (unsigned i = VERB_IMPORT; i <= VERB_CODES; i++)
                if (strcmp(word, names[i]) == 0)
                        request->verb = (enum verb)i;
        if (request->verb == VERB_NONE)
                argp_error(state, "\"%s\" is none of import, list, check and codes", word);
}

static void parse_format(struct request *request, const char *word, struct argp_state *state) {
        if (strcmp(word, "litellm") == 0)
                request->format = import_litellm;
        else if (strcmp(word, "openrouter") == 0)
                request->format = import_openrouter;
        else
                argp_error(state, "\"%s\" is no format: there are litellm and openrouter", word);
}

static void parse_word(struct request *request, const char *word, struct argp_state *state) {
        unsigned max = request->verb == VERB_IMPORT ? 1 : request->verb == VERB_CODES ? 0 : FILES_MAX;
        if (request->verb == VERB_NONE)
                parse_verb(request, word, state);
        else if (request->verb == VERB_IMPORT && request->format == NULL)
                parse_format(request, word, state);
        else if (request->files_count == max)
                argp_error(state, "\"%s\" is one word too many", word);
        else
                request->files[request->files_count++] = word;
}

static void parse_kind(struct request *request, const char *value, struct argp_state *state) {
        enum kind kind;
        for (unsigned i = 0; i < KINDS_COUNT; i++)
                if (strcmp(value, model_kind_name((enum kind)i)) == 0)
                        request->filter.kinds |= 1U << i;
        if (kind_from_url(bytes_of(value), &kind))
                request->filter.kinds |= 1U << kind;
        if (request->filter.kinds == 0)
                argp_error(state, "\"%s\" is no kind: there are chat, embeddings, rerank, ...", value);
}

static void parse_parameter(struct request *request, const char *value, struct argp_state *state) {
        enum parameter parameter;
        if (parameter_from_text(bytes_of(value), &parameter))
                request->filter.parameters |= UINT64_C(1) << parameter;
        else
                argp_error(state, "\"%s\" is no parameter: there are tools, response_format, seed, ...",
                           value);
}

static void parse_name(struct names *names, struct names_room *room, const char *value,
                       struct argp_state *state) {
        if (!names_add(names, room, bytes_of(value)))
                argp_error(state, "\"%s\" is one name too many: there may be %d", value, PREFS_NAMES_MAX);
}

static void parse_collection(struct routing_prefs *prefs, const char *value, struct argp_state *state) {
        prefs->deny_training = strcmp(value, "deny") == 0;
        if (!prefs->deny_training && strcmp(value, "allow") != 0)
                argp_error(state, "\"%s\" is neither deny nor allow", value);
}

static void parse_ignored(struct request *request, const char *value, struct argp_state *state) {
        enum check check;
        if (check_from_code(bytes_of(value), &check))
                request->ignored |= 1U << check;
        else
                argp_error(state, "\"%s\" is no code of a finding; batchferry catalog codes lists them",
                           value);
}

static void parse_usd(const char *value, int64_t *out_picousd, struct argp_state *state) {
        if (!money_parse(bytes_of(value), out_picousd))
                argp_error(state, "\"%s\" is no amount of USD like 0.15", value);
}

static void parse_tokens(const char *value, int64_t *out_tokens, struct argp_state *state) {
        size_t digits = strspn(value, "0123456789");
        if (digits == 0 || value[digits] != '\0' || digits > 12)
                argp_error(state, "\"%s\" is no number of tokens", value);
        else
                *out_tokens = strtoll(value, NULL, 10);
}

static bool is_filtered(const struct table_filter *filter) {
        const struct routing_prefs *prefs = &filter->prefs;
        return filter->provider != NULL || filter->model != NULL || filter->kinds != 0 ||
               filter->parameters != 0 || filter->min_context != 0 ||
               filter->max_input_price != PICOUSD_MAX || filter->max_output_price != PICOUSD_MAX ||
               prefs->regions.count > 0 || prefs->quantizations.count > 0 || prefs->zdr ||
               prefs->deny_training;
}

static void parse_end(const struct request *request, struct argp_state *state) {
        if (request->verb == VERB_NONE)
                argp_error(state, "say import, list, check or codes");
        else if (request->verb == VERB_IMPORT && request->files_count == 0)
                argp_error(state, "say what to import: litellm FILE or openrouter FILE");
        else if (request->verb != VERB_IMPORT && request->output != NULL)
                argp_error(state, "-o is for import");
        else if (request->verb != VERB_LIST && is_filtered(&request->filter))
                argp_error(state, "filters are for list");
        else if (request->verb != VERB_CHECK && request->ignored != 0)
                argp_error(state, "--ignore is for check");
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                return 0;
        case 'o':
                request->output = value;
                return 0;
        case KEY_PROVIDER:
                request->filter.provider = value;
                return 0;
        case KEY_MODEL:
                request->filter.model = value;
                return 0;
        case KEY_KIND:
                parse_kind(request, value, state);
                return 0;
        case KEY_PARAMETER:
                parse_parameter(request, value, state);
                return 0;
        case KEY_MAX_INPUT:
                parse_usd(value, &request->filter.max_input_price, state);
                return 0;
        case KEY_MAX_OUTPUT:
                parse_usd(value, &request->filter.max_output_price, state);
                return 0;
        case KEY_MIN_CONTEXT:
                parse_tokens(value, &request->filter.min_context, state);
                return 0;
        case KEY_REGION:
                parse_name(&request->filter.prefs.regions, &request->regions, value, state);
                return 0;
        case KEY_QUANTIZATION:
                parse_name(&request->filter.prefs.quantizations, &request->quantizations, value, state);
                return 0;
        case KEY_ZDR:
                request->filter.prefs.zdr = true;
                return 0;
        case KEY_DATA_COLLECTION:
                parse_collection(&request->filter.prefs, value, state);
                return 0;
        case KEY_IGNORE:
                parse_ignored(request, value, state);
                return 0;
        case KEY_JSON:
                request->json = true;
                return 0;
        case ARGP_KEY_ARG:
                parse_word(request, value, state);
                return 0;
        case ARGP_KEY_END:
                parse_end(request, state);
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};

static const struct argp argp = {
        known,
        parse,
        "import litellm|openrouter FILE\nlist [FILE...]\ncheck [FILE...]\ncodes",
        "Models, prices and limits: takes catalogues of others, shows what there is, and what is wrong with "
        "it.\v"
        "import    makes a catalogue file of LiteLLM's model_prices_and_context_window.json or of "
        "OpenRouter's "
        "list of models (/api/v1/models), - is standard input. Prices are exact. Standard error says what "
        "could "
        "not be used, with -v by name. A price that is not known stays unknown\n"
        "list      models with prices in USD per million tokens; of the configuration, or of catalogue "
        "files\n"
        "check     what is missing, and prices that contradict themselves or those of other providers\n"
        "codes     the codes of what check finds, as Markdown\n\n"
        "A configuration takes catalogue files with `catalog: [FILE...]`; they fill in what its models do "
        "not "
        "say, and `models: catalog` of a provider takes all they have of it.\n\n"
        "Exit codes: 0 all well, 1 failed, 2 wrong usage, configuration or file, 3 check has found "
        "something.\n\n"
        "Examples:\n"
        "  batchferry catalog import litellm model_prices_and_context_window.json -o litellm.yaml\n"
        "  batchferry catalog list litellm.yaml --kind chat --max-input-price 0.2 --min-context 100000\n"
        "  batchferry catalog check --ignore no_limits",
        children,
        NULL,
        NULL,
};

/* ---- output ---- */

static int fail(struct error *error) {
        int code = error->kind == ERROR_USAGE || error->kind == ERROR_INPUT ? EXIT_USAGE : EXIT_FAILED;
        fprintf(stderr, "batchferry: %s\n", error->message);
        error_free(error);
        return code;
}

static int write_out(struct buffer *text, int code) {
        bool well = !text->failed &&
                    (text->size == 0 || fwrite(text->data, 1, text->size, stdout) == text->size) &&
                    fflush(stdout) == 0;
        buffer_deinit(text);
        if (well)
                return code;
        fprintf(stderr, "batchferry: cannot write the output\n");
        return EXIT_FAILED;
}

/* ---- import ---- */

static struct error *read_stream(FILE *stream, const char *path, struct bytes *out_text) {
        size_t size_max = (size_t)IMPORT_FILE_BYTES_MAX + 1;
        char *text = malloc(size_max);
        if (text == NULL)
                return error_new(ERROR_MEMORY, "%s: out of memory", path);
        size_t size = fread(text, 1, size_max, stream);
        struct error *error = NULL;
        if (ferror(stream))
                error = error_new(ERROR_USAGE, "cannot read %s: %s", path, strerror(errno));
        else if (size == size_max)
                error = error_new(ERROR_INPUT, "%s: larger than %d MiB: this is no catalogue", path,
                                  IMPORT_FILE_BYTES_MAX >> 20);
        if (error != NULL)
                free(text);
        else
                *out_text = (struct bytes){text, size};
        return error;
}

static struct error *read_input(const char *path, struct bytes *out_text) {
        if (strcmp(path, "-") == 0)
                return read_stream(stdin, "standard input", out_text);
        FILE *stream = fopen(path, "rbe");
        if (stream == NULL)
                return error_new(ERROR_USAGE, "cannot read %s: %s", path, strerror(errno));
        struct error *error = read_stream(stream, path, out_text);
        fclose(stream);
        return error;
}

/* What is written must be read again; a file that cannot be is not written. */
static struct error *prove(struct bytes text) {
        struct arena arena;
        struct catalog catalog;
        arena_init(&arena, FILES_ARENA_BYTES_MAX);
        struct zones zones = {.arena = &arena};
        struct error *error = error_wrap(listing_load_text("catalogue", text, &arena, &zones, &catalog),
                                         "the catalogue that came out cannot be used");
        arena_deinit(&arena);
        return error;
}

static struct error *write_catalogue(const char *path, struct bytes text) {
        struct outfile *file = NULL;
        struct error *error = outfile_open(path, false, &file);
        if (error != NULL)
                return error;
        error = outfile_line(file, text);
        if (error == NULL)
                error = outfile_finish(file);
        outfile_close(file);
        return error;
}

static void report(const struct request *request, const struct import *import,
                   const struct catalog *catalog) {
        struct buffer text;
        if (request->options.quiet)
                return;
        buffer_init(&text, OUTPUT_BYTES_MAX);
        buffer_printf(&text, "%s: %u of %u entries taken, of %u providers\n", request->files[0],
                      catalog->endpoints_count, import->entries_seen, catalog->providers_count);
        import_report(import, request->options.verbose, &text);
        fwrite(text.data, 1, text.size, stderr);
        buffer_deinit(&text);
}

static struct error *convert(const struct request *request, struct import *import, struct bytes text) {
        struct catalog catalog;
        struct buffer out;
        struct error *error = request->format(import, request->files[0], text);
        if (error == NULL)
                error = error_wrap(import_finish(import, &catalog), "%s", request->files[0]);
        if (error == NULL && catalog.endpoints_count == 0) { /* of the other format? a good file stays */
                report(request, import, &catalog);
                error = error_new(ERROR_INPUT, "%s: nothing of it can be used", request->files[0]);
        }
        if (error != NULL)
                return error;
        buffer_init(&out, OUTPUT_BYTES_MAX);
        buffer_printf(&out, "# %u models of %u providers, by batchferry catalog import %s\n",
                      catalog.endpoints_count, catalog.providers_count,
                      request->format == import_litellm ? "litellm" : "openrouter");
        listing_print(&catalog, &out);
        if (out.failed)
                error = error_new(ERROR_MEMORY, "out of memory");
        if (error == NULL)
                error = prove(buffer_view(&out));
        if (error == NULL)
                error = write_catalogue(request->output != NULL ? request->output : "-",
                                        (struct bytes){out.data, out.size - 1});
        buffer_deinit(&out);
        if (error == NULL)
                report(request, import, &catalog);
        return error;
}

static int run_import(const struct request *request) {
        struct bytes text = {0};
        struct error *error = read_input(request->files[0], &text);
        if (error != NULL)
                return fail(error);
        struct import *import = malloc(sizeof *import);
        if (import == NULL) {
                error = error_new(ERROR_MEMORY, "out of memory");
        } else {
                import_init(import);
                error = convert(request, import, text);
                import_deinit(import);
        }
        free(import);
        free((char *)(uintptr_t)text.data);
        return error != NULL ? fail(error) : EXIT_WELL;
}

/* ---- list and check ---- */

/* What is looked at: the configuration's, or that of files, joined. */
struct subject {
        struct config *config;
        struct arena arena;
        struct catalog catalog;
};

static struct error *join(struct subject *subject, const struct catalog *catalogs, unsigned count) {
        struct catalog *whole = &subject->catalog;
        uint32_t providers = 0, endpoints = 0;
        for (unsigned i = 0; i < count; i++) {
                providers += catalogs[i].providers_count;
                endpoints += catalogs[i].endpoints_count;
        }
        struct provider *all = arena_alloc(&subject->arena, (providers + (size_t)1) * sizeof *all);
        struct endpoint *models = arena_alloc(&subject->arena, (endpoints + (size_t)1) * sizeof *models);
        if (all == NULL || models == NULL)
                return error_new(ERROR_MEMORY, "out of memory");
        for (unsigned i = 0; i < count; i++) {
                for (uint32_t k = 0; k < catalogs[i].endpoints_count; k++) {
                        models[whole->endpoints_count] = catalogs[i].endpoints[k];
                        models[whole->endpoints_count++].provider += whole->providers_count;
                }
                for (uint32_t k = 0; k < catalogs[i].providers_count; k++)
                        all[whole->providers_count++] = catalogs[i].providers[k];
        }
        whole->providers = all;
        whole->endpoints = models;
        return NULL;
}

static struct error *load(const struct request *request, struct subject *subject) {
        struct catalog catalogs[FILES_MAX];
        struct zones zones = {.arena = &subject->arena};
        if (request->files_count == 0) {
                struct error *error = options_load(&request->options, &subject->config);
                if (error == NULL)
                        subject->catalog = subject->config->catalog;
                return error;
        }
        for (unsigned i = 0; i < request->files_count; i++) {
                struct error *error = listing_load(request->files[i], &subject->arena, &zones, &catalogs[i]);
                if (error != NULL)
                        return error;
        }
        return join(subject, catalogs, request->files_count);
}

/* 0 when the output is no terminal. */
static unsigned terminal_width(void) {
        struct winsize size;
        if (!isatty(STDOUT_FILENO))
                return 0;
        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : WIDTH_DEFAULT;
}

static int list(const struct request *request, const struct catalog *catalog) {
        struct buffer text;
        buffer_init(&text, OUTPUT_BYTES_MAX);
        if (request->json)
                table_append_json(catalog, &request->filter, &text);
        else
                table_append(catalog, &request->filter, terminal_width(), &text);
        return write_out(&text, EXIT_WELL);
}

static int check(const struct request *request, const struct catalog *catalog) {
        struct check_findings findings;
        struct buffer text;
        check_catalog(catalog, request->ignored, &findings);
        buffer_init(&text, OUTPUT_BYTES_MAX);
        if (request->json)
                check_append_json(catalog, &findings, &text);
        else
                check_append(catalog, &findings, request->options.verbose, &text);
        text.failed = text.failed || findings.memory_refused;
        uint32_t count = findings.count;
        check_findings_deinit(&findings);
        int code = write_out(&text, count > 0 ? EXIT_JOBS_FAILED : EXIT_WELL);
        if (code != EXIT_FAILED && !request->options.quiet)
                fprintf(stderr, "batchferry: %u models checked, %u findings\n", catalog->endpoints_count,
                        count);
        return code;
}

static int look(const struct request *request) {
        struct subject subject = {.config = NULL};
        int code;
        arena_init(&subject.arena, FILES_ARENA_BYTES_MAX);
        struct error *error = load(request, &subject);
        if (error != NULL)
                code = fail(error);
        else
                code = request->verb == VERB_LIST ? list(request, &subject.catalog)
                                                  : check(request, &subject.catalog);
        config_free(subject.config);
        arena_deinit(&subject.arena);
        return code;
}

static int codes(void) {
        struct buffer text;
        buffer_init(&text, OUTPUT_BYTES_MAX);
        check_reference(&text);
        return write_out(&text, EXIT_WELL);
}

int cmd_catalog(int argc, char **argv) {
        static char name[] = "batchferry catalog";
        struct request request = {
                .filter = {.max_input_price = PICOUSD_MAX, .max_output_price = PICOUSD_MAX}};
        argv[0] = name;
        argp_err_exit_status = EXIT_USAGE;
        if (argp_parse(&argp, argc, argv, 0, NULL, &request) != 0)
                return EXIT_USAGE;
        if (request.verb == VERB_IMPORT)
                return run_import(&request);
        return request.verb == VERB_CODES ? codes() : look(&request);
}
