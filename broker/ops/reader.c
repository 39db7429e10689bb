/* Everything here is bounded by the tree, which is bounded by broker/ops/yaml.h. */
#include "broker/ops/reader.h"

#include "broker/base/check.h"
#include "broker/base/nearest.h"
#include "broker/ops/substitute.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SHOWN_MAX = 64, KNOWN_SHOWN_MAX = 20 };

void reader_init(struct reader *reader, const char *file, struct arena *arena) {
        *reader = (struct reader){.file = file, .arena = arena};
        buffer_init(&reader->text, SUBSTITUTE_TEXT_BYTES_MAX + SUBSTITUTE_FILE_BYTES_MAX + 8192);
        reader->memory_refused = !buffer_reserve(&reader->text, reader->text.size_max);
}

void reader_deinit(struct reader *reader) {
        for (size_t i = 0; i < READER_FINDINGS_MAX; i++)
                free(reader->findings[i].text);
        if (reader->text.data != NULL)
                explicit_bzero(reader->text.data, reader->text.capacity);
        buffer_deinit(&reader->text);
}

/* ---- findings ---- */

/* Text of the file made fit for a line of a message: cut, and control characters as '?'. */
static void show(struct bytes text, char out_shown[NAME_SHOWN_MAX + 4]) {
        size_t size = text.size < NAME_SHOWN_MAX ? text.size : NAME_SHOWN_MAX;
        while (size < text.size && size > 0 && ((unsigned char)text.data[size] & 0xc0) == 0x80)
                size--;
        for (size_t i = 0; i < size; i++)
                out_shown[i] =
                        (unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f ? '?' : text.data[i];
        snprintf(out_shown + size, 4, "%s", size < text.size ? "..." : "");
}

static bool stands_before(const struct finding *a, uint32_t line, uint32_t column) {
        return a->line < line || (a->line == line && a->column <= column);
}

/* Kept in the order of the file; when there are too many, the first that were found stay. Takes `text`. */
static void add_finding(struct reader *reader, uint32_t line, uint32_t column, char *text) {
        size_t at = reader->findings_count++;
        if (text == NULL)
                reader->memory_refused = true;
        if (at >= READER_FINDINGS_MAX || text == NULL) {
                free(text);
                return;
        }
        for (; at > 0 && !stands_before(&reader->findings[at - 1], line, column); at--)
                reader->findings[at] = reader->findings[at - 1];
        reader->findings[at] = (struct finding){line, column, text};
}

static void find_at(struct reader *reader, uint32_t line, uint32_t column, bool with_path, const char *fmt,
                    va_list args) PRINTF_LIKE(5, 0);
static void find_at(struct reader *reader, uint32_t line, uint32_t column, bool with_path, const char *fmt,
                    va_list args) {
        struct buffer text;
        buffer_init(&text, 4096);
        buffer_append_string(&text, reader->file);
        if (line > 0)
                buffer_printf(&text, ":%u:%u", line, column);
        buffer_append_string(&text, ": ");
        if (with_path && reader->path_size > 0)
                buffer_printf(&text, "%s: ", reader->path);
        char sentence[2048];
        vsnprintf(sentence, sizeof sentence, fmt, args);
        buffer_append_string(&text, sentence);
        buffer_append_char(&text, '\0');
        char *copy = text.failed ? NULL : strdup(text.data);
        buffer_deinit(&text);
        add_finding(reader, line, column, copy);
}

void reader_find(struct reader *reader, const struct yaml_node *node, const char *fmt, ...) {
        va_list args;
        va_start(args, fmt);
        find_at(reader, node->line, node->column, true, fmt, args);
        va_end(args);
}

void reader_find_name(struct reader *reader, const struct yaml_node *node, const char *fmt, ...) {
        va_list args;
        va_start(args, fmt);
        find_at(reader, node->name_line, node->name_column, true, fmt, args);
        va_end(args);
}

/* "environment variable X is not set (needed by providers[0].api_key)": the place stands at the end. */
static void find_missing(struct reader *reader, const struct yaml_node *node, const char *fmt, ...)
        PRINTF_LIKE(3, 4);
static void find_missing(struct reader *reader, const struct yaml_node *node, const char *fmt, ...) {
        va_list args;
        va_start(args, fmt);
        find_at(reader, node->line, node->column, false, fmt, args);
        va_end(args);
}

void reader_find_value(struct reader *reader, const struct yaml_node *node, const struct reader_text *text,
                       const char *problem) {
        char shown[NAME_SHOWN_MAX + 4];
        show(text->written, shown);
        bool bare = shown[0] == '-' || (shown[0] >= '0' && shown[0] <= '9');
        for (const char *at = shown; *at != '\0'; at++)
                bare = bare && *at != ' ' && *at != '"';
        reader_find(reader, node, bare ? "%s, is %s" : "%s, is \"%s\"", problem, shown);
}

struct error *reader_result(const struct reader *reader) {
        struct buffer text;
        if (reader->memory_refused)
                return error_new(ERROR_MEMORY, "%s: out of memory", reader->file);
        if (reader->findings_count == 0)
                return NULL;
        buffer_init(&text, READER_FINDINGS_MAX * 4200);
        for (size_t i = 0; i < READER_FINDINGS_MAX && i < reader->findings_count; i++)
                buffer_printf(&text, "%s%s", i == 0 ? "" : "\n", reader->findings[i].text);
        if (reader->findings_count > READER_FINDINGS_MAX)
                buffer_printf(&text, "\n%s: and %zu more", reader->file,
                              reader->findings_count - READER_FINDINGS_MAX);
        buffer_append_char(&text, '\0');
        struct error *error = text.failed ? error_new(ERROR_MEMORY, "%s: out of memory", reader->file)
                                          : error_new(ERROR_USAGE, "%s", text.data);
        buffer_deinit(&text);
        return error;
}

/* ---- places ---- */

size_t reader_enter(struct reader *reader, struct bytes name) {
        char shown[NAME_SHOWN_MAX + 4];
        size_t place = reader->path_size;
        show(name, shown);
        int count = snprintf(reader->path + place, sizeof reader->path - place, "%s%s", place > 0 ? "." : "",
                             shown);
        reader->path_size = place + (size_t)count;
        CHECK(reader->path_size < sizeof reader->path);
        return place;
}

size_t reader_enter_item(struct reader *reader, uint32_t index) {
        size_t place = reader->path_size;
        int count = snprintf(reader->path + place, sizeof reader->path - place, "[%u]", index);
        reader->path_size = place + (size_t)count;
        CHECK(reader->path_size < sizeof reader->path);
        return place;
}

void reader_leave(struct reader *reader, size_t place) {
        reader->path_size = place;
        reader->path[place] = '\0';
}

/* ---- values ---- */

bool reader_text(struct reader *reader, const struct yaml_node *node, struct reader_text *out_text) {
        char problem[SUBSTITUTE_PROBLEM_MAX];
        bool any;
        if (node->kind != YAML_TEXT) {
                reader_find(reader, node, "must be one value, not a %s",
                            node->kind == YAML_LIST ? "list" : "group of names");
                return false;
        }
        if (node->nothing) {
                reader_find(reader, node, "has no value; remove it, or write \"\" for an empty text");
                return false;
        }
        if (reader->memory_refused)
                return false;
        buffer_clear(&reader->text);
        if (reader->takes_no_variables && substitute_is_any(node->text)) {
                reader_find(reader, node, "takes no variables here; a literal \"${\" is written \"$${\"");
                return false;
        }
        switch (substitute(node->text, &reader->text, &any, problem)) {
        case SUBSTITUTION_DONE:
                *out_text = (struct reader_text){buffer_view(&reader->text), node->text};
                return true;
        case SUBSTITUTION_MALFORMED:
                reader_find(reader, node, "%s", problem);
                return false;
        case SUBSTITUTION_MISSING:
                find_missing(reader, node, "%s (needed by %s)", problem, reader->path);
                return false;
        }
        return false;
}

bool reader_is_map(struct reader *reader, const struct yaml_node *node, const char *what) {
        if (node->kind != YAML_MAP && !node->nothing)
                reader_find(reader, node, "must be a group of names, %s", what);
        return node->kind == YAML_MAP;
}

bool reader_is_list(struct reader *reader, const struct yaml_node *node, const char *what) {
        if (node->kind != YAML_LIST && !node->nothing)
                reader_find(reader, node, "must be a list, %s", what);
        return node->kind == YAML_LIST;
}

const char *reader_keep(struct reader *reader, struct bytes text) {
        const char *kept = arena_copy(reader->arena, text);
        reader->memory_refused = reader->memory_refused || kept == NULL;
        return kept != NULL ? kept : "";
}

void *reader_alloc(struct reader *reader, size_t size) {
        void *memory = arena_alloc(reader->arena, size);
        if (memory != NULL)
                memset(memory, 0, size);
        reader->memory_refused = reader->memory_refused || memory == NULL;
        return memory;
}

/* ---- fields ---- */

static bool read_value(struct reader *reader, const struct field *field, const struct yaml_node *node,
                       union field_value *out_value) {
        char problem[FIELD_PROBLEM_MAX];
        struct reader_text text;
        if (!reader_text(reader, node, &text))
                return false;
        if (field_parse(field, text.value, out_value, problem))
                return true;
        reader_find_value(reader, node, &text, problem);
        return false;
}

static bool read_words(struct reader *reader, const struct field *field, const struct yaml_node *node,
                       void *base) {
        union field_value words = {0}, word;
        uint32_t index = 0;
        bool well = true;
        if (reader->command_line && node->kind == YAML_TEXT) {
                well = read_value(reader, field, node, &words);
        } else if (!reader_is_list(reader, node, "such as [https]")) {
                return node->nothing;
        } else {
                for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                        size_t place = reader_enter_item(reader, index++);
                        well = read_value(reader, field, item, &word) && well;
                        words.words |= well ? word.words : 0;
                        reader_leave(reader, place);
                }
        }
        if (well)
                field_store(field, words, NULL, base);
        return well;
}

bool reader_field(struct reader *reader, const struct field *field, const struct yaml_node *node,
                  void *base) {
        union field_value value;
        if (field->type == FIELD_WORDS)
                return read_words(reader, field, node, base);
        if (!read_value(reader, field, node, &value))
                return false;
        bool text = field->type == FIELD_TEXT || field->type == FIELD_NAME || field->type == FIELD_CHOICE;
        field_store(field, value, text ? reader_keep(reader, value.text) : NULL, base);
        return true;
}

/* ---- names ---- */

/* The component of `path` behind `prefix` ("" or "limits."); empty when it is not below that. */
static struct bytes component(const char *path, struct bytes prefix) {
        if (strncmp(path, prefix.data, prefix.size) != 0)
                return (struct bytes){0};
        path += prefix.size;
        return (struct bytes){path, strcspn(path, ".")};
}

static const char *last_component(const char *path) {
        const char *dot = strrchr(path, '.');
        return dot != NULL ? dot + 1 : path;
}

/* "; known here: a, b and c" */
static void append_known(struct buffer *text, struct bytes name, size_t number) {
        if (number >= KNOWN_SHOWN_MAX) {
                if (number == KNOWN_SHOWN_MAX)
                        buffer_append_string(text, ", ...");
                return;
        }
        buffer_append_string(text, number == 0 ? "; known here: " : ", ");
        buffer_append_bytes(text, name);
}

static void find_unknown(struct reader *reader, const struct yaml_node *node, struct bytes nearest,
                         struct buffer *known) {
        buffer_append_char(known, '\0');
        if (nearest.size > 0)
                reader_find_name(reader, node, "unknown setting; did you mean \"%.*s\"?", (int)nearest.size,
                                 nearest.data);
        else
                reader_find_name(reader, node, "unknown setting%s", known->failed ? "" : known->data);
        buffer_deinit(known);
}

/* `limits.in_flight: 5` in place of the group `limits`: as names are said, but not as they are written. */
static bool find_dotted(struct reader *reader, const struct field_table *table, struct bytes prefix,
                        const struct yaml_node *node) {
        for (size_t i = 0; i < table->count; i++) {
                const char *path = table->fields[i].path;
                if (strncmp(path, prefix.data, prefix.size) != 0 ||
                    !bytes_equal_string(node->name, path + prefix.size))
                        continue;
                int size = (int)strcspn(node->name.data, ".");
                reader_find_name(reader, node,
                                 "names stand in groups: write \"%.*s:\" and, indented below it, \"%s\"",
                                 size, node->name.data, node->name.data + size + 1);
                return true;
        }
        return false;
}

/* Of the same group first; else one of another group that has the very name, with its path. */
static void unknown_field(struct reader *reader, const struct field_table *table, struct bytes prefix,
                          const struct yaml_node *node) {
        struct bytes before = {0}, best;
        struct nearest nearest;
        struct buffer list;
        size_t count = 0;
        if (strchr(node->name.data, '.') != NULL && find_dotted(reader, table, prefix, node))
                return;
        buffer_init(&list, 1024);
        nearest_init(&nearest, node->name);
        for (size_t i = 0; i < table->count; i++) {
                struct bytes name = component(table->fields[i].path, prefix);
                if (name.size == 0 || bytes_equal(name, before))
                        continue;
                before = name;
                nearest_offer(&nearest, name);
                append_known(&list, name, count++);
        }
        best = nearest.best;
        for (size_t i = 0; i < table->count && best.size == 0; i++)
                if (bytes_equal_string(node->name, last_component(table->fields[i].path)))
                        best = bytes_of(table->fields[i].path);
        find_unknown(reader, node, best, &list);
}

static bool is_group(const struct field_table *table, struct bytes path) {
        for (size_t i = 0; i < table->count; i++)
                if (strncmp(table->fields[i].path, path.data, path.size) == 0 &&
                    table->fields[i].path[path.size] == '.')
                        return true;
        return false;
}

static size_t find_field(const struct field_table *table, struct bytes path) {
        size_t i = 0;
        while (i < table->count && !bytes_equal_string(path, table->fields[i].path))
                i++;
        return i;
}

struct fields_reading {
        const struct field_table *table;
        void *base;
        reader_other *other;
        field_set *said;
};

/* Goes down only where the table does, so the table bounds the recursion. */
// NOLINTNEXTLINE(misc-no-recursion)
static void read_group(struct reader *reader, const struct fields_reading *reading, struct bytes prefix,
                       const struct yaml_node *map) {
        for (const struct yaml_node *node = map->first; node != NULL; node = node->next) {
                char path[YAML_NAME_BYTES_MAX + 128];
                size_t place = reader_enter(reader, node->name);
                int size = snprintf(path, sizeof path, "%.*s%.*s", (int)prefix.size, prefix.data,
                                    (int)node->name.size, node->name.data);
                bool dotted = strchr(node->name.data, '.') != NULL; /* groups are written as groups */
                size_t found = dotted ? reading->table->count : find_field(reading->table, bytes_of(path));
                if (found < reading->table->count) {
                        const struct field *field = &reading->table->fields[found];
                        *reading->said |= FIELD_BIT(found);
                        if (field->type == FIELD_OTHER)
                                reading->other(reader, field, node, reading->base);
                        else
                                reader_field(reader, field, node, reading->base);
                } else if (dotted || !is_group(reading->table, bytes_of(path))) {
                        unknown_field(reader, reading->table, prefix, node);
                } else if (reader_is_map(reader, node, "one in each line")) {
                        path[size] = '.';
                        read_group(reader, reading, (struct bytes){path, (size_t)size + 1}, node);
                }
                reader_leave(reader, place);
        }
}

void reader_fields(struct reader *reader, const struct field_table *table, const struct yaml_node *map,
                   void *base, reader_other *other, field_set *said) {
        struct fields_reading reading = {table, base, other, said};
        read_group(reader, &reading, BYTES(""), map);
}
