/*
 * Logs with transactions, as a Kafka cluster keeps them. What a transaction writes lies in the logs at once
 * and can be read when its marker is there; nothing behind an open transaction can be read by a reader of
 * committed records. A marker takes an offset. After a commit was accepted its markers take a while; until
 * then the same producer cannot begin another one, and one that starts waits.
 */
#include "world.h"

#include <string.h>

void cluster_init(struct world *world) {
        struct cluster *cluster = &world->cluster;
        cluster->txns_count = cluster->txns_first = 0;
        for (uint32_t i = 0; i < PROCESSES_MAX; i++)
                cluster->producers[i] = (struct producer){0};
        group_init(world);
}

static bool ended(const struct world *world, uint32_t txn) {
        return txn == 0 || world->cluster.txns[txn - 1].status >= TXN_COMMITTED;
}

bool cluster_visible(const struct world *world, const struct entry *entry) {
        if (entry->kind == ENTRY_MARKER)
                return false;
        return entry->txn == 0 || world->cluster.txns[entry->txn - 1].status == TXN_COMMITTED;
}

uint32_t cluster_stable(struct world *world, struct log *log) {
        ptrdiff_t index = log - world->cluster.jobs;
        bool jobs = index >= 0 && index < PARTITIONS_MAX;
        while (log->stable < log->end && ended(world, log->entries[log->stable].txn)) {
                const struct entry *entry = &log->entries[log->stable];
                if (jobs && cluster_visible(world, entry))
                        judge_record(world, (uint32_t)index, entry, log->stable);
                log->stable++;
        }
        return log->stable;
}

bool cluster_open_until(struct world *world, struct log *log, uint64_t end) {
        return cluster_stable(world, log) < end;
}

void cluster_append(struct world *world, struct log *log, const struct entry *entry) {
        if (log->end == LOG_MAX) {
                judge_broken(world, "a log is longer than any run needs");
                return;
        }
        log->entries[log->end++] = *entry;
}

static void mark_end(struct world *world, uint32_t txn) {
        struct cluster *cluster = &world->cluster;
        const struct txn *that = &cluster->txns[txn - 1];
        struct entry marker = {.kind = ENTRY_MARKER};
        for (uint32_t p = 0; p < cluster->partitions; p++) {
                if (that->jobs >> p & 1)
                        cluster_append(world, &cluster->jobs[p], &marker);
                if (that->state >> p & 1)
                        cluster_append(world, &cluster->state[p], &marker);
        }
        struct producer *producer = &cluster->producers[that->producer];
        if (producer->txn == txn)
                producer->txn = 0;
        while (cluster->txns_first < cluster->txns_count && ended(world, cluster->txns_first + 1))
                cluster->txns_first++;
}

void cluster_abort(struct world *world, uint32_t txn) {
        struct txn *that = &world->cluster.txns[txn - 1];
        if (that->status != TXN_OPEN)
                return;
        that->status = TXN_ABORTED;
        world->counts.aborts++;
        world_note(world, that->producer, "cluster: transaction aborted", txn, 0, 0);
        mark_end(world, txn);
}

void cluster_commit(struct world *world, uint32_t txn) {
        struct txn *that = &world->cluster.txns[txn - 1];
        that->status = TXN_PREPARED;
        that->end_ns = chance(world, 60) ? world->now_ns : in_ms(world, 0, 300);
        world_note(world, that->producer, "cluster: commit accepted", txn, 0, 0);
        money_accepted(world, txn);
}

static void complete(struct world *world, uint32_t txn) {
        struct cluster *cluster = &world->cluster;
        struct txn *that = &cluster->txns[txn - 1];
        that->status = TXN_COMMITTED;
        world->counts.commits++;
        world_note(world, that->producer, "cluster: transaction committed", txn, 0, 0);
        mark_end(world, txn);
        judge_committed(world, txn);
}

bool cluster_start(struct world *world, uint32_t producer, uint32_t *out_epoch) {
        struct producer *that = &world->cluster.producers[producer];
        if (that->txn > 0 && world->cluster.txns[that->txn - 1].status == TXN_PREPARED)
                return false;
        that->epoch++;
        if (that->txn > 0)
                cluster_abort(world, that->txn);
        *out_epoch = that->epoch;
        return true;
}

void cluster_usurp(struct world *world, uint32_t producer) {
        uint32_t epoch;
        if (!cluster_start(world, producer, &epoch))
                return;
        world->counts.usurped++;
        world_note(world, producer, "cluster: another producer of its name (epoch)", epoch, 0, 0);
}

bool cluster_begin(struct world *world, uint32_t producer, uint32_t epoch, uint32_t *out_txn,
                   bool *out_dead) {
        struct cluster *cluster = &world->cluster;
        struct producer *that = &cluster->producers[producer];
        *out_dead = that->epoch != epoch;
        if (*out_dead || that->txn > 0)
                return false;
        if (cluster->txns_count == TXNS_MAX) {
                judge_broken(world, "more transactions than any run needs");
                return false;
        }
        cluster->txns[cluster->txns_count++] = (struct txn){.producer = producer,
                                                            .epoch = epoch,
                                                            .started_ns = world->now_ns,
                                                            .first_output = cluster->outputs_count};
        *out_txn = that->txn = cluster->txns_count;
        return true;
}

bool cluster_alive(const struct world *world, uint32_t producer, uint32_t epoch, uint32_t txn) {
        return world->cluster.producers[producer].epoch == epoch &&
               world->cluster.txns[txn - 1].status == TXN_OPEN;
}

static void send_output(struct world *world, uint32_t txn, const struct item *item) {
        struct cluster *cluster = &world->cluster;
        if (cluster->outputs_count == OUTPUTS_MAX) {
                judge_broken(world, "more results than any run needs");
                return;
        }
        cluster->outputs[cluster->outputs_count++] = (struct output){.txn = txn,
                                                                     .fact = item->fact,
                                                                     .answer = item->answer,
                                                                     .print = item->print,
                                                                     .dead = item->dead};
}

void cluster_send(struct world *world, uint32_t txn, const struct item *item) {
        struct cluster *cluster = &world->cluster;
        struct txn *that = &cluster->txns[txn - 1];
        struct entry entry = {.txn = txn,
                              .kind = ENTRY_STATE,
                              .line = item->line,
                              .fact = item->fact,
                              .print = item->print,
                              .offset = item->offset};
        uint32_t partition = item->partition;
        switch (item->kind) {
        case ITEM_RESULT:
                send_output(world, txn, item);
                entry.state = STATE_SETTLED;
                break;
        case ITEM_PARK:
                entry.state = STATE_PARKED;
                break;
        case ITEM_DELETE:
                entry.state = STATE_DELETED;
                break;
        case ITEM_OWNER:
                entry.state = STATE_OWNER;
                break;
        case ITEM_WORD:
                entry.state = STATE_MONEY;
                entry.word = item->word;
                break;
        case ITEM_REHOME:
                entry.kind = ENTRY_JOB;
                partition = world->facts[world->lines[item->line].fact].home;
                that->jobs |= 1U << partition;
                cluster_append(world, &cluster->jobs[partition], &entry);
                return;
        case ITEM_MARK:
                return;
        }
        that->state |= 1U << partition;
        cluster_append(world, &cluster->state[partition], &entry);
}

bool cluster_unstable(const struct world *world, uint32_t partition) {
        const struct cluster *cluster = &world->cluster;
        for (uint32_t i = cluster->txns_first; i < cluster->txns_count; i++)
                if (cluster->txns[i].status < TXN_COMMITTED && (cluster->txns[i].moves >> partition & 1))
                        return true;
        return false;
}

static void late_commits(struct world *world) {
        struct cluster *cluster = &world->cluster;
        for (uint32_t i = 0; i < world->processes_count; i++) {
                struct late_commit *late = &cluster->late[i];
                if (!late->there || late->at_ns > world->now_ns)
                        continue;
                late->there = false;
                if (cluster_alive(world, i, late->epoch, late->txn))
                        cluster_commit(world, late->txn);
        }
}

void cluster_tick(struct world *world) {
        struct cluster *cluster = &world->cluster;
        late_commits(world);
        for (uint32_t i = cluster->txns_first; i < cluster->txns_count; i++) {
                struct txn *txn = &cluster->txns[i];
                if (txn->status == TXN_PREPARED && txn->end_ns <= world->now_ns) {
                        complete(world, i + 1);
                } else if (txn->status == TXN_OPEN &&
                           txn->started_ns + world->transaction_ns <= world->now_ns) {
                        cluster->producers[txn->producer].epoch++;
                        cluster_abort(world, i + 1);
                }
        }
}

int64_t cluster_wake_ns(const struct world *world) {
        const struct cluster *cluster = &world->cluster;
        int64_t wake_ns = INT64_MAX;
        for (uint32_t i = cluster->txns_first; i < cluster->txns_count; i++) {
                const struct txn *txn = &cluster->txns[i];
                int64_t when_ns = INT64_MAX;
                if (txn->status == TXN_PREPARED)
                        when_ns = txn->end_ns;
                else if (txn->status == TXN_OPEN)
                        when_ns = txn->started_ns + world->transaction_ns;
                wake_ns = when_ns < wake_ns ? when_ns : wake_ns;
        }
        for (uint32_t i = 0; i < world->processes_count; i++)
                if (cluster->late[i].there && cluster->late[i].at_ns < wake_ns)
                        wake_ns = cluster->late[i].at_ns;
        return wake_ns;
}
