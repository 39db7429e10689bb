#pragma once
/* The small ones: rerank, moderations, the list of models. */

struct sim_order;
struct sim_answer;

void sim_answer_rerank(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_moderation(const struct sim_order *order, struct sim_answer *answer);
void sim_answer_models(const struct sim_order *order, struct sim_answer *answer);
