import { createHash } from "node:crypto";
import { isWhole, servicesOf } from "../../catalogue";
import { leastMemoryMiB } from "../../components/hosts/memory";
import { portsNeeded } from "../../config/inventory";
import {
  type Cloud,
  type HostConfig,
  type NetworkName,
  networkNames,
  type NicConfig,
  type PortName,
} from "../../config";
import {
  type Disk,
  type Facts,
  type HostFacts,
  isReached,
  type Link,
  type Ping,
  type Unreached,
} from "./facts";

/** What is wrong with the hosts, all of it at once. Pure: facts in, findings out. */

export interface Finding {
  /** Undefined where it is about the cloud as a whole. */
  readonly host?: string;
  readonly check: string;
  /** With an error the cloud would not come up, or not be what was asked for. A warning is worth a look. */
  readonly level: "error" | "warning";
  /** The option that is at fault, or that describes what is. */
  readonly key: string;
  readonly found: string;
  readonly fix: string;
}

/** How a person finds an option: in the stack's file, or in the file that it names. */
export type KeyOf = (path: string) => string;

/** Debian 13 has OpenStack 2025.1. */
const DEBIAN = "13";
const ARCHITECTURES = ["amd64", "arm64"];
/** Seconds. A connection's own delay is in the figure; Ceph and tokens want far less, which a time service gives. */
const CLOCK_TOLERANCE = 5;
/** MiB for packages, logs and a small database. */
const LEAST_FREE_MIB = 4096;
/** GiB; Ceph's metadata alone takes some. */
const LEAST_DISK_GIB = 10;
const GIB = 2 ** 30;

type Add = (
  check: string,
  key: string,
  found: string,
  fix: string,
  level?: Finding["level"],
) => void;

/** A host of the configuration that could be asked. */
interface Known {
  readonly host: HostConfig;
  readonly facts: HostFacts;
  /** It is part of this cloud already: what is ours on it is no mistake. */
  readonly deployed: boolean;
  readonly add: Add;
  readonly key: KeyOf;
}

/**
 * @param keyOf From a path as in the schema (`hosts[NAME].bmc`, `networks.tunnel.mtu`) to what a person reads.
 */
export function judge(cloud: Cloud, facts: Facts, keyOf: KeyOf): Finding[] {
  const findings: Finding[] = [];
  const adder =
    (host?: string): Add =>
    (check, key, found, fix, level = "error") => {
      findings.push({ ...(host === undefined ? {} : { host }), check, level, key, found, fix });
    };

  const known: Known[] = [];
  for (const host of cloud.hosts) {
    const add = adder(host.name);
    const key: KeyOf = (option) => keyOf(`hosts[${host.name}].${option}`);
    const answer = facts.hosts[host.name];
    if (isReached(answer)) {
      const deployed = answer.clouds.includes(cloud.stack);
      known.push({ host, facts: answer, deployed, add, key });
    } else if (answer) {
      judgeUnreached(cloud, host, answer, add, key);
    }
  }
  judgeWay(cloud, facts, adder(), keyOf);
  for (const each of known) {
    judgeSystem(cloud, each, keyOf);
    judgeStorage(cloud, each);
    judgePorts(cloud, each, keyOf);
    judgeListeners(cloud, each);
    judgeLeftovers(cloud, each);
    judgeSource(cloud, each);
  }
  judgeIdentity(known);
  judgeClocks(known);
  judgeAddresses(cloud, known, keyOf);
  judgePaths(cloud, known, adder, keyOf);
  judgeBmcs(cloud, facts, known, adder, keyOf);
  return findings;
}

/** Hosts are rarely all down at once: then it is the way to them. */
function judgeWay(cloud: Cloud, { hosts }: Facts, add: Add, keyOf: KeyOf): void {
  const silent = cloud.hosts.filter(({ name }) => {
    const answer = hosts[name];
    return answer !== undefined && !isReached(answer) && answer.problem === "down";
  });
  if (silent.length < 2 || silent.length < cloud.hosts.length) return;
  const { bastion } = cloud.inventory;
  const subnet = cloud.networks.management.cidr;
  add(
    "ssh",
    keyOf("inventory.ssh.bastion"),
    `none of the ${silent.length} hosts answers ${bastion ? `behind ${bastion.address}` : "from this machine"}`,
    `see first whether ${bastion ? "it" : "this machine"} has a route to ${subnet}${bastion ? "" : ", or name a bastion"}`,
  );
}

// ---- One host by itself -----------------------------------------------------------------------------------------

function judgeUnreached(
  cloud: Cloud,
  host: HostConfig,
  { problem, detail, offered }: Unreached,
  add: Add,
  key: KeyOf,
): void {
  const { address, port, user } = host.ssh;
  const where = port === 22 ? address : `${address}:${port}`;
  const other = cloud.hosts.find(
    (each) => each !== host && each.ssh.hostKey && fingerprint(each.ssh.hostKey) === offered,
  );
  switch (problem) {
    case "down":
      add(
        "ssh",
        key("ssh.address"),
        `nothing answers at ${where}: ${detail}`,
        "power the host on, or write the address that it has",
      );
      return;
    case "host-key":
      add(
        "ssh",
        key("ssh.hostKey"),
        other
          ? `${where} is ${other.name}: it has the host key of that`
          : `${where} has another host key${offered ? `, ${offered}` : ""}`,
        other
          ? `swap the addresses of ${host.name} and ${other.name}`
          : "if the host was installed anew, compare with its console and write the new one; if not, find out who answers there",
      );
      return;
    case "login":
      add(
        "ssh",
        key("ssh.user"),
        `${user} may not log in at ${where}: ${detail}`,
        `add the key of \`npm run precheck -- --public-key\` to ${user === "root" ? "/root" : `/home/${user}`}/.ssh/authorized_keys, or set sshPrivateKey`,
      );
      return;
    case "sudo":
      add(
        "ssh",
        key("ssh.user"),
        `${user} does not become root: ${detail}`,
        `allow it: echo '${user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/${user}`,
      );
      return;
    case "bastion":
      add(
        "ssh",
        key("ssh.address"),
        `the bastion does not get to ${where}: ${detail}`,
        "look at inventory.ssh.bastion, and from there at the host's address",
      );
      return;
    case "other":
      add(
        "ssh",
        key("ssh"),
        `no answer from ${where}: ${detail}`,
        `try it: ssh ${user}@${address}`,
      );
  }
}

/** As OpenSSH shows a host key. */
export function fingerprint(hostKey: string): string {
  const blob = Buffer.from(hostKey.split(" ")[1] ?? "", "base64");
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function judgeSystem(cloud: Cloud, { host, facts, add, key }: Known, keyOf: KeyOf): void {
  const { os } = facts;
  if (!facts.root) {
    add("ssh", key("ssh.user"), `${host.ssh.user} is not root after sudo`, "allow it sudo as root");
  }
  if (os.id !== "debian" || os.version !== DEBIAN) {
    add(
      "os",
      key("ssh.address"),
      `it runs ${os.name || "something unknown"}`,
      `install Debian ${DEBIAN} on it`,
    );
  }
  if (!ARCHITECTURES.includes(facts.architecture)) {
    add(
      "os",
      key("ssh.address"),
      `its packages are for ${facts.architecture}`,
      `use a machine for ${ARCHITECTURES.join(" or ")}`,
    );
  }
  const least = leastMemoryMiB(host, isWhole(cloud));
  if (facts.memoryMiB < least) {
    add(
      "memory",
      key("roles"),
      `${facts.memoryMiB} MiB, and ${host.roles.join(", ")} need ${least} at rest`,
      "add memory, or give the host fewer roles",
    );
  }
  if (host.roles.includes("compute") && cloud.nova.virtType === "kvm") {
    if (!facts.virtualisation) {
      add(
        "cpu",
        keyOf("nova.virtType"),
        "its processor has neither vmx nor svm, so kvm cannot run guests",
        "switch virtualisation on in the firmware, or set nova.virtType to qemu",
      );
    } else if (!facts.kvm) {
      add(
        "cpu",
        keyOf("nova.virtType"),
        "/dev/kvm is not there, although its processor can",
        "switch virtualisation on in the firmware and load kvm_intel or kvm_amd, or set nova.virtType to qemu",
      );
    }
  }
  const switches = host.roles.some((role) => role === "compute" || role === "network");
  if (switches && isWhole(cloud) && cloud.neutron.datapath === "kernel" && !facts.openvswitch) {
    add(
      "kernel",
      keyOf("neutron.datapath"),
      "its kernel has no module openvswitch",
      "use Debian's own kernel, or set neutron.datapath to userspace",
    );
  }
}

function judgeStorage(cloud: Cloud, { host, facts, deployed, add, key }: Known): void {
  const file = host.roles.includes("storage") && isWhole(cloud) && host.disks.length === 0;
  if (!deployed && facts.freeMiB < LEAST_FREE_MIB) {
    add("disk", key("roles"), `${facts.freeMiB} MiB are free on /`, `free ${LEAST_FREE_MIB} MiB`);
  } else if (!deployed && file && facts.freeMiB < cloud.ceph.osdFileGiB * 1024) {
    add(
      "disk",
      key("disks"),
      `${facts.freeMiB} MiB are free on /, and the store's file may grow to ${cloud.ceph.osdFileGiB} GiB`,
      "name disks, or make ceph.osdFileGiB smaller",
      "warning",
    );
  }
  const seen = new Map<string, string>();
  host.disks.forEach((path, i) => {
    const at = key(`disks[${i}]`);
    const disk = facts.disks.find((each) => each.path === path);
    if (disk?.device === undefined) {
      add("disk", at, `there is no disk ${path}`, "write one of `ls -l /dev/disk/by-id` there");
      return;
    }
    const twin = seen.get(disk.device);
    seen.set(disk.device, path);
    if (twin !== undefined) {
      add("disk", at, `${path} and ${twin} are one disk, ${disk.device}`, "name each disk once");
    }
    judgeDisk(disk, deployed, at, add);
  });
}

function judgeDisk(disk: Disk, deployed: boolean, at: string, add: Add): void {
  const { path, device, type, bytes = 0, content } = disk;
  if (type !== undefined && type !== "disk") {
    add("disk", at, `${path} is ${device ?? ""}, a ${type} and no whole disk`, "name a whole disk");
  }
  if (bytes < LEAST_DISK_GIB * GIB) {
    add(
      "disk",
      at,
      `${path} has ${(bytes / GIB).toFixed(1)} GiB`,
      `use one of ${LEAST_DISK_GIB} GiB or more`,
    );
  }
  const others = content.filter((each) => !(deployed && each === "ceph_bluestore"));
  if (others.length > 0) {
    add(
      "disk",
      at,
      `${path} is not empty: ${others.join(", ")}`,
      `name another; or, if nobody needs what is on it: wipefs --all ${path}`,
    );
  }
}

// ---- Network interfaces -----------------------------------------------------------------------------------------

function judgePorts(cloud: Cloud, known: Known, keyOf: KeyOf): void {
  const { host, facts, add, key } = known;
  for (const port of portsNeeded(host.roles, isWhole(cloud))) {
    const nic = host.ports[port];
    if (nic === undefined) continue;
    const link = facts.links.find(({ name }) => name === nic.name);
    const at = key(`nics.${port}`);
    if (link === undefined) {
      add(
        "nic",
        at,
        `there is no interface ${nic.name}${nic.mac ? whereIs(facts, nic.mac) : ""}`,
        "write the name that `ip link` shows there, or make it",
      );
      continue;
    }
    judgeLink(known, port, nic, link, at);
    const { mtu, vlan } = cloud.networks[port === "provider" ? "external" : port];
    if (link.mtu < mtu) {
      add(
        "mtu",
        at,
        `${nic.name} takes packets of ${link.mtu} bytes, and ${keyOf(`networks.${port === "provider" ? "external" : port}.mtu`)} is ${mtu}`,
        `ip link set ${nic.name} mtu ${mtu}, there and for the next boot; or make the option smaller`,
      );
    }
    if (vlan !== undefined && link.vlan !== undefined && link.vlan !== vlan) {
      add(
        "nic",
        at,
        `${nic.name} is VLAN ${link.vlan}, and the network is VLAN ${vlan}`,
        "name the interface of that VLAN",
      );
    }
  }
}

function whereIs(facts: HostFacts, mac: string): string {
  const link = facts.links.find((each) => each.mac === mac || each.permanentMac === mac);
  return link ? `; ${mac} is ${link.name}` : "";
}

function judgeLink(
  { host, facts, deployed, add }: Known,
  port: PortName,
  nic: NicConfig,
  link: Link,
  at: string,
): void {
  if (!link.up || !link.carrier) {
    add(
      "nic",
      at,
      `${nic.name} is ${link.up ? "without a carrier" : "down"}`,
      link.up
        ? "look at its cable and the switch's port"
        : `ip link set ${nic.name} up, there and for the next boot`,
    );
  }
  const macs = [link.mac, link.permanentMac];
  if (nic.mac !== undefined && !macs.includes(nic.mac)) {
    add(
      "nic",
      `${at}.mac`,
      `${nic.name} has the MAC address ${link.mac}, not ${nic.mac}${whereIs(facts, nic.mac)}`,
      "write its own, or find out which machine this is",
    );
  }
  judgeBond(facts, nic, link, at, add);
  const own = facts.addresses.filter(({ nic: name }) => name === nic.name);
  if (port === "provider") {
    if (own.length > 0 && host.ports.external?.name !== nic.name) {
      add(
        "nic",
        at,
        `${nic.name} has the address ${own[0]!.address}, and Open vSwitch takes the port as it is`,
        "name a port without an address",
      );
    }
    // Open vSwitch's own are a bond of its kind.
    if (!deployed && link.master !== undefined) {
      add("nic", at, `${nic.name} is part of ${link.master}`, "name a port that nothing else uses");
    }
    return;
  }
  const wanted = host.addresses[port];
  const holder = facts.addresses.find(({ address }) => address === wanted);
  // Where packets are switched in userspace the tunnels' address is on a bridge that holds the port.
  if (holder === undefined) {
    add(
      "nic",
      at,
      `${nic.name} has ${own.length ? own.map(({ address }) => address).join(", ") : "no address"}, not ${wanted}`,
      `give it ${wanted}, or write its own as hosts[].addresses.${port}`,
    );
  } else if (holder.nic !== nic.name && !deployed) {
    add(
      "nic",
      at,
      `${wanted} is on ${holder.nic}, not on ${nic.name}`,
      `name ${holder.nic}, or move the address`,
    );
  }
}

function judgeBond(
  facts: HostFacts,
  { name, bond }: NicConfig,
  link: Link,
  at: string,
  add: Add,
): void {
  const master = link.parent ?? name;
  for (const member of bond ?? []) {
    const port = facts.links.find((each) => each.name === member);
    if (port === undefined) {
      add(
        "nic",
        `${at}.bond`,
        `there is no interface ${member}`,
        "write the names that `ip link` shows there",
      );
    } else if (port.master !== master) {
      add(
        "nic",
        `${at}.bond`,
        `${member} is ${port.master ? `part of ${port.master}` : "in no bond"}, not of ${master}`,
        "add it to the bond, or leave it out here",
      );
    } else if (!port.carrier) {
      add(
        "nic",
        `${at}.bond`,
        `${member} has no carrier, so that ${master} has one port less than it looks`,
        "look at its cable and the switch's port",
      );
    }
  }
}

// ---- What is there already --------------------------------------------------------------------------------------

function judgeListeners(cloud: Cloud, { host, facts, deployed, add, key }: Known): void {
  // Of a host that is part of this cloud, they are its own.
  if (deployed) return;
  for (const entry of servicesOf(cloud, host).filter(({ name }) => name !== "base")) {
    for (const { port, protocol, purpose } of listened(entry.ports)) {
      const taken = facts.listeners.find(
        (each) => each.port === port && each.protocol === protocol && !isLoopback(each.address),
      );
      if (taken) {
        add(
          "port",
          key("roles"),
          `${taken.process} listens on ${protocol} port ${port}, which ${entry.name} needs (${purpose})`,
          `stop ${taken.process} there for good`,
        );
      }
    }
  }
}

/** Without those that are in others' packets, or at others' ends. */
function listened(ports: ReturnType<typeof servicesOf>[number]["ports"]): typeof ports {
  return ports.filter(({ purpose }) => !/in the tunnels|to the BMCs/.test(purpose));
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "[::1]";
}

function judgeLeftovers(cloud: Cloud, { facts, deployed, add, key }: Known): void {
  const wipe = "install the host anew, or remove what is there";
  const others = facts.clouds.filter((name) => name !== cloud.stack);
  if (others.length > 0) {
    add(
      "leftovers",
      key("name"),
      `it is part of the cloud ${others.join(", ")}`,
      `take it out of that, and ${wipe}`,
    );
  }
  if (
    facts.corosync !== undefined &&
    facts.corosync !== cloud.stack &&
    facts.corosync !== "debian"
  ) {
    add("leftovers", key("name"), `Corosync on it is part of the cluster ${facts.corosync}`, wipe);
  }
  if (deployed) return;
  if (facts.ceph !== undefined) {
    add("leftovers", key("name"), `it is part of the store ${facts.ceph}`, wipe);
  }
  for (const { what, path } of facts.leftovers) {
    add("leftovers", key("name"), `data of ${what} is in ${path}`, wipe);
  }
}

function judgeSource(cloud: Cloud, { host, facts, add, key }: Known): void {
  const at = key("name");
  if (facts.unresolved.length > 0) {
    add(
      "names",
      at,
      `${facts.unresolved.join(", ")} cannot be resolved there`,
      "give the host a name server that knows it",
    );
  } else if (facts.sourceErrors.length > 0) {
    add(
      "packages",
      at,
      `apt cannot ask its source: ${facts.sourceErrors[0]!}`,
      "mend /etc/apt/sources.list.d, or apt's proxy",
    );
  }
  const missing = servicesOf(cloud, host)
    .flatMap((entry) => entry.packages)
    .filter((name) => !facts.packages.includes(name));
  const names = [...new Set(missing)].sort();
  if (names.length > 0) {
    const shown = names.slice(0, 3).join(", ");
    add(
      "packages",
      at,
      `its source does not offer ${shown}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`,
      `apt-get update; Debian ${DEBIAN}'s main has them all`,
    );
  }
}

// ---- All hosts together -----------------------------------------------------------------------------------------

/** Two entries that lead to one machine, and machines that are each other. */
function judgeIdentity(known: readonly Known[]): void {
  known.forEach(({ host, facts, deployed, add, key }, i) => {
    const twin = known.slice(0, i).find((each) => each.facts.machineId === facts.machineId);
    if (twin && facts.machineId !== "") {
      add(
        "identity",
        key("ssh.address"),
        `it has the machine-id of ${twin.host.name}: one machine, or a copy of it`,
        "write its own address; of a copy: rm /etc/machine-id && systemd-machine-id-setup",
      );
    }
    const named = known.find((each) => each.host.name === facts.hostname && each.host !== host);
    if (named) {
      add(
        "identity",
        key("ssh.address"),
        `it calls itself ${facts.hostname}, which is another entry`,
        `swap the addresses of ${host.name} and ${named.host.name}, or name it anew: hostnamectl hostname ${host.name}`,
      );
    } else if (deployed && facts.hostname !== host.name) {
      add(
        "identity",
        key("name"),
        `it was part of this cloud as ${facts.hostname}`,
        "write that name, or install the host anew",
      );
    }
    for (const [port, { mac }] of Object.entries(host.ports)) {
      const owner = known.find(
        (each) =>
          each.host !== host &&
          mac !== undefined &&
          each.facts.links.some((link) => link.mac === mac),
      );
      if (owner) {
        add(
          "identity",
          key(`nics.${port}.mac`),
          `${mac!} is an interface of ${owner.host.name}`,
          `swap ${host.name} and ${owner.host.name}, or write its own`,
        );
      }
    }
  });
}

function judgeClocks(known: readonly Known[]): void {
  const sorted = known.map(({ facts }) => facts.clockAhead).sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  for (const { facts, add, key } of known) {
    const off = facts.clockAhead - median;
    if (Math.abs(off) > CLOCK_TOLERANCE) {
      add(
        "clock",
        key("name"),
        `its clock is ${Math.round(Math.abs(off))} s ${off > 0 ? "ahead" : "behind"}`,
        "set it, and have a time service hold it: apt-get install chrony",
      );
    } else if (facts.synchronised === false) {
      add(
        "clock",
        key("name"),
        "no time service holds its clock",
        "apt-get install chrony",
        "warning",
      );
    }
  }
}

function judgeAddresses(cloud: Cloud, known: readonly Known[], keyOf: KeyOf): void {
  const holders = new Map<string, Known>();
  for (const each of known) {
    for (const { address } of each.facts.addresses) {
      if (isLoopback(address) || Object.values(cloud.vips).includes(address)) continue;
      const first = holders.get(address);
      if (first && first !== each && first.facts.machineId !== each.facts.machineId) {
        each.add(
          "address",
          each.key("addresses"),
          `it has the address ${address}, and so has ${first.host.name}`,
          "take it off one of them",
        );
      }
      holders.set(address, first ?? each);
    }
  }
  // Somebody who is no host of ours.
  for (const network of networkNames) {
    for (const each of known) {
      const wanted = each.host.addresses[network];
      if (!each.facts.addresses.some(({ address }) => address === wanted)) continue;
      // A host may answer for an address by any of its interfaces.
      const macs = each.facts.links.map(({ mac }) => mac);
      const stranger = known
        .filter((other) => other !== each)
        .flatMap((other) => other.facts.pings)
        .find((ping) => ping.to === wanted && ping.small && ping.mac && !macs.includes(ping.mac));
      if (stranger && !holdersDiffer(known, stranger, each)) {
        each.add(
          "address",
          each.key(`addresses.${network}`),
          `${wanted} also belongs to ${stranger.mac!}, which is no interface of this host`,
          "find that machine, and give one of them another address",
        );
      }
    }
  }
  judgeVips(cloud, known, keyOf);
}

/** The stranger is a host of ours, which is told already. */
function holdersDiffer(known: readonly Known[], { to, mac }: Ping, self: Known): boolean {
  return known.some(
    (each) =>
      each !== self &&
      each.facts.addresses.some(({ address }) => address === to) &&
      each.facts.links.some((link) => link.mac === mac),
  );
}

function judgeVips(cloud: Cloud, known: readonly Known[], keyOf: KeyOf): void {
  if (known.some(({ deployed }) => deployed)) return;
  for (const vip of ["internal", "public"] as const) {
    const address = cloud.vips[vip];
    const asker = known.find(({ facts }) =>
      facts.pings.some((ping) => ping.network === "vip" && ping.to === address && ping.small),
    );
    asker?.add(
      "address",
      keyOf(`vips.${vip}`),
      `${address} answers already, and no host of this cloud has it yet`,
      "choose an address that nobody has",
    );
  }
}

type AddFor = (host?: string) => Add;

/** Every pair of hosts on every network: packets of the network's own size, in both directions. */
function judgePaths(cloud: Cloud, known: readonly Known[], adder: AddFor, keyOf: KeyOf): void {
  for (const network of networkNames) {
    const on = known.filter(
      ({ host, facts }) =>
        usesNetwork(cloud, host, network) &&
        facts.addresses.some(({ address }) => address === host.addresses[network]),
    );
    const result = (from: Known, to: Known): Ping | undefined =>
      from.facts.pings.find(
        (ping) => ping.network === network && ping.to === to.host.addresses[network],
      );
    const pairs = on.flatMap((a, i) => on.slice(i + 1).map((b): readonly [Known, Known] => [a, b]));
    const failed = (test: (ping: Ping) => boolean): (readonly [Known, Known])[] =>
      pairs.filter(([a, b]) => [result(a, b), result(b, a)].some((ping) => ping && test(ping)));
    const { cidr, mtu } = cloud.networks[network];
    grouped(failed((ping) => !ping.small)).forEach(({ host, peers }) => {
      adder(host)(
        "network",
        keyOf(`networks.${network}.cidr`),
        `${host} and ${peers.join(", ")} do not reach each other on the ${network} network ${cidr}`,
        "look at the VLAN on the switch's ports, and at firewalls",
      );
    });
    grouped(failed((ping) => ping.small && !ping.full)).forEach(({ host, peers }) => {
      adder(host)(
        "mtu",
        keyOf(`networks.${network}.mtu`),
        `packets of ${mtu} bytes do not pass between ${host} and ${peers.join(", ")} on the ${network} network, and small ones do`,
        `have the switches between them carry ${mtu} bytes, or make the option smaller`,
      );
    });
  }
}

/** The host that most pairs have in common is named once, with its peers. */
function grouped(pairs: readonly (readonly [Known, Known])[]): { host: string; peers: string[] }[] {
  const groups: { host: string; peers: string[] }[] = [];
  let left = pairs.map(([a, b]) => [a.host.name, b.host.name]);
  while (left.length > 0) {
    const count = (name: string): number => left.filter((pair) => pair.includes(name)).length;
    const [host] = [...new Set(left.flat())].sort((a, b) => count(b) - count(a));
    groups.push({
      host: host!,
      peers: left.filter((pair) => pair.includes(host!)).map(([a, b]) => (a === host ? b! : a!)),
    });
    left = left.filter((pair) => !pair.includes(host!));
  }
  return groups;
}

/** Whether a host has an address on a network that others have to reach. */
export function usesNetwork(cloud: Cloud, host: HostConfig, network: NetworkName): boolean {
  return portsNeeded(host.roles, isWhole(cloud)).includes(network);
}

// ---- Management controllers -------------------------------------------------------------------------------------

function judgeBmcs(
  cloud: Cloud,
  facts: Facts,
  known: readonly Known[],
  adder: AddFor,
  keyOf: KeyOf,
): void {
  // Containers, and some virtual machines, all show their machine's: that names nobody.
  const identities = known.map(({ host, facts: { dmi } }) => ({
    name: host.name,
    marks: marks(dmi),
  }));
  const own = (name: string): string[] =>
    (identities.find((each) => each.name === name)?.marks ?? []).filter(
      (mark) => identities.filter(({ marks: each }) => each.includes(mark)).length === 1,
    );
  const guids = new Map<string, string>();
  const unproven: string[] = [];
  if (
    known.length > 0 &&
    cloud.hosts.some(({ bmc }) => bmc) &&
    Object.keys(facts.bmcs).length === 0
  ) {
    adder()(
      "bmc",
      keyOf("hosts"),
      "the management controllers were not asked: ipmitool is neither here nor on a host",
      "apt-get install ipmitool here; behind a bastion, on a controller",
      "warning",
    );
  }
  for (const { name, bmc } of cloud.hosts) {
    const answer = facts.bmcs[name];
    if (!bmc || !answer) continue;
    const add = adder(name);
    const at = keyOf(`hosts[${name}].bmc.address`);
    if (answer.problem !== undefined) {
      add(
        "bmc",
        at,
        `no session with ${bmc.user} at ${bmc.address}:${bmc.port}: ${answer.problem}`,
        `look at address, account and password (secrets.${bmc.ownPassword ? `bmc-${name}` : "pacemaker-bmc"}), and that IPMI over LAN is switched on`,
      );
      continue;
    }
    const told = [...(answer.guid ? guidForms(answer.guid) : []), ...answer.serials.map(plain)];
    const machine = cloud.hosts.find(
      (each) => each.name !== name && own(each.name).some((mark) => told.includes(mark)),
    );
    const twin = answer.guid === undefined ? undefined : guids.get(answer.guid);
    if (answer.guid !== undefined) guids.set(answer.guid, twin ?? name);
    const isUp = known.some(({ host }) => host.name === name);
    if (machine) {
      add(
        "bmc",
        at,
        `${bmc.address} is the management controller of ${machine.name}`,
        `fencing ${name} would kill ${machine.name}: write the address of its own`,
      );
    } else if (twin !== undefined) {
      add(
        "bmc",
        at,
        `${bmc.address} is the same management controller as that of ${twin}`,
        "write the address of its own",
      );
    } else if (isUp && answer.powerOn === false) {
      add(
        "bmc",
        at,
        `${bmc.address} says that its machine is off, and ${name} answers: it is another's`,
        "write the address of its own",
      );
    } else if (isUp && !own(name).some((mark) => told.includes(mark))) {
      unproven.push(name);
    }
  }
  if (unproven.length > 0) {
    adder()(
      "bmc",
      keyOf("hosts"),
      `that the management controllers of ${unproven.join(", ")} are their own is not proven: what they say of their machines is not what these say of themselves`,
      "compare serial numbers, or fence each once before there is anything on it (docs/bare-metal.md)",
      "warning",
    );
  }
}

/** What a machine says of itself in SMBIOS, in a form to compare. */
function marks(dmi: Readonly<Record<string, string>>): string[] {
  const { product_uuid: uuid, ...serials } = dmi;
  return [
    ...(uuid ? [uuid.toLowerCase().replaceAll("-", "")] : []),
    ...Object.values(serials).map(plain),
  ].filter((mark) => !isPlaceholder(mark));
}

function plain(serial: string): string {
  return serial.trim().toLowerCase();
}

/** What makers leave where nothing was written. */
function isPlaceholder(mark: string): boolean {
  return (
    mark.length < 4 ||
    /^(.)\1*$/.test(mark) ||
    /filled|default|none|not spec|to be|n\/a|123456789/.test(mark)
  );
}

/** SMBIOS has the first three fields in the other order of bytes than RFC 4122; controllers write either, or all turned around. */
export function guidForms(guid: string): string[] {
  const hex = guid.replaceAll("-", "").toLowerCase();
  const bytes = hex.match(/../g) ?? [];
  const turned = (from: number, to: number): string => bytes.slice(from, to).reverse().join("");
  return [hex, turned(0, 4) + turned(4, 6) + turned(6, 8) + bytes.slice(8).join(""), turned(0, 16)];
}
