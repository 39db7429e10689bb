#include "broker/sim/answer_audio.h"

#include "broker/base/money.h"
#include "broker/sim/answer.h"
#include "broker/sim/wav.h"

#include <inttypes.h>

#define BYTES_PER_SECOND_GUESS 16000 /* of a file that is no WAV: 128 kbit/s */
#define TEXT_BYTES_PER_SECOND  12    /* how fast people talk */
#define TEXT_BYTES_MAX         65536
#define SPEECH_RATE_HZ         16000
#define SPEECH_MS_PER_BYTE     60
#define SPEECH_SAMPLES_MAX     (SPEECH_RATE_HZ * 60 * 5)
#define VOICE_RATE_HZ          8000
#define VOICE_TOKENS_MAX       (20 * 60 * 5)
#define VOICE_SAMPLES          (VOICE_RATE_HZ / 20) /* of a token */

static int64_t duration_ms_of(const struct sim_form *form) {
        int64_t duration_ms;

        if (!sim_wav_duration_ms(buffer_view(&form->head), form->files_bytes, &duration_ms))
                duration_ms = (int64_t)(form->files_bytes * 1000 / BYTES_PER_SECOND_GUESS);
        return duration_ms;
}

static void bill_minutes(const struct sim_order *order, int64_t duration_ms, struct sim_answer *answer) {
        int64_t millionths = (duration_ms * 50 + 2) / 3; /* of a minute, rounded up */

        answer->cost_picousd = money_add(
                answer->cost_picousd, money_per_million(order->settings->prices.minute_picousd, millionths));
}

static void append_time(int64_t ms, char fraction_mark, struct buffer *body) {
        buffer_printf(body, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 "%c%03" PRId64, ms / 3600000,
                      ms / 60000 % 60, ms / 1000 % 60, fraction_mark, ms % 1000);
}

static void append_captions(bool vtt, int64_t duration_ms, struct bytes text, struct buffer *body) {
        char mark = vtt ? '.' : ',';

        buffer_append_string(body, vtt ? "WEBVTT\n\n" : "1\n");
        append_time(0, mark, body);
        buffer_append_string(body, " --> ");
        append_time(duration_ms, mark, body);
        buffer_append_char(body, '\n');
        buffer_append_bytes(body, text);
        buffer_append_string(body, "\n\n");
}

static void append_verbose(const struct sim_order *order, int64_t duration_ms, struct bytes text,
                           struct buffer *body) {
        struct bytes language = sim_form_field(&order->request->form, SIM_FIELD_LANGUAGE);
        bool translation = order->request->endpoint == SIM_ENDPOINT_TRANSLATIONS;

        buffer_append_string(body, translation ? "{\"task\":\"translate\",\"language\":\""
                                               : "{\"task\":\"transcribe\",\"language\":\"");
        buffer_append_json_escaped(body, language.size > 0 && !translation ? language : BYTES("english"));
        buffer_printf(body, "\",\"duration\":%" PRId64 ".%03" PRId64 ",\"text\":\"", duration_ms / 1000,
                      duration_ms % 1000);
        buffer_append_json_escaped(body, text);
        buffer_printf(body,
                      "\",\"segments\":[{\"id\":0,\"seek\":0,\"start\":0.0,\"end\":%" PRId64 ".%03" PRId64,
                      duration_ms / 1000, duration_ms % 1000);
        buffer_append_string(body, ",\"temperature\":0.0,\"avg_logprob\":-0.2,\"compression_ratio\":1.2,"
                                   "\"no_speech_prob\":0.01,\"tokens\":[],\"text\":\"");
        buffer_append_json_escaped(body, text);
        buffer_append_string(body, "\"}]");
}

void sim_answer_transcription(const struct sim_order *order, struct sim_answer *answer) {
        const struct sim_form *form = &order->request->form;
        struct bytes format = sim_form_field(form, SIM_FIELD_RESPONSE_FORMAT);
        int64_t duration_ms = duration_ms_of(form),
                text_bytes = 32 + duration_ms / 1000 * TEXT_BYTES_PER_SECOND;
        struct buffer *body = &answer->body, text;
        bool verbose = bytes_equal_string(format, "verbose_json"), vtt = bytes_equal_string(format, "vtt");

        sim_answer_bill(order, order->request->prompt_tokens, 0, answer);
        bill_minutes(order, duration_ms, answer);
        buffer_init(&text, TEXT_BYTES_MAX + 128);
        text_bytes = text_bytes < TEXT_BYTES_MAX ? text_bytes : TEXT_BYTES_MAX;
        sim_answer_text(sim_hash_final(&form->files).hi, (struct bytes){0}, (size_t)text_bytes, &text);
        if (bytes_equal_string(format, "text")) {
                buffer_append_bytes(body, buffer_view(&text));
                buffer_append_char(body, '\n');
        } else if (vtt || bytes_equal_string(format, "srt")) {
                append_captions(vtt, duration_ms, buffer_view(&text), body);
        } else {
                if (verbose) {
                        append_verbose(order, duration_ms, buffer_view(&text), body);
                } else {
                        buffer_append_string(body, "{\"text\":\"");
                        buffer_append_json_escaped(body, buffer_view(&text));
                        buffer_append_char(body, '"');
                }
                sim_answer_usage_seconds(order, duration_ms, answer);
                buffer_append_char(body, '}');
        }
        if (body->size > 0 && body->data[0] != '{')
                answer->content_type = vtt ? "text/vtt; charset=utf-8" : "text/plain; charset=utf-8";
        buffer_deinit(&text);
}

/* A tone that steps with the bytes of the input: real samples, quick to make. */
static void append_samples(struct bytes input, uint32_t samples, struct buffer *body) {
        uint32_t phase = 0;

        for (uint32_t i = 0; i < samples; i++) {
                uint32_t byte = (unsigned char)input.data[(size_t)i * input.size / samples];
                uint16_t sample;

                phase += 400 + byte * 16;
                sample = (uint16_t)((phase & 0xffff) / 4);
                buffer_append(body, &sample, sizeof(sample));
        }
}

void sim_answer_append_voice(struct bytes text, int64_t tokens, struct buffer *body) {
        uint32_t samples = VOICE_SAMPLES * (uint32_t)(tokens < VOICE_TOKENS_MAX ? tokens : VOICE_TOKENS_MAX);

        sim_wav_append_header(VOICE_RATE_HZ, samples, body);
        append_samples(text, text.size > 0 ? samples : 0, body);
}

/*
 * Other formats than WAV and PCM get their magic bytes and, behind them, the samples: right by type, not to
 * be played.
 */
void sim_answer_speech(const struct sim_order *order, struct sim_answer *answer) {
        static const struct {
                const char *name, *content_type;
                struct bytes magic;
        } formats[] = {
                {"mp3", "audio/mpeg", {"\xff\xfb\x90\x64", 4}},
                {"opus", "audio/opus", {"OggS", 4}},
                {"aac", "audio/aac", {"\xff\xf1\x50\x80", 4}},
                {"flac", "audio/flac", {"fLaC", 4}},
                {"pcm", "audio/pcm", {"", 0}},
        };
        struct bytes input = sim_request_text(order->request, "input");
        struct bytes format = sim_request_text(order->request, "response_format");
        uint64_t samples = (uint64_t)input.size * SPEECH_MS_PER_BYTE * SPEECH_RATE_HZ / 1000;
        size_t i = 0, count = sizeof(formats) / sizeof(*formats);

        sim_answer_bill(order, order->request->prompt_tokens, 0, answer);
        samples = samples < SPEECH_SAMPLES_MAX ? samples : SPEECH_SAMPLES_MAX;
        bill_minutes(order, (int64_t)samples * 1000 / SPEECH_RATE_HZ, answer);
        while (i < count && !bytes_equal_string(format, formats[i].name))
                i++;
        if (i == count)
                sim_wav_append_header(SPEECH_RATE_HZ, (uint32_t)samples, &answer->body);
        else
                buffer_append_bytes(&answer->body, formats[i].magic);
        answer->content_type = i == count ? "audio/wav" : formats[i].content_type;
        append_samples(input, (uint32_t)samples, &answer->body);
}
