import { type Options, set } from "../fixtures/config/fixtures";
import type { Machines } from "./support/machines";

/** What can be wrong with machines that exist, each made on them or in what is written of them. */

export interface Fault {
  /** What is written wrongly, by option. */
  readonly written?: Readonly<Record<string, unknown>>;
  /** The host that it switches off. */
  readonly off?: string;
  /** What is done to the machines, and how it is undone. */
  readonly done?: (machines: Machines) => void;
  readonly undone?: (machines: Machines) => Promise<void> | void;
  /** `host check found` of each finding that there has to be; there may be no other. */
  readonly expect: readonly RegExp[];
}

/** Commands on one machine. */
function on(host: string, done: string, undone: string): Pick<Fault, "done" | "undone"> {
  return {
    done: (machines) => void machines.run(host, done),
    undone: (machines) => void machines.run(host, undone),
  };
}

/** A file that says something else for a while. */
function file(host: string, name: string, edit: string): Pick<Fault, "done" | "undone"> {
  return on(
    host,
    `if [[ -e ${name} ]]; then cp -a ${name} ${name}.kept; fi\n${edit}`,
    `rm -f ${name}\nif [[ -e ${name}.kept ]]; then mv ${name}.kept ${name}; fi`,
  );
}

/** First two numbers of all addresses. */
export const PREFIX = "10.86.";
const INTERNAL_VIP = `${PREFIX}0.10`;
const BMC_OF_CMP2 = `${PREFIX}0.122`;

const address = (network: number, id: number): string => `${PREFIX}${network}.${id}`;

/** A host that is switched off, and on again. */
function off(host: string): Pick<Fault, "done" | "off" | "undone"> {
  return {
    off: host,
    done: (machines) => {
      machines.power(host, "off");
    },
    undone: async (machines) => {
      machines.power(host, "on");
      await machines.answers(host);
    },
  };
}

export const FAULTS: Readonly<Record<string, Fault>> = {
  "a host is down": { ...off("cmp2"), expect: [/^cmp2 ssh nothing answers/] },
  "an address where nobody is": {
    written: { "hosts[3].ssh.address": address(0, 222) },
    expect: [/^cmp1 ssh nothing answers at .*\.0\.222/],
  },
  "two hosts swapped": {
    written: {
      "hosts[0].ssh.address": address(0, 12),
      "hosts[1].ssh.address": address(0, 11),
    },
    expect: [
      /^ctl1 ssh .* is ctl2: it has the host key/,
      /^ctl2 ssh .* is ctl1: it has the host key/,
    ],
  },
  "another host key": {
    written: {
      "hosts[4].ssh.hostKey":
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDpap0nhKHPa/Z8ajA1W/rHAQQG7NQdpE/DOw0n1Pw6w",
    },
    expect: [/^cmp2 ssh .* has another host key, SHA256:/],
  },
  "an account that is not let in": {
    written: { "hosts[3].ssh.user": "nobody" },
    expect: [/^cmp1 ssh nobody may not log in/],
  },
  "an account that does not become root": {
    ...on(
      "cmp1",
      "useradd --create-home deploy\ncp -a /root/.ssh /home/deploy/\nchown -R deploy /home/deploy/.ssh",
      "userdel --remove deploy 2>/dev/null || [[ ! -e /home/deploy ]]",
    ),
    written: { "hosts[3].ssh.user": "deploy" },
    expect: [/^cmp1 ssh deploy does not become root/],
  },
  "another system": {
    ...on(
      "cmp1",
      "cp -a /usr/lib/os-release /usr/lib/os-release.kept\nsed -i 's/^VERSION_ID=.*/VERSION_ID=\"12\"/' /usr/lib/os-release",
      "mv /usr/lib/os-release.kept /usr/lib/os-release",
    ),
    expect: [/^cmp1 os it runs Debian/],
  },
  "a host that calls itself by another's name": {
    ...on("ctl3", "hostname ctl2", "hostname ctl3"),
    expect: [/^ctl3 identity it calls itself ctl2/],
  },
  "a copy of another host": {
    done: (machines) => {
      const id = machines.run("ctl1", "cat /etc/machine-id");
      machines.run(
        "ctl2",
        `cp -a /etc/machine-id /etc/machine-id.kept\nchmod u+w /etc/machine-id\necho ${id.trim()} >/etc/machine-id`,
      );
    },
    undone: (machines) => {
      machines.run("ctl2", "mv /etc/machine-id.kept /etc/machine-id");
    },
    expect: [/^ctl2 identity it has the machine-id of ctl1/],
  },
  "an interface that is not there": {
    written: { "hosts[1].nics.tunnel": { name: "eth9" } },
    expect: [/^ctl2 nic there is no interface eth9/],
  },
  "the MAC address of nobody": {
    written: { "hosts[1].nics.storage.mac": "02:00:00:00:00:99" },
    expect: [/^ctl2 nic sto0 has the MAC address .*, not 02:00:00:00:00:99/],
  },
  "an interface that is down": {
    ...on("ctl2", "ip link set sto0 down", "ip link set sto0 up"),
    expect: [
      /^ctl2 nic sto0 is down/,
      /^ctl2 network ctl2 and .* do not reach each other on the storage/,
    ],
  },
  "an address that the host does not have": {
    written: { "hosts[3].addresses": { storage: address(2, 199) } },
    expect: [/^cmp1 nic sto0 has .*\.2\.21, not .*\.2\.199/],
  },
  "an address that two hosts have": {
    ...on(
      "ctl3",
      `ip address add ${address(2, 11)}/24 dev sto0`,
      `ip address del ${address(2, 11)}/24 dev sto0`,
    ),
    expect: [
      /^ctl3 address it has the address .*\.2\.11, and so has ctl1/,
      // Each takes the packets for itself.
      /^ctl1 network ctl1 and ctl3 do not reach each other on the storage/,
    ],
  },
  "a virtual IP that somebody has": {
    ...on(
      "cmp1",
      `ip address add ${INTERNAL_VIP}/24 dev mgmt0`,
      `ip address del ${INTERNAL_VIP}/24 dev mgmt0`,
    ),
    expect: [/^\w+ address .*\.0\.10 answers already/],
  },
  "a provider port with an address": {
    ...on(
      "ctl3",
      `ip address add ${address(3, 77)}/24 dev prv0`,
      `ip address del ${address(3, 77)}/24 dev prv0`,
    ),
    expect: [/^ctl3 nic prv0 has the address .*\.3\.77/],
  },
  "an interface for smaller packets": {
    ...on("cmp1", "ip link set tun0 mtu 1300", "ip link set tun0 mtu 1500"),
    expect: [
      /^cmp1 mtu tun0 takes packets of 1300 bytes/,
      /^cmp1 mtu packets of 1500 bytes do not pass between cmp1 and/,
    ],
  },
  "a switch for smaller packets": {
    // Its ports are the hosts' other ends.
    done: (machines) => {
      machines.onSwitches("ip", "link", "set", portOf(machines, "ctl3", "sto0"), "mtu", "1400");
    },
    undone: (machines) => {
      machines.onSwitches("ip", "link", "set", portOf(machines, "ctl3", "sto0"), "mtu", "1500");
    },
    expect: [
      /^ctl3 mtu packets of 1500 bytes do not pass between ctl3 and .* on the storage network/,
    ],
  },
  "a clock that is ten minutes ahead": {
    // Containers have their machine's clock; what reads it is told another time.
    ...on(
      "cmp2",
      'mv /usr/bin/date /usr/bin/date.kept\nprintf \'#!/bin/sh\\nexec /usr/bin/date.kept --date "+10 minutes" "$@"\\n\' >/usr/bin/date\nchmod 755 /usr/bin/date',
      "mv /usr/bin/date.kept /usr/bin/date",
    ),
    expect: [/^cmp2 clock its clock is (59\d|60\d) s ahead/],
  },
  "a name that is not resolved": {
    ...file(
      "cmp1",
      "/etc/apt/sources.list",
      "echo 'deb [trusted=yes] http://packages.invalid/ ./' >>/etc/apt/sources.list",
    ),
    expect: [/^cmp1 names packages\.invalid cannot be resolved/],
  },
  "a source of packages that does not answer": {
    ...file(
      "cmp1",
      "/etc/apt/sources.list",
      "echo 'deb [trusted=yes] http://127.0.0.1:9/ ./' >>/etc/apt/sources.list",
    ),
    expect: [/^cmp1 packages apt cannot ask its source/],
  },
  "a source without a package": {
    ...file(
      "cmp2",
      "/etc/apt/sources.list",
      "echo >/etc/apt/sources.list\nmv /var/lib/apt/lists /var/lib/apt/lists.kept\nmv /var/lib/dpkg/status /var/lib/dpkg/status.kept\nawk -v RS= -v ORS='\\n\\n' '!/^Package: nova-compute\\n/' /var/lib/dpkg/status.kept >/var/lib/dpkg/status",
    ),
    undone: (machines) => {
      machines.run(
        "cmp2",
        "mv /etc/apt/sources.list.kept /etc/apt/sources.list\nrm -rf /var/lib/apt/lists\nmv /var/lib/apt/lists.kept /var/lib/apt/lists\nmv /var/lib/dpkg/status.kept /var/lib/dpkg/status",
      );
    },
    expect: [/^cmp2 packages its source does not offer nova-compute/],
  },
  "a port that is taken": {
    ...on(
      "ctl2",
      "systemd-run --quiet --unit=squatter python3 -m http.server 5000\nfor i in {1..50}; do ! ss -Hltn 'sport = 5000' | grep -q . || break; sleep 0.1; done",
      "systemctl stop squatter",
    ),
    expect: [/^ctl2 port python3 listens on tcp port 5000, which keystone needs/],
  },
  "data of another database cluster": {
    ...file(
      "ctl1",
      "/var/lib/mysql/grastate.dat",
      "echo version: 2.1 >/var/lib/mysql/grastate.dat",
    ),
    expect: [/^ctl1 leftovers data of galera is in \/var\/lib\/mysql/],
  },
  "a member of another cluster": {
    ...file(
      "ctl1",
      "/etc/corosync/corosync.conf",
      "printf 'totem {\\n  cluster_name: elsewhere\\n}\\n' >/etc/corosync/corosync.conf",
    ),
    expect: [/^ctl1 leftovers Corosync on it is part of the cluster elsewhere/],
  },
  "a host of another cloud": {
    ...file("cmp1", "/etc/hosts", "echo 10.1.1.1 internal.elsewhere >>/etc/hosts"),
    expect: [/^cmp1 leftovers it is part of the cloud elsewhere/],
  },
  "a disk that is not there": {
    written: { "hosts[2].disks": ["/dev/disk/by-id/nvme-eui.0"] },
    expect: [/^ctl3 disk there is no disk \/dev\/disk\/by-id\/nvme-eui\.0/],
  },
  "a disk with data": {
    done: (machines) => {
      machines.plug("ctl3", "/dev/used");
    },
    undone: (machines) => {
      machines.unplug("ctl3", "/dev/used");
    },
    written: { "hosts[2].disks": ["/dev/used"] },
    expect: [
      /^ctl3 disk \/dev\/used is not empty: .*ext4/,
      // What stands for a disk here.
      /^ctl3 disk \/dev\/used is .*, a loop and no whole disk/,
    ],
  },
  "a management controller that does not answer": {
    written: { "hosts[0].bmc.address": address(0, 251) },
    expect: [/^ctl1 bmc no session with .* at .*\.0\.251/],
  },
  "an account that the management controller does not know": {
    written: { "hosts[1].bmc.user": "somebody" },
    expect: [/^ctl2 bmc no session with somebody/],
  },
  "the management controller of another machine": {
    ...off("cmp2"),
    written: { "hosts[0].bmc.address": BMC_OF_CMP2, "hosts[4].bmc": undefined },
    expect: [
      /^ctl1 bmc .* says that its machine is off, and ctl1 answers: it is another's/,
      /^cmp2 ssh nothing answers/,
    ],
  },
  "no virtualisation": {
    written: { "nova.virtType": "kvm" },
    expect: [/^cmp1 cpu .*kvm/, /^cmp2 cpu .*kvm/],
  },
};

/** The switch's port at the other end of an interface. */
function portOf(machines: Machines, host: string, nic: string): string {
  const mac = machines.mac(host, nic);
  const found = new RegExp(`^${mac} dev (\\S+) master`, "m").exec(
    machines.onSwitches("bridge", "fdb", "show"),
  );
  if (!found) throw new Error(`wanted the port of ${mac}, found none`);
  return found[1]!;
}

export function written(options: Options, { written: changes = {} }: Fault): Options {
  const copy = structuredClone(options);
  for (const [name, value] of Object.entries(changes)) set(copy, name, value);
  return copy;
}
