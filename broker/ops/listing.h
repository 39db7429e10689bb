#pragma once
/*
 * Catalogue files: what is known of the models of providers, without addresses and keys. YAML of one list,
 * `providers`, whose items have a name and `models` as in the configuration. Such files are made by
 * `batchferry catalog import`, or by hand; the configuration fills its models in from them.
 *
 * In memory a file is a struct catalog of providers that have nothing but names.
 */
#include "broker/base/error.h"
#include "broker/ops/zone.h"
#include "workers/routing/catalog.h"

enum { LISTING_MODELS_MAX = 8192, LISTING_PROVIDERS_MAX = 1024 };

/*
 * Reads a file; all is made in the arena. ERROR_USAGE with "file:line:column: what, and what to do", all
 * findings, a line each.
 */
struct error *listing_load(const char *path, struct arena *arena, struct zones *zones,
                           struct catalog *out_catalog) MUST_USE;
struct error *listing_load_text(const char *name, struct bytes text, struct arena *arena, struct zones *zones,
                                struct catalog *out_catalog) MUST_USE;
/* UINT32_MAX when it has none of that name. */
uint32_t listing_provider(const struct catalog *listing, const char *name);
/*
 * The model that the endpoint calls upstream, by its upstream name or its name, else that of the name which
 * jobs use; NULL when the file does not have it, and for "*".
 */
const struct endpoint *listing_find(const struct catalog *listing, const char *provider,
                                    const struct endpoint *endpoint);
/* As a catalogue file. */
void listing_print(const struct catalog *listing, struct buffer *out_text);
