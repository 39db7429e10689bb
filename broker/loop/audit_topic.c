#include "broker/loop/audit_topic.h"

#include "broker/base/time.h"
#include "broker/kafka/client.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Of a partition of the topic. A chain with nothing in it has not begun. */
struct part {
        struct audit_chain before;    /* the chain before, as far as it is known to be there */
        struct audit_chain committed; /* known to be there */
        struct audit_chain sent;      /* with what this transaction holds */
        uint64_t noted;               /* how far the store knows it */
};

struct audit_topic {
        struct audit_topic_options options;
        struct digest *digest;
        struct part *parts;
        struct buffer record;
};

/* A note: the chain's id, place of the next record (little-endian), hash of the last one. */
enum { NOTE_BYTES = AUDIT_ID_HEX + 8 + DIGEST_BYTES, NAME_MAX_BYTES = STORE_NOTE_MAX + 1 };

static void note_name(const struct audit_topic *audit, uint32_t partition, char out_name[NAME_MAX_BYTES]) {
        snprintf(out_name, NAME_MAX_BYTES, "audit/%.200s/%.249s/%u", audit->options.writer,
                 audit->options.topic, partition);
}

static void read_note(struct bytes note, struct audit_chain *out_chain) {
        uint64_t next;
        struct audit_chain chain = {.next = 0};
        if (note.size != NOTE_BYTES)
                return;
        memcpy(chain.id, note.data, AUDIT_ID_HEX);
        memcpy(&next, note.data + AUDIT_ID_HEX, sizeof(next));
        memcpy(chain.head, note.data + AUDIT_ID_HEX + sizeof(next), sizeof(chain.head));
        chain.next = le64toh(next);
        *out_chain = chain;
}

static struct error *read_notes(struct audit_topic *audit) {
        struct buffer note;
        struct error *error = NULL;
        buffer_init(&note, (size_t)4 * STORE_NOTE_MAX);
        for (uint32_t i = 0; i < audit->options.partitions && !error; i++) {
                char name[NAME_MAX_BYTES];
                bool found;
                buffer_clear(&note);
                note_name(audit, i, name);
                error = store_get_note(audit->options.store, name, &note, &found);
                if (!error && found)
                        read_note(buffer_view(&note), &audit->parts[i].before);
        }
        buffer_deinit(&note);
        return error;
}

void audit_topic_stage(struct audit_topic *audit, struct store_batch *batch) {
        for (uint32_t i = 0; audit && i < audit->options.partitions; i++) {
                struct part *part = &audit->parts[i];
                const struct audit_chain *chain = &part->committed;
                char name[NAME_MAX_BYTES], note[NOTE_BYTES];
                uint64_t next = htole64(chain->next);
                if (chain->next == part->noted || chain->next == 0)
                        continue;
                memcpy(note, chain->id, AUDIT_ID_HEX);
                memcpy(note + AUDIT_ID_HEX, &next, sizeof(next));
                memcpy(note + AUDIT_ID_HEX + sizeof(next), chain->head, sizeof(chain->head));
                note_name(audit, i, name);
                store_batch_note(batch, name, (struct bytes){note, sizeof(note)});
                part->noted = chain->next;
        }
}

struct error *audit_topic_new(const struct audit_topic_options *options, struct audit_topic **out_audit) {
        struct audit_topic *audit = calloc(1, sizeof(*audit));
        if (audit) {
                audit->options = *options;
                buffer_init(&audit->record, (size_t)2 * AUDIT_LINE_MAX);
                audit->digest = digest_new();
                audit->parts = calloc(options->partitions, sizeof(*audit->parts));
        }
        if (!audit || !audit->digest || !audit->parts) {
                audit_topic_free(audit);
                return error_new(ERROR_MEMORY, "no memory for the audit");
        }
        struct error *error = read_notes(audit);
        if (error)
                audit_topic_free(audit);
        else
                *out_audit = audit;
        return error;
}

struct audit_topic *audit_topic_free(struct audit_topic *audit) {
        if (!audit)
                return NULL;
        digest_free(audit->digest);
        buffer_deinit(&audit->record);
        free(audit->parts);
        free(audit);
        return NULL;
}

static enum producer_sent send(struct audit_topic *audit, struct producer *producer, uint32_t partition,
                               struct bytes workspace) {
        struct producer_message message = {.topic = audit->options.topic,
                                           .partition = (int32_t)partition,
                                           .has_key = true,
                                           .has_value = true,
                                           .key = workspace,
                                           .value = buffer_view(&audit->record)};
        if (audit->record.failed || digest_failed(audit->digest))
                return PRODUCER_TOO_LARGE;
        enum producer_sent sent = producer_send(producer, &message);
        buffer_clear(&audit->record);
        return sent;
}

static enum producer_sent begin(struct audit_topic *audit, struct producer *producer, uint32_t partition,
                                struct bytes workspace) {
        struct part *part = &audit->parts[partition];
        uint64_t random;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
                return PRODUCER_TOO_LARGE;
        audit_append_begin(&audit->record, audit->digest, random, bytes_of(audit->options.writer),
                           part->before.next > 0 ? &part->before : NULL, clock_now_unix_ms(), &part->sent);
        return send(audit, producer, partition, workspace);
}

enum producer_sent audit_topic_send(struct audit_topic *audit, struct producer *producer,
                                    const struct audit_note *note) {
        struct bytes workspace = note->event.workspace;
        uint32_t partition = client_partition_of(workspace, audit->options.partitions);
        struct part *part = &audit->parts[partition];
        buffer_clear(&audit->record);
        enum producer_sent sent =
                part->sent.next > 0 ? PRODUCER_SENT : begin(audit, producer, partition, workspace);
        if (sent != PRODUCER_SENT)
                return sent;
        audit_append(&audit->record, audit->digest, &part->sent, &note->event);
        return send(audit, producer, partition, workspace);
}

void audit_topic_end(struct audit_topic *audit, enum audit_end end) {
        for (uint32_t i = 0; audit && i < audit->options.partitions; i++) {
                struct part *part = &audit->parts[i];
                if (end == AUDIT_COMMITTED) {
                        part->committed = part->sent;
                } else if (end == AUDIT_ABORTED || part->sent.next == part->committed.next) {
                        part->sent = part->committed;
                } else {
                        if (part->committed.next > 0)
                                part->before = part->committed;
                        part->committed = part->sent = (struct audit_chain){0};
                        part->noted = 0;
                }
        }
}
