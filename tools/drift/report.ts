import { summary } from "./plan";
import type { Finding, HostScan } from "./scan";

/** What a scan says to people, to programs, and to cron. */

/** All that was asked. */
export interface Scan {
  readonly stack: string;
  readonly hosts: readonly HostScan[];
  /** The cloud's API as if it were a host; not there if it was not asked. */
  readonly cloud?: HostScan;
  readonly seconds: number;
}

export const NONE = 0;
export const DRIFT = 1;
export const NOT_ASKED = 2;

/** 0: all is as it was applied; 1: something is not; 2: something could not be asked, whatever the rest is. */
export function exitCode(scan: Scan): number {
  if (parts(scan).some((each) => each.error !== undefined)) return NOT_ASKED;
  return findings(scan).length ? DRIFT : NONE;
}

export function findings(scan: Scan): Finding[] {
  return parts(scan).flatMap((each) => each.findings);
}

function parts({ hosts, cloud }: Scan): HostScan[] {
  return [...hosts, ...(cloud ? [cloud] : [])];
}

/** For programs: one object. */
export function toJson(scan: Scan): string {
  const { stack, seconds } = scan;
  return JSON.stringify(
    {
      stack,
      seconds,
      exitCode: exitCode(scan),
      asked: parts(scan).map(({ host, steps, seconds: took, error }) => ({
        host,
        steps,
        seconds: took,
        ...(error === undefined ? {} : { error }),
      })),
      drift: findings(scan),
    },
    null,
    1,
  );
}

/** For people: a row a finding, the differences of files below, and one line that says it all. */
export function toText(scan: Scan): string {
  const all = findings(scan);
  const lost = parts(scan).filter((each) => each.error !== undefined);
  return [
    ...(all.length ? [...table(all), ""] : []),
    ...all.filter(({ found }) => found.includes("\n")).flatMap((each) => [...diff(each), ""]),
    ...lost.map(({ host, error }) => `${host} could not be asked: ${error ?? ""}`),
    lastLine(scan),
  ].join("\n");
}

function table(all: readonly Finding[]): string[] {
  const rows = [
    ["host", "step", "what differs"],
    ...all.map((each) => [each.host, each.step, summary(each)]),
  ];
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(1, 0, [...widths, 40].map((width) => "-".repeat(width)).join("  "));
  return lines;
}

function diff({ step, found }: Finding): string[] {
  return [`${step}:`, ...found.split("\n").map((line) => `    ${line}`)];
}

function lastLine(scan: Scan): string {
  const asked = parts(scan);
  const steps = asked.reduce((sum, each) => sum + each.steps, 0);
  const drifted = new Set(findings(scan).map((each) => each.step)).size;
  const where = `${steps} steps and resources on ${scan.hosts.length} hosts${scan.cloud ? " and in the cloud" : ""}`;
  const what = drifted === 0 ? "no drift" : `${drifted} drifted`;
  const unasked = asked.some((each) => each.error !== undefined)
    ? ", as far as could be asked"
    : "";
  return `${what} of ${where}${unasked} (${scan.seconds.toFixed(1)} s)`;
}
