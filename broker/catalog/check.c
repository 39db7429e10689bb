/*
 * Models of several providers are the same when their names agree behind the last slash, whatever the case; a
 * median of fewer than two others says nothing.
 */
#include "broker/catalog/check.h"

#include "broker/base/money.h"
#include "broker/catalog/import.h"
#include "broker/ops/model.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
        OFF_TIMES = 10,
        CHEAP_TIMES = 100,
        OTHERS_MIN = 2,
        NAMES_SHOWN_MAX = 3,
        GROUP_MAX = 200 /* as the work grows with its cube */
};

#define ALL_KINDS ((1U << KINDS_COUNT) - 1)

static const struct {
        const char *code;
        bool hole;
        const char *text;
} checks[] = {
#define CHECK_CODE(id, code, hole, text) {code, hole, text},
#include "broker/catalog/checks.def"
#undef CHECK_CODE
};

const char *check_code(enum check check) {
        return checks[check].code;
}

bool check_from_code(struct bytes code, enum check *out_check) {
        for (unsigned i = 0; i < CHECKS_COUNT; i++)
                if (bytes_equal_string(code, checks[i].code)) {
                        *out_check = (enum check)i;
                        return true;
                }
        return false;
}

static void add(struct check_findings *findings, struct check_finding finding) {
        if (findings->count == findings->capacity) {
                uint32_t capacity = findings->capacity == 0 ? 256 : 2 * findings->capacity;
                struct check_finding *items = realloc(findings->items, capacity * sizeof *items);
                findings->memory_refused = findings->memory_refused || items == NULL;
                if (items == NULL)
                        return;
                findings->items = items;
                findings->capacity = capacity;
        }
        findings->items[findings->count++] = finding;
}

void check_findings_deinit(struct check_findings *findings) {
        free(findings->items);
        *findings = (struct check_findings){0};
}

/* ---- one model ---- */

/* Of one that serves all kinds any price will do; else each kind must have one. */
static void check_prices_known(const struct endpoint *endpoint, uint32_t index,
                               struct check_findings *findings) {
        bool any = false;
        for (unsigned kind = 0; kind < KINDS_COUNT; kind++)
                any = any || import_is_priced(endpoint, (enum kind)kind);
        if (endpoint->kinds == ALL_KINDS) {
                if (!any)
                        add(findings, (struct check_finding){CHECK_NO_PRICE, index, 0, 0, 0, ""});
                return;
        }
        for (unsigned kind = 0; kind < KINDS_COUNT; kind++)
                if ((endpoint->kinds >> kind & 1) != 0 && !import_is_priced(endpoint, (enum kind)kind))
                        add(findings, (struct check_finding){CHECK_NO_PRICE, index, 0, 0, 0,
                                                             model_kind_name((enum kind)kind)});
}

/* Of one that writes text as well; what only paints or listens is billed by its other prices. */
static void check_media(const struct endpoint *endpoint, uint32_t index, struct check_findings *findings) {
        const struct price *price = &endpoint->price;
        const struct {
                uint32_t has;
                int64_t price;
                const char *part;
        } parts[] = {
                {endpoint->input_modalities & MODALITY_BIT(AUDIO), price->audio_input, "audio_input"},
                {endpoint->output_modalities & MODALITY_BIT(AUDIO), price->audio_output, "audio_output"},
                {endpoint->output_modalities & MODALITY_BIT(IMAGE), price->image_output, "image_output"},
        };
        if (!import_is_priced(endpoint, KIND_CHAT) ||
            (endpoint->kinds & (1U << KIND_CHAT | 1U << KIND_RESPONSES)) == 0)
                return;
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
                if (parts[i].has != 0 && parts[i].price == PRICE_UNKNOWN)
                        add(findings,
                            (struct check_finding){CHECK_NO_MEDIA_PRICE, index, 0, 0, 0, parts[i].part});
}

static bool has_limits(const struct limits_spec *limits) {
        static const struct limits_spec none;
        return memcmp(limits, &none, sizeof none) != 0;
}

static void check_holes(const struct catalog *catalog, uint32_t index, struct check_findings *findings) {
        const struct endpoint *endpoint = &catalog->endpoints[index];
        const uint32_t reads = 1U << KIND_CHAT | 1U << KIND_RESPONSES | 1U << KIND_COMPLETIONS;
        bool any = strcmp(endpoint->model, "*") == 0;
        check_prices_known(endpoint, index, findings);
        check_media(endpoint, index, findings);
        if (!any && endpoint->context == 0 && (endpoint->kinds & (reads | 1U << KIND_EMBEDDINGS)) != 0)
                add(findings, (struct check_finding){CHECK_NO_CONTEXT, index, 0, 0, 0, ""});
        if (!any && !endpoint->parameters_known && (endpoint->kinds & reads) != 0)
                add(findings, (struct check_finding){CHECK_NO_PARAMETERS, index, 0, 0, 0, ""});
        if (!has_limits(&endpoint->limits) && !has_limits(&catalog->providers[endpoint->provider].limits))
                add(findings, (struct check_finding){CHECK_NO_LIMITS, index, 0, 0, 0, ""});
}

/* A finding when `is` is above `other`, both known. */
static void check_above(struct check_findings *findings, enum check check, uint32_t index, const char *part,
                        int64_t is, int64_t other) {
        if (is != PRICE_UNKNOWN && other != PRICE_UNKNOWN && is > other)
                add(findings, (struct check_finding){check, index, is, other, 0, part});
}

static void check_contradictions(const struct endpoint *endpoint, uint32_t index,
                                 struct check_findings *findings) {
        const struct price *price = &endpoint->price, *batch = &endpoint->batch;
        check_above(findings, CHECK_BATCH_DEARER, index, "input", batch->input, price->input);
        check_above(findings, CHECK_BATCH_DEARER, index, "cached_input", batch->cached_input,
                    price->cached_input);
        check_above(findings, CHECK_BATCH_DEARER, index, "output", batch->output, price->output);
        check_above(findings, CHECK_BATCH_DEARER, index, "image", batch->image, price->image);
        check_above(findings, CHECK_BATCH_DEARER, index, "audio_minute", batch->audio_minute,
                    price->audio_minute);
        check_above(findings, CHECK_CACHE_DEARER, index, "cached_input", price->cached_input, price->input);
        const uint32_t writes = 1U << KIND_CHAT | 1U << KIND_RESPONSES | 1U << KIND_COMPLETIONS;
        if ((endpoint->kinds & writes) != 0 && price->output != PRICE_UNKNOWN && price->input > 0 &&
            price->output < price->input / CHEAP_TIMES)
                add(findings, (struct check_finding){CHECK_OUTPUT_CHEAP, index, price->output, price->input,
                                                     0, "output"});
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                const struct price *tier = &endpoint->tiers[i].price;
                check_above(findings, CHECK_TIER_CHEAPER, index, "input", price->input, tier->input);
                check_above(findings, CHECK_TIER_CHEAPER, index, "output", price->output, tier->output);
        }
}

/* ---- the same model elsewhere ---- */

struct offer {
        const char *name;
        int64_t price;
        uint32_t endpoint;
};

static const char *bare_name(const char *model) {
        const char *slash = strrchr(model, '/');
        return slash != NULL ? slash + 1 : model;
}

static int compare_offers(const void *a, const void *b) {
        const struct offer *left = a, *right = b;
        int order = strcasecmp(left->name, right->name);
        if (order != 0)
                return order;
        return left->price < right->price ? -1 : left->price > right->price;
}

static bool is_off(int64_t price, int64_t median) {
        return price / OFF_TIMES >= median || median / OFF_TIMES >= price;
}

/*
 * The n-th in the group that another provider has for a kind in common; the group's end when there is none.
 */
static size_t other_offer(const struct catalog *catalog, const struct offer *group, size_t count, size_t self,
                          size_t n) {
        const struct endpoint *endpoint = &catalog->endpoints[group[self].endpoint];
        const char *provider = catalog->providers[endpoint->provider].name;
        size_t i = 0;
        for (; i < count; i++) {
                const struct endpoint *other = &catalog->endpoints[group[i].endpoint];
                if ((other->kinds & endpoint->kinds) == 0 ||
                    strcmp(catalog->providers[other->provider].name, provider) == 0)
                        continue;
                if (n-- == 0)
                        break;
        }
        return i;
}

/* Groups are in ascending order of prices. The lower middle of the others is their median. */
static void check_offers(const struct catalog *catalog, struct offer *offers, size_t count, enum check check,
                         struct check_findings *findings) {
        qsort(offers, count, sizeof *offers, compare_offers);
        for (size_t first = 0, behind; first < count; first = behind) {
                for (behind = first;
                     behind < count && strcasecmp(offers[behind].name, offers[first].name) == 0;)
                        behind++;
                const struct offer *group = &offers[first];
                size_t size = behind - first;
                for (size_t i = 0; i < size && size <= GROUP_MAX; i++) {
                        size_t others = 0;
                        while (other_offer(catalog, group, size, i, others) < size)
                                others++;
                        if (others < OTHERS_MIN)
                                continue;
                        size_t middle = other_offer(catalog, group, size, i, (others - 1) / 2);
                        if (is_off(group[i].price, group[middle].price))
                                add(findings,
                                    (struct check_finding){check, group[i].endpoint, group[i].price,
                                                           group[middle].price, (uint32_t)others,
                                                           check == CHECK_OFF_INPUT ? "input" : "output"});
                }
        }
}

/* What is free elsewhere is no measure, so only prices above 0 count. */
static void check_medians(const struct catalog *catalog, uint32_t ignored, struct check_findings *findings) {
        struct offer *offers = calloc(catalog->endpoints_count + (size_t)1, sizeof *offers);
        findings->memory_refused = findings->memory_refused || offers == NULL;
        for (unsigned pass = 0; pass < 2 && offers != NULL; pass++) {
                enum check check = pass == 0 ? CHECK_OFF_INPUT : CHECK_OFF_OUTPUT;
                size_t count = 0;
                for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                        const struct endpoint *endpoint = &catalog->endpoints[i];
                        int64_t price = pass == 0 ? endpoint->price.input : endpoint->price.output;
                        if (price > 0)
                                offers[count++] = (struct offer){bare_name(endpoint->model), price, i};
                }
                if ((ignored >> check & 1) == 0 && count > 0)
                        check_offers(catalog, offers, count, check, findings);
        }
        free(offers);
}

/* ---- the whole ---- */

static int compare_findings(const void *a, const void *b) {
        const struct check_finding *left = a, *right = b;
        if (left->check != right->check)
                return left->check < right->check ? -1 : 1;
        if (left->endpoint != right->endpoint)
                return left->endpoint < right->endpoint ? -1 : 1;
        return strcmp(left->part, right->part);
}

void check_catalog(const struct catalog *catalog, uint32_t ignored, struct check_findings *out_findings) {
        uint32_t kept = 0;
        *out_findings = (struct check_findings){0};
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                check_holes(catalog, i, out_findings);
                check_contradictions(&catalog->endpoints[i], i, out_findings);
        }
        check_medians(catalog, ignored, out_findings);
        for (uint32_t i = 0; i < out_findings->count; i++)
                if ((ignored >> out_findings->items[i].check & 1) == 0)
                        out_findings->items[kept++] = out_findings->items[i];
        out_findings->count = kept;
        if (kept > 0)
                qsort(out_findings->items, kept, sizeof *out_findings->items, compare_findings);
}

/* ---- saying it ---- */

/* "input 20 against 10, the median of 3 others", or what the check means. */
static void append_message(const struct check_finding *finding, struct buffer *out_text) {
        if (finding->is == 0 && finding->other == 0) {
                buffer_append_string(out_text, checks[finding->check].text);
                if (finding->part[0] != '\0')
                        buffer_printf(out_text, ": %s", finding->part);
                return;
        }
        buffer_printf(out_text, "%s ", finding->part);
        money_append(out_text, finding->is);
        buffer_append_string(out_text, " against ");
        money_append(out_text, finding->other);
        if (finding->others > 0)
                buffer_printf(out_text, ", the median of %u others", finding->others);
}

static void append_endpoint(const struct catalog *catalog, uint32_t index, struct buffer *out_text) {
        const struct endpoint *endpoint = &catalog->endpoints[index];
        buffer_printf(out_text, "%s/%s", catalog->providers[endpoint->provider].name, endpoint->model);
}

static bool same_group(const struct catalog *catalog, const struct check_finding *a,
                       const struct check_finding *b) {
        return a->check == b->check &&
               catalog->endpoints[a->endpoint].provider == catalog->endpoints[b->endpoint].provider;
}

/* Findings of one check at one provider. */
static void append_group(const struct catalog *catalog, const struct check_finding *group, uint32_t count,
                         struct buffer *out_text) {
        const struct endpoint *first = &catalog->endpoints[group->endpoint];
        buffer_printf(out_text, "%s  %s: %u: ", checks[group->check].code,
                      catalog->providers[first->provider].name, count);
        for (uint32_t i = 0; i < count && i < NAMES_SHOWN_MAX; i++)
                buffer_printf(out_text, "%s%s", i > 0 ? ", " : "",
                              catalog->endpoints[group[i].endpoint].model);
        buffer_append_string(out_text, count > NAMES_SHOWN_MAX ? ", ... (-v names all)\n" : "\n");
}

void check_append(const struct catalog *catalog, const struct check_findings *findings, bool all,
                  struct buffer *out_text) {
        for (uint32_t i = 0, behind; i < findings->count; i = behind) {
                const struct check_finding *finding = &findings->items[i];
                behind = i + 1;
                while (!all && checks[finding->check].hole && behind < findings->count &&
                       same_group(catalog, finding, &findings->items[behind]))
                        behind++;
                if (behind > i + 1) {
                        append_group(catalog, finding, behind - i, out_text);
                        continue;
                }
                buffer_printf(out_text, "%s  ", checks[finding->check].code);
                append_endpoint(catalog, finding->endpoint, out_text);
                buffer_append_string(out_text, ": ");
                append_message(finding, out_text);
                buffer_append_char(out_text, '\n');
        }
}

void check_append_json(const struct catalog *catalog, const struct check_findings *findings,
                       struct buffer *out_text) {
        for (uint32_t i = 0; i < findings->count; i++) {
                const struct check_finding *finding = &findings->items[i];
                struct buffer text;
                buffer_init(&text, 4096);
                append_endpoint(catalog, finding->endpoint, &text);
                buffer_append_string(out_text, "{\"endpoint\":\"");
                buffer_append_json_escaped(out_text, buffer_view(&text));
                buffer_clear(&text);
                append_message(finding, &text);
                buffer_printf(out_text, "\",\"code\":\"%s\",\"message\":\"", checks[finding->check].code);
                buffer_append_json_escaped(out_text, buffer_view(&text));
                buffer_append_string(out_text, "\"}\n");
                buffer_deinit(&text);
        }
}

void check_reference(struct buffer *out_text) {
        buffer_append_string(out_text, "| code | found |\n|---|---|\n");
        for (unsigned i = 0; i < CHECKS_COUNT; i++)
                buffer_printf(out_text, "| `%s` | %s |\n", checks[i].code, checks[i].text);
}
