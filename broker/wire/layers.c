#include "broker/wire/layers.h"

#include "broker/wire/json_value.h"
#include "broker/wire/prefs.h"
#include "workers/routing/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS_MAX = 4, LABEL_BYTES_MAX = 128 };

struct workspace_name {
        struct bytes name;
        uint32_t index;
};

/* The layers that were merged, farthest first, for messages. */
struct said {
        struct {
                const char *name;
                const struct routing_prefs *prefs;
        } items[LAYERS_MAX];
        unsigned count;
};

struct layers {
        struct routing_prefs configuration;
        const struct workspace *workspaces;
        struct workspace_name *names; /* sorted; of those that are not gone */
        uint32_t workspaces_count, names_count;
        /* The workspace that was asked for last. */
        struct buffer name;
        bool entered;
        uint32_t index;
        char label[LABEL_BYTES_MAX];
        struct routing_prefs prefs; /* the configuration's and the workspace's together */
        struct names_room together; /* for those */
        struct names_room own;      /* for the job that was read last */
        struct problem problem;     /* they leave nothing */
};

static int compare_names(const void *a, const void *b) {
        struct bytes x = ((const struct workspace_name *)a)->name,
                     y = ((const struct workspace_name *)b)->name;
        int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);
        return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

struct layers *layers_new(const struct routing_prefs *configuration, const struct workspace *workspaces,
                          uint32_t workspaces_count) {
        struct layers *layers = calloc(1, sizeof *layers);
        if (layers == NULL)
                return NULL;
        prefs_init(&layers->configuration);
        if (configuration != NULL)
                layers->configuration = *configuration;
        buffer_init(&layers->name, 1 << 20);
        layers->workspaces = workspaces;
        layers->workspaces_count = workspaces_count;
        layers->names = calloc(workspaces_count + 1, sizeof *layers->names);
        if (layers->names == NULL) {
                layers_free(layers);
                return NULL;
        }
        for (uint32_t i = 0; i < workspaces_count; i++)
                if (!workspaces[i].gone)
                        layers->names[layers->names_count++] =
                                (struct workspace_name){bytes_of(workspaces[i].name), i};
        if (layers->names_count > 0)
                qsort(layers->names, layers->names_count, sizeof *layers->names, compare_names);
        return layers;
}

void layers_free(struct layers *layers) {
        if (layers == NULL)
                return;
        buffer_deinit(&layers->name);
        free(layers->names);
        free(layers);
}

static void say(struct said *said, const char *name, const struct routing_prefs *prefs) {
        said->items[said->count].name = name;
        said->items[said->count++].prefs = prefs;
}

/* "the configuration, workspace "research", routing": those of which the list is not empty. */
static void name_layers(const struct said *said, const char *field, char *out_text, size_t capacity) {
        size_t size = 0;
        out_text[0] = '\0';
        for (unsigned i = 0; i < said->count && size < capacity; i++)
                if (prefs_names(said->items[i].prefs, field)->count > 0)
                        size += (size_t)snprintf(out_text + size, capacity - size, "%s%s",
                                                 size > 0 ? ", " : "", said->items[i].name);
}

/* Lays the last one that was said over `prefs`. */
static bool lay(struct routing_prefs *prefs, const struct said *said, struct names_room *room,
                const char *object, struct problem *problem) {
        char path[64], names[PROBLEM_MESSAGE_MAX / 2];
        const char *field;
        enum merge_clash clash = prefs_merge(prefs, said->items[said->count - 1].prefs, room, &field);
        if (clash == MERGE_WELL)
                return true;
        snprintf(path, sizeof path, "%s.%s", object, field);
        name_layers(said, field, names, sizeof names);
        if (clash == MERGE_FULL)
                return problem_in(problem, path, "must hold at most %d names over all layers: %s",
                                  PREFS_NAMES_MAX, names);
        return problem_set(problem, FAILURE_EXCLUDED_BY_POLICY, path,
                           "leaves nothing to choose from: no name stands in all of %s", names);
}

/* The layers before the job's own. */
static void begin(const struct layers *layers, struct said *out_said) {
        out_said->count = 0;
        say(out_said, "the configuration", &layers->configuration);
        if (layers->workspaces_count > 0)
                say(out_said, layers->label, &layers->workspaces[layers->index].prefs);
}

static void enter(struct layers *layers, struct bytes name) {
        struct workspace_name wanted = {name, 0}, *found;
        struct said said;
        layers->prefs = layers->configuration;
        layers->together.used = 0;
        layers->index = 0;
        problem_init(&layers->problem);
        if (layers->workspaces_count == 0)
                return;
        found = bsearch(&wanted, layers->names, layers->names_count, sizeof wanted, compare_names);
        layers->index = found == NULL ? 0 : found->index;
        snprintf(layers->label, sizeof layers->label, "workspace \"%s\"",
                 layers->workspaces[layers->index].name);
        begin(layers, &said);
        lay(&layers->prefs, &said, &layers->together, "routing", &layers->problem);
}

bool layers_enter(struct layers *layers, struct bytes workspace, struct demand *demand,
                  struct problem *problem) {
        if (!layers->entered || !bytes_equal(workspace, buffer_view(&layers->name))) {
                enter(layers, workspace);
                buffer_clear(&layers->name);
                buffer_append_bytes(&layers->name, workspace);
                layers->entered = !layers->name.failed;
        }
        demand->workspace = layers->index;
        demand->prefs = layers->prefs;
        if (layers->problem.failure == FAILURE_NONE)
                return true;
        *problem = layers->problem;
        return false;
}

/* What the body says: its `provider`, and the suffix of its model where that does not sort. */
static bool read_body(const struct job_wishes *wishes, struct names_room *room,
                      struct routing_prefs *out_prefs, struct problem *problem) {
        prefs_init(out_prefs);
        if (wishes->provider != NULL &&
            !prefs_read(wishes->provider, "body.provider", room, out_prefs, problem))
                return false;
        if (wishes->sort_said && !out_prefs->sort_said) {
                out_prefs->sort = wishes->sort;
                out_prefs->sort_said = true;
        }
        return true;
}

static bool read_layers(struct layers *layers, const struct job_wishes *wishes, struct yyjson_val *routing,
                        struct routing_prefs *prefs, struct problem *problem) {
        struct routing_prefs body, nearest;
        struct said said;
        begin(layers, &said);
        layers->own.used = 0;
        if (wishes->provider != NULL || wishes->sort_said) {
                if (!read_body(wishes, &layers->own, &body, problem))
                        return false;
                say(&said, "body.provider", &body);
                if (!lay(prefs, &said, &layers->own, "body.provider", problem))
                        return false;
        }
        if (json_is_absent(routing))
                return true;
        if (!prefs_read(routing, "routing", &layers->own, &nearest, problem))
                return false;
        say(&said, "routing", &nearest);
        return lay(prefs, &said, &layers->own, "routing", problem);
}

bool layers_read(struct layers *layers, const struct job_wishes *wishes, struct yyjson_val *routing,
                 struct demand *demand, struct problem *problem) {
        if (!read_layers(layers, wishes, routing, &demand->prefs, problem))
                return false;
        if (demand->prefs.max_cost_picousd < demand->max_cost_picousd)
                demand->max_cost_picousd = demand->prefs.max_cost_picousd;
        return true;
}
