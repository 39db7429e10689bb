#include "broker/cli/run_files.h"

#include "broker/base/time.h"
#include "broker/files/lines.h"
#include "broker/loop/forget.h"
#include "broker/loop/quota_book.h"
#include "broker/wire/result.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define STATE_BYTES_MIN (UINT64_C(256) << 10)

enum {
        RESULT_LINE_MAX = 1 << 30, /* a result holds a whole answer */
        ADOPTED_AT_A_TIME = 1 << 14,
};

struct adoption {
        struct run_files *files;
        struct store_batch *batch;
        uint32_t sink;
        struct error *error;
};

/*
 * A line that was written and synced before the store could say so: its job is settled with what the line
 * says.
 */
static bool adopt(void *userdata, struct bytes line, uint64_t offset) {
        struct adoption *adoption = userdata;
        struct result_head head;
        if (adoption->error || !result_read_head(line, &head))
                return false;
        struct store_record record;
        adoption->error = store_look_up(adoption->files->store, STORE_NO_PARTITION, head.key, &record);
        if (adoption->error)
                return false;
        if (record.found == STORE_SETTLED)
                return true;
        struct settled settled = {
                .partition = STORE_NO_PARTITION,
                .failure = head.failure,
                .status = head.status,
                .attempts = head.attempts,
                .cost_known = head.cost_known,
                .cost_is_estimate = head.cost_is_estimate,
                .cost_picousd = head.cost_picousd,
                .settled_unix_ms = clock_now_unix_ms(),
                .sink = adoption->sink,
                .offset = offset,
                .size = (uint32_t)line.size + 1,
                .fingerprint_known = true,
        };
        memcpy(settled.fingerprint, head.fingerprint, sizeof(settled.fingerprint));
        struct begun_id begun = record.found == STORE_UNKNOWN ? record.begun_id : (struct begun_id){0};
        if (record.found == STORE_UNKNOWN)
                adoption->error = spend_book_settle(&adoption->files->book, &record.begun, head.cost_known,
                                                    head.cost_picousd);
        if (adoption->error)
                return false;
        store_batch_settle(adoption->batch, head.key, &settled, begun);
        adoption->files->adopted++;
        return true;
}

/* A long path is recorded cut. */
static bool is_recorded(const struct run_files *files, uint32_t sink) {
        const char *recorded = files->state.outputs[sink];
        return files->known && files->sinks[sink] &&
               strncmp(recorded, sink_path(files->sinks[sink]), sizeof(files->state.outputs[sink]) - 1) == 0;
}

/* What a pipe took, and what is kept for it, can only go to a pipe: a file would lack it. */
static struct error *piped_before(const char *input, uint32_t sink) {
        const char *option = sink == SINK_RESULTS ? "-o" : "--errors";
        return error_new(
                ERROR_USAGE,
                "%s was run before with %s -, and a file would lack what went to standard output: run "
                "it with %s - again, or give another --state to run (and pay) anew",
                input, option, option);
}

/* The store may say less than a file does: see loop/ahead.h. */
static bool holds_results(const struct run_files *files, uint32_t sink) {
        struct stat status;
        const char *recorded = files->state.outputs[sink];
        if (!files->known || !recorded[0])
                return false;
        if (files->state.outputs_bytes[sink] > 0)
                return true;
        return strcmp(recorded, "-") != 0 && stat(recorded, &status) == 0 && status.st_size > 0;
}

static struct error *check_path(const struct run_files *files, uint32_t sink, const char *input) {
        const char *recorded = files->state.outputs[sink];
        if (!holds_results(files, sink))
                return NULL;
        if (is_recorded(files, sink))
                return NULL;
        if (strcmp(recorded, "-") == 0)
                return piped_before(input, sink);
        return error_new(ERROR_USAGE,
                         "%s was run before and its %s stand in %s: name that file again to go on, or give "
                         "another --state to run "
                         "(and pay) anew",
                         input, sink == SINK_RESULTS ? "results" : "failed jobs", recorded);
}

static struct error *see_body(void *userdata, struct key128 key, struct bytes body) {
        (void)key, (void)body;
        *(bool *)userdata = true;
        return NULL;
}

/* Nothing was taken by the pipe, but lines are kept for it. */
static struct error *check_kept(const struct run_files *files, const char *input) {
        bool kept = false;
        if (!files->known || files->state.finished || strcmp(files->state.outputs[SINK_RESULTS], "-") != 0 ||
            !sink_is_file(files->sinks[SINK_RESULTS]))
                return NULL;
        struct error *error = store_each_body(files->store, see_body, &kept);
        if (error || !kept)
                return error;
        return piped_before(input, SINK_RESULTS);
}

/* Without what else the batch is for: that is written once more. */
static struct error *write_adopted(struct adoption *adoption) {
        spend_book_write(&adoption->files->book, adoption->batch);
        return store_write(adoption->files->store, adoption->batch);
}

/*
 * Of an input that has changed every line is looked up, but what is known of jobs that were finished long ago
 * may have been forgotten (loop/forget.h). The outputs say it still; what else stands in them is passed over.
 */
static struct error *relearn(struct adoption *adoption, const char *path, uint64_t recorded) {
        struct lines *lines = NULL;
        struct bytes line;
        uint64_t offset = 0;
        bool any = false;
        struct error *error = forget_any(adoption->files->store, &any);
        if (error || !any)
                return error;
        error = lines_open(path, RESULT_LINE_MAX, &lines);
        while (!error && offset < recorded && lines_next(lines, &line) == LINES_LINE) {
                adopt(adoption, line, offset);
                error = adoption->error;
                adoption->error = NULL;
                if (!error && store_batch_count(adoption->batch) >= ADOPTED_AT_A_TIME)
                        error = write_adopted(adoption);
                offset = lines_bytes(lines);
        }
        if (!error && lines_next(lines, &line) == LINES_FAILED)
                error = lines_error(lines);
        lines_close(lines);
        return error;
}

static struct error *recover_sink(struct run_files *files, uint32_t index, struct store_batch *batch) {
        struct sink *sink = files->sinks[index];
        struct adoption adoption = {.files = files, .batch = batch, .sink = index};
        if (!sink_is_file(sink)) {
                snprintf(files->state.outputs[index], sizeof(files->state.outputs[index]), "%s",
                         sink_path(sink));
                return NULL;
        }
        if (is_recorded(files, index))
                sink_set_ours(sink);
        uint64_t recorded = files->known ? files->state.outputs_bytes[index] : 0;
        struct error *error = NULL;
        if (files->changed && is_recorded(files, index))
                error = relearn(&adoption, sink_path(sink), recorded);
        if (error)
                return error;
        error = sink_recover(sink, recorded, adopt, &adoption);
        if (adoption.error) {
                error_free(error);
                return adoption.error;
        }
        snprintf(files->state.outputs[index], sizeof(files->state.outputs[index]), "%s", sink_path(sink));
        files->state.outputs_bytes[index] = sink_bytes(sink);
        return error;
}

struct republish {
        struct run_files *files;
        struct store_batch *batch;
};

/* To the output that its row names. What belongs to none of ours that is a pipe is another input's. */
static struct error *republish(void *userdata, struct key128 key, struct bytes body) {
        struct republish *republish = userdata;
        struct store_record record;
        struct error *error = store_look_up(republish->files->store, STORE_NO_PARTITION, key, &record);
        if (error)
                return error;
        uint32_t index = record.found == STORE_SETTLED ? record.settled.sink : SINK_RESULTS;
        struct sink *sink = index < SINKS_COUNT ? republish->files->sinks[index] : NULL;
        if (!sink || sink_is_file(sink))
                return NULL;
        error = sink_append(sink, body);
        if (!error)
                store_batch_body_drop(republish->batch, key);
        return error;
}

static bool writes_pipe(const struct run_files *files) {
        for (uint32_t i = 0; i < SINKS_COUNT; i++)
                if (files->sinks[i] && !sink_is_file(files->sinks[i]))
                        return true;
        return false;
}

static struct error *recover(struct run_files *files, const struct run_files_options *options) {
        int64_t now_unix_ms = clock_now_unix_ms();
        struct store_batch *batch = store_batch_new(files->store);
        if (!batch)
                return error_new(ERROR_MEMORY, "no memory to recover");
        struct error *error = spend_book_load(&files->book, files->store, options->catalog, now_unix_ms);
        if (!error)
                error = forget_prepare(files->store, now_unix_ms, batch);
        for (uint32_t i = 0; i < SINKS_COUNT && !error; i++)
                if (files->sinks[i])
                        error = recover_sink(files, i, batch);
        /* Of an input that was finished every line was given out: bodies in the store are another one's. */
        if (!error && files->known && !files->state.finished && writes_pipe(files)) {
                struct republish context = {.files = files, .batch = batch};
                error = store_each_body(files->store, republish, &context);
        }
        if (!error) {
                struct source_state state = files->state;
                state.finished = false; /* from here on there may be lines to give out again */
                store_batch_source(batch, files->source_name, &state);
                spend_book_write(&files->book, batch);
                error = quota_uses_expire(files->store, now_unix_ms, batch);
        }
        if (!error)
                error = store_write(files->store, batch);
        store_batch_free(batch);
        return error;
}

static struct error *name_source(const char *input, char *out_name, size_t name_size) {
        char resolved[PATH_MAX];
        if (strcmp(input, "-") == 0) {
                snprintf(out_name, name_size, "-");
                return NULL;
        }
        if (!realpath(input, resolved))
                return error_errno(errno, "cannot open %s", input);
        snprintf(out_name, name_size, "%s", resolved);
        return NULL;
}

/*
 * RocksDB writes tens of kilobytes when it opens, and some builds of it (Debian's) abort when they cannot
 * write their own log.
 */
static struct error *check_space(const char *state) {
        struct statvfs space;
        uint64_t free_bytes;
        if (statvfs(state, &space) < 0)
                return NULL; /* it is made anew, or opening says what is wrong */
        free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
        if (free_bytes >= STATE_BYTES_MIN)
                return NULL;
        return error_new(ERROR_FULL,
                         "cannot open the state directory %s: its disk has only %llu KiB left; make some "
                         "space and run again, nothing is lost",
                         state, (unsigned long long)(free_bytes >> 10));
}

static struct error *open_files(const struct run_files_options *options, struct run_files *files) {
        struct source_options source = {.path = options->input, .line_max = options->line_max};
        struct error *error = source_open(&source, &files->source);
        if (!error)
                error = name_source(options->input, files->source_name, sizeof(files->source_name));
        if (!error)
                error = sink_open(options->output, &files->sinks[SINK_RESULTS]);
        if (!error && options->errors)
                error = sink_open(options->errors, &files->sinks[SINK_ERRORS]);
        for (uint32_t i = 0; i < SINKS_COUNT; i++)
                if (files->sinks[i])
                        sink_set_fault(files->sinks[i], options->fault, options->fault_userdata);
        struct store_options store = {.directory = options->state,
                                      .fault = options->fault,
                                      .fault_userdata = options->fault_userdata};
        if (!error)
                error = check_space(options->state);
        if (!error)
                error = store_open(&store, &files->store);
        return error;
}

static struct error *skip(struct run_files *files) {
        struct source_mark mark = {.offset = files->state.offset,
                                   .lines = files->state.lines,
                                   .sequence = files->state.sequence,
                                   .crc = files->state.crc};
        bool matches = true;
        if (!files->known || mark.offset == 0)
                return NULL;
        struct error *error = source_skip(files->source, &mark, &matches);
        if (!error && !matches) {
                files->changed = true;
                files->state.offset = files->state.lines = files->state.sequence = 0;
                files->state.crc = 0;
                files->state.finished = false;
        }
        return error;
}

struct error *run_files_open(const struct run_files_options *options, struct run_files *out_files) {
        struct run_files *files = out_files;
        *files = (struct run_files){0};
        struct error *error = open_files(options, files);
        if (!error)
                error = store_get_source(files->store, files->source_name, &files->known, &files->state);
        for (uint32_t i = 0; i < SINKS_COUNT && !error; i++)
                error = check_path(files, i, options->input);
        if (!error)
                error = check_kept(files, options->input);
        if (!error)
                error = skip(files);
        if (!error)
                error = recover(files, options);
        if (error)
                run_files_close(files);
        return error;
}

void run_files_close(struct run_files *files) {
        files->source = source_close(files->source);
        for (uint32_t i = 0; i < SINKS_COUNT; i++)
                files->sinks[i] = sink_close(files->sinks[i]);
        files->store = store_close(files->store);
        spend_book_deinit(&files->book);
}
