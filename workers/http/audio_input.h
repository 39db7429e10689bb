#pragma once
/*
 * How long an input plays that is here already: a data: URL without decoding all of it, a file by its
 * descriptor, or bytes. Milliseconds; -1: not known.
 */
#include "workers/http/fetch.h"

int64_t audio_of_data_url_ms(struct bytes url);
int64_t audio_of_fetched_ms(const struct fetched *fetched);
