/* Look-ups of many keys at once. */
#include "broker/base/check.h"
#include "broker/store/db.h"

#include <rocksdb/c.h>

enum { LOOK_UPS_MAX = 256 }; /* at a time: arrays on the stack */

static struct error *take_slice(const struct db *db, uint32_t partition, char *message,
                                rocksdb_pinnableslice_t *slice, struct job_row *out_row) {
        struct error *error = db_error(message, "cannot read the state");
        if (!slice)
                return error;
        struct bytes row;
        row.data = rocksdb_pinnableslice_value(slice, &row.size);
        enum record_outcome outcome = job_row_decode(row, partition, out_row);
        rocksdb_pinnableslice_destroy(slice);
        if (outcome != RECORD_OK && !error)
                error = db_row_error(db, "a settled row", outcome == RECORD_NEWER);
        return error;
}

/*
 * Before the disk is asked: rows go from here to there. Leaves the places of those that are not here in
 * `places`, and gives how many.
 */
static size_t take_gathered(const struct db *db, uint32_t number, const struct key128 *keys, size_t *places,
                            size_t count, struct job_row *out_rows) {
        struct partition *partition = db_partition(db, number);
        size_t left = 0;
        if (!partition ||
            (atomic_load(&partition->gathered.count) == 0 && atomic_load(&partition->leaving.count) == 0))
                return count;
        pthread_mutex_lock(&partition->gathering);
        for (size_t i = 0; i < count; i++) {
                const struct late_row *row = late_find(&partition->gathered, keys[places[i]]);
                if (!row)
                        row = late_find(&partition->leaving, keys[places[i]]);
                if (row)
                        CHECK(job_row_decode((struct bytes){(const char *)row->row, SETTLED_BYTES}, number,
                                             &out_rows[places[i]]) == RECORD_OK);
                else
                        places[left++] = places[i];
        }
        pthread_mutex_unlock(&partition->gathering);
        return left;
}

/* Keys of one partition. places: where in out_rows each of them goes. */
static struct error *look_up_some(const struct db *db, uint32_t partition, const struct key128 *keys,
                                  const size_t *places, size_t count, struct job_row *out_rows) {
        uint8_t rows[LOOK_UPS_MAX][KEY_BYTES];
        const char *pointers[LOOK_UPS_MAX];
        size_t sizes[LOOK_UPS_MAX];
        rocksdb_pinnableslice_t *slices[LOOK_UPS_MAX];
        char *messages[LOOK_UPS_MAX];
        rocksdb_column_family_handle_t *family = db_settled_family(db, partition);
        for (size_t i = 0; i < count; i++) {
                out_rows[places[i]].kind = JOB_ROW_NONE;
                key_encode(keys[places[i]], rows[i]);
                pointers[i] = (const char *)rows[i];
                sizes[i] = KEY_BYTES;
        }
        if (!family || count == 0)
                return NULL;
        rocksdb_batched_multi_get_cf(db->rocks, db->read, family, count, pointers, sizes, slices, messages,
                                     false);
        struct error *error = NULL;
        for (size_t i = 0; i < count; i++) {
                struct error *another =
                        take_slice(db, partition, messages[i], slices[i], &out_rows[places[i]]);
                if (error)
                        error_free(another);
                else
                        error = another;
        }
        return error;
}

/*
 * Takes the keys of the first partition that is left, up to LOOK_UPS_MAX, off `left`, which keeps its order.
 */
static size_t take_partition(const uint32_t *partitions, size_t *left, size_t *left_count,
                             size_t places[LOOK_UPS_MAX]) {
        size_t taken = 0, kept = 0;
        uint32_t partition = partitions ? partitions[left[0]] : STORE_NO_PARTITION;
        for (size_t i = 0; i < *left_count; i++) {
                if (taken < LOOK_UPS_MAX && (!partitions || partitions[left[i]] == partition))
                        places[taken++] = left[i];
                else
                        left[kept++] = left[i];
        }
        *left_count = kept;
        return taken;
}

struct error *db_look_up(const struct db *db, const struct key128 *keys, const uint32_t *partitions,
                         size_t count, struct job_row *out_rows) {
        struct error *error = db_fault(db, "look_up");
        for (size_t done = 0; done < count && !error; done += LOOK_UPS_MAX) {
                size_t left[LOOK_UPS_MAX], places[LOOK_UPS_MAX];
                size_t left_count = count - done < LOOK_UPS_MAX ? count - done : LOOK_UPS_MAX;
                for (size_t i = 0; i < left_count; i++)
                        left[i] = done + i;
                while (left_count > 0 && !error) {
                        size_t some = take_partition(partitions, left, &left_count, places);
                        uint32_t partition = partitions ? partitions[places[0]] : STORE_NO_PARTITION;
                        some = take_gathered(db, partition, keys, places, some, out_rows);
                        error = look_up_some(db, partition, keys, places, some, out_rows);
                }
        }
        return error;
}
