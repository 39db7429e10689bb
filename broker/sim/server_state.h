#pragma once
/* What the server's files share: the server, and a call from its first header to its last byte. */
#include "broker/base/heap.h"
#include "broker/sim/server.h"
#include "broker/sim/stats.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_PostProcessor;

enum sim_call_state {
        SIM_CALL_READING,
        SIM_CALL_WAITING,  /* suspended until the answer is due */
        SIM_CALL_HANGING,  /* suspended for good, but for a look whether the client is still there */
        SIM_CALL_DUE,      /* resumed: answer now */
        SIM_CALL_SENDING,  /* the answer is queued */
        SIM_CALL_DRIPPING, /* suspended between two pieces of a slow body */
        SIM_CALL_ABORTED,  /* resumed only to be closed */
};

struct sim_call {
        struct sim_server *server;
        struct MHD_Connection *connection;
        struct MHD_PostProcessor *form_parser; /* NULL but for a form */
        const char *url;                       /* the connection's, alive as long as the call */
        uint32_t slot;
        enum sim_call_state state;
        bool control;     /* a path under /sim/ */
        bool get;         /* GET, else POST; anything else is refused */
        bool refused;     /* wrong path or method */
        bool in_flight;   /* counted in the statistics */
        bool admitted;    /* counted in the limits */
        bool whole;       /* what is being sent is a true and whole answer */
        uint32_t epoch;   /* of the statistics it began in */
        struct bytes job; /* x-batchferry-job; the connection's */
        struct key128 identity;
        struct sim_fault fault;
        struct sim_request request;
        int64_t received_ns;
        struct buffer slow; /* a body that is sent by our own reader */
        uint64_t slow_bytes;
        int64_t slow_next_ns;
};

struct sim_server {
        struct sim_server_options options;
        struct MHD_Daemon *daemon;
        bool stopping; /* nothing may be suspended any more */
        int epoll_fd;  /* the daemon's */
        int stop_fd;   /* an eventfd */
        uint16_t port;
        uint64_t answers; /* numbers the request ids */
        uint32_t epoch;   /* counts the resets: what began before one is not counted after it */
        struct sim_stats stats;
        struct sim_identities identities;
        struct sim_limits limits;
        struct sim_faults faults;
        struct heap timers;      /* by slot */
        struct sim_call **calls; /* by slot; kept for the next call */
        uint32_t *slots_free;
        size_t slots_free_count, slots_used, slots_max;
};

/* A call takes a slot and gives it back; NULL when there is none, which the connection limit prevents. */
struct sim_call *sim_server_take_call(struct sim_server *server);
void sim_server_give_call(struct sim_server *server, struct sim_call *call);
/* Suspends the call's connection; sim_exchange_timer() is called when the time has come. */
void sim_server_suspend(struct sim_server *server, struct sim_call *call, int64_t until_ns);
