#pragma once
/*
 * SIGHUP while jobs run: the configuration is read again, with the options of the start. A good one takes the
 * place of the one before (broker/ops/succession.h); a bad one is told, and nothing changes. All that were
 * ever in force are kept to the end, since decisions, receipts and calls under way point into them: a few
 * megabytes at the most each, and RELOADS_MAX of them.
 */
#include "broker/cli/assemble.h"
#include "broker/cli/options.h"
#include "broker/ops/succession.h"

enum { RELOADS_MAX = 1000 };

struct reload_kept;

struct reloads {
        const struct options *options;
        /* What this command does not do, as at the start. */
        struct error *(*check)(const struct config *config);
        const struct config *config;     /* the last good one; at first that of the start */
        const struct assembly *assembly; /* of it */
        const struct config *in_force;   /* the last that the shards have taken; at first the same */
        struct reload_kept *kept;        /* the last one first */
        unsigned count;
};

/* true: `config` and `assembly` are new, for the shards to take. Else it says why not. */
bool reloads_load(struct reloads *reloads);
/* There is one that the shards have yet to take. */
bool reloads_pending(const struct reloads *reloads);
/* They have: says so. What is decided from here on is decided under it. */
void reloads_taken(struct reloads *reloads);
/* Keeps them as long as the last one; gives them. NULL is fine. */
const struct budget_spend *const *reloads_keep(struct reloads *reloads, const struct budget_spend **spends);
const struct quota_use *reloads_keep_quotas(struct reloads *reloads, struct quota_use *quotas);
/* After all that used them has ended. */
void reloads_deinit(struct reloads *reloads);
/* For shards: all but decoder, spends and quotas. */
struct shard_reload reloads_for_shard(const struct reloads *reloads, uint32_t in_flight, uint32_t shards);
