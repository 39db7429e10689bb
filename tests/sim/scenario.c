/*
 * What the seed decides before anything runs. Every value that an interesting bound hangs on is small in some
 * seeds.
 */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PICK(world, ...)                                                                                     \
        (((const int64_t[]){                                                                                 \
                __VA_ARGS__})[prng_below(&(world)->prng, sizeof((const int64_t[]){__VA_ARGS__}) / 8)])

enum { LINE_BYTES_MAX = 1200 };

/*
 * One draw a statement, here and below: compilers order the parts of an initialiser, and arguments, as they
 * like.
 */
static const char *const workspace_names[WORKSPACES_MAX] = {"default", "w1", "w2"};

static struct limits_spec make_limits(struct world *world) {
        struct limits_spec limits = {0};
        limits.requests_per_minute = PICK(world, 0, 0, 0, 40, 150, 1000);
        limits.tokens_per_minute = PICK(world, 0, 0, 0, 6000, 40000);
        limits.concurrency = PICK(world, 0, 0, 1, 2, 5, 20);
        return limits;
}

static void make_catalog(struct world *world) {
        uint32_t providers = (uint32_t)between(world, 1, PROVIDERS_MAX);
        for (uint32_t i = 0; i < providers; i++) {
                snprintf(world->names[i], sizeof(world->names[i]), "p%u", i);
                world->providers[i] = (struct provider){
                        .name = world->names[i],
                        .dialect = "openai",
                        .base_url = "http://localhost",
                        .region = i == 0 ? "us" : "eu",
                        .training = i == 1,
                        .data_policy_known = i < 2,
                        .retention_days = -1,
                        .limits = chance(world, 40) ? make_limits(world) : (struct limits_spec){0},
                };
        }
        world->models = (uint32_t)between(world, 1, 3);
        uint32_t endpoints = (uint32_t)between(world, 1, ENDPOINTS_MAX);
        static const char *const models[] = {"m0", "m1", "m2", "*"};
        for (uint32_t i = 0; i < endpoints; i++) {
                struct price price = price_unknown;
                if (chance(world, 90)) {
                        price.input = between(world, 1, 5) * 100000000000;
                        price.output = between(world, 1, 5) * 300000000000;
                        price.image = 10000000000 * INT64_C(1000000);
                }
                char *name = world->names[PROVIDERS_MAX + i];
                uint32_t provider = (uint32_t)prng_below(&world->prng, providers);
                const char *model = models[chance(world, 15) ? 3 : prng_below(&world->prng, world->models)];
                snprintf(name, sizeof(world->names[0]), "p%u/%s.%u", provider, model, i);
                int64_t context = PICK(world, 0, 0, 0, 200);
                struct limits_spec limits = make_limits(world);
                world->endpoints[i] = (struct endpoint){
                        .name = name,
                        .provider = provider,
                        .model = model,
                        .upstream = model,
                        .price = price,
                        .context = context,
                        .quantization = "unknown",
                        .limits = limits,
                        .kinds = (1U << KINDS_COUNT) - 1,
                };
        }
        world->catalog = (struct catalog){.providers = world->providers,
                                          .providers_count = providers,
                                          .endpoints = world->endpoints,
                                          .endpoints_count = endpoints,
                                          .id = "0123456789abcdef"};
}

/* Some worlds have workspaces, with limits and weights; in a few of these a day's quota is gone early. */
static void make_workspaces(struct world *world) {
        world->liveness_ns = 4 * 3600 * NS_PER_S;
        if (!chance(world, 40))
                return;
        world->catalog.workspaces = world->workspaces;
        world->catalog.workspaces_count = (uint32_t)between(world, 1, WORKSPACES_MAX);
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++) {
                struct workspace *workspace = &world->workspaces[i];
                workspace->name = workspace_names[i];
                workspace->weight = PICK(world, 0, 1, 2, 10);
                workspace->limits = chance(world, 60) ? make_limits(world) : (struct limits_spec){0};
                if (chance(world, 10)) {
                        workspace->limits.requests_per_day = PICK(world, 20, 90);
                        workspace->limits.tokens_per_day = PICK(world, 0, 20000);
                        world->liveness_ns = 40 * 86400 * NS_PER_S;
                }
        }
}

/* In a few worlds an endpoint or a provider has a day's quota, small enough to be gone early. */
static void make_days(struct world *world) {
        if (!chance(world, 15))
                return;
        uint32_t endpoint = (uint32_t)prng_below(&world->prng, world->catalog.endpoints_count);
        struct limits_spec *limits = chance(world, 50)
                                             ? &world->endpoints[endpoint].limits
                                             : &world->providers[world->endpoints[endpoint].provider].limits;
        limits->requests_per_day = PICK(world, 0, 40, 150);
        limits->tokens_per_day = PICK(world, 0, 0, 30000);
        world->liveness_ns = 40 * 86400 * NS_PER_S;
}

uint32_t scenario_workspace(const struct world *world, const struct job_spec *job) {
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++)
                if (bytes_equal_string(job->workspace, workspace_names[i]))
                        return i;
        return 0;
}

/* One or two of the three; small enough to be reached. */
static struct budget_spec make_budget(struct world *world) {
        struct budget_spec budget = {0};
        if (chance(world, 60))
                budget.daily = between(world, 500, 60000) * 1000000;
        if (chance(world, 20))
                budget.monthly = budget.daily + between(world, 500, 200000) * 1000000;
        if (chance(world, 30))
                budget.lifetime = budget.daily + budget.monthly + between(world, 500, 300000) * 1000000;
        return budget;
}

static void make_budgets(struct world *world) {
        struct catalog *catalog = &world->catalog;
        if (catalog->workspaces_count == 0 && chance(world, 60)) {
                catalog->workspaces = world->workspaces;
                catalog->workspaces_count = (uint32_t)between(world, 1, WORKSPACES_MAX);
                for (uint32_t i = 0; i < catalog->workspaces_count; i++)
                        world->workspaces[i].name = workspace_names[i];
        }
        world->releases = chance(world, 20);
        for (uint32_t i = 0; i < catalog->workspaces_count; i++) {
                struct workspace *workspace = &world->workspaces[i];
                if (chance(world, 80))
                        workspace->budget = make_budget(world);
                if (chance(world, 30))
                        workspace->over_budget = OVER_BUDGET_FAIL;
                if (world->releases && chance(world, 60))
                        workspace->release_unknown_ns = between(world, 1, 7200) * NS_PER_S;
        }
        for (uint32_t i = 0; i < world->catalog.providers_count; i++)
                if (chance(world, 40))
                        world->providers[i].budget = make_budget(world);
        world->liveness_ns += 1000 * 86400 * NS_PER_S;
        world->budgets = budget_subjects(&world->catalog) > 0;
        if (chance(world, 60)) { /* midnight is near */
                int64_t now_ms = world_time(world).now_unix_ms;
                int64_t midnight_ms = budget_day_starts_unix_ms(budget_day(now_ms) + 1);
                world->wall_offset_ms += midnight_ms - now_ms - between(world, 1, 200000);
        }
}

static void tell_catalog(struct world *world) {
        world->told = world->catalog;
        world->told.providers = world->told_providers;
        world->told.endpoints = world->told_endpoints;
        for (uint32_t i = 0; i < PROVIDERS_MAX; i++) {
                world->told_providers[i] = world->providers[i];
                if (world->plant == PLANT_NO_LIMITS)
                        world->told_providers[i].limits = (struct limits_spec){0};
        }
        for (uint32_t i = 0; i < world->catalog.workspaces_count; i++) {
                world->told.workspaces = world->told_workspaces;
                world->told_workspaces[i] = world->workspaces[i];
                if (world->plant == PLANT_NO_WORKSPACE_LIMITS)
                        world->told_workspaces[i].limits = (struct limits_spec){0};
        }
        for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
                world->told_endpoints[i] = world->endpoints[i];
                struct price *price = &world->told_endpoints[i].price;
                if (world->plant == PLANT_NO_LIMITS)
                        world->told_endpoints[i].limits = (struct limits_spec){0};
                if (world->plant == PLANT_NO_WINDOWS)
                        world->told_endpoints[i].windows_count = 0;
                if (world->plant == PLANT_NO_RESERVATION && price->input != PRICE_UNKNOWN)
                        price->input = price->output = price->image = price->audio_output = 0;
        }
        policies_tell(world, world->told_providers, world->told_endpoints);
        prices_lie(world, world->told_endpoints);
}

static void append_time(struct buffer *line, const char *name, int64_t unix_ms) {
        buffer_printf(line, ",\"%s\":\"", name);
        rfc3339_append(line, unix_ms);
        buffer_append_char(line, '"');
}

static void append_wishes(struct world *world, struct buffer *line) {
        static const char *const wishes[] = {
                "{\"data_collection\":\"deny\"}",
                "{\"only\":[\"p0\"]}",
                "{\"ignore\":[\"p0\"]}",
                "{\"allow_fallbacks\":false}",
                "{\"order\":[\"p1\",\"p0\"]}",
                "{\"sort\":\"latency\"}",
                "{\"order\":[\"p0\"],\"allow_fallbacks\":false}",
                "{\"regions\":[\"eu\"]}",
        };
        const char *wish = chance(world, 20) ? wishes[prng_below(&world->prng, 8)] : NULL;
        if (!policies_append_rules(world, line) && wish)
                buffer_printf(line, ",\"routing\":%s", wish);
        if (chance(world, 20))
                buffer_printf(line, ",\"priority\":%d", (int)between(world, -10, 10));
        if (chance(world, 15))
                buffer_printf(line, ",\"on_unknown_outcome\":\"%s\"", chance(world, 80) ? "fail" : "retry");
        if (chance(world, world->costly ? 60 : 10))
                buffer_printf(line, ",\"max_cost_usd\":0.%06d",
                              (int)between(world, 20, world->costly ? 400 : 2000));
        int64_t start_ms = world_time(world).now_unix_ms, early_ms = 0;
        if (chance(world, 8)) {
                early_ms = between(world, 1, 90000);
                append_time(line, "not_before", start_ms + early_ms);
        }
        if (chance(world, 12))
                append_time(line, "deadline", start_ms + early_ms + between(world, 200, 200000));
}

static void append_body(struct world *world, struct buffer *line, uint32_t variant) {
        uint32_t model = (uint32_t)prng_below(&world->prng, world->models);
        if (chance(world, 10)) {
                buffer_printf(
                        line,
                        "\"url\":\"/v1/images/generations\",\"body\":{\"model\":\"m%u\",\"prompt\":\"v%u\"}",
                        model, variant);
                return;
        }
        buffer_printf(line, "\"url\":\"/v1/chat/completions\",\"body\":{\"model\":\"m%u\"", model);
        int max_tokens = (int)between(world, 1, 120), length = (int)PICK(world, 3, 3, 30, 900);
        if (chance(world, 15))
                buffer_printf(line, ",\"models\":[\"m%u\",\"m%u\"]", (model + 1) % 3, (model + 2) % 3);
        prices_append(world, line);
        buffer_printf(line, ",\"max_tokens\":%d,\"messages\":[{\"role\":\"user\",\"content\":\"v%u %.*s\"}]}",
                      max_tokens, variant, length,
                      "The quick brown fox jumps over the lazy dog, and the lazy dog does not mind that it "
                      "was jumped over "
                      "because it dreams of a quiet farm where foxes are slow, brown is a colour among "
                      "others, and nobody has "
                      "ever thought of writing a sentence that holds every letter of the alphabet for no "
                      "other purpose than to "
                      "show what a typeface looks like when it is set in lead by a careful hand in a small "
                      "town at the sea. "
                      "The quick brown fox, for its part, has long gone home, where it writes letters to its "
                      "relatives, and in "
                      "each of them it mentions the dog, and asks whether they know of a dog that could be "
                      "jumped over instead, "
                      "as this one has begun to snore, which takes all the joy out of it and wakes the geese "
                      "of the farm too, who "
                      "have never asked for any of this and would like to be left alone until the spring "
                      "comes back at last.");
}

/* `other`: the same key with another body. */
static char *make_line(struct world *world, uint32_t number, bool other) {
        struct buffer line;
        buffer_init(&line, LINE_BYTES_MAX * 2);
        buffer_printf(&line, "{\"custom_id\":\"c%u\",\"method\":\"POST\",", number);
        if (chance(world, 60)) {
                uint32_t workspace = (uint32_t)prng_below(&world->prng, WORKSPACES_MAX);
                buffer_printf(&line, "\"workspace\":\"%s\",", workspace_names[workspace]);
        }
        append_body(world, &line, other ? number + 100000 : number);
        append_wishes(world, &line);
        buffer_append_string(&line, "}");
        buffer_append(&line, "", 1);
        return line.data;
}

static char *make_bad_line(struct world *world, uint32_t number) {
        static const char *const bad[] = {"{\"custom_id\": \"bad", "[]", "",
                                          "{\"custom_id\":\"x\",\"url\":\"/v1/nothing\",\"body\":{}}",
                                          "{\"custom_id\":\"y\",\"what\":1}"};
        (void)number;
        return strdup(bad[prng_below(&world->prng, 5)]);
}

static void make_lines(struct world *world, uint32_t first, uint32_t count) {
        uint32_t made = first;
        for (uint32_t i = 0; i < count; i++) {
                uint32_t back = (uint32_t)between(world, 1, 30);
                char **line = &world->lines[first + i];
                bool again = first + i > back && world->lines[first + i - back][0] == '{';
                if (chance(world, 4))
                        *line = make_bad_line(world, i);
                else if (again && chance(world, 12))
                        *line = strdup(world->lines[first + i - back]);
                else if (again && chance(world, 8))
                        *line = make_line(world, made > 0 ? made - 1 : 0, true);
                else
                        *line = make_line(world, made++, false);
        }
        world->lines_count = first + count;
}

static void make_config(struct world *world) {
        struct engine_config *config = &world->config;
        config->jobs_max = (uint32_t)PICK(world, 12, 40, JOBS_MAX);
        config->in_flight_max = (uint32_t)PICK(world, 1, 4, 16, 64);
        config->open_ahead = (uint32_t)PICK(world, 0, 4, 16);
        config->attempts_max = (uint32_t)between(world, 1, 5);
        config->backoff_base_ns = between(world, 50, 300) * NS_PER_MS;
        config->backoff_cap_ns = between(world, 1, 30) * NS_PER_S;
        config->retry_share = 0.1;
        config->call_timeout_ns = between(world, 3, 60) * NS_PER_S;
        config->quotas_kept = true;
        config->seed = world->seed;
}

void scenario_make(struct world *world) {
        world->now_ns = 5000 * NS_PER_S;
        world->wall_offset_ms = INT64_C(1790000000000);
        make_catalog(world);
        policies_make(world);
        make_workspaces(world);
        make_days(world);
        make_config(world);
        world->costly = chance(world, 15);
        world->honest = world->costly || chance(world, 70);
        world->faults_percent = (int)PICK(world, 0, 5, 20, 50);
        world->crashes_left = chance(world, 80) ? (int)between(world, 1, CRASHES_MAX) : 0;
        world->faults_end_ns = world->now_ns + between(world, 5, 200) * NS_PER_S;
        world->spacing_ns = between(world, 0, 20) * NS_PER_MS;
        if (chance(world, 30))
                world->jump_ns = world->now_ns + between(world, 1, 60) * NS_PER_S;
        if (chance(world, 25)) {
                world->full_from_ns = world->now_ns + between(world, 1, 20000) * NS_PER_MS;
                world->full_until_ns = world->full_from_ns + between(world, 1, 10000) * NS_PER_MS;
        }
        if (chance(world, 35))
                make_budgets(world);
        world->wall_start_ms = world->wall_offset_ms;
        windows_make(world);
        prices_make(world);
        tell_catalog(world);
        make_lines(world, 0, (uint32_t)between(world, 30, 200));
}

void scenario_next_file(struct world *world) {
        uint32_t kept = world->lines_count / 2;
        for (uint32_t i = 0; i < world->lines_count; i++) {
                uint32_t other = (uint32_t)prng_below(&world->prng, world->lines_count);
                char *line = world->lines[i];
                world->lines[i] = world->lines[other];
                world->lines[other] = line;
        }
        for (uint32_t i = kept; i < world->lines_count; i++)
                free(world->lines[i]);
        make_lines(world, kept, (uint32_t)between(world, 10, 40));
        world->disk.mark = world->disk.mark_late = 0;
        world->file++;
}
