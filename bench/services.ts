import type { HostConfig } from "../config";
import { Guests } from "../tools/guests";
import type { OpenStack } from "../tools/openstack";
import {
  adminApi,
  begin,
  bmcPassword,
  failures,
  type Lab,
  longestGap,
  median,
  moveVip,
  openHealthyLab,
  option,
  outage,
  type PowerCut,
  powerOffMeanwhile,
  powerOnMeanwhile,
  secondsOrNever,
  sleep,
  Table,
  untilHealthy,
  vipHolder,
} from "./lib";
import { ALL_KINDS, clearGuests, wantPing, Watch, type Watched } from "./watch";

/**
 * Power off each controller, network and storage host in turn, while tokens are asked for, lists are read from the APIs, a
 * guest is pinged at its floating address, and writes to its disk. A controller has the public VIP when it dies. One that
 * is no controller is powered on after the window: nobody fences it. A round ends when every check is well again.
 *
 *   npm run bench:services -- [--stack dev] [--hosts ctl1,ctl2] [--rounds 1] [--how kill|bmc]
 *
 * Outage: from the event to the first good answer to what was sent after it. Gap: the longest time without a good answer in
 * the 60 s after the event; later: the same from then until all is well. Exit code 1 if something did not come back.
 */

const PREFIX = "bench";
/** Before the event: shows that all worked. */
const BEFORE_MS = 5000;
const WINDOW_MS = 60_000;
const HEALTHY_SECONDS = 600;

interface Figures {
  readonly outage: number;
  readonly gap: number;
  /** The longest gap after the window. */
  readonly later: number;
  readonly failed: string;
}

interface Round {
  /** What the host had that others had to take over. */
  readonly held: string;
  readonly figures: ReadonlyMap<string, Figures>;
  /** Milliseconds from the event; Infinity if not all was well in time. */
  readonly healed: number;
  readonly notes: readonly string[];
}

async function main(): Promise<void> {
  wantPing();
  const lab = await openHealthyLab();
  const victims = chosenHosts(lab);
  const rounds = Number(option("rounds", "1"));
  const how = powerCut();
  const password = bmcPassword(lab);
  const guests = new Guests(await adminApi(lab), PREFIX);
  const done: Round[] = [];
  try {
    await guests.clear();
    await guests.prepare();
    const guest = await guests.boot("guest", guestHost(lab, victims)?.name);
    await guests.reached(guest, 300);
    console.log(
      "outage, longest gap in 60 s (seconds), failed/sent in 60 s; for ping: packets, for disk: writes",
    );
    const table = new Table(
      ["round", "host", "how", "held", ...ALL_KINDS, "later", "healed"],
      [5, 5, 4, 28, ...ALL_KINDS.map(() => 15), 12, 7],
    );
    shooting: for (let round = 1; round <= rounds; round++) {
      for (const victim of victims) {
        const result = await shoot(lab, victim, how, password, { guests, guest });
        done.push(result);
        table.row(
          round,
          victim.name,
          how,
          result.held,
          ...ALL_KINDS.map((kind) => cell(result.figures.get(kind))),
          later(result),
          secondsOrNever(result.healed),
        );
        for (const note of result.notes) console.log(`       ${note}`);
        // What is broken already tells nothing about the next host.
        if (!Number.isFinite(result.healed)) break shooting;
      }
    }
    summary(done);
  } finally {
    await clearGuests(lab, PREFIX).catch((error: unknown) => {
      console.error(`the guest could not be removed: ${(error as Error).message}`);
      process.exitCode = 1;
    });
    guests.close();
  }
  const lost = done.some(
    ({ figures, healed }) =>
      !Number.isFinite(healed) ||
      [...figures.values()].some((each) => !Number.isFinite(each.outage)),
  );
  if (lost) process.exitCode = 1;
}

async function shoot(
  lab: Lab,
  victim: HostConfig,
  how: PowerCut,
  password: string,
  watched: Watched,
): Promise<Round> {
  const controller = victim.roles.includes("controller");
  if (controller) await moveVip(lab, "public", victim.name);
  await untilHealthy(lab, 300);
  const held = await holdings(lab, await adminApi(lab), victim);
  const watch = await Watch.start(lab, watched);
  const notes: string[] = [];
  let healed = Number.POSITIVE_INFINITY;
  let event: number;
  let off: number;
  try {
    await sleep(BEFORE_MS);
    event = Date.now();
    await powerOffMeanwhile(lab, victim.name, how, password);
    off = Date.now();
    await sleep(event + WINDOW_MS - off);
    if (!controller) await powerOnMeanwhile(lab, victim.name);
    try {
      await untilHealthy(lab, HEALTHY_SECONDS);
      healed = Date.now() - event;
    } catch (error) {
      notes.push((error as Error).message);
    }
    // A request that was sent just now may be the first good one.
    await sleep(2000);
  } finally {
    try {
      // Whatever went wrong: the next one shall find the lab powered on.
      if (!Number.isFinite(healed)) await powerOnMeanwhile(lab, victim.name);
    } finally {
      await watch.stop();
    }
  }
  if (watch.reconnects)
    notes.push(`the ssh session into the guest was lost ${watch.reconnects} times`);
  const windowEnd = event + WINDOW_MS;
  const figures = new Map(
    watch.kinds.map((kind) => {
      const samples = watch.samples(kind);
      return [
        kind,
        {
          outage: outage(samples, event, off),
          gap: longestGap(samples, event, windowEnd),
          later: longestGap(samples, windowEnd),
          failed: failures(samples, event, windowEnd),
        },
      ];
    }),
  );
  return { held, figures, healed, notes };
}

function powerCut(): PowerCut {
  const how = option("how", "kill");
  if (how !== "kill" && how !== "bmc") throw new Error(`--how: wanted kill or bmc, found ${how}`);
  return how;
}

/** Those of --hosts; or all with a role that others can take over. */
function chosenHosts({ cloud }: Lab): readonly HostConfig[] {
  const names = option("hosts", "").split(",").filter(Boolean);
  if (!names.length)
    return cloud.hosts.filter(({ roles }) =>
      (["controller", "network", "storage"] as const).some((role) => roles.includes(role)),
    );
  return names.map((name) => {
    const host = cloud.hosts.find((each) => each.name === name);
    if (!host)
      throw new Error(
        `--hosts: wanted some of ${cloud.hosts.map((each) => each.name).join(",")}, found ${name}`,
      );
    return host;
  });
}

/** A compute host that stays on: a guest dies with its host, and nobody promises more. */
function guestHost({ cloud }: Lab, victims: readonly HostConfig[]): HostConfig | undefined {
  return cloud.hosts.find((host) => host.roles.includes("compute") && !victims.includes(host));
}

async function holdings(lab: Lab, api: OpenStack, victim: HostConfig): Promise<string> {
  const gateways = await api.get<{ "binding:host_id"?: string }[]>(
    "network",
    "/v2.0/ports?device_owner=network:router_gateway",
    "ports",
  );
  const held = [
    ...(["public", "internal"] as const)
      .filter((vip) => vipHolder(lab, vip) === victim.name)
      .map((vip) => `vip-${vip}`),
    ...(gateways.some((port) => port["binding:host_id"] === victim.name) ? ["gateway"] : []),
  ];
  return held.join(",") || "-";
}

function cell(figures: Figures | undefined): string {
  if (!figures) return "-";
  return `${secondsOrNever(figures.outage)} ${secondsOrNever(figures.gap)} ${figures.failed}`;
}

/** What failed longest after the window. */
function later({ figures }: Round): string {
  const [worst] = [...figures].sort(([, a], [, b]) => b.later - a.later);
  return worst ? `${worst[0]} ${secondsOrNever(worst[1].later)}` : "-";
}

function summary(rounds: readonly Round[]): void {
  console.log(`\nin ${rounds.length} rounds, median and worst, seconds`);
  const table = new Table(["what", "outage", "gap"], [8, 14, 14]);
  const both = (values: readonly number[]): string =>
    `${secondsOrNever(median(values))}, ${secondsOrNever(Math.max(...values))}`;
  for (const kind of ALL_KINDS) {
    const all = rounds.flatMap(({ figures }) => figures.get(kind) ?? []);
    if (all.length)
      table.row(kind, both(all.map((each) => each.outage)), both(all.map((each) => each.gap)));
  }
  table.row("healed", both(rounds.map(({ healed }) => healed)));
}

begin("services", main);
