#include "broker/loop/busy.h"

#include "broker/base/time.h"

#define LOOK_NS (100 * NS_PER_MS)

bool busy_slept(struct busy *busy, int64_t before_ns, int64_t now_ns) {
        bool before = busy->is, first = busy->since_ns == 0;
        busy->asleep_ns += now_ns - before_ns;
        if (now_ns - busy->since_ns < LOOK_NS)
                return false;
        busy->is = !first && busy->asleep_ns < (now_ns - busy->since_ns) / 5;
        busy->since_ns = now_ns;
        busy->asleep_ns = 0;
        return busy->is != before;
}
