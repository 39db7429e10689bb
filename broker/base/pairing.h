#pragma once
/*
 * An intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): the node lies in what is queued, so
 * nothing is ever allocated. Putting in is O(1), taking out O(log n) amortised, without recursion. The order
 * of a node must not change while it is inside. The same calls give the same order, equal nodes included.
 *
 * A node is zeroed before its first use, and is in one heap at most.
 */
#include "broker/base/list.h"

struct pairing_node {
        struct pairing_node *child;         /* the first one */
        struct pairing_node *next, *before; /* siblings; `before` of a first child is its parent */
};

/* What a node lies in, for an order: read only. Elsewhere LIST_ENTRY() does. */
#define PAIRING_ITEM(ptr, type, member)                                                                      \
        ((const type *)(const void *)((const char *)(ptr)-offsetof(type, member)))

/* a comes out before b. */
typedef bool pairing_order(const struct pairing_node *a, const struct pairing_node *b);

struct pairing {
        struct pairing_node *root;
        pairing_order *order;
};

void pairing_init(struct pairing *heap, pairing_order *order);
void pairing_put(struct pairing *heap, struct pairing_node *node);
void pairing_remove(struct pairing *heap, struct pairing_node *node); /* which is inside */

static inline bool pairing_empty(const struct pairing *heap) {
        return heap->root == NULL;
}
/* NULL when empty. */
static inline struct pairing_node *pairing_first(const struct pairing *heap) {
        return heap->root;
}
