/*
 * Of each chain its last record is known, and that is enough: a gap may be filled later (then it was an order
 * that was changed), and a place that is taken twice is seen when it comes again. The first break is kept;
 * what follows it is only looked at to tell a gap from a changed order.
 */
#include "broker/wire/audit_check.h"

#include "broker/base/check.h"
#include "broker/base/map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAINS_FIRST = 64, CHAINS_MAX = 1 << 22, NO_CHAIN = -1 };

struct link {
        char id[AUDIT_ID_HEX + 1];
        uint64_t seq; /* of the last record */
        uint8_t hash[DIGEST_BYTES];
        struct audit_place place;
        bool unsure; /* a record behind it was changed: what comes next cannot be compared */
};

struct audit_check {
        struct audit_check_options options;
        struct digest *digest;
        struct link *chains;
        size_t chains_count, chains_capacity;
        struct map by_id;
        struct audit_finding finding;
        uint64_t gap_from, gap_to; /* of a removal: the places that are missing, in `gap_chain` */
        size_t gap_chain;
        bool gap, wanted, met;
        uint8_t want[DIGEST_BYTES];
        bool any; /* a record has come from source `source` */
        uint32_t source;
        struct audit_head last;
        bool last_known;
        uint64_t records;
};

const char *audit_break_text(enum audit_break what) {
        static const char *const texts[] = {"whole",    "changed", "removed", "reordered",
                                            "inserted", "torn",    "empty"};
        return texts[what];
}

static void find(struct audit_check *check, enum audit_break what, struct audit_place place, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);
static void find(struct audit_check *check, enum audit_break what, struct audit_place place, const char *fmt,
                 ...) {
        va_list arguments;
        if (check->finding.what != AUDIT_WHOLE)
                return;
        check->finding.what = what;
        check->finding.place = place;
        va_start(arguments, fmt);
        vsnprintf(check->finding.message, sizeof(check->finding.message), fmt, arguments);
        va_end(arguments);
}

static void find_gap(struct audit_check *check, size_t chain, uint64_t from, uint64_t to,
                     struct audit_place place) {
        if (check->finding.what == AUDIT_WHOLE) {
                check->gap = true;
                check->gap_from = from;
                check->gap_to = to;
                check->gap_chain = chain;
        }
        if (from == to)
                find(check, AUDIT_REMOVED, place, "record %llu of chain %s is missing before it",
                     (unsigned long long)from, check->chains[chain].id);
        else
                find(check, AUDIT_REMOVED, place, "records %llu to %llu of chain %s are missing before it",
                     (unsigned long long)from, (unsigned long long)to, check->chains[chain].id);
}

/* ---- chains ---- */

static struct key128 id_key(const char *id) {
        struct key128 key;
        memcpy(&key.hi, id, sizeof(key.hi));
        memcpy(&key.lo, id + sizeof(key.hi), sizeof(key.lo));
        return key;
}

static struct error *no_memory(void) {
        return error_new(ERROR_MEMORY, "no memory to follow that many chains of audit records");
}

static struct error *grow(struct audit_check *check) {
        size_t larger = check->chains_capacity ? 2 * check->chains_capacity : CHAINS_FIRST;
        struct map by_id;
        if (check->chains_count < check->chains_capacity)
                return NULL;
        if (larger > CHAINS_MAX || !map_init(&by_id, larger))
                return no_memory();
        struct link *grown = reallocarray(check->chains, larger, sizeof(*grown));
        if (!grown) {
                map_deinit(&by_id);
                return no_memory();
        }
        check->chains = grown;
        check->chains_capacity = larger;
        for (size_t i = 0; i < check->chains_count; i++)
                CHECK(map_put(&by_id, id_key(grown[i].id), (uint32_t)i));
        map_deinit(&check->by_id);
        check->by_id = by_id;
        return NULL;
}

static long find_chain(const struct audit_check *check, const char *id) {
        uint32_t place;
        if (check->chains_count == 0 || !map_get(&check->by_id, id_key(id), &place))
                return NO_CHAIN;
        return (long)place;
}

static void note(struct link *chain, const struct audit_head *head, struct audit_place place) {
        chain->seq = head->seq;
        memcpy(chain->hash, head->hash, sizeof(chain->hash));
        chain->place = place;
        chain->unsure = false;
}

/* ---- the next record ---- */

/* The record that the new chain says that it follows: gone, another one, or there (or never kept so long). */
static void check_before(struct audit_check *check, const struct audit_head *head, struct audit_place place) {
        long before = head->after_chain[0] ? find_chain(check, head->after_chain) : NO_CHAIN;
        if (before == NO_CHAIN)
                return;
        const struct link *chain = &check->chains[before];
        if (chain->seq < head->after_seq)
                find_gap(check, (size_t)before, chain->seq + 1, head->after_seq, place);
        else if (chain->seq == head->after_seq && !chain->unsure &&
                 memcmp(chain->hash, head->prev, sizeof(head->prev)) != 0)
                find(check, AUDIT_CHANGED, chain->place, "chain %s goes on from another record than this",
                     head->chain);
}

/* A chain of which nothing was seen yet. */
static struct error *begin_chain(struct audit_check *check, const struct audit_head *head,
                                 struct audit_place place, bool first) {
        struct error *error = grow(check);
        if (error)
                return error;
        size_t index = check->chains_count++;
        struct link *chain = &check->chains[index];
        *chain = (struct link){0};
        memcpy(chain->id, head->chain, sizeof(chain->id));
        CHECK(map_put(&check->by_id, id_key(chain->id), (uint32_t)index));
        bool begins = head->seq == 0 && head->kind == AUDIT_BEGIN;
        note(chain, head, place);
        if (!check->options.topic && !first)
                find(check, AUDIT_INSERTED, place, "it is of chain %s, in the middle of another",
                     head->chain);
        else if (begins)
                check_before(check, head, place);
        else if (head->seq == 0)
                find(check, AUDIT_CHANGED, place, "chain %s does not begin as chains do", head->chain);
        else if (!check->options.topic)
                find_gap(check, index, 0, head->seq - 1, place);
        return NULL;
}

static void follow_chain(struct audit_check *check, size_t index, const struct audit_head *head,
                         struct audit_place place) {
        struct link *chain = &check->chains[index];
        if (head->seq <= chain->seq) {
                if (check->gap && check->gap_chain == index && check->finding.what == AUDIT_REMOVED &&
                    head->seq >= check->gap_from && head->seq <= check->gap_to) {
                        check->finding.what = AUDIT_REORDERED;
                        snprintf(check->finding.message, sizeof(check->finding.message),
                                 "record %llu of chain %s comes behind it", (unsigned long long)head->seq,
                                 chain->id);
                        return;
                }
                find(check, AUDIT_INSERTED, place, "place %llu of chain %s was taken before it",
                     (unsigned long long)head->seq, chain->id);
                return;
        }
        if (head->seq > chain->seq + 1)
                find_gap(check, index, chain->seq + 1, head->seq - 1, place);
        else if (!chain->unsure && memcmp(chain->hash, head->prev, sizeof(head->prev)) != 0)
                find(check, AUDIT_CHANGED, chain->place, "the next record of chain %s names another hash",
                     chain->id);
        note(chain, head, place);
}

/* Whose place the bad record took is not known: no chain can be sure of its next one. */
static void lose_track(struct audit_check *check, struct audit_place place) {
        find(check, AUDIT_CHANGED, place, "its bytes do not agree with its hash");
        for (size_t i = 0; i < check->chains_count; i++)
                check->chains[i].unsure = true;
}

struct error *audit_check_add(struct audit_check *check, struct audit_place place, struct bytes line) {
        bool first = !check->any || check->source != place.source;
        check->any = true;
        check->source = place.source;
        check->last_known = audit_read(line, check->digest, &check->last);
        if (digest_failed(check->digest))
                return no_memory();
        if (!check->last_known) {
                lose_track(check, place);
                return NULL;
        }
        const struct audit_head *head = &check->last;
        check->records++;
        if (check->wanted && memcmp(head->hash, check->want, sizeof(check->want)) == 0)
                check->met = true;
        long chain = find_chain(check, head->chain);
        if (chain == NO_CHAIN)
                return begin_chain(check, head, place, first);
        follow_chain(check, (size_t)chain, head, place);
        return NULL;
}

void audit_check_torn(struct audit_check *check, struct audit_place place) {
        find(check, AUDIT_TORN, place, "the last line has no end: a write was cut off");
}

const struct audit_finding *audit_check_end(struct audit_check *check) {
        struct audit_place end = {check->source, 0};
        if (check->wanted && !check->met)
                find(check, AUDIT_REMOVED, end, "no record has the hash that must be there");
        if (!check->options.topic && check->records == 0)
                find(check, AUDIT_EMPTY, end, "no record is there, not even the first that a run writes");
        return &check->finding;
}

/* ---- the rest ---- */

struct error *audit_check_new(const struct audit_check_options *options, struct audit_check **out_check) {
        struct audit_check *check = calloc(1, sizeof(*check));
        if (check)
                check->digest = digest_new();
        if (!check || !check->digest) {
                audit_check_free(check);
                return error_new(ERROR_MEMORY, "no memory to check audit records");
        }
        check->options = *options;
        *out_check = check;
        return NULL;
}

struct audit_check *audit_check_free(struct audit_check *check) {
        if (!check)
                return NULL;
        digest_free(check->digest);
        map_deinit(&check->by_id);
        free(check->chains);
        free(check);
        return NULL;
}

void audit_check_want(struct audit_check *check, const uint8_t hash[DIGEST_BYTES]) {
        check->wanted = true;
        memcpy(check->want, hash, sizeof(check->want));
}

const struct audit_head *audit_check_last(const struct audit_check *check) {
        return check->last_known ? &check->last : NULL;
}

void audit_check_get_stats(const struct audit_check *check, struct audit_check_stats *out_stats) {
        *out_stats = (struct audit_check_stats){.records = check->records, .chains = check->chains_count};
}

bool audit_check_chain(const struct audit_check *check, struct audit_chain *out_chain) {
        if (check->chains_count == 0)
                return false;
        const struct link *chain = &check->chains[check->chains_count - 1];
        *out_chain = (struct audit_chain){.next = chain->seq + 1};
        memcpy(out_chain->id, chain->id, sizeof(out_chain->id));
        memcpy(out_chain->head, chain->hash, sizeof(out_chain->head));
        return true;
}
