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

static void append_number(struct buffer *out, const char *name, int64_t value) {
        if (strcmp(name, "sort") == 0)
                buffer_append_string(out, decision_sort_text((enum sort_by)value));
        else if (strncmp(name, "max_price", sizeof "max_price" - 1) == 0)
                money_append(out, value);
        else
                buffer_append_i64(out, value);
}

#define SAME_WHOLE(a, b)         ((a) == (b))
#define SAME_COUNT(a, b)         ((a) == (b))
#define SAME_FLAG(a, b)          ((a) == (b))
#define SAME_NAMES(a, b)         same_names(&(a), &(b))
#define SAID_WHOLE(a, otherwise) ((a) != (otherwise))
#define SAID_COUNT(a, otherwise) ((a) != (otherwise))
#define SAID_FLAG(a, otherwise)  ((a) != (otherwise))
#define SAID_NAMES(a, otherwise) ((a).count > (otherwise))
#define TEXT_WHOLE(name, a)      append_number(&value, name, (int64_t)(a))
#define TEXT_COUNT(name, a)      append_number(&value, name, (int64_t)(a))
#define TEXT_FLAG(name, a)       buffer_append_string(&value, (a) ? "true" : "false")
#define TEXT_NAMES(name, a)      append_names(&value, &(a))

/* One field: `said` when it is a rule that says something. */
#define FIELD(member, type, otherwise, bound)                                                                \
        if (strncmp(#member, PREFS, sizeof PREFS - 1) == 0 && SAID_##type(demand->member, otherwise)) {      \
                rule.name = &(#member)[sizeof PREFS - 1];                                                    \
                rule.layer = SAME_##type(demand->member, base.member)     ? "configuration"                  \
                             : SAME_##type(demand->member, shared.member) ? "workspace"                      \
                                                                          : "job";                           \
                buffer_clear(&value);                                                                        \
                TEXT_##type(rule.name, demand->member);                                                      \
                rule.value = buffer_view(&value);                                                            \
                each(userdata, &rule);                                                                       \
        }

void rule_texts(const struct demand *demand, const struct routing_prefs *configuration,
                const struct routing_prefs *workspace,
                void (*each)(void *userdata, const struct rule_text *rule), void *userdata) {
        struct demand base, shared;
        struct rule_text rule;
        struct buffer value;
        demand_init(&base, demand->kind);
        shared = base;
        base.prefs = *configuration;
        if (workspace)
                shared.prefs = *workspace;
        buffer_init(&value, VALUE_BYTES_MAX);
#define DEMAND FIELD
#include "schemas/decision_fields.def"
        buffer_deinit(&value);
}
