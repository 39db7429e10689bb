/*
 * The file first, then what the command line lays over it; both are trees of YAML nodes to the same
 * readers. A configuration is made whole or not at all: with any finding it is thrown away.
 */
#include "broker/ops/config.h"

#include "broker/base/check.h"
#include "broker/ops/log.h"
#include "broker/ops/provider.h"
#include "broker/ops/rules.h"
#include "broker/ops/workspaces.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        CONFIG_ARENA_BYTES_MAX = 64 << 20, /* far above what a file of 4 MiB can ask for */
        KAFKA_PROPERTIES_MAX = 512,        /* librdkafka has about 200 */
        SET_BYTES_MAX = 64 << 10,
        CATALOG_FILES_MAX = 16,
        PATH_BYTES_MAX = 4096,
};

/* What config_load() gives is the first member. */
struct owner {
        struct config config;
        struct arena arena;
};

/* What the readers of sections find their place by; settings are read into its first member. */
struct loading {
        struct settings settings;
        const struct config_options *options;
        struct config *config;
        struct config_property *kafka;
        const struct yaml_node *providers; /* NULL: none; read when the catalogue files are known */
        const char **catalog_files;
        unsigned catalog_files_count;
        struct zones zones;
};

struct config *config_free(struct config *config) {
        struct owner *owner = (struct owner *)config;
        if (config == NULL)
                return NULL;
        for (uint32_t i = 0; i < config->catalog.providers_count; i++) {
                char *key = (char *)(uintptr_t)config->keys[i];
                if (key != NULL)
                        explicit_bzero(key, strlen(key));
                free(key);
        }
        for (size_t i = 0; i < config->kafka_count; i++)
                if (config->kafka[i].secret)
                        explicit_bzero((char *)(uintptr_t)config->kafka[i].value,
                                       strlen(config->kafka[i].value));
        arena_deinit(&owner->arena);
        free(owner);
        return NULL;
}

/* ---- kafka ---- */

/* librdkafka's CONFIGURATION.md: what it calls sensitive, and what holds keys. */
static bool is_secret_property(const char *name) {
        static const char *const words[] = {"password", "secret", "ssl.key.pem", "oauthbearer.config",
                                            "jaas"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (strstr(name, words[i]) != NULL)
                        return true;
        return false;
}

static bool is_property_name(struct bytes name) {
        bool well = name.size > 0 && name.size <= 128;
        for (size_t i = 0; i < name.size; i++) {
                char c = name.data[i];
                well = well && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_');
        }
        return well;
}

/* A property that was there is replaced, where it stood. */
static struct config_property *property_of(struct reader *reader, const struct yaml_node *node,
                                           struct loading *loading) {
        struct config *config = loading->config;
        for (size_t i = 0; i < config->kafka_count; i++)
                if (bytes_equal_string(node->name, loading->kafka[i].name))
                        return &loading->kafka[i];
        if (config->kafka_count == KAFKA_PROPERTIES_MAX) {
                reader_find_name(reader, node, "more than %d properties", KAFKA_PROPERTIES_MAX);
                return NULL;
        }
        struct config_property *property = &loading->kafka[config->kafka_count++];
        property->name = reader_keep(reader, node->name);
        property->value = "";
        return property;
}

static void read_property(struct reader *reader, const struct yaml_node *node, struct loading *loading) {
        struct reader_text text;
        if (!is_property_name(node->name)) {
                reader_find_name(reader, node, "is no name of a librdkafka property");
                return;
        }
        if (node->kind != YAML_TEXT) {
                reader_find(reader, node,
                            "must be one value: the whole name stands in one line, as in "
                            "bootstrap.servers: localhost:9092");
                return;
        }
        if (!reader_text(reader, node, &text))
                return;
        bool secret = is_secret_property(node->name.data);
        if (secret)
                log_secret(text.value);
        if (!yaml_is_utf8(text.value) ||
            (text.value.size > 0 && memchr(text.value.data, '\0', text.value.size) != NULL)) {
                reader_find(reader, node, "must be UTF-8 text");
                return;
        }
        if (secret && bytes_equal_string(text.value, "***")) {
                reader_find(reader, node, "\"***\" stands for a secret that `config print` did not show");
                return;
        }
        struct config_property *property = property_of(reader, node, loading);
        if (property == NULL)
                return;
        property->secret = secret;
        property->value = reader_keep(reader, text.value);
}

static void read_kafka(struct reader *reader, const struct yaml_node *map, struct loading *loading) {
        if (!reader_is_map(reader, map, "of librdkafka properties"))
                return;
        if (loading->kafka == NULL)
                loading->kafka = reader_alloc(reader, KAFKA_PROPERTIES_MAX * sizeof *loading->kafka);
        if (loading->kafka == NULL)
                return;
        loading->config->kafka = loading->kafka;
        for (const struct yaml_node *node = map->first; node != NULL; node = node->next) {
                size_t place = reader_enter(reader, node->name);
                read_property(reader, node, loading);
                reader_leave(reader, place);
        }
}

/* ---- catalogue files ---- */

static void add_catalog_file(struct reader *reader, const struct yaml_node *node, struct loading *loading) {
        struct reader_text text;
        union field_value value;
        char problem[FIELD_PROBLEM_MAX];
        static const struct field path = {
                .path = "catalog", .type = FIELD_TEXT, .default_text = "", .min = "1", .max = "4000"};
        if (!reader_text(reader, node, &text))
                return;
        if (!field_parse(&path, text.value, &value, problem))
                reader_find_value(reader, node, &text, problem);
        else if (loading->catalog_files_count == CATALOG_FILES_MAX)
                reader_find(reader, node, "must hold at most %d files", CATALOG_FILES_MAX);
        else
                loading->catalog_files[loading->catalog_files_count++] = reader_keep(reader, text.value);
}

/* One, or a list of them; what the command line says takes the place of what the file does. */
static void read_catalog_files(struct reader *reader, const struct yaml_node *node, struct loading *loading) {
        uint32_t index = 0;
        if (loading->catalog_files == NULL)
                loading->catalog_files =
                        reader_alloc(reader, CATALOG_FILES_MAX * sizeof *loading->catalog_files);
        loading->catalog_files_count = 0;
        if (loading->catalog_files == NULL || node->nothing)
                return;
        if (node->kind == YAML_TEXT) {
                add_catalog_file(reader, node, loading);
                return;
        }
        if (!reader_is_list(reader, node, "of the paths of catalogue files"))
                return;
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                add_catalog_file(reader, item, loading);
                reader_leave(reader, place);
        }
}

/* ---- the whole ---- */

static void read_section(struct reader *reader, const struct field *field, const struct yaml_node *node,
                         void *base) {
        struct loading *loading = base;
        if (strcmp(field->path, "kafka") == 0)
                read_kafka(reader, node, loading);
        else if (strcmp(field->path, "routing") == 0)
                rules_read(reader, node, &loading->config->prefs);
        else if (strcmp(field->path, "workspaces") == 0)
                workspaces_read(reader, node, &loading->config->catalog);
        else if (strcmp(field->path, "catalog") == 0)
                read_catalog_files(reader, node, loading);
        else
                loading->providers = node;
}

static void read_root(struct reader *reader, const struct yaml_node *root, struct loading *loading) {
        field_set said = 0;
        if (root != NULL && reader_is_map(reader, root, "such as providers: and limits:"))
                reader_fields(reader, &settings_table, root, &loading->settings, read_section, &said);
}

/* What one setting cannot tell of itself. */
static void check_whole(struct reader *reader, const struct yaml_node *root, const struct loading *loading) {
        static const struct yaml_node nowhere;
        const struct yaml_node *base = yaml_find(root, "retry.backoff.base"),
                               *rules = yaml_find(root, "routing");
        if (loading->settings.retry_base > loading->settings.retry_cap) {
                size_t place = reader_enter(reader, BYTES("retry.backoff.base"));
                reader_find(reader, base != NULL ? base : &nowhere, "must not be above retry.backoff.cap");
                reader_leave(reader, place);
        }
        size_t place = reader_enter(reader, BYTES("routing"));
        rules_check(reader, rules, &loading->config->catalog);
        reader_leave(reader, place);
        place = reader_enter(reader, BYTES("workspaces"));
        workspaces_check(reader, yaml_find(root, "workspaces"), &loading->config->catalog);
        reader_leave(reader, place);
}

/* ---- the command line ---- */

static bool build_set(struct yaml_tree *tree, struct bytes path, struct bytes value) {
        bool kafka = bytes_starts_with(path, "kafka.");
        struct yaml_node *map = yaml_tree_add(tree, NULL, YAML_MAP, BYTES(""), BYTES(""));
        for (size_t depth = 0; map != NULL; depth++) {
                const char *dot = depth == 1 && kafka ? NULL : memchr(path.data, '.', path.size);
                if (dot == NULL || depth + 2 >= YAML_DEPTH_MAX)
                        return yaml_tree_add(tree, map, YAML_TEXT, path, value) != NULL;
                size_t size = (size_t)(dot - path.data);
                map = yaml_tree_add(tree, map, YAML_MAP, (struct bytes){path.data, size}, BYTES(""));
                path = (struct bytes){dot + 1, path.size - size - 1};
        }
        return false;
}

static void read_set(struct reader *reader, const char *set, struct loading *loading) {
        static const struct yaml_node nowhere;
        const char *equals = strchr(set, '=');
        struct bytes path = {set, equals == NULL ? strlen(set) : (size_t)(equals - set)};
        struct yaml_tree tree;
        if (equals == NULL || path.size == 0 || path.size > YAML_NAME_BYTES_MAX ||
            strlen(set) > SET_BYTES_MAX) {
                reader_find(reader, &nowhere, "must be written NAME=VALUE, such as limits.in_flight=64");
                return;
        }
        if (bytes_starts_with(path, "providers") || bytes_starts_with(path, "workspaces")) {
                reader_find(reader, &nowhere,
                            "providers and workspaces cannot be set here: write them into a file (-c FILE)%s",
                            bytes_starts_with(path, "providers") ? ", or use --base-url" : "");
                return;
        }
        yaml_tree_init(&tree);
        if (build_set(&tree, path, bytes_of(equals + 1)))
                read_root(reader, tree.root, loading);
        else
                reader->memory_refused = true;
        yaml_tree_deinit(&tree);
}

static void read_base_url(struct reader *reader, struct loading *loading) {
        static const struct yaml_node nowhere;
        const struct config_options *options = loading->options;
        const char *name = options->api_key_env != NULL ? options->api_key_env : "OPENAI_API_KEY";
        const char *value = getenv(name);
        char *key = NULL;
        if (value != NULL && value[0] != '\0') {
                log_secret(bytes_of(value));
                const char *problem = providers_key_problem(bytes_of(value));
                if (problem != NULL)
                        reader_find(reader, &nowhere, "environment variable %.200s: %s", name, problem);
                key = bytes_dup(bytes_of(value));
                reader->memory_refused = reader->memory_refused || key == NULL;
        } else if (options->api_key_env != NULL) {
                reader_find(reader, &nowhere,
                            "environment variable %.200s is not set (needed by --api-key-env)", name);
        }
        providers_default(reader, bytes_of(options->base_url), key, loading->config);
}

static void read_command_line(struct reader *reader, struct loading *loading) {
        static const struct yaml_node nowhere;
        reader->command_line = true;
        for (size_t i = 0; i < loading->options->sets_count; i++)
                read_set(reader, loading->options->sets[i], loading);
        if (loading->options->base_url != NULL) {
                reader->file = "--base-url";
                read_base_url(reader, loading);
        } else if (loading->options->api_key_env != NULL) {
                reader->file = "--api-key-env";
                reader_find(
                        reader, &nowhere,
                        "goes with --base-url only; a provider of the file has its own: api_key: ${NAME}");
        }
}

/* ---- loading ---- */

static struct owner *owner_new(void) {
        struct owner *owner = calloc(1, sizeof *owner);
        if (owner != NULL)
                arena_init(&owner->arena, CONFIG_ARENA_BYTES_MAX);
        return owner;
}

static void finish(struct config *config, const struct loading *loading) {
        uint32_t allowed = loading->settings.fetch_allow;
        config->settings = loading->settings;
        config->fetch_https = (allowed & 1) != 0;
        config->fetch_http = (allowed & 2) != 0;
        config->fetch_file = (allowed & 4) != 0;
        config->fetch_s3 = (allowed & 8) != 0;
        providers_seal(config);
}

/* Both at once, the file's first. Takes both. */
static struct error *join(struct error *file, struct error *command_line) {
        if (file == NULL || command_line == NULL)
                return file != NULL ? file : command_line;
        struct error *both = error_new(file->kind, "%s\n%s", file->message, command_line->message);
        error_free(file);
        error_free(command_line);
        return both;
}

/* Catalogue files, then the providers that they fill in, then what holds between all. */
static struct error *read_providers(struct owner *owner, struct reader *reader, const struct yaml_node *root,
                                    struct loading *loading) {
        struct catalog *catalogs =
                reader_alloc(reader, (loading->catalog_files_count + (size_t)1) * sizeof *catalogs);
        struct error *error = NULL;
        if (catalogs == NULL)
                return NULL;
        owner->config.catalog_files = loading->catalog_files;
        owner->config.catalog_files_count = loading->catalog_files_count;
        for (unsigned i = 0; i < loading->catalog_files_count; i++)
                error = join(error, listing_load(loading->catalog_files[i], &owner->arena, &loading->zones,
                                                 &catalogs[i]));
        if (error != NULL)
                return error;
        const struct listings listings = {catalogs, loading->catalog_files_count, &loading->zones};
        if (loading->providers != NULL && loading->options->base_url == NULL) {
                size_t place = reader_enter(reader, BYTES("providers"));
                providers_read(reader, loading->providers, loading->options, &listings, &owner->config);
                reader_leave(reader, place);
        }
        check_whole(reader, root, loading);
        return NULL;
}

static struct error *read_all(struct owner *owner, const struct config_options *options, const char *name,
                              const struct yaml_node *root) {
        struct loading loading = {
                .options = options, .config = &owner->config, .zones = {.arena = &owner->arena}};
        struct reader file, command_line;
        reader_init(&file, name, &owner->arena);
        reader_init(&command_line, "--set", &owner->arena);
        fields_default(&settings_table, &loading.settings);
        prefs_init(&owner->config.prefs);
        read_root(&file, root, &loading);
        read_command_line(&command_line, &loading);
        struct error *listed = read_providers(owner, &file, root, &loading);
        struct error *error = join(join(reader_result(&file), listed), reader_result(&command_line));
        reader_deinit(&file);
        reader_deinit(&command_line);
        if (error == NULL)
                finish(&owner->config, &loading);
        return error;
}

/* `path` is NULL when there is no file. */
static struct error *load(const struct config_options *options, const char *path, struct bytes text,
                          struct config **out_config) {
        struct owner *owner = owner_new();
        struct error *error = NULL;
        struct yaml_tree tree;
        if (owner == NULL)
                return error_new(ERROR_MEMORY, "out of memory");
        yaml_tree_init(&tree);
        if (path != NULL) {
                owner->config.path = arena_copy(&owner->arena, bytes_of(path));
                error = yaml_tree_parse(&tree, path, text);
        }
        if (error == NULL)
                error = read_all(owner, options, path != NULL ? path : "settings", tree.root);
        yaml_tree_deinit(&tree);
        if (error != NULL)
                config_free(&owner->config);
        else
                *out_config = &owner->config;
        return error;
}

struct error *config_load_text(const struct config_options *options, const char *name, struct bytes text,
                               struct config **out_config) {
        return load(options, name, text, out_config);
}

/* All of a file, up to one byte more than allowed; *out_text is malloc'ed. */
static struct error *read_file(FILE *file, const char *path, struct bytes *out_text) {
        size_t size_max = (size_t)YAML_FILE_BYTES_MAX + 1, size = 0;
        char *text = malloc(size_max);
        if (text == NULL)
                return error_new(ERROR_MEMORY, "%s: out of memory", path);
        size = fread(text, 1, size_max, file);
        if (ferror(file)) {
                free(text);
                return error_new(ERROR_USAGE, "cannot read %s: %s", path, strerror(errno));
        }
        *out_text = (struct bytes){text, size};
        return NULL;
}

static struct error *load_file(const struct config_options *options, FILE *file, const char *path,
                               struct config **out_config) {
        struct bytes text = {0};
        struct error *error = read_file(file, path, &text);
        if (error != NULL)
                return error;
        CHECK(text.data != NULL);
        error = load(options, path, text, out_config);
        char *data = (char *)(uintptr_t)text.data;
        explicit_bzero(data, text.size);
        free(data);
        return error;
}

/*
 * The n-th place where a file is looked for; false when there is none. A relative XDG_CONFIG_HOME does
 * not count (its specification).
 */
static bool search_path(unsigned n, char out_path[PATH_BYTES_MAX]) {
        const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        int size = -1;
        if (n == 0)
                size = snprintf(out_path, PATH_BYTES_MAX, "batchferry.yaml");
        else if (xdg != NULL && xdg[0] == '/')
                size = snprintf(out_path, PATH_BYTES_MAX, "%s/batchferry/batchferry.yaml", xdg);
        else if (home != NULL && home[0] == '/')
                size = snprintf(out_path, PATH_BYTES_MAX, "%s/.config/batchferry/batchferry.yaml", home);
        return size >= 0 && size < PATH_BYTES_MAX;
}

/* *out_file is NULL when there is none. */
static struct error *open_file(const struct config_options *options, char out_path[PATH_BYTES_MAX],
                               FILE **out_file) {
        *out_file = NULL;
        if (options->path != NULL) {
                if (snprintf(out_path, PATH_BYTES_MAX, "%s", options->path) < PATH_BYTES_MAX)
                        *out_file = fopen(out_path, "rbe");
                else
                        errno = ENAMETOOLONG;
                return *out_file != NULL
                               ? NULL
                               : error_new(ERROR_USAGE, "cannot read %s: %s", options->path, strerror(errno));
        }
        for (unsigned n = 0; n < 2 && *out_file == NULL && options->base_url == NULL; n++) {
                if (!search_path(n, out_path))
                        continue;
                *out_file = fopen(out_path, "rbe");
                if (*out_file == NULL && errno != ENOENT && errno != ENOTDIR)
                        return error_new(ERROR_USAGE, "cannot read %s: %s", out_path, strerror(errno));
        }
        return NULL;
}

struct error *config_load(const struct config_options *options, struct config **out_config) {
        char path[PATH_BYTES_MAX];
        FILE *file;
        struct error *error = open_file(options, path, &file);
        if (error != NULL)
                return error;
        if (file == NULL)
                return load(options, NULL, (struct bytes){0}, out_config);
        error = load_file(options, file, path, out_config);
        fclose(file);
        return error;
}
