#pragma once
/*
 * Sends dead letters back to the jobs topic, each at most once, whatever crashes and however often and by how
 * many it is asked:
 *
 *   1. The writer's transactional id is the same for all: opening it ends the transaction that another
 *      redrive may have open, and keeps that one from committing anything from then on.
 *   2. After that the marks (letter.h) are read, to the end of the log and waiting for open transactions, so
 *      everything that was redriven before is known, and nobody else can add to it.
 *   3. A record that is sent back and its mark are in one transaction.
 *
 * The record has the letter's key and value and the headers that it came with, and goes to the partition that
 * its idempotency key names; where it cannot be read, to the partition it came from.
 */
#include "broker/cli/letters.h"

struct redrive_options {
        struct letters_options letters;
        const char *jobs_topic;
        size_t job_bytes_max;
        bool dry_run; /* says what it would do on standard output, one place in a line */
};

struct redrive_counts {
        uint64_t sent, before, left; /* sent back now, redriven before, cannot be (named on standard error) */
};

/* Counts are those that are committed, also with an error. */
struct error *redrive(const struct redrive_options *options, struct redrive_counts *out_counts) MUST_USE;
