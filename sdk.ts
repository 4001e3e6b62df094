import * as pulumi from "@pulumi/pulumi";
// The module itself: what `import` gives cannot be written to.
// eslint-disable-next-line @typescript-eslint/no-require-imports
import debuggable = require("@pulumi/pulumi/runtime/debuggable");

/** What the SDK does not declare; another version of it may not have it. */
interface Internals {
  debuggablePromise?: <T>(promise: Promise<T>, context: unknown) => Promise<T>;
}

/** A test makes many plans in one process. */
let done = false;

/**
 * Keeps the SDK from taking stack traces of what has not failed: one of each promise and each resource, mapped to TypeScript line
 * by line. That was more than half of the program's time, and nobody reads them (docs/decisions/0023). Errors keep theirs.
 *
 * `PULUMI_DEBUG_PROMISE_LEAKS`, the SDK's own switch for who looks for a promise that never ends, brings them back.
 */
export function withoutTraces(): void {
  const internals = debuggable as Internals;
  const { debuggablePromise } = internals;
  if (done || process.env.PULUMI_DEBUG_PROMISE_LEAKS || !debuggablePromise) return;
  done = true;
  internals.debuggablePromise = (promise, context) => {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      return debuggablePromise(promise, context);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  };
  // Where in the program a resource was made: it goes into the state with the whole stack.
  (pulumi.Resource as unknown as { callsites: () => readonly object[] }).callsites = () => [];
}
