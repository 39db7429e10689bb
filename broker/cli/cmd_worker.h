#pragma once
/* `batchferry worker`: jobs from Kafka, results to Kafka. Gives the exit code. */
int cmd_worker(int argc, char **argv);
