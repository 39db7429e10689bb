#include "broker/wire/decision.h"

#include "broker/base/money.h"
#include "broker/base/time.h"

#include <stdlib.h>
#include <string.h>

enum { RECORD_BYTES_MAX = DECISION_TEXT_MAX / 4 * 3, DEMAND_BYTES = 512 };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t text_size(size_t bytes) {
        return (bytes * 4 + 2) / 3;
}

static void append_text(struct buffer *out, const uint8_t *bytes, size_t size) {
        char *at = out->data + out->size;
        size_t i = 0;
        for (; i + 3 <= size; i += 3) {
                uint32_t three = (uint32_t)bytes[i] << 16 | (uint32_t)bytes[i + 1] << 8 | bytes[i + 2];
                *at++ = digits[three >> 18];
                *at++ = digits[three >> 12 & 63];
                *at++ = digits[three >> 6 & 63];
                *at++ = digits[three & 63];
        }
        if (i < size) {
                uint32_t rest = (uint32_t)bytes[i] << 16 | (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0);
                *at++ = digits[rest >> 18];
                *at++ = digits[rest >> 12 & 63];
                if (i + 1 < size)
                        *at++ = digits[rest >> 6 & 63];
        }
        out->size = (size_t)(at - out->data);
}

/* false also when it does not fit into `bytes`. */
static bool append_record(struct buffer *out, const struct demand *demand, const struct decision *decision,
                          uint8_t *bytes, size_t bytes_max) {
        struct record_writer writer = {bytes, bytes + bytes_max};
        record_write_demand(&writer, demand);
        if (writer.at == NULL || (size_t)(writer.end - writer.at) < decision->record_size)
                return false;
        memcpy(writer.at, decision->record, decision->record_size);
        size_t size = (size_t)(writer.at - bytes) + decision->record_size;
        if (!buffer_reserve(out, text_size(size)))
                return false;
        append_text(out, bytes, size);
        return true;
}

bool decision_append(struct buffer *out, const struct demand *demand, const struct decision *decision) {
        uint8_t small[DEMAND_BYTES + DECISION_RECORD_MAX];
        if (decision->record_size == 0)
                return false;
        if (append_record(out, demand, decision, small, sizeof small))
                return true;
        uint8_t *large = out->failed ? NULL : malloc(RECORD_BYTES_MAX);
        bool appended = large != NULL && append_record(out, demand, decision, large, RECORD_BYTES_MAX);
        free(large);
        return appended;
}

/* Of the alphabet for URLs only, in which records are written. */
static int digit_value(char c) {
        return c == '+' || c == '/' ? -1 : base64_digit(c);
}

static bool read_text(struct bytes text, struct buffer *record) {
        uint32_t bits = 0;
        unsigned count = 0;
        if (text.size > DECISION_TEXT_MAX || text.size % 4 == 1)
                return false;
        for (size_t i = 0; i < text.size; i++) {
                int value = digit_value(text.data[i]);
                if (value < 0)
                        return false;
                bits = bits << 6 | (uint32_t)value;
                count += 6;
                if (count < 8)
                        continue;
                count -= 8;
                buffer_append_char(record, (char)(bits >> count & 0xff));
        }
        return (bits & ((1U << count) - 1)) == 0 && !record->failed;
}

bool decision_read(struct bytes text, struct buffer *record, struct decision_inputs *out_inputs) {
        buffer_clear(record);
        return read_text(text, record) && record_read(buffer_view(record), out_inputs);
}

/* Lower measures come first, so what is better when higher is negative. */
void decision_append_measure(struct buffer *out, enum sort_by sort, int64_t measure) {
        static const char *const names[] = {[SORT_THROUGHPUT] = ",\"tokens_per_s\":",
                                            [SORT_LATENCY] = ",\"latency_ms\":",
                                            [SORT_QUALITY] = ",\"quality\":",
                                            [SORT_BALANCED] = ",\"score\":"};
        if ((size_t)sort >= sizeof names / sizeof *names || names[sort] == NULL)
                return;
        buffer_append_string(out, names[sort]);
        if (sort == SORT_LATENCY)
                buffer_append_i64(out, measure / NS_PER_MS);
        else if (sort == SORT_THROUGHPUT)
                money_append(out, money_multiply(-measure, PICOUSD_PER_USD / 1000)); /* thousandths */
        else
                buffer_append_i64(out, -measure);
}

void decision_append_penalties(struct buffer *out, uint8_t penalties) {
        static const struct {
                enum penalty bit;
                const char *text;
        } words[] = {{PENALTY_UNKNOWN_PRICE, "\"price_unknown\""},
                     {PENALTY_FAILING, "\"failing\""},
                     {PENALTY_SLOW, "\"slow\""},
                     {PENALTY_PARAMETERS, "\"parameters\""},
                     {PENALTY_THROUGHPUT, "\"throughput\""},
                     {PENALTY_LATENCY, "\"latency\""}};
        bool first = true;
        if (penalties == 0)
                return;
        buffer_append_string(out, ",\"penalties\":[");
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
                if ((penalties & words[i].bit) == 0)
                        continue;
                buffer_append_string(out, first ? "" : ",");
                buffer_append_string(out, words[i].text);
                first = false;
        }
        buffer_append_char(out, ']');
}

const char *decision_sort_text(enum sort_by sort) {
        static const char *const texts[] = {[SORT_PRICE] = "price",
                                            [SORT_THROUGHPUT] = "throughput",
                                            [SORT_LATENCY] = "latency",
                                            [SORT_QUALITY] = "quality",
                                            [SORT_BALANCED] = "balanced"};
        return (size_t)sort < sizeof texts / sizeof *texts ? texts[sort] : "";
}
