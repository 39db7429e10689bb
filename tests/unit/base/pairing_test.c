/* The pairing heap against a plain array that is searched for its smallest entry. */
#include "broker/base/pairing.h"
#include "broker/base/prng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ITEMS = 200, MANY = 100000 };

struct item {
        struct pairing_node node;
        int64_t key;
        uint32_t id;
        bool inside;
};

static uint64_t comparisons;

static const struct item *item_of(const struct pairing_node *node) {
        return (const struct item *)(const void *)((const char *)node - offsetof(struct item, node));
}

static bool item_before(const struct pairing_node *a, const struct pairing_node *b) {
        const struct item *x = item_of(a), *y = item_of(b);
        comparisons++;
        return x->key != y->key ? x->key < y->key : x->id < y->id;
}

static const struct item *smallest(const struct item *items) {
        const struct item *best = NULL;
        for (int i = 0; i < ITEMS; i++)
                if (items[i].inside && (!best || item_before(&items[i].node, &best->node)))
                        best = &items[i];
        return best;
}

static void first_is_always_the_smallest(void **state) {
        static struct item items[ITEMS];
        (void)state;
        for (uint64_t seed = 1; seed <= 40; seed++) {
                struct prng prng;
                struct pairing heap;
                prng_init(&prng, seed);
                pairing_init(&heap, item_before);
                memset(items, 0, sizeof(items));
                uint32_t growing = 2 + (uint32_t)prng_below(&prng, 3); /* sometimes it stays nearly empty */
                for (int i = 0; i < 2000; i++) {
                        struct item *item = &items[prng_below(&prng, ITEMS)];
                        bool put = prng_below(&prng, 4) < growing;
                        if (put && !item->inside) {
                                item->key = (int64_t)prng_below(&prng, 50) - 25;
                                item->id = (uint32_t)(item - items);
                                item->inside = true;
                                pairing_put(&heap, &item->node);
                        } else if (!put && prng_below(&prng, 2) == 0 && !pairing_empty(&heap)) {
                                item = &items[item_of(pairing_first(&heap))->id];
                                item->inside = false;
                                pairing_remove(&heap, &item->node);
                        } else if (!put && item->inside) {
                                item->inside = false;
                                pairing_remove(&heap, &item->node);
                        }
                        const struct item *best = smallest(items);
                        assert_ptr_equal(pairing_first(&heap), best ? &best->node : NULL);
                }
                while (!pairing_empty(&heap)) {
                        struct item *item = &items[item_of(pairing_first(&heap))->id];
                        assert_ptr_equal(item, smallest(items));
                        item->inside = false;
                        pairing_remove(&heap, &item->node);
                }
                assert_null(smallest(items));
        }
}

/* What is out is as it was before it came in, and may come in again. */
static void one_may_come_and_go(void **state) {
        struct item item = {.key = 1};
        struct pairing heap;
        (void)state;
        pairing_init(&heap, item_before);
        for (int i = 0; i < 3; i++) {
                assert_true(pairing_empty(&heap));
                pairing_put(&heap, &item.node);
                assert_ptr_equal(pairing_first(&heap), &item.node);
                pairing_remove(&heap, &item.node);
                assert_null(item.node.child);
                assert_null(item.node.next);
                assert_null(item.node.before);
        }
}

/* Comparisons, not time: at most a few times log2(n) each, in whatever order they came. */
static void many_are_cheap(void **state) {
        struct item *items = calloc(MANY, sizeof(*items));
        (void)state;
        assert_non_null(items);
        for (int order = 0; order < 3; order++) {
                struct pairing heap;
                struct prng prng;
                prng_init(&prng, 7);
                pairing_init(&heap, item_before);
                comparisons = 0;
                for (uint32_t i = 0; i < MANY; i++) {
                        int64_t keys[] = {i, MANY - i, (int64_t)prng_below(&prng, 1000)};
                        items[i] = (struct item){.key = keys[order], .id = i};
                        pairing_put(&heap, &items[i].node);
                }
                assert_true(comparisons < MANY);
                const struct item *last = NULL;
                for (uint32_t i = 0; i < MANY; i++) {
                        const struct item *first = item_of(pairing_first(&heap));
                        assert_true(!last || first->key >= last->key);
                        last = first;
                        pairing_remove(&heap, pairing_first(&heap));
                }
                assert_true(comparisons < UINT64_C(3) * 17 * MANY);
        }
        free(items);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_is_always_the_smallest),
                cmocka_unit_test(one_may_come_and_go),
                cmocka_unit_test(many_are_cheap),
        };
        return cmocka_run_group_tests_name("pairing", tests, NULL, NULL);
}
