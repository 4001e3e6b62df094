import { execFileSync, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import * as path from "node:path";
import type { Cloud } from "../config";
import { keystoneUrl } from "../components/openstack/oslo";
import { OpenStack } from "../tools/openstack";
import { cloudHealth, type Health } from "../tools/status";
import { cloudFolder, type Outputs, stackCloud, stackOutputs } from "../tools/stack";

/** What the benches share: a deployed lab, its power switch, and a client that asks for tokens all the time. */

export const ROOT = path.join(__dirname, "..");

export interface Lab {
  readonly stack: string;
  readonly cloud: Cloud;
  readonly outputs: Outputs;
}

export function openLab(stack: string): Lab {
  return { stack, cloud: stackCloud(stack), outputs: stackOutputs(stack) };
}

/** The lab of `--stack`, by default of $STACK or dev, once all is well in it. */
export async function openHealthyLab(): Promise<Lab> {
  const lab = openLab(option("stack", process.env.STACK ?? "dev"));
  await untilHealthy(lab, 120);
  return lab;
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Seconds with one decimal of a time in milliseconds. */
export const seconds = (ms: number): string => (ms / 1000).toFixed(1);

/** The same, of what may never have happened. */
export const secondsOrNever = (ms: number): string => (Number.isFinite(ms) ? seconds(ms) : "never");

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** Run a command on a host of the lab; its standard output. Throws if it fails or takes longer than a minute. */
export function onHost(lab: Lab, host: string, command: string, input = ""): string {
  const config = path.join(cloudFolder(lab.stack), "ssh_config");
  return execFileSync("ssh", ["-F", config, host, command], {
    encoding: "utf8",
    input,
    timeout: 60_000,
    maxBuffer: 1 << 26,
    stdio: ["pipe", "pipe", "pipe"],
  });
}

/** The controller that holds a VIP, asked of the first that answers. */
export function vipHolder(lab: Lab, vip: "internal" | "public"): string {
  for (const host of lab.cloud.hosts) {
    const asked = spawnSync(
      "ssh",
      [
        "-F",
        path.join(cloudFolder(lab.stack), "ssh_config"),
        host.name,
        `crm_resource --resource vip-${vip} --locate --quiet`,
      ],
      { encoding: "utf8", timeout: 20_000 },
    );
    const holder = asked.stdout.trim();
    if (asked.status === 0 && holder) return holder;
  }
  throw new Error(`no controller says who holds the ${vip} VIP`);
}

/** Have a controller hold a VIP, so that a bench can choose its victim. */
export async function moveVip(lab: Lab, vip: "internal" | "public", host: string): Promise<void> {
  // By force: what runs stays where it is, whatever is only wished.
  const resource = `crm_resource --resource vip-${vip}`;
  if (vipHolder(lab, vip) === host) return;
  onHost(lab, host, `${resource} --move --node ${host} --force`);
  const end = Date.now() + 60_000;
  while (vipHolder(lab, vip) !== host) {
    if (Date.now() > end) throw new Error(`the ${vip} VIP did not move to ${host} within 60 s`);
    await sleep(500);
  }
  // It stays where it is: only the wish is taken back.
  onHost(lab, host, `${resource} --clear`);
}

/** Power off as a cut cable does it: the container's processes are gone at once. */
export function killContainer(lab: Lab, host: string): void {
  labCommand(["power", lab.stack, "off", host]);
}

const EVIDENCE_MINUTES = 5;

/** What every host has written of the last minutes, as files; where they are. For what should not have been, and may not be again. */
export function keepEvidence(lab: Lab, what: string): string {
  const folder = path.join(
    cloudFolder(lab.stack),
    `${what}-${new Date().toISOString().replaceAll(/[^0-9T]/g, "")}`,
  );
  fs.mkdirSync(folder, { mode: 0o700 });
  for (const { name } of lab.cloud.hosts) {
    const text = onHost(
      lab,
      name,
      `journalctl --no-pager -o short-precise --since=-${EVIDENCE_MINUTES}min; tail -n 3000 /var/log/mysql/error.log || true`,
    );
    fs.writeFileSync(path.join(folder, `${name}.log`), text, { mode: 0o600 });
  }
  return folder;
}

/** Power on, without the self-test that a BMC would wait for. */
export function powerOn(lab: Lab, host: string): void {
  labCommand(["power", lab.stack, "on", host]);
}

const LAB = path.join(ROOT, "scripts/lab/lab");

function labCommand(args: readonly string[], environment: NodeJS.ProcessEnv = {}): void {
  execFileSync(LAB, args, { stdio: "pipe", env: { ...process.env, ...environment } });
}

/** Power off through the host's BMC, by IPMI, as another machine of the rack would. */
export function bmcOff(lab: Lab, host: string, password: string): void {
  labCommand(bmcOffArguments(lab, host), { IPMI_PASSWORD: password });
}

function bmcOffArguments(lab: Lab, host: string): string[] {
  const bmc = lab.cloud.hosts.find((each) => each.name === host)?.bmc;
  if (!bmc) throw new Error(`no host ${host}`);
  return [
    ...["exec", lab.stack, "--", "ipmitool", "-I", "lanplus", "-C", "3", "-E"],
    ...["-H", bmc.address, "-p", String(bmc.port), "-U", bmc.user, "chassis", "power", "off"],
  ];
}

const TOOL_SECONDS = 300;

/** One of tools/ on a stack, for what it prints. */
export function tool(stack: string, file: string, args: readonly string[] = []): Promise<string> {
  return run("node", ["--require", "tsx/cjs", file, stack, ...args], TOOL_SECONDS);
}

/** Run a command while this process goes on with what else it does; its standard output. Throws if it fails. */
export function run(
  command: string,
  args: readonly string[],
  limitSeconds: number,
  environment: NodeJS.ProcessEnv = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limitSeconds * 1000,
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => out.push(data));
    child.stderr.on("data", (data: Buffer) => err.push(data));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      const text = Buffer.concat(out).toString();
      if (code === 0) {
        resolve(text);
        return;
      }
      const said = `${text}\n${Buffer.concat(err).toString()}`.trim().slice(-2000);
      reject(
        new Error(`${command} ${args[0] ?? ""} ended with ${String(code ?? signal)}: ${said}`),
      );
    });
  });
}

/** What cuts a host's power: its container is killed, or its BMC is asked to. */
export type PowerCut = "kill" | "bmc";

/** Power off, while whoever asks for something all the time goes on asking. */
export async function powerOffMeanwhile(
  lab: Lab,
  host: string,
  how: PowerCut,
  password: string,
): Promise<void> {
  if (how === "kill") await run(LAB, ["power", lab.stack, "off", host], 60);
  else await run(LAB, bmcOffArguments(lab, host), 60, { IPMI_PASSWORD: password });
}

/** Power on in the same way. A host that is on already stays as it is. */
export async function powerOnMeanwhile(lab: Lab, host: string): Promise<void> {
  await run(LAB, ["power", lab.stack, "on", host], 60);
}

/** The BMCs' password, from a host that fences with it. */
export function bmcPassword(lab: Lab): string {
  return onHost(lab, lab.cloud.hosts[0]?.name ?? "", "cat /etc/openstack-ha/bmc-password").trim();
}

/** How often a host was fenced, by the cluster's own history as a witness tells it. */
export function fencings(lab: Lab, witness: string, victim: string): number {
  const history = onHost(
    lab,
    witness,
    `stonith_admin --history ${victim} --verbose 2>/dev/null || true`,
  );
  return (history.match(/(was able to|Successfully|succeeded|complete)/gi) ?? []).length;
}

/** Wait until every check of every host is well; how long that took, in milliseconds, or what is not well. */
export async function untilHealthy(lab: Lab, limitSeconds: number): Promise<number> {
  const start = Date.now();
  let health: Health[] = [];
  while (Date.now() - start < limitSeconds * 1000) {
    health = await cloudHealth(lab.cloud, lab.stack);
    if (health.every((each) => each.ok)) return Date.now() - start;
    await sleep(1000);
  }
  const wrong = health
    .filter((each) => !each.ok)
    .map((each) => `${each.host} ${each.service}: ${each.detail}`);
  throw new Error(`not healthy after ${limitSeconds} s: ${wrong.join("; ")}`);
}

export interface Sample {
  /** Milliseconds since the epoch. */
  readonly start: number;
  readonly end: number;
  readonly ok: boolean;
  readonly detail: string;
}

type Vip = "internal" | "public";

interface Request {
  readonly url: string;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** The status of a good answer. */
  readonly good: number;
}

/** Asks for something over HTTP every `interval` milliseconds, whether or not the last request has been answered. */
export class HttpClient {
  readonly samples: Sample[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly request: Request,
    private readonly interval: number,
    private readonly timeout: number,
  ) {}

  start(): void {
    this.timer = setInterval(
      () => void this.ask().then((s) => this.samples.push(s)),
      this.interval,
    );
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await sleep(this.timeout + 200);
    this.samples.sort((a, b) => a.start - b.start);
  }

  ask(): Promise<Sample> {
    const start = Date.now();
    const { url, method, headers, body, good } = this.request;
    return new Promise((resolve) => {
      const done = (ok: boolean, detail: string): void => {
        clearTimeout(limit);
        resolve({ start, end: Date.now(), ok, detail });
      };
      const failed = (error: Error): void => {
        done(false, error.message);
      };
      // A connection of its own for each: a kept one would hide that no new ones are taken.
      const { request: send } = url.startsWith("https:") ? https : http;
      const request = send(url, { method, agent: false, headers }, (response) => {
        response.resume();
        response.on("error", failed);
        response.on("end", () => {
          done(response.statusCode === good, `HTTP ${String(response.statusCode)}`);
        });
      });
      const limit = setTimeout(() => {
        request.destroy();
        done(false, "timeout");
      }, this.timeout);
      request.on("error", failed);
      request.end(body);
    });
  }
}

/** Asks for tokens through a VIP. */
export class TokenClient extends HttpClient {
  constructor(lab: Lab, vip: Vip = "public", interval = 200, timeout = 3000) {
    super(tokenRequest(lab, vip), interval, timeout);
  }
}

function tokenRequest(lab: Lab, vip: Vip): Request & { readonly body: string } {
  const body = JSON.stringify({
    auth: {
      identity: {
        methods: ["password"],
        password: {
          user: { name: "admin", domain: { id: "default" }, password: lab.outputs.adminPassword },
        },
      },
      scope: { project: { name: "admin", domain: { id: "default" } } },
    },
  });
  return {
    url: `${keystoneUrl(lab.cloud, vip)}/auth/tokens`,
    method: "POST",
    headers: {
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(body)),
    },
    body,
    good: 201,
  };
}

/** Gets a page of an API with a token that it is given. */
export class GetClient extends HttpClient {
  constructor(url: string, token: string, interval = 500, timeout = 5000) {
    super({ url, method: "GET", headers: { "x-auth-token": token }, good: 200 }, interval, timeout);
  }
}

/** A token of the admin, in its text. */
export async function issueToken(lab: Lab): Promise<string> {
  const { url, method, headers, body } = tokenRequest(lab, "public");
  const response = await fetch(url, {
    method,
    headers: { "content-type": headers["content-type"] ?? "" },
    body,
    signal: AbortSignal.timeout(60_000),
  });
  const token = response.headers.get("x-subject-token");
  if (response.status !== 201 || token === null)
    throw new Error(`wanted a token of ${url}, found HTTP ${response.status}`);
  return token;
}

/** The cloud's API as its admin. Its token lasts an hour. */
export function adminApi(lab: Lab): Promise<OpenStack> {
  return OpenStack.login({
    authUrl: lab.outputs.authUrl,
    user: "admin",
    password: lab.outputs.adminPassword,
    project: "admin",
  });
}

/**
 * Time from an event to the first good answer to a request that was sent after it, in milliseconds. Infinity if there
 * was none. Where the event takes its time, such as a power switch, only what was sent after `over` counts.
 */
export function outage(samples: readonly Sample[], event: number, over = event): number {
  const good = samples.filter((sample) => sample.ok && sample.start > over).map((each) => each.end);
  return good.length ? Math.min(...good) - event : Number.POSITIVE_INFINITY;
}

/**
 * The longest time after an event in which no good answer came, in milliseconds: shows what fails again later. Up to
 * the last answer, or to `until`.
 */
export function longestGap(samples: readonly Sample[], event: number, until?: number): number {
  const ends = samples
    .filter((sample) => sample.ok && sample.end > event && sample.end <= (until ?? sample.end))
    .map((each) => each.end);
  return [event, ...ends.sort((a, b) => a - b), ...(until === undefined ? [] : [until])].reduce(
    (longest, end, i, all) => Math.max(longest, end - (all[i - 1] ?? end)),
    0,
  );
}

/** Failed and all of the requests that were sent in a time. */
export function failures(samples: readonly Sample[], from: number, to: number): string {
  const sent = samples.filter((sample) => sample.start > from && sample.start <= to);
  return `${sent.filter((sample) => !sample.ok).length}/${sent.length}`;
}

/** A table whose rows are printed as they come: a bench lasts. */
export class Table {
  private readonly widths: readonly number[];

  /** @param least How many characters a column needs where that is more than its head has. */
  constructor(heads: readonly string[], least: readonly number[] = []) {
    this.widths = heads.map((head, i) => Math.max(head.length, least[i] ?? 0));
    this.row(...heads);
  }

  row(...cells: readonly (string | number)[]): void {
    const padded = cells.map((cell, i) => String(cell).padEnd(this.widths[i] ?? 0));
    console.log(padded.join("  ").trimEnd());
  }
}

/** What the engine says in its event log, of the resources. */
export interface EngineEvent {
  /** Seconds. */
  readonly timestamp: number;
  readonly resourcePreEvent?: ResourceEvent;
  readonly resOutputsEvent?: ResourceEvent;
  readonly resOpFailedEvent?: ResourceEvent;
}

interface ResourceEvent {
  readonly metadata: { readonly op: string; readonly urn: string; readonly type: string };
}

/** The engine's event log: an event a line. What is after the last line end is still being written. */
export function engineEvents(text: string): EngineEvent[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as EngineEvent);
}

/** The edge of a bench: an error is one line, and ends the process, whatever still asks for something. */
export function begin(name: string, main: () => Promise<void>): void {
  main().catch((error: unknown) => {
    console.error(
      `error: bench ${name}: ${error instanceof Error ? error.message : String(error)}`,
    );
    process.exit(1);
  });
}

/** `--name value` of the command line. */
export function option(name: string, fallback: string): string {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
}
