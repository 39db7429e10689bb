#pragma once
/*
 * A record of the dead-letter topic: either a letter, which is what came with headers that say what is wrong
 * with it, or a mark, which says that a letter was redriven. `dead-letters redrive` writes a mark in the same
 * transaction as the record that it sends back, into the letter's partition, so that it outlives the letter:
 *
 *   key      the letter's
 *   value    none
 *   headers  batchferry-redriven: TOPIC/PARTITION-OFFSET of the letter
 *
 * The record that was sent back has the same header. A letter of such a record has it too, and an error code
 * besides; that makes the difference.
 */
#include "broker/kafka/consumer.h"

#define LETTER_REDRIVEN "batchferry-redriven"

enum letter_header {
#define DEAD_LETTER_HEADER(name, text, meaning) LETTER_##name,
#include "schemas/dead_letter_headers.def"
#undef DEAD_LETTER_HEADER
        LETTER_HEADERS_COUNT
};

struct letter_place {
        uint32_t partition;
        uint64_t offset;
};

enum { LETTER_TEXT_MAX = 300 };

/* Empty when it has no such header. */
struct bytes letter_header(const struct consumer_record *record, enum letter_header header);
/* Whether a header is one of those that a dead letter has besides its record's own. */
bool letter_is_ours(struct bytes header_name);
/* true: it is a mark; out_place is the letter's, when it is of this topic and partition, else false. */
bool letter_is_mark(const struct consumer_record *record);
bool letter_marked_place(const struct consumer_record *record, const char *topic,
                         struct letter_place *out_place);
/* "3-17" */
bool letter_place_parse(struct bytes text, struct letter_place *out_place);
/* Cut to `size`, with what is not fit to be shown as '?'. */
void letter_text(struct bytes text, char *out_text, size_t size);
