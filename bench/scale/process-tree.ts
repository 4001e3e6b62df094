import * as fs from "node:fs";

/** What a command and all that it starts take: a plugin is nobody's child for `wait`, so they are looked at while they run. */

/** The parts of a run of the engine, by what is on their command lines. */
const PARTS = [
  ["program", /@pulumi\/pulumi\/cmd\/run\b/],
  ["host", /pulumi-language-nodejs|language-nodejs[^\0]*\/host\.js/],
  ["plugins", /pulumi-resource-/],
  ["engine", /(^|\/)pulumi\0/],
] as const;

type Part = (typeof PARTS)[number][0] | "other";

export interface Usage {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** MiB of the whole tree at its fullest. What processes share is counted for each. */
  readonly peakMiB: number;
  readonly parts: Readonly<Partial<Record<Part, { cpuSeconds: number; peakMiB: number }>>>;
}

const SAMPLE_MS = 200;
/** Linux counts in these on every architecture that this runs on. */
const TICKS_A_SECOND = 100;
const PAGE_MIB = 4096 / 2 ** 20;

/** Watches the processes below one that is to be started by `start`. */
export class TreeWatch {
  private readonly started = process.hrtime.bigint();
  private readonly cpu = new Map<number, { part: Part; seconds: number }>();
  private readonly peaks = new Map<Part, number>();
  private peak = 0;
  private readonly timer = setInterval(() => {
    this.sample();
  }, SAMPLE_MS);

  stop(): Usage {
    clearInterval(this.timer);
    const seconds = Number(process.hrtime.bigint() - this.started) / 1e9;
    const parts: Partial<Record<Part, { cpuSeconds: number; peakMiB: number }>> = {};
    for (const { part, seconds: cpuSeconds } of this.cpu.values()) {
      const before = parts[part]?.cpuSeconds ?? 0;
      parts[part] = { cpuSeconds: before + cpuSeconds, peakMiB: this.peaks.get(part) ?? 0 };
    }
    const cpuSeconds = Object.values(parts).reduce((sum, each) => sum + each.cpuSeconds, 0);
    return { seconds, cpuSeconds, peakMiB: this.peak, parts };
  }

  private sample(): void {
    const now = new Map<Part, number>();
    for (const pid of descendants(process.pid)) {
      const found = look(pid);
      if (!found) continue;
      // One that has just been forked has its parent's command line, and one that has ended has none.
      const part = found.command ? partOf(found.command) : (this.cpu.get(pid)?.part ?? "other");
      this.cpu.set(pid, { part, seconds: found.cpuSeconds });
      now.set(part, (now.get(part) ?? 0) + found.rssMiB);
    }
    for (const [part, mib] of now) this.peaks.set(part, Math.max(mib, this.peaks.get(part) ?? 0));
    this.peak = Math.max(
      this.peak,
      [...now.values()].reduce((sum, mib) => sum + mib, 0),
    );
  }
}

function partOf(command: string): Part {
  return PARTS.find(([, pattern]) => pattern.test(command))?.[0] ?? "other";
}

/** Every process below one, itself not. */
function descendants(pid: number): number[] {
  let threads: string[];
  try {
    threads = fs.readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
  return threads
    .flatMap((thread) => read(`/proc/${pid}/task/${thread}/children`).trim().split(" "))
    .filter(Boolean)
    .map(Number)
    .flatMap((child) => [child, ...descendants(child)]);
}

function look(pid: number): { command: string; cpuSeconds: number; rssMiB: number } | undefined {
  // After the name, which may have any sign in it: state is the first.
  const fields = read(`/proc/${pid}/stat`)
    .replace(/^.*\) /s, "")
    .split(" ");
  if (fields.length < 22) return undefined;
  return {
    command: read(`/proc/${pid}/cmdline`),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND,
    rssMiB: Number(fields[21]) * PAGE_MIB,
  };
}

/** Empty of what is gone. */
function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
