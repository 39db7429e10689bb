/* Notes are few and found by their texts; entries are put in the order of providers, then of the file. */
#include "broker/catalog/import.h"

#include "workers/routing/cost.h"
#include "workers/routing/price.h"

#include <stdlib.h>
#include <string.h>

enum {
        ARENA_BYTES_MAX = 256 << 20, /* above what a file of the largest size can ask for */
        PROVIDER_BYTES_MAX = 64,
        ENTRIES_MAX = 8192, /* as many as a catalogue file may hold */
        DETAILS_SHOWN_MAX = 6,
};

struct import_entry {
        const char *provider, *entry;
        struct endpoint endpoint;
};

void import_init(struct import *import) {
        *import = (struct import){.notes_count = 0};
        arena_init(&import->arena, ARENA_BYTES_MAX);
}

void import_deinit(struct import *import) {
        free(import->entries);
        arena_deinit(&import->arena);
}

/* ---- notes ---- */

static const char *keep(struct import *import, struct bytes text) {
        const char *kept = arena_copy(&import->arena, text);
        import->memory_refused = import->memory_refused || kept == NULL;
        return kept != NULL ? kept : "";
}

/* When there are too many kinds of notes, the rest go without their detail. */
static struct import_note *note_of(struct import *import, bool left_out, const char *reason,
                                   struct bytes detail) {
        for (uint32_t i = 0; i < import->notes_count; i++) {
                struct import_note *note = &import->notes[i];
                if (note->left_out == left_out && strcmp(note->reason, reason) == 0 &&
                    bytes_equal_string(detail, note->detail))
                        return note;
        }
        if (import->notes_count == IMPORT_NOTES_MAX)
                return &import->notes[IMPORT_NOTES_MAX - 1];
        struct import_note *note = &import->notes[import->notes_count++];
        *note = (struct import_note){.reason = reason, .detail = keep(import, detail), .left_out = left_out};
        return note;
}

static void add_note(struct import *import, bool left_out, struct bytes name, const char *reason,
                     struct bytes detail) {
        struct import_note *note = note_of(import, left_out, reason, detail);
        struct import_name *item = arena_alloc(&import->arena, sizeof *item);
        note->count++;
        if (item == NULL) {
                import->memory_refused = true;
                return;
        }
        *item = (struct import_name){.name = keep(import, name)};
        if (note->last == NULL)
                note->first = item;
        else
                note->last->next = item;
        note->last = item;
}

void import_leave_out(struct import *import, struct bytes name, const char *reason, struct bytes detail) {
        add_note(import, true, name, reason, detail);
}

void import_without(struct import *import, struct bytes name, const char *reason, struct bytes detail) {
        add_note(import, false, name, reason, detail);
}

/* ---- entries ---- */

struct endpoint import_endpoint(void) {
        struct endpoint endpoint = {.price = price_unknown,
                                    .batch = price_unknown,
                                    .quality = -1,
                                    .quantization = "unknown",
                                    .region = "",
                                    .kinds = (1U << KINDS_COUNT) - 1};
        price_services_init(endpoint.service);
        return endpoint;
}

struct price_tier *import_tier(struct import *import, struct endpoint *endpoint, int64_t above_input) {
        struct price_tier *tiers = (struct price_tier *)(uintptr_t)endpoint->tiers;
        unsigned at = 0;
        while (at < endpoint->tiers_count && tiers[at].above_input < above_input)
                at++;
        if (at < endpoint->tiers_count && tiers[at].above_input == above_input)
                return &tiers[at];
        if (endpoint->tiers_count == PRICE_TIERS_MAX)
                return NULL;
        if (tiers == NULL)
                tiers = arena_alloc(&import->arena, PRICE_TIERS_MAX * sizeof *tiers);
        if (tiers == NULL) {
                import->memory_refused = true;
                return NULL;
        }
        memmove(&tiers[at + 1], &tiers[at], (endpoint->tiers_count - at) * sizeof *tiers);
        tiers[at] = (struct price_tier){.above_input = above_input, .price = price_unknown};
        price_services_init(tiers[at].service);
        endpoint->tiers = tiers;
        endpoint->tiers_count++;
        return &tiers[at];
}

/* Reasoning that costs as other output need not be said, and in a tier with another output price must not. */
static void drop_plain_reasoning(struct price *price) {
        if (price->reasoning == price->output)
                price->reasoning = PRICE_UNKNOWN;
}

static bool is_empty(const struct price_tier *tier) {
        bool empty = price_is_unknown(&tier->price);
        for (int i = 0; i < SERVICE_PRICES; i++)
                empty = empty && price_is_unknown(&tier->service[i]);
        return empty;
}

void import_finish_prices(struct endpoint *endpoint) {
        struct price_tier *tiers = (struct price_tier *)(uintptr_t)endpoint->tiers;
        uint8_t kept = 0;
        drop_plain_reasoning(&endpoint->price);
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                drop_plain_reasoning(&tiers[i].price);
                if (is_empty(&tiers[i]))
                        continue;
                tiers[kept] = tiers[i];
                tiers[kept].price = price_or(&tiers[i].price, &endpoint->price);
                price_services_complete(tiers[kept].service, endpoint->service);
                kept++;
        }
        endpoint->tiers_count = kept;
}

static bool is_provider_name(struct bytes name) {
        bool well = name.size > 0 && name.size <= PROVIDER_BYTES_MAX;
        for (size_t i = 0; i < name.size; i++) {
                char c = name.data[i];
                well = well &&
                       ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-');
        }
        return well;
}

static bool is_model_name(struct bytes name) {
        bool well = name.size > 0 && name.size <= IMPORT_NAME_BYTES_MAX && !bytes_equal_string(name, "*");
        for (size_t i = 0; i < name.size; i++)
                well = well && (unsigned char)name.data[i] > 0x20 && (unsigned char)name.data[i] < 0x7f;
        return well;
}

static const struct import_entry *find_entry(const struct import *import, struct bytes provider,
                                             struct bytes model) {
        for (uint32_t i = 0; i < import->entries_count; i++)
                if (bytes_equal_string(model, import->entries[i].endpoint.model) &&
                    bytes_equal_string(provider, import->entries[i].provider))
                        return &import->entries[i];
        return NULL;
}

static bool make_room(struct import *import) {
        if (import->entries_count < import->entries_capacity)
                return true;
        uint32_t capacity = import->entries_capacity == 0 ? 256 : 2 * import->entries_capacity;
        struct import_entry *entries = realloc(import->entries, capacity * sizeof *entries);
        import->memory_refused = import->memory_refused || entries == NULL;
        if (entries == NULL)
                return false;
        import->entries = entries;
        import->entries_capacity = capacity;
        return true;
}

static bool same_price(const struct price *a, const struct price *b) {
        return memcmp(a, b, sizeof *a) == 0;
}

void import_add(struct import *import, struct bytes entry, struct bytes provider, struct bytes model,
                const struct endpoint *endpoint) {
        if (!is_provider_name(provider)) {
                import_leave_out(import, entry, "the provider's name cannot be used", BYTES(""));
                return;
        }
        if (!is_model_name(model)) {
                import_leave_out(import, entry, "the model's name cannot be used", BYTES(""));
                return;
        }
        const struct import_entry *other = find_entry(import, provider, model);
        if (other != NULL) {
                bool same = same_price(&other->endpoint.price, &endpoint->price);
                import_leave_out(import, entry,
                                 same ? "the same model again" : "the same model again, with other prices",
                                 BYTES(""));
                return;
        }
        import->too_many = import->too_many || import->entries_count == ENTRIES_MAX;
        if (import->too_many || !make_room(import))
                return;
        struct import_entry *added = &import->entries[import->entries_count++];
        *added = (struct import_entry){keep(import, provider), keep(import, entry), *endpoint};
        added->endpoint.model = added->endpoint.upstream = keep(import, model);
}

/* ---- the whole ---- */

struct error *import_syntax_error(const char *name, struct bytes text, size_t position, const char *message) {
        size_t line = 1, column = 1;
        for (size_t i = 0; i < position && i < text.size; i++) {
                column++;
                if (text.data[i] == '\n') {
                        line++;
                        column = 1;
                }
        }
        return error_new(ERROR_INPUT, "%s:%zu:%zu: %s", name, line, column, message);
}

static int compare_entries(const void *a, const void *b) {
        const struct import_entry *left = a, *right = b;
        int order = strcmp(left->provider, right->provider);
        return order != 0 ? order : strcmp(left->endpoint.model, right->endpoint.model);
}

struct error *import_finish(struct import *import, struct catalog *out_catalog) {
        size_t count = import->entries_count;
        if (import->too_many)
                return error_new(ERROR_INPUT, "more than %d entries: this is no catalogue", ENTRIES_MAX);
        struct provider *providers = arena_alloc(&import->arena, (count + 1) * sizeof *providers);
        struct endpoint *endpoints = arena_alloc(&import->arena, (count + 1) * sizeof *endpoints);
        if (import->memory_refused || providers == NULL || endpoints == NULL)
                return error_new(ERROR_MEMORY, "out of memory");
        uint32_t providers_count = 0;
        if (count > 0)
                qsort(import->entries, count, sizeof *import->entries, compare_entries);
        for (size_t i = 0; i < count; i++) {
                const struct import_entry *entry = &import->entries[i];
                if (i == 0 || strcmp(entry->provider, import->entries[i - 1].provider) != 0)
                        providers[providers_count++] = (struct provider){
                                .name = entry->provider, .region = "", .retention_days = -1};
                endpoints[i] = entry->endpoint;
                endpoints[i].provider = providers_count - 1;
        }
        *out_catalog = (struct catalog){.providers = providers,
                                        .providers_count = providers_count,
                                        .endpoints = endpoints,
                                        .endpoints_count = (uint32_t)count};
        return NULL;
}

bool import_is_priced(const struct endpoint *endpoint, enum kind kind) {
        struct usage usage;
        int64_t picousd;
        usage_init(&usage);
        usage.input_tokens = usage.output_tokens = 1;
        usage.audio_ms = 1000;
        usage.characters = usage.images = usage.search_units = 1;
        return cost_of_usage(&endpoint->price, kind, &usage, &picousd);
}

/* ---- the report ---- */

static int compare_notes(const void *a, const void *b) {
        const struct import_note *left = *(const struct import_note *const *)a;
        const struct import_note *right = *(const struct import_note *const *)b;
        if (left->left_out != right->left_out)
                return left->left_out ? -1 : 1;
        int order = strcmp(left->reason, right->reason);
        if (order != 0)
                return order;
        if (left->count != right->count)
                return left->count > right->count ? -1 : 1;
        return strcmp(left->detail, right->detail);
}

static void append_names(const struct import_note *note, struct buffer *out_text) {
        for (const struct import_name *item = note->first; item != NULL; item = item->next)
                buffer_printf(out_text, "         %s\n", item->name);
}

/* The details of one reason, most frequent first: "(realtime 28, video_generation 25, and 3 more)". */
static void append_details(const struct import_note *const *notes, size_t count, bool all,
                           struct buffer *out_text) {
        const char *before = " (";
        if (count == 1 && notes[0]->detail[0] == '\0')
                return;
        for (size_t i = 0; i < count; i++) {
                if (!all && i == DETAILS_SHOWN_MAX) {
                        buffer_printf(out_text, ", and %zu more", count - i);
                        break;
                }
                buffer_printf(out_text, "%s%s %u", before, notes[i]->detail, notes[i]->count);
                before = ", ";
        }
        buffer_append_char(out_text, ')');
}

static void append_reason(const struct import_note *const *notes, size_t count, bool with_names,
                          struct buffer *out_text) {
        uint32_t total = 0;
        for (size_t i = 0; i < count; i++)
                total += notes[i]->count;
        buffer_printf(out_text, "  %5u  %s", total, notes[0]->reason);
        append_details(notes, count, with_names, out_text);
        buffer_append_char(out_text, '\n');
        for (size_t i = 0; i < count && with_names; i++) {
                if (notes[i]->detail[0] != '\0')
                        buffer_printf(out_text, "       %s:\n", notes[i]->detail);
                append_names(notes[i], out_text);
        }
}

void import_report(const struct import *import, bool with_names, struct buffer *out_text) {
        const struct import_note *notes[IMPORT_NOTES_MAX];
        size_t count = import->notes_count;
        for (size_t i = 0; i < count; i++)
                notes[i] = &import->notes[i];
        qsort(notes, count, sizeof *notes, compare_notes);
        for (size_t i = 0, behind; i < count; i = behind) {
                for (behind = i; behind < count && notes[behind]->left_out == notes[i]->left_out &&
                                 strcmp(notes[behind]->reason, notes[i]->reason) == 0;)
                        behind++;
                if (i == 0 || notes[i - 1]->left_out != notes[i]->left_out)
                        buffer_append_string(out_text,
                                             notes[i]->left_out ? "left out:\n" : "taken without:\n");
                append_reason(&notes[i], behind - i, with_names, out_text);
        }
}
