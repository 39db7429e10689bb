#pragma once
/*
 * What limits have given, on its way from the engine to the store: rows in the order in which they were told,
 * of which the last for a place counts. However long they wait, there are no more than twice as many as
 * places (and a few).
 */
#include "broker/store/store.h"

struct quota_rows {
        struct told_row *items;
        size_t count, capacity;
};

void quota_rows_deinit(struct quota_rows *rows);
/* The row's name must live until it is staged. false: memory was refused. */
bool quota_rows_put(struct quota_rows *rows, const struct quota_row *row);
/* What is in one goes behind what is in the other. false: memory was refused, nothing has moved. */
bool quota_rows_merge(struct quota_rows *into, struct quota_rows *from);
/* All go into the batch, and out of here. */
void quota_rows_stage(struct quota_rows *rows, struct store_batch *batch);
