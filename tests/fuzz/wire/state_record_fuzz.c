/*
 * Any bytes as a value of the state topic. What is read lies inside of the input, and what is written of it
 * is read as the same and written as the same bytes.
 */
#include "broker/base/check.h"
#include "broker/wire/quota_list.h"
#include "broker/wire/state_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_BYTES_MAX = 1 << 22 };

static void check_inside(struct bytes part, struct bytes whole) {
        CHECK(part.data == NULL || (part.data >= whole.data && part.size <= whole.size &&
                                    part.data + part.size <= whole.data + whole.size));
}

struct hearing {
        struct bytes value;
        size_t count;
};

static bool hear(void *userdata, const struct quota_row *row) {
        struct hearing *hearing = userdata;
        check_inside(row->name, hearing->value);
        CHECK((unsigned)row->quota < QUOTAS_COUNT && (unsigned)row->of < QUOTA_OF_COUNT && row->amount >= 0);
        return ++hearing->count < 1000;
}

static void check_quotas(struct bytes list) {
        struct hearing hearing = {.value = list};
        uint32_t whole;
        if (quota_list_read(list, &whole, hear, &hearing))
                CHECK(hearing.count < 1000);
}

static void check_parts(const struct state_record *record, struct bytes value) {
        if (record->kind == STATE_PARKED) {
                const struct job_record *parked = &record->parked.record;
                check_inside(parked->key, value);
                check_inside(parked->value, value);
                CHECK(parked->headers_count <= STATE_HEADERS_MAX);
                for (size_t i = 0; i < parked->headers_count; i++) {
                        check_inside(parked->headers[i].name, value);
                        check_inside(parked->headers[i].value, value);
                }
        } else if (record->kind == STATE_OWNER) {
                check_inside(record->owner.member, value);
                CHECK(record->owner.usage_count <= STATE_USAGE_MAX);
                for (size_t i = 0; i < record->owner.usage_count; i++)
                        check_inside(record->owner.usage[i].name, value);
                check_inside(record->owner.quotas, value);
                check_quotas(record->owner.quotas);
        } else if (record->kind == STATE_SPEND) {
                check_inside(record->spend.name, value);
                CHECK(record->spend.spend.risks_count <= BUDGET_RISKS_MAX);
        } else if (record->kind == STATE_BEGUN) {
                check_inside(record->begun.endpoint, value);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct state_lists lists, lists_again;
        struct bytes value = {(const char *)data, size};
        struct state_record record, again;
        struct buffer first, second;
        check_quotas(value); /* as itself, too: nothing of a record's is needed to get there */
        if (size > FUZZ_BYTES_MAX / 4 || state_record_read(value, &lists, &record) != STATE_RECORD_OK)
                return 0;
        check_parts(&record, value);
        buffer_init(&first, FUZZ_BYTES_MAX);
        buffer_init(&second, FUZZ_BYTES_MAX);
        state_record_append(&first, &record);
        CHECK(!first.failed);
        CHECK(record.kind != STATE_SETTLED || first.size <= STATE_SETTLED_BYTES_MAX + 2);
        CHECK(state_record_read(buffer_view(&first), &lists_again, &again) == STATE_RECORD_OK);
        state_record_append(&second, &again);
        CHECK(bytes_equal(buffer_view(&first), buffer_view(&second)));
        buffer_deinit(&first);
        buffer_deinit(&second);
        return 0;
}
