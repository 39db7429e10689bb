/* The answer of which nothing is known yet. A pure value: owns nothing. */
#include "broker/core/answer.h"

#include <stddef.h>
#include <string.h>

_Static_assert(offsetof(struct answer, message) + ANSWER_MESSAGE_MAX == sizeof(struct answer),
               "what stands before the message is cleared, and nothing stands behind it");

void answer_init(struct answer *answer) {
        memset(answer, 0, offsetof(struct answer, message));
        answer->verdict = VERDICT_RETRY;
        answer->failure = FAILURE_ATTEMPTS_EXHAUSTED;
        answer->wait_ns = -1;
        usage_init(&answer->usage);
        answer->message[0] = '\0';
}
