#include "broker/cli/assemble.h"

#include "broker/base/time.h"
#include "broker/cli/say.h"
#include "workers/providers/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
        /* attempts journaled before they can be sent; unknown after a crash, so not too many */
        OPEN_AHEAD = 256,
        JOBS_AHEAD = 4096, /* jobs in memory beyond those in flight and a quarter more */
        FDS_SPARE = 512,   /* descriptors beyond one per call: RocksDB, files, brokers, event loops */
};

/* file: URLs are absolute, so a directory named from here must be too. */
static void name_file_root(struct assembly *assembly) {
        const char *named = assembly->config->settings.fetch_file_root;
        if (*named == '/' || !realpath(named, assembly->file_root))
                snprintf(assembly->file_root, sizeof(assembly->file_root), "%s", named);
}

struct error *assemble(const struct config *config, const struct succession *succession,
                       struct assembly *out_assembly) {
        const struct catalog *catalog = succession ? &succession->catalog : &config->catalog;
        struct assembly assembly = {
                .config = config, .catalog = catalog, .keys = succession ? succession->keys : config->keys};
        if (config->catalog.endpoints_count == 0)
                return error_new(
                        ERROR_USAGE,
                        "no provider is configured: give --base-url URL (its key in OPENAI_API_KEY or "
                        "--api-key-env NAME), or a configuration with -c FILE; `batchferry sim` is one to "
                        "try");
        for (uint32_t i = 0; i < catalog->providers_count; i++) {
                assembly.dialects[i] = dialect_find(bytes_of(catalog->providers[i].dialect));
                if (!assembly.dialects[i])
                        return error_new(ERROR_USAGE, "provider %s: there is no dialect \"%s\"",
                                         catalog->providers[i].name, catalog->providers[i].dialect);
        }
        name_file_root(&assembly);
        *out_assembly = assembly;
        return NULL;
}

struct engine_config assemble_engine(const struct assembly *assembly, uint32_t in_flight, uint32_t shards) {
        const struct settings *settings = &assembly->config->settings;
        return (struct engine_config){.jobs_max = in_flight + in_flight / 4 + JOBS_AHEAD,
                                      .in_flight_max = in_flight,
                                      .open_ahead = OPEN_AHEAD / shards > 0 ? OPEN_AHEAD / shards : 1,
                                      .attempts_max = (uint32_t)settings->retry_attempts,
                                      .backoff_base_ns = settings->retry_base,
                                      .backoff_cap_ns = settings->retry_cap,
                                      .retry_share = settings->retry_budget,
                                      .call_timeout_ns = settings->timeout_total,
                                      .seed = (uint64_t)clock_now_unix_ms()};
}

struct job_decoder_options assemble_decoder(const struct assembly *assembly, const char *batch) {
        return (struct job_decoder_options){.batch = batch,
                                            .job_bytes_max = (size_t)assembly->config->settings.job_bytes,
                                            .prefs_default = &assembly->config->prefs,
                                            .workspaces = assembly->catalog->workspaces,
                                            .workspaces_count = assembly->catalog->workspaces_count};
}

struct calls_options assemble_calls(const struct assembly *assembly, uint32_t in_flight) {
        const struct settings *settings = &assembly->config->settings;
        return (struct calls_options){
                .dialects = assembly->dialects,
                .keys = assembly->keys,
                .http = {.calls_max = in_flight,
                         .connect_timeout_ns = settings->timeout_connect,
                         .low_speed_ns = settings->timeout_low_speed,
                         .ca_file = settings->ca_file[0] ? settings->ca_file : NULL,
                         .http2 = settings->http2},
                .fetch = {.allow_https = assembly->config->fetch_https,
                          .allow_http = assembly->config->fetch_http,
                          .allow_file = assembly->config->fetch_file,
                          .file_root = assembly->file_root,
                          .allow_private_addresses = strcmp(settings->fetch_private_addresses, "allow") == 0,
                          .bytes_max = settings->fetch_bytes,
                          .timeout_ns = settings->timeout_total,
                          .connect_timeout_ns = settings->timeout_connect,
                          .fetches_max = 64},
                .response_max = (size_t)settings->response_bytes,
        };
}

void assemble_descriptors(const struct assembly *assembly) {
        struct rlimit limit;
        rlim_t wanted = (rlim_t)assembly->config->settings.in_flight + FDS_SPARE;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        if (limit.rlim_cur < wanted) {
                limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (limit.rlim_cur < wanted)
                say(LOG_LEVEL_WARNING,
                    "the system allows %llu open files, which is less than %lld calls need; "
                    "some will wait (ulimit -n)",
                    (unsigned long long)limit.rlim_cur, (long long)assembly->config->settings.in_flight);
}
