#pragma once
/* Chat, responses and completions: text out of text. */

struct sim_order;
struct sim_answer;

void sim_answer_chat(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_response(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_completion(const struct sim_order *order, struct sim_answer *answer);
