#include "broker/loop/known.h"

#include <string.h>

struct known_job known_from(const struct store_record *record, const struct job_spec *job) {
        struct known_job known = {.known = KNOWN_NOTHING};
        const uint8_t *fingerprint = NULL;
        switch (record->found) {
        case STORE_NONE:
                break;
        case STORE_SETTLED:
                known.known = KNOWN_SETTLED;
                fingerprint = record->settled.fingerprint_known ? record->settled.fingerprint : NULL;
                break;
        case STORE_UNKNOWN:
                known.known = KNOWN_UNKNOWN;
                known.attempts = record->begun.attempt;
                known.exposure_picousd = record->begun.exposure_picousd;
                fingerprint = record->begun.fingerprint;
                break;
        case STORE_ANSWERED:
                fingerprint = record->settled.fingerprint;
                if (!record->kept) { /* it was bought, and could not be written down (zdr) */
                        known.known = KNOWN_UNKNOWN;
                        known.attempts = record->settled.attempts;
                        known.exposure_picousd =
                                record->settled.cost_known ? record->settled.cost_picousd : SPEND_UNKNOWN;
                        break;
                }
                known.known = KNOWN_ANSWERED;
                known.attempts = record->settled.attempts;
                known.failure = record->settled.failure;
                known.status = record->settled.status;
                known.cost_known = record->settled.cost_known;
                known.cost_is_estimate = record->settled.cost_is_estimate;
                known.cost_picousd = record->settled.cost_picousd;
                break;
        case STORE_PARKED:
                known.known = KNOWN_PARKED;
                fingerprint = record->parked_fingerprint;
                break;
        }
        known.same_fingerprint =
                !fingerprint || memcmp(fingerprint, job->fingerprint, sizeof(job->fingerprint)) == 0;
        return known;
}
