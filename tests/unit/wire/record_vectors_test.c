/*
 * schemas/vectors/records.json and states.json: their keys, fingerprints and bytes were made by another
 * implementation.
 */
#include "broker/wire/digest.h"
#include "broker/wire/job_record.h"
#include "broker/wire/state_record.h"
#include "vector_file.h"

enum { VECTOR_LIST_MAX = 16 };

/* ---- records ---- */

struct facts {
        yyjson_val *expected;
        const char *vector;
        size_t seen;
};

static void check_text(struct facts *facts, const char *name, struct bytes got) {
        struct bytes expected = text_of(yyjson_obj_get(facts->expected, name));
        facts->seen += yyjson_obj_get(facts->expected, name) != NULL;
        if (!bytes_equal(got, expected))
                fail_msg("%s: %s is \"%.*s\", expected \"%.*s\"", facts->vector, name, (int)got.size,
                         got.data, (int)expected.size, expected.data);
}

static void check_hex(struct facts *facts, const char *name, struct bytes got) {
        struct buffer hex;
        buffer_init(&hex, VECTOR_BYTES_MAX);
        buffer_append_hex(&hex, (const uint8_t *)got.data, got.size);
        check_text(facts, name, buffer_view(&hex));
        buffer_deinit(&hex);
}

static void check_key(struct facts *facts, const char *name, struct key128 got) {
        uint8_t bytes[16];
        key128_to_bytes(got, bytes);
        check_hex(facts, name, (struct bytes){(const char *)bytes, sizeof bytes});
}

static void check_job(yyjson_val *vector, const struct job_spec *job) {
        struct facts facts = {yyjson_obj_get(vector, "facts"), yyjson_get_str(yyjson_obj_get(vector, "name")),
                              0};
        assert_non_null(job);
        check_text(&facts, "failure", bytes_of(failure_text(job->failure)));
        check_text(&facts, "field", job->failure_field);
        check_text(&facts, "message", job->failure_message);
        check_key(&facts, "key", job->key);
        check_key(&facts, "alias", job->alias);
        check_hex(&facts, "fingerprint", (struct bytes){(const char *)job->fingerprint, 32});
        check_hex(&facts, "idempotency", job->idempotency);
        check_text(&facts, "custom_id", job->custom_id);
        check_text(&facts, "workspace", job->workspace);
        check_text(&facts, "batch", job->batch);
        check_text(&facts, "traceparent", job->traceparent);
        check_text(&facts, "tracestate", job->tracestate);
        facts.seen += yyjson_obj_get(facts.expected, "metadata") != NULL;
        assert_int_equal(facts.seen, yyjson_obj_size(facts.expected));
        assert_int_equal(job->partition, uint_of(vector, "partition"));
        assert_true(job->sequence == uint_of(vector, "offset"));
        assert_int_equal(job->line, 0);
}

static void read_record(yyjson_val *vector, struct buffer *memory, struct job_header *headers,
                        struct job_record *out_record) {
        yyjson_val *key = yyjson_obj_get(vector, "key"), *header;
        size_t index, count;
        *out_record = (struct job_record){.has_key = key != NULL,
                                          .headers = headers,
                                          .partition = (uint32_t)uint_of(vector, "partition"),
                                          .offset = uint_of(vector, "offset"),
                                          .timestamp_unix_ms = int_of(vector, "timestamp_unix_ms")};
        if (key != NULL)
                out_record->key = unhex(memory, key);
        yyjson_arr_foreach(yyjson_obj_get(vector, "headers"), index, count, header) {
                assert_true(index < VECTOR_LIST_MAX);
                headers[out_record->headers_count++] = (struct job_header){
                        text_of(yyjson_arr_get(header, 0)), text_of(yyjson_arr_get(header, 1))};
        }
}

static void check_value(struct job_decoder *decoder, yyjson_val *vector, struct job_record *record,
                        struct bytes value) {
        char *copy = bytes_dup(value); /* gone before the spec is looked at */
        record->value = (struct bytes){copy, value.size};
        record->has_value = value.data != NULL;
        struct job_spec *job = job_decode_record(decoder, record);
        free(copy);
        check_job(vector, job);
        job_spec_free(job);
}

static void records_are_read_as_the_vectors_say(void **state) {
        (void)state;
        struct job_decoder *decoder = new_decoder(NULL);
        yyjson_val *vectors, *vector;
        yyjson_doc *doc = read_vectors("records.json", 18, &vectors);
        size_t index, count;
        yyjson_arr_foreach(vectors, index, count, vector) {
                struct job_header headers[VECTOR_LIST_MAX];
                struct job_record record;
                struct buffer memory;
                yyjson_val *json = yyjson_obj_get(vector, "json"), *value = yyjson_obj_get(vector, "value");
                init_memory(&memory);
                read_record(vector, &memory, headers, &record);
                if (json != NULL) {
                        check_value(decoder, vector, &record, text_of(json));
                        check_value(decoder, vector, &record,
                                    unhex(&memory, yyjson_obj_get(vector, "msgpack")));
                } else {
                        assert_non_null(value);
                        check_value(decoder, vector, &record,
                                    yyjson_is_null(value) ? (struct bytes){NULL, 0} : unhex(&memory, value));
                }
                buffer_deinit(&memory);
        }
        yyjson_doc_free(doc);
        job_decoder_free(decoder);
}

/* ---- state ---- */

struct vector_state {
        struct buffer memory;
        struct job_header headers[VECTOR_LIST_MAX];
        struct state_usage usage[VECTOR_LIST_MAX];
        struct state_record record;
};

static struct key128 key_of(struct vector_state *state, yyjson_val *from, uint8_t *out_fingerprint) {
        struct bytes fingerprint = unhex(&state->memory, yyjson_obj_get(from, "fingerprint"));
        assert_int_equal(fingerprint.size, 32);
        memcpy(out_fingerprint, fingerprint.data, 32);
        return key128_from_hash((const uint8_t *)unhex(&state->memory, yyjson_obj_get(from, "key")).data);
}

static void read_settled(struct vector_state *state, yyjson_val *from) {
        struct state_settled *settled = &state->record.settled;
        yyjson_val *failure = yyjson_obj_get(from, "failure");
        *settled = (struct state_settled){.offset = uint_of(from, "offset"),
                                          .status = (int32_t)int_of(from, "status"),
                                          .attempts = (uint32_t)uint_of(from, "attempts"),
                                          .cost_known = yyjson_obj_get(from, "cost_picousd") != NULL,
                                          .cost_picousd = int_of(from, "cost_picousd"),
                                          .cost_is_estimate = bool_of(from, "cost_is_estimate"),
                                          .dead_letter = bool_of(from, "dead_letter"),
                                          .at_unix_ms = int_of(from, "at_unix_ms")};
        settled->key = key_of(state, from, settled->fingerprint);
        if (failure != NULL)
                assert_true(failure_from_text(text_of(failure), &settled->failure));
}

static void read_parked(struct vector_state *state, yyjson_val *from) {
        struct state_parked *parked = &state->record.parked;
        struct job_record *record = &parked->record;
        yyjson_val *header;
        size_t index, count;
        *parked = (struct state_parked){.due_unix_ms = int_of(from, "due_unix_ms"),
                                        .at_unix_ms = int_of(from, "at_unix_ms"),
                                        .attempts = (uint32_t)uint_of(from, "attempts"),
                                        .spent_known = yyjson_obj_get(from, "spent_picousd") != NULL,
                                        .spent_picousd = int_of(from, "spent_picousd")};
        parked->key = key_of(state, from, parked->fingerprint);
        record->offset = uint_of(from, "offset");
        record->timestamp_unix_ms = int_of(from, "timestamp_unix_ms");
        record->has_key = yyjson_obj_get(from, "record_key") != NULL;
        record->has_value = yyjson_obj_get(from, "record_value") != NULL;
        record->key = unhex(&state->memory, yyjson_obj_get(from, "record_key"));
        record->value = unhex(&state->memory, yyjson_obj_get(from, "record_value"));
        record->headers = state->headers;
        yyjson_arr_foreach(yyjson_obj_get(from, "headers"), index, count, header) {
                struct job_header *item = &state->headers[record->headers_count++];
                item->name = text_of(yyjson_arr_get(header, 0));
                item->value = (struct bytes){NULL, 0};
                if (!yyjson_is_null(yyjson_arr_get(header, 1)))
                        item->value = unhex(&state->memory, yyjson_arr_get(header, 1));
        }
}

static void read_begun(struct vector_state *state, yyjson_val *from) {
        struct state_begun *begun = &state->record.begun;
        *begun = (struct state_begun){.offset = uint_of(from, "offset"),
                                      .attempt = (uint32_t)uint_of(from, "attempts"),
                                      .exposure_known = yyjson_obj_get(from, "exposure_picousd") != NULL,
                                      .exposure_picousd = int_of(from, "exposure_picousd"),
                                      .endpoint = text_of(yyjson_obj_get(from, "name")),
                                      .at_unix_ms = int_of(from, "at_unix_ms")};
        begun->key = key_of(state, from, begun->fingerprint);
}

static void read_owner(struct vector_state *state, yyjson_val *from) {
        struct state_owner *owner = &state->record.owner;
        yyjson_val *usage;
        size_t index, count;
        *owner = (struct state_owner){.member = text_of(yyjson_obj_get(from, "name")),
                                      .since_unix_ms = int_of(from, "at_unix_ms"),
                                      .released = bool_of(from, "released"),
                                      .usage = state->usage};
        yyjson_arr_foreach(yyjson_obj_get(from, "usage"), index, count, usage) {
                state->usage[owner->usage_count++] = (struct state_usage){
                        text_of(yyjson_arr_get(usage, 0)), yyjson_get_uint(yyjson_arr_get(usage, 1)),
                        yyjson_get_uint(yyjson_arr_get(usage, 2))};
        }
}

/* Lists of pairs and of threes, as the record has them. */
static int64_t number_of(yyjson_val *list, size_t index, size_t part) {
        return yyjson_get_sint(yyjson_arr_get(yyjson_arr_get(list, index), part));
}

static void read_spend(struct vector_state *state, yyjson_val *from) {
        struct state_spend *spend = &state->record.spend;
        yyjson_val *days = yyjson_obj_get(from, "days"), *months = yyjson_obj_get(from, "months");
        yyjson_val *risks = yyjson_obj_get(from, "risks"), *allowed = yyjson_obj_get(from, "allowed");
        *spend = (struct state_spend){.provider = bool_of(from, "provider"),
                                      .name = text_of(yyjson_obj_get(from, "name")),
                                      .at_unix_ms = int_of(from, "at_unix_ms"),
                                      .spend.lifetime_picousd = int_of(from, "lifetime_picousd")};
        for (size_t i = 0; i < 2; i++) {
                bool day = i < yyjson_arr_size(days), month = i < yyjson_arr_size(months);
                spend->spend.days[i] = (struct budget_sum){day ? number_of(days, i, 0) : BUDGET_NO_PERIOD,
                                                           day ? number_of(days, i, 1) : 0};
                spend->spend.months[i] =
                        (struct budget_sum){month ? number_of(months, i, 0) : BUDGET_NO_PERIOD,
                                            month ? number_of(months, i, 1) : 0};
        }
        for (size_t i = 0; i < yyjson_arr_size(risks); i++)
                spend->spend.risks[spend->spend.risks_count++] = (struct budget_risk){
                        number_of(risks, i, 0), number_of(risks, i, 1), number_of(risks, i, 2)};
        for (size_t i = 0; i < yyjson_arr_size(allowed); i++)
                spend->allowed[i] =
                        (struct budget_allowed){number_of(allowed, i, 0), number_of(allowed, i, 1)};
}

static void read_state(struct vector_state *state, yyjson_val *from) {
        static const struct {
                const char *name;
                void (*read)(struct vector_state *state, yyjson_val *from);
        } kinds[STATE_KINDS_COUNT] = {
                [STATE_SETTLED] = {"settled", read_settled}, [STATE_PARKED] = {"parked", read_parked},
                [STATE_BEGUN] = {"begun", read_begun},       [STATE_OWNER] = {"owner", read_owner},
                [STATE_SPEND] = {"spend", read_spend},
        };
        unsigned kind = 0;
        while (kind < STATE_KINDS_COUNT && !yyjson_equals_str(yyjson_obj_get(from, "kind"), kinds[kind].name))
                kind++;
        assert_true(kind < STATE_KINDS_COUNT);
        state->record.kind = (enum state_kind)kind;
        kinds[kind].read(state, from);
}

static void check_written(const char *name, const struct state_record *record, struct bytes expected) {
        struct buffer out;
        buffer_init(&out, VECTOR_BYTES_MAX);
        state_record_append(&out, record);
        if (!bytes_equal(buffer_view(&out), expected)) {
                struct buffer hex;
                buffer_init(&hex, VECTOR_BYTES_MAX);
                buffer_append_hex(&hex, (const uint8_t *)out.data, out.size);
                fail_msg("%s: %.*s", name, (int)hex.size, hex.data);
        }
        buffer_deinit(&out);
}

static void states_are_written_and_read_as_the_vectors_say(void **unused) {
        (void)unused;
        static struct state_lists lists;
        yyjson_val *vectors, *vector;
        yyjson_doc *doc = read_vectors("states.json", 8, &vectors);
        size_t index, count;
        yyjson_arr_foreach(vectors, index, count, vector) {
                const char *name = yyjson_get_str(yyjson_obj_get(vector, "name"));
                struct vector_state state;
                struct state_record read;
                init_memory(&state.memory);
                read_state(&state, yyjson_obj_get(vector, "record"));
                struct bytes value = unhex(&state.memory, yyjson_obj_get(vector, "value"));
                check_written(name, &state.record, value);
                assert_int_equal(state_record_read(value, &lists, &read), STATE_RECORD_OK);
                assert_int_equal(read.kind, state.record.kind);
                check_written(name, &read, value);
                if (read.kind == STATE_SETTLED)
                        assert_true(value.size <= STATE_SETTLED_BYTES_MAX);
                buffer_deinit(&state.memory);
        }
        yyjson_doc_free(doc);
}

/* The table of schemas/README.md has a line for every member. */
static void the_documentation_has_every_member(void **unused) {
        (void)unused;
        static char text[VECTOR_BYTES_MAX];
        static const char *const members[] = {
#define STATE_FIELD(name, text, type) "\n| `" text "` | ",
#include "schemas/state_fields.def"
#undef STATE_FIELD
        };
        FILE *file = fopen(TEST_SOURCE_DIR "/schemas/README.md", "r");
        assert_non_null(file);
        size_t size = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[size] = '\0';
        for (size_t i = 0; i < sizeof members / sizeof *members; i++)
                if (strstr(text, members[i]) == NULL)
                        fail_msg("schemas/README.md lacks %s", members[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(records_are_read_as_the_vectors_say),
                cmocka_unit_test(states_are_written_and_read_as_the_vectors_say),
                cmocka_unit_test(the_documentation_has_every_member),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
