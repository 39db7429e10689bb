#pragma once
/* What a worker must know of its cluster before it starts, and its name there. */
#include "broker/kafka/client.h"
#include "broker/ops/config.h"

struct cluster {
        struct kafka_property *items;
        struct kafka_properties properties;
        const char *group_id, *bootstrap; /* the configuration's */
        char id[64];
        char identity[640]; /* cluster, jobs topic and state topic: what a state directory belongs to */
        char name[64];      /* of this worker: stable, since it stands in its state directory */
        size_t jobs_bytes_max, results_bytes_max, dead_letters_bytes_max, state_bytes_max; /* of a record */
        uint32_t partitions;                                                               /* of the jobs */
        uint32_t audit_partitions; /* of the audit topic; 0: not used */
        int64_t session_ns;        /* session.timeout.ms */
        char message_max[24], batch_size[24];
};

/*
 * Connects once, and looks at the topics. ERROR_USAGE when a property is wrong, a topic is missing, or those
 * of jobs and state differ in partitions; says what to do.
 */
struct error *cluster_open(const struct config *config, struct cluster *out_cluster) MUST_USE;
void cluster_close(struct cluster *cluster);
/* Reads the worker's name from the state directory, or makes one. */
struct error *cluster_name(struct cluster *cluster, const char *state_directory) MUST_USE;
