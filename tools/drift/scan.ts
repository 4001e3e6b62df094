import { type CheckResult, type Difference, isRunnerFailure } from "../hosts";
import type { PlannedStep } from "./steps";

/** Asking the hosts, and what they say. */

export interface Finding {
  /** `cloud` for what is in the cloud's API. */
  readonly host: string;
  readonly step: string;
  /** Besides those of hosts: another answer than the program went on with, or a resource of the cloud's API. */
  readonly kind: Difference["kind"] | "answer" | "resource";
  /** A path, a service, a property. */
  readonly what: string;
  readonly found: string;
  /** To mend it gives it another identity: what names it has to follow. */
  readonly anew?: true;
}

export interface HostScan {
  readonly host: string;
  readonly steps: number;
  readonly findings: readonly Finding[];
  /** Why the host, or a part of its steps, was not asked. */
  readonly error?: string;
  readonly seconds: number;
}

export type Ask = (host: string, documents: readonly unknown[]) => Promise<CheckResult[]>;

/**
 * Every step of one host. Where a service's health is in question it is asked once more, alone: a check that was slow
 * because of all the others is no drift.
 */
export async function scanHost(
  host: string,
  steps: readonly PlannedStep[],
  ask: Ask,
): Promise<HostScan> {
  const started = Date.now();
  const end = (rest: Pick<HostScan, "findings" | "error">): HostScan => ({
    host,
    steps: steps.length,
    seconds: (Date.now() - started) / 1000,
    ...rest,
  });
  const look = async (at: readonly PlannedStep[]): Promise<Map<string, Finding[]>> => {
    const results = await ask(
      host,
      at.map((step) => step.document),
    );
    return new Map(at.map((step, i) => [step.name, findingsOf(step, results[i])]));
  };
  try {
    const found = await look(steps);
    const doubtful = steps.filter((step) => found.get(step.name)?.some(isDoubtful));
    const again = doubtful.length ? await look(doubtful) : new Map<string, Finding[]>();
    return end({ findings: [...found].flatMap(([name, all]) => again.get(name) ?? all) });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const runner = steps.find((step) => step.name === `base-runner-${host}`);
    if (!runner || !isRunnerFailure(error)) return end({ findings: [], error: message });
    const broken: Finding = {
      host,
      step: runner.name,
      kind: "state",
      what: "runner",
      found: `it does not answer: ${message}`,
    };
    return end({
      findings: [broken],
      error: "its other steps were not asked: the runner is broken",
    });
  }
}

function isDoubtful({ kind }: Finding): boolean {
  return kind === "health" || kind === "error" || kind === "answer";
}

/** What a host said of a step, and what it did not say any more. */
export function findingsOf(step: PlannedStep, result: CheckResult | undefined): Finding[] {
  const at = { host: step.host, step: step.name };
  if (!result)
    return [{ ...at, kind: "error", what: step.name, found: "the host did not answer for it" }];
  const lost = step.answers.filter((answer) => answer && !result.facts.includes(answer));
  return [
    ...result.differences.map((difference): Finding => ({ ...at, ...difference })),
    ...lost.map((answer): Finding => {
      const what = answer.split(" ", 1)[0] ?? answer;
      const now = result.facts.find((fact) => fact.startsWith(`${what} `));
      // Who answers nothing is asked through something that does not work.
      const found = `was ${answer}, found ${now ?? "no answer"}`;
      return now
        ? { ...at, kind: "answer", what, found, anew: true }
        : { ...at, kind: "health", what, found };
    }),
  ];
}

/** All hosts at once, so many at a time that this machine keeps up. */
export async function scanHosts(
  steps: readonly PlannedStep[],
  ask: Ask,
  done: (scan: HostScan) => void,
  most = 64,
): Promise<HostScan[]> {
  const names = [...new Set(steps.map((step) => step.host))];
  const hosts = [...names];
  const scans: HostScan[] = [];
  const work = async (): Promise<void> => {
    for (let host = hosts.shift(); host !== undefined; host = hosts.shift()) {
      const own = steps.filter((step) => step.host === host);
      const scan = await scanHost(host, own, ask);
      scans.push(scan);
      done(scan);
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, hosts.length) }, work));
  return scans.sort((a, b) => names.indexOf(a.host) - names.indexOf(b.host));
}
