#pragma once
/* Writing tables of fields as YAML, by which config_print() writes all of a configuration. */
#include "broker/ops/settings.h"
#include "workers/routing/catalog.h"

/*
 * The fields that were said, one in each line, in groups as their paths tell, every line indented. Those
 * whose path begins with `skip` are left out; NULL: none are.
 */
void print_fields(const struct field_table *table, const void *base, size_t indent, const char *skip,
                  struct buffer *out_text);
/* A model as an item of a list, every line indented; what was not said is left out. */
void print_model(const struct endpoint *endpoint, size_t indent, struct buffer *out_text);
/* Puts the dash of a list before the first line of an item that was printed with its indent. */
void print_make_item(struct buffer *text, size_t start, size_t indent);
