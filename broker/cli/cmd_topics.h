#pragma once
/*
 * `batchferry topics`: makes the topics with the right settings, and says what is wrong with those there are.
 */

int cmd_topics(int argc, char **argv);
