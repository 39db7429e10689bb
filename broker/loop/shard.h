#pragma once
/*
 * One shard: a thread's event loop around one engine. The turn is the only loop there is: read the clock,
 * gather events from the adapters (bounded), step the engine, carry out its commands, hand durable work to
 * the committer, sleep until something happens. Shards share nothing but the store and read-only
 * configuration. Where jobs come from is the intake's matter.
 */
#include "broker/base/error.h"
#include "broker/core/engine.h"
#include "broker/loop/calls.h"
#include "broker/loop/committer.h"
#include "broker/loop/intake.h"

struct shard;

struct shard_options {
        const struct catalog *catalog;
        struct engine_config engine;
        struct calls_options calls;         /* slots and catalog are filled in */
        struct committer_options committer; /* catalog and event_fd are filled in */
        const struct intake_ops *intake_ops;
        void *intake;
        size_t memory_max;              /* payload bytes; intake pauses at it */
        void (*report)(void *userdata); /* every 50 ms or so of turning, on the shard's thread; NULL */
        void *report_userdata;
        bool audited; /* calls and refusals go to the committer as notes */
        /* Of the audit: it says already how this attempt ended. NULL: never */
        bool (*audit_ended)(const void *userdata, struct key128 job, uint32_t attempt);
        const void *audit_userdata;
        bool endless; /* providers that cannot be used are waited for, for ever */
};

enum { SHARD_TAKE_MAX = 256 }; /* jobs that an intake gives in a turn, at most */

enum shard_end {
        SHARD_FINISHED,    /* the intake has ended and every job is settled */
        SHARD_INTERRUPTED, /* drained or stopped; the state is kept */
        SHARD_STUCK,       /* no provider can be used until somebody acts; the state is kept */
        SHARD_FAILED,      /* disk or store; the state is kept */
};

/* A copy made by the shard now and then; any thread may read it. */
struct shard_progress {
        struct engine_stats stats;
        uint64_t bytes_read, bytes_total; /* of the source; 0 when not known */
        uint32_t calls_in_flight;
        char last_error[ANSWER_MESSAGE_MAX]; /* of a provider; while nothing has succeeded */
        enum trouble trouble;
        char message[512]; /* of the trouble, or why it is stuck */
};

struct error *shard_new(const struct shard_options *options, struct shard **out_shard) MUST_USE;
struct shard *shard_free(struct shard *shard); /* NULL gives NULL */

/* Before the run: engine_quotas_load(). Whether they are kept, `engine.quotas_kept` of the options says. */
void shard_quotas_load(struct shard *shard, const struct quota_use *uses, size_t count);
/* Runs until the end; on the calling thread. out_error: for SHARD_FAILED. */
enum shard_end shard_run(struct shard *shard, struct error **out_error);
/* From any thread or signal handler: once, finish what is under way; twice, stop at once. */
void shard_drain(struct shard *shard);
void shard_stop(struct shard *shard);

/*
 * From any thread: at the start of a turn that takes the place of what the shard was made with. What it
 * points to must outlive the shard, and so must what was given before. Once it is taken, the decoder is the
 * intake's, and the one before is freed.
 */
struct shard_reload {
        const struct catalog *catalog; /* follows the last one that was given: catalog indexes stay */
        struct engine_config engine;   /* see engine_reload() */
        const struct dialect *const *dialects;
        const char *const *keys;
        struct job_decoder *decoder;
        const struct budget_spend *const *spends; /* per subject; NULL */
        const struct quota_use *quotas;           /* see engine_quotas_load() */
        size_t quotas_count;
};
void shard_reload(struct shard *shard, const struct shard_reload *reload);
/* From any thread: the last one that was given is in force. */
bool shard_reload_taken(const struct shard *shard);

void shard_get_progress(struct shard *shard, struct shard_progress *out_progress);
/* Before and after the run, and on the shard's thread. */
const struct catalog *shard_catalog(const struct shard *shard); /* the last that was taken */
/* To be asked, and for what it says of purses and spends; all else is told to the shard. */
struct engine *shard_engine(const struct shard *shard);

size_t shard_payload_bytes(const struct shard *shard); /* held; the same */

/* For the intake. */
struct committer *shard_committer(struct shard *shard);
int shard_event_fd(const struct shard *shard); /* write 1 to wake the loop */
/* Another job may be taken. */
bool shard_has_room(const struct shard *shard);
bool shard_stopping(const struct shard *shard);
void shard_take(struct shard *shard, struct job_spec *job);
/* An intent of the intake's own; goes to the committer at the end of the turn, in order. */
struct intent *shard_intend(struct shard *shard, enum intent_kind kind);
size_t shard_intents(const struct shard *shard);
/* Watches a descriptor for one event; again with `watched`. */
struct error *shard_watch_once(struct shard *shard, int fd, bool watched) MUST_USE;
/* While held, no call begins; answers are still taken. */
void shard_hold(struct shard *shard, bool held);
/* engine_revoke(), with its commands carried out; engine_share(); engine_release(). */
void shard_revoke(struct shard *shard, bool (*gone)(void *userdata, const struct job_spec *job),
                  void *userdata);
void shard_share(struct shard *shard, const struct limit_part *parts, size_t count, uint32_t whole);
void shard_release(struct shard *shard, uint32_t part,
                   void (*each)(void *userdata, const struct quota_use *use), void *userdata);
