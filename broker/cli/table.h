#pragma once
/*
 * A table for people: cells are collected, then printed with columns as wide as their widest cell, and no
 * lines around them, so that it pipes. Numbers stand to the right.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

enum { TABLE_COLUMNS_MAX = 16 };

struct table {
        const char *const *headers;
        const bool *right; /* per column */
        size_t columns;
        struct buffer text; /* the cells, each ended by a zero byte */
        size_t cells;
};

void table_init(struct table *table, const char *const *headers, const bool *right, size_t columns);
/* The next cell, row by row. */
void table_cell(struct table *table, const char *fmt, ...) PRINTF_LIKE(2, 3);
void table_bytes(struct table *table, struct bytes text);
void table_count(struct table *table, uint64_t count);
/* "$0.00012"; "unknown" when it is not known; with a minus when `negative`. */
void table_money(struct table *table, bool known, int64_t picousd);
/* A sum: "$0.5 and more" where parts of it are not known. */
void table_sum(struct table *table, bool whole, int64_t picousd);
/* Appends the rows as text, and frees the table. */
void table_finish(struct table *table, struct buffer *out);

/* All of it, on standard output; what could not be written, or did not fit into memory, is an error. */
struct error *table_print(const struct buffer *text) MUST_USE;

/* What a JSON report is made of: "name":value with a comma before it unless it is the first. */
void json_name(struct buffer *out, const char *name);
void json_count(struct buffer *out, const char *name, uint64_t count);
void json_money(struct buffer *out, const char *name, bool known, int64_t picousd);
void json_string(struct buffer *out, const char *name, struct bytes text);
void json_comma(struct buffer *out); /* unless something was just opened */
