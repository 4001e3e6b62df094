import { spawn } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { environment, repository } from "./toolchain";

export interface Finished {
  /** The exit code, or the signal that ended the process. */
  code: number | NodeJS.Signals | null;
  /** Both streams, without colours. */
  output: string;
}

export interface Running {
  pid: number;
  /** What was printed so far. */
  output: () => string;
  finished: Promise<Finished>;
}

/** A folder with a Pulumi project, and a file backend beside it. */
export class Project {
  readonly folder: string;

  constructor(parent: string, name: string, files: Record<string, string>) {
    this.folder = join(parent, name);
    mkdirSync(join(this.folder, "state"), { recursive: true });
    this.write(files);
    symlinkSync(join(repository, "node_modules"), join(this.folder, "node_modules"));
  }

  write(files: Record<string, string>): void {
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(this.folder, name), content);
    }
  }

  /** Starts `pulumi`, as the leader of a process group like a command typed at a terminal. */
  start(args: readonly string[], variables: Record<string, string> = {}): Running {
    const child = spawn("pulumi", [...args, "--non-interactive", "--color=never"], {
      cwd: this.folder,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...environment,
        PULUMI_BACKEND_URL: `file://${join(this.folder, "state")}`,
        PULUMI_CONFIG_PASSPHRASE: "contract",
        ...variables,
      },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => (output += data.toString()));
    }
    const finished = new Promise<Finished>((done, failed) => {
      child.once("error", failed);
      child.once("exit", (code, signal) => {
        done({ code: code ?? signal, output });
      });
    });
    return { pid: child.pid ?? 0, output: () => output, finished };
  }

  run(args: readonly string[], variables: Record<string, string> = {}): Promise<Finished> {
    return this.start(args, variables).finished;
  }
}
