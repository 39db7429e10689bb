#pragma once
/*
 * One YAML document as a tree of texts, lists and maps, each with its place in the file. What YAML makes
 * of a text (numbers, booleans) is left to the reader: `5`, `"5"` and `yes` are texts here. Refused:
 * anchors and aliases (so nothing can grow by reference), tags, names that are no text, a name twice in
 * one map, a second document, more depth or nodes than below.
 *
 * The tree owns its nodes and texts and wipes the texts when it is freed, since keys may stand in them.
 */
#include "broker/base/arena.h"
#include "broker/base/error.h"

enum {
        YAML_FILE_BYTES_MAX = 4 << 20, /* bounds memory and time of reading */
        YAML_DEPTH_MAX = 16,           /* bounds every stack that follows the nesting */
        YAML_NODES_MAX = 1 << 18,
        YAML_NAMES_MAX = 1000, /* of one map: they are compared each with each */
        YAML_NAME_BYTES_MAX = 512,
};

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
        enum yaml_kind kind;
        bool nothing;      /* a text: left out, ~ or null, without quotes */
        struct bytes text; /* terminated */
        uint32_t line, column;

        struct bytes name; /* in a map */
        uint32_t name_line, name_column;

        struct yaml_node *first, *last; /* of a list or map, in the order of the file */
        uint32_t count;
        struct yaml_node *next;    /* of the same list or map */
        struct yaml_node *created; /* the one that was made before, whatever its place */
};

struct yaml_tree {
        struct arena arena;
        struct yaml_node *root;    /* NULL: the document is empty */
        struct yaml_node *created; /* the youngest */
        uint32_t count;
};

void yaml_tree_init(struct yaml_tree *tree);
void yaml_tree_deinit(struct yaml_tree *tree);
/*
 * ERROR_USAGE with "name:line:column: sentence" when the text is not such a document. The tree must be
 * fresh; deinit it in any case.
 */
struct error *yaml_tree_parse(struct yaml_tree *tree, const char *name, struct bytes text) MUST_USE;
/*
 * Adds a node by hand, without a place: line 0. `parent` NULL makes the root; `name` is for a map's.
 * NULL when memory is refused.
 */
struct yaml_node *yaml_tree_add(struct yaml_tree *tree, struct yaml_node *parent, enum yaml_kind kind,
                                struct bytes name, struct bytes text);
/* The value of that name in a map; NULL when there is none, or it is no map. */
const struct yaml_node *yaml_child(const struct yaml_node *map, struct bytes name);
/* The same for a path, "retry.backoff.base". */
const struct yaml_node *yaml_find(const struct yaml_node *root, const char *path);
/* Whether the bytes are well-formed UTF-8. */
bool yaml_is_utf8(struct bytes text);
/* As one YAML scalar: plain where it may, else in double quotes; the bytes are UTF-8. */
void yaml_append_text(struct buffer *buffer, struct bytes text);
