/* Any bytes as a zoneinfo file: no zone, or changes in ascending order from the beginning of time on. */
#include "broker/base/check.h"
#include "broker/ops/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena arena;
        struct zone zone = {.name = "f"};
        bool memory_refused;
        arena_init(&arena, (size_t)1 << 20);
        if (zone_parse((struct bytes){(const char *)data, size}, &arena, &zone, &memory_refused)) {
                CHECK(zone.changes_count > 0 && zone.changes[0].from_unix_s == INT64_MIN);
                for (uint32_t i = 1; i < zone.changes_count; i++)
                        CHECK(zone.changes[i].from_unix_s > zone.changes[i - 1].from_unix_s);
        }
        CHECK(!memory_refused);
        arena_deinit(&arena);
        return 0;
}
