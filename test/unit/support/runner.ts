import { spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

/** The host-side runner, scripts/lib/step.py, as a process of its own in folders of its own. */

export const LIBRARY = path.join(__dirname, "../../../scripts/lib");
// A version manager's python3 starts slowly; hosts have Debian's.
const PYTHON = fs.existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly milliseconds: number;
}

/** A process under way. */
export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Outcome>;
}

export interface StepDocument {
  readonly step?: Readonly<Record<string, unknown>>;
  readonly files?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly directories?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly absent?: readonly string[];
  readonly params?: Readonly<Record<string, unknown>>;
  readonly secrets?: Readonly<Record<string, number>>;
  readonly script?: string;
}

/** A document with what every one has to say. */
export function step(content: StepDocument = {}): StepDocument {
  return {
    ...content,
    step: { service: "demo", stage: "configure", host: "ctl1", timeout: 20, ...content.step },
  };
}

export class Room {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-step-"));
  readonly log = this.at("log");
  readonly etc = this.at("etc");
  readonly run = this.at("run");
  readonly state = this.at("state");
  readonly store = this.at("etc/secrets.json");

  constructor() {
    fs.mkdirSync(this.at("host"));
  }

  /** A path in the room; `host/…` is where the tests' files go. */
  at(name: string): string {
    return path.join(this.root, name);
  }

  read(name: string): string {
    return fs.readFileSync(this.at(name), "utf8");
  }

  write(name: string, content: string, mode = 0o644): string {
    fs.mkdirSync(path.dirname(this.at(name)), { recursive: true });
    fs.writeFileSync(this.at(name), content);
    fs.chmodSync(this.at(name), mode);
    return this.at(name);
  }

  mode(name: string): string {
    return (fs.statSync(this.at(name)).mode & 0o7777).toString(8);
  }

  /** A program for the script's PATH; the runner sets that itself, so a script has to start with `usePrograms`. */
  program(name: string, text: string): void {
    this.write(`bin/${name}`, `#!/bin/bash\n${text}`, 0o755);
  }

  get usePrograms(): string {
    return `PATH=${this.at("bin")}:$PATH\n`;
  }

  /** What the runner wrote to its logs, all of them. */
  logs(): string {
    if (!fs.existsSync(this.log)) return "";
    return fs
      .readdirSync(this.log)
      .map((name) => fs.readFileSync(path.join(this.log, name), "utf8"))
      .join("");
  }

  start(input: unknown, ...options: string[]): Running {
    const child = spawn(PYTHON, [path.join(LIBRARY, "step.py"), ...options], {
      env: {
        PATH: process.env.PATH,
        OPENSTACK_HA_ETC: this.etc,
        OPENSTACK_HA_LIB: LIBRARY,
        OPENSTACK_HA_LOG: this.log,
        OPENSTACK_HA_RUN: this.run,
        OPENSTACK_HA_STATE: this.state,
      },
    });
    const ended = finish(child);
    // A runner that fails early does not read it all.
    child.stdin.on("error", () => undefined);
    child.stdin.end(typeof input === "string" ? input : JSON.stringify(input));
    return { process: child, ended };
  }

  /** One run to its end. */
  apply(input: unknown, ...options: string[]): Promise<Outcome> {
    return this.start(input, ...options).ended;
  }

  check(input: unknown): Promise<Outcome> {
    return this.apply(input, "--check");
  }

  /** Brings secrets as the program does, all in version 1 if not given otherwise. */
  async secrets(values: Readonly<Record<string, string>>, version = 1): Promise<void> {
    const store = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, { version, value }]),
    );
    const { status, stderr } = await this.apply(store, "--secrets");
    if (status !== 0) throw new Error(stderr);
  }

  /** Every path below a folder with all that a change of it would change. */
  tree(folder: string): string[] {
    const entries = fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
    return ["", ...entries].map((name) => {
      const found = fs.lstatSync(path.join(folder, name), { bigint: true });
      return `${name} ${found.ino} ${found.mode.toString(8)} ${found.uid}:${found.gid} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
    });
  }

  remove(): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}

/** What a process said and how it ended. */
export function finish(child: ChildProcess): Promise<Outcome> {
  const started = Date.now();
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => {
      resolve({ status, signal, stdout, stderr, milliseconds: Date.now() - started });
    });
  });
}

/** Asks until the answer is yes; fails after a while. */
export async function until(what: string, condition: () => boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export function isAlive(pid: number): boolean {
  try {
    // A zombie is dead, whether anybody has taken note of it or not.
    return !/^\d+ \(.*\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
