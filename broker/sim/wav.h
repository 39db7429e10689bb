#pragma once
/* Just enough of RIFF/WAVE (Microsoft and IBM, 1991): how long a file lasts, and writing 16-bit mono PCM. */
#include "broker/base/bytes.h"

/*
 * From the first bytes of a file and its whole size. A data chunk that claims more than is there, or
 * nothing (a stream's header), lasts as long as what is there. false when it is no WAV.
 */
bool sim_wav_duration_ms(struct bytes head, uint64_t file_bytes, int64_t *out_duration_ms);
/* The header of 44 bytes for so many samples. */
void sim_wav_append_header(uint32_t rate_hz, uint32_t samples, struct buffer *buffer);
