#include "broker/sim/form.h"

#include <string.h>

static const char *const field_names[SIM_FIELDS] = {
        [SIM_FIELD_MODEL] = "model",
        [SIM_FIELD_PROMPT] = "prompt",
        [SIM_FIELD_RESPONSE_FORMAT] = "response_format",
        [SIM_FIELD_LANGUAGE] = "language",
        [SIM_FIELD_N] = "n",
        [SIM_FIELD_SIZE] = "size",
};

void sim_form_init(struct sim_form *form) {
        *form = (struct sim_form){0};
        for (int i = 0; i < SIM_FIELDS; i++)
                buffer_init(&form->fields[i], SIM_FORM_FIELD_BYTES_MAX);
        buffer_init(&form->head, SIM_FORM_HEAD_BYTES_MAX);
        sim_hash_init(&form->files, 0);
}

void sim_form_deinit(struct sim_form *form) {
        for (int i = 0; i < SIM_FIELDS; i++)
                buffer_deinit(&form->fields[i]);
        buffer_deinit(&form->head);
}

static void append_up_to(struct buffer *buffer, size_t size_max, struct bytes piece) {
        size_t room = size_max - buffer->size;

        buffer_append(buffer, piece.data, piece.size < room ? piece.size : room);
}

static void add_file(struct sim_form *form, bool start, struct bytes piece) {
        if (start)
                form->files_count++;
        sim_hash_update(&form->files, piece);
        form->files_bytes += piece.size;
        if (form->files_count == 1)
                append_up_to(&form->head, SIM_FORM_HEAD_BYTES_MAX, piece);
}

void sim_form_add(struct sim_form *form, const char *name, bool is_file, bool start, struct bytes piece) {
        if (is_file) {
                add_file(form, start, piece);
                return;
        }
        for (int i = 0; i < SIM_FIELDS; i++)
                if (strcmp(name, field_names[i]) == 0)
                        append_up_to(&form->fields[i], SIM_FORM_FIELD_BYTES_MAX, piece);
}

struct bytes sim_form_field(const struct sim_form *form, enum sim_field field) {
        return buffer_view(&form->fields[field]);
}
