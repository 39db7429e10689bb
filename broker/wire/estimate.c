/*
 * A walk over the value with an explicit stack. What looks like media counts flat: an image at 1,100 tokens
 * (a 1024 px square at high detail is 765 at OpenAI; 1,100 covers the other providers' usual sizes).
 */
#include "broker/wire/estimate.h"

#include "broker/base/check.h"
#include "broker/wire/canonical.h"
#include "workers/routing/kind.h"

#include <string.h>
#include <yyjson.h>

enum {
        BYTES_PER_TOKEN = 3,
        TOKENS_PER_MESSAGE = 8,
        TOKENS_PER_IMAGE = 1100,
        TOKENS_PER_SCHEMA_NAME = 3,   /* quotes, colon, comma */
        AUDIO_BASE64_PER_TOKEN = 100, /* at 32 kbit/s, ten tokens a second */
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
        int64_t bytes, tokens;
        uint32_t media;
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

static void count_leaf(struct walk *walk, yyjson_val *value, bool audio) {
        if (!unsafe_yyjson_is_str(value)) {
                walk->tokens += unsafe_yyjson_is_raw(value); /* an item of a token list */
                return;
        }
        struct bytes text = {value->uni.str, unsafe_yyjson_get_len(value)};
        if (audio)
                walk->tokens += (int64_t)text.size / AUDIO_BASE64_PER_TOKEN + 1;
        else if (text.size >= 64 && memcmp(text.data, "data:", 5) == 0)
                walk->tokens += TOKENS_PER_IMAGE;
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
                walk->media |= media_of(text);
        if (walk->schema) {
                walk->bytes += (int64_t)text.size;
                walk->tokens += TOKENS_PER_SCHEMA_NAME;
        }
        if (!walk->schema && is_media_name(text))
                walk->tokens += TOKENS_PER_IMAGE;
        else
                visit(walk, value, audio || (!walk->schema && bytes_equal_string(text, "input_audio")));
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
                        walk->tokens += TOKENS_PER_MESSAGE;
                visit(walk, at, level->audio);
        }
}

static int64_t run(yyjson_val *value, bool schema, uint32_t *media) {
        struct walk walk;
        if (value == NULL || unsafe_yyjson_is_null(value))
                return 0;
        walk.depth = 0;
        walk.schema = schema;
        walk.bytes = walk.tokens = 0;
        walk.media = 0;
        visit(&walk, value, false);
        while (walk.depth > 0)
                step(&walk);
        *media |= walk.media;
        return walk.tokens + (walk.bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN;
}

int64_t estimate_tokens(struct yyjson_val *content, uint32_t *media) {
        return run(content, false, media);
}

int64_t estimate_schema_tokens(struct yyjson_val *schema) {
        uint32_t unused = 0;
        return yyjson_is_ctn(schema) ? run(schema, true, &unused) : 0;
}
