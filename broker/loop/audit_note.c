#include "broker/loop/audit_note.h"

#include <stdlib.h>
#include <string.h>

static struct bytes keep(char **at, struct bytes text) {
        struct bytes kept = {*at, text.size};
        if (text.size > 0)
                memcpy(*at, text.data, text.size);
        *at += text.size;
        return kept;
}

struct audit_note *audit_note_new(const struct audit_event *event) {
        size_t size = event->workspace.size + event->batch.size + event->endpoint.size +
                      event->provider.size + event->region.size + event->catalog.size;
        struct audit_note *note = malloc(sizeof(*note) + size);
        if (!note)
                return NULL;
        char *at = note->texts;
        note->event = *event;
        note->event.workspace = keep(&at, event->workspace);
        note->event.batch = keep(&at, event->batch);
        note->event.endpoint = keep(&at, event->endpoint);
        note->event.provider = keep(&at, event->provider);
        note->event.region = keep(&at, event->region);
        note->event.catalog = keep(&at, event->catalog);
        return note;
}
