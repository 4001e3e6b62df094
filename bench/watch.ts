import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as readline from "node:readline";
import { type Guest, Guests } from "../tools/guests";
import { eventually } from "../tools/openstack";
import {
  adminApi,
  GetClient,
  issueToken,
  type Lab,
  type Sample,
  seconds,
  sleep,
  TokenClient,
} from "./lib";

/** What users of a cloud do all the time, watched: tokens, lists of the APIs, packets to a guest, writes in it. */

interface Watcher {
  /** In the order in which they were sent. */
  readonly samples: readonly Sample[];
  start(): void | Promise<void>;
  stop(): Promise<void>;
}

/** What is listed, and under which name. */
const LISTS = [
  { kind: "nova", type: "compute", path: "/servers" },
  { kind: "neutron", type: "network", path: "/v2.0/networks" },
  { kind: "cinder", type: "volumev3", path: "/volumes" },
  { kind: "glance", type: "image", path: "/v2/images" },
] as const;

/** A guest, and those who can log in to it. */
export interface Watched {
  readonly guests: Guests;
  readonly guest: Guest;
}

/** All watchers at once, by what they watch. */
export class Watch {
  private constructor(private readonly watchers: ReadonlyMap<string, Watcher>) {}

  /** From now on; the lists with a new token, which lasts an hour. */
  static async start(lab: Lab, watched?: Watched): Promise<Watch> {
    const [api, token] = await Promise.all([adminApi(lab), issueToken(lab)]);
    const watch = new Watch(
      new Map<string, Watcher>([
        ["token", new TokenClient(lab)],
        ...LISTS.map(({ kind, type, path }): [string, Watcher] => [
          kind,
          new GetClient(`${api.endpoint(type)}${path}`, token),
        ]),
        ...(watched
          ? ([
              ["ping", new Pinger(watched.guest.floating)],
              ["disk", new DiskLoop(watched)],
            ] as const)
          : []),
      ]),
    );
    try {
      // What takes its time to start goes first.
      for (const watcher of [...watch.watchers.values()].reverse()) await watcher.start();
    } catch (error) {
      await watch.stop().catch(() => undefined);
      throw error;
    }
    return watch;
  }

  get kinds(): readonly string[] {
    return [...this.watchers.keys()];
  }

  samples(kind: string): readonly Sample[] {
    return this.watchers.get(kind)?.samples ?? [];
  }

  /** A line for each request that failed in a time, and when that was since the event and by the clock. */
  failed(event: number, end: number): string[] {
    return this.kinds.flatMap((kind) =>
      this.samples(kind)
        .filter(({ ok, start }) => !ok && start >= event && start <= end)
        .map(
          ({ start, end: until, detail }) =>
            `    failed after ${seconds(start - event)} s (${clock(start)}, for ${seconds(until - start)} s): ${kind}, ${detail}`,
        ),
    );
  }

  /** How often the session into the guest was lost. */
  get reconnects(): number {
    const disk = this.watchers.get("disk");
    return disk instanceof DiskLoop ? disk.reconnects : 0;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.watchers.values()].map((watcher) => watcher.stop()));
  }
}

/** As the hosts' logs have it. */
function clock(at: number): string {
  return new Date(at).toISOString().slice(11, 23);
}

/** Kinds that a watch with a guest has. */
export const API_KINDS = ["token", ...LISTS.map(({ kind }) => kind)];
export const ALL_KINDS = [...API_KINDS, "ping", "disk"];

/** @throws Error if this machine has no ping. */
export function wantPing(): void {
  if (spawnSync("ping", ["-V"], { stdio: "ignore" }).status !== 0)
    throw new Error(
      "wanted ping on this machine, found none; run: apt-get install -y iputils-ping",
    );
}

/** Remove what has the prefix. With a login of its own: the one from the start may have run out. */
export async function clearGuests(lab: Lab, prefix: string): Promise<void> {
  const guests = new Guests(await adminApi(lab), prefix);
  try {
    await guests.clear();
  } finally {
    guests.close();
  }
}

/** Longer than any bench; ping ends by itself should nobody end it. */
const PING_LIMIT_SECONDS = 4 * 3600;

/** One ping process that sends five packets a second. A lost packet is a request that failed. */
export class Pinger implements Watcher {
  private readonly bySequence = new Map<number, Sample>();
  private child: ChildProcess | undefined;
  private stopping = false;
  private said = "";

  constructor(
    private readonly address: string,
    private readonly interval = 200,
  ) {}

  get samples(): readonly Sample[] {
    return [...this.bySequence].sort(([a], [b]) => a - b).map(([, sample]) => sample);
  }

  start(): void {
    // -D: when each line was printed; -O: a line for each packet that had no answer when the next was sent.
    const child = spawn(
      "ping",
      [
        ...["-n", "-D", "-O", "-i", String(this.interval / 1000)],
        ...["-w", String(PING_LIMIT_SECONDS), this.address],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.child = child;
    child.on("error", (error) => (this.said = error.message));
    child.stderr.on("data", (data: Buffer) => (this.said = data.toString()));
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      this.read(line);
    });
  }

  private read(line: string): void {
    const packet = /^\[(\d+\.\d+)\] .*icmp_seq=(\d+)/.exec(line);
    if (!packet) return;
    const end = Number(packet[1]) * 1000;
    const sequence = Number(packet[2]);
    // A late answer is one. A second is not, nor is a router that knows no way.
    if (this.bySequence.get(sequence)?.ok) return;
    const took = / time=([\d.]+) ms/.exec(line);
    this.bySequence.set(
      sequence,
      took
        ? { start: end - Number(took[1]), end, ok: true, detail: "" }
        : { start: end - this.interval, end, ok: false, detail: line },
    );
  }

  /** @throws Error if it had ended before. */
  async stop(): Promise<void> {
    if (!this.child || this.stopping) return;
    this.stopping = true;
    const ended = this.child.exitCode !== null || this.child.signalCode !== null;
    this.child.kill("SIGTERM");
    // The answer to the last packet.
    await sleep(100);
    if (ended) throw new Error(`ping of ${this.address} ended by itself: ${this.said.trim()}`);
  }
}

/** The account of the test image; see tools/guests.ts. */
const USER = "debian";
/** The loop in the guest ends by itself after this. */
const LOOP_LIMIT_SECONDS = 3600;
const WRITE_PAUSE_SECONDS = 0.2;

interface Write {
  /** Seconds that the guest was up, before and after. */
  readonly from: number;
  readonly to: number;
  readonly ok: boolean;
  /** Milliseconds of this machine's clock, when it heard of it. */
  readonly heard: number;
  /** Counts the guest's boots. */
  readonly boot: number;
}

/**
 * Writes a block of 4 KiB to the guest's disk, with fsync, again and again. The loop writes its diary to the guest's memory,
 * and a session over ssh reads that: a lost session loses no line, so a gap in it is one of the disk and not of the
 * network. The diary has the guest's uptime; the quickest line says how far that is from the clock here.
 */
export class DiskLoop implements Watcher {
  /** How often the session was lost. */
  reconnects = 0;
  private readonly writes: Write[] = [];
  private readonly diary = `/tmp/bench-disk-${Date.now()}`;
  private child: ChildProcess | undefined;
  private stopping = false;
  private lines = 0;
  private boot = 0;
  private said = "";

  constructor(private readonly watched: Watched) {}

  get samples(): readonly Sample[] {
    const offsets = new Map<number, number>();
    for (const { boot, heard, to } of this.writes)
      offsets.set(boot, Math.min(offsets.get(boot) ?? Number.POSITIVE_INFINITY, heard - to * 1000));
    return this.writes.map(({ boot, from, to, ok }) => {
      const offset = offsets.get(boot) ?? 0;
      return { start: offset + from * 1000, end: offset + to * 1000, ok, detail: "" };
    });
  }

  /** Once a write has succeeded. */
  async start(): Promise<void> {
    this.connect();
    await eventually(
      "a write to the guest's disk",
      90,
      () => {
        if (this.writes.some(({ ok }) => ok)) return Promise.resolve(true);
        throw new Error(this.said.trim() || "no line of the loop");
      },
      200,
    );
  }

  private connect(): void {
    const { guests, guest } = this.watched;
    const child = spawn(
      "ssh",
      [
        ...guests.sshOptions(),
        // A session that is silent for a minute is no session; a network that is away for less is survived.
        ...["-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=12"],
        `${USER}@${guest.floating}`,
        `bash -s ${this.lines + 1}`,
      ],
      { stdio: ["pipe", "pipe", "pipe"] },
    );
    this.child = child;
    child.stdin.on("error", () => undefined);
    child.stdin.end(this.script());
    child.on("error", (error) => (this.said = error.message));
    child.stderr.on("data", (data: Buffer) => (this.said = data.toString()));
    readline.createInterface({ input: child.stdout }).on("line", (line) => {
      this.read(line);
    });
    child.on("close", () => {
      if (this.stopping) return;
      this.reconnects++;
      setTimeout(() => {
        if (!this.stopping) this.connect();
      }, 1000);
    });
  }

  /** Starts the loop where there is none, and reads its diary from a line on. */
  private script(): string {
    return `diary=${this.diary} from=$1
if [ ! -e $diary ]; then
  grep -q ' /mnt ' /proc/mounts || { echo "wanted the guest's disk at /mnt, found none" >&2; exit 1; }
  # The loops of earlier rounds end with their diaries.
  rm -f /tmp/bench-disk-*
  sudo sh -c ': >/mnt/bench && chmod 666 /mnt/bench' || exit
  : >$diary
  from=1
  cat >/tmp/bench-loop <<'END'
read -r up rest </proc/uptime
end=$((\${up%.*} + ${LOOP_LIMIT_SECONDS}))
while [ -e "$1" ]; do
  read -r up rest </proc/uptime
  [ "\${up%.*}" -lt "$end" ] || break
  ok=bad
  dd if=/dev/zero of=/mnt/bench bs=4096 count=1 conv=fsync,notrunc 2>/dev/null && ok=ok
  read -r done rest </proc/uptime
  [ ! -e "$1" ] || echo "$up $done $ok" >>"$1"
  sleep ${WRITE_PAUSE_SECONDS}
done
END
  setsid sh /tmp/bench-loop $diary </dev/null >/dev/null 2>&1 &
fi
exec tail -n "+$from" -f $diary
`;
  }

  private read(line: string): void {
    const write = /^(\d+\.\d+) (\d+\.\d+) (ok|bad)$/.exec(line);
    if (!write) return;
    const from = Number(write[1]);
    // The guest's clock went back: it was booted, and its diary is a new one.
    if (from < (this.writes.at(-1)?.from ?? 0)) {
      this.boot++;
      this.lines = 0;
    }
    this.lines++;
    this.writes.push({
      from,
      to: Number(write[2]),
      ok: write[3] === "ok",
      heard: Date.now(),
      boot: this.boot,
    });
  }

  async stop(): Promise<void> {
    if (this.stopping) return;
    // The reader polls once a second: the last lines are still to come.
    if (this.writes.length) await sleep(1500);
    this.stopping = true;
    this.child?.kill("SIGTERM");
    const { guests, guest } = this.watched;
    // The loop ends with its diary; if the guest is not reached, by itself.
    await guests.ssh(guest.floating, `rm -f ${this.diary}`, 20).catch(() => undefined);
  }
}
