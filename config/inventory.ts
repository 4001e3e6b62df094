import type { Role } from "./cloud";
import { parseAddress } from "./network";
import type { Candidate, PlacedHost, Report } from "./rules";
import { networkNames, portNames, type Settings } from "./schema";

/** The rules for existing machines. */

type Port = (typeof portNames)[number];

/** Host options that say what is there already. */
const OF_MACHINES = ["ssh", "bmc", "nics", "disks"] as const;

/** Ports that a host needs for a role; `storage` of a controller only where there is a store. */
const NEEDED: Readonly<Record<Role, readonly Port[]>> = {
  controller: ["management", "storage", "external"],
  compute: ["management", "tunnel", "storage"],
  network: ["management", "tunnel", "provider"],
  storage: ["management", "storage"],
};

/** The ports that a host of a cloud needs for its roles. */
export function portsNeeded(roles: readonly Role[], whole: boolean): readonly Port[] {
  return portNames.filter((port) =>
    roles.some(
      (role) =>
        NEEDED[role].includes(port) && (whole || role !== "controller" || port !== "storage"),
    ),
  );
}

/** Controllers alone are an identity service; with compute hosts it is a cloud. */
export function isWhole(hosts: readonly { readonly roles: readonly Role[] }[]): boolean {
  return hosts.some(({ roles }) => roles.includes("compute"));
}

export function checkInventory(candidate: Candidate, report: Report): void {
  const { settings, hosts } = candidate;
  if (settings.backend === undefined) {
    return;
  }
  if (settings.backend !== "inventory") {
    refuseMachines(candidate, settings.backend, report);
    return;
  }
  const whole = isWhole(hosts);
  const told = new Set<string>();
  for (const port of portNames) reportLacking(port, candidate, whole, report);
  for (const host of hosts) {
    checkReach(host, report);
    checkPorts(host, settings.inventory, told, report);
    checkDisks(host, report);
  }
  checkDomains(candidate, report);
  checkDoubles(candidate, report);
}

/** Who names no failure domain is one of its own, which is not so if it stands in a rack with others that name theirs. */
function checkDomains({ hosts }: Candidate, report: Report): void {
  const named = hosts.filter(({ failureDomain }) => failureDomain !== undefined);
  if (named.length === 0) return;
  for (const { index, name, failureDomain } of hosts) {
    if (failureDomain === undefined)
      report(
        `hosts[${index}].failureDomain`,
        `${name} has none, and ${named.length} of ${hosts.length} hosts have one: where it stands decides what is lost with a rack`,
        "name its rack too, or take it from all hosts",
      );
  }
}

function refuseMachines({ settings, hosts }: Candidate, backend: string, report: Report): void {
  if (settings.sshPrivateKey !== undefined) {
    report(
      "sshPrivateKey",
      `backend ${backend} gives its hosts a key of the stack's own`,
      "leave it out",
    );
  }
  for (const host of hosts) {
    for (const option of OF_MACHINES) {
      if (host[option] !== undefined) {
        report(
          `hosts[${host.index}].${option}`,
          `it describes a machine that exists, and backend ${backend} makes its hosts`,
          "leave it out, or use backend inventory",
        );
      }
    }
  }
}

function checkReach({ index, ssh, bmc, roles }: PlacedHost, report: Report): void {
  if (ssh?.hostKey === undefined) {
    report(
      `hosts[${index}].ssh.hostKey`,
      "is missing, and another machine could pass for the host",
      "add what `ssh-keyscan -t ed25519 HOST` shows, once it is compared with the host's console",
    );
  }
  if (ssh?.address !== undefined && parseAddress(ssh.address) === undefined) {
    reportAddress(`hosts[${index}].ssh.address`, ssh.address, report);
  }
  if (bmc === undefined && roles.includes("controller")) {
    report(
      `hosts[${index}].bmc`,
      "is missing, and a controller that is lost has to be switched off before another takes its place",
      "add its management controller, such as { address: 10.77.9.11 }",
    );
  }
  if (bmc !== undefined && parseAddress(bmc.address) === undefined) {
    reportAddress(`hosts[${index}].bmc.address`, bmc.address, report);
  }
}

function reportAddress(path: string, text: string, report: Report): void {
  report(
    path,
    `${JSON.stringify(text)} is not an IPv4 address`,
    "write four numbers with dots, such as 10.77.0.10",
  );
}

/** A port that several hosts need and none has is one mistake, in the place that is for all. */
function reportLacking(
  port: Port,
  { settings: { inventory }, hosts }: Candidate,
  whole: boolean,
  report: Report,
): void {
  if (!inventory || inventory.nics[port] !== undefined) return;
  const lacking = hosts.filter(
    ({ roles, nics }) => nics?.[port] === undefined && portsNeeded(roles, whole).includes(port),
  );
  const [first, ...others] = lacking;
  if (!first) return;
  const use =
    port === "provider" ? "a port on the external network for the guests" : `the ${port} network`;
  if (others.length === 0) {
    const { index, roles } = first;
    report(
      `hosts[${index}].nics.${port}`,
      `is missing, and ${roles.join(" and ")} ${roles.length === 1 ? "needs" : "need"} ${use}`,
      "name the interface here, or in inventory.nics for all hosts",
    );
  } else {
    report(
      `inventory.nics.${port}`,
      `is missing, and ${lacking.map(({ name }) => name).join(", ")} need ${use}`,
      "name the interface here, or in nics of each",
    );
  }
}

function checkPorts(
  { index, roles, nics }: PlacedHost,
  inventory: Settings["inventory"] | undefined,
  told: Set<string>,
  report: Report,
): void {
  if (!inventory) {
    return;
  }
  const nameOf = (port: Port): string | undefined => (nics?.[port] ?? inventory.nics[port])?.name;
  networkNames.forEach((port, i) => {
    const first = networkNames.slice(0, i).find((other) => nameOf(other) === nameOf(port));
    if (nameOf(port) !== undefined && first) {
      const own = nics?.[port] !== undefined || nics?.[first] !== undefined;
      const at = own ? `hosts[${index}].nics.${port}` : `inventory.nics.${port}`;
      // What all hosts have from one place is a mistake there, and one.
      if (told.has(at)) return;
      told.add(at);
      report(
        at,
        `${nameOf(port)!} is already the interface of the ${first} network`,
        "give every network an interface of its own; VLANs of one port are such",
      );
    }
  });
  checkProvider(index, roles, nameOf, report);
}

/** Open vSwitch takes the port as it is: an address on it would no longer be reached. */
function checkProvider(
  index: number,
  roles: readonly Role[],
  nameOf: (port: Port) => string | undefined,
  report: Report,
): void {
  const provider = nameOf("provider");
  const shared = networkNames.find((network) => nameOf(network) === provider);
  if (provider === undefined || shared === undefined || !roles.includes("network")) {
    return;
  }
  // A host that is no controller has no need of an address there.
  if (shared !== "external" || roles.includes("controller")) {
    report(
      `hosts[${index}].nics.provider`,
      `${provider} is also the interface of the ${shared} network, and Open vSwitch takes it without its address`,
      "name a port that has no address",
    );
  }
}

function checkDisks({ index, name, roles, disks }: PlacedHost, report: Report): void {
  const path = `hosts[${index}].disks`;
  if (roles.includes("storage") && disks === undefined) {
    report(
      path,
      "is missing, and the role storage needs a place for data",
      "name whole, empty disks; or write [] for a file of ceph.osdFileGiB",
    );
  } else if (!roles.includes("storage") && disks?.length) {
    report(path, `${name} does not have the role storage`, "leave it out, or add the role");
  }
  disks?.forEach((disk, i) => {
    if (disks.indexOf(disk) < i) {
      report(`${path}[${i}]`, `${disk} is named twice`, "name each disk once");
    }
  });
}

/** What no two hosts can have in common. */
function checkDoubles({ hosts, settings }: Candidate, report: Report): void {
  const owners = new Map<string, string>();
  const once = (path: string, value: string | undefined, text: string, fix: string): void => {
    const owner = value === undefined ? undefined : owners.get(value);
    if (owner !== undefined) {
      report(path, `${text} of ${owner}`, fix);
    }
  };
  const own = (value: string | undefined, name: string): void => {
    if (value !== undefined && !owners.has(value)) owners.set(value, name);
  };
  for (const { index, name, ssh, bmc, nics } of hosts) {
    const at = `hosts[${index}]`;
    const reach =
      ssh?.address === undefined
        ? undefined
        : `${ssh.address}:${ssh.port ?? settings.inventory?.ssh.port ?? 22}`;
    const control = bmc && `bmc ${bmc.address}:${bmc.port ?? ""}`;
    const other = "write that of this host";
    once(`${at}.ssh.address`, reach, `${reach ?? ""} is already the address`, other);
    once(`${at}.ssh.hostKey`, ssh?.hostKey, "it is also the host key", other);
    once(
      `${at}.bmc.address`,
      control,
      `${bmc?.address ?? ""} is also the management controller`,
      other,
    );
    [reach, ssh?.hostKey, control].forEach((value) => {
      own(value, name);
    });
    const macs = portNames.map((port) => ({ port, mac: nics?.[port]?.mac }));
    for (const { port, mac } of macs) {
      once(`${at}.nics.${port}.mac`, mac, `${mac ?? ""} is also an interface`, other);
    }
    // VLANs of one port share its address.
    macs.forEach(({ mac }) => {
      own(mac, name);
    });
  }
}
