import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as automation from "@pulumi/pulumi/automation";
import type { EngineEvent, PulumiFn, Stack } from "@pulumi/pulumi/automation";
import { environment } from "./toolchain";

export interface Message {
  /** The name of the resource it is about, empty for none. */
  resource: string;
  severity: string;
  text: string;
  /** Shown only until the next one comes. */
  ephemeral: boolean;
}

export interface Outcome {
  /** What was done to each resource, in order, by its name. */
  operations: Record<string, string[]>;
  messages: Message[];
  outputs: Record<string, unknown>;
  /** The text of the failure, or undefined. */
  error: string | undefined;
  milliseconds: number;
}

/** The messages about a resource, as one text, without escape sequences. */
export function saying(outcome: Outcome, resource: string, severity?: string): string {
  return outcome.messages
    .filter((m) => m.resource === resource && (severity ?? m.severity) === m.severity)
    .map((m) => m.text)
    .join("");
}

const nameOf = (urn: string | undefined): string => urn?.split("::").at(-1) ?? "";

// Programs mark up their messages for colours.
const plain = (text: string): string => text.replace(/<\{%.*?%\}>/g, "");

interface Checkpoint {
  resources?: { urn: string; type: string }[];
}

interface Options {
  continueOnError?: boolean;
}

/** A stack with a file backend of its own, driven by the real engine with programs that are functions of the test. */
export class Session {
  private program: PulumiFn = () => Promise.resolve();

  private constructor(
    readonly stack: Stack,
    private readonly state: string,
  ) {}

  static async open(folder: string, name: string): Promise<Session> {
    const workDir = join(folder, `work-${name}`);
    const state = join(folder, `state-${name}`);
    for (const path of [workDir, state]) mkdirSync(path, { recursive: true });
    const holder: { session?: Session } = {};
    const stack = await automation.LocalWorkspace.createOrSelectStack(
      {
        projectName: "contract",
        stackName: name,
        program: () => holder.session!.program(),
      },
      {
        workDir,
        envVars: {
          ...environment,
          PULUMI_BACKEND_URL: `file://${state}`,
          PULUMI_CONFIG_PASSPHRASE: "contract",
        },
      },
    );
    holder.session = new Session(stack, state);
    return holder.session;
  }

  up(program: PulumiFn, options: Options = {}): Promise<Outcome> {
    this.program = program;
    return observe(async (onEvent) => {
      const result = await this.stack.up({ ...options, onEvent, suppressOutputs: false });
      return Object.fromEntries(
        Object.entries(result.outputs).map(([k, v]) => [k, v.value as unknown]),
      );
    });
  }

  preview(program: PulumiFn): Promise<Outcome> {
    this.program = program;
    return observe(async (onEvent) => {
      await this.stack.preview({ onEvent });
      return {};
    });
  }

  refresh(): Promise<Outcome> {
    return observe(async (onEvent) => {
      await this.stack.refresh({ onEvent });
      return {};
    });
  }

  destroy(options: Options = {}): Promise<Outcome> {
    return observe(async (onEvent) => {
      await this.stack.destroy({ ...options, onEvent });
      return {};
    });
  }

  /** The stack as it is stored, with what is secret encrypted. */
  stored(): string {
    return readFileSync(
      join(this.state, ".pulumi/stacks/contract", `${this.stack.name}.json`),
      "utf8",
    );
  }

  /** The names of the resources in the state, but the stack itself and providers. */
  async names(): Promise<string[]> {
    const exported = await this.stack.exportStack();
    const { resources = [] } = exported.deployment as Checkpoint;
    return resources
      .filter((r) => !r.type.startsWith("pulumi:"))
      .map((r) => nameOf(r.urn))
      .sort();
  }
}

async function observe(
  run: (onEvent: (event: EngineEvent) => void) => Promise<Record<string, unknown>>,
): Promise<Outcome> {
  const outcome: Outcome = {
    operations: {},
    messages: [],
    outputs: {},
    error: undefined,
    milliseconds: 0,
  };
  const start = Date.now();
  try {
    outcome.outputs = await run((event) => {
      record(outcome, event);
    });
  } catch (error) {
    if (!(error instanceof automation.CommandError)) throw error;
    outcome.error = error.message;
  }
  outcome.milliseconds = Date.now() - start;
  return outcome;
}

function record(outcome: Outcome, event: EngineEvent): void {
  const step = event.resourcePreEvent?.metadata;
  if (step !== undefined && !step.type.startsWith("pulumi:")) {
    (outcome.operations[nameOf(step.urn)] ??= []).push(step.op);
  }
  const diagnostic = event.diagnosticEvent;
  if (diagnostic !== undefined) {
    outcome.messages.push({
      resource: nameOf(diagnostic.urn),
      severity: diagnostic.severity,
      text: plain(diagnostic.message),
      ephemeral: diagnostic.ephemeral ?? false,
    });
  }
}
