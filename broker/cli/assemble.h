#pragma once
/*
 * What `run` and `worker` make of a configuration in the same way: the parts of a shard's options, and what
 * the process needs for them.
 */
#include "broker/loop/shard.h"
#include "broker/ops/succession.h"
#include "broker/wire/job.h"

#include <limits.h>

struct assembly {
        const struct config *config;   /* the caller's */
        const struct catalog *catalog; /* the configuration's, or one that follows another */
        const char *const *keys;       /* per provider of it */
        const struct dialect *dialects[CATALOG_PROVIDERS_MAX];
        char file_root[PATH_MAX];
};

/*
 * ERROR_USAGE when there is no provider, or one of an unknown dialect. `succession` is how the configuration
 * follows another; NULL: it is the first.
 */
struct error *assemble(const struct config *config, const struct succession *succession,
                       struct assembly *out_assembly) MUST_USE;
/* Of a shard with so many calls in flight, of the process's `shards`. */
struct engine_config assemble_engine(const struct assembly *assembly, uint32_t in_flight, uint32_t shards);
struct calls_options assemble_calls(const struct assembly *assembly, uint32_t in_flight);
struct job_decoder_options assemble_decoder(const struct assembly *assembly, const char *batch);
/*
 * Between commits: what makes batches, of a busy run's results larger ones, whose attempts are opened ahead,
 * so that no call waits for it. A worker's calls do wait: larger batches would save it 1 us of CPU per job,
 * and cost a tenth of the jobs/s with 64 in flight, and 8 ms of the median latency.
 */
#define ASSEMBLE_COMMIT_SPACING_NS      (2 * NS_PER_MS)
#define ASSEMBLE_COMMIT_SPACING_BUSY_NS (20 * NS_PER_MS)
/* Allows as many open files as the calls in flight need, or says that the system does not. */
void assemble_descriptors(const struct assembly *assembly);
