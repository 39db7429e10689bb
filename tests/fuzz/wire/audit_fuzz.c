/*
 * Any bytes as a file of audit records, as they are and with hashes that fit: nothing in them leads the check
 * astray, and a record of which one bit is another is none. And the bytes as a recipe: a chain that is
 * written by what ships is whole; with a record taken away, copied, exchanged with its neighbour or changed,
 * but for what its end lacks (not all of it), it is not.
 */
#include "broker/base/check.h"
#include "broker/wire/audit.h"
#include "broker/wire/audit_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LINES_MAX = 64, TEXT_MAX = 1 << 20, TAIL_BYTES = sizeof(",\"hash\":\"\"}") - 1 + AUDIT_HASH_HEX };

struct lines {
        struct bytes items[LINES_MAX];
        size_t count;
        bool torn;
};

static struct digest *digest;

static struct lines split(struct bytes text) {
        struct lines lines = {.count = 0};
        while (text.size > 0 && lines.count < LINES_MAX) {
                const char *end = memchr(text.data, '\n', text.size);
                if (end == NULL) {
                        lines.torn = true;
                        break;
                }
                size_t length = (size_t)(end - text.data);
                lines.items[lines.count++] = (struct bytes){text.data, length};
                text = (struct bytes){end + 1, text.size - length - 1};
        }
        return lines;
}

/* Files of `a_file` lines each; 0: a topic of two partitions. */
static struct audit_finding check_lines(const struct lines *lines, size_t a_file) {
        const struct audit_check_options options = {.topic = a_file == 0};
        struct audit_check *check = NULL;
        struct audit_check_stats stats;
        struct audit_chain chain;
        struct error *error = audit_check_new(&options, &check);
        CHECK(error == NULL);
        for (size_t i = 0; i < lines->count; i++) {
                struct audit_place place = {(uint32_t)(a_file == 0 ? i % 2 : i / a_file), i + 1};
                error = audit_check_add(check, place, lines->items[i]);
                CHECK(error == NULL);
        }
        if (lines->torn)
                audit_check_torn(check, (struct audit_place){0, lines->count + 1});
        struct audit_finding finding = *audit_check_end(check);
        audit_check_get_stats(check, &stats);
        CHECK(stats.records <= lines->count && stats.chains <= stats.records);
        CHECK(memchr(finding.message, '\0', sizeof finding.message) != NULL);
        CHECK((finding.what == AUDIT_WHOLE) == (finding.message[0] == '\0'));
        CHECK(finding.what != AUDIT_WHOLE || (stats.records == lines->count && !lines->torn));
        CHECK(audit_break_text(finding.what)[0] != '\0');
        CHECK(audit_check_chain(check, &chain) == (stats.chains > 0));
        audit_check_free(check);
        return finding;
}

static void check_all_ways(const struct lines *lines) {
        check_lines(lines, 0);
        check_lines(lines, LINES_MAX);
        check_lines(lines, 3);
}

/* ---- hashes that fit ---- */

/* The line with a hash over what stands before it. */
static struct bytes sign(struct bytes line, struct buffer *out) {
        size_t start = out->size;
        uint8_t hash[DIGEST_BYTES];
        bool has_tail =
                line.size > TAIL_BYTES && memcmp(line.data + line.size - TAIL_BYTES, ",\"hash\":\"", 9) == 0;
        buffer_append(out, line.data, has_tail ? line.size - TAIL_BYTES : line.size);
        digest_begin(digest);
        digest_add(digest, (struct bytes){out->data + start, out->size - start});
        digest_end(digest, hash);
        buffer_append_string(out, ",\"hash\":\"");
        buffer_append_hex(out, hash, sizeof hash);
        buffer_append_string(out, "\"}");
        CHECK(!out->failed);
        return (struct bytes){out->data + start, out->size - start};
}

/* A bit of it, chosen by its own hash. */
static void check_flip(struct bytes line) {
        struct audit_head head, other;
        if (!audit_read(line, digest, &head))
                return;
        CHECK(head.kind < AUDIT_KINDS_COUNT && strlen(head.chain) == AUDIT_ID_HEX);
        CHECK(head.after_chain[0] == '\0' || strlen(head.after_chain) == AUDIT_ID_HEX);
        char *copy = malloc(line.size);
        CHECK(copy != NULL);
        memcpy(copy, line.data, line.size);
        size_t at = (size_t)(head.hash[0] << 16 | head.hash[1] << 8 | head.hash[2]) % line.size;
        copy[at] = (char)(copy[at] ^ 1 << head.hash[3] % 8);
        CHECK(!audit_read((struct bytes){copy, line.size}, digest, &other));
        free(copy);
}

static void check_signed(const struct lines *lines) {
        struct lines again = {.count = lines->count};
        struct buffer text;
        buffer_init(&text, 2 * TEXT_MAX);
        CHECK(buffer_reserve(&text, TEXT_MAX + LINES_MAX * (TAIL_BYTES + 1))); /* it must not move */
        for (size_t i = 0; i < lines->count; i++) {
                again.items[i] = sign(lines->items[i], &text);
                check_flip(again.items[i]);
        }
        check_all_ways(&again);
        buffer_deinit(&text);
}

/* ---- chains as they are written ---- */

static uint8_t take(struct bytes *recipe) {
        if (recipe->size == 0)
                return 0;
        uint8_t taken = (uint8_t)recipe->data[0];
        *recipe = (struct bytes){recipe->data + 1, recipe->size - 1};
        return taken;
}

static struct bytes take_text(struct bytes *recipe) {
        size_t size = take(recipe) % 16;
        size = size < recipe->size ? size : recipe->size;
        struct bytes text = {recipe->data, size};
        *recipe = (struct bytes){recipe->data + size, recipe->size - size};
        return text;
}

static void write_record(struct bytes *recipe, struct audit_chain *chain, struct buffer *out) {
        struct audit_event event = {
                .kind = (enum audit_kind)(AUDIT_CALL + take(recipe) % (AUDIT_KINDS_COUNT - 1)),
                .at_unix_ms = INT64_C(1795000000000) + take(recipe),
                .workspace = take_text(recipe),
                .batch = take_text(recipe),
                .endpoint = take_text(recipe),
                .job = {take(recipe), take(recipe)},
                .attempt = take(recipe),
                .outcome = "ok",
                .status = take(recipe),
                .reserved_picousd = take(recipe) - 1,
                .cost_known = take(recipe) % 2 != 0,
                .cost_picousd = take(recipe)};
        audit_append(out, digest, chain, &event);
}

/* What is told apart from a whole chain: all but the loss of its end, unless nothing is left then. */
static bool tamper(struct lines *lines, uint8_t how, size_t at, char *copy) {
        struct bytes record = lines->items[at];
        switch (how % 5) {
        case 0:
                return false;
        case 1: /* taken away */
                memmove(&lines->items[at], &lines->items[at + 1], (--lines->count - at) * sizeof record);
                return at < lines->count || lines->count == 0;
        case 2: /* copied */
                memmove(&lines->items[at + 1], &lines->items[at], (lines->count++ - at) * sizeof record);
                return true;
        case 3: /* exchanged with the next one */
                if (at + 1 == lines->count)
                        return false;
                lines->items[at] = lines->items[at + 1];
                lines->items[at + 1] = record;
                return true;
        default: /* a digit of its time is another */
                memcpy(copy, record.data, record.size);
                char *digit = memmem(copy, record.size, "T", 1);
                CHECK(digit != NULL);
                digit[1] = (char)(digit[1] ^ 1);
                lines->items[at].data = copy;
                return true;
        }
}

static void check_recipe(struct bytes recipe) {
        struct lines lines = {.count = 1 + take(&recipe) % 16};
        uint8_t how = take(&recipe), place = take(&recipe);
        struct audit_chain chain;
        struct buffer text;
        size_t ends[LINES_MAX], start = 0;
        buffer_init(&text, TEXT_MAX);
        audit_append_begin(&text, digest, take(&recipe), take_text(&recipe), NULL, INT64_C(1795000000000),
                           &chain);
        ends[0] = text.size;
        for (size_t i = 1; i < lines.count; i++) {
                write_record(&recipe, &chain, &text);
                ends[i] = text.size;
        }
        CHECK(!text.failed && !digest_failed(digest));
        for (size_t i = 0; i < lines.count; start = ends[i++])
                lines.items[i] = (struct bytes){text.data + start, ends[i] - start};
        CHECK(check_lines(&lines, LINES_MAX).what == AUDIT_WHOLE);
        CHECK(check_lines(&lines, 3).what == AUDIT_WHOLE);
        char *copy = malloc(AUDIT_LINE_MAX);
        CHECK(copy != NULL);
        bool broken = tamper(&lines, how, place % lines.count, copy);
        CHECK((check_lines(&lines, LINES_MAX).what != AUDIT_WHOLE) == broken);
        free(copy);
        buffer_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct bytes text = {(const char *)data, size};
        if (size > TEXT_MAX / 2)
                return 0;
        if (digest == NULL)
                digest = digest_new();
        CHECK(digest != NULL);
        struct lines lines = split(text);
        check_all_ways(&lines);
        check_signed(&lines);
        check_recipe(text);
        return 0;
}
