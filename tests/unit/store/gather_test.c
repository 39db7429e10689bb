/* Settled rows of partitions that are gathered: what a look-up finds, what survives, and how they come into
 * their families. */
#include "broker/store/gather.h"
#include "broker/store/inside.h"
#include "broker/store/packet.h"
#include "partitions.h"

enum { P = 5, FEW = 100, FOR_A_FILE = 32768, IN_A_BATCH = 500, MANY = FOR_A_FILE + IN_A_BATCH };

static void settle_on(struct world *world, uint32_t partition, uint64_t from, uint64_t until) {
        for (uint64_t n = from; n < until; n++) {
                world_settle(world, partition, n, no_id);
                if (n % IN_A_BATCH == IN_A_BATCH - 1 || n + 1 == until)
                        world_write(world);
        }
}

/* Those of few, and of many some. */
static void assert_settled_from(struct world *world, uint32_t partition, uint64_t from, uint64_t until) {
        for (uint64_t n = from; n<until; n += until - from> FEW * 10 ? 1 + n % 61 : 1) {
                struct store_record record = world_record(world, partition, n);
                assert_int_equal(record.found, STORE_SETTLED);
                assert_int_equal(record.settled.partition, partition);
                assert_int_equal(record.settled.offset, n);
        }
        assert_int_equal(world_found(world, partition, until), STORE_NONE);
}

static void assert_settled(struct world *world, uint32_t partition, uint64_t until) {
        assert_settled_from(world, partition, 0, until);
}

/* Partitions with a state keep their rows. */
static void begin(struct world *world, uint32_t partition) {
        world_partition(world, partition);
        world_state(world, partition, 1);
        world_write(world);
}

static void await(struct world *world, uint32_t partition) {
        gather_wait(world->store, db_partition(&world->store->db, partition));
}

static uint64_t count_stats(struct world *world) {
        struct store_stats stats;
        assert_null(store_stats(world->store, &stats));
        return stats.settled;
}

static void are_found_and_survive_a_crash(void **state) {
        struct world *world = *state;
        begin(world, P);
        begin(world, P + 1);
        settle_on(world, P, 0, FEW);
        settle_on(world, P, FEW, 3 * FEW);
        settle_on(world, P + 1, 0, FEW); /* the same keys, other jobs */
        for (int round = 0; round < 2; round++) {
                assert_settled(world, P, 3 * FEW);
                assert_settled(world, P + 1, FEW);
                assert_int_equal(world_found(world, P + 2, 1), STORE_NONE);
                assert_int_equal(world_verify(world).settled, 4 * FEW);
                assert_int_equal(count_stats(world), 4 * FEW);
                world_reopen(world, P);
                world_partition(world, P + 1);
        }
        settle_on(world, P, 3 * FEW, 4 * FEW); /* the packets of before stay */
        world_reopen(world, P);
        assert_settled(world, P, 4 * FEW);
        assert_int_equal(world->files, 0);
}

static void many_become_a_file(void **state) {
        struct world *world = *state;
        begin(world, P);
        settle_on(world, P, 0, FOR_A_FILE);
        assert_int_equal(world->files, 0);
        settle_on(world, P, FOR_A_FILE, MANY);
        assert_settled(world, P, MANY); /* at any time */
        await(world, P);
        assert_int_equal(world->files, 1);
        assert_int_equal(world->store->gathered, IN_A_BATCH);
        for (int round = 0; round < 2; round++) {
                assert_settled(world, P, MANY);
                assert_int_equal(world_verify(world).settled, MANY); /* none of them twice */
                world_reopen(world, P);
        }
}

/* From half of the room on files are smaller, if the thread keeps up. */
static void there_is_a_bound_over_all_partitions(void **state) {
        struct world *world = *state;
        enum { PARTITIONS = 6, EACH = 60000, ROOM = 1 << 18 };
        for (uint32_t p = 0; p < PARTITIONS; p++)
                begin(world, p);
        for (uint64_t n = 0; n < EACH; n += IN_A_BATCH) {
                bool keeps_up = n >= EACH / 2;
                for (uint32_t p = 0; p < PARTITIONS; p++)
                        settle_on(world, p, n, n + IN_A_BATCH);
                for (uint32_t p = 0; p < PARTITIONS && keeps_up; p++)
                        await(world, p);
                size_t bound = n > EACH / 2 ? ROOM / 2 + PARTITIONS * IN_A_BATCH : ROOM;
                assert_true(world->store->gathered <= bound);
        }
        assert_true(world->files > 0);
        world_reopen(world, STORE_NO_PARTITION);
        for (uint32_t p = 0; p < PARTITIONS; p++)
                assert_settled(world, p, EACH);
        assert_int_equal(world_verify(world).settled, PARTITIONS * EACH);
}

/* What does not fit is written each row by itself. */
static void others_may_have_all_the_room(void **state) {
        struct world *world = *state;
        enum { PARTITIONS = 80, EACH = 4000 }; /* too few of each for files */
        uint32_t p = 0;
        for (; p < PARTITIONS; p++) {
                begin(world, p);
                settle_on(world, p, 0, EACH);
        }
        size_t gathered = world->store->gathered;
        assert_true(gathered > (1 << 18) - EACH && gathered <= 1 << 18);
        begin(world, p);
        settle_on(world, p, 0, EACH);
        assert_in_range(world->store->gathered, gathered, 1 << 18);
        assert_int_equal(world->files, 0);
        world_reopen(world, p);
        assert_settled(world, p, EACH);
        assert_settled(world, p - 1, EACH);
}

/* Gathered, leaving, in the family, and nowhere; of several partitions. */
static void many_are_looked_up_at_once(void **state) {
        struct world *world = *state;
        enum { COUNT = 300, IN_FAMILY = 10 };
        struct key128 keys[COUNT];
        uint32_t partitions[COUNT];
        struct store_record records[COUNT];
        for (uint32_t p = 0; p < 3; p++) {
                begin(world, p);
                settle_on(world, p, 0, IN_FAMILY);
                store_batch_remove(world->batch, p, key_of(0));
                world_write(world);
                settle_on(world, p, 50, 70);
                /* as while the thread is at them */
                struct partition *partition = db_partition(&world->store->db, p);
                late_move(&partition->leaving, &partition->gathered);
                settle_on(world, p, 70, 80);
        }
        for (uint32_t i = 0; i < COUNT; i++) {
                keys[i] = key_of(i / 3);
                partitions[i] = i % 3;
        }
        assert_null(store_look_up_many(world->store, keys, partitions, COUNT, records));
        for (uint32_t i = 0; i < COUNT; i++) {
                uint32_t n = i / 3;
                bool settled = (n > 0 && n < IN_FAMILY) || (n >= 50 && n < 80);
                assert_int_equal(records[i].found, settled ? STORE_SETTLED : STORE_NONE);
                if (settled)
                        assert_true(records[i].settled.offset == n && records[i].settled.partition == i % 3);
        }
}

static void the_last_row_of_a_key_counts(void **state) {
        struct world *world = *state;
        begin(world, P);
        for (uint64_t round = 0; round < 3; round++) {
                struct settled settled = settled_of(P, round);
                store_batch_settle(world->batch, key_of(1), &settled, no_id);
                world_write(world);
                assert_int_equal(world_record(world, P, 1).settled.offset, round);
                if (round == 1) /* into the family */
                        settle_on(world, P, 2, MANY);
                world_reopen(world, P);
                assert_int_equal(world_record(world, P, 1).settled.offset, round);
        }
}

static void what_is_removed_stays_away(void **state) {
        struct world *world = *state;
        begin(world, P);
        settle_on(world, P, 0, 10);
        store_batch_remove(world->batch, P, key_of(0)); /* of a packet */
        world_settle(world, P, 1, no_id);               /* settled anew, and removed */
        store_batch_remove(world->batch, P, key_of(1));
        store_batch_remove(world->batch, P, key_of(2)); /* removed, and settled anew */
        world_settle(world, P, 2, no_id);
        world_write(world);
        for (int round = 0; round < 2; round++) {
                for (uint64_t n = 0; n < 10; n++)
                        assert_int_equal(world_found(world, P, n), n < 2 ? STORE_NONE : STORE_SETTLED);
                assert_int_equal(world_verify(world).settled, 8);
                world_reopen(world, P);
        }
}

static void parked_jobs_see_them(void **state) {
        struct world *world = *state;
        begin(world, P);
        settle_on(world, P, 0, 10);
        world_park(world, P, 3, 1000); /* settled before: it stays so */
        world_park(world, P, 20, 1000);
        world_settle(world, P, 21, no_id); /* in the same batch */
        world_park(world, P, 21, 1000);
        world_write(world);
        assert_int_equal(store_count_parked(world->store, P), 1);
        assert_int_equal(world_found(world, P, 3), STORE_SETTLED);
        assert_int_equal(world_found(world, P, 20), STORE_PARKED);
        assert_int_equal(world_found(world, P, 21), STORE_SETTLED);
        settle_on(world, P, 10, 21); /* the parked one is the last */
        assert_int_equal(store_count_parked(world->store, P), 0);
        settle_on(world, P, 22, 30);
        for (int round = 0; round < 2; round++) {
                assert_settled(world, P, 30);
                assert_int_equal(world_verify(world).parked, 0);
                world_reopen(world, P);
        }
}

/* A load that is large enough for files comes after what was gathered, a small one too. */
static void a_load_comes_after_them(void **state) {
        struct world *world = *state;
        for (uint64_t count = 100; count <= 30000; count += 29900) {
                struct store_load *load;
                struct partition_state at = {.changelog_offset = count, .updated_unix_ms = 1};
                begin(world, P);
                settle_on(world, P, 0, 10);
                assert_null(store_load_begin(world->store, P, &load));
                for (uint64_t n = 10; n < count; n++) {
                        struct settled settled = settled_of(P, n);
                        assert_null(store_load_settled(load, key_of(n), &settled));
                }
                assert_null(store_load_remove(load, key_of(4)));
                assert_null(store_load_end(load, &at));
                for (int round = 0; round < 2; round++) {
                        for (uint64_t n = 0; n < count; n++)
                                assert_int_equal(world_found(world, P, n),
                                                 n == 4 ? STORE_NONE : STORE_SETTLED);
                        assert_int_equal(world_verify(world).settled, count - 1);
                        world_reopen(world, P);
                }
                assert_null(store_partition_drop(world->store, P));
        }
}

static void they_go_with_their_partition(void **state) {
        struct world *world = *state;
        for (int drop = 0; drop < 2; drop++) {
                begin(world, P);
                settle_on(world, P, 0, FEW);
                assert_null(drop ? store_partition_drop(world->store, P)
                                 : store_partition_clear(world->store, P));
                assert_int_equal(world_found(world, P, 1), STORE_NONE);
                world_reopen(world, P);
                assert_int_equal(world_found(world, P, 1), STORE_NONE);
                assert_int_equal(world_verify(world).settled, 0);
        }
}

/*
 * While rows come into their family each operation fails once, of the thread or of a write beside it. On a
 * full disk it is tried again, else the store has to be opened again; all that was said to be written is
 * there, once.
 */
static void failures_lose_nothing(void **state) {
        struct world *world = *state;
        static const char *const operations[] = {"file", "ingest", "write", "write", "written", "written"};
        uint64_t settled = 0, before = 0;
        begin(world, P);
        for (size_t i = 0; i < 2 * sizeof(operations) / sizeof(*operations); i++) {
                bool full = i % 2;
                enum error_class kind = full ? ERROR_FULL : ERROR_IO;
                store_batch_remove(world->batch, P, key_of(settled)); /* all that is gathered comes in */
                world_write(world);
                settle_on(world, P, settled, settled + FOR_A_FILE); /* so the next write sends them off */
                settled += FOR_A_FILE;
                world->operation = operations[i / 2];
                world->countdown = (i / 2) % 2 && i >= 4;
                world->code = full ? ENOSPC : EIO;
                world_settle(world, P, settled, no_id);
                struct error *error = store_write(world->store, world->batch);
                await(world, P);
                world->code = 0;
                if (error)
                        expect_error(error, kind, "");
                else
                        world_settle(world, P, settled, no_id);
                if (full)
                        world_write(world);
                else
                        expect_error(store_write(world->store, world->batch), ERROR_IO, "closed for writing");
                world_reopen(world, P);
                world_settle(world, P, settled++, no_id); /* which may be there already */
                world_write(world);
                assert_settled_from(world, P, before, settled);
                before = settled;
        }
        await(world, P);
        store_batch_remove(world->batch, P, key_of(settled));
        world_write(world);
        assert_int_equal(world_verify(world).settled, settled);
}

/* The thread could not; the next write that must see the family's rows brings in both. */
static void what_the_thread_left_comes_first(void **state) {
        struct world *world = *state;
        begin(world, P);
        world->operation = "file";
        world->countdown = 0;
        world->code = ENOSPC;
        settle_on(world, P, 0, MANY + IN_A_BATCH);
        await(world, P);
        assert_int_equal(world->files, 0);
        world_settle(world, P, 1, no_id);
        world_write(world);
        world_park(world, P, 2, 1000);
        world_write(world);
        assert_int_equal(world->store->gathered, 0);
        assert_int_equal(world->files, 1);
        assert_settled(world, P, MANY + IN_A_BATCH);
        assert_int_equal(store_count_parked(world->store, P), 0);
        assert_int_equal(world_verify(world).settled, MANY + IN_A_BATCH);
}

static void what_needs_them_in_the_family_waits_for_the_thread(void **state) {
        struct world *world = *state;
        uint64_t settled = 0;
        begin(world, P);
        for (unsigned round = 1; round <= 4; round++) {
                settle_on(world, P, settled, settled + MANY);
                store_batch_remove(world->batch, P, key_of(settled)); /* which is leaving */
                world_write(world);
                assert_int_equal(world_found(world, P, settled), STORE_NONE);
                assert_int_equal(world->store->gathered, 0);
                assert_int_equal(world->files, round);
                settled += MANY;
        }
        world_reopen(world, P);
        assert_int_equal(world_verify(world).settled, settled - 4);
}

static void packets_are_checked(void **state) {
        struct buffer packet;
        struct bytes rest;
        struct late_row row = {.key = key_of(1)}, read;
        struct settled settled = settled_of(P, 1);
        uint8_t key[PACKET_KEY_BYTES];
        uint64_t number;
        uint32_t partition;
        (void)state;
        settled_encode(&settled, row.row);
        buffer_init(&packet, 1 << 16);
        packet_begin(&packet);
        assert_int_equal(packet_decode(buffer_view(&packet), &rest), RECORD_DAMAGED);
        packet_append(&row, &packet);
        packet_append(&row, &packet);
        assert_int_equal(packet_decode(buffer_view(&packet), &rest), RECORD_OK);
        assert_true(packet_take(&rest, &read) && memcmp(&read, &row, sizeof(row)) == 0);
        assert_true(packet_take(&rest, &read) && !packet_take(&rest, &read));
        struct bytes cut = {packet.data, packet.size - 1};
        assert_int_equal(packet_decode(cut, &rest), RECORD_DAMAGED);
        packet.data[1 + PACKET_ROW_BYTES + KEY_BYTES + 2] = 99; /* no such failure */
        assert_int_not_equal(packet_decode(buffer_view(&packet), &rest), RECORD_OK);
        packet.data[0] = 2;
        assert_int_equal(packet_decode(buffer_view(&packet), &rest), RECORD_NEWER);
        packet_key_encode(STORE_PARTITIONS_MAX, 7, key);
        assert_false(packet_key_decode((struct bytes){(char *)key, sizeof(key)}, &partition, &number));
        packet_key_encode(9, 7, key);
        assert_true(packet_key_decode((struct bytes){(char *)key, sizeof(key)}, &partition, &number));
        assert_true(partition == 9 && number == 7);
        buffer_deinit(&packet);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(are_found_and_survive_a_crash),
                TEST(many_become_a_file),
                TEST(there_is_a_bound_over_all_partitions),
                TEST(others_may_have_all_the_room),
                TEST(many_are_looked_up_at_once),
                TEST(the_last_row_of_a_key_counts),
                TEST(what_is_removed_stays_away),
                TEST(parked_jobs_see_them),
                TEST(a_load_comes_after_them),
                TEST(they_go_with_their_partition),
                TEST(failures_lose_nothing),
                TEST(what_the_thread_left_comes_first),
                TEST(what_needs_them_in_the_family_waits_for_the_thread),
                cmocka_unit_test(packets_are_checked),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
