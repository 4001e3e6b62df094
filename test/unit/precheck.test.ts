import test from "ava";
import { servicesOf } from "../../catalogue";
import { portsNeeded } from "../../config/inventory";
import { networkNames, type Cloud, type HostConfig } from "../../config";
import { sshKeyPair } from "../../secrets";
import { keyOf, publicKey, table } from "../../tools/precheck";
import {
  parseBmc,
  parseFacts,
  parseRefusal,
  type BmcFacts,
  type HostFacts,
  type Link,
  type Unreached,
} from "../../tools/precheck/facts";
import { wanted } from "../../tools/precheck/gather";
import { fingerprint, guidForms, judge, type Finding } from "../../tools/precheck/judge";
import { readStackFile, parsedCloud } from "../fixtures/config/fixtures";

// What the precheck makes of facts. The facts of hosts that are as the production example says, and one thing wrong each.

const raw = readStackFile("Pulumi.production.example.yaml");
const cloud: Cloud = parsedCloud(raw, "production");
const keys = keyOf({ raw, mistakes: [] });

type Writable<T> = T extends (infer E)[] | readonly (infer E)[]
  ? Writable<E>[]
  : T extends object
    ? { -readonly [K in keyof T]: Writable<T[K]> }
    : T;
/** Facts that a test can spoil; every host is reached, until it is not. */
interface Draft {
  hosts: Record<string, Writable<HostFacts>>;
  bmcs: Record<string, Writable<BmcFacts>>;
}

const mac = (id: number, port: number): string =>
  `02:00:00:00:${id.toString(16).padStart(2, "0")}:0${port}`;
const uuid = (id: number): string => `4c4c4544-0033-4410-8033-b4c04f3030${id}`;

function link(name: string, address: string, more: Partial<Link> = {}): Link {
  return { name, mac: address, mtu: 9000, up: true, carrier: true, ...more };
}

function goodHost(host: HostConfig): HostFacts {
  const needed = portsNeeded(host.roles, true);
  const one = mac(host.id, 1);
  const vlan = (name: string, id: number): Link =>
    link(name, one, { parent: name.split(".")[0]!, vlan: id });
  return {
    clockAhead: 0.2,
    root: true,
    hostname: host.name,
    machineId: `machine-${host.name}`,
    os: { id: "debian", version: "13", name: "Debian GNU/Linux 13 (trixie)" },
    architecture: "amd64",
    cpus: 32,
    virtualisation: true,
    kvm: true,
    openvswitch: true,
    memoryMiB: 128000,
    synchronised: true,
    freeMiB: 400000,
    links: [
      link("eno1", one, { master: "bond0" }),
      link("eno2", one, { master: "bond0", permanentMac: mac(host.id, 2) }),
      link("eno3", mac(host.id, 3), { master: "bond1" }),
      link("eno4", mac(host.id, 3), { master: "bond1" }),
      link("bond0", one),
      link("bond1", mac(host.id, 3)),
      vlan("bond0.110", 110),
      vlan("bond0.120", 120),
      vlan("bond0.130", 130),
      vlan("bond0.140", 140),
      link("bond1.140", mac(host.id, 3), { parent: "bond1", vlan: 140 }),
    ],
    addresses: [
      { nic: "lo", address: "127.0.0.1", prefix: 8 },
      ...networkNames
        .filter((network) => needed.includes(network))
        .map((network) => ({
          nic: host.ports[network]!.name,
          address: host.addresses[network],
          prefix: 24,
        })),
    ],
    disks: host.disks.map((path, i) => ({
      path,
      device: `/dev/nvme${i + 1}n1`,
      type: "disk",
      bytes: 4e12,
      content: [],
    })),
    unresolved: [],
    packages: servicesOf(cloud, host).flatMap((entry) => entry.packages),
    sourceErrors: [],
    listeners: [{ protocol: "tcp", address: "0.0.0.0", port: 22, process: "sshd" }],
    clouds: [],
    leftovers: [],
    dmi: { product_uuid: uuid(host.id), product_serial: `SN${host.id}`, chassis_serial: "" },
    pings: networkNames
      .filter((network) => needed.includes(network))
      .flatMap((network) =>
        cloud.hosts
          .filter((peer) => peer !== host && portsNeeded(peer.roles, true).includes(network))
          .map((peer) => ({
            network,
            to: peer.addresses[network],
            full: true,
            small: true,
            mac: mac(peer.id, 1),
          })),
      ),
  };
}

function good(): Draft {
  return structuredClone({
    hosts: Object.fromEntries(cloud.hosts.map((host) => [host.name, goodHost(host)])),
    bmcs: Object.fromEntries(
      cloud.hosts.map(({ name, id }) => [name, { powerOn: true, guid: uuid(id), serials: [] }]),
    ),
  }) as unknown as Draft;
}

/** What is left on the hosts of a cloud that was deployed. */
function deploy(facts: Draft): void {
  for (const [name, host] of Object.entries(facts.hosts)) {
    host.clouds = ["production"];
    if (name.startsWith("ctl")) {
      host.corosync = "production";
      host.listeners.push({ protocol: "tcp", address: "0.0.0.0", port: 3306, process: "mariadbd" });
      host.leftovers.push({ what: "galera", path: "/var/lib/mysql" });
    }
    host.ceph = "f7e1c1f0-0000-8000-8000-000000000000";
    for (const disk of host.disks) disk.content = ["ceph_bluestore"];
    if (name.startsWith("net"))
      host.links.find((each) => each.name === "bond1.140")!.master = "ovs-system";
  }
  facts.hosts.ctl1!.addresses.push({ nic: "bond0.110", address: "10.20.0.10", prefix: 24 });
}

const judged = (facts: Draft): Finding[] => judge(cloud, facts, keys);

test("hosts that are as the inventory says: nothing is wrong", (t) => {
  t.deepEqual(judged(good()), []);
  t.is(table(cloud, []), "12 hosts: nothing is wrong");
});

test("hosts that are part of this cloud already: nothing is wrong", (t) => {
  const facts = good();
  deploy(facts);
  t.deepEqual(judged(facts), []);
});

interface Broken {
  readonly spoil: (facts: Draft) => void;
  /** Host, check, key, and a part of what was found; of every finding. */
  readonly expect: readonly (readonly [string | undefined, string, string, RegExp])[];
}

const unreached = (facts: Draft, name: string, problem: Unreached["problem"], more = {}): void => {
  (facts.hosts as Record<string, unknown>)[name] = { problem, detail: "its words", ...more };
};
const nic = (facts: Draft, host: string, name: string): Writable<Link> =>
  facts.hosts[host]!.links.find((each) => each.name === name)!;
const everyPing = (
  facts: Draft,
  network: string,
  a: string,
  b: string,
  result: { full: boolean; small: boolean },
): void => {
  const to = (name: string): string =>
    cloud.hosts.find((host) => host.name === name)!.addresses[network as "tunnel"];
  for (const [from, other] of [
    [a, b],
    [b, a],
  ] as const) {
    for (const ping of facts.hosts[from]!.pings) {
      if (ping.network === network && ping.to === to(other)) Object.assign(ping, result);
    }
  }
};

const BROKEN: Readonly<Record<string, Broken>> = {
  "a host is down": {
    spoil: (f) => {
      unreached(f, "cmp1", "down");
    },
    expect: [
      ["cmp1", "ssh", "openstack-ha:hosts[8].ssh.address", /nothing answers at 10\.20\.0\.21/],
    ],
  },
  "all hosts are down": {
    spoil: (f) => {
      for (const name of Object.keys(f.hosts)) unreached(f, name, "down");
      f.bmcs = {};
    },
    expect: [
      ...cloud.hosts.map(
        ({ name }) =>
          [name, "ssh", keys(`hosts[${name}].ssh.address`), /nothing answers at /] as const,
      ),
      [
        undefined,
        "ssh",
        "openstack-ha:inventory.ssh.bastion",
        /none of the 12 hosts answers from this machine/,
      ],
    ],
  },
  "another host key": {
    spoil: (f) => {
      unreached(f, "cmp1", "host-key", { offered: "SHA256:abc" });
    },
    expect: [["cmp1", "ssh", "openstack-ha:hosts[8].ssh.hostKey", /another host key, SHA256:abc/]],
  },
  "two hosts have each other's address": {
    spoil: (f) => {
      const offered = (name: string): object => ({
        offered: fingerprint(cloud.hosts.find((host) => host.name === name)!.ssh.hostKey!),
      });
      unreached(f, "cmp1", "host-key", offered("cmp2"));
      unreached(f, "cmp2", "host-key", offered("cmp1"));
    },
    expect: [
      ["cmp1", "ssh", "openstack-ha:hosts[8].ssh.hostKey", /10\.20\.0\.21 is cmp2/],
      ["cmp2", "ssh", "openstack-ha:hosts[9].ssh.hostKey", /10\.20\.0\.22 is cmp1/],
    ],
  },
  "the key is refused": {
    spoil: (f) => {
      unreached(f, "sto1", "login");
    },
    expect: [["sto1", "ssh", "openstack-ha:hosts[3].ssh.user", /deploy may not log in/]],
  },
  "sudo asks for a password": {
    spoil: (f) => {
      unreached(f, "sto1", "sudo");
    },
    expect: [["sto1", "ssh", "openstack-ha:hosts[3].ssh.user", /does not become root/]],
  },
  "two hosts are swapped, and have no keys to tell": {
    spoil: (f) => {
      [f.hosts.cmp1!.hostname, f.hosts.cmp2!.hostname] = ["cmp2", "cmp1"];
    },
    expect: [
      ["cmp1", "identity", "openstack-ha:hosts[8].ssh.address", /calls itself cmp2/],
      ["cmp2", "identity", "openstack-ha:hosts[9].ssh.address", /calls itself cmp1/],
    ],
  },
  "one machine twice": {
    spoil: (f) => {
      f.hosts.cmp2!.machineId = f.hosts.cmp1!.machineId;
    },
    expect: [["cmp2", "identity", "openstack-ha:hosts[9].ssh.address", /machine-id of cmp1/]],
  },
  "the old Debian": {
    spoil: (f) => {
      f.hosts.net1!.os = { id: "debian", version: "12", name: "Debian GNU/Linux 12 (bookworm)" };
    },
    expect: [["net1", "os", "openstack-ha:hosts[6].ssh.address", /bookworm/]],
  },
  "virtualisation is off in the firmware": {
    spoil: (f) => {
      Object.assign(f.hosts.cmp3!, { virtualisation: false, kvm: false });
    },
    expect: [["cmp3", "cpu", "openstack-ha:nova.virtType", /neither vmx nor svm/]],
  },
  "too little memory": {
    spoil: (f) => {
      f.hosts.ctl1!.memoryMiB = 2000;
    },
    expect: [
      ["ctl1", "memory", "openstack-ha:hosts[0].roles", /2000 MiB, and controller need 2900/],
    ],
  },
  "a kernel without Open vSwitch": {
    spoil: (f) => {
      f.hosts.net2!.openvswitch = false;
    },
    expect: [["net2", "kernel", "openstack-ha:neutron.datapath", /no module openvswitch/]],
  },
  "a disk that is not there": {
    spoil: (f) => {
      f.hosts.sto2!.disks[1] = { path: f.hosts.sto2!.disks[1]!.path, content: [] };
    },
    expect: [["sto2", "disk", "openstack-ha:hosts[4].disks[1]", /there is no disk/]],
  },
  "a disk with data": {
    spoil: (f) => {
      f.hosts.sto2!.disks[0]!.content = ["nvme1n1p1 /srv", "gpt"];
    },
    expect: [["sto2", "disk", "openstack-ha:hosts[4].disks[0]", /not empty: nvme1n1p1 \/srv, gpt/]],
  },
  "a disk of another store": {
    spoil: (f) => {
      f.hosts.sto2!.disks[0]!.content = ["ceph_bluestore"];
    },
    expect: [["sto2", "disk", "openstack-ha:hosts[4].disks[0]", /not empty: ceph_bluestore/]],
  },
  "a disk that is too small, and a partition": {
    spoil: (f) => {
      Object.assign(f.hosts.sto2!.disks[0]!, { bytes: 1e9, type: "part" });
    },
    expect: [
      ["sto2", "disk", "openstack-ha:hosts[4].disks[0]", /a part and no whole disk/],
      ["sto2", "disk", "openstack-ha:hosts[4].disks[0]", /has 0\.9 GiB/],
    ],
  },
  "two names of one disk": {
    spoil: (f) => {
      f.hosts.sto2!.disks[1]!.device = f.hosts.sto2!.disks[0]!.device!;
    },
    expect: [["sto2", "disk", "openstack-ha:hosts[4].disks[1]", /are one disk, \/dev\/nvme1n1/]],
  },
  "an interface that is not there": {
    spoil: (f) => {
      f.hosts.cmp4!.links = f.hosts.cmp4!.links.filter(({ name }) => name !== "bond0.120");
      f.hosts.cmp4!.addresses = f.hosts.cmp4!.addresses.filter(({ nic: on }) => on !== "bond0.120");
    },
    expect: [["cmp4", "nic", "openstack-ha:hosts[11].nics.tunnel", /no interface bond0\.120/]],
  },
  "an interface without its address": {
    spoil: (f) => {
      f.hosts.cmp4!.addresses = f.hosts.cmp4!.addresses.filter(({ nic: on }) => on !== "bond0.130");
    },
    expect: [
      ["cmp4", "nic", "openstack-ha:hosts[11].nics.storage", /no address, not 10\.20\.2\.24/],
    ],
  },
  "an address on another interface": {
    spoil: (f) => {
      f.hosts.cmp4!.addresses.find(({ nic: on }) => on === "bond0.130")!.nic = "bond1.140";
    },
    expect: [
      ["cmp4", "nic", "openstack-ha:hosts[11].nics.storage", /10\.20\.2\.24 is on bond1\.140/],
    ],
  },
  "a cable that is out": {
    spoil: (f) => {
      nic(f, "ctl2", "eno2").carrier = false;
    },
    expect: [["ctl2", "nic", "openstack-ha:hosts[1].nics.management.bond", /eno2 has no carrier/]],
  },
  "a port that is not in its bond": {
    spoil: (f) => {
      delete nic(f, "net1", "eno4").master;
    },
    expect: [
      [
        "net1",
        "nic",
        "openstack-ha:hosts[6].nics.provider.bond",
        /eno4 is in no bond, not of bond1/,
      ],
    ],
  },
  "an interface that is down": {
    spoil: (f) => {
      Object.assign(nic(f, "net1", "bond1.140"), { up: false, carrier: false });
    },
    expect: [["net1", "nic", "openstack-ha:hosts[6].nics.provider", /bond1\.140 is down/]],
  },
  "a provider port with an address": {
    spoil: (f) => {
      f.hosts.net1!.addresses.push({ nic: "bond1.140", address: "203.0.113.31", prefix: 24 });
    },
    expect: [
      ["net1", "nic", "openstack-ha:hosts[6].nics.provider", /has the address 203\.0\.113\.31/],
    ],
  },
  "the wrong VLAN": {
    spoil: (f) => {
      nic(f, "sto3", "bond0.130").vlan = 131;
    },
    expect: [
      [
        "sto3",
        "nic",
        "openstack-ha:hosts[5].nics.storage",
        /is VLAN 131, and the network is VLAN 130/,
      ],
    ],
  },
  "another machine's MAC address": {
    spoil: (f) => {
      for (const each of f.hosts.cmp1!.links)
        if (each.mac === mac(21, 1)) each.mac = "02:00:00:00:99:01";
      for (const host of Object.values(f.hosts)) {
        for (const ping of host.pings) if (ping.mac === mac(21, 1)) ping.mac = "02:00:00:00:99:01";
      }
    },
    expect: [
      [
        "cmp1",
        "nic",
        "openstack-ha:hosts[8].nics.management.mac",
        /has the MAC address 02:00:00:00:99:01, not 02:00:00:00:15:01/,
      ],
    ],
  },
  "an interface that takes small packets only": {
    spoil: (f) => {
      nic(f, "sto1", "bond0.130").mtu = 1500;
    },
    expect: [
      [
        "sto1",
        "mtu",
        "openstack-ha:hosts[3].nics.storage",
        /takes packets of 1500 bytes, and .* is 9000/,
      ],
    ],
  },
  "a switch that drops large packets between two hosts": {
    spoil: (f) => {
      everyPing(f, "tunnel", "cmp1", "cmp2", { full: false, small: true });
    },
    expect: [
      [
        "cmp1",
        "mtu",
        "openstack-ha:networks.tunnel.mtu",
        /9000 bytes do not pass between cmp1 and cmp2 on the tunnel/,
      ],
    ],
  },
  "a host that no large packet reaches": {
    spoil: (f) => {
      for (const peer of ["cmp1", "cmp2", "cmp4", "net1", "net2"]) {
        everyPing(f, "tunnel", "cmp3", peer, { full: false, small: true });
      }
    },
    expect: [
      [
        "cmp3",
        "mtu",
        "openstack-ha:networks.tunnel.mtu",
        /between cmp3 and net1, net2, cmp1, cmp2, cmp4|between cmp3 and cmp1, cmp2, cmp4, net1, net2/,
      ],
    ],
  },
  "a network that is cut": {
    spoil: (f) => {
      everyPing(f, "storage", "sto1", "sto2", { full: false, small: false });
    },
    expect: [
      [
        "sto1",
        "network",
        "openstack-ha:networks.storage.cidr",
        /sto1 and sto2 do not reach each other on the storage/,
      ],
    ],
  },
  "a clock that is ten minutes off": {
    spoil: (f) => {
      f.hosts.ctl3!.clockAhead = -600;
    },
    expect: [["ctl3", "clock", "openstack-ha:hosts[2].name", /600 s behind/]],
  },
  "a clock that nothing holds": {
    spoil: (f) => {
      f.hosts.ctl3!.synchronised = false;
    },
    expect: [["ctl3", "clock", "openstack-ha:hosts[2].name", /no time service/]],
  },
  "no name server": {
    spoil: (f) => {
      Object.assign(f.hosts.ctl3!, { unresolved: ["deb.debian.org"], sourceErrors: ["E: x"] });
    },
    expect: [
      ["ctl3", "names", "openstack-ha:hosts[2].name", /deb\.debian\.org cannot be resolved/],
    ],
  },
  "a package source that does not answer": {
    spoil: (f) => {
      f.hosts.ctl3!.sourceErrors = ["E: Failed to fetch http://deb.debian.org"];
    },
    expect: [["ctl3", "packages", "openstack-ha:hosts[2].name", /Failed to fetch/]],
  },
  "a package source without what is needed": {
    spoil: (f) => {
      f.hosts.ctl3!.packages = f.hosts.ctl3!.packages.filter((name) => name !== "pacemaker");
    },
    expect: [["ctl3", "packages", "openstack-ha:hosts[2].name", /does not offer pacemaker/]],
  },
  "a port that is taken": {
    spoil: (f) => {
      f.hosts.ctl1!.listeners.push(
        { protocol: "tcp", address: "0.0.0.0", port: 80, process: "nginx" },
        { protocol: "tcp", address: "127.0.0.1", port: 11211, process: "memcached" },
      );
    },
    expect: [
      [
        "ctl1",
        "port",
        "openstack-ha:hosts[0].roles",
        /nginx listens on tcp port 80, which horizon needs/,
      ],
    ],
  },
  "leftovers of another cluster": {
    spoil: (f) => {
      f.hosts.ctl2!.corosync = "old-cluster";
      f.hosts.ctl2!.leftovers = [{ what: "galera", path: "/var/lib/mysql" }];
      f.hosts.sto1!.ceph = "11111111-2222";
    },
    expect: [
      ["ctl2", "leftovers", "openstack-ha:hosts[1].name", /part of the cluster old-cluster/],
      ["ctl2", "leftovers", "openstack-ha:hosts[1].name", /galera is in \/var\/lib\/mysql/],
      ["sto1", "leftovers", "openstack-ha:hosts[3].name", /part of the store 11111111-2222/],
    ],
  },
  "a host of another cloud": {
    spoil: (f) => {
      f.hosts.cmp1!.clouds = ["staging"];
    },
    expect: [["cmp1", "leftovers", "openstack-ha:hosts[8].name", /part of the cloud staging/]],
  },
  "an address twice": {
    spoil: (f) => {
      f.hosts.cmp2!.addresses.push({ nic: "bond0.110", address: "10.20.0.11", prefix: 24 });
    },
    expect: [
      ["cmp2", "address", "openstack-ha:hosts[9].addresses", /10\.20\.0\.11, and so has ctl1/],
    ],
  },
  "an address that a stranger has too": {
    spoil: (f) => {
      f.hosts.net1!.pings.find(({ to }) => to === "10.20.0.22")!.mac = "52:54:00:aa:bb:cc";
    },
    expect: [
      [
        "cmp2",
        "address",
        "openstack-ha:hosts[9].addresses.management",
        /also belongs to 52:54:00:aa:bb:cc/,
      ],
    ],
  },
  "a VIP that somebody has": {
    spoil: (f) => {
      f.hosts.ctl1!.pings.push({ network: "vip", to: "203.0.113.10", full: true, small: true });
    },
    expect: [["ctl1", "address", "openstack-ha:vips.public", /answers already/]],
  },
  "a management controller that does not let in": {
    spoil: (f) => {
      f.bmcs.ctl1 = { problem: "Unable to establish IPMI v2 / RMCP+ session", serials: [] };
    },
    expect: [
      [
        "ctl1",
        "bmc",
        "openstack-ha:hosts[0].bmc.address",
        /no session with fence at 10\.20\.9\.11:623/,
      ],
    ],
  },
  "management controllers that are each other's": {
    spoil: (f) => {
      [f.bmcs.ctl1, f.bmcs.ctl2] = [f.bmcs.ctl2!, f.bmcs.ctl1!];
    },
    expect: [
      ["ctl1", "bmc", "openstack-ha:hosts[0].bmc.address", /is the management controller of ctl2/],
      ["ctl2", "bmc", "openstack-ha:hosts[1].bmc.address", /is the management controller of ctl1/],
    ],
  },
  "a management controller of a machine that is off": {
    spoil: (f) => {
      f.bmcs.ctl1 = { powerOn: false, serials: [] };
    },
    expect: [["ctl1", "bmc", "openstack-ha:hosts[0].bmc.address", /says that its machine is off/]],
  },
  "a management controller that does not say whose it is": {
    spoil: (f) => {
      f.bmcs.ctl1 = { powerOn: true, serials: ["To be filled by O.E.M."] };
    },
    expect: [[undefined, "bmc", "openstack-ha:hosts", /of ctl1 are their own is not proven/]],
  },
  "nobody could ask the management controllers": {
    spoil: (f) => {
      f.bmcs = {};
    },
    expect: [[undefined, "bmc", "openstack-ha:hosts", /were not asked/]],
  },
};

for (const [name, { spoil, expect }] of Object.entries(BROKEN)) {
  test(`broken: ${name}`, (t) => {
    const facts = good();
    spoil(facts);
    const found = judged(facts);
    t.deepEqual(
      found.map(({ host, check, key }) => [host, check, key]),
      expect.map(([host, check, key]) => [host, check, key]),
      JSON.stringify(found, null, 1),
    );
    found.forEach((each, i) => {
      t.regex(each.found, expect[i]![3]);
      t.true(each.fix.length > 10);
    });
  });
}

test("everything that is wrong is found at once, and shown host by host with its key and fix", (t) => {
  const facts = good();
  BROKEN["a host is down"]!.spoil(facts);
  BROKEN["a disk with data"]!.spoil(facts);
  BROKEN["a clock that nothing holds"]!.spoil(facts);
  const text = table(cloud, judged(facts));
  t.is(
    text,
    [
      "ctl3  warning  clock  no time service holds its clock",
      "      openstack-ha:hosts[2].name; apt-get install chrony",
      "cmp1  WRONG    ssh    nothing answers at 10.20.0.21: its words",
      "      openstack-ha:hosts[8].ssh.address; power the host on, or write the address that it has",
      "sto2  WRONG    disk   /dev/disk/by-id/nvme-eui.0000000000420001 is not empty: nvme1n1p1 /srv, gpt",
      "      openstack-ha:hosts[4].disks[0]; name another; or, if nobody needs what is on it: wipefs --all /dev/disk/by-id/nvme-eui.0000000000420001",
      "",
      "12 hosts: 2 mistakes, 1 warning",
    ].join("\n"),
  );
});

test("keys are those of the file that the hosts are in", (t) => {
  const at = keyOf({ raw, file: "inventory/prod.yaml", mistakes: [] });
  t.is(at("hosts[ctl2].bmc.address"), "inventory/prod.yaml: hosts[1].bmc.address");
  t.is(at("vips.public"), "openstack-ha:vips.public");
});

test("containers that show their machine's identity prove nothing, and are no mistake", (t) => {
  const facts = good();
  for (const host of Object.values(facts.hosts)) host.dmi = { product_uuid: uuid(99) };
  const found = judged(facts);
  t.deepEqual(
    found.map(({ level, check }) => [level, check]),
    [["warning", "bmc"]],
  );
});

test("a GUID is known in each order of bytes that controllers write it in", (t) => {
  const smbios = "00112233445566778899aabbccddeeff";
  t.true(guidForms("33221100-5544-7766-8899-aabbccddeeff").includes(smbios));
  t.true(guidForms("ffeeddcc-bbaa-9988-7766-554433221100").includes(smbios));
  t.true(guidForms("00112233-4455-6677-8899-aabbccddeeff").includes(smbios));
});

// ---- What hosts and controllers say -----------------------------------------------------------------------------

test("the script's answer is read", (t) => {
  const facts = parseFacts(
    `@@ clock
1700000010.5
@@ root
0
@@ hostname
ctl1
@@ os
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
VERSION_ID="13"
ID=debian
@@ cpu
8
vmx
@@ memory
MemTotal:       16384000 kB
@@ links
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000\\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0
2: eno2: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 9000 qdisc mq master bond0 state UP mode DEFAULT\\    link/ether 02:00:00:00:0b:01 brd ff:ff:ff:ff:ff:ff permaddr 02:00:00:00:0b:02 promiscuity 1
5: bond0.110@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\\    link/ether 02:00:00:00:0b:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 \\    vlan protocol 802.1Q id 110 <REORDER_HDR>
@@ carriers
eno2 1
bond0.110 1
@@ addresses
5: bond0.110    inet 10.20.0.11/24 brd 10.20.0.255 scope global bond0.110\\       valid_lft forever
@@ disk /dev/disk/by-id/x
device /dev/sdb
bytes   4000787030016
type disk
content sdb1 /srv
content gpt
@@ disk /dev/disk/by-id/y
@@ resolved
deb.debian.org yes
mirror.example no
@@ listeners
tcp   LISTEN 0      511          0.0.0.0:80        0.0.0.0:*    users:(("nginx",pid=12,fd=6))
udp   UNCONN 0      0         10.0.0.1%eno1:68     0.0.0.0:*
tcp   LISTEN 0      128             [::]:22           [::]:*    users:(("sshd",pid=1,fd=4))
@@ corosync
other
@@ pings
tunnel 10.20.1.12 no yes 02:00:00:00:0c:01
@@ end
`,
    1700000000,
  );
  t.is(facts.clockAhead, 10.5);
  t.deepEqual(facts.os, { id: "debian", version: "13", name: "Debian GNU/Linux 13 (trixie)" });
  t.is(facts.memoryMiB, 16000);
  t.true(facts.virtualisation);
  t.false(facts.kvm);
  t.deepEqual(facts.links.slice(1), [
    {
      name: "eno2",
      mac: "02:00:00:00:0b:01",
      permanentMac: "02:00:00:00:0b:02",
      mtu: 9000,
      up: true,
      carrier: true,
      master: "bond0",
    },
    {
      name: "bond0.110",
      mac: "02:00:00:00:0b:01",
      mtu: 1500,
      up: true,
      carrier: true,
      parent: "bond0",
      vlan: 110,
    },
  ]);
  t.deepEqual(facts.addresses, [{ nic: "bond0.110", address: "10.20.0.11", prefix: 24 }]);
  t.deepEqual(facts.disks, [
    {
      path: "/dev/disk/by-id/x",
      device: "/dev/sdb",
      bytes: 4000787030016,
      type: "disk",
      content: ["sdb1 /srv", "gpt"],
    },
    { path: "/dev/disk/by-id/y", content: [] },
  ]);
  t.deepEqual(facts.unresolved, ["mirror.example"]);
  t.deepEqual(facts.listeners, [
    { protocol: "tcp", address: "0.0.0.0", port: 80, process: "nginx" },
    { protocol: "udp", address: "10.0.0.1", port: 68, process: "somebody" },
    { protocol: "tcp", address: "[::]", port: 22, process: "sshd" },
  ]);
  t.is(facts.corosync, "other");
  t.is(facts.ceph, undefined);
  t.deepEqual(facts.pings, [
    { network: "tunnel", to: "10.20.1.12", full: false, small: true, mac: "02:00:00:00:0c:01" },
  ]);
});

test("an answer that was cut off is none", (t) => {
  t.throws(() => parseFacts("@@ clock\n1\n@@ root\n0\n", 1), { message: /cut off/ });
});

test("what ssh says when it does not get in is understood", (t) => {
  const problem = (text: string): string => parseRefusal(text, 255).problem;
  t.is(problem("ssh: connect to host 10.0.0.1 port 22: Connection timed out"), "down");
  t.is(problem("ssh: connect to host 10.0.0.1 port 22: Connection refused"), "down");
  t.is(problem("deploy@10.0.0.1: Permission denied (publickey)."), "login");
  t.is(problem("sudo: a password is required"), "sudo");
  t.deepEqual(
    parseRefusal("sudo: unable to resolve host a: x\nsudo: a password is required\n", 1),
    {
      problem: "sudo",
      detail: "sudo: a password is required",
    },
  );
  t.is(problem("channel 0: open failed: connect failed\nstdio forwarding failed\n"), "bastion");
  const mismatch = parseRefusal(
    "The fingerprint for the ED25519 key sent by the remote host is\nSHA256:AbC+/1.\nHost key verification failed.\n",
    255,
  );
  t.deepEqual(mismatch, {
    problem: "host-key",
    detail: "Host key verification failed.",
    offered: "SHA256:AbC+/1",
  });
});

test("the key to allow is the program's own on hosts, and that of fencing on hypervisors", (t) => {
  const seed = "s".repeat(64);
  const of = (stack: string, name: string): string =>
    `${sshKeyPair({ seed, stack, name, version: 1 }).publicKey} openstack-ha ${stack}`;
  const virtual = parsedCloud(readStackFile("Pulumi.libvirt.yaml"), "libvirt");
  t.is(publicKey(cloud, { seed }), of(cloud.stack, "ssh-deployer"));
  t.is(publicKey(virtual, { seed, sshPrivateKey: "mine" }), of("libvirt", "libvirt-fence"));
  t.throws(() => publicKey(cloud, { seed, sshPrivateKey: "mine" }), { message: /ssh-keygen -y/ });
  t.throws(() => publicKey(virtual, {}), { message: /seed: is missing/ });
});

test("what ipmitool says is understood", (t) => {
  t.deepEqual(
    parseBmc(
      "Chassis Power is on\nSystem GUID  : 4C4C4544-0033-4410-8033-b4c04f303031\nTimestamp : x\n" +
        " Product Serial        : SN11\n Board Serial          : SN11\n",
    ),
    { powerOn: true, guid: "4c4c4544-0033-4410-8033-b4c04f303031", serials: ["SN11"] },
  );
  t.deepEqual(parseBmc("Error: Unable to establish IPMI v2 / RMCP+ session\n"), {
    problem: "Error: Unable to establish IPMI v2 / RMCP+ session",
    serials: [],
  });
});

test("a host is asked for its own packages, disks, and the peers on the networks that it needs", (t) => {
  const text = wanted(
    cloud,
    cloud.hosts.find(({ name }) => name === "sto1")!,
  );
  t.regex(text, /^PEERS=\(('management|'storage)/);
  t.true(text.includes("'storage 10.20.2.42 9000'"));
  t.false(text.includes("'tunnel"));
  t.false(text.includes("10.20.2.41 "), "itself");
  t.regex(text, /DISKS=\('\/dev\/disk\/by-id\/nvme-eui\.0000000000410001'/);
  t.regex(text, /PACKAGES=\(.*'ceph-osd'/);
  t.regex(text, /VIPS=\('10\.20\.0\.10'\)/);
});
