import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isMap, isSeq, parseDocument, type Document, type YAMLSeq } from "yaml";
import { isWhole } from "../catalogue";
import type { Cloud } from "../config";
import { between } from "../tools/report";
import { report } from "../tools/report/markdown";
import { nameOf, QUIET } from "../tools/report/plan";
import {
  begin,
  engineEvents,
  type Lab,
  openHealthyLab,
  openLab,
  option,
  ROOT,
  run,
  seconds,
  Table,
  tool,
  untilHealthy,
} from "./lib";

/**
 * Whether a report keeps its word: for each of the changes that people make, what the report of a pull request names
 * (from two checkouts, with no state and no secret), and what `up` then touches in the lab.
 *
 *   npm run bench:review -- [--stack dev] [--only "HAProxy timeout,nothing"]
 *
 * The changes add up, and are taken back together at the end, unless one of them cannot be. It writes to the stack's file
 * and to a script, and puts both back. Exit code 1 if a report named anything else than what was touched.
 */

const UP_SECONDS = 1800;
const HEALTHY_SECONDS = 300;
/** Of a report in which nothing is cut. */
const NO_LIMIT = 1 << 24;

interface ChangeStory {
  readonly name: string;
  /** Which clouds can do it. */
  readonly possible?: (cloud: Cloud) => boolean;
  /** Options and their values. */
  readonly set?: Readonly<Record<string, unknown>>;
  /** What else is done to the stack's file. */
  readonly configure?: (stack: Stack, name: string) => void;
  /** Cannot be taken back: controllers cannot be drained. */
  readonly stays?: boolean;
  /** Of the program. */
  readonly edit?: { readonly file: string; readonly text: (before: string) => string };
}

/** A stack's file, by the names of its options. */
class Stack {
  constructor(
    private readonly document: Document,
    private readonly project: string,
  ) {}

  set(name: string, value: unknown): void {
    const [block = "", ...keys] = name.split(".");
    this.document.setIn(["config", `${this.project}:${block}`, ...keys], value);
  }

  get(name: string): unknown {
    const [block = "", ...keys] = name.split(".");
    return this.document.getIn(["config", `${this.project}:${block}`, ...keys]);
  }

  addHost(host: object): void {
    this.document.addIn(["config", `${this.project}:hosts`], this.document.createNode(host));
  }

  setOfHost(name: string, option: string, value: unknown): void {
    for (const host of this.hosts.items)
      if (isMap(host) && host.get("name") === name) host.set(option, value);
  }

  removeHost(name: string): void {
    const { hosts } = this;
    hosts.items = hosts.items.filter((host) => !isMap(host) || host.get("name") !== name);
  }

  private get hosts(): YAMLSeq {
    const hosts = this.get("hosts");
    if (!isSeq(hosts)) throw new Error("wanted a list of hosts in the stack's file, found none");
    return hosts;
  }
}

const CHANGES: readonly ChangeStory[] = [
  { name: "nothing" },
  {
    name: "option of one service",
    set: { "keystone.tokenExpirationSeconds": 7200 },
  },
  {
    name: "HAProxy timeout",
    set: { "haproxy.clientTimeout": "90s" },
  },
  {
    name: "option of the cluster",
    set: { "pacemaker.clusterRecheckSeconds": 90 },
  },
  {
    name: "option of the database",
    set: { "galera.maxConnections": 1600 },
  },
  {
    name: "memory of memcached",
    set: { "memcached.memoryMiB": 80 },
  },
  {
    name: "token keys rotated",
    set: { "keystone.fernet.version": 2 },
  },
  {
    name: "password of the broker",
    set: { "secretVersions.rabbitmq-openstack": 2 },
  },
  {
    name: "script mended",
    edit: {
      file: "scripts/memcached/verify.sh",
      text: (before) => `${before}# Changed by npm run bench:review.\n`,
    },
  },
  {
    name: "ratio of processors",
    possible: isWhole,
    set: { "nova.cpuAllocationRatio": 5 },
  },
  {
    name: "another quota",
    possible: isWhole,
    set: { "content.quotas.cores": 24 },
  },
  {
    name: "new compute host",
    possible: isWhole,
    configure: (stack) => {
      stack.addHost({ name: "cmp3", roles: ["compute"], id: 23, failureDomain: "rack3" });
    },
  },
  {
    name: "compute host drained",
    possible: isWhole,
    configure: (stack) => {
      stack.setOfHost("cmp3", "state", "drained");
    },
  },
  {
    name: "compute host removed",
    possible: isWhole,
    configure: (stack) => {
      stack.removeHost("cmp3");
    },
  },
  {
    name: "public address moved",
    configure: (stack) => {
      const address = String(stack.get("vips.public"));
      stack.set(
        "vips.public",
        address.replace(/\d+$/, (last) => String(Number(last) - 1)),
      );
    },
  },
  {
    name: "public address by TLS",
    configure: (stack, name) => {
      certify(name);
      stack.set("tls", { certificate: CERTIFICATE, authority: CERTIFICATE });
    },
  },
  {
    name: "certificate renewed",
    // Only with the one before.
    configure: (_, name) => {
      certify(name);
    },
  },
  {
    name: "two more controllers",
    possible: (cloud) => !isWhole(cloud),
    stays: true,
    configure: (stack) => {
      stack.addHost({ name: "ctl4", roles: ["controller"], id: 14, failureDomain: "rack4" });
      stack.addHost({ name: "ctl5", roles: ["controller"], id: 15, failureDomain: "rack5" });
    },
  },
];

const CERTIFICATE = "tls/bench.pem";

function certify(stack: string): void {
  execFileSync(
    "node",
    ["--require", "tsx/cjs", "tools/certificate.ts", "--self-signed", CERTIFICATE],
    { cwd: ROOT, env: { ...process.env, STACK: stack } },
  );
}

async function main(): Promise<void> {
  const lab = await openHealthyLab();
  const only = option("only", "").split(",").filter(Boolean);
  const stackFile = path.join(ROOT, `Pulumi.${lab.stack}.yaml`);
  const changes = CHANGES.filter(
    ({ name, possible = () => true }) =>
      possible(lab.cloud) && (only.length === 0 || only.includes(name)),
  );
  const files = [
    stackFile,
    ...changes.flatMap(({ edit }) => (edit ? [path.join(ROOT, edit.file)] : [])),
  ];
  const originals = new Map(files.map((file) => [file, fs.readFileSync(file, "utf8")]));
  const table = new Table(
    ["change", "named", "touched", "missed", "for nothing", "report", "up", "well"],
    [30],
  );
  let wrong = 0;
  try {
    for (const change of changes) wrong += await judge(lab, change, stackFile, table);
  } catch (error) {
    wrong++;
    console.error(`error: ${(error as Error).message}`);
  } finally {
    await takeBack(lab, changes, stackFile, originals);
  }
  console.log(`${wrong} of ${changes.length} reports were wrong`);
  process.exitCode = wrong ? 1 : 0;
}

async function takeBack(
  lab: Lab,
  changes: readonly ChangeStory[],
  stackFile: string,
  originals: ReadonlyMap<string, string>,
): Promise<void> {
  const staying = changes.filter(({ stays }) => stays).map(({ name }) => name);
  if (staying.length) {
    console.log(
      `nothing is taken back, for this stays: ${staying.join(", ")}; \`npm run destroy\`, then put ${stackFile} back`,
    );
    return;
  }
  try {
    await emptied(lab, stackFile);
  } finally {
    for (const [file, text] of originals) fs.writeFileSync(file, text);
    fs.rmSync(path.join(ROOT, CERTIFICATE), { force: true });
  }
  await up(lab.stack);
}

function editStack(file: string, { project }: Cloud, change: (stack: Stack) => void): void {
  const document = parseDocument(fs.readFileSync(file, "utf8"));
  change(new Stack(document, project));
  fs.writeFileSync(file, document.toString());
}

/** A compute host that came, and did not go, leaves the list drained or not at all. */
async function emptied({ stack, cloud }: Lab, stackFile: string): Promise<void> {
  const added = openLab(stack).cloud.hosts.filter(
    ({ name, roles, state }) =>
      roles.includes("compute") &&
      state !== "drained" &&
      cloud.hosts.every((each) => each.name !== name),
  );
  if (!added.length) return;
  editStack(stackFile, cloud, (file) => {
    for (const { name } of added) file.setOfHost(name, "state", "drained");
  });
  await up(stack);
}

/** 1 if the report was wrong. */
async function judge(
  lab: Lab,
  { name, set = {}, configure, edit }: ChangeStory,
  stackFile: string,
  table: Table,
): Promise<number> {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-base-"));
  try {
    checkout(base);
    if (edit) {
      const file = path.join(ROOT, edit.file);
      fs.writeFileSync(file, edit.text(fs.readFileSync(file, "utf8")));
    }
    editStack(stackFile, lab.cloud, (stack) => {
      for (const [key, value] of Object.entries(set)) stack.set(key, value);
      configure?.(stack, lab.stack);
    });
    let start = Date.now();
    const { plan, notes } = await between(lab.stack, base);
    const text = report(plan, { stack: lab.stack, notes, limit: NO_LIMIT });
    const reported = Date.now() - start;
    const named = namesIn(text);
    start = Date.now();
    const touched = await up(lab.stack);
    const took = Date.now() - start;
    const missed = touched.filter((each) => !named.has(each));
    const idle = [...named].filter((each) => !touched.includes(each));
    // By the configuration as it is now: a check may ask at an address that has moved.
    const well = await untilHealthy(openLab(lab.stack), HEALTHY_SECONDS);
    table.row(
      ...[name, named.size, touched.length, missed.length, idle.length],
      ...[reported, took, well].map((each) => `${seconds(each)} s`),
    );
    for (const each of missed) console.log(`    missed: ${each}`);
    for (const each of idle) console.log(`    for nothing: ${each}`);
    return missed.length || idle.length ? 1 : 0;
  } finally {
    fs.rmSync(base, { recursive: true, force: true });
  }
}

/** A copy of what is deployed, as the base of a pull request would be. */
function checkout(folder: string): void {
  for (const name of fs.readdirSync(ROOT)) {
    const [from, to] = [path.join(ROOT, name), path.join(folder, name)];
    if (name === "node_modules") fs.symlinkSync(from, to);
    else if (!name.startsWith(".")) fs.cpSync(from, to, { recursive: true });
  }
}

/** The resources that a report names, in its last part: one a line, or one for each host of a line. */
function namesIn(text: string): Set<string> {
  const at = text.indexOf("### All changed resources");
  const lines = at < 0 ? [] : text.slice(at).matchAll(/^- \S+ `([^`]+)`(?: on (.*))?$/gm);
  return new Set(
    [...lines].flatMap(([, name = "", hosts]) =>
      hosts === undefined
        ? [name]
        : [...hosts.matchAll(/`([^`]+)`/g)].map(([, host = ""]) => `${name}-${host}`),
    ),
  );
}

/** Names of what `up` touched, as the engine's own log has it. */
async function up(stack: string): Promise<string[]> {
  const log = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-events-")), "log");
  try {
    await run(
      "pulumi",
      [
        ...["up", "--yes", "--skip-preview", "--suppress-outputs", "--parallel", "64"],
        ...["--stack", stack, "--event-log", log],
      ],
      UP_SECONDS,
      // The option exists only with this.
      { PULUMI_DEBUG_COMMANDS: "true" },
    );
    // Hosts that came need an entry in the files that ssh reads.
    await tool(stack, "tools/outputs.ts");
    const names = engineEvents(fs.readFileSync(log, "utf8")).flatMap(({ resOutputsEvent }) =>
      resOutputsEvent && !QUIET.has(resOutputsEvent.metadata.op)
        ? [nameOf(resOutputsEvent.metadata.urn)]
        : [],
    );
    return [...new Set(names)].sort();
  } finally {
    fs.rmSync(path.dirname(log), { recursive: true, force: true });
  }
}

begin("review", main);
