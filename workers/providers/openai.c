/*
 * How a job is asked and how an answer is read, in the OpenAI shape. Everything from outside is taken as
 * hostile: parsed once, within limits, and never trusted to be of the type it should be.
 */
#include "workers/providers/openai.h"

#include "broker/base/minmax.h"
#include "workers/providers/classify.h"
#include "workers/providers/form.h"
#include "workers/providers/parse.h"
#include "workers/providers/secret.h"
#include "workers/providers/sentence.h"
#include "workers/providers/splice.h"
#include "workers/providers/usable.h"
#include "workers/providers/usage.h"
#include "workers/providers/vectors.h"
#include "workers/providers/waits.h"
#include "workers/providers/walk.h"

#include <string.h>

enum { ERROR_TEXT_MAX = 500 };

/* ---- asking ---- */

bool base_url_split(const char *base_url, struct base_url *out_base) {
        struct bytes whole = bytes_of(base_url), query = {0};
        const char *mark, *host, *slash;

        if (whole.size == 0)
                return false;
        for (size_t i = 0; i < whole.size; i++)
                if ((unsigned char)whole.data[i] <= 0x20 || whole.data[i] == 0x7f)
                        return false;
        mark = memchr(whole.data, '?', whole.size);
        if (mark != NULL) {
                query = (struct bytes){mark + 1, whole.size - (size_t)(mark + 1 - whole.data)};
                whole.size = (size_t)(mark - whole.data);
        }
        while (whole.size > 0 && whole.data[whole.size - 1] == '/')
                whole.size--;
        host = memmem(whole.data, whole.size, "://", 3);
        host = host == NULL ? whole.data : host + 3;
        slash = memchr(host, '/', whole.size - (size_t)(host - whole.data));
        *out_base = (struct base_url){.whole = whole, .query = query};
        if (slash != NULL)
                out_base->path = (struct bytes){slash, whole.size - (size_t)(slash - whole.data)};
        return whole.size > 0;
}

static bool openai_url(const struct provider *provider, const struct endpoint *endpoint, enum kind kind,
                       struct bytes model, struct buffer *out_url) {
        struct base_url base;

        (void)endpoint;
        (void)model;
        if (!base_url_split(provider->base_url, &base))
                return false;
        buffer_append_bytes(out_url, base.whole);
        if (base.path.size == 0)
                buffer_append_string(out_url, "/v1");
        buffer_append_string(out_url, kind_facts[kind].url + strlen("/v1"));
        if (base.query.size > 0)
                buffer_append_char(out_url, '?');
        buffer_append_bytes(out_url, base.query);
        return !out_url->failed;
}

static void openai_auth(struct bytes key, struct buffer *out_header) {
        buffer_append_string(out_header, "Authorization: Bearer ");
        buffer_append_bytes(out_header, key);
}

static bool cannot_say(const char *why, struct answer *out_answer) {
        struct sentence sentence;

        answer_init(out_answer);
        out_answer->verdict = VERDICT_REJECTED;
        out_answer->failure = FAILURE_INVALID_JOB;
        sentence_init(&sentence, out_answer->message, sizeof(out_answer->message));
        sentence_add(&sentence, why);
        return false;
}

bool openai_request(const struct job_spec *job, struct bytes model, struct request *out_request,
                    struct answer *out_answer) {
        const char *why = NULL;

        buffer_clear(&out_request->body);
        out_request->parts_count = 0;
        if (kind_facts[job->demand.kind].request == REQUEST_MULTIPART)
                return form_fields(job, model, out_request, &why) || cannot_say(why, out_answer);
        splice_body(job, model, &out_request->body);
        return !out_request->body.failed || cannot_say("the request is larger than allowed", out_answer);
}

/* ---- what kind of bytes came back ---- */

enum form_of_answer { FORM_JSON, FORM_TEXT, FORM_AUDIO };

static bool is_success(int32_t status) {
        return status >= 200 && status <= 299;
}

static bool holds(struct bytes text, const char *part) {
        return text.size > 0 && memmem(text.data, text.size, part, strlen(part)) != NULL;
}

/*
 * Only a success can be something else than JSON; what says that it is JSON or a page, or looks like it
 * unsaid, is read as such.
 */
static enum form_of_answer form_of(const struct job_spec *job, int32_t status, struct bytes content_type,
                                   struct bytes body) {
        bool audio = job->demand.kind == KIND_SPEECH, text = usable_is_text(job);
        char first = body.size == 0 ? '\0' : body.data[0];

        if (!is_success(status) || (!audio && !text) || holds(content_type, "json") ||
            holds(content_type, "html"))
                return FORM_JSON;
        if ((content_type.size == 0 || (audio && bytes_starts_with(content_type, "text/"))) &&
            (first == '{' || first == '<'))
                return FORM_JSON;
        return audio ? FORM_AUDIO : FORM_TEXT;
}

/* ---- reading ---- */

/* One reading: what is known when an answer turns out to be no result. */
struct reading {
        const struct job_spec *job;
        const struct response *response;
        struct header_facts facts;
        struct answer *answer;
};

static void set_verdict(struct answer *answer, enum verdict verdict) {
        answer->verdict = verdict;
        answer->failure = classify_failure(verdict);
}

/* "HTTP 429 rate_limit_exceeded: Rate limit reached ..." */
static void set_message(struct reading *reading, struct bytes word, struct bytes text) {
        struct answer *answer = reading->answer;
        bool strict = answer->verdict == VERDICT_AUTH;
        char status[16];
        struct sentence sentence;
        struct buffer number;

        sentence_init(&sentence, answer->message, sizeof(answer->message));
        buffer_init(&number, sizeof(status));
        buffer_append_i64(&number, answer->status);
        sentence_add(&sentence, "HTTP ");
        sentence_add_foreign(&sentence, buffer_view(&number), false);
        buffer_deinit(&number);
        if (word.size > 0) {
                sentence_add(&sentence, " ");
                sentence_add_foreign(&sentence, word, strict);
        }
        sentence_add(&sentence, ": ");
        sentence_add_foreign(&sentence, text, strict);
}

/* Gemini's day begins at midnight in California; in summer an hour earlier, which then costs an hour. */
enum { PACIFIC_HOURS = 8 };

/*
 * Headers first, then the body, then what the rate limits imply, then the sentence (providers.md 12.3). A
 * refusal that does not say how long waits until the limit is whole again: one more unit is too little for
 * all who were refused together.
 */
static int64_t told_wait(const struct reading *reading, const struct refusal *refusal) {
        if (reading->facts.wait_ns >= 0)
                return reading->facts.wait_ns;
        if (refusal->wait_ns >= 0)
                return refusal->wait_ns;
        if (reading->facts.reset_ns > 0 && reading->answer->verdict == VERDICT_THROTTLED)
                return reading->facts.reset_ns;
        int64_t wait_ns = wait_of_message(refusal->message);
        return wait_ns >= 0 ? wait_ns
                            : wait_of_date_in_message(refusal->message, reading->response->now_unix_ms);
}

/* What is used up for the day and does not say until when. */
static int64_t until_tomorrow(const struct reading *reading, enum quota_day day) {
        return wait_of_day(day == QUOTA_DAY_PACIFIC ? PACIFIC_HOURS : 0, reading->response->now_unix_ms);
}

static void set_wait(struct reading *reading, const struct refusal *refusal) {
        struct answer *answer = reading->answer;
        int64_t wait_ns = told_wait(reading, refusal);
        enum quota_day day = QUOTA_DAY_NONE;

        if (answer->verdict == VERDICT_THROTTLED || answer->verdict == VERDICT_PAUSE)
                day = classify_day(refusal);
        switch (answer->verdict) {
        case VERDICT_RETRY:
        case VERDICT_UNUSABLE:
        case VERDICT_THROTTLED:
        case VERDICT_OVERLOADED:
                answer->wait_ns =
                        wait_ns < 0 && day != QUOTA_DAY_NONE ? until_tomorrow(reading, day) : wait_ns;
                answer->endpoint_only = answer->wait_ns > WAIT_HELD_NS;
                if (answer->endpoint_only)
                        set_verdict(answer, VERDICT_PAUSE);
                return;
        case VERDICT_PAUSE:
                /* neither money nor a day's quota comes back within minutes, whatever a header says */
                answer->wait_ns = wait_ns > WAIT_HELD_NS ? wait_ns : -1;
                answer->endpoint_only = day != QUOTA_DAY_NONE;
                if (answer->wait_ns < 0 && answer->endpoint_only)
                        answer->wait_ns = until_tomorrow(reading, day);
                return;
        case VERDICT_OK:
        case VERDICT_REJECTED:
        case VERDICT_CONTENT_REFUSED:
        case VERDICT_OTHER_MODEL:
        case VERDICT_AUTH:
        case VERDICT_NOT_SENT:
        case VERDICT_UNKNOWN:
        case VERDICT_INPUT:
        case VERDICT_INPUT_RETRY:
                return;
        }
}

static void refuse(struct reading *reading, const struct refusal *refusal) {
        struct bytes word = refusal->words_count > 0 ? refusal->words[0] : (struct bytes){0};

        set_verdict(reading->answer, classify(reading->response->status, refusal, reading->facts.retry));
        set_wait(reading, refusal);
        set_message(reading, word, refusal->message.size > 0 ? refusal->message : BYTES("no message"));
}

/* A body that no parser takes. */
static void refuse_unreadable(struct reading *reading, struct bytes body) {
        struct refusal refusal;

        if (body.size == 0)
                refusal_of_text(BYTES("an empty body"), &refusal);
        else if (body.data[0] == '<')
                refusal_of_text(BYTES("an HTML page instead of JSON"), &refusal);
        else if (is_success(reading->response->status))
                refusal_of_text(BYTES("a body that is not JSON, or is cut"), &refusal);
        else
                refusal_of_text(body, &refusal);
        refuse(reading, &refusal);
}

static void unusable(struct reading *reading, const char *why) {
        set_verdict(reading->answer, VERDICT_UNUSABLE);
        set_message(reading, (struct bytes){0}, bytes_of(why));
}

/* What the provider does not tell is known from the job. */
static void complete_usage(struct reading *reading) {
        const struct demand *demand = &reading->job->demand;
        struct usage *usage = &reading->answer->usage;

        if (demand->kind == KIND_SPEECH && usage->characters < 0 && demand->characters > 0)
                usage->characters = demand->characters;
        if ((demand->kind == KIND_TRANSCRIPTIONS || demand->kind == KIND_TRANSLATIONS) &&
            usage->audio_ms < 0 && demand->audio_ms > 0)
                usage->audio_ms = demand->audio_ms;
}

static void read_success(struct reading *reading, struct yyjson_val *root, struct bytes body) {
        struct answer *answer = reading->answer;
        const char *why = "";
        enum verdict verdict = usable_json(reading->job, root, &answer->usage, &why);

        set_verdict(answer, verdict);
        if (verdict != VERDICT_OK)
                set_message(reading, (struct bytes){0}, bytes_of(why));
        usage_read(root, &answer->usage);
        complete_usage(reading);
        answer->cost_known = usage_cost_read(root, body, &answer->cost_picousd);
}

static void read_json(struct reading *reading) {
        const struct response *response = reading->response;
        struct bytes body = walk_trim(response->body);
        struct refusal refusal;
        struct parse parse;

        if (!parse_begin(&parse, body)) {
                refuse_unreadable(reading, body);
                return;
        }
        reading->answer->is_json = true;
        refusal_read(parse.root, is_success(response->status), response->now_unix_ms, &refusal);
        if (refusal.present || !is_success(response->status)) {
                refuse(reading, &refusal);
                if (is_success(response->status)) {
                        usage_read(parse.root, &reading->answer->usage);
                        reading->answer->cost_known =
                                usage_cost_read(parse.root, body, &reading->answer->cost_picousd);
                }
        } else {
                read_success(reading, parse.root, body);
        }
        parse_end(&parse);
}

/* What this call took from the limit of tokens: as it says itself, else as the job lets expect. */
static int64_t tokens_used(const struct job_spec *job, const struct usage *usage) {
        int64_t input = usage_input_tokens(usage);
        return (input > 0 ? input : job->demand.input_tokens) + max64(usage->output_tokens, 0);
}

static void read_body(struct reading *reading) {
        const struct response *response = reading->response;

        if (form_of(reading->job, response->status, reading->facts.content_type, response->body) ==
            FORM_JSON) {
                read_json(reading);
                return;
        }
        if (response->body.size == 0) {
                unusable(reading, "an empty body");
                return;
        }
        set_verdict(reading->answer, VERDICT_OK);
        complete_usage(reading);
}

void openai_read(const struct job_spec *job, const struct response *response, struct answer *out_answer) {
        struct reading reading = {.job = job, .response = response, .answer = out_answer};

        answer_init(out_answer);
        out_answer->status = response->status;
        header_facts_read(response->headers, response->now_unix_ms, &reading.facts);
        read_body(&reading);
        out_answer->requests_blocked_ns = reading.facts.requests_blocked_ns;
        out_answer->tokens_blocked_ns = tokens_blocked(&reading.facts, tokens_used(job, &out_answer->usage));
}

/* ---- rendering ---- */

static void render_error_text(const struct response *response, struct bytes body, struct buffer *out_json) {
        char text[ERROR_TEXT_MAX + 1];
        struct sentence sentence;

        sentence_init(&sentence, text, sizeof(text));
        sentence_add_foreign(&sentence, body, response->status == 401 || response->status == 403);
        if (sentence.size == 0)
                sentence_add(&sentence, "the provider answered with an empty body");
        buffer_append_string(out_json, "{\"error\":{\"message\":\"");
        buffer_append_json_escaped(out_json, (struct bytes){text, sentence.size});
        buffer_append_string(out_json, "\",\"type\":null,\"param\":null,\"code\":null}}");
}

static void render_audio(struct bytes content_type, struct bytes body, struct buffer *out_json) {
        buffer_append_string(out_json, "{\"object\":\"audio.speech\",\"content_type\":\"");
        buffer_append_json_escaped(out_json,
                                   content_type.size == 0 ? BYTES("application/octet-stream") : content_type);
        buffer_append_string(out_json, "\",\"bytes\":");
        buffer_append_u64(out_json, body.size);
        buffer_append_string(out_json, ",\"b64\":\"");
        buffer_append_base64(out_json, body.data, body.size);
        buffer_append_string(out_json, "\"}");
}

static bool has_line_end(struct bytes text) {
        return text.size > 0 &&
               (memchr(text.data, '\n', text.size) != NULL || memchr(text.data, '\r', text.size) != NULL);
}

/* Valid JSON on one line. */
static void render_line(const struct job_spec *job, const struct response *response, struct bytes line,
                        struct buffer *out_json) {
        enum vector_format format = job->vector_format;

        if (!is_success(response->status))
                secret_append_redacted(out_json, line, response->status == 401 || response->status == 403);
        else if (job->demand.kind == KIND_EMBEDDINGS && format != VECTOR_OTHER)
                vectors_append_answer(out_json, line, format == VECTOR_BASE64);
        else
                buffer_append_bytes(out_json, line);
}

static bool can_be_parsed(struct bytes body) {
        struct parse parse;

        if (!parse_begin(&parse, body))
                return false;
        parse_end(&parse);
        return true;
}

static void render_json(const struct job_spec *job, const struct response *response,
                        struct buffer *out_json) {
        struct bytes body = walk_trim(response->body);
        struct buffer line;

        if (!response->is_json && !can_be_parsed(body)) {
                render_error_text(response, body, out_json);
                return;
        }
        if (!has_line_end(body)) {
                render_line(job, response, body, out_json);
                return;
        }
        buffer_init(&line, body.size);
        walk_append_line(&line, body);
        render_line(job, response, buffer_view(&line), out_json);
        out_json->failed = out_json->failed || line.failed;
        buffer_deinit(&line);
}

void openai_render(const struct job_spec *job, const struct response *response, struct buffer *out_json) {
        struct header_facts facts = {.wait_ns = -1};

        if (job->demand.kind == KIND_SPEECH || usable_is_text(job))
                header_facts_read(response->headers, response->now_unix_ms, &facts);
        switch (form_of(job, response->status, facts.content_type, response->body)) {
        case FORM_JSON:
                render_json(job, response, out_json);
                return;
        case FORM_AUDIO:
                render_audio(facts.content_type, response->body, out_json);
                return;
        case FORM_TEXT:
                buffer_append_string(out_json, "{\"text\":\"");
                buffer_append_json_escaped(out_json, response->body);
                buffer_append_string(out_json, "\"}");
                return;
        }
}

const struct dialect openai_dialect = {
        .name = "openai",
        .url = openai_url,
        .auth = openai_auth,
        .request = openai_request,
        .read = openai_read,
        .render = openai_render,
};
