import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { linkProject } from "../tools/engine";
import { complaint, Room } from "../tools/report/room";
import { nameOf, type ResourceState } from "../tools/report/plan";
import { begin, option, ROOT, seconds, Table } from "./lib";
import { type Options, scaleOptions, stackFile } from "./scale/cloud";
import { TreeWatch, type Usage } from "./scale/process-tree";

/**
 * Preview from nothing, preview without a change and `up` without a change of clouds of many machines, by the real engine: time,
 * CPU and memory of all its processes, how they grow with the number of hosts, and which share of them the same number of
 * empty resources takes (the floor). No host is needed: the state is made out of the plan, as that of a report is
 * (tools/report/room.ts), and an `up` of it then has nothing to do.
 *
 *   npm run bench:scale -- [--hosts 10,100,500] [--root CHECKOUT] [--json FILE] [--cases cloud,floor]
 *
 * `--root` measures another checkout's program, such as that of the commit before; `--cases cloud,quick` the first preview alone, for
 * which no state has to be made.
 */

const STACK = "scale";
/** As tools/cloud has it. */
const PARALLEL = "64";
/** A state is written once for each resource that was made; what is timed writes none. */
const ONE_WRITE = ["env", "PULUMI_EXPERIMENTAL=true", "PULUMI_SKIP_CHECKPOINTS=true"];

const CASES = {
  "preview from nothing": ["preview"],
  "preview, no change": ["preview", "--expect-no-changes"],
  "up, no change": ["up", "--yes", "--skip-preview", "--expect-no-changes", "--parallel", PARALLEL],
} as const;
type Case = keyof typeof CASES;
const FIRST = "preview from nothing";
const LATER = ["preview, no change", "up, no change"] as const;
type What = "cloud" | "floor";

interface Result extends Usage {
  readonly hosts: number;
  readonly what: What;
  readonly case: Case;
  readonly resources: number;
  /** MiB of the state that it was compared with. */
  readonly stateMiB: number;
}

/** Components by name, with the number of resources in them. */
type Shape = Readonly<Record<string, number>>;

async function main(): Promise<void> {
  const sizes = option("hosts", "10,100,500").split(",").map(Number);
  const root = path.resolve(option("root", ROOT));
  const cases = option("cases", "cloud,floor").split(",");
  const table = new Table(
    ["hosts", "what", "case", "resources", "state MiB", "s", "CPU s", "peak MiB", "CPU s of"],
    [5, 5, 20, 9, 9, 7, 7, 8],
  );
  const results: Result[] = [];
  for (const hosts of sizes) {
    await inFolder(async (folder) => {
      const measured = (result: Result): void => {
        results.push(result);
        show(result, table);
      };
      const shape = await cloud(root, folder, hosts, measured, cases);
      if (cases.includes("floor")) await floor(folder, hosts, shape, measured);
    });
  }
  conclude(results);
  const file = option("json", "");
  const json = JSON.stringify(results);
  if (file) fs.writeFileSync(file, `${json}\n`);
  else console.log(`\n${json}`);
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-scale-"));
  try {
    await work(folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

type Measured = (result: Result) => void;

/** The cloud itself; what it is made of, for the floor. */
async function cloud(
  root: string,
  folder: string,
  hosts: number,
  measured: Measured,
  cases: readonly string[],
): Promise<Shape> {
  const room = await open(path.join(folder, "cloud"), root, scaleOptions(hosts));
  try {
    // Machines that exist have one already. It is the bench's own, and no machine's.
    await run(
      room,
      [],
      ...["config", "set", "--secret", "--path", "openstack-ha:secrets.pacemaker-bmc"],
      "scale-0123456789",
    );
    if (cases.includes("cloud")) measured(await time(room, hosts, "cloud", FIRST, 0));
    if (cases.includes("quick")) return {};
    const shape = shapeOf(await room.settle());
    if (!cases.includes("cloud")) return shape;
    // A plan does not show what else a state has of a resource, such as its time limits: the first `up` adds it.
    await run(room, ONE_WRITE, ...CASES["up, no change"]);
    const state = await stateMiB(room);
    for (const each of LATER) measured(await time(room, hosts, "cloud", each, state));
    return shape;
  } finally {
    room.close();
  }
}

async function floor(
  folder: string,
  hosts: number,
  shape: Shape,
  measured: Measured,
): Promise<void> {
  const room = await open(path.join(folder, "floor"), ROOT, { shape }, "bench/scale/floor.ts");
  try {
    measured(await time(room, hosts, "floor", FIRST, 0));
    await run(room, ONE_WRITE, "up", "--yes", "--skip-preview", "--parallel", PARALLEL);
    const state = await stateMiB(room);
    for (const each of LATER) measured(await time(room, hosts, "floor", each, state));
  } finally {
    room.close();
  }
}

/** A room for a program of a checkout, by default the project's own, with a stack file that is in no checkout. */
async function open(checkout: string, root: string, options: Options, main = ""): Promise<Room> {
  linkProject(root, checkout);
  if (main) fs.appendFileSync(path.join(checkout, "Pulumi.yaml"), `main: ${main}\n`);
  fs.writeFileSync(path.join(checkout, `Pulumi.${STACK}.yaml`), stackFile(options));
  return Room.open(checkout, STACK);
}

async function time(
  room: Room,
  hosts: number,
  what: What,
  each: Case,
  stateMiB: number,
): Promise<Result> {
  const watch = new TreeWatch();
  let usage: Usage;
  let said: string;
  try {
    said = await run(room, [], ...CASES[each]);
  } finally {
    usage = watch.stop();
  }
  const resources = Number(/(\d+) (?:to create|unchanged)/.exec(said)?.[1]);
  return { hosts, what, case: each, resources, stateMiB, ...usage };
}

async function run(
  room: Room,
  wrapper: readonly string[],
  ...args: readonly string[]
): Promise<string> {
  const outcome = await room.run(wrapper, ...args, "--stack", STACK);
  if (outcome.status !== 0) throw new Error(complaint(outcome).slice(-2000));
  return outcome.stdout;
}

async function stateMiB(room: Room): Promise<number> {
  return (await run(room, [], "stack", "export")).length / 2 ** 20;
}

function shapeOf(resources: readonly ResourceState[]): Shape {
  const components = new Map(
    resources
      .filter(({ custom, type }) => !custom && type !== "pulumi:pulumi:Stack")
      .map(({ urn }) => [urn, 0]),
  );
  for (const { custom, parent } of resources) {
    const children = components.get(parent ?? "");
    if (custom && children !== undefined) components.set(parent!, children + 1);
  }
  return Object.fromEntries(
    [...components].map(([urn, children]) => [nameOf(urn), children] as const),
  );
}

function show(result: Result, table: Table): void {
  const parts = Object.entries(result.parts)
    .map(([part, { cpuSeconds }]) => `${part} ${cpuSeconds.toFixed(1)}`)
    .join(", ");
  table.row(
    result.hosts,
    result.what,
    result.case,
    result.resources,
    result.stateMiB.toFixed(1),
    seconds(result.seconds * 1000),
    seconds(result.cpuSeconds * 1000),
    Math.round(result.peakMiB),
    parts,
  );
}

/** How each figure grows from one size to the next (exponent of the number of hosts), and the floor's share of it. */
function conclude(results: readonly Result[]): void {
  const find = (hosts: number, what: What, each: Case): Result | undefined =>
    results.find((one) => one.hosts === hosts && one.what === what && one.case === each);
  const sizes = [...new Set(results.map(({ hosts }) => hosts))];
  console.log();
  const growth = new Table(["growth", "hosts", "s", "CPU s", "peak MiB"], [28, 10, 6, 6]);
  for (const what of ["cloud", "floor"] as const) {
    for (const each of Object.keys(CASES) as Case[]) {
      sizes.slice(1).forEach((hosts, i) => {
        const [from, to] = [find(sizes[i]!, what, each), find(hosts, what, each)];
        if (!from || !to) return;
        const exponent = (of: (result: Result) => number): string =>
          (Math.log(of(to) / of(from)) / Math.log(to.hosts / from.hosts)).toFixed(2);
        growth.row(
          `${what}, ${each}`,
          `${from.hosts} to ${to.hosts}`,
          exponent((result) => result.seconds),
          exponent((result) => result.cpuSeconds),
          exponent((result) => result.peakMiB),
        );
      });
    }
  }
  console.log();
  const share = new Table(["floor's share", "hosts", "s", "CPU s", "peak MiB"], [28, 10, 6, 6]);
  for (const hosts of sizes) {
    for (const each of Object.keys(CASES) as Case[]) {
      const [whole, part] = [find(hosts, "cloud", each), find(hosts, "floor", each)];
      if (!whole || !part) continue;
      const percent = (of: (result: Result) => number): string =>
        `${((100 * of(part)) / of(whole)).toFixed(0)} %`;
      share.row(
        each,
        hosts,
        percent((result) => result.seconds),
        percent((result) => result.cpuSeconds),
        percent((result) => result.peakMiB),
      );
    }
  }
}

begin("scale", main);
