import { stackCloud, stackName } from "./stack";

/**
 * tools/valid-config.ts [STACK]: exit code 1, with every mistake on a line of its own, if the stack's configuration has any.
 */
try {
  stackCloud(stackName());
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
