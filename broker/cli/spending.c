#include "broker/cli/spending.h"

#include "broker/base/money.h"
#include "broker/cli/kafka_options.h"
#include "broker/kafka/reader.h"
#include "broker/loop/spend_book.h"

#include <stdlib.h>

const char *const spending_period_names[BUDGET_KINDS_COUNT] = {
        [BUDGET_DAILY] = "day", [BUDGET_MONTHLY] = "month", [BUDGET_LIFETIME] = "lifetime"};

int64_t spending_used(const struct budget_view *view) {
        return money_add(money_add(view->settled_picousd, view->risk_picousd), view->reserved_picousd);
}

int64_t spending_left(const struct budget_view *view) {
        int64_t used = spending_used(view);
        return used < view->limit_picousd ? view->limit_picousd - used : 0;
}

struct error *spending_init(struct spending *spending, const struct catalog *catalog, int64_t now_unix_ms) {
        *spending = (struct spending){
                .catalog = catalog, .now_unix_ms = now_unix_ms, .subjects = budget_subjects(catalog)};
        spending->views = calloc(spending->subjects + 1, sizeof(*spending->views));
        if (!spending->views)
                return error_new(ERROR_MEMORY, "no memory for the report");
        for (uint32_t i = 0; i < spending->subjects; i++) {
                const struct budget_spec *budget = budget_of_subject(catalog, i);
                spending->views[i][BUDGET_DAILY].limit_picousd = budget->daily;
                spending->views[i][BUDGET_MONTHLY].limit_picousd = budget->monthly;
                spending->views[i][BUDGET_LIFETIME].limit_picousd = budget->lifetime;
        }
        return NULL;
}

void spending_deinit(struct spending *spending) {
        free(spending->views);
        spending->views = NULL;
}

static bool find(const struct spending *spending, enum spend_kind kind, struct bytes name,
                 uint32_t *out_subject) {
        return spend_subject_find(spending->catalog, kind, name, out_subject);
}

static void add(int64_t *sum, int64_t picousd) {
        *sum = money_add(*sum, picousd);
}

static void add_spend(struct spending *spending, uint32_t subject, const struct budget_spend *spend) {
        static const struct budget_spec none;
        struct ledger ledger;
        ledger_init(&ledger, &none, false);
        ledger.spend = *spend;
        ledger_roll(&ledger, spending->now_unix_ms);
        for (unsigned kind = 0; kind < BUDGET_KINDS_COUNT; kind++) {
                struct budget_view view, *sum = &spending->views[subject][kind];
                ledger_view(&ledger, (enum budget_kind)kind, &view);
                add(&sum->settled_picousd, view.settled_picousd);
                add(&sum->risk_picousd, view.risk_picousd);
        }
}

static void add_reserved(struct spending *spending, uint32_t subject, int64_t day, int64_t picousd) {
        int64_t today = budget_day(spending->now_unix_ms);
        struct budget_view *views = spending->views[subject];
        if (picousd == 0)
                return;
        if (day == today)
                add(&views[BUDGET_DAILY].reserved_picousd, picousd);
        if (budget_month(day) == budget_month(today))
                add(&views[BUDGET_MONTHLY].reserved_picousd, picousd);
        add(&views[BUDGET_LIFETIME].reserved_picousd, picousd);
}

static void add_word(struct spending *spending, uint32_t subject, const struct state_spend *word) {
        add_spend(spending, subject, &word->spend);
        for (int i = 0; i < 2; i++)
                add_reserved(spending, subject, word->allowed[i].day, word->allowed[i].picousd);
}

/* ---- a state directory ---- */

static struct error *add_row(void *userdata, enum spend_kind kind, struct bytes name,
                             const struct budget_spend *spend) {
        uint32_t subject;
        if (find(userdata, kind, name, &subject))
                add_spend(userdata, subject, spend);
        return NULL;
}

/* What the attempts hold that are open in the journal and not part of the rows. */
static struct error *add_hold(void *userdata, const struct begun *begun) {
        uint32_t subject;
        if (!begun->holds || begun->hold_counted)
                return NULL;
        if (find(userdata, SPEND_WORKSPACE, begun->workspace, &subject))
                add_reserved(userdata, subject, begun->hold_day, begun->hold_picousd);
        if (find(userdata, SPEND_PROVIDER, begun->provider, &subject))
                add_reserved(userdata, subject, begun->hold_day, begun->hold_picousd);
        return NULL;
}

struct sharing {
        struct spending *spending;
        struct state_lists lists;
};

static struct error *add_share(void *userdata, uint32_t partition, struct bytes value) {
        struct sharing *sharing = userdata;
        struct state_spend word;
        uint32_t subject;
        struct error *error = spend_word_read(partition, value, &sharing->lists, &word);
        if (!error && find(sharing->spending, spend_word_kind(&word), word.name, &subject))
                add_word(sharing->spending, subject, &word);
        return error;
}

struct error *spending_read_store(struct spending *spending, struct store *store) {
        struct sharing *sharing = malloc(sizeof(*sharing));
        if (!sharing)
                return error_new(ERROR_MEMORY, "no memory for the report");
        sharing->spending = spending;
        struct error *error = store_each_spend(store, add_row, spending);
        if (!error)
                error = store_each_unknown(store, add_hold, spending);
        if (!error)
                error = store_each_share(store, STORE_NO_PARTITION, add_share, sharing);
        free(sharing);
        return error;
}

/* ---- the state topic ---- */

/* The last word of each partition on each subject; their names are not kept. */
struct topic_words {
        struct spending *spending;
        struct state_spend *words[CONSUMER_PARTITIONS_MAX]; /* by subject */
        bool *there[CONSUMER_PARTITIONS_MAX];
        struct state_lists lists;
};

static bool make_room(struct topic_words *words, uint32_t partition, uint32_t subjects) {
        if (words->words[partition])
                return true;
        words->words[partition] = calloc(subjects, sizeof(**words->words));
        words->there[partition] = calloc(subjects, sizeof(**words->there));
        return words->words[partition] && words->there[partition];
}

static struct error *take(void *userdata, const struct consumer_record *from) {
        struct topic_words *words = userdata;
        const struct spending *spending = words->spending;
        struct state_record record;
        uint32_t subject;
        if (!from->has_key || !from->has_value || state_key_kind(from->key) != STATE_KEY_SPEND)
                return NULL;
        enum state_record_outcome outcome = state_record_read(from->value, &words->lists, &record);
        if (outcome == STATE_RECORD_NEWER)
                return error_new(ERROR_INPUT,
                                 "the state topic holds records of a newer version (offset %llu of partition "
                                 "%u)",
                                 (unsigned long long)from->offset, from->partition);
        if (outcome != STATE_RECORD_OK || record.kind != STATE_SPEND ||
            from->partition >= CONSUMER_PARTITIONS_MAX ||
            !find(spending, spend_word_kind(&record.spend), record.spend.name, &subject))
                return NULL;
        if (!make_room(words, from->partition, spending->subjects))
                return error_new(ERROR_MEMORY, "no memory for the report");
        words->words[from->partition][subject] = record.spend;
        words->there[from->partition][subject] = true;
        return NULL;
}

static struct error *read_all(struct topic_words *words, const struct reader_options *options) {
        struct reader *reader = NULL;
        struct error *error = reader_open(options, &reader);
        if (!error)
                error = reader_each(reader, NULL, take, words);
        reader_close(reader);
        return error;
}

static void sum_up(struct spending *spending, const struct topic_words *words) {
        for (uint32_t p = 0; p < CONSUMER_PARTITIONS_MAX; p++)
                for (uint32_t i = 0; i < spending->subjects && words->words[p]; i++)
                        if (words->there[p][i])
                                add_word(spending, i, &words->words[p][i]);
}

struct error *spending_read_topic(struct spending *spending, const struct config *config) {
        struct kafka_options kafka;
        struct topic_words *words = calloc(1, sizeof(*words));
        if (!words)
                return error_new(ERROR_MEMORY, "no memory for the report");
        words->spending = spending;
        struct error *error = kafka_options_init(&kafka, config, 0);
        struct reader_options options = {.properties = kafka_options_properties(&kafka),
                                         .topic = config->settings.topic_state,
                                         .client_id = "batchferry-workspaces",
                                         .wait_open = true};
        if (!error)
                error = read_all(words, &options);
        if (!error)
                sum_up(spending, words);
        for (uint32_t p = 0; p < CONSUMER_PARTITIONS_MAX; p++) {
                free(words->words[p]);
                free(words->there[p]);
        }
        free(words);
        return error;
}
