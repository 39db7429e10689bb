#pragma once
/*
 * Settled rows of partitions on their way into their families. All that one write settles in a partition is
 * one row, a *packet*, of the family `gathered`, as durable as any row; in memory they stand in a table. Tens
 * of thousands of them are then brought in together, as a file (late.h), and their packets go. So RocksDB
 * gets a few large rows in order instead of a small one per job whose place is anywhere, twice: in the write
 * buffer and when it is written out.
 *
 * Invariants
 *   1. What is gathered of a key is newer than what its family says. A write that puts or takes away rows of
 *      the family itself brings in first what is gathered of the partition.
 *   2. Nothing is gathered of a partition that has parked jobs, or is being loaded: what is done with those
 *      hangs on the row that is there.
 *   3. Settled rows of a partition are written by one thread at a time; it holds `settling`.
 *   4. A thread of the store brings them in while others are gathered: the rows that it is at are `leaving`,
 *      and older than what is gathered. Nobody has to wait for it but a write that brings in by 1.
 * A crash between the file and the end of the packets leaves both, which say the same.
 */
#include "broker/store/db.h"

struct store;
struct store_batch;
struct rocksdb_writebatch_t;

/*
 * Of a batch that is about to be written: its settled rows become packets, or rows each by itself, in
 * batch->rows. Then gather_commit(), once it is written, and in any case gather_release().
 */
struct error *gather_prepare(struct store_batch *batch) MUST_USE;
void gather_commit(struct store_batch *batch);
void gather_release(struct store_batch *batch);

/* The thread. Between the two partitions may be settled in. */
struct error *gather_start(struct store *store) MUST_USE;
void gather_stop(struct store *store);

/* All that is gathered of it becomes rows of its family. */
struct error *gather_bring_in(struct store *store, struct partition *partition) MUST_USE;
/* The packets of the partition go, with other rows; once that is written, what memory knows of them. */
void gather_delete(struct rocksdb_writebatch_t *rows, const struct db *db, uint32_t partition);
void gather_forget(struct store *store, struct partition *partition);
/* Until the thread has nothing of the partition. */
void gather_wait(struct store *store, const struct partition *partition);
/* At opening, before anything is looked up. */
struct error *gather_load(struct store *store) MUST_USE;
