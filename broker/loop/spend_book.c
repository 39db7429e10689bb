#include "broker/loop/spend_book.h"

#include "broker/base/array.h"
#include "broker/base/money.h"

#include <stdlib.h>
#include <string.h>

struct loading {
        struct spend_book *book;
        const struct catalog *catalog;
        int64_t now_unix_ms;
};

static struct spend_entry *find(const struct spend_book *book, enum spend_kind kind, struct bytes name) {
        for (size_t i = 0; i < book->count; i++)
                if (book->entries[i].kind == kind && bytes_equal_string(name, book->entries[i].name))
                        return &book->entries[i];
        return NULL;
}

/* Made when it is new. */
static struct error *entry_of(struct spend_book *book, enum spend_kind kind, struct bytes name,
                              struct spend_entry **out_entry) {
        *out_entry = find(book, kind, name);
        if (*out_entry)
                return NULL;
        if (!array_reserve((void **)&book->entries, &book->capacity, book->count + 1, sizeof(*book->entries)))
                return error_new(ERROR_MEMORY, "no memory for what was spent");
        struct spend_entry *entry = &book->entries[book->count++];
        *entry = (struct spend_entry){.kind = kind};
        memcpy(entry->name, name.data, name.size < SPEND_NAME_MAX ? name.size : SPEND_NAME_MAX);
        budget_spend_init(&entry->spend);
        *out_entry = entry;
        return NULL;
}

static struct error *load_row(void *userdata, enum spend_kind kind, struct bytes name,
                              const struct budget_spend *spend) {
        struct loading *loading = userdata;
        struct spend_entry *entry;
        struct error *error = entry_of(loading->book, kind, name, &entry);
        if (!error)
                entry->spend = *spend;
        return error;
}

static int64_t release_time(const struct loading *loading, struct bytes workspace) {
        const struct catalog *catalog = loading->catalog;
        for (uint32_t i = 0; catalog && i < catalog->workspaces_count; i++)
                if (bytes_equal_string(workspace, catalog->workspaces[i].name))
                        return budget_release_unix_ms(loading->now_unix_ms,
                                                      catalog->workspaces[i].release_unknown_ns);
        return BUDGET_KEPT;
}

static struct error *add_hold(struct loading *loading, const struct begun *begun, enum spend_kind kind,
                              struct bytes name) {
        struct spend_entry *entry;
        if (name.size == 0)
                return NULL;
        struct error *error = entry_of(loading->book, kind, name, &entry);
        if (error)
                return error;
        budget_add_risk(&entry->spend,
                        &(struct budget_risk){begun->hold_day, release_time(loading, begun->workspace),
                                              begun->hold_picousd});
        entry->changed = true;
        return NULL;
}

static struct error *load_hold(void *userdata, const struct begun *begun) {
        if (!begun->holds || begun->hold_counted || begun->hold_picousd == 0)
                return NULL;
        struct error *error = add_hold(userdata, begun, SPEND_WORKSPACE, begun->workspace);
        return error ? error : add_hold(userdata, begun, SPEND_PROVIDER, begun->provider);
}

struct error *spend_book_read(struct spend_book *book, struct store *store) {
        struct loading loading = {.book = book};
        return store_each_spend(store, load_row, &loading);
}

struct error *spend_book_load(struct spend_book *book, struct store *store, const struct catalog *catalog,
                              int64_t now_unix_ms) {
        struct loading loading = {book, catalog, now_unix_ms};
        struct error *error = spend_book_read(book, store);
        return error ? error : store_each_unknown(store, load_hold, &loading);
}

void spend_book_deinit(struct spend_book *book) {
        free(book->entries);
        *book = (struct spend_book){0};
}

static struct error *settle(struct spend_book *book, const struct begun *begun, enum spend_kind kind,
                            struct bytes name, int64_t spent_picousd) {
        struct spend_entry *entry;
        if (name.size == 0)
                return NULL;
        struct error *error = entry_of(book, kind, name, &entry);
        if (error)
                return error;
        budget_take_risk(&entry->spend, begun->hold_day, begun->hold_picousd);
        budget_add_settled(&entry->spend, begun->hold_day, spent_picousd);
        entry->changed = true;
        return NULL;
}

/* The exposure is that of all attempts, and the hold that of the last one: the rest is counted already. */
struct error *spend_book_settle(struct spend_book *book, const struct begun *begun, bool cost_known,
                                int64_t cost_picousd) {
        int64_t spent_picousd = begun->hold_picousd;
        if (!begun->holds)
                return NULL;
        if (cost_known && begun->exposure_picousd >= begun->hold_picousd) {
                int64_t before = begun->exposure_picousd - begun->hold_picousd;
                spent_picousd = cost_picousd > before ? cost_picousd - before : 0;
        }
        struct error *error = settle(book, begun, SPEND_WORKSPACE, begun->workspace, spent_picousd);
        return error ? error : settle(book, begun, SPEND_PROVIDER, begun->provider, spent_picousd);
}

void spend_book_write(const struct spend_book *book, struct store_batch *batch) {
        for (size_t i = 0; i < book->count; i++)
                if (book->entries[i].changed)
                        store_batch_spend(batch, book->entries[i].kind, bytes_of(book->entries[i].name),
                                          &book->entries[i].spend);
        store_batch_count_holds(batch);
}

const struct budget_spend *spend_book_find(const struct spend_book *book, enum spend_kind kind,
                                           struct bytes name) {
        const struct spend_entry *entry = find(book, kind, name);
        return entry ? &entry->spend : NULL;
}

struct bytes spend_subject_name(const struct catalog *catalog, uint32_t subject, enum spend_kind *out_kind) {
        bool workspace = subject < catalog->workspaces_count;
        *out_kind = workspace ? SPEND_WORKSPACE : SPEND_PROVIDER;
        return bytes_of(workspace ? catalog->workspaces[subject].name
                                  : catalog->providers[subject - catalog->workspaces_count].name);
}

bool spend_subject_find(const struct catalog *catalog, enum spend_kind kind, struct bytes name,
                        uint32_t *out_subject) {
        uint32_t count = budget_subjects(catalog);
        for (uint32_t i = 0; i < count; i++) {
                enum spend_kind its;
                struct bytes its_name = spend_subject_name(catalog, i, &its);
                if (its != kind || !bytes_equal(name, its_name))
                        continue;
                *out_subject = i;
                return true;
        }
        return false;
}

struct error *spend_word_read(uint32_t partition, struct bytes value, struct state_lists *lists,
                              struct state_spend *out_word) {
        struct state_record record;
        if (state_record_read(value, lists, &record) != STATE_RECORD_OK || record.kind != STATE_SPEND)
                return error_new(ERROR_CORRUPT,
                                 "what was spent of partition %u cannot be read; run `batchferry state "
                                 "verify`, or move the state directory away: it is read again from the "
                                 "state topic",
                                 partition);
        *out_word = record.spend;
        return NULL;
}
