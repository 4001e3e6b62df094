import * as fs from "node:fs";
import * as path from "node:path";
import { begin, openHealthyLab, option, sleep, Table } from "./lib";

/**
 * What the lab takes when nobody asks it for anything: memory and CPU of each host, and of each unit on all of them.
 *
 *   npm run bench:steady -- [--stack dev] [--settle 60] [--seconds 30] [--top 20]
 *
 * CPU is `usage_usec` of the host's cgroup, which the kernel keeps in every cgroup of the v2 hierarchy. Memory is not so: a
 * machine whose memory controller is of cgroup v1, as of many containers and CI runners, has no memory.stat there. So it is the
 * sum of what each process of the cgroup holds (PSS in /proc/PID/smaps_rollup): a page that several use is divided among
 * them, so the sum of all hosts counts it once, as the hosts share the pages of their image. Not in it are the kernel's
 * own memory and the files in the page cache that nobody has mapped; the line of the whole machine has the first.
 *
 * A unit is who started it: MariaDB counts as pacemaker.service, for Pacemaker's agent runs it.
 */

interface Memory {
  readonly pss: number;
  /** Not in any file: heaps, stacks. It can't be dropped and read again. */
  readonly anon: number;
  readonly file: number;
  readonly shared: number;
}

interface Usage {
  readonly memory: Memory;
  readonly processes: number;
  /** Cores in use, on average. */
  readonly cores: number;
}

const NONE: Memory = { pss: 0, anon: 0, file: 0, shared: 0 };
const MIB = 1024;

async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const settle = Number(option("settle", "60"));
  const seconds = Number(option("seconds", "30"));
  const top = Number(option("top", "20"));
  const root = path.join(cgroup2(), `osha-${lab.stack}`);
  const names = lab.cloud.hosts.map(({ name }) => name);
  const folders = [
    ...names.map((name): [string, string] => [name, path.join(root, name)]),
    ...names.map((name): [string, string] => [`${name}.bmc`, path.join(root, `${name}.bmc`)]),
  ];
  for (const [, folder] of folders)
    if (!fs.existsSync(folder))
      throw new Error(
        `wanted the cgroup ${folder}, found none; is the lab on this machine, and on?`,
      );

  // The checks that found all well were work for the hosts.
  await sleep(settle * 1000);
  const units = folders.flatMap(([, folder]) => unitsIn(folder));
  const before = cpuTimes([...folders, ...units]);
  const start = process.hrtime.bigint();
  await sleep(seconds * 1000);
  const after = cpuTimes([...folders, ...units]);
  const elapsed = Number(process.hrtime.bigint() - start) / 1000;
  // Only then, for reading it takes CPU.
  const usage = ([, folder]: readonly [string, string]): Usage => ({
    ...memoryOf(folder),
    cores: Math.max(0, (after.get(folder) ?? 0) - (before.get(folder) ?? 0)) / elapsed,
  });

  const perHost = folders.map((each): [string, Usage] => [each[0], usage(each)]);
  const hosts = perHost.filter(([name]) => names.includes(name));
  const bmcs = perHost.filter(([name]) => !names.includes(name)).map(([, each]) => each);
  const table = new Table(
    ["host", "processes", "PSS MiB", "anon", "file", "shared", "CPU"],
    [10, 9, 7, 6, 6, 6, 8],
  );
  for (const [name, each] of hosts) row(table, name, each);
  row(table, "all hosts", sum(hosts.map(([, each]) => each)));
  row(table, "BMCs", sum(bmcs));
  const { total, available } = machineMemory();
  console.log(
    `\nmachine: ${mib(total - available)} of ${mib(total)} MiB in use (MemTotal - MemAvailable), by all that runs on it`,
  );
  console.log(`CPU: share of one core, over ${seconds} s`);

  console.log(`\nunits, on all hosts, the ${top} with the most memory`);
  const byUnit = new Map<string, Usage[]>();
  for (const each of units) byUnit.set(each[0], [...(byUnit.get(each[0]) ?? []), usage(each)]);
  const sums = [...byUnit].map(([name, each]) => ({ name, on: each.length, usage: sum(each) }));
  const unitTable = new Table(["unit", "on", "PSS MiB", "CPU"], [40, 2, 7, 8]);
  for (const { name, on, usage: all } of sums
    .sort((a, b) => b.usage.memory.pss - a.usage.memory.pss)
    .slice(0, top))
    unitTable.row(name, on, mib(all.memory.pss), percent(all.cores));
}

function row(table: Table, name: string, { memory, processes, cores }: Usage): void {
  table.row(
    name,
    processes,
    mib(memory.pss),
    mib(memory.anon),
    mib(memory.file),
    mib(memory.shared),
    percent(cores),
  );
}

const mib = (kib: number): string => (kib / MIB).toFixed(0);
const percent = (cores: number): string => `${(100 * cores).toFixed(1)} %`;

/** Where the v2 hierarchy is mounted, as scripts/lab/lib.sh finds it. */
function cgroup2(): string {
  for (const line of fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const [, , , root, point] = before.split(" ");
    if (after.startsWith("cgroup2 ") && root === "/" && point) return point;
  }
  return "/run/openstack-ha-cgroup2";
}

/** Services and scopes below a cgroup, by name; not what is inside of one. */
function unitsIn(folder: string): [string, string][] {
  return subfolders(folder).flatMap((name): [string, string][] => {
    const inner = path.join(folder, name);
    return /\.(service|scope)$/.test(name) ? [[name, inner]] : unitsIn(inner);
  });
}

function subfolders(folder: string): string[] {
  try {
    return fs
      .readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    // It ended while we looked.
    return [];
  }
}

/** Microseconds of CPU that each cgroup has used. */
function cpuTimes(folders: readonly (readonly [string, string])[]): Map<string, number> {
  return new Map(
    folders.map(([, folder]) => [
      folder,
      Number(/usage_usec (\d+)/.exec(text(path.join(folder, "cpu.stat")))?.[1] ?? 0),
    ]),
  );
}

/** Kibibytes of all processes in a cgroup and below it. */
function memoryOf(folder: string): { memory: Memory; processes: number } {
  const processes = text(path.join(folder, "cgroup.procs")).split("\n").filter(Boolean);
  const own = processes.map((pid): Memory => {
    // Nothing of a process that has ended meanwhile.
    const rollup = text(`/proc/${pid}/smaps_rollup`);
    return {
      pss: kib(rollup, "Pss"),
      anon: kib(rollup, "Pss_Anon"),
      file: kib(rollup, "Pss_File"),
      shared: kib(rollup, "Pss_Shmem"),
    };
  });
  const inner = subfolders(folder).map((name) => memoryOf(path.join(folder, name)));
  return {
    memory: addUp([...own, ...inner.map(({ memory }) => memory)]),
    processes: inner.reduce((all, each) => all + each.processes, processes.length),
  };
}

function addUp(parts: readonly Memory[]): Memory {
  return parts.reduce(
    (a, b) => ({
      pss: a.pss + b.pss,
      anon: a.anon + b.anon,
      file: a.file + b.file,
      shared: a.shared + b.shared,
    }),
    NONE,
  );
}

function sum(parts: readonly Usage[]): Usage {
  return {
    memory: addUp(parts.map(({ memory }) => memory)),
    processes: parts.reduce((all, each) => all + each.processes, 0),
    cores: parts.reduce((all, each) => all + each.cores, 0),
  };
}

function machineMemory(): { total: number; available: number } {
  const info = text("/proc/meminfo");
  return { total: kib(info, "MemTotal"), available: kib(info, "MemAvailable") };
}

/** The number behind a key of a file in /proc. */
function kib(content: string, key: string): number {
  return Number(new RegExp(`^${key}: +(\\d+) kB`, "m").exec(content)?.[1] ?? 0);
}

function text(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

begin("steady", main);
