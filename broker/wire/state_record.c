/*
 * A record and its bytes meet in struct fields: one value for each name of the table, with a bit that says
 * whether it is there. Bytes are turned into it and out of it by the types of the table, kinds by assignment.
 *
 * A value, byte by byte: a map; its first member is "v", the version, 1 now; then "t", the kind: "s" settled,
 * "p" parked, "b" begun, "o" owner, "m" spend; then the rest in any order. A member that is at its default is
 * left out: numbers and texts that are not known, false, a list without elements. Names are str of 1 or 2
 * bytes. Lists are flat: of headers name (str), value (bin, or nil for a null header), and again; of usage
 * name (str), requests (uint), tokens (uint), and again; of a spend periods (number and picodollars, of two
 * days and two months), risks (day, release, picodollars) and what is allowed besides (day, picodollars).
 */
#include "broker/wire/state_record.h"

#include "broker/base/check.h"
#include "broker/wire/digest.h"
#include "broker/wire/msgpack_reader.h"

#include <msgpack/pack.h>
#include <string.h>

enum {
        STATE_VERSION = 1,
        HEADER_PARTS = 2,
        USAGE_PARTS = 3,
        KEY_BYTES = 16,
        PERIODS = 4,
        PERIOD_PARTS = 2,
        RISK_PARTS = 3,
        ALLOWED_PARTS = 2,
        NUMBERS_MAX = RISK_PARTS * BUDGET_RISKS_MAX,
};

_Static_assert(DIGEST_BYTES == 32, "a fingerprint is 32 bytes in the state topic");

enum field {
#define STATE_FIELD(name, text, type) FIELD_##name,
#include "schemas/state_fields.def"
#undef STATE_FIELD
        FIELDS_COUNT,
};

enum type {
        TYPE_UINT,
        TYPE_INT,
        TYPE_COUNT,
        TYPE_MONEY,
        TYPE_BOOL,
        TYPE_TEXT,
        TYPE_BYTES,
        TYPE_KEY,
        TYPE_HASH,
        TYPE_HEADERS,
        TYPE_USAGE,
        TYPE_NUMBERS
};

static const struct bytes field_names[FIELDS_COUNT] = {
#define STATE_FIELD(name, text, type) {text, sizeof(text) - 1},
#include "schemas/state_fields.def"
#undef STATE_FIELD
};

static const uint8_t field_types[FIELDS_COUNT] = {
#define STATE_FIELD(name, text, type) TYPE_##type,
#include "schemas/state_fields.def"
#undef STATE_FIELD
};

_Static_assert(FIELDS_COUNT <= 32, "a field is a bit of 32");

#define BIT(name) (UINT32_C(1) << FIELD_##name)

static const struct {
        struct bytes text;
        uint32_t required;
} kinds[STATE_KINDS_COUNT] = {
        [STATE_SETTLED] = {{"s", 1}, BIT(KEY) | BIT(FINGERPRINT) | BIT(OFFSET) | BIT(ATTEMPTS) | BIT(AT)},
        [STATE_PARKED] = {{"p", 1},
                          BIT(KEY) | BIT(FINGERPRINT) | BIT(OFFSET) | BIT(ATTEMPTS) | BIT(AT) | BIT(DUE)},
        [STATE_BEGUN] = {{"b", 1},
                         BIT(KEY) | BIT(FINGERPRINT) | BIT(OFFSET) | BIT(ATTEMPTS) | BIT(NAME) | BIT(AT)},
        [STATE_OWNER] = {{"o", 1}, BIT(NAME) | BIT(AT)},
        [STATE_SPEND] = {{"m", 1}, BIT(NAME) | BIT(AT) | BIT(MONEY) | BIT(PERIODS)},
};

struct numbers {
        int64_t items[NUMBERS_MAX];
        size_t count;
};

struct fields {
        uint32_t there;
        unsigned last; /* read */
        struct msgpack_part parts[FIELDS_COUNT];
        uint8_t key[KEY_BYTES]; /* while writing */
        const struct job_header *headers;
        const struct state_usage *usage;
        size_t headers_count, usage_count;
        struct numbers periods, risks, allowed;
};

static struct numbers *numbers_of(struct fields *fields, enum field field) {
        return field == FIELD_PERIODS ? &fields->periods
               : field == FIELD_RISKS ? &fields->risks
                                      : &fields->allowed;
}

/* ---- from a record ---- */

static void set_uint(struct fields *fields, enum field field, uint64_t number) {
        fields->parts[field].uint = number;
        fields->there |= UINT32_C(1) << field;
}

static void set_int(struct fields *fields, enum field field, int64_t number) {
        fields->parts[field].sint = number;
        fields->there |= UINT32_C(1) << field;
}

static void set_true(struct fields *fields, enum field field, bool value) {
        fields->parts[field].boolean = value;
        if (value)
                fields->there |= UINT32_C(1) << field;
}

static void set_bytes(struct fields *fields, enum field field, struct bytes bytes) {
        fields->parts[field].bytes = bytes;
        fields->there |= UINT32_C(1) << field;
}

/* A character may lose its end: names are compared and shown, and have no such length. */
static struct bytes cut(struct bytes name) {
        return (struct bytes){name.data, name.size < STATE_NAME_BYTES_MAX ? name.size : STATE_NAME_BYTES_MAX};
}

static void set_money(struct fields *fields, bool known, int64_t picousd) {
        CHECK(!known || picousd >= 0);
        if (known)
                set_int(fields, FIELD_MONEY, picousd);
}

static void set_job(struct fields *fields, struct key128 key, const uint8_t fingerprint[DIGEST_BYTES],
                    uint64_t offset) {
        key128_to_bytes(key, fields->key);
        set_bytes(fields, FIELD_KEY, (struct bytes){(const char *)fields->key, KEY_BYTES});
        set_bytes(fields, FIELD_FINGERPRINT, (struct bytes){(const char *)fingerprint, DIGEST_BYTES});
        set_uint(fields, FIELD_OFFSET, offset);
}

static void from_settled(const struct state_settled *settled, struct fields *fields) {
        set_job(fields, settled->key, settled->fingerprint, settled->offset);
        if (settled->failure != FAILURE_NONE)
                set_bytes(fields, FIELD_FAILURE, bytes_of(failure_text(settled->failure)));
        if (settled->status != 0)
                set_int(fields, FIELD_STATUS, settled->status);
        set_uint(fields, FIELD_ATTEMPTS, settled->attempts);
        set_money(fields, settled->cost_known, settled->cost_picousd);
        set_true(fields, FIELD_ESTIMATE, settled->cost_is_estimate);
        set_true(fields, FIELD_DEAD_LETTER, settled->dead_letter);
        set_int(fields, FIELD_AT, settled->at_unix_ms);
}

static void from_parked(const struct state_parked *parked, struct fields *fields) {
        const struct job_record *record = &parked->record;
        set_job(fields, parked->key, parked->fingerprint, record->offset);
        set_uint(fields, FIELD_ATTEMPTS, parked->attempts);
        set_money(fields, parked->spent_known, parked->spent_picousd);
        set_int(fields, FIELD_AT, parked->at_unix_ms);
        set_int(fields, FIELD_DUE, parked->due_unix_ms);
        if (record->has_key)
                set_bytes(fields, FIELD_RECORD_KEY, record->key);
        if (record->has_value)
                set_bytes(fields, FIELD_RECORD_VALUE, record->value);
        CHECK(record->headers_count <= STATE_HEADERS_MAX);
        fields->headers = record->headers;
        fields->headers_count = record->headers_count;
        if (record->headers_count > 0)
                fields->there |= BIT(RECORD_HEADERS);
        set_int(fields, FIELD_RECORD_TIME, record->timestamp_unix_ms);
}

static void from_begun(const struct state_begun *begun, struct fields *fields) {
        set_job(fields, begun->key, begun->fingerprint, begun->offset);
        set_uint(fields, FIELD_ATTEMPTS, begun->attempt);
        set_money(fields, begun->exposure_known, begun->exposure_picousd);
        set_int(fields, FIELD_AT, begun->at_unix_ms);
        set_bytes(fields, FIELD_NAME, cut(begun->endpoint));
}

static void from_owner(const struct state_owner *owner, struct fields *fields) {
        set_int(fields, FIELD_AT, owner->since_unix_ms);
        set_bytes(fields, FIELD_NAME, cut(owner->member));
        set_true(fields, FIELD_RELEASED, owner->released);
        CHECK(owner->usage_count <= STATE_USAGE_MAX);
        fields->usage = owner->usage;
        fields->usage_count = owner->usage_count;
        if (owner->usage_count > 0)
                fields->there |= BIT(USAGE);
        if (owner->quotas.size > 0)
                set_bytes(fields, FIELD_QUOTAS, owner->quotas);
}

static void add_number(struct fields *fields, enum field field, int64_t number) {
        struct numbers *numbers = numbers_of(fields, field);
        CHECK(numbers->count < NUMBERS_MAX);
        numbers->items[numbers->count++] = number;
        fields->there |= UINT32_C(1) << field;
}

static void add_sums(struct fields *fields, const struct budget_sum sums[2]) {
        for (int i = 0; i < 2; i++) {
                add_number(fields, FIELD_PERIODS, sums[i].number);
                add_number(fields, FIELD_PERIODS, sums[i].settled_picousd);
        }
}

static void from_spend(const struct state_spend *record, struct fields *fields) {
        const struct budget_spend *spend = &record->spend;
        set_int(fields, FIELD_AT, record->at_unix_ms);
        set_bytes(fields, FIELD_NAME, cut(record->name));
        set_true(fields, FIELD_PROVIDER, record->provider);
        set_money(fields, true, spend->lifetime_picousd);
        fields->periods.count = fields->risks.count = fields->allowed.count = 0;
        add_sums(fields, spend->days);
        add_sums(fields, spend->months);
        for (uint32_t i = 0; i < spend->risks_count; i++) {
                add_number(fields, FIELD_RISKS, spend->risks[i].day);
                add_number(fields, FIELD_RISKS, spend->risks[i].release_unix_ms);
                add_number(fields, FIELD_RISKS, spend->risks[i].picousd);
        }
        for (int i = 0; i < 2; i++) {
                if (record->allowed[i].picousd == 0)
                        continue;
                add_number(fields, FIELD_ALLOWED, record->allowed[i].day);
                add_number(fields, FIELD_ALLOWED, record->allowed[i].picousd);
        }
}

/* ---- to bytes ---- */

static int write_packed(void *userdata, const char *data, size_t size) {
        buffer_append(userdata, data, size);
        return 0; /* the buffer remembers */
}

static void pack_text(msgpack_packer *packer, struct bytes text) {
        msgpack_pack_str_with_body(packer, text.data, text.size);
}

static void pack_bytes(msgpack_packer *packer, struct bytes bytes) {
        msgpack_pack_bin_with_body(packer, bytes.data, bytes.size);
}

static void pack_headers(msgpack_packer *packer, const struct fields *fields) {
        msgpack_pack_array(packer, fields->headers_count * HEADER_PARTS);
        for (size_t i = 0; i < fields->headers_count; i++) {
                pack_text(packer, fields->headers[i].name);
                if (fields->headers[i].value.data == NULL)
                        msgpack_pack_nil(packer);
                else
                        pack_bytes(packer, fields->headers[i].value);
        }
}

static void pack_usage(msgpack_packer *packer, const struct fields *fields) {
        msgpack_pack_array(packer, fields->usage_count * USAGE_PARTS);
        for (size_t i = 0; i < fields->usage_count; i++) {
                pack_text(packer, cut(fields->usage[i].name));
                msgpack_pack_uint64(packer, fields->usage[i].requests);
                msgpack_pack_uint64(packer, fields->usage[i].tokens);
        }
}

static void pack_numbers(msgpack_packer *packer, const struct numbers *numbers) {
        msgpack_pack_array(packer, numbers->count);
        for (size_t i = 0; i < numbers->count; i++)
                msgpack_pack_int64(packer, numbers->items[i]);
}

static void pack_field(msgpack_packer *packer, struct fields *fields, enum field field) {
        const struct msgpack_part *part = &fields->parts[field];
        pack_text(packer, field_names[field]);
        switch ((enum type)field_types[field]) {
        case TYPE_UINT:
        case TYPE_COUNT:
                msgpack_pack_uint64(packer, part->uint);
                break;
        case TYPE_INT:
        case TYPE_MONEY:
                msgpack_pack_int64(packer, part->sint);
                break;
        case TYPE_BOOL:
                msgpack_pack_true(packer); /* false is left out */
                break;
        case TYPE_TEXT:
                pack_text(packer, part->bytes);
                break;
        case TYPE_BYTES:
        case TYPE_KEY:
        case TYPE_HASH:
                pack_bytes(packer, part->bytes);
                break;
        case TYPE_HEADERS:
                pack_headers(packer, fields);
                break;
        case TYPE_USAGE:
                pack_usage(packer, fields);
                break;
        case TYPE_NUMBERS:
                pack_numbers(packer, numbers_of(fields, field));
                break;
        }
}

void state_record_append(struct buffer *out, const struct state_record *record) {
        struct fields fields;
        msgpack_packer packer;
        size_t start = out->size;
        CHECK((unsigned)record->kind < STATE_KINDS_COUNT);
        fields.there = 0;
        set_uint(&fields, FIELD_VERSION, STATE_VERSION);
        set_bytes(&fields, FIELD_KIND, kinds[record->kind].text);
        switch (record->kind) {
        case STATE_SETTLED:
                from_settled(&record->settled, &fields);
                break;
        case STATE_PARKED:
                from_parked(&record->parked, &fields);
                break;
        case STATE_BEGUN:
                from_begun(&record->begun, &fields);
                break;
        case STATE_OWNER:
                from_owner(&record->owner, &fields);
                break;
        case STATE_SPEND:
                from_spend(&record->spend, &fields);
                break;
        case STATE_KINDS_COUNT:
                break;
        }
        msgpack_packer_init(&packer, out, write_packed);
        msgpack_pack_map(&packer, (size_t)__builtin_popcount(fields.there));
        for (uint32_t rest = fields.there; rest != 0; rest &= rest - 1)
                pack_field(&packer, &fields, (enum field)__builtin_ctz(rest));
        if (out->failed)
                out->size = start;
}

/* ---- from bytes ---- */

static bool is_type(const struct msgpack_part *part, enum type type) {
        switch (type) {
        case TYPE_UINT:
                return part->type == MSGPACK_UINT;
        case TYPE_COUNT:
                return part->type == MSGPACK_UINT && part->uint <= UINT32_MAX;
        case TYPE_MONEY:
                return part->type == MSGPACK_UINT && part->uint <= INT64_MAX;
        case TYPE_INT:
                return part->type == MSGPACK_INT || (part->type == MSGPACK_UINT && part->uint <= INT64_MAX);
        case TYPE_BOOL:
                return part->type == MSGPACK_BOOL;
        case TYPE_TEXT:
                return part->type == MSGPACK_STR && part->bytes.size <= STATE_NAME_BYTES_MAX;
        case TYPE_BYTES:
                return part->type == MSGPACK_BIN;
        case TYPE_KEY:
                return part->type == MSGPACK_BIN && part->bytes.size == KEY_BYTES;
        case TYPE_HASH:
                return part->type == MSGPACK_BIN && part->bytes.size == DIGEST_BYTES;
        case TYPE_HEADERS:
        case TYPE_USAGE:
        case TYPE_NUMBERS:
                break;
        }
        return false;
}

static bool next_of(struct msgpack_reader *reader, enum type type, struct msgpack_part *out_part) {
        return msgpack_next(reader, out_part) && is_type(out_part, type);
}

/* A flat list of things of `width` parts. */
static bool next_list(struct msgpack_reader *reader, uint32_t width, uint32_t count_max, size_t *out_count) {
        struct msgpack_part part;
        if (!msgpack_next(reader, &part) || part.type != MSGPACK_ARRAY || part.count % width != 0 ||
            part.count / width > count_max)
                return false;
        *out_count = part.count / width;
        return true;
}

static bool read_headers(struct msgpack_reader *reader, struct job_header *headers, size_t *out_count) {
        struct msgpack_part name, value;
        if (!next_list(reader, HEADER_PARTS, STATE_HEADERS_MAX, out_count))
                return false;
        for (size_t i = 0; i < *out_count; i++) {
                if (!msgpack_next(reader, &name) || name.type != MSGPACK_STR || !msgpack_next(reader, &value))
                        return false;
                headers[i] = (struct job_header){.name = name.bytes};
                if (value.type == MSGPACK_BIN)
                        headers[i].value = value.bytes;
                else if (value.type != MSGPACK_NIL)
                        return false;
        }
        return true;
}

static bool read_usage(struct msgpack_reader *reader, struct state_usage *usage, size_t *out_count) {
        struct msgpack_part name, requests, tokens;
        if (!next_list(reader, USAGE_PARTS, STATE_USAGE_MAX, out_count))
                return false;
        for (size_t i = 0; i < *out_count; i++) {
                if (!next_of(reader, TYPE_TEXT, &name) || !next_of(reader, TYPE_UINT, &requests) ||
                    !next_of(reader, TYPE_UINT, &tokens))
                        return false;
                usage[i] = (struct state_usage){name.bytes, requests.uint, tokens.uint};
        }
        return true;
}

static bool read_numbers(struct msgpack_reader *reader, struct numbers *numbers) {
        struct msgpack_part part;
        if (!next_list(reader, 1, NUMBERS_MAX, &numbers->count))
                return false;
        for (size_t i = 0; i < numbers->count; i++) {
                if (!next_of(reader, TYPE_INT, &part))
                        return false;
                numbers->items[i] = part.sint;
        }
        return true;
}

static bool read_value(struct msgpack_reader *reader, enum field field, struct state_lists *lists,
                       struct fields *fields) {
        if (field_types[field] == TYPE_HEADERS)
                return read_headers(reader, lists->headers, &fields->headers_count);
        if (field_types[field] == TYPE_USAGE)
                return read_usage(reader, lists->usage, &fields->usage_count);
        if (field_types[field] == TYPE_NUMBERS)
                return read_numbers(reader, numbers_of(fields, field));
        return next_of(reader, (enum type)field_types[field], &fields->parts[field]);
}

/* Members come in the order of the table, mostly: looks from `from` on, then at the rest. */
static unsigned find_field(struct bytes name, unsigned from) {
        for (unsigned i = 0; i < FIELDS_COUNT; i++) {
                unsigned field = from + i < FIELDS_COUNT ? from + i : from + i - FIELDS_COUNT;
                if (bytes_equal(name, field_names[field]))
                        return field;
        }
        return FIELDS_COUNT;
}

/* What is not known is passed over. */
static bool read_pair(struct msgpack_reader *reader, struct state_lists *lists, struct fields *fields) {
        struct msgpack_part name;
        if (!msgpack_next(reader, &name) || name.type != MSGPACK_STR)
                return false;
        unsigned field = find_field(name.bytes, fields->last);
        if (field == FIELDS_COUNT)
                return msgpack_skip(reader);
        fields->last = field;
        if ((fields->there & UINT32_C(1) << field) != 0)
                return false;
        fields->there |= UINT32_C(1) << field;
        return read_value(reader, (enum field)field, lists, fields);
}

/* The map and its first pair, the version. */
static enum state_record_outcome read_version(struct msgpack_reader *reader, uint32_t *out_pairs) {
        struct msgpack_part map, name, version;
        if (!msgpack_next(reader, &map) || map.type != MSGPACK_MAP || map.count == 0)
                return STATE_RECORD_DAMAGED;
        if (!next_of(reader, TYPE_TEXT, &name) || !bytes_equal(name.bytes, field_names[FIELD_VERSION]) ||
            !next_of(reader, TYPE_UINT, &version) || version.uint == 0)
                return STATE_RECORD_DAMAGED;
        *out_pairs = map.count - 1;
        return version.uint > STATE_VERSION ? STATE_RECORD_NEWER : STATE_RECORD_OK;
}

static enum state_record_outcome read_fields(struct bytes value, struct state_lists *lists,
                                             struct fields *fields) {
        struct msgpack_reader reader;
        uint32_t pairs;
        msgpack_reader_init(&reader, value);
        enum state_record_outcome outcome = read_version(&reader, &pairs);
        if (outcome != STATE_RECORD_OK)
                return outcome;
        fields->there = BIT(VERSION);
        fields->last = FIELD_VERSION;
        fields->headers_count = fields->usage_count = 0;
        fields->periods.count = fields->risks.count = fields->allowed.count = 0;
        for (; pairs > 0; pairs--)
                if (!read_pair(&reader, lists, fields))
                        return STATE_RECORD_DAMAGED;
        return msgpack_reader_at_end(&reader) ? STATE_RECORD_OK : STATE_RECORD_DAMAGED;
}

/* ---- to a record ---- */

static bool has(const struct fields *fields, enum field field) {
        return (fields->there & UINT32_C(1) << field) != 0;
}

static uint64_t get_uint(const struct fields *fields, enum field field) {
        return has(fields, field) ? fields->parts[field].uint : 0;
}

static int64_t get_int(const struct fields *fields, enum field field) {
        return has(fields, field) ? fields->parts[field].sint : 0;
}

static bool get_bool(const struct fields *fields, enum field field) {
        return has(fields, field) && fields->parts[field].boolean;
}

static struct bytes get_bytes(const struct fields *fields, enum field field) {
        return has(fields, field) ? fields->parts[field].bytes : (struct bytes){NULL, 0};
}

static struct key128 get_job(const struct fields *fields, uint8_t out_fingerprint[DIGEST_BYTES]) {
        memcpy(out_fingerprint, fields->parts[FIELD_FINGERPRINT].bytes.data, DIGEST_BYTES);
        return key128_from_hash((const uint8_t *)fields->parts[FIELD_KEY].bytes.data);
}

static enum state_record_outcome to_settled(const struct fields *fields, struct state_settled *settled) {
        int64_t status = get_int(fields, FIELD_STATUS);
        if (status < INT32_MIN || status > INT32_MAX)
                return STATE_RECORD_DAMAGED;
        *settled = (struct state_settled){
                .offset = get_uint(fields, FIELD_OFFSET),
                .status = (int32_t)status,
                .attempts = (uint32_t)get_uint(fields, FIELD_ATTEMPTS),
                .cost_known = has(fields, FIELD_MONEY),
                .cost_is_estimate = get_bool(fields, FIELD_ESTIMATE),
                .dead_letter = get_bool(fields, FIELD_DEAD_LETTER),
                .cost_picousd = get_int(fields, FIELD_MONEY),
                .at_unix_ms = get_int(fields, FIELD_AT),
        };
        settled->key = get_job(fields, settled->fingerprint);
        if (has(fields, FIELD_FAILURE) &&
            !failure_from_text(get_bytes(fields, FIELD_FAILURE), &settled->failure))
                return STATE_RECORD_NEWER;
        return STATE_RECORD_OK;
}

static enum state_record_outcome to_parked(const struct fields *fields, const struct state_lists *lists,
                                           struct state_parked *parked) {
        *parked = (struct state_parked){
                .due_unix_ms = get_int(fields, FIELD_DUE),
                .at_unix_ms = get_int(fields, FIELD_AT),
                .attempts = (uint32_t)get_uint(fields, FIELD_ATTEMPTS),
                .spent_known = has(fields, FIELD_MONEY),
                .spent_picousd = get_int(fields, FIELD_MONEY),
                .record = {.key = get_bytes(fields, FIELD_RECORD_KEY),
                           .value = get_bytes(fields, FIELD_RECORD_VALUE),
                           .has_key = has(fields, FIELD_RECORD_KEY),
                           .has_value = has(fields, FIELD_RECORD_VALUE),
                           .headers = lists->headers,
                           .headers_count = fields->headers_count,
                           .offset = get_uint(fields, FIELD_OFFSET),
                           .timestamp_unix_ms = get_int(fields, FIELD_RECORD_TIME)},
        };
        parked->key = get_job(fields, parked->fingerprint);
        return STATE_RECORD_OK;
}

static enum state_record_outcome to_begun(const struct fields *fields, struct state_begun *begun) {
        *begun = (struct state_begun){
                .offset = get_uint(fields, FIELD_OFFSET),
                .attempt = (uint32_t)get_uint(fields, FIELD_ATTEMPTS),
                .exposure_known = has(fields, FIELD_MONEY),
                .exposure_picousd = get_int(fields, FIELD_MONEY),
                .endpoint = get_bytes(fields, FIELD_NAME),
                .at_unix_ms = get_int(fields, FIELD_AT),
        };
        begun->key = get_job(fields, begun->fingerprint);
        return STATE_RECORD_OK;
}

static enum state_record_outcome to_owner(const struct fields *fields, const struct state_lists *lists,
                                          struct state_owner *owner) {
        *owner = (struct state_owner){
                .member = get_bytes(fields, FIELD_NAME),
                .since_unix_ms = get_int(fields, FIELD_AT),
                .released = get_bool(fields, FIELD_RELEASED),
                .usage = lists->usage,
                .usage_count = fields->usage_count,
                .quotas = get_bytes(fields, FIELD_QUOTAS),
        };
        return STATE_RECORD_OK;
}

static bool to_sums(const int64_t *numbers, struct budget_sum out_sums[2]) {
        bool well = true;
        for (int i = 0; i < 2; i++) {
                int64_t number = numbers[PERIOD_PARTS * i], settled = numbers[PERIOD_PARTS * i + 1];
                out_sums[i] = (struct budget_sum){number, settled};
                well = well && settled >= 0 && (number == BUDGET_NO_PERIOD || budget_is_day(number));
        }
        return well;
}

/* The month of a day, where there is one: what reckons with it must not be led astray. */
static bool to_periods(const struct numbers *periods, struct budget_spend *spend) {
        if (periods->count != PERIODS * PERIOD_PARTS || !to_sums(periods->items, spend->days) ||
            !to_sums(periods->items + PERIODS, spend->months))
                return false;
        for (int i = 0; i < 2; i++)
                if (spend->months[i].number != BUDGET_NO_PERIOD && !budget_is_month(spend->months[i].number))
                        return false;
        return spend->days[0].number == BUDGET_NO_PERIOD ||
               spend->months[0].number == budget_month(spend->days[0].number);
}

static bool to_risks(const struct numbers *risks, struct budget_spend *spend) {
        bool well = risks->count % RISK_PARTS == 0;
        for (size_t i = 0; i + RISK_PARTS <= risks->count; i += RISK_PARTS) {
                const int64_t *at = risks->items + i;
                spend->risks[spend->risks_count++] = (struct budget_risk){at[0], at[1], at[2]};
                well = well && budget_is_day(at[0]) && at[2] >= 0;
        }
        return well;
}

static bool to_allowed(const struct numbers *numbers, struct budget_allowed out_allowed[2]) {
        bool well = numbers->count % ALLOWED_PARTS == 0 && numbers->count <= 2 * ALLOWED_PARTS;
        for (size_t i = 0; well && i < numbers->count; i += ALLOWED_PARTS) {
                const int64_t *at = numbers->items + i;
                out_allowed[i / ALLOWED_PARTS] = (struct budget_allowed){at[0], at[1]};
                well = budget_is_day(at[0]) && at[1] >= 0;
        }
        return well;
}

static enum state_record_outcome to_spend(const struct fields *fields, struct state_spend *spend) {
        *spend = (struct state_spend){
                .provider = get_bool(fields, FIELD_PROVIDER),
                .name = get_bytes(fields, FIELD_NAME),
                .at_unix_ms = get_int(fields, FIELD_AT),
                .spend.lifetime_picousd = get_int(fields, FIELD_MONEY),
        };
        bool well = spend->name.size > 0 && to_periods(&fields->periods, &spend->spend) &&
                    to_risks(&fields->risks, &spend->spend) && to_allowed(&fields->allowed, spend->allowed);
        return well ? STATE_RECORD_OK : STATE_RECORD_DAMAGED;
}

static bool find_kind(const struct fields *fields, enum state_kind *out_kind) {
        for (unsigned i = 0; i < STATE_KINDS_COUNT; i++) {
                if (!bytes_equal(get_bytes(fields, FIELD_KIND), kinds[i].text))
                        continue;
                *out_kind = (enum state_kind)i;
                return true;
        }
        return false;
}

enum state_record_outcome state_record_read(struct bytes value, struct state_lists *lists,
                                            struct state_record *out_record) {
        struct fields fields;
        struct state_record record = {.kind = STATE_SETTLED};
        enum state_record_outcome outcome = read_fields(value, lists, &fields);
        if (outcome != STATE_RECORD_OK)
                return outcome;
        if (!has(&fields, FIELD_KIND))
                return STATE_RECORD_DAMAGED;
        if (!find_kind(&fields, &record.kind))
                return STATE_RECORD_NEWER;
        if ((fields.there & kinds[record.kind].required) != kinds[record.kind].required)
                return STATE_RECORD_DAMAGED;
        switch (record.kind) {
        case STATE_SETTLED:
                outcome = to_settled(&fields, &record.settled);
                break;
        case STATE_PARKED:
                outcome = to_parked(&fields, lists, &record.parked);
                break;
        case STATE_BEGUN:
                outcome = to_begun(&fields, &record.begun);
                break;
        case STATE_OWNER:
                outcome = to_owner(&fields, lists, &record.owner);
                break;
        case STATE_SPEND:
                outcome = to_spend(&fields, &record.spend);
                break;
        case STATE_KINDS_COUNT:
                return STATE_RECORD_DAMAGED;
        }
        if (outcome == STATE_RECORD_OK)
                *out_record = record;
        return outcome;
}

/* ---- keys ---- */

#define RECORD_PREFIX BYTES("\0record/")
#define OWNER_KEY     BYTES("\0owner")
#define SPEND_PREFIX  BYTES("\0spend/")

static bool has_zero(struct bytes bytes) {
        return bytes.size > 0 && memchr(bytes.data, 0, bytes.size) != NULL;
}

void state_key_append(struct buffer *out, const struct job_spec *job) {
        if (job->failure != FAILURE_NONE) {
                state_key_append_record(out, job->sequence, job->timestamp_unix_ms);
                return;
        }
        CHECK(job->idempotency.size > 0 && job->workspace.size > 0);
        if (!bytes_equal_string(job->workspace, "default") || has_zero(job->idempotency)) {
                buffer_append_bytes(out, job->workspace);
                buffer_append_char(out, '\0');
        }
        buffer_append_bytes(out, job->idempotency);
}

void state_key_append_record(struct buffer *out, uint64_t offset, int64_t timestamp_unix_ms) {
        buffer_append_bytes(out, RECORD_PREFIX);
        buffer_append_u64(out, offset);
        buffer_append_char(out, '@');
        buffer_append_i64(out, timestamp_unix_ms);
}

void state_key_append_owner(struct buffer *out) {
        buffer_append_bytes(out, OWNER_KEY);
}

void state_key_append_spend(struct buffer *out, bool provider, struct bytes name) {
        buffer_append_bytes(out, SPEND_PREFIX);
        buffer_append_string(out, provider ? "p/" : "w/");
        buffer_append_bytes(out, name);
}

static bool has_prefix(struct bytes key, struct bytes prefix) {
        return key.size > prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
}

enum state_key_kind state_key_kind(struct bytes key) {
        if (key.size == 0)
                return STATE_KEY_UNKNOWN;
        if (key.data[0] != '\0')
                return STATE_KEY_JOB;
        if (bytes_equal(key, OWNER_KEY))
                return STATE_KEY_OWNER;
        if (has_prefix(key, RECORD_PREFIX))
                return STATE_KEY_RECORD;
        if (has_prefix(key, SPEND_PREFIX))
                return STATE_KEY_SPEND;
        return STATE_KEY_UNKNOWN;
}

/* false: no number of 64 bits stands there, or not as it is written. */
static bool read_number(struct bytes text, bool *out_negative, uint64_t *out_number) {
        bool negative = text.size > 0 && text.data[0] == '-';
        uint64_t number = 0;
        size_t i = negative;
        if (i == text.size)
                return false;
        for (; i < text.size; i++) {
                unsigned digit = (unsigned char)text.data[i] - (unsigned)'0';
                if (digit > 9 || __builtin_mul_overflow(number, 10U, &number) ||
                    __builtin_add_overflow(number, digit, &number))
                        return false;
        }
        *out_negative = negative;
        *out_number = number;
        return true;
}

bool state_key_record(struct bytes key, uint64_t *out_offset, int64_t *out_timestamp_unix_ms) {
        bool negative;
        uint64_t offset, timestamp;
        if (!has_prefix(key, RECORD_PREFIX))
                return false;
        struct bytes rest = {key.data + RECORD_PREFIX.size, key.size - RECORD_PREFIX.size};
        const char *at = memchr(rest.data, '@', rest.size);
        size_t before = at ? (size_t)(at - rest.data) : 0;
        if (!at || !read_number((struct bytes){rest.data, before}, &negative, &offset) || negative ||
            !read_number((struct bytes){at + 1, rest.size - before - 1}, &negative, &timestamp) ||
            timestamp > INT64_MAX)
                return false;
        *out_offset = offset;
        *out_timestamp_unix_ms = negative ? -(int64_t)timestamp : (int64_t)timestamp;
        return true;
}
