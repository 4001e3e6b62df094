import type { Cloud } from "../../config";
import { Plan as Judged, type Resource } from "../../policy/plan";
import { type Rule, violations } from "../../policy/rule";
import { RULES } from "../../policy/rules";
import { BLINDED, nameOf, type Plan, type ResourceState, UNKNOWN } from "./plan";

/** What the rules of policy/ say of a plan: pulumi's JSON of a preview has no word of theirs. */

export interface Verdict {
  /** How many rules were asked. */
  readonly rules: number;
  /** Mandatory ones first. */
  readonly broken: readonly Broken[];
}

export interface Broken {
  readonly rule: string;
  readonly severity: Rule["severity"];
  /** One line. */
  readonly message: string;
}

const STACK = "pulumi:pulumi:Stack";

/** @param hosts For what shares its fate: no resource has it, and a plan in JSON has no outputs. */
export function verdictOn(
  { steps }: Plan,
  hosts: readonly Pick<Cloud["hosts"][number], "name" | "failureDomain">[] = [],
): Verdict {
  const domains = Object.fromEntries(
    hosts.map(({ name, failureDomain }) => [name, { failureDomain }]),
  );
  const resources = steps.flatMap(({ newState, op }) =>
    newState === undefined || op.startsWith("delete") || op === "discard"
      ? []
      : [resource(newState, newState.type === STACK ? { hosts: domains } : newState.inputs)],
  );
  const plan = new Judged(unique(resources));
  const broken = RULES.flatMap((rule) =>
    violations(rule, plan).map(({ message }) => ({
      rule: rule.name,
      severity: rule.severity,
      message,
    })),
  );
  const weight = ({ severity }: Broken): number => (severity === "mandatory" ? 0 : 1);
  return { rules: RULES.length, broken: broken.sort((a, b) => weight(a) - weight(b)) };
}

/** What is replaced has a step for each of its halves. */
function unique(resources: readonly Resource[]): Resource[] {
  return [...new Map(resources.map((each) => [each.urn, each])).values()];
}

function resource(state: ResourceState, props: unknown): Resource {
  const { customTimeouts: { create = 0, delete: gone = 0, update = 0 } = {} } = state;
  return {
    name: nameOf(state.urn),
    type: state.type,
    urn: state.urn,
    props: (known(props) ?? {}) as Resource["props"],
    protect: state.protect ?? false,
    seconds: { create, delete: gone, update },
  };
}

/** A copy without what is not known, or not shown: the rules do not judge that. */
function known(value: unknown): unknown {
  if (value === UNKNOWN || value === BLINDED) return undefined;
  if (typeof value !== "object" || value === null) return value;
  return Array.isArray(value)
    ? value.map(known)
    : Object.fromEntries(Object.entries(value).map(([key, each]) => [key, known(each)]));
}
