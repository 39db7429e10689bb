#include "broker/cli/price_gap.h"

#include "workers/routing/price.h"

/* A part that the demand is billed by, when nobody said its price. */
static const char *part_missing(const struct price *price, const struct demand *demand) {
        const uint32_t in = demand->input_modalities, out = demand->output_modalities;
        const struct {
                bool needed;
                int64_t price;
                const char *name;
        } parts[] = {
                {kind_listens(demand->kind), price->audio_minute, "audio_minute"},
                {demand->kind == KIND_SPEECH, price->character, "character"},
                {kind_paints(demand->kind), price->image, "image"},
                {!kind_listens(demand->kind) && demand->kind != KIND_SPEECH && !kind_paints(demand->kind),
                 price->input, "input"},
                {kind_writes(demand->kind), price->output, "output"},
                {kind_writes(demand->kind) && (in & MODALITY_BIT(AUDIO)), price->audio_input, "audio_input"},
                {kind_writes(demand->kind) && (out & MODALITY_BIT(AUDIO)), price->audio_output,
                 "audio_output"},
                {kind_writes(demand->kind) && (out & MODALITY_BIT(IMAGE)), price->image_output,
                 "image_output"},
        };
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
                if (parts[i].needed && parts[i].price == PRICE_UNKNOWN)
                        return parts[i].name;
        return NULL;
}

void price_gap_append(struct buffer *out, const struct endpoint *endpoint, const struct demand *demand,
                      int64_t at_unix_ms) {
        struct price scratch;
        if (demand->service == SERVICE_OTHER) {
                buffer_append_string(out, ": no tier of service of that name has a price");
                return;
        }
        const char *part = part_missing(
                price_at(endpoint, demand->service, at_unix_ms, demand->input_tokens, &scratch), demand);
        if (part)
                buffer_printf(out, ": price.%s%s%s is not said",
                              demand->service == SERVICE_STANDARD ? "" : service_text(demand->service),
                              demand->service == SERVICE_STANDARD ? "" : ".", part);
}
