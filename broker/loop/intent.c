/* Which members are its own depends on its kind. */
#include "broker/loop/intent.h"

#include "broker/loop/publication.h"

#include <stdlib.h>

void intent_deinit(struct intent *intent) {
        if (intent->kind == INTENT_SETTLE) {
                reply_deinit(&intent->reply);
        } else if (intent->kind == INTENT_PUBLISH && intent->publication) {
                publication_deinit(intent->publication);
                free(intent->publication);
        } else if (intent->kind == INTENT_AUDIT) {
                free(intent->note);
        }
}
