/*
 * Linear probing, at most 3/4 full, doubled by rehashing. Keys are hashes already, so their first word is the
 * place. A name is stored as two bytes of length and its bytes, padded to a multiple of 8.
 */
#include "broker/sim/identities.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_FIRST   ((size_t)1 << 12)
#define NAMES_MAX       ((size_t)UINT32_MAX * 8)
#define NAME_BYTES_MAX  ((size_t)1024)
#define NAME_UNIT_BYTES ((size_t)8)

bool sim_identities_init(struct sim_identities *identities) {
        struct sim_identity *entries = calloc(ENTRIES_FIRST, sizeof(*entries));

        if (entries == NULL)
                return false;
        *identities = (struct sim_identities){.entries = entries, .mask = ENTRIES_FIRST - 1};
        buffer_init(&identities->names, NAMES_MAX);
        buffer_append(&identities->names, "\0\0\0\0\0\0\0", NAME_UNIT_BYTES);
        return true;
}

void sim_identities_deinit(struct sim_identities *identities) {
        free(identities->entries);
        buffer_deinit(&identities->names);
        *identities = (struct sim_identities){0};
}

bool sim_identities_reset(struct sim_identities *identities) {
        struct sim_identities fresh;

        if (!sim_identities_init(&fresh))
                return false;
        sim_identities_deinit(identities);
        *identities = fresh;
        return true;
}

static bool is_free(const struct sim_identity *entry) {
        return entry->seen == 0;
}

static struct sim_identity *find(const struct sim_identities *identities, struct key128 key) {
        size_t i = key.hi & identities->mask;

        while (!is_free(&identities->entries[i]) && !key128_equal(identities->entries[i].key, key))
                i = (i + 1) & identities->mask;
        return &identities->entries[i];
}

static bool grow(struct sim_identities *identities) {
        size_t old_places = identities->mask + 1;
        struct sim_identity *old = identities->entries;
        struct sim_identity *entries = calloc(old_places * 2, sizeof(*entries));

        if (entries == NULL)
                return false;
        identities->entries = entries;
        identities->mask = old_places * 2 - 1;
        for (size_t i = 0; i < old_places; i++)
                if (!is_free(&old[i]))
                        *find(identities, old[i].key) = old[i];
        free(old);
        return true;
}

/* 0 when there is none, or no room: a name is a convenience. */
static uint32_t store_name(struct sim_identities *identities, struct bytes name) {
        static const char padding[NAME_UNIT_BYTES];
        struct buffer *names = &identities->names;
        uint32_t place = (uint32_t)(names->size / NAME_UNIT_BYTES);
        uint16_t size;

        if (name.size > NAME_BYTES_MAX)
                name.size = NAME_BYTES_MAX;
        size = (uint16_t)name.size;
        if (size == 0 || !buffer_reserve(names, sizeof(size) + size + NAME_UNIT_BYTES))
                return 0;
        buffer_append(names, &size, sizeof(size));
        buffer_append_bytes(names, name);
        buffer_append(names, padding, (NAME_UNIT_BYTES - names->size % NAME_UNIT_BYTES) % NAME_UNIT_BYTES);
        return place;
}

uint32_t sim_identities_seen(const struct sim_identities *identities, struct key128 key) {
        return find(identities, key)->seen;
}

static void count_up(uint32_t *count) {
        if (*count < UINT32_MAX)
                (*count)++;
}

struct sim_identity *sim_identities_see(struct sim_identities *identities, struct key128 key,
                                        struct bytes name) {
        struct sim_identity *entry;

        if (identities->count >= (identities->mask + 1) / 4 * 3 && !grow(identities))
                return NULL;
        entry = find(identities, key);
        if (is_free(entry)) {
                *entry = (struct sim_identity){.key = key, .name = store_name(identities, name)};
                identities->count++;
        }
        count_up(&entry->seen);
        return entry;
}

void sim_identities_executed(struct sim_identities *identities, struct key128 key) {
        struct sim_identity *entry = find(identities, key);

        if (is_free(entry))
                return;
        count_up(&entry->executed);
        if (entry->executed == 2)
                identities->executed_again++;
        if (entry->executed > identities->executed_max)
                identities->executed_max = entry->executed;
}

void sim_identities_answered(struct sim_identities *identities, struct key128 key) {
        struct sim_identity *entry = find(identities, key);

        if (is_free(entry))
                return;
        count_up(&entry->answered);
        if (entry->answered == 2)
                identities->answered_again++;
}

static struct bytes name_of(const struct sim_identities *identities, uint32_t place) {
        const char *at = identities->names.data + (size_t)place * NAME_UNIT_BYTES;
        uint16_t size;

        memcpy(&size, at, sizeof(size));
        return (struct bytes){at + sizeof(size), size};
}

void sim_identities_append_json(const struct sim_identities *identities, struct buffer *buffer) {
        for (size_t i = 0; i <= identities->mask; i++) {
                const struct sim_identity *entry = &identities->entries[i];

                if (is_free(entry))
                        continue;
                buffer_append_string(buffer, "{\"id\":\"");
                if (entry->name != 0)
                        buffer_append_json_escaped(buffer, name_of(identities, entry->name));
                else
                        buffer_printf(buffer, "%016" PRIx64 "%016" PRIx64, entry->key.hi, entry->key.lo);
                buffer_append_string(buffer, "\",\"seen\":");
                buffer_append_u64(buffer, entry->seen);
                buffer_append_string(buffer, ",\"count\":");
                buffer_append_u64(buffer, entry->executed);
                buffer_append_string(buffer, ",\"answered\":");
                buffer_append_u64(buffer, entry->answered);
                buffer_append_string(buffer, "}\n");
        }
}
