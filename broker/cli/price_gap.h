#pragma once
/* Which price nobody said, where what a job costs at an endpoint is not known. */
#include "broker/base/bytes.h"
#include "workers/routing/catalog.h"

/* Appends half a sentence, such as ": price.audio_input is not said"; nothing when it cannot be told. */
void price_gap_append(struct buffer *out, const struct endpoint *endpoint, const struct demand *demand,
                      int64_t at_unix_ms);
