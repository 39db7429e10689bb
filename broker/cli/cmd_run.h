#pragma once
/* `batchferry run JOBS.jsonl -o RESULTS.jsonl`: file in, file out, no Kafka. Gives the exit code. */
int cmd_run(int argc, char **argv);
