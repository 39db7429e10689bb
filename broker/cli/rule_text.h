#pragma once
/*
 * The rules of a demand as text, from the table of recorded fields (schemas/decision_fields.def): what is
 * said, and which layer said it.
 */
#include "broker/base/bytes.h"
#include "workers/routing/catalog.h"

struct rule_text {
        const char *name;  /* as it stands in `routing`: "zdr", "max_price.prompt" */
        const char *layer; /* "configuration", "workspace" or "job" */
        struct bytes value;
};

/*
 * Calls `each` for every rule that is said. A rule that is as the configuration has it counts as the
 * configuration's; else as the workspace's (NULL: there is none) when it is as that has it; else it is the
 * job's. The value is valid during the call.
 */
void rule_texts(const struct demand *demand, const struct routing_prefs *configuration,
                const struct routing_prefs *workspace,
                void (*each)(void *userdata, const struct rule_text *rule), void *userdata);
