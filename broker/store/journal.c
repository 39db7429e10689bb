/*
 * A block is in memory as one byte per attempt and a count of those that are live. Blocks are found by
 * binary search in an array in order of their numbers, to which new ones come at the end; places of blocks
 * that are gone are squeezed out now and then.
 */
#include "broker/store/journal.h"

#include "broker/base/check.h"
#include "broker/store/record.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

enum attempt_state { LIVE, OVER, OVER_WITH_ROW };

struct journal_block {
        uint32_t count, live;
        bool durable;  /* its row is on the disk */
        bool deleting; /* the write that is being prepared deletes it */
        uint8_t states[];
};

/* ---- blocks, in order of id ---- */

static size_t slot_position(const struct journal *journal, uint64_t id) {
        size_t low = 0, high = journal->slots_count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (journal->slots[middle].id < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static struct journal_slot *find_slot(struct journal *journal, uint64_t id) {
        size_t position = slot_position(journal, id);
        struct journal_slot *slot = journal->slots + position;
        return position < journal->slots_count && slot->id == id && slot->block ? slot : NULL;
}

static void squeeze_slots(struct journal *journal) {
        size_t kept = 0;
        for (size_t i = 0; i < journal->slots_count; i++) {
                if (journal->slots[i].block)
                        journal->slots[kept++] = journal->slots[i];
        }
        journal->slots_count = kept;
        journal->slots_gone = 0;
}

static void drop_slot(struct journal *journal, struct journal_slot *slot) {
        free(slot->block);
        slot->block = NULL;
        journal->slots_gone++;
}

static struct error *add_block(struct journal *journal, uint64_t id, uint32_t count) {
        if (journal->slots_gone > 64 && journal->slots_gone > journal->slots_count / 2)
                squeeze_slots(journal);
        if (journal->slots_count == journal->slots_capacity) {
                size_t capacity = journal->slots_capacity ? journal->slots_capacity * 2 : 256;
                struct journal_slot *slots = realloc(journal->slots, capacity * sizeof(*slots));
                if (!slots)
                        return error_new(ERROR_MEMORY, "no memory for the journal of attempts");
                journal->slots = slots;
                journal->slots_capacity = capacity;
        }
        struct journal_block *block = calloc(1, sizeof(*block) + count);
        if (!block)
                return error_new(ERROR_MEMORY, "no memory for the journal of attempts");
        block->count = block->live = count;
        size_t position = slot_position(journal, id);
        struct journal_slot *slot = journal->slots + position;
        if (position < journal->slots_count && slot->id == id) { /* the place of one that was undone */
                CHECK(!slot->block);
                journal->slots_gone--;
        } else {
                memmove(slot + 1, slot, (journal->slots_count - position) * sizeof(*slot));
                journal->slots_count++;
        }
        *slot = (struct journal_slot){id, block};
        return NULL;
}

/* ---- attempts of unknown outcome ---- */

static struct journal_unknown *find_unknown_id(struct journal *journal, struct begun_id id) {
        size_t low = 0, high = journal->unknown_count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                struct begun_id at = journal->unknown[middle].id;
                if (at.block < id.block || (at.block == id.block && at.index < id.index))
                        low = middle + 1;
                else
                        high = middle;
        }
        if (low == journal->unknown_count)
                return NULL;
        struct journal_unknown *unknown = &journal->unknown[low];
        return unknown->id.block == id.block && unknown->id.index == id.index ? unknown : NULL;
}

static void forget_unknown(struct journal *journal, struct begun_id id) {
        struct journal_unknown *unknown = find_unknown_id(journal, id);
        if (!unknown || unknown->gone)
                return;
        pthread_mutex_lock(&journal->mutex);
        unknown->gone = true;
        map_remove(&journal->by_key, unknown->begun.key);
        atomic_fetch_sub(&journal->unknown_live, 1);
        pthread_mutex_unlock(&journal->mutex);
}

bool journal_find_unknown(struct journal *journal, struct key128 key, struct begun *out_begun,
                          struct begun_id *out_id) {
        uint32_t index;
        if (atomic_load(&journal->unknown_live) == 0)
                return false;
        pthread_mutex_lock(&journal->mutex);
        bool found = map_get(&journal->by_key, key, &index);
        if (found) {
                *out_begun = journal->unknown[index].begun;
                *out_id = journal->unknown[index].id;
        }
        pthread_mutex_unlock(&journal->mutex);
        return found;
}

uint64_t journal_next_block(struct journal *journal) {
        return atomic_fetch_add(&journal->next_block, 1);
}

/* ---- changes ---- */

static void put_end(rocksdb_writebatch_t *rows, const struct db *db, struct begun_id id) {
        static const char value[1] = {RECORD_VERSION};
        uint8_t key[END_KEY_BYTES];
        end_key_encode(id, key);
        rocksdb_writebatch_put_cf(rows, db->families[FAMILY_BEGUN], (const char *)key, sizeof(key), value,
                                  sizeof(value));
}

static void delete_block(rocksdb_writebatch_t *rows, const struct db *db, const struct journal_slot *slot) {
        uint8_t key[END_KEY_BYTES];
        rocksdb_column_family_handle_t *family = db->families[FAMILY_BEGUN];
        block_key_encode(slot->id, key);
        rocksdb_writebatch_delete_cf(rows, family, (const char *)key, BLOCK_KEY_BYTES);
        for (uint32_t i = 0; i < slot->block->count; i++) {
                if (slot->block->states[i] != OVER_WITH_ROW)
                        continue;
                end_key_encode((struct begun_id){slot->id, i}, key);
                rocksdb_writebatch_delete_cf(rows, family, (const char *)key, END_KEY_BYTES);
        }
}

/* A second end of the same attempt, or one of an attempt that is long over, changes nothing. */
static void apply_end(struct journal *journal, struct journal_end *end) {
        struct journal_slot *slot = find_slot(journal, end->id.block);
        end->applied =
                slot && end->id.index < slot->block->count && slot->block->states[end->id.index] == LIVE;
        if (!end->applied)
                return;
        slot->block->states[end->id.index] = OVER;
        slot->block->live--;
}

static void write_ends(struct journal *journal, const struct db *db, struct journal_change *change,
                       rocksdb_writebatch_t *rows) {
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                struct journal_slot *slot = find_slot(journal, end->id.block);
                if (slot->block->live > 0 && end->row)
                        put_end(rows, db, end->id);
                if (slot->block->live > 0 || !slot->block->durable || slot->block->deleting)
                        continue;
                slot->block->deleting = true;
                delete_block(rows, db, slot);
        }
}

struct error *journal_prepare(struct journal *journal, const struct db *db, struct journal_change *change,
                              struct rocksdb_writebatch_t *rows) {
        if (change->begun_count > 0) {
                struct error *error = add_block(journal, change->block, change->begun_count);
                if (error)
                        return error;
        }
        for (size_t i = 0; i < change->ends_count; i++)
                apply_end(journal, &change->ends[i]);
        if (change->begun_count > 0 && find_slot(journal, change->block)->block->live > 0) {
                uint8_t key[BLOCK_KEY_BYTES];
                block_key_encode(change->block, key);
                rocksdb_writebatch_put_cf(rows, db->families[FAMILY_BEGUN], (const char *)key, sizeof(key),
                                          change->begun.data, change->begun.size);
        }
        write_ends(journal, db, change, rows);
        return NULL;
}

void journal_commit(struct journal *journal, struct journal_change *change) {
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                forget_unknown(journal, end->id);
                struct journal_slot *slot = find_slot(journal, end->id.block);
                if (slot && slot->block->live == 0)
                        drop_slot(journal, slot);
                else if (slot && end->row)
                        slot->block->states[end->id.index] = OVER_WITH_ROW;
        }
        struct journal_slot *begun = change->begun_count > 0 ? find_slot(journal, change->block) : NULL;
        if (begun)
                begun->block->durable = true;
}

void journal_undo(struct journal *journal, struct journal_change *change) {
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                struct journal_block *block = find_slot(journal, end->id.block)->block;
                block->states[end->id.index] = LIVE;
                block->live++;
                block->deleting = false;
                end->applied = false;
        }
        if (change->begun_count > 0)
                drop_slot(journal, find_slot(journal, change->block));
}

struct error *journal_keep_ends(struct journal *journal, struct db *db) {
        rocksdb_writebatch_t *rows = rocksdb_writebatch_create();
        for (size_t i = 0; i < journal->slots_count; i++) {
                const struct journal_slot *slot = &journal->slots[i];
                for (uint32_t k = 0; slot->block && k < slot->block->count; k++) {
                        if (slot->block->states[k] == OVER)
                                put_end(rows, db, (struct begun_id){slot->id, k});
                }
        }
        struct error *error = rocksdb_writebatch_count(rows) > 0 ? db_write(db, rows) : NULL;
        rocksdb_writebatch_destroy(rows);
        for (size_t i = 0; i < journal->slots_count && !error; i++) {
                struct journal_block *block = journal->slots[i].block;
                for (uint32_t k = 0; block && k < block->count; k++) {
                        if (block->states[k] == OVER)
                                block->states[k] = OVER_WITH_ROW;
                }
        }
        return error;
}

/* ---- loading ---- */

struct loading {
        struct journal *journal;
        struct db *db;
        size_t capacity;
        uint64_t block;             /* the row that was read last */
        rocksdb_writebatch_t *rows; /* what is to be tidied up */
};

static struct error *add_unknown(struct loading *loading, struct begun_id id, const struct begun *begun) {
        struct journal *journal = loading->journal;
        if (journal->unknown_count == loading->capacity) {
                size_t capacity = loading->capacity ? loading->capacity * 2 : 256;
                struct journal_unknown *unknown = NULL;
                if (capacity <= UINT32_MAX)
                        unknown = realloc(journal->unknown, capacity * sizeof(*unknown));
                if (!unknown)
                        return error_new(ERROR_MEMORY, "no memory for the attempts of unknown outcome");
                journal->unknown = unknown;
                loading->capacity = capacity;
        }
        journal->unknown[journal->unknown_count++] = (struct journal_unknown){.begun = *begun, .id = id};
        return NULL;
}

static struct error *load_block(struct loading *loading, uint64_t id, struct bytes value) {
        struct bytes rest;
        enum record_outcome outcome = version_decode(value, &rest);
        if (outcome != RECORD_OK || rest.size == 0)
                return db_row_error(loading->db, "a row of begun attempts", outcome == RECORD_NEWER);
        uint32_t count = 0;
        struct begun begun;
        while (rest.size > 0) {
                if (begun_decode(&rest, &begun) != RECORD_OK)
                        return db_row_error(loading->db, "a row of begun attempts", false);
                struct error *error = add_unknown(loading, (struct begun_id){id, count}, &begun);
                if (error)
                        return error;
                count++;
        }
        struct error *error = add_block(loading->journal, id, count);
        if (error)
                return error;
        find_slot(loading->journal, id)->block->durable = true;
        loading->block = id;
        if (id >= atomic_load(&loading->journal->next_block))
                atomic_store(&loading->journal->next_block, id + 1);
        return NULL;
}

static void mark_over(struct journal *journal, struct journal_unknown *unknown, enum attempt_state state) {
        struct journal_block *block = find_slot(journal, unknown->id.block)->block;
        if (block->states[unknown->id.index] == LIVE)
                block->live--;
        block->states[unknown->id.index] = (uint8_t)state;
        unknown->gone = true;
}

/* The row of a block comes before those of its ends. */
static struct error *load_row(void *userdata, struct bytes key, struct bytes value) {
        struct loading *loading = userdata;
        struct begun_id id;
        struct bytes rest;
        bool is_end;
        if (!begun_key_decode(key, &id, &is_end))
                return db_row_error(loading->db, "the key of a begun attempt", false);
        if (!is_end)
                return load_block(loading, id.block, value);
        /* A write that failed on a full disk may have dropped the block all the same. */
        if (id.block != loading->block) {
                rocksdb_writebatch_delete_cf(loading->rows, loading->db->families[FAMILY_BEGUN], key.data,
                                             key.size);
                return NULL;
        }
        enum record_outcome outcome = version_decode(value, &rest);
        struct journal_unknown *unknown = find_unknown_id(loading->journal, id);
        if (outcome != RECORD_OK || rest.size > 0 || !unknown)
                return db_row_error(loading->db, "the end of an attempt", outcome == RECORD_NEWER);
        mark_over(loading->journal, unknown, OVER_WITH_ROW);
        return NULL;
}

enum { SETTLED_AT_A_TIME = 256 };

static struct error *drop_settled(struct journal *journal, const struct db *db) {
        struct key128 keys[SETTLED_AT_A_TIME];
        bool found[SETTLED_AT_A_TIME];
        struct settled settled[SETTLED_AT_A_TIME];
        for (size_t done = 0; done < journal->unknown_count; done += SETTLED_AT_A_TIME) {
                size_t count = journal->unknown_count - done;
                if (count > SETTLED_AT_A_TIME)
                        count = SETTLED_AT_A_TIME;
                for (size_t i = 0; i < count; i++)
                        keys[i] = journal->unknown[done + i].begun.key;
                struct error *error = db_look_up(db, keys, count, found, settled);
                if (error)
                        return error;
                for (size_t i = 0; i < count; i++) {
                        if (found[i] && !journal->unknown[done + i].gone)
                                mark_over(journal, &journal->unknown[done + i], OVER);
                }
        }
        return NULL;
}

/* Of several attempts for a key the last one counts; the others get an end row. */
static struct error *index_unknown(struct journal *journal, const struct db *db, rocksdb_writebatch_t *rows) {
        if (!map_init(&journal->by_key, journal->unknown_count + 1))
                return error_new(ERROR_MEMORY, "no memory for the attempts of unknown outcome");
        size_t live = 0;
        for (size_t i = 0; i < journal->unknown_count; i++) {
                struct journal_unknown *unknown = &journal->unknown[i];
                uint32_t before;
                if (unknown->gone)
                        continue;
                if (map_get(&journal->by_key, unknown->begun.key, &before)) {
                        mark_over(journal, &journal->unknown[before], OVER_WITH_ROW);
                        put_end(rows, db, journal->unknown[before].id);
                        live--;
                }
                CHECK(map_put(&journal->by_key, unknown->begun.key, (uint32_t)i));
                live++;
        }
        atomic_store(&journal->unknown_live, live);
        return NULL;
}

static void drop_dead_blocks(struct journal *journal, const struct db *db, rocksdb_writebatch_t *rows) {
        for (size_t i = 0; i < journal->slots_count; i++) {
                struct journal_slot *slot = &journal->slots[i];
                if (!slot->block || slot->block->live > 0)
                        continue;
                delete_block(rows, db, slot);
                drop_slot(journal, slot);
        }
        squeeze_slots(journal);
}

static struct error *load(struct loading *loading, bool read_only) {
        struct journal *journal = loading->journal;
        struct error *error = db_scan(loading->db, FAMILY_BEGUN, BYTES(""), load_row, loading);
        if (!error)
                error = drop_settled(journal, loading->db);
        if (!error)
                error = index_unknown(journal, loading->db, loading->rows);
        if (error)
                return error;
        drop_dead_blocks(journal, loading->db, loading->rows);
        if (read_only || rocksdb_writebatch_count(loading->rows) == 0)
                return NULL;
        return db_write(loading->db, loading->rows);
}

struct error *journal_load(struct journal *journal, struct db *db, bool read_only) {
        *journal = (struct journal){0};
        pthread_mutex_init(&journal->mutex, NULL);
        atomic_store(&journal->next_block, 1);
        struct loading loading = {.journal = journal, .db = db, .rows = rocksdb_writebatch_create()};
        struct error *error = load(&loading, read_only);
        rocksdb_writebatch_destroy(loading.rows);
        return error;
}

void journal_deinit(struct journal *journal) {
        for (size_t i = 0; i < journal->slots_count; i++)
                free(journal->slots[i].block);
        free(journal->slots);
        free(journal->unknown);
        map_deinit(&journal->by_key);
        pthread_mutex_destroy(&journal->mutex);
        *journal = (struct journal){0};
}
