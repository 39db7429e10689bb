#include "broker/loop/publication.h"

#include <stdlib.h>

void publication_deinit(struct publication *publication) {
        reply_deinit(&publication->reply);
        buffer_deinit(&publication->state_key);
        buffer_deinit(&publication->value);
        origin_free(publication->origin);
        free(publication->note);
}
