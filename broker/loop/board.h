#pragma once
/*
 * What the threads of a shard tell each other about partitions: the epoch, which the loop raises whenever a
 * partition comes or goes, and how much of it is on its way to the topics.
 */
#include "broker/kafka/consumer.h"

#include <stdatomic.h>

struct board {
        atomic_uint epoch[CONSUMER_PARTITIONS_MAX]; /* odd: it is this shard's */
        atomic_uint pending[CONSUMER_PARTITIONS_MAX];
        atomic_uint owner[CONSUMER_PARTITIONS_MAX]; /* the epoch in which the state topic was told of us */
        atomic_size_t
                copied_bytes;   /* of records that go to their own partition, and results that go out again */
        atomic_uint forgetting; /* publications of keys that are forgotten */
};

static inline bool board_current(const struct board *board, uint32_t partition, uint32_t epoch) {
        return (epoch & 1) && atomic_load(&board->epoch[partition]) == epoch;
}
