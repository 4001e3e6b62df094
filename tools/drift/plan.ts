import { nameOf } from "../report/plan";
import type { StateResource } from "../stack";
import type { Finding } from "./scan";
import type { PlannedStep } from "./steps";

/** What a repair does: which steps run again, in which order, and why. */

export interface Repair {
  /** Of a step, or of a resource in the cloud's API. */
  readonly name: string;
  readonly urn: string;
  readonly why: string;
}

export interface RepairPlan {
  /** In the order in which one waits for the other. */
  readonly steps: readonly Repair[];
  /** In the cloud's API; after the steps. */
  readonly resources: readonly Repair[];
  /** Drifted, and not to be mended by running its step: it only waits until its service is well. */
  readonly left: readonly string[];
}

/** A step that only says that something does not work has nothing to do; what it waits for is another step's to mend. */
export function isMendable({ kind }: Finding): boolean {
  return kind !== "health" && kind !== "error";
}

/** Something differs that no waiting will mend. */
export function isSettled(findings: readonly Finding[]): boolean {
  return findings.some(isMendable);
}

/**
 * @param names What to repair; all that has drifted, if there are none.
 * @throws Error for a name that has not drifted.
 */
export function repairPlan(
  resources: readonly StateResource[],
  steps: readonly PlannedStep[],
  findings: readonly Finding[],
  names: readonly string[] = [],
): RepairPlan {
  const drifted = new Set(findings.map((finding) => finding.step));
  const unknown = names.filter((name) => !drifted.has(name));
  if (unknown.length) {
    throw new Error(
      `wanted names of what has drifted, found ${unknown.join(", ")}; ${
        drifted.size ? `these have: ${[...drifted].join(", ")}` : "nothing has"
      }`,
    );
  }
  // What can be mended comes first, so that it is the reason.
  const reasons = [...findings].sort((a, b) => Number(isMendable(b)) - Number(isMendable(a)));
  const mendable = new Map<string, string>();
  for (const finding of reasons) {
    const chosen = names.length ? names.includes(finding.step) : isMendable(finding);
    if (chosen && !mendable.has(finding.step)) mendable.set(finding.step, summary(finding));
  }
  const known = new Set(steps.map((step) => step.name));
  // A daemon goes on with the version that it was started with.
  for (const name of [...mendable.keys()]) {
    const start = name.replace(/-install-/, "-start-");
    if (start !== name && known.has(start) && !mendable.has(start))
      mendable.set(start, `what ${name} installs is started anew`);
  }
  const anew = findings.filter((finding) => finding.anew && mendable.has(finding.step));
  for (const [name, why] of anew.flatMap(({ step }) => followers(resources, step)))
    if (!mendable.has(name)) mendable.set(name, why);
  // The engine's order: what depends on another comes after it.
  const ordered = resources.flatMap(({ urn }): Repair[] => {
    const name = nameOf(urn);
    const why = mendable.get(name);
    return why === undefined ? [] : [{ name, urn, why }];
  });
  return {
    steps: ordered.filter(({ name }) => known.has(name)),
    resources: ordered.filter(({ name }) => !known.has(name)),
    left: [...drifted].filter((name) => !mendable.has(name)),
  };
}

/** What names something by an identity that it will not have any more, and so on. */
function followers(resources: readonly StateResource[], first: string): [string, string][] {
  const found = new Map<string, string>();
  // A state has what others depend on before them: one pass finds all.
  for (const { urn, type, propertyDependencies } of resources) {
    const name = nameOf(urn);
    if (name === first || !type.startsWith("openstack:")) continue;
    const named = Object.values(propertyDependencies ?? {})
      .flatMap((urns) => urns ?? [])
      .map(nameOf)
      .find((each) => each === first || found.has(each));
    if (named) found.set(name, `names ${named}, which is made anew`);
  }
  return [...found];
}

/** A finding in a few words. */
export function summary({ kind, what, found }: Finding): string {
  switch (kind) {
    case "file":
    case "directory":
      return found.includes("\n")
        ? `${what} was edited (${changedLines(found)})`
        : `${what}: ${found}`;
    case "state":
      return `to mend: ${found}`;
    case "health":
      return found;
    case "error":
      return `cannot be checked: ${found}`;
    default:
      return `${what}: ${found}`;
  }
}

/** `-1 +2` of a unified diff: the plan's lines that are missing on the host, and the host's own. */
function changedLines(diff: string): string {
  const body = diff.split("\n").slice(2);
  const count = (sign: string): number => body.filter((line) => line.startsWith(sign)).length;
  return `+${count("-")} -${count("+")} lines`;
}
