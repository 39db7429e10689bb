#include "broker/sim/stats.h"

#include "broker/base/money.h"

void sim_stats_reset(struct sim_stats *stats) {
        *stats = (struct sim_stats){
                .in_flight = stats->in_flight,
                .in_flight_max = stats->in_flight,
                .connections_accepted = stats->connections_open,
                .connections_open = stats->connections_open,
        };
}

void sim_stats_begin(struct sim_stats *stats) {
        if (++stats->in_flight > stats->in_flight_max)
                stats->in_flight_max = stats->in_flight;
}

void sim_stats_end(struct sim_stats *stats) {
        stats->in_flight--;
}

static void append_number(struct buffer *buffer, const char *name, uint64_t value) {
        char last = buffer->size == 0 ? '{' : buffer->data[buffer->size - 1];

        if (last != '{')
                buffer_append_char(buffer, ',');
        buffer_append_char(buffer, '"');
        buffer_append_string(buffer, name);
        buffer_append_string(buffer, "\":");
        buffer_append_u64(buffer, value);
}

static void append_by_name(const struct sim_stats *stats, struct buffer *buffer) {
        buffer_append_string(buffer, ",\"endpoints\":{");
        for (int i = 0; i <= SIM_ENDPOINTS; i++)
                if (stats->endpoints[i] > 0)
                        append_number(buffer,
                                      i == SIM_ENDPOINTS ? "other" : sim_endpoint_path((enum sim_endpoint)i),
                                      stats->endpoints[i]);
        buffer_append_string(buffer, "},\"statuses\":{");
        for (unsigned i = 0; i < SIM_STATUS_MAX; i++) {
                char name[4] = {(char)('0' + i / 100), (char)('0' + i / 10 % 10), (char)('0' + i % 10), '\0'};

                if (stats->statuses[i] > 0)
                        append_number(buffer, name, stats->statuses[i]);
        }
        buffer_append_string(buffer, "},\"faults\":{");
        for (int i = SIM_FAULT_NONE + 1; i < SIM_FAULT_KINDS; i++)
                if (stats->faults[i] > 0)
                        append_number(buffer, sim_fault_name((enum sim_fault_kind)i), stats->faults[i]);
        buffer_append_char(buffer, '}');
}

void sim_stats_append_json(const struct sim_stats *stats, const struct sim_identities *identities,
                           const struct sim_limits *limits, struct buffer *buffer) {
        buffer_append_char(buffer, '{');
        append_number(buffer, "requests", stats->requests);
        append_by_name(stats, buffer);
        append_number(buffer, "executed", stats->executed);
        append_number(buffer, "answered", stats->answered);
        append_number(buffer, "identities", identities->count);
        append_number(buffer, "repeated", identities->executed_again);
        append_number(buffer, "answered_repeated", identities->answered_again);
        append_number(buffer, "executions_max", identities->executed_max);
        append_number(buffer, "prompt_tokens", (uint64_t)stats->prompt_tokens);
        append_number(buffer, "completion_tokens", (uint64_t)stats->completion_tokens);
        append_number(buffer, "prompt_audio_tokens", (uint64_t)stats->prompt_audio_tokens);
        append_number(buffer, "completion_audio_tokens", (uint64_t)stats->completion_audio_tokens);
        append_number(buffer, "tiered", stats->tiered);
        buffer_append_string(buffer, ",\"cost_usd\":");
        money_append(buffer, stats->cost_picousd);
        append_number(buffer, "in_flight", stats->in_flight);
        append_number(buffer, "in_flight_max", stats->in_flight_max);
        append_number(buffer, "clients_gone", stats->clients_gone);
        buffer_append_string(buffer, ",\"limit_violations\":{");
        append_number(buffer, "requests", limits->refused_requests);
        append_number(buffer, "tokens", limits->refused_tokens);
        append_number(buffer, "concurrency", limits->refused_concurrency);
        buffer_append_char(buffer, '}');
        append_number(buffer, "connections_accepted", stats->connections_accepted);
        append_number(buffer, "connections_open", stats->connections_open);
        buffer_append_string(buffer, "}\n");
}
