#pragma once
/* What the store knows of a job, for the engine. */
#include "broker/core/engine.h"
#include "broker/store/store.h"

struct known_job known_from(const struct store_record *record, const struct job_spec *job);
