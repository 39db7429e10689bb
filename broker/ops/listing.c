/* Models are read by the reader that reads those of the configuration; only variables are refused. */
#include "broker/ops/listing.h"

#include "broker/ops/model.h"
#include "broker/ops/print.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct listing_draft {
        const char *name;
        struct zones *zones;
        struct provider *providers;
        struct endpoint *endpoints;
        uint32_t providers_count, endpoints_count;
};

static const struct field provider_fields[] = {
        {"name", FIELD_NAME, offsetof(struct listing_draft, name), "", "1", "64", ""},
        {"models", FIELD_OTHER, 0, "", "", "", ""},
};

static const struct field_table provider_table = {provider_fields,
                                                  sizeof provider_fields / sizeof *provider_fields};

static const struct field root_fields[] = {{"providers", FIELD_OTHER, 0, "", "", "", ""}};

static const struct field_table root_table = {root_fields, 1};

/* Of the provider that is read. */
static bool has_model(const struct listing_draft *draft, const char *model) {
        for (uint32_t i = draft->endpoints_count; i-- > 0;) {
                if (draft->endpoints[i].provider != draft->providers_count)
                        return false;
                if (strcmp(draft->endpoints[i].model, model) == 0)
                        return true;
        }
        return false;
}

static void add_model(struct reader *reader, const struct yaml_node *node, struct listing_draft *draft) {
        struct model_draft model;
        model_draft_init(&model, draft->zones);
        if (!model_read(reader, node, &model))
                return;
        model.endpoint.provider = draft->providers_count;
        if (strcmp(model.endpoint.model, "*") == 0)
                model_find_in(reader, node, "model", "must name one model here");
        if (model.endpoint.model[0] != '\0' && has_model(draft, model.endpoint.model))
                model_find_in(reader, node, "model", "this provider has a model of this name already");
        draft->endpoints[draft->endpoints_count++] = model.endpoint;
}

static void read_models(struct reader *reader, const struct field *field, const struct yaml_node *node,
                        void *base) {
        struct listing_draft *draft = base;
        uint32_t index = 0;
        (void)field;
        if (!reader_is_list(reader, node, "of which each item is a group of names, such as {model: NAME}"))
                return;
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                add_model(reader, item, draft);
                reader_leave(reader, place);
        }
}

static void add_provider(struct reader *reader, const struct yaml_node *map, struct listing_draft *draft) {
        uint32_t first = draft->endpoints_count;
        field_set said = 0;
        draft->name = "";
        if (!reader_is_map(reader, map, "name and models"))
                return;
        reader_fields(reader, &provider_table, map, draft, read_models, &said);
        if ((said & 1) == 0)
                reader_find(reader, map, "name is missing: that of the provider, or of its \"catalog\"");
        for (uint32_t i = 0; i < draft->providers_count; i++)
                if (draft->name[0] != '\0' && strcmp(draft->providers[i].name, draft->name) == 0)
                        model_find_in(reader, map, "name", "there is a provider of this name already");
        for (uint32_t i = first; i < draft->endpoints_count; i++)
                draft->endpoints[i].name =
                        model_endpoint_name(reader, draft->name, draft->endpoints[i].model);
        draft->providers[draft->providers_count++] = (struct provider){
                .name = draft->name, .dialect = "", .base_url = "", .region = "", .retention_days = -1};
}

static bool make_room(struct reader *reader, const struct yaml_node *list, struct listing_draft *draft) {
        uint32_t models = 0;
        for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                const struct yaml_node *node = yaml_child(item, BYTES("models"));
                models += node != NULL ? node->count : 0;
        }
        if (list->count > LISTING_PROVIDERS_MAX || models > LISTING_MODELS_MAX) {
                reader_find(reader, list, "must hold at most %d providers and %d models",
                            LISTING_PROVIDERS_MAX, LISTING_MODELS_MAX);
                return false;
        }
        draft->providers = reader_alloc(reader, (list->count + (size_t)1) * sizeof *draft->providers);
        draft->endpoints = reader_alloc(reader, (models + (size_t)1) * sizeof *draft->endpoints);
        return !reader->memory_refused;
}

static void read_providers(struct reader *reader, const struct field *field, const struct yaml_node *list,
                           void *base) {
        struct listing_draft *draft = base;
        uint32_t index = 0;
        (void)field;
        if (!reader_is_list(reader, list, "of which each item has name and models") ||
            !make_room(reader, list, draft))
                return;
        for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                add_provider(reader, item, draft);
                reader_leave(reader, place);
        }
}

struct error *listing_load_text(const char *name, struct bytes text, struct arena *arena, struct zones *zones,
                                struct catalog *out_catalog) {
        struct listing_draft draft = {.zones = zones};
        struct yaml_tree tree;
        struct reader reader;
        field_set said = 0;
        yaml_tree_init(&tree);
        reader_init(&reader, name, arena);
        reader.takes_no_variables = true;
        struct error *error = yaml_tree_parse(&tree, name, text);
        if (error == NULL && tree.root != NULL && reader_is_map(&reader, tree.root, "providers:"))
                reader_fields(&reader, &root_table, tree.root, &draft, read_providers, &said);
        if (error == NULL)
                error = reader_result(&reader);
        reader_deinit(&reader);
        yaml_tree_deinit(&tree);
        if (error == NULL)
                *out_catalog = (struct catalog){.providers = draft.providers,
                                                .providers_count = draft.providers_count,
                                                .endpoints = draft.endpoints,
                                                .endpoints_count = draft.endpoints_count};
        return error;
}

/*
 * Nothing but a regular file: a pipe could keep us waiting. One byte more than allowed is seen by the parser.
 */
static struct error *read_file(const char *path, char **out_text, size_t *out_size) {
        struct stat status;
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        bool regular = fd >= 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
        int code = fd < 0 ? errno : EINVAL;
        if (fd >= 0 && !regular)
                close(fd);
        if (!regular)
                return error_new(ERROR_USAGE, "cannot read %s: %s", path,
                                 fd < 0 ? strerror(code) : "it is no regular file");
        FILE *file = fdopen(fd, "rb");
        char *text = malloc((size_t)YAML_FILE_BYTES_MAX + 1);
        struct error *error = NULL;
        if (file == NULL || text == NULL)
                error = error_new(ERROR_MEMORY, "%s: out of memory", path);
        else
                *out_size = fread(text, 1, (size_t)YAML_FILE_BYTES_MAX + 1, file);
        if (error == NULL && ferror(file))
                error = error_new(ERROR_USAGE, "cannot read %s: %s", path, strerror(errno));
        if (file != NULL)
                fclose(file);
        else
                close(fd);
        if (error != NULL)
                free(text);
        else
                *out_text = text;
        return error;
}

struct error *listing_load(const char *path, struct arena *arena, struct zones *zones,
                           struct catalog *out_catalog) {
        char *text = NULL;
        size_t size = 0;
        struct error *error = read_file(path, &text, &size);
        if (error == NULL)
                error = listing_load_text(path, (struct bytes){text, size}, arena, zones, out_catalog);
        free(text);
        return error;
}

uint32_t listing_provider(const struct catalog *listing, const char *name) {
        for (uint32_t i = 0; i < listing->providers_count; i++)
                if (strcmp(listing->providers[i].name, name) == 0)
                        return i;
        return UINT32_MAX;
}

const struct endpoint *listing_find(const struct catalog *listing, const char *provider,
                                    const struct endpoint *endpoint) {
        const struct endpoint *by_model = NULL, *by_name = NULL;
        uint32_t index = strcmp(endpoint->model, "*") == 0 ? UINT32_MAX : listing_provider(listing, provider);
        for (uint32_t i = 0; i < listing->endpoints_count && index != UINT32_MAX; i++) {
                const struct endpoint *known = &listing->endpoints[i];
                if (known->provider != index)
                        continue;
                if (strcmp(known->upstream, endpoint->upstream) == 0)
                        return known;
                if (strcmp(known->model, endpoint->upstream) == 0)
                        by_model = known;
                if (strcmp(known->model, endpoint->model) == 0)
                        by_name = known;
        }
        return by_model != NULL ? by_model : by_name;
}

void listing_print(const struct catalog *listing, struct buffer *out_text) {
        buffer_append_string(out_text, "providers:\n");
        for (uint32_t i = 0; i < listing->providers_count; i++) {
                buffer_append_string(out_text, "  - name: ");
                yaml_append_text(out_text, bytes_of(listing->providers[i].name));
                buffer_append_string(out_text, "\n    models:\n");
                for (uint32_t k = 0; k < listing->endpoints_count; k++)
                        if (listing->endpoints[k].provider == i)
                                print_model(&listing->endpoints[k], 8, out_text);
        }
}
