import { type Guest, Guests } from "../tools/guests";
import { eventually, Final, type Json, type OpenStack } from "../tools/openstack";
import {
  adminApi,
  begin,
  type Lab,
  longestGap,
  median,
  openHealthyLab,
  option,
  seconds,
  sleep,
  Table,
} from "./lib";
import { clearGuests, Pinger, wantPing } from "./watch";

/**
 * Migrate a running guest from one compute host to the next and back, each round once, while it is pinged at its floating
 * address every 0.2 s.
 *
 *   npm run bench:migration -- [--stack dev] [--rounds 3]
 */

const PREFIX = "bench";
/** Pings before and after: the gateway may find the guest's new place only after Nova is done. */
const AROUND_MS = 5000;
const LIMIT_SECONDS = 600;

async function main(): Promise<void> {
  wantPing();
  const lab = await openHealthyLab();
  const rounds = Number(option("rounds", "3"));
  const hosts = lab.cloud.hosts
    .filter(({ roles }) => roles.includes("compute"))
    .map(({ name }) => name);
  if (hosts.length < 2)
    throw new Error(`wanted two compute hosts to migrate between, found ${hosts.length}`);
  const guests = new Guests(await adminApi(lab), PREFIX);
  try {
    await guests.clear();
    await guests.prepare();
    const guest = await guests.boot("guest", hosts[0]);
    await guests.reached(guest, 300);
    await migrations(lab, guest, hosts, rounds);
  } finally {
    await clearGuests(lab, PREFIX).catch((error: unknown) => {
      console.error(`the guest could not be removed: ${(error as Error).message}`);
      process.exitCode = 1;
    });
    guests.close();
  }
}

async function migrations(
  lab: Lab,
  guest: Guest,
  hosts: readonly string[],
  rounds: number,
): Promise<void> {
  const gaps: number[] = [];
  const times: number[] = [];
  const table = new Table(["round", "from", "to", "lost", "gap", "active"], [5, 5, 5, 7, 7, 7]);
  for (let round = 1; round <= rounds; round++) {
    const from = hosts[(round - 1) % hosts.length] as string;
    const to = hosts[round % hosts.length] as string;
    const pinger = new Pinger(guest.floating);
    pinger.start();
    let event: number;
    let active: number;
    try {
      await sleep(AROUND_MS);
      event = Date.now();
      // A login of its own for each: the rounds may last longer than a token.
      await migrate(await adminApi(lab), guest, to);
      active = Date.now() - event;
      await sleep(AROUND_MS);
    } finally {
      await pinger.stop();
    }
    const sent = pinger.samples.filter((sample) => sample.start > event);
    const gap = longestGap(sent, event, Date.now());
    gaps.push(gap);
    times.push(active);
    table.row(
      round,
      from,
      to,
      `${sent.filter(({ ok }) => !ok).length}/${sent.length}`,
      `${seconds(gap)} s`,
      `${seconds(active)} s`,
    );
  }
  const both = (values: readonly number[]): string =>
    `${seconds(median(values))} s, ${seconds(Math.max(...values))} s`;
  console.log(`median and worst: longest gap ${both(gaps)}; until active there ${both(times)}`);
}

/** Until it is active on the other host. */
async function migrate(api: OpenStack, guest: Guest, to: string): Promise<void> {
  await api.ask("POST", "compute", `/servers/${guest.id}/action`, {
    "os-migrateLive": { host: to, block_migration: "auto" },
  });
  await eventually(
    `${guest.name} active on ${to}`,
    LIMIT_SECONDS,
    async () => {
      const server = await api.get<Json>("compute", `/servers/${guest.id}`, "server");
      const host = String(server["OS-EXT-SRV-ATTR:host"]);
      const status = String(server.status);
      if (status === "ERROR") throw new Final(`${guest.name} is in error on ${host}`);
      if (status === "ACTIVE" && server["OS-EXT-STS:task_state"] === null) {
        if (host === to) return true;
        const failed = await failedMigration(api, guest);
        if (failed)
          throw new Final(`the migration to ${to} ended as ${failed}; see nova-compute.log`);
      }
      throw new Error(`it is ${status} on ${host}`);
    },
    250,
  );
}

/** How the newest migration of a guest ended, if it did and not well. */
async function failedMigration(api: OpenStack, guest: Guest): Promise<string | undefined> {
  const [newest] = await api.get<Json[]>(
    "compute",
    `/os-migrations?instance_uuid=${guest.id}&limit=1`,
    "migrations",
  );
  const status = String(newest?.status);
  return ["error", "failed", "cancelled"].includes(status) ? status : undefined;
}

begin("migration", main);
