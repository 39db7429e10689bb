/*
 * A walk over the value with an explicit stack. What looks like media counts flat: an image at 1,100 tokens
 * (a 1024 px square at high detail is 765 at OpenAI; 1,100 covers the other providers' usual sizes). Sound
 * counts by how long its header says that it plays, at 32 tokens a second: what Gemini takes, and nobody
 * more (OpenAI 10, Voxtral 12.5, Qwen 25). A header is not believed that makes it shorter than the bytes
 * play at 1,536 kbit/s (48 kHz, stereo); where there is none, the bytes count as if they were packed speech.
 */
#include "broker/wire/estimate.h"

#include "broker/base/audio.h"
#include "broker/base/check.h"
#include "broker/wire/canonical.h"
#include "workers/routing/kind.h"

#include <string.h>
#include <yyjson.h>

enum {
        BYTES_PER_TOKEN = 3,
        TOKENS_PER_MESSAGE = 8,
        TOKENS_PER_IMAGE = 1100,
        TOKENS_PER_SCHEMA_NAME = 3, /* quotes, colon, comma */
        AUDIO_TOKENS_PER_S = 32,
        AUDIO_BASE64_PER_TOKEN = 100,      /* at 19 kbit/s, 32 tokens a second */
        AUDIO_BASE64_PER_TOKEN_MAX = 8000, /* at 1,536 kbit/s */
};

struct level {
        yyjson_val *next; /* a name in an object, an item in an array */
        size_t left;
        bool object, audio;
};

struct walk {
        struct level levels[JSON_DEPTH_MAX + 1];
        unsigned depth;
        bool schema;
        int64_t bytes;
        struct estimate sum;
};

static void push(struct walk *walk, yyjson_val *container, bool audio) {
        CHECK(walk->depth <= JSON_DEPTH_MAX);
        struct level *level = &walk->levels[walk->depth++];
        level->object = unsafe_yyjson_is_obj(container);
        level->left = unsafe_yyjson_get_len(container);
        level->next = unsafe_yyjson_get_first(container);
        level->audio = audio;
}

static bool is_media_name(struct bytes name) {
        return bytes_equal_string(name, "image_url") || bytes_equal_string(name, "video_url");
}

/* What a content part with a member of that name is, in chat and in responses; 0: text. */
static uint32_t media_of(struct bytes name) {
        static const struct {
                const char *name;
                enum modality modality;
        } parts[] = {{"image_url", MODALITY_IMAGE}, {"video_url", MODALITY_VIDEO},
                     {"file", MODALITY_FILE},       {"input_audio", MODALITY_AUDIO},
                     {"file_id", MODALITY_FILE},    {"file_data", MODALITY_FILE},
                     {"file_url", MODALITY_FILE}};
        for (size_t i = 0; name.size >= 4 && i < sizeof parts / sizeof *parts; i++)
                if (bytes_equal_string(name, parts[i].name))
                        return UINT32_C(1) << parts[i].modality;
        return 0;
}

/* Some want base64 as a data: URL. */
static struct bytes base64_of(struct bytes text) {
        const char *comma = text.size > 5 && memcmp(text.data, "data:", 5) == 0
                                    ? memchr(text.data, ',', text.size)
                                    : NULL;
        size_t head = comma ? (size_t)(comma - text.data) + 1 : 0;
        return (struct bytes){text.data + head, text.size - head};
}

static int64_t tokens_of_audio(struct bytes text) {
        int64_t ms = audio_base64_ms(base64_of(text));
        if (ms < 0)
                return (int64_t)text.size / AUDIO_BASE64_PER_TOKEN + 1;
        int64_t tokens = ms * AUDIO_TOKENS_PER_S / 1000,
                least = (int64_t)text.size / AUDIO_BASE64_PER_TOKEN_MAX;
        return (tokens > least ? tokens : least) + 1;
}

static void count_audio(struct walk *walk, struct bytes text) {
        int64_t tokens = tokens_of_audio(text);
        walk->sum.tokens += tokens;
        walk->sum.audio_tokens += tokens;
}

static void count_leaf(struct walk *walk, yyjson_val *value, bool audio) {
        if (!unsafe_yyjson_is_str(value)) {
                walk->sum.tokens += unsafe_yyjson_is_raw(value); /* an item of a token list */
                return;
        }
        struct bytes text = {value->uni.str, unsafe_yyjson_get_len(value)};
        if (audio)
                count_audio(walk, text);
        else if (text.size >= 64 && memcmp(text.data, "data:", 5) == 0)
                walk->sum.tokens += TOKENS_PER_IMAGE;
        else
                walk->bytes += (int64_t)text.size;
}

static void visit(struct walk *walk, yyjson_val *value, bool audio) {
        if (unsafe_yyjson_is_ctn(value))
                push(walk, value, audio);
        else
                count_leaf(walk, value, audio);
}

static void visit_member(struct walk *walk, yyjson_val *name, yyjson_val *value, bool audio) {
        struct bytes text = {name->uni.str, unsafe_yyjson_get_len(name)};
        if (!walk->schema)
                walk->sum.media |= media_of(text);
        if (walk->schema) {
                walk->bytes += (int64_t)text.size;
                walk->sum.tokens += TOKENS_PER_SCHEMA_NAME;
        }
        if (!walk->schema && is_media_name(text)) {
                walk->sum.tokens += TOKENS_PER_IMAGE;
                walk->sum.image_tokens += bytes_equal_string(text, "image_url") ? TOKENS_PER_IMAGE : 0;
        } else {
                visit(walk, value, audio || (!walk->schema && bytes_equal_string(text, "input_audio")));
        }
}

static void step(struct walk *walk) {
        struct level *level = &walk->levels[walk->depth - 1];
        if (level->left == 0) {
                walk->depth--;
                return;
        }
        level->left--;
        yyjson_val *at = level->next;
        if (level->object) {
                yyjson_val *value = at + 1;
                level->next = unsafe_yyjson_get_next(value);
                visit_member(walk, at, value, level->audio);
        } else {
                level->next = unsafe_yyjson_get_next(at);
                if (unsafe_yyjson_is_obj(at))
                        walk->sum.tokens += TOKENS_PER_MESSAGE;
                visit(walk, at, level->audio);
        }
}

static void run(yyjson_val *value, bool schema, struct estimate *sum) {
        struct walk walk;
        if (value == NULL || unsafe_yyjson_is_null(value))
                return;
        walk.depth = 0;
        walk.schema = schema;
        walk.bytes = 0;
        walk.sum = *sum;
        visit(&walk, value, false);
        while (walk.depth > 0)
                step(&walk);
        *sum = walk.sum;
        sum->tokens += (walk.bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN;
}

void estimate_add(struct yyjson_val *content, struct estimate *sum) {
        run(content, false, sum);
}

int64_t estimate_schema_tokens(struct yyjson_val *schema) {
        struct estimate sum = {0};
        if (yyjson_is_ctn(schema))
                run(schema, true, &sum);
        return sum.tokens;
}
