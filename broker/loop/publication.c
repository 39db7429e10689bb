#include "broker/loop/publication.h"

#include "broker/loop/committer.h"

#include <stdlib.h>

void publication_deinit(struct publication *publication) {
        reply_deinit(&publication->reply);
        buffer_deinit(&publication->state_key);
        buffer_deinit(&publication->value);
        origin_free(publication->origin);
        job_spec_free(publication->repeat);
        free(publication->note);
}

bool publication_is_result(const struct publication *publication) {
        return publication->kind == PUBLICATION_RESULT || publication->kind == PUBLICATION_DEAD_LETTER;
}

bool publication_completes(struct publication *publication, bool stands, struct completion *out_completion) {
        if (publication_is_result(publication)) {
                *out_completion = (struct completion){
                        .kind = INTENT_SETTLE, .handle = publication->handle, .reply = publication->reply};
                publication->reply = (struct reply){0};
                return true;
        }
        if (publication->kind != PUBLICATION_SPEND)
                return false;
        *out_completion = (struct completion){.kind = INTENT_PUBLISH,
                                              .partition = publication->partition,
                                              .word = publication->word,
                                              .stands = stands};
        return true;
}
