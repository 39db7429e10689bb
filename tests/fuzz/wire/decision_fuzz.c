/*
 * Any text as `decision.replay`, and any bytes as a line of results. What is read is written again as the
 * very same text, and can be decided: routing meets no number or index that it does not expect.
 */
#include "broker/base/check.h"
#include "broker/core/pick.h"
#include "broker/wire/decision.h"
#include "broker/wire/receipt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct endpoint endpoints[CATALOG_ENDPOINTS_MAX];
static const struct provider provider = {.name = "p", .region = "eu", .budget = {.daily = 1000}};
static const struct workspace workspace = {.name = "default", .budget = {.monthly = 1000, .lifetime = 5000}};

/* Prices of all sorts, so that every way to reckon is gone. */
static struct catalog make_catalog(void) {
        for (uint32_t i = 0; i < CATALOG_ENDPOINTS_MAX; i++)
                endpoints[i] = (struct endpoint){.name = "p/m",
                                                 .model = i % 5 == 0 ? "*" : "m",
                                                 .upstream = "m",
                                                 .price = {i % 3 - 1, i % 5 - 1, -1, i % 7 - 1, i, i, i, -1,
                                                           i, -1, i % 2, -1, i % 2, -1},
                                                 .context = i % 4 * 1000,
                                                 .output_max = i % 6 * 100,
                                                 .quantization = "fp8",
                                                 .quality = i % 101 - 1,
                                                 .kinds = UINT32_MAX};
        return (struct catalog){&provider, 1, endpoints, CATALOG_ENDPOINTS_MAX, "c", &workspace, 1};
}

/* Ledgers are written where they bound. */
static void write_again(struct decision_inputs *inputs, struct bytes text) {
        inputs->workspace.limit.daily = 1;
        for (uint32_t place = 0; place < inputs->set.count; place++)
                inputs->providers[place].limit.daily = 1;
        struct decision decision = {0};
        struct route route = {.count = inputs->set.count};
        struct buffer again;
        for (uint32_t place = 0; place < route.count; place++)
                route.candidates[inputs->ranks[place]].place = (uint8_t)place;
        struct record_writer writer = {decision.record, decision.record + DECISION_RECORD_MAX};
        record_write_places(&writer, NULL, &inputs->moment, 0, &inputs->set, inputs->states, &route);
        if (writer.at == NULL)
                return; /* more than the engine keeps */
        decision.record_size = (uint16_t)(writer.at - decision.record);
        buffer_init(&again, DECISION_TEXT_MAX * 2);
        if (decision_append(&again, &inputs->demand, &decision))
                CHECK(bytes_equal(buffer_view(&again), text));
        buffer_deinit(&again);
}

static void decide(struct decision_inputs *inputs) {
        static struct catalog catalog;
        struct route route;
        int64_t wake_ns = INT64_MAX;
        if (catalog.endpoints_count == 0)
                catalog = make_catalog();
        if (!record_bind(&catalog, inputs))
                return;
        route_rank(&catalog, &inputs->demand, &inputs->set, inputs->states, &inputs->moment.route, &route);
        CHECK(route.count == inputs->set.count && route.usable <= route.count);
        const struct candidate *taken = pick(&inputs->demand, &route, &inputs->moment, &wake_ns);
        CHECK(taken == NULL || taken->place < inputs->set.count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static struct decision_inputs inputs;
        static struct receipt receipt;
        struct bytes text = {(const char *)data, size};
        struct buffer record;
        buffer_init(&record, DECISION_TEXT_MAX);
        if (decision_read(text, &record, &inputs)) {
                write_again(&inputs, text);
                decide(&inputs);
        } else if (record_read(text, &inputs)) {
                decide(&inputs);
        }
        buffer_deinit(&record);
        struct receipt_reader *reader = receipt_reader_new();
        if (reader && receipt_read(reader, text, &receipt) == RECEIPT_OK && receipt.has_inputs)
                decide(&receipt.inputs);
        receipt_reader_free(reader);
        return 0;
}
