import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { Room } from "../tools/report/room";
import { parsePlan } from "../tools/report/plan";
import { fileCloud } from "../tools/stack";
import { begin, median, option, ROOT, seconds, Table } from "./lib";

/**
 * Preview of each stack file with neither state nor secrets of its own, and against the state that its `up` would leave: how
 * long it takes, how it ends, and what it connected to that is not on this machine (strace).
 *
 *   npm run bench:preview -- [--rounds 3] [--stack NAME]
 *   STACK=libvirt npm run bench:preview -- --stack libvirt
 */

const TRACE = ["strace", "--follow-forks", "--seccomp-bpf", "--trace=connect", "--output"];

async function main(): Promise<void> {
  if (spawnSync("strace", ["-V"]).status !== 0)
    throw new Error("wanted strace, found none; install it");
  const rounds = Number(option("rounds", "3"));
  const table = new Table(
    ["stack", "state", "resources", "seconds", "median", "exit codes", "foreign sockets"],
    [20, 6, 10, 24, 8, 12, 15],
  );
  const only = option("stack", "");
  for (const stack of stacks().filter((each) => only === "" || each === only)) {
    const room = await Room.open(ROOT, stack);
    try {
      await measure(room, "none", rounds, table);
      await room.settle();
      await measure(room, "yes", rounds, table);
    } finally {
      room.close();
    }
  }
}

/** Those that are committed, with the example; one of hypervisors only where it is the stack, for tools/cloud builds its provider then. */
function stacks(): string[] {
  return fs
    .readdirSync(ROOT)
    .flatMap((name) => /^Pulumi\.((?!local)[\w.-]+)\.yaml$/.exec(name)?.[1] ?? [])
    .filter((name) => process.env.STACK === name || fileCloud(name).backend !== "libvirt")
    .sort();
}

async function measure(room: Room, state: string, rounds: number, table: Table): Promise<void> {
  const times: number[] = [];
  const codes: (number | null)[] = [];
  let resources = 0;
  for (let round = 0; round < rounds; round++) {
    const start = Date.now();
    const { status, stdout } = await preview(room, []);
    times.push(Date.now() - start);
    codes.push(status);
    resources = parsePlan(stdout, "pulumi preview").steps.length;
  }
  const trace = path.join(room.folder, "trace");
  codes.push((await preview(room, [...TRACE, trace])).status);
  const foreign = foreignSockets(fs.readFileSync(trace, "utf8"));
  table.row(
    room.stack,
    state,
    resources,
    times.map(seconds).join(" "),
    seconds(median(times)),
    [...new Set(codes)].join(" "),
    foreign.length,
  );
  for (const line of foreign.slice(0, 5)) console.log(`    ${line}`);
}

function preview(room: Room, wrapper: readonly string[]): ReturnType<Room["run"]> {
  return room.run(wrapper, "preview", "--stack", room.stack, "--json", "--show-sames");
}

/** Connections to anything but files of this machine and its own loopback: the engine and its plugins speak through that. */
export function foreignSockets(trace: string): string[] {
  return trace
    .split("\n")
    .filter((line) => line.includes("connect("))
    .filter((line) => !/AF_UNIX|AF_LOCAL|127\.0\.0\.1|"::1"|::ffff:127\.0\.0\.1/.test(line))
    .filter((line) => !/AF_UNSPEC|AF_NETLINK|resumed>/.test(line));
}

begin("preview", main);
