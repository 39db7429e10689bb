#pragma once
/* An audit event on its way from the thread that saw it to the one that writes it: with its texts, in one
 * piece of memory. */
#include "broker/wire/audit.h"

struct audit_note {
        struct audit_event event;
        char texts[];
};

/* A copy; free() it. NULL when memory is refused. */
struct audit_note *audit_note_new(const struct audit_event *event);
