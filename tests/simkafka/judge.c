/*
 * The promises, checked by one who sees everything: of a key one result or dead letter is committed, and it
 * is the one of the job that came first to its home partition; no committed offset has an unsettled record
 * before it; who commits for a partition is its owner; no call is made again by a process that has the
 * answer, or on a disk that has it; in the end all is there.
 */
#include "tests/sim/compliance.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DAY_NS (86400 * NS_PER_S)

void judge_broken(struct world *world, const char *format, ...) {
        if (broken(world))
                return;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(world->violation, sizeof(world->violation), format, arguments);
        va_end(arguments);
}

uint32_t judge_fact(struct world *world, struct key128 key) {
        uint32_t index;
        if (map_get(&world->keys, key, &index))
                return index;
        index = world->facts_count;
        if (index == FACTS_MAX) {
                judge_broken(world, "more keys than lines can make");
                return 0;
        }
        struct fact *fact = &world->facts[world->facts_count++];
        *fact = (struct fact){.key = key};
        map_put(&world->keys, key, index);
        return index;
}

struct key128 judge_record_key(uint32_t partition, uint64_t offset) {
        return (struct key128){.hi = UINT64_C(0x9e3779b97f4a7c15) * (offset + 1), .lo = partition + 1};
}

void judge_produced(struct world *world, uint32_t partition, uint64_t offset, uint32_t line) {
        if (!world->lines[line].bad)
                return;
        world->lines[line].fact = judge_fact(world, judge_record_key(partition, offset));
        struct fact *fact = &world->facts[world->lines[line].fact];
        fact->kind = FACT_BAD;
        fact->expected = true;
        fact->home = partition;
        fact->print = world->lines[line].print;
}

void judge_record(struct world *world, uint32_t partition, const struct entry *entry, uint64_t offset) {
        const struct line *line = &world->lines[entry->line];
        (void)offset;
        if (line->bad)
                return;
        struct fact *fact = &world->facts[line->fact];
        if (fact->home != partition)
                return;
        if (!fact->expected) {
                fact->expected = true;
                fact->print = line->print;
        } else if (fact->print != line->print) {
                struct fact *alias = &world->facts[line->alias];
                alias->expected = true;
                alias->kind = FACT_CONFLICT;
                alias->print = line->print;
        }
}

/* Under which name the record is settled. */
static const struct fact *fact_of(const struct world *world, const struct line *line) {
        const struct fact *fact = &world->facts[line->fact];
        return line->bad || fact->print == line->print ? fact : &world->facts[line->alias];
}

static void judge_output(struct world *world, const struct output *output) {
        struct fact *fact = &world->facts[output->fact];
        if (++fact->outputs > 1)
                judge_broken(world, "two results or dead letters of one job");
        if (!fact->expected)
                judge_broken(world, "a result or dead letter of a job that nobody asked for");
        if (output->dead != (fact->kind != FACT_JOB))
                judge_broken(world, fact->kind == FACT_JOB ? "a job was dead-lettered"
                                                           : "a result of what is no job of its own");
        if (output->print != fact->print)
                judge_broken(world, "a result for another body than the one that came first");
        const struct answer_made *answer = &world->answers[output->answer - 1];
        if (output->answer == 0 || answer->fact != output->fact || answer->print != output->print) {
                judge_broken(world, "a result that answers something else");
                return;
        }
        if ((answer->failure == FAILURE_IDEMPOTENCY_CONFLICT) != (fact->kind == FACT_CONFLICT))
                judge_broken(world, "a conflict where there is none, or none where there is one");
        world->counts.broke += answer->failure == FAILURE_BUDGET_EXCEEDED;
        money_check_settled(world, answer->failure);
        if (answer->failure == FAILURE_NONE && fact->succeeded == 0)
                judge_broken(world, "a result though no call succeeded");
}

static void judge_state(struct world *world, const struct entry *entry) {
        struct fact *fact = entry->state == STATE_OWNER ? NULL : &world->facts[entry->fact];
        switch (entry->state) {
        case STATE_MONEY: /* money_accepted() has seen it */
                return;
        case STATE_SETTLED:
                if (fact->outputs == 0)
                        judge_broken(world, "the state says settled, but there is no result");
                fact->settled = true;
                fact->parked = false;
                return;
        case STATE_PARKED:
                if (world->lines[entry->line].private)
                        judge_broken(world, "a job with zdr is parked: its body is in the state topic");
                if (entry->print != fact->print)
                        judge_broken(world, "a job is parked under the key of another one");
                if (fact->settled)
                        judge_broken(world, "a job is parked that is settled");
                fact->parked = true;
                return;
        case STATE_DELETED:
                fact->parked = false;
                return;
        case STATE_OWNER:
                return;
        }
}

static void judge_entries(struct world *world, struct log *log, uint32_t txn) {
        for (uint32_t i = log->end; i > 0; i--) {
                const struct entry *entry = &log->entries[i - 1];
                if (entry->txn != txn)
                        continue;
                if (entry->kind == ENTRY_JOB)
                        world->lines[entry->line].copied = true;
        }
        for (uint32_t i = 0; i < log->end; i++)
                if (log->entries[i].txn == txn && log->entries[i].kind == ENTRY_STATE)
                        judge_state(world, &log->entries[i]);
}

/* The job has another record that is not passed: it will be delivered again all the same. */
static bool comes_again(const struct world *world, const struct log *log, uint64_t mark,
                        const struct fact *fact) {
        for (uint64_t i = mark; i < log->stable; i++)
                if (cluster_visible(world, &log->entries[i]) &&
                    fact_of(world, &world->lines[log->entries[i].line]) == fact)
                        return true;
        return false;
}

/* Every record below the offset has ended, is parked, or is at home. */
static void judge_mark(struct world *world, uint32_t partition, uint64_t mark) {
        struct cluster *cluster = &world->cluster;
        struct log *log = &cluster->jobs[partition];
        if (mark < cluster->committed[partition])
                judge_broken(world, "the committed offset of partition %u goes back from %llu to %llu",
                             partition, (unsigned long long)cluster->committed[partition],
                             (unsigned long long)mark);
        if (mark > cluster_stable(world, log)) {
                judge_broken(world, "an offset is committed that nobody can have read");
                return;
        }
        for (; world->checked[partition] < mark; world->checked[partition]++) {
                const struct entry *entry = &log->entries[world->checked[partition]];
                if (!cluster_visible(world, entry))
                        continue;
                const struct line *line = &world->lines[entry->line];
                bool away = !line->bad && world->facts[line->fact].home != partition;
                const struct fact *fact = fact_of(world, line);
                if (away ? line->copied
                         : fact->settled || fact->parked || comes_again(world, log, mark, fact))
                        continue;
                judge_broken(world, "offset %llu of partition %u is committed, but record %llu is not %s",
                             (unsigned long long)mark, partition,
                             (unsigned long long)world->checked[partition], away ? "at home" : "settled");
                return;
        }
}

void judge_committed(struct world *world, uint32_t txn) {
        struct cluster *cluster = &world->cluster;
        const struct txn *that = &cluster->txns[txn - 1];
        for (uint32_t i = that->first_output; i < cluster->outputs_count; i++)
                if (cluster->outputs[i].txn == txn)
                        judge_output(world, &cluster->outputs[i]);
        for (uint32_t p = 0; p < cluster->partitions && !broken(world); p++) {
                if (that->jobs >> p & 1)
                        judge_entries(world, &cluster->jobs[p], txn);
                if (that->state >> p & 1)
                        judge_entries(world, &cluster->state[p], txn);
        }
        for (uint32_t p = 0; p < cluster->partitions && !broken(world); p++) {
                if ((that->moves >> p & 1) == 0)
                        continue;
                judge_mark(world, p, that->offsets[p]);
                cluster->committed[p] = that->offsets[p];
        }
}

void judge_offsets(struct world *world, const struct process *process, uint32_t partitions) {
        for (uint32_t p = 0; p < world->cluster.partitions; p++)
                if ((partitions >> p & 1) && world->cluster.owner[p] != process->slot)
                        judge_broken(world, "offsets of partition %u are sent by one that does not own it",
                                     p);
}

/* All processes together, in any window, as it ends with this call, which is the last one of all. */
static void judge_day(struct world *world, const struct call *call, uint32_t provider) {
        int64_t limit = world->providers[provider].limits.requests_per_day, calls = 0;
        for (uint32_t i = world->calls_count; i > 0; i--) {
                if (call->start_ns - world->calls[i - 1].start_ns >= DAY_NS)
                        break;
                calls += world->calls[i - 1].provider == provider;
        }
        if (limit > 0 && calls > limit)
                judge_broken(world, "%lld calls in a day, of %lld", (long long)calls, (long long)limit);
}

/* By the rules as the line says them, and by the catalog as it is, whatever the engine was told. */
static void check_compliance(struct world *world, const struct command *command, const struct call *call) {
        const struct entry *entry = &world->cluster.jobs[call->partition].entries[call->offset];
        const struct endpoint *endpoint = &world->endpoints[command->endpoint];
        struct job_spec *job =
                job_decode(world->decoder, bytes_of(world->lines[entry->line].text), 1, call->offset, false);
        const char *rule =
                compliance_broken(&job->demand.prefs, &world->providers[endpoint->provider], endpoint);
        if (rule)
                judge_broken(world, "a call was made to %s, which %s of the job forbids", endpoint->name,
                             rule);
        job_spec_free(job);
}

void judge_call(struct world *world, struct process *process, const struct command *command,
                struct call *call) {
        struct fact *fact = &world->facts[call->fact];
        check_compliance(world, command, call);
        const struct row *row = &process->disk->durable.rows[call->fact];
        uint32_t slot = process->slot;
        call->provider = world->endpoints[command->endpoint].provider;
        judge_day(world, call, call->provider);
        const struct part *part = &process->parts[call->partition];
        bool owns = world->cluster.owner[call->partition] == slot && part->state == PART_OWNED;
        fact->calls++;
        /* one that was thrown out, and does not know yet, may have read that another one has settled it */
        bool elsewhere = !owns && process->disk->live.rows[call->fact].settled;
        if (!elsewhere && (!row->attempt_live || row->attempt_print != call->print))
                judge_broken(world, "a call was made whose attempt is not durable");
        if (!process_current(process, call->partition, call->offset))
                judge_broken(world, "a call was made for a partition that has gone");
        if (call->print != fact->print)
                judge_broken(world, "a call was made for a job in conflict");
        if (owns && fact->settled)
                judge_broken(world, "a call was made for a job that is settled, by the owner");
        if (fact->durable[process->machine])
                judge_broken(world, "a call was made though its answer is durable on this disk");
        /* what may not be written down is bought again when its partition went before it was published */
        if (fact->answered_by[slot] == process->incarnation + 1 && !command->job->demand.prefs.zdr)
                judge_broken(world, "a call was made by a process that has the answer");
        if (fact->calling[slot]++ > 0)
                judge_broken(world, "two calls at a time for one job in one process");
        if (command->job->unknown == UNKNOWN_FAIL && fact->unknown[process->machine])
                judge_broken(world, "a job that must not be repeated was called again on a disk that knows");
        if (command->job->unknown == UNKNOWN_FAIL)
                fact->unknown[process->machine] = true;
        for (uint32_t i = 0; i < PROCESSES_MAX; i++)
                if (fact->answered_by[i] > 0) {
                        world->counts.repeated++;
                        break;
                }
}

static bool is_final(enum verdict verdict) {
        return verdict == VERDICT_OK || verdict == VERDICT_REJECTED;
}

void judge_answered(struct world *world, struct process *process, const struct call *call) {
        struct fact *fact = &world->facts[call->fact];
        fact->calling[process->slot]--;
        fact->succeeded += call->answer.verdict == VERDICT_OK;
        if (call->answer.verdict != VERDICT_UNKNOWN)
                fact->unknown[process->machine] = false;
        if (is_final(call->answer.verdict))
                fact->answered_by[process->slot] = process->incarnation + 1;
}

/*
 * Whoever asks for zdr finds neither the body nor the answer on a disk: a parked row holds the one, an answer
 * row the other.
 */
void judge_written(struct world *world, const struct write *write) {
        if (write->kind == WRITE_PARKED && world->lines[write->line].private)
                judge_broken(world, "the body of a job with zdr is written to a disk");
        if (write->kind == WRITE_ANSWER && write->answer > 0 && world->answers[write->answer - 1].private)
                judge_broken(world, "the answer of a job with zdr is written to a disk");
}

void judge_durable(struct world *world, uint32_t machine, const struct write *write) {
        if (write->kind == WRITE_ANSWER)
                world->facts[write->fact].durable[machine] = true;
}

bool judge_done(struct world *world) {
        struct cluster *cluster = &world->cluster;
        if (world->produced < world->lines_count)
                return false;
        for (uint32_t p = 0; p < cluster->partitions; p++)
                if (cluster->committed[p] != cluster->jobs[p].end)
                        return false;
        for (uint32_t i = 0; i < world->facts_count; i++)
                if (world->facts[i].expected && !world->facts[i].settled)
                        return false;
        for (uint32_t i = 0; i < world->processes_count; i++)
                if (!world->processes[i].alive || !engine_empty(world->processes[i].engine))
                        return false;
        return true;
}

void judge_end(struct world *world) {
        struct cluster *cluster = &world->cluster;
        for (uint32_t i = 0; i < world->facts_count; i++) {
                const struct fact *fact = &world->facts[i];
                if (fact->expected != (fact->outputs == 1) || fact->parked)
                        judge_broken(world, "a job has %u results in the end%s", fact->outputs,
                                     fact->parked ? " and is parked" : "");
        }
        /* what a reader of committed records finds, counted anew */
        uint32_t found = 0, settled = 0;
        for (uint32_t i = 0; i < cluster->outputs_count; i++)
                found += cluster->txns[cluster->outputs[i].txn - 1].status == TXN_COMMITTED;
        for (uint32_t p = 0; p < cluster->partitions; p++)
                for (uint32_t i = 0; i < cluster->state[p].end; i++)
                        settled += cluster_visible(world, &cluster->state[p].entries[i]) &&
                                   cluster->state[p].entries[i].state == STATE_SETTLED;
        uint32_t expected = 0;
        for (uint32_t i = 0; i < world->facts_count; i++)
                expected += world->facts[i].expected;
        money_check_end(world);
        if (found != expected || settled != expected)
                judge_broken(world, "%u results and %u settled states of %u jobs", found, settled, expected);
}
