import { hostOfMember, MEMBER, type MemberRecord } from "../components/hosts/members";
import type { Cloud, HostConfig } from "../config";
import { program } from "./program";
import { cloudHealth } from "./status";
import { isUnreached, onHost } from "./hosts";
import { nameOf } from "./report/plan";
import { type StateResource, stackCloud, stackName, stackState } from "./stack";

/**
 * tools/host-life.ts [STACK] [--ask] [--rebuilt]: what a changed list of hosts means for quorum and data, from the configuration
 * and the stack's state. Exit code 1 where that would lose either, with what to do.
 *
 *   --ask       ask the hosts that stay too: `up` does, a preview reaches no host
 *   --rebuilt   only the names of hosts that begin anew
 */

/** What the stack's state knows of a host. */
export interface KnownHost extends MemberRecord {
  readonly name: string;
}

export interface HostLife {
  /** What changes, and what that means; none where nothing does. */
  readonly lines: readonly string[];
  /** What must not be done, each with what to do. */
  readonly refusals: readonly string[];
  readonly rebuilt: readonly HostConfig[];
}

/** Roles whose hosts decide by majority, or hold what others need. */
const COUNTED = ["controller", "storage"] as const;
/** Services that need a majority of the controllers. */
const BY_MAJORITY: readonly string[] = ["pacemaker", "mariadb", "rabbitmq", "ovn"];

const JOINS = ", and it joins the others' clusters, which was tried with controllers alone only";

/** The hosts of a state, by name. */
export function knownHosts(resources: readonly StateResource[]): KnownHost[] {
  return resources
    .filter(({ type, outputs }) => type === MEMBER && outputs?.roles !== undefined)
    .map(({ urn, outputs }) => ({
      ...(outputs as unknown as MemberRecord),
      name: hostOfMember(nameOf(urn)),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What a configuration makes of the hosts that there are. Pure. */
export function hostLife(
  known: readonly KnownHost[],
  { backend, hosts }: Pick<Cloud, "backend" | "hosts">,
): HostLife {
  // A stack that was never deployed, or not with a program that notes its hosts.
  if (known.length === 0) return { lines: [], refusals: [], rebuilt: [] };
  const before = new Map(known.map((host) => [host.name, host]));
  const after = new Map(hosts.map((host) => [host.name, host]));
  const isCounted = ({ roles }: Pick<HostConfig, "roles">): boolean =>
    COUNTED.some((role) => roles.includes(role));
  const others = (host: Pick<HostConfig, "name">, role: HostConfig["roles"][number]): string =>
    hosts
      .filter(
        ({ name, roles, state }) =>
          name !== host.name && roles.includes(role) && state === "active",
      )
      .map(({ name }) => name)
      .join(", ");

  const added = hosts.filter(({ name }) => !before.has(name));
  const removed = known.filter(({ name }) => !after.has(name));
  const rebuilt = hosts.filter(
    ({ name, rebuild }) => rebuild > (before.get(name)?.rebuild ?? rebuild),
  );
  const lines: string[] = [];
  const refusals: string[] = [];

  for (const host of added) {
    lines.push(
      `${host.name} is new (${host.roles.join(", ")}); the others learn its name${
        isCounted(host) ? JOINS : ""
      }`,
    );
  }
  for (const host of hosts) {
    const former = before.get(host.name);
    if (former === undefined || former.state === host.state) continue;
    lines.push(
      host.state === "drained"
        ? `${host.name} is drained: its guests move to ${others(host, "compute")}, those that run without a stop, one after the other; then its services stop`
        : `${host.name} is in service again, and gets new guests; those that it had stay where they are`,
    );
  }
  for (const { id, name } of hosts) {
    const former = before.get(name)?.id ?? id;
    if (id !== former)
      refusals.push(
        `hosts: ${name} has id ${id}, and was deployed with ${former}: its addresses and its place in Corosync come from that; put it back`,
      );
  }
  for (const host of hosts) {
    const former = before.get(host.name)?.roles ?? host.roles;
    const less = former.filter((role) => !host.roles.includes(role));
    const more = host.roles.filter((role) => !former.includes(role));
    if (less.length > 0)
      refusals.push(
        `hosts: ${host.name} has no role ${less.join(", ")} any more, and what that runs there would go on without being looked after, with nothing to take over from it; put the role back`,
      );
    if (more.length > 0 && backend === "lab")
      refusals.push(
        `hosts: ${host.name} gets the role ${more.join(", ")}, and the disk of a lab's host is made for its roles; give the role to a new host`,
      );
    else if (more.length > 0)
      lines.push(
        `${host.name} gets the role ${more.join(", ")}: its services are installed and started there${
          isCounted({ roles: more }) ? JOINS : ""
        }`,
      );
  }
  for (const host of removed) {
    if (host.state === "drained") {
      lines.push(
        `${host.name} is removed; it was drained, and is forgotten by Nova, Placement and OVN`,
      );
      continue;
    }
    refusals.push(
      isCounted(host)
        ? `${host.name} (${host.roles.join(", ")}) is not in the list of hosts any more, and others count it for their majority or their copies; put it back. If it is lost, raise its \`rebuild\` instead`
        : host.roles.includes("compute")
          ? `${host.name} is not in the list of hosts any more, and was not drained: its guests would be lost; put it back with \`state: drained\`, run \`npm run up\`, then take it out`
          : `${host.name} (${host.roles.join(", ")}) is not in the list of hosts any more, and nothing takes over what it does yet; put it back`,
    );
  }
  for (const host of rebuilt) {
    const parts = [`${host.name} begins anew: what is on its disks is given up`];
    if (host.roles.includes("controller")) {
      const all = hosts.filter(({ roles }) => roles.includes("controller")).length;
      parts.push(
        `quorum: until it has joined again, ${all - 1} of ${all} controllers are left (${others(host, "controller")}), and ${spare(all - 1, all)}`,
      );
    }
    if (host.roles.includes("storage"))
      parts.push(
        `data: the copies on its disks are made again from those on ${others(host, "storage")}`,
      );
    if (host.roles.includes("network"))
      parts.push(
        `gateways: floating addresses and routers are carried by ${others(host, "network") || "no host"} until it is back`,
      );
    if (host.roles.includes("compute"))
      parts.push("guests that Nova has on it start there again when it is back");
    lines.push(parts.join("; "));
    if (host.state === "drained")
      refusals.push(
        `${host.name} cannot begin anew and be drained at once; do one after the other`,
      );
  }
  for (const host of hosts) {
    const former = before.get(host.name);
    if (former !== undefined && host.rebuild < former.rebuild)
      refusals.push(
        `hosts: ${host.name} has rebuild ${host.rebuild}, and ${former.rebuild} was done; it counts up only, and every change of it makes the host anew. Set it to ${former.rebuild}`,
      );
  }
  const changing = [...rebuilt, ...added].filter(isCounted).map(({ name }) => name);
  if (rebuilt.filter(isCounted).length > 0 && changing.length > 1)
    refusals.push(
      `${changing.join(" and ")} would begin at the same time, and with them go a majority, or copies of data; do one, wait for all well, then the next`,
    );
  const gateways = hosts.filter(
    ({ roles, state }) => roles.includes("network") && state === "active",
  );
  if (gateways.length > 1 && gateways.every((host) => rebuilt.includes(host)))
    refusals.push(
      `${gateways.map(({ name }) => name).join(" and ")} are all hosts with the role network, and no guest would be reached from outside until one is back; do one, wait for all well, then the next`,
    );
  return { lines, refusals, rebuilt };
}

function spare(left: number, all: number): string {
  const more = left - (Math.floor(all / 2) + 1);
  return more === 0 ? "the loss of one more stops the cloud" : `${more} more may be lost`;
}

/** What the hosts that stay, and it itself, say against it that one begins anew. */
export async function objections(cloud: Cloud, stack: string, host: HostConfig): Promise<string[]> {
  const staying = cloud.hosts.filter(({ name }) => name !== host.name);
  const counted = host.roles.includes("controller") ? BY_MAJORITY : [];
  const wrong = (await cloudHealth({ ...cloud, hosts: staying }, stack))
    .filter(({ service, ok }) => counted.includes(service) && !ok)
    .map(({ host: where, service, detail }) => `${where} ${service}: ${detail}; mend that first`);
  if (host.roles.includes("controller")) {
    const state = await nodeState(staying, stack, host.name);
    if (state !== "offline") {
      wrong.push(
        state === "unclean"
          ? `${host.name} may still run, for all that Pacemaker knows; make sure that it is off, then \`pcs stonith confirm ${host.name}\``
          : `${host.name} is ${state} in Pacemaker; power it off first, so that the others fence it and take over`,
      );
    }
  }
  if (host.roles.includes("storage")) {
    const left = await inactive(staying, stack);
    if (left !== "0")
      wrong.push(
        `${left} placement groups of Ceph are not active without ${host.name}: it may have the only copy; bring back the other storage hosts first`,
      );
  }
  if (host.roles.includes("compute")) {
    const guests = await runningGuests(host, stack);
    if (guests.length > 0)
      wrong.push(
        `${host.name} runs ${guests.length} guest${guests.length === 1 ? "" : "s"}, which would stop at once: drain it first (\`state: drained\`, \`npm run up\`), then begin anew; or switch it off, if they shall stop`,
      );
  }
  return wrong;
}

/** Of a host that answers; one that is lost runs nothing any more. A machine that was just installed has no libvirt. */
async function runningGuests(host: HostConfig, stack: string): Promise<string[]> {
  const command = "if command -v virsh >/dev/null; then virsh list --name --state-running; fi";
  try {
    const names = await onHost(stack, host, command, { limitSeconds: 40 });
    return names.split("\n").filter(Boolean);
  } catch (error) {
    if (isUnreached(error)) return [];
    throw new Error(
      `${host.name} does not say which guests it runs: ${(error as Error).message}; switch it off if it is lost`,
      { cause: error },
    );
  }
}

/** What the controllers among these say of another in Pacemaker: online, unclean, or offline and known to be. */
export async function nodeState(
  hosts: readonly HostConfig[],
  stack: string,
  name: string,
): Promise<"offline" | "online" | "unclean"> {
  const answer = await askAny(hosts, "controller", stack, "crm_mon --one-shot --output-as=xml");
  const node = new RegExp(`<node name="${name}" [^>]*>`).exec(answer)?.[0] ?? "";
  if (node.includes('unclean="true"')) return "unclean";
  return node.includes('online="true"') ? "online" : "offline";
}

async function inactive(hosts: readonly HostConfig[], stack: string): Promise<string> {
  const answer = await askAny(hosts, "storage", stack, "timeout 20 ceph --format json status");
  const { pgmap } = JSON.parse(answer) as {
    pgmap: { pgs_by_state?: { state_name: string; count: number }[] };
  };
  return String(
    (pgmap.pgs_by_state ?? [])
      .filter(({ state_name: state }) => !state.startsWith("active"))
      .reduce((sum, { count }) => sum + count, 0),
  );
}

/** The first of these hosts that answers. */
async function askAny(
  hosts: readonly HostConfig[],
  role: HostConfig["roles"][number],
  stack: string,
  command: string,
): Promise<string> {
  let problem: unknown;
  for (const host of hosts.filter(({ roles }) => roles.includes(role))) {
    try {
      return await onHost(stack, host, command, { limitSeconds: 40 });
    } catch (error) {
      problem = error;
    }
  }
  throw problem instanceof Error ? problem : new Error(`no host with the role ${role} answers`);
}

async function main(): Promise<void> {
  const stack = stackName();
  const cloud = stackCloud(stack);
  const { lines, refusals, rebuilt } = hostLife(knownHosts(stackState(stack)), cloud);
  if (process.argv.includes("--rebuilt")) {
    console.log(rebuilt.map(({ name }) => name).join("\n"));
    return;
  }
  const all = [...refusals];
  if (process.argv.includes("--ask") && all.length === 0)
    for (const host of rebuilt) all.push(...(await objections(cloud, stack, host)));
  for (const line of lines) console.log(`  ${line}`);
  for (const refusal of all) console.error(`error: ${refusal}`);
  process.exitCode = all.length === 0 ? 0 : 1;
}

if (require.main === module) program(main);
