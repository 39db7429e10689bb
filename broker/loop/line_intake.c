#include "broker/loop/line_intake.h"

#include "broker/loop/shard.h"

#include <errno.h>

static bool takes_more(const struct line_intake *intake, const struct shard *shard) {
        return !intake->ended && intake->jobs_taken < intake->jobs_limit && !source_full(intake->source) &&
               shard_has_room(shard);
}

static struct error *take_line(struct line_intake *intake, struct shard *shard,
                               const struct source_line *line) {
        struct job_spec *job =
                job_decode(intake->decoder, line->text, line->line, line->sequence, line->too_long);
        if (!job)
                return error_new(ERROR_MEMORY, "no memory for line %llu", (unsigned long long)line->line);
        intake->jobs_taken++;
        shard_take(shard, job);
        return NULL;
}

/* Wakes once when standard input has something again. */
static struct error *watch_source(struct line_intake *intake, struct shard *shard) {
        struct error *error = shard_watch_once(shard, source_fd(intake->source), intake->watched);
        if (!error)
                intake->watched = true;
        return error ? error_wrap(error, "cannot wait for standard input") : NULL;
}

static struct error *gather(void *userdata, struct shard *shard) {
        struct line_intake *intake = userdata;
        struct source_line line;
        intake->later = false;
        for (int i = 0; i < SHARD_TAKE_MAX && takes_more(intake, shard); i++) {
                switch (source_next(intake->source, &line)) {
                case SOURCE_LINE:
                        break;
                case SOURCE_END:
                        intake->ended = true;
                        return NULL;
                case SOURCE_LATER:
                        intake->later = true;
                        return watch_source(intake, shard);
                case SOURCE_FAILED:
                        return source_error(intake->source);
                }
                struct error *error = take_line(intake, shard, &line);
                if (error)
                        return error;
        }
        return NULL;
}

static void forgotten(void *userdata, struct shard *shard, const struct command *command) {
        struct line_intake *intake = userdata;
        (void)shard;
        source_settled(intake->source, command->job->sequence);
        if (command->duplicate)
                intake->jobs_taken--; /* it does not count for the limit */
        job_spec_free(command->job);
}

static void free_job(void *userdata, struct job_spec *job) {
        (void)userdata;
        job_spec_free(job);
}

static void follow_mark(struct line_intake *intake) {
        struct source_mark mark;
        source_get_mark(intake->source, &mark);
        intake->state.offset = mark.offset;
        intake->state.lines = mark.lines;
        intake->state.sequence = mark.sequence;
        intake->state.crc = mark.crc;
}

/* The source's state, if its mark has moved since it was last handed over, together with something else. */
static const struct source_state *moved(void *userdata, struct shard *shard) {
        struct line_intake *intake = userdata;
        if (shard_intents(shard) == 0)
                return NULL;
        follow_mark(intake);
        if (intake->state.offset == intake->handed.offset)
                return NULL;
        intake->handed = intake->state;
        return &intake->state;
}

static const struct source_state *finish(void *userdata, bool finished) {
        struct line_intake *intake = userdata;
        follow_mark(intake);
        intake->state.finished = finished && intake->ended;
        return &intake->state;
}

static int64_t wake_ns(const void *userdata, const struct shard *shard) {
        const struct line_intake *intake = userdata;
        return takes_more(intake, shard) && !intake->later ? 0 : INT64_MAX;
}

static struct job_decoder **decoder(void *userdata) {
        struct line_intake *intake = userdata;
        return &intake->decoder;
}

static bool ended(const void *userdata) {
        const struct line_intake *intake = userdata;
        return intake->ended || intake->jobs_taken >= intake->jobs_limit;
}

static void progress(const void *userdata, struct shard_progress *out_progress) {
        const struct line_intake *intake = userdata;
        out_progress->bytes_read = source_offset(intake->source);
        out_progress->bytes_total = source_bytes(intake->source);
}

const struct intake_ops line_intake_ops = {
        .gather = gather,
        .forgotten = forgotten,
        .free_job = free_job,
        .moved = moved,
        .finish = finish,
        .wake_ns = wake_ns,
        .decoder = decoder,
        .ended = ended,
        .progress = progress,
};
