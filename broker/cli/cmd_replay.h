#pragma once
/* `batchferry replay`: decides again what results record. */
int cmd_replay(int argc, char **argv);
