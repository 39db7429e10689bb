/*
 * The format (RocksDB, db/log_format.h): blocks of 32 KiB; in each, records of
 *   0 u32 masked CRC-32C of type and payload
 *   4 u16 length
 *   6 u8  type: 1 full, 2 first, 3 middle, 4 last
 *   7     payload
 * and fewer than 7 zero bytes where no header fits. Type 0 with length 0 is space that was never written.
 * Types 5 to 8 are for recycled logs, which the options of db.c rule out.
 */
#include "broker/store/log_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 32768, HEADER_BYTES = 7, TYPE_MIN = 1, TYPE_MAX = 4 };
#define LOG_BYTES_MAX (INT64_C(1) << 30)

struct crc32c {
        uint32_t table[256];
};

static void crc32c_init(struct crc32c *crc) {
        for (uint32_t i = 0; i < 256; i++) {
                uint32_t value = i;
                for (int bit = 0; bit < 8; bit++)
                        value = value & 1 ? (value >> 1) ^ UINT32_C(0x82f63b78) : value >> 1;
                crc->table[i] = value;
        }
}

static uint32_t crc32c_masked(const struct crc32c *crc, uint8_t type, const uint8_t *payload, size_t size) {
        uint32_t value = UINT32_MAX;
        value = crc->table[(value ^ type) & 0xff] ^ (value >> 8);
        for (size_t i = 0; i < size; i++)
                value = crc->table[(value ^ payload[i]) & 0xff] ^ (value >> 8);
        value = ~value;
        return ((value >> 15) | (value << 17)) + UINT32_C(0xa282ead8);
}

static size_t length_at(const uint8_t *at) {
        return (size_t)at[4] | (size_t)at[5] << 8;
}

static bool matches(const struct crc32c *crc, const uint8_t *at, uint8_t type, size_t length) {
        uint32_t stored =
                (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        return stored == crc32c_masked(crc, type, at + HEADER_BYTES, length);
}

/* A whole record at `at`, of which `room` bytes are left in its block. */
static bool record_at(const struct crc32c *crc, const uint8_t *at, size_t room) {
        if (room < HEADER_BYTES || at[6] < TYPE_MIN || at[6] > TYPE_MAX ||
            length_at(at) > room - HEADER_BYTES)
                return false;
        return matches(crc, at, at[6], length_at(at));
}

/* The record at `at` is whole, and only its length or its type is not what it was. */
static bool header_damaged(const struct crc32c *crc, const uint8_t *at, size_t room) {
        if (room < HEADER_BYTES)
                return false;
        if (matches(crc, at, at[6], room - HEADER_BYTES))
                return true;
        for (int type = TYPE_MIN; type <= TYPE_MAX; type++) {
                if (length_at(at) <= room - HEADER_BYTES && matches(crc, at, (uint8_t)type, length_at(at)))
                        return true;
        }
        return false;
}

static size_t min_size(size_t a, size_t b) {
        return a < b ? a : b;
}

/* Where the chain of records ends: the size, or the first header that leads nowhere. */
static size_t chain_end(const uint8_t *data, size_t size) {
        size_t at = 0;
        while (at < size) {
                size_t in_block = BLOCK_BYTES - at % BLOCK_BYTES;
                size_t room = min_size(in_block, size - at);
                if (in_block < HEADER_BYTES) {
                        at += room;
                        continue;
                }
                if (room < HEADER_BYTES || data[at + 6] < TYPE_MIN || data[at + 6] > TYPE_MAX ||
                    length_at(data + at) > room - HEADER_BYTES)
                        return at;
                at += HEADER_BYTES + length_at(data + at);
        }
        return size;
}

static bool damaged(const uint8_t *data, size_t size) {
        size_t end = chain_end(data, size);
        if (end == size)
                return false;
        struct crc32c crc;
        crc32c_init(&crc);
        if (header_damaged(&crc, data + end, min_size(BLOCK_BYTES - end % BLOCK_BYTES, size - end)))
                return true;
        for (size_t at = end + 1; at < size; at++) {
                if (record_at(&crc, data + at, min_size(BLOCK_BYTES - at % BLOCK_BYTES, size - at)))
                        return true;
        }
        return false;
}

static struct error *read_all(int fd, const char *path, uint8_t **out_data, size_t *out_size) {
        struct stat status;
        if (fstat(fd, &status) < 0)
                return error_errno(errno, "cannot read %s", path);
        if (status.st_size > LOG_BYTES_MAX)
                return error_new(ERROR_CORRUPT, "%s is larger than such a file can be", path);
        size_t size = (size_t)status.st_size, done = 0;
        uint8_t *data = malloc(size + 1);
        if (!data)
                return error_new(ERROR_MEMORY, "no memory to check %s", path);
        while (done < size) {
                ssize_t n = pread(fd, data + done, size - done, (off_t)done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        int code = errno;
                        free(data);
                        return error_errno(code, "cannot read %s", path);
                }
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        *out_data = data;
        *out_size = done;
        return NULL;
}

struct error *log_check(const char *path) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? NULL : error_errno(errno, "cannot open %s", path);
        uint8_t *data = NULL;
        size_t size = 0;
        struct error *error = read_all(fd, path, &data, &size);
        if (!error && damaged(data, size))
                error = error_new(ERROR_CORRUPT, "a record in the middle of %s is damaged", path);
        free(data);
        close(fd);
        return error;
}
