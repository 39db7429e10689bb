#pragma once
/*
 * Tells a torn end of a RocksDB log (write-ahead log or MANIFEST) from damage that RocksDB itself takes for
 * one.
 *
 * In recovery mode 0, the one that a crash needs, RocksDB believes the length and the type in the header of a
 * record before it looks at the checksum. A length that reaches past the end of the file, or a type of the
 * kind that marks recycled logs, is "the end" to it: one flipped bit there, and everything behind it is gone
 * without an error (tried with 7.8.3). What a crash leaves is different: nothing whole follows.
 */
#include "broker/base/error.h"

/* ERROR_CORRUPT when a whole record stands behind, or inside, what RocksDB would take for the end. A missing
 * file is no error. */
struct error *log_check(const char *path) MUST_USE;
