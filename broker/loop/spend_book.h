#pragma once
/*
 * What workspaces and providers have spent, by name, as the store has it: read when a run begins, before its
 * first job. What the attempts of a process that died had reserved becomes a risk, once; the result of one
 * that had been written all the same says what it cost.
 */
#include "broker/store/store.h"
#include "broker/wire/state_record.h"

struct spend_entry {
        enum spend_kind kind;
        char name[SPEND_NAME_MAX + 1];
        struct budget_spend spend;
        bool changed; /* since it was read */
};

struct spend_book {
        struct spend_entry *entries;
        size_t count, capacity;
};

/* Reads the rows, and no more. */
struct error *spend_book_read(struct spend_book *book, struct store *store) MUST_USE;
/* Reads the rows and adds what attempts of unknown outcome hold. catalog: for the times of release; NULL. */
struct error *spend_book_load(struct spend_book *book, struct store *store, const struct catalog *catalog,
                              int64_t now_unix_ms) MUST_USE;
void spend_book_deinit(struct spend_book *book);
/* What that attempt holds was spent as far as this sum of the job's costs, up to and with it, says. */
struct error *spend_book_settle(struct spend_book *book, const struct begun *begun, bool cost_known,
                                int64_t cost_picousd) MUST_USE;
/* Adds to the batch what has changed, and that the holds are counted. */
void spend_book_write(const struct spend_book *book, struct store_batch *batch);
/* NULL: nothing was ever spent. */
const struct budget_spend *spend_book_find(const struct spend_book *book, enum spend_kind kind,
                                           struct bytes name);
/* The name and kind of a subject of the catalog. */
struct bytes spend_subject_name(const struct catalog *catalog, uint32_t subject, enum spend_kind *out_kind);
/* The same backwards. false: the catalog counts nothing of that name. */
bool spend_subject_find(const struct catalog *catalog, enum spend_kind kind, struct bytes name,
                        uint32_t *out_subject);

/* A row of store_each_share(); what it says lies in `value` and in `lists`. */
struct error *spend_word_read(uint32_t partition, struct bytes value, struct state_lists *lists,
                              struct state_spend *out_word) MUST_USE;
static inline enum spend_kind spend_word_kind(const struct state_spend *word) {
        return word->provider ? SPEND_PROVIDER : SPEND_WORKSPACE;
}
