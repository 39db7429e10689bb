#include "broker/cli/rule_text.h"

#include "broker/base/money.h"
#include "broker/wire/decision.h"

#include <string.h>

enum { VALUE_BYTES_MAX = 64 << 10 };
#define PREFS "prefs."

static bool same_names(const struct names *a, const struct names *b) {
        bool same = a->count == b->count;
        for (uint32_t i = 0; same && i < a->count; i++)
                same = bytes_equal(a->items[i], b->items[i]);
        return same;
}

static void append_names(struct buffer *out, const struct names *names) {
        for (uint32_t i = 0; i < names->count; i++) {
                buffer_append_string(out, i > 0 ? ", " : "");
                buffer_append_bytes(out, names->items[i]);
        }
}

enum form {
        FORM_PICOS, /* a decimal number: 10^12 stand for 1 */
        FORM_NANOS, /* 10^9 */
        FORM_MILLIONTHS,
        FORM_THOUSANDTHS,
        FORM_EACH, /* picodollars for a million of what is said for one */
        FORM_SORT,
        FORM_DENY,
        FORM_NONE, /* words */
};

/* Members that people know by another name than ours, and how they write the value. */
static const struct rule_form {
        const char *member, *word;
        enum form form;
} forms[] = {
        {"sort", "sort", FORM_SORT},
        {"sort_across_models", "sort.partition", FORM_NONE},
        {"deny_training", "data_collection", FORM_DENY},
        {"deny_unknown_price", "unknown_price", FORM_DENY},
        {"max_price_input", "max_price.prompt", FORM_PICOS},
        {"max_price_output", "max_price.completion", FORM_PICOS},
        {"max_price_request", "max_price.request", FORM_EACH},
        {"max_price_image", "max_price.image", FORM_EACH},
        {"preferred_min_throughput[0]", "preferred_min_throughput.p50", FORM_THOUSANDTHS},
        {"preferred_min_throughput[1]", "preferred_min_throughput.p75", FORM_THOUSANDTHS},
        {"preferred_min_throughput[2]", "preferred_min_throughput.p90", FORM_THOUSANDTHS},
        {"preferred_min_throughput[3]", "preferred_min_throughput.p99", FORM_THOUSANDTHS},
        {"preferred_max_latency[0]", "preferred_max_latency.p50", FORM_NANOS},
        {"preferred_max_latency[1]", "preferred_max_latency.p75", FORM_NANOS},
        {"preferred_max_latency[2]", "preferred_max_latency.p90", FORM_NANOS},
        {"preferred_max_latency[3]", "preferred_max_latency.p99", FORM_NANOS},
        {"spread_ppm", "spread", FORM_MILLIONTHS},
        {"max_cost_picousd", "max_cost_usd", FORM_PICOS},
};

static const struct rule_form *form_of(const char *member) {
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
                if (strcmp(forms[i].member, member) == 0)
                        return &forms[i];
        return NULL;
}

static void append_value(struct buffer *out, const struct rule_form *form, int64_t value) {
        if (!form) {
                buffer_append_i64(out, value);
                return;
        }
        switch (form->form) {
        case FORM_PICOS:
                money_append(out, value);
                return;
        case FORM_NANOS:
                money_append(out, money_multiply(value, 1000));
                return;
        case FORM_MILLIONTHS:
                money_append(out, money_multiply(value, 1000000));
                return;
        case FORM_THOUSANDTHS:
                money_append(out, money_multiply(value, 1000000000));
                return;
        case FORM_EACH:
                money_append(out, value / 1000000);
                return;
        case FORM_SORT:
                buffer_append_string(out, decision_sort_text((enum sort_by)value));
                return;
        case FORM_DENY:
                buffer_append_string(out, "deny");
                return;
        case FORM_NONE:
                buffer_append_string(out, "none");
                return;
        }
}

static void append_flag(struct buffer *out, const struct rule_form *form, bool value) {
        if (form)
                append_value(out, form, value);
        else
                buffer_append_string(out, value ? "true" : "false");
}

#define SAME_WHOLE(a, b)         ((a) == (b))
#define SAME_COUNT(a, b)         ((a) == (b))
#define SAME_FLAG(a, b)          ((a) == (b))
#define SAME_NAMES(a, b)         same_names(&(a), &(b))
#define SAID_WHOLE(a, otherwise) ((a) != (otherwise))
#define SAID_COUNT(a, otherwise) ((a) != (otherwise))
#define SAID_FLAG(a, otherwise)  ((a) != (otherwise))
#define SAID_NAMES(a, otherwise) ((a).count > (otherwise))
#define TEXT_WHOLE(form, a)      append_value(&value, form, (int64_t)(a))
#define TEXT_COUNT(form, a)      append_value(&value, form, (int64_t)(a))
#define TEXT_FLAG(form, a)       append_flag(&value, form, a)
#define TEXT_NAMES(form, a)      append_names(&value, &(a))

/* Of a member that is a rule; else NULL. */
static const char *rule_name(const char *member) {
        if (strcmp(member, "max_cost_picousd") == 0)
                return member;
        return strncmp(member, PREFS, sizeof PREFS - 1) == 0 ? member + sizeof PREFS - 1 : NULL;
}

/* One field: `said` when it is a rule that says something. */
#define FIELD(member, type, otherwise, bound)                                                                \
        if ((name = rule_name(#member)) != NULL && SAID_##type(demand->member, otherwise)) {                 \
                const struct rule_form *form = form_of(name);                                                \
                rule.name = form ? form->word : name;                                                        \
                rule.layer = SAME_##type(demand->member, base.member)     ? "configuration"                  \
                             : SAME_##type(demand->member, shared.member) ? "workspace"                      \
                                                                          : "job";                           \
                buffer_clear(&value);                                                                        \
                TEXT_##type(form, demand->member);                                                           \
                rule.value = buffer_view(&value);                                                            \
                each(userdata, &rule);                                                                       \
        }

void rule_texts(const struct demand *demand, const struct routing_prefs *configuration,
                const struct routing_prefs *workspace,
                void (*each)(void *userdata, const struct rule_text *rule), void *userdata) {
        struct demand base, shared;
        struct rule_text rule;
        const char *name;
        struct buffer value;
        demand_init(&base, demand->kind);
        shared = base;
        base.prefs = *configuration;
        base.max_cost_picousd = configuration->max_cost_picousd;
        if (workspace) {
                shared.prefs = *workspace;
                shared.max_cost_picousd = workspace->max_cost_picousd;
        }
        buffer_init(&value, VALUE_BYTES_MAX);
#define DEMAND FIELD
#include "schemas/decision_fields.def"
        buffer_deinit(&value);
}
