/** What became of each test of a run, and how a person is told. */

/** A line of events.py. */
export interface TestEvent {
  readonly status: "started" | "passed" | "failed" | "skipped" | "said";
  readonly id: string;
  readonly seconds?: number;
  /** Of a skip. */
  readonly reason?: string;
  /** Of a failure: its traceback. */
  readonly error?: string;
  /** Of a failure: all that was recorded. */
  readonly details?: string;
}

/** Tests that are not run, and why. */
export interface Exclusion {
  readonly pattern: RegExp;
  readonly reason: string;
}

export interface Skipped {
  readonly test: string;
  readonly reason: string;
}

export interface Failed {
  readonly test: string;
  readonly error: string;
}

export interface Outcome {
  readonly passed: readonly string[];
  readonly failed: readonly Failed[];
  readonly skipped: readonly Skipped[];
}

/**
 * exclude.txt: blocks of comment lines, which are the reason, and of regular expressions; a block without any is a comment.
 * @throws Error where one has no reason.
 */
export function exclusions(text: string): Exclusion[] {
  let reason: string[] = [];
  let before = "";
  const found: Exclusion[] = [];
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.trim();
    if (line === "" || (line.startsWith("#") && before !== "" && !before.startsWith("#")))
      reason = [];
    if (line.startsWith("#")) reason.push(line.replace(/^#\s*/, ""));
    else if (line !== "") {
      if (reason.join("").trim() === "") {
        throw new Error(
          `exclude.txt line ${i + 1}: wanted the reason in comment lines above it, found none; write why ${line} is not run`,
        );
      }
      found.push({ pattern: new RegExp(line), reason: reason.join(" ") });
    }
    before = line;
  }
  return found;
}

/** Part the tests that are run from those that are not. */
export function withoutExcluded(
  tests: readonly string[],
  excluded: readonly Exclusion[],
): { run: string[]; skipped: Skipped[] } {
  const reasonFor = (test: string): string | undefined =>
    excluded.find(({ pattern }) => pattern.test(test))?.reason;
  return {
    run: tests.filter((test) => reasonFor(test) === undefined),
    skipped: tests.flatMap((test) => {
      const reason = reasonFor(test);
      return reason === undefined ? [] : [{ test, reason }];
    }),
  };
}

/** A test without its tags: what `npm run verify -- NAME` takes. */
export function nameOf(test: string): string {
  return test.replace(/\[.*\]$/, "");
}

/** The class of a test, or the one that setUpClass and tearDownClass name. */
export function classOf(test: string): string {
  return /^\w+Class \((.*)\)$/.exec(test)?.[1] ?? nameOf(test).replace(/\.[^.]*$/, "");
}

/**
 * The account of a run: every selected test is in it once. A class that is skipped, or fails, as a whole tells so once, for
 * all of its tests that have no word of their own. What was selected and never heard of has failed, and so has a skip
 * without a reason.
 */
export function outcome(selected: readonly string[], events: readonly TestEvent[]): Outcome {
  const ends = new Map(
    events
      .filter(({ status }) => status !== "started" && status !== "said")
      .map((event) => [event.id, event]),
  );
  const passed: string[] = [];
  const failed: Failed[] = [];
  const skipped: Skipped[] = [];
  for (const test of selected) {
    const event = ends.get(test) ?? ends.get(`setUpClass (${classOf(test)})`);
    if (event?.status === "passed") passed.push(nameOf(test));
    else if (event?.status === "skipped" && event.reason !== undefined && event.reason !== "") {
      skipped.push({ test, reason: event.reason });
    } else failed.push({ test: nameOf(test), error: errorOf(event) });
  }
  // A class's end, or a worker's: no test's own, and yet something is wrong.
  const known = new Set(selected);
  for (const [id, event] of ends) {
    if (event.status === "failed" && !known.has(id) && !id.startsWith("setUpClass ")) {
      failed.push({ test: id, error: errorOf(event) });
    }
  }
  return { passed, failed, skipped };
}

/** Characters of an error in the report; all of it is in the log. */
const LONGEST_ERROR = 400;

function errorOf(event: TestEvent | undefined): string {
  if (!event) return "wanted a result, found none: the run ended before it";
  if (event.status === "skipped") return "skipped, without a reason";
  const lines = (event.error ?? "").split("\n").filter((line) => line.trim() !== "");
  // What was raised, and what it says below that.
  const at = lines.findLastIndex((line) =>
    /^(?!Details)(?:[a-z_]\w*\.)*[A-Z]\w+(?::|$)/.test(line.trim()),
  );
  return (at < 0 ? "failed" : lines.slice(at).join(" ").replace(/\s+/g, " ")).slice(
    0,
    LONGEST_ERROR,
  );
}

/** A reason as others give it too: without the name of its class. */
export function commonReason({ test, reason }: Skipped): string {
  const name = classOf(test).split(".").pop() ?? "";
  return reason.replace(new RegExp(`^${name} skipped as `), "");
}

/** How a run ended, for a person; the last line counts. */
export function report({ passed, failed, skipped }: Outcome): string {
  const lines: string[] = [];
  if (skipped.length > 0) {
    lines.push("Skipped:");
    for (const [reason, tests] of grouped(skipped, commonReason)) {
      lines.push(`  ${reason} (${tests.length})`);
      for (const [name, inClass] of grouped(tests, ({ test }) => classOf(test))) {
        const [only] = inClass;
        lines.push(
          `    ${inClass.length === 1 && only ? nameOf(only.test) : `${name} (${inClass.length} tests)`}`,
        );
      }
    }
    lines.push("");
  }
  if (failed.length > 0) {
    lines.push("Failed:");
    for (const [error, tests] of grouped(failed, (each) => each.error)) {
      lines.push(`  ${error}`, ...tests.map(({ test }) => `    ${test}`));
    }
    lines.push("");
  }
  lines.push(`${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
  return lines.join("\n");
}

/** By key, the largest group first. */
function grouped<T>(items: readonly T[], key: (item: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return [...groups].sort(([a, x], [b, y]) => y.length - x.length || (a < b ? -1 : 1));
}
