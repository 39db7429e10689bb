#pragma once
/* `batchferry dead-letters`: looks at dead letters and sends them back. */

int cmd_dead_letters(int argc, char **argv);
