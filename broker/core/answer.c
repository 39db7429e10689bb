/* The answer of which nothing is known yet. A pure value: owns nothing. */
#include "broker/core/answer.h"

void answer_init(struct answer *answer) {
        *answer = (struct answer){
                .verdict = VERDICT_RETRY,
                .failure = FAILURE_ATTEMPTS_EXHAUSTED,
                .wait_ns = -1,
        };
        usage_init(&answer->usage);
}
