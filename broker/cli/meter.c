#include "broker/cli/meter.h"

#include "broker/base/time.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_NS  (200 * NS_PER_MS)
#define LINE_NS (10 * NS_PER_S)
enum { BAR_CELLS = 24, NUMBER_MAX = 40 };

void meter_init(struct meter *meter, const char *things, bool quiet) {
        *meter = (struct meter){.things = things, .quiet = quiet};
        meter->terminal = isatty(STDERR_FILENO) == 1;
        meter->started_ns = meter->said_ns = clock_now_ns();
}

static void group(uint64_t value, char out_text[NUMBER_MAX]) {
        char digits[24];
        int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value), at = 0;
        for (int i = 0; i < size; i++) {
                if (i > 0 && (size - i) % 3 == 0)
                        out_text[at++] = ',';
                out_text[at++] = digits[i];
        }
        out_text[at] = 0;
}

static double seconds(const struct meter *meter) {
        double took = (double)(clock_now_ns() - meter->started_ns) / (double)NS_PER_S;
        return took > 0.001 ? took : 0.001;
}

static void show_bar(double share) {
        int cells = (int)(share * BAR_CELLS);
        fputc('[', stderr);
        for (int i = 0; i < BAR_CELLS; i++)
                fputc(i < cells ? '#' : '.', stderr);
        fprintf(stderr, "] %3d%%  ", (int)(share * 100));
}

void meter_show(struct meter *meter, uint64_t count, double share) {
        int64_t now_ns = clock_now_ns();
        if (meter->quiet || now_ns - meter->said_ns < (meter->terminal ? BAR_NS : LINE_NS))
                return;
        char number[NUMBER_MAX], rate[NUMBER_MAX];
        meter->said_ns = now_ns;
        group(count, number);
        group((uint64_t)((double)count / seconds(meter)), rate);
        if (meter->terminal)
                fputc('\r', stderr);
        if (meter->terminal && share >= 0)
                show_bar(share > 1 ? 1 : share);
        else if (share >= 0)
                fprintf(stderr, "%d%%  ", (int)((share > 1 ? 1 : share) * 100));
        fprintf(stderr, "%s %s  %s/s%s", number, meter->things, rate, meter->terminal ? "\033[K" : "\n");
        fflush(stderr);
        meter->shown = meter->terminal;
}

void meter_clear(struct meter *meter) {
        if (meter->shown)
                fprintf(stderr, "\r\033[K");
        meter->shown = false;
}

void meter_sum(const struct meter *meter, uint64_t count, char *out_text, size_t size) {
        char number[NUMBER_MAX], rate[NUMBER_MAX];
        double took = seconds(meter);
        group(count, number);
        group((uint64_t)((double)count / took), rate);
        snprintf(out_text, size, "%s %s in %.1fs (%s/s)", number, meter->things, took, rate);
}
