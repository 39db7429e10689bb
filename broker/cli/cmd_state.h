#pragma once
/* `batchferry state show|stats|verify`: the durable state, read only. Gives the exit code. */
int cmd_state(int argc, char **argv);
