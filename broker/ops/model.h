#pragma once
/*
 * What is said of one model: of a provider in the configuration, or in a catalogue file. The tables are
 * schemas/provider_fields.def; what is no single value, and what holds between fields, is here.
 */
#include "broker/ops/reader.h"
#include "broker/ops/zone.h"

/* Fields are read into its first member. */
struct model_draft {
        struct endpoint endpoint;
        struct zones *zones;
        field_set said; /* a bit per field of the table */
};

/* A window as it is written; both texts are the reader's. */
struct window_draft {
        const char *when, *multiply;
};

extern const struct field_table model_table;  /* of struct model_draft */
extern const struct field_table tier_table;   /* of struct price_tier */
extern const struct field_table window_table; /* of struct window_draft */

/* Nothing is said: prices unknown, every kind. */
void model_draft_init(struct model_draft *draft, struct zones *zones);
/*
 * Reads the group of names at `node`; texts, tiers and windows are made in the reader's arena. `provider` and
 * `name` of the endpoint are left to the caller. false when it is no group, with a finding as for all else.
 */
bool model_read(struct reader *reader, const struct yaml_node *node, struct model_draft *draft);
/*
 * What the draft does not say is taken from `known`. Prices are one: a model with any price of its own takes
 * none, nor tiers; windows and batch prices come with the prices that they are for.
 */
void model_fill(struct model_draft *draft, const struct endpoint *known);
/* "provider/model" in the arena. */
const char *model_endpoint_name(struct reader *reader, const char *provider, const char *model);
/* "image_edits"; the kind's name in lists of the configuration. */
const char *model_kind_name(enum kind kind);
/* Something is wrong with the value of that name in the map. */
void model_find_in(struct reader *reader, const struct yaml_node *map, const char *name,
                   const char *sentence);
