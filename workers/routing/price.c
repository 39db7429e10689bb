/* A week is looked at through the clocks of a zone: a day, and seconds since its midnight. */
#include "workers/routing/price.h"

#include "broker/base/check.h"
#include "broker/base/money.h"

#include <string.h>

enum {
        SECONDS_PER_DAY = 86400,
        DAY_OF_1970 = 3,        /* 1970-01-01 was a Thursday */
        CHANGES_LOOKED_AT = 16, /* in a stretch of time; behind them the dearest window counts */
};

const struct price price_unknown = {
#define TOKEN_PART(id, member, text, help)      .member = PRICE_UNKNOWN,
#define UNIT_PART(id, member, text, type, help) .member = PRICE_UNKNOWN,
#include "schemas/price_parts.def"
};

_Static_assert(sizeof(struct price) == sizeof(int64_t) * (0
#define TOKEN_PART(id, member, text, help)      +1
#define UNIT_PART(id, member, text, type, help) +1
#include "schemas/price_parts.def"
                                                          ),
               "a line in the table for each member");

struct local_time {
        unsigned day; /* Monday is 0 */
        int32_t second;
};

static int64_t floor_divide(int64_t value, int64_t divisor) {
        int64_t quotient = value / divisor;
        return quotient * divisor > value ? quotient - 1 : quotient;
}

/* The last change that is not later. */
static uint32_t zone_change_at(const struct zone *zone, int64_t unix_s) {
        uint32_t low = 0, high = zone->changes_count;
        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;
                if (zone->changes[middle].from_unix_s <= unix_s)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

static struct local_time local_time(const struct zone *zone, int64_t unix_ms) {
        int64_t unix_s = floor_divide(unix_ms, 1000);
        int64_t local_s = unix_s + zone->changes[zone_change_at(zone, unix_s)].offset_s;
        int64_t days = floor_divide(local_s, SECONDS_PER_DAY);
        int64_t day = days + DAY_OF_1970 - floor_divide(days + DAY_OF_1970, 7) * 7;
        return (struct local_time){(unsigned)day, (int32_t)(local_s - days * SECONDS_PER_DAY)};
}

static bool window_holds(const struct price_window *window, int64_t now_unix_ms) {
        struct local_time now = local_time(window->zone, now_unix_ms);
        int32_t from = window->from_minutes * 60, to = window->to_minutes * 60;
        bool today = (window->days >> now.day & 1) != 0;
        bool yesterday = (window->days >> (now.day + 6) % 7 & 1) != 0;
        if (from < to)
                return today && now.second >= from && now.second < to;
        return (today && now.second >= from) || (yesterday && now.second < to);
}

int64_t price_multiply_at(const struct endpoint *endpoint, int64_t now_unix_ms) {
        for (unsigned i = endpoint->windows_count; i-- > 0;)
                if (window_holds(&endpoint->windows[i], now_unix_ms))
                        return endpoint->windows[i].multiply_millionths;
        return PRICE_MULTIPLY_ONE;
}

static int64_t until(int32_t second, int32_t mark) {
        return mark > second ? mark - second : mark - second + SECONDS_PER_DAY;
}

/* The next second at which the window may begin or end, or the clocks of its zone change. */
static int64_t window_next_unix_s(const struct price_window *window, int64_t unix_ms) {
        int64_t unix_s = floor_divide(unix_ms, 1000);
        int32_t second = local_time(window->zone, unix_ms).second;
        int64_t from_s = until(second, window->from_minutes * 60),
                to_s = until(second, window->to_minutes * 60);
        int64_t next_s = unix_s + (from_s < to_s ? from_s : to_s);
        uint32_t change = zone_change_at(window->zone, unix_s) + 1;
        if (change < window->zone->changes_count && window->zone->changes[change].from_unix_s < next_s)
                return window->zone->changes[change].from_unix_s;
        return next_s;
}

int64_t price_changes_after(const struct endpoint *endpoint, int64_t unix_ms) {
        int64_t first_s = INT64_MAX / 1000;
        if (endpoint->windows_count == 0)
                return INT64_MAX;
        for (unsigned i = 0; i < endpoint->windows_count; i++) {
                int64_t next_s = window_next_unix_s(&endpoint->windows[i], unix_ms);
                first_s = next_s < first_s ? next_s : first_s;
        }
        return first_s * 1000;
}

static int64_t dearest_window(const struct endpoint *endpoint) {
        int64_t dearest = PRICE_MULTIPLY_ONE;
        for (unsigned i = 0; i < endpoint->windows_count; i++)
                if (endpoint->windows[i].multiply_millionths > dearest)
                        dearest = endpoint->windows[i].multiply_millionths;
        return dearest;
}

int64_t price_multiply_most(const struct endpoint *endpoint, int64_t from_unix_ms, int64_t until_unix_ms) {
        int64_t dearest = dearest_window(endpoint), most = price_multiply_at(endpoint, from_unix_ms);
        for (unsigned changes = 0; most < dearest; changes++) {
                from_unix_ms = price_changes_after(endpoint, from_unix_ms);
                if (from_unix_ms > until_unix_ms)
                        return most;
                if (changes == CHANGES_LOOKED_AT)
                        return dearest;
                int64_t then = price_multiply_at(endpoint, from_unix_ms);
                most = then > most ? then : most;
        }
        return most;
}

static int64_t scaled(int64_t price, int64_t millionths) {
        return price == PRICE_UNKNOWN ? PRICE_UNKNOWN : money_per_million(price, millionths);
}

struct price price_scaled(const struct price *price, int64_t millionths) {
        return (struct price){
#define TOKEN_PART(id, member, text, help)      .member = scaled(price->member, millionths),
#define UNIT_PART(id, member, text, type, help) .member = scaled(price->member, millionths),
#include "schemas/price_parts.def"
        };
}

static int64_t known_or(int64_t price, int64_t other) {
        return price == PRICE_UNKNOWN ? other : price;
}

struct price price_or(const struct price *price, const struct price *other) {
        return (struct price){
#define TOKEN_PART(id, member, text, help)      .member = known_or(price->member, other->member),
#define UNIT_PART(id, member, text, type, help) .member = known_or(price->member, other->member),
#include "schemas/price_parts.def"
        };
}

bool price_is_unknown(const struct price *price) {
        return memcmp(price, &price_unknown, sizeof price_unknown) == 0;
}

unsigned price_tiers_reached(const struct endpoint *endpoint, int64_t input_tokens) {
        unsigned reached = 0;
        while (reached < endpoint->tiers_count && input_tokens > endpoint->tiers[reached].above_input)
                reached++;
        return reached;
}

void price_services_init(struct price services[SERVICE_PRICES]) {
        for (int i = 0; i < SERVICE_PRICES; i++)
                services[i] = price_unknown;
}

void price_services_complete(struct price services[SERVICE_PRICES], const struct price own[SERVICE_PRICES]) {
        for (int i = 0; i < SERVICE_PRICES; i++)
                if (!price_is_unknown(&services[i]))
                        services[i] = price_or(&services[i], &own[i]);
}

const struct price *price_of_tier(const struct endpoint *endpoint, enum service_tier service, unsigned tier,
                                  int64_t millionths, struct price *scratch) {
        CHECK(tier <= endpoint->tiers_count);
        const struct price *price = tier == 0 ? &endpoint->price : &endpoint->tiers[tier - 1].price;
        if (service == SERVICE_OTHER)
                return &price_unknown;
        if (service != SERVICE_STANDARD)
                price = tier == 0 ? &endpoint->service[service - 1]
                                  : &endpoint->tiers[tier - 1].service[service - 1];
        if (millionths == PRICE_MULTIPLY_ONE)
                return price;
        *scratch = price_scaled(price, millionths);
        return scratch;
}

const struct price *price_at(const struct endpoint *endpoint, enum service_tier service, int64_t now_unix_ms,
                             int64_t input_tokens, struct price *scratch) {
        return price_of_tier(endpoint, service, price_tiers_reached(endpoint, input_tokens),
                             price_multiply_at(endpoint, now_unix_ms), scratch);
}
