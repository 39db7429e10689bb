/* What a state record must not do: be guessed at, be read beyond its end, share a key with another. */
#include "broker/wire/state_record.h"
#include "wire_fixture.h"

#include <string.h>

#define RAW(literal) ((struct bytes){(literal), sizeof(literal) - 1})
#define KEY                                                                                                  \
        "\xa1k\xc4\x10"                                                                                      \
        "0123456789abcdef"
#define FINGERPRINT                                                                                          \
        "\xa1"                                                                                               \
        "f\xc4\x20"                                                                                          \
        "0123456789abcdef0123456789abcdef"
#define SETTLED                                                                                              \
        KEY FINGERPRINT "\xa1o\x07\xa1n\x01\xa1"                                                             \
                        "a\x09"

static struct state_lists lists;

static enum state_record_outcome read(struct bytes value, struct state_record *out_record) {
        char *copy = value.size == 0 ? malloc(1) : bytes_dup(value); /* its end is the end of memory */
        enum state_record_outcome outcome =
                state_record_read((struct bytes){copy, value.size}, &lists, out_record);
        free(copy);
        return outcome;
}

#define assert_read(literal, outcome)                                                                        \
        do {                                                                                                 \
                struct state_record read_record = {.kind = STATE_KINDS_COUNT};                               \
                assert_int_equal(read(RAW(literal), &read_record), (outcome));                               \
                if ((outcome) != STATE_RECORD_OK)                                                            \
                        assert_int_equal(read_record.kind, STATE_KINDS_COUNT);                               \
        } while (0)

static void what_is_not_known_is_passed_over(void **state) {
        (void)state;
        struct state_record record;
        assert_read("\x87\xa1v\x01\xa1t\xa1s" SETTLED, STATE_RECORD_OK);
        assert_int_equal(read(RAW("\x89\xa1v\x01\xa2zz\x82\x01\x92\xc0\x90\xa1k\xc0\xa1t\xa1s\xa1z\xd6\xff"
                                  "1234" SETTLED),
                              &record),
                         STATE_RECORD_OK);
        assert_int_equal(record.settled.offset, 7);
        assert_int_equal(record.settled.attempts, 1);
        assert_int_equal(record.settled.at_unix_ms, 9);
        assert_true(record.settled.key.hi == UINT64_C(0x3031323334353637));
        assert_false(record.settled.cost_known);
        assert_int_equal(record.settled.failure, FAILURE_NONE);
        /* the name of another kind's member */
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1u\x05", STATE_RECORD_OK);
}

static void what_a_newer_version_wrote_is_not_guessed_at(void **state) {
        (void)state;
        assert_read("\x87\xa1v\x02\xa1t\xa1s" SETTLED, STATE_RECORD_NEWER);
        assert_read("\x82\xa1v\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc1", STATE_RECORD_NEWER);
        assert_read("\x87\xa1v\x01\xa1t\xa1S" SETTLED, STATE_RECORD_NEWER);
        assert_read("\x82\xa1v\x01\xa1t\xa7"
                    "further",
                    STATE_RECORD_NEWER);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1"
                    "e\xa8melt_down",
                    STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1"
                    "e\xa9melt_down",
                    STATE_RECORD_NEWER);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1"
                    "e\xa8internal",
                    STATE_RECORD_OK);
}

static void what_is_no_record_is_damaged(void **state) {
        (void)state;
        assert_read("", STATE_RECORD_DAMAGED);
        assert_read("{}", STATE_RECORD_DAMAGED);
        assert_read("\x80", STATE_RECORD_DAMAGED);
        assert_read("\x81\xa1v\x01", STATE_RECORD_DAMAGED);
        assert_read("\x81\xa1v\x00", STATE_RECORD_DAMAGED);
        assert_read("\x81\xa1v\xff", STATE_RECORD_DAMAGED);
        assert_read("\x82\xa1t\xa1s\xa1v\x01", STATE_RECORD_DAMAGED);     /* the version comes first */
        assert_read("\x86\xa1v\x01" SETTLED, STATE_RECORD_DAMAGED);       /* no kind */
        assert_read("\x83\xa1v\x01\xa1t\xa1s" KEY, STATE_RECORD_DAMAGED); /* members are missing */
        assert_read("\x87\xa1v\x01\xa1t\xa1p" SETTLED, STATE_RECORD_DAMAGED);
        assert_read("\x87\xa1v\x01\xa1t\xa1"
                    "b" SETTLED,
                    STATE_RECORD_DAMAGED);
        assert_read("\x87\xa1v\x01\xa1t\xa1o" SETTLED, STATE_RECORD_DAMAGED);
        assert_read("\x87\xa1v\x01\xa1t\xa1s" SETTLED "\x01", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1o\x07", STATE_RECORD_DAMAGED); /* twice */
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\x01\x07", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1"
                    "c\xff",
                    STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1"
                    "c\xcf\x80\0\0\0\0\0\0\0",
                    STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1s\xce\x80\0\0\0", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1x\x01", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1rh\x01", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa2rh\x91\xa1x", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa2rh\x92\xa1x\xa1y", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa2rh\xdc\xff\xfe", STATE_RECORD_DAMAGED);
        assert_read("\x88\xa1v\x01\xa1t\xa1s" SETTLED "\xa1l\x93\xa1x\x01\xff", STATE_RECORD_DAMAGED);
        assert_read("\x87\xa1v\x01\xa1t\xa1s" KEY FINGERPRINT "\xa1o\x07\xa1n\xcf\0\0\0\x01\0\0\0\0\xa1"
                    "a\x09",
                    STATE_RECORD_DAMAGED);
        assert_read("\x87\xa1v\x01\xa1t\xa1s\xa1k\xc4\x01x" FINGERPRINT "\xa1o\x07\xa1n\x01\xa1"
                    "a\x09",
                    STATE_RECORD_DAMAGED);
}

/* A record with everything, of the largest lists. */
static void make_largest(enum state_kind kind, struct state_record *record) {
        for (int i = 0; i < STATE_HEADERS_MAX; i++)
                lists.headers[i] = (struct job_header){BYTES("name"), BYTES("value")};
        for (int i = 0; i < STATE_USAGE_MAX; i++)
                lists.usage[i] = (struct state_usage){BYTES("openai/m"), 1, UINT64_MAX};
        *record = (struct state_record){.kind = kind};
        if (kind == STATE_PARKED) {
                record->parked = (struct state_parked){.due_unix_ms = 1,
                                                       .spent_known = true,
                                                       .record = {.key = BYTES("k"),
                                                                  .value = BYTES("v"),
                                                                  .has_key = true,
                                                                  .has_value = true,
                                                                  .headers = lists.headers,
                                                                  .headers_count = STATE_HEADERS_MAX}};
        } else {
                record->owner = (struct state_owner){.member = BYTES("w"),
                                                     .released = true,
                                                     .usage = lists.usage,
                                                     .usage_count = STATE_USAGE_MAX};
        }
}

/* And one more element than there is room for. */
static void lists_are_bounded(void **state) {
        (void)state;
        static const struct {
                enum state_kind kind;
                const char *name;
                unsigned parts, more;
                struct bytes element;
        } cases[] = {{STATE_PARKED, "\xa2rh\xdc", STATE_HEADERS_MAX * 2, 2, {"\xa1n\xc0", 3}},
                     {STATE_OWNER, "\xa1l\xdc", STATE_USAGE_MAX * 3, 3, {"\xa1n\x01\x02", 4}}};
        for (size_t i = 0; i < 2; i++) {
                struct state_record record, again;
                struct buffer out;
                buffer_init(&out, 1 << 20);
                make_largest(cases[i].kind, &record);
                state_record_append(&out, &record);
                assert_false(out.failed);
                assert_int_equal(state_record_read(buffer_view(&out), &lists, &again), STATE_RECORD_OK);
                char *at = memmem(out.data, out.size, cases[i].name, strlen(cases[i].name));
                assert_non_null(at);
                unsigned char *count = (unsigned char *)at + strlen(cases[i].name);
                assert_int_equal(count[0] << 8 | count[1], cases[i].parts);
                struct buffer more;
                size_t head = (size_t)(at - out.data) + strlen(cases[i].name) + 2;
                buffer_init(&more, 1 << 20);
                buffer_append(&more, out.data, head);
                buffer_append_bytes(&more, cases[i].element);
                buffer_append(&more, out.data + head, out.size - head);
                unsigned parts = cases[i].parts + cases[i].more;
                more.data[head - 2] = (char)(parts >> 8);
                more.data[head - 1] = (char)parts;
                assert_int_equal(read(buffer_view(&more), &again), STATE_RECORD_DAMAGED);
                buffer_deinit(&more);
                buffer_deinit(&out);
        }
}

static void every_shorter_record_is_damaged(void **state) {
        (void)state;
        for (int kind = STATE_PARKED; kind <= STATE_OWNER; kind += STATE_OWNER - STATE_PARKED) {
                struct state_record record;
                struct buffer out;
                buffer_init(&out, 1 << 20);
                make_largest((enum state_kind)kind, &record);
                state_record_append(&out, &record);
                for (size_t size = 0; size < out.size; size += size < 200 ? 1 : 13)
                        assert_int_equal(read((struct bytes){out.data, size}, &record), STATE_RECORD_DAMAGED);
                buffer_deinit(&out);
        }
}

static void a_full_buffer_gets_nothing(void **state) {
        (void)state;
        struct state_record record = {.kind = STATE_SETTLED};
        struct buffer out;
        buffer_init(&out, 70);
        buffer_append_string(&out, "before");
        state_record_append(&out, &record);
        assert_true(out.failed);
        assert_bytes(buffer_view(&out), "before");
        buffer_deinit(&out);
}

static void long_names_are_cut(void **state) {
        (void)state;
        char name[STATE_NAME_BYTES_MAX + 1];
        struct state_record record = {.kind = STATE_OWNER, .owner = {.member = {name, sizeof name}}}, again;
        struct buffer out;
        memset(name, 'n', sizeof name);
        buffer_init(&out, 1 << 10);
        state_record_append(&out, &record);
        assert_int_equal(state_record_read(buffer_view(&out), &lists, &again), STATE_RECORD_OK);
        assert_int_equal(again.owner.member.size, STATE_NAME_BYTES_MAX);
        buffer_deinit(&out);
}

/* ---- keys ---- */

#define assert_key(job, literal)                                                                             \
        do {                                                                                                 \
                struct buffer key;                                                                           \
                buffer_init(&key, 4096);                                                                     \
                state_key_append(&key, &(job));                                                              \
                assert_int_equal(key.size, sizeof(literal) - 1);                                             \
                assert_memory_equal(key.data, (literal), sizeof(literal) - 1);                               \
                buffer_deinit(&key);                                                                         \
        } while (0)

static void keys_are_never_shared(void **state) {
        (void)state;
        struct job_spec job = {.workspace = BYTES("default"), .idempotency = BYTES("k")};
        assert_key(job, "k");
        job.idempotency = BYTES("a\0k");
        assert_key(job, "default\0a\0k");
        job.idempotency = BYTES("\0owner");
        assert_key(job, "default\0\0owner");
        job.workspace = BYTES("a");
        job.idempotency = BYTES("k");
        assert_key(job, "a\0k");
        job = (struct job_spec){
                .failure = FAILURE_INVALID_JOB, .sequence = UINT64_MAX, .timestamp_unix_ms = -1};
        assert_key(job, "\0record/18446744073709551615@-1");
        struct buffer owner;
        buffer_init(&owner, 64);
        state_key_append_owner(&owner);
        assert_int_equal(state_key_kind(buffer_view(&owner)), STATE_KEY_OWNER);
        buffer_clear(&owner);
        state_key_append_record(&owner, 0, 0);
        assert_int_equal(state_key_kind(buffer_view(&owner)), STATE_KEY_RECORD);
        buffer_clear(&owner);
        state_key_append_spend(&owner, true, BYTES("p"));
        assert_true(bytes_equal(buffer_view(&owner), RAW("\0spend/p/p")));
        assert_int_equal(state_key_kind(buffer_view(&owner)), STATE_KEY_SPEND);
        buffer_deinit(&owner);
        assert_int_equal(state_key_kind(RAW("k")), STATE_KEY_JOB);
        assert_int_equal(state_key_kind(RAW("\0spend/")), STATE_KEY_UNKNOWN);
        assert_int_equal(state_key_kind(RAW("default\0\0owner")), STATE_KEY_JOB);
        assert_int_equal(state_key_kind(RAW("")), STATE_KEY_UNKNOWN);
        assert_int_equal(state_key_kind(RAW("\0ownership")), STATE_KEY_UNKNOWN);
        assert_int_equal(state_key_kind(RAW("\0record/")), STATE_KEY_UNKNOWN);
}

/* Sums that would lead whoever reckons with them astray. */
static void a_spend_is_in_order(void **state) {
        (void)state;
#define NO_PERIOD "\xd3\x80\0\0\0\0\0\0\0"
#define HEAD                                                                                                 \
        "\xa1v\x01\xa1t\xa1m\xa1"                                                                            \
        "a\x09\xa1m\xa1w\xa1"                                                                                \
        "c\x05"
#define PERIODS "\xa2sp\x98\x0a\x01\x09\x02\x00\x03" NO_PERIOD "\x00"
        assert_read("\x86" HEAD PERIODS, STATE_RECORD_OK);
        assert_read("\x85" HEAD, STATE_RECORD_DAMAGED);
        assert_read("\x86\xa1v\x01\xa1t\xa1m\xa1"
                    "a\x09\xa1m\xa0\xa1"
                    "c\x05" PERIODS,
                    STATE_RECORD_DAMAGED);
        assert_read("\x86\xa1v\x01\xa1t\xa1m\xa1"
                    "a\x09\xa1m\xa1w\xa1"
                    "c\xff" PERIODS,
                    STATE_RECORD_DAMAGED);
        /* too few, one too many, an amount below 0, the month of another day, a day beyond all times */
        assert_read("\x86" HEAD "\xa2sp\x96\x0a\x01\x09\x02\x00\x03", STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x99\x0a\x01\x09\x02\x00\x03\x00\x00\x00", STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x98\x0a\xff\x09\x02\x00\x03" NO_PERIOD "\x00", STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x98\x0a\x01\x09\x02\x01\x03" NO_PERIOD "\x00", STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x98\xcf\x7f\0\0\0\0\0\0\0\x01\x09\x02\x00\x03" NO_PERIOD "\x00",
                    STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x98" NO_PERIOD "\x00" NO_PERIOD
                    "\x00\xcf\0\0\0\x01\0\0\0\0\x03" NO_PERIOD "\x00",
                    STATE_RECORD_DAMAGED);
        assert_read("\x86" HEAD "\xa2sp\x98\x0a\x01\x09\x02\x00\xa1x" NO_PERIOD "\x00", STATE_RECORD_DAMAGED);
        /* risks and allowances */
        assert_read("\x88" HEAD PERIODS "\xa2sr\x93\x0a\x01\x07\xa2sa\x92\x0a\x07", STATE_RECORD_OK);
        assert_read("\x87" HEAD PERIODS "\xa2sr\x92\x0a\x01", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sr\x93\x0a\x01\xff", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sr\x93" NO_PERIOD "\x01\x07", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sr\xdc\x00\x33", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sa\x93\x0a\x07\x0a", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sa\x92\x0a\xff", STATE_RECORD_DAMAGED);
        assert_read("\x87" HEAD PERIODS "\xa2sa\x96\x0a\x07\x0a\x07\x0a\x07", STATE_RECORD_DAMAGED);
#undef NO_PERIOD
#undef HEAD
#undef PERIODS
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_not_known_is_passed_over),
                cmocka_unit_test(what_a_newer_version_wrote_is_not_guessed_at),
                cmocka_unit_test(what_is_no_record_is_damaged),
                cmocka_unit_test(lists_are_bounded),
                cmocka_unit_test(every_shorter_record_is_damaged),
                cmocka_unit_test(a_full_buffer_gets_nothing),
                cmocka_unit_test(long_names_are_cut),
                cmocka_unit_test(keys_are_never_shared),
                cmocka_unit_test(a_spend_is_in_order),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
