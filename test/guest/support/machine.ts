import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const QEMU = "qemu-system-x86_64";

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** Asks until there is an answer. The machine may have much else to do, hence the minutes. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  seconds = 180,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`wanted ${what} within ${seconds} s, found none`);
    await sleep(200);
  }
}

export function run(command: string, args: readonly string[], timeout = 60_000): Promise<string> {
  return new Promise((done, failed) => {
    execFile(command, args, { timeout, encoding: "utf8" }, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else failed(new Error(`${error.message}\n${stdout}\n${stderr}`));
    });
  });
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

export interface MachineOptions {
  /** Holds the console's log, the monitor's socket and the user's key `id`. */
  readonly folder: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
  /** More of QEMU's network "user". */
  readonly network?: string;
  readonly args?: readonly string[];
}

/** A guest as Nova starts it where there is no KVM: kernel, ramdisk, a disk, a NIC, 192 MB of memory. */
export class Machine {
  private readonly started = Date.now();
  private readonly ended: Promise<number | null>;
  private monitor: Monitor | undefined;

  static async start(options: MachineOptions): Promise<Machine> {
    const port = await freePort();
    const socket = join(options.folder, "qmp");
    const console = join(options.folder, "console.log");
    // As Nova writes it for QEMU; the last one is what the image's os_command_line would add.
    const append =
      "root=/dev/vda console=tty0 console=ttyS0 console=hvc0 no_timer_check cryptomgr.notests";
    const args = [
      "-accel",
      "tcg",
      "-machine",
      "pc",
      "-m",
      "192",
      "-nodefaults",
      "-display",
      "none",
    ];
    args.push("-serial", `file:${console}`, "-qmp", `unix:${socket},server=on,wait=off`);
    args.push("-kernel", options.kernel, "-initrd", options.initrd, "-append", append);
    args.push("-drive", `file=${options.disk},format=raw,if=virtio`);
    const network = options.network === undefined ? "" : `,${options.network}`;
    args.push("-netdev", `user,id=nic0,hostfwd=tcp:127.0.0.1:${port}-:22${network}`);
    args.push("-device", "virtio-net-pci,netdev=nic0", "-device", "virtio-rng-pci");
    args.push(...(options.args ?? []));
    // Ends with the test, however that ends.
    const child = spawn("setpriv", ["--pdeathsig", "KILL", QEMU, ...args], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    const machine = new Machine(child, options.folder, console, port);
    machine.monitor = await Monitor.open(socket, child);
    return machine;
  }

  private constructor(
    private readonly child: ChildProcess,
    private readonly folder: string,
    private readonly consoleFile: string,
    private readonly port: number,
  ) {
    this.ended = new Promise((done) => child.once("exit", done));
  }

  /** Seconds since its start. */
  get age(): number {
    return (Date.now() - this.started) / 1000;
  }

  console(): string {
    return existsSync(this.consoleFile) ? readFileSync(this.consoleFile, "utf8") : "";
  }

  ssh(command: string, seconds = 60): Promise<string> {
    const options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"];
    options.push("IdentitiesOnly=yes", "LogLevel=ERROR", `ConnectTimeout=${seconds}`);
    const args = options.flatMap((option) => ["-o", option]);
    args.push("-i", join(this.folder, "id"), "-p", String(this.port), "debian@127.0.0.1", command);
    return run("ssh", args, seconds * 1000);
  }

  /** Waits until it lets its user in, and says what it is called. */
  reachable(): Promise<string> {
    return eventually("the guest reachable by SSH", async () => {
      if (this.child.exitCode !== null) throw new Error(`QEMU ended: ${this.console()}`);
      return await this.ssh("hostname", 15).catch(() => undefined);
    });
  }

  command(name: string, args: Record<string, unknown> = {}): Promise<unknown> {
    if (this.monitor === undefined) throw new Error("no monitor");
    return this.monitor.command(name, args);
  }

  /** Waits for its end, and says QEMU's exit code. */
  end(seconds: number): Promise<number | null | "still runs"> {
    return Promise.race([this.ended, sleep(seconds * 1000).then(() => "still runs" as const)]);
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }
}

interface Answer {
  return?: unknown;
  error?: { desc: string };
}

/** QEMU's monitor: one question at a time. */
class Monitor {
  private waiting: ((answer: Answer) => void) | undefined;
  private closed = false;

  static async open(path: string, child: ChildProcess): Promise<Monitor> {
    const socket = await eventually(
      "QEMU's monitor",
      () => {
        if (child.exitCode !== null) throw new Error(`QEMU ended with ${child.exitCode}`);
        return new Promise<Socket | undefined>((done) => {
          const attempt = connect(path);
          attempt.once("connect", () => {
            done(attempt);
          });
          attempt.once("error", () => {
            done(undefined);
          });
        });
      },
      60,
    );
    const monitor = new Monitor(socket);
    await monitor.command("qmp_capabilities");
    return monitor;
  }

  private constructor(private readonly socket: Socket) {
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.closed = true;
      this.waiting?.({ error: { desc: "QEMU ended" } });
    });
    createInterface(socket).on("line", (line) => {
      const message = JSON.parse(line) as Answer;
      // Not its greeting, and not its news.
      if ("return" in message || "error" in message) this.waiting?.(message);
    });
  }

  async command(name: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const answer = await new Promise<Answer>((done) => {
      this.waiting = done;
      if (this.closed) done({ error: { desc: "QEMU ended" } });
      else this.socket.write(`${JSON.stringify({ execute: name, arguments: args })}\n`);
    });
    if (answer.error !== undefined) throw new Error(`${name}: ${answer.error.desc}`);
    return answer.return;
  }
}
