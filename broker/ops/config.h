#pragma once
/*
 * The configuration: YAML with the names of the configuration contract, read once, then read-only. Every
 * setting stands in one table (schemas/settings.def) from which come the struct below, the parser, the
 * ranges, `config print` and the reference page; what providers and models say stands in another
 * (schemas/provider_fields.def).
 * Messages name file, line and column, and for an unknown name the nearest known one.
 *
 * ${NAME} takes an environment variable and ${file:/path} a file's content, within scalars only; what
 * they give is never parsed as YAML. Secrets (api_key, passwords of kafka) never appear in a message or
 * in print, and are registered with log_secret().
 */
#include "broker/base/error.h"
#include "workers/routing/catalog.h"
#include "workers/routing/demand.h"

/* What a field of each type of the tables is in memory. */
#define SETTING_FIELD_COUNT    int64_t
#define SETTING_FIELD_BYTES    int64_t
#define SETTING_FIELD_DURATION int64_t /* nanoseconds */
#define SETTING_FIELD_SHARE    double
#define SETTING_FIELD_TEXT     const char *
#define SETTING_FIELD_NAME     const char *
#define SETTING_FIELD_CHOICE   const char *
#define SETTING_FIELD_BOOL     bool
#define SETTING_FIELD_WORDS    uint32_t /* a bit per word */

struct settings {
#define SETTING(name, path, type, default_text, min, max, help) SETTING_FIELD_##type name;
#include "schemas/settings.def"
#undef SETTING
};

/* A property of librdkafka, as it was written. */
struct config_property {
        const char *name, *value;
        bool secret;
};

struct config {
        struct settings settings;
        struct routing_prefs prefs;                         /* `routing`: defaults for every job */
        bool fetch_https, fetch_http, fetch_file, fetch_s3; /* fetch.allow */
        struct catalog catalog;
        const char *const *keys; /* per provider of the catalog; NULL where none is set. Secret */
        const char *const *provider_catalogs; /* per provider: what catalogue files call it; "": its name */
        const char *const *catalog_files;     /* `catalog`, of which all is in the catalog already */
        unsigned catalog_files_count;
        const struct config_property *kafka; /* in the order of the file; the values of some are secret */
        size_t kafka_count;
        const char *path; /* of the file; NULL when there was none */
};

struct config_options {
        /*
         * -c; NULL: ./batchferry.yaml, then $XDG_CONFIG_HOME/batchferry/batchferry.yaml ($HOME/.config
         * when that is not set), else none
         */
        const char *path;
        const char *const *sets; /* "key.path=value", in order; over the file */
        size_t sets_count;
        /*
         * --base-url: one provider named "default" that serves every model, in place of the file's; no
         * file is read but with -c
         */
        const char *base_url;
        const char *
                api_key_env; /* --api-key-env, which must be set then; NULL: OPENAI_API_KEY, if it is there */
        bool (*dialect_known)(const char *name); /* NULL: by dialect_names; when that is NULL too, all are */
        const char *const *dialect_names;        /* for messages, ends with NULL; may be NULL */
};

/*
 * ERROR_USAGE with "file:line:column: what, and what to do". All findings of a file, a line each, up to
 * 20.
 */
struct error *config_load(const struct config_options *options, struct config **out_config) MUST_USE;
/* The same with the text of a file that was read already; `name` stands in messages. */
struct error *config_load_text(const struct config_options *options, const char *name, struct bytes text,
                               struct config **out_config) MUST_USE;
struct config *config_free(struct config *config); /* wipes secrets; NULL gives NULL */
/*
 * The effective configuration as YAML that config_load() takes, secrets as "***" (which it refuses as a
 * key).
 */
void config_print(const struct config *config, struct buffer *out_text);
/* The tables of settings, providers and models as Markdown, for the reference page. */
void config_reference(struct buffer *out_text);
