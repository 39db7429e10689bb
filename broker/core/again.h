#pragma once
/*
 * Records of partitions that are to be taken once more, because the job that they are the records of is on
 * its way out: its result was handed over, or it was given up, when its partition was elsewhere. As soon as
 * that job has gone its key is free, and of several records with that key, which may have other bodies, the
 * one that came first must get it. So they are taken again by their offsets, from the first one that waits,
 * and while one `holds` its partition no other record of that may be taken. Pure, one thread.
 */
#include "broker/core/job_spec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct again_record {
        uint32_t partition, epoch; /* epoch: of the partition, when it was taken */
        uint64_t offset;
        bool holds;           /* the records behind it wait for it */
        struct job_spec *job; /* the caller's */
};

struct again {
        struct again_record *records; /* by partition and offset */
        size_t count, capacity;
        uint32_t next; /* the partition that is the first to be taken from */
};

/* A zeroed one is empty. */
void again_deinit(struct again *again);
/* false: memory was refused. */
bool again_keep(struct again *again, const struct again_record *record);
/*
 * Takes up to `max` out, each partition's from its first one. When there are more of a partition than that,
 * the others have their turn first the next time. Gives how many.
 */
size_t again_take(struct again *again, struct again_record *out_records, size_t max);
/* One of the partition's records waits that was taken in this epoch, and no other may be taken. */
bool again_holds(const struct again *again, uint32_t partition, uint32_t epoch);
