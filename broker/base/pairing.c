/*
 * See the header. Invariants: no node comes out before its parent; the root has no siblings; `before` of any
 * other node is its left sibling or, of a first child, its parent.
 */
#include "broker/base/pairing.h"

#include "broker/base/check.h"

/* Two heaps without siblings become one: the later root is the first child of the other. */
static struct pairing_node *meld(const struct pairing *heap, struct pairing_node *a, struct pairing_node *b) {
        if (heap->order(b, a)) {
                struct pairing_node *first = b;
                b = a;
                a = first;
        }
        b->next = a->child;
        b->before = a;
        if (a->child)
                a->child->before = b;
        a->child = b;
        return a;
}

/* Takes the first one off a list of siblings. */
static struct pairing_node *shift(struct pairing_node **list) {
        struct pairing_node *first = *list;
        *list = first->next;
        first->next = first->before = NULL;
        return first;
}

/* A list of siblings becomes one heap: in pairs from the left, then these from the right. NULL: none. */
static struct pairing_node *meld_all(const struct pairing *heap, struct pairing_node *siblings) {
        struct pairing_node *pairs = NULL, *whole = NULL;
        while (siblings) {
                struct pairing_node *pair = shift(&siblings);
                if (siblings)
                        pair = meld(heap, pair, shift(&siblings));
                pair->next = pairs; /* the last pair comes first */
                pairs = pair;
        }
        while (pairs) {
                struct pairing_node *pair = shift(&pairs);
                whole = whole ? meld(heap, whole, pair) : pair;
        }
        return whole;
}

void pairing_init(struct pairing *heap, pairing_order *order) {
        *heap = (struct pairing){.order = order};
}

void pairing_put(struct pairing *heap, struct pairing_node *node) {
        CHECK(node != heap->root && !node->before && !node->next && !node->child);
        heap->root = heap->root ? meld(heap, heap->root, node) : node;
}

void pairing_remove(struct pairing *heap, struct pairing_node *node) {
        CHECK(node == heap->root || node->before);
        struct pairing_node *rest = meld_all(heap, node->child);
        if (node == heap->root) {
                heap->root = rest;
        } else {
                if (node->before->child == node)
                        node->before->child = node->next;
                else
                        node->before->next = node->next;
                if (node->next)
                        node->next->before = node->before;
                if (rest)
                        heap->root = meld(heap, heap->root, rest);
        }
        *node = (struct pairing_node){0};
}
