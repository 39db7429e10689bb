#pragma once
/* batchferry audit verify */
int cmd_audit(int argc, char **argv);
