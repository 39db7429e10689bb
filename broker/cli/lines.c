#include "broker/cli/lines.h"

#include "broker/cli/meter.h"

#include <poll.h>

enum { LINES_PER_LOOK = 64 };

static double share_read(const struct source *source) {
        uint64_t bytes = source_bytes(source);
        return bytes > 0 ? (double)source_offset(source) / (double)bytes : -1;
}

static struct error *visit_all(struct source *source, struct meter *meter, lines_visit *visit,
                               void *userdata) {
        struct source_line line;
        for (;;) {
                struct error *error = NULL;
                struct pollfd more = {.fd = source_fd(source), .events = POLLIN};
                switch (source_next(source, &line)) {
                case SOURCE_END:
                        return NULL;
                case SOURCE_FAILED:
                        return source_error(source);
                case SOURCE_LATER:
                        poll(&more, 1, -1);
                        break;
                case SOURCE_LINE:
                        error = visit(userdata, &line);
                        source_settled(source, line.sequence);
                        if (line.sequence % LINES_PER_LOOK == 0)
                                meter_show(meter, line.sequence + 1, share_read(source));
                        break;
                }
                if (error)
                        return error;
        }
}

struct error *lines_each(const struct lines_options *options, lines_visit *visit, void *userdata) {
        struct source_options source_options = {.path = options->path, .line_max = options->line_max};
        struct source *source = NULL;
        struct meter meter;
        struct error *error = source_open(&source_options, &source);
        if (error)
                return error;
        meter_init(&meter, options->things, options->quiet);
        error = visit_all(source, &meter, visit, userdata);
        meter_clear(&meter);
        source_close(source);
        return error;
}
