#pragma once
/*
 * From nodes of YAML to values: follows where it is ("providers[0].models[1].price"), puts in variables
 * and files, and collects what it finds wrong, so that a file is told all its faults at once. A value is
 * shown in a message as it stands in the file, never what a variable or a file gave for it.
 */
#include "broker/base/arena.h"
#include "broker/base/error.h"
#include "broker/ops/settings.h"
#include "broker/ops/yaml.h"

enum { READER_FINDINGS_MAX = 20, READER_PATH_MAX = 1200 };

struct finding {
        uint32_t line, column;
        char *text; /* the whole line; malloc'ed */
};

struct reader {
        const char *file;        /* what messages begin with */
        bool command_line;       /* nodes come from --set: no places, and lists may be "a,b" */
        bool takes_no_variables; /* ${...} is a finding: the file is somebody else's */
        struct arena *arena;     /* what is kept goes there */
        struct buffer text;      /* of the value that is read; may hold a secret */
        char path[READER_PATH_MAX];
        size_t path_size;
        struct finding findings[READER_FINDINGS_MAX];
        size_t findings_count; /* of all, also those that were too many to keep */
        bool memory_refused;
};

/* A text with everything put in; `value` is valid until the next one is read. */
struct reader_text {
        struct bytes value;
        struct bytes written; /* as it stands in the file */
};

void reader_init(struct reader *reader, const char *file, struct arena *arena);
void reader_deinit(struct reader *reader); /* wipes */
/* All findings in the order of the file; NULL when there are none. */
struct error *reader_result(const struct reader *reader) MUST_USE;

/* Goes into a name or an item; gives what reader_leave() takes to come back. */
size_t reader_enter(struct reader *reader, struct bytes name);
size_t reader_enter_item(struct reader *reader, uint32_t index);
void reader_leave(struct reader *reader, size_t place);

/* Something is wrong with the value of a node, resp. with its name. "path: " is put before the sentence. */
void reader_find(struct reader *reader, const struct yaml_node *node, const char *fmt, ...) PRINTF_LIKE(3, 4);
void reader_find_name(struct reader *reader, const struct yaml_node *node, const char *fmt, ...)
        PRINTF_LIKE(3, 4);
/* The same for a value of which a sentence tells what it must be; shows what it is. */
void reader_find_value(struct reader *reader, const struct yaml_node *node, const struct reader_text *text,
                       const char *problem);

/* false, with a finding, when it is none, or when a variable or a file is missing. */
bool reader_text(struct reader *reader, const struct yaml_node *node, struct reader_text *out_text);
/* false when it is left out or, with a finding, something else. */
bool reader_is_map(struct reader *reader, const struct yaml_node *node, const char *what);
bool reader_is_list(struct reader *reader, const struct yaml_node *node, const char *what);
/* Terminated, in the arena; "" when memory is refused, which reader_result() tells. */
const char *reader_keep(struct reader *reader, struct bytes text);
void *reader_alloc(struct reader *reader, size_t size); /* zeroed; NULL when refused */

/* Reads a field's value into its struct. false, with a finding, when it is wrong. */
bool reader_field(struct reader *reader, const struct field *field, const struct yaml_node *node, void *base);

/* What reads the fields of type OTHER. */
typedef void reader_other(struct reader *reader, const struct field *field, const struct yaml_node *node,
                          void *base);
/*
 * Reads a map whose names are those of the table, into the struct at `base`. *said gets a bit for each
 * field that the map had, by its place in the table; it is not cleared before.
 */
void reader_fields(struct reader *reader, const struct field_table *table, const struct yaml_node *map,
                   void *base, reader_other *other, field_set *said);
