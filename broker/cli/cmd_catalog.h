#pragma once
/* `batchferry catalog`: takes other people's catalogues, shows ours and says what is wrong with it. */
int cmd_catalog(int argc, char **argv);
