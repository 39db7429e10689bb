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

/* Half a kilobyte of candidates and message is left as it was: their count and first byte say that nothing stands there. */
void job_reset(struct job *job, struct job_spec *spec) {
        uint32_t generation = job->generation;
        struct outcome *outcome = &job->outcome;
        memset(job, 0, offsetof(struct job, outcome));
        memset(outcome, 0, offsetof(struct outcome, decision));
        outcome->decision.count = 0;
        outcome->decision.truncated = outcome->decision.chosen = false;
        outcome->decision.chosen_endpoint = 0;
        outcome->decision.chosen_model = 0;
        outcome->decision.seed = 0;
        outcome->message[0] = '\0';
        job->spec = spec;
        job->key = spec->key;
        job->generation = generation;
        job->job_class = NO_CLASS;
}

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
