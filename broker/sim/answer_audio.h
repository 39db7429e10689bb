#pragma once
/* Text out of audio, and audio out of text. */

struct sim_order;
struct sim_answer;

void sim_answer_transcription(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_speech(const struct sim_order *order, struct sim_answer *answer);
