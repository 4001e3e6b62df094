import * as fs from "node:fs";
import * as path from "node:path";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../config";
import type { Secrets } from "../secrets";
import { asRoot, RUNNER } from "./document";
import { asRebuilt, type Host } from "./hosts/host";

/** The stages of every service, the same for all; a service leaves out what it has no need of. */
export type Stage = "install" | "configure" | "bootstrap" | "start" | "verify";

/** A file as the plan shows it: secrets stand in it as `${secret:NAME}` and are filled in on the host. */
export interface FileSpec {
  readonly content: string;
  /** Octal. Default 0644. */
  readonly mode?: string;
  /** Default root. */
  readonly owner?: string;
  /** Default root. */
  readonly group?: string;
  /** The daemon's own parser, run on the new content before it replaces the old; `{}` is its path. */
  readonly validate?: readonly string[];
  /** Written after all other files of the step, which are written in the order of their paths. */
  readonly last?: boolean;
}

export interface DirectorySpec {
  readonly mode?: string;
  readonly owner?: string;
  readonly group?: string;
  /** Remove files that the plan does not name. */
  readonly purge?: boolean;
}

export type Files = Readonly<Record<string, FileSpec>>;
export type Parameter = string | number | boolean | readonly string[];

/** What a step wants; everything but where. */
export interface StepContent {
  readonly files?: Files;
  readonly directories?: Readonly<Record<string, DirectorySpec>>;
  readonly absent?: readonly string[];
  readonly params?: Readonly<Record<string, Parameter>>;
  /** Secrets that the script reads; those that files name are added. */
  readonly secrets?: readonly string[];
  /** Path below scripts/, for what is not a file. */
  readonly script?: string;
  /** The service's check, for the script to end with; status and drift use it too. Path below scripts/. */
  readonly verify?: string | undefined;
  /** Seconds that the host gives it. Default 900 to install, 600 to bootstrap, 1200 to start, 300 for the rest. */
  readonly timeout?: number;
}

/**
 * How a service is asked whether it works on a host: a script that defines the function `verify`, and its parameters.
 * The last step of the service ends with it; status and drift run it alone.
 */
export type Check = (
  cloud: Cloud,
  host: Pick<Host, "name" | "addresses" | "roles" | "state">,
) => Pick<StepContent, "params" | "secrets" | "verify">;

/** More parameters for a script that shares its document with a check. */
export function withParams<T extends Pick<StepContent, "params">>(
  content: T,
  params: StepContent["params"],
): T {
  return { ...content, params: { ...content.params, ...params } };
}

export interface StepArgs extends StepContent {
  readonly host: Host;
  readonly service: string;
  readonly stage: Stage;
  readonly secretsFrom: Secrets;
  /** Digest of the configuration that a start step starts: it runs again, and so restarts, when that changes. */
  readonly configuration?: string | undefined;
}

const SCRIPTS = path.join(__dirname, "..", "scripts");
/**
 * Seconds for a step that may wait for its turn while the other hosts take theirs: a service has 60 s to be healthy elsewhere
 * before it restarts here, and 90 s to be ready. Seven services on five controllers restart one after the other, which takes
 * 5 to 20 s each.
 */
export const TURN_SECONDS = 1200;
/** Seconds that the host gives a step. */
const DEFAULT_TIMEOUT: Readonly<Record<Stage, number>> = {
  install: 900,
  configure: 300,
  bootstrap: 600,
  start: TURN_SECONDS,
  verify: 300,
};
/** Seconds for dialling and for what a run does around its script. */
const TIMEOUT_MARGIN = 240;
/** A host that reboots answers again within minutes; more tries would hide a dead one. Seconds between are 0.1 to 5. */
const DIAL_ATTEMPTS = 20;

/**
 * The one way to change a host: a document (see scripts/lib/step.py) on the standard input of the runner there.
 *
 * The document is plain in the plan, for a reviewer to read, and holds no secret: it names them with their versions.
 * A changed document runs the step again, in place. A dropped connection is retried; a failed change never is.
 */
export class Step extends command.remote.Command {
  /** What its host is sent. */
  readonly document: string;

  constructor(name: string, args: StepArgs, opts: pulumi.CustomResourceOptions) {
    // A run may first wait for its twin, whose connection was lost: the engine's bound is twice the host's.
    const timeout = `${2 * timeoutOf(args) + TIMEOUT_MARGIN}s`;
    const document = stepDocument(args);
    super(
      name,
      {
        connection: args.host.connection,
        create: asRoot(args.host, RUNNER),
        stdin: document,
        addPreviousOutputInEnv: false,
      },
      {
        ...opts,
        ...withMachine(args.host),
        customTimeouts: { create: timeout, update: timeout },
        hooks: { onError: [retryDroppedConnection()] },
      },
    );
    this.document = document;
  }

  /** What its script answered (`answer NAME VALUE` in the script), by name. Known from the state, once it has run. */
  get answers(): pulumi.Output<Readonly<Record<string, string>>> {
    return this.stdout.apply((text) =>
      Object.fromEntries(
        text
          .split("\n")
          .slice(1)
          .map((line) => /^(\S*) ?(.*)$/.exec(line)!.slice(1) as [string, string]),
      ),
    );
  }
}

/** Steps vanish with their host's machine, and are done again on a new one and on a host that begins anew. */
export function withMachine(
  host: Pick<Host, "machine" | "rebuild">,
): Pick<pulumi.CustomResourceOptions, "deletedWith" | "replaceWith" | "replacementTrigger"> {
  const { machine } = host;
  return {
    ...asRebuilt(host),
    ...(machine ? { deletedWith: machine, replaceWith: [machine] } : {}),
  };
}

/** Settings that every connection of ours shares. */
export const CONNECTION_DEFAULTS = {
  dialErrorLimit: DIAL_ATTEMPTS,
  perDialTimeout: 15,
} as const;

/**
 * The text that goes to the host and into the plan: JSON with sorted keys, so that equal content is equal text.
 * @throws Error if a script is missing.
 */
export function stepDocument(
  args: Omit<StepArgs, "host" | "secretsFrom"> & {
    host: { name: string };
    secretsFrom: Pick<Secrets, "ref">;
  },
): string {
  const names = [...new Set([...(args.secrets ?? []), ...secretsIn(args.files ?? {})])].sort();
  return sortedJson({
    step: {
      service: args.service,
      stage: args.stage,
      host: args.host.name,
      timeout: timeoutOf(args),
      ...(args.configuration ? { configuration: args.configuration } : {}),
    },
    ...(args.directories ? { directories: args.directories } : {}),
    ...(args.files ? { files: args.files } : {}),
    ...(args.absent ? { absent: args.absent } : {}),
    ...(args.params ? { params: args.params } : {}),
    ...(names.length
      ? {
          secrets: Object.fromEntries(
            names.map((name) => [name, args.secretsFrom.ref(name).version]),
          ),
        }
      : {}),
    ...(args.script || args.verify ? { script: scriptText(args.verify, args.script) } : {}),
  });
}

function timeoutOf(args: Pick<StepArgs, "stage" | "timeout">): number {
  return args.timeout ?? DEFAULT_TIMEOUT[args.stage];
}

/** Names of the secrets that files ask for. */
export function secretsIn(files: Files): string[] {
  return Object.values(files).flatMap((file) =>
    [...file.content.matchAll(/\$\{secret:([a-z0-9-]+)\}/g)].map((match) => match[1] as string),
  );
}

/** JSON with keys in order at every depth: an equal value is an equal text, so the plan shows no change. */
export function sortedJson(value: unknown): string {
  return `${JSON.stringify(sorted(value), null, 1)}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

/** A file below scripts/, whole: for a host to keep. */
export function scriptFile(name: string): string {
  const text = scriptFiles.get(name) ?? fs.readFileSync(path.join(SCRIPTS, name), "utf8");
  scriptFiles.set(name, text);
  return text;
}

/** Each is read once, however many hosts run it. */
const scriptFiles = new Map<string, string>();

/** A script without its hash-bang line and comment header (those are for its reader in the repository). */
export function readScript(name: string): string {
  return scriptFile(name).replace(/^(#.*\n)+\n*/, "");
}

function scriptText(...names: (string | undefined)[]): string {
  return names
    .filter((name) => name !== undefined)
    .map(readScript)
    .join("\n");
}

const DROPPED =
  /EOF|connection reset|broken pipe|connection refused|i\/o timeout|no route to host|remote command exited without exit status|handshake failed/i;
const RETRIES = 3;

let hook: pulumi.ErrorHook | undefined;

/**
 * Run again a step whose connection was lost: its twin on the host ends by itself, and the repeated one finds its work
 * done. What a step reports as failed is final. Made on first use, because it speaks to the engine.
 */
export function retryDroppedConnection(): pulumi.ErrorHook {
  hook ??= new pulumi.ErrorHook("openstack-ha-retry-dropped-connection", (args) =>
    isDroppedConnection(args.errors),
  );
  return hook;
}

/** Whether the newest of these errors (newest first) is worth another try. */
export function isDroppedConnection(errors: readonly string[]): boolean {
  const latest = errors[0] ?? "";
  const failed = latest.includes("Process exited with status");
  return !failed && DROPPED.test(latest) && errors.length <= RETRIES;
}
