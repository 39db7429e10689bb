#pragma once
/*
 * Ctrl-C for commands that end in their own way: the first one is only noted, a second one ends the program
 * at once with exit code 130. SIGTERM and SIGHUP are the same. One per process.
 */
#include <stdbool.h>

void ctrl_c_catch(void);
bool ctrl_c_came(void);
