/*
 * yyjson keeps 16 bytes per value, so "[0,0,0,..." takes eight times its length: the ceiling on one
 * block keeps hostile answers from that. yyjson does not recurse; the limit on nesting is for those who
 * read the result.
 */
#include "workers/providers/parse.h"

#include <stdlib.h>
#include <yyjson.h>

enum { BLOCK_MIN = 1 << 20, BLOCK_RATIO = 4 };

static void *limited_malloc(void *context, size_t size) {
        const size_t *block_max = context;

        return size > *block_max ? NULL : malloc(size);
}

static void *limited_realloc(void *context, void *old, size_t old_size, size_t size) {
        const size_t *block_max = context;

        (void)old_size;
        return size > *block_max ? NULL : realloc(old, size);
}

static void limited_free(void *context, void *block) {
        (void)context;
        free(block);
}

/* The values of a document lie one behind the other, each container knowing where it ends. */
static bool too_deep(yyjson_val *root, size_t count) {
        yyjson_val *ends[PARSE_DEPTH_MAX];
        size_t depth = 0;

        for (yyjson_val *value = root; value < root + count; value++) {
                while (depth > 0 && ends[depth - 1] <= value)
                        depth--;
                if (!unsafe_yyjson_is_ctn(value))
                        continue;
                if (depth == PARSE_DEPTH_MAX)
                        return true;
                ends[depth++] = unsafe_yyjson_get_next(value);
        }
        return false;
}

static bool begin(struct parse *parse, struct bytes text, yyjson_read_flag flags) {
        yyjson_alc alc;
        yyjson_read_err failure = {.code = YYJSON_READ_ERROR_MEMORY_ALLOCATION};
        /* without YYJSON_READ_INSITU the text is only read */
        char *data = (char *)(uintptr_t)text.data;

        parse->doc = NULL;
        if (text.size == 0)
                return false;
        if (text.size <= PARSE_POOL_BYTES / 4 && yyjson_alc_pool_init(&alc, parse->pool, sizeof(parse->pool)))
                parse->doc = yyjson_read_opts(data, text.size, flags, &alc, &failure);
        if (parse->doc == NULL && failure.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
                parse->block_max = BLOCK_MIN + BLOCK_RATIO * text.size;
                alc = (yyjson_alc){limited_malloc, limited_realloc, limited_free, &parse->block_max};
                parse->doc = yyjson_read_opts(data, text.size, flags, &alc, NULL);
        }
        if (parse->doc == NULL)
                return false;
        parse->root = yyjson_doc_get_root(parse->doc);
        if (too_deep(parse->root, yyjson_doc_get_val_count(parse->doc))) {
                parse_end(parse);
                return false;
        }
        return true;
}

bool parse_begin(struct parse *parse, struct bytes text) {
        return begin(parse, text, YYJSON_READ_BIGNUM_AS_RAW);
}

bool parse_begin_raw_numbers(struct parse *parse, struct bytes text) {
        return begin(parse, text, YYJSON_READ_NUMBER_AS_RAW);
}

void parse_end(struct parse *parse) {
        yyjson_doc_free(parse->doc);
        parse->doc = NULL;
}
