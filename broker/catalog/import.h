#pragma once
/*
 * Other people's catalogues into ours. An import collects entries, each a model of a provider, and notes of
 * what could not be used: entries that were left out, and parts that entries were taken without, by reason.
 * What a catalogue does not say stays unsaid; an unknown price is never a number.
 *
 * Formats are read by one file each (import_litellm.c, import_openrouter.c).
 */
#include "broker/base/arena.h"
#include "broker/base/error.h"
#include "workers/routing/catalog.h"

enum {
        IMPORT_FILE_BYTES_MAX = 16 << 20, /* ten times the largest one known */
        IMPORT_NOTES_MAX = 512,
        IMPORT_NAME_BYTES_MAX = 256, /* of a model, as in the configuration */
};

struct import_name {
        const char *name;
        struct import_name *next;
};

/* One reason, with one detail of it ("realtime", "input_cost_per_pixel"), and whom it concerns. */
struct import_note {
        const char *reason; /* static */
        const char *detail; /* "" when the reason says all */
        bool left_out;      /* the entry; else it was taken, without something */
        uint32_t count;
        struct import_name *first, *last;
};

struct import {
        struct arena arena; /* of all that is below */
        struct import_note notes[IMPORT_NOTES_MAX];
        uint32_t notes_count;
        struct import_entry *entries;
        uint32_t entries_count, entries_capacity, entries_seen;
        bool memory_refused, too_many;
};

void import_init(struct import *import);
void import_deinit(struct import *import);

/* ---- for formats ---- */

/* Says of an entry that it is left out, resp. taken without something; the texts are copied but `reason`. */
void import_leave_out(struct import *import, struct bytes name, const char *reason, struct bytes detail);
void import_without(struct import *import, struct bytes name, const char *reason, struct bytes detail);
/* An endpoint of which nothing is said. */
struct endpoint import_endpoint(void);
/*
 * Takes an entry. The model's name is copied; tiers are made in import.arena. `entry` is what the file calls
 * it. Left out, with a note, when the name cannot be used or the provider has a model of that name.
 */
void import_add(struct import *import, struct bytes entry, struct bytes provider, struct bytes model,
                const struct endpoint *endpoint);
/* "file:line:column: ..." of a place in a text. */
struct error *import_syntax_error(const char *name, struct bytes text, size_t position,
                                  const char *message) MUST_USE;
/* Adds a tier, in its order, or finds the one there is; NULL when there are too many. */
struct price_tier *import_tier(struct import *import, struct endpoint *endpoint, int64_t above_input);
/* When all of them are taken: tiers get what they do not name, those that name nothing go. */
void import_finish_prices(struct endpoint *endpoint);

/* ---- for those who import ---- */

/* Reads the text of a file. ERROR_INPUT with its place when it is no such catalogue. */
typedef struct error *import_format(struct import *import, const char *name, struct bytes text) MUST_USE;
import_format import_litellm, import_openrouter;

/* All that was taken, as a catalogue file's content; made in import.arena. */
struct error *import_finish(struct import *import, struct catalog *out_catalog) MUST_USE;
/* The notes as lines for a person; with names, all of them. */
void import_report(const struct import *import, bool with_names, struct buffer *out_text);
/* Whether a call of that kind can be priced when everything about it is known. */
bool import_is_priced(const struct endpoint *endpoint, enum kind kind);
