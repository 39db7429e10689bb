#include "broker/loop/purses.h"

#include "broker/base/time.h"
#include "broker/loop/shard.h"
#include "broker/loop/spend_book.h"
#include "broker/ops/log.h"

#include <stdlib.h>

enum { WORDS_MAX = 1024 }; /* in a turn */

/* ---- coming ---- */

struct loading {
        struct record_intake *intake;
        struct engine *engine;
        const struct catalog *catalog;
        int64_t now_unix_ms;
        struct state_lists lists;
};

/* What the last owner was allowed is at risk: nobody can tell what it made of it. */
static struct error *load_word(void *userdata, uint32_t partition, struct bytes value) {
        struct loading *loading = userdata;
        struct state_spend word;
        uint32_t subject;
        struct error *error = spend_word_read(partition, value, &loading->lists, &word);
        if (error)
                return error;
        if (!spend_subject_find(loading->catalog, spend_word_kind(&word), word.name, &subject) ||
            !engine_spend_wanted(loading->engine, partition, subject))
                return NULL;
        budget_take_over(&word.spend, word.allowed,
                         budget_subject_release_unix_ms(loading->catalog, subject, loading->now_unix_ms));
        bool answers = word.allowed[0].picousd > 0 || word.allowed[1].picousd > 0;
        engine_spend_load(loading->engine, partition, subject, &word.spend, answers);
        return NULL;
}

static void load(struct record_intake *intake, const struct part *part) {
        struct loading *loading = malloc(sizeof(*loading));
        if (!loading) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for what was spent"));
                return;
        }
        loading->intake = intake;
        loading->engine = shard_engine(intake->shard);
        loading->catalog = shard_catalog(intake->shard);
        loading->now_unix_ms = clock_now_unix_ms();
        struct error *error = store_each_share(intake->options.store, part->partition, load_word, loading);
        if (error)
                intake_fail(intake, error); /* without it nothing may be spent */
        else
                engine_purse_ready(loading->engine, part->partition);
        free(loading);
}

static void open(struct record_intake *intake, struct part *part) {
        struct engine_time now = {.now_ns = clock_now_ns(), .now_unix_ms = clock_now_unix_ms()};
        if (!engine_purse_open(shard_engine(intake->shard), now, part->partition, intake->whole)) {
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for the budgets of partition %u",
                                              part->partition));
                return;
        }
        part->purse = true;
        load(intake, part);
}

/* What was spent before was of larger parts: of periods that go on, the new ones have theirs besides. */
static void warn_of_growth(struct record_intake *intake) {
        bool bounded = budget_any(shard_catalog(intake->shard));
        if (bounded && intake->purses_whole > 0 && intake->whole > intake->purses_whole)
                log_write(
                        LOG_LEVEL_WARNING,
                        "the jobs have %u partitions now, and had %u: what was spent of budgets before does "
                        "not count for the new ones in this day, this month, and in all",
                        intake->whole, intake->purses_whole);
        intake->purses_whole = intake->whole;
}

void purses_open(struct record_intake *intake) {
        warn_of_growth(intake);
        for (size_t i = 0; i < intake->owned_count && !intake->error; i++) {
                struct part *part = intake->parts[intake->owned[i]];
                if (part->active && !part->purse && part->partition < intake->whole)
                        open(intake, part);
        }
}

void purses_reloaded(struct record_intake *intake) {
        for (size_t i = 0; i < intake->owned_count && !intake->error; i++)
                if (intake->parts[intake->owned[i]]->purse)
                        load(intake, intake->parts[intake->owned[i]]);
}

/* ---- words ---- */

static void tell(void *userdata, const struct spend_news *news) {
        struct record_intake *intake = userdata;
        enum spend_kind kind;
        struct bytes name = spend_subject_name(shard_catalog(intake->shard), news->subject, &kind);
        struct publication *publication =
                intake_publish(intake, PUBLICATION_SPEND, intake->parts[news->partition]);
        if (!publication)
                return;
        struct state_record record = {.kind = STATE_SPEND,
                                      .spend = {.provider = kind == SPEND_PROVIDER,
                                                .name = name,
                                                .at_unix_ms = clock_now_unix_ms(),
                                                .spend = *news->spend,
                                                .allowed = {news->allowed[0], news->allowed[1]}}};
        publication->word = news->word;
        state_key_append_spend(&publication->state_key, kind == SPEND_PROVIDER, name);
        state_record_append(&publication->value, &record);
        if (publication->state_key.failed || publication->value.failed)
                intake_fail(intake, error_new(ERROR_MEMORY, "no memory for what was spent"));
}

void purses_tell(struct record_intake *intake) {
        intake->words_left = !engine_spend_take(shard_engine(intake->shard), WORDS_MAX, tell, intake);
}

void purses_rest(struct record_intake *intake) {
        for (size_t i = 0; i < intake->owned_count; i++)
                if (intake->parts[intake->owned[i]]->purse)
                        engine_purse_rest(shard_engine(intake->shard), intake->owned[i]);
}

/* ---- going ---- */

void purses_close(struct record_intake *intake, struct part *part) {
        if (part->purse)
                engine_purse_close(shard_engine(intake->shard), part->partition);
}

bool purses_closed(const struct record_intake *intake, const struct part *part) {
        return !part->purse || engine_purse_told(shard_engine(intake->shard), part->partition);
}

void purses_drop(struct record_intake *intake, struct part *part) {
        if (part->purse)
                engine_purse_drop(shard_engine(intake->shard), part->partition);
        part->purse = false;
}
