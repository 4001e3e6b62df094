import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { linkProject, type Outcome, ownEnvironment, runPulumi } from "../engine";
import { nameOf, parsePlan, type Plan, type ResourceState } from "./plan";
import { deploymentOf, resourcesOf, type SavedPlan, settled } from "./state";

/**
 * Where a plan can be made with nothing of anybody's: a project folder of links, a state backend, a passphrase and a seed
 * that are good for nothing else, and the stack's file without what is encrypted in it. So a preview needs neither the
 * stack's state nor one of its secrets, and can change neither.
 */

const PROJECT = "openstack-ha";
/** All that is derived from it differs from what any cloud has; it is the same for both plans that are compared. */
const SEED = "of-a-preview-alone-and-never-of-a-cloud-0123456789";
/** Ids of what refers to one another are known after as many previews as the longest chain has links. */
const MOST_ROUNDS = 6;

export class Room {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-preview-"));
  readonly work = path.join(this.folder, "work");
  private readonly backend = path.join(this.folder, "backend");

  private constructor(
    root: string,
    readonly stack: string,
  ) {
    fs.mkdirSync(this.backend);
    linkProject(root, this.work);
  }

  /**
   * @param root A folder with the program and its packages.
   * @throws Error if it has no such stack, or there is no pulumi.
   */
  static async open(root: string, stack: string): Promise<Room> {
    const file = path.join(root, `Pulumi.${stack}.yaml`);
    if (!fs.existsSync(file)) {
      throw new Error(
        `${file}: wanted the file of the stack ${stack}, found none; name another stack`,
      );
    }
    // Links lead to it from elsewhere.
    const room = new Room(path.resolve(root), stack);
    try {
      await room.pulumi("stack", "init", stack, "--no-select");
      room.salt =
        /^encryptionsalt: (.*)$/m.exec(fs.readFileSync(room.stackFile, "utf8"))?.[1] ?? "";
      await room.configure(withoutSecrets(fs.readFileSync(file, "utf8")));
      return room;
    } catch (error) {
      room.close();
      throw error;
    }
  }

  private salt = "";

  private get stackFile(): string {
    return this.at(`Pulumi.${this.stack}.yaml`);
  }

  private at(name: string): string {
    return path.join(this.work, name);
  }

  /** Takes the text of a stack file without secrets, with or without a seed of the room's own. */
  async configure(text: string, seed = true): Promise<void> {
    fs.writeFileSync(this.stackFile, `${text}encryptionsalt: ${this.salt}\n`);
    // It is no secret, so it may be an argument.
    if (seed)
      await this.pulumi(
        "config",
        "set",
        "--stack",
        this.stack,
        "--secret",
        `${PROJECT}:seed`,
        SEED,
      );
  }

  /** @throws Error with what the engine said, if the program refuses. */
  async preview(): Promise<Plan> {
    return (await this.previewAndSave()).plan;
  }

  /** Has the state that an `up` of the present configuration would leave. */
  async settle(): Promise<readonly ResourceState[]> {
    const { plan, saved } = await this.previewAndSave();
    let resources = resourcesOf(plan, saved);
    let changed: string[] = [];
    for (let round = 0; round < MOST_ROUNDS; round++) {
      await this.import(resources);
      const next = await this.preview();
      changed = next.steps.filter(({ op }) => op !== "same").map(({ urn }) => nameOf(urn));
      if (changed.length === 0) return resources;
      resources = settled(resources, next);
    }
    throw new Error(
      `wanted a state without a change, found ${changed.length} resources that never settle (${changed.slice(0, 5).join(", ")}); this is a mistake of tools/report/state.ts`,
    );
  }

  async import(resources: readonly ResourceState[]): Promise<void> {
    const file = path.join(this.folder, "state.json");
    fs.writeFileSync(file, JSON.stringify(deploymentOf(resources, this.salt)), { mode: 0o600 });
    await this.pulumi("stack", "import", "--stack", this.stack, "--file", file);
  }

  private async previewAndSave(): Promise<{ plan: Plan; saved: SavedPlan }> {
    const file = path.join(this.folder, "plan.json");
    const { stdout } = await this.pulumi(
      ...["preview", "--stack", this.stack, "--json", "--show-sames"],
      // Secrets of the room's own seed.
      ...["--save-plan", file, "--show-secrets"],
    );
    return {
      plan: parsePlan(stdout, "pulumi preview"),
      saved: JSON.parse(fs.readFileSync(file, "utf8")) as SavedPlan,
    };
  }

  private async pulumi(...args: readonly string[]): Promise<Outcome> {
    const outcome = await this.run([], ...args);
    if (outcome.status !== 0) throw new Error(complaint(outcome));
    return outcome;
  }

  /** Runs pulumi; a wrapper comes before it on the command line. */
  run(wrapper: readonly string[], ...args: readonly string[]): Promise<Outcome> {
    const environment = ownEnvironment({
      backend: this.backend,
      // The lab is not looked at; if it were, it would not be a person's own.
      labState: path.join(this.folder, "lab"),
      passphrase: "of a preview alone",
    });
    return runPulumi(this.work, environment, wrapper, args);
  }

  close(): void {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What the engine said when it failed: with --json its messages are in the plan that it prints all the same. */
export function complaint({ stdout, stderr }: Outcome): string {
  try {
    const { diagnostics = [] } = parsePlan(stdout, "");
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    if (errors.length)
      // Who shows it says itself that it is an error.
      return errors.map(({ message }) => message.trim().replace(/^error: /, "")).join("\n");
  } catch {
    // It did not come so far.
  }
  return stderr.trim() || stdout.trim();
}

/** A stack file without what only its passphrase can read. */
export function withoutSecrets(text: string): string {
  const { config = {} } = parse(text) as { config?: Record<string, unknown> };
  return stringify({ config: withoutEncrypted(config) ?? {} });
}

function withoutEncrypted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEncrypted).filter((each) => each !== undefined);
  if (typeof value !== "object" || value === null) return value;
  if ("secure" in value) return undefined;
  const all = Object.entries(value);
  const left = all
    .map(([key, each]) => [key, withoutEncrypted(each)] as const)
    .filter(([, each]) => each !== undefined);
  // A map of nothing but passwords is one: what is left of it would be taken for a map in clear.
  return left.length === 0 && all.length > 0 ? undefined : Object.fromEntries(left);
}
