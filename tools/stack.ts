import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import {
  clearParts,
  type Cloud,
  exposed,
  isOption,
  isSecretOption,
  ownOptions,
  parseSource,
  secretOptions,
  type Source,
  withFiles,
} from "../config";

/** What the tools for people know of a stack: its configuration, its outputs, and where its files are. */

export const ROOT = path.join(__dirname, "..");
export const PROJECT = "openstack-ha";

/** Folder of a stack's files for people; only their owner can read it. */
export function cloudFolder(stack: string): string {
  return path.join(ROOT, ".cloud", stack);
}

/** The stack's name, from the command line or $STACK. Throws where it has no file, as tools/cloud does. */
export function stackName(): string {
  const named = process.argv[2];
  const stack = named && !named.startsWith("-") ? named : (process.env.STACK ?? "dev");
  if (!fs.existsSync(path.join(ROOT, `Pulumi.${stack}.yaml`)))
    throw new Error(
      `wanted the file Pulumi.${stack}.yaml of the stack ${stack}, found none; write it, or name another stack: STACK=dev`,
    );
  return stack;
}

/** The stack's configuration, by the same door as the program's. */
export function stackCloud(stack: string): Cloud {
  return parseSource(stackSource(stack), { project: PROJECT, stack });
}

/** The stack's options as they are written, without secrets, but for those that are none of this program's. */
export function stackSource(stack: string): Source {
  return withFiles(
    options(stack, [], ({ secret }, name) => !secret || !isOption(name)),
    ROOT,
  );
}

/** The stack's secret options, in clear. */
export function stackSecrets(stack: string): StackSecrets {
  return options(stack, ["--show-secrets"], ({ secret }) => secret);
}

export interface StackSecrets {
  readonly seed?: string;
  readonly sshPrivateKey?: string;
  readonly tlsPrivateKey?: string;
  readonly secrets?: Readonly<Record<string, string>>;
}

interface StackEntry {
  readonly value?: string;
  readonly objectValue?: unknown;
  readonly secret: boolean;
}

/** The stack's options that are wanted, as Pulumi reads them. */
function options(
  stack: string,
  flags: readonly string[],
  wanted: (entry: StackEntry, name: string) => boolean,
): Record<string, unknown> {
  const all = JSON.parse(pulumi(["config", "--json", ...flags, "--stack", stack])) as Record<
    string,
    unknown
  >;
  const own = ownOptions(all, { project: PROJECT, stack }) as Record<string, StackEntry>;
  return Object.fromEntries(
    Object.entries(own)
      .filter(([name, entry]) => wanted(entry, name))
      .map(([name, entry]) => [name, entry.objectValue ?? scalar(entry.value)]),
  );
}

/** The same by the stack's file alone, where there is no state and no passphrase. */
export function fileCloud(stack: string): Cloud {
  // Only a passphrase reads secrets, and they decide nothing of the plan.
  const raw = Object.fromEntries(
    Object.entries(unexposed(stack)).filter(([name]) => !isSecretOption(name)),
  );
  return parseSource(withFiles(raw, ROOT), { project: PROJECT, stack });
}

/**
 * The stack's options as its file has them.
 *
 * @throws ConfigError naming the secrets that are there in clear text.
 */
export function unexposed(stack: string): Record<string, unknown> {
  const names = { project: PROJECT, stack };
  const text = fs.readFileSync(path.join(ROOT, `Pulumi.${stack}.yaml`), "utf8");
  const raw = ownOptions((parse(text) as { config: Record<string, unknown> }).config, names);
  const inClear = secretOptions.flatMap((option) => clearParts(raw[option], option));
  if (inClear.length > 0) throw exposed(names, inClear);
  return raw;
}

/** The stack's outputs, secrets in clear. */
export function stackOutputs(stack: string): Outputs {
  const outputs = JSON.parse(
    pulumi(["stack", "output", "--json", "--show-secrets", "--stack", stack]),
  ) as Partial<Outputs>;
  if (outputs.authUrl === undefined)
    throw new Error(`stack ${stack} has no cloud yet; run: npm run up`);
  return outputs as Outputs;
}

/** One resource, as the engine keeps it. */
export interface StateResource {
  readonly urn: string;
  readonly type: string;
  /** Another one each time it is made, as a step's each time it is run by a replacement. */
  readonly id?: string;
  /** It was replaced, and is still to be deleted. */
  readonly delete?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly dependencies?: readonly string[];
  readonly propertyDependencies?: Readonly<Record<string, readonly string[] | null>>;
}

/** What was applied last, secrets in clear. */
export function stackState(stack: string): StateResource[] {
  const { deployment } = JSON.parse(
    pulumi(["stack", "export", "--show-secrets", "--stack", stack]),
  ) as { deployment: { resources?: StateResource[] } };
  return (deployment.resources ?? []).filter((each) => !each.delete);
}

/** What Pulumi marks a secret with in an exported state. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";

/** A value of an exported state, whether it is a secret or not. */
export function plain(value: unknown): unknown {
  return value !== null && typeof value === "object" && SIGNATURE in value
    ? JSON.parse((value as unknown as { plaintext: string }).plaintext)
    : value;
}

export interface Outputs {
  readonly authUrl: string;
  /** Certificate of who vouches for the public APIs, where clients do not know them. */
  readonly authority?: string;
  readonly adminPassword: string;
  readonly region: string;
  readonly sshPrivateKey: string;
  readonly sshHostKeys: Readonly<Record<string, string>>;
  readonly endpoints: Readonly<Record<string, string>>;
}

/** What a pulumi command prints; what it complains of goes to this process's own errors. */
export function pulumi(args: readonly string[], input = ""): string {
  const { status, stdout, error } = spawnSync("pulumi", args, {
    cwd: ROOT,
    encoding: "utf8",
    input,
    // A state has some megabytes.
    maxBuffer: 1 << 28,
    stdio: ["pipe", "pipe", "inherit"],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`pulumi ${args[0]} failed, see its own words above`);
  return stdout;
}

function scalar(value: string | undefined): unknown {
  if (value === "true" || value === "false") return value === "true";
  return value;
}
