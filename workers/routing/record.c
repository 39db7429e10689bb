/*
 * See the header for the format. The parts are written and read by code that the table makes, a line per
 * field: first the mask is put together, then the values that it names. Nothing here allocates.
 */
#include "workers/routing/record.h"

#include "broker/base/check.h"

#include <string.h>

enum { VARINT_BYTES_MAX = 10 };

/* ---- writing ---- */

static void put_varint(struct record_writer *writer, uint64_t value) {
        uint8_t *at = writer->at;
        if (at == NULL || writer->end - at < VARINT_BYTES_MAX) {
                writer->at = NULL;
                return;
        }
        for (; value >= 0x80; value >>= 7)
                *at++ = (uint8_t)(value | 0x80);
        *at++ = (uint8_t)value;
        writer->at = at;
}

static void put_bytes(struct record_writer *writer, struct bytes bytes) {
        put_varint(writer, bytes.size);
        if (writer->at == NULL || (size_t)(writer->end - writer->at) < bytes.size) {
                writer->at = NULL;
                return;
        }
        if (bytes.size > 0)
                memcpy(writer->at, bytes.data, bytes.size);
        writer->at += bytes.size;
}

static uint64_t zigzag(int64_t value) {
        return (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
}

/* 0: never. */
static uint64_t wait_of(int64_t when_ns, int64_t now_ns) {
        return when_ns == INT64_MAX ? 0 : (uint64_t)(when_ns - now_ns);
}

static uint64_t real_bits(double value) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        return bits;
}

static void put_names(struct record_writer *writer, const struct names *names) {
        put_varint(writer, names->count);
        for (uint32_t i = 0; i < names->count; i++)
                put_bytes(writer, names->items[i]);
}

#define SAID_WHOLE(value, otherwise)         ((value) != (otherwise))
#define SAID_COUNT(value, otherwise)         ((value) != (otherwise))
#define SAID_FLAG(value, otherwise)          ((value) != (otherwise))
#define SAID_REAL(value, otherwise)          ((value) != (otherwise))
#define SAID_WAIT(value, otherwise)          ((value) > now_ns)
#define SAID_NAMES(value, otherwise)         ((value).count > (otherwise))

#define PUT_WHOLE(value)                     put_varint(writer, zigzag((int64_t)(value)))
#define PUT_COUNT(value)                     put_varint(writer, (uint64_t)(value))
#define PUT_FLAG(value)                      (void)0
#define PUT_REAL(value)                      put_varint(writer, __builtin_bswap64(real_bits(value)))
#define PUT_WAIT(value)                      put_varint(writer, wait_of((value), now_ns))
#define PUT_NAMES(value)                     put_names(writer, &(value))

#define MASK(member, type, otherwise, bound) mask |= (uint64_t)SAID_##type(from->member, otherwise) << bit++;
#define VALUE(member, type, otherwise, bound)                                                                \
        if (mask >> bit++ & 1U)                                                                              \
                PUT_##type(from->member);

static void write_moment(struct record_writer *writer, const struct decision_moment *from) {
        unsigned bit = 0;
        uint64_t mask = 0;
#define MOMENT MASK
#include "schemas/decision_fields.def"
        put_varint(writer, mask);
        bit = 0;
#define MOMENT VALUE
#include "schemas/decision_fields.def"
}

static void write_ledger(struct record_writer *writer, const struct ledger *from) {
        unsigned bit = 0;
        uint64_t mask = 0;
        bool said = from != NULL && ledger_bounded(from);
        put_varint(writer, said);
        if (!said)
                return;
#define LEDGER MASK
#include "schemas/decision_fields.def"
        put_varint(writer, mask);
        bit = 0;
#define LEDGER VALUE
#include "schemas/decision_fields.def"
        put_varint(writer, from->spend.risks_count);
        for (uint32_t i = 0; i < from->spend.risks_count; i++) {
                put_varint(writer, (uint64_t)from->spend.risks[i].day);
                put_varint(writer, (uint64_t)from->spend.risks[i].release_unix_ms);
                put_varint(writer, (uint64_t)from->spend.risks[i].picousd);
        }
}

static void write_state(struct record_writer *writer, const struct route_state *from, int64_t now_ns) {
        unsigned bit = 0;
        uint64_t mask = 0;
#define PLACE MASK
#include "schemas/decision_fields.def"
        put_varint(writer, mask);
        bit = 0;
#define PLACE VALUE
#include "schemas/decision_fields.def"
}

void record_write_demand(struct record_writer *writer, const struct demand *from) {
        unsigned bit = 0;
        uint64_t mask = 0;
        put_varint(writer, RECORD_VERSION);
#define DEMAND MASK
#include "schemas/decision_fields.def"
        put_varint(writer, mask);
        bit = 0;
#define DEMAND VALUE
#include "schemas/decision_fields.def"
        put_varint(writer, from->models_count);
        for (uint32_t i = 0; i < from->models_count; i++)
                put_bytes(writer, from->models[i]);
}

void record_write_places(struct record_writer *writer, const struct catalog *catalog,
                         const struct decision_moment *moment, int64_t now_ns, const struct route_set *set,
                         const struct route_state *states, const struct route *route) {
        uint8_t ranks[ROUTE_CANDIDATES_MAX] = {0};
        CHECK(set->count <= ROUTE_CANDIDATES_MAX && route->count == set->count);
        for (uint32_t i = 0; i < route->count; i++) {
                CHECK(route->candidates[i].place < set->count);
                ranks[route->candidates[i].place] = (uint8_t)i;
        }
        write_moment(writer, moment);
        write_ledger(writer, set->count > 0 ? states[0].budgets[0] : NULL);
        put_varint(writer, set->count);
        for (uint32_t place = 0; place < set->count; place++) {
                uint32_t index = set->endpoints[place];
                uint32_t listed = catalog ? catalog_listed(catalog, index) : index;
                put_varint(writer, listed == ENDPOINT_GONE ? CATALOG_ENDPOINTS_MAX : listed);
                put_varint(writer, set->models[place]);
                put_varint(writer, ranks[place]);
                write_state(writer, &states[place], now_ns);
                write_ledger(writer, states[place].budgets[1]);
        }
}

/* Upwards, so that a calibrated estimate stays an upper one. What is no number, or not above 0, stays. */
static double rounded(double value) {
        const uint64_t rest = (UINT64_C(1) << (53 - RECORD_REAL_BITS)) - 1;
        if (!(value > 0 && value < 9e18))
                return value;
        uint64_t bits = (real_bits(value) + rest) & ~rest;
        memcpy(&value, &bits, sizeof value);
        return value;
}

#define ROUND_WHOLE(member)
#define ROUND_COUNT(member)
#define ROUND_FLAG(member)
#define ROUND_WAIT(member)
#define ROUND_REAL(member) state->member = rounded(state->member);

void record_round(struct route_state *state) {
#define PLACE(member, type, otherwise, bound) ROUND_##type(member)
#include "schemas/decision_fields.def"
}

/* ---- reading ---- */

/* `bad` once something was not as it must be; then what is given is 0. */
struct record_reader {
        const char *at, *end;
        bool bad;
        struct names_room *room;
};

static uint64_t take_varint(struct record_reader *reader, uint64_t bound) {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
                uint8_t byte = (uint8_t)*reader->at++;
                if (shift == 63 && byte > 1)
                        break;
                value |= (uint64_t)(byte & 0x7f) << shift;
                if (byte & 0x80)
                        continue;
                if (value > bound || (byte == 0 && shift > 0))
                        break;
                return value;
        }
        reader->bad = true;
        return 0;
}

static struct bytes take_bytes(struct record_reader *reader) {
        uint64_t size = take_varint(reader, RECORD_NAME_MAX);
        if ((uint64_t)(reader->end - reader->at) < size) {
                reader->bad = true;
                return BYTES("");
        }
        struct bytes bytes = {reader->at, (size_t)size};
        reader->at += size;
        return bytes;
}

static int64_t take_whole(struct record_reader *reader) {
        uint64_t value = take_varint(reader, UINT64_MAX);
        return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static double take_real(struct record_reader *reader) {
        uint64_t bits = __builtin_bswap64(take_varint(reader, UINT64_MAX));
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
}

static int64_t take_wait(struct record_reader *reader) {
        uint64_t wait_ns = take_varint(reader, INT64_MAX - 1);
        return wait_ns == 0 ? INT64_MAX : (int64_t)wait_ns;
}

/* As they were written, twice or not. */
static struct names take_names(struct record_reader *reader) {
        struct names_room *room = reader->room;
        struct names names = {&room->items[room->used], (uint8_t)take_varint(reader, PREFS_NAMES_MAX)};
        CHECK(room->used + names.count <= NAMES_ROOM_MAX);
        for (uint32_t i = 0; i < names.count; i++)
                room->items[room->used++] = take_bytes(reader);
        return names;
}

/* A number that the field cannot hold, or one that is what it is otherwise, was not written by us. */
#define TAKE_WHOLE(field, otherwise, bound)                                                                  \
        do {                                                                                                 \
                int64_t taken = take_whole(reader);                                                          \
                (field) = (__typeof__(field))taken;                                                          \
                reader->bad = reader->bad || (field) != taken || (field) == (otherwise);                     \
        } while (0)
#define TAKE_COUNT(field, otherwise, bound)                                                                  \
        do {                                                                                                 \
                (field) = (__typeof__(field))take_varint(reader, (uint64_t)(bound));                         \
                reader->bad = reader->bad || (field) == (otherwise);                                         \
        } while (0)
#define TAKE_FLAG(field, otherwise, bound) (field) = !(otherwise)
#define TAKE_REAL(field, otherwise, bound)                                                                   \
        do {                                                                                                 \
                (field) = take_real(reader);                                                                 \
                reader->bad = reader->bad || (field) == (otherwise);                                         \
        } while (0)
#define TAKE_WAIT(field, otherwise, bound) (field) = take_wait(reader)
#define TAKE_NAMES(field, otherwise, bound)                                                                  \
        do {                                                                                                 \
                (field) = take_names(reader);                                                                \
                reader->bad = reader->bad || (field).count == (otherwise);                                   \
        } while (0)

#define INIT_WHOLE(field, otherwise) (field) = (otherwise)
#define INIT_COUNT(field, otherwise) (field) = (otherwise)
#define INIT_FLAG(field, otherwise)  (field) = (otherwise)
#define INIT_REAL(field, otherwise)  (field) = (otherwise)
#define INIT_WAIT(field, otherwise)  (field) = (otherwise)
#define INIT_NAMES(field, otherwise) (field).count = (otherwise)

#define TAKE(member, type, otherwise, bound)                                                                 \
        INIT_##type(out->member, otherwise);                                                                 \
        if (mask >> bit++ & 1U)                                                                              \
                TAKE_##type(out->member, otherwise, bound);
#define END_MASK                                                                                             \
        if (bit < 64 && mask >> bit != 0)                                                                    \
                reader->bad = true;

static void read_moment(struct record_reader *reader, struct decision_moment *out) {
        uint64_t mask = take_varint(reader, UINT64_MAX);
        unsigned bit = 0;
#define MOMENT TAKE
#include "schemas/decision_fields.def"
        END_MASK
}

static void read_state(struct record_reader *reader, struct route_state *out) {
        uint64_t mask = take_varint(reader, UINT64_MAX);
        unsigned bit = 0;
#define PLACE TAKE
#include "schemas/decision_fields.def"
        END_MASK
}

static void read_demand(struct record_reader *reader, struct demand *out) {
        uint64_t mask = take_varint(reader, UINT64_MAX);
        unsigned bit = 0;
#define DEMAND TAKE
#include "schemas/decision_fields.def"
        END_MASK
        out->models_count = (uint8_t)take_varint(reader, DEMAND_MODELS_MAX);
        for (uint32_t i = 0; i < out->models_count; i++)
                out->models[i] = take_bytes(reader);
}

/* false: none. */
static bool read_ledger(struct record_reader *reader, struct ledger *out) {
        if (take_varint(reader, 1) == 0)
                return false;
        uint64_t mask = take_varint(reader, UINT64_MAX);
        unsigned bit = 0;
#define LEDGER TAKE
#include "schemas/decision_fields.def"
        END_MASK
        out->spend.risks_count = (uint32_t)take_varint(reader, BUDGET_RISKS_MAX);
        for (uint32_t i = 0; i < out->spend.risks_count; i++) {
                out->spend.risks[i].day = (int64_t)take_varint(reader, INT32_MAX);
                out->spend.risks[i].release_unix_ms = (int64_t)take_varint(reader, INT64_MAX);
                out->spend.risks[i].picousd = (int64_t)take_varint(reader, INT64_MAX);
        }
        return true;
}

static void read_place(struct record_reader *reader, struct decision_inputs *out, uint32_t place) {
        uint32_t listed = (uint32_t)take_varint(reader, CATALOG_ENDPOINTS_MAX);
        out->set.endpoints[place] = listed == CATALOG_ENDPOINTS_MAX ? ENDPOINT_GONE : listed;
        out->set.models[place] = (uint8_t)take_varint(reader, DEMAND_MODELS_MAX - 1);
        out->ranks[place] = (uint8_t)take_varint(reader, out->set.count - 1);
        if (out->set.models[place] >= out->demand.models_count)
                reader->bad = true;
        read_state(reader, &out->states[place]);
        if (read_ledger(reader, &out->providers[place]))
                out->states[place].budgets[1] = &out->providers[place];
}

static void read_places(struct record_reader *reader, struct decision_inputs *out) {
        uint32_t ranked = 0;
        bool counted = read_ledger(reader, &out->workspace);
        out->set.count = (uint32_t)take_varint(reader, ROUTE_CANDIDATES_MAX);
        out->set.truncated = out->moment.truncated;
        for (uint32_t place = 0; place < out->set.count && !reader->bad; place++) {
                read_place(reader, out, place);
                reader->bad = reader->bad || (ranked >> out->ranks[place] & 1U);
                ranked |= 1U << out->ranks[place];
                if (counted)
                        out->states[place].budgets[0] = &out->workspace;
        }
        reader->bad = reader->bad || (counted && out->set.count == 0);
}

bool record_read(struct bytes record, struct decision_inputs *out_inputs) {
        struct record_reader reader = {record.data, record.data, false, &out_inputs->room};
        memset(out_inputs, 0, sizeof *out_inputs);
        if (record.size == 0)
                return false;
        reader.end += record.size;
        if (take_varint(&reader, UINT64_MAX) != RECORD_VERSION)
                return false;
        read_demand(&reader, &out_inputs->demand);
        /* what rules have said of it is part of what holds */
        out_inputs->demand.prefs.max_cost_picousd = out_inputs->demand.max_cost_picousd;
        read_moment(&reader, &out_inputs->moment);
        out_inputs->demand.audio_ms = out_inputs->moment.audio_ms;
        read_places(&reader, out_inputs);
        return !reader.bad && reader.at == reader.end;
}

/* ---- under a catalog ---- */

/* By the rules; whether the catalog matches such a place now does not matter. */
static bool bind_place(const struct catalog *catalog, const struct demand *demand, struct route_set *set,
                       uint32_t place) {
        uint32_t index = set->endpoints[place];
        set->excluded_by[place] = EXCLUSION_WRONG_ENDPOINT;
        set->facts[place] = 0;
        if (index == ENDPOINT_GONE)
                return true;
        if (index >= catalog->endpoints_count)
                return false;
        route_set_rules(catalog, demand, set, place);
        return true;
}

static bool has_place(const struct route_set *set, uint32_t endpoint, uint8_t model) {
        for (uint32_t i = 0; i < set->count; i++)
                if (set->endpoints[i] == endpoint && set->models[i] == model)
                        return true;
        return false;
}

/*
 * Places that match are those of the record. It may have more that serve the job no longer: they were there
 * before a reload. Of more than fit, which ones were kept went by the order in which they were then.
 */
static bool same_places(const struct route_set *whole, const struct route_set *set, bool pinned) {
        for (uint32_t i = 0; i < set->count && !whole->truncated; i++)
                if (set->excluded_by[i] != EXCLUSION_WRONG_ENDPOINT &&
                    !has_place(whole, set->endpoints[i], set->models[i]))
                        return false;
        for (uint32_t i = 0; i < whole->count && !set->truncated && !pinned; i++)
                if (!has_place(set, whole->endpoints[i], whole->models[i]))
                        return false;
        return true;
}

/* The limits of that subject, and the periods of the moment, under what was spent. */
static bool bind_ledger(const struct catalog *catalog, uint32_t subject, int64_t now_unix_ms,
                        struct ledger *ledger) {
        struct ledger bound;
        budget_subject_ledger(catalog, subject, &bound);
        if (!ledger_takes_share(&bound.limit, ledger->part, ledger->whole))
                return false;
        ledger_share(ledger, &bound.limit, ledger->part, ledger->whole);
        ledger->fails = bound.fails;
        ledger->spend.days[0].number = budget_day(now_unix_ms);
        ledger->spend.months[0].number = budget_month(budget_day(now_unix_ms));
        ledger->spend.days[1].number = ledger->spend.months[1].number = BUDGET_NO_PERIOD;
        return true;
}

static bool bind_budgets(const struct catalog *catalog, struct decision_inputs *inputs) {
        int64_t now_unix_ms = inputs->moment.route.now_unix_ms;
        uint32_t workspaces = catalog->workspaces_count;
        if (inputs->demand.workspace > 0 && inputs->demand.workspace >= workspaces)
                return false;
        bool counted = inputs->set.count > 0 && inputs->states[0].budgets[0] != NULL;
        if (counted && workspaces == 0)
                return false;
        if (counted && !bind_ledger(catalog, inputs->demand.workspace, now_unix_ms, &inputs->workspace))
                return false;
        for (uint32_t place = 0; place < inputs->set.count; place++) {
                if (inputs->states[place].budgets[1] == NULL || inputs->set.endpoints[place] == ENDPOINT_GONE)
                        continue;
                uint32_t provider = catalog->endpoints[inputs->set.endpoints[place]].provider;
                if (!bind_ledger(catalog, workspaces + provider, now_unix_ms, &inputs->providers[place]))
                        return false;
        }
        return true;
}

/* For a job without fallbacks that was called before, the one place that it may go to. */
bool record_bind(const struct catalog *catalog, struct decision_inputs *inputs) {
        struct route_set whole;
        struct route_set *set = &inputs->set;
        for (uint32_t place = 0; place < set->count; place++)
                if (!bind_place(catalog, &inputs->demand, set, place))
                        return false;
        route_match(catalog, &inputs->demand, &whole);
        bool pinned = set->count == 1 && !inputs->demand.prefs.allow_fallbacks;
        return same_places(&whole, set, pinned) && bind_budgets(catalog, inputs);
}
