import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import {
  linkProject,
  type Outcome as Ended,
  ownEnvironment,
  runPulumi,
} from "../../../tools/engine";
import { stackFileText, type Options } from "../../fixtures/config/fixtures";

/** The real engine on this program, in a project folder, a state backend and a lab's folder of a test's own. */

export const REPOSITORY = path.join(__dirname, "../../..");
/** Long enough to be accepted; no cloud has it. */
export const SEED = "Zq8mT1vXw5LkR7yPn3Ds9HbJc2FgA6uE0iOxYtKa";

export interface Outcome extends Ended {
  readonly milliseconds: number;
}

/** @throws Error that says how to get the toolchain, if it is not there. */
export function needPulumi(): void {
  const found = spawnSync("pulumi", ["version"], { encoding: "utf8" });
  if (found.status !== 0) {
    throw new Error(
      'wanted pulumi on the PATH, found none; run these tests by `npm test engine`, or first: eval "$(tools/env)"',
    );
  }
}

export class Project {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-engine-"));
  /** The project: this repository by links, but for what Pulumi writes to. */
  readonly work = path.join(this.folder, "work");
  /** Where the lab would keep its state. */
  readonly labState = path.join(this.folder, "lab-state");
  private readonly backend = path.join(this.folder, "backend");

  private constructor() {
    fs.mkdirSync(this.backend);
    linkProject(REPOSITORY, this.work);
  }

  /** A project with an empty stack. */
  static async open(stack: string): Promise<Project> {
    needPulumi();
    const project = new Project();
    const made = await project.pulumi("stack", "init", stack, "--no-select");
    if (made.status !== 0) throw new Error(made.stderr);
    return project;
  }

  get environment(): NodeJS.ProcessEnv {
    return ownEnvironment({
      backend: this.backend,
      labState: this.labState,
      passphrase: "engine-test",
    });
  }

  /** Runs pulumi; a wrapper comes before it on the command line. */
  async run(wrapper: readonly string[], ...args: readonly string[]): Promise<Outcome> {
    const started = Date.now();
    const ended = await runPulumi(this.work, this.environment, wrapper, args);
    return { ...ended, milliseconds: Date.now() - started };
  }

  pulumi(...args: readonly string[]): Promise<Outcome> {
    return this.run([], ...args);
  }

  /** The salt that the stack's passphrase goes with; without it no stack file is this stack's. */
  private salt(stack: string): string {
    const text = fs.readFileSync(path.join(this.work, `Pulumi.${stack}.yaml`), "utf8");
    return /^encryptionsalt: .*$/m.exec(text)![0];
  }

  /** Writes a stack file, and returns its path for `--config-file`. */
  configFile(stack: string, name: string, options: Options): string {
    const file = path.join(this.folder, `${name}.yaml`);
    fs.writeFileSync(file, `${stackFileText(options)}${this.salt(stack)}\n`);
    return file;
  }

  /** Sets a secret in a stack file. By an argument: it is the tests' own, and no cloud's. */
  async setSecret(stack: string, configFile: string, key: string, value: string): Promise<void> {
    const done = await this.pulumi(
      ...["config", "set", "--stack", stack, "--config-file", configFile, "--secret"],
      ...["--path", `openstack-ha:${key}`, "--", value],
    );
    if (done.status !== 0) throw new Error(done.stderr);
  }

  /** All that the backend keeps of its stacks, history and backups included. */
  stateFiles(): Map<string, string> {
    return new Map(
      fs
        .readdirSync(this.backend, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
        .map((file) => [path.relative(this.backend, file), fs.readFileSync(file, "utf8")]),
    );
  }

  close(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What `pulumi preview --json` says, as far as the tests look at it. */
export interface Digest {
  readonly steps: readonly {
    readonly op: string;
    readonly urn: string;
    readonly newState?: {
      readonly type: string;
      readonly inputs?: Readonly<Record<string, unknown>>;
    };
  }[];
  readonly diagnostics?: readonly { readonly severity: string; readonly message: string }[];
  readonly changeSummary: Readonly<Record<string, number>>;
}

export function nameOf(urn: string): string {
  return urn.split("::").at(-1)!;
}

/** Parts of secrets that must not be anywhere: whole values, and, of keys of many lines, each line. */
export function tellTales(secrets: ReadonlyMap<string, string>): [string, string][] {
  return [...secrets].flatMap(([name, value]) =>
    value
      .split("\n")
      .filter((line) => line.length >= 12 && !line.startsWith("-----"))
      .map((line): [string, string] => [name, line]),
  );
}

/** At most so many at once. */
export class Gate {
  private readonly waiting: (() => void)[] = [];

  constructor(private free: number) {}

  async through<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    }
  }
}
