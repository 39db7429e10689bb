#include "broker/cli/table.h"

#include "broker/base/check.h"
#include "broker/base/money.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CELL_MAX = 512, COLUMN_GAP = 2 };
#define TABLE_BYTES_MAX ((size_t)64 << 20)

void table_init(struct table *table, const char *const *headers, const bool *right, size_t columns) {
        CHECK(columns > 0 && columns <= TABLE_COLUMNS_MAX);
        *table = (struct table){.headers = headers, .right = right, .columns = columns};
        buffer_init(&table->text, TABLE_BYTES_MAX);
}

/* What a name from outside holds besides text must not reach the terminal. */
void table_bytes(struct table *table, struct bytes text) {
        for (size_t i = 0; i < text.size; i++) {
                unsigned char c = (unsigned char)text.data[i];
                buffer_append_char(&table->text, c < 0x20 || c == 0x7f ? '?' : (char)c);
        }
        buffer_append_char(&table->text, '\0');
        table->cells++;
}

void table_cell(struct table *table, const char *fmt, ...) {
        char text[CELL_MAX];
        va_list arguments;
        va_start(arguments, fmt);
        vsnprintf(text, sizeof text, fmt, arguments);
        va_end(arguments);
        table_bytes(table, bytes_of(text));
}

void table_count(struct table *table, uint64_t count) {
        table_cell(table, "%llu", (unsigned long long)count);
}

void table_money(struct table *table, bool known, int64_t picousd) {
        if (!known) {
                table_cell(table, "unknown");
                return;
        }
        buffer_append_string(&table->text, picousd < 0 ? "-$" : "$");
        money_append(&table->text, picousd < 0 ? -picousd : picousd);
        buffer_append_char(&table->text, '\0');
        table->cells++;
}

void table_sum(struct table *table, bool whole, int64_t picousd) {
        table_money(table, whole || picousd > 0, picousd);
        if (whole || picousd == 0 || table->text.failed)
                return;
        table->text.size--; /* the zero byte */
        buffer_append_string(&table->text, " and more");
        buffer_append_char(&table->text, '\0');
}

/* Columns as they stand on a terminal: bytes that go on a character of UTF-8 take no room. */
static size_t width_of(const char *text) {
        size_t width = 0;
        for (; *text; text++)
                width += ((unsigned char)*text & 0xc0) != 0x80;
        return width;
}

static void append_spaces(struct buffer *out, size_t count) {
        for (size_t i = 0; i < count; i++)
                buffer_append_char(out, ' ');
}

static void append_cell(const struct table *table, size_t column, const char *text, size_t width,
                        struct buffer *out) {
        size_t spaces = width - width_of(text);
        bool last = column + 1 == table->columns;
        if (table->right[column])
                append_spaces(out, spaces);
        buffer_append_string(out, text);
        if (!last) {
                append_spaces(out, (table->right[column] ? 0 : spaces) + COLUMN_GAP);
                return;
        }
        while (out->size > 0 && out->data[out->size - 1] == ' ')
                out->size--;
        buffer_append_char(out, '\n');
}

void table_finish(struct table *table, struct buffer *out) {
        size_t widths[TABLE_COLUMNS_MAX] = {0};
        const char *cell = table->text.data;
        CHECK(table->columns > 0);
        for (size_t i = 0; i < table->columns; i++)
                widths[i] = width_of(table->headers[i]);
        for (size_t i = 0; i < table->cells && !table->text.failed; i++, cell += strlen(cell) + 1) {
                size_t width = width_of(cell), *widest = &widths[i % table->columns];
                *widest = width > *widest ? width : *widest;
        }
        for (size_t i = 0; i < table->columns; i++)
                append_cell(table, i, table->headers[i], widths[i], out);
        cell = table->text.data;
        for (size_t i = 0; i < table->cells && !table->text.failed; i++, cell += strlen(cell) + 1)
                append_cell(table, i % table->columns, cell, widths[i % table->columns], out);
        out->failed = out->failed || table->text.failed;
        buffer_deinit(&table->text);
}

struct error *table_print(const struct buffer *text) {
        if (text->failed)
                return error_new(ERROR_MEMORY, "no memory for the report");
        errno = 0;
        if (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0)
                return error_errno(errno, "cannot write standard output");
        return NULL;
}

void json_comma(struct buffer *out) {
        char last = out->size > 0 ? out->data[out->size - 1] : '\n';
        if (last != '{' && last != '[' && last != '\n' && last != ':')
                buffer_append_char(out, ',');
}

void json_name(struct buffer *out, const char *name) {
        json_comma(out);
        buffer_append_char(out, '"');
        buffer_append_string(out, name);
        buffer_append_string(out, "\":");
}

void json_count(struct buffer *out, const char *name, uint64_t count) {
        json_name(out, name);
        buffer_append_u64(out, count);
}

void json_money(struct buffer *out, const char *name, bool known, int64_t picousd) {
        json_name(out, name);
        if (!known) {
                buffer_append_string(out, "null");
                return;
        }
        if (picousd < 0)
                buffer_append_char(out, '-');
        money_append(out, picousd < 0 ? -picousd : picousd);
}

void json_string(struct buffer *out, const char *name, struct bytes text) {
        json_name(out, name);
        buffer_append_char(out, '"');
        buffer_append_json_escaped(out, text);
        buffer_append_char(out, '"');
}
