#pragma once
/* A gzip stream (RFC 1952, 1951) that unpacks to so many blanks: 158 to 1, without a compressor. */
#include "broker/base/bytes.h"

void sim_bomb_append(uint64_t unpacked_bytes, struct buffer *buffer);
