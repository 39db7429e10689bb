#include "broker/core/job.h"

#include "broker/base/check.h"

static const char *const texts[JOB_STATES_COUNT] = {
#define STATE(name, text, meaning) [JOB_##name] = text,
#define MOVE(from, to, when)
#include "schemas/states.def"
#undef STATE
#undef MOVE
};

static const bool moves[JOB_STATES_COUNT][JOB_STATES_COUNT] = {
#define STATE(name, text, meaning)
#define MOVE(from, to, when) [JOB_##from][JOB_##to] = true,
#include "schemas/states.def"
#undef STATE
#undef MOVE
};

const char *job_state_text(enum job_state state) {
        return texts[state];
}

bool job_may_move(enum job_state from, enum job_state to) {
        return moves[from][to];
}

void job_move(struct job *job, enum job_state to) {
        CHECK(job_may_move(job->state, to));
        job->state = to;
}
