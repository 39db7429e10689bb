#pragma once
/*
 * Writes records, idempotent and acknowledged by all replicas, for `submit` and `dead-letters redrive`:
 * outside transactions, or in one after the other. One thread. Bounded memory: writer_send() waits while the
 * queue is full.
 */
#include "broker/kafka/producer.h"

struct writer;

struct writer_options {
        struct kafka_properties properties;
        const char *client_id;
        /*
         * NULL: none. Else all between two writer_flush() is one transaction, and who opens a writer with the
         * same id later ends this one: its open transaction is taken back, and it can commit no other.
         */
        const char *transactional_id;
        /*
         * NULL, or asked a few times a second while the queue is full: false gives up, and writer_send() says
         * PRODUCER_BROKEN without an error.
         */
        bool (*wait)(void *userdata);
        void *wait_userdata;
};

/* With a transactional id it blocks until the id is ours (at most a minute). */
struct error *writer_open(const struct writer_options *options, struct writer **out_writer) MUST_USE;
/* Without waiting; an open transaction is taken back. NULL gives NULL. */
struct writer *writer_close(struct writer *writer);
/*
 * Partition -1: by murmur2 of the key. `out_offset` is not looked at. PRODUCER_TOO_LARGE leaves the writer
 * usable; PRODUCER_BROKEN: see writer_error().
 */
enum producer_sent writer_send(struct writer *writer, const struct producer_message *message);
/*
 * Everything sent is acknowledged (and, with a transactional id, committed: that is waited for as long as it
 * takes). ERROR_NETWORK with code ETIMEDOUT when it took longer: it may be called again. Any other error is
 * the end of the writer, and with a transactional id nothing since the last flush is there.
 */
struct error *writer_flush(struct writer *writer, int64_t timeout_ns) MUST_USE;
uint64_t writer_acknowledged(const struct writer *writer);
/* The first record that the cluster refused, or what broke the writer; NULL: none. The caller's. */
struct error *writer_error(struct writer *writer) MUST_USE;
/* Partitions of a topic; asks the cluster once. ERROR_INPUT when it is not there. */
struct error *writer_partitions(struct writer *writer, const char *topic, int64_t timeout_ns,
                                uint32_t *out_count) MUST_USE;
