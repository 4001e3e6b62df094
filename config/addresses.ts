import type { NetworkName } from "./cloud";
import { isWhole, portsNeeded } from "./inventory";
import { HYPERVISOR_ID, HYPERVISOR_IS_ON } from "./libvirt";
import {
  formatAddress,
  formatCidr,
  isHostAddress,
  overlap,
  parseAddress,
  parseCidr,
  reservedFor,
  upperHalf,
  type Cidr,
} from "./network";
import type { Candidate, PlacedHost, Report } from "./rules";
import { networkNames } from "./schema";

/** The rules for networks and addresses. */

/** Networks without a mistake. */
export type Cidrs = ReadonlyMap<NetworkName, Cidr>;

/** Each network by itself and against the others. */
export function checkNetworks({ settings: { networks } }: Candidate, report: Report): Cidrs {
  const cidrs = new Map<NetworkName, Cidr>();
  const vlans = new Map<number, NetworkName>();
  for (const name of networks ? networkNames : []) {
    const { cidr: text, vlan } = networks![name];
    const cidr = checkCidr(`networks.${name}.cidr`, text, cidrs, report);
    if (cidr) {
      cidrs.set(name, cidr);
    }
    const taken = vlan === undefined ? undefined : vlans.get(vlan);
    if (taken) {
      report(
        `networks.${name}.vlan`,
        `${vlan!} is already used by the ${taken} network`,
        "give every network its own VLAN id",
      );
    } else if (vlan !== undefined) {
      vlans.set(vlan, name);
    }
  }
  return cidrs;
}

function checkCidr(path: string, text: string, earlier: Cidrs, report: Report): Cidr | undefined {
  const cidr = parseCidr(text);
  if (!cidr) {
    const isIpv6 = text.includes(":");
    report(
      path,
      isIpv6
        ? `${text} is an IPv6 network, which is not supported yet`
        : `${JSON.stringify(text)} is not an IPv4 network`,
      isIpv6 ? "use an IPv4 network" : "write it as address/prefix, such as 10.77.0.0/24",
    );
    return undefined;
  }
  const clash = [...earlier].find(([, other]) => overlap(cidr, other));
  if (formatCidr(cidr) !== text) {
    report(
      path,
      `${text} is an address inside a network`,
      `write the network itself, ${formatCidr(cidr)}`,
    );
  } else if (cidr.prefix < 8 || cidr.prefix > 28) {
    report(
      path,
      cidr.prefix < 8
        ? `a /${cidr.prefix} is larger than any private range`
        : `a /${cidr.prefix} is too small for hosts, VIP and management controllers`,
      "use a prefix from /8 to /28",
    );
  } else if (reservedFor(cidr)) {
    report(
      path,
      `${text} is in the ${reservedFor(cidr)!} range`,
      "use a private network, such as 10.77.0.0/24",
    );
  } else if (clash) {
    report(
      path,
      `${text} overlaps with the ${clash[0]} network ${formatCidr(clash[1])}`,
      "give every network its own range",
    );
  } else {
    return cidr;
  }
  return undefined;
}

/**
 * Every address of every network has one owner.
 *
 * The order of the claims decides who is told to move: the one that is easier to move comes later.
 */
export function checkAddresses(
  candidate: Candidate,
  cidrs: Cidrs,
  duplicates: ReadonlySet<number>,
  report: Report,
): void {
  const book = new AddressBook(cidrs, report);
  claimMachine(candidate, book);
  claimHypervisors(candidate, book);
  for (const host of candidate.hosts) {
    claimHost(host, hasPort(candidate, host), duplicates.has(host.index), book);
  }
  claimGateways(candidate, book);
  claimVips(candidate, book);
  claimNamedBmcs(candidate, book);
  if (candidate.allHosts && duplicates.size === 0) {
    claimBmcs(candidate, book);
    checkFloatingPool(candidate, book);
  }
}

/** Who has which address. */
class AddressBook {
  private readonly owners = new Map<string, string>();

  constructor(
    readonly cidrs: Cidrs,
    readonly report: Report,
  ) {}

  owner(network: NetworkName, address: number): string | undefined {
    return this.owners.get(`${network} ${address}`);
  }

  /** The first address of a range that is somebody's. */
  ownersBetween(
    network: NetworkName,
    start: number,
    end: number,
  ): { address: number; owner: string } | undefined {
    for (const [key, owner] of this.owners) {
      const [name, text] = key.split(" ");
      const address = Number(text);
      if (name === network && address >= start && address <= end) return { address, owner };
    }
    return undefined;
  }

  claim(network: NetworkName, address: number, owner: string): void {
    this.owners.set(`${network} ${address}`, owner);
  }

  /** An address as a person wrote it; undefined where it is none, which is reported, or where its network is not known. */
  read(path: string, text: string, network: NetworkName): number | undefined {
    const cidr = this.cidrs.get(network);
    const address = parseAddress(text);
    if (address === undefined) {
      const isIpv6 = text.includes(":");
      this.report(
        path,
        isIpv6
          ? `${text} is an IPv6 address, which is not supported yet`
          : `${JSON.stringify(text)} is not an IPv4 address`,
        isIpv6 ? "use an IPv4 address" : "write four numbers with dots, such as 10.77.0.10",
      );
    } else if (cidr && !isHostAddress(cidr, address)) {
      this.report(
        path,
        `${text} is not a host address of the ${network} network ${formatCidr(cidr)}`,
        `choose one from ${range(cidr)}`,
      );
    } else if (cidr) {
      return address;
    }
    return undefined;
  }
}

function range(cidr: Cidr): string {
  return `${formatAddress(cidr.base + 1)} to ${formatAddress(cidr.last - 1)}`;
}

const MACHINE = "the machine that runs the lab";

function claimMachine({ settings: { lab, backend } }: Candidate, book: AddressBook): void {
  if (!lab || backend !== "lab") {
    return;
  }
  for (const [network, cidr] of book.cidrs) {
    const address = cidr.base + lab.machineId;
    if (!isHostAddress(cidr, address)) {
      book.report(
        "lab.machineId",
        `${lab.machineId} does not fit into the ${network} network ${formatCidr(cidr)}`,
        `use 1 to ${cidr.last - cidr.base - 1}`,
      );
      return;
    }
    book.claim(network, address, MACHINE);
  }
}

const HYPERVISOR = "the hypervisor";

/** It has an address of its own on networks that are made there. */
function claimHypervisors({ settings: { libvirt, backend } }: Candidate, book: AddressBook): void {
  if (!libvirt || backend !== "libvirt") {
    return;
  }
  for (const network of HYPERVISOR_IS_ON) {
    const cidr = book.cidrs.get(network);
    if (cidr && libvirt.hypervisors.some(({ bridges }) => bridges[network] === undefined)) {
      book.claim(network, cidr.base + HYPERVISOR_ID, HYPERVISOR);
    }
  }
}

/** Where a host has a port, and so an address: a machine where its roles need one, or it names one of its own. */
function hasPort(
  { settings: { backend }, hosts }: Candidate,
  { roles, nics }: PlacedHost,
): (network: NetworkName) => boolean {
  if (backend !== "inventory") return () => true;
  const needed = portsNeeded(roles, isWhole(hosts));
  return (network) => nics?.[network] !== undefined || needed.includes(network);
}

/** A wrong id is reported once, not for each network. */
function claimHost(
  host: PlacedHost,
  hasPort: (network: NetworkName) => boolean,
  idIsReported: boolean,
  book: AddressBook,
): void {
  const { index, name, id } = host;
  let reported = idIsReported;
  const reportId = (what: string, fix: string): void => {
    if (!reported) {
      reported = true;
      book.report(`hosts[${index}].id`, what, fix);
    }
  };

  for (const [network, cidr] of book.cidrs) {
    const path = `hosts[${index}].addresses.${network}`;
    const text = host.addresses[network];
    if (text === undefined && !hasPort(network)) continue;
    const address = text === undefined ? cidr.base + id : book.read(path, text, network);
    const owner = address === undefined ? undefined : book.owner(network, address);
    if (address === undefined) {
      continue;
    }
    if (!isHostAddress(cidr, address)) {
      reportId(
        `${id} does not fit into the ${network} network ${formatCidr(cidr)}`,
        `use 2 to ${cidr.last - cidr.base - 1}`,
      );
    } else if (owner === undefined) {
      book.claim(network, address, `host ${name}`);
    } else {
      const what = `${formatAddress(address)} on the ${network} network is already the address of ${owner}`;
      if (text === undefined) {
        reportId(what, "choose another id");
      } else {
        book.report(path, what, "choose another address");
      }
    }
  }
}

/** The machine that runs the lab may be the router, and so may a hypervisor. */
function claimGateways({ settings: { networks } }: Candidate, book: AddressBook): void {
  for (const network of networks ? networkNames : []) {
    const text = networks![network].gateway;
    const path = `networks.${network}.gateway`;
    const address = text === undefined ? undefined : book.read(path, text, network);
    const owner = address === undefined ? undefined : book.owner(network, address);
    if (owner !== undefined && owner !== MACHINE && owner !== HYPERVISOR) {
      book.report(
        path,
        `${text!} is already the address of ${owner}`,
        "name the router's address, or give the host another id",
      );
    } else if (address !== undefined) {
      book.claim(network, address, "the gateway");
    }
  }
}

/** Which network a VIP is on. */
const VIP_NETWORKS = { internal: "management", public: "external" } as const;

function claimVips({ settings: { vips } }: Candidate, book: AddressBook): void {
  for (const vip of vips ? (["internal", "public"] as const) : []) {
    const network = VIP_NETWORKS[vip];
    const path = `vips.${vip}`;
    const address = book.read(path, vips![vip], network);
    const owner = address === undefined ? undefined : book.owner(network, address);
    if (owner !== undefined) {
      book.report(
        path,
        `${vips![vip]} is already the address of ${owner}`,
        `choose a free one from ${range(book.cidrs.get(network)!)}`,
      );
    } else if (address !== undefined) {
      book.claim(network, address, `the ${vip} VIP`);
    }
  }
}

const BMC_OF = "the management controller of ";

/** Those of machines may be on a network of the cloud too. Two that are one are told elsewhere. */
function claimNamedBmcs({ settings: { backend }, hosts }: Candidate, book: AddressBook): void {
  if (backend !== "inventory") return;
  for (const { index, name, bmc } of hosts) {
    const address = bmc && parseAddress(bmc.address);
    for (const [network, cidr] of address === undefined ? [] : book.cidrs) {
      if (!isHostAddress(cidr, address!)) continue;
      const owner = book.owner(network, address!);
      if (owner === undefined) {
        book.claim(network, address!, `${BMC_OF}${name}`);
      } else if (!owner.startsWith(BMC_OF)) {
        book.report(
          `hosts[${index}].bmc.address`,
          `${bmc!.address} on the ${network} network is already the address of ${owner}`,
          "write that of the management controller",
        );
      }
    }
  }
}

/** One offset places all the management controllers, so the first that has no room is told. */
function claimBmcs({ settings: { lab, backend }, hosts }: Candidate, book: AddressBook): void {
  const cidr = book.cidrs.get("management");
  if (!cidr || !lab || backend !== "lab") {
    return;
  }
  for (const { name, id, addresses } of hosts) {
    const own = addresses.management ? parseAddress(addresses.management) : cidr.base + id;
    if (own === undefined || !isHostAddress(cidr, own)) {
      continue;
    }
    const address = own + lab.bmcOffset;
    const owner = book.owner("management", address);
    const what = `${lab.bmcOffset} puts the management controller of ${name} at ${formatAddress(address)}`;
    if (!isHostAddress(cidr, address)) {
      book.report(
        "lab.bmcOffset",
        `${what}, outside of the management network ${formatCidr(cidr)}`,
        "use a smaller offset",
      );
      return;
    }
    if (owner !== undefined) {
      book.report(
        "lab.bmcOffset",
        `${what}, already the address of ${owner}`,
        "choose another offset",
      );
      return;
    }
    book.claim("management", address, `${BMC_OF}${name}`);
  }
}

/** Neutron gives these addresses away: nobody else may have one. */
function checkFloatingPool({ hosts, settings: { content } }: Candidate, book: AddressBook): void {
  const cidr = book.cidrs.get("external");
  if (!cidr || !content?.enabled || !isWhole(hosts)) {
    return;
  }
  const pool = content.floatingPool ?? upperHalf(cidr);
  const start = book.read("content.floatingPool.start", pool.start, "external");
  const end = book.read("content.floatingPool.end", pool.end, "external");
  if (start === undefined || end === undefined) {
    return;
  }
  if (start > end) {
    book.report(
      "content.floatingPool.end",
      `${pool.end} is before the first address ${pool.start}`,
      "name the lower address as start",
    );
    return;
  }
  const inside = book.ownersBetween("external", start, end);
  if (inside) {
    book.report(
      "content.floatingPool",
      `${pool.start} to ${pool.end} has ${formatAddress(inside.address)} in it, the address of ${inside.owner}`,
      "set it to a range that nobody else uses",
    );
  }
}
