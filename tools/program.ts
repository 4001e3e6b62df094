/**
 * Begin a tool for people: an error is one line, never a stack trace.
 * @param failed Exit code of an error. Default: 1.
 */
export function program(main: () => unknown, failed = 1): void {
  Promise.resolve()
    .then(main)
    .catch((error: unknown) => {
      console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = failed;
    });
}
