#include "broker/cli/progress.h"

#include "broker/base/money.h"
#include "broker/base/time.h"
#include "broker/cli/say.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINE_NS   (10 * NS_PER_S) /* between plain lines */
#define SAMPLE_NS (500 * NS_PER_MS)
enum { BAR_CELLS = 24, TEXT_MAX = 4096 };

void progress_init(struct progress *progress, bool quiet) {
        *progress = (struct progress){.quiet = quiet};
        progress->terminal = isatty(STDERR_FILENO) == 1;
        progress->started_ns = progress->said_ns = clock_now_ns();
}

static uint64_t settled(const struct engine_stats *stats) {
        uint64_t count = stats->succeeded;
        for (int i = 0; i < FAILURES_COUNT; i++)
                count += stats->failures[i];
        return count;
}

static uint64_t failed(const struct engine_stats *stats) {
        return settled(stats) - stats->succeeded;
}

/* Jobs per second over the last samples. */
static double rate(struct progress *progress, uint64_t jobs, int64_t now_ns) {
        size_t newest = (progress->samples + RATE_SAMPLES - 1) % RATE_SAMPLES;
        if (progress->samples == 0 || now_ns - progress->sample_ns[newest] >= SAMPLE_NS) {
                newest = progress->samples++ % RATE_SAMPLES;
                progress->sample_ns[newest] = now_ns;
                progress->sample_jobs[newest] = jobs;
        }
        size_t oldest = progress->samples > RATE_SAMPLES ? progress->samples % RATE_SAMPLES : 0;
        int64_t took_ns = now_ns - progress->sample_ns[oldest];
        if (took_ns <= 0)
                return 0;
        return (double)(jobs - progress->sample_jobs[oldest]) * (double)NS_PER_S / (double)took_ns;
}

/* How much of the input is settled, 0 to 1; negative when nobody knows. */
static double share(const struct shard_progress *now) {
        if (now->bytes_total == 0)
                return -1;
        double read = (double)now->bytes_read / (double)now->bytes_total;
        uint64_t done = settled(&now->stats) + now->stats.duplicates;
        uint64_t taken = done + now->stats.inside;
        return taken ? read * (double)done / (double)taken : read;
}

/* Money for people: cents from a dollar on, below that millionths. */
static void append_money(struct buffer *text, int64_t picousd, bool unknown) {
        int64_t unit = picousd >= PICOUSD_PER_USD ? PICOUSD_PER_USD / 100 : PICOUSD_PER_USD / 1000000;
        if (unknown && picousd == 0) {
                buffer_append_string(text, "unknown cost");
                return;
        }
        buffer_append_char(text, '$');
        money_append(text, (picousd + unit / 2) / unit * unit);
        if (unknown)
                buffer_append_string(text, " and more at unknown prices");
}

static void append_grouped(struct buffer *text, uint64_t value) {
        char digits[32];
        int size = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
        for (int i = 0; i < size; i++) {
                if (i > 0 && (size - i) % 3 == 0)
                        buffer_append_char(text, ',');
                buffer_append_char(text, digits[i]);
        }
}

static void append_seconds(struct buffer *text, double seconds) {
        uint64_t whole = (uint64_t)(seconds + 0.5);
        if (whole >= 3600)
                buffer_printf(text, "%lluh%02llum", (unsigned long long)(whole / 3600),
                              (unsigned long long)(whole / 60 % 60));
        else if (whole >= 60)
                buffer_printf(text, "%llum%02llus", (unsigned long long)(whole / 60),
                              (unsigned long long)(whole % 60));
        else
                buffer_printf(text, "%llus", (unsigned long long)whole);
}

static void append_bar(struct buffer *text, double done) {
        int cells = (int)(done * BAR_CELLS);
        buffer_append_char(text, '[');
        for (int i = 0; i < BAR_CELLS; i++)
                buffer_append_char(text, i < cells ? '#' : '.');
        buffer_printf(text, "] %3d%%  ", (int)(done * 100));
}

static void describe(struct progress *progress, const struct shard_progress *now, struct buffer *text) {
        int64_t now_ns = clock_now_ns();
        uint64_t jobs = settled(&now->stats);
        double per_s = rate(progress, jobs, now_ns), done = share(now);
        if (progress->terminal && done >= 0)
                append_bar(text, done);
        else if (done >= 0)
                buffer_printf(text, "%d%%  ", (int)(done * 100));
        append_grouped(text, jobs);
        buffer_printf(text, " jobs  %.0f/s  ", per_s);
        append_money(text, now->stats.cost_picousd, now->stats.cost_unknown);
        buffer_printf(text, "  %u in flight", now->calls_in_flight);
        if (failed(&now->stats) > 0) {
                buffer_append_string(text, "  ");
                append_grouped(text, failed(&now->stats));
                buffer_append_string(text, " failed");
        }
        if (now->last_error[0])
                buffer_printf(text, "  nothing done yet: %s", now->last_error);
        double took_s = (double)(now_ns - progress->started_ns) / (double)NS_PER_S;
        if (done > 0.001 && done < 1 && jobs > 0) {
                buffer_append_string(text, "  ETA ");
                append_seconds(text, took_s * (1 - done) / done);
        }
}

void progress_clear(struct progress *progress) {
        if (progress->bar_shown)
                fprintf(stderr, "\r\033[K");
        progress->bar_shown = false;
}

static void tell_trouble(struct progress *progress, const struct shard_progress *now) {
        if (now->trouble == progress->trouble)
                return;
        progress_clear(progress);
        if (now->trouble == TROUBLE_FULL)
                say(LOG_LEVEL_WARNING,
                    "%s; waiting for space: answers are kept, no new calls are made (Ctrl-C "
                    "twice gives up)",
                    now->message);
        else if (now->trouble == TROUBLE_NONE)
                say(LOG_LEVEL_INFO, "there is space again, going on");
        progress->trouble = now->trouble;
}

void progress_show(struct progress *progress, const struct shard_progress *now) {
        tell_trouble(progress, now);
        int64_t now_ns = clock_now_ns();
        if (progress->quiet || (!progress->terminal && now_ns - progress->said_ns < LINE_NS))
                return;
        progress->said_ns = now_ns;
        struct buffer text;
        buffer_init(&text, TEXT_MAX);
        describe(progress, now, &text);
        struct winsize window = {0};
        size_t width = text.size;
        if (progress->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 &&
            width >= window.ws_col)
                width = window.ws_col - 1U;
        fprintf(stderr, progress->terminal ? "\r%.*s\033[K" : "%.*s\n", (int)width,
                text.data ? text.data : "");
        fflush(stderr);
        progress->bar_shown = progress->terminal;
        buffer_deinit(&text);
}

static void append_totals(struct progress *progress, const struct engine_stats *stats, struct buffer *text) {
        double took_s = (double)(clock_now_ns() - progress->started_ns) / (double)NS_PER_S;
        append_grouped(text, settled(stats));
        buffer_append_string(text, " jobs in ");
        if (took_s < 10)
                buffer_printf(text, "%.1fs", took_s);
        else
                append_seconds(text, took_s);
        buffer_printf(text, " (%.0f/s): ", took_s > 0 ? (double)settled(stats) / took_s : 0.0);
        append_grouped(text, stats->succeeded);
        buffer_append_string(text, " done, ");
        append_grouped(text, failed(stats));
        buffer_append_string(text, " failed");
        if (stats->duplicates > 0) {
                buffer_append_string(text, "; ");
                append_grouped(text, stats->duplicates);
                buffer_append_string(text, " were done before");
        }
        buffer_append_char(text, '\n');
}

static void append_failures(const struct engine_stats *stats, struct buffer *text) {
        for (int i = 1; i < FAILURES_COUNT; i++) {
                if (stats->failures[i] == 0)
                        continue;
                buffer_printf(text, "  failed     %-22s ", failure_text((enum failure)i));
                append_grouped(text, stats->failures[i]);
                buffer_append_char(text, '\n');
        }
}

static void append_spend(const struct engine_stats *stats, struct buffer *text) {
        buffer_append_string(text, "  cost       ");
        append_money(text, stats->cost_picousd, stats->cost_unknown);
        if (stats->cost_unknown)
                buffer_append_string(text, " (set prices in the configuration)");
        if (!stats->cost_unknown && stats->list_cost_picousd != stats->cost_picousd) {
                buffer_append_string(text, " (list price ");
                append_money(text, stats->list_cost_picousd, false);
                buffer_append_char(text, ')');
        }
        buffer_append_string(text, "\n  tokens     ");
        append_grouped(text, stats->input_tokens + stats->cached_tokens);
        buffer_append_string(text, " in, ");
        append_grouped(text, stats->output_tokens);
        buffer_append_string(text, " out\n  calls      ");
        append_grouped(text, stats->calls);
        buffer_append_string(text, ", of which ");
        append_grouped(text, stats->retries);
        buffer_append_string(text, " again\n");
}

static void append_endpoints(const struct shard *shard, const struct catalog *catalog, struct buffer *text) {
        for (uint32_t i = 0; i < catalog->endpoints_count; i++) {
                const struct endpoint_stats *stats = engine_endpoint_stats(shard_engine(shard), i);
                if (stats->calls == 0)
                        continue;
                buffer_printf(text, "  %-32s %llu calls, %llu ok, %llu failed, %llu throttled, %llu unknown",
                              catalog->endpoints[i].name, (unsigned long long)stats->calls,
                              (unsigned long long)stats->succeeded, (unsigned long long)stats->failed,
                              (unsigned long long)stats->throttled, (unsigned long long)stats->unknown);
                if (stats->cost_picousd > 0) {
                        buffer_append_string(text, ", ");
                        append_money(text, stats->cost_picousd, false);
                }
                buffer_append_char(text, '\n');
                if (stats->last_error[0])
                        buffer_printf(text, "    last error: %s\n", stats->last_error);
        }
}

void progress_summary(struct progress *progress, const struct shard *shard, const struct catalog *catalog) {
        progress_clear(progress);
        if (progress->quiet)
                return;
        const struct engine_stats *stats = engine_stats(shard_engine(shard));
        struct buffer text;
        buffer_init(&text, 1U << 20);
        append_totals(progress, stats, &text);
        append_failures(stats, &text);
        if (stats->calls > 0)
                append_spend(stats, &text);
        append_endpoints(shard, catalog, &text);
        fwrite(text.data, 1, text.size, stderr);
        buffer_deinit(&text);
}
