/* The entries stand in one array without gaps: the last one takes the place of one that goes. The map is made
 * anew, twice as large, when it is full. */
#include "broker/store/answers.h"

#include "broker/base/check.h"
#include "broker/store/journal.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 1024 };

static struct error *no_memory(void) {
        return error_new(ERROR_MEMORY, "no memory for unpublished answers");
}

static struct error *grow(struct answers *answers, size_t capacity) {
        struct answer_entry *entries = realloc(answers->entries, capacity * sizeof(*entries));
        if (!entries)
                return no_memory();
        answers->entries = entries;
        struct map by_key;
        if (!map_init(&by_key, capacity))
                return no_memory();
        for (size_t i = 0; i < answers->count; i++)
                CHECK(map_put(&by_key, key_in(entries[i].partition, entries[i].key), (uint32_t)i));
        map_deinit(&answers->by_key);
        answers->by_key = by_key;
        answers->capacity = capacity;
        return NULL;
}

/* `capacity` is of both, the array and the map; an array that has grown alone does no harm. */
static struct error *make_room(struct answers *answers, size_t wanted) {
        size_t capacity = answers->capacity ? answers->capacity : CAPACITY_FIRST;
        if (wanted <= answers->capacity)
                return NULL;
        while (capacity < wanted)
                capacity *= 2;
        return grow(answers, capacity);
}

struct answer_entry *answers_find(const struct answers *answers, uint32_t partition, struct key128 key) {
        uint32_t place;
        if (answers->count == 0 || !map_get(&answers->by_key, key_in(partition, key), &place))
                return NULL;
        return &answers->entries[place];
}

struct error *answers_reserve(struct answers *answers, size_t count) {
        size_t wanted = answers->count + answers->reserved + count;
        if (wanted > ANSWERS_MAX && count > 0)
                return error_new(ERROR_FULL, "%zu answers wait for being published: no more before that",
                                 (size_t)answers->count);
        struct error *error = make_room(answers, wanted);
        if (!error)
                answers->reserved += count;
        return error;
}

void answers_unreserve(struct answers *answers, size_t count) {
        CHECK(answers->reserved >= count);
        answers->reserved -= count;
}

void answers_put(struct answers *answers, const struct answer_entry *entry) {
        struct answer_entry *known = answers_find(answers, entry->partition, entry->key);
        if (known) {
                *known = *entry;
                return;
        }
        CHECK(answers->count < answers->capacity);
        CHECK(map_put(&answers->by_key, key_in(entry->partition, entry->key), (uint32_t)answers->count));
        answers->entries[answers->count++] = *entry;
}

void answers_remove(struct answers *answers, uint32_t partition, struct key128 key) {
        struct answer_entry *entry = answers_find(answers, partition, key);
        if (!entry)
                return;
        const struct answer_entry *last = &answers->entries[--answers->count];
        map_remove(&answers->by_key, key_in(partition, key));
        if (entry == last)
                return;
        *entry = *last;
        CHECK(map_put(&answers->by_key, key_in(entry->partition, entry->key),
                      (uint32_t)(entry - answers->entries)));
}

/* ---- loading ---- */

struct loading {
        struct answers *answers;
        const struct db *db;
};

static struct error *load_row(void *userdata, struct bytes key, struct bytes row) {
        struct loading *loading = userdata;
        struct answer_entry entry = {0};
        struct bytes value;
        if (!answer_key_decode(key, &entry.partition, &entry.key))
                return db_row_error(loading->db, "the key of an answer", false);
        enum record_outcome outcome = answer_decode(row, &entry.settled, &entry.dead_letter, &value);
        if (outcome != RECORD_OK)
                return db_row_error(loading->db, "an answer", outcome == RECORD_NEWER);
        entry.settled.partition = entry.partition;
        entry.kept = value.size > 0;
        struct error *error = make_room(loading->answers, loading->answers->count + 1);
        if (!error)
                answers_put(loading->answers, &entry);
        return error;
}

struct error *answers_load(struct answers *answers, const struct db *db) {
        *answers = (struct answers){0};
        struct loading loading = {answers, db};
        return db_scan(db, FAMILY_ANSWERS, BYTES(""), load_row, &loading);
}

void answers_deinit(struct answers *answers) {
        free(answers->entries);
        map_deinit(&answers->by_key);
        *answers = (struct answers){0};
}
