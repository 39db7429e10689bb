#pragma once
/*
 * What a command tells a person, on standard error: "batchferry: ..." as text, a log record with log.format
 * json. Secrets are replaced by *** either way.
 */
#include "broker/ops/config.h"
#include "broker/ops/log.h"

/*
 * By the options of the command line and the configuration; before threads start. Without it: text, nothing
 * left out.
 */
void say_init(const struct config *config, bool quiet, bool verbose);
/* Left out when quiet, but for errors; LOG_LEVEL_DEBUG only when verbose. */
void say(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
