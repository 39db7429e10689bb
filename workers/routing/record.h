#pragma once
/*
 * A decision's inputs as bytes, so that it can be decided again: what stands in a receipt's
 * `decision.replay` (there as base64url, broker/wire/decision.h). Everything that route_rank() and pick look
 * at besides the catalog and the seed, which the receipt says itself. One way to write it: canonical.
 *
 *   version          1 byte, RECORD_VERSION
 *   demand           mask, then a value for each bit of it in the order of schemas/decision_fields.def;
 *                    then the models: how many, and of each its size and its bytes
 *   moment           mask and values
 *   workspace        its ledger, where its budget bounds anything
 *   places           how many, and of each, in the order of the route set:
 *     endpoint       place in the configuration of that hash; CATALOG_ENDPOINTS_MAX: one that was there
 *                    before a reload, and is gone
 *     model          index in the demand's models
 *     rank           where it came out: 0 is the first candidate of the receipt
 *     state          mask and values
 *     provider       its ledger, where its budget bounds anything
 *
 * A ledger is a 1, its mask and values, how many risks, and of each the day, when it is released and how
 * much; or a 0: none. Its limits are the catalog's, or a part of them, and its periods those of the moment.
 *
 * A mask, a size, a count and an index are varints: 7 bits a byte, the lowest first, the eighth bit says that
 * another byte follows; as short as possible, at most 10 bytes. A bit of a mask says that the field on that
 * line of its part is not what it is `otherwise`; then there is a value for it:
 *   WHOLE  zigzag varint (0, -1, 1, -2 ... are 0, 1, 2, 3 ...)
 *   COUNT  varint
 *   FLAG   nothing: it is the other of the two
 *   REAL   the 8 bytes of the IEEE 754 double with the most significant one lowest, as a varint: the zeros at
 *          the end of a short fraction cost nothing
 *   WAIT   varint: nanoseconds from now on; 0 is never
 *   NAMES  varint: how many; and of each its size and its bytes
 *
 * Demand and models are written where the result is (the job is immutable); moment and places by the engine,
 * when it decides. Readers refuse what is not exactly this.
 */
#include "workers/routing/budget.h"
#include "workers/routing/merge.h"
#include "workers/routing/route.h"

enum {
        RECORD_VERSION = 1,
        RECORD_REAL_BITS = 16, /* significant bits that a REAL keeps: 5 digits, 4 bytes here */
        RECORD_NAME_MAX = 1024,
};

/* route_moment, and what the choice among the candidates looks at (broker/core/pick.h). */
struct decision_moment {
        struct route_moment route; /* its seed is not recorded here */
        uint32_t tried;            /* bit per place: failed since the last back-off */
        bool pressed;              /* half of the time until the deadline has gone */
        bool truncated;            /* of the route set */
        int64_t audio_ms;          /* the demand's at that time: it may be learned later */
        bool planned;              /* a plan says which places are worth using now */
        uint32_t worth;            /* those, a bit per place */
        int64_t plan_until_ns;     /* when there is another plan; not recorded */
};

/* What a record tells. Names point into the record, and states to the ledgers beside them. */
struct decision_inputs {
        struct demand demand;
        struct names_room room;                          /* of its lists */
        struct decision_moment moment;                   /* seed 0 */
        struct route_set set;                            /* endpoints and models; the rest by record_bind() */
        struct route_state states[ROUTE_CANDIDATES_MAX]; /* times count from now: now_ns is 0 */
        uint8_t ranks[ROUTE_CANDIDATES_MAX];             /* per place */
        struct ledger workspace, providers[ROUTE_CANDIDATES_MAX]; /* per place */
};

/* Bytes with a ceiling; `at` is NULL once something did not fit. */
struct record_writer {
        uint8_t *at, *end;
};

/* Rounds the measured values up to what a record keeps. Before deciding by them. */
void record_round(struct route_state *state);
/* Version and demand. */
void record_write_demand(struct record_writer *writer, const struct demand *from);
/*
 * The rest. `catalog` is the one in force; NULL: indexes are places in the configuration. `route` is what
 * came out; its candidates' places must be below set->count.
 */
void record_write_places(struct record_writer *writer, const struct catalog *catalog,
                         const struct decision_moment *moment, int64_t now_ns, const struct route_set *set,
                         const struct route_state *states, const struct route *route);
/* false when it is no whole record of this version. */
bool record_read(struct bytes record, struct decision_inputs *out_inputs);
/*
 * Completes what was read by the catalog under which it was decided: what its rules say of each place, and
 * the limits of budgets. Then it can be ranked. false when the catalog has no such endpoints, does not match
 * them with the demand, or has no such workspace.
 */
bool record_bind(const struct catalog *catalog, struct decision_inputs *inputs);
