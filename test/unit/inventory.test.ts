import test from "ava";
import type { Cloud } from "../../config";
import { knownHosts, sshConfig } from "../../tools/outputs";
import {
  HOST_KEY,
  readStackFile,
  set,
  type Options,
  parsedCloud,
} from "../fixtures/config/fixtures";
import {
  inspect,
  planOf,
  plainTexts,
  stepsOf,
  type Planned,
  type PlannedStep,
} from "./support/plan";

// The plan of the production example: machines that exist, reached by an account with sudo.

const STACK = "production";
const PASSWORD = "Bmc-of-all-12345";
const OWN = "Bmc-of-ctl2-!";

let options: Options;
let cloud: Cloud;
let plan: Planned;

test.before(async () => {
  options = readStackFile("Pulumi.production.example.yaml");
  set(options, "hosts[1].bmc.ownPassword", true);
  set(options, "inventory.ssh.bastion", {
    address: "bastion.example.org",
    port: 2222,
    user: "jump",
    hostKey: HOST_KEY,
  });
  set(options, "secrets", { "pacemaker-bmc": PASSWORD, "bmc-ctl2": OWN });
  cloud = parsedCloud(options, STACK);
  plan = await planOf(options, { stack: STACK });
});

const step = (name: string): PlannedStep =>
  stepsOf(plan).find(({ resource }) => resource.name === name)!;

test("every host has its steps, and there is nothing of a lab", (t) => {
  const hosts = new Set(stepsOf(plan).map(({ document }) => document.step.host));
  t.deepEqual([...hosts].sort(), cloud.hosts.map(({ name }) => name).sort());
  t.deepEqual(
    plan.resources.filter(({ name }) => name.startsWith("lab")),
    [],
  );
  t.true(plan.resources.length > 300, `${plan.resources.length} resources`);
});

test("hosts are reached as the inventory says, through the bastion, by their own keys, and become root by sudo", (t) => {
  const remote = plan.resources.filter(({ type }) => type === "command:remote:Command");
  const byHost = new Map(cloud.hosts.map((host) => [host.name, host]));
  for (const { name, inputs, deletedWith } of remote) {
    const host = byHost.get(name.split("-").at(-1)!)!;
    const connection = inspect(inputs.connection).value as Record<string, unknown>;
    t.like(connection, {
      host: host.addresses.management,
      port: 22,
      user: "deploy",
      hostKey: host.ssh.hostKey,
    });
    t.like(connection.proxy, { host: "bastion.example.org", port: 2222, user: "jump" });
    t.regex(inspect(inputs.create).value as string, /^sudo -n /, name);
    t.is(deletedWith, "inventory", "steps are forgotten with all, not undone");
  }
});

test("the files are for the interfaces that the inventory names", (t) => {
  const { document } = step("pacemaker-bootstrap-ctl1");
  const cib = JSON.stringify(document);
  t.true(cib.includes("bond0.110") && cib.includes("bond0.140"));
  t.is(step("ovn-chassis-start-net1").document.params?.provider_nic, "bond1.140");
  t.is(step("ovn-chassis-start-cmp1").document.params?.bridge_address, "");
  const files = step("ovn-chassis-configure-net1").document.files ?? {};
  t.true("/etc/systemd/network/40-bond1.140.network" in files);
});

test("a storage host gives its disks, each known by the name that stays", (t) => {
  const lines = step("ceph-start-sto1").document.params?.disks_here as string[];
  t.is(lines.length, 2);
  t.regex(lines[0]!, /^[0-9a-f-]{36} \/dev\/disk\/by-id\/nvme-eui\.0000000000410001$/);
  t.not(lines[0]!.split(" ")[0], lines[1]!.split(" ")[0]);
  const rules =
    step("ceph-configure-sto1").document.files?.["/etc/udev/rules.d/90-openstack-ha-ceph.rules"];
  t.true(rules?.content.includes('SYMLINK=="disk/by-id/nvme-eui.0000000000410001", OWNER="ceph"'));
  t.is(step("ceph-start-sto1").document.params?.disks, 6);
});

test("a controller whose BMC has another password is fenced with that, and nothing shows either", (t) => {
  const files = step("pacemaker-configure-ctl1").document.files ?? {};
  t.is(files["/etc/openstack-ha/bmc-password-ctl2"]?.content, "${secret:bmc-ctl2}\n");
  t.true(
    files["/usr/local/lib/openstack-ha/ipmitool-ctl2"]?.content.includes(
      "-f /etc/openstack-ha/bmc-password-ctl2 ",
    ),
  );
  const cib = JSON.stringify(step("pacemaker-bootstrap-ctl1").document);
  t.true(cib.includes('/usr/local/lib/openstack-ha/ipmitool-ctl2\\"'));
  const given = JSON.stringify(inspect(plan.named("base-secrets-ctl1").inputs.stdin).value);
  t.true(given.includes(OWN) && given.includes(PASSWORD));
  t.false(
    JSON.stringify(inspect(plan.named("base-secrets-cmp1").inputs.stdin).value).includes(OWN),
  );
  const texts = plan.resources.flatMap(({ inputs }) => plainTexts(inputs));
  t.false(texts.some((text) => text.includes(OWN) || text.includes(PASSWORD)));
});

test("compute hosts know each other by the keys that they have", (t) => {
  const document = JSON.stringify(inspect(plan.named("base-secrets-cmp1").inputs.stdin).value);
  const cmp2 = cloud.hosts.find(({ name }) => name === "cmp2")!;
  t.true(document.includes(cmp2.ssh.hostKey!));
});

test.serial(
  "without the management controllers' passwords there is a preview, and no update",
  async (t) => {
    const without = { ...options, secrets: {} };
    await t.notThrowsAsync(planOf(without, { stack: STACK, seed: false, preview: true }));
  },
);

test("the files for people lead through the bastion", (t) => {
  const config = sshConfig(cloud, "/x");
  t.true(
    config.includes(
      "Host cmp1\n  HostName 10.20.0.21\n  HostKeyAlias cmp1\n  User deploy\n  ProxyJump bastion.inventory\n",
    ),
    config,
  );
  t.true(
    config.includes(
      "Host bastion.inventory\n  HostName bastion.example.org\n  HostKeyAlias bastion.inventory\n  Port 2222\n  User jump\n",
    ),
  );
  const known = knownHosts(
    cloud,
    Object.fromEntries(cloud.hosts.map(({ name }) => [name, `key-of-${name}`])),
  );
  t.true(known.includes("cmp1,10.20.0.21 key-of-cmp1\n"));
  t.true(known.includes(`bastion.inventory,[bastion.example.org]:2222 ${HOST_KEY}\n`));
});
