import * as fs from "node:fs";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { carriers, SERVICES, type ServiceEntry, servicesIn, servicesOf } from "../catalogue";
import type { Cloud, HostConfig } from "../config";
import type { StepDocument } from "../components/document";
import { program } from "./program";
import {
  documentOf,
  nameOf,
  type Plan,
  parsePlan,
  type PlanStep,
  type ResourceState,
} from "./report/plan";
import { Room } from "./report/room";
import { fileCloud } from "./stack";

/**
 * npm run explain -- [--stack STACK] [--plan FILE] NAME: what a service, a host, a step or any other resource is, why it is
 * there, what it waits for and what waits for it, and what restarts when it changes. From the catalogue and from a plan,
 * which is made without the stack's state and secrets.
 */

const ROOT = path.join(__dirname, "..");
const USAGE =
  "wanted one name of a service, a host, a step or a resource: npm run explain -- [--stack STACK] [--plan FILE] haproxy";

/** What is asked about. */
interface Subject {
  readonly cloud: Cloud;
  readonly plan: Plan;
}

/**
 * What is known of a name.
 * @throws Error with the closest names, if there is none such.
 */
export function explain(subject: Subject, name: string): string {
  const entry = servicesIn(subject.cloud).find((each) => each.name === name);
  if (entry) return explainService(subject, entry);
  const host = subject.cloud.hosts.find((each) => each.name === name);
  if (host) return explainHost(subject, host);
  const step = subject.plan.steps.find(({ urn }) => nameOf(urn) === name);
  if (step) return explainResource(subject, step);
  const names = namesOf(subject);
  const elsewhere = SERVICES.some((each) => each.name === name)
    ? ", which this cloud does not have"
    : "";
  throw new Error(
    `wanted a service, a host, a step or a resource of ${subject.cloud.stack}, found ${name}${elsewhere}; the closest are ${closest(names, name).join(", ")}`,
  );
}

function namesOf({ cloud, plan }: Subject): string[] {
  return [
    ...servicesIn(cloud).map(({ name }) => name),
    ...cloud.hosts.map(({ name }) => name),
    ...plan.steps.map(({ urn }) => nameOf(urn)),
  ];
}

// ---- A service --------------------------------------------------------------------------------------------------

function explainService({ cloud, plan }: Subject, entry: ServiceEntry): string {
  const steps = plan.steps.filter(
    ({ newState }) => documentOf(newState)?.step.service === entry.name,
  );
  const [first] = carriers(cloud, entry);
  const onFirst = steps.filter(({ newState }) => documentOf(newState)?.step.host === first?.name);
  const users = servicesIn(cloud).filter((each) => each.dependsOn.includes(entry.name));
  return sections(`${entry.name}: a service of the layer ${entry.layer}`, [
    ["why it is as it is", [entry.why]],
    [
      "runs on",
      [
        carriers(cloud, entry)
          .map(({ name }) => name)
          .join(", "),
        `${entry.mode}; started, watched and restarted by ${entry.manager}`,
      ],
    ],
    ["depends on", [list(entry.dependsOn)]],
    ["needed by", [list(users.map(({ name }) => name))]],
    ["ports", ports(cloud, entry)],
    ["asked whether it works", [entry.health]],
    ["when it, or its host, dies", [entry.whenItDies]],
    ["a changed file", takeUps(entry)],
    ["secrets", [list(entry.secrets)]],
    [
      `steps on ${first?.name ?? "no host"}`,
      onFirst.map(({ newState, urn }) => `${nameOf(urn)}: ${summary(documentOf(newState))}`),
    ],
  ]);
}

/** Of HAProxy, those of all that it offers. */
function ports(cloud: Cloud, entry: ServiceEntry): string[] {
  const own = entry.ports.map(({ port, protocol, purpose }) => `${port}/${protocol} ${purpose}`);
  const offering = entry.name === "haproxy" ? servicesIn(cloud) : [entry];
  const frontends = offering.flatMap((each) => each.frontends ?? []);
  const offered = frontends.flatMap(({ name, port, vips }) =>
    vips.map((vip) => `${cloud.vips[vip]}:${port}, the ${vip} VIP, as ${name}`),
  );
  return [...own, ...offered];
}

function takeUps({ takeUp }: ServiceEntry): string[] {
  return takeUp.map(
    ({ apiCallsMayFail, files, how, notice, turns, what }) =>
      `${files.join(", ")}\n      ${what} ${how}, ${turns ? "one host after the other" : "on all hosts at once"}; who notices: ${notice}; ${apiCallsMayFail ? "API calls can fail" : "no API call fails"}`,
  );
}

function summary(document: StepDocument | undefined): string {
  const files = Object.keys(document?.files ?? {});
  return [
    files.length ? `${files.length} ${files.length === 1 ? "file" : "files"}` : "",
    document?.script ? "a script" : "",
  ]
    .filter(Boolean)
    .join(" and ");
}

// ---- A host -----------------------------------------------------------------------------------------------------

function explainHost({ cloud, plan }: Subject, host: HostConfig): string {
  const steps = plan.steps.filter(({ newState }) => documentOf(newState)?.step.host === host.name);
  const shares = cloud.hosts.filter(
    (each) => each.name !== host.name && each.failureDomain === host.failureDomain,
  );
  return sections(`${host.name}: a host with the roles ${host.roles.join(", ")}`, [
    [
      "addresses",
      Object.entries(host.addresses).map(([network, address]) => `${network} ${address}`),
    ],
    ["powered by its BMC", host.bmc ? [`${host.bmc.address}:${host.bmc.port}/udp`] : []],
    ["fails together with", [`${host.failureDomain}: ${list(shares.map(({ name }) => name))}`]],
    ["carries", servicesOf(cloud, host).map(({ name, why }) => `${name}: ${why}`)],
    [
      "when it dies",
      servicesOf(cloud, host)
        .filter(({ name }) => name !== "base")
        .map(({ name, whenItDies }) => `${name}: ${whenItDies}`),
    ],
    ["steps", [`${steps.length}: ${list(steps.map(({ urn }) => nameOf(urn)))}`]],
  ]);
}

// ---- A step, or any other resource ------------------------------------------------------------------------------

function explainResource({ plan }: Subject, { newState, urn }: PlanStep): string {
  const document = documentOf(newState);
  const entry = SERVICES.find(({ name }) => name === document?.step.service);
  const dependencies = (newState?.dependencies ?? []).map(nameOf).sort();
  const users = plan.steps
    .filter(({ newState: each }) => [...(each?.dependencies ?? []), providerOf(each)].includes(urn))
    .map((each) => nameOf(each.urn))
    .sort();
  const later = after(plan, urn);
  return sections(
    `${nameOf(urn)}: ${document ? "a step" : `a resource of type ${newState?.type ?? "?"}`}`,
    [
      ...(document
        ? stepSections(document, entry)
        : [["part of", [nameOf(newState?.parent ?? "")]] as Section]),
      ["waits for", [list(dependencies)]],
      [
        "waited for by",
        [
          `${list(users)}${later > users.length ? `; ${later} in all, with those that wait for these` : ""}`,
        ],
      ],
      [
        "goes with",
        newState?.deletedWith
          ? [`${nameOf(newState.deletedWith)}: nothing is undone when that is deleted`]
          : [],
      ],
    ],
  );
}

function stepSections(document: StepDocument, entry: ServiceEntry | undefined): Section[] {
  const { host, service, stage, timeout } = document.step;
  const takeUp = (entry?.takeUp ?? []).filter((each) => (each.stage ?? "start") === stage);
  const parameters = Object.entries(document.params ?? {});
  return [
    [
      "does",
      [`${stage} of ${service} on ${host}, within ${timeout ?? "?"} s`, ...script(service, stage)],
    ],
    ["why", entry ? [entry.why] : []],
    ["managed by", entry ? [entry.manager] : []],
    [
      "files",
      Object.entries(document.files ?? {}).map(
        ([file, { content }]) => `${file}: ${content.split("\n").length - 1} lines`,
      ),
    ],
    ["parameters", parameters.map(([name, value]) => `${name}: ${short(value)}`)],
    [
      "secrets, by version",
      [list(Object.entries(document.secrets ?? {}).map(([name, version]) => `${name} ${version}`))],
    ],
    ["asked whether it works", stage === "start" && entry ? [entry.health] : []],
    ["a changed file", entry ? takeUps({ ...entry, takeUp }) : []],
  ];
}

/** What the script's own head says. */
function script(service: string, stage: string): string[] {
  const file = path.join(ROOT, "scripts", service, `${stage}.sh`);
  if (!fs.existsSync(file)) return [];
  const head = fs.readFileSync(file, "utf8").split(/\n(?!#)/)[0] ?? "";
  const words = head.split("\n").filter((line) => !line.startsWith("# shellcheck"));
  return [words.map((line) => line.replace(/^# ?/, "")).join(" ")];
}

const MOST_SHOWN = 80;

function short(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  const line = text.split("\n")[0] ?? "";
  return line.length < text.length || line.length > MOST_SHOWN
    ? `${line.slice(0, MOST_SHOWN)}…`
    : line;
}

/** A reference to a provider is its URN and its id. */
function providerOf(state: ResourceState | undefined): string | undefined {
  return state?.provider?.split("::").slice(0, -1).join("::");
}

/** How many resources can only begin when this one has ended. */
function after(plan: Plan, urn: string): number {
  const found = new Set([urn]);
  for (let size = 0; size < found.size;) {
    size = found.size;
    for (const step of plan.steps) {
      if (step.newState?.dependencies?.some((each) => found.has(each))) found.add(step.urn);
    }
  }
  return found.size - 1;
}

// ---- Words ------------------------------------------------------------------------------------------------------

type Section = readonly [title: string, lines: readonly string[]];

function sections(head: string, all: readonly Section[]): string {
  return `${[
    head,
    ...all
      .filter(([, lines]) => lines.length > 0)
      .map(([title, lines]) => [`  ${title}`, ...lines.map((line) => `    ${line}`)].join("\n")),
  ].join("\n\n")}\n`;
}

function list(names: readonly string[]): string {
  return names.length ? names.join(", ") : "nothing";
}

const MOST_CLOSE = 5;

/** By how many letters have to change, and what it begins with. */
export function closest(names: readonly string[], name: string): string[] {
  return [...new Set(names)]
    .map((each): [number, string] => [
      distance(each, name) - (each.startsWith(name) ? name.length : 0),
      each,
    ])
    .sort(([a, first], [b, second]) => a - b || (first < second ? -1 : 1))
    .slice(0, MOST_CLOSE)
    .map(([, each]) => each);
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

// ---- The command ------------------------------------------------------------------------------------------------

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { help: { type: "boolean" }, plan: { type: "string" }, stack: { type: "string" } },
    allowPositionals: true,
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  const { plan: file, stack = process.env.STACK ?? "dev" } = values;
  const [name] = positionals;
  if (name === undefined || positionals.length > 1) throw new Error(USAGE);
  const plan =
    file === undefined ? await emptyPlan(stack) : parsePlan(fs.readFileSync(file, "utf8"), file);
  process.stdout.write(explain({ cloud: fileCloud(stack), plan }, name));
}

async function emptyPlan(stack: string): Promise<Plan> {
  const room = await Room.open(ROOT, stack);
  try {
    return await room.preview();
  } finally {
    room.close();
  }
}

if (require.main === module) program(main);
