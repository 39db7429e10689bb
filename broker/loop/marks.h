#pragma once
/* Where the offsets of partitions stand, as of what a publisher has sent so far. */
#include "broker/kafka/producer.h"
#include "broker/loop/board.h"
#include "broker/loop/publication.h"

struct mark {
        uint64_t offset;
        uint32_t epoch; /* in which it was told */
        bool touched;   /* by this transaction */
};

/*
 * The offsets that a transaction of these items commits: of every partition that has anything in it, moved or
 * not: the group's coordinator, who refuses what a former owner sends, looks at offsets alone. What is said
 * of owners goes with some offset in any case. `marks` by partition; gives their number.
 */
size_t marks_collect(struct mark *marks, const struct board *board, const struct publication *items,
                     size_t count, struct producer_offset *out_offsets);
