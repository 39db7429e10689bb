#pragma once
/*
 * The configuration that follows another while jobs run. A decision, a journal's row under way, and a call
 * name providers, endpoints and workspaces by their index; so these stay: what has a name that was there
 * before keeps its index, what is new comes behind, and what is gone keeps its place but serves nothing (an
 * endpoint has no kinds, a workspace is `gone`).
 *
 * All strings are those of the configurations, the one before and the new one, which must both outlive it.
 */
#include "broker/ops/config.h"

struct succession {
        struct catalog catalog; /* its id is the new configuration's */
        const char **keys;      /* per provider of the catalog; NULL where none is set. Secret */
        struct provider *providers;
        struct endpoint *endpoints;
        struct workspace *workspaces;
};

/*
 * The catalog and keys of `config`, as they follow those. ERROR_USAGE when more would have to be kept than a
 * catalog holds: then only a new start helps.
 */
struct error *succession_make(const struct catalog *before, const char *const *keys_before,
                              const struct config *config, struct succession *out_succession) MUST_USE;
void succession_deinit(struct succession *succession);
/*
 * Nothing differs that a reload takes: catalog, keys, routing, retries. out_later: names of settings that
 * differ and take effect at the next start only, with commas between.
 */
bool succession_is_same(const struct config *before, const struct config *now, struct buffer *out_later);
