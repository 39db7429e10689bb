#pragma once
/* Text out of audio, and audio out of text. */
#include "broker/base/bytes.h"

struct sim_order;
struct sim_answer;

void sim_answer_transcription(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_speech(const struct sim_order *order, struct sim_answer *answer);
/* A WAV that plays as long as so many tokens of a chat's answer do: 50 ms each, five minutes at most. */
void sim_answer_append_voice(struct bytes text, int64_t tokens, struct buffer *body);
