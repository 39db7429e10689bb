/*
 * The command line of the simulator: options to struct sim_server_options, then run. What an option means
 * is said once, in the table that --help prints.
 */
#include "broker/cli/cmd_sim.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/sim/server.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define EXIT_USAGE     2
#define FILE_BYTES_MAX ((size_t)256 << 20)

enum option_key {
        OPTION_PORT = 'p',
        OPTION_ADDRESS = 256,
        OPTION_PORT_FILE,
        OPTION_TLS_CERT,
        OPTION_TLS_KEY,
        OPTION_REQUIRE_KEY,
        OPTION_CONNECTIONS,
        OPTION_LATENCY,
        OPTION_SEED,
        OPTION_REPLY_TOKENS,
        OPTION_DIMENSIONS,
        OPTION_RPM,
        OPTION_TPM,
        OPTION_CONCURRENCY,
        OPTION_LIMIT_WINDOW,
        OPTION_PRICE_INPUT,
        OPTION_PRICE_OUTPUT,
        OPTION_PRICE_AUDIO_INPUT,
        OPTION_PRICE_AUDIO_OUTPUT,
        OPTION_CACHED,
        OPTION_REASONING,
        OPTION_TIER,
        OPTION_PRICE_MINUTE,
        OPTION_PRICE_IMAGE,
        OPTION_REPORT_COST,
        OPTION_FAULT,
        OPTION_SCRIPT,
        OPTION_RETRY_AFTER,
        OPTION_SLOW_BODY_RATE,
};

static const struct argp_option option_table[] = {
        {NULL, 0, NULL, 0, "Where it listens:", 1},
        {"port", OPTION_PORT, "PORT", 0, "Port; 0 takes a free one (default 8080)", 1},
        {"address", OPTION_ADDRESS, "IPV4", 0, "Address (default 127.0.0.1)", 1},
        {"port-file", OPTION_PORT_FILE, "FILE", 0, "Write the port to FILE as soon as it listens", 1},
        {"tls-cert", OPTION_TLS_CERT, "FILE", 0, "Speak HTTPS with this certificate (PEM)", 1},
        {"tls-key", OPTION_TLS_KEY, "FILE", 0, "The certificate's key (PEM)", 1},
        {"require-key", OPTION_REQUIRE_KEY, "KEY", 0, "Answer 401 to every other key", 1},
        {"connections", OPTION_CONNECTIONS, "N", 0,
         "Connections at once (default 16000, or what the system allows)", 1},
        {NULL, 0, NULL, 0, "What it answers (V is a number, or MEAN and so on for a distribution):", 2},
        {"latency", OPTION_LATENCY, "DIST", 0,
         "fixed:200ms, normal:MEAN,SD or lognormal:MEDIAN,SIGMA (default 0)", 2},
        {"reply-tokens", OPTION_REPLY_TOKENS, "DIST", 0,
         "Tokens of a text answer: 64, normal:64,10 (default 32)", 2},
        {"dimensions", OPTION_DIMENSIONS, "N", 0, "Of an embedding, when not asked for (default 1536)", 2},
        {"seed", OPTION_SEED, "N", 0, "Another seed: other latencies, lengths and faults", 2},
        {NULL, 0, NULL, 0, "Limits, as strict sliding windows (429 with true headers):", 3},
        {"rpm", OPTION_RPM, "N", 0, "Requests in a minute", 3},
        {"tpm", OPTION_TPM, "N", 0, "Tokens in a minute: the prompt's estimate or max_tokens, the larger", 3},
        {"concurrency", OPTION_CONCURRENCY, "N", 0, "Calls at once", 3},
        {"limit-window", OPTION_LIMIT_WINDOW, "DURATION", 0, "Another window than a minute, for short tests",
         3},
        {NULL, 0, NULL, 0, "Prices in USD, for the cost in the statistics:", 4},
        {"price-input", OPTION_PRICE_INPUT, "USD", 0, "Of a million prompt tokens", 4},
        {"price-output", OPTION_PRICE_OUTPUT, "USD", 0, "Of a million completion tokens", 4},
        {"price-audio-input", OPTION_PRICE_AUDIO_INPUT, "USD", 0,
         "Of a million prompt tokens of sound: ten for each second of an input_audio", 4},
        {"price-audio-output", OPTION_PRICE_AUDIO_OUTPUT, "USD", 0,
         "Of a million completion tokens of sound: four of five where `modalities` asks for audio", 4},
        {"cached-input", OPTION_CACHED, "SHARE:USD", 0,
         "So much of a prompt's text comes from a cache (0.5: half), at that price of a million tokens", 4},
        {"reasoning", OPTION_REASONING, "SHARE:USD", 0,
         "So much of a completion's text is reasoning, likewise", 4},
        {"tier", OPTION_TIER, "NAME:SHARE", 0,
         "A service_tier that it has, and what its tokens cost there, such as flex:0.5; may be repeated. "
         "Other tiers are served as \"default\"",
         4},
        {"price-minute", OPTION_PRICE_MINUTE, "USD", 0, "Of a minute of audio", 4},
        {"price-image", OPTION_PRICE_IMAGE, "USD", 0, "Of an image", 4},
        {"report-cost", OPTION_REPORT_COST, NULL, 0, "Say usage.cost in each answer, as OpenRouter does", 4},
        {NULL, 0, NULL, 0, "Faults:", 5},
        {"fault", OPTION_FAULT, "KIND:RATE", 0,
         "Fail so often (0 to 1); may be repeated. The kinds are below", 5},
        {"script", OPTION_SCRIPT, "FILE", 0, "JSON lines that choose requests to fail", 5},
        {"retry-after", OPTION_RETRY_AFTER, "SECONDS", 0, "The wait that a 429 fault asks for (default 1)",
         5},
        {"slow-body-rate", OPTION_SLOW_BODY_RATE, "BYTES", 0,
         "Bytes a second of the slow-body fault (default 10)", 5},
        {0},
};

static const char doc[] =
        "An OpenAI-compatible provider to test against: chat/completions, responses, completions, "
        "embeddings, "
        "audio/{transcriptions,translations,speech}, images/{generations,edits}, rerank, moderations and "
        "models, under "
        "/v1 and under Azure's /openai/deployments/NAME. Answers depend on the request alone, so asking "
        "twice gives "
        "the same. It ends with SIGINT or SIGTERM."
        "\v"
        "Kinds of faults:\n"
        "  429-seconds 429-float 429-http-date 429-ms 429-gemini-body 429-message 429-none 429-garbage "
        "429-huge\n"
        "  429-negative 429-past-date 429-quota: every way to say \"later\" (429 is 429-seconds)\n"
        "  400 401 402 403 404 408 409 413 422 424 498 500 502 503 503-slow-down 504 529: that status\n"
        "  200-error html html-200 empty-200 not-json-200: something else than an answer\n"
        "  reset-before reset-after hang: a TCP reset before or after the call was executed; no answer ever\n"
        "  half-body truncated-json wrong-count slow-body huge-body[:BYTES] gzip-bomb[:BYTES]: a spoiled "
        "body\n"
        "  content-filter refusal usage-absent usage-zero usage-negative usage-huge usage-lie[:FACTOR]\n"
        "A script line is {\"match\": TEXT, \"nth\": N, \"fault\": KIND, \"times\": N}: requests whose job "
        "name or body\n"
        "contains TEXT (or only the Nth new one of them) fail the first so many times (default 1, 0 is "
        "always).\n"
        "\n"
        "A request is known by its header x-batchferry-job, else by a hash of its path and body.\n"
        "  GET /sim/stats    what was asked, executed, answered, and repeated\n"
        "  GET /sim/calls    one JSON line for each request that was ever seen\n"
        "  POST /sim/reset   forget all that\n"
        "  POST /sim/faults  {\"faults\": [\"KIND:RATE\"], \"script\": [RULE]} replaces the faults\n"
        "\n"
        "Examples:\n"
        "  batchferry sim --port 8080 --latency lognormal:300ms,0.5 --fault 429:0.05 --fault 500:0.01\n"
        "  batchferry sim --port 0 --port-file sim.port --rpm 600 --tpm 100000\n"
        "  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext \\\n"
        "    subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem\n"
        "  batchferry sim --tls-cert cert.pem --tls-key key.pem\n";

struct arguments {
        struct sim_server_options options;
        struct sim_faults faults;
        const char *port_file, *tls_cert_path, *tls_key_path;
};

static struct error *read_file(const char *path, char **out_text, size_t *out_bytes) {
        struct buffer text;
        char block[65536];
        ssize_t got;
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(errno, "cannot open %s", path);
        buffer_init(&text, FILE_BYTES_MAX);
        while ((got = read(fd, block, sizeof(block))) > 0)
                buffer_append(&text, block, (size_t)got);
        buffer_append_char(&text, '\0');
        (void)close(fd);
        if (got < 0 || text.failed) {
                buffer_deinit(&text);
                return got < 0 ? error_errno(errno, "cannot read %s", path)
                               : error_new(ERROR_INPUT, "%s is too large", path);
        }
        *out_text = text.data;
        *out_bytes = text.size - 1;
        return NULL;
}

/* ---- options ---- */

static int64_t integer_of(struct argp_state *state, const char *name, const char *text, int64_t min,
                          int64_t max) {
        char *end;
        long long value;

        errno = 0;
        value = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || errno != 0 || value < min || value > max)
                argp_error(state, "--%s %s: expected a number from %" PRId64 " to %" PRId64, name, text, min,
                           max);
        return value;
}

static int64_t price_of(struct argp_state *state, const char *name, const char *text) {
        int64_t picousd = 0;

        if (!money_parse(bytes_of(text), &picousd))
                argp_error(state, "--%s %s: expected an amount of dollars such as 0.15", name, text);
        return picousd;
}

/* "0.5:0.075" */
static void read_share(struct argp_state *state, const char *name, const char *text, int64_t *out_share_picos,
                       int64_t *out_picousd) {
        const char *colon = strchr(text, ':');

        if (colon == NULL || !money_parse((struct bytes){text, (size_t)(colon - text)}, out_share_picos) ||
            *out_share_picos > PICOUSD_PER_USD || !money_parse(bytes_of(colon + 1), out_picousd))
                argp_error(state,
                           "--%s %s: expected a share of at most 1 and an amount of dollars such as 0.5:0.15",
                           name, text);
}

static void add_tier(struct argp_state *state, const char *text, struct sim_prices *prices) {
        const char *colon = strchr(text, ':');
        size_t name_bytes = colon == NULL ? 0 : (size_t)(colon - text);
        struct sim_tier *tier = &prices->tiers[prices->tiers_count];

        if (prices->tiers_count == SIM_TIERS_MAX)
                argp_error(state, "--tier %s: there can be %d at most", text, SIM_TIERS_MAX);
        else if (name_bytes == 0 || name_bytes >= sizeof(tier->name) ||
                 strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") != name_bytes ||
                 !money_parse(bytes_of(colon + 1), &tier->share_picos))
                argp_error(state, "--tier %s: expected a name and a share of the price such as flex:0.5",
                           text);
        else
                memcpy(prices->tiers[prices->tiers_count++].name, text, name_bytes);
}

static struct sim_distribution distribution_of(struct argp_state *state, const char *name, const char *text,
                                               bool durations) {
        struct sim_distribution distribution = {0};

        if (!sim_distribution_parse(bytes_of(text), durations, &distribution))
                argp_error(state, "--%s %s: expected fixed:V, normal:MEAN,SD or lognormal:MEDIAN,SIGMA%s",
                           name, text, durations ? ", with durations such as 200ms" : "");
        return distribution;
}

static void stop_at(struct argp_state *state, struct error *error) {
        if (error != NULL)
                argp_error(state, "%s", error->message);
        error_free(error);
}

static void add_script(struct argp_state *state, struct sim_faults *faults, const char *path) {
        size_t bytes = 0;
        char *text = NULL;

        stop_at(state, read_file(path, &text, &bytes));
        stop_at(state,
                error_wrap(sim_faults_add_script_lines(faults, (struct bytes){text, bytes}), "%s", path));
        free(text);
}

static int64_t duration_of(struct argp_state *state, const char *name, const char *text) {
        int64_t ns = 0;

        if (!duration_parse(bytes_of(text), &ns) || ns < NS_PER_MS * 60)
                argp_error(state, "--%s %s: expected a duration of at least 60ms", name, text);
        return ns;
}

static int64_t retry_after_of(struct argp_state *state, const char *text) {
        struct sim_distribution seconds = distribution_of(state, "retry-after", text, false);

        return (int64_t)(seconds.center < 1e9 ? seconds.center * 1e9 : 1e18);
}

static error_t parse_limit_or_price(int key, char *arg, struct argp_state *state,
                                    struct sim_server_options *options) {
        switch (key) {
        case OPTION_RPM:
                options->limits.requests_max = integer_of(state, "rpm", arg, 1, INT32_MAX);
                break;
        case OPTION_TPM:
                options->limits.tokens_max = integer_of(state, "tpm", arg, 1, INT64_MAX / 2);
                break;
        case OPTION_CONCURRENCY:
                options->limits.concurrency_max = integer_of(state, "concurrency", arg, 1, INT32_MAX);
                break;
        case OPTION_LIMIT_WINDOW:
                options->limits.window_ns = duration_of(state, "limit-window", arg);
                break;
        case OPTION_PRICE_INPUT:
                options->settings.prices.input_picousd = price_of(state, "price-input", arg);
                break;
        case OPTION_PRICE_OUTPUT:
                options->settings.prices.output_picousd = price_of(state, "price-output", arg);
                break;
        case OPTION_PRICE_AUDIO_INPUT:
                options->settings.prices.audio_input_picousd = price_of(state, "price-audio-input", arg);
                break;
        case OPTION_PRICE_AUDIO_OUTPUT:
                options->settings.prices.audio_output_picousd = price_of(state, "price-audio-output", arg);
                break;
        case OPTION_CACHED:
                read_share(state, "cached-input", arg, &options->settings.cached_share_picos,
                           &options->settings.prices.cached_input_picousd);
                break;
        case OPTION_REASONING:
                read_share(state, "reasoning", arg, &options->settings.reasoning_share_picos,
                           &options->settings.prices.reasoning_picousd);
                break;
        case OPTION_TIER:
                add_tier(state, arg, &options->settings.prices);
                break;
        case OPTION_PRICE_MINUTE:
                options->settings.prices.minute_picousd = price_of(state, "price-minute", arg);
                break;
        case OPTION_PRICE_IMAGE:
                options->settings.prices.image_picousd = price_of(state, "price-image", arg);
                break;
        case OPTION_REPORT_COST:
                options->settings.report_cost = true;
                break;
        default:
                return ARGP_ERR_UNKNOWN;
        }
        return 0;
}

static error_t parse_answer(int key, char *arg, struct argp_state *state, struct arguments *arguments) {
        struct sim_server_options *options = &arguments->options;

        switch (key) {
        case OPTION_LATENCY:
                options->latency = distribution_of(state, "latency", arg, true);
                break;
        case OPTION_REPLY_TOKENS:
                options->settings.reply_tokens = distribution_of(state, "reply-tokens", arg, false);
                break;
        case OPTION_DIMENSIONS:
                options->settings.dimensions = integer_of(state, "dimensions", arg, 1, 8192);
                break;
        case OPTION_SEED:
                options->settings.seed = (uint64_t)integer_of(state, "seed", arg, 0, INT64_MAX);
                break;
        case OPTION_FAULT:
                stop_at(state, sim_faults_add_rate(&arguments->faults, bytes_of(arg)));
                break;
        case OPTION_SCRIPT:
                add_script(state, &arguments->faults, arg);
                break;
        case OPTION_RETRY_AFTER:
                options->settings.retry_after_ns = retry_after_of(state, arg);
                break;
        case OPTION_SLOW_BODY_RATE:
                options->slow_body_bytes_per_s = integer_of(state, "slow-body-rate", arg, 1, 1000000000);
                break;
        default:
                return parse_limit_or_price(key, arg, state, options);
        }
        return 0;
}

static error_t parse_option(int key, char *arg, struct argp_state *state) {
        struct arguments *arguments = state->input;

        switch (key) {
        case OPTION_PORT:
                arguments->options.port = (uint16_t)integer_of(state, "port", arg, 0, UINT16_MAX);
                break;
        case OPTION_ADDRESS:
                arguments->options.address = arg;
                break;
        case OPTION_PORT_FILE:
                arguments->port_file = arg;
                break;
        case OPTION_TLS_CERT:
                arguments->tls_cert_path = arg;
                break;
        case OPTION_TLS_KEY:
                arguments->tls_key_path = arg;
                break;
        case OPTION_REQUIRE_KEY:
                arguments->options.require_key = arg;
                break;
        case OPTION_CONNECTIONS:
                arguments->options.connections_max =
                        (unsigned)integer_of(state, "connections", arg, 1, 1000000);
                break;
        case ARGP_KEY_ARG:
                argp_error(state, "\"%s\" is not understood: sim takes options only", arg);
                break;
        case ARGP_KEY_END:
                if ((arguments->tls_cert_path == NULL) != (arguments->tls_key_path == NULL))
                        argp_error(state, "--tls-cert and --tls-key belong together");
                break;
        default:
                return parse_answer(key, arg, state, arguments);
        }
        return 0;
}

/* ---- running ---- */

static struct sim_server *running; /* for the signal handler */

static void on_signal(int signal_number) {
        (void)signal_number;
        sim_server_stop(running);
}

static void catch_signals(void) {
        struct sigaction stop = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};

        (void)sigaction(SIGINT, &stop, NULL);
        (void)sigaction(SIGTERM, &stop, NULL);
        (void)sigaction(SIGPIPE, &ignore, NULL);
}

/* As many descriptors as the system gives; connections leave a few for the program itself. */
static void raise_descriptors(struct sim_server_options *options) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_cur > 64 && limit.rlim_cur - 32 < options->connections_max)
                options->connections_max = (unsigned)limit.rlim_cur - 32;
}

/* Whole or not at all: whoever waits for the file may read it as soon as it is there. */
static struct error *write_port(const char *path, uint16_t port) {
        char *temporary;
        FILE *file;
        bool written;

        if (asprintf(&temporary, "%s.tmp", path) < 0)
                return error_new(ERROR_MEMORY, "out of memory");
        file = fopen(temporary, "we");
        written = file != NULL && fprintf(file, "%u\n", port) > 0;
        if (file != NULL && fclose(file) != 0)
                written = false;
        if (written && rename(temporary, path) == 0) {
                free(temporary);
                return NULL;
        }
        free(temporary);
        return error_errno(errno, "cannot write %s", path);
}

static struct error *read_tls(struct arguments *arguments, char **out_certificate, char **out_key) {
        struct error *error;
        size_t bytes;

        if (arguments->tls_cert_path == NULL)
                return NULL;
        error = read_file(arguments->tls_cert_path, out_certificate, &bytes);
        if (error == NULL)
                error = read_file(arguments->tls_key_path, out_key, &bytes);
        arguments->options.tls_certificate = *out_certificate;
        arguments->options.tls_key = *out_key;
        return error;
}

static struct error *serve(struct arguments *arguments) {
        struct sim_server_options *options = &arguments->options;
        struct sim_server *server;
        struct error *error = sim_server_open(options, &arguments->faults, &server);

        if (error != NULL)
                return error;
        running = server;
        catch_signals();
        if (arguments->port_file != NULL)
                error = write_port(arguments->port_file, sim_server_port(server));
        if (error == NULL) {
                printf("sim listening on %s://%s:%u/v1\n",
                       options->tls_certificate == NULL ? "http" : "https",
                       options->address == NULL ? "127.0.0.1" : options->address, sim_server_port(server));
                (void)fflush(stdout);
                error = sim_server_run(server);
        }
        (void)signal(SIGINT, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        sim_server_close(server);
        return error;
}

int cmd_sim(int argc, char **argv) {
        const struct argp argp = {.options = option_table, .parser = parse_option, .doc = doc};
        struct arguments arguments = {.port_file = NULL};
        char *certificate = NULL, *key = NULL;
        struct error *error;
        int code = EXIT_SUCCESS;

        sim_server_options_init(&arguments.options);
        arguments.options.port = 8080;
        sim_faults_init(&arguments.faults);
        argp_err_exit_status = EXIT_USAGE;
        (void)argp_parse(&argp, argc, argv, 0, NULL, &arguments);
        raise_descriptors(&arguments.options);
        error = read_tls(&arguments, &certificate, &key);
        if (error == NULL)
                error = serve(&arguments);
        if (error != NULL) {
                fprintf(stderr, "batchferry sim: %s\n", error->message);
                code = error->kind == ERROR_USAGE ? EXIT_USAGE : EXIT_FAILURE;
        }
        error_free(error);
        free(certificate);
        free(key);
        sim_faults_deinit(&arguments.faults);
        return code;
}
