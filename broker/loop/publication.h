#pragma once
/* What goes on its way to the topics: made by the intake and the committer, owned by the publisher. */
#include "broker/core/engine.h"
#include "broker/loop/audit_note.h"
#include "broker/loop/origin.h"
#include "broker/loop/reply.h"
#include "broker/store/store.h"

enum publication_kind {
        PUBLICATION_RESULT,      /* and its state record */
        PUBLICATION_DEAD_LETTER, /* and its state record */
        PUBLICATION_REHOME,      /* the record to its own partition, and a state record */
        PUBLICATION_REPLAY,      /* a result once more, and a state record of the duplicate */
        PUBLICATION_PARK,        /* a state record */
        PUBLICATION_OWNER,       /* a state record */
        PUBLICATION_SPEND,       /* a state record; told of what becomes of it */
        PUBLICATION_FORGET,      /* tombstones for keys */
        PUBLICATION_MARK,        /* everything before `offset` is settled */
        PUBLICATION_AUDIT,       /* a record for the audit; of no partition, and never dropped */
};

struct publication {
        enum publication_kind kind;
        uint32_t partition, epoch;
        uint64_t offset;
        struct handle handle; /* RESULT, DEAD_LETTER: to be told, with these */
        struct key128 key;
        struct settled settled;
        const struct job_spec *job;    /* with its origin; valid until told */
        const struct outcome *outcome; /* the same */
        struct reply reply;
        struct begun_id begun; /* the attempt that ends with it, unless its answer ended it; block 0: none */
        struct buffer state_key; /* PARK, OWNER, SPEND */
        struct buffer value;     /* RESULT, REPLAY; PARK, OWNER, SPEND: the state record; FORGET: expiry.h */
        uint32_t word;           /* SPEND */
        struct origin *origin;   /* REHOME, REPLAY: the publication's */
        struct job_spec *repeat; /* REPLAY: the duplicate, as `job`; the publication's */
        size_t copied_bytes;     /* REHOME, REPLAY: see board.h */
        uint32_t home;           /* REHOME */
        int64_t due_unix_ms;     /* PARK */
        struct audit_note *note; /* AUDIT: the publication's */
        uint64_t state_offset;   /* where its state record went */
        bool there;              /* a transaction of unknown end turned out to be committed with it */
};

void publication_deinit(struct publication *publication);
/* A result or a dead letter. */
bool publication_is_result(const struct publication *publication);
/*
 * The completion of one that has ended, whose reply goes with it. `stands`: it was published. false: nobody
 * is told.
 */
struct completion;
bool publication_completes(struct publication *publication, bool stands, struct completion *out_completion);
