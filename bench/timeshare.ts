import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { SERVICES } from "../catalogue";
import { begin, engineEvents, option, ROOT } from "./lib";

/**
 * Where the time of an `up` went: by stage, by service, and along the chain of steps that decided how long it took.
 *
 *   npm run bench:timeshare -- LOGFILE [--svg docs/timeshare.svg] [--state FILE] [--least 1]
 *
 * LOGFILE is what `npm run up` printed; or, ending in .json, the engine's event log:
 *
 *   PULUMI_DEBUG_COMMANDS=1 npm run up -- --event-log /tmp/events.json
 *
 * Both know the order of all starts and ends, and the time to a second: events have it written, and the text has a dot for
 * each second. What a step waited for is in neither but in the stack's state, which is asked of Pulumi, or read from --state
 * (`pulumi stack export`). Without it the chain is a guess by time alone.
 */

const STAGES = [
  "lab",
  "install",
  "configure",
  "bootstrap",
  "start",
  "verify",
  "registration",
  "content",
] as const;
type Stage = (typeof STAGES)[number];

/** Something that started or ended, in order. */
interface Mark {
  readonly name: string;
  readonly type: string;
  /** Seconds since the start. */
  readonly at: number;
  readonly what: "start" | "end" | "failed";
  /** Seconds that the log says it took, where it does. */
  readonly took?: number;
}

interface Log {
  readonly marks: readonly Mark[];
  /** Seconds of all. */
  readonly wall: number;
  readonly stack: string | undefined;
  /** Of `npm run up`: its parts and when they began. */
  readonly phases: readonly { readonly name: string; readonly at: number }[];
}

/** One step of the engine. */
interface Span {
  readonly name: string;
  readonly stage: Stage;
  readonly service: string;
  readonly start: number;
  readonly end: number;
  /** Places in the order of the log. */
  readonly startOrder: number;
  readonly endOrder: number;
  readonly seconds: number;
  readonly failed: boolean;
}

function main(): Promise<void> {
  const file = process.argv[2];
  if (!file || file.startsWith("--"))
    throw new Error("wanted the log of an up, found none; usage: bench:timeshare -- LOGFILE");
  const text = fs.readFileSync(file, "utf8");
  const log = file.endsWith(".json") ? readEvents(text) : readConsole(text);
  const spans = spansOf(log);
  if (!spans.length) throw new Error(`wanted steps in ${file}, found none`);
  const running = runningBySecond(log, spans);
  const dependencies = readDependencies(log);
  const chain = chainOf(spans, dependencies);
  console.log(
    [
      ...phaseLines(log),
      ...stageLines(spans, running),
      ...serviceLines(spans),
      ...overlapLines(running),
      ...chainLines(chain, dependencies !== undefined),
    ].join("\n"),
  );
  const svg = path.resolve(ROOT, option("svg", "docs/timeshare.svg"));
  fs.writeFileSync(svg, picture(spans, running));
  console.error(`\nwritten: ${path.relative(process.cwd(), svg)}`);
  return Promise.resolve();
}

// --- reading ---------------------------------------------------------------------------------------

const LINE =
  /^ ?[-+~<>=]{1,2}\s+(\S+) (\S+) (?:\*\*)?(creat|updat|delet|replac|read|refresh)(ing|ed|e)?(?: replacement| original)?( failed)?(?:\*\*)?(?: \((\d+(?:\.\d+)?)s\))?/;

/** What `npm run up` prints; of several the last. */
function readConsole(text: string): Log {
  const phases: { name: string; at: number }[] = [];
  let marks: Mark[] = [];
  let stack: string | undefined;
  let started = new Set<string>();
  let at = 0;
  for (const line of text.split("\n")) {
    const begun = /^Updating \((.+)\):/.exec(line);
    if (begun) {
      stack = begun[1]?.split("/").at(-1);
      marks = [];
      started = new Set();
      at = 0;
      continue;
    }
    const phase = /^== (.+) \((\d+) s\)$/.exec(line);
    if (phase) {
      phases.push({ name: phase[1] as string, at: Number(phase[2]) });
      continue;
    }
    // It starts with three dots and gets one more each second.
    const dots = /^@ updating(\.*)/.exec(line);
    if (dots) {
      at += Math.max(0, (dots[1] as string).length - 3);
      continue;
    }
    const found = LINE.exec(line);
    if (!found) continue;
    const [, type = "", name = "", , form, failed, took] = found;
    if (failed || form !== "ing") {
      const seconds = took === undefined ? {} : { took: Number(took) };
      marks.push({ name, type, at, what: failed ? "failed" : "end", ...seconds });
    } else if (!started.has(name)) {
      started.add(name);
      marks.push({ name, type, at, what: "start" });
    }
  }
  return { marks, wall: at, stack, phases };
}

function readEvents(text: string): Log {
  const events = engineEvents(text);
  const first = events[0]?.timestamp ?? 0;
  let stack: string | undefined;
  const marks = events.flatMap((event): Mark[] => {
    const { resourcePreEvent: pre, resOutputsEvent: done, resOpFailedEvent: failed } = event;
    const metadata = (pre ?? done ?? failed)?.metadata;
    // Nothing is done for what stays the same.
    if (!metadata || metadata.op === "same") return [];
    const [, , urnStack] = metadata.urn.split(":");
    stack = urnStack;
    return [
      {
        name: metadata.urn.split("::").at(-1) ?? metadata.urn,
        type: metadata.type,
        at: event.timestamp - first,
        what: pre ? "start" : done ? "end" : "failed",
      },
    ];
  });
  return { marks, wall: (events.at(-1)?.timestamp ?? first) - first, stack, phases: [] };
}

/** Names of what each resource waits for, by its own; undefined where there is no state to ask. */
function readDependencies(log: Log): ReadonlyMap<string, readonly string[]> | undefined {
  const file = option("state", "");
  let text: string;
  if (file) text = fs.readFileSync(file, "utf8");
  else {
    if (log.stack === undefined) return undefined;
    const asked = spawnSync("pulumi", ["stack", "export", "--stack", log.stack], {
      cwd: ROOT,
      encoding: "utf8",
      timeout: 60_000,
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "ignore"],
    });
    if (asked.status !== 0) return undefined;
    text = asked.stdout;
  }
  const { deployment } = JSON.parse(text) as {
    deployment?: { resources?: { urn: string; dependencies?: string[] }[] };
  };
  const last = (urn: string): string => urn.split("::").at(-1) ?? urn;
  const resources = deployment?.resources ?? [];
  if (!resources.length) return undefined;
  return new Map(
    resources.map(({ urn, dependencies = [] }) => [last(urn), dependencies.map(last)]),
  );
}

// --- counting --------------------------------------------------------------------------------------

function spansOf({ marks, wall }: Log): Span[] {
  const open = new Map<string, { at: number; order: number }>();
  const spans: Span[] = [];
  const close = (mark: Mark, endOrder: number): void => {
    const start = open.get(mark.name);
    const place = placeOf(mark);
    if (!start || !place) return;
    open.delete(mark.name);
    // Below a second the text has hundredths; above, the clock is as good as what it says.
    const clock = mark.at - start.at;
    const seconds = mark.took !== undefined && mark.took < 1 ? mark.took : clock;
    spans.push({
      name: mark.name,
      ...place,
      start: start.at,
      end: mark.at,
      startOrder: start.order,
      endOrder,
      seconds,
      failed: mark.what === "failed",
    });
  };
  const types = new Map<string, string>();
  marks.forEach((mark, order) => {
    types.set(mark.name, mark.type);
    if (mark.what === "start") open.set(mark.name, { at: mark.at, order });
    else close(mark, order);
  });
  // Of a log that is still written, or of an engine that was killed.
  for (const name of [...open.keys()])
    close({ name, type: types.get(name) ?? "", at: wall, what: "failed" }, marks.length);
  return spans;
}

/** Where a resource belongs; undefined for what is none of the engine's work, such as components. */
function placeOf({ name, type }: Mark): { stage: Stage; service: string } | undefined {
  if (/^(pulumi|openstack-ha):/.test(type)) return undefined;
  const [first = ""] = name.split("-");
  if (first === "lab") {
    const [, kind = ""] = name.split("-");
    return { stage: "lab", service: `lab (${kind})` };
  }
  if (first === "registration" || first === "content") return { stage: first, service: first };
  // The longest name first: nova-compute is not nova.
  const service = SERVICES.map((entry) => entry.name)
    .sort((a, b) => b.length - a.length)
    .find((each) => name.startsWith(`${each}-`));
  if (service === undefined) return undefined;
  const [stage = ""] = name.slice(service.length + 1).split("-");
  // What only base has: the runner of the steps, and the secrets that they read.
  const renamed = { runner: "install", secrets: "configure" }[stage] ?? stage;
  const known = STAGES.find((each) => each === renamed);
  return known && { stage: known, service };
}

/** Which steps ran at the end of each second. */
function runningBySecond({ marks, wall }: Log, spans: readonly Span[]): Span[][] {
  const byStart = new Map(spans.map((span) => [span.startOrder, span]));
  const byEnd = new Map(spans.map((span) => [span.endOrder, span]));
  const now = new Set<Span>();
  const seconds: Span[][] = [];
  const advance = (to: number): void => {
    while (seconds.length < to) seconds.push([...now]);
  };
  marks.forEach(({ at }, order) => {
    advance(at);
    const started = byStart.get(order);
    const ended = byEnd.get(order);
    if (started) now.add(started);
    if (ended) now.delete(ended);
  });
  advance(wall);
  return seconds;
}

interface Link {
  readonly span: Span;
  /** Seconds between the end of the link before and the start of this one. */
  readonly waited: number;
}

/**
 * The chain that decided when all was done: the step that ended last, before it what it waited for that ended last, and so
 * on. Without known dependencies, what ended last before it began.
 */
function chainOf(
  spans: readonly Span[],
  dependencies: ReadonlyMap<string, readonly string[]> | undefined,
): Link[] {
  const byName = new Map(spans.map((span) => [span.name, span]));
  const latest = (of: readonly Span[]): Span | undefined =>
    of.reduce<Span | undefined>((a, b) => (a && a.endOrder > b.endOrder ? a : b), undefined);
  const before = (span: Span): Span | undefined => {
    const waitedFor = dependencies?.get(span.name);
    return latest(
      waitedFor
        ? waitedFor.flatMap((name) => byName.get(name) ?? [])
        : spans.filter(({ endOrder }) => endOrder < span.startOrder),
    );
  };
  const chain: Link[] = [];
  const seen = new Set<Span>();
  for (let span = latest(spans); span && !seen.has(span);) {
    seen.add(span);
    const previous = before(span);
    chain.unshift({ span, waited: span.start - (previous?.end ?? 0) });
    span = previous;
  }
  return chain;
}

// --- telling ---------------------------------------------------------------------------------------

const share = (part: number, all: number): string => `${((100 * part) / (all || 1)).toFixed(1)} %`;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const total = (spans: readonly Span[]): number => sum(spans.map(({ seconds }) => seconds));

function markdown(
  heads: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string[] {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  return ["", line(heads), line(heads.map(() => "---")), ...rows.map(line)];
}

function phaseLines({ phases }: Log): string[] {
  // The last says when all was done.
  const rows = phases
    .slice(0, -1)
    .map(({ name, at }, i) => [name, (phases[i + 1]?.at ?? at) - at] as const);
  return rows.length ? markdown(["part of `npm run up`", "seconds"], rows) : [];
}

function stageLines(spans: readonly Span[], running: readonly Span[][]): string[] {
  const all = total(spans);
  const wall = running.length;
  const rows = STAGES.flatMap((stage) => {
    const own = spans.filter((span) => span.stage === stage);
    if (!own.length) return [];
    const seconds = running.filter((now) => now.some((span) => span.stage === stage)).length;
    return [
      [
        stage,
        own.length,
        total(own).toFixed(0),
        share(total(own), all),
        seconds,
        share(seconds, wall),
      ],
    ];
  });
  const idle = running.filter((now) => !now.length).length;
  const failed = spans.filter((span) => span.failed);
  return [
    ...markdown(
      [
        "stage",
        "steps",
        "seconds of all steps",
        "share",
        "seconds with one running",
        "share of the wall time",
      ],
      [
        ...rows,
        ["no step runs", "", "", "", idle, share(idle, wall)],
        ["all", spans.length, all.toFixed(0), "", wall, ""],
      ],
    ),
    ...(failed.length
      ? ["", `Failed, or not yet ended: ${failed.map(({ name }) => name).join(", ")}.`]
      : []),
  ];
}

function serviceLines(spans: readonly Span[]): string[] {
  const all = total(spans);
  const rows = servicesByTime(spans).map(([service, own]) => {
    const longest = own.reduce((a, b) => (b.seconds > a.seconds ? b : a));
    return [
      service,
      own.length,
      total(own).toFixed(0),
      share(total(own), all),
      `${longest.name} ${longest.seconds.toFixed(0)} s`,
    ];
  });
  return markdown(["service", "steps", "seconds of all steps", "share", "longest step"], rows);
}

function servicesByTime(spans: readonly Span[]): [string, Span[]][] {
  const services = new Map<string, Span[]>();
  for (const span of spans)
    services.set(span.service, [...(services.get(span.service) ?? []), span]);
  return [...services].sort(([, a], [, b]) => total(b) - total(a));
}

/** How many steps ran at once: the engine's own limit shows here. */
function overlapLines(running: readonly Span[][]): string[] {
  const most = Math.max(0, ...running.map((now) => now.length));
  const rows = Array.from({ length: most + 1 }, (_, count) => {
    const seconds = running.filter((now) => now.length === count).length;
    return [count, seconds, share(seconds, running.length)];
  });
  return markdown(["steps at once", "seconds", "share of the wall time"], rows);
}

function chainLines(chain: readonly Link[], certain: boolean): string[] {
  const least = Number(option("least", "1"));
  const waited = sum(chain.map((link) => link.waited));
  const byStage = STAGES.flatMap((stage) => {
    const own = chain.filter(({ span }) => span.stage === stage).map(({ span }) => span);
    return own.length ? [`${stage} ${sum(own.map((s) => s.end - s.start))} s`] : [];
  });
  return [
    "",
    `The chain that decided the end (${certain ? "by what each step waited for" : "a guess, by time alone: no state was found"}): ` +
      `${[...byStage, `between steps ${waited} s`].join(", ")}. Its links of ${least} s and more:`,
    ...markdown(
      ["step", "from", "to", "seconds", "waited before"],
      chain
        .filter(({ span, waited: before }) => span.end - span.start >= least || before >= least)
        .map(({ span, waited: before }) => [
          span.name,
          span.start,
          span.end,
          span.end - span.start,
          before,
        ]),
    ),
  ];
}

// --- the picture -----------------------------------------------------------------------------------

const COLOUR: Readonly<Record<Stage, string>> = {
  lab: "#64748b",
  install: "#b45309",
  configure: "#ca8a04",
  bootstrap: "#7c3aed",
  start: "#1d4ed8",
  verify: "#0f766e",
  registration: "#be185d",
  content: "#15803d",
};
const IDLE = "#dc2626";
const SIZE = { margin: 24, label: 150, chart: 680, value: 130, row: 22, bar: 14 };

/** Above, when steps of each stage ran, the darker the more; below, what the steps of each service took together. */
function picture(spans: readonly Span[], running: readonly Span[][]): string {
  const wall = running.length || 1;
  const stages = STAGES.filter((stage) => spans.some((span) => span.stage === stage));
  const services = servicesByTime(spans).filter(([, own]) => total(own) >= 1);
  const left = SIZE.margin + SIZE.label;
  const width = left + SIZE.chart + SIZE.value + SIZE.margin;
  const upper = SIZE.margin + 60;
  const lower = upper + (stages.length + 1) * SIZE.row + 80;
  const height = lower + services.length * SIZE.row + SIZE.margin;
  const all = total(spans);
  const x = (second: number): number => left + (second / wall) * SIZE.chart;

  const when = (label: string, colour: string, y: number, counts: readonly number[]): string[] => [
    text(SIZE.margin, y + 11, label, 12, "#1e293b"),
    ...stretches(counts).map(({ from, to, count }) =>
      rectangle(x(from), y, x(to) - x(from), colour, Math.min(1, 0.3 + count * 0.1)),
    ),
  ];
  const most = Math.max(...services.map(([, own]) => total(own)), 1);
  const body = [
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(
      SIZE.margin,
      38,
      `npm run up: ${wall} s, in steps of ${all.toFixed(0)} s together`,
      18,
      "#0f172a",
    ),
    text(SIZE.margin, 62, "When steps of each stage ran; darker: more at once", 13, "#475569"),
    ...axis(wall).map((second) =>
      [
        `<line x1="${x(second)}" y1="${upper - 6}" x2="${x(second)}" y2="${upper + (stages.length + 1) * SIZE.row}" stroke="#e2e8f0"/>`,
        text(
          x(second) + 2,
          upper + (stages.length + 1) * SIZE.row + 14,
          `${second} s`,
          10,
          "#64748b",
        ),
      ].join("\n"),
    ),
    ...stages.flatMap((stage, i) => {
      const own = spans.filter((span) => span.stage === stage);
      const y = upper + i * SIZE.row;
      const counts = running.map((now) => now.filter((span) => span.stage === stage).length);
      return [
        ...when(stage, COLOUR[stage], y, counts),
        value(y, `${total(own).toFixed(0)} s, ${share(total(own), all)}`),
      ];
    }),
    ...when(
      "no step runs",
      IDLE,
      upper + stages.length * SIZE.row,
      // As dark as can be.
      running.map((now) => (now.length ? 0 : 7)),
    ),
    text(SIZE.margin, lower - 14, "What the steps of each service took together", 13, "#475569"),
    ...services.flatMap(([service, own], i) => {
      const y = lower + i * SIZE.row;
      let at = left;
      return [
        text(SIZE.margin, y + 11, service, 12, "#1e293b"),
        ...stages.flatMap((stage) => {
          const long = (total(own.filter((span) => span.stage === stage)) / most) * SIZE.chart;
          const bar = long ? [rectangle(at, y, long, COLOUR[stage], 1)] : [];
          at += long;
          return bar;
        }),
        value(y, `${total(own).toFixed(0)} s, ${share(total(own), all)}`),
      ];
    }),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif">\n${body.join("\n")}\n</svg>\n`;
}

/** Seconds one after another with the same count, none where it is 0. */
function stretches(counts: readonly number[]): { from: number; to: number; count: number }[] {
  const found: { from: number; to: number; count: number }[] = [];
  counts.forEach((count, second) => {
    const last = found.at(-1);
    if (!count) return;
    if (last?.to === second && last.count === count) last.to = second + 1;
    else found.push({ from: second, to: second + 1, count });
  });
  return found;
}

/** About eight marks at round numbers. */
function axis(wall: number): number[] {
  const step = [5, 10, 15, 30, 60, 120, 300, 600].find((each) => wall / each <= 10) ?? 1200;
  return Array.from({ length: Math.floor(wall / step) + 1 }, (_, i) => i * step);
}

function rectangle(x: number, y: number, width: number, fill: string, opacity: number): string {
  return `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${SIZE.bar}" fill="${fill}" fill-opacity="${opacity.toFixed(2)}"/>`;
}

function value(y: number, content: string): string {
  return text(SIZE.margin + SIZE.label + SIZE.chart + 10, y + 11, content, 11, "#475569");
}

function text(x: number, y: number, content: string, size: number, fill: string): string {
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y}" font-size="${size}" fill="${fill}">${escaped}</text>`;
}

begin("timeshare", main);
