import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import type {
  RegisterResourceOutputsRequest,
  RegisterResourceRequest,
} from "@pulumi/pulumi/proto/resource_pb";
import { MockMonitor, type MockResourceArgs } from "@pulumi/pulumi/runtime/mocks";
import * as runtimeSettings from "@pulumi/pulumi/runtime/settings";
import { RUNNER, type StepDocument, withoutSudo } from "../../../components/document";
import { parsedCloud, project, type Options } from "../../fixtures/config/fixtures";

/**
 * The plan of a configuration: index.ts itself, run against a monitor that records all that Pulumi's engine would be
 * told, options of resources included (the mocks of the SDK show inputs alone).
 *
 * Mocks are global to the process, so tests make plans one after the other: `test.serial`, or one plan for a file.
 */

/** Long enough to be accepted; no cloud has it. */
export const SEED = "Zq8mT1vXw5LkR7yPn3Ds9HbJc2FgA6uE0iOxYtKa";

/** A resource as it is registered. Other resources are given by name. */
export interface Registered {
  readonly type: string;
  readonly name: string;
  readonly custom: boolean;
  readonly parent: string | undefined;
  /** As the engine gets them: secrets are wrapped, unknown values are a text of their own. */
  readonly inputs: Readonly<Record<string, unknown>>;
  readonly dependsOn: readonly string[];
  readonly deletedWith: string | undefined;
  readonly provider: string | undefined;
  readonly timeouts: Readonly<Record<"create" | "update" | "delete", string>>;
  readonly errorHooks: readonly string[];
  /** All other hooks. */
  readonly lifecycleHooks: readonly string[];
  readonly secretOutputs: readonly string[];
  readonly replaceOnChanges: readonly string[];
  readonly deleteBeforeReplace: boolean;
  readonly ignoreChanges: readonly string[];
  readonly protect: boolean;
  readonly replacementTrigger: unknown;
}

export interface Planned {
  readonly resources: readonly Registered[];
  /** The stack's, as the engine gets them. */
  readonly outputs: Readonly<Record<string, unknown>>;
  /** The resource of that name, which there is. */
  named(name: string): Registered;
}

export interface PlanOptions {
  readonly stack?: string;
  /** Default true. Without a seed only a preview is possible. */
  readonly seed?: boolean;
  /** Default false. */
  readonly preview?: boolean;
}

/** Plans a configuration given as in a stack file, options by bare name. */
export async function planOf(options: Options, settings: PlanOptions = {}): Promise<Planned> {
  const { stack = "dev", seed = true, preview = false } = settings;
  // A mistake is the test's own, and inside of the program it would be an unhandled rejection.
  parsedCloud(options, stack);
  const resources: Registered[] = [];
  let outputs: Record<string, unknown> = {};
  const config: Record<string, string> = {};
  for (const [name, value] of Object.entries(seed ? { ...options, seed: SEED } : options)) {
    config[`${project}:${name}`] = typeof value === "string" ? value : JSON.stringify(value);
  }

  // Features first, then our own monitor in place of the SDK's.
  await pulumi.runtime.setMocks(mocks(preview), project, stack, preview);
  runtimeSettings.setMockOptions(
    new Recorder(mocks(preview), {
      resource: (resource) => resources.push(resource),
      outputs: (values) => {
        outputs = values;
      },
    }),
    project,
    stack,
    preview,
  );
  pulumi.runtime.setAllConfig(config, [`${project}:seed`, `${project}:secrets`]);

  // The program is its module's body: it runs again only if it is loaded again.
  const program = path.join(__dirname, "../../../index.ts");
  Reflect.deleteProperty(require.cache, program);
  // The SDK takes a stack trace of every promise and resource it makes, which is most of a plan's time.
  const { stackTraceLimit } = Error;
  const sdk = pulumi.Resource as unknown as { callsites: () => unknown[] };
  const { callsites } = sdk;
  Error.stackTraceLimit = 0;
  sdk.callsites = () => [];
  try {
    await pulumi.runtime.runInPulumiStack(async () => {
      // `import` would not go by require.cache.
      // eslint-disable-next-line @typescript-eslint/no-require-imports
      const outputs: unknown = require(program);
      return Promise.resolve(outputs);
    });
    await drain();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    sdk.callsites = callsites;
  }

  const byName = new Map(resources.map((resource) => [resource.name, resource]));
  return {
    resources,
    outputs,
    named(name) {
      const found = byName.get(name);
      if (found === undefined) throw new Error(`there is no resource ${name} in the plan`);
      return found;
    },
  };
}

/** Until all resources are registered. The SDK has it, but does not declare it. */
function drain(): Promise<void> {
  return (runtimeSettings as unknown as { waitForRPCs(): Promise<void> }).waitForRPCs();
}

/** What a provider would answer: the inputs and an id, or, in a preview, nothing yet. */
function mocks(preview: boolean): pulumi.runtime.Mocks {
  return {
    newResource: ({ name, inputs, custom }: MockResourceArgs) =>
      preview && custom
        ? { id: undefined, state: {} }
        : {
            id: `${name}-id`,
            state: { ...(inputs as Record<string, unknown>), stdout: answerOf(name) },
          },
    call: () => ({}),
  };
}

/** What a step's host would answer. */
function answerOf(name: string): string {
  return name.startsWith("keystone-verify-") ? "unchanged\nadmin a1\nservice 5e" : "unchanged";
}

type Callback = (error: unknown, response: unknown) => void;

class Recorder extends MockMonitor {
  constructor(
    mocks: pulumi.runtime.Mocks,
    private readonly record: {
      resource: (resource: Registered) => void;
      outputs: (values: Record<string, unknown>) => void;
    },
  ) {
    super(mocks);
  }

  override registerResource(request: RegisterResourceRequest, callback: Callback): Promise<void> {
    const hooks = request.getHooks();
    const timeouts = request.getCustomtimeouts();
    this.record.resource({
      type: request.getType(),
      name: request.getName(),
      custom: request.getCustom(),
      parent: nameOf(request.getParent()),
      inputs: request.getObject()?.toJavaScript() ?? {},
      dependsOn: request
        .getDependenciesList()
        .map((urn) => nameOf(urn)!)
        .sort(),
      deletedWith: nameOf(request.getDeletedwith()),
      // urn::id
      provider: nameOf(request.getProvider().split("::").slice(0, -1).join("::")),
      timeouts: {
        create: timeouts?.getCreate() ?? "",
        update: timeouts?.getUpdate() ?? "",
        delete: timeouts?.getDelete() ?? "",
      },
      errorHooks: hooks?.getOnErrorList() ?? [],
      lifecycleHooks: hooks
        ? [
            ...hooks.getBeforeCreateList(),
            ...hooks.getAfterCreateList(),
            ...hooks.getBeforeUpdateList(),
            ...hooks.getAfterUpdateList(),
            ...hooks.getBeforeDeleteList(),
            ...hooks.getAfterDeleteList(),
          ]
        : [],
      secretOutputs: request.getAdditionalsecretoutputsList(),
      replaceOnChanges: request.getReplaceonchangesList(),
      deleteBeforeReplace: request.getDeletebeforereplace(),
      ignoreChanges: request.getIgnorechangesList(),
      protect: request.getProtect() ?? false,
      replacementTrigger: request.getReplacementTrigger()?.toJavaScript(),
    });
    return super.registerResource(request, callback);
  }

  /** The SDK's monitor does not know hooks. */
  registerErrorHook(_request: unknown, callback: Callback): void {
    callback(null, {});
  }

  registerResourceHook(_request: unknown, callback: Callback): void {
    callback(null, {});
  }

  override registerResourceOutputs(
    request: RegisterResourceOutputsRequest,
    callback: Callback,
  ): void {
    // Those of components are empty.
    if (request.getUrn().split("::")[2] === "pulumi:pulumi:Stack") {
      this.record.outputs(request.getOutputs()?.toJavaScript() ?? {});
    }
    super.registerResourceOutputs(request, callback);
  }
}

function nameOf(urn: string): string | undefined {
  return urn === "" ? undefined : urn.split("::").at(-1);
}

// ---- Values as the engine gets them ---------------------------------------------------------------------------

const SECRET_MARK = "4dabf18193072939515e22adb298388d";
const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

export interface Value {
  /** Without wrappers at any depth. */
  readonly value: unknown;
  /** It, or a part of it, is secret. */
  readonly secret: boolean;
  /** It, or a part of it, is not known yet. */
  readonly unknown: boolean;
}

/** What is in an input, and how it is marked. */
export function inspect(input: unknown): Value {
  if (input === UNKNOWN) return { value: undefined, secret: false, unknown: true };
  if (Array.isArray(input)) {
    const items = input.map(inspect);
    return { value: items.map((item) => item.value), ...marks(items) };
  }
  if (typeof input !== "object" || input === null) {
    return { value: input, secret: false, unknown: false };
  }
  if (SECRET_MARK in input && "value" in input) return { ...inspect(input.value), secret: true };
  const entries = Object.entries(input).map(([key, value]) => [key, inspect(value)] as const);
  return {
    value: Object.fromEntries(entries.map(([key, { value }]) => [key, value])),
    ...marks(entries.map(([, value]) => value)),
  };
}

function marks(values: readonly Value[]): Omit<Value, "value"> {
  return {
    secret: values.some((value) => value.secret),
    unknown: values.some((value) => value.unknown),
  };
}

/** Every text in a value, at any depth, with what is inside of secrets left out. */
export function plainTexts(input: unknown): string[] {
  if (typeof input === "string") return input === UNKNOWN ? [] : [input];
  if (typeof input !== "object" || input === null || SECRET_MARK in input) return [];
  return Object.values(input).flatMap(plainTexts);
}

// ---- Steps ----------------------------------------------------------------------------------------------------

/** This program always says how long a step may take. */
export type Document = StepDocument & { readonly step: { readonly timeout: number } };

export interface PlannedStep {
  readonly resource: Registered;
  /** The text on the step's standard input. */
  readonly stdin: string;
  readonly document: Document;
}

const stepsOfPlans = new WeakMap<Planned, readonly PlannedStep[]>();

/** Every resource that is a document for a host's runner; not those that bring the runner and the secrets. */
export function stepsOf(plan: Planned): readonly PlannedStep[] {
  const steps = stepsOfPlans.get(plan) ?? readSteps(plan);
  stepsOfPlans.set(plan, steps);
  return steps;
}

function readSteps(plan: Planned): PlannedStep[] {
  return plan.resources
    .filter(
      ({ type, inputs }) =>
        type === "command:remote:Command" && withoutSudo(inspect(inputs.create).value) === RUNNER,
    )
    .map((resource) => {
      const stdin = inspect(resource.inputs.stdin).value as string;
      return { resource, stdin, document: JSON.parse(stdin) as Document };
    });
}
