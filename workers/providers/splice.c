/*
 * At most five edits of one text, sorted by place, none overlapping: each puts `text` where `size` bytes
 * were.
 */
#include "workers/providers/splice.h"

#include <string.h>

enum { EDITS_MAX = 5 };

struct edit {
        size_t offset, size;
        struct bytes text;
        bool quoted; /* text becomes a JSON string */
        bool member; /* a member that goes away, with a comma */
};

struct edits {
        struct edit items[EDITS_MAX];
        size_t count;
};

static bool is_space(char c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t space_end(struct bytes body, size_t at) {
        while (at < body.size && is_space(body.data[at]))
                at++;
        return at;
}

static bool inside(struct bytes body, struct span span) {
        return span.size > 0 && span.offset <= body.size && span.size <= body.size - span.offset;
}

/* Keeps the order of places; an insertion comes before what starts at the same place. */
static void add(struct edits *edits, struct edit edit) {
        size_t i = edits->count++;

        for (; i > 0 && edits->items[i - 1].offset >= edit.offset; i--)
                edits->items[i] = edits->items[i - 1];
        edits->items[i] = edit;
}

static void add_model(struct edits *edits, const struct job_spec *job, struct bytes model) {
        struct span span = job->model_value;
        const char *now = job->body.data + span.offset;

        if (!inside(job->body, span))
                return;
        if (span.size == model.size + 2 && memcmp(now + 1, model.data, model.size) == 0 &&
            memchr(now + 1, '\\', model.size) == NULL)
                return;
        add(edits, (struct edit){.offset = span.offset, .size = span.size, .text = model, .quoted = true});
}

static void add_removal(struct edits *edits, struct bytes body, struct span span) {
        if (inside(body, span))
                add(edits, (struct edit){.offset = span.offset, .size = span.size, .member = true});
}

/*
 * Widens a removal over the comma behind it or, for the last member, over the one before it; if that one
 * went with its neighbour, over the one before the neighbour.
 */
static void widen(struct edits *edits, size_t i, struct bytes body) {
        struct edit *edit = &edits->items[i], *before = i > 0 ? edit - 1 : NULL;
        size_t end = edit->offset + edit->size, after = space_end(body, end), start = edit->offset;

        if (after < body.size && body.data[after] == ',') {
                edit->size = after + 1 - edit->offset;
                return;
        }
        for (;;) {
                while (start > 0 && is_space(body.data[start - 1]))
                        start--;
                if (start == 0 || body.data[start - 1] != ',')
                        break;
                if (before == NULL || !before->member || before->offset + before->size != start) {
                        start--;
                        break;
                }
                start = before->offset;
                *before = (struct edit){.offset = start};
        }
        if (before != NULL && before->offset > start)
                before->offset = start; /* absorbed: the order of places holds */
        edit->offset = start;
        edit->size = end - start;
}

/* Whether anything is left of the object behind `at`. */
static bool members_left(const struct edits *edits, struct bytes body, size_t at) {
        for (size_t i = 0; i < edits->count; i++) {
                at = space_end(body, at);
                if (edits->items[i].member && edits->items[i].offset <= at)
                        at = edits->items[i].offset + edits->items[i].size;
        }
        at = space_end(body, at);
        return at < body.size && body.data[at] != '}';
}

static void add_encoding_format(struct edits *edits, const struct job_spec *job) {
        size_t open = space_end(job->body, 0);
        struct bytes member = BYTES("\"encoding_format\":\"base64\",");

        if (job->demand.kind != KIND_EMBEDDINGS ||
            (job->vector_format != VECTOR_UNSAID && job->vector_format != VECTOR_FLOAT))
                return;
        if (inside(job->body, job->encoding_format_value)) {
                add(edits, (struct edit){.offset = job->encoding_format_value.offset,
                                         .size = job->encoding_format_value.size,
                                         .text = BYTES("\"base64\"")});
                return;
        }
        if (open == job->body.size || job->body.data[open] != '{')
                return;
        if (!members_left(edits, job->body, open + 1))
                member.size--;
        add(edits, (struct edit){.offset = open + 1, .text = member});
}

void splice_body(const struct job_spec *job, struct bytes model, struct buffer *out_body) {
        struct edits edits = {.count = 0};
        struct bytes body = job->body;
        size_t copied = 0;

        add_model(&edits, job, model);
        add_removal(&edits, body, job->models_member);
        add_removal(&edits, body, job->provider_member);
        for (size_t i = 0; i < edits.count; i++)
                if (edits.items[i].member)
                        widen(&edits, i, body);
        add_encoding_format(&edits, job);
        for (size_t i = 0; i < edits.count; i++) {
                const struct edit *edit = &edits.items[i];

                if (edit->offset < copied) /* only spans that lie, or lie in each other, overlap */
                        continue;
                buffer_append(out_body, body.data + copied, edit->offset - copied);
                if (edit->quoted)
                        buffer_append_char(out_body, '"');
                if (edit->quoted)
                        buffer_append_json_escaped(out_body, edit->text);
                else
                        buffer_append_bytes(out_body, edit->text);
                if (edit->quoted)
                        buffer_append_char(out_body, '"');
                copied = edit->offset + edit->size;
        }
        if (copied < body.size)
                buffer_append(out_body, body.data + copied, body.size - copied);
}
