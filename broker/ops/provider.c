/*
 * The catalog's arrays are cut at once in the size that the file asks for, then filled in order; what is
 * wrong leaves a finding, and the catalog is thrown away in the end.
 */
#include "broker/ops/provider.h"

#include "broker/base/nearest.h"
#include "broker/ops/log.h"
#include "broker/ops/model.h"
#include "workers/routing/price.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES_MAX = 16 << 10, PARTS_FIRST = 10 /* of a price, that there were at first */ };

enum provider_field {
#define PROVIDER_FIELD(id, path, type, member, default_text, min, max, help) PROVIDER_FIELD_##id,
#include "schemas/provider_fields.def"
#undef PROVIDER_FIELD
};

static const struct field provider_fields[] = {
#define PROVIDER_FIELD(id, path, type, member, default_text, min, max, help)                                 \
        {path, FIELD_##type, offsetof(struct provider_draft, member), default_text, min, max, help},
#include "schemas/provider_fields.def"
#undef PROVIDER_FIELD
};

const struct field_table provider_table = {provider_fields, sizeof provider_fields / sizeof *provider_fields};

_Static_assert(sizeof provider_fields / sizeof *provider_fields <= FIELDS_MAX, "a bit each");

/* ---- building ---- */

/* The catalog while it is filled: the arrays that the configuration's const pointers point to. */
struct building {
        struct provider_draft draft; /* the provider that is read; first, so that fields are read into it */
        const struct config_options *options;
        const struct listings *listings;
        struct provider *providers;
        struct model_draft *models; /* the endpoints, with what was said of them */
        const char **catalogs;      /* per provider */
        char **keys;
        uint32_t providers_count, models_count, models_capacity;
        bool takes_all; /* the provider that is read has all that catalogue files have of it */
};

static bool building_init(struct reader *reader, struct building *building, uint32_t providers) {
        building->providers = reader_alloc(reader, providers * sizeof *building->providers);
        building->catalogs = reader_alloc(reader, providers * sizeof *building->catalogs);
        building->keys = reader_alloc(reader, providers * sizeof *building->keys);
        return !reader->memory_refused;
}

static void building_deinit(struct building *building) {
        free(building->models);
}

/* false, once with a finding, when there are too many. */
static bool add_draft(struct reader *reader, const struct yaml_node *node, struct building *building,
                      const struct model_draft *draft) {
        if (building->models_count == CATALOG_ENDPOINTS_MAX) {
                reader_find(reader, node, "is one too many: there may be %d models in all",
                            CATALOG_ENDPOINTS_MAX);
                return false;
        }
        if (building->models_count == building->models_capacity) {
                uint32_t capacity = building->models_capacity == 0 ? 64 : 2 * building->models_capacity;
                struct model_draft *models = realloc(building->models, capacity * sizeof *models);
                reader->memory_refused = reader->memory_refused || models == NULL;
                if (models == NULL)
                        return false;
                building->models = models;
                building->models_capacity = capacity;
        }
        building->models[building->models_count++] = *draft;
        return true;
}

static void building_done(struct reader *reader, const struct building *building, struct config *config) {
        struct endpoint *endpoints =
                reader_alloc(reader, (building->models_count + (size_t)1) * sizeof *endpoints);
        config->catalog.providers = building->providers;
        config->catalog.providers_count = building->providers_count;
        config->provider_catalogs = building->catalogs;
        config->keys = (const char *const *)building->keys;
        if (endpoints == NULL)
                return;
        for (uint32_t i = 0; i < building->models_count; i++)
                endpoints[i] = building->models[i].endpoint;
        config->catalog.endpoints = endpoints;
        config->catalog.endpoints_count = building->models_count;
}

static bool has_model(const struct building *building, const char *model) {
        for (uint32_t i = building->models_count; i-- > 0;) {
                const struct endpoint *other = &building->models[i].endpoint;
                if (other->provider != building->providers_count)
                        return false;
                if (strcmp(other->model, model) == 0)
                        return true;
        }
        return false;
}

static void add_model(struct reader *reader, const struct yaml_node *node, struct building *building) {
        struct model_draft draft;
        model_draft_init(&draft, building->listings->zones);
        if (!model_read(reader, node, &draft))
                return;
        draft.endpoint.provider = building->providers_count;
        if (draft.endpoint.model[0] != '\0' && has_model(building, draft.endpoint.model))
                model_find_in(reader, node, "model", "this provider has a model of this name already");
        add_draft(reader, node, building, &draft);
}

static bool is_catalog_word(const struct yaml_node *node) {
        return node->kind == YAML_TEXT && bytes_equal_string(node->text, "catalog");
}

static void read_models(struct reader *reader, const struct yaml_node *node, struct building *building) {
        uint32_t index = 0;
        if (is_catalog_word(node)) {
                building->takes_all = true;
                return;
        }
        if (!reader_is_list(reader, node, "of which each item is a group of names, such as {model: NAME}") &&
            !node->nothing)
                return;
        if (node->count == 0)
                reader_find(reader, node,
                            "must not be empty; {model: \"*\"} serves every model that jobs name");
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                if (is_catalog_word(item))
                        building->takes_all = true;
                else
                        add_model(reader, item, building);
                reader_leave(reader, place);
        }
}

/* ---- from catalogue files ---- */

/* Models that the configuration does not name itself; false when no file has any model of the provider. */
static bool take_all(struct reader *reader, const struct yaml_node *node, struct building *building,
                     const char *catalog) {
        bool any = false;
        for (unsigned i = 0; i < building->listings->count; i++) {
                const struct catalog *listing = &building->listings->items[i];
                uint32_t provider = listing_provider(listing, catalog);
                for (uint32_t k = 0; k < listing->endpoints_count; k++) {
                        struct model_draft draft;
                        if (listing->endpoints[k].provider != provider)
                                continue;
                        any = true;
                        if (has_model(building, listing->endpoints[k].model))
                                continue;
                        model_draft_init(&draft, building->listings->zones);
                        draft.endpoint.model = draft.endpoint.upstream = listing->endpoints[k].model;
                        draft.endpoint.provider = building->providers_count;
                        if (!add_draft(reader, node, building, &draft))
                                return true;
                }
        }
        return any;
}

/* Every file in its order; what stands in an earlier one stays. */
static void fill_from_listings(struct building *building, struct model_draft *model, const char *catalog) {
        for (unsigned i = 0; i < building->listings->count; i++) {
                const struct endpoint *known =
                        listing_find(&building->listings->items[i], catalog, &model->endpoint);
                if (known != NULL)
                        model_fill(model, known);
        }
}

/* ---- one provider ---- */

static const char *key_problem(struct bytes key) {
        if (key.size > KEY_BYTES_MAX)
                return "is too long for a key";
        if (bytes_equal_string(key, "***"))
                return "\"***\" stands for a key that `config print` did not show: put the key here, best as "
                       "${NAME}";
        for (size_t i = 0; i < key.size; i++)
                if (key.data[i] <= 0x20 || key.data[i] >= 0x7f)
                        return "a key must be one line of ASCII without blanks";
        return NULL;
}

/* An empty text is no key: what ${NAME:-} gives. */
static void read_key(struct reader *reader, const struct yaml_node *node, struct provider_draft *draft) {
        struct reader_text text;
        if (!reader_text(reader, node, &text))
                return;
        log_secret(text.value);
        const char *problem = key_problem(text.value);
        if (problem != NULL) {
                reader_find(reader, node, "%s", problem);
                return;
        }
        if (text.value.size == 0)
                return;
        draft->key = bytes_dup(text.value);
        reader->memory_refused = reader->memory_refused || draft->key == NULL;
}

static void read_other_of_provider(struct reader *reader, const struct field *field,
                                   const struct yaml_node *node, void *base) {
        struct building *building = base; /* of which the draft is the first member */
        if (field - provider_fields == PROVIDER_FIELD_API_KEY)
                read_key(reader, node, &building->draft);
        else
                read_models(reader, node, building);
}

/* NULL when it can be called. Of a query, only the version that azure wants can stand there. */
static const char *url_problem(struct bytes url, bool azure) {
        size_t scheme = bytes_starts_with(url, "https://") ? 8 : bytes_starts_with(url, "http://") ? 7 : 0;
        size_t host = scheme;
        if (scheme == 0)
                return "must begin with https:// or http://";
        while (host < url.size && memchr("/?#", url.data[host], 3) == NULL)
                host++;
        if (host == scheme || url.data[scheme] == ':')
                return "has no host";
        if (memchr(url.data + scheme, '@', host - scheme) != NULL)
                return "must not hold a user or password: put the key into api_key";
        const char *query = memchr(url.data, '?', url.size);
        struct bytes asked = {query, query == NULL ? 0 : url.size - (size_t)(query - url.data)};
        if (memchr(url.data, '#', url.size) != NULL ||
            (query != NULL && !(azure && bytes_starts_with(asked, "?api-version="))))
                return "must not hold a query (?...) or fragment (#...)";
        for (size_t i = 0; i < url.size; i++)
                if (url.data[i] <= 0x20 || url.data[i] >= 0x7f ||
                    memchr("\"<>\\^`{|}", url.data[i], 9) != NULL)
                        return "must not hold blanks or characters that a URL has to escape";
        return NULL;
}

static struct bytes without_slashes(struct bytes url) {
        while (url.size > 0 && url.data[url.size - 1] == '/')
                url.size--;
        return url;
}

static void check_dialect(struct reader *reader, const struct yaml_node *map,
                          const struct config_options *options, const char *dialect) {
        const char *const *names = options->dialect_names;
        struct nearest nearest;
        bool known = options->dialect_known != NULL ? options->dialect_known(dialect) : names == NULL;
        nearest_init(&nearest, bytes_of(dialect));
        for (; names != NULL && *names != NULL; names++) {
                known = known || strcmp(*names, dialect) == 0;
                nearest_offer(&nearest, bytes_of(*names));
        }
        if (known)
                return;
        struct buffer text;
        buffer_init(&text, 1024);
        if (nearest.best.size > 0)
                buffer_printf(&text, "unknown kind of provider; did you mean \"%.*s\"?",
                              (int)nearest.best.size, nearest.best.data);
        else
                buffer_append_string(&text, "this version does not know this kind of provider");
        const char *before = "; there are ";
        for (names = options->dialect_names; nearest.best.size == 0 && names != NULL && *names != NULL;
             names++) {
                buffer_printf(&text, "%s%s", before, *names);
                before = ", ";
        }
        buffer_append_char(&text, '\0');
        model_find_in(reader, map, "kind", text.failed ? "unknown kind of provider" : text.data);
        buffer_deinit(&text);
}

/* Not said is the worse: what zero retention excludes need not be said. */
static void check_policy(struct reader *reader, const struct yaml_node *map, field_set said,
                         struct provider *provider) {
        bool zdr = field_said(said, PROVIDER_FIELD_ZDR), training = field_said(said, PROVIDER_FIELD_TRAINING);
        provider->data_policy_known = zdr || training || field_said(said, PROVIDER_FIELD_RETENTION);
        if (provider->data_policy_known && !training)
                provider->training = !provider->zdr;
        if (provider->zdr && (provider->training || provider->retention_days > 0))
                model_find_in(reader, map, "data_policy",
                              "zdr keeps nothing, so training must be false and retention_days 0");
}

static void check_url(struct reader *reader, const struct yaml_node *map, struct provider *provider) {
        struct bytes url = bytes_of(provider->base_url);
        const char *problem = url_problem(url, strcmp(provider->dialect, "azure") == 0);
        if (problem != NULL)
                model_find_in(reader, map, "base_url", problem);
        provider->base_url = reader_keep(reader, without_slashes(url));
}

static void check_name(struct reader *reader, const struct yaml_node *map, const struct building *building) {
        const char *name = building->draft.provider.name;
        bool upper = false, twice = false;
        for (const char *at = name; *at != '\0'; at++)
                upper = upper || (*at >= 'A' && *at <= 'Z');
        for (uint32_t i = 0; i < building->providers_count; i++)
                twice = twice || (name[0] != '\0' && strcmp(building->providers[i].name, name) == 0);
        if (upper)
                model_find_in(reader, map, "name", "must be in lower case");
        if (twice)
                model_find_in(reader, map, "name", "there is a provider of this name already");
}

static void check_provider(struct reader *reader, const struct yaml_node *map, field_set said,
                           struct building *building) {
        struct provider *provider = &building->draft.provider;
        if (!field_said(said, PROVIDER_FIELD_NAME))
                reader_find(reader, map, "name is missing: the name that rules, receipts and logs use");
        if (!field_said(said, PROVIDER_FIELD_KIND))
                reader_find(reader, map, "kind is missing: the dialect, such as openai");
        if (!field_said(said, PROVIDER_FIELD_BASE_URL))
                reader_find(reader, map, "base_url is missing");
        if (!field_said(said, PROVIDER_FIELD_MODELS))
                reader_find(reader, map,
                            "models is missing; [{model: \"*\"}] serves every model that jobs name");
        check_name(reader, map, building);
        if (provider->dialect[0] != '\0')
                check_dialect(reader, map, building->options, provider->dialect);
        if (provider->base_url[0] != '\0')
                check_url(reader, map, provider);
        check_policy(reader, map, said, provider);
}

static void draft_provider(struct provider_draft *draft) {
        *draft = (struct provider_draft){.provider = {.retention_days = -1}};
        fields_default(&provider_table, draft);
}

/* Its models were added before it is, so they get what its name decides last. */
static void finish_models(struct reader *reader, const struct yaml_node *map, struct building *building,
                          uint32_t first) {
        const struct provider_draft *draft = &building->draft;
        const char *catalog = draft->catalog[0] != '\0' ? draft->catalog : draft->provider.name;
        if (building->takes_all && !take_all(reader, map, building, catalog))
                model_find_in(
                        reader, map, "models",
                        "no catalogue file has models of this provider; \"catalog: NAME\" beside it says "
                        "what they call it, and \"catalog: [FILE]\" at the top which files there are");
        for (uint32_t i = first; i < building->models_count; i++) {
                struct model_draft *model = &building->models[i];
                fill_from_listings(building, model, catalog);
                model->endpoint.name =
                        model_endpoint_name(reader, draft->provider.name, model->endpoint.model);
        }
}

static void add_provider(struct reader *reader, const struct yaml_node *map, struct building *building) {
        uint32_t first = building->models_count;
        field_set said = 0;
        draft_provider(&building->draft);
        building->takes_all = false;
        if (map->kind != YAML_MAP) {
                reader_find(reader, map, "must be a group of names: name, kind, base_url, models, ...");
                return;
        }
        reader_fields(reader, &provider_table, map, building, read_other_of_provider, &said);
        check_provider(reader, map, said, building);
        finish_models(reader, map, building, first);
        building->keys[building->providers_count] = building->draft.key;
        building->catalogs[building->providers_count] = building->draft.catalog;
        building->providers[building->providers_count++] = building->draft.provider;
}

void providers_read(struct reader *reader, const struct yaml_node *list, const struct config_options *options,
                    const struct listings *listings, struct config *config) {
        struct building building = {.options = options, .listings = listings};
        uint32_t models = 0, index = 0;
        if (!reader_is_list(reader, list,
                            "of which each item is a group of names: name, kind, base_url, models, ..."))
                return;
        for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                const struct yaml_node *node = yaml_child(item, BYTES("models"));
                models += node != NULL && node->kind == YAML_LIST ? node->count : 0;
        }
        if (list->count > CATALOG_PROVIDERS_MAX || models > CATALOG_ENDPOINTS_MAX) {
                reader_find(reader, list, "must hold at most %d providers and %d models",
                            CATALOG_PROVIDERS_MAX, CATALOG_ENDPOINTS_MAX);
                return;
        }
        if (!building_init(reader, &building, list->count))
                return;
        for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                add_provider(reader, item, &building);
                reader_leave(reader, place);
        }
        building_done(reader, &building, config);
        building_deinit(&building);
}

/* A node without a place, for what came from the command line. */
static const struct yaml_node nowhere;

void providers_default(struct reader *reader, struct bytes base_url, char *key, struct config *config) {
        struct building building = {0};
        struct model_draft model;
        const char *problem = url_problem(base_url, false);
        if (problem != NULL)
                reader_find(reader, &nowhere, "%s", problem);
        draft_provider(&building.draft);
        building.draft.provider.name = "default";
        building.draft.provider.dialect = "openai";
        building.draft.provider.base_url = reader_keep(reader, without_slashes(base_url));
        model_draft_init(&model, NULL);
        model.endpoint.name = "default/*";
        model.endpoint.model = model.endpoint.upstream = "*";
        if (!building_init(reader, &building, 1) || !add_draft(reader, &nowhere, &building, &model)) {
                if (key != NULL)
                        explicit_bzero(key, strlen(key));
                free(key);
                building_deinit(&building);
                return;
        }
        building.providers[building.providers_count++] = building.draft.provider;
        building.catalogs[0] = "";
        building.keys[0] = key;
        building_done(reader, &building, config);
        building_deinit(&building);
}

const char *providers_key_problem(struct bytes key) {
        return key_problem(key);
}

/* ---- the catalog's id ---- */

/* FNV-1a, 64 bits: to tell catalogs apart, not to withstand somebody who wants two alike. */
static void hash(uint64_t *state, const void *data, size_t size) {
        const unsigned char *at = data;
        for (size_t i = 0; i < size; i++)
                *state = (*state ^ at[i]) * UINT64_C(0x100000001b3);
}

/* Number by number, so that neither padding nor the order of bytes in memory counts. */
static void hash_number(uint64_t *state, int64_t number) {
        unsigned char bytes[8];
        for (unsigned i = 0; i < 8; i++)
                bytes[i] = (unsigned char)((uint64_t)number >> (8 * i) & 0xff);
        hash(state, bytes, sizeof bytes);
}

static void hash_text(uint64_t *state, struct bytes text) {
        hash_number(state, (int64_t)text.size);
        hash(state, text.data, text.size);
}

static void hash_limits(uint64_t *state, const struct limits_spec *limits) {
        hash_number(state, limits->requests_per_minute);
        hash_number(state, limits->tokens_per_minute);
        hash_number(state, limits->concurrency);
        hash_number(state, limits->requests_per_day);
        hash_number(state, limits->tokens_per_day);
        hash_number(state, limits->audio_seconds_per_hour);
        hash_number(state, limits->audio_seconds_per_day);
        hash_number(state, limits->images_per_minute);
}

static void hash_budget(uint64_t *state, const struct budget_spec *budget) {
        hash_number(state, budget->daily);
        hash_number(state, budget->monthly);
        hash_number(state, budget->lifetime);
}

static void hash_provider(uint64_t *state, const struct provider *provider) {
        hash_text(state, bytes_of(provider->name));
        hash_text(state, bytes_of(provider->dialect));
        hash_text(state, bytes_of(provider->base_url));
        hash_text(state, bytes_of(provider->region));
        hash_number(state, provider->zdr);
        hash_number(state, provider->training);
        hash_number(state, provider->data_policy_known);
        hash_number(state, provider->retention_days);
        hash_limits(state, &provider->limits);
        hash_budget(state, &provider->budget);
}

/* Of parts that came later nothing where they are not known, so that ids of before stay what they were. */
static void hash_price(uint64_t *state, const struct price *price) {
        const int64_t parts[] = {
#define TOKEN_PART(id, member, text, help)      price->member,
#define UNIT_PART(id, member, text, type, help) price->member,
#include "schemas/price_parts.def"
        };
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
                if (i >= PARTS_FIRST && parts[i] == PRICE_UNKNOWN)
                        continue;
                if (i >= PARTS_FIRST)
                        hash_number(state, (int64_t)i);
                hash_number(state, parts[i]);
        }
}

/* With what the system says of its zone: other changes are other prices. */
static void hash_window(uint64_t *state, const struct price_window *window) {
        hash_number(state, window->multiply_millionths);
        hash_number(state, window->from_minutes);
        hash_number(state, window->to_minutes);
        hash_number(state, window->days);
        hash_number(state, window->zone->changes_count);
        for (uint32_t i = 0; i < window->zone->changes_count; i++) {
                hash_number(state, window->zone->changes[i].from_unix_s);
                hash_number(state, window->zone->changes[i].offset_s);
        }
}

static void hash_services(uint64_t *state, const struct price services[SERVICE_PRICES]) {
        for (int i = 0; i < SERVICE_PRICES; i++) {
                if (price_is_unknown(&services[i]))
                        continue;
                hash_number(state, i);
                hash_price(state, &services[i]);
        }
}

static void hash_prices(uint64_t *state, const struct endpoint *endpoint) {
        hash_price(state, &endpoint->price);
        hash_price(state, &endpoint->batch);
        hash_services(state, endpoint->service);
        hash_number(state, endpoint->tiers_count);
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                hash_number(state, endpoint->tiers[i].above_input);
                hash_price(state, &endpoint->tiers[i].price);
                hash_services(state, endpoint->tiers[i].service);
        }
        hash_number(state, endpoint->windows_count);
        for (unsigned i = 0; i < endpoint->windows_count; i++)
                hash_window(state, &endpoint->windows[i]);
}

static void hash_endpoint(uint64_t *state, const struct endpoint *endpoint) {
        hash_text(state, bytes_of(endpoint->name));
        hash_text(state, bytes_of(endpoint->upstream));
        hash_prices(state, endpoint);
        hash_number(state, endpoint->provider);
        hash_number(state, endpoint->context);
        hash_number(state, endpoint->output_max);
        hash_number(state, endpoint->dimensions);
        hash_text(state, bytes_of(endpoint->quantization));
        hash_limits(state, &endpoint->limits);
        hash_number(state, endpoint->kinds);
        hash_number(state, endpoint->quality);
        hash_text(state, bytes_of(endpoint->region));
        hash_number(state, endpoint->parameters_known);
        hash_number(state, (int64_t)endpoint->parameters);
        hash_number(state, endpoint->input_modalities);
        hash_number(state, endpoint->output_modalities);
}

static void hash_names(uint64_t *state, const struct names *names) {
        hash_number(state, names->count);
        for (unsigned i = 0; i < names->count; i++)
                hash_text(state, names->items[i]);
}

static void hash_prefs(uint64_t *state, const struct routing_prefs *prefs) {
        hash_names(state, &prefs->order);
        hash_names(state, &prefs->only);
        hash_names(state, &prefs->ignore);
        hash_names(state, &prefs->regions);
        hash_names(state, &prefs->quantizations);
        hash_number(state, prefs->allow_fallbacks);
        hash_number(state, prefs->deny_training);
        hash_number(state, prefs->zdr);
        hash_number(state, prefs->sort);
        hash_number(state, prefs->max_price_input);
        hash_number(state, prefs->max_price_output);
        hash_number(state, prefs->max_price_request);
        hash_number(state, prefs->max_price_image);
        hash_number(state, prefs->max_cost_picousd);
        hash_number(state, prefs->sort_across_models);
        hash_number(state, prefs->require_parameters);
        hash_number(state, prefs->deny_unknown_price);
        hash_number(state, prefs->spread_ppm);
        for (unsigned i = 0; i < PERCENTILES_COUNT; i++) {
                hash_number(state, prefs->preferred_min_throughput[i]);
                hash_number(state, prefs->preferred_max_latency[i]);
        }
}

static void hash_workspace(uint64_t *state, const struct workspace *workspace) {
        hash_text(state, bytes_of(workspace->name));
        hash_number(state, workspace->weight);
        hash_budget(state, &workspace->budget);
        hash_number(state, workspace->over_budget);
        hash_number(state, workspace->release_unknown_ns);
        hash_limits(state, &workspace->limits);
        hash_prefs(state, &workspace->prefs);
}

void providers_seal(struct config *config) {
        static const char digits[] = "0123456789abcdef";
        struct catalog *catalog = &config->catalog;
        uint64_t state = UINT64_C(0xcbf29ce484222325);
        hash_number(&state, catalog->providers_count);
        for (uint32_t i = 0; i < catalog->providers_count; i++)
                hash_provider(&state, &catalog->providers[i]);
        hash_number(&state, catalog->endpoints_count);
        for (uint32_t i = 0; i < catalog->endpoints_count; i++)
                hash_endpoint(&state, &catalog->endpoints[i]);
        hash_prefs(&state, &config->prefs);
        hash_number(&state, catalog->workspaces_count);
        for (uint32_t i = 0; i < catalog->workspaces_count; i++)
                hash_workspace(&state, &catalog->workspaces[i]);
        for (unsigned i = 0; i < 16; i++)
                catalog->id[i] = digits[state >> (60 - 4 * i) & 15];
        catalog->id[16] = '\0';
}
