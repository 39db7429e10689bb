#include "broker/cli/reload.h"

#include "broker/base/check.h"
#include "broker/cli/say.h"

#include <stdlib.h>

enum { LATER_BYTES_MAX = 4096 };

struct reload_kept {
        struct config *config;
        struct succession succession;
        struct assembly assembly;
        const struct budget_spend **spends;
        struct quota_use *quotas;
        struct reload_kept *before;
};

static struct reload_kept *kept_free(struct reload_kept *kept) {
        struct reload_kept *before = kept->before;
        succession_deinit(&kept->succession);
        config_free(kept->config);
        free(kept->spends);
        free(kept->quotas);
        free(kept);
        return before;
}

const struct budget_spend *const *reloads_keep(struct reloads *reloads, const struct budget_spend **spends) {
        reloads->kept->spends = spends;
        return spends;
}

const struct quota_use *reloads_keep_quotas(struct reloads *reloads, struct quota_use *quotas) {
        reloads->kept->quotas = quotas;
        return quotas;
}

void reloads_deinit(struct reloads *reloads) {
        while (reloads->kept)
                reloads->kept = kept_free(reloads->kept);
}

/* A configuration that could take over. */
static struct error *load(const struct reloads *reloads, struct reload_kept *kept) {
        if (reloads->count == RELOADS_MAX)
                return error_new(ERROR_USAGE,
                                 "it was read %d times since the start, which is all that is possible: start "
                                 "again to take it",
                                 RELOADS_MAX);
        struct error *error = options_load(reloads->options, &kept->config);
        if (!error)
                error = reloads->check(kept->config);
        if (!error)
                error = succession_make(reloads->assembly->catalog, reloads->assembly->keys, kept->config,
                                        &kept->succession);
        if (!error)
                error = assemble(kept->config, &kept->succession, &kept->assembly);
        return error;
}

static void tell_later(const struct buffer *later) {
        if (later->size > 0)
                say(LOG_LEVEL_WARNING, "these settings differ too, and take effect at the next start: %.*s",
                    (int)later->size, later->data);
}

/* false: it is the same in all that is taken. */
static bool take(struct reloads *reloads, struct reload_kept *kept) {
        struct buffer later;
        const struct config *config = kept->config;
        CHECK(config);
        buffer_init(&later, LATER_BYTES_MAX);
        bool same = succession_is_same(reloads->config, config, &later);
        if (same) {
                say(LOG_LEVEL_INFO, "the configuration was read again: nothing has changed, catalog %s",
                    config->catalog.id);
        } else {
                kept->before = reloads->kept;
                reloads->kept = kept;
                reloads->count++;
                reloads->config = config;
                reloads->assembly = &kept->assembly;
        }
        tell_later(&later);
        buffer_deinit(&later);
        return !same;
}

bool reloads_pending(const struct reloads *reloads) {
        return reloads->in_force != reloads->config;
}

void reloads_taken(struct reloads *reloads) {
        const struct catalog *before = &reloads->in_force->catalog, *now = &reloads->config->catalog;
        say(LOG_LEVEL_INFO,
            "the configuration was read again: catalog %s follows %s, with %u providers and %u models",
            now->id, before->id, now->providers_count, now->endpoints_count);
        reloads->in_force = reloads->config;
}

bool reloads_load(struct reloads *reloads) {
        struct reload_kept *kept = calloc(1, sizeof(*kept));
        struct error *error = kept ? load(reloads, kept) : error_new(ERROR_MEMORY, "no memory");
        if (error) {
                say(LOG_LEVEL_ERROR, "%s", error->message);
                say(LOG_LEVEL_ERROR,
                    "the configuration was not reloaded, and the one before stays in force (catalog %s): "
                    "mend it and send SIGHUP again",
                    reloads->config->catalog.id);
                error_free(error);
        }
        bool taken = kept && !error && take(reloads, kept);
        if (kept && !taken)
                kept_free(kept);
        return taken;
}

struct shard_reload reloads_for_shard(const struct reloads *reloads, uint32_t in_flight, uint32_t shards) {
        const struct assembly *assembly = reloads->assembly;
        return (struct shard_reload){.catalog = assembly->catalog,
                                     .engine = assemble_engine(assembly, in_flight, shards),
                                     .dialects = assembly->dialects,
                                     .keys = assembly->keys};
}
