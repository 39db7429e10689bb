/* The layouts on disk: bytes as they were in version 1, round trips, and every way of being damaged. */
#include "broker/store/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROW(array) ((struct bytes){(const char *)(array), sizeof(array)})

/* A row that a program of version 1 wrote. It must be read for ever. */
static const uint8_t settled_v1[SETTLED_BYTES] = {
        1,    5,    8,    1,                      /* version, flags, attempts_exhausted, errors */
        0xf7, 0x01, 0,    0,                      /* 503 */
        3,    0,    0,    0,    0x10, 0x20, 0, 0, /* attempts, size */
        0x15, 0xcd, 0x5b, 0x07, 0,    0,    0, 0, /* 123456789 picodollars */
        0,    0x68, 0xe5, 0xcf, 0x8b, 1,    0, 0, /* 1700000000000 ms */
        0,    0,    0,    0,    1,    0,    0, 0, /* offset 2^32 */
        0xaa, 0,    0,    0,    0,    0,    0, 0, /* fingerprint */
        0,    0,    0,    0,    0,    0,    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbb,
};

static void settled_of_version_1_is_read(void **state) {
        (void)state;
        struct settled settled;
        uint8_t again[SETTLED_BYTES];
        assert_int_equal(settled_decode(ROW(settled_v1), &settled), RECORD_OK);
        assert_int_equal(settled.failure, FAILURE_ATTEMPTS_EXHAUSTED);
        assert_int_equal(settled.sink, 1);
        assert_int_equal(settled.status, 503);
        assert_int_equal(settled.attempts, 3);
        assert_int_equal(settled.size, 0x2010);
        assert_true(settled.cost_known && !settled.cost_is_estimate && settled.fingerprint_known);
        assert_int_equal(settled.cost_picousd, 123456789);
        assert_int_equal(settled.settled_unix_ms, 1700000000000);
        assert_int_equal(settled.offset, UINT64_C(1) << 32);
        assert_int_equal(settled.fingerprint[0], 0xaa);
        assert_int_equal(settled.fingerprint[31], 0xbb);
        settled_encode(&settled, again);
        assert_memory_equal(again, settled_v1, sizeof(again));
}

/* The failure is stored as its position in errors.def: new ones go to the end. */
static void positions_of_failures_stay(void **state) {
        (void)state;
        assert_int_equal(FAILURE_NONE, 0);
        assert_int_equal(FAILURE_INVALID_JOB, 1);
        assert_int_equal(FAILURE_ATTEMPTS_EXHAUSTED, 8);
        assert_int_equal(FAILURE_UNKNOWN_OUTCOME, 12);
        assert_int_equal(FAILURE_INTERNAL, 17);
}

static void damaged_settled_rows_are_refused(void **state) {
        (void)state;
        static const struct {
                size_t at;
                uint8_t value;
                size_t size;
                enum record_outcome outcome;
        } rows[] = {
                {0, 0, SETTLED_BYTES, RECORD_DAMAGED},
                {0, 2, SETTLED_BYTES, RECORD_NEWER},
                {0, 255, SETTLED_BYTES, RECORD_NEWER},
                {1, 8, SETTLED_BYTES, RECORD_DAMAGED},
                {2, 200, SETTLED_BYTES, RECORD_DAMAGED},
                {3, 2, SETTLED_BYTES, RECORD_DAMAGED},
                {0, 1, SETTLED_BYTES - 1, RECORD_DAMAGED},
                {0, 1, 1, RECORD_DAMAGED},
                {0, 1, 0, RECORD_DAMAGED},
                {0, 1, SETTLED_BYTES, RECORD_OK},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                struct settled settled = {.status = 77};
                uint8_t row[SETTLED_BYTES];
                memcpy(row, settled_v1, sizeof(row));
                row[rows[i].at] = rows[i].value;
                assert_int_equal(settled_decode((struct bytes){(char *)row, rows[i].size}, &settled),
                                 rows[i].outcome);
                assert_int_equal(settled.status, rows[i].outcome == RECORD_OK ? 503 : 77);
        }
}

static void begun_entries_go_round_and_are_checked(void **state) {
        (void)state;
        struct begun begun = {.key = {1, 2},
                              .partition = STORE_NO_PARTITION,
                              .attempt = 3,
                              .exposure_picousd = -1},
                     back;
        uint8_t row[2 * BEGUN_BYTES_MAX];
        memset(begun.endpoint, 'e', sizeof(begun.endpoint) - 1);
        begun.fingerprint[7] = 9;
        size_t first = begun_encode(&begun, row);
        assert_int_equal(first, 61 + 63);
        assert_int_equal(block_version(&begun), 1);
        begun.endpoint[3] = 0;
        begun.key.lo = 5;
        size_t size = first + begun_encode(&begun, row + first);
        struct bytes rest = {(char *)row, size};
        assert_int_equal(begun_decode(1, &rest, &back), RECORD_OK);
        assert_int_equal(strlen(back.endpoint), 63);
        assert_int_equal(begun_decode(1, &rest, &back), RECORD_OK);
        assert_string_equal(back.endpoint, "eee");
        assert_true(back.key.hi == 1 && back.key.lo == 5 && back.attempt == 3 && back.exposure_picousd == -1);
        assert_int_equal(back.fingerprint[7], 9);
        assert_int_equal(back.partition, STORE_NO_PARTITION);
        assert_int_equal(rest.size, 0);
        for (size_t cut = 0; cut < first; cut++) {
                rest = (struct bytes){(char *)row, cut};
                assert_int_equal(begun_decode(1, &rest, &back), RECORD_DAMAGED);
                assert_int_equal(rest.size, cut);
        }
        static const struct {
                size_t at;
                uint8_t value;
        } damages[] = {{48, 0}, {59, 0x80}, {60, 64}, {70, 0}};
        for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
                uint8_t bad[61 + 63];
                memcpy(bad, row, sizeof(bad));
                bad[damages[i].at] = damages[i].value;
                rest = ROW(bad);
                assert_int_equal(begun_decode(1, &rest, &back), RECORD_DAMAGED);
        }
}

static void holds_go_round_and_are_checked(void **state) {
        (void)state;
        struct begun begun = {.key = {1, 2},
                              .partition = STORE_NO_PARTITION,
                              .attempt = 3,
                              .exposure_picousd = 9,
                              .endpoint = "p/m",
                              .holds = true,
                              .hold_picousd = 7,
                              .hold_day = 20000,
                              .workspace = BYTES("w"),
                              .provider = BYTES("pp")},
                     back;
        uint8_t row[BEGUN_BYTES_MAX];
        size_t size = begun_encode(&begun, row);
        assert_int_equal(block_version(&begun), 3);
        assert_int_equal(size, 65 + 3 + 16 + 2 + 3);
        struct bytes rest = {(char *)row, size};
        assert_int_equal(begun_decode(3, &rest, &back), RECORD_OK);
        assert_int_equal(rest.size, 0);
        assert_true(back.holds && back.hold_picousd == 7 && back.hold_day == 20000);
        assert_true(bytes_equal_string(back.workspace, "w") && bytes_equal_string(back.provider, "pp"));
        assert_int_equal(back.partition, STORE_NO_PARTITION);
        for (size_t cut = 0; cut < size; cut++) {
                rest = (struct bytes){(char *)row, cut};
                assert_int_equal(begun_decode(3, &rest, &back), RECORD_DAMAGED);
        }
        row[68 + 7] = 0x80; /* less than nothing */
        rest = (struct bytes){(char *)row, size};
        assert_int_equal(begun_decode(3, &rest, &back), RECORD_DAMAGED);
        begun.partition = 5;
        char name[SPEND_NAME_MAX + 9];
        memset(name, 'n', sizeof(name));
        begun.workspace = begun.provider = (struct bytes){name, sizeof(name)}; /* cut */
        size = begun_encode(&begun, row);
        rest = (struct bytes){(char *)row, size};
        assert_int_equal(begun_decode(3, &rest, &back), RECORD_OK);
        assert_int_equal(back.workspace.size, SPEND_NAME_MAX);
        assert_int_equal(back.partition, 5);
}

/* A row of version 1, with one risk. It must be read for ever. */
static const uint8_t spend_v1[74 + 24] = {
        1,    0x20, 0x4e, 0,    0,    0,    0,    0,    0,
        7,    0,    0,    0,    0,    0,    0,    0, /* day 20000: 7 */
        0x1f, 0x4e, 0,    0,    0,    0,    0,    0,    6,
        0,    0,    0,    0,    0,    0,    0, /* the one before: 6 */
        0x91, 2,    0,    0,    0,    0,    0,    0,    13,
        0,    0,    0,    0,    0,    0,    0, /* month 657: 13 */
        0,    0,    0,    0,    0,    0,    0,    0x80, 0,
        0,    0,    0,    0,    0,    0,    0,             /* none */
        14,   0,    0,    0,    0,    0,    0,    0,    1, /* in all; one risk */
        0x20, 0x4e, 0,    0,    0,    0,    0,    0,    0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, /* for ever */
        5,    0,    0,    0,    0,    0,    0,    0,
};

static void spend_of_version_1_is_read(void **state) {
        struct budget_spend spend = {.lifetime_picousd = 77};
        uint8_t again[SPEND_BYTES_MAX], bad[sizeof(spend_v1)];
        (void)state;
        assert_int_equal(spend_decode(ROW(spend_v1), &spend), RECORD_OK);
        assert_true(spend.days[0].number == 20000 && spend.days[0].settled_picousd == 7);
        assert_true(spend.days[1].number == 19999 && spend.months[0].number == 657);
        assert_true(spend.months[1].number == BUDGET_NO_PERIOD && spend.lifetime_picousd == 14);
        assert_true(spend.risks_count == 1 && spend.risks[0].day == 20000 && spend.risks[0].picousd == 5 &&
                    spend.risks[0].release_unix_ms == BUDGET_KEPT);
        assert_int_equal(spend_encode(&spend, again), sizeof(spend_v1));
        assert_memory_equal(again, spend_v1, sizeof(spend_v1));
        static const struct {
                size_t at;
                uint8_t value;
                enum record_outcome outcome;
        } damages[] = {{0, 0, RECORD_DAMAGED},     {0, 2, RECORD_NEWER},      {16, 0x80, RECORD_DAMAGED},
                       {72, 0x80, RECORD_DAMAGED}, {73, 2, RECORD_DAMAGED},   {73, 17, RECORD_DAMAGED},
                       {8, 0x40, RECORD_DAMAGED},  {97, 0x80, RECORD_DAMAGED}};
        for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
                memcpy(bad, spend_v1, sizeof(bad));
                bad[damages[i].at] = damages[i].value;
                spend.lifetime_picousd = 77;
                assert_int_equal(spend_decode(ROW(bad), &spend), damages[i].outcome);
                assert_int_equal(spend.lifetime_picousd, 77);
        }
        for (size_t cut = 0; cut < sizeof(spend_v1); cut++)
                assert_int_equal(spend_decode((struct bytes){(const char *)spend_v1, cut}, &spend),
                                 RECORD_DAMAGED);
}

static void keys_of_spend(void **state) {
        char key[SPEND_KEY_MAX];
        enum spend_kind kind;
        struct bytes name;
        uint64_t block;
        uint8_t row[COUNTED_BYTES];
        (void)state;
        struct bytes whole = {key, spend_key_encode(SPEND_PROVIDER, BYTES("a/b"), key)};
        assert_true(bytes_equal_string(whole, "spend/p/a/b"));
        assert_true(spend_key_decode(whole, &kind, &name));
        assert_true(kind == SPEND_PROVIDER && bytes_equal_string(name, "a/b"));
        assert_true(spend_key_decode(BYTES("spend/w/x"), &kind, &name) && kind == SPEND_WORKSPACE);
        assert_false(spend_key_decode(BYTES("spend/w/"), &kind, &name));
        assert_false(spend_key_decode(BYTES("spend/x/y"), &kind, &name));
        assert_false(spend_key_decode(BYTES("spent/w/y"), &kind, &name));
        assert_false(spend_key_decode(BYTES("spend/wxy"), &kind, &name));
        counted_encode(UINT64_C(1) << 40, row);
        assert_int_equal(counted_decode(ROW(row), &block), RECORD_OK);
        assert_int_equal(block, UINT64_C(1) << 40);
        assert_int_equal(counted_decode((struct bytes){(char *)row, 8}, &block), RECORD_DAMAGED);
}

static void sources_go_round_and_are_checked(void **state) {
        (void)state;
        struct source_state source = {.offset = 1,
                                      .lines = 2,
                                      .sequence = 3,
                                      .crc = 4,
                                      .outputs_bytes = {5, 6}},
                            back;
        uint8_t row[SOURCE_BYTES_MAX];
        memset(source.outputs[0], 'p', 511);
        strcpy(source.outputs[1], "-");
        source.updated_unix_ms = -7;
        size_t size = source_encode(&source, row);
        assert_int_equal(source_decode((struct bytes){(char *)row, size}, &back), RECORD_OK);
        assert_memory_equal(&back, &source, sizeof(back));
        for (size_t cut = 0; cut < size; cut++)
                assert_int_equal(source_decode((struct bytes){(char *)row, cut}, &back), RECORD_DAMAGED);
        assert_int_equal(source_decode((struct bytes){(char *)row, size + 1}, &back), RECORD_DAMAGED);
        row[0] = 2;
        assert_int_equal(source_decode((struct bytes){(char *)row, size}, &back), RECORD_NEWER);
        row[0] = 1;
        row[55] = 2; /* a path of 512 bytes and more */
        assert_int_equal(source_decode((struct bytes){(char *)row, size}, &back), RECORD_DAMAGED);
}

static void keys_sort_and_go_round(void **state) {
        (void)state;
        uint8_t block[BLOCK_KEY_BYTES], end[END_KEY_BYTES], next[BLOCK_KEY_BYTES], key[KEY_BYTES];
        struct begun_id id;
        bool is_end;
        struct key128 back;
        block_key_encode(255, block);
        end_key_encode((struct begun_id){255, UINT32_MAX}, end);
        block_key_encode(256, next);
        assert_true(memcmp(block, end, sizeof(block)) == 0 && memcmp(end, next, sizeof(next)) < 0);
        assert_true(begun_key_decode(ROW(block), &id, &is_end) && !is_end && id.block == 255 &&
                    id.index == 0);
        assert_true(begun_key_decode(ROW(end), &id, &is_end) && is_end && id.index == UINT32_MAX);
        assert_false(begun_key_decode((struct bytes){(char *)end, 9}, &id, &is_end));
        block_key_encode(0, block);
        assert_false(begun_key_decode(ROW(block), &id, &is_end));
        key_encode((struct key128){UINT64_MAX - 3, 12}, key);
        assert_true(key_decode(ROW(key), &back) && back.hi == UINT64_MAX - 3 && back.lo == 12);
        assert_false(key_decode((struct bytes){(char *)key, 15}, &back));
}

/* A block of version 2 has the partition of each attempt. */
static void attempts_of_partitions_go_round_and_are_checked(void **state) {
        (void)state;
        struct begun begun = {.key = {1, 2}, .partition = 0x0203, .attempt = 3, .exposure_picousd = 7}, back;
        uint8_t row[BEGUN_BYTES_MAX], version = 0;
        struct bytes rest;
        memset(begun.endpoint, 'e', sizeof(begun.endpoint) - 1);
        assert_int_equal(block_version(&begun), 2);
        size_t size = begun_encode(&begun, row);
        assert_int_equal(size, 65 + 63);
        assert_int_equal(row[60], 3);
        assert_int_equal(row[61], 2);
        for (size_t cut = 0; cut < size; cut++) {
                rest = (struct bytes){(char *)row, cut};
                assert_int_equal(begun_decode(2, &rest, &back), RECORD_DAMAGED);
        }
        rest = ROW(row);
        assert_int_equal(begun_decode(2, &rest, &back), RECORD_OK);
        assert_int_equal(back.partition, 0x0203);
        assert_string_equal(back.endpoint, begun.endpoint);
        row[62] = 1; /* no such partition */
        rest = ROW(row);
        assert_int_equal(begun_decode(2, &rest, &back), RECORD_DAMAGED);
        assert_int_equal(block_decode(BYTES("\2x"), &version, &rest), RECORD_OK);
        assert_true(version == 2 && rest.size == 1);
        assert_int_equal(block_decode(BYTES("\4x"), &version, &rest), RECORD_NEWER);
        assert_int_equal(block_decode(BYTES(""), &version, &rest), RECORD_DAMAGED);
}

static void marks_go_round_and_are_checked(void **state) {
        (void)state;
        uint8_t row[MARK_BYTES], fingerprint[32] = {1, 2, 3};
        struct job_row back;
        mark_encode(0x0102030405, fingerprint, row);
        assert_int_equal(job_row_decode(ROW(row), 4, &back), RECORD_OK);
        assert_true(back.kind == JOB_ROW_PARKED && back.due_unix_ms == 0x0102030405);
        assert_memory_equal(back.fingerprint, fingerprint, 32);
        /* Among the jobs of files there are none. */
        assert_int_equal(job_row_decode(ROW(row), STORE_NO_PARTITION, &back), RECORD_DAMAGED);
        assert_int_equal(job_row_decode((struct bytes){(char *)row, MARK_BYTES - 1}, 4, &back),
                         RECORD_DAMAGED);
        static const struct {
                size_t at;
                uint8_t value;
                enum record_outcome outcome;
        } rows[] = {{0, 0, RECORD_DAMAGED},
                    {0, 2, RECORD_NEWER},
                    {1, 7, RECORD_DAMAGED},
                    {9, 0x80, RECORD_DAMAGED}};
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                uint8_t bad[MARK_BYTES];
                memcpy(bad, row, sizeof(bad));
                bad[rows[i].at] = rows[i].value;
                assert_int_equal(job_row_decode(ROW(bad), 4, &back), rows[i].outcome);
        }
        assert_int_equal(job_row_decode(ROW(settled_v1), 4, &back), RECORD_OK);
        assert_true(back.kind == JOB_ROW_SETTLED && back.settled.partition == 4);
}

static void answers_go_round_and_are_checked(void **state) {
        (void)state;
        uint8_t row[ANSWER_HEAD_BYTES + 3], key[ANSWER_KEY_BYTES];
        struct settled settled, back;
        struct bytes value;
        bool dead_letter = false;
        uint32_t partition = 0;
        struct key128 name;
        assert_int_equal(settled_decode(ROW(settled_v1), &settled), RECORD_OK);
        answer_head_encode(&settled, true, row);
        memcpy(row + ANSWER_HEAD_BYTES, "abc", 3);
        assert_int_equal(answer_decode(ROW(row), &back, &dead_letter, &value), RECORD_OK);
        assert_true(dead_letter && bytes_equal_string(value, "abc") && back.offset == settled.offset);
        assert_int_equal(answer_decode((struct bytes){(char *)row, ANSWER_HEAD_BYTES - 1}, &back,
                                       &dead_letter, &value),
                         RECORD_DAMAGED);
        row[1] = 2;
        assert_int_equal(answer_decode(ROW(row), &back, &dead_letter, &value), RECORD_DAMAGED);
        row[0] = 2;
        assert_int_equal(answer_decode(ROW(row), &back, &dead_letter, &value), RECORD_NEWER);
        answer_key_encode(9, (struct key128){5, 6}, key);
        assert_true(answer_key_decode(ROW(key), &partition, &name) && partition == 9 && name.hi == 5 &&
                    name.lo == 6);
        key[0] = 1;
        assert_false(answer_key_decode(ROW(key), &partition, &name));
}

static void numbers_of_answers_sort_and_are_checked(void **state) {
        (void)state;
        uint8_t low[ANSWER_NUMBER_BYTES], high[ANSWER_NUMBER_BYTES], row[ANSWER_KEY_BYTES + 2];
        uint64_t number = 0;
        uint32_t partition = 0;
        struct key128 name;
        answer_number_encode(255, low);
        answer_number_encode(256, high);
        assert_true(memcmp(low, high, sizeof(low)) < 0);
        assert_true(answer_number_decode(ROW(high), &number) && number == 256);
        assert_false(answer_number_decode((struct bytes){(char *)high, sizeof(high) - 1}, &number));
        answer_number_encode(0, low);
        assert_false(answer_number_decode(ROW(low), &number));
        answer_key_encode(9, (struct key128){5, 6}, row);
        memcpy(row + ANSWER_KEY_BYTES, "ab", 2);
        struct bytes rest = ROW(row);
        assert_true(answer_take_owner(&rest, &partition, &name) && bytes_equal_string(rest, "ab"));
        assert_true(partition == 9 && name.hi == 5 && name.lo == 6);
        rest.data = (char *)row;
        rest.size = ANSWER_KEY_BYTES - 1;
        assert_false(answer_take_owner(&rest, &partition, &name));
}

static void keys_of_parked_jobs_sort_by_time(void **state) {
        (void)state;
        uint8_t before[DUE_KEY_BYTES], after[DUE_KEY_BYTES], body[PARKED_KEY_BYTES];
        struct parked_cursor back;
        uint32_t partition;
        due_key_encode(3, &(struct parked_cursor){255, {UINT64_MAX, 1}}, before);
        due_key_encode(3, &(struct parked_cursor){256, {0, 0}}, after);
        assert_true(memcmp(before, after, sizeof(before)) < 0);
        assert_true(due_key_decode(ROW(before), &partition, &back));
        assert_true(partition == 3 && back.due_unix_ms == 255 && back.key.hi == UINT64_MAX &&
                    back.key.lo == 1);
        before[5] = 0x80;
        assert_false(due_key_decode(ROW(before), &partition, &back));
        parked_key_encode(3, (struct key128){1, 2}, body);
        assert_false(due_key_decode(ROW(body), &partition, &back));
        assert_true(parked_key_decode(ROW(body), &partition, &back.key) && back.key.lo == 2);
        assert_false(parked_key_decode(ROW(after), &partition, &back.key));
}

static void names_of_partitions_are_read_strictly(void **state) {
        (void)state;
        static const char *const bad[] = {"partition-",      "partition-1",      "partition-0001x",
                                          "partition-99999", "partition-000001", "Partition-00001"};
        char name[NUMBER_NAME_MAX];
        uint32_t number = 0;
        assert_int_equal(number_name("partition-", 17, name), 15);
        assert_string_equal(name, "partition-00017");
        assert_true(number_of_name(bytes_of(name), "partition-", &number) && number == 17);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
                assert_false(number_of_name(bytes_of(bad[i]), "partition-", &number));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(settled_of_version_1_is_read),
                cmocka_unit_test(positions_of_failures_stay),
                cmocka_unit_test(damaged_settled_rows_are_refused),
                cmocka_unit_test(begun_entries_go_round_and_are_checked),
                cmocka_unit_test(holds_go_round_and_are_checked),
                cmocka_unit_test(spend_of_version_1_is_read),
                cmocka_unit_test(keys_of_spend),
                cmocka_unit_test(sources_go_round_and_are_checked),
                cmocka_unit_test(keys_sort_and_go_round),
                cmocka_unit_test(attempts_of_partitions_go_round_and_are_checked),
                cmocka_unit_test(marks_go_round_and_are_checked),
                cmocka_unit_test(answers_go_round_and_are_checked),
                cmocka_unit_test(numbers_of_answers_sort_and_are_checked),
                cmocka_unit_test(keys_of_parked_jobs_sort_by_time),
                cmocka_unit_test(names_of_partitions_are_read_strictly),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
