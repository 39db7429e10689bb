#pragma once
/*
 * A job inside the engine: its state, its history, and its place in the queues. job_move() is the only way to
 * change the state and allows what schemas/states.def lists, nothing else.
 */
#include "broker/base/list.h"
#include "broker/base/pairing.h"
#include "broker/core/gate.h"
#include "broker/core/job_spec.h"
#include "broker/core/outcome.h"

enum job_state {
#define STATE(name, text, meaning) JOB_##name,
#define MOVE(from, to, when)
#include "schemas/states.def"
#undef STATE
#undef MOVE
        JOB_STATES_COUNT,
};

struct purse;

/* What is reserved with the budgets for the attempt that is opened, from OPENING to the end of the call. */
struct spend_reservation {
        bool open;
        bool journaled;      /* the journal's row of the attempt says so, and has not been told its end */
        struct purse *purse; /* from which, in that life of it */
        uint32_t life;
        uint32_t subjects[2]; /* UINT32_MAX: none */
        int64_t day, picousd;
};

struct job {
        /* WAITING: in one of the two queues of its class. READY: in its endpoint's. FREE: in the free list */
        struct list link;
        struct pairing_node node;
        int64_t due_unix_ms; /* of the spec; 0: none */
        uint64_t arrival;    /* its place among its equals */
        struct job_spec *spec;
        struct key128 key; /* spec->key, or spec->alias once it is a conflict */
        enum job_state state;
        uint32_t generation;
        bool conflict;
        bool contested; /* a conflict only because another job of that key was inside */
        bool pinned;    /* no fallbacks: `place` was asked first, and no other will be */
        bool early;     /* SLEEPING because of not_before */
        bool revoked;   /* SEEKING, OPENING: given up as soon as the answer is there */
        uint32_t job_class;
        uint32_t refused; /* bit per place of the class's route set: will not do this job */
        uint32_t tried;   /* bit per place: failed since the last back-off */
        uint32_t attempts, throttles, unusables, input_tries;
        int64_t admitted_ns;
        int64_t wake_ns;          /* SLEEPING: until then */
        int64_t resume_ns;        /* the latest wait that a provider asked for */
        int64_t deadline_ns;      /* INT64_MAX: none */
        uint32_t due_bucket;      /* WAITING, counted in its pool: the bucket and 1; else 0 */
        int64_t spent_picousd;    /* earlier attempts that may have been billed */
        bool spent_unknown;       /* some of them at an unknown price */
        uint32_t called_under;    /* engine.generation when the call began */
        uint32_t endpoint, place; /* from OPENING to the end of the call */
        uint8_t model;
        struct amounts amounts;                   /* that this call takes, or took, from the limits */
        int64_t exposure_picousd;                 /* of this call */
        int64_t call_unix_ms, call_until_unix_ms; /* CALLING: since when, and until when at the latest */
        struct spend_reservation reserved;
        struct outcome outcome; /* the last member: outcome_init() */
};

const char *job_state_text(enum job_state state);
bool job_may_move(enum job_state from, enum job_state to);
void job_move(struct job *job, enum job_state to);
