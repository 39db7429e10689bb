#pragma once
/*
 * Runs what may hang (closing a client, adding offsets to a transaction; kafka.md 2.5) on a thread of its own
 * and waits for it only so long.
 */
#include <stdbool.h>
#include <stdint.h>

/*
 * Calls `end` with `userdata`, which is `end`'s until it has come back. false: it had not come back after
 * `limit_ns` and goes on by itself, which a line in librdkafka's log says of `what`. Where no thread can be
 * made it runs here.
 */
bool deadline_run(void (*end)(void *userdata), void *userdata, int64_t limit_ns, const char *what);
