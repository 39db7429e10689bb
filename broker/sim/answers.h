#pragma once
/* The answer to a request that sim_request_read() accepted, by its endpoint. */

struct sim_order;
struct sim_answer;

void sim_answer_make(const struct sim_order *order, struct sim_answer *answer);
