import * as readline from "node:readline/promises";
import { parseArgs } from "node:util";
import { resourcesOf, scanApi } from "./drift/cloud";
import { isSettled, repairPlan, type RepairPlan } from "./drift/plan";
import { applyPlan, previewPlan } from "./drift/repair";
import { exitCode, findings, NOT_ASKED, NONE, type Scan, toJson, toText } from "./drift/report";
import { type HostScan, scanHosts } from "./drift/scan";
import { plannedSteps } from "./drift/steps";
import { checkOnHost, HostError, needHostFiles } from "./hosts";
import { program } from "./program";
import { type StateResource, stackCloud, stackName, stackState } from "./stack";

/**
 * npm run drift [-- STACK] [--json] [--no-cloud] [--repair [NAME...] [--yes]]: what on the hosts, and in the cloud's API,
 * is other than it was applied last. Every step is checked on all hosts at once, and nothing is changed.
 *
 * --repair runs the steps again that have drifted, or those that are named, and no others. It shows which, and asks.
 *
 * Exit code 0 if there is no drift, 1 if there is some, 2 if a host or the API could not be asked, or something else went
 * wrong. After a repair it is that of the scan that follows.
 */

/** Seconds that a host has for all of its steps. */
const HOST_SECONDS = 300;
/** Seconds after a repair in which services may still come to themselves. */
const SETTLE_SECONDS = 180;
const REPEAT_SECONDS = 5;

interface Options {
  readonly stack: string;
  readonly json: boolean;
  readonly cloud: boolean;
  readonly repair: boolean;
  readonly names: readonly string[];
  readonly yes: boolean;
}

/** @throws TypeError for an option that there is not. */
export function options(argv: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      "no-cloud": { type: "boolean", default: false },
      repair: { type: "boolean", default: false },
      yes: { type: "boolean", default: false },
    },
  });
  const stack = stackName();
  const names = argv[0] === stack ? positionals.slice(1) : positionals;
  if (names.length && !values.repair)
    throw new TypeError(`${names.join(" ")}: names are for --repair, and come after it`);
  return {
    ...{ stack, names, repair: values.repair, yes: values.yes, json: values.json },
    cloud: !values["no-cloud"],
  };
}

async function main(): Promise<void> {
  const chosen = options(process.argv.slice(2));
  needHostFiles(chosen.stack);
  const state = stackState(chosen.stack);
  const scan = await scanCloud(chosen, state);
  if (!chosen.repair) {
    show(chosen, scan);
    return;
  }
  console.log(toText(scan));
  const plan = repairPlan(state, plannedSteps(state), findings(scan), chosen.names);
  if (!plan.steps.length && !plan.resources.length) {
    process.exitCode = exitCode(scan);
    return;
  }
  await previewPlan(chosen.stack, state, plan);
  console.log(`\n${planText(plan)}`);
  if (!chosen.yes && !(await confirmed())) {
    process.exitCode = exitCode(scan);
    return;
  }
  await applyPlan(chosen.stack, plan);
  show(chosen, await settledScan(chosen));
}

function show({ json }: Options, scan: Scan): void {
  console.log(json ? toJson(scan) : toText(scan));
  process.exitCode = exitCode(scan);
}

/** Hosts and API at the same time. */
export async function scanCloud(
  { stack, cloud }: Pick<Options, "stack" | "cloud">,
  state: readonly StateResource[],
): Promise<Scan> {
  const started = Date.now();
  const resources = cloud ? resourcesOf(state) : [];
  const known = new Map(stackCloud(stack).hosts.map((host) => [host.name, host]));
  const [hosts, api] = await Promise.all([
    scanHosts(
      plannedSteps(state),
      async (name, documents) => {
        const host = known.get(name);
        if (!host) throw new HostError(`${name} is not in the configuration any more`, null);
        return await checkOnHost(stack, host, documents, HOST_SECONDS);
      },
      progress,
    ),
    resources.length ? scanApi(stack, resources) : undefined,
  ]);
  if (api) progress(api);
  const seconds = (Date.now() - started) / 1000;
  return { stack, hosts, seconds, ...(api ? { cloud: api } : {}) };
}

function progress({ host, steps, findings: found, error, seconds }: HostScan): void {
  const what = error ?? (found.length ? `${found.length} differences` : "as applied");
  console.error(`${host.padEnd(12)} ${steps} asked, ${what} (${seconds.toFixed(1)} s)`);
}

/** Services that were just started anew have a while to be well. */
async function settledScan(chosen: Options): Promise<Scan> {
  const end = Date.now() + SETTLE_SECONDS * 1000;
  for (;;) {
    const scan = await scanCloud(chosen, stackState(chosen.stack));
    if (exitCode(scan) === NONE || isSettled(findings(scan)) || Date.now() > end) return scan;
    await new Promise((resolve) => setTimeout(resolve, REPEAT_SECONDS * 1000));
  }
}

/** What a repair would do, for people. */
export function planText({ steps, resources, left }: RepairPlan): string {
  const rows = [...steps, ...resources];
  const width = Math.max(...rows.map(({ name }) => name.length));
  return [
    `${rows.length} to repair, each after what it waits for:`,
    ...rows.map(({ name, why }) => `  ${name.padEnd(width)}  ${why}`),
    ...(left.length ? [`not run again, since they only wait to be well: ${left.join(", ")}`] : []),
  ].join("\n");
}

async function confirmed(): Promise<boolean> {
  if (!process.stdin.isTTY) {
    console.error("not repaired: there is nobody to ask; give --yes to go without");
    return false;
  }
  const terminal = readline.createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question("Repair? [y/N] ");
  terminal.close();
  return /^y(es)?$/i.test(answer.trim());
}

if (require.main === module) program(main, NOT_ASKED);
