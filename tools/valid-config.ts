import { program } from "./program";
import { stackCloud, stackName } from "./stack";

/**
 * tools/valid-config.ts [STACK]: exit code 1, with every mistake on a line of its own, if the stack's configuration has any.
 */
program(() => stackCloud(stackName()));
