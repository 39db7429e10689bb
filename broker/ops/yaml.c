/*
 * libyaml's events are followed with a stack of open lists and maps, so nothing recurses. libyaml checks
 * the encoding and the syntax; the bounds are ours.
 */
#include "broker/ops/yaml.h"

#include "broker/base/check.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { YAML_ARENA_BYTES_MAX = 96 << 20 };

struct builder {
        struct yaml_tree *tree;
        const char *file;
        struct yaml_node *open[YAML_DEPTH_MAX];
        size_t depth;
        bool named; /* the map that is open has read a name and waits for its value */
        struct bytes name;
        uint32_t name_line, name_column;
        bool began; /* a document did */
};

void yaml_tree_init(struct yaml_tree *tree) {
        *tree = (struct yaml_tree){0};
        arena_init(&tree->arena, YAML_ARENA_BYTES_MAX);
}

static void wipe(struct bytes text) {
        const volatile char *at = text.data;
        if (at != NULL)
                explicit_bzero((void *)(uintptr_t)at, text.size);
}

void yaml_tree_deinit(struct yaml_tree *tree) {
        for (struct yaml_node *node = tree->created; node != NULL; node = node->created)
                wipe(node->text);
        arena_deinit(&tree->arena);
        *tree = (struct yaml_tree){0};
}

static bool copy(struct yaml_tree *tree, struct bytes text, struct bytes *out_copy) {
        char *data = arena_copy(&tree->arena, text);
        if (data == NULL)
                return false;
        *out_copy = (struct bytes){data, text.size};
        return true;
}

struct yaml_node *yaml_tree_add(struct yaml_tree *tree, struct yaml_node *parent, enum yaml_kind kind,
                                struct bytes name, struct bytes text) {
        struct yaml_node *node = arena_alloc(&tree->arena, sizeof *node);
        if (node == NULL)
                return NULL;
        *node = (struct yaml_node){.kind = kind};
        if (!copy(tree, name, &node->name) || !copy(tree, text, &node->text))
                return NULL;
        node->created = tree->created;
        tree->created = node;
        tree->count++;
        if (parent == NULL) {
                tree->root = node;
                return node;
        }
        if (parent->last == NULL)
                parent->first = node;
        else
                parent->last->next = node;
        parent->last = node;
        parent->count++;
        return node;
}

static struct error *refuse(const struct builder *builder, yaml_mark_t mark, const char *sentence) {
        return error_new(ERROR_USAGE, "%s:%zu:%zu: %s", builder->file, mark.line + 1, mark.column + 1,
                         sentence);
}

static struct error *out_of_memory(const struct builder *builder) {
        return error_new(ERROR_MEMORY, "%s: out of memory", builder->file);
}

static bool is_nothing(const yaml_event_t *event) {
        struct bytes text = {(const char *)event->data.scalar.value, event->data.scalar.length};
        return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
               (text.size == 0 || bytes_equal_string(text, "~") || bytes_equal_string(text, "null") ||
                bytes_equal_string(text, "Null") || bytes_equal_string(text, "NULL"));
}

static struct error *take_name(struct builder *builder, const yaml_event_t *event) {
        struct yaml_node *map = builder->open[builder->depth - 1];
        yaml_mark_t mark = event->start_mark;
        if (event->type != YAML_SCALAR_EVENT)
                return refuse(builder, mark, "a name must be a text");
        struct bytes name = {(const char *)event->data.scalar.value, event->data.scalar.length};
        if (name.size == 0 || name.size > YAML_NAME_BYTES_MAX || memchr(name.data, '\0', name.size) != NULL)
                return refuse(builder, mark, "a name must have 1 to 512 bytes");
        for (const struct yaml_node *node = map->first; node != NULL; node = node->next)
                if (bytes_equal(node->name, name))
                        return error_new(ERROR_USAGE,
                                         "%s:%zu:%zu: \"%.64s\" stands here twice; the first is in line %u",
                                         builder->file, mark.line + 1, mark.column + 1, name.data,
                                         node->name_line);
        if (map->count >= YAML_NAMES_MAX)
                return refuse(builder, mark, "more than 1000 names in one place");
        if (!copy(builder->tree, name, &builder->name))
                return out_of_memory(builder);
        builder->name_line = (uint32_t)mark.line + 1;
        builder->name_column = (uint32_t)mark.column + 1;
        builder->named = true;
        return NULL;
}

static struct error *add_node(struct builder *builder, const yaml_event_t *event, enum yaml_kind kind) {
        struct yaml_node *parent = builder->depth > 0 ? builder->open[builder->depth - 1] : NULL;
        struct bytes text = {0}, name = builder->named ? builder->name : (struct bytes){0};
        if (parent != NULL && parent->kind == YAML_MAP && !builder->named)
                return take_name(builder, event);
        if (builder->tree->count >= YAML_NODES_MAX)
                return refuse(builder, event->start_mark, "the file holds too many values");
        if (kind != YAML_TEXT && builder->depth == YAML_DEPTH_MAX)
                return refuse(builder, event->start_mark, "nested deeper than 16 levels");
        if (kind == YAML_TEXT)
                text = (struct bytes){(const char *)event->data.scalar.value, event->data.scalar.length};
        struct yaml_node *node = yaml_tree_add(builder->tree, parent, kind, name, text);
        if (node == NULL)
                return out_of_memory(builder);
        node->nothing = kind == YAML_TEXT && is_nothing(event);
        node->line = (uint32_t)event->start_mark.line + 1;
        node->column = (uint32_t)event->start_mark.column + 1;
        node->name_line = builder->name_line;
        node->name_column = builder->name_column;
        builder->named = false;
        if (kind != YAML_TEXT)
                builder->open[builder->depth++] = node;
        return NULL;
}

static struct error *refuse_extras(const struct builder *builder, const yaml_event_t *event,
                                   const yaml_char_t *anchor, const yaml_char_t *tag) {
        if (anchor != NULL)
                return refuse(builder, event->start_mark,
                              "anchors (&name) are not supported: write the value out");
        if (tag != NULL)
                return refuse(builder, event->start_mark, "tags (!name) are not supported: remove it");
        return NULL;
}

static struct error *take_event(struct builder *builder, const yaml_event_t *event) {
        struct error *error;
        switch (event->type) {
        case YAML_ALIAS_EVENT:
                return refuse(builder, event->start_mark,
                              "aliases (*name) are not supported: write the value out");
        case YAML_SCALAR_EVENT:
                error = refuse_extras(builder, event, event->data.scalar.anchor, event->data.scalar.tag);
                return error != NULL ? error : add_node(builder, event, YAML_TEXT);
        case YAML_SEQUENCE_START_EVENT:
                error = refuse_extras(builder, event, event->data.sequence_start.anchor,
                                      event->data.sequence_start.tag);
                return error != NULL ? error : add_node(builder, event, YAML_LIST);
        case YAML_MAPPING_START_EVENT:
                error = refuse_extras(builder, event, event->data.mapping_start.anchor,
                                      event->data.mapping_start.tag);
                return error != NULL ? error : add_node(builder, event, YAML_MAP);
        case YAML_SEQUENCE_END_EVENT:
        case YAML_MAPPING_END_EVENT:
                CHECK(builder->depth > 0);
                builder->depth--;
                return NULL;
        case YAML_DOCUMENT_START_EVENT:
                if (builder->began)
                        return refuse(builder, event->start_mark,
                                      "a second document (---): a configuration has one");
                builder->began = true;
                return NULL;
        case YAML_NO_EVENT:
        case YAML_STREAM_START_EVENT:
        case YAML_STREAM_END_EVENT:
        case YAML_DOCUMENT_END_EVENT:
                return NULL;
        }
        return NULL;
}

/* A byte that is no text is told by its offset only. */
static yaml_mark_t mark_of_offset(struct bytes text, size_t offset) {
        yaml_mark_t mark = {0};
        for (size_t i = 0; i < text.size && i < offset; i++) {
                mark.column++;
                if (text.data[i] == '\n') {
                        mark.line++;
                        mark.column = 0;
                }
        }
        return mark;
}

static struct error *syntax_error(const struct builder *builder, const yaml_parser_t *parser,
                                  struct bytes text) {
        char sentence[256];
        if (parser->error == YAML_MEMORY_ERROR)
                return out_of_memory(builder);
        if (parser->error == YAML_READER_ERROR)
                return refuse(builder, mark_of_offset(text, parser->problem_offset),
                              "a byte that is not text: the file must be UTF-8 without control characters");
        snprintf(sentence, sizeof sentence, "not YAML: %s%s%s", parser->problem,
                 parser->context != NULL ? " " : "", parser->context != NULL ? parser->context : "");
        return refuse(builder, parser->problem_mark, sentence);
}

struct error *yaml_tree_parse(struct yaml_tree *tree, const char *name, struct bytes text) {
        struct builder builder = {.tree = tree, .file = name};
        struct error *error = NULL;
        yaml_parser_t parser;
        bool ended = false;

        if (text.size > YAML_FILE_BYTES_MAX)
                return error_new(ERROR_USAGE, "%s: larger than 4 MiB: this is no configuration", name);
        if (!yaml_parser_initialize(&parser))
                return out_of_memory(&builder);
        yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.size);
        while (error == NULL && !ended) {
                yaml_event_t event;
                if (!yaml_parser_parse(&parser, &event)) {
                        error = syntax_error(&builder, &parser, text);
                        break;
                }
                ended = event.type == YAML_STREAM_END_EVENT;
                error = take_event(&builder, &event);
                yaml_event_delete(&event);
        }
        yaml_parser_delete(&parser);
        return error;
}

const struct yaml_node *yaml_child(const struct yaml_node *map, struct bytes name) {
        if (map == NULL || map->kind != YAML_MAP)
                return NULL;
        const struct yaml_node *node = map->first;
        while (node != NULL && !bytes_equal(node->name, name))
                node = node->next;
        return node;
}

const struct yaml_node *yaml_find(const struct yaml_node *root, const char *path) {
        while (*path != '\0') {
                size_t size = strcspn(path, ".");
                root = yaml_child(root, (struct bytes){path, size});
                path += path[size] == '.' ? size + 1 : size;
        }
        return root;
}

/* ---- writing ---- */

static bool is_plain_char(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != '\0' && strchr("_./:@+%-", c) != NULL);
}

/* Nothing that YAML or the reader of the configuration takes for something else. */
static bool is_plain(struct bytes text) {
        static const char *const words[] = {"null", "Null", "NULL", "true", "false"};
        if (text.size == 0 || text.data[text.size - 1] == ':' || strchr(":@+%-", text.data[0]) != NULL)
                return false;
        if (text.size == 3 && memcmp(text.data, "...", 3) == 0)
                return false;
        for (size_t i = 0; i < text.size; i++)
                if (!is_plain_char(text.data[i]))
                        return false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (bytes_equal_string(text, words[i]))
                        return false;
        return true;
}

/*
 * The code point at `at`; 0 bytes when it is not well-formed: too short, longer than it must be, a
 * surrogate, above U+10FFFF (Unicode Standard, table 3-7).
 */
static uint32_t code_point(const unsigned char *at, size_t left, size_t *out_size) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t size = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
        uint32_t code = size == 1 ? at[0] : at[0] & (0x7fU >> size);
        bool well = size <= left && at[0] < 0xf8 && (at[0] < 0x80 || at[0] >= 0xc0);
        for (size_t i = 1; well && i < size; i++) {
                well = (at[i] & 0xc0) == 0x80;
                code = code << 6 | (at[i] & 0x3fU);
        }
        well = well && code >= least[size] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        *out_size = well ? size : 0;
        return code;
}

bool yaml_is_utf8(struct bytes text) {
        size_t size;
        for (size_t i = 0; i < text.size; i += size) {
                code_point((const unsigned char *)text.data + i, text.size - i, &size);
                if (size == 0)
                        return false;
        }
        return true;
}

/* What YAML would take for the end of a line, or does not allow at all. */
static bool must_be_escaped(uint32_t code) {
        return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 ||
               code == 0xfeff || code == 0xfffe || code == 0xffff;
}

void yaml_append_text(struct buffer *buffer, struct bytes text) {
        const unsigned char *data = (const unsigned char *)text.data;
        if (is_plain(text)) {
                buffer_append_bytes(buffer, text);
                return;
        }
        buffer_append_char(buffer, '"');
        for (size_t i = 0, size; i < text.size; i += size) {
                uint32_t code = code_point(data + i, text.size - i, &size);
                CHECK(size > 0);
                if (code == '"' || code == '\\')
                        buffer_append_char(buffer, '\\');
                if (must_be_escaped(code))
                        buffer_printf(buffer, "\\u%04X", code);
                else
                        buffer_append(buffer, data + i, size);
        }
        buffer_append_char(buffer, '"');
}
