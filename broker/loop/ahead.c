#include "broker/loop/ahead.h"

#include "broker/base/time.h"

/* So much is read again after a crash, at most. */
#define AHEAD_BYTES (64U << 20)
#define AHEAD_ROWS  (1U << 16)
#define AHEAD_NS    (10 * NS_PER_S)

void ahead_init(struct ahead *ahead, struct sink *const *sinks, size_t count) {
        *ahead = (struct ahead){0};
        for (size_t i = 0; i < count; i++) {
                if (sinks[i] && !sink_is_file(sinks[i]))
                        return;
                ahead->late = ahead->late || sinks[i];
        }
}

void ahead_moved(struct ahead *ahead, const struct source_state *place) {
        ahead->place = *place;
        ahead->has_place = true;
        ahead->placed = false;
}

void ahead_settle(struct ahead *ahead, struct store_batch *batch, struct key128 key,
                  const struct settled *settled, struct begun_id begun) {
        if (!ahead->late) {
                store_batch_settle(batch, key, settled, begun);
                return;
        }
        store_batch_settle_late(batch, key, settled, begun);
        ahead->rows++;
        ahead->bytes += settled->size;
}

void ahead_end(struct ahead *ahead, struct store_batch *batch) {
        if (ahead->late)
                store_batch_catch_up(batch);
        ahead->late = false;
}

bool ahead_due(struct ahead *ahead, int64_t now_ns, bool catch_up) {
        bool due = !ahead->late || catch_up || ahead->place.finished || ahead->rows >= AHEAD_ROWS ||
                   ahead->bytes >= AHEAD_BYTES || now_ns - ahead->since_ns >= AHEAD_NS;
        if (!due || !ahead->has_place || (ahead->placed && ahead->rows == 0))
                return false;
        ahead->placed = true;
        ahead->rows = ahead->bytes = 0;
        ahead->since_ns = now_ns;
        return true;
}
