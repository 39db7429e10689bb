/* The table of dialects. */
#include "workers/providers/dialect.h"

#include "workers/providers/azure.h"
#include "workers/providers/openai.h"

static const struct dialect *const dialects[] = {&openai_dialect, &azure_dialect};
static const char *const names[] = {"openai", "azure", NULL};

_Static_assert(sizeof(names) / sizeof(names[0]) == sizeof(dialects) / sizeof(dialects[0]) + 1, "one each");

const struct dialect *dialect_find(struct bytes name) {
        for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++)
                if (bytes_equal_string(name, dialects[i]->name))
                        return dialects[i];
        return NULL;
}

const char *const *dialect_names(void) {
        return names;
}
