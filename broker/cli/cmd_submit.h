#pragma once
/* `batchferry submit`: a file of jobs into the jobs topic. */

int cmd_submit(int argc, char **argv);
