#pragma once
/*
 * `batchferry config`: check the configuration, print it as it takes effect, or print the reference of
 * all names.
 */

/*
 * `config check [FILE]`, `config print [FILE]`, `config reference`. Gives the exit code: 0, or 2 when
 * something is wrong.
 */
int cmd_config(int argc, char **argv);
