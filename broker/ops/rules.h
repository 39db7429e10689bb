#pragma once
/*
 * `routing`: the defaults that every job's own wishes are laid over. The names are those of
 * schemas/routing_fields.def.
 */
#include "broker/ops/config.h"
#include "broker/ops/reader.h"

/* Names are kept in the reader's arena. What a map does not say stays as it was. */
void rules_read(struct reader *reader, const struct yaml_node *map, struct routing_prefs *prefs);
/* That the providers that are named exist; `map` as for rules_read(), NULL is fine. */
void rules_check(struct reader *reader, const struct yaml_node *map, const struct catalog *catalog);
/* As the inside of `routing:`, indented by two; only what was said. */
void rules_print(const struct routing_prefs *prefs, struct buffer *out_text);
