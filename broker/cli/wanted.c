#include "broker/cli/wanted.h"

#include "broker/base/map.h"
#include "broker/cli/submission.h"
#include "broker/wire/digest.h"

#include <stdlib.h>
#include <string.h>

enum { NAMED_MAX = 5, KEYS_PER_JOB = 3 };
#define NAMES_BYTES_MAX ((size_t)4 << 30)
#define JOBS_MAX        (UINT32_MAX / 4)

struct wanted {
        struct map map; /* key, alias, hash of the record's key -> index */
        struct digest *digest;
        struct buffer names;
        size_t *name_ends; /* of job i: where its name ends; it begins where that of job i - 1 ends */
        bool *seen;
        uint64_t room, count, missing, bad;
};

static struct key128 key_of_record(struct wanted *wanted, struct bytes record_key) {
        uint8_t hash[DIGEST_BYTES];
        digest_begin(wanted->digest);
        digest_add(wanted->digest, record_key);
        digest_end(wanted->digest, hash);
        return key128_from_hash(hash);
}

/* The first job that is known by a key keeps it. */
static void put(struct wanted *wanted, struct key128 key, uint32_t index) {
        uint32_t before;
        if (!map_get(&wanted->map, key, &before))
                map_put(&wanted->map, key, index);
}

static struct error *add(struct wanted *wanted, const struct submitted *job) {
        uint32_t index;
        if (map_get(&wanted->map, job->job, &index)) {
                /* The same job once more, or a conflict, which is settled under the alias. */
                put(wanted, job->alias, index);
                return NULL;
        }
        if (wanted->count == wanted->room)
                return error_new(ERROR_INPUT, "the file of jobs has grown while it was read");
        index = (uint32_t)wanted->count++;
        buffer_append_bytes(&wanted->names, job->custom_id);
        wanted->name_ends[index] = wanted->names.size;
        put(wanted, job->job, index);
        put(wanted, job->alias, index);
        put(wanted, key_of_record(wanted, job->key), index);
        return wanted->names.failed ? error_new(ERROR_MEMORY, "no memory for the names of jobs") : NULL;
}

static struct error *next_line(struct source *source, struct source_line *line, bool *out_end) {
        switch (source_next(source, line)) {
        case SOURCE_LINE:
                return NULL;
        case SOURCE_END:
                *out_end = true;
                return NULL;
        case SOURCE_LATER:
                return error_new(ERROR_USAGE, "--jobs reads its file twice: give a file, not a pipe");
        case SOURCE_FAILED:
                break;
        }
        return source_error(source);
}

/* Without `submission` it only counts. */
static struct error *read_file(struct wanted *wanted, const struct source_options *options,
                               struct submission *submission) {
        struct source *source = NULL;
        struct error *error = source_open(options, &source);
        bool end = false;
        while (!error && !end) {
                struct source_line line;
                struct submitted job;
                error = next_line(source, &line, &end);
                if (error || end)
                        break;
                source_settled(source, line.sequence);
                if (!submission) {
                        wanted->room++;
                        continue;
                }
                switch (submission_read(submission, &line, true, &job)) {
                case SUBMISSION_JOB:
                        error = add(wanted, &job);
                        break;
                case SUBMISSION_BAD:
                        wanted->bad++;
                        break;
                case SUBMISSION_NO_MEMORY:
                        error = error_new(ERROR_MEMORY, "no memory for line %llu",
                                          (unsigned long long)line.line);
                        break;
                }
        }
        source_close(source);
        return error;
}

static struct error *make_room(struct wanted *wanted) {
        size_t room = (size_t)wanted->room;
        if (wanted->room > JOBS_MAX)
                return error_new(ERROR_INPUT, "more than %u jobs in one file", JOBS_MAX);
        wanted->digest = digest_new();
        wanted->name_ends = calloc(room + 1, sizeof(*wanted->name_ends));
        wanted->seen = calloc(room + 1, sizeof(*wanted->seen));
        bool well = wanted->digest && wanted->name_ends && wanted->seen &&
                    map_init(&wanted->map, (room + 1) * KEYS_PER_JOB);
        return well ? NULL
                    : error_new(ERROR_MEMORY, "no memory for %llu jobs", (unsigned long long)wanted->room);
}

struct error *wanted_load(const char *path, const char *batch, size_t job_bytes_max,
                          struct wanted **out_wanted) {
        struct submission_options options = {.batch = batch, .job_bytes_max = job_bytes_max};
        struct source_options source = {.path = path, .line_max = job_bytes_max};
        struct submission *submission = NULL;
        struct wanted *wanted = calloc(1, sizeof(*wanted));
        if (!wanted)
                return error_new(ERROR_MEMORY, "no memory to read %s", path);
        buffer_init(&wanted->names, NAMES_BYTES_MAX);
        struct error *error = submission_new(&options, &submission);
        if (!error)
                error = read_file(wanted, &source, NULL);
        if (!error)
                error = make_room(wanted);
        if (!error)
                error = read_file(wanted, &source, submission);
        submission_free(submission);
        wanted->missing = wanted->count;
        if (error)
                wanted_free(wanted);
        else
                *out_wanted = wanted;
        return error;
}

struct wanted *wanted_free(struct wanted *wanted) {
        if (!wanted)
                return NULL;
        map_deinit(&wanted->map);
        digest_free(wanted->digest);
        buffer_deinit(&wanted->names);
        free(wanted->name_ends);
        free(wanted->seen);
        free(wanted);
        return NULL;
}

enum wanted_is wanted_take(struct wanted *wanted, struct key128 key) {
        uint32_t index;
        if (!map_get(&wanted->map, key, &index))
                return WANTED_NOT;
        if (wanted->seen[index])
                return WANTED_AGAIN;
        wanted->seen[index] = true;
        wanted->missing--;
        return WANTED_NEW;
}

enum wanted_is wanted_take_record(struct wanted *wanted, struct bytes record_key) {
        return wanted_take(wanted, key_of_record(wanted, record_key));
}

uint64_t wanted_count(const struct wanted *wanted) {
        return wanted->count;
}

uint64_t wanted_missing(const struct wanted *wanted) {
        return wanted->missing;
}

uint64_t wanted_bad(const struct wanted *wanted) {
        return wanted->bad;
}

void wanted_name_missing(const struct wanted *wanted, struct buffer *out_text) {
        uint64_t named = 0;
        for (uint64_t i = 0; i < wanted->count && named < NAMED_MAX; i++) {
                if (wanted->seen[i])
                        continue;
                size_t start = i > 0 ? wanted->name_ends[i - 1] : 0;
                if (named++ > 0)
                        buffer_append_string(out_text, ", ");
                buffer_append(out_text, wanted->names.data + start, wanted->name_ends[i] - start);
        }
        if (wanted->missing > named)
                buffer_append_string(out_text, ", ...");
}
