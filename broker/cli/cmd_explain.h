#pragma once
/* `batchferry explain`: the routing decision for one job, or for each line of a file. Gives the exit code. */
int cmd_explain(int argc, char **argv);
