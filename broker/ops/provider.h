#pragma once
/*
 * Providers and their models, from the configuration to the catalog that routing decides by. The tables
 * of what they say are schemas/provider_fields.def; rules between fields, and what is no single value,
 * are here.
 */
#include "broker/ops/config.h"
#include "broker/ops/listing.h"
#include "broker/ops/reader.h"

struct provider_draft {
        struct provider provider;
        const char *catalog; /* what catalogue files call it; "": its name */
        char *key;           /* malloc'ed; NULL when none is set. Secret */
};

extern const struct field_table provider_table; /* of the draft */

/* What a provider's models are filled in from. */
struct listings {
        const struct catalog *items; /* of catalogue files, in their order */
        unsigned count;
        struct zones *zones;
};

/*
 * What is read into: `config` gets catalog and keys, all in the reader's arena but the keys, each of which is
 * malloc'ed. Its catalog's id is made by providers_seal(), when all is known.
 */
void providers_read(struct reader *reader, const struct yaml_node *list, const struct config_options *options,
                    const struct listings *listings, struct config *config);
/* The one provider "default" of --base-url, which serves every model; `key` is taken, may be NULL. */
void providers_default(struct reader *reader, struct bytes base_url, char *key, struct config *config);
/* What keeps a text from being a key, as a sentence that does not show it; NULL when nothing does. */
const char *providers_key_problem(struct bytes key);
/*
 * Makes the catalog's id: a hash over all that decisions depend on, in catalog and prefs; no key.
 */
void providers_seal(struct config *config);
