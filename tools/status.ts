import { type ServiceEntry, type ServiceName, servicesOf } from "../catalogue";
import { CHECKS } from "../components/checks";
import { stepDocument } from "../components/step";
import type { Cloud, HostConfig } from "../config";
import { Secrets } from "../secrets";
import { checkOnHost, needHostFiles } from "./hosts";
import { program } from "./program";
import { stackCloud, stackName } from "./stack";

/**
 * npm run status [STACK] [--json] [--wait SECONDS]: ask every service on every host whether it works, all at once and
 * changing nothing, and show the answers as a table. Exit code 0 if all is well, 1 if something is not.
 *
 * The checks are those that the last step of each service ends with (scripts/<service>/verify.sh).
 */

/** Seconds that a host has for all of its checks. */
const TIMEOUT = 60;
const REPEAT_SECONDS = 2;

export interface Health {
  readonly service: string;
  readonly host: string;
  readonly ok: boolean;
  /** What is wrong; or, where all is well, what is worth knowing. */
  readonly detail: string;
}

async function main(): Promise<void> {
  const stack = stackName();
  const cloud = stackCloud(stack);
  needHostFiles(stack);
  const wait = option("--wait");
  const end = Date.now() + 1000 * Number(wait ?? 0);
  let health = await cloudHealth(cloud, stack);
  while (health.some((each) => !each.ok) && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, REPEAT_SECONDS * 1000));
    health = await cloudHealth(cloud, stack);
  }
  console.log(
    process.argv.includes("--json") ? JSON.stringify(health, null, 1) : table(cloud, health),
  );
  process.exitCode = health.every((each) => each.ok) ? 0 : 1;
}

/** Every service of every host. */
export async function cloudHealth(cloud: Cloud, stack: string): Promise<Health[]> {
  return (await Promise.all(cloud.hosts.map((host) => hostHealth(cloud, stack, host)))).flat();
}

async function hostHealth(cloud: Cloud, stack: string, host: HostConfig): Promise<Health[]> {
  const entries = servicesOf(cloud, host);
  // Names and versions of secrets are in the documents, never a value: no seed is needed here.
  const secrets = new Secrets(cloud, { seed: undefined, overrides: {} });
  const documents = entries.map((entry): unknown =>
    JSON.parse(checkDocument(cloud, host, entry, secrets)),
  );
  try {
    const results = await checkOnHost(stack, host, documents, TIMEOUT + 10);
    return results.map((result) => ({
      service: result.service,
      host: host.name,
      ok: result.differences.length === 0,
      detail: (result.differences.length
        ? result.differences.map((d) => d.found)
        : result.facts
      ).join("; "),
    }));
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return entries.map((entry) => ({ service: entry.name, host: host.name, ok: false, detail }));
  }
}

/** The document of a service's check alone. */
export function checkDocument(
  cloud: Cloud,
  host: HostConfig,
  entry: ServiceEntry,
  secretsFrom: Pick<Secrets, "ref">,
): string {
  return stepDocument({
    ...CHECKS[entry.name as ServiceName](cloud, host),
    script: "lib/verify.sh",
    service: entry.name,
    stage: "verify",
    host,
    secretsFrom,
    timeout: TIMEOUT,
  });
}

/** Services down, hosts across. */
export function table(cloud: Cloud, health: readonly Health[]): string {
  const services = [...new Set(health.map((each) => each.service))];
  const cell = (service: string, host: string): string => {
    const found = health.find((each) => each.service === service && each.host === host);
    if (!found) return "";
    return found.ok ? `ok  ${found.detail}` : "NOT OK";
  };
  const rows = [
    ["", ...cloud.hosts.map((host) => host.name)],
    ...services.map((service) => [service, ...cloud.hosts.map((host) => cell(service, host.name))]),
  ];
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((text, i) => text.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "));
  const problems = health.filter((each) => !each.ok);
  return [
    ...lines,
    "",
    problems.length === 0
      ? `all ${health.length} checks are well`
      : `${problems.length} of ${health.length} checks ${problems.length === 1 ? "is" : "are"} NOT OK:`,
    ...problemLines(cloud, problems),
  ].join("\n");
}

/** A host that does not answer is one line, not one a check. */
function problemLines(cloud: Cloud, problems: readonly Health[]): string[] {
  return cloud.hosts.flatMap((host) => {
    const here = problems.filter((each) => each.host === host.name);
    const [first] = here;
    return first && here.length > 1 && here.every((each) => each.detail === first.detail)
      ? [`  ${host.name}: ${first.detail} (all ${here.length} checks)`]
      : here.map((each) => `  ${host.name} ${each.service}: ${each.detail}`);
  });
}

function option(name: string): string | undefined {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

if (require.main === module) program(main);
