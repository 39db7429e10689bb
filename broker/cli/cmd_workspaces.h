#pragma once
/* `batchferry workspaces`: what each workspace and provider has spent, has reserved and may still spend. */
int cmd_workspaces(int argc, char **argv);
