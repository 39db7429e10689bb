/* A week is looked at through the clocks of a zone: a day, and seconds since its midnight. */
#include "workers/routing/price.h"

#include "broker/base/check.h"
#include "broker/base/money.h"

enum { SECONDS_PER_DAY = 86400, DAY_OF_1970 = 3 /* 1970-01-01 was a Thursday */ };

struct local_time {
        unsigned day; /* Monday is 0 */
        int32_t second;
};

static int64_t floor_divide(int64_t value, int64_t divisor) {
        int64_t quotient = value / divisor;
        return quotient * divisor > value ? quotient - 1 : quotient;
}

/* The last change that is not later. */
static int32_t zone_offset_at(const struct zone *zone, int64_t unix_s) {
        uint32_t low = 0, high = zone->changes_count;
        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;
                if (zone->changes[middle].from_unix_s <= unix_s)
                        low = middle;
                else
                        high = middle;
        }
        return zone->changes[low].offset_s;
}

static struct local_time local_time(const struct zone *zone, int64_t unix_ms) {
        int64_t unix_s = floor_divide(unix_ms, 1000);
        int64_t local_s = unix_s + zone_offset_at(zone, unix_s);
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

static int64_t scaled(int64_t price, int64_t millionths) {
        return price == PRICE_UNKNOWN ? PRICE_UNKNOWN : money_per_million(price, millionths);
}

struct price price_scaled(const struct price *price, int64_t millionths) {
        return (struct price){
                .input = scaled(price->input, millionths),
                .cached_input = scaled(price->cached_input, millionths),
                .cache_write = scaled(price->cache_write, millionths),
                .output = scaled(price->output, millionths),
                .audio_minute = scaled(price->audio_minute, millionths),
                .character = scaled(price->character, millionths),
                .image = scaled(price->image, millionths),
                .request = scaled(price->request, millionths),
                .search_unit = scaled(price->search_unit, millionths),
                .reasoning = scaled(price->reasoning, millionths),
        };
}

static int64_t known_or(int64_t price, int64_t other) {
        return price == PRICE_UNKNOWN ? other : price;
}

struct price price_or(const struct price *price, const struct price *other) {
        return (struct price){
                .input = known_or(price->input, other->input),
                .cached_input = known_or(price->cached_input, other->cached_input),
                .cache_write = known_or(price->cache_write, other->cache_write),
                .output = known_or(price->output, other->output),
                .audio_minute = known_or(price->audio_minute, other->audio_minute),
                .character = known_or(price->character, other->character),
                .image = known_or(price->image, other->image),
                .request = known_or(price->request, other->request),
                .search_unit = known_or(price->search_unit, other->search_unit),
                .reasoning = known_or(price->reasoning, other->reasoning),
        };
}

unsigned price_tiers_reached(const struct endpoint *endpoint, int64_t input_tokens) {
        unsigned reached = 0;
        while (reached < endpoint->tiers_count && input_tokens > endpoint->tiers[reached].above_input)
                reached++;
        return reached;
}

const struct price *price_of_tier(const struct endpoint *endpoint, int64_t now_unix_ms, unsigned tier,
                                  struct price *scratch) {
        CHECK(tier <= endpoint->tiers_count);
        const struct price *price = tier == 0 ? &endpoint->price : &endpoint->tiers[tier - 1].price;
        int64_t multiply = price_multiply_at(endpoint, now_unix_ms);
        if (multiply == PRICE_MULTIPLY_ONE)
                return price;
        *scratch = price_scaled(price, multiply);
        return scratch;
}

const struct price *price_at(const struct endpoint *endpoint, int64_t now_unix_ms, int64_t input_tokens,
                             struct price *scratch) {
        return price_of_tier(endpoint, now_unix_ms, price_tiers_reached(endpoint, input_tokens), scratch);
}
