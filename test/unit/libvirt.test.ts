import test from "ava";
import fc from "fast-check";
import { hypervisorOf, hostSpec, loss, type HostSpec } from "../../components/hosts/libvirt";
import { parseCloud, type Cloud } from "../../config";
import { HOST_KEY, project, readStackFile, set, type Options } from "../fixtures/config/fixtures";
import { inspect, planOf, stepsOf, type Planned } from "./support/plan";

// Hosts as virtual machines: where they stand, what may change, and what fencing is told. The provider and libvirt itself
// are tried in test/libvirt/.

const secrets = { ref: (name: string) => ({ name, version: 1 }) };

function options(changes: Options = {}): Options {
  const all = structuredClone(readStackFile("Pulumi.libvirt.yaml"));
  for (const [option, value] of Object.entries(changes)) set(all, option, value);
  return all;
}

function cloudOf(changes: Options = {}): Cloud {
  return parseCloud(options(changes), { project, stack: "libvirt" });
}

function specOf(changes: Options = {}): HostSpec {
  const cloud = cloudOf(changes);
  return hostSpec({ cloud, secrets }, cloud.hosts[0]!);
}

const BRIDGES = { management: "br0", tunnel: "br1", storage: "br2", external: "br3" };

/** A hypervisor for each of three racks. */
const THREE: Options = {
  hosts: [
    ...["rack1", "rack2", "rack3"].map((failureDomain, i) => ({
      name: `ctl${i + 1}`,
      id: 11 + i,
      roles: ["controller", "network", "storage"],
      failureDomain,
    })),
    { name: "cmp1", id: 21, roles: ["compute"], failureDomain: "rack1" },
  ],
  "libvirt.hypervisors": ["rack1", "rack2", "rack3"].map((rack, i) => ({
    name: `hv${i + 1}`,
    uri: `qemu+ssh://root@10.99.0.${i + 1}/system`,
    failureDomains: [rack],
    bridges: BRIDGES,
    fence: { user: "fence", hostKey: HOST_KEY },
  })),
};

let three: Planned;

test.before(async () => {
  three = await planOf(options(THREE), { stack: "libvirt" });
});

test("each host stands on the hypervisor of its failure domain, with all that is its own", (t) => {
  for (const i of [1, 2, 3]) {
    const provider = three.named(`libvirt-hv${i}`);
    t.is(provider.inputs.uri, `qemu+ssh://root@10.99.0.${i}/system`);
    const own = three.resources.filter(
      ({ type, name }) => type.startsWith("libvirt:") && name.endsWith(`-ctl${i}`),
    );
    t.deepEqual(own.map(({ name }) => name).sort(), [
      `libvirt-domain-ctl${i}`,
      `libvirt-root-ctl${i}`,
      `libvirt-seed-ctl${i}`,
      `libvirt-store-ctl${i}`,
    ]);
    for (const resource of own) t.regex(resource.provider ?? "", new RegExp(`libvirt-hv${i}\\b`));
  }
});

test("nothing that the provider would replace is told to it twice", (t) => {
  t.deepEqual(three.named("libvirt-root-ctl1").ignoreChanges, ["size", "baseVolumeId"]);
  t.deepEqual(three.named("libvirt-store-ctl1").ignoreChanges, ["size", "baseVolumeId"]);
  t.deepEqual(three.named("libvirt-domain-ctl1").ignoreChanges, ["memory", "vcpu"]);
  t.deepEqual(three.named("libvirt-seed-ctl1").ignoreChanges, [
    "metaData",
    "networkConfig",
    "userData",
  ]);
  t.true(three.named("libvirt-domain-ctl1").deleteBeforeReplace);
});

test("everything of a hypervisor waits for the refusals of all hosts", (t) => {
  for (const { type, name, dependsOn } of three.resources) {
    if (type !== "libvirt:index/pool:Pool") continue;
    for (const host of ["ctl1", "ctl2", "ctl3"]) {
      t.true(dependsOn.includes(`libvirt-plan-${host}`), `${name} waits for ${host}`);
    }
  }
  t.is(three.named("libvirt-plan-ctl1").lifecycleHooks.length, 1);
});

test("a host's seed is secret", (t) => {
  t.true(inspect(three.named("libvirt-seed-ctl1").inputs.userData).secret);
});

test("controllers fence each other through their hypervisors", (t) => {
  const bootstrap = stepsOf(three).find(
    ({ document }) => document.step.service === "pacemaker" && document.step.stage === "bootstrap",
  );
  const resources = String(bootstrap?.document.params?.resources);
  t.is(resources.match(/type="fence_virsh"/g)?.length, 3);
  t.notRegex(resources, /fence_ipmilan/);
  t.regex(resources, /name="plug" value="libvirt-ctl2"/);
  t.regex(resources, /name="ip" value="10\.99\.0\.2"/);
  const configure = stepsOf(three).find(
    ({ document }) => document.step.service === "pacemaker" && document.step.stage === "configure",
  );
  const files = configure?.document.files ?? {};
  t.is(files["/etc/openstack-ha/fence-key"]?.mode, "0400");
  t.regex(
    files["/etc/openstack-ha/fence-known-hosts-10.99.0.2"]?.content ?? "",
    /^10\.99\.0\.2 ssh-ed25519 /m,
  );
  t.false("/etc/openstack-ha/bmc-password" in files);
});

test("a host has the memory of all its roles, and the most of the rest", (t) => {
  const spec = specOf({
    ...THREE,
    "libvirt.sizes": {
      controller: { vcpus: 2, memoryMiB: 2048, diskGiB: 8 },
      network: { vcpus: 1, memoryMiB: 512, diskGiB: 4 },
      storage: { vcpus: 4, memoryMiB: 1024, diskGiB: 6 },
    },
    "libvirt.storeDiskGiB": 30,
  });
  t.is(spec.memoryMiB, 3584);
  t.is(spec.vcpus, 4);
  t.deepEqual(spec.disksGiB, { vda: 8, sda: 30 });
});

test("MAC addresses are unicast, our own, and each one port's", (t) => {
  const macs = cloudOf(THREE).hosts.flatMap((host) => {
    const { network } = hostSpec({ cloud: cloudOf(THREE), secrets }, host) as HostSpec & {
      network: { ethernets: Record<string, { match: { macaddress: string } }> };
    };
    return Object.values(network.ethernets).map(({ match }) => match.macaddress);
  });
  t.is(macs.length, 20);
  t.is(new Set(macs).size, macs.length);
  for (const mac of macs) t.is(parseInt(mac.slice(0, 2), 16) & 3, 2, mac);
});

test("a sole hypervisor has every host", (t) => {
  const cloud = cloudOf();
  for (const host of cloud.hosts) t.is(hypervisorOf(cloud, host).name, "local");
  t.is(hypervisorOf(cloud, cloud.hosts[0]!).fence.address, "10.85.0.1");
});

for (const [what, changes, words] of [
  [
    "a smaller root disk",
    { "libvirt.sizes.controller.diskGiB": 7 },
    /vda would go from 8 to 7 GiB.*leave it/,
  ],
  ["another pool", { "libvirt.pool": "/srv" }, /its pool would change/],
  ["another uri", { "libvirt.hypervisors[0].uri": "qemu+ssh://hv/system" }, /its uri would change/],
  [
    "another MTU",
    { "networks.tunnel.mtu": 9000 },
    /the tunnel network would go from .*MTU 1500.*to .*MTU 9000/,
  ],
  [
    "KVM",
    { "libvirt.hypervisors[0].kvm": true },
    /what its processor is.*set rebuild of the host to 2/,
  ],
] as const) {
  test(`refused: ${what}`, (t) => {
    t.regex(loss("ctl1", specOf(), specOf(changes)) ?? "nothing", words);
  });
}

test("a rebuild takes what a first boot can, and never the disk in the store", (t) => {
  const before = specOf(THREE);
  const rebuilt = { "hosts[0].rebuild": 2 };
  t.is(
    loss("ctl1", before, specOf({ ...THREE, ...rebuilt, "networks.tunnel.mtu": 9000 })),
    undefined,
  );
  t.is(
    loss("ctl1", before, specOf({ ...THREE, ...rebuilt, "libvirt.sizes.controller.diskGiB": 4 })),
    undefined,
  );
  t.regex(
    loss("ctl1", before, specOf({ ...THREE, ...rebuilt, "libvirt.storeDiskGiB": 40 })) ?? "nothing",
    /sda would go from 50 to 40/,
  );
});

test("sizes: more is never refused, less of a disk always", (t) => {
  const gib = fc.integer({ min: 3, max: 1000 });
  const spec = specOf(THREE);
  const withDisks = (vda: number, sda: number): HostSpec => ({ ...spec, disksGiB: { vda, sda } });
  fc.assert(
    fc.property(
      gib,
      gib,
      gib,
      gib,
      fc.integer({ min: 512, max: 9999 }),
      (a, b, c, d, memoryMiB) => {
        const refused = loss("h", withDisks(a, b), { ...withDisks(c, d), memoryMiB }) !== undefined;
        t.is(refused, c < a || d < b);
      },
    ),
  );
});
