#pragma once
/*
 * A square of coloured tiles as PNG (RFC 2083): 8-bit RGB, the pixels in zlib's stored blocks (RFC 1950,
 * 1951).
 */
#include "broker/base/bytes.h"

void sim_png_append(uint64_t seed, uint32_t side_pixels, struct buffer *buffer); /* side: 1 to 100 */
uint32_t sim_crc32(uint32_t crc, const void *data, size_t size); /* of zlib and PNG; starts with 0 */
