#pragma once
/*
 * What a shard wants to be durable, or to be told: the committer's work. There are two or more for each job,
 * and many wait for a commit at a time, so they are kept small.
 */
#include "broker/core/engine.h"
#include "broker/loop/reply.h"
#include "broker/store/store.h"

struct audit_note;
struct publication;

enum intent_kind {
        INTENT_OPEN,
        INTENT_END,
        INTENT_NOTE, /* the attempt is journaled anew as `open` says; no completion */
        INTENT_SETTLE,
        INTENT_AUDIT,   /* a note for the audit; no completion */
        INTENT_PUBLISH, /* `publication` goes on behind what came before it; completion of a SPEND only */
};

struct intent {
        enum intent_kind kind;
        struct handle handle;
        struct begun_id begun; /* END, NOTE, SETTLE: the attempt */
        struct key128 key;
        const struct job_spec *job; /* of SETTLE read until the completion is taken */
        bool drops_answer;          /* OPEN: the row of an answer whose value is not kept goes with it */
        union {
                struct begun open; /* OPEN, NOTE */
                struct {
                        const struct outcome *outcome; /* read as long as the job */
                        struct reply reply;
                };                               /* SETTLE */
                struct publication *publication; /* PUBLISH: malloc'ed, the committer's */
                struct audit_note *note;         /* AUDIT: the same */
        };
};

/* Gives back what it owns. */
void intent_deinit(struct intent *intent);
