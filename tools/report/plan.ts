import type { StepDocument } from "../../components/document";

/** What `pulumi preview --json --show-sames` says, as far as the report needs it. */

export interface Plan {
  readonly steps: readonly PlanStep[];
  readonly diagnostics?: readonly Diagnostic[];
  readonly changeSummary?: Readonly<Record<string, number>>;
}

export interface Diagnostic {
  readonly severity: string;
  readonly message: string;
  readonly urn?: string;
}

export interface PlanStep {
  /** As the engine names it: `same`, `create`, `update`, `delete`, `replace`, `create-replacement` … */
  readonly op: string;
  readonly urn: string;
  readonly oldState?: ResourceState;
  readonly newState?: ResourceState;
  /** Top-level inputs that differ. */
  readonly diffReasons?: readonly string[] | null;
  /** Those of them that cannot be changed in place. */
  readonly replaceReasons?: readonly string[] | null;
  readonly detailedDiff?: Readonly<Record<string, unknown>> | null;
}

export interface ResourceState {
  readonly urn: string;
  readonly type: string;
  readonly custom?: boolean;
  readonly id?: string;
  readonly inputs?: Inputs;
  readonly outputs?: Inputs;
  readonly parent?: string;
  readonly provider?: string;
  readonly dependencies?: readonly string[];
  readonly propertyDependencies?: Readonly<Record<string, readonly string[]>>;
  readonly deletedWith?: string;
  readonly protect?: boolean;
  /** Seconds. */
  readonly customTimeouts?: {
    readonly create?: number;
    readonly delete?: number;
    readonly update?: number;
  };
  readonly replacementTrigger?: unknown;
}

export type Inputs = Readonly<Record<string, unknown>>;

/** The engine's word for a value that is known only when something else was made. */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
/** Its word for a secret in what it shows. */
export const BLINDED = "[secret]";

/** Ops that change nothing. Whatever else the engine says is a change, also what this program has never heard of. */
export const QUIET: ReadonlySet<string> = new Set(["same", "read", "refresh"]);

/** @throws Error that says what was wanted, if the text is no plan. */
export function parsePlan(text: string, source: string): Plan {
  let plan: unknown;
  try {
    plan = JSON.parse(text);
  } catch {
    plan = undefined;
  }
  if (typeof plan !== "object" || plan === null || !Array.isArray((plan as Plan).steps)) {
    throw new Error(
      `${source}: wanted the JSON of a preview, found something else; make it with: pulumi preview --json --show-sames`,
    );
  }
  return plan as Plan;
}

/** The last part of a URN. */
export function nameOf(urn: string): string {
  return urn.split("::").at(-1) ?? urn;
}

/** The document of a resource that is a step; undefined of any other. */
export function documentOf(state: ResourceState | undefined): StepDocument | undefined {
  const text = state?.inputs?.stdin;
  if (typeof text !== "string" || !text.startsWith("{")) return undefined;
  try {
    const document = JSON.parse(text) as Partial<StepDocument>;
    return typeof document.step?.service === "string" ? (document as StepDocument) : undefined;
  } catch {
    return undefined;
  }
}
