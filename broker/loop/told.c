#include "broker/loop/told.h"

#include "broker/base/time.h"
#include "broker/wire/result.h"
#include "workers/providers/dialect.h"

#include <string.h>

const struct catalog *told_catalog(const struct outcome *outcome, const struct catalog *now) {
        return outcome->decision.catalog ? outcome->decision.catalog : now;
}

void told_result(const struct intent *intent, const struct catalog *now, bool line, struct buffer *scratch,
                 struct buffer *out) {
        struct bytes body = {NULL, 0}, request_id = {NULL, 0};
        buffer_clear(scratch);
        if (intent->outcome->has_answer && intent->reply.dialect) {
                struct response response = {.status = intent->reply.status,
                                            .headers = buffer_view(&intent->reply.headers),
                                            .body = buffer_view(&intent->reply.body),
                                            .is_json = intent->reply.is_json,
                                            .now_unix_ms = intent->reply.now_unix_ms};
                intent->reply.dialect->render(intent->job, &response, scratch);
                body = buffer_view(scratch);
                request_id = reply_request_id(&intent->reply);
        }
        struct result_source source = {.job = intent->job,
                                       .outcome = intent->outcome,
                                       .catalog = told_catalog(intent->outcome, now),
                                       .request_id = request_id,
                                       .body_json = body};
        if (line)
                result_append(out, &source);
        else
                result_append_value(out, &source);
        out->failed = out->failed || scratch->failed;
}

void told_settled(const struct intent *intent, struct settled *out_settled) {
        const struct outcome *outcome = intent->outcome;
        *out_settled = (struct settled){
                .partition = STORE_NO_PARTITION,
                .failure = outcome->failure,
                .status = outcome->status,
                .attempts = outcome->attempts,
                .cost_known = outcome->cost_known,
                .cost_is_estimate = outcome->cost_is_estimate,
                .cost_picousd = outcome->cost_picousd,
                .settled_unix_ms = clock_now_unix_ms(),
                .fingerprint_known = true,
        };
        memcpy(out_settled->fingerprint, intent->job->fingerprint, sizeof(out_settled->fingerprint));
}
