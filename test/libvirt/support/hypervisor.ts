import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A libvirt of the test's own on this machine; see the script beside this file. */
export class TestHypervisor {
  readonly uri: string;

  private constructor(
    private readonly child: ChildProcess,
    readonly folder: string,
  ) {
    this.uri = `qemu+unix:///system?socket=${folder}/run/libvirt-sock`;
  }

  /** @throws Error with its log, if it does not answer within a minute. */
  static async start(folder: string): Promise<TestHypervisor> {
    fs.mkdirSync(folder, { recursive: true });
    const log = path.join(folder, "log.txt");
    const out = fs.openSync(log, "w");
    const child = spawn("nice", ["-n", "19", path.join(__dirname, "hypervisor"), folder], {
      stdio: ["ignore", out, out],
    });
    const started = new TestHypervisor(child, folder);
    for (let tries = 0; !fs.existsSync(path.join(folder, "ready")); tries++) {
      if (tries === 300 || child.exitCode !== null) {
        throw new Error(
          `wanted libvirtd to answer, found:\n${fs.readFileSync(log, "utf8").slice(-2000)}`,
        );
      }
      await sleep(200);
    }
    return started;
  }

  /** What a command is run in to reach the machines: their networks are in a namespace. */
  get wrapper(): readonly string[] {
    const { pid } = this.child;
    const inside = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return ["nsenter", `--net=/proc/${inside}/ns/net`, "--"];
  }

  /** Runs a command where the machines can be reached. */
  run(...args: readonly string[]): string {
    const [command, ...rest] = [...this.wrapper, ...args];
    return execFileSync(command as string, rest, { encoding: "utf8" }).trim();
  }

  virsh(...args: readonly string[]): string {
    return execFileSync("virsh", ["--quiet", "--connect", this.uri, ...args], {
      encoding: "utf8",
    }).trim();
  }

  /** All that a stack could leave: machines, networks, pools, bridges, and files in its pool. */
  left(pool: string): Readonly<Record<string, string>> {
    return {
      bridges: this.run("ip", "-brief", "link")
        .split("\n")
        .map((line) => line.split(/\s+/)[0] ?? "")
        .filter((name) => name !== "" && name !== "lo")
        .join(" "),
      domains: this.virsh("list", "--all", "--name"),
      files: fs.existsSync(pool) ? fs.readdirSync(pool).join(" ") : "",
      networks: this.virsh("net-list", "--all", "--name"),
      pools: this.virsh("pool-list", "--all", "--name"),
    };
  }

  /** Ends it and all that runs in it. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill("SIGKILL");
    await ended;
  }
}
