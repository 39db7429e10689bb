#include "trace.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/core/engine.h"
#include "broker/core/job.h"
#include "broker/wire/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
        NAMES_MAX = 64,
        ITEMS_MAX = 16,
        EVENTS_MAX = 64,
        COMMANDS_MAX = 512,
        WORDS_MAX = 16,
        LINE_MAX_BYTES = 2048
};
#define START_NS      (1000 * NS_PER_S)
#define START_UNIX_MS INT64_C(1790000000000)

struct named {
        char name[32];
        struct job_spec *job;
        struct handle handle;         /* of its last command that expects an answer */
        struct handle called, before; /* of its last call, and of the one before */
        bool gone;                    /* by a `revoke` */
};

struct trace {
        struct provider providers[ITEMS_MAX];
        struct endpoint endpoints[ITEMS_MAX];
        struct price_tier tiers[ITEMS_MAX];
        struct workspace workspaces[ITEMS_MAX];
        struct catalog catalog;
        struct engine_config config;
        struct engine *engine;
        struct job_decoder *decoder;
        char *texts[8 * ITEMS_MAX];
        size_t texts_count;
        struct named names[NAMES_MAX];
        size_t names_count;
        struct event events[EVENTS_MAX];
        struct answer answers[EVENTS_MAX];
        size_t events_count;
        int64_t now_ns, wall_ahead_ms;
        uint64_t sequence;
        bool stepped;
        struct buffer *out;
};

static const char *keep(struct trace *trace, const char *text) {
        assert_true(trace->texts_count < 8 * ITEMS_MAX);
        return trace->texts[trace->texts_count++] = strdup(text);
}

static const char *option(char *const *words, size_t count, const char *name) {
        size_t size = strlen(name);
        for (size_t i = 0; i < count; i++)
                if (strncmp(words[i], name, size) == 0 && words[i][size] == '=')
                        return words[i] + size + 1;
        return NULL;
}

static int64_t number(char *const *words, size_t count, const char *name, int64_t otherwise) {
        const char *text = option(words, count, name);
        return text ? strtoll(text, NULL, 10) : otherwise;
}

static int64_t duration(char *const *words, size_t count, const char *name, int64_t otherwise) {
        const char *text = option(words, count, name);
        int64_t ns = otherwise;
        if (text && !duration_parse(bytes_of(text), &ns))
                fail_msg("no duration: %s", text);
        return ns;
}

static int64_t price(char *const *words, size_t count, const char *name) {
        const char *text = option(words, count, name);
        int64_t picousd = PRICE_UNKNOWN;
        if (text && !money_parse(bytes_of(text), &picousd))
                fail_msg("no price: %s", text);
        return picousd;
}

static struct limits_spec limits(char *const *words, size_t count) {
        return (struct limits_spec){.requests_per_minute = number(words, count, "rpm", 0),
                                    .tokens_per_minute = number(words, count, "tpm", 0),
                                    .requests_per_day = number(words, count, "rpd", 0),
                                    .tokens_per_day = number(words, count, "tpd", 0),
                                    .concurrency = number(words, count, "concurrency", 0)};
}

static void set_engine(struct trace *trace, char *const *words, size_t count) {
        trace->config = (struct engine_config){
                .jobs_max = (uint32_t)number(words, count, "jobs", 16),
                .in_flight_max = (uint32_t)number(words, count, "in_flight", 4),
                .open_ahead = (uint32_t)number(words, count, "ahead", 0),
                .attempts_max = (uint32_t)number(words, count, "attempts", 3),
                .backoff_base_ns = duration(words, count, "base", 100 * NS_PER_MS),
                .backoff_cap_ns = duration(words, count, "cap", NS_PER_S),
                .retry_share = (double)number(words, count, "retry", 10) / 100,
                .call_timeout_ns = duration(words, count, "timeout", 600 * NS_PER_S),
                .seed = (uint64_t)number(words, count, "seed", 1),
        };
}

static void add_provider(struct trace *trace, char *const *words, size_t count) {
        assert_true(trace->catalog.providers_count < ITEMS_MAX);
        trace->providers[trace->catalog.providers_count++] = (struct provider){
                .name = keep(trace, words[1]),
                .dialect = "openai",
                .base_url = "http://localhost",
                .region = option(words, count, "region") ? keep(trace, option(words, count, "region")) : "",
                .zdr = number(words, count, "zdr", 0) != 0,
                .training = number(words, count, "training", 0) != 0,
                .data_policy_known = option(words, count, "training") != NULL,
                .retention_days = -1,
                .limits = limits(words, count),
        };
}

static void add_endpoint(struct trace *trace, char *const *words, size_t count) {
        assert_true(trace->catalog.endpoints_count < ITEMS_MAX);
        uint32_t provider = 0;
        while (strcmp(trace->providers[provider].name, words[1]) != 0)
                assert_true(++provider < trace->catalog.providers_count);
        char name[128];
        snprintf(name, sizeof(name), "%s/%s", words[1], words[2]);
        struct price unknown = price_unknown;
        unknown.input = price(words, count, "input");
        unknown.output = price(words, count, "output");
        struct price_tier *tier = &trace->tiers[trace->catalog.endpoints_count];
        *tier = (struct price_tier){.above_input = number(words, count, "tier", 0), .price = unknown};
        tier->price.input = price(words, count, "tier_input");
        tier->price.output = price(words, count, "tier_output");
        trace->endpoints[trace->catalog.endpoints_count++] = (struct endpoint){
                .name = keep(trace, name),
                .provider = provider,
                .model = keep(trace, words[2]),
                .upstream = keep(trace, words[2]),
                .price = unknown,
                .tiers = tier,
                .tiers_count = tier->above_input > 0,
                .context = number(words, count, "context", 0),
                .output_max = number(words, count, "output_max", 0),
                .quantization = "unknown",
                .limits = limits(words, count),
                .kinds = (1U << KINDS_COUNT) - 1,
        };
}

static void add_workspace(struct trace *trace, char *const *words, size_t count) {
        assert_true(trace->catalog.workspaces_count < ITEMS_MAX);
        trace->workspaces[trace->catalog.workspaces_count++] =
                (struct workspace){.name = keep(trace, words[1]),
                                   .weight = number(words, count, "weight", 0),
                                   .limits = limits(words, count)};
}

static uint32_t workspace_of(const struct trace *trace, struct bytes name) {
        for (uint32_t i = 0; i < trace->catalog.workspaces_count; i++)
                if (bytes_equal_string(name, trace->workspaces[i].name))
                        return i;
        return 0;
}

static struct engine_time now(const struct trace *trace) {
        return (struct engine_time){.now_ns = START_NS + trace->now_ns,
                                    .now_unix_ms =
                                            START_UNIX_MS + trace->wall_ahead_ms + trace->now_ns / NS_PER_MS};
}

static void need_engine(struct trace *trace) {
        if (trace->engine)
                return;
        trace->catalog.providers = trace->providers;
        trace->catalog.endpoints = trace->endpoints;
        trace->catalog.workspaces = trace->workspaces;
        trace->engine = engine_new(&trace->catalog, &trace->config, now(trace));
        assert_non_null(trace->engine);
        struct job_decoder_options options = {.batch = "trace", .job_bytes_max = LINE_MAX_BYTES};
        assert_null(job_decoder_new(&options, &trace->decoder));
}

static struct named *by_name(struct trace *trace, const char *name) {
        for (size_t i = 0; i < trace->names_count; i++)
                if (strcmp(trace->names[i].name, name) == 0)
                        return &trace->names[i];
        fail_msg("no job is called %s", name);
        return NULL;
}

static const char *name_of(const struct trace *trace, const struct job_spec *job) {
        for (size_t i = 0; i < trace->names_count; i++)
                if (trace->names[i].job == job)
                        return trace->names[i].name;
        return "?";
}

static const char *const verdicts[] = {
        [VERDICT_OK] = "ok",
        [VERDICT_REJECTED] = "rejected",
        [VERDICT_CONTENT_REFUSED] = "content_refused",
        [VERDICT_OTHER_MODEL] = "other_model",
        [VERDICT_RETRY] = "retry",
        [VERDICT_UNUSABLE] = "unusable",
        [VERDICT_THROTTLED] = "throttled",
        [VERDICT_OVERLOADED] = "overloaded",
        [VERDICT_PAUSE] = "pause",
        [VERDICT_AUTH] = "auth",
        [VERDICT_NOT_SENT] = "not_sent",
        [VERDICT_UNKNOWN] = "unknown",
        [VERDICT_INPUT] = "input",
        [VERDICT_INPUT_RETRY] = "input_retry",
};

static void read_answer(struct answer *answer, char *const *words, size_t count) {
        answer_init(answer);
        size_t verdict = 0;
        while (strcmp(verdicts[verdict], words[3]) != 0)
                assert_true(++verdict < sizeof(verdicts) / sizeof(*verdicts));
        answer->verdict = (enum verdict)verdict;
        if (verdict == VERDICT_OTHER_MODEL)
                answer->failure = FAILURE_PROVIDER_REJECTED;
        answer->status = (int32_t)number(words, count, "status", verdict == VERDICT_OK ? 200 : 0);
        answer->wait_ns = duration(words, count, "wait", -1);
        answer->endpoint_only = number(words, count, "alone", 0) != 0;
        answer->usage.input_tokens = number(words, count, "in", -1);
        answer->usage.output_tokens = number(words, count, "out", -1);
        answer->latency_ns = duration(words, count, "latency", 100 * NS_PER_MS);
}

static void add_job(struct trace *trace, const char *name, const char *line) {
        struct named *named = &trace->names[trace->names_count++];
        assert_true(trace->names_count < NAMES_MAX);
        snprintf(named->name, sizeof(named->name), "%s", name);
        named->job = job_decode(trace->decoder, bytes_of(line), trace->sequence + 1, trace->sequence, false);
        trace->sequence++;
        assert_non_null(named->job);
        named->job->demand.workspace = workspace_of(trace, named->job->workspace);
        trace->events[trace->events_count++] = (struct event){.kind = EVENT_JOB, .job = named->job};
}

static void read_known(struct known_job *known, char *const *words, size_t count) {
        known->same_fingerprint = strcmp(words[count - 1], "other") != 0;
        if (strcmp(words[3], "settled") == 0)
                known->known = KNOWN_SETTLED;
        if (strcmp(words[3], "parked") == 0)
                known->known = KNOWN_PARKED;
        if (strcmp(words[3], "answered") == 0) {
                known->known = KNOWN_ANSWERED;
                known->attempts = (uint32_t)number(words, count, "attempts", 1);
                known->status = (int32_t)number(words, count, "status", 200);
                known->failure = (enum failure)number(words, count, "failure", FAILURE_NONE);
                known->cost_known = option(words, count, "cost") != NULL;
                known->cost_picousd = number(words, count, "cost", 0);
        }
        if (strcmp(words[3], "unknown") == 0) {
                known->known = KNOWN_UNKNOWN;
                known->attempts = (uint32_t)strtoul(words[4], NULL, 10);
                known->exposure_picousd = SPEND_UNKNOWN;
        }
}

static void say_duration(struct trace *trace, const char *before, int64_t ns) {
        buffer_append_string(trace->out, before);
        duration_append(trace->out, ns);
}

static void say_settle(struct trace *trace, const struct outcome *outcome) {
        buffer_printf(trace->out, " %s attempts=%u", outcome->failure ? failure_text(outcome->failure) : "ok",
                      outcome->attempts);
        if (outcome->has_answer)
                buffer_printf(trace->out, " status=%d", outcome->status);
        if (outcome->journaled)
                buffer_append_string(trace->out, " journaled");
        buffer_append_string(trace->out, " cost=");
        if (outcome->cost_known)
                money_append(trace->out, outcome->cost_picousd);
        else
                buffer_append_string(trace->out, "unknown");
        if (outcome->cost_is_estimate)
                buffer_append_string(trace->out, " estimate");
        for (uint32_t i = 0; i < outcome->decision.count; i++) {
                const struct decision_candidate *candidate = &outcome->decision.candidates[i];
                if (candidate->excluded_by != EXCLUSION_NONE)
                        buffer_printf(trace->out, " [%s %s]", trace->endpoints[candidate->endpoint].name,
                                      exclusion_text(candidate->excluded_by));
        }
}

static void say(struct trace *trace, const struct command *command) {
        static const char *const kinds[] = {
                [COMMAND_LOOK_UP] = "look_up", [COMMAND_OPEN] = "open",     [COMMAND_CALL] = "call",
                [COMMAND_END] = "end",         [COMMAND_SETTLE] = "settle", [COMMAND_FORGET] = "forget",
        };
        const char *name = name_of(trace, command->job);
        buffer_printf(trace->out, "< %s %s", kinds[command->kind], name);
        if (command->kind == COMMAND_LOOK_UP && key128_equal(command->key, command->job->alias))
                buffer_append_string(trace->out, " alias");
        if (command->kind == COMMAND_OPEN || command->kind == COMMAND_CALL)
                buffer_printf(trace->out, " %s", trace->endpoints[command->endpoint].name);
        if (command->kind == COMMAND_OPEN)
                buffer_printf(trace->out, " attempt=%u", command->attempt);
        if (command->kind == COMMAND_CALL)
                say_duration(trace, " timeout=", command->timeout_ns);
        if (command->kind == COMMAND_SETTLE)
                say_settle(trace, command->outcome);
        if (command->kind == COMMAND_FORGET && command->duplicate)
                buffer_append_string(trace->out, " duplicate");
        if (command->kind == COMMAND_FORGET && command->revoked)
                buffer_append_string(trace->out, " revoked");
        if (command->kind == COMMAND_FORGET && command->twin)
                buffer_printf(trace->out, " of=%s", name_of(trace, command->twin));
        if (command->kind == COMMAND_FORGET && command->twin_goes)
                buffer_append_string(trace->out, " that goes");
        buffer_append_char(trace->out, '\n');
}

static void take(struct trace *trace, const struct command *command) {
        if (command->kind == COMMAND_FORGET) {
                struct named *named = by_name(trace, name_of(trace, command->job));
                job_spec_free(named->job);
                named->job = NULL;
        } else if (command->kind != COMMAND_END) {
                struct named *named = by_name(trace, name_of(trace, command->job));
                named->handle = command->handle;
                if (command->kind == COMMAND_CALL) {
                        named->before = named->called;
                        named->called = command->handle;
                }
        }
}

static void say_all(struct trace *trace, const struct commands *commands) {
        for (size_t i = 0; i < commands->count; i++) {
                say(trace, &commands->items[i]);
                take(trace, &commands->items[i]);
        }
}

static bool is_gone(void *userdata, const struct job_spec *job) {
        const struct trace *trace = userdata;
        for (size_t i = 0; i < trace->names_count; i++)
                if (trace->names[i].job == job)
                        return trace->names[i].gone;
        return false;
}

/* What it gives up is said at once, as the shard carries it out at once. */
static void revoke(struct trace *trace, char *const *words, size_t count) {
        for (size_t i = 2; i < count; i++)
                by_name(trace, words[i])->gone = true;
        struct command items[COMMANDS_MAX];
        struct commands commands = {items, 0, COMMANDS_MAX};
        assert_true(engine_revoke(trace->engine, now(trace), is_gone, trace, &commands));
        say_all(trace, &commands);
        for (size_t i = 0; i < trace->names_count; i++)
                trace->names[i].gone = false;
}

/* share WHOLE PART:kept|fresh|used... */
static void share(struct trace *trace, char *const *words, size_t count) {
        static const char *const kinds[] = {
                [PART_KEPT] = "kept", [PART_FRESH] = "fresh", [PART_USED] = "used"};
        struct limit_part parts[WORDS_MAX] = {0};
        size_t parts_count = 0;
        for (size_t i = 3; i < count; i++) {
                char *kind;
                struct limit_part *part = &parts[parts_count++];
                part->part = (uint32_t)strtoul(words[i], &kind, 10);
                part->kind = PART_KEPT;
                while (strcmp(kinds[part->kind], kind + 1) != 0)
                        assert_true(++part->kind <= PART_USED);
        }
        engine_share(trace->engine, now(trace), parts, parts_count, (uint32_t)strtoul(words[2], NULL, 10));
}

static bool is_order(struct trace *trace, char *const *words, size_t count) {
        if (strcmp(words[1], "revoke") == 0)
                revoke(trace, words, count);
        else if (strcmp(words[1], "share") == 0)
                share(trace, words, count);
        else
                return false;
        return true;
}

static void add_event(struct trace *trace, char *const *words, size_t count, const char *line) {
        need_engine(trace);
        assert_true(count >= 2 && trace->events_count < EVENTS_MAX);
        if (strcmp(words[1], "drain") == 0) {
                engine_drain(trace->engine);
                return;
        }
        if (strcmp(words[1], "hold") == 0 || strcmp(words[1], "go_on") == 0) {
                engine_hold(trace->engine, words[1][0] == 'h');
                return;
        }
        assert_true(count >= 3);
        if (is_order(trace, words, count))
                return;
        if (strcmp(words[1], "job") == 0) {
                add_job(trace, words[2], strchr(line, '{'));
                return;
        }
        struct event *event = &trace->events[trace->events_count];
        *event = (struct event){.handle = by_name(trace, words[2])->handle};
        if (strcmp(words[1], "looked_up") == 0) {
                event->kind = EVENT_LOOKED_UP;
                read_known(&event->known, words, count);
        } else if (strcmp(words[1], "opened") == 0) {
                event->kind = EVENT_OPENED;
        } else if (strcmp(words[1], "settled") == 0) {
                event->kind = EVENT_SETTLED;
        } else if (strcmp(words[1], "answer") == 0 || strcmp(words[1], "stale_answer") == 0) {
                event->kind = EVENT_ANSWER;
                if (words[1][0] == 's')
                        event->handle = by_name(trace, words[2])->before;
                event->answer = &trace->answers[trace->events_count];
                read_answer(&trace->answers[trace->events_count], words, count);
        } else {
                fail_msg("no such event: %s", line);
        }
        trace->events_count++;
}

static void step(struct trace *trace) {
        if (trace->stepped)
                return;
        trace->stepped = true;
        need_engine(trace);
        struct command items[COMMANDS_MAX];
        struct commands commands = {items, 0, COMMANDS_MAX};
        engine_step(trace->engine, now(trace), trace->events, trace->events_count, &commands);
        trace->events_count = 0;
        say_all(trace, &commands);
        if (engine_wake_ns(trace->engine) != INT64_MAX) {
                say_duration(trace, "< wake at ", engine_wake_ns(trace->engine) - START_NS);
                buffer_append_char(trace->out, '\n');
        }
        uint32_t endpoint;
        if (engine_stuck(trace->engine, now(trace), 60 * NS_PER_S, &endpoint))
                buffer_printf(trace->out, "< stuck at %s\n", trace->endpoints[endpoint].name);
}

static size_t split(char *line, char **words) {
        size_t count = 0;
        char *rest;
        for (char *word = strtok_r(line, " ", &rest); word && count < WORDS_MAX;
             word = strtok_r(NULL, " ", &rest))
                words[count++] = word;
        return count;
}

static void run_line(struct trace *trace, const char *line) {
        char copy[LINE_MAX_BYTES], *words[WORDS_MAX];
        snprintf(copy, sizeof(copy), "%s", line);
        size_t count = split(copy, words);
        bool event = count > 0 && strcmp(words[0], ">") == 0;
        if (count > 0 && strcmp(words[0], "<") == 0)
                return; /* what it was before; said anew by step() */
        if (!event && !trace->stepped)
                step(trace);
        buffer_append_string(trace->out, line);
        buffer_append_char(trace->out, '\n');
        if (count == 0 || words[0][0] == '#')
                return;
        if (event) {
                add_event(trace, words, count, line);
                trace->stepped = false;
        } else if (strcmp(words[0], "at") == 0) {
                assert_true(duration_parse(bytes_of(words[1]), &trace->now_ns));
                trace->wall_ahead_ms += duration(words, count, "wall", 0) / NS_PER_MS;
                trace->stepped = false;
        } else if (strcmp(words[0], "engine") == 0) {
                set_engine(trace, words, count);
        } else if (strcmp(words[0], "provider") == 0) {
                add_provider(trace, words, count);
        } else if (strcmp(words[0], "endpoint") == 0) {
                add_endpoint(trace, words, count);
        } else if (strcmp(words[0], "workspace") == 0) {
                add_workspace(trace, words, count);
        } else {
                fail_msg("cannot read: %s", line);
        }
}

static void free_job(void *userdata, struct job_spec *job) {
        (void)userdata;
        job_spec_free(job);
}

void trace_run(struct bytes text, struct buffer *out_text) {
        struct trace *trace = calloc(1, sizeof(*trace));
        assert_non_null(trace);
        trace->out = out_text;
        trace->stepped = true;
        set_engine(trace, NULL, 0);
        const char *at = text.data, *end = text.data + text.size;
        while (at < end) {
                const char *line_end = memchr(at, '\n', (size_t)(end - at));
                if (!line_end)
                        line_end = end;
                char line[LINE_MAX_BYTES];
                snprintf(line, sizeof(line), "%.*s", (int)(line_end - at), at);
                run_line(trace, line);
                at = line_end + 1;
        }
        step(trace);
        if (trace->engine)
                engine_each_job(trace->engine, free_job, NULL);
        engine_free(trace->engine);
        job_decoder_free(trace->decoder);
        for (size_t i = 0; i < trace->texts_count; i++)
                free(trace->texts[i]);
        free(trace);
}
