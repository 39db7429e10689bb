#pragma once
/*
 * From what a provider said to what we do about it: the table of reference providers.md 12.1, as data.
 * Never by status alone: the words of the error come first.
 */
#include "broker/core/answer.h"
#include "workers/providers/refusal.h"
#include "workers/providers/waits.h"

/*
 * The verdict for an answer that is no result. `status` is the HTTP status; for a 2xx whose body is an
 * error, the status inside of the body counts where there is one, and what would be RETRY is UNUSABLE,
 * because it may have been billed.
 */
enum verdict classify(int32_t status, const struct refusal *refusal, enum retry_advice advice);
/* Of which day, if of any, a quota is that is used up. Where a quota of the day ends, it does so there. */
enum quota_day { QUOTA_DAY_NONE, QUOTA_DAY_UTC, QUOTA_DAY_PACIFIC };
enum quota_day classify_day(const struct refusal *refusal);
/* What the job ends as when that was the last answer. */
enum failure classify_failure(enum verdict verdict);
