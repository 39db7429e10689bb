/*
 * The array is cut at once, with room for "default"; what is wrong leaves a finding, and the catalog is
 * thrown away in the end.
 */
#include "broker/ops/workspaces.h"

#include "broker/ops/print.h"
#include "broker/ops/rules.h"

#include <string.h>

enum workspace_field {
#define WORKSPACE_FIELD(id, path, type, member, default_text, min, max, help) WORKSPACE_FIELD_##id,
#include "schemas/workspace_fields.def"
#undef WORKSPACE_FIELD
};

static const struct field workspace_fields[] = {
#define WORKSPACE_FIELD(id, path, type, member, default_text, min, max, help)                                \
        {path, FIELD_##type, offsetof(struct workspace_draft, member), default_text, min, max, help},
#include "schemas/workspace_fields.def"
#undef WORKSPACE_FIELD
};

const struct field_table workspace_table = {workspace_fields,
                                            sizeof workspace_fields / sizeof *workspace_fields};

_Static_assert(sizeof workspace_fields / sizeof *workspace_fields <= FIELDS_MAX, "a bit each");

#define DEFAULT_NAME "default"

static void draft_workspace(struct workspace_draft *draft) {
        *draft = (struct workspace_draft){0};
        fields_default(&workspace_table, draft);
        prefs_init(&draft->workspace.prefs);
}

static void read_other(struct reader *reader, const struct field *field, const struct yaml_node *node,
                       void *base) {
        struct workspace_draft *draft = base;
        (void)field;
        rules_read(reader, node, &draft->workspace.prefs);
}

static void find_in(struct reader *reader, const struct yaml_node *map, const char *name,
                    const char *sentence) {
        const struct yaml_node *node = yaml_find(map, name);
        size_t place = reader_enter(reader, bytes_of(name));
        reader_find(reader, node != NULL ? node : map, "%s", sentence);
        reader_leave(reader, place);
}

static bool above(int64_t shorter, int64_t longer) {
        return shorter > 0 && longer > 0 && shorter > longer;
}

/* What the table cannot say. */
static void check(struct reader *reader, const struct yaml_node *map, const struct workspace *workspace,
                  const struct workspace *before, uint32_t before_count) {
        const struct budget_spec *budget = &workspace->budget;
        if (workspace->name[0] == '\0')
                reader_find(reader, map, "name is missing: the one that jobs give as workspace");
        for (uint32_t i = 0; i < before_count; i++)
                if (before[i].name != NULL && workspace->name[0] != '\0' &&
                    strcmp(before[i].name, workspace->name) == 0)
                        find_in(reader, map, "name", "there is a workspace of this name already");
        if (above(budget->daily, budget->monthly))
                find_in(reader, map, "budget.daily", "must not be above budget.monthly");
        if (above(budget->monthly, budget->lifetime))
                find_in(reader, map, "budget.monthly", "must not be above budget.lifetime");
        if (above(budget->daily, budget->lifetime))
                find_in(reader, map, "budget.daily", "must not be above budget.lifetime");
}

static bool read_one(struct reader *reader, const struct yaml_node *item, struct workspace_draft *out_draft) {
        field_set said = 0;
        draft_workspace(out_draft);
        if (!reader_is_map(reader, item, "such as {name: research}"))
                return false;
        reader_fields(reader, &workspace_table, item, out_draft, read_other, &said);
        out_draft->workspace.over_budget =
                strcmp(out_draft->over_budget, "fail") == 0 ? OVER_BUDGET_FAIL : OVER_BUDGET_WAIT;
        return true;
}

void workspaces_read(struct reader *reader, const struct yaml_node *list, struct catalog *catalog) {
        uint32_t index = 0, count = 1;
        struct workspace_draft draft;
        if (!reader_is_list(reader, list,
                            "of which each item is a group of names, such as {name: research}") ||
            list->count == 0)
                return;
        if (list->count > CATALOG_WORKSPACES_MAX - 1) {
                reader_find(reader, list, "must hold at most %d workspaces", CATALOG_WORKSPACES_MAX - 1);
                return;
        }
        struct workspace *workspaces = reader_alloc(reader, (list->count + 1) * sizeof *workspaces);
        if (workspaces == NULL)
                return;
        for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                if (read_one(reader, item, &draft)) {
                        check(reader, item, &draft.workspace, workspaces, count);
                        bool is_default = strcmp(draft.workspace.name, DEFAULT_NAME) == 0;
                        workspaces[is_default ? 0 : count++] = draft.workspace;
                }
                reader_leave(reader, place);
        }
        if (workspaces[0].name == NULL) {
                draft_workspace(&draft);
                draft.workspace.name = DEFAULT_NAME;
                workspaces[0] = draft.workspace;
        }
        catalog->workspaces = workspaces;
        catalog->workspaces_count = count;
}

void workspaces_check(struct reader *reader, const struct yaml_node *list, const struct catalog *catalog) {
        uint32_t index = 0, place_in_catalog = 1;
        for (const struct yaml_node *item = list != NULL && list->kind == YAML_LIST ? list->first : NULL;
             item != NULL && place_in_catalog <= catalog->workspaces_count; item = item->next) {
                const struct yaml_node *rules = yaml_find(item, "routing"), *name = yaml_find(item, "name");
                size_t place = reader_enter_item(reader, index++);
                bool is_default = name != NULL && name->kind == YAML_TEXT &&
                                  bytes_equal_string(name->text, DEFAULT_NAME);
                if (item->kind == YAML_MAP && rules != NULL) {
                        size_t within = reader_enter(reader, BYTES("routing"));
                        rules_check(reader, rules, catalog);
                        reader_leave(reader, within);
                }
                place_in_catalog += !is_default;
                reader_leave(reader, place);
        }
}

/* ---- printing ---- */

enum { ITEM_INDENT = 4, RULES_INDENT = 4, TEXT_BYTES_MAX = 1 << 20 };

static void print_rules(const struct routing_prefs *prefs, struct buffer *out_text) {
        struct routing_prefs none;
        struct buffer text, nothing;
        buffer_init(&text, TEXT_BYTES_MAX);
        buffer_init(&nothing, TEXT_BYTES_MAX);
        prefs_init(&none);
        rules_print(&none, &nothing);
        rules_print(prefs, &text);
        bool said = !bytes_equal(buffer_view(&text), buffer_view(&nothing));
        if (said)
                buffer_append_string(out_text, "    routing:\n");
        for (size_t i = 0; said && i < text.size; i++) {
                if (i == 0 || text.data[i - 1] == '\n')
                        buffer_append_string(out_text, "    ");
                buffer_append_char(out_text, text.data[i]);
        }
        out_text->failed = out_text->failed || text.failed || nothing.failed;
        buffer_deinit(&text);
        buffer_deinit(&nothing);
}

void workspaces_print(const struct catalog *catalog, struct buffer *out_text) {
        for (uint32_t i = 0; i < catalog->workspaces_count; i++) {
                struct workspace_draft draft = {.workspace = catalog->workspaces[i]};
                size_t start = out_text->size;
                draft.over_budget = draft.workspace.over_budget == OVER_BUDGET_FAIL ? "fail" : "wait";
                print_fields(&workspace_table, &draft, ITEM_INDENT, NULL, out_text);
                print_make_item(out_text, start, ITEM_INDENT);
                print_rules(&draft.workspace.prefs, out_text);
        }
}
