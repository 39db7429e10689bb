#pragma once
/*
 * What limits have given, between the engine, which counts by indexes of a catalog, and those who keep it by
 * names: another configuration finds its own.
 */
#include "broker/core/engine.h"
#include "broker/store/store.h"

/* The index in the catalog of what has that name. */
bool quota_find(const struct catalog *catalog, enum quota_of of, struct bytes name, uint32_t *out_index);
struct bytes quota_name(const struct catalog *catalog, enum quota_of of, uint32_t index);
/* Its row; the name is the catalog's. */
struct quota_row quota_row_of(const struct catalog *catalog, const struct quota_use *use);

struct quota_uses {
        struct quota_use *items;
        size_t count, capacity;
};
bool quota_uses_add(struct quota_uses *uses, const struct quota_use *use); /* false: memory was refused */
void quota_uses_deinit(struct quota_uses *uses);
/* Reads what the store has of the limits of those that the catalog names; for engine_quotas_load(). */
struct error *quota_uses_read(struct quota_uses *uses, struct store *store,
                              const struct catalog *catalog) MUST_USE;
/*
 * Adds to the batch that rows go which concern no window any more, whoever they were about. For the start of
 * a run.
 */
struct error *quota_uses_expire(struct store *store, int64_t now_unix_ms, struct store_batch *batch) MUST_USE;
