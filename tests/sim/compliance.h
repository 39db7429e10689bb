#pragma once
/*
 * Whether a call goes where its job forbids: the rules of data, place, quantization and names, written down
 * once more, from their descriptions (schemas/routing_fields.def) and with nothing of the routing's own code.
 * For both simulators.
 */
#include "workers/routing/catalog.h"

#include <stdio.h>
#include <string.h>

static inline bool compliance_is(struct bytes name, const char *text) {
        return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static inline bool compliance_lists(const struct names *names, const char *text) {
        for (uint32_t i = 0; i < names->count; i++)
                if (compliance_is(names->items[i], text))
                        return true;
        return false;
}

/* A provider, one of its endpoints, or its endpoints in a region. */
static inline bool compliance_names(const struct names *names, const struct provider *provider,
                                    const struct endpoint *endpoint, const char *region) {
        char in_region[128];
        snprintf(in_region, sizeof in_region, "%s/%s", provider->name, region);
        return compliance_lists(names, provider->name) || compliance_lists(names, endpoint->name) ||
               (region[0] != '\0' && compliance_lists(names, in_region));
}

/* The rule that a call there breaks; NULL: none. */
static inline const char *compliance_broken(const struct routing_prefs *rules,
                                            const struct provider *provider,
                                            const struct endpoint *endpoint) {
        const char *region =
                endpoint->region != NULL && endpoint->region[0] != '\0' ? endpoint->region : provider->region;
        if (rules->zdr && !(provider->data_policy_known && provider->zdr))
                return "zdr";
        if (rules->deny_training && !(provider->data_policy_known && !provider->training))
                return "data_collection";
        if (rules->regions.count > 0 && !compliance_lists(&rules->regions, region))
                return "regions";
        if (rules->quantizations.count > 0 &&
            !compliance_lists(&rules->quantizations, endpoint->quantization))
                return "quantizations";
        if (rules->only.count > 0 && !compliance_names(&rules->only, provider, endpoint, region))
                return "only";
        if (compliance_names(&rules->ignore, provider, endpoint, region))
                return "ignore";
        if (!rules->allow_fallbacks && rules->order.count > 0 &&
            !compliance_names(&rules->order, provider, endpoint, region))
                return "allow_fallbacks";
        return NULL;
}
