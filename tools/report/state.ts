import { createHash } from "node:crypto";
import { BLINDED, type Inputs, nameOf, type Plan, type ResourceState, UNKNOWN } from "./plan";

/**
 * The state that an `up` of a plan would leave, made from the plan alone: every resource is there with the inputs that the
 * plan gives it. So the engine can compare another plan with it, and no host and no cloud is needed. Pure.
 */

/** Of `pulumi preview --save-plan --show-secrets`: inputs with their secrets, which `--json` does not show. */
export interface SavedPlan {
  readonly resourcePlans: Readonly<
    Record<
      string,
      { readonly goal: { readonly type: string; readonly inputDiff?: { readonly adds?: Inputs } } }
    >
  >;
}

export interface Deployment {
  readonly version: 3;
  readonly deployment: {
    readonly manifest: { readonly time: string; readonly magic: string; readonly version: string };
    readonly secrets_providers: {
      readonly type: "passphrase";
      readonly state: { readonly salt: string };
    };
    readonly resources: readonly ResourceState[];
  };
}

/** What a step's host would answer, where the program reads it. */
const ANSWERS: readonly (readonly [step: RegExp, answer: string])[] = [
  [/^keystone-verify-/, "unchanged\nadmin role-admin\nservice role-service"],
];

/** @param salt What the passphrase of the stack goes with: `encryptionsalt` of its file. */
export function deploymentOf(resources: readonly ResourceState[], salt: string): Deployment {
  return {
    version: 3,
    deployment: {
      manifest: { time: "2020-01-01T00:00:00Z", magic: "", version: "" },
      secrets_providers: { type: "passphrase", state: { salt } },
      resources,
    },
  };
}

/** What a preview of an empty stack would leave. */
export function resourcesOf(plan: Plan, saved: SavedPlan): ResourceState[] {
  const inputsOf = (urn: string): Inputs => saved.resourcePlans[urn]?.goal.inputDiff?.adds ?? {};
  // The plan does not show the providers that nobody has declared.
  const shown = new Set(plan.steps.map(({ urn }) => urn));
  const providers = Object.entries(saved.resourcePlans)
    .filter(([urn]) => isProvider(urn) && !shown.has(urn))
    .map(([urn, { goal }]) => made({ urn, type: goal.type, custom: true }, inputsOf(urn)));
  const steps = plan.steps.flatMap(({ newState, urn }) =>
    newState ? [made(newState, inputsOf(urn))] : [],
  );
  return [...providers, ...steps];
}

/**
 * The same, with the inputs that have become known since, now that what they come from has its id, and with what their
 * provider would add to them.
 */
export function settled(resources: readonly ResourceState[], plan: Plan): ResourceState[] {
  const planned = new Map(plan.steps.map((step) => [step.urn, step]));
  return resources.map((resource) => {
    const { newState, op } = planned.get(resource.urn) ?? {};
    if (op === "same" || !newState?.inputs) return resource;
    const inputs = withSecrets(newState.inputs, resource.inputs ?? {}) as Inputs;
    const outputs = withSecrets(newState.outputs ?? {}, resource.outputs ?? {}) as Inputs;
    return made(newState, inputs, outputs);
  });
}

function made(state: ResourceState, inputs: Inputs, outputs: Inputs = {}): ResourceState {
  const { urn, type, custom, parent, dependencies, propertyDependencies, deletedWith } = state;
  // A host that begins anew shows by nothing else.
  const { replacementTrigger } = state;
  const provider = state.provider ? providerReference(state.provider) : undefined;
  const rest = {
    urn,
    type,
    custom,
    parent,
    provider,
    dependencies,
    propertyDependencies,
    deletedWith,
    replacementTrigger,
  };
  const present = Object.fromEntries(
    Object.entries(rest).filter(([, value]) => value !== undefined),
  );
  const known = placeholders(inputs) as Inputs;
  return {
    ...(present as unknown as ResourceState),
    inputs: known,
    ...(custom ? { id: idOf(urn), outputs: outputsOf(urn, type, known, outputs) } : {}),
  };
}

function outputsOf(urn: string, type: string, inputs: Inputs, outputs: Inputs): Inputs {
  if (isProvider(urn)) {
    return Object.fromEntries(Object.entries(inputs).filter(([name]) => name !== "__internal"));
  }
  if (!type.startsWith("command:")) {
    return { ...inputs, ...ADDED[type], ...(computed(outputs) as Inputs), id: idOf(urn) };
  }
  const answer = ANSWERS.find(([step]) => step.test(nameOf(urn)))?.[1] ?? "unchanged";
  return { ...inputs, stdout: answer, stderr: "" };
}

/** What a provider computes and is no text, by name: any value of its kind will do. `0` is text, number and boolean. */
const COMPUTED: Inputs = { allTags: [], availabilityZoneHints: [] };

/** What a provider adds to a resource without that the plan says so: without it there would be an update. */
const ADDED: Readonly<Record<string, Inputs>> = {
  "openstack:compute/flavor:Flavor": { extraSpecs: {} },
  "openstack:images/image:Image": { metadata: {} },
  "openstack:networking/subnet:Subnet": { allTags: [], serviceTypes: [] },
};

function computed(value: unknown, name = ""): unknown {
  if (value === UNKNOWN) return COMPUTED[name] ?? "0";
  if (Array.isArray(value)) return value.map((each) => computed(each));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, each]) => each !== null)
      .map(([key, each]) => [key, computed(each, key)]),
  );
}

const isProvider = (urn: string): boolean => urn.includes("pulumi:providers:");

/** Always the same for the same resource. */
function idOf(urn: string): string {
  const hex = createHash("sha256").update(urn).digest("hex");
  // The engine takes no other form of a provider's.
  return isProvider(urn)
    ? [
        hex.slice(0, 8),
        hex.slice(8, 12),
        `8${hex.slice(13, 16)}`,
        `8${hex.slice(17, 20)}`,
        hex.slice(20, 32),
      ].join("-")
    : `${nameOf(urn)}-${hex.slice(0, 8)}`;
}

/** URN::id */
function providerReference(reference: string): string {
  const urn = reference.split("::").slice(0, -1).join("::");
  return `${urn}::${idOf(urn)}`;
}

/** A state has no unknown values. */
function placeholders(value: unknown): unknown {
  if (value === UNKNOWN) return "unknown";
  if (Array.isArray(value)) return value.map(placeholders);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, placeholders(each)]));
}

/** What the engine has blinded is as it was. */
function withSecrets(value: unknown, former: unknown): unknown {
  if (value === BLINDED) return former;
  if (Array.isArray(value)) {
    return value.map((each, i) => withSecrets(each, Array.isArray(former) ? former[i] : undefined));
  }
  if (typeof value !== "object" || value === null) return value;
  const old = (former ?? {}) as Inputs;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, withSecrets(each, old[key])]),
  );
}
