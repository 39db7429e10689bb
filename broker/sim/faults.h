#pragma once
/*
 * Which request fails, and how: by rate (`--fault KIND:RATE`) or by script (a chosen request fails the
 * first few times). Pure: the draw for a rate is given, a hash of seed, request and how often it was seen.
 */
#include "broker/base/bytes.h"
#include "broker/base/error.h"
#include "broker/base/key.h"

struct yyjson_val;

enum sim_fault_kind {
        SIM_FAULT_NONE,
#define X(KIND, name, status, meaning) SIM_FAULT_##KIND,
#include "broker/sim/faults.def"
#undef X
        SIM_FAULT_KINDS
};

enum sim_fault_meaning { /* see faults.def */
                         SIM_FAULT_REFUSED,
                         SIM_FAULT_JUNK,
                         SIM_FAULT_SPOILED,
                         SIM_FAULT_TWISTED,
};

struct sim_fault {
        enum sim_fault_kind kind;
        double parameter; /* of usage-lie (a factor), huge-body and gzip-bomb (bytes) */
};

#define SIM_FAULT_RATES_MAX   64
#define SIM_FAULT_SCRIPTS_MAX 100000

struct sim_fault_rate {
        struct sim_fault fault;
        double rate;
};

struct sim_fault_script {
        struct sim_fault fault;
        struct bytes match; /* owned; empty: every request */
        uint64_t nth;       /* 0: each request that matches; else the nth new one of them */
        uint64_t times;     /* fails so often; 0: always */
        uint64_t matched;   /* new ones so far */
        bool chosen;        /* the nth has come: */
        struct key128 identity;
};

struct sim_faults {
        struct sim_fault_rate rates[SIM_FAULT_RATES_MAX];
        size_t rates_count;
        struct sim_fault_script *scripts;
        size_t scripts_count, scripts_capacity;
};

/* A request as the choice sees it. */
struct sim_fault_subject {
        struct key128 identity;
        uint32_t seen; /* times before this one */
        struct bytes job, body;
        double draw; /* [0, 1) */
};

void sim_faults_init(struct sim_faults *faults);
void sim_faults_deinit(struct sim_faults *faults);

/*
 * "KIND:RATE", "usage-lie:FACTOR:RATE", "huge-body:BYTES:RATE", "gzip-bomb:BYTES:RATE"; the rates together
 * are at most 1.
 */
struct error *sim_faults_add_rate(struct sim_faults *faults, struct bytes text) MUST_USE;
/*
 * {"match": text, "nth": number, "fault": "KIND" or "KIND:PARAMETER", "times": number}, all but fault
 * optional.
 */
struct error *sim_faults_add_script(struct sim_faults *faults, struct yyjson_val *rule) MUST_USE;
/* Lines of such rules; blank lines are skipped. */
struct error *sim_faults_add_script_lines(struct sim_faults *faults, struct bytes text) MUST_USE;
/*
 * {"faults": ["KIND:RATE", …], "script": [rule, …]}, both optional: replaces the set, or leaves it on
 * error.
 */
struct error *sim_faults_replace(struct sim_faults *faults, struct bytes json) MUST_USE;

/* Script first, in order, then rates. Counts what the script needs, so once per request. */
struct sim_fault sim_faults_pick(struct sim_faults *faults, const struct sim_fault_subject *subject);
/* By rate alone; counts nothing. */
struct sim_fault sim_faults_pick_rate(const struct sim_faults *faults, double draw);
void sim_faults_restart(struct sim_faults *faults); /* the script begins anew */

const char *sim_fault_name(enum sim_fault_kind kind);
int sim_fault_status(enum sim_fault_kind kind); /* 0 when no status is sent */
enum sim_fault_meaning sim_fault_meaning(enum sim_fault_kind kind);
