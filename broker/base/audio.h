#pragma once
/*
 * How long a sound file plays, by its headers: WAV, FLAC, MP3 (Xing, Info or VBRI, else a constant bit rate),
 * Ogg with Opus or Vorbis, MP4 and M4A. Nothing is decoded. Reads a bounded number of small pieces however
 * large the file is, believes nothing that points outside of it, and says -1 to what it does not know.
 */
#include "broker/base/bytes.h"

#define AUDIO_MS_MAX (INT64_C(7) * 86400 * 1000) /* a header that says more is not believed */

struct audio_source {
        /* Up to `size` bytes from `offset`, which lies inside, into `out`; gives how many. */
        size_t (*read)(void *userdata, int64_t offset, void *out, size_t size);
        void *userdata;
        int64_t size; /* of the file, in bytes */
};

/* Milliseconds; -1: not known. */
int64_t audio_length_ms(const struct audio_source *source);
/* The same of a file in base64, in either alphabet, of which no more is decoded than is looked at. */
int64_t audio_base64_ms(struct bytes text);
