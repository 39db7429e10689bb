#include "broker/loop/job_log.h"

#include "broker/core/job_spec.h"
#include "broker/loop/origin.h"
#include "broker/ops/log.h"

enum { TRACE_ID_AT = 3, TRACE_ID_BYTES = 32 }; /* of a traceparent: version "-" trace-id "-" ... */

static struct bytes trace_id(const struct job_spec *job) {
        if (job->traceparent.size < TRACE_ID_AT + TRACE_ID_BYTES)
                return BYTES("");
        return (struct bytes){job->traceparent.data + TRACE_ID_AT, TRACE_ID_BYTES};
}

void job_log_failed(const struct job_spec *job, const struct outcome *outcome) {
        const struct origin *origin = job->origin;
        if (outcome->failure == FAILURE_NONE || !origin || !log_enabled(LOG_LEVEL_INFO))
                return;
        struct log_field fields[6];
        size_t count = 0;
        if (job->custom_id.size > 0) /* a text without bytes would be a number */
                fields[count++] = LOG_TEXT("job", job->custom_id);
        fields[count++] = LOG_NUMBER("partition", origin->partition);
        fields[count++] = LOG_NUMBER("offset", (int64_t)origin->record.offset);
        fields[count++] = LOG_TEXT("code", bytes_of(failure_text(outcome->failure)));
        fields[count++] = LOG_NUMBER("attempts", outcome->attempts);
        if (trace_id(job).size > 0)
                fields[count++] = LOG_TEXT("trace_id", trace_id(job));
        log_fields_limited(LOG_LEVEL_INFO, "a job has failed", fields, count);
}
