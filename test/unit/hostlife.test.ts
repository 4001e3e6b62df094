import test from "ava";
import { parseCloud, type Cloud } from "../../config";
import { hostLife, knownHosts, type KnownHost } from "../../tools/host-life";
import type { StateResource } from "../../tools/stack";
import { project, readStackFile, set, type Options } from "../fixtures/config/fixtures";
import { development } from "./support/clouds";
import { planOf, stepsOf } from "./support/plan";

// What a changed list of hosts means, what is refused, and what the program makes of it.

function changed(change: (options: Options) => void): Options {
  const options = structuredClone(development.options);
  change(options);
  return options;
}

const cloudOf = (options: Options): Cloud => parseCloud(options, { project, stack: "dev" });
const dev = cloudOf(development.options);
const known: readonly KnownHost[] = dev.hosts.map(({ id, name, roles, rebuild, state }) => ({
  id,
  name,
  roles,
  rebuild,
  state,
}));

const without = (name: string): Options =>
  changed((options) => {
    options.hosts = (options.hosts as { name: string }[]).filter((host) => host.name !== name);
  });

test("another number of a host that is deployed is refused; a state that knows none is not", (t) => {
  const { refusals } = hostLife(
    known.map((host) => (host.name === "cmp1" ? { ...host, id: 31 } : host)),
    dev,
  );
  t.is(refusals.length, 1);
  t.regex(refusals[0]!, /^hosts: cmp1 has id 21, and was deployed with 31: .*; put it back$/);
  const earlier = known.map(({ id: _, ...host }): KnownHost => host);
  t.deepEqual(hostLife(earlier, dev).refusals, []);
});

test("all gateways at once are refused, and one is told with who carries its addresses", (t) => {
  const apart = parseCloud(readStackFile("Pulumi.segregated.yaml"), {
    project,
    stack: "segregated",
  });
  const before = apart.hosts.map(({ id, name, roles, state }): KnownHost => ({
    id,
    name,
    roles,
    state,
    rebuild: 0,
  }));
  const rebuild = (...names: string[]): Cloud => ({
    ...apart,
    hosts: apart.hosts.map((host) => ({ ...host, rebuild: names.includes(host.name) ? 1 : 0 })),
  });
  const one = hostLife(before, rebuild("net1"));
  t.deepEqual(one.refusals, []);
  t.regex(one.lines.join(), /gateways: floating addresses and routers are carried by net2 until/);
  const { refusals } = hostLife(before, rebuild("net1", "net2"));
  t.is(refusals.length, 1);
  t.regex(refusals[0]!, /^net1 and net2 are all hosts with the role network, /);
});

test("the same hosts are nothing to tell, and neither is a stack that was never deployed", (t) => {
  t.deepEqual(hostLife(known, dev), { lines: [], refusals: [], rebuilt: [] });
  t.deepEqual(hostLife([], dev), { lines: [], refusals: [], rebuilt: [] });
});

test("a new compute host is told, and restarts nothing", (t) => {
  const { lines, refusals } = hostLife(
    known.filter(({ name }) => name !== "cmp2"),
    dev,
  );
  t.deepEqual(lines, ["cmp2 is new (compute); the others learn its name"]);
  t.deepEqual(refusals, []);
});

test("a compute host goes in two steps, and not in one", (t) => {
  const drained = changed((options) => {
    set(options, "hosts[4].state", "drained");
  });
  t.deepEqual(hostLife(known, cloudOf(drained)), {
    lines: [
      "cmp2 is drained: its guests move to cmp1, those that run without a stop, one after the other; then its services stop",
    ],
    refusals: [],
    rebuilt: [],
  });
  const gone = cloudOf(without("cmp2"));
  t.regex(
    hostLife(known, gone).refusals.join(),
    /cmp2 .*was not drained: its guests would be lost/,
  );
  const afterwards = known.map((host): KnownHost =>
    host.name === "cmp2" ? { ...host, state: "drained" } : host,
  );
  t.deepEqual(hostLife(afterwards, gone).refusals, []);
  t.regex(hostLife(afterwards, gone).lines.join(), /cmp2 is removed/);
  t.regex(hostLife(afterwards, dev).lines.join(), /cmp2 is in service again/);
});

test("a controller that is not in the list any more is refused", (t) => {
  // Two go, for an even number would not get here.
  const more = [...known, ...["ctl4", "ctl5"].map((name): KnownHost => ({ ...known[0]!, name }))];
  const { refusals } = hostLife(more, dev);
  t.is(refusals.length, 2);
  t.regex(refusals[0]!, /ctl4 .*majority.*put it back/);
});

test("a role that leaves a host is refused; one that comes is told, and refused where the disk is made for the others", (t) => {
  const moved = changed((options) => {
    set(options, "hosts[2].roles", ["controller", "network"]);
    set(options, "hosts[4].roles", ["compute", "storage"]);
  });
  const cloud = cloudOf(moved);
  const [lost, gained] = hostLife(known, cloud).refusals;
  t.regex(lost ?? "", /^hosts: ctl3 has no role storage any more, .*; put the role back$/);
  t.regex(
    gained ?? "",
    /^hosts: cmp2 gets the role storage, .* lab's host .*; give the role to a new host$/,
  );
  const { lines, refusals } = hostLife(known, { ...cloud, backend: "inventory" });
  t.deepEqual(refusals, [lost]);
  t.deepEqual(lines, [
    "cmp2 gets the role storage: its services are installed and started there, and it joins the others' clusters, which was tried with controllers alone only",
  ]);
});

test("one controller begins anew: what is left is told; two at once are refused, and so is counting down", (t) => {
  const one = changed((options) => {
    set(options, "hosts[1].rebuild", 2);
  });
  const { lines, refusals, rebuilt } = hostLife(known, cloudOf(one));
  t.deepEqual(refusals, []);
  t.deepEqual(
    rebuilt.map(({ name }) => name),
    ["ctl2"],
  );
  t.deepEqual(lines, [
    "ctl2 begins anew: what is on its disks is given up; " +
      "quorum: until it has joined again, 2 of 3 controllers are left (ctl1, ctl3), and the loss of one more stops the cloud; " +
      "data: the copies on its disks are made again from those on ctl1, ctl3; " +
      "gateways: floating addresses and routers are carried by ctl1, ctl3 until it is back",
  ]);
  set(one, "hosts[2].rebuild", 2);
  t.regex(
    hostLife(known, cloudOf(one)).refusals.join(),
    /ctl2 and ctl3 would begin at the same time/,
  );
  const done = known.map((host) => (host.name === "ctl2" ? { ...host, rebuild: 2 } : host));
  t.regex(hostLife(done, dev).refusals.join(), /ctl2 has rebuild 1, and 2 was done/);
});

test("hosts are read from the state that the program leaves", (t) => {
  const member = (name: string, outputs?: Record<string, unknown>): StateResource => ({
    urn: `urn:pulumi:dev::openstack-ha::openstack-ha:hosts:Member::host-${name}`,
    type: "openstack-ha:hosts:Member",
    ...(outputs ? { outputs } : {}),
  });
  const record = { roles: ["compute"], rebuild: 1, state: "active" };
  t.deepEqual(knownHosts([member("cmp1", record), member("cmp2")]), [{ ...record, name: "cmp1" }]);
});

test.serial(
  "a drained host has no step but those that drain it, and counts as drained after them",
  async (t) => {
    const options = changed((each) => {
      set(each, "hosts[4].state", "drained");
    });
    const plan = await planOf(options);
    const services = new Set(
      stepsOf(plan)
        .filter(({ document }) => document.step.host === "cmp2")
        .map(({ document }) => document.step.service),
    );
    t.deepEqual([...services].sort(), ["base", "ceph-client", "nova-compute"]);
    const drain = plan.named("nova-compute-start-cmp2");
    t.true(drain.dependsOn.includes("nova-compute-start-cmp1"), "guests may go there");
    t.regex(JSON.stringify(drain.inputs.stdin), /os-migrateLive/);
    const member = plan.named("host-cmp2");
    t.false(member.protect);
    t.true(member.dependsOn.includes("nova-compute-start-cmp2"));
    t.true(plan.named("host-cmp1").protect);
    t.true(plan.named("host-ctl1").protect);
    // Images are of roles: they are not baked anew for it.
    const images = await planOf(development.options);
    t.deepEqual(plan.named("lab-image-compute").inputs, images.named("lab-image-compute").inputs);
  },
);

test.serial(
  "what is on a host's disks is made again when it begins anew, and nothing else",
  async (t) => {
    const options = changed((each) => {
      set(each, "hosts[1].rebuild", 2);
    });
    const plan = await planOf(options);
    const former = new Map(
      (await planOf(development.options)).resources.map((each) => [each.name, each]),
    );
    const remade = plan.resources.filter(
      ({ name, replacementTrigger }) => replacementTrigger !== former.get(name)?.replacementTrigger,
    );
    t.true(remade.length > 40);
    t.true(remade.every(({ name }) => name.endsWith("-ctl2")));
    t.true(remade.some(({ name }) => name === "base-secrets-ctl2"));
    t.true(plan.named("lab-host-ctl2").deleteBeforeReplace);
    for (const { name, inputs } of plan.resources)
      t.deepEqual(inputs, former.get(name)?.inputs, name);
    // The engine takes a trigger that was not there before for none.
    for (const { name, type, replacementTrigger } of former.values())
      if (type.startsWith("command:") && /-(?:ctl|cmp)\d$/.test(name))
        t.is(replacementTrigger, 1, name);
  },
);

test.serial("a compute host that comes restarts nothing on the others", async (t) => {
  const options = changed((each) => {
    (each.hosts as unknown[]).push({
      name: "cmp3",
      id: 23,
      roles: ["compute"],
      failureDomain: "rack3",
    });
  });
  const plan = await planOf(options);
  const former = new Map(
    stepsOf(await planOf(development.options)).map(({ resource, document }) => [
      resource.name,
      document,
    ]),
  );
  const files = stepsOf(plan).flatMap(({ resource, document }) =>
    Object.entries(document.files ?? {})
      .filter(([path, file]) => {
        const before = former.get(resource.name)?.files?.[path];
        return before !== undefined && before.content !== file.content;
      })
      .map(([path]) => path),
  );
  t.deepEqual([...new Set(files)].sort(), ["/etc/hosts", "/etc/ssh/ssh_known_hosts"]);
});
