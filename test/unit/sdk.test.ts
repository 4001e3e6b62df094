import * as pulumi from "@pulumi/pulumi";
import test from "ava";
// The module itself, as sdk.ts changes it.
// eslint-disable-next-line @typescript-eslint/no-require-imports
import debuggable = require("@pulumi/pulumi/runtime/debuggable");
import { withoutTraces } from "../../sdk";

/** sdk.ts reaches into what the SDK does not declare: these fail when another version of it has it no more. */

interface Traced {
  readonly _debugStackTrace?: string;
}

/** What the SDK keeps of a promise. */
async function traceOf(): Promise<string | undefined> {
  const internals = debuggable as unknown as {
    debuggablePromise: (promise: Promise<void>, context: string) => Promise<void>;
  };
  const promise = Promise.resolve();
  await internals.debuggablePromise(promise, "test");
  return (promise as Traced)._debugStackTrace;
}

const callsites = (): readonly unknown[] =>
  (pulumi.Resource as unknown as { callsites: () => unknown[] }).callsites();

test.serial("the SDK takes a stack trace of each promise and each resource", async (t) => {
  t.regex((await traceOf()) ?? "", /^\s+at /m);
  t.true(callsites().length > 0);
});

test.serial("and none any more, while errors have theirs", async (t) => {
  const { stackTraceLimit } = Error;
  withoutTraces();
  withoutTraces();
  t.is(await traceOf(), "Error");
  t.deepEqual(callsites(), []);
  t.is(Error.stackTraceLimit, stackTraceLimit);
  t.regex(new Error("a mistake").stack ?? "", /^\s+at /m);
});
