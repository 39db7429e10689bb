#include "broker/loop/audit_log.h"

#include "broker/base/map.h"
#include "broker/base/time.h"
#include "broker/files/lines.h"
#include "broker/files/sink.h"
#include "broker/wire/audit_check.h"

#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX (SIZE_MAX / 4) /* of a commit: bounded by the calls in flight */

struct audit_log {
        struct sink *sink;
        struct digest *digest;
        struct audit_chain chain;
        struct buffer records;
        /* of the jobs that the store knows with unknown outcome: the last attempt that ended */
        struct map ended;
};

/* ---- opening ---- */

struct scan {
        struct audit_log *log;
        struct lines *lines;
        struct audit_check *check;
        uint64_t whole; /* bytes of whole records */
        bool torn;
};

static struct error *count_unknown(void *userdata, const struct begun *begun) {
        (void)begun;
        ++*(size_t *)userdata;
        return NULL;
}

static struct error *note_unknown(void *userdata, const struct begun *begun) {
        struct audit_log *log = userdata;
        if (!map_put(&log->ended, begun->key, 0))
                return error_new(ERROR_MEMORY, "no memory for attempts of unknown outcome");
        return NULL;
}

static struct error *expect_unknown(struct audit_log *log, struct store *store) {
        size_t count = 0;
        struct error *error = store_each_unknown(store, count_unknown, &count);
        if (!error && !map_init(&log->ended, count + 1))
                error = error_new(ERROR_MEMORY, "no memory for attempts of unknown outcome");
        return error ? error : store_each_unknown(store, note_unknown, log);
}

static void note_ended(struct audit_log *log, const struct audit_head *head) {
        uint32_t attempt;
        bool ends = (head->kind == AUDIT_CALL && head->counted) || head->kind == AUDIT_UNKNOWN;
        if (ends && map_get(&log->ended, head->job, &attempt) && head->attempt > attempt)
                map_put(&log->ended, head->job, head->attempt); /* replaces */
}

static struct error *refuse(const char *path, const char *what, uint64_t line) {
        return error_new(
                ERROR_INPUT,
                "%s is not as it was written (line %llu: %s); `batchferry audit verify %s` says more. "
                "Move it away to begin a new chain, or set another audit.file",
                path, (unsigned long long)line, what, path);
}

static bool is_object(struct bytes line) {
        return line.size >= 2 && line.data[0] == '{' && line.data[line.size - 1] == '}' &&
               !memchr(line.data, 0, line.size);
}

/* The first bytes of a first record, or a page that was never written. */
static bool begins_ours(struct bytes line) {
        static const char first[] = "{\"chain\":\"";
        size_t size = line.size < sizeof(first) - 1 ? line.size : sizeof(first) - 1;
        return line.size > 0 && (line.data[0] == 0 || memcmp(line.data, first, size) == 0);
}

/* What a crash leaves of the last write is no object; what is one, and no record, was changed. */
static struct error *see_torn(struct scan *scan, const char *path, struct bytes line) {
        uint64_t number = lines_number(scan->lines);
        if (scan->whole == 0 && !scan->torn && !begins_ours(line))
                return refuse(path, "no audit record", number);
        if (is_object(line))
                return refuse(path, "changed", number);
        scan->torn = true;
        return NULL;
}

static struct error *scan_line(struct scan *scan, const char *path, struct bytes line) {
        struct audit_place place = {0, lines_number(scan->lines)};
        struct audit_head head;
        if (!audit_read(line, scan->log->digest, &head))
                return see_torn(scan, path, line);
        if (scan->torn)
                return refuse(path, "changed, or never written,", place.number - 1);
        struct error *error = audit_check_add(scan->check, place, line);
        scan->whole = lines_bytes(scan->lines);
        note_ended(scan->log, &head);
        return error;
}

static struct error *scan_all(struct scan *scan, const char *path) {
        struct bytes line;
        for (;;) {
                struct error *error = NULL;
                switch (lines_next(scan->lines, &line)) {
                case LINES_LINE:
                        error = scan_line(scan, path, line);
                        break;
                case LINES_TAIL:
                        error = see_torn(scan, path, line);
                        break;
                case LINES_END:
                        return NULL;
                case LINES_FAILED:
                        return lines_error(scan->lines);
                }
                if (error)
                        return error;
        }
}

static struct error *scan_file(struct audit_log *log, const char *path, struct scan *scan) {
        struct audit_check_options options = {.topic = false};
        struct error *error = lines_open(path, AUDIT_LINE_MAX + 1, &scan->lines);
        if (!error)
                error = audit_check_new(&options, &scan->check);
        if (!error)
                error = scan_all(scan, path);
        if (!error) {
                const struct audit_finding *finding = audit_check_end(scan->check);
                if (finding->what != AUDIT_WHOLE && finding->what != AUDIT_EMPTY)
                        error = refuse(path, audit_break_text(finding->what), finding->place.number);
        }
        if (!error)
                audit_check_chain(scan->check, &log->chain);
        return error;
}

static bool adopt_nothing(void *userdata, struct bytes line, uint64_t offset) {
        (void)userdata, (void)line, (void)offset;
        return false;
}

/* Cuts what is torn. */
static struct error *recover(struct audit_log *log, const char *path) {
        struct scan scan = {.log = log};
        struct error *error = scan_file(log, path, &scan);
        lines_close(scan.lines);
        audit_check_free(scan.check);
        if (error)
                return error;
        sink_set_ours(log->sink);
        return sink_recover(log->sink, scan.whole, adopt_nothing, NULL);
}

static struct error *open_log(const struct audit_log_options *options, struct audit_log *log) {
        log->digest = digest_new();
        if (!log->digest)
                return error_new(ERROR_MEMORY, "no memory for the audit");
        struct error *error = sink_open(options->path, &log->sink);
        if (error)
                return error_wrap(error, "audit.file");
        sink_set_fault(log->sink, options->fault, options->fault_userdata);
        if (!sink_is_file(log->sink))
                return error_new(ERROR_USAGE, "audit.file: %s is no file; a chain must be read to go on",
                                 options->path);
        error = expect_unknown(log, options->store);
        if (!error)
                error = recover(log, options->path);
        if (!error && log->chain.next == 0)
                audit_append_begin(&log->records, log->digest, options->random, BYTES("run"), NULL,
                                   clock_now_unix_ms(), &log->chain);
        if (!error && log->records.size > 0)
                buffer_append_char(&log->records, '\n');
        return error;
}

struct error *audit_log_open(const struct audit_log_options *options, struct audit_log **out_log) {
        struct audit_log *log = calloc(1, sizeof(*log));
        if (!log)
                return error_new(ERROR_MEMORY, "no memory for the audit");
        buffer_init(&log->records, RECORDS_MAX);
        struct error *error = open_log(options, log);
        if (error) {
                audit_log_close(log);
                return error;
        }
        *out_log = log;
        return NULL;
}

struct audit_log *audit_log_close(struct audit_log *log) {
        if (!log)
                return NULL;
        sink_close(log->sink);
        digest_free(log->digest);
        map_deinit(&log->ended);
        buffer_deinit(&log->records);
        free(log);
        return NULL;
}

/* ---- writing ---- */

void audit_log_add(struct audit_log *log, const struct audit_note *note) {
        audit_append(&log->records, log->digest, &log->chain, &note->event);
        buffer_append_char(&log->records, '\n');
}

struct error *audit_log_commit(struct audit_log *log) {
        if (log->records.failed || digest_failed(log->digest))
                return error_new(ERROR_MEMORY, "no memory for audit records");
        if (log->records.size == 0)
                return NULL;
        struct error *error = sink_append(log->sink, buffer_view(&log->records));
        if (error)
                return error;
        buffer_clear(&log->records); /* not again, if a later step fails and is tried again */
        return sink_sync(log->sink);
}

bool audit_log_ended(const void *userdata, struct key128 job, uint32_t attempt) {
        const struct audit_log *log = userdata;
        uint32_t ended;
        return map_get(&log->ended, job, &ended) && ended >= attempt;
}

const struct audit_chain *audit_log_chain(const struct audit_log *log) {
        return &log->chain;
}

const char *audit_log_path(const struct audit_log *log) {
        return sink_path(log->sink);
}
