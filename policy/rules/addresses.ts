import { isHostAddress, parseAddress, parseCidr } from "../../config/network";
import type { Plan, Resource } from "../plan";
import type { Finding, Rule } from "../rule";

/** Where the virtual IPs may be, and that each address has one owner. */

const SUBNET = "openstack:networking/subnet:Subnet";
/** Which network a virtual IP is on. */
const NETWORK_OF: Readonly<Record<string, string>> = {
  "vip-internal": "management",
  "vip-public": "external",
};

/** Somebody's address. */
interface Owned {
  readonly address: string;
  readonly owner: string;
  readonly at?: Resource | undefined;
}

/** The addresses that are there for good: of hosts, their management controllers, the deployer and the virtual IPs. */
function owned(plan: Plan): Owned[] {
  const at = plan.cluster()[0]?.step.resource;
  return [
    ...plan
      .networks()
      .flatMap(({ address, name }) =>
        address === undefined ? [] : [{ address, owner: `the deployer on the ${name} network` }],
      ),
    ...plan.machines().flatMap(({ name, addresses, bmc, resource }) => [
      ...Object.values(addresses).map((address) => ({
        address,
        owner: `host ${name}`,
        at: resource,
      })),
      { address: bmc.address, owner: `the management controller of ${name}`, at: resource },
    ]),
    ...plan.vips().map(({ address, id }) => ({ address, owner: id, at })),
  ];
}

interface Pool {
  readonly start: string;
  readonly end: string;
}

function isInside({ start, end }: Pool, address: string): boolean {
  const number = parseAddress(address);
  const [first, last] = [parseAddress(start), parseAddress(end)];
  return (
    number !== undefined &&
    first !== undefined &&
    last !== undefined &&
    number >= first &&
    number <= last
  );
}

export const addresses: readonly Rule[] = [
  {
    name: "vip-in-its-network",
    severity: "mandatory",
    demand: "A virtual IP is a host address of its network, and has its prefix.",
    reason: "Its neighbours would not find it, or not reach others through it.",
    fix: "choose vips.internal from the management network, vips.public from the external one",
    find: (plan) =>
      plan
        .cluster()
        .slice(0, 1)
        .flatMap(({ step }) =>
          plan.vips().flatMap(({ address, id, prefix }): Finding[] => {
            const network = plan.networks().find(({ name }) => name === NETWORK_OF[id]);
            const cidr = parseCidr(network?.cidr ?? "");
            const number = parseAddress(address);
            if (network === undefined || cidr === undefined) return [];
            return number !== undefined &&
              isHostAddress(cidr, number) &&
              String(cidr.prefix) === prefix
              ? []
              : [
                  {
                    where: `${id} of Pacemaker`,
                    wanted: `an address of the ${network.name} network ${network.cidr}`,
                    found: `${address}/${prefix}`,
                    at: step.resource,
                  },
                ];
          }),
        ),
  },
  {
    name: "address-unique",
    severity: "mandatory",
    demand:
      "Every address has one owner: a host, a management controller, the deployer, or a virtual IP.",
    reason: "Of two that answer on an address clients reach either, and fencing the wrong one.",
    fix: "give one of them another id or address",
    find: (plan) => {
      const owners = new Map<string, Owned>();
      return owned(plan).flatMap((each): Finding[] => {
        const first = owners.get(each.address);
        if (first === undefined) owners.set(each.address, each);
        return first === undefined
          ? []
          : [
              {
                where: `the address ${each.address}`,
                wanted: "one owner",
                found: `${first.owner} and ${each.owner}`,
                at: each.at,
              },
            ];
      });
    },
  },
  {
    name: "pool-is-free",
    severity: "mandatory",
    demand: "No pool that addresses are given away from has an address that is somebody's.",
    reason: "Neutron would give a guest the address of a host or of the API.",
    fix: "set content.floatingPool to a range that nobody else uses",
    find: (plan) =>
      plan.ofType(SUBNET).flatMap((subnet) => {
        const { allocationPools: pools, gatewayIp } = subnet.props as {
          allocationPools?: readonly Pool[];
          gatewayIp?: string;
        };
        const all: readonly Owned[] = [
          ...owned(plan),
          ...(gatewayIp ? [{ address: gatewayIp, owner: "the gateway" }] : []),
        ];
        return (pools ?? []).flatMap((pool) =>
          all
            .filter(({ address }) => isInside(pool, address))
            .map(({ address, owner }) => ({
              where: `the pool ${pool.start} to ${pool.end} of ${subnet.name}`,
              wanted: "free addresses",
              found: `${address} of ${owner}`,
              at: subnet,
            })),
        );
      }),
  },
  {
    name: "no-dhcp-outside",
    severity: "mandatory",
    demand: "The cloud's DHCP does not answer on the external network.",
    reason: "Neutron would answer to whoever asks there, with addresses of its own.",
    fix: "keep enableDhcp false on the external subnet",
    find: (plan) =>
      plan
        .ofType(SUBNET)
        .filter(({ props }) => props.enableDhcp === true)
        .map((subnet) => ({
          where: subnet.name,
          wanted: "enableDhcp false",
          found: "true",
          at: subnet,
        })),
  },
];
