#pragma once
/* The directory of the state before RocksDB is let into it: made, locked, and looked at. */
#include "broker/base/bytes.h"
#include "broker/base/error.h"

/* Makes it and what is missing above it; only the user may read it. */
struct error *directory_make(const char *directory) MUST_USE;
/* Locks the file `owner` in it, which names the process, until the descriptor is closed. Somebody else:
 * ERROR_BUSY. */
struct error *directory_lock(const char *directory, int *out_fd) MUST_USE;
/* Whether a database is in it. ERROR_CORRUPT when only a part of one is, or when a log was damaged in a way
 * that RocksDB would not notice. */
struct error *directory_check(const char *directory, bool *out_exists) MUST_USE;
uint64_t directory_bytes(const char *directory); /* size of the files in it */
