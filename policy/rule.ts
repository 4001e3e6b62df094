import type { ClusterConfiguration, FileOnHost, Plan, Resource } from "./plan";

/** A rule of a highly available cloud, as data. docs/policies.md is written from these. */
export interface Rule {
  /** Unique; also the policy's name. */
  readonly name: string;
  /** Whether a violation stops `preview` and `up`, or is only told. */
  readonly severity: "mandatory" | "advisory";
  /** What has to be so. */
  readonly demand: string;
  /** What happens where it is not so. */
  readonly reason: string;
  /** What to do about a violation. */
  readonly fix: string;
  /** Pure: what is wrong in a plan. */
  readonly find: (plan: Plan) => readonly Finding[];
}

/** One thing that is wrong. */
export interface Finding {
  /** What it is in: the resource, or the file and the place in it. */
  readonly where: string;
  /** Where the same can be wrong on several hosts, which are then named together. */
  readonly host?: string;
  readonly wanted: string;
  /** Never a secret's value. */
  readonly found: string;
  /** The resource that the engine shows it with. */
  readonly at?: Resource | undefined;
}

/** The place of what a host's step says. */
export function onHost({
  host,
  step,
}: Pick<FileOnHost | ClusterConfiguration, "host" | "step">): Pick<Finding, "host" | "at"> {
  return { host, at: step.resource };
}

/** That what is found is what is wanted. */
export function expects(
  place: Omit<Finding, "wanted" | "found">,
  wanted: string,
  found = "none",
): Finding[] {
  return found === wanted ? [] : [{ ...place, wanted, found }];
}

export interface Violation {
  /** One line. */
  readonly message: string;
  readonly urn: string | undefined;
}

/** What a rule has to say of a plan. What is wrong in the same way on several hosts is one violation. */
export function violations(rule: Rule, plan: Plan): Violation[] {
  const alike = new Map<string, Finding[]>();
  for (const finding of rule.find(plan)) {
    const key = JSON.stringify([finding.where, finding.wanted, finding.found]);
    alike.set(key, [...(alike.get(key) ?? []), finding]);
  }
  return [...alike.values()].map((findings) => {
    const { at, found, wanted, where } = findings[0]!;
    const hosts = [...new Set(findings.flatMap(({ host }) => host ?? []))];
    const on = hosts.length > 0 ? ` on ${hosts.join(", ")}` : "";
    return {
      message: `${where}${on}: wanted ${wanted}, found ${found}; ${rule.fix}`,
      urn: at?.urn,
    };
  });
}
