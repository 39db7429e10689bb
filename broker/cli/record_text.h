#pragma once
/*
 * Values and headers of records as text, for commands that show them: MessagePack as JSON, in one line.
 */
#include "broker/kafka/consumer.h"

/* The last header of that name; NULL when there is none. Names of ours are in lower case. */
const struct kafka_header *record_header(const struct consumer_record *record, const char *name);
/*
 * The value as JSON text in one line: as it is, or from MessagePack, which content-type or the first byte
 * tells. Clears `out` first. false when it is neither, or does not fit.
 */
bool record_json(const struct consumer_record *record, struct buffer *out);
/* RFC 3339, or a duration that is counted back from now: "2026-11-23T01:00:00Z", "2h". */
bool record_time_parse(const char *text, int64_t now_unix_ms, int64_t *out_unix_ms);
