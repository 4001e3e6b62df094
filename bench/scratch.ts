import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { withoutSecrets } from "../tools/report/room";
import { ROOT } from "./lib";

/** Committed stacks that a scratch can be made from, with the first two numbers of their addresses. */
const BASES = { controllers: "10.81.", dev: "10.77." } as const;

/** The file of a committed stack without its secrets, on other subnets. @param prefix First two numbers, such as `10.78.`. */
export function committed(base: keyof typeof BASES, prefix: string): string {
  const text = fs.readFileSync(path.join(ROOT, `Pulumi.${base}.yaml`), "utf8");
  return withoutSecrets(text.replaceAll(BASES[base], prefix));
}

/**
 * A stack of its own for a test or a bench, with its state in a temporary folder, so that a person's own lab can stand
 * beside it.
 */
export class Scratch {
  /** Everything that was printed to a person so far. */
  console = "";
  /** Its file. */
  readonly config: string;
  private readonly backend: string;
  private readonly environment: NodeJS.ProcessEnv;

  /** @param text What its file says. */
  constructor(
    readonly stack: string,
    text: string,
  ) {
    this.config = path.join(ROOT, `Pulumi.${stack}.yaml`);
    this.backend = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-backend-"));
    fs.writeFileSync(this.config, text);
    this.environment = {
      ...process.env,
      STACK: stack,
      // What is measured is the deployment, without a preview before it.
      POLICY: "no",
      PULUMI_BACKEND_URL: `file://${this.backend}`,
      PULUMI_CONFIG_PASSPHRASE: "scratch",
    };
    // Also for what reads the stack in this very process.
    Object.assign(process.env, this.environment);
  }

  /** tools/cloud, shown as it goes: a lab takes minutes. */
  async cloud(...args: string[]): Promise<number | null> {
    return (await this.run("tools/cloud", args, true)).status;
  }

  /** One of tools/ on this stack, for what it prints. */
  tool(file: string, ...args: string[]): Promise<Done> {
    return this.run("node", ["--require", "tsx/cjs", file, ...args], false);
  }

  /** The pulumi command on this stack. */
  pulumi(...args: string[]): Promise<Done> {
    // What comes after `--` is nobody's option.
    const end = args.includes("--") ? args.indexOf("--") : args.length;
    const all = args.toSpliced(end, 0, "--stack", this.stack);
    return this.run("pulumi", all, false);
  }

  /**
   * Start `up`, and kill its whole process group when so many resources are there.
   * @returns how many seconds it had run.
   * @throws Error if it ended before.
   */
  async killedUp(resources: number): Promise<number> {
    const start = Date.now();
    const child = spawn("tools/cloud", ["up"], {
      cwd: ROOT,
      detached: true,
      env: this.environment,
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise<void>((resolve, reject) => {
      let created = 0;
      child.stdout.on("data", (data: Buffer) => {
        process.stderr.write(data);
        this.console += data.toString();
        created += data.toString().match(/ created( |$)/gm)?.length ?? 0;
        if (created >= resources) resolve();
      });
      child.on("close", () => {
        reject(new Error(`up ended before it had made ${resources} resources`));
      });
    });
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    return (Date.now() - start) / 1000;
  }

  /**
   * Take everything of it away.
   * @throws Error if that failed: what is left would spoil the next one of the same name.
   */
  async dispose(): Promise<void> {
    const status = await this.cloud("destroy", "--yes");
    if (status !== 0)
      throw new Error(
        `destroying ${this.stack} ended with ${String(status)}; its lab may be left, and its state is in ${this.backend}`,
      );
    fs.rmSync(this.config, { force: true });
    fs.rmSync(this.backend, { recursive: true, force: true });
  }

  /** Not synchronous: whoever waits may have to ask for tokens meanwhile. */
  private run(command: string, args: readonly string[], show: boolean): Promise<Done> {
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, {
        cwd: ROOT,
        env: this.environment,
        stdio: ["ignore", "pipe", "pipe"],
      });
      let stdout = "";
      child.stdout.on("data", (data: Buffer) => {
        stdout += data.toString();
        this.console += data.toString();
        if (show) process.stderr.write(data);
      });
      child.stderr.on("data", (data: Buffer) => {
        this.console += data.toString();
        process.stderr.write(data);
      });
      child.on("error", reject);
      child.on("close", (status) => {
        resolve({ status, stdout });
      });
    });
  }
}

export interface Done {
  readonly status: number | null;
  readonly stdout: string;
}
