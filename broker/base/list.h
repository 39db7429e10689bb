#pragma once
/* An intrusive doubly linked list. A zeroed link is in no list; a list head is initialised to itself. */
#include <stdbool.h>
#include <stddef.h>

struct list {
        struct list *next, *prev;
};

#define LIST_ENTRY(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *head) {
        head->next = head->prev = head;
}
static inline bool list_empty(const struct list *head) {
        return head->next == head;
}
static inline bool list_linked(const struct list *link) {
        return link->next != NULL;
}
static inline void list_append(struct list *head, struct list *link) {
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}
static inline void list_prepend(struct list *head, struct list *link) {
        list_append(head->next, link);
}
static inline void list_unlink(struct list *link) {
        if (link->next == NULL)
                return;
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->next = link->prev = NULL;
}
