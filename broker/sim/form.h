#pragma once
/*
 * A multipart form as it streams by: the few text fields that matter are kept (each up to a limit), files
 * are only hashed, counted, and their first bytes kept, so that a 25 MB upload costs 4 KB.
 */
#include "broker/base/bytes.h"
#include "broker/sim/hash.h"

enum sim_field {
        SIM_FIELD_MODEL,
        SIM_FIELD_PROMPT,
        SIM_FIELD_RESPONSE_FORMAT,
        SIM_FIELD_LANGUAGE,
        SIM_FIELD_N,
        SIM_FIELD_SIZE,
        SIM_FIELDS
};

#define SIM_FORM_FIELD_BYTES_MAX 65536
#define SIM_FORM_HEAD_BYTES_MAX  4096

struct sim_form {
        struct buffer fields[SIM_FIELDS];
        struct buffer head; /* the first bytes of the first file */
        struct sim_hash files;
        uint64_t files_bytes, files_count;
};

void sim_form_init(struct sim_form *form);
void sim_form_deinit(struct sim_form *form);
/* A piece of the part `name`; a part with a file name is a file. `start` is true for its first piece. */
void sim_form_add(struct sim_form *form, const char *name, bool is_file, bool start, struct bytes piece);
struct bytes sim_form_field(const struct sim_form *form, enum sim_field field);
