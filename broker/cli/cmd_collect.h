#pragma once
/* `batchferry collect`: the results topic into a file. */

int cmd_collect(int argc, char **argv);
