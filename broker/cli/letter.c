#include "broker/cli/letter.h"

#include "broker/cli/record_text.h"
#include "broker/wire/problem.h"

#include <stdio.h>
#include <string.h>

static const char *const names[] = {
#define DEAD_LETTER_HEADER(name, text, meaning) text,
#include "schemas/dead_letter_headers.def"
#undef DEAD_LETTER_HEADER
};

struct bytes letter_header(const struct consumer_record *record, enum letter_header header) {
        const struct kafka_header *found = record_header(record, names[header]);
        return found ? found->value : BYTES("");
}

bool letter_is_ours(struct bytes header_name) {
        for (size_t i = 0; i < LETTER_HEADERS_COUNT; i++)
                if (bytes_equal_nocase(header_name, names[i]))
                        return true;
        return bytes_equal_nocase(header_name, LETTER_REDRIVEN);
}

bool letter_is_mark(const struct consumer_record *record) {
        return record_header(record, LETTER_REDRIVEN) != NULL && !record_header(record, names[LETTER_CODE]);
}

static bool parse_digits(struct bytes text, uint64_t most, uint64_t *out_number) {
        uint64_t number = 0;
        if (text.size == 0 || text.size > 19)
                return false;
        for (size_t i = 0; i < text.size; i++) {
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
                number = number * 10 + (uint64_t)(text.data[i] - '0');
        }
        *out_number = number;
        return number <= most;
}

bool letter_place_parse(struct bytes text, struct letter_place *out_place) {
        const char *dash = text.size ? memchr(text.data, '-', text.size) : NULL;
        uint64_t partition, offset;
        if (!dash)
                return false;
        size_t size = (size_t)(dash - text.data);
        if (!parse_digits((struct bytes){text.data, size}, INT32_MAX, &partition) ||
            !parse_digits((struct bytes){dash + 1, text.size - size - 1}, INT64_MAX, &offset))
                return false;
        *out_place = (struct letter_place){(uint32_t)partition, offset};
        return true;
}

bool letter_marked_place(const struct consumer_record *record, const char *topic,
                         struct letter_place *out_place) {
        const struct kafka_header *header = record_header(record, LETTER_REDRIVEN);
        size_t prefix = strlen(topic) + 1;
        struct letter_place place;
        if (!header || header->value.size <= prefix || !bytes_starts_with(header->value, topic) ||
            header->value.data[prefix - 1] != '/')
                return false;
        struct bytes text = {header->value.data + prefix, header->value.size - prefix};
        if (!letter_place_parse(text, &place) || place.partition != record->partition)
                return false;
        *out_place = place;
        return true;
}

void letter_text(struct bytes text, char *out_text, size_t size) {
        problem_quote(text, out_text, size);
}
