#include "broker/cli/results.h"

enum { RESULT_LINE_MAX = 1 << 30 }; /* a result holds a whole answer */

struct reading {
        struct results *results;
        struct receipt_reader *reader;
        results_visit *visit;
        void *userdata;
};

static struct error *visit_line(void *userdata, const struct source_line *line) {
        struct reading *reading = userdata;
        struct results *results = reading->results;
        results->lines++;
        switch (line->too_long ? RECEIPT_STRANGE
                               : receipt_read(reading->reader, line->text, &results->receipt)) {
        case RECEIPT_STRANGE:
                results->strange++;
                return NULL;
        case RECEIPT_MEMORY:
                return error_new(ERROR_MEMORY, "no memory for line %llu", (unsigned long long)line->line);
        case RECEIPT_UNREADABLE:
                return reading->visit(reading->userdata, line->line, false);
        case RECEIPT_OK:
                return reading->visit(reading->userdata, line->line, true);
        }
        return NULL;
}

struct error *results_each(struct results *results, const struct input *input, results_visit *visit,
                           void *userdata) {
        struct input_lines lines = {.path = input->path,
                                    .things = "results",
                                    .line_max = RESULT_LINE_MAX,
                                    .quiet = input->options.quiet};
        struct reading reading = {results, receipt_reader_new(), visit, userdata};
        if (!reading.reader)
                return error_new(ERROR_MEMORY, "no memory");
        struct error *error = input_each(&lines, visit_line, &reading);
        receipt_reader_free(reading.reader);
        if (!error && results->strange > 0 && results->strange == results->lines)
                error = error_new(ERROR_INPUT, "%s holds no results: give what run or collect wrote",
                                  input->path);
        return error;
}
