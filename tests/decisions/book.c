#include "book.h"

#include "broker/base/time.h"
#include "broker/catalog/import.h"
#include "broker/ops/listing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { RECORD_BYTES_MAX = 1 << 16 };

static void must(struct error *error) {
        if (error != NULL)
                fail_msg("%s", error->message);
}

struct bytes book_read(const char *path) {
        FILE *file = fopen(path, "rb");
        struct buffer text;
        buffer_init(&text, BOOK_TEXT_MAX);
        if (file == NULL)
                fail_msg("cannot read %s", path);
        for (size_t got = 1; got > 0; text.size += got) {
                assert_true(buffer_reserve(&text, 1 << 16));
                got = fread(text.data + text.size, 1, 1 << 16, file);
        }
        fclose(file);
        buffer_append(&text, "", 1);
        return (struct bytes){text.data, text.size - 1};
}

static void path_in(const struct book *book, const char *name, char out_path[128]) {
        snprintf(out_path, 128, "%s/%s", book->directory, name);
}

static void write_in(const struct book *book, const char *name, struct bytes text) {
        char path[128];
        path_in(book, name, path);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(text.data, 1, text.size, file), text.size);
        assert_int_equal(fclose(file), 0);
}

/* As `catalog import` does. */
static void import_into(const struct book *book, import_format *format, const char *path, const char *name) {
        struct import *import = malloc(sizeof *import);
        struct bytes text = book_read(path);
        struct catalog catalog;
        struct buffer printed;
        assert_non_null(import);
        import_init(import);
        must(format(import, path, text));
        must(import_finish(import, &catalog));
        buffer_init(&printed, BOOK_TEXT_MAX);
        listing_print(&catalog, &printed);
        write_in(book, name, buffer_view(&printed));
        buffer_deinit(&printed);
        import_deinit(import);
        free(import);
        free((char *)(uintptr_t)text.data);
}

void book_open(struct book *book, const char *litellm_path, const char *openrouter_path,
               struct bytes configuration) {
        char *before = getcwd(NULL, 0);
        *book = (struct book){.directory = "/tmp/batchferry-decisions-XXXXXX"};
        assert_non_null(before);
        assert_non_null(mkdtemp(book->directory));
        import_into(book, import_litellm, litellm_path, "litellm.yaml");
        import_into(book, import_openrouter, openrouter_path, "openrouter.yaml");
        write_in(book, "batchferry.yaml", configuration);
        assert_int_equal(chdir(book->directory), 0); /* catalogue files are named from there */
        must(config_load(&(struct config_options){.path = "batchferry.yaml"}, &book->config));
        assert_int_equal(chdir(before), 0);
        free(before);
        const struct job_decoder_options options = {
                .batch = "decisions",
                .job_bytes_max = (size_t)book->config->settings.job_bytes,
                .prefs_default = &book->config->prefs,
                .workspaces = book->config->catalog.workspaces,
                .workspaces_count = book->config->catalog.workspaces_count,
        };
        must(job_decoder_new(&options, &book->decoder));
}

void book_close(struct book *book) {
        static const char *const names[] = {"litellm.yaml", "openrouter.yaml", "batchferry.yaml"};
        char path[128];
        job_decoder_free(book->decoder);
        config_free(book->config);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                path_in(book, names[i], path);
                unlink(path);
        }
        rmdir(book->directory);
}

bool deciding_begin(const struct book *book, struct bytes line, int64_t at_unix_ms,
                    struct deciding *out_deciding) {
        struct deciding *deciding = out_deciding;
        *deciding = (struct deciding){.job = job_decode(book->decoder, line, 1, 0, false)};
        assert_non_null(deciding->job);
        if (deciding->job->failure != FAILURE_NONE)
                return false;
        const struct demand *demand = &deciding->job->demand;
        deciding->moment.route.now_unix_ms = at_unix_ms;
        deciding->moment.route.seed = deciding->job->key.lo;
        deciding->moment.route.call_ms = book->config->settings.timeout_total / NS_PER_MS;
        deciding->moment.audio_ms = demand->audio_ms;
        route_match(&book->config->catalog, demand, &deciding->set);
        deciding->moment.truncated = deciding->set.truncated;
        for (uint32_t i = 0; i < deciding->set.count; i++)
                deciding->states[i] = (struct route_state){.tokens_ratio = 1, .success_permille = -1};
        return true;
}

static void assert_same(const struct route *a, const struct route *b) {
        assert_int_equal(a->count, b->count);
        assert_int_equal(a->usable, b->usable);
        for (uint32_t i = 0; i < a->count; i++) {
                const struct candidate *x = &a->candidates[i], *y = &b->candidates[i];
                assert_int_equal(x->endpoint, y->endpoint);
                assert_int_equal(x->model, y->model);
                assert_int_equal(x->excluded_by, y->excluded_by);
                assert_int_equal(x->cost_known, y->cost_known);
                assert_int_equal(x->cost_expected_picousd, y->cost_expected_picousd);
                assert_int_equal(x->cost_ceiling_picousd, y->cost_ceiling_picousd);
                assert_int_equal(x->group, y->group);
                assert_int_equal(x->penalties, y->penalties);
                assert_int_equal(x->measure, y->measure);
        }
}

/* By nothing but what a receipt would hold. */
static void rank_by_record(const struct book *book, const struct deciding *deciding,
                           struct route *out_route) {
        static uint8_t text[RECORD_BYTES_MAX];
        static struct decision_inputs inputs;
        struct record_writer writer = {text, text + sizeof text};
        record_write_demand(&writer, &deciding->job->demand);
        record_write_places(&writer, &book->config->catalog, &deciding->moment, 0, &deciding->set,
                            deciding->states, &deciding->route);
        assert_non_null(writer.at);
        struct bytes record = {(const char *)text, (size_t)(writer.at - text)};
        assert_true(record_read(record, &inputs));
        inputs.moment.route.seed = deciding->moment.route.seed;
        assert_true(record_bind(&book->config->catalog, &inputs));
        route_rank(&book->config->catalog, &inputs.demand, &inputs.set, inputs.states, &inputs.moment.route,
                   out_route);
}

void deciding_rank(const struct book *book, struct deciding *deciding) {
        static struct route again;
        const struct catalog *catalog = &book->config->catalog;
        for (uint32_t i = 0; i < deciding->set.count; i++)
                record_round(&deciding->states[i]);
        route_rank(catalog, &deciding->job->demand, &deciding->set, deciding->states, &deciding->moment.route,
                   &deciding->route);
        route_rank(catalog, &deciding->job->demand, &deciding->set, deciding->states, &deciding->moment.route,
                   &again);
        assert_same(&deciding->route, &again);
        if (deciding->set.count == 0)
                return;
        rank_by_record(book, deciding, &again);
        assert_same(&deciding->route, &again);
}

void deciding_end(struct deciding *deciding) {
        job_spec_free(deciding->job);
}
