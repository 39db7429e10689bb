#pragma once
/*
 * Where partitions of a topic begin and end, as their leaders say (ListOffsets). Blocks; any thread. What
 * passes by itself (an election, a broker that starts) is asked again until the time is over.
 *
 * A client with isolation.level=read_committed is told the last stable offset as the end, which stands before
 * the first transaction that is still open; one with read_uncommitted the high watermark [librdkafka 2.0.2:
 * rd_kafka_ListOffsetsRequest() sends the client's level]. A leader that does not yet know its high watermark
 * after an election refuses instead of naming one that is too low (KIP-207), so an end is never too early.
 */
#include "broker/kafka/client.h"

#include <stdatomic.h>

enum { ENDS_FIRST = -2, ENDS_LAST = -1 }; /* in place of a time: the log's beginning and its end */

/* ERROR_INPUT when there is no such topic. `stop` may be NULL; it ends with ERROR_BUSY, ECANCELED. */
struct error *ends_partitions(struct rd_kafka_s *client, const char *topic, int64_t timeout_ns,
                              const atomic_bool *stop, uint32_t *out_count) MUST_USE;
/*
 * For every partition from 0 to count - 1 the offset of its first record from that time on, or ENDS_FIRST or
 * ENDS_LAST; where there is no such record, -1.
 */
struct error *ends_of_all(struct rd_kafka_s *client, const char *topic, uint32_t count, int64_t unix_ms,
                          int64_t timeout_ns, const atomic_bool *stop, int64_t *out_offsets) MUST_USE;
/* The same for one partition, its beginning and its end. */
struct error *ends_of_one(struct rd_kafka_s *client, const char *topic, uint32_t partition,
                          int64_t timeout_ns, const atomic_bool *stop, uint64_t *out_first,
                          uint64_t *out_end) MUST_USE;
