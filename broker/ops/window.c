/* A word is days, hours or a zone by how it begins; each may come once, in that order. */
#include "broker/ops/window.h"

#include "broker/base/money.h"

#include <stdio.h>
#include <string.h>

enum { DAYS = 7, ALL_DAYS = (1 << DAYS) - 1, MINUTES_PER_DAY = 1440, MULTIPLY_MAX = 1000 };

static const char *const day_names[DAYS] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

static bool find_day(struct bytes text, unsigned *out_day) {
        for (unsigned i = 0; i < DAYS; i++)
                if (bytes_equal_nocase(text, day_names[i])) {
                        *out_day = i;
                        return true;
                }
        return false;
}

/* "Mon" or "Fri-Mon" */
static bool parse_day_range(struct bytes text, uint8_t *days) {
        unsigned first, last;
        if (text.size != 3 && (text.size != 7 || text.data[3] != '-'))
                return false;
        if (!find_day((struct bytes){text.data, 3}, &first) ||
            !find_day((struct bytes){text.data + text.size - 3, 3}, &last))
                return false;
        *days |= (uint8_t)(1U << last);
        for (unsigned day = first; day != last; day = (day + 1) % DAYS)
                *days |= (uint8_t)(1U << day);
        return true;
}

/* The part before the first `separator`; moves *rest behind it. */
static struct bytes next_part(struct bytes *rest, char separator) {
        const char *end = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
        struct bytes part = {rest->data, end == NULL ? rest->size : (size_t)(end - rest->data)};
        size_t used = part.size + (end == NULL ? 0 : 1);
        *rest = (struct bytes){rest->data + used, rest->size - used};
        return part;
}

static bool parse_days(struct bytes text, uint8_t *out_days) {
        *out_days = 0;
        if (text.size == 0 || text.data[text.size - 1] == ',')
                return false;
        while (text.size > 0)
                if (!parse_day_range(next_part(&text, ','), out_days))
                        return false;
        return true;
}

/* "16:30" */
static bool parse_clock(const char *at, unsigned *out_minutes) {
        for (size_t i = 0; i < 5; i++)
                if (i == 2 ? at[i] != ':' : (at[i] < '0' || at[i] > '9'))
                        return false;
        unsigned hours = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
        unsigned minutes = (unsigned)(at[3] - '0') * 10 + (unsigned)(at[4] - '0');
        *out_minutes = hours * 60 + minutes;
        return minutes <= 59 && *out_minutes <= MINUTES_PER_DAY;
}

static bool parse_hours(struct bytes text, struct price_window *window) {
        unsigned from, to;
        if (text.size != 11 || text.data[5] != '-' || !parse_clock(text.data, &from) ||
            !parse_clock(text.data + 6, &to) || from == MINUTES_PER_DAY)
                return false;
        window->from_minutes = (uint16_t)from;
        window->to_minutes = (uint16_t)(to == 0 ? MINUTES_PER_DAY : to);
        return true;
}

/* Blanks in a row count as one. */
static struct bytes next_word(struct bytes *rest) {
        while (rest->size > 0 && rest->data[0] == ' ')
                *rest = (struct bytes){rest->data + 1, rest->size - 1};
        return next_part(rest, ' ');
}

static bool complain(char *out_problem, const char *sentence) {
        snprintf(out_problem, WINDOW_PROBLEM_MAX, "%s", sentence);
        return false;
}

bool window_parse(struct bytes text, struct zones *zones, struct price_window *window,
                  char out_problem[WINDOW_PROBLEM_MAX]) {
        struct bytes word = next_word(&text), zone = BYTES("UTC");
        unsigned day;
        window->days = ALL_DAYS;
        window->from_minutes = 0;
        window->to_minutes = MINUTES_PER_DAY;
        if (word.size == 0)
                return complain(out_problem, "must be a time like \"Mon-Fri 16:30-00:30 UTC\"");
        if (word.size >= 3 && find_day((struct bytes){word.data, 3}, &day) &&
            (word.size == 3 || word.data[3] == '-' || word.data[3] == ',')) {
                if (!parse_days(word, &window->days))
                        return complain(
                                out_problem,
                                "days must be like Mon-Fri or Sat,Sun, in \"Mon-Fri 16:30-00:30 UTC\"");
                word = next_word(&text);
        }
        if (word.size > 0 && word.data[0] >= '0' && word.data[0] <= '9') {
                if (!parse_hours(word, window))
                        return complain(out_problem, "hours must be like 16:30-00:30 or 00:00-24:00, in "
                                                     "\"Mon-Fri 16:30-00:30 UTC\"");
                word = next_word(&text);
        }
        if (word.size > 0) {
                zone = word;
                word = next_word(&text);
        }
        if (word.size > 0)
                return complain(out_problem, "must be days, hours and a zone in this order, like \"Mon-Fri "
                                             "16:30-00:30 UTC\"");
        window->zone = zones_get(zones, zone, out_problem);
        return window->zone != NULL;
}

static void append_days(struct buffer *buffer, uint8_t days) {
        const char *before = "";
        for (unsigned first = 0; first < DAYS;) {
                unsigned behind = first;
                while (behind < DAYS && (days >> behind & 1) != 0)
                        behind++;
                if (behind > first) {
                        buffer_printf(buffer, "%s%s", before, day_names[first]);
                        before = ",";
                }
                if (behind > first + 1)
                        buffer_printf(buffer, "-%s", day_names[behind - 1]);
                first = behind > first ? behind : first + 1;
        }
        buffer_append_char(buffer, ' ');
}

void window_append(struct buffer *buffer, const struct price_window *window) {
        if (window->days != ALL_DAYS)
                append_days(buffer, window->days);
        buffer_printf(buffer, "%02d:%02d-%02d:%02d %s", window->from_minutes / 60, window->from_minutes % 60,
                      window->to_minutes / 60, window->to_minutes % 60, window->zone->name);
}

bool multiply_parse(struct bytes text, uint32_t *out_millionths) {
        int64_t pico;
        if (!money_parse(text, &pico) || pico % (PICOUSD_PER_USD / 1000000) != 0 ||
            pico > MULTIPLY_MAX * PICOUSD_PER_USD)
                return false;
        *out_millionths = (uint32_t)(pico / (PICOUSD_PER_USD / 1000000));
        return true;
}

void multiply_append(struct buffer *buffer, uint32_t millionths) {
        money_append(buffer, (int64_t)millionths * (PICOUSD_PER_USD / 1000000));
}
