#pragma once
/*
 * Workspaces, from the configuration to the catalog: who pays, how much, and whose rules hold. The table of
 * what they say is schemas/workspace_fields.def.
 */
#include "broker/ops/config.h"
#include "broker/ops/reader.h"

struct workspace_draft {
        struct workspace workspace;
        const char *over_budget; /* "wait", "fail" */
};

extern const struct field_table workspace_table; /* of the draft */

/*
 * Into the catalog, in the reader's arena: "default" first, made when it is not among them, then the others
 * in the order of the file. An empty list gives none.
 */
void workspaces_read(struct reader *reader, const struct yaml_node *list, struct catalog *catalog);
/* That the providers exist which their rules name; `list` as for workspaces_read(), NULL is fine. */
void workspaces_check(struct reader *reader, const struct yaml_node *list, const struct catalog *catalog);
/* As the items of `workspaces:`; only what was said. */
void workspaces_print(const struct catalog *catalog, struct buffer *out_text);
