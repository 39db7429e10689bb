#pragma once
/*
 * A run in this process: the files, the store and a shard as `batchferry run` makes them, against a simulator
 * in a thread of its own. Everything lies in one fresh directory.
 */
#include "broker/cli/run_files.h"
#include "broker/loop/line_intake.h"
#include "broker/loop/shard.h"
#include "broker/ops/config.h"
#include "broker/sim/server.h"

#include <pthread.h>

struct world {
        char directory[64], input[80], output[80], errors[80], state[80];
        struct sim_server *sim;
        pthread_t sim_thread;
        struct config *config;
        const struct dialect *dialect;
        uint32_t in_flight;
        size_t memory_max;
        uint64_t jobs_limit;
        const char *source;        /* NULL: `input` */
        struct line_intake intake; /* of the last run */
        int64_t patience_ns;
        bool with_errors; /* failed jobs go to `errors` */
};

/* How a run ended. */
struct world_end {
        bool opened; /* the files; else `error` says why not */
        enum shard_end end;
        struct error *error; /* the caller's; NULL when it went well */
        uint64_t adopted;
        struct shard_progress progress;
};

/* What lines stand in an output, and what is wrong with them. */
struct world_lines {
        size_t whole, answered; /* answered: with a response */
        bool torn;              /* the last one does not end */
};

/* Called when the shard runs, with what to do to it; NULL for nothing. On a thread of its own. */
typedef void (*world_meddler)(void *userdata, struct shard *shard);

void world_open(struct world *world, int64_t latency_ns); /* of the simulator */
void world_close(struct world *world);
/* Removes the outputs and the state, and lets the simulator forget. */
void world_clear(struct world *world);
void world_write(const char *path, const char *text);
/* Text as read, with a zero behind it; the caller frees it. */
char *world_read(const char *path, size_t *out_size);

/* For a shard over these files; world_close_intake() after it. */
struct shard_options world_options(struct world *world, struct run_files *files, const char *const *keys);

void world_close_intake(struct world *world);

typedef int (*world_fault)(void *userdata, const char *operation);
struct world_end world_run(struct world *world, world_fault fault, void *userdata);
/* The same with everything: `opened` is set between opening the files and running. */
struct world_end world_run_with(struct world *world, world_fault fault, void *userdata, _Atomic bool *opened,
                                world_meddler meddler, void *meddler_userdata);

/* Checks that each line is a JSON object with an id that no other line has. */
struct world_lines world_check_lines(const char *path);
/* Checks that the store agrees with itself and holds so many settled rows and nothing of unknown outcome. */
void world_verify(const struct world *world, uint64_t settled);

/* Request to the simulator; the answer's body, which the caller frees. */
char *world_ask(const struct world *world, const char *method, const char *path, const char *body);
/* A number of GET /sim/stats. */
uint64_t world_count(const struct world *world, const char *name);
