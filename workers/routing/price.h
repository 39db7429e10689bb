#pragma once
/*
 * What an endpoint asks at a time: its price, that of the tier which the length of the input falls into, and
 * what a window of the week makes of it. Times come in as wall time; nothing here reads a clock, and zones
 * were read when the catalog was made, so the same catalog gives the same price everywhere.
 */
#include "workers/routing/catalog.h"

#define PRICE_MULTIPLY_ONE INT64_C(1000000)

/* It asks the same at any time and of any input, as most do. */
static inline bool price_is_fixed(const struct endpoint *endpoint) {
        return endpoint->tiers_count == 0 && endpoint->windows_count == 0;
}

/*
 * What that endpoint asks at this time of a request with so many input tokens, at that tier of service: a
 * price of its own, or one that is made in `scratch`. Of SERVICE_OTHER nothing is known.
 */
const struct price *price_at(const struct endpoint *endpoint, enum service_tier service, int64_t now_unix_ms,
                             int64_t input_tokens, struct price *scratch);

extern const struct price price_unknown; /* of all parts */
bool price_is_unknown(const struct price *price);
/* Nothing is known of any tier of service. */
void price_services_init(struct price services[SERVICE_PRICES]);
/*
 * A tier of service of which anything is known for long inputs has the rest of its own price; else that is
 * not known, though there be one of short inputs.
 */
void price_services_complete(struct price services[SERVICE_PRICES], const struct price own[SERVICE_PRICES]);

/* How many of its tiers begin below so many input tokens; 0: its own price. */
unsigned price_tiers_reached(const struct endpoint *endpoint, int64_t input_tokens);
/* The price of its n-th tier, from 1 on (0: its own), times so many millionths. */
const struct price *price_of_tier(const struct endpoint *endpoint, enum service_tier service, unsigned tier,
                                  int64_t millionths, struct price *scratch);
/* By how much prices are multiplied, in millionths. */
int64_t price_multiply_at(const struct endpoint *endpoint, int64_t now_unix_ms);
/*
 * The first moment after that one at which a window may begin or end; before it nothing changes. INT64_MAX:
 * it has none.
 */
int64_t price_changes_after(const struct endpoint *endpoint, int64_t unix_ms);
/*
 * The most by which they are multiplied at any moment from the one to the other, both included. When many
 * windows begin and end in between, not less than that.
 */
int64_t price_multiply_most(const struct endpoint *endpoint, int64_t from_unix_ms, int64_t until_unix_ms);
/* Every known part times so many millionths, rounded up; what is unknown stays so. */
struct price price_scaled(const struct price *price, int64_t millionths);
/* What the price has, and from the other what it does not have. */
struct price price_or(const struct price *price, const struct price *other);
