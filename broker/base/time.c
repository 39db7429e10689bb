/*
 * Times and durations as text, by integer arithmetic in the proleptic Gregorian calendar: no locale, no time
 * zone of the machine, no clock. Years 1970 to 9999. Every reader walks its text once, takes nothing but the
 * forms that it names and refuses what is longer than TEXT_MAX.
 */
#include "broker/base/time.h"

#include <string.h>
#include <time.h>

enum { TEXT_MAX = 64, MS_PER_S = 1000, S_PER_MINUTE = 60, S_PER_HOUR = 3600, S_PER_DAY = 86400 };

#define NS_PER_DAY  (S_PER_DAY * NS_PER_S)
#define UNIX_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/* ---- durations ---- */

static const struct unit {
        const char *name;
        int64_t ns;
} units[] = {
        {"d", NS_PER_DAY}, {"h", S_PER_HOUR *NS_PER_S}, {"m", S_PER_MINUTE *NS_PER_S},
        {"s", NS_PER_S},   {"ms", NS_PER_MS},           {"us", NS_PER_US},
};
enum { UNITS = sizeof(units) / sizeof(units[0]) };

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

static size_t digits_at(struct bytes text, size_t at) {
        size_t i = at;

        while (i < text.size && is_digit(text.data[i]))
                i++;
        return i - at;
}

static const struct unit *unit_named(struct bytes name) {
        for (size_t i = 0; i < UNITS; i++)
                if (bytes_equal_string(name, units[i].name))
                        return &units[i];
        return NULL;
}

/*
 * 0.`digits` of a unit, cut to whole nanoseconds. From the last digit forward, so that nothing is lost or
 * overflows.
 */
static int64_t fraction_of(const char *digits, size_t count, int64_t unit_ns) {
        int64_t ns = 0;

        while (count > 0)
                ns = ((digits[--count] - '0') * unit_ns + ns) / 10;
        return ns;
}

/* One number and its unit. Adds to *ns and advances *at. */
static bool duration_part(struct bytes text, size_t *at, int64_t *ns) {
        size_t whole = *at, whole_size = digits_at(text, whole);
        size_t i = whole + whole_size, places = i, places_size = 0, name;
        const struct unit *unit;
        int64_t part = 0;

        if (i < text.size && text.data[i] == '.') {
                places = i + 1;
                places_size = digits_at(text, places);
                if (places_size == 0)
                        return false;
                i = places + places_size;
        }
        name = i;
        while (i < text.size && text.data[i] >= 'a' && text.data[i] <= 'z')
                i++;
        unit = unit_named((struct bytes){text.data + name, i - name});
        if (whole_size == 0 || unit == NULL)
                return false;
        for (size_t k = 0; k < whole_size; k++)
                if (__builtin_mul_overflow(part, INT64_C(10), &part) ||
                    __builtin_add_overflow(part, text.data[whole + k] - '0', &part))
                        return false;
        if (__builtin_mul_overflow(part, unit->ns, &part) || __builtin_add_overflow(*ns, part, ns) ||
            __builtin_add_overflow(*ns, fraction_of(text.data + places, places_size, unit->ns), ns))
                return false;
        *at = i;
        return true;
}

bool duration_parse(struct bytes text, int64_t *out_ns) {
        int64_t ns = 0;

        if (text.size == 0 || text.size > TEXT_MAX)
                return false;
        if (!bytes_equal_string(text, "0"))
                for (size_t at = 0; at < text.size;)
                        if (!duration_part(text, &at, &ns))
                                return false;
        *out_ns = ns;
        return true;
}

/* 1 to 999 nanoseconds as ".001" to ".999", without trailing zeros. */
static void append_thousandths(struct buffer *buffer, uint64_t thousandths) {
        char text[4] = {'.', (char)('0' + thousandths / 100), (char)('0' + thousandths / 10 % 10),
                        (char)('0' + thousandths % 10)};
        size_t size = sizeof(text);

        while (text[size - 1] == '0')
                size--;
        buffer_append(buffer, text, size);
}

void duration_append(struct buffer *buffer, int64_t ns) {
        uint64_t left = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;

        if (ns == 0)
                buffer_append_string(buffer, "0s");
        if (ns < 0)
                buffer_append_char(buffer, '-');
        for (size_t i = 0; i < UNITS && left > 0; i++) {
                uint64_t count = left / (uint64_t)units[i].ns;
                bool last = i == UNITS - 1;

                left %= (uint64_t)units[i].ns;
                if (count == 0 && !last)
                        continue;
                buffer_append_u64(buffer, count);
                if (last && left > 0)
                        append_thousandths(buffer, left);
                buffer_append_string(buffer, units[i].name);
        }
}

/* ---- the calendar ---- */

struct civil {
        int year, month, day, hour, minute, second, ms;
};

static int days_of_month(int year, int month) {
        static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        return month == 2 && leap ? 29 : days[month - 1];
}

/*
 * Days since 1970-01-01 of a year >= 0. Years run from March, so that the leap day is the last of its year
 * (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
 */
static int64_t days_from_civil(int year, int month, int day) {
        int64_t y = month <= 2 ? year - 1 : year, era, year_of_era, day_of_year;

        era = (y >= 0 ? y : y - 399) / 400;
        year_of_era = y - era * 400;
        day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
        return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* The other way, for days >= 0. */
static void civil_from_days(int64_t days, struct civil *out_civil) {
        int64_t era, day_of_era, year_of_era, day_of_year, month;

        days += 719468;
        era = days / 146097;
        day_of_era = days % 146097;
        year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
        day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        month = (5 * day_of_year + 2) / 153;
        out_civil->day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
        out_civil->month = (int)(month < 10 ? month + 3 : month - 9);
        out_civil->year = (int)(year_of_era + era * 400 + (out_civil->month <= 2));
}

/* False when a field is out of range, or the time outside 1970..9999. */
static bool civil_to_unix_ms(struct civil civil, int offset_s, int64_t *out_unix_ms) {
        /* A leap second has no number of its own in Unix time. */
        int second = civil.second == 60 ? 59 : civil.second;
        int64_t unix_ms;

        if (civil.month < 1 || civil.month > 12 || civil.day < 1 ||
            civil.day > days_of_month(civil.year, civil.month) || civil.hour > 23 || civil.minute > 59 ||
            second > 59)
                return false;
        unix_ms = days_from_civil(civil.year, civil.month, civil.day) * S_PER_DAY + civil.hour * S_PER_HOUR +
                  civil.minute * S_PER_MINUTE + second - offset_s;
        unix_ms = unix_ms * MS_PER_S + civil.ms;
        if (unix_ms < 0 || unix_ms > UNIX_MS_MAX)
                return false;
        *out_unix_ms = unix_ms;
        return true;
}

/* ---- reading ---- */

/* What is left of a text. Once something did not match, `bad` stays set and nothing matches any more. */
struct scan {
        const char *at, *end;
        bool bad;
};

static struct scan scan_of(struct bytes text) {
        return (struct scan){text.data, text.size == 0 ? text.data : text.data + text.size,
                             text.size == 0 || text.size > TEXT_MAX};
}

static bool scan_done(const struct scan *scan) {
        return !scan->bad && scan->at == scan->end;
}

/* Takes the next character if it is one of `set`; 0 when it is not, which is no error. */
static char scan_maybe(struct scan *scan, const char *set) {
        if (scan->bad || scan->at == scan->end || *scan->at == '\0' || strchr(set, *scan->at) == NULL)
                return 0;
        return *scan->at++;
}

static char scan_one_of(struct scan *scan, const char *set) {
        char c = scan_maybe(scan, set);

        if (c == 0)
                scan->bad = true;
        return c;
}

static void scan_string(struct scan *scan, const char *string) {
        size_t size = strlen(string);

        if (scan->bad || (size_t)(scan->end - scan->at) < size || memcmp(scan->at, string, size) != 0)
                scan->bad = true;
        else
                scan->at += size;
}

/* Exactly `count` digits. */
static int scan_number(struct scan *scan, int count) {
        int value = 0;

        for (; count > 0; count--)
                value = value * 10 + (scan_one_of(scan, "0123456789") - '0');
        return scan->bad ? 0 : value;
}

/* The index of the first of `names` that comes next. */
static int scan_name(struct scan *scan, const char *const *names, int count) {
        for (int i = 0; i < count; i++) {
                struct scan attempt = *scan;

                scan_string(&attempt, names[i]);
                if (!attempt.bad) {
                        *scan = attempt;
                        return i;
                }
        }
        scan->bad = true;
        return 0;
}

static void scan_clock(struct scan *scan, struct civil *civil) {
        civil->hour = scan_number(scan, 2);
        scan_one_of(scan, ":");
        civil->minute = scan_number(scan, 2);
        scan_one_of(scan, ":");
        civil->second = scan_number(scan, 2);
}

/* The digits behind the point, one at least, cut to milliseconds. */
static int scan_fraction_ms(struct scan *scan) {
        int ms = 0, weight = 100;

        for (char c = scan_one_of(scan, "0123456789"); c != 0; c = scan_maybe(scan, "0123456789")) {
                ms += (c - '0') * weight;
                weight /= 10;
        }
        return ms;
}

/* "Z" or "+hh:mm", in seconds. */
static int scan_offset_s(struct scan *scan) {
        char sign = scan_one_of(scan, "Zz+-");
        int hours, minutes;

        if (sign != '+' && sign != '-')
                return 0;
        hours = scan_number(scan, 2);
        scan_one_of(scan, ":");
        minutes = scan_number(scan, 2);
        if (hours > 23 || minutes > 59)
                scan->bad = true;
        return (hours * S_PER_HOUR + minutes * S_PER_MINUTE) * (sign == '-' ? -1 : 1);
}

bool rfc3339_parse(struct bytes text, int64_t *out_unix_ms) {
        struct scan scan = scan_of(text);
        struct civil civil = {0};
        int offset_s;

        civil.year = scan_number(&scan, 4);
        scan_one_of(&scan, "-");
        civil.month = scan_number(&scan, 2);
        scan_one_of(&scan, "-");
        civil.day = scan_number(&scan, 2);
        scan_one_of(&scan, "Tt "); /* the space is allowed by the note in section 5.6 */
        scan_clock(&scan, &civil);
        if (scan_maybe(&scan, "."))
                civil.ms = scan_fraction_ms(&scan);
        offset_s = scan_offset_s(&scan);
        return scan_done(&scan) && civil_to_unix_ms(civil, offset_s, out_unix_ms);
}

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char *const day_names[] = {"Sunday", "Monday",   "Tuesday", "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sun",     "Mon",       "Tue",
                                        "Wed",    "Thu",      "Fri",     "Sat"};
enum { MONTHS = 12, LONG_DAY_NAMES = 7, DAY_NAMES = 14 };

/* "Sun, 06 Nov 1994 08:49:37 GMT", and RFC 850's "Sunday, 06-Nov-94 08:49:37 GMT", behind the comma. */
static void scan_date_gmt(struct scan *scan, bool rfc850, struct civil *civil) {
        const char *separator = rfc850 ? "-" : " ";

        scan_one_of(scan, " ");
        civil->day = scan_number(scan, 2);
        scan_one_of(scan, separator);
        civil->month = scan_name(scan, month_names, MONTHS) + 1;
        scan_one_of(scan, separator);
        civil->year = scan_number(scan, rfc850 ? 2 : 4);
        /*
         * RFC 9110 section 5.6.7 wants the century from today's date; no clock is read here, and no year is
         * before 1970.
         */
        if (rfc850)
                civil->year += civil->year < 70 ? 2000 : 1900;
        scan_one_of(scan, " ");
        scan_clock(scan, civil);
        scan_string(scan, " GMT");
}

/* "Sun Nov  6 08:49:37 1994", behind the name of the day. */
static void scan_date_asctime(struct scan *scan, struct civil *civil) {
        scan_one_of(scan, " ");
        civil->month = scan_name(scan, month_names, MONTHS) + 1;
        scan_one_of(scan, " ");
        civil->day = scan_maybe(scan, " ") ? scan_number(scan, 1) : scan_number(scan, 2);
        scan_one_of(scan, " ");
        scan_clock(scan, civil);
        scan_one_of(scan, " ");
        civil->year = scan_number(scan, 4);
}

/* The name of the day must be one, but need not be that of the date: the date is what counts. */
bool http_date_parse(struct bytes text, int64_t *out_unix_ms) {
        struct scan scan = scan_of(text);
        struct civil civil = {0};
        bool long_name = scan_name(&scan, day_names, DAY_NAMES) < LONG_DAY_NAMES;

        if (scan_maybe(&scan, ","))
                scan_date_gmt(&scan, long_name, &civil);
        else if (long_name)
                scan.bad = true;
        else
                scan_date_asctime(&scan, &civil);
        return scan_done(&scan) && civil_to_unix_ms(civil, 0, out_unix_ms);
}

/* ---- writing ---- */

static void put_digits(char *at, int count, int value) {
        for (; count > 0; count--, value /= 10)
                at[count - 1] = (char)('0' + value % 10);
}

void rfc3339_append(struct buffer *buffer, int64_t unix_ms) {
        char text[] = "0000-00-00T00:00:00.000Z";
        struct civil civil;
        int second_of_day, ms;

        unix_ms = unix_ms < 0 ? 0 : unix_ms > UNIX_MS_MAX ? UNIX_MS_MAX : unix_ms;
        civil_from_days(unix_ms / MS_PER_S / S_PER_DAY, &civil);
        second_of_day = (int)(unix_ms / MS_PER_S % S_PER_DAY);
        ms = (int)(unix_ms % MS_PER_S);
        put_digits(text, 4, civil.year);
        put_digits(text + 5, 2, civil.month);
        put_digits(text + 8, 2, civil.day);
        put_digits(text + 11, 2, second_of_day / S_PER_HOUR);
        put_digits(text + 14, 2, second_of_day / S_PER_MINUTE % 60);
        put_digits(text + 17, 2, second_of_day % S_PER_MINUTE);
        put_digits(text + 20, 3, ms);
        buffer_append(buffer, text, sizeof(text) - 1);
}

/* ---- clocks ---- */

static int64_t read_clock(clockid_t clock, int64_t per_s) {
        struct timespec now;

        clock_gettime(clock,
                      &now); /* fails only for clocks that a kernel does not have, which are not these two */
        return now.tv_sec * per_s + now.tv_nsec / (NS_PER_S / per_s);
}

int64_t clock_now_ns(void) {
        return read_clock(CLOCK_MONOTONIC, NS_PER_S);
}

int64_t clock_now_unix_ms(void) {
        return read_clock(CLOCK_REALTIME, MS_PER_S);
}
