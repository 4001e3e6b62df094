import { execFileSync, spawnSync } from "node:child_process";
import * as http from "node:http";
import * as path from "node:path";
import type { Cloud } from "../config";
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

/** The lab of `--stack`, dev by default, once all is well in it. */
export async function openHealthyLab(): Promise<Lab> {
  const lab = openLab(option("stack", "dev"));
  await untilHealthy(lab, 120);
  return lab;
}

export const sleep = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms));

/** Seconds with one decimal of a time in milliseconds. */
export const seconds = (ms: number): string => (ms / 1000).toFixed(1);

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

/** Power on, without the self-test that a BMC would wait for. */
export function powerOn(lab: Lab, host: string): void {
  labCommand(["power", lab.stack, "on", host]);
}

function labCommand(args: readonly string[], environment: NodeJS.ProcessEnv = {}): void {
  execFileSync(path.join(ROOT, "scripts/lab/lab"), args, {
    stdio: "pipe",
    env: { ...process.env, ...environment },
  });
}

/** Power off through the host's BMC, by IPMI, as another machine of the rack would. */
export function bmcOff(lab: Lab, host: string, password: string): void {
  const bmc = lab.cloud.hosts.find((each) => each.name === host)?.bmc;
  if (!bmc) throw new Error(`no host ${host}`);
  labCommand(
    [
      ...["exec", lab.stack, "--", "ipmitool", "-I", "lanplus", "-C", "3", "-E"],
      ...["-H", bmc.address, "-p", String(bmc.port), "-U", bmc.user, "chassis", "power", "off"],
    ],
    { IPMI_PASSWORD: password },
  );
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

/** Asks for a token through a VIP every `interval` milliseconds, whether or not the last request has been answered. */
export class TokenClient {
  readonly samples: Sample[] = [];
  private timer: NodeJS.Timeout | undefined;
  private readonly body: string;

  constructor(
    private readonly lab: Lab,
    private readonly vip: "internal" | "public" = "public",
    private readonly interval = 200,
    private readonly timeout = 3000,
  ) {
    this.body = JSON.stringify({
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
  }

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
    return new Promise((resolve) => {
      const done = (ok: boolean, detail: string): void => {
        clearTimeout(limit);
        resolve({ start, end: Date.now(), ok, detail });
      };
      const request = http.request(
        `http://${this.lab.cloud.vips[this.vip]}:5000/v3/auth/tokens`,
        {
          method: "POST",
          agent: false,
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(this.body),
          },
        },
        (response) => {
          response.resume();
          response.on("end", () => {
            done(response.statusCode === 201, `HTTP ${String(response.statusCode)}`);
          });
        },
      );
      const limit = setTimeout(() => {
        request.destroy();
        done(false, "timeout");
      }, this.timeout);
      request.on("error", (error) => {
        done(false, error.message);
      });
      request.end(this.body);
    });
  }
}

/**
 * Time from an event to the first good answer to a request that was sent after it, in milliseconds. Infinity if there
 * was none.
 */
export function outage(samples: readonly Sample[], event: number): number {
  const good = samples
    .filter((sample) => sample.ok && sample.start > event)
    .map((each) => each.end);
  return good.length ? Math.min(...good) - event : Number.POSITIVE_INFINITY;
}

/** The longest time after an event in which no good answer came, in milliseconds: shows what fails again later. */
export function longestGap(samples: readonly Sample[], event: number): number {
  const ends = samples.filter((sample) => sample.ok && sample.end > event).map((each) => each.end);
  return [event, ...ends.sort((a, b) => a - b)].reduce(
    (longest, end, i, all) => Math.max(longest, end - (all[i - 1] ?? end)),
    0,
  );
}

/** `--name value` of the command line. */
export function option(name: string, fallback: string): string {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? fallback : (process.argv[at + 1] ?? fallback);
}
