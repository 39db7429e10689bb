/*
 * Audit records: their exact bytes, and that every way to tamper with a small file is found: each bit of it,
 * each record taken away, moved, copied, put in, or written anew with a hash that fits.
 */
#include "broker/wire/audit.h"
#include "broker/wire/audit_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RECORDS = 7, TEXT_MAX = 1 << 16 };

struct written {
        struct buffer lines[RECORDS];
        struct audit_chain chain;
};

static struct audit_event event_of(enum audit_kind kind) {
        struct audit_event event = {.kind = kind,
                                    .at_unix_ms = INT64_C(1795000000123),
                                    .workspace = BYTES("research"),
                                    .batch = BYTES("jobs \"1\".jsonl"),
                                    .job = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)},
                                    .endpoint = BYTES("acme/m"),
                                    .provider = BYTES("acme"),
                                    .region = BYTES("eu"),
                                    .policy = UINT64_C(0x3f2a),
                                    .catalog = BYTES("9c1e000000000000"),
                                    .attempt = 2,
                                    .outcome = "ok",
                                    .status = 200,
                                    .reserved_picousd = 500000000,
                                    .cost_known = true,
                                    .cost_picousd = 120000};
        memset(event.fingerprint, 0xab, sizeof(event.fingerprint));
        return event;
}

static struct written write_chain(uint64_t id) {
        static const enum audit_kind kinds[RECORDS] = {AUDIT_BEGIN,   AUDIT_CALL,      AUDIT_REFUSAL,
                                                       AUDIT_UNKNOWN, AUDIT_RECOVERED, AUDIT_CALL,
                                                       AUDIT_CALL};
        struct written written;
        struct digest *digest = digest_new();
        assert_non_null(digest);
        for (size_t i = 0; i < RECORDS; i++) {
                struct buffer *line = &written.lines[i];
                buffer_init(line, TEXT_MAX);
                struct audit_event event = event_of(kinds[i]);
                event.attempt = (uint32_t)i;
                if (i == 0)
                        audit_append_begin(line, digest, id, BYTES("run"), NULL, 1795000000000,
                                           &written.chain);
                else
                        audit_append(line, digest, &written.chain, &event);
                assert_false(line->failed);
        }
        digest_free(digest);
        return written;
}

static void free_chain(struct written *written) {
        for (size_t i = 0; i < RECORDS; i++)
                buffer_deinit(&written->lines[i]);
}

/* Puts the records with these numbers into a file. */
static void join(const struct written *written, const int *order, size_t count, struct buffer *out_text) {
        buffer_clear(out_text);
        for (size_t i = 0; i < count; i++) {
                buffer_append_bytes(out_text, buffer_view(&written->lines[order[i]]));
                buffer_append_char(out_text, '\n');
        }
}

static struct audit_finding check_file(struct bytes text, bool topic, const uint8_t *want) {
        struct audit_check *check;
        struct audit_check_options options = {.topic = topic};
        assert_null(audit_check_new(&options, &check));
        if (want)
                audit_check_want(check, want);
        size_t at = 0;
        uint64_t number = 1;
        const char *end;
        while (at < text.size && (end = memchr(text.data + at, '\n', text.size - at))) {
                struct bytes line = {text.data + at, (size_t)(end - text.data) - at};
                /* as an allocation of its own: what reads behind it is found by the sanitizer */
                char *copy = bytes_dup(line);
                assert_null(audit_check_add(check, (struct audit_place){0, number++},
                                            (struct bytes){copy, line.size}));
                free(copy);
                at += line.size + 1;
        }
        if (at < text.size)
                audit_check_torn(check, (struct audit_place){0, number});
        struct audit_finding finding = *audit_check_end(check);
        audit_check_free(check);
        return finding;
}

#define assert_found(text, wanted, wanted_line)                                                              \
        do {                                                                                                 \
                struct audit_finding found = check_file((text), false, NULL);                                \
                if (found.what != (wanted) || (found.what && found.place.number != (uint64_t)(wanted_line))) \
                        fail_msg("%s at line %d: %s", audit_break_text(found.what), (int)found.place.number, \
                                 found.message);                                                             \
        } while (0)

static const int in_order[RECORDS] = {0, 1, 2, 3, 4, 5, 6};

/* Hashes made with another program: sha256sum over the bytes before ,"hash". */
static void records_are_written_like_this(void **state) {
        static const char *const wanted[2] = {
                "{\"chain\":\"00ff00ff00ff00ff\",\"seq\":0,\"at\":\"2026-11-18T11:06:40.000Z\",\""
                "kind\":\"begin\",\"writer\":\"run\",\"prev\":\"000000000000000000000000000000000"
                "0000000000000000000000000000000\",\"hash\":\"0d4aa9824cc20bd9b6ef3eec1d3cfbac981"
                "db51e957df6394c06a7826774a10c\"}",
                "{\"chain\":\"00ff00ff00ff00ff\",\"seq\":1,\"at\":\"2026-11-18T11:06:40.123Z\",\""
                "kind\":\"call\",\"workspace\":\"research\",\"batch\":\"jobs \\\"1\\\".jsonl\",\""
                "job\":\"0123456789abcdeffedcba9876543210\",\"fingerprint\":\"abababababababababa"
                "babababababababababababababababababababababab\",\"endpoint\":\"acme/m\",\"provid"
                "er\":\"acme\",\"region\":\"eu\",\"policy\":\"0000000000003f2a\",\"catalog\":\"9c"
                "1e000000000000\",\"attempt\":1,\"outcome\":\"ok\",\"status\":200,\"reserved_usd"
                "\":0.0005,\"cost_usd\":0.00000012,\"cost_is_estimate\":false,\"prev\":\"0d4aa982"
                "4cc20bd9b6ef3eec1d3cfbac981db51e957df6394c06a7826774a10c\",\"hash\":\"3b3f381ddd"
                "659a1f67726694a3d041cd442e79885d23bf86263db7ae0fddf7e7\"}"};
        (void)state;
        struct written written = write_chain(UINT64_C(0x00ff00ff00ff00ff));
        for (size_t i = 0; i < 2; i++) {
                buffer_append_char(&written.lines[i], '\0');
                assert_string_equal(written.lines[i].data, wanted[i]);
        }
        free_chain(&written);
}

static void a_whole_file_is_whole(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        join(&written, in_order, RECORDS, &text);
        assert_found(buffer_view(&text), AUDIT_WHOLE, 0);
        assert_int_equal(check_file(buffer_view(&text), false, written.chain.head).what, AUDIT_WHOLE);
        assert_int_equal(check_file(BYTES(""), true, NULL).what, AUDIT_WHOLE);
        assert_int_equal(check_file(BYTES(""), false, NULL).what, AUDIT_EMPTY);
        buffer_deinit(&text);
        free_chain(&written);
}

static void every_flipped_bit_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        join(&written, in_order, RECORDS, &text);
        uint64_t line = 1;
        for (size_t i = 0; i < text.size; i++) {
                char was = text.data[i];
                for (int bit = 0; bit < 8; bit++) {
                        text.data[i] = (char)(was ^ (1 << bit));
                        if (i + 1 == text.size)
                                assert_found(buffer_view(&text), AUDIT_TORN, RECORDS);
                        else
                                assert_found(buffer_view(&text), AUDIT_CHANGED, line);
                }
                text.data[i] = was;
                line += was == '\n';
        }
        buffer_deinit(&text);
        free_chain(&written);
}

static void every_cut_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        join(&written, in_order, RECORDS, &text);
        uint64_t line = 1;
        for (size_t size = 1; size < text.size; size++) {
                bool whole = text.data[size - 1] == '\n';
                line += whole;
                struct bytes cut = {text.data, size};
                assert_found(cut, whole ? AUDIT_WHOLE : AUDIT_TORN, line);
                if (whole) /* but for who kept the last hash */
                        assert_int_equal(check_file(cut, false, written.chain.head).what, AUDIT_REMOVED);
        }
        buffer_deinit(&text);
        free_chain(&written);
}

static void every_removal_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        for (int from = 0; from < RECORDS; from++) {
                for (int to = from; to < RECORDS - 1; to++) {
                        int order[RECORDS];
                        size_t count = 0;
                        for (int i = 0; i < RECORDS; i++)
                                if (i < from || i > to)
                                        order[count++] = i;
                        join(&written, order, count, &text);
                        assert_found(buffer_view(&text), AUDIT_REMOVED, from + 1);
                }
        }
        buffer_deinit(&text);
        free_chain(&written);
}

static void every_exchange_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        for (int a = 0; a < RECORDS; a++) {
                for (int b = a + 1; b < RECORDS; b++) {
                        int order[RECORDS];
                        memcpy(order, in_order, sizeof(order));
                        order[a] = b;
                        order[b] = a;
                        join(&written, order, RECORDS, &text);
                        assert_found(buffer_view(&text), AUDIT_REORDERED, a + 1);
                }
        }
        buffer_deinit(&text);
        free_chain(&written);
}

static void every_copy_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        for (int copy = 0; copy < RECORDS; copy++) {
                for (int before = 0; before <= RECORDS; before++) {
                        int order[RECORDS + 1];
                        for (int i = 0; i < RECORDS; i++)
                                order[i < before ? i : i + 1] = i;
                        order[before] = copy;
                        join(&written, order, RECORDS + 1, &text);
                        enum audit_break what = check_file(buffer_view(&text), false, NULL).what;
                        /* behind what is still to come: as if it had been moved */
                        bool early = before < copy;
                        assert_int_equal(what, early ? AUDIT_REORDERED : AUDIT_INSERTED);
                }
        }
        buffer_deinit(&text);
        free_chain(&written);
}

/* A record that somebody writes anew, in the place of another or beside it, with a hash that fits. */
static void every_forgery_is_found(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct digest *digest = digest_new();
        struct buffer text, genuine[RECORDS];
        buffer_init(&text, TEXT_MAX);
        memcpy(genuine, written.lines, sizeof(genuine));
        for (int at = 1; at < RECORDS - 1; at++) {
                struct audit_check *check;
                struct audit_chain before;
                struct audit_event event = event_of(AUDIT_CALL);
                struct buffer forged;
                assert_null(audit_check_new(&(struct audit_check_options){0}, &check));
                for (int i = 0; i < at; i++)
                        assert_null(
                                audit_check_add(check, (struct audit_place){0, 0}, buffer_view(&genuine[i])));
                assert_true(audit_check_chain(check, &before));
                audit_check_free(check);
                event.cost_picousd = 1;
                buffer_init(&forged, TEXT_MAX);
                audit_append(&forged, digest, &before, &event);
                written.lines[at] = forged;
                join(&written, in_order, RECORDS, &text);
                assert_found(buffer_view(&text), AUDIT_CHANGED, at + 1);
                /* beside: the genuine one comes behind it */
                buffer_clear(&text);
                for (int i = 0; i < RECORDS; i++) {
                        if (i == at)
                                buffer_printf(&text, "%.*s\n", (int)forged.size, forged.data);
                        buffer_printf(&text, "%.*s\n", (int)genuine[i].size, genuine[i].data);
                }
                assert_found(buffer_view(&text), AUDIT_INSERTED, at + 2);
                written.lines[at] = genuine[at];
                buffer_deinit(&forged);
        }
        buffer_deinit(&text);
        digest_free(digest);
        free_chain(&written);
}

static void another_chain_has_no_place_in_a_file(void **state) {
        (void)state;
        struct written one = write_chain(1), two = write_chain(2);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        for (int i = 0; i < RECORDS; i++) {
                buffer_printf(&text, "%.*s\n", (int)one.lines[i].size, one.lines[i].data);
                buffer_printf(&text, "%.*s\n", (int)two.lines[i].size, two.lines[i].data);
        }
        assert_found(buffer_view(&text), AUDIT_INSERTED, 2);
        assert_int_equal(check_file(buffer_view(&text), true, NULL).what, AUDIT_WHOLE);
        buffer_deinit(&text);
        free_chain(&one);
        free_chain(&two);
}

/* The oldest records of a topic may be gone; nothing else may. */
static void a_topic_may_have_lost_its_oldest(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        for (int from = 0; from < RECORDS; from++) {
                join(&written, in_order + from, RECORDS - (size_t)from, &text);
                assert_int_equal(check_file(buffer_view(&text), true, NULL).what, AUDIT_WHOLE);
        }
        static const int gap[] = {2, 3, 5, 6};
        join(&written, gap, 4, &text);
        assert_int_equal(check_file(buffer_view(&text), true, NULL).what, AUDIT_REMOVED);
        buffer_deinit(&text);
        free_chain(&written);
}

/* A chain says which record the one before it ended with. */
static void a_chain_names_the_one_before(void **state) {
        (void)state;
        struct written written = write_chain(1);
        struct digest *digest = digest_new();
        struct audit_chain next;
        struct buffer begin, text;
        buffer_init(&begin, TEXT_MAX);
        buffer_init(&text, TEXT_MAX);
        audit_append_begin(&begin, digest, 2, BYTES("w"), &written.chain, 1, &next);
        for (size_t kept = 1; kept <= RECORDS; kept++) {
                join(&written, in_order, kept, &text);
                buffer_printf(&text, "%.*s\n", (int)begin.size, begin.data);
                assert_int_equal(check_file(buffer_view(&text), true, NULL).what,
                                 kept == RECORDS ? AUDIT_WHOLE : AUDIT_REMOVED);
        }
        /* Another last record than the one it names. */
        struct audit_chain forged = written.chain;
        forged.head[0] ^= 1;
        buffer_clear(&begin);
        audit_append_begin(&begin, digest, 2, BYTES("w"), &forged, 1, &next);
        join(&written, in_order, RECORDS, &text);
        buffer_printf(&text, "%.*s\n", (int)begin.size, begin.data);
        assert_int_equal(check_file(buffer_view(&text), true, NULL).what, AUDIT_CHANGED);
        buffer_deinit(&begin);
        buffer_deinit(&text);
        digest_free(digest);
        free_chain(&written);
}

/* The table that the documentation is made from says what is written, in that order. */
static void members_stand_in_the_order_of_the_table(void **state) {
        static const struct {
                const char *name, *kinds;
        } fields[] = {
#define AUDIT_FIELD(name, kinds, meaning) {name, kinds},
#include "schemas/audit_fields.def"
#undef AUDIT_FIELD
        };
        static const char *const kind_names[] = {"begin", "call", "refusal", "unknown", "recovered"};
        (void)state;
        struct written written = write_chain(1);
        for (size_t i = 0; i < 5; i++) {
                char *line = bytes_dup(buffer_view(&written.lines[i])), *at = line;
                for (size_t f = 0; f < sizeof(fields) / sizeof(*fields); f++) {
                        char member[64];
                        snprintf(member, sizeof(member), "\"%s\":", fields[f].name);
                        bool said = strncmp(fields[f].kinds, "all", 3) == 0 ||
                                    strstr(fields[f].kinds, kind_names[i]);
                        if (strcmp(fields[f].kinds, "all but begin") == 0)
                                said = i > 0;
                        if (strncmp(fields[f].name, "after_", 6) == 0)
                                said = false; /* there is none before it */
                        char *found = strstr(line, member);
                        assert_int_equal(found != NULL, said);
                        if (said) {
                                assert_true(found >= at);
                                at = found;
                        }
                }
                free(line);
        }
        free_chain(&written);
}

static void what_is_no_record_is_none(void **state) {
        static const char zeros[] = ",\"hash\":\"0000000000000000000000000000000000000000000000000000000000"
                                    "000000\"}";
        static const char *const lines[] = {"", "{}", "null", "\n", "{\"chain\":1}", zeros};
        (void)state;
        struct digest *digest = digest_new();
        struct audit_head head;
        for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
                assert_false(audit_read(bytes_of(lines[i]), digest, &head));
        digest_free(digest);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(records_are_written_like_this),
                cmocka_unit_test(a_whole_file_is_whole),
                cmocka_unit_test(every_flipped_bit_is_found),
                cmocka_unit_test(every_cut_is_found),
                cmocka_unit_test(every_removal_is_found),
                cmocka_unit_test(every_exchange_is_found),
                cmocka_unit_test(every_copy_is_found),
                cmocka_unit_test(every_forgery_is_found),
                cmocka_unit_test(another_chain_has_no_place_in_a_file),
                cmocka_unit_test(a_topic_may_have_lost_its_oldest),
                cmocka_unit_test(a_chain_names_the_one_before),
                cmocka_unit_test(members_stand_in_the_order_of_the_table),
                cmocka_unit_test(what_is_no_record_is_none),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
