#include "broker/wire/quota_list.h"

#include "broker/wire/msgpack_reader.h"

#include <msgpack/pack.h>

enum { LIST_VERSION = 1, LIST_HEAD = 2, LIMIT_PARTS = 4, ROW_PARTS = 2 };

static const struct bytes letters[QUOTA_OF_COUNT] = {
        [QUOTA_OF_PROVIDER] = {"p", 1}, [QUOTA_OF_ENDPOINT] = {"e", 1}, [QUOTA_OF_WORKSPACE] = {"w", 1}};

static bool is_same_limit(const struct quota_row *a, const struct quota_row *b) {
        return a->of == b->of && a->quota == b->quota && bytes_equal(a->name, b->name);
}

/* How many of the rows are of the first one's limit. */
static size_t rows_of_limit(const struct quota_row *rows, size_t count) {
        size_t same = 1;
        while (same < count && is_same_limit(&rows[0], &rows[same]))
                same++;
        return same;
}

static int write_packed(void *userdata, const char *data, size_t size) {
        buffer_append(userdata, data, size);
        return 0; /* the buffer remembers */
}

static void pack_text(msgpack_packer *packer, struct bytes text) {
        msgpack_pack_str_with_body(packer, text.data, text.size);
}

static void pack_limit(msgpack_packer *packer, const struct quota_row *rows, size_t count) {
        pack_text(packer, letters[rows->of]);
        pack_text(packer, rows->name);
        pack_text(packer, bytes_of(quota_text(rows->quota)));
        msgpack_pack_array(packer, ROW_PARTS * count);
        for (size_t i = 0; i < count; i++) {
                msgpack_pack_int64(packer, rows[i].until_unix_ms);
                msgpack_pack_int64(packer, rows[i].amount);
        }
}

void quota_list_append(struct buffer *out, uint32_t whole, const struct quota_row *rows, size_t count) {
        msgpack_packer packer;
        size_t start = out->size, limits = 0;
        for (size_t i = 0; i < count; i += rows_of_limit(rows + i, count - i))
                limits++;
        msgpack_packer_init(&packer, out, write_packed);
        msgpack_pack_array(&packer, LIST_HEAD + LIMIT_PARTS * limits);
        msgpack_pack_uint32(&packer, LIST_VERSION);
        msgpack_pack_uint32(&packer, whole);
        for (size_t i = 0; i < count;) {
                size_t same = rows_of_limit(rows + i, count - i);
                pack_limit(&packer, rows + i, same);
                i += same;
        }
        if (out->failed)
                out->size = start;
}

static bool next_of(struct msgpack_reader *reader, enum msgpack_type type, struct msgpack_part *out_part) {
        return msgpack_next(reader, out_part) && out_part->type == type;
}

static bool next_int(struct msgpack_reader *reader, int64_t *out_number) {
        struct msgpack_part part;
        if (!msgpack_next(reader, &part))
                return false;
        *out_number = part.sint; /* of an UINT the same, where it is no larger */
        return part.type == MSGPACK_INT || (part.type == MSGPACK_UINT && part.uint <= INT64_MAX);
}

static bool read_of(struct msgpack_reader *reader, enum quota_of *out_of) {
        struct msgpack_part part;
        if (!next_of(reader, MSGPACK_STR, &part))
                return false;
        for (int of = 0; of < QUOTA_OF_COUNT; of++) {
                if (!bytes_equal(part.bytes, letters[of]))
                        continue;
                *out_of = (enum quota_of)of;
                return true;
        }
        return false;
}

static bool read_rows(struct msgpack_reader *reader, struct quota_row *row, bool known,
                      bool (*each)(void *userdata, const struct quota_row *row), void *userdata) {
        struct msgpack_part part;
        if (!next_of(reader, MSGPACK_ARRAY, &part) || part.count % ROW_PARTS != 0)
                return false;
        for (uint32_t i = 0; i < part.count / ROW_PARTS; i++) {
                if (!next_int(reader, &row->until_unix_ms) || !next_int(reader, &row->amount) ||
                    row->amount < 0)
                        return false;
                if (known && !each(userdata, row))
                        return false;
        }
        return true;
}

static bool read_limit(struct msgpack_reader *reader,
                       bool (*each)(void *userdata, const struct quota_row *row), void *userdata) {
        struct msgpack_part name, quota;
        struct quota_row row = {0};
        if (!read_of(reader, &row.of) || !next_of(reader, MSGPACK_STR, &name) ||
            !next_of(reader, MSGPACK_STR, &quota))
                return false;
        row.name = name.bytes;
        return read_rows(reader, &row, quota_from_text(quota.bytes, &row.quota), each, userdata);
}

bool quota_list_read(struct bytes list, uint32_t *out_whole,
                     bool (*each)(void *userdata, const struct quota_row *row), void *userdata) {
        struct msgpack_reader reader;
        struct msgpack_part part, version, whole;
        msgpack_reader_init(&reader, list);
        if (!next_of(&reader, MSGPACK_ARRAY, &part) || part.count < LIST_HEAD ||
            (part.count - LIST_HEAD) % LIMIT_PARTS != 0 || !next_of(&reader, MSGPACK_UINT, &version) ||
            version.uint != LIST_VERSION || !next_of(&reader, MSGPACK_UINT, &whole) ||
            whole.uint > UINT32_MAX)
                return false;
        *out_whole = (uint32_t)whole.uint;
        for (uint32_t i = 0; i < (part.count - LIST_HEAD) / LIMIT_PARTS; i++)
                if (!read_limit(&reader, each, userdata))
                        return false;
        return msgpack_reader_at_end(&reader);
}
