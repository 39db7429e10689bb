/*
 * The hash covers bytes, not values, so that nothing has to be written in one way only for it to be checked:
 * whoever has a line takes its last 75 bytes off and hashes the rest.
 */
#include "broker/wire/audit.h"

#include "broker/base/check.h"
#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/wire/json_value.h"

#include <string.h>
#include <yyjson.h>

#define HASH_BEFORE ",\"hash\":\""
#define HASH_AFTER  "\"}"
enum { TAIL_BYTES = sizeof(HASH_BEFORE) - 1 + AUDIT_HASH_HEX + sizeof(HASH_AFTER) - 1 };

static const struct bytes kinds[AUDIT_KINDS_COUNT] = {
        [AUDIT_BEGIN] = {"begin", 5},         [AUDIT_CALL] = {"call", 4},
        [AUDIT_REFUSAL] = {"refusal", 7},     [AUDIT_UNKNOWN] = {"unknown", 7},
        [AUDIT_RECOVERED] = {"recovered", 9},
};

/* ---- writing ---- */

static void add_name(struct buffer *out, const char *name) {
        buffer_append_string(out, ",\"");
        buffer_append_string(out, name);
        buffer_append_string(out, "\":");
}

static void add_text(struct buffer *out, const char *name, struct bytes text) {
        add_name(out, name);
        buffer_append_char(out, '"');
        buffer_append_json_escaped(out, text);
        buffer_append_char(out, '"');
}

static void add_hex(struct buffer *out, const char *name, const uint8_t *data, size_t size) {
        add_name(out, name);
        buffer_append_char(out, '"');
        buffer_append_hex(out, data, size);
        buffer_append_char(out, '"');
}

static void add_key(struct buffer *out, const char *name, struct key128 key) {
        uint8_t bytes[16];
        key128_to_bytes(key, bytes);
        add_hex(out, name, bytes, sizeof bytes);
}

static void add_u64(struct buffer *out, const char *name, uint64_t value) {
        uint8_t bytes[16];
        key128_to_bytes((struct key128){value, 0}, bytes);
        add_hex(out, name, bytes, 8);
}

static void add_money(struct buffer *out, const char *name, bool known, int64_t picousd) {
        add_name(out, name);
        if (known)
                money_append(out, picousd);
        else
                buffer_append_string(out, "null");
}

static void add_first(struct buffer *out, const struct audit_chain *chain, enum audit_kind kind,
                      int64_t at_unix_ms) {
        buffer_append_string(out, "{\"chain\":\"");
        buffer_append_string(out, chain->id);
        buffer_append_string(out, "\",\"seq\":");
        buffer_append_u64(out, chain->next);
        add_name(out, "at");
        buffer_append_char(out, '"');
        rfc3339_append(out, at_unix_ms);
        buffer_append_char(out, '"');
        add_text(out, "kind", kinds[kind]);
}

/* `start`: where the record begins in `out`. */
static void add_last(struct buffer *out, size_t start, struct digest *digest, struct audit_chain *chain) {
        add_hex(out, "prev", chain->head, sizeof chain->head);
        if (out->failed)
                return;
        digest_begin(digest);
        digest_add(digest, (struct bytes){out->data + start, out->size - start});
        digest_end(digest, chain->head);
        buffer_append_string(out, HASH_BEFORE);
        buffer_append_hex(out, chain->head, sizeof chain->head);
        buffer_append_string(out, HASH_AFTER);
        chain->next++;
}

void audit_append_begin(struct buffer *out, struct digest *digest, uint64_t random, struct bytes writer,
                        const struct audit_chain *before, int64_t at_unix_ms, struct audit_chain *out_chain) {
        struct audit_chain chain = {.next = 0};
        static const char digits[] = "0123456789abcdef";
        size_t start = out->size;
        for (int i = 0; i < AUDIT_ID_HEX; i++)
                chain.id[i] = digits[random >> (60 - 4 * i) & 15];
        add_first(out, &chain, AUDIT_BEGIN, at_unix_ms);
        add_text(out, "writer", writer);
        if (before) {
                CHECK(before->next > 0);
                add_text(out, "after_chain", bytes_of(before->id));
                add_name(out, "after_seq");
                buffer_append_u64(out, before->next - 1);
                memcpy(chain.head, before->head, sizeof chain.head);
        }
        add_last(out, start, digest, &chain);
        *out_chain = chain;
}

void audit_append(struct buffer *out, struct digest *digest, struct audit_chain *chain,
                  const struct audit_event *event) {
        size_t start = out->size;
        bool called = event->kind == AUDIT_CALL || event->kind == AUDIT_UNKNOWN;
        CHECK(event->kind != AUDIT_BEGIN && (unsigned)event->kind < AUDIT_KINDS_COUNT);
        add_first(out, chain, event->kind, event->at_unix_ms);
        add_text(out, "workspace", event->workspace);
        add_text(out, "batch", event->batch);
        add_key(out, "job", event->job);
        add_hex(out, "fingerprint", event->fingerprint, sizeof event->fingerprint);
        if (called)
                add_text(out, "endpoint", event->endpoint);
        if (event->kind == AUDIT_CALL) {
                add_text(out, "provider", event->provider);
                add_text(out, "region", event->region);
        }
        add_u64(out, "policy", event->policy);
        add_text(out, "catalog", event->catalog);
        add_name(out, "attempt");
        buffer_append_u64(out, event->attempt);
        add_text(out, "outcome", bytes_of(event->outcome));
        if (event->kind == AUDIT_CALL || event->kind == AUDIT_RECOVERED) {
                add_name(out, "status");
                buffer_append_i64(out, event->status);
        }
        if (called)
                add_money(out, "reserved_usd", event->reserved_picousd >= 0, event->reserved_picousd);
        add_money(out, "cost_usd", event->cost_known, event->cost_picousd);
        add_name(out, "cost_is_estimate");
        buffer_append_string(out, event->cost_is_estimate ? "true" : "false");
        add_last(out, start, digest, chain);
}

/* ---- reading ---- */

static int hex_value(char digit) {
        if (digit >= '0' && digit <= '9')
                return digit - '0';
        return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Lower case only: each hash is written in one way. */
static bool read_hex(struct bytes text, uint8_t *out_bytes, size_t size) {
        if (text.size != 2 * size)
                return false;
        for (size_t i = 0; i < size; i++) {
                int high = hex_value(text.data[2 * i]), low = hex_value(text.data[2 * i + 1]);
                if (high < 0 || low < 0)
                        return false;
                out_bytes[i] = (uint8_t)(high << 4 | low);
        }
        return true;
}

static bool read_id(yyjson_val *value, char out_id[AUDIT_ID_HEX + 1]) {
        uint8_t ignored[AUDIT_ID_HEX / 2];
        if (!json_is_string(value) || !read_hex(json_text(value), ignored, sizeof ignored))
                return false;
        memcpy(out_id, json_text(value).data, AUDIT_ID_HEX);
        out_id[AUDIT_ID_HEX] = '\0';
        return true;
}

static bool read_number(yyjson_val *value, int64_t max, uint64_t *out_number) {
        int64_t number;
        if (!json_is_number(value) || !json_integer(value, 0, max, &number))
                return false;
        *out_number = (uint64_t)number;
        return true;
}

static bool read_kind(yyjson_val *value, enum audit_kind *out_kind) {
        size_t kind = json_is_string(value) ? text_find(json_text(value), kinds, AUDIT_KINDS_COUNT)
                                            : (size_t)AUDIT_KINDS_COUNT;
        *out_kind = (enum audit_kind)kind;
        return kind < AUDIT_KINDS_COUNT;
}

static bool read_before(yyjson_val *root, struct audit_head *head) {
        yyjson_val *chain = yyjson_obj_get(root, "after_chain");
        if (json_is_absent(chain))
                return true;
        return read_id(chain, head->after_chain) &&
               read_number(yyjson_obj_get(root, "after_seq"), INT64_MAX, &head->after_seq);
}

/* Their attempt's number comes again. */
static bool is_counted(struct bytes outcome) {
        static const char *const uncounted[] = {"throttled", "overloaded", "pause", "auth"};
        for (size_t i = 0; i < sizeof uncounted / sizeof *uncounted; i++)
                if (bytes_equal_string(outcome, uncounted[i]))
                        return false;
        return true;
}

static bool read_job(yyjson_val *root, struct audit_head *head) {
        uint8_t key[16];
        uint64_t attempt;
        yyjson_val *job = yyjson_obj_get(root, "job");
        if (!json_is_string(job) || !read_hex(json_text(job), key, sizeof key) ||
            !read_number(yyjson_obj_get(root, "attempt"), UINT32_MAX, &attempt))
                return false;
        head->job = key128_from_hash(key);
        head->attempt = (uint32_t)attempt;
        head->counted = is_counted(json_text(yyjson_obj_get(root, "outcome")));
        return true;
}

static bool read_members(yyjson_val *root, struct audit_head *head) {
        yyjson_val *prev = yyjson_obj_get(root, "prev");
        if (!yyjson_is_obj(root) || !read_id(yyjson_obj_get(root, "chain"), head->chain) ||
            !read_number(yyjson_obj_get(root, "seq"), INT64_MAX, &head->seq) ||
            !read_kind(yyjson_obj_get(root, "kind"), &head->kind) || !json_is_string(prev) ||
            !read_hex(json_text(prev), head->prev, sizeof head->prev))
                return false;
        return head->kind == AUDIT_BEGIN ? read_before(root, head) : read_job(root, head);
}

/* The last member is the hash of what stands before it. */
static bool agrees(struct bytes line, struct digest *digest, uint8_t out_hash[DIGEST_BYTES]) {
        uint8_t said[DIGEST_BYTES];
        if (line.size <= TAIL_BYTES || line.size > AUDIT_LINE_MAX)
                return false;
        const char *tail = line.data + line.size - TAIL_BYTES;
        const char *hex = tail + sizeof(HASH_BEFORE) - 1, *after = hex + AUDIT_HASH_HEX;
        if (memcmp(tail, HASH_BEFORE, sizeof(HASH_BEFORE) - 1) != 0 ||
            memcmp(after, HASH_AFTER, sizeof(HASH_AFTER) - 1) != 0 ||
            !read_hex((struct bytes){hex, AUDIT_HASH_HEX}, said, sizeof said))
                return false;
        digest_begin(digest);
        digest_add(digest, (struct bytes){line.data, line.size - TAIL_BYTES});
        digest_end(digest, out_hash);
        return memcmp(said, out_hash, sizeof said) == 0;
}

bool audit_read(struct bytes line, struct digest *digest, struct audit_head *out_head) {
        struct audit_head head = {0};
        if (!agrees(line, digest, head.hash))
                return false;
        yyjson_read_err problem;
        yyjson_doc *document =
                yyjson_read_opts((char *)(uintptr_t)line.data, line.size, YYJSON_READ_NUMBER_AS_RAW, NULL,
                                 &problem); /* not in situ: the line stays as it is */
        if (!document)
                return false;
        bool read = read_members(yyjson_doc_get_root(document), &head);
        yyjson_doc_free(document);
        if (read)
                *out_head = head;
        return read;
}
