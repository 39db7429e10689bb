#pragma once
/* `batchferry sim`: the provider simulator, until SIGINT or SIGTERM. Gives the exit code. */

int cmd_sim(int argc, char **argv);
