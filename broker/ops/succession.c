#include "broker/ops/succession.h"

#include "broker/base/check.h"
#include "broker/ops/settings.h"

#include <stdlib.h>
#include <string.h>

/* What is taken while jobs run; all other settings, at the next start. */
static const char *const taken[] = {"retry.attempts", "retry.backoff.base", "retry.backoff.cap",
                                    "retry.budget", "timeouts.total"};

void succession_deinit(struct succession *succession) {
        free(succession->keys);
        free(succession->providers);
        free(succession->endpoints);
        free(succession->workspaces);
        *succession = (struct succession){0};
}

static bool make_arrays(struct succession *succession, const struct catalog *before,
                        const struct catalog *now) {
        size_t providers = before->providers_count + now->providers_count + 1;
        size_t endpoints = before->endpoints_count + now->endpoints_count + 1;
        size_t workspaces = before->workspaces_count + now->workspaces_count + 1;
        *succession = (struct succession){.keys = calloc(providers, sizeof(*succession->keys)),
                                          .providers = calloc(providers, sizeof(*succession->providers)),
                                          .endpoints = calloc(endpoints, sizeof(*succession->endpoints)),
                                          .workspaces = calloc(workspaces, sizeof(*succession->workspaces))};
        return succession->keys && succession->providers && succession->endpoints && succession->workspaces;
}

static void follow_providers(struct succession *to, const struct catalog *before,
                             const char *const *keys_before, const struct config *config,
                             uint32_t out_index[CATALOG_PROVIDERS_MAX]) {
        struct catalog *catalog = &to->catalog;
        catalog->providers_count = before->providers_count;
        for (uint32_t i = 0; i < before->providers_count; i++) {
                to->providers[i] = before->providers[i];
                to->keys[i] = keys_before[i];
        }
        for (uint32_t i = 0; i < config->catalog.providers_count; i++) {
                const struct provider *provider = &config->catalog.providers[i];
                uint32_t at = 0;
                while (at < catalog->providers_count && strcmp(to->providers[at].name, provider->name) != 0)
                        at++;
                catalog->providers_count += at == catalog->providers_count;
                to->providers[at] = *provider;
                to->keys[at] = config->keys[i];
                out_index[i] = at;
        }
}

static void follow_endpoints(struct succession *to, const struct catalog *before, const struct catalog *now,
                             const uint32_t *providers) {
        struct catalog *catalog = &to->catalog;
        catalog->endpoints_count = before->endpoints_count;
        for (uint32_t i = 0; i < before->endpoints_count; i++) {
                to->endpoints[i] = before->endpoints[i];
                to->endpoints[i].kinds = 0;
                to->endpoints[i].listed = ENDPOINT_GONE;
        }
        for (uint32_t i = 0; i < now->endpoints_count; i++) {
                const struct endpoint *endpoint = &now->endpoints[i];
                uint32_t at = i; /* mostly where it was */
                if (at >= before->endpoints_count || strcmp(to->endpoints[at].name, endpoint->name) != 0)
                        for (at = 0; at < catalog->endpoints_count &&
                                     strcmp(to->endpoints[at].name, endpoint->name) != 0;)
                                at++;
                catalog->endpoints_count += at == catalog->endpoints_count;
                to->endpoints[at] = *endpoint;
                to->endpoints[at].listed = at == i ? 0 : i + 1;
                to->endpoints[at].provider = providers[endpoint->provider];
        }
}

/* The first one, "default", is always there when any is; without rules when nobody names it any more. */
static void follow_workspaces(struct succession *to, const struct catalog *before,
                              const struct catalog *now) {
        struct catalog *catalog = &to->catalog;
        catalog->workspaces_count = before->workspaces_count;
        for (uint32_t i = 0; i < before->workspaces_count; i++) {
                to->workspaces[i] = before->workspaces[i];
                to->workspaces[i].gone = true;
        }
        if (before->workspaces_count > 0 && now->workspaces_count == 0) {
                to->workspaces[0] = (struct workspace){.name = before->workspaces[0].name};
                prefs_init(&to->workspaces[0].prefs);
        }
        for (uint32_t i = 0; i < now->workspaces_count; i++) {
                uint32_t at = 0;
                while (at < catalog->workspaces_count &&
                       strcmp(to->workspaces[at].name, now->workspaces[i].name) != 0)
                        at++;
                catalog->workspaces_count += at == catalog->workspaces_count;
                to->workspaces[at] = now->workspaces[i];
        }
}

static struct error *check_room(const struct catalog *catalog) {
        if (catalog->providers_count <= CATALOG_PROVIDERS_MAX &&
            catalog->endpoints_count <= CATALOG_ENDPOINTS_MAX &&
            catalog->workspaces_count <= CATALOG_WORKSPACES_MAX)
                return NULL;
        return error_new(
                ERROR_USAGE,
                "with those that were removed since the start there are %u providers, %u models and %u "
                "workspaces, of %d, %d and %d that are possible: start again to take this "
                "configuration",
                catalog->providers_count, catalog->endpoints_count, catalog->workspaces_count,
                CATALOG_PROVIDERS_MAX, CATALOG_ENDPOINTS_MAX, CATALOG_WORKSPACES_MAX);
}

struct error *succession_make(const struct catalog *before, const char *const *keys_before,
                              const struct config *config, struct succession *out_succession) {
        const struct catalog *now = &config->catalog;
        struct succession *to = out_succession;
        uint32_t providers[CATALOG_PROVIDERS_MAX];
        CHECK(now->providers_count <= CATALOG_PROVIDERS_MAX);
        if (!make_arrays(to, before, now)) {
                succession_deinit(to);
                return error_new(ERROR_MEMORY, "no memory for another configuration");
        }
        follow_providers(to, before, keys_before, config, providers);
        follow_endpoints(to, before, now, providers);
        follow_workspaces(to, before, now);
        to->catalog.providers = to->providers;
        to->catalog.endpoints = to->endpoints;
        to->catalog.workspaces = to->workspaces;
        memcpy(to->catalog.id, now->id, sizeof(to->catalog.id));
        struct error *error = check_room(&to->catalog);
        if (error)
                succession_deinit(to);
        return error;
}

/* ---- what differs ---- */

static bool is_taken(const char *path) {
        for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
                if (strcmp(taken[i], path) == 0)
                        return true;
        return false;
}

static bool differs(const struct field *field, const struct settings *a, const struct settings *b) {
        struct buffer texts[2];
        if (field->type == FIELD_OTHER)
                return false;
        buffer_init(&texts[0], 2 * FIELD_TEXT_BYTES_MAX);
        buffer_init(&texts[1], 2 * FIELD_TEXT_BYTES_MAX);
        field_append(field, a, &texts[0]);
        field_append(field, b, &texts[1]);
        bool differ = !bytes_equal(buffer_view(&texts[0]), buffer_view(&texts[1]));
        buffer_deinit(&texts[0]);
        buffer_deinit(&texts[1]);
        return differ;
}

static bool same_text(const char *a, const char *b) {
        return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_keys(const struct config *a, const struct config *b) {
        for (uint32_t i = 0; i < a->catalog.providers_count; i++)
                if (!same_text(a->keys[i], b->keys[i]))
                        return false;
        return true;
}

static bool same_kafka(const struct config *a, const struct config *b) {
        for (size_t i = 0; i < a->kafka_count && a->kafka_count == b->kafka_count; i++)
                if (!same_text(a->kafka[i].name, b->kafka[i].name) ||
                    !same_text(a->kafka[i].value, b->kafka[i].value))
                        return false;
        return a->kafka_count == b->kafka_count;
}

static void add_later(struct buffer *later, const char *name) {
        if (later->size > 0)
                buffer_append_string(later, ", ");
        buffer_append_string(later, name);
}

bool succession_is_same(const struct config *before, const struct config *now, struct buffer *out_later) {
        bool same = strcmp(before->catalog.id, now->catalog.id) == 0 && same_keys(before, now);
        for (size_t i = 0; i < settings_table.count; i++) {
                const struct field *field = &settings_table.fields[i];
                if (!differs(field, &before->settings, &now->settings))
                        continue;
                if (is_taken(field->path))
                        same = false;
                else
                        add_later(out_later, field->path);
        }
        if (!same_kafka(before, now))
                add_later(out_later, "kafka");
        return same;
}
