#pragma once
/*
 * Whether a job's rules let it go to an endpoint: the hard part of the vocabulary
 * (schemas/routing_fields.def), in the order in which the codes are said. What is not known (a data policy, a
 * region, supported parameters) does not pass a rule that asks for it; modalities that nobody stated do.
 */
#include "workers/routing/catalog.h"

/* What stays true as long as the catalog does. */
enum exclusion eligible_check(const struct catalog *catalog, const struct demand *demand, uint32_t index);
/* Where the endpoint is: its own region, else its provider's; "" when not said. */
const char *eligible_region(const struct catalog *catalog, const struct endpoint *endpoint);
/*
 * Of eligible_check() what rules say of data and quality alone, of any job: regions, zdr, training,
 * quantizations.
 */
enum exclusion eligible_policy(const struct catalog *catalog, const struct endpoint *endpoint,
                               const struct routing_prefs *prefs);
/*
 * Whether its price of that moment, for so many tokens of input, is above max_price, or not known though that
 * says one.
 */
bool eligible_above_max_price(const struct endpoint *endpoint, const struct demand *demand,
                              int64_t now_unix_ms, int64_t input_tokens);
/* The answer is the same for all jobs of a class and at any time, as long as the catalog is the same. */
bool eligible_price_stays(const struct endpoint *endpoint, const struct demand *demand);
/* Index of the first name that means this endpoint; names->count when none does. */
uint32_t eligible_place(const struct names *names, const struct catalog *catalog,
                        const struct endpoint *endpoint);
/*
 * Those of the request's parameters that are softly preferred and that the endpoint is known not to support:
 * tools, response_format (with a schema or not) and verbosity.
 */
uint64_t eligible_missed(const struct endpoint *endpoint, const struct demand *demand);
