#pragma once
/* Pictures: small, but real PNG. */

struct sim_order;
struct sim_answer;

void sim_answer_image(const struct sim_order *order, struct sim_answer *answer);
