#pragma once
/*
 * What the kernel says of this process, for /metrics: CPU time, memory, open files. Names are those that
 * Prometheus's own clients use (prometheus.io/docs/instrumenting/writing_clientlibs, "Process metrics").
 */
#include "broker/ops/metric.h"

/* What cannot be learned is METRIC_NOT_KNOWN. Any thread. */
void process_read(struct process_metrics *out_process);
