/*
 * Lists of words become sets of bits; tiers and windows become arrays, tiers with every part that they do not
 * name filled in from the model's price, so that evaluation has nothing to look up.
 */
#include "broker/ops/model.h"

#include "broker/base/nearest.h"
#include "broker/ops/window.h"
#include "workers/routing/price.h"

#include <stdlib.h>
#include <string.h>

enum model_field {
#define MODEL_FIELD(id, path, type, member, default_text, min, max, help) MODEL_FIELD_##id,
#include "schemas/provider_fields.def"
#undef MODEL_FIELD
};

static const struct field model_fields[] = {
#define MODEL_FIELD(id, path, type, member, default_text, min, max, help)                                    \
        {path, FIELD_##type, offsetof(struct model_draft, member), default_text, min, max, help},
#include "schemas/provider_fields.def"
#undef MODEL_FIELD
};

static const struct field tier_fields[] = {
#define TIER_FIELD(id, path, type, member, default_text, min, max, help)                                     \
        {path, FIELD_##type, offsetof(struct price_tier, member), default_text, min, max, help},
#include "schemas/provider_fields.def"
#undef TIER_FIELD
};

static const struct field window_fields[] = {
#define WINDOW_FIELD(id, path, type, member, default_text, min, max, help)                                   \
        {path, FIELD_##type, offsetof(struct window_draft, member), default_text, min, max, help},
#include "schemas/provider_fields.def"
#undef WINDOW_FIELD
};

const struct field_table model_table = {model_fields, sizeof model_fields / sizeof *model_fields};
const struct field_table tier_table = {tier_fields, sizeof tier_fields / sizeof *tier_fields};
const struct field_table window_table = {window_fields, sizeof window_fields / sizeof *window_fields};

_Static_assert(sizeof model_fields / sizeof *model_fields <= FIELDS_MAX, "a bit each");

static const char *const kind_names[KINDS_COUNT] = {
        [KIND_CHAT] = "chat",
        [KIND_RESPONSES] = "responses",
        [KIND_COMPLETIONS] = "completions",
        [KIND_EMBEDDINGS] = "embeddings",
        [KIND_TRANSCRIPTIONS] = "transcriptions",
        [KIND_TRANSLATIONS] = "translations",
        [KIND_SPEECH] = "speech",
        [KIND_IMAGES] = "images",
        [KIND_IMAGE_EDITS] = "image_edits",
        [KIND_RERANK] = "rerank",
        [KIND_MODERATIONS] = "moderations",
};

const char *model_kind_name(enum kind kind) {
        return kind_names[kind];
}

void model_draft_init(struct model_draft *draft, struct zones *zones) {
        *draft = (struct model_draft){.endpoint = {.price = price_unknown,
                                                   .batch = price_unknown,
                                                   .quality = -1,
                                                   .kinds = (1U << KINDS_COUNT) - 1},
                                      .zones = zones};
        price_services_init(draft->endpoint.service);
        fields_default(&model_table, draft);
}

void model_find_in(struct reader *reader, const struct yaml_node *map, const char *name,
                   const char *sentence) {
        const struct yaml_node *node = yaml_child(map, bytes_of(name));
        size_t place = reader_enter(reader, bytes_of(name));
        reader_find(reader, node != NULL ? node : map, "%s", sentence);
        reader_leave(reader, place);
}

/* ---- lists of words ---- */

/* The words that may stand in a list, and what they are the names of. */
struct vocabulary {
        const char *what, *example;
        unsigned count;
        const char *(*word)(unsigned number);
        bool (*other)(struct bytes text, unsigned *out_number); /* other ways to say one; may be NULL */
};

static const char *kind_word(unsigned number) {
        return kind_names[number];
}

/* "/v1/embeddings" */
static bool kind_by_url(struct bytes text, unsigned *out_number) {
        enum kind kind;
        bool found = kind_from_url(text, &kind);
        if (found)
                *out_number = (unsigned)kind;
        return found;
}

static const char *parameter_word(unsigned number) {
        return parameter_text((enum parameter)number);
}

static const char *modality_word(unsigned number) {
        return modality_text((enum modality)number);
}

static const struct vocabulary kinds = {"kind", "chat, embeddings, rerank, ... as in the url of a job",
                                        KINDS_COUNT, kind_word, kind_by_url};
static const struct vocabulary parameters = {"parameter", "tools, response_format, seed, ...",
                                             PARAMETERS_COUNT, parameter_word, NULL};
static const struct vocabulary modalities = {"modality", "text, image, file, audio and video",
                                             MODALITIES_COUNT, modality_word, NULL};

static void find_unknown_word(struct reader *reader, const struct yaml_node *node,
                              const struct vocabulary *vocabulary, struct bytes written) {
        struct nearest nearest;
        nearest_init(&nearest, written);
        for (unsigned i = 0; i < vocabulary->count; i++)
                nearest_offer(&nearest, bytes_of(vocabulary->word(i)));
        for (unsigned i = 0; i < KINDS_COUNT && vocabulary == &kinds; i++)
                nearest_offer(&nearest, bytes_of(kind_facts[i].url));
        if (nearest.best.size > 0)
                reader_find(reader, node, "unknown %s; did you mean \"%.*s\"?", vocabulary->what,
                            (int)nearest.best.size, nearest.best.data);
        else
                reader_find(reader, node, "unknown %s; there are %s", vocabulary->what, vocabulary->example);
}

static void read_word(struct reader *reader, const struct yaml_node *node,
                      const struct vocabulary *vocabulary, uint64_t *words) {
        struct reader_text text;
        unsigned number = 0;
        if (!reader_text(reader, node, &text))
                return;
        while (number < vocabulary->count && !bytes_equal_string(text.value, vocabulary->word(number)))
                number++;
        if (number < vocabulary->count ||
            (vocabulary->other != NULL && vocabulary->other(text.value, &number)))
                *words |= UINT64_C(1) << number;
        else
                find_unknown_word(reader, node, vocabulary, text.written);
}

/* false when there is no list. */
static bool read_words(struct reader *reader, const struct yaml_node *node,
                       const struct vocabulary *vocabulary, const char *such_as, uint64_t *out_words) {
        uint32_t index = 0;
        *out_words = 0;
        if (!reader_is_list(reader, node, such_as))
                return false;
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
                size_t place = reader_enter_item(reader, index++);
                read_word(reader, item, vocabulary, out_words);
                reader_leave(reader, place);
        }
        return true;
}

static void read_kinds(struct reader *reader, const struct yaml_node *node, struct endpoint *endpoint) {
        uint64_t words;
        if (!read_words(reader, node, &kinds, "such as [chat, embeddings]", &words))
                return;
        if (node->count == 0)
                reader_find(reader, node, "must not be empty; without it the model serves all kinds");
        endpoint->kinds = (uint32_t)words;
}

/* An empty list says something: none of them. */
static void read_parameters(struct reader *reader, const struct yaml_node *node, struct endpoint *endpoint) {
        endpoint->parameters_known =
                read_words(reader, node, &parameters, "such as [tools, seed]", &endpoint->parameters);
}

static void read_modalities(struct reader *reader, const struct yaml_node *node, uint32_t *out_modalities) {
        uint64_t words;
        if (!read_words(reader, node, &modalities, "such as [text, image]", &words))
                return;
        if (node->count == 0)
                reader_find(reader, node, "must not be empty; leave it out when it is not known");
        *out_modalities = (uint32_t)words;
}

/* ---- tiers and windows ---- */

static void read_no_other(struct reader *reader, const struct field *field, const struct yaml_node *node,
                          void *base) {
        (void)reader, (void)field, (void)node, (void)base;
}

/* false, with a finding, when it is no list or too long. */
static bool is_short_list(struct reader *reader, const struct yaml_node *node, unsigned max,
                          const char *such_as) {
        if (!reader_is_list(reader, node, such_as))
                return false;
        if (node->count > max)
                reader_find(reader, node, "must hold at most %u", max);
        return node->count <= max;
}

static void read_tier(struct reader *reader, const struct yaml_node *node, struct price_tier *tier) {
        field_set said = 0;
        tier->price = price_unknown;
        price_services_init(tier->service);
        if (!reader_is_map(reader, node, "such as {above_input: 200000, input: 4}"))
                return;
        reader_fields(reader, &tier_table, node, tier, read_no_other, &said);
        if (!field_said(said, 0))
                reader_find(reader, node, "above_input is missing: the longest input that still costs less");
        else if (said == 1)
                reader_find(reader, node, "names no price: input, output, ...");
}

static void read_tiers(struct reader *reader, const struct yaml_node *node, struct endpoint *endpoint) {
        if (!is_short_list(reader, node, PRICE_TIERS_MAX, "such as [{above_input: 200000, input: 4}]"))
                return;
        struct price_tier *tiers = reader_alloc(reader, node->count * sizeof *tiers);
        unsigned index = 0;
        if (tiers == NULL)
                return;
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next, index++) {
                size_t place = reader_enter_item(reader, index);
                read_tier(reader, item, &tiers[index]);
                if (index > 0 && tiers[index].above_input <= tiers[index - 1].above_input)
                        reader_find(reader, item, "must stand in ascending order of above_input");
                reader_leave(reader, place);
        }
        endpoint->tiers = tiers;
        endpoint->tiers_count = (uint8_t)index;
}

static void read_window(struct reader *reader, const struct yaml_node *node, struct zones *zones,
                        struct price_window *window) {
        char problem[WINDOW_PROBLEM_MAX];
        struct window_draft draft;
        field_set said = 0;
        fields_default(&window_table, &draft);
        if (!reader_is_map(reader, node, "such as {when: \"Mon-Fri 16:30-00:30 UTC\", multiply: 0.5}"))
                return;
        reader_fields(reader, &window_table, node, &draft, read_no_other, &said);
        if (!field_said(said, 0) || !field_said(said, 1))
                reader_find(reader, node, "%s is missing", field_said(said, 0) ? "multiply" : "when");
        if (draft.when[0] != '\0' && !window_parse(bytes_of(draft.when), zones, window, problem))
                model_find_in(reader, node, "when", problem);
        if (draft.multiply[0] != '\0' &&
            !multiply_parse(bytes_of(draft.multiply), &window->multiply_millionths))
                model_find_in(reader, node, "multiply",
                              "must be a number like 0.5, from 0 to 1000, with at most 6 decimal places");
        reader->memory_refused = reader->memory_refused || zones->memory_refused;
}

static void read_windows(struct reader *reader, const struct yaml_node *node, struct model_draft *draft) {
        if (!is_short_list(reader, node, PRICE_WINDOWS_MAX,
                           "such as [{when: \"Mon-Fri 16:30-00:30 UTC\", multiply: 0.5}]"))
                return;
        struct price_window *windows = reader_alloc(reader, node->count * sizeof *windows);
        unsigned index = 0;
        if (windows == NULL)
                return;
        for (const struct yaml_node *item = node->first; item != NULL; item = item->next, index++) {
                size_t place = reader_enter_item(reader, index);
                read_window(reader, item, draft->zones, &windows[index]);
                reader_leave(reader, place);
        }
        draft->endpoint.windows = windows;
        draft->endpoint.windows_count = (uint8_t)index;
}

/* What a tier does not name costs as without it. */
static void complete_tiers(struct endpoint *endpoint) {
        struct price_tier *tiers = (struct price_tier *)(uintptr_t)endpoint->tiers;
        for (unsigned i = 0; i < endpoint->tiers_count; i++) {
                tiers[i].price = price_or(&tiers[i].price, &endpoint->price);
                price_services_complete(tiers[i].service, endpoint->service);
        }
}

/* ---- one model ---- */

static void read_audio_second(struct reader *reader, const struct yaml_node *node,
                              struct endpoint *endpoint) {
        static const struct field each = {.path = "price.audio_second",
                                          .type = FIELD_USD_EACH,
                                          .default_text = "",
                                          .min = "",
                                          .max = ""};
        int64_t second = PRICE_UNKNOWN;
        if (!reader_field(reader, &each, node, &second))
                return;
        if (second > INT64_MAX / 60) {
                reader_find(reader, node, "must be below 0.15");
                return;
        }
        endpoint->price.audio_minute = second * 60;
}

static void read_other(struct reader *reader, const struct field *field, const struct yaml_node *node,
                       void *base) {
        struct model_draft *draft = base;
        struct endpoint *endpoint = &draft->endpoint;
        ptrdiff_t id = field - model_fields;
        if (id == MODEL_FIELD_KINDS)
                read_kinds(reader, node, endpoint);
        else if (id == MODEL_FIELD_PARAMETERS)
                read_parameters(reader, node, endpoint);
        else if (id == MODEL_FIELD_INPUT_MODALITIES)
                read_modalities(reader, node, &endpoint->input_modalities);
        else if (id == MODEL_FIELD_OUTPUT_MODALITIES)
                read_modalities(reader, node, &endpoint->output_modalities);
        else if (id == MODEL_FIELD_PRICE_SECOND)
                read_audio_second(reader, node, endpoint);
        else if (id == MODEL_FIELD_TIERS)
                read_tiers(reader, node, endpoint);
        else
                read_windows(reader, node, draft);
}

static bool is_model_name(const char *name) {
        for (; *name != '\0'; name++)
                if (*name == ' ')
                        return false;
        return true;
}

/* What the table cannot say. */
static void check_model(struct reader *reader, const struct yaml_node *map, struct model_draft *draft) {
        struct endpoint *endpoint = &draft->endpoint;
        bool any = strcmp(endpoint->model, "*") == 0;
        if (!field_said(draft->said, MODEL_FIELD_MODEL)) {
                reader_find(reader, map, "model is missing: the name that jobs use");
                return;
        }
        if (!is_model_name(endpoint->model))
                model_find_in(reader, map, "model", "must not hold blanks");
        if (any && field_said(draft->said, MODEL_FIELD_UPSTREAM))
                model_find_in(reader, map, "upstream",
                              "model \"*\" sends the name that the job has: remove \"upstream\"");
        if (endpoint->context > 0 && endpoint->output_max > endpoint->context)
                model_find_in(reader, map, "output_max", "must not be above context");
        if (field_said(draft->said, MODEL_FIELD_PRICE_MINUTE) &&
            field_said(draft->said, MODEL_FIELD_PRICE_SECOND))
                model_find_in(reader, map, "price",
                              "names audio_minute and audio_second: remove one of them");
        if (!field_said(draft->said, MODEL_FIELD_UPSTREAM))
                endpoint->upstream = endpoint->model;
}

bool model_read(struct reader *reader, const struct yaml_node *node, struct model_draft *draft) {
        if (node->kind != YAML_MAP) {
                reader_find(reader, node, "must be a group of names, such as {model: NAME}");
                return false;
        }
        reader_fields(reader, &model_table, node, draft, read_other, &draft->said);
        check_model(reader, node, draft);
        complete_tiers(&draft->endpoint);
        return true;
}

const char *model_endpoint_name(struct reader *reader, const char *provider, const char *model) {
        size_t before = strlen(provider), behind = strlen(model);
        char *name = reader_alloc(reader, before + behind + 2);
        if (name == NULL)
                return "";
        memcpy(name, provider, before);
        name[before] = '/';
        memcpy(name + before + 1, model, behind);
        return name;
}

/* ---- filling in ---- */

static bool said_between(field_set said, unsigned first, unsigned last) {
        for (unsigned i = first; i <= last; i++)
                if (field_said(said, i))
                        return true;
        return false;
}

/* What was taken counts as said, so that what comes next does not take its place. */
static bool take(struct model_draft *draft, unsigned field, bool known) {
        bool taken = known && !field_said(draft->said, field);
        if (taken)
                draft->said |= FIELD_BIT(field);
        return taken;
}

static void fill_prices(struct model_draft *draft, const struct endpoint *known) {
        struct endpoint *endpoint = &draft->endpoint;
        bool batch = said_between(draft->said, MODEL_FIELD_BATCH_INPUT, MODEL_FIELD_FLEX_INPUT - 1);
        bool service = said_between(draft->said, MODEL_FIELD_FLEX_INPUT, MODEL_FIELD_TIERS - 1);
        bool any = !price_is_unknown(&known->price);
        if (said_between(draft->said, MODEL_FIELD_PRICE_INPUT, MODEL_FIELD_PRICE_SECOND) ||
            field_said(draft->said, MODEL_FIELD_TIERS) || !any)
                return;
        draft->said |= FIELD_BIT(MODEL_FIELD_PRICE_INPUT);
        endpoint->price = known->price;
        endpoint->tiers = known->tiers;
        endpoint->tiers_count = known->tiers_count;
        if (!batch)
                endpoint->batch = known->batch;
        if (!service)
                memcpy(endpoint->service, known->service, sizeof endpoint->service);
        if (field_said(draft->said, MODEL_FIELD_WINDOWS))
                return;
        endpoint->windows = known->windows;
        endpoint->windows_count = known->windows_count;
}

static void fill_number(int64_t *number, int64_t known) {
        if (*number == 0)
                *number = known;
}

static void fill_limits(struct limits_spec *limits, const struct limits_spec *known) {
        fill_number(&limits->requests_per_minute, known->requests_per_minute);
        fill_number(&limits->tokens_per_minute, known->tokens_per_minute);
        fill_number(&limits->concurrency, known->concurrency);
        fill_number(&limits->requests_per_day, known->requests_per_day);
        fill_number(&limits->tokens_per_day, known->tokens_per_day);
        fill_number(&limits->audio_seconds_per_hour, known->audio_seconds_per_hour);
        fill_number(&limits->audio_seconds_per_day, known->audio_seconds_per_day);
        fill_number(&limits->images_per_minute, known->images_per_minute);
}

static void fill_words(struct model_draft *draft, const struct endpoint *known) {
        struct endpoint *endpoint = &draft->endpoint;
        if (take(draft, MODEL_FIELD_KINDS, known->kinds != (1U << KINDS_COUNT) - 1))
                endpoint->kinds = known->kinds;
        if (!endpoint->parameters_known) {
                endpoint->parameters_known = known->parameters_known;
                endpoint->parameters = known->parameters;
        }
        if (endpoint->input_modalities == 0)
                endpoint->input_modalities = known->input_modalities;
        if (endpoint->output_modalities == 0)
                endpoint->output_modalities = known->output_modalities;
}

void model_fill(struct model_draft *draft, const struct endpoint *known) {
        struct endpoint *endpoint = &draft->endpoint;
        fill_prices(draft, known);
        fill_words(draft, known);
        fill_limits(&endpoint->limits, &known->limits);
        fill_number(&endpoint->context, known->context);
        fill_number(&endpoint->output_max, known->output_max);
        if (endpoint->context > 0 && endpoint->output_max > endpoint->context)
                endpoint->output_max = endpoint->context;
        fill_number(&endpoint->dimensions, known->dimensions);
        if (take(draft, MODEL_FIELD_UPSTREAM, true))
                endpoint->upstream = known->upstream;
        if (take(draft, MODEL_FIELD_QUANTIZATION, strcmp(known->quantization, "unknown") != 0))
                endpoint->quantization = known->quantization;
        if (endpoint->quality < 0)
                endpoint->quality = known->quality;
        if (endpoint->region[0] == '\0')
                endpoint->region = known->region;
}
