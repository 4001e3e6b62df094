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

/** Programs that only a lab starts; the machine's other processes come and go and are not ours to judge. */
const LAB_PROGRAMS =
  /systemd-nspawn|ipmi_sim|runner\.sh|mariadbd|beam\.smp|corosync|pacemaker|haproxy|memcached|uwsgi|pulumi/;

export function machineState(): Residue {
  return {
    processes: run("ps", "-eo", "args=").filter(
      (line) => LAB_PROGRAMS.test(line) && !/ava|ps -eo/.test(line),
    ),
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

function run(command: string, ...args: string[]): string[] {
  return execFileSync(command, args, { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .sort();
}
