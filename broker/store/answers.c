/* The entries stand in one array without gaps: the last one takes the place of one that goes. The map is made
 * anew, twice as large, when it is full. */
#include "broker/store/answers.h"

#include "broker/base/check.h"
#include "broker/store/journal.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY_FIRST = 1024, RANGE_MIN = 4 /* rows that a range deletes instead of each by itself */ };

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

/* ---- rows that go ---- */

static void delete_numbers(const struct answers_sweep *sweep) {
        uint8_t from[ANSWER_NUMBER_BYTES], until[ANSWER_NUMBER_BYTES];
        rocksdb_column_family_handle_t *family = sweep->db->families[FAMILY_ANSWERS];
        if (sweep->until - sweep->from >= RANGE_MIN) {
                answer_number_encode(sweep->from, from);
                answer_number_encode(sweep->until, until);
                rocksdb_writebatch_delete_range_cf(sweep->rows, family, (const char *)from, sizeof(from),
                                                   (const char *)until, sizeof(until));
                return;
        }
        for (uint64_t number = sweep->from; number < sweep->until; number++) {
                answer_number_encode(number, from);
                rocksdb_writebatch_delete_cf(sweep->rows, family, (const char *)from, sizeof(from));
        }
}

static void delete_old(const struct answers_sweep *sweep, const struct answer_entry *entry) {
        uint8_t key[ANSWER_KEY_BYTES];
        answer_key_encode(entry->partition, entry->key, key);
        rocksdb_writebatch_delete_cf(sweep->rows, sweep->db->families[FAMILY_OLD_ANSWERS], (const char *)key,
                                     sizeof(key));
}

void answers_sweep_add(struct answers_sweep *sweep, const struct answer_entry *entry) {
        if (entry->number == 0) {
                delete_old(sweep, entry);
        } else if (entry->number == sweep->until) {
                sweep->until++;
        } else {
                delete_numbers(sweep);
                sweep->from = entry->number;
                sweep->until = entry->number + 1;
        }
}

void answers_sweep_end(struct answers_sweep *sweep) {
        delete_numbers(sweep);
        sweep->from = sweep->until = 0;
}

/* ---- loading ---- */

struct loading {
        struct answers *answers;
        const struct db *db;
        struct answers_sweep sweep;
};

static struct error *load_entry(struct loading *loading, struct answer_entry *entry, struct bytes value) {
        struct answers *answers = loading->answers;
        struct error *error = make_room(answers, answers->count + 1);
        if (error)
                return error;
        const struct answer_entry *before = answers_find(answers, entry->partition, entry->key);
        if (before)
                answers_sweep_add(&loading->sweep, before);
        entry->settled.partition = entry->partition;
        entry->kept = value.size > 0;
        answers_put(answers, entry);
        return NULL;
}

static struct error *load_row(void *userdata, struct bytes key, struct bytes row) {
        struct loading *loading = userdata;
        struct answer_entry entry = {0};
        struct bytes rest;
        if (!answer_number_decode(key, &entry.number))
                return db_row_error(loading->db, "the key of an answer", false);
        enum record_outcome outcome = answer_decode(row, &entry.settled, &entry.dead_letter, &rest);
        if (outcome == RECORD_OK && !answer_take_owner(&rest, &entry.partition, &entry.key))
                outcome = RECORD_DAMAGED;
        if (outcome != RECORD_OK)
                return db_row_error(loading->db, "an answer", outcome == RECORD_NEWER);
        atomic_store(&loading->answers->next_number, entry.number + 1); /* they come in order */
        return load_entry(loading, &entry, rest);
}

static struct error *load_old_row(void *userdata, struct bytes key, struct bytes row) {
        struct loading *loading = userdata;
        struct answer_entry entry = {0};
        struct bytes value;
        if (!answer_key_decode(key, &entry.partition, &entry.key))
                return db_row_error(loading->db, "the key of an answer", false);
        enum record_outcome outcome = answer_decode(row, &entry.settled, &entry.dead_letter, &value);
        if (outcome != RECORD_OK)
                return db_row_error(loading->db, "an answer", outcome == RECORD_NEWER);
        return load_entry(loading, &entry, value);
}

struct error *answers_load(struct answers *answers, struct db *db, bool read_only) {
        *answers = (struct answers){0};
        atomic_store(&answers->next_number, 1);
        struct loading loading = {answers, db, {.db = db, .rows = rocksdb_writebatch_create()}};
        struct error *error = db_scan(db, FAMILY_OLD_ANSWERS, BYTES(""), load_old_row, &loading);
        if (!error)
                error = db_scan(db, FAMILY_ANSWERS, BYTES(""), load_row, &loading);
        answers_sweep_end(&loading.sweep);
        if (!error && !read_only && rocksdb_writebatch_count(loading.sweep.rows) > 0)
                error = db_write(db, loading.sweep.rows, false);
        rocksdb_writebatch_destroy(loading.sweep.rows);
        return error;
}

void answers_deinit(struct answers *answers) {
        free(answers->entries);
        map_deinit(&answers->by_key);
        *answers = (struct answers){0};
}
