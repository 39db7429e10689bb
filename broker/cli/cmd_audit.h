#pragma once
/* `batchferry audit verify`: whether audit records are as they were written. Gives the exit code. */
int cmd_audit(int argc, char **argv);
