#include "broker/cli/cmd_state.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/options.h"
#include "broker/store/store.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
        struct options options;
        const char *verb, *id;
};

static bool is_verb(const char *word) {
        return strcmp(word, "show") == 0 || strcmp(word, "stats") == 0 || strcmp(word, "verify") == 0;
}

/* The key in a result's id, "bf_" and 32 hexadecimal digits. */
static bool parse_id(const char *id, struct key128 *out_key) {
        if (strlen(id) != 35 || strncmp(id, "bf_", 3) != 0 || strspn(id + 3, "0123456789abcdef") != 32)
                return false;
        char half[17] = "";
        memcpy(half, id + 3, 16);
        out_key->hi = strtoull(half, NULL, 16);
        out_key->lo = strtoull(id + 19, NULL, 16);
        return true;
}

static error_t parse(int key, char *value, struct argp_state *state) {
        struct request *request = state->input;
        switch (key) {
        case ARGP_KEY_INIT:
                state->child_inputs[0] = &request->options;
                return 0;
        case ARGP_KEY_ARG:
                if (!request->verb)
                        request->verb = value;
                else if (!request->id && strcmp(request->verb, "show") == 0)
                        request->id = value;
                else
                        argp_error(state, "\"%s\" is one word too many", value);
                return 0;
        case ARGP_KEY_END:
                if (!request->verb || !is_verb(request->verb))
                        argp_error(state, "say show, stats or verify");
                return 0;
        default:
                return ARGP_ERR_UNKNOWN;
        }
}

enum { UNKNOWN_SHOWN_MAX = 20 };

static const struct argp_child children[] = {{&options_argp, 0, "Common options:", 10}, {0}};
static const struct argp argp = {
        NULL,
        parse,
        "show [ID] | stats | verify",
        "Looks at the durable state, without changing it.\v"
        "show      the inputs and partitions, how far each is settled, and the attempts of unknown outcome\n"
        "show ID   what is known of a job; ID is a result's \"id\", bf_...\n"
        "stats     how much is in it\n"
        "verify    reads everything, checks checksums and that all parts agree; exit code 1 if not",
        children,
        NULL,
        NULL};

static struct error *show_source(void *userdata, const char *name, const struct source_state *state) {
        (void)userdata;
        struct buffer text;
        buffer_init(&text, 256);
        rfc3339_append(&text, state->updated_unix_ms);
        printf("input %s: %s, %llu jobs (%llu bytes) settled, %.*s\n", name,
               state->finished ? "finished" : "not finished", (unsigned long long)state->sequence,
               (unsigned long long)state->offset, (int)text.size, text.data);
        for (int i = 0; i < 2; i++)
                if (state->outputs[i][0])
                        printf("  %s %s, %llu bytes\n", i ? "errors " : "results", state->outputs[i],
                               (unsigned long long)state->outputs_bytes[i]);
        buffer_deinit(&text);
        return NULL;
}

static void print_money(const char *name, bool known, int64_t picousd) {
        struct buffer text;
        buffer_init(&text, 64);
        money_append(&text, known ? picousd : 0);
        if (known)
                printf("%s$%.*s", name, (int)text.size, text.data);
        else
                printf(", unknown cost");
        buffer_deinit(&text);
}

static struct error *show_unknown(void *userdata, const struct begun *begun) {
        uint64_t *count = userdata;
        if (++*count > UNKNOWN_SHOWN_MAX)
                return NULL;
        printf("unknown outcome: bf_%016llx%016llx, attempt %u on %s", (unsigned long long)begun->key.hi,
               (unsigned long long)begun->key.lo, begun->attempt, begun->endpoint);
        print_money(", at most ", begun->exposure_picousd >= 0, begun->exposure_picousd);
        printf("\n");
        return NULL;
}

static struct error *show_partition(void *userdata, uint32_t partition, const struct partition_stats *stats) {
        struct buffer text;
        (void)userdata;
        printf("partition %u: about %llu jobs settled, %llu parked, %llu answers unpublished", partition,
               (unsigned long long)stats->settled, (unsigned long long)stats->parked,
               (unsigned long long)stats->answers);
        if (stats->has_state) {
                buffer_init(&text, 256);
                rfc3339_append(&text, stats->state.updated_unix_ms);
                printf(", state topic read to offset %llu, %.*s\n",
                       (unsigned long long)stats->state.changelog_offset, (int)text.size, text.data);
                buffer_deinit(&text);
        } else {
                printf(", the state topic has not been read\n");
        }
        return NULL;
}

static struct error *show_all(struct store *store) {
        uint64_t unknown = 0;
        struct error *error = store_each_source(store, show_source, NULL);
        if (!error)
                error = store_each_partition(store, show_partition, NULL);
        if (!error)
                error = store_each_unknown(store, show_unknown, &unknown);
        if (!error && unknown > UNKNOWN_SHOWN_MAX)
                printf("and %llu more\n", (unsigned long long)(unknown - UNKNOWN_SHOWN_MAX));
        return error;
}

/* One job, in one partition or among those of files. */
struct sought {
        struct store *store;
        const char *id;
        struct key128 key;
        uint64_t found;
};

static void print_settled(const char *id, uint32_t partition, const struct settled *settled,
                          const char *what) {
        printf("%s: ", id);
        if (partition != STORE_NO_PARTITION)
                printf("partition %u, offset %llu, ", partition, (unsigned long long)settled->offset);
        printf("%s%s, status %d, %u attempts", settled->failure ? failure_text(settled->failure) : "done",
               what, settled->status, settled->attempts);
        print_money(settled->cost_is_estimate ? ", at most " : ", ", settled->cost_known,
                    settled->cost_picousd);
        if (partition == STORE_NO_PARTITION)
                printf(", in %s at byte %llu, %u bytes long",
                       settled->sink ? "the errors file" : "the results", (unsigned long long)settled->offset,
                       settled->size);
        printf("\n");
}

static struct error *show_job_in(struct sought *sought, uint32_t partition) {
        struct store_record record;
        struct error *error = store_look_up(sought->store, partition, sought->key, &record);
        if (error || record.found == STORE_NONE)
                return error;
        sought->found++;
        if (record.found == STORE_SETTLED)
                print_settled(sought->id, partition, &record.settled, "");
        if (record.found == STORE_PARKED) {
                struct buffer text;
                buffer_init(&text, 256);
                rfc3339_append(&text, record.due_unix_ms);
                printf("%s: partition %u, parked until %.*s\n", sought->id, partition, (int)text.size,
                       text.data);
                buffer_deinit(&text);
        }
        if (record.answered)
                print_settled(sought->id, partition, &record.settled, ", not yet published");
        if (record.attempted) {
                uint64_t count = 0;
                return show_unknown(&count, &record.begun);
        }
        return NULL;
}

static struct error *note_partition(void *userdata, uint32_t partition, const struct partition_stats *stats) {
        (void)stats;
        return show_job_in(userdata, partition);
}

static struct error *show_job(struct store *store, const char *id) {
        struct sought sought = {.store = store, .id = id};
        if (!parse_id(id, &sought.key))
                return error_new(
                        ERROR_USAGE,
                        "\"%s\" is no id: a result's id looks like bf_0123456789abcdef0123456789abcdef", id);
        struct error *error = show_job_in(&sought, STORE_NO_PARTITION);
        if (!error)
                error = store_each_partition(store, note_partition, &sought);
        if (!error && sought.found == 0)
                return error_new(ERROR_INPUT, "nothing is known of %s", id);
        return error;
}

static void print_stats(const struct store_stats *stats, bool counted) {
        printf("settled jobs      %s%llu\nunknown outcomes  %llu\nunpublished       %llu\ninputs            "
               "%llu\n",
               counted ? "" : "about ", (unsigned long long)stats->settled,
               (unsigned long long)stats->unknown, (unsigned long long)(stats->bodies + stats->answers),
               (unsigned long long)stats->sources);
        if (stats->partitions > 0)
                printf("partitions        %llu\nparked jobs       %llu\nkept results      %s%llu\n",
                       (unsigned long long)stats->partitions, (unsigned long long)stats->parked,
                       counted ? "" : "about ", (unsigned long long)stats->kept);
        printf("on disk           %llu bytes\nin memory         %llu bytes\n",
               (unsigned long long)stats->disk_bytes, (unsigned long long)stats->memory_bytes);
}

static struct error *verify(struct store *store, int *out_code) {
        struct store_stats stats;
        struct buffer findings;
        buffer_init(&findings, 1U << 20);
        struct error *error = store_verify(store, &stats, &findings);
        if (!error) {
                print_stats(&stats, true);
                printf("%.*s%s", (int)findings.size, findings.size ? findings.data : "",
                       findings.size ? "" : "all parts agree\n");
                *out_code = findings.size ? EXIT_FAILED : EXIT_WELL;
        }
        buffer_deinit(&findings);
        return error;
}

static struct error *answer(const struct request *request, struct store *store, int *out_code) {
        struct store_stats stats;
        if (strcmp(request->verb, "verify") == 0)
                return verify(store, out_code);
        if (strcmp(request->verb, "show") == 0)
                return request->id ? show_job(store, request->id) : show_all(store);
        struct error *error = store_stats(store, &stats);
        if (!error)
                print_stats(&stats, false);
        return error;
}

int cmd_state(int argc, char **argv) {
        struct request request = {0};
        argp_err_exit_status = EXIT_USAGE;
        argp_parse(&argp, argc, argv, 0, NULL, &request);
        struct config *config = NULL;
        struct error *error = options_load(&request.options, &config);
        if (error)
                return options_fail(error);
        struct store_options options = {.directory = config->settings.state, .read_only = true};
        struct store *store = NULL;
        int code = EXIT_WELL;
        error = store_open(&options, &store);
        if (!error)
                error = answer(&request, store, &code);
        if (error)
                code = options_fail(error);
        store_close(store);
        config_free(config);
        return code;
}
