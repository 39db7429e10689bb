/*
 * A block is in memory as one byte per attempt and a count of those that are live. Blocks are found by
 * binary search in an array in order of their numbers, to which new ones come at the end; places of blocks
 * that are gone are squeezed out now and then.
 */
#include "broker/store/journal.h"

#include "broker/base/check.h"
#include "broker/store/answers.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

/*
 * ENDING: by a batch that is on its way. OVER_KEEPING, OVER_ENDING: over, and the end row, which was not
 * needed before, is on its way; by journal_keep_ends(), by another batch.
 */
enum attempt_state { LIVE, ENDING, OVER, OVER_KEEPING, OVER_ENDING, OVER_WITH_ROW };

struct journal_block {
        uint32_t count, live;
        uint32_t ending; /* ENDING and OVER_ENDING */
        uint32_t mine;   /* of these, by the batch that is being prepared; 0 outside of that */
        bool durable;    /* its row is on the disk */
        bool deleting;   /* a batch on its way deletes it */
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
        unknown->gone = true;
        map_remove(&journal->by_key, key_in(unknown->begun.partition, unknown->begun.key));
        atomic_fetch_sub(&journal->unknown_live, 1);
}

struct key128 key_in(uint32_t partition, struct key128 key) {
        key.lo ^= (uint64_t)(uint32_t)(partition + 1) * UINT64_C(0x9e3779b97f4a7c15);
        return key;
}

bool journal_find_unknown(const struct journal *journal, uint32_t partition, struct key128 key,
                          struct begun *out_begun, struct begun_id *out_id) {
        uint32_t index;
        if (!map_get(&journal->by_key, key_in(partition, key), &index))
                return false;
        *out_begun = journal->unknown[index].begun;
        *out_id = journal->unknown[index].id;
        return true;
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

/*
 * A second end of the same attempt, or one of an attempt that is long over, changes nothing; unless it wants
 * the row that the first one did not need.
 */
static void apply_end(struct journal *journal, struct journal_end *end) {
        struct journal_slot *slot = find_slot(journal, end->id.block);
        end->applied = end->written = false;
        if (!slot || end->id.index >= slot->block->count || slot->block->deleting)
                return;
        struct journal_block *block = slot->block;
        if (block->live == 0 && block->ending == 0) /* dead: it goes as it is */
                return;
        end->before = block->states[end->id.index];
        if (end->before != LIVE && !(end->before == OVER && end->row))
                return;
        end->applied = true;
        block->live -= end->before == LIVE;
        block->ending++;
        block->mine++;
        block->states[end->id.index] = end->before == LIVE ? ENDING : OVER_ENDING;
}

/*
 * A block in which this batch ends the last attempts is not written, or goes; else the ends need their rows.
 */
static void write_ends(struct journal *journal, const struct db *db, struct journal_change *change,
                       rocksdb_writebatch_t *rows) {
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                struct journal_slot *slot = find_slot(journal, end->id.block);
                struct journal_block *block = slot->block;
                bool last = block->live == 0 && block->ending == block->mine;
                if (!last && end->row) {
                        put_end(rows, db, end->id);
                        end->written = true;
                }
                if (!last || !block->durable || block->deleting)
                        continue;
                block->deleting = true;
                delete_block(rows, db, slot);
        }
        for (size_t i = 0; i < change->ends_count; i++) {
                if (change->ends[i].applied)
                        find_slot(journal, change->ends[i].id.block)->block->mine = 0;
        }
}

static void take_dead(struct journal *journal, const struct db *db, struct journal_change *change,
                      rocksdb_writebatch_t *rows) {
        change->dead_count = 0;
        while (journal->dead_count > 0 && change->dead_count < DEAD_BLOCKS_MAX) {
                uint64_t id = journal->dead[--journal->dead_count];
                delete_block(rows, db, find_slot(journal, id));
                change->dead[change->dead_count++] = id;
        }
}

/* Without memory it stays until the next opening, which drops such blocks. */
static void remember_dead(struct journal *journal, uint64_t id) {
        if (journal->dead_count == journal->dead_capacity) {
                size_t capacity = journal->dead_capacity ? journal->dead_capacity * 2 : 64;
                uint64_t *dead = realloc(journal->dead, capacity * sizeof(*dead));
                if (!dead)
                        return;
                journal->dead = dead;
                journal->dead_capacity = capacity;
        }
        journal->dead[journal->dead_count++] = id;
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
        take_dead(journal, db, change, rows);
        return NULL;
}

/* What is to become of the block of an end that is durable. */
static void commit_block(struct journal *journal, struct journal_slot *slot,
                         const struct journal_change *change) {
        struct journal_block *block = slot->block;
        if (block->live > 0 || block->ending > 0)
                return;
        if (block->deleting || slot->id == change->block)
                drop_slot(journal, slot);
        else
                remember_dead(journal, slot->id);
}

void journal_commit(struct journal *journal, struct journal_change *change) {
        struct journal_slot *begun = change->begun_count > 0 ? find_slot(journal, change->block) : NULL;
        if (begun)
                begun->block->durable = true;
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                forget_unknown(journal, end->id);
                struct journal_slot *slot = find_slot(journal, end->id.block);
                slot->block->states[end->id.index] = end->written ? OVER_WITH_ROW : OVER;
                slot->block->ending--;
                commit_block(journal, slot, change);
        }
        for (size_t i = 0; i < change->dead_count; i++)
                drop_slot(journal, find_slot(journal, change->dead[i]));
}

void journal_undo(struct journal *journal, struct journal_change *change) {
        for (size_t i = 0; i < change->ends_count; i++) {
                struct journal_end *end = &change->ends[i];
                if (!end->applied)
                        continue;
                struct journal_block *block = find_slot(journal, end->id.block)->block;
                block->states[end->id.index] = end->before;
                block->live += end->before == LIVE;
                block->ending--;
                block->deleting = false;
                end->applied = false;
        }
        for (size_t i = 0; i < change->dead_count; i++)
                remember_dead(journal, change->dead[i]);
        if (change->begun_count > 0)
                drop_slot(journal, find_slot(journal, change->block));
}

void journal_keep_ends(struct journal *journal, const struct db *db, struct rocksdb_writebatch_t *rows) {
        for (size_t i = 0; i < journal->slots_count; i++) {
                const struct journal_slot *slot = &journal->slots[i];
                for (uint32_t k = 0; slot->block && k < slot->block->count; k++) {
                        if (slot->block->states[k] != OVER)
                                continue;
                        slot->block->states[k] = OVER_KEEPING;
                        put_end(rows, db, (struct begun_id){slot->id, k});
                }
        }
}

void journal_ends_kept(struct journal *journal, bool written) {
        for (size_t i = 0; i < journal->slots_count; i++) {
                struct journal_block *block = journal->slots[i].block;
                for (uint32_t k = 0; block && k < block->count; k++) {
                        if (block->states[k] == OVER_KEEPING)
                                block->states[k] = written ? OVER_WITH_ROW : OVER;
                }
        }
}

/* ---- loading ---- */

struct loading {
        struct journal *journal;
        struct db *db;
        size_t capacity;
        uint64_t block;             /* the row that was read last */
        uint64_t counted;           /* what blocks before that one hold is in the spend rows */
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

/* One copy of each: they are few, and stand in runs. */
static struct error *keep_name(struct journal *journal, struct bytes *name) {
        for (size_t i = journal->names_count; i > 0; i--) {
                if (!bytes_equal_string(*name, journal->names[i - 1]))
                        continue;
                *name = bytes_of(journal->names[i - 1]);
                return NULL;
        }
        char **names = realloc(journal->names, (journal->names_count + 1) * sizeof(*names));
        char *copy = names ? bytes_dup(*name) : NULL;
        if (names)
                journal->names = names;
        if (!copy)
                return error_new(ERROR_MEMORY, "no memory for the attempts of unknown outcome");
        journal->names[journal->names_count++] = copy;
        *name = bytes_of(copy);
        return NULL;
}

static struct error *keep_hold(struct loading *loading, uint64_t block, struct begun *begun) {
        if (!begun->holds)
                return NULL;
        begun->hold_counted = block < loading->counted;
        struct error *error = keep_name(loading->journal, &begun->workspace);
        return error ? error : keep_name(loading->journal, &begun->provider);
}

static struct error *load_block(struct loading *loading, uint64_t id, struct bytes value) {
        struct bytes rest;
        uint8_t version;
        enum record_outcome outcome = block_decode(value, &version, &rest);
        if (outcome != RECORD_OK || rest.size == 0)
                return db_row_error(loading->db, "a row of begun attempts", outcome == RECORD_NEWER);
        uint32_t count = 0;
        struct begun begun;
        while (rest.size > 0) {
                if (begun_decode(version, &rest, &begun) != RECORD_OK)
                        return db_row_error(loading->db, "a row of begun attempts", false);
                struct error *error = keep_hold(loading, id, &begun);
                if (!error)
                        error = add_unknown(loading, (struct begun_id){id, count}, &begun);
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

/* Those that a settled row or an answer says are over. */
static struct error *drop_settled(struct journal *journal, const struct db *db, struct answers *answers) {
        struct key128 keys[SETTLED_AT_A_TIME];
        uint32_t partitions[SETTLED_AT_A_TIME];
        struct job_row rows[SETTLED_AT_A_TIME];
        for (size_t done = 0; done < journal->unknown_count; done += SETTLED_AT_A_TIME) {
                size_t count = journal->unknown_count - done;
                if (count > SETTLED_AT_A_TIME)
                        count = SETTLED_AT_A_TIME;
                for (size_t i = 0; i < count; i++) {
                        keys[i] = journal->unknown[done + i].begun.key;
                        partitions[i] = journal->unknown[done + i].begun.partition;
                }
                struct error *error = db_look_up(db, keys, partitions, count, rows);
                if (error)
                        return error;
                for (size_t i = 0; i < count; i++) {
                        struct journal_unknown *unknown = &journal->unknown[done + i];
                        if (unknown->gone)
                                continue;
                        struct answer_entry *answer = answers_find(answers, partitions[i], keys[i]);
                        if (answer)
                                answer->begun = unknown->id;
                        if (answer || rows[i].kind == JOB_ROW_SETTLED)
                                mark_over(journal, unknown, OVER);
                }
        }
        return NULL;
}

/* Of several attempts for a key the last one counts; the others get an end row. Batches of several threads
 * may have got their numbers in another order. */
static struct error *index_unknown(struct journal *journal, const struct db *db, rocksdb_writebatch_t *rows) {
        if (!map_init(&journal->by_key, journal->unknown_count + 1))
                return error_new(ERROR_MEMORY, "no memory for the attempts of unknown outcome");
        size_t live = 0;
        for (size_t i = 0; i < journal->unknown_count; i++) {
                struct journal_unknown *unknown = &journal->unknown[i];
                struct key128 key = key_in(unknown->begun.partition, unknown->begun.key);
                uint32_t last = (uint32_t)i, other;
                if (unknown->gone)
                        continue;
                live++;
                if (map_get(&journal->by_key, key, &other)) {
                        if (journal->unknown[other].begun.attempt > unknown->begun.attempt) {
                                last = other;
                                other = (uint32_t)i;
                        }
                        mark_over(journal, &journal->unknown[other], OVER_WITH_ROW);
                        put_end(rows, db, journal->unknown[other].id);
                        live--;
                }
                CHECK(map_put(&journal->by_key, key, last));
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

static struct error *load_counted(struct loading *loading) {
        struct buffer row;
        bool found = false;
        buffer_init(&row, 1024);
        struct error *error = db_get(loading->db, FAMILY_META, BYTES(COUNTED_KEY), &row, &found);
        if (!error && found) {
                enum record_outcome outcome = counted_decode(buffer_view(&row), &loading->counted);
                if (outcome != RECORD_OK)
                        error = db_row_error(loading->db, "the row of what is counted",
                                             outcome == RECORD_NEWER);
        }
        buffer_deinit(&row);
        return error;
}

static struct error *load(struct loading *loading, struct answers *answers, bool read_only) {
        struct journal *journal = loading->journal;
        struct error *error = load_counted(loading);
        if (!error)
                error = db_scan(loading->db, FAMILY_BEGUN, BYTES(""), load_row, loading);
        if (!error)
                error = drop_settled(journal, loading->db, answers);
        if (!error)
                error = index_unknown(journal, loading->db, loading->rows);
        if (error)
                return error;
        drop_dead_blocks(journal, loading->db, loading->rows);
        if (read_only || rocksdb_writebatch_count(loading->rows) == 0)
                return NULL;
        return db_write(loading->db, loading->rows, false);
}

struct error *journal_load(struct journal *journal, struct db *db, struct answers *answers, bool read_only) {
        *journal = (struct journal){0};
        atomic_store(&journal->next_block, 1);
        struct loading loading = {.journal = journal, .db = db, .rows = rocksdb_writebatch_create()};
        struct error *error = load(&loading, answers, read_only);
        rocksdb_writebatch_destroy(loading.rows);
        return error;
}

void journal_deinit(struct journal *journal) {
        for (size_t i = 0; i < journal->slots_count; i++)
                free(journal->slots[i].block);
        free(journal->slots);
        free(journal->dead);
        free(journal->unknown);
        for (size_t i = 0; i < journal->names_count; i++)
                free(journal->names[i]);
        free(journal->names);
        map_deinit(&journal->by_key);
        *journal = (struct journal){0};
}
