import type { Plan } from "../plan";
import { readIni } from "../readers";
import type { Finding, Rule } from "../rule";

/** What hosts share their fate with: a rack, a room, a power feed. */

interface Spread {
  /** As they are called in messages. */
  readonly what: string;
  readonly hosts: readonly string[];
  /** How many may be lost together. */
  readonly bearable: number;
}

/** Domains whose loss takes more than is bearable. Where all hosts are in one there is nothing to spread over. */
function crowded(plan: Plan, { what, hosts, bearable }: Spread): Finding[] {
  if (new Set(plan.hosts().map((host) => plan.domainOf(host))).size <= 1) return [];
  const domains = new Map<string, string[]>();
  for (const host of hosts) {
    const domain = plan.domainOf(host);
    domains.set(domain, [...(domains.get(domain) ?? []), host]);
  }
  return [...domains]
    .filter(([, members]) => members.length > bearable)
    .map(([domain, members]) => ({
      where: `the failure domain ${domain}`,
      wanted: `${bearable} of ${hosts.length} ${what} at most`,
      found: members.join(", "),
    }));
}

/** How many of so many can be lost, and a majority is left. */
const minority = (count: number): number => Math.floor((count - 1) / 2);

function monitors(plan: Plan): readonly string[] {
  const file = plan.file("/etc/ceph/ceph.conf")[0];
  const named =
    readIni(file?.content ?? "")
      .get("global")
      ?.get("mon_initial_members") ?? "";
  return named.split(",").filter(Boolean);
}

/** Hosts that carry the guests' packets to the outside. */
export function gateways(plan: Plan): readonly string[] {
  return plan
    .stepsOf("ovn-chassis", "start")
    .filter(({ params }) =>
      (params?.external_ids as readonly string[]).some((id) =>
        /^ovn-cms-options=.*enable-chassis-as-gw/.test(id),
      ),
    )
    .map(({ host }) => host);
}

export const spread: readonly Rule[] = [
  {
    name: "controllers-spread",
    severity: "mandatory",
    demand: "No failure domain has a majority of the controllers, unless there is only one domain.",
    reason: "With that rack the cluster's majority is gone, and everything stops.",
    fix: "place the controllers in three failure domains",
    find: (plan) => {
      const hosts = plan.hostsOf("pacemaker");
      return crowded(plan, { what: "controllers", hosts, bearable: minority(hosts.length) });
    },
  },
  {
    name: "monitors-spread",
    severity: "advisory",
    demand: "No failure domain has a majority of Ceph's monitors, unless there is only one domain.",
    reason:
      "With that rack all volumes stop. The monitors are the first storage hosts by id, and not every site has three racks.",
    fix: "place the storage hosts with the lowest ids in three failure domains",
    find: (plan) => {
      const hosts = monitors(plan);
      // Of fewer than three none can be spared, wherever it is.
      if (minority(hosts.length) === 0) return [];
      return crowded(plan, { what: "monitors", hosts, bearable: minority(hosts.length) });
    },
  },
  {
    name: "copies-spread",
    severity: "advisory",
    demand:
      "No failure domain has so many storage hosts that its loss could take more copies than Ceph can spare.",
    reason:
      "Copies are placed on different hosts, not yet in different racks, so one rack can hold several copies of an object.",
    fix: "have at most ceph.replicas - ceph.minReplicas storage hosts in one failure domain",
    find: (plan) => {
      const { min_size: least, size } = (plan.stepsOf("ceph", "bootstrap")[0]?.params ?? {}) as {
        min_size?: number;
        size?: number;
      };
      // None can be spared, wherever it is.
      if (least === undefined || size === undefined || least >= size) return [];
      const hosts = plan.hostsOf("ceph");
      return crowded(plan, { what: "storage hosts", hosts, bearable: size - least });
    },
  },
  {
    name: "gateways-spread",
    severity: "advisory",
    demand:
      "The network hosts are in more than one failure domain, unless there is only one domain.",
    reason: "With that rack no guest reaches the outside. Floating addresses have nowhere to go.",
    fix: "give the role network to a host in another failure domain",
    find: (plan) => {
      const hosts = gateways(plan);
      if (hosts.length < 2) return [];
      return crowded(plan, { what: "network hosts", hosts, bearable: hosts.length - 1 });
    },
  },
];
