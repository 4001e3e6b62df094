import { execFileSync } from "node:child_process";
import * as fs from "node:fs";

/** What a lab could leave behind on the machine: everything that `destroy` has to take away. */
export interface Residue {
  readonly processes: readonly string[];
  readonly mounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly addresses: readonly string[];
  readonly links: readonly string[];
  readonly nftables: readonly string[];
  readonly cgroups: readonly string[];
  readonly files: readonly string[];
}

/** @param lab Name of the lab: its processes are in a cgroup of that name, or name it. */
export function machineState(lab: string): Residue {
  return {
    processes: processesOf(lab),
    mounts: fs
      .readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .map((line) => line.split(" ").slice(4, 5).join(""))
      .filter(Boolean)
      .sort(),
    namespaces: fs.existsSync("/run/netns") ? fs.readdirSync("/run/netns").sort() : [],
    addresses: run("ip", "-brief", "address"),
    links: run("ip", "-brief", "link").map((line) => line.split(/\s+/)[0] ?? ""),
    nftables: fs.existsSync("/usr/sbin/nft") ? run("/usr/sbin/nft", "list", "ruleset") : [],
    cgroups: run("find", "/sys/fs/cgroup", "-type", "d", "-name", "osha*"),
    files: ["/var/lib/openstack-ha", "/run/openstack-ha", "/etc/openstack-ha"].filter((path) =>
      fs.existsSync(path),
    ),
  };
}

/**
 * Notes every command line that it sees on this machine, which is also the parent of all processes in lab hosts: what
 * `ps` shows on any of them. What lives for less than the interval can be missed.
 */
export class CommandLines {
  readonly seen = new Set<string>();
  rounds = 0;
  private readonly timer: NodeJS.Timeout;

  /** @param interval Milliseconds. */
  constructor(interval = 150) {
    this.timer = setInterval(() => {
      this.look();
    }, interval);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  private look(): void {
    this.rounds++;
    for (const commandLine of eachProcess(commandLineOf)) this.seen.add(commandLine);
  }
}

/** What is asked of each process of this machine, of those that live to answer. */
function eachProcess<T>(ask: (folder: string) => T): T[] {
  return fs
    .readdirSync("/proc")
    .filter((pid) => /^[0-9]+$/.test(pid))
    .flatMap((pid) => {
      try {
        return [ask(`/proc/${pid}`)];
      } catch {
        // It ended meanwhile.
        return [];
      }
    });
}

function commandLineOf(folder: string): string {
  return fs.readFileSync(`${folder}/cmdline`, "utf8").replaceAll("\0", " ");
}

function processesOf(lab: string): string[] {
  return eachProcess((folder) => {
    const commandLine = commandLineOf(folder);
    const cgroups = fs.readFileSync(`${folder}/cgroup`, "utf8");
    // Dead, and waiting for the machine's init to notice: nothing that runs.
    const dead = /^State:\s+Z/m.test(fs.readFileSync(`${folder}/status`, "utf8"));
    const ours = commandLine.includes(lab) || cgroups.includes(`/osha-${lab}/`);
    return ours && !dead ? [commandLine] : [];
  })
    .flat()
    .sort();
}

function run(command: string, ...args: string[]): string[] {
  return execFileSync(command, args, { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .sort();
}
