#pragma once
/*
 * The audit of a worker: records in the audit topic, keyed by workspace, in the transactions of a publisher.
 * A publisher writes one chain per partition of that topic, so that each chain stands whole and in order in
 * one partition. Every start of a publisher begins new chains, and so does a transaction of unknown end; such
 * a chain names the last record that is known to be there of the one before.
 *
 * One thread. What is sent counts once it is told to be committed.
 */
#include "broker/kafka/producer.h"
#include "broker/loop/audit_note.h"
#include "broker/store/store.h"

struct audit_topic;

struct audit_topic_options {
        const char *topic;
        uint32_t partitions;
        const char *writer;
        struct store *store; /* where the ends of chains are noted, for the next start */
};

struct error *audit_topic_new(const struct audit_topic_options *options,
                              struct audit_topic **out_audit) MUST_USE;
struct audit_topic *audit_topic_free(struct audit_topic *audit); /* NULL gives NULL */
/* PRODUCER_TOO_LARGE: memory was refused; the transaction must not be committed. */
enum producer_sent audit_topic_send(struct audit_topic *audit, struct producer *producer,
                                    const struct audit_note *note);

/* What became of all that was sent since the last end. NULL: nothing was. */
enum audit_end { AUDIT_COMMITTED, AUDIT_ABORTED, AUDIT_LOST };
void audit_topic_end(struct audit_topic *audit, enum audit_end end);
/* Notes the ends that have moved; the same. */
void audit_topic_stage(struct audit_topic *audit, struct store_batch *batch);
