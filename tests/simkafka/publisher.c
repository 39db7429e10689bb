/*
 * The committer makes attempts and answers durable and passes items on in their order; the publisher sends
 * what has come up in one transaction: results, dead letters, state records, rehomed records, and the last
 * mark of every partition that has an item in it, moved or not, since only offsets are fenced by the group's
 * generation. Then the store learns what is settled, and the answers go.
 */
#include "world.h"

#include <string.h>

/* --- the committer --- */

void committer_add(struct world *world, struct process *process, const struct intent *intent) {
        struct committer *committer = &process->committer;
        if (committer->pending_count == ITEMS_MAX) {
                judge_broken(world, "more to journal than any run needs");
                return;
        }
        committer->pending[committer->pending_count++] = *intent;
        if (committer->step == COMMIT_IDLE && committer->due_ns < world->now_ns)
                committer->due_ns = in_ms(world, 0, 2);
}

int64_t committer_wake_ns(const struct process *process) {
        const struct committer *committer = &process->committer;
        return committer->step == COMMIT_IDLE && committer->pending_count == 0 ? INT64_MAX
                                                                               : committer->due_ns;
}

bool committer_idle(const struct process *process) {
        return process->committer.step == COMMIT_IDLE && process->committer.pending_count == 0;
}

static bool is_private(const struct world *world, const struct intent *intent) {
        return intent->item.answer > 0 && world->answers[intent->item.answer - 1].private &&
               world->plant != PLANT_KEEP_PRIVATE;
}

static bool costs_nothing(const struct world *world, const struct intent *intent) {
        return intent->item.answer > 0 && world->answers[intent->item.answer - 1].attempts == 0;
}

/* Of a job with zdr no answer is written down, only that there was one and what that cost. */
static enum write_kind answer_kind(struct world *world, const struct intent *intent, struct write *write) {
        const struct answer_made *answer = &world->answers[intent->item.answer - 1];
        if (!is_private(world, intent))
                return WRITE_ANSWER;
        write->attempt = answer->attempts;
        write->answer = 0;
        world->counts.unkept++;
        return WRITE_UNKEPT;
}

/*
 * Its partition has gone, and the job goes as soon as it is opened; the rows may be another shard's by now.
 */
static bool is_stray(const struct world *world, const struct process *process, const struct intent *intent) {
        return intent->kind == INTENT_OPEN && world->plant != PLANT_SHARED_ROWS &&
               world->plant != PLANT_ORPHANS_GO_ON &&
               !process_current(process, intent->item.partition, intent->item.offset);
}

static void write_intent(struct world *world, struct process *process, const struct intent *intent) {
        struct write write = {.fact = intent->item.fact,
                              .print = intent->item.print,
                              .attempt = intent->attempt,
                              .answer = intent->item.answer,
                              .shard = process->slot,
                              .exposure_picousd = intent->exposure_picousd};
        if (is_stray(world, process, intent) || costs_nothing(world, intent))
                return; /* what costs nothing comes out the same again */
        if (intent->kind == INTENT_OPEN)
                write.kind = WRITE_OPEN;
        else if (intent->kind == INTENT_END)
                write.kind = WRITE_END;
        else if (intent->item.kind == ITEM_RESULT && !intent->journaled && world->plant != PLANT_NO_JOURNAL)
                write.kind = answer_kind(world, intent, &write);
        else
                return;
        /* another shard is at it: what it has opened or bought is in its own hands */
        if (intent->kind == INTENT_ITEM && world->plant != PLANT_SHARED_ROWS &&
            process_sibling_has(world, process, intent->item.partition, true)) {
                world->facts[intent->item.fact].answered_by[process->slot] = 0;
                world->counts.given_up++;
                return;
        }
        disk_write(world, process->disk, write);
}

static bool counts(const struct world *world, const struct process *process, const struct item *item) {
        const struct part *part = &process->parts[item->partition];
        if (world->plant == PLANT_EPOCH_IGNORED && item->current && part->state == PART_OWNED)
                return true;
        bool claims = item->kind == ITEM_OWNER && part->state == PART_RESTORE && part->claims;
        bool ours = part->state == PART_OWNED || part->state == PART_LEAVING || claims;
        bool said = item->kind != ITEM_RESULT || item->current;
        return ours && said && item->epoch == part->epoch;
}

static void drop(struct world *world, struct process *process, const struct item *item) {
        money_told(world, process, item, false);
        if (item->kind != ITEM_RESULT)
                return;
        world->counts.dropped++;
        process_end_told(world, process, item->handle);
}

static void tell(struct world *world, struct process *process) {
        struct committer *committer = &process->committer;
        for (uint32_t i = 0; i < committer->working_count; i++) {
                const struct intent *intent = &committer->working[i];
                const struct item *item = &intent->item;
                if (intent->kind == INTENT_END)
                        continue;
                if (intent->kind == INTENT_OPEN) {
                        if (process->told_count < EVENTS_MAX && world->plant != PLANT_OPEN_UNWRITTEN)
                                process->told[process->told_count++] =
                                        (struct event){.kind = EVENT_OPENED, .handle = intent->handle};
                } else if (counts(world, process, item)) {
                        publisher_put(world, process, item);
                } else {
                        drop(world, process, item);
                }
        }
        committer->working_count = 0;
}

bool committer_step(struct world *world, struct process *process) {
        struct committer *committer = &process->committer;
        bool idle = committer->step == COMMIT_IDLE && committer->pending_count == 0;
        if (idle || committer->due_ns > world->now_ns)
                return false;
        switch (committer->step) {
        case COMMIT_IDLE: {
                struct intent *taken = committer->pending;
                committer->pending = committer->working;
                committer->working = taken;
                committer->working_count = committer->pending_count;
                committer->pending_count = 0;
                committer->step = COMMIT_WRITE;
                break;
        }
        case COMMIT_WRITE:
                disk_next_group(process->disk);
                for (uint32_t i = 0; i < committer->working_count; i++)
                        write_intent(world, process, &committer->working[i]);
                disk_next_group(process->disk);
                committer->step = COMMIT_SYNC;
                break;
        case COMMIT_SYNC:
                disk_sync(world, process->machine);
                committer->step = COMMIT_TELL;
                break;
        case COMMIT_TELL:
                tell(world, process);
                committer->step = COMMIT_IDLE;
                break;
        }
        committer->due_ns = in_ms(world, 0, chance(world, world->slow_disk_percent) ? 1000 : 2);
        return world_dies(world, process);
}

/* --- the publisher --- */

void publisher_put(struct world *world, struct process *process, const struct item *item) {
        struct publisher *publisher = &process->publisher;
        if (publisher->count == ITEMS_MAX)
                judge_broken(world, "more to publish than any run needs");
        else
                publisher->queue[publisher->count++] = *item;
}

bool publisher_in_transaction(const struct process *process) {
        return process->publisher.step >= PUBLISH_SEND;
}

bool publisher_has(const struct process *process, uint32_t partition) {
        const struct committer *committer = &process->committer;
        for (uint32_t i = 0; i < process->publisher.count; i++)
                if (process->publisher.queue[i].partition == partition)
                        return true;
        for (uint32_t i = 0; i < committer->pending_count; i++)
                if (committer->pending[i].kind == INTENT_ITEM &&
                    committer->pending[i].item.partition == partition)
                        return true;
        for (uint32_t i = 0; i < committer->working_count; i++)
                if (committer->working[i].kind == INTENT_ITEM &&
                    committer->working[i].item.partition == partition)
                        return true;
        return false;
}

void publisher_drop_stale(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        uint32_t kept = 0, taken = publisher->taken, least = publisher->least;
        bool open = publisher_in_transaction(process); /* only with a mistake planted */
        for (uint32_t i = 0; i < publisher->count; i++) {
                const struct item *item = &publisher->queue[i];
                if ((open && i < publisher->taken) || counts(world, process, item)) {
                        publisher->queue[kept++] = *item;
                        continue;
                }
                taken -= i < publisher->taken;
                least -= i < publisher->least;
                drop(world, process, item);
        }
        publisher->count = kept;
        publisher->taken = taken;
        publisher->least = least;
}

int64_t publisher_wake_ns(const struct process *process) {
        const struct publisher *publisher = &process->publisher;
        return publisher->step == PUBLISH_IDLE && publisher->count == 0 ? INT64_MAX : publisher->due_ns;
}

static void remove_items(struct publisher *publisher, uint32_t count) {
        publisher->count -= count;
        memmove(publisher->queue, publisher->queue + count, publisher->count * sizeof(*publisher->queue));
}

static void done(struct world *world, struct process *process, const struct item *item) {
        money_told(world, process, item, true);
        if (item->kind == ITEM_RESULT)
                process_end_told(world, process, item->handle);
        struct part *part = &process->parts[item->partition];
        if (item->kind == ITEM_OWNER && counts(world, process, item) && part->state == PART_RESTORE) {
                part->claimed = true;
                part->due_ns = world->now_ns;
        }
        if (item->kind != ITEM_PARK || !counts(world, process, item))
                return;
        process->tracks[item->partition][item->offset].parked = true;
        world->counts.parked++;
        window_settle(&part->window, item->offset);
        partition_hand_mark(world, process, item->partition);
}

/* All of it again, in the next transaction. */
static void again(struct world *world, struct process *process, int64_t wait_ms) {
        struct publisher *publisher = &process->publisher;
        for (uint32_t i = 0; i < publisher->taken && world->plant == PLANT_WORD_ABORTED; i++)
                money_told(world, process, &publisher->queue[i], true);
        publisher->taken = publisher->txn = 0;
        publisher->step = PUBLISH_IDLE;
        publisher->due_ns = in_ms(world, 0, wait_ms);
        publisher_drop_stale(world, process);
}

/* The producer is of no use any more, and the transaction may have been committed. */
static void gone(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        world->counts.gone++;
        world_note(world, process->slot, "publisher: indefinite (transaction)", publisher->txn, 0, 0);
        publisher->txn = 0;
        publisher->unsure = publisher->taken > 0;
        if (publisher->least < publisher->taken)
                publisher->least = publisher->taken;
        publisher->step = PUBLISH_CLOSED;
        publisher->due_ns = in_ms(world, 0, 100);
        publisher->state_touched = 0;
        if (world->plant == PLANT_CHECK_TOO_SOON && publisher->unsure)
                publisher->step = PUBLISH_CHECK;
        if (world->plant == PLANT_BLIND_RESEND) {
                publisher->unsure = false;
                publisher->taken = 0;
        }
}

static bool is_settled(const struct process *process, const struct item *item) {
        const struct row *row = &process->disk->live.rows[item->fact];
        if (item->kind == ITEM_RESULT)
                return row->settled && row->settled_print == item->print;
        if (item->kind == ITEM_PARK)
                return row->settled || (row->parked && row->parked_offset == item->offset);
        return false;
}

/* Reads the state of all partitions in question to their ends, then takes out what turned out to be there. */
static void check(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        publisher->due_ns = in_ms(world, 5, 50);
        for (uint32_t i = 0; i < publisher->taken; i++) {
                uint32_t p = publisher->queue[i].partition;
                if (publisher->state_touched >> p & 1)
                        continue;
                publisher->state_touched |= 1U << p;
                publisher->state_end[p] = world->cluster.state[p].end;
        }
        bool too_soon = world->plant == PLANT_CHECK_TOO_SOON;
        for (uint32_t p = 0; p < world->cluster.partitions && !too_soon; p++)
                if ((publisher->state_touched >> p & 1) &&
                    cluster_open_until(world, &world->cluster.state[p], publisher->state_end[p]))
                        return;
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                uint64_t end = publisher->state_end[p];
                uint64_t stable = cluster_stable(world, &world->cluster.state[p]);
                if (publisher->state_touched >> p & 1)
                        partition_read_state(world, process, p, end < stable ? end : stable);
        }
        for (uint32_t i = 0; i < publisher->taken; i++) {
                struct item *item = &publisher->queue[i];
                if (!is_settled(process, item))
                        continue;
                done(world, process, item);
                item->kind = ITEM_MARK;
        }
        publisher->unsure = false;
        publisher->taken = 0;
        publisher->step = too_soon ? PUBLISH_CLOSED : PUBLISH_IDLE;
}

static void open_producer(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        publisher->due_ns = in_ms(world, 0, 30);
        if (!cluster_start(world, process->slot, &publisher->epoch))
                return;
        publisher->step = publisher->unsure ? PUBLISH_CHECK : PUBLISH_IDLE;
}

static bool loses(const struct world *world, const struct process *process) {
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                if (process->parts[p].lost && process->parts[p].state == PART_LEAVING)
                        return true;
        return false;
}

static void begin(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        bool dead = false;
        publisher->due_ns = in_ms(world, 5, 30);
        if (publisher->count == 0 || process->generation == NOBODY || loses(world, process))
                return;
        if (!cluster_begin(world, process->slot, publisher->epoch, &publisher->txn, &dead)) {
                if (dead)
                        gone(world, process);
                return;
        }
        publisher->taken = publisher->count;
        if (chance(world, 20))
                publisher->taken = (uint32_t)between(world, 1, publisher->count);
        if (publisher->taken < publisher->least && world->plant != PLANT_FEWER_AGAIN)
                publisher->taken = publisher->least;
        publisher->step = PUBLISH_SEND;
}

static void send(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        for (uint32_t i = 0; i < publisher->taken; i++) {
                const struct item *item = &publisher->queue[i];
                if (item->kind == ITEM_REHOME && world->plant == PLANT_REHOME_OUTSIDE)
                        continue;
                cluster_send(world, publisher->txn, item);
                if (item->kind == ITEM_RESULT && world->plant == PLANT_ANSWERS_DROPPED)
                        disk_write(world, process->disk,
                                   (struct write){.kind = WRITE_DROP_ANSWER, .fact = item->fact});
        }
        publisher->step = PUBLISH_OFFSETS;
        publisher->due_ns = in_ms(world, 0, 10);
}

/* Under the generation that the client has now. */
static void send_offsets(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        struct txn *txn = &world->cluster.txns[publisher->txn - 1];
        uint32_t partitions = 0;
        bool moved = false;
        uint64_t marks[PARTITIONS_MAX] = {0};
        for (uint32_t i = 0; i < publisher->taken; i++) {
                const struct item *item = &publisher->queue[i];
                partitions |= 1U << item->partition;
                marks[item->partition] = item->mark;
                moved = moved || item->mark > world->cluster.committed[item->partition];
        }
        publisher->step = PUBLISH_COMMIT;
        publisher->due_ns = in_ms(world, 0, 10);
        if (world->plant == PLANT_UNFENCED && !moved)
                return;
        if (!group_takes(world, process)) {
                world->counts.fenced++;
                world_note(world, process->slot, "publisher: fenced (generation, theirs)",
                           process->generation, world->cluster.generation, 0);
                cluster_abort(world, publisher->txn);
                again(world, process, 200);
                return;
        }
        judge_offsets(world, process, partitions);
        txn->moves = partitions;
        memcpy(txn->offsets, marks, sizeof(marks));
}

enum commit_fault { COMMIT_WELL, COMMIT_ABORTED, COMMIT_UNSENT, COMMIT_UNHEARD, COMMIT_LATE };

static void commit(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        enum commit_fault fault = COMMIT_WELL;
        if (faulty(world) && chance(world, world->transaction_faults_percent))
                fault = (enum commit_fault)between(world, COMMIT_ABORTED, COMMIT_LATE);
        switch (fault) {
        case COMMIT_WELL:
                cluster_commit(world, publisher->txn);
                publisher->step = PUBLISH_STORE;
                publisher->due_ns = in_ms(world, 0, chance(world, 10) ? 500 : 20);
                return;
        case COMMIT_ABORTED:
                cluster_abort(world, publisher->txn);
                again(world, process, 100);
                return;
        case COMMIT_UNHEARD:
                cluster_commit(world, publisher->txn);
                break;
        case COMMIT_LATE:
                world->cluster.late[process->slot] = (struct late_commit){.there = true,
                                                                          .txn = publisher->txn,
                                                                          .epoch = publisher->epoch,
                                                                          .at_ns = in_ms(world, 0, 2000)};
                break;
        case COMMIT_UNSENT:
                break;
        }
        gone(world, process);
}

/* Where the state topic goes on behind what this transaction wrote. */
static void write_changelog(struct world *world, struct process *process) {
        for (uint32_t p = 0; p < world->cluster.partitions; p++) {
                const struct log *log = &world->cluster.state[p];
                if ((world->cluster.txns[process->publisher.txn - 1].state >> p & 1) == 0)
                        continue;
                uint32_t at = log->end;
                while (at > 0 && log->entries[at - 1].txn != process->publisher.txn)
                        at--;
                if (at > 0)
                        disk_write(world, process->disk,
                                   (struct write){.kind = WRITE_CHANGELOG, .partition = p, .offset = at});
        }
}

static void store(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        struct disk *disk = process->disk;
        disk_next_group(disk);
        for (uint32_t i = 0; i < publisher->taken; i++) {
                const struct item *item = &publisher->queue[i];
                struct write write = {.fact = item->fact,
                                      .print = item->print,
                                      .line = item->line,
                                      .partition = item->partition,
                                      .offset = item->offset};
                bool writes = item->kind == ITEM_RESULT || item->kind == ITEM_PARK ||
                              item->kind == ITEM_DELETE || item->kind == ITEM_WORD;
                write.word = item->word;
                if (item->kind == ITEM_WORD)
                        write.shard = world->words[item->word - 1].subject;
                write.kind = item->kind == ITEM_RESULT ? WRITE_SETTLED
                             : item->kind == ITEM_WORD ? WRITE_WORD
                             : item->kind == ITEM_PARK ? WRITE_PARKED
                                                       : WRITE_DELETED;
                if (writes)
                        disk_write(world, disk, write);
        }
        write_changelog(world, process);
        disk_next_group(disk);
        uint32_t taken = publisher->taken;
        struct item items[64];
        for (uint32_t at = 0; at < taken;) {
                uint32_t count = taken - at < 64 ? taken - at : 64;
                memcpy(items, publisher->queue + at, count * sizeof(*items));
                for (uint32_t i = 0; i < count; i++) {
                        if (items[i].kind == ITEM_REHOME && world->plant == PLANT_REHOME_OUTSIDE) {
                                uint32_t home = world->facts[world->lines[items[i].line].fact].home;
                                struct entry entry = {.kind = ENTRY_JOB, .line = items[i].line};
                                cluster_append(world, &world->cluster.jobs[home], &entry);
                                world->lines[items[i].line].copied = true;
                        }
                        done(world, process, &items[i]);
                }
                at += count;
        }
        remove_items(publisher, taken);
        publisher->least -= publisher->least < taken ? publisher->least : taken;
        publisher->taken = publisher->txn = 0;
        publisher->step = PUBLISH_IDLE;
        publisher->due_ns = world->now_ns + world->interval_ns;
        publisher_drop_stale(world, process);
}

/* Between its steps a transaction can fail, be fenced, or its partitions can be lost. true: it is over. */
static bool interrupted(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        if (publisher->step < PUBLISH_SEND || publisher->step > PUBLISH_COMMIT)
                return false;
        if (!cluster_alive(world, process->slot, publisher->epoch, publisher->txn)) {
                gone(world, process);
                return true;
        }
        bool fails = faulty(world) && chance(world, world->transaction_faults_percent);
        if (!loses(world, process) && !fails)
                return false;
        if (fails && chance(world, 30)) {
                gone(world, process);
                return true;
        }
        cluster_abort(world, publisher->txn);
        again(world, process, 100);
        return true;
}

bool publisher_step(struct world *world, struct process *process) {
        struct publisher *publisher = &process->publisher;
        bool idle = publisher->step == PUBLISH_IDLE && publisher->count == 0;
        if (idle || (publisher->due_ns > world->now_ns && !(publisher->txn > 0 && loses(world, process))))
                return false;
        if (interrupted(world, process))
                return world_dies(world, process);
        switch (publisher->step) {
        case PUBLISH_CLOSED:
                open_producer(world, process);
                break;
        case PUBLISH_CHECK:
                check(world, process);
                break;
        case PUBLISH_IDLE:
                begin(world, process);
                break;
        case PUBLISH_SEND:
                send(world, process);
                break;
        case PUBLISH_OFFSETS:
                send_offsets(world, process);
                break;
        case PUBLISH_COMMIT:
                commit(world, process);
                break;
        case PUBLISH_STORE:
                store(world, process);
                break;
        }
        return broken(world) || world_dies(world, process);
}
