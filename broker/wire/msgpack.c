/*
 * Both directions walk without recursion and keep at most MSGPACK_DEPTH_MAX open containers. Reading is ours
 * (msgpack_reader.h says why), writing is msgpack-c's; JSON is read and floats are written by yyjson.
 */
#include "broker/wire/msgpack.h"

#include "broker/wire/canonical.h"
#include "broker/wire/msgpack_reader.h"

#include <msgpack/pack.h>
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

enum { SHOWN_NAME_MAX = 64, NUMBER_MAX = 40, NUMBER_POOL_BYTES = 512 };

/* An open array or map. */
struct frame {
        bool map;
        uint32_t left, done; /* elements or pairs; the one under way counts as done */
        struct bytes name;   /* map: of the pair under way */
};

struct transcoder {
        struct msgpack_reader reader;
        size_t part_at; /* where the last part began */
        struct buffer *out;
        struct problem *problem;
        enum msgpack_outcome outcome; /* why it stopped */
        struct frame frames[MSGPACK_DEPTH_MAX];
        unsigned depth;
};

/* ---- refusing ---- */

/* Where in the message the walk stands: body.messages[2].content; empty for the whole. */
static void name_place(const struct transcoder *transcoder, char *out, size_t capacity) {
        size_t used = 0;
        out[0] = '\0';
        for (unsigned i = 0; i < transcoder->depth && used < capacity; i++) {
                const struct frame *frame = &transcoder->frames[i];
                char name[SHOWN_NAME_MAX];
                if (frame->map && frame->name.data != NULL) {
                        problem_quote(frame->name, name, sizeof name);
                        used += (size_t)snprintf(out + used, capacity - used, "%s%s", i == 0 ? "" : ".",
                                                 name);
                } else if (!frame->map && frame->done > 0) {
                        used += (size_t)snprintf(out + used, capacity - used, "[%u]", frame->done - 1);
                }
        }
}

/* `sentence` goes on from the name of the place: "must be valid UTF-8". */
static bool refuse(struct transcoder *transcoder, const char *sentence) {
        char place[PROBLEM_FIELD_MAX];
        size_t at = transcoder->part_at + 1; /* counted from 1, as the JSON parser's are */
        transcoder->outcome = MSGPACK_REFUSED;
        name_place(transcoder, place, sizeof place);
        if (place[0] == '\0')
                return problem_in(transcoder->problem, "", "The MessagePack value %s (at byte %zu).",
                                  sentence, at);
        return problem_in(transcoder->problem, place, "%s (at byte %zu)", sentence, at);
}

/* ---- text ---- */

static bool stop(struct transcoder *transcoder, enum msgpack_outcome outcome) {
        transcoder->outcome = outcome;
        return false;
}

static bool put(struct transcoder *transcoder, const char *text, size_t size) {
        struct buffer *out = transcoder->out;
        if (size > out->size_max - out->size)
                return stop(transcoder, MSGPACK_TOO_LARGE);
        buffer_append(out, text, size);
        return !out->failed || stop(transcoder, MSGPACK_NO_MEMORY);
}

static bool put_char(struct transcoder *transcoder, char c) {
        return put(transcoder, &c, 1);
}

static bool put_word(struct transcoder *transcoder, const char *word) {
        return put(transcoder, word, strlen(word));
}

static bool is_continued(const unsigned char *at, size_t count) {
        for (size_t i = 1; i <= count; i++)
                if ((at[i] & 0xC0) != 0x80)
                        return false;
        return true;
}

/*
 * The length of the character that begins at `at` with a byte above 7f, or 0: Unicode 15, table 3-7, so no
 * surrogates and no longer form than needed.
 */
static size_t character_size(const unsigned char *at, size_t size) {
        unsigned char c = at[0];
        if (c >= 0xC2 && c <= 0xDF)
                return size >= 2 && is_continued(at, 1) ? 2 : 0;
        if (c >= 0xE0 && c <= 0xEF) {
                if (size < 3 || !is_continued(at, 2) || (c == 0xE0 && at[1] < 0xA0) ||
                    (c == 0xED && at[1] > 0x9F))
                        return 0;
                return 3;
        }
        if (c < 0xF0 || c > 0xF4 || size < 4 || !is_continued(at, 3) || (c == 0xF0 && at[1] < 0x90) ||
            (c == 0xF4 && at[1] > 0x8F))
                return 0;
        return 4;
}

static bool is_utf8(struct bytes text) {
        const unsigned char *at = (const unsigned char *)text.data;
        size_t left = text.size;
        while (left > 0) {
                uint64_t word = UINT64_MAX;
                if (left >= sizeof word)
                        memcpy(&word, at, sizeof word);
                size_t step = (word & UINT64_C(0x8080808080808080)) == 0 ? sizeof word
                              : at[0] < 0x80                             ? 1
                                                                         : character_size(at, left);
                if (step == 0)
                        return false;
                at += step;
                left -= step;
        }
        return true;
}

/* Of what canonical_string() writes. */
static size_t escaped_size(struct bytes text) {
        size_t size = 2;
        for (size_t i = 0; i < text.size; i++) {
                unsigned char c = (unsigned char)text.data[i];
                size += c < 0x20 ? 6 : c == '"' || c == '\\' ? 2 : 1;
        }
        return size;
}

static bool put_string(struct transcoder *transcoder, struct bytes text) {
        struct buffer *out = transcoder->out;
        size_t start = out->size;
        if (!is_utf8(text))
                return refuse(transcoder, "must be valid UTF-8");
        canonical_string(out, text);
        if (!out->failed)
                return true;
        return stop(transcoder,
                    escaped_size(text) > out->size_max - start ? MSGPACK_TOO_LARGE : MSGPACK_NO_MEMORY);
}

static bool put_uint(struct transcoder *transcoder, uint64_t number) {
        char text[NUMBER_MAX];
        return put(transcoder, text, (size_t)snprintf(text, sizeof text, "%ju", (uintmax_t)number));
}

static bool put_int(struct transcoder *transcoder, int64_t number) {
        char text[NUMBER_MAX];
        return put(transcoder, text, (size_t)snprintf(text, sizeof text, "%jd", (intmax_t)number));
}

static bool put_float(struct transcoder *transcoder, double number) {
        _Alignas(16) char memory[NUMBER_POOL_BYTES];
        yyjson_val value = {.tag = YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL, .uni = {.f64 = number}};
        yyjson_alc pool;
        size_t size;
        if (!__builtin_isfinite(number))
                return refuse(transcoder, "must be a finite number");
        yyjson_alc_pool_init(&pool, memory, sizeof memory);
        char *text = yyjson_val_write_opts(&value, 0, &pool, &size, NULL);
        return text == NULL ? stop(transcoder, MSGPACK_NO_MEMORY) : put(transcoder, text, size);
}

/* ---- MessagePack to JSON ---- */

static size_t position(const struct transcoder *transcoder) {
        return (size_t)(transcoder->reader.at - transcoder->reader.begin);
}

static bool next(struct transcoder *transcoder, struct msgpack_part *out_part) {
        transcoder->part_at = position(transcoder);
        return msgpack_next(&transcoder->reader, out_part) ||
               refuse(transcoder, msgpack_reader_at_end(&transcoder->reader)
                                          ? "ends too early"
                                          : "is cut short, or no MessagePack");
}

static bool open_container(struct transcoder *transcoder, const struct msgpack_part *part) {
        bool map = part->type == MSGPACK_MAP;
        if (transcoder->depth == MSGPACK_DEPTH_MAX)
                return refuse(transcoder, "is nested deeper than 64 levels");
        transcoder->frames[transcoder->depth++] = (struct frame){.map = map, .left = part->count};
        return put_char(transcoder, map ? '{' : '[');
}

static bool put_value(struct transcoder *transcoder) {
        struct msgpack_part part;
        if (!next(transcoder, &part))
                return false;
        switch (part.type) {
        case MSGPACK_NIL:
                return put_word(transcoder, "null");
        case MSGPACK_BOOL:
                return put_word(transcoder, part.boolean ? "true" : "false");
        case MSGPACK_UINT:
                return put_uint(transcoder, part.uint);
        case MSGPACK_INT:
                return put_int(transcoder, part.sint);
        case MSGPACK_FLOAT:
                return put_float(transcoder, part.real);
        case MSGPACK_STR:
                return put_string(transcoder, part.bytes);
        case MSGPACK_BIN:
                return refuse(transcoder, "must not be binary (bin); bytes are base64 text");
        case MSGPACK_EXT:
                return refuse(transcoder, "must not be an extension (ext); times are RFC 3339 text");
        case MSGPACK_ARRAY:
        case MSGPACK_MAP:
                return open_container(transcoder, &part);
        }
        return false;
}

/* The name of the next pair; until it is known, the place is that of the map. */
static bool put_name(struct transcoder *transcoder, struct frame *frame) {
        struct msgpack_part part;
        frame->name = (struct bytes){NULL, 0};
        if (!next(transcoder, &part))
                return false;
        if (part.type != MSGPACK_STR)
                return refuse(transcoder, "must have names that are strings (str)");
        if (!put_string(transcoder, part.bytes))
                return false;
        frame->name = part.bytes;
        return put_char(transcoder, ':');
}

static bool put_next(struct transcoder *transcoder) {
        struct frame *frame = &transcoder->frames[transcoder->depth - 1];
        if (frame->left == 0) {
                transcoder->depth--;
                return put_char(transcoder, frame->map ? '}' : ']');
        }
        frame->left--;
        return (frame->done++ == 0 || put_char(transcoder, ',')) &&
               (!frame->map || put_name(transcoder, frame)) && put_value(transcoder);
}

enum msgpack_outcome msgpack_to_json(struct bytes message, struct buffer *out, struct problem *out_problem) {
        struct transcoder transcoder = {.out = out, .problem = out_problem};
        size_t start = out->size;
        msgpack_reader_init(&transcoder.reader, message);
        bool written = put_value(&transcoder);
        while (written && transcoder.depth > 0)
                written = put_next(&transcoder);
        transcoder.part_at = position(&transcoder);
        if (written && !msgpack_reader_at_end(&transcoder.reader))
                written = refuse(&transcoder, "goes on behind its end");
        if (written)
                return MSGPACK_DONE;
        out->size = start;
        out->failed = transcoder.outcome == MSGPACK_NO_MEMORY;
        return transcoder.outcome;
}

/* ---- JSON to MessagePack ---- */

struct packed {
        struct buffer *out;
        bool full; /* the ceiling, not memory, stopped it */
};

static int write_packed(void *userdata, const char *data, size_t size) {
        struct packed *packed = userdata;
        if (size > packed->out->size_max - packed->out->size)
                packed->full = true;
        else
                buffer_append(packed->out, data, size);
        return packed->full || packed->out->failed ? -1 : 0;
}

static void pack_value(msgpack_packer *packer, yyjson_val *value) {
        size_t size = unsafe_yyjson_get_len(value);
        switch (yyjson_get_type(value)) {
        case YYJSON_TYPE_BOOL:
                if (yyjson_get_bool(value))
                        msgpack_pack_true(packer);
                else
                        msgpack_pack_false(packer);
                break;
        case YYJSON_TYPE_NUM:
                if (yyjson_is_real(value))
                        msgpack_pack_double(packer, yyjson_get_real(value));
                else if (yyjson_is_sint(value))
                        msgpack_pack_int64(packer, yyjson_get_sint(value));
                else
                        msgpack_pack_uint64(packer, yyjson_get_uint(value));
                break;
        case YYJSON_TYPE_STR:
                msgpack_pack_str_with_body(packer, yyjson_get_str(value), size);
                break;
        case YYJSON_TYPE_ARR:
                msgpack_pack_array(packer, size);
                break;
        case YYJSON_TYPE_OBJ:
                msgpack_pack_map(packer, size);
                break;
        default:
                msgpack_pack_nil(packer);
                break;
        }
}

/*
 * A document's values stand one after the other in the order of the text, a container before what it holds
 * (yyjson, doc/DataStructure.md), and so do MessagePack's. Open containers are only kept to know the depth.
 */
static bool pack_document(msgpack_packer *packer, yyjson_doc *doc) {
        size_t open[MSGPACK_DEPTH_MAX + 1] = {1}; /* values still to come, by depth */
        unsigned depth = 0;
        yyjson_val *value = yyjson_doc_get_root(doc);
        for (size_t count = yyjson_doc_get_val_count(doc); count > 0; count--, value++) {
                open[depth]--;
                pack_value(packer, value);
                if (yyjson_is_ctn(value)) {
                        if (depth == MSGPACK_DEPTH_MAX)
                                return false;
                        open[++depth] = unsafe_yyjson_get_len(value) * (yyjson_is_obj(value) ? 2 : 1);
                }
                while (depth > 0 && open[depth] == 0)
                        depth--;
        }
        return true;
}

static enum msgpack_outcome refuse_json(const yyjson_read_err *error, struct problem *problem) {
        if (error->code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
                return MSGPACK_NO_MEMORY;
        problem_in(problem, "", "The text cannot be written as MessagePack: %s at byte %zu.", error->msg,
                   error->pos + 1);
        return MSGPACK_REFUSED;
}

static enum msgpack_outcome pack_json(struct bytes json, struct buffer *out, struct problem *problem) {
        struct packed packed = {.out = out};
        yyjson_read_err error;
        msgpack_packer packer;
        /* Only with YYJSON_READ_INSITU would the parser write to the text. */
        yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)json.data, json.size, 0, NULL, &error);
        if (doc == NULL)
                return refuse_json(&error, problem);
        msgpack_packer_init(&packer, &packed, write_packed);
        bool shallow = pack_document(&packer, doc);
        yyjson_doc_free(doc);
        if (!shallow) {
                problem_in(problem, "", "The text is nested deeper than %d levels.", MSGPACK_DEPTH_MAX);
                return MSGPACK_REFUSED;
        }
        if (packed.full)
                return MSGPACK_TOO_LARGE;
        return out->failed ? MSGPACK_NO_MEMORY : MSGPACK_DONE;
}

enum msgpack_outcome msgpack_from_json(struct bytes json, struct buffer *out, struct problem *out_problem) {
        size_t start = out->size;
        enum msgpack_outcome outcome = pack_json(json, out, out_problem);
        if (outcome != MSGPACK_DONE) {
                out->size = start;
                out->failed = outcome == MSGPACK_NO_MEMORY;
        }
        return outcome;
}
