#pragma once
/* `batchferry share`: traffic per provider against that of a neutral broker. Gives the exit code. */
int cmd_share(int argc, char **argv);
