#pragma once
/*
 * Embeddings. sim_embedding_vector() is the vector of an input: `dimensions` components, each scaled by
 * 1e8; its length is 1 but for rounding.
 */
#include "broker/base/key.h"

#include <stddef.h>
#include <stdint.h>

struct sim_order;
struct sim_answer;

void sim_answer_embedding(const struct sim_order *order, struct sim_answer *answer);
void sim_embedding_vector(struct key128 input, size_t dimensions, int32_t *out_scaled);
