/*
 * A zoneinfo file holds the changes up to now, and a line for all that come after (the TZ rule of POSIX,
 * "CET-1CEST,M3.5.0,M10.5.0/3"). Every read is bounded by the file's size, every count by ZONE_CHANGES_MAX.
 */
#include "broker/ops/zone.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        ZONE_CHANGES_MAX = 4096, /* the longest files of tzdata have about 250 */
        YEAR_FIRST = 1970,
        YEAR_LAST = 2100,
        SECONDS_PER_DAY = 86400,
        OFFSET_SECONDS_MAX = 26 * 3600, /* RFC 9636, 3.2 */
        HEADER_BYTES = 44,
        TYPE_BYTES = 6,
};

struct zone_node {
        struct zone zone;
        struct zone_node *next;
};

/* What is being made: changes that do not change the offset are left out. */
struct changes {
        struct zone_change items[ZONE_CHANGES_MAX];
        uint32_t count;
        int64_t listed_until_s; /* what comes after is the rule's; INT64_MIN: all */
};

static void add_change(struct changes *changes, int64_t from_unix_s, int32_t offset_s) {
        if (changes->count > 0 && (changes->items[changes->count - 1].offset_s == offset_s ||
                                   changes->items[changes->count - 1].from_unix_s >= from_unix_s))
                return;
        if (changes->count < ZONE_CHANGES_MAX)
                changes->items[changes->count++] = (struct zone_change){from_unix_s, offset_s};
}

/* ---- the rule at the end ---- */

struct rule_date {
        char form; /* 'M', 'J' or '0' */
        int month, week, day;
        int32_t second; /* of the local time that ends */
};

struct rule {
        int32_t standard_s, saving_s; /* ahead of UTC */
        bool saves;
        struct rule_date start, end;
};

static bool take_char(struct bytes *rest, char c) {
        if (rest->size == 0 || rest->data[0] != c)
                return false;
        *rest = (struct bytes){rest->data + 1, rest->size - 1};
        return true;
}

static bool take_number(struct bytes *rest, int max, int *out_number) {
        int number = 0;
        size_t digits = 0;
        while (digits < rest->size && digits < 4 && rest->data[digits] >= '0' && rest->data[digits] <= '9')
                number = number * 10 + (rest->data[digits++] - '0');
        if (digits == 0 || number > max)
                return false;
        *rest = (struct bytes){rest->data + digits, rest->size - digits};
        *out_number = number;
        return true;
}

/* "<+03>" or letters. */
static bool take_name(struct bytes *rest) {
        size_t size = 0;
        if (rest->size > 0 && rest->data[0] == '<') {
                const char *end = memchr(rest->data, '>', rest->size);
                size = end == NULL ? 0 : (size_t)(end - rest->data) + 1;
        } else {
                while (size < rest->size &&
                       ((rest->data[size] | 32) >= 'a' && (rest->data[size] | 32) <= 'z'))
                        size++;
        }
        *rest = (struct bytes){rest->data + size, rest->size - size};
        return size >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct bytes *rest, int32_t *out_seconds) {
        int hours, minutes = 0, seconds = 0;
        bool negative = take_char(rest, '-');
        if (!negative)
                take_char(rest, '+');
        if (!take_number(rest, 167, &hours) || (take_char(rest, ':') && !take_number(rest, 59, &minutes)) ||
            (take_char(rest, ':') && !take_number(rest, 59, &seconds)))
                return false;
        *out_seconds = (hours * 60 + minutes) * 60 + seconds;
        if (negative)
                *out_seconds = -*out_seconds;
        return true;
}

static bool take_date(struct bytes *rest, struct rule_date *out_date) {
        *out_date = (struct rule_date){.form = '0', .second = 2 * 3600};
        if (!take_char(rest, ','))
                return false;
        if (take_char(rest, 'M')) {
                out_date->form = 'M';
                if (!take_number(rest, 12, &out_date->month) || !take_char(rest, '.') ||
                    !take_number(rest, 5, &out_date->week) || !take_char(rest, '.') ||
                    !take_number(rest, 6, &out_date->day) || out_date->month == 0 || out_date->week == 0)
                        return false;
        } else {
                if (take_char(rest, 'J'))
                        out_date->form = 'J';
                if (!take_number(rest, 365, &out_date->day) || (out_date->form == 'J' && out_date->day == 0))
                        return false;
        }
        return !take_char(rest, '/') || take_time(rest, &out_date->second);
}

/* Offsets stand in it as behind UTC. */
static bool parse_rule(struct bytes text, struct rule *out_rule) {
        *out_rule = (struct rule){0};
        if (!take_name(&text) || !take_time(&text, &out_rule->standard_s))
                return false;
        out_rule->standard_s = -out_rule->standard_s;
        if (text.size == 0)
                return true;
        out_rule->saves = true;
        out_rule->saving_s = out_rule->standard_s + 3600;
        if (!take_name(&text))
                return false;
        if (text.size > 0 && text.data[0] != ',') {
                if (!take_time(&text, &out_rule->saving_s))
                        return false;
                out_rule->saving_s = -out_rule->saving_s;
        }
        return take_date(&text, &out_rule->start) && take_date(&text, &out_rule->end) && text.size == 0;
}

static bool is_leap(int year) {
        return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days from 1970-01-01 to the first of that year. */
static int64_t days_to_year(int year) {
        int before = year - 1;
        return 365 * (int64_t)(year - YEAR_FIRST) + (before / 4 - before / 100 + before / 400) - 477;
}

/* Of the n-th week of that month, the last when there is no fifth; Sunday is day 0. */
static int64_t day_of_month_rule(const struct rule_date *date, int year) {
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int64_t first = days_to_year(year);
        for (int month = 1; month < date->month; month++)
                first += lengths[month - 1] + (month == 2 && is_leap(year));
        int length = lengths[date->month - 1] + (date->month == 2 && is_leap(year));
        int weekday = (int)((first + 4) % 7);
        int day = (date->day - weekday + 7) % 7 + (date->week - 1) * 7;
        return first + (day >= length ? day - 7 : day);
}

static int64_t date_second(const struct rule_date *date, int year, int32_t offset_s) {
        int64_t day = 0;
        if (date->form == 'M')
                day = day_of_month_rule(date, year);
        else if (date->form == 'J')
                day = days_to_year(year) + date->day - 1 + (is_leap(year) && date->day >= 60);
        else
                day = days_to_year(year) + date->day;
        return day * SECONDS_PER_DAY + date->second - offset_s;
}

static void add_rule(struct changes *changes, const struct rule *rule) {
        int64_t last = changes->listed_until_s;
        if (!rule->saves && last == INT64_MIN)
                changes->items[0].offset_s = rule->standard_s;
        for (int year = YEAR_FIRST; year <= YEAR_LAST && rule->saves; year++) {
                int64_t start = date_second(&rule->start, year, rule->standard_s);
                int64_t end = date_second(&rule->end, year, rule->saving_s);
                bool south = end < start;
                int64_t first = south ? end : start, second = south ? start : end;
                if (first > last)
                        add_change(changes, first, south ? rule->standard_s : rule->saving_s);
                if (second > last)
                        add_change(changes, second, south ? rule->saving_s : rule->standard_s);
        }
}

/* ---- the file ---- */

static uint32_t read_u32(const char *at) {
        const unsigned char *bytes = (const unsigned char *)at;
        return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

struct block {
        uint32_t times_count, types_count;
        size_t time_bytes;
        const char *times, *indexes, *types;
        size_t size; /* with its header */
};

/* RFC 9636, 3.1: six counts, then times, indexes, types, names, leap seconds and two lists of flags. */
static bool find_block(struct bytes file, size_t time_bytes, struct block *out_block) {
        if (file.size < HEADER_BYTES || memcmp(file.data, "TZif", 4) != 0)
                return false;
        uint32_t counts[6];
        for (size_t i = 0; i < 6; i++) {
                counts[i] = read_u32(file.data + 20 + 4 * i);
                if (counts[i] > ZONE_FILE_BYTES_MAX)
                        return false;
        }
        struct block block = {.times_count = counts[3], .types_count = counts[4], .time_bytes = time_bytes};
        block.times = file.data + HEADER_BYTES;
        block.indexes = block.times + block.times_count * time_bytes;
        block.types = block.indexes + block.times_count;
        block.size = HEADER_BYTES + block.times_count * (time_bytes + 1) + block.types_count * TYPE_BYTES +
                     counts[5] + counts[2] * (time_bytes + 4) + counts[1] + counts[0];
        if (block.size > file.size || block.types_count == 0 || block.types_count > 256)
                return false;
        *out_block = block;
        return true;
}

static bool type_offset(const struct block *block, unsigned type, int32_t *out_offset_s) {
        if (type >= block->types_count)
                return false;
        *out_offset_s = (int32_t)read_u32(block->types + (size_t)type * TYPE_BYTES);
        return *out_offset_s >= -OFFSET_SECONDS_MAX && *out_offset_s <= OFFSET_SECONDS_MAX;
}

static int64_t block_time(const struct block *block, uint32_t i) {
        const char *at = block->times + i * block->time_bytes;
        if (block->time_bytes == 4)
                return (int32_t)read_u32(at);
        return (int64_t)((uint64_t)read_u32(at) << 32 | read_u32(at + 4));
}

static bool add_block(struct changes *changes, const struct block *block) {
        int32_t offset_s;
        int64_t before = INT64_MIN;
        if (!type_offset(block, 0, &offset_s) || block->times_count >= ZONE_CHANGES_MAX / 2)
                return false;
        add_change(changes, INT64_MIN, offset_s);
        for (uint32_t i = 0; i < block->times_count; i++) {
                int64_t time = block_time(block, i);
                if (time < before || !type_offset(block, (unsigned char)block->indexes[i], &offset_s))
                        return false;
                add_change(changes, time, offset_s);
                before = time;
        }
        changes->listed_until_s = before;
        return true;
}

/* The line behind the second block. */
static bool add_footer(struct changes *changes, struct bytes rest) {
        struct rule rule;
        if (!take_char(&rest, '\n'))
                return false;
        const char *end = memchr(rest.data, '\n', rest.size);
        if (end == NULL)
                return false;
        rest.size = (size_t)(end - rest.data);
        if (rest.size == 0)
                return true;
        if (!parse_rule(rest, &rule))
                return false;
        add_rule(changes, &rule);
        return true;
}

static bool read_changes(struct bytes file, struct changes *changes) {
        struct block block;
        if (!find_block(file, 4, &block))
                return false;
        if (file.data[4] == '\0')
                return add_block(changes, &block);
        struct bytes second = {file.data + block.size, file.size - block.size};
        if (!find_block(second, 8, &block) || !add_block(changes, &block))
                return false;
        return add_footer(changes, (struct bytes){second.data + block.size, second.size - block.size});
}

bool zone_parse(struct bytes file, struct arena *arena, struct zone *out_zone, bool *out_memory_refused) {
        struct changes *changes = calloc(1, sizeof *changes);
        struct zone_change *kept = NULL;
        *out_memory_refused = changes == NULL;
        if (changes != NULL && read_changes(file, changes)) {
                kept = arena_alloc(arena, changes->count * sizeof *kept);
                *out_memory_refused = kept == NULL;
        }
        if (kept != NULL) {
                memcpy(kept, changes->items, changes->count * sizeof *kept);
                out_zone->changes = kept;
                out_zone->changes_count = changes->count;
        }
        free(changes);
        return kept != NULL;
}

/* ---- by name ---- */

/* A path below the directory and nothing else. */
static bool is_zone_name(struct bytes name) {
        bool well = name.size > 0 && name.size <= ZONE_NAME_BYTES_MAX && name.data[0] != '/';
        for (size_t i = 0; i < name.size; i++) {
                char c = name.data[i];
                well = well && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                c == '_' || c == '-' || c == '+' || c == '/');
        }
        return well;
}

/* "+08:00"; *out_any: it begins like one. */
static bool parse_offset(struct bytes name, bool *out_any, int32_t *out_offset_s) {
        const char *at = name.data;
        *out_any = name.size > 0 && (at[0] == '+' || at[0] == '-');
        if (!*out_any || name.size != 6 || at[3] != ':')
                return false;
        for (size_t i = 1; i < 6; i++)
                if (i != 3 && (at[i] < '0' || at[i] > '9'))
                        return false;
        int hours = (at[1] - '0') * 10 + (at[2] - '0'), minutes = (at[4] - '0') * 10 + (at[5] - '0');
        *out_offset_s = (at[0] == '-' ? -60 : 60) * (hours * 60 + minutes);
        return hours <= 14 && minutes <= 59;
}

static bool read_file(const char *path, char *text, size_t *out_size) {
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0)
                return false;
        ssize_t size = -1;
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size <= ZONE_FILE_BYTES_MAX)
                size = read(fd, text, ZONE_FILE_BYTES_MAX);
        close(fd);
        *out_size = size < 0 ? 0 : (size_t)size;
        return size >= 0;
}

static bool read_zone(struct zones *zones, const char *name, struct zone *zone, char *out_problem) {
        const char *directory = getenv("TZDIR");
        char path[4096];
        size_t size;
        bool well = false;
        char *text = malloc(ZONE_FILE_BYTES_MAX);
        if (directory == NULL || directory[0] == '\0')
                directory = "/usr/share/zoneinfo";
        snprintf(out_problem, ZONE_PROBLEM_MAX,
                 "the zone is none of UTC, an offset like +08:00, and a name "
                 "of the system's zoneinfo like Europe/Berlin");
        zones->memory_refused = zones->memory_refused || text == NULL;
        if (text != NULL && snprintf(path, sizeof path, "%s/%s", directory, name) < (int)sizeof path &&
            read_file(path, text, &size)) {
                bool refused;
                well = zone_parse((struct bytes){text, size}, zones->arena, zone, &refused);
                zones->memory_refused = zones->memory_refused || refused;
        }
        free(text);
        return well;
}

static bool make_zone(struct zones *zones, struct zone *zone, char *out_problem) {
        struct bytes name = bytes_of(zone->name);
        int32_t offset_s = 0;
        bool any;
        bool fixed = parse_offset(name, &any, &offset_s) || bytes_equal_string(name, "UTC");
        if (!fixed && any) {
                snprintf(out_problem, ZONE_PROBLEM_MAX,
                         "the zone must be written like +08:00, with at most 14 hours");
                return false;
        }
        if (!fixed)
                return read_zone(zones, zone->name, zone, out_problem);
        struct zone_change *change = arena_alloc(zones->arena, sizeof *change);
        zones->memory_refused = zones->memory_refused || change == NULL;
        if (change == NULL)
                return false;
        *change = (struct zone_change){INT64_MIN, offset_s};
        zone->changes = change;
        zone->changes_count = 1;
        return true;
}

const struct zone *zones_get(struct zones *zones, struct bytes name, char out_problem[ZONE_PROBLEM_MAX]) {
        for (struct zone_node *node = zones->first; node != NULL; node = node->next)
                if (bytes_equal_string(name, node->zone.name))
                        return &node->zone;
        snprintf(out_problem, ZONE_PROBLEM_MAX, "cannot be used");
        bool offset = name.size > 0 && (name.data[0] == '+' || name.data[0] == '-');
        if (!offset && !is_zone_name(name)) {
                snprintf(out_problem, ZONE_PROBLEM_MAX, "the zone is no name of one, such as Europe/Berlin");
                return NULL;
        }
        struct zone_node *node = arena_alloc(zones->arena, sizeof *node);
        if (node != NULL)
                *node = (struct zone_node){.zone.name = arena_copy(zones->arena, name), .next = zones->first};
        if (node == NULL || node->zone.name == NULL) {
                zones->memory_refused = true;
                return NULL;
        }
        if (!make_zone(zones, &node->zone, out_problem))
                return NULL;
        zones->first = node;
        return &node->zone;
}
