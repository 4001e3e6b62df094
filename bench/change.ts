import * as fs from "node:fs";
import * as path from "node:path";
import {
  begin,
  failures,
  type Lab,
  longestGap,
  openHealthyLab,
  option,
  ROOT,
  run,
  seconds,
  sleep,
  Table,
  untilHealthy,
} from "./lib";
import { API_KINDS, Watch } from "./watch";

/**
 * Change one option of one service, and put it back, while tokens are asked for and lists are read from the APIs: which
 * steps the preview shows, how long `up` takes, and how many requests fail meanwhile.
 *
 *   npm run bench:change -- [--stack dev] [--option nova.cpuAllocationRatio] [--value 5]
 */

/** Requests before and after: HAProxy may notice a stopped server only after the step has ended. */
const AROUND_MS = 5000;
const PREVIEW_SECONDS = 300;
const UP_SECONDS = 1800;
const HEALTHY_SECONDS = 300;

async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const name = option("option", "nova.cpuAllocationRatio");
  const value = option("value", "5");
  const key = `${lab.cloud.project}:${name}`;
  const pending = await changedSteps(lab);
  if (pending.length)
    throw new Error(
      `wanted a stack without a change, found ${pending.length} changed steps (${pending.slice(0, 5).join(", ")}, …); run npm run up`,
    );
  const before = await configured(lab, key);
  if (before === value) throw new Error(`wanted another value of ${name}, found it is ${value}`);

  const file = path.join(ROOT, `Pulumi.${lab.stack}.yaml`);
  const read = (): string => fs.readFileSync(file, "utf8");
  const original = read();
  let written = original;
  const configure = async (...args: readonly string[]): Promise<void> => {
    await pulumi(lab, ["config", ...args], 60);
    written = read();
  };
  const table = new Table(
    ["change", "steps", "preview", "up", ...API_KINDS, "gap", "well"],
    [30, 5, 7, 7, ...API_KINDS.map(() => 8), 14, 7],
  );
  let back = false;
  try {
    await configure("set", "--path", key, value);
    await apply(lab, `${name} to ${value}`, table);
    if (before === undefined) await configure("rm", "--path", key);
    else await configure("set", "--path", key, before);
    await apply(lab, `… back to ${before ?? "its default"}`, table);
    back = true;
  } finally {
    // Pulumi writes an option back in another form than it was in; what somebody else has written meanwhile stays.
    if (read() === written) fs.writeFileSync(file, original);
    else console.error(`${file} was changed by somebody else meanwhile: look at ${name} in it`);
    if (!back) console.error(`${name} may still be ${value} in the cloud; run npm run up`);
  }
}

/** The changed steps, then `up` under watch; one row. */
async function apply(lab: Lab, what: string, table: Table): Promise<void> {
  const start = Date.now();
  const steps = await changedSteps(lab);
  const preview = Date.now() - start;
  if (!steps.length) throw new Error(`wanted changed steps for ${what}, found none`);
  const watch = await Watch.start(lab);
  let event: number;
  let up: number;
  try {
    await sleep(AROUND_MS);
    event = Date.now();
    await pulumi(lab, ["up", "--yes", "--skip-preview", "--suppress-outputs"], UP_SECONDS);
    up = Date.now() - event;
    await sleep(AROUND_MS);
  } finally {
    await watch.stop();
  }
  const end = event + up + AROUND_MS;
  const [worst, gap] = watch.kinds
    .map((kind): [string, number] => [kind, longestGap(watch.samples(kind), event, end)])
    .reduce((a, b) => (b[1] > a[1] ? b : a));
  const well = await untilHealthy(lab, HEALTHY_SECONDS);
  table.row(
    what,
    steps.length,
    `${seconds(preview)} s`,
    `${seconds(up)} s`,
    ...API_KINDS.map((kind) => failures(watch.samples(kind), event, end)),
    `${worst} ${seconds(gap)} s`,
    `${seconds(well)} s`,
  );
  for (const line of watch.failed(event, end)) console.log(line);
  console.log(steps.map((step) => `    ${step}`).join("\n"));
}

/** Names of the steps that a preview shows as changed, with what would be done to them. */
async function changedSteps(lab: Lab): Promise<string[]> {
  const { steps = [] } = JSON.parse(await pulumi(lab, ["preview", "--json"], PREVIEW_SECONDS)) as {
    steps?: { op: string; urn: string }[];
  };
  return steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${urn.split("::").at(-1) ?? urn}  ${op}`)
    .sort();
}

async function configured(lab: Lab, key: string): Promise<string | undefined> {
  // It fails for what is not set; what else is wrong shows at the next command.
  try {
    return (await pulumi(lab, ["config", "get", "--path", key], 60)).trim();
  } catch {
    return undefined;
  }
}

function pulumi(lab: Lab, args: readonly string[], limitSeconds: number): Promise<string> {
  return run("pulumi", [...args, "--stack", lab.stack], limitSeconds);
}

begin("change", main);
