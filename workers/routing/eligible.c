#include "workers/routing/eligible.h"

#include "workers/routing/cost.h"

#include <string.h>

static bool equals(struct bytes name, const char *text) {
        return strncmp(text, name.data, name.size) == 0 && text[name.size] == '\0';
}

const char *eligible_region(const struct catalog *catalog, const struct endpoint *endpoint) {
        const struct provider *provider = &catalog->providers[endpoint->provider];
        return endpoint->region != NULL && endpoint->region[0] != '\0' ? endpoint->region : provider->region;
}

static bool names_text(const struct names *names, const char *text) {
        for (uint32_t i = 0; i < names->count; i++)
                if (equals(names->items[i], text))
                        return true;
        return false;
}

/* "provider", "provider/model" as the endpoint is called, or "provider/region". */
static bool means(struct bytes name, const struct catalog *catalog, const struct endpoint *endpoint) {
        const struct provider *provider = &catalog->providers[endpoint->provider];
        size_t size = strlen(provider->name);
        if (name.size < size || memcmp(name.data, provider->name, size) != 0)
                return equals(name, endpoint->name);
        if (name.size == size)
                return true;
        if (name.data[size] != '/')
                return equals(name, endpoint->name);
        const char *region = eligible_region(catalog, endpoint);
        struct bytes rest = {name.data + size + 1, name.size - size - 1};
        return (rest.size > 0 && equals(rest, region)) || equals(name, endpoint->name);
}

uint32_t eligible_place(const struct names *names, const struct catalog *catalog,
                        const struct endpoint *endpoint) {
        uint32_t i = 0;
        while (i < names->count && !means(names->items[i], catalog, endpoint))
                i++;
        return i;
}

enum exclusion eligible_policy(const struct catalog *catalog, const struct endpoint *endpoint,
                               const struct routing_prefs *prefs) {
        const struct provider *provider = &catalog->providers[endpoint->provider];
        if (prefs->regions.count > 0 && !names_text(&prefs->regions, eligible_region(catalog, endpoint)))
                return EXCLUSION_DATA_REGION;
        if (prefs->zdr && (!provider->data_policy_known || !provider->zdr))
                return EXCLUSION_DATA_POLICY_ZDR;
        if (prefs->deny_training && (!provider->data_policy_known || provider->training))
                return EXCLUSION_DATA_POLICY_TRAINING;
        if (prefs->quantizations.count > 0 && !names_text(&prefs->quantizations, endpoint->quantization))
                return EXCLUSION_QUANTIZATION;
        return EXCLUSION_NONE;
}

static bool lacks(uint32_t stated, uint32_t needed) {
        return stated != 0 && (needed & ~stated) != 0;
}

static enum exclusion check_model(const struct endpoint *endpoint, const struct demand *demand) {
        if (lacks(endpoint->input_modalities, demand->input_modalities) ||
            lacks(endpoint->output_modalities, demand->output_modalities))
                return EXCLUSION_MODALITY;
        if (demand->prefs.require_parameters &&
            (!endpoint->parameters_known ||
             (demand->parameters & ~parameters_supported(endpoint->parameters)) != 0))
                return EXCLUSION_REQUIRE_PARAMETERS;
        return EXCLUSION_NONE;
}

enum exclusion eligible_check(const struct catalog *catalog, const struct demand *demand, uint32_t index) {
        const struct endpoint *endpoint = &catalog->endpoints[index];
        const struct routing_prefs *prefs = &demand->prefs;
        if (!(endpoint->kinds >> (unsigned)demand->kind & 1U))
                return EXCLUSION_WRONG_ENDPOINT;
        if (prefs->only.count > 0 && eligible_place(&prefs->only, catalog, endpoint) == prefs->only.count)
                return EXCLUSION_ALLOWED_PROVIDERS;
        if (eligible_place(&prefs->ignore, catalog, endpoint) < prefs->ignore.count)
                return EXCLUSION_IGNORED;
        enum exclusion why = eligible_policy(catalog, endpoint, prefs);
        if (why == EXCLUSION_NONE)
                why = check_model(endpoint, demand);
        if (why == EXCLUSION_NONE && !prefs->allow_fallbacks && prefs->order.count > 0 &&
            eligible_place(&prefs->order, catalog, endpoint) == prefs->order.count)
                why = EXCLUSION_FALLBACKS_OFF;
        return why;
}

/* A price that nobody said passes no ceiling, unless this kind need not be billed by it. */
static bool above(int64_t price, int64_t max, bool needed) {
        if (max == PICOUSD_MAX)
                return false;
        return price == PRICE_UNKNOWN ? needed : price > max;
}

/* Tokens of sound and of pictures are tokens. */
static bool above_for_media(const struct price *price, const struct demand *demand) {
        const struct routing_prefs *prefs = &demand->prefs;
        uint32_t in = demand->input_modalities, out = demand->output_modalities;
        return ((in & MODALITY_BIT(AUDIO)) &&
                above(price->audio_input, prefs->max_price_input, !kind_listens(demand->kind))) ||
               ((in & MODALITY_BIT(IMAGE)) && above(price->image_input, prefs->max_price_input, false)) ||
               ((out & MODALITY_BIT(AUDIO)) &&
                above(price->audio_output, prefs->max_price_output, demand->kind != KIND_SPEECH)) ||
               ((out & MODALITY_BIT(IMAGE)) &&
                above(price->image_output, prefs->max_price_output, !kind_paints(demand->kind)));
}

static bool has_max_price(const struct routing_prefs *prefs) {
        return prefs->max_price_input != PICOUSD_MAX || prefs->max_price_output != PICOUSD_MAX ||
               prefs->max_price_request != PICOUSD_MAX || prefs->max_price_image != PICOUSD_MAX;
}

bool eligible_price_stays(const struct endpoint *endpoint, const struct demand *demand) {
        return price_is_fixed(endpoint) || !has_max_price(&demand->prefs);
}

bool eligible_above_max_price(const struct endpoint *endpoint, const struct demand *demand,
                              int64_t now_unix_ms, int64_t input_tokens) {
        struct price scratch;
        if (!has_max_price(&demand->prefs))
                return false;
        const struct price *price = price_at(endpoint, demand->service, now_unix_ms, input_tokens, &scratch);
        const struct routing_prefs *prefs = &demand->prefs;
        bool writes = demand->kind == KIND_CHAT || demand->kind == KIND_RESPONSES ||
                      demand->kind == KIND_COMPLETIONS;
        bool reads = demand->kind == KIND_EMBEDDINGS || demand->kind == KIND_MODERATIONS ||
                     (demand->kind == KIND_RERANK && price->search_unit == PRICE_UNKNOWN);
        bool paints = kind_paints(demand->kind);
        bool by_request = price->request != PRICE_UNKNOWN;
        bool by_tokens = price->input != PRICE_UNKNOWN && price->output != PRICE_UNKNOWN;
        return above_for_media(price, demand) ||
               above(price->input, prefs->max_price_input, writes || (reads && !by_request)) ||
               above(price->output, prefs->max_price_output, writes) ||
               above(price->request, prefs->max_price_request, false) ||
               above(price->image, prefs->max_price_image, paints && !by_tokens);
}

uint64_t eligible_missed(const struct endpoint *endpoint, const struct demand *demand) {
        return endpoint->parameters_known
                       ? demand->parameters & DEMAND_SOFT_PARAMETERS & ~endpoint->parameters
                       : 0;
}
