import { createHash } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { carriers, SERVICES, servicesIn, servicesOf } from "../../catalogue";
import { rotatableNames } from "../../config/secret-names";
import { jsonSchema, type JsonSchema } from "../../config/schema";
import { isDroppedConnection } from "../../components/step";
import { parseCloud, type Cloud } from "../../config";
import { plainSecrets, sshKeyPair } from "../../secrets";
import {
  parsedCloud,
  project,
  readStackFile,
  set,
  type Options,
} from "../fixtures/config/fixtures";
import { alone, development, five, type SnapshotCloud } from "./support/clouds";
import {
  inspect,
  planOf,
  plainTexts,
  SEED,
  stepsOf,
  type Planned,
  type PlannedStep,
  type Registered,
} from "./support/plan";
import { matchFile } from "./support/snapshots";

// index.ts as a whole: what it registers, in which order, and what a change of the configuration changes.

let dev: Planned;
let north: Planned;
let solo: Planned;

test.before(async () => {
  dev = await planOf(development.options);
  north = await planOf(five.options, { stack: five.stack });
  solo = await planOf(alone.options, { stack: alone.stack });
});

const planned = (): readonly (readonly [Planned, SnapshotCloud])[] => [
  [dev, development],
  [north, five],
  [solo, alone],
];
const plans = (): readonly Planned[] => planned().map(([plan]) => plan);
/** Those of clouds that run guests. */
const wholePlans = (): readonly Planned[] => [dev, north];
const REMOTE = "command:remote:Command";
const LOCAL = "command:local:Command";

function cloudOf({ options, stack }: SnapshotCloud): Cloud {
  return parsedCloud(options, stack);
}

/** Of the development stack, by kind: hosts of one kind are alike in all but their names. */
const KINDS = [
  ["ctl1", "ctl2", "ctl3"],
  ["cmp1", "cmp2"],
] as const;

// ---- The tree ---------------------------------------------------------------------------------------------------

test("the resources of the development stack are as reviewed", (t) => {
  const lines: string[] = [];
  const visit = (resource: Registered, indent: string): void => {
    lines.push(`${indent}${resource.name}  ${resource.type}`);
    dev.resources
      .filter(({ parent }) => parent === resource.name)
      .sort(byName)
      .forEach((child) => {
        visit(child, `${indent}  `);
      });
  };
  dev.resources
    .filter(({ parent }) => parent === undefined)
    .forEach((root) => {
      visit(root, "");
    });
  t.is(lines.length, dev.resources.length, "every resource is below the stack");
  matchFile(t, "RESOURCES.txt", `${lines.join("\n")}\n`);
});

test("what each resource of the development stack waits for is as reviewed, and alike on all hosts of a kind", (t) => {
  const ofNoHost = ({ name }: Registered): boolean => !/-(?:ctl|cmp)\d$/.test(name);
  const rows = (of: (resource: Registered) => boolean): string[] =>
    dev.resources
      .filter(of)
      .filter(({ dependsOn }) => dependsOn.length > 0)
      .sort(byName)
      .flatMap((resource) => [resource.name, ...direct(dev, resource).map((each) => `  ${each}`)]);
  const shared = rows(ofNoHost);
  const on = (host: string): string[] => rows(({ name }) => name.endsWith(`-${host}`));
  const text = KINDS.map(([first, ...others]) => {
    for (const other of others) {
      const swap = (row: string): string =>
        row.replace(/(?<=-)(?:ctl|cmp)\d$/, (host) =>
          host === first ? other : host === other ? first : host,
        );
      t.deepEqual(on(other).map(swap).sort(), on(first).sort(), other);
      // The ids of Keystone's roles are asked of one controller: it makes no difference which.
      const alike = shared.filter((row) => !row.startsWith("  keystone-verify-"));
      t.deepEqual(alike.map(swap).sort(), alike.sort(), other);
    }
    return `\n# Of ${first}; alike on ${others.join(" and ")}\n${on(first).join("\n")}\n`;
  });
  matchFile(t, "DEPENDENCIES.txt", `# Of no host\n${shared.join("\n")}\n${text.join("")}`);
});

test("no two steps of a host want the same file or folder differently: one of them would always have drifted", (t) => {
  for (const plan of plans()) {
    const wanted = new Map<string, string>();
    for (const { document } of stepsOf(plan)) {
      for (const [file, spec] of Object.entries({ ...document.files, ...document.directories })) {
        const where = `${document.step.host} ${file}`;
        t.is(wanted.get(where) ?? JSON.stringify(spec), JSON.stringify(spec), where);
        wanted.set(where, JSON.stringify(spec));
      }
    }
    t.true(wanted.size > 60);
  }
});

function byName(a: Registered, b: Registered): number {
  return a.name < b.name ? -1 : 1;
}

/** What it waits for, without what those wait for anyway. */
function direct(plan: Planned, { dependsOn }: Registered): string[] {
  const indirect = new Set(dependsOn.flatMap((each) => [...waitsFor(plan, each)]));
  return dependsOn.filter((each) => !indirect.has(each));
}

/** All that has to be there before a resource. */
function waitsFor(plan: Planned, name: string, found = new Set<string>()): Set<string> {
  for (const each of plan.named(name).dependsOn) {
    if (!found.has(each)) {
      found.add(each);
      waitsFor(plan, each, found);
    }
  }
  return found;
}

test("a name is used once, and starts with the name of its component", (t) => {
  for (const plan of plans()) {
    t.is(new Set(plan.resources.map(({ name }) => name)).size, plan.resources.length);
    for (const { name, parent, custom } of plan.resources) {
      if (custom) t.true(name.startsWith(`${parent!}-`), `${name} of ${parent!}`);
    }
  }
});

test("components belong to the stack, and nothing that does something to it directly", (t) => {
  for (const { name, parent, custom, type } of dev.resources) {
    if (parent === undefined) t.is(type, "pulumi:pulumi:Stack");
    else t.is(parent === `${project}-dev`, !custom, name);
  }
});

test("there is a component for each service and host that the cloud has, the lab, what is registered, and the content", (t) => {
  for (const [plan, cloud] of planned()) {
    const components = plan.resources.filter(({ custom, parent }) => !custom && parent);
    t.deepEqual(
      components.map(({ name }) => name).sort(),
      [
        ...servicesIn(cloudOf(cloud)).map(({ name }) => name),
        ...cloudOf(cloud).hosts.map(({ name }) => `host-${name}`),
        "lab",
        "registration",
        // The cloud of five has it switched off, and controllers alone have no use for it.
        ...(plan === dev ? ["content"] : []),
      ].sort(),
    );
    for (const { name, type } of components) {
      if (name.startsWith("host-")) {
        t.is(type, "openstack-ha:hosts:Member");
        continue;
      }
      const layer =
        name === "lab"
          ? "hosts"
          : (SERVICES.find((each) => each.name === name)?.layer ?? "openstack");
      t.is(type, `openstack-ha:${layer}:${name.charAt(0).toUpperCase()}${name.slice(1)}`);
    }
  }
});

test("a step's name says service, stage and host, as its document does", (t) => {
  for (const plan of plans()) {
    for (const { resource, document } of stepsOf(plan)) {
      const { service, stage, host } = document.step;
      t.is(resource.name, `${service}-${stage}-${host}`);
    }
  }
});

// ---- Order ------------------------------------------------------------------------------------------------------

/** Whether the first has to be there before the second. */
function before(plan: Planned, first: string, second: string): boolean {
  return waitsFor(plan, second).has(first);
}

function hosts(plan: Planned, service: string): string[] {
  return [
    ...new Set(
      stepsOf(plan)
        .filter(({ document }) => document.step.service === service)
        .map(({ document }) => document.step.host),
    ),
  ];
}

test("a step waits for its host, for its runner, and, but in base, for its secrets and base's configuration", (t) => {
  for (const plan of plans()) {
    for (const { resource, document } of stepsOf(plan)) {
      const { service, host } = document.step;
      t.true(before(plan, `lab-host-${host}`, resource.name), resource.name);
      t.true(before(plan, `base-runner-${host}`, resource.name), resource.name);
      if (service === "base") continue;
      // Directly: what a step needs must not hang on what another happens to need.
      t.true(resource.dependsOn.includes(`base-secrets-${host}`), resource.name);
      t.true(resource.dependsOn.includes(`base-configure-${host}`), resource.name);
    }
  }
});

test("on each host a service is installed, then configured, then started", (t) => {
  for (const plan of plans()) {
    const names = new Set(plan.resources.map(({ name }) => name));
    for (const { resource, document } of stepsOf(plan)) {
      const { service, stage, host } = document.step;
      const earlier = {
        install: [],
        configure: ["install"],
        bootstrap: ["configure"],
        start: ["configure"],
        verify: ["configure", "start"],
      };
      for (const each of (earlier as Record<string, string[]>)[stage] ?? []) {
        const name = `${service}-${each}-${host}`;
        if (names.has(name))
          t.true(before(plan, name, resource.name), `${name} before ${resource.name}`);
      }
    }
  }
});

/** `a-stage waits everywhere for b-stage`, where a step waits for a step of another host; both as names. */
function crossings(t: ExecutionContext, plan: Planned): string[] {
  const steps = new Map(stepsOf(plan).map((step) => [step.resource.name, step.document.step]));
  const found = new Set<string>();
  for (const [name, { service, stage, host }] of steps) {
    for (const each of plan.named(name).dependsOn) {
      const other = steps.get(each);
      if (other === undefined || other.host === host) continue;
      found.add(`${service}-${stage} waits everywhere for ${other.service}-${other.stage}`);
      // Everywhere is everywhere.
      for (const carrier of hosts(plan, other.service)) {
        const twin = `${other.service}-${other.stage}-${carrier}`;
        t.true(plan.named(name).dependsOn.includes(twin), `${name} waits for ${twin}`);
      }
    }
  }
  return [...found].sort();
}

const CROSSINGS_OF_CONTROLLERS = [
  "keystone-bootstrap waits everywhere for keystone-configure",
  // HAProxy moves sessions to the database's first member when that joins, and a schema is half made.
  "keystone-bootstrap waits everywhere for mariadb-start",
  "keystone-start waits everywhere for memcached-start",
  "pacemaker-bootstrap waits everywhere for haproxy-configure",
  "pacemaker-bootstrap waits everywhere for mariadb-configure",
  "pacemaker-start waits everywhere for pacemaker-configure",
];

test("a step waits for another host only where the cluster needs it", (t) => {
  t.deepEqual(crossings(t, solo), CROSSINGS_OF_CONTROLLERS);
  for (const plan of wholePlans()) {
    t.deepEqual(
      crossings(t, plan),
      [
        ...CROSSINGS_OF_CONTROLLERS,
        // A monitor's own start is a majority's.
        "ceph-bootstrap waits everywhere for ceph-configure",
        ...["cinder", "glance", "horizon", "neutron", "nova", "placement"].map(
          (service) => `${service}-bootstrap waits everywhere for mariadb-start`,
        ),
        // Disks are where the store's clients need not be.
        "ceph-client-verify waits everywhere for ceph-start",
        // Workers take what is in the queues of all brokers.
        "cinder-start waits everywhere for rabbitmq-start",
        "neutron-start waits everywhere for rabbitmq-start",
        "nova-start waits everywhere for rabbitmq-start",
        // What asks the APIs behind the VIP may come to any controller.
        "neutron-metadata-start waits everywhere for nova-start",
        "nova-compute-start waits everywhere for neutron-start",
        "nova-compute-start waits everywhere for nova-start",
        "nova-compute-start waits everywhere for placement-start",
        // Clients of OVN's databases are told all of their members.
        "neutron-start waits everywhere for ovn-start",
        "ovn-chassis-start waits everywhere for ovn-start",
      ].sort(),
    );
  }
});

test("Pacemaker is told to run HAProxy and Galera when both are configured on every controller", (t) => {
  for (const plan of plans()) {
    for (const host of hosts(plan, "pacemaker")) {
      for (const other of hosts(plan, "pacemaker")) {
        for (const service of ["haproxy", "mariadb"]) {
          t.true(
            plan
              .named(`pacemaker-bootstrap-${host}`)
              .dependsOn.includes(`${service}-configure-${other}`),
          );
        }
      }
      t.true(before(plan, `pacemaker-start-${host}`, `pacemaker-bootstrap-${host}`));
      for (const service of ["haproxy", "mariadb"]) {
        t.true(before(plan, `pacemaker-bootstrap-${host}`, `${service}-start-${host}`));
      }
    }
  }
});

test("Keystone's database is there before its bootstrap, and its bootstrap before its start", (t) => {
  for (const plan of plans()) {
    for (const host of hosts(plan, "keystone")) {
      t.true(plan.named(`keystone-bootstrap-${host}`).dependsOn.includes(`mariadb-start-${host}`));
      t.true(plan.named(`keystone-start-${host}`).dependsOn.includes(`keystone-bootstrap-${host}`));
    }
  }
});

test("a service's database is there before its bootstrap, and its bootstrap before its start", (t) => {
  for (const plan of wholePlans()) {
    for (const service of ["cinder", "glance", "horizon", "neutron", "nova", "placement"]) {
      const on = hosts(plan, service);
      t.deepEqual(on, hosts(plan, "mariadb"));
      for (const host of on) {
        const bootstrap = plan.named(`${service}-bootstrap-${host}`);
        t.true(bootstrap.dependsOn.includes(`mariadb-start-${host}`), bootstrap.name);
        t.true(bootstrap.dependsOn.includes(`${service}-configure-${host}`), bootstrap.name);
        const start = plan.named(`${service}-start-${host}`);
        t.true(start.dependsOn.includes(bootstrap.name), start.name);
      }
    }
  }
});

test("who uses the store waits until it answers on the host, and for its own key", (t) => {
  for (const plan of wholePlans()) {
    for (const service of ["cinder", "glance", "nova-compute"]) {
      for (const host of hosts(plan, service)) {
        const { dependsOn } = plan.named(`${service}-start-${host}`);
        t.true(dependsOn.includes(`ceph-client-verify-${host}`), `${service} on ${host}`);
      }
    }
    for (const host of hosts(plan, "ceph-client")) {
      for (const other of hosts(plan, "ceph")) {
        t.true(plan.named(`ceph-client-verify-${host}`).dependsOn.includes(`ceph-start-${other}`));
      }
    }
    // ceph.conf is the clients' too, and the store's daemons read it.
    for (const host of hosts(plan, "ceph")) {
      t.true(before(plan, `ceph-client-configure-${host}`, `ceph-bootstrap-${host}`));
    }
  }
});

test("guests' packets are switched before anything that guests need starts on their host", (t) => {
  for (const plan of wholePlans()) {
    for (const service of ["neutron-metadata", "nova-compute"]) {
      for (const host of hosts(plan, service)) {
        const { dependsOn } = plan.named(`${service}-start-${host}`);
        t.true(dependsOn.includes(`ovn-chassis-start-${host}`), `${service} on ${host}`);
      }
    }
  }
});

/** Which provider makes a resource through the cloud's API. */
const PROVIDERS = { registration: "registration-provider", content: "content-provider" };

test("nothing is asked of the cloud's API before it works on every controller", (t) => {
  for (const plan of plans()) {
    const api = plan.resources.filter(({ type }) => type.startsWith("openstack:"));
    t.true(api.length >= 1);
    for (const resource of api) {
      t.is(resource.provider, PROVIDERS[resource.parent as keyof typeof PROVIDERS], resource.name);
      t.true(resource.name.startsWith(`${resource.parent!}-`));
      for (const host of hosts(plan, "keystone")) {
        t.true(before(plan, `keystone-start-${host}`, resource.name), resource.name);
        t.true(before(plan, `haproxy-start-${host}`, resource.name), resource.name);
      }
    }
  }
});

test("content is made when every API that it is made through works on every controller", (t) => {
  const content = dev.resources.filter(
    ({ parent, type }) => parent === "content" && type.startsWith("openstack:"),
  );
  t.true(content.length > 10);
  for (const { name } of content) {
    for (const service of ["glance", "nova", "neutron", "cinder"]) {
      for (const host of hosts(dev, service)) {
        t.true(before(dev, `${service}-start-${host}`, name), `${service} before ${name}`);
      }
    }
  }
  // An image's file is there before it is sent.
  for (const name of ["test", "test-kernel", "test-ramdisk"]) {
    t.true(dev.named(`content-image-${name}`).dependsOn.includes("content-guest"));
  }
});

test("a service starts when its account and its endpoints are registered, and the accounts that it uses", (t) => {
  const uses: Readonly<Record<string, readonly string[]>> = {
    cinder: ["cinder"],
    glance: ["glance"],
    neutron: ["neutron", "nova"],
    nova: ["nova", "placement"],
    placement: ["placement"],
    // By what they wait for.
    "neutron-metadata": ["nova", "placement"],
    "nova-compute": ["neutron", "nova", "placement"],
  };
  for (const plan of wholePlans()) {
    for (const [service, accounts] of Object.entries(uses)) {
      for (const host of hosts(plan, service)) {
        for (const account of accounts) {
          for (const each of [
            `registration-endpoint-${account}-internal`,
            `registration-endpoint-${account}-public`,
            `registration-role-${account}-admin`,
            `registration-role-${account}-service`,
          ]) {
            t.true(before(plan, each, `${service}-start-${host}`), `${each} before ${service}`);
          }
        }
      }
    }
  }
});

// ---- What is registered -----------------------------------------------------------------------------------------

test("accounts, their roles and the endpoints are those of the catalogue", (t) => {
  for (const [plan, each] of planned()) {
    const cloud = cloudOf(each);
    const registered = servicesIn(cloud).filter(
      ({ name, registration }) => registration && name !== "keystone",
    );
    const names = plan.resources
      .filter(({ parent }) => parent === "registration")
      .map(({ name }) => name)
      .sort();
    t.deepEqual(
      names,
      [
        "registration-project-service",
        "registration-provider",
        ...registered.flatMap(({ name }) => [
          `registration-endpoint-${name}-internal`,
          `registration-endpoint-${name}-public`,
          `registration-role-${name}-admin`,
          `registration-role-${name}-service`,
          `registration-service-${name}`,
          `registration-user-${name}`,
        ]),
      ].sort(),
    );
    for (const { name, registration } of registered) {
      const inputs = (resource: string) =>
        inspect(plan.named(resource).inputs).value as Record<string, unknown>;
      t.is(inputs(`registration-service-${name}`).type, registration!.type);
      t.is(inputs(`registration-user-${name}`).name, name);
      // As the host answered, by the mocks.
      t.is(inputs(`registration-role-${name}-admin`).roleId, "a1");
      t.is(inputs(`registration-role-${name}-service`).roleId, "5e");
      t.is(inputs(`registration-role-${name}-admin`).projectId, "registration-project-service-id");
      for (const vip of ["internal", "public"] as const) {
        const endpoint = inputs(`registration-endpoint-${name}-${vip}`);
        t.is(endpoint.interface, vip);
        t.is(endpoint.endpointRegion, cloud.region);
        const base =
          vip === "public" && cloud.tls ? `https://${cloud.tls.name}` : `http://${cloud.vips[vip]}`;
        t.true((endpoint.url as string).startsWith(`${base}:`), name);
        t.true((endpoint.url as string).endsWith(registration!.path), name);
      }
    }
  }
  t.is(wholePlans().length, 2);
  t.is(
    (inspect(dev.named("registration-endpoint-cinder-public").inputs).value as { url: string }).url,
    "http://10.77.3.10:8776/v3",
  );
});

test("one controller is asked for the ids of Keystone's roles, after Keystone works there", (t) => {
  for (const [plan, cloud] of planned()) {
    const [first] = carriers(cloudOf(cloud), { roles: ["controller"] });
    const asked = `keystone-verify-${first!.name}`;
    t.true(plan.named(asked).dependsOn.includes(`keystone-start-${first!.name}`));
    for (const { name, dependsOn } of plan.resources) {
      if (name.startsWith("registration-role-")) t.true(dependsOn.includes(asked), name);
    }
  }
});

test("hosts do not wait for each other to be installed", (t) => {
  for (const { resource, document } of stepsOf(north)) {
    if (document.step.stage !== "install") continue;
    const others = [...waitsFor(north, resource.name)].filter((name) =>
      stepsOf(north).some(
        (step) => step.resource.name === name && step.document.step.host !== document.step.host,
      ),
    );
    t.deepEqual(others, [], resource.name);
  }
});

test("services are on the hosts whose roles carry them", (t) => {
  const controllers = ["alpha", "bravo-2", "charlie", "delta", "echo"];
  const expected: Readonly<Record<string, readonly string[]>> = {
    base: [...controllers, "foxtrot", "golf"],
    pacemaker: controllers,
    haproxy: controllers,
    mariadb: controllers,
    rabbitmq: controllers,
    memcached: controllers,
    keystone: controllers,
    "ceph-client": [...controllers, "foxtrot", "golf"],
    ceph: ["charlie", "delta", "echo", "golf"],
    glance: controllers,
    placement: controllers,
    nova: controllers,
    ovn: controllers,
    "ovn-chassis": ["bravo-2", "echo", "foxtrot", "golf"],
    neutron: controllers,
    cinder: controllers,
    horizon: controllers,
    "nova-compute": ["foxtrot", "golf"],
    "neutron-metadata": ["foxtrot", "golf"],
  };
  t.deepEqual(
    SERVICES.map(({ name }) => name),
    Object.keys(expected),
  );
  for (const [service, on] of Object.entries(expected)) {
    t.deepEqual(hosts(north, service), on, service);
  }
});

test("controllers alone have what an identity service needs, and nothing else", (t) => {
  for (const { name, whole = false } of SERVICES) {
    t.deepEqual(hosts(solo, name), whole ? [] : ["ctl1", "ctl2", "ctl3"], name);
  }
  t.deepEqual(
    solo.resources.filter(({ type }) => type.startsWith("openstack:")).map(({ name }) => name),
    ["registration-project-service"],
  );
});

test("each step is of a service that its host carries", (t) => {
  for (const [plan, each] of planned()) {
    const cloud = cloudOf(each);
    const found = new Set(
      stepsOf(plan).map(({ document: { step } }) => `${step.host} ${step.service}`),
    );
    t.deepEqual(
      [...found].sort(),
      cloud.hosts
        .flatMap((host) => servicesOf(cloud, host).map(({ name }) => `${host.name} ${name}`))
        .sort(),
    );
  }
});

// ---- How a host is reached --------------------------------------------------------------------------------------

test("every remote command has its time, is repeated on a dropped connection, and vanishes with its host", (t) => {
  for (const [plan, cloud] of planned()) {
    const remote = plan.resources.filter(({ type }) => type === REMOTE);
    t.true(remote.length > 70);
    for (const resource of remote) {
      const { name, inputs, timeouts } = resource;
      t.regex(timeouts.create, /^\d+[sm]$/, name);
      t.is(timeouts.update, timeouts.create, name);
      t.deepEqual(resource.errorHooks, ["openstack-ha-retry-dropped-connection"], name);
      t.deepEqual(resource.lifecycleHooks, [], name);
      t.is(resource.deletedWith, `lab-host-${hostOf(name, cloud)}`, name);
      // Output of the last run in the environment would need the host's SSH server to accept it.
      t.is(inputs.addPreviousOutputInEnv, false, name);
      for (const absent of ["update", "delete", "triggers", "environment", "logging"]) {
        t.is(inputs[absent], undefined, `${name} has ${absent}`);
      }
      t.false(resource.deleteBeforeReplace, name);
      t.deepEqual(resource.ignoreChanges, [], name);
    }
    for (const { resource, document } of stepsOf(plan)) {
      // The host ends a step by itself, after time to dial and to wait for its twin's lock.
      t.is(resource.timeouts.create, `${2 * document.step.timeout + 240}s`, resource.name);
    }
  }
});

/** The host of a step; services, stages and hosts have hyphens in their names. */
function hostOf(name: string, cloud: SnapshotCloud): string {
  const all = cloudOf(cloud).hosts.filter((host) => name.endsWith(`-${host.name}`));
  return all.sort((a, b) => b.name.length - a.name.length)[0]!.name;
}

test("what makes hosts, and the image of guests, has its time, and is not repeated", (t) => {
  const local = (plan: Planned): Registered[] =>
    plan.resources.filter(({ type }) => type === LOCAL);
  t.deepEqual(
    local(dev)
      .map(({ name }) => name)
      .sort(),
    [
      "content-guest",
      "lab-host-cmp1",
      "lab-host-cmp2",
      "lab-host-ctl1",
      "lab-host-ctl2",
      "lab-host-ctl3",
      "lab-image-compute",
      "lab-image-controller-network-storage",
      "lab-machine",
      "lab-network",
    ],
  );
  // An image for each mixture of roles.
  t.deepEqual(
    local(north)
      .map(({ name }) => name)
      .filter((name) => name.startsWith("lab-image-"))
      .sort(),
    [
      "lab-image-compute",
      "lab-image-compute-network-storage",
      "lab-image-controller",
      "lab-image-controller-network",
      "lab-image-controller-network-storage",
      "lab-image-controller-storage",
    ],
  );
  for (const { name, timeouts, errorHooks, inputs } of plans().flatMap(local)) {
    const expected =
      name === "content-guest"
        ? { create: "20m", update: "20m", delete: "" }
        : { create: "40m", update: "40m", delete: "5m" };
    t.deepEqual(timeouts, expected, name);
    t.deepEqual(errorHooks, [], name);
    t.is(inputs.addPreviousOutputInEnv, false, name);
  }
});

test("what is made through the cloud's API goes with the cloud", (t) => {
  for (const plan of plans()) {
    for (const { name, type, deletedWith } of plan.resources) {
      if (type.startsWith("openstack:")) t.regex(deletedWith ?? "", /^lab-host-/, name);
    }
  }
});

test("a connection knows the host's key, and is given up after minutes, not at once and not never", (t) => {
  for (const [plan, each] of planned()) {
    const cloud = cloudOf(each);
    for (const { name, inputs, type } of plan.resources) {
      if (type !== REMOTE) continue;
      const { value } = inspect(inputs.connection) as { value: Record<string, unknown> };
      const host = cloud.hosts.find(({ name: other }) => other === hostOf(name, each))!;
      t.is(value.host, host.addresses.management, name);
      t.is(value.user, "root");
      t.regex(value.hostKey as string, /^ssh-ed25519 AAAA/, name);
      t.regex(value.privateKey as string, /^-----BEGIN OPENSSH PRIVATE KEY-----/);
      t.is(value.perDialTimeout, 15);
      t.is(value.dialErrorLimit, 20);
      t.is(value.password, undefined);
    }
  }
});

for (const [again, what, ...errors] of [
  [true, "the host hung up", "remote command exited without exit status or exit signal"],
  [true, "end of file", "ssh: handshake failed: EOF"],
  [true, "reset", "read tcp 10.0.0.1:5->10.0.0.2:22: read: connection reset by peer"],
  [
    true,
    "refused while it boots",
    "after 20 failed attempts: dial tcp 10.0.0.2:22: connect: connection refused",
  ],
  [true, "unreachable", "dial tcp 10.0.0.2:22: connect: no route to host"],
  [true, "no answer", "dial tcp 10.0.0.2:22: i/o timeout"],
  [true, "the third time", "EOF", "EOF", "EOF"],
  [false, "the fourth time", "EOF", "EOF", "EOF", "EOF"],
  [
    false,
    "a step that failed",
    'Process exited with status 1: running "openstack-ha-step":\nwanted a, found b',
  ],
  [
    false,
    "a step whose error reads like a lost connection",
    'Process exited with status 1: running "openstack-ha-step":\nrabbitmq: dial tcp: connection refused (EOF)',
  ],
  [false, "a step that failed after a lost connection", "Process exited with status 1: x", "EOF"],
  [false, "a wrong key", "ssh: unable to authenticate, attempted methods [none publickey]"],
  [false, "anything else", "something unheard of"],
  [false, "no error"],
] as const) {
  test(`a command is ${again ? "" : "not "}run again: ${what}`, (t) => {
    t.is(isDroppedConnection(errors), again);
  });
}

// ---- Secrets ----------------------------------------------------------------------------------------------------

function secretsOf({ stack, options }: { stack: string; options: Options }): Map<string, string> {
  return plainSecrets(parsedCloud(options, stack), SEED);
}

test("no secret is in any text of the plan that is not marked as secret", (t) => {
  for (const [plan, cloud] of planned()) {
    const secrets = [...secretsOf(cloud), ["seed", SEED] as const];
    t.true(secrets.length > 30);
    const texts = [
      ...plan.resources.flatMap(({ inputs }) => plainTexts(inputs)),
      ...plainTexts(plan.outputs),
    ].join("\0");
    t.true(texts.length > 200_000, "the plan's text is looked at");
    for (const [name, value] of secrets) {
      // Of a key pair any line of the private part tells.
      for (const part of value
        .split("\n")
        .filter((line) => line.length >= 12 && !line.startsWith("-----"))) {
        t.false(texts.includes(part), `${name} is in the plan`);
      }
    }
  }
});

type Store = Readonly<Record<string, { readonly version: number; readonly value: string }>>;

/** The secrets that a host is given. */
function storeOf(plan: Planned, host: string): Store {
  return JSON.parse(
    inspect(plan.named(`base-secrets-${host}`).inputs.stdin).value as string,
  ) as Store;
}

const SECRETS_OF_KINDS: readonly (readonly string[])[] = [
  [
    "ceph-admin",
    "ceph-cinder",
    "ceph-glance",
    "ceph-mon",
    "cinder",
    "cinder-db",
    "corosync-authkey",
    "glance",
    "glance-db",
    "horizon",
    "horizon-db",
    "keystone-admin",
    "keystone-credential-1",
    "keystone-credential-2",
    "keystone-db",
    "keystone-fernet-1",
    "keystone-fernet-2",
    "neutron",
    "neutron-db",
    "neutron-metadata",
    "nova",
    "nova-db",
    "pacemaker-bmc",
    "placement",
    "placement-db",
    "rabbitmq-cookie",
    "rabbitmq-openstack",
  ],
  // A guest that breaks out of its host finds no database's password, and nobody's who may change the store.
  [
    "ceph-cinder",
    "cinder",
    "neutron",
    "neutron-metadata",
    "nova",
    "placement",
    "rabbitmq-openstack",
    "ssh-known-cmp1",
    "ssh-known-cmp2",
    "ssh-nova",
  ],
];

test("secrets reach the hosts by one resource each, and the search above can find them", (t) => {
  const secrets = secretsOf(development);
  KINDS.forEach((on, i) => {
    for (const host of on) {
      t.true(inspect(dev.named(`base-secrets-${host}`).inputs.stdin).secret);
      const store = storeOf(dev, host);
      t.deepEqual(Object.keys(store).sort(), SECRETS_OF_KINDS[i], host);
      for (const [name, each] of Object.entries(store)) {
        const value = name.startsWith("ssh-known-")
          ? sshKeyPair({
              seed: SEED,
              stack: "dev",
              name: name.replace("ssh-known", "ssh-host"),
              version: 1,
            }).publicKey
          : secrets.get(name)!;
        t.deepEqual(each, { version: 1, value }, name);
      }
    }
  });
});

test("controllers alone are given no secret of a service that they do not have", (t) => {
  for (const host of hosts(solo, "base")) {
    t.deepEqual(Object.keys(storeOf(solo, host)).sort(), [
      "corosync-authkey",
      "keystone-admin",
      "keystone-credential-1",
      "keystone-credential-2",
      "keystone-db",
      "keystone-fernet-1",
      "keystone-fernet-2",
      "pacemaker-bmc",
      "rabbitmq-cookie",
      "rabbitmq-openstack",
    ]);
  }
});

test("a host is given every secret that its steps name, in their version, and no other", (t) => {
  for (const plan of plans()) {
    for (const host of hosts(plan, "base")) {
      const store = storeOf(plan, host);
      const named = stepsOf(plan)
        .filter(({ document }) => document.step.host === host)
        .flatMap(({ document }) => Object.entries(document.secrets ?? {}));
      for (const [name, version] of named)
        t.is(store[name]?.version, version, `${name} on ${host}`);
      t.deepEqual(
        Object.keys(store).filter((name) => !named.some(([each]) => each === name)),
        [],
        host,
      );
    }
  }
});

test("what is secret is marked: keys of connections, inputs of hosts, the providers' and accounts' passwords, the outputs", (t) => {
  for (const { name, type, inputs, secretOutputs } of dev.resources) {
    if (type === REMOTE) {
      t.true(inspect(inputs.connection).secret, name);
      t.true(secretOutputs.includes("connection"), name);
    }
    if (name.startsWith("lab-host-")) t.true(inspect(inputs.stdin).secret, name);
  }
  const passwords = plans().flatMap((plan) =>
    plan.resources.filter(({ inputs }) => "password" in inputs),
  );
  t.deepEqual(
    passwords.map(({ name }) => name).sort(),
    [
      "content-provider",
      ...["cinder", "glance", "neutron", "nova", "placement"].flatMap((name) => [
        `registration-user-${name}`,
        `registration-user-${name}`,
      ]),
      "registration-provider",
      "registration-provider",
      "registration-provider",
    ].sort(),
  );
  for (const { name, inputs } of passwords) t.true(inspect(inputs.password).secret, name);
  t.deepEqual(
    Object.entries(dev.outputs)
      .filter(([, value]) => inspect(value).secret)
      .map(([name]) => name)
      .sort(),
    ["adminPassword", "sshPrivateKey"],
  );
});

test("the text of a step can be read by a reviewer: it is no secret, and known before anything runs", (t) => {
  for (const plan of plans()) {
    for (const { resource } of stepsOf(plan)) {
      const { secret, unknown } = inspect(resource.inputs.stdin);
      t.deepEqual({ secret, unknown }, { secret: false, unknown: false }, resource.name);
    }
  }
});

test("a step declares the secrets that its files name", (t) => {
  for (const plan of plans()) {
    for (const { resource, document } of stepsOf(plan)) {
      const named = Object.values(document.files ?? {})
        .flatMap(({ content }) => [...content.matchAll(/\$\{secret:([^}]*)\}/g)])
        .map((match) => match[1]!);
      for (const name of named)
        t.true(name in (document.secrets ?? {}), `${resource.name}: ${name}`);
    }
  }
});

// ---- A start step runs again when what it starts was configured anew ------------------------------------------------

test("a start step carries the digest of its host's configure step", (t) => {
  for (const plan of plans()) {
    const steps = new Map(stepsOf(plan).map((step) => [step.resource.name, step]));
    const starts = [...steps.values()].filter(({ document }) => document.step.stage === "start");
    t.true(starts.length >= 18);
    for (const { document, resource } of starts) {
      const { service, host, configuration } = document.step;
      const { stdin } = steps.get(`${service}-configure-${host}`)!;
      const digest = createHash("sha256").update(stdin).digest("hex");
      t.truthy(configuration, resource.name);
      t.true(digest.startsWith(configuration!), resource.name);
      t.true(configuration!.length >= 16);
    }
  }
});

// ---- What a change changes --------------------------------------------------------------------------------------

/** Resources, by name, that an engine would find different, new or gone. */
function changes(from: Planned, to: Planned): string[] {
  const look = (plan: Planned): Map<string, string> =>
    new Map(
      plan.resources.map(({ name, inputs, dependsOn }) => [
        name,
        JSON.stringify([inputs, dependsOn]),
      ]),
    );
  const [old, young] = [look(from), look(to)];
  const names = new Set([...old.keys(), ...young.keys()]);
  return [...names].filter((name) => old.get(name) !== young.get(name)).sort();
}

const HOST_NAMES: readonly string[] = KINDS.flat();

/** `haproxy-start-*` for haproxy-start on all hosts that have it, `base-secrets-cmp*` for all of a kind. */
function grouped(names: readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const [, stem, host] = /^(.*)-((?:ctl|cmp)\d)$/.exec(name) ?? [undefined, name, ""];
    groups.set(stem, [...(groups.get(stem) ?? []), host]);
  }
  return [...groups]
    .flatMap(([stem, on]) => {
      if (on.length === 1 && on[0] === "") return [stem];
      const have = HOST_NAMES.filter((host) => stemsOfDev().has(`${stem}-${host}`));
      if (have.length > 0 && have.every((host) => on.includes(host))) {
        return [
          `${stem}-*`,
          ...on.filter((host) => !have.includes(host)).map((h) => `${stem}-${h}`),
        ];
      }
      const whole = KINDS.filter((kind) => kind.every((host) => on.includes(host)));
      const rest = on.filter(
        (host) => !whole.some((kind) => (kind as readonly string[]).includes(host)),
      );
      return [
        ...whole.map(([first]) => `${stem}-${first.replace(/\d$/, "*")}`),
        ...rest.map((host) => `${stem}-${host}`),
      ];
    })
    .sort();
}

/** `base-secrets-ctl1`, also for an input of it: `base-secrets.stdin-ctl1`. */
function stemsOfDev(): ReadonlySet<string> {
  stems ??= new Set(
    dev.resources.flatMap(({ name, inputs }) => [
      name,
      ...Object.keys(inputs).map((input) => name.replace(/^(.*)-(\w+)$/, `$1.${input}-$2`)),
    ]),
  );
  return stems;
}
let stems: ReadonlySet<string> | undefined;

/** What a change of the development stack changes; of one that was changed before, where it would be a mistake alone. */
async function effect(
  change: (options: Options) => void,
  earlier?: (options: Options) => void,
): Promise<string[]> {
  const options = structuredClone(development.options);
  earlier?.(options);
  const from = earlier ? await planOf(options) : dev;
  const changed = structuredClone(options);
  change(changed);
  return grouped(changes(from, await planOf(changed)));
}

/** A new file, and what reads it started with it. */
const both = (...services: string[]): string[] =>
  services.flatMap((service) => [`${service}-configure-*`, `${service}-start-*`]);
const WITH_DATABASE = ["cinder", "glance", "keystone", "neutron", "nova", "placement"];

const EFFECTS: readonly [option: string, value: unknown, changed: readonly string[]][] = [
  ["haproxy.interMs", 1000, both("haproxy")],
  ["haproxy.observedInterMs", 1000, both("haproxy")],
  ["haproxy.patientTimeout", "2h", both("haproxy")],
  ["keystone.processes", 5, both("keystone")],
  ["keystone.debug", true, both("keystone")],
  ["database.poolSize", 9, both(...WITH_DATABASE)],
  ["database.timeoutSeconds", 30, both(...WITH_DATABASE, "horizon")],
  ["workers.apiProcesses", 3, both("cinder", "glance", "neutron", "nova", "placement")],
  ["workers.rpc", 2, both("neutron", "nova")],
  ["memcached.memoryMiB", 99, both("memcached")],
  // It is the clients' business; what checks tokens takes whole seconds, and has one already.
  ["memcached.socketTimeoutMs", 99, both("glance", "keystone", "nova", "nova-compute")],
  ["rabbitmq.netTickSeconds", 30, both("rabbitmq")],
  ["galera.evs.keepalivePeriod", "PT0.4S", both("mariadb")],
  ["corosync.token", 800, both("pacemaker")],
  ["pacemaker.monitorSeconds", 9, ["pacemaker-bootstrap-*"]],
  ["pacemaker.stonithAction", "off", ["pacemaker-bootstrap-*", "pacemaker-start-*"]],
  ["ceph.placementGroups", 32, ["ceph-bootstrap-*"]],
  ["nova.debug", true, both("nova", "nova-compute")],
  ["nova.virtType", "kvm", both("nova-compute")],
  ["neutron.debug", true, both("neutron")],
  ["neutron.datapath", "kernel", both("ovn-chassis")],
  ["horizon.sessionMinutes", 30, both("horizon")],
  // No host has to do with what is made through the API.
  [
    "content.testImage",
    false,
    [
      "content-guest",
      "content-image-test",
      "content-image-test-kernel",
      "content-image-test-ramdisk",
    ],
  ],
  [
    "content.flavors",
    [],
    ["content-flavor-m1.micro", "content-flavor-m1.nano", "content-flavor-m1.small"],
  ],
  ["content.quotas.cores", 3, ["content-quota-compute"]],
  ["content.quotas.floatingips", 3, ["content-quota-network"]],
  ["content.quotas.volumes", 3, ["content-quota-volume"]],
  ["networks.external.gateway", "10.77.3.254", ["content-subnet-external"]],
  [
    "secretVersions.keystone-db",
    2,
    ["base-secrets-ctl*", "keystone-bootstrap-*", ...both("keystone")],
  ],
  ["secretVersions.rabbitmq-cookie", 2, ["base-secrets-ctl*", ...both("rabbitmq")]],
  ["secretVersions.corosync-authkey", 2, ["base-secrets-ctl*", ...both("pacemaker")]],
  // Its account is also what Nova speaks to it with.
  [
    "secretVersions.cinder",
    2,
    ["base-secrets-*", "registration-user-cinder", ...both("cinder", "nova", "nova-compute")],
  ],
  ["secretVersions.neutron-metadata", 2, ["base-secrets-*", ...both("neutron-metadata", "nova")]],
  ["secretVersions.ssh-nova", 2, ["base-secrets-cmp*", ...both("nova-compute")]],
  ["secretVersions.horizon", 2, ["base-secrets-ctl*", ...both("horizon")]],
  [
    // Tokens of before stay valid and Keystone reads its keys as it goes.
    "keystone.fernet.version",
    2,
    ["base-secrets-ctl*", ...both("keystone")],
  ],
  // The machine checks and makes the networks; hosts follow when their own spec changes, and tunnels with them.
  [
    "networks.tunnel.mtu",
    9000,
    ["lab-host-*", "lab-machine", "lab-network", "ovn-chassis-start-*", ...both("neutron")],
  ],
  ["hosts[1].failureDomain", "elsewhere", []],
];

for (const [option, value, changed] of EFFECTS) {
  test.serial(
    `a change of ${option} changes ${[...changed].sort().join(", ") || "nothing"}`,
    async (t) => {
      t.deepEqual(
        await effect((options) => {
          set(options, option, value);
        }),
        [...changed].sort(),
      );
    },
  );
}

// Found by reading, and mended.

test.serial(
  "a change of what the store's daemons read at their start runs their start again",
  async (t) => {
    const changed = await effect((options) => {
      set(options, "ceph.osdMemoryMiB", 1024);
    });
    // The monitor's, and the disk's.
    t.true(changed.includes("ceph-bootstrap-*"), changed.join(" "));
    t.true(changed.includes("ceph-start-*"), changed.join(" "));
  },
);

test.serial("a rotated key of a user of the store is brought to the store", async (t) => {
  const changed = await effect((options) => {
    set(options, "secretVersions.ceph-glance", 2);
  });
  t.true(changed.includes("ceph-bootstrap-*"), changed.join(" "));
});

test.serial("a host that is controller and compute host is refused", (t) => {
  const options = structuredClone(development.options);
  set(options, "hosts[0].roles", ["controller", "compute", "network", "storage"]);
  t.false(isValid(options));
});

/** Options that the lab has no use for. */
const WITHOUT_EFFECT = [
  "networks.management.gateway",
  "networks.management.vlan",
  "networks.tunnel.vlan",
  "networks.storage.vlan",
  "networks.external.vlan",
  "secretVersions.libvirt-fence",
  // For people's own files.
  "tls.authority",
];
/** Values for options whose value in the cloud of five does not fit the development stack. */
const OTHER_VALUES: Readonly<Record<string, unknown>> = {
  "networks.management.cidr": "10.77.0.0/25",
  "networks.tunnel.cidr": "10.78.1.0/24",
  "networks.storage.cidr": "10.78.2.0/24",
  "networks.external.cidr": "10.77.3.0/25",
  "networks.management.gateway": "10.77.0.254",
  "networks.external.gateway": "10.77.3.254",
  "vips.internal": "10.77.0.99",
  "vips.public": "10.77.3.99",
  "galera.evs.keepalivePeriod": "PT0.4S",
  "galera.evs.inactiveTimeout": "PT9S",
  "galera.evs.installTimeout": "PT2.5S",
  "ceph.replicas": 2,
  "ceph.minReplicas": 1,
  "ceph.heartbeatSeconds": 1,
  "tls.authority": "test/fixtures/tls/renewed.pem",
  "tls.certificate": "test/fixtures/tls/renewed.pem",
  "tls.name": "api.north.example",
  "content.floatingPool.start": "10.77.3.140",
  "content.floatingPool.end": "10.77.3.240",
};
const TLS: readonly [string, unknown] = ["tls", five.options.tls];
/** What has to be set beside an option or a secret's version, before and after. */
const BESIDE: Readonly<Record<string, readonly [string, unknown]>> = {
  "ceph.replicas": ["ceph.minReplicas", 1],
  "tls-public": TLS,
  "tls.authority": TLS,
  "tls.certificate": TLS,
  "tls.name": TLS,
  "content.floatingPool.start": [
    "content.floatingPool",
    { start: "10.77.3.128", end: "10.77.3.253" },
  ],
  "content.floatingPool.end": [
    "content.floatingPool",
    { start: "10.77.3.128", end: "10.77.3.253" },
  ],
};

test.serial(
  "what each option and each secret changes is as reviewed, and each changes something",
  async (t) => {
    t.timeout(1_200_000);
    const rows: string[] = [];
    const idle: string[] = [];
    const note = (name: string, changed: readonly string[]): void => {
      rows.push(`${name}\n${changed.map((each) => `  ${each}\n`).join("")}`);
      if (changed.length === 0) idle.push(name);
    };
    const withBeside = (name: string) => {
      const beside = BESIDE[name];
      return (
        beside &&
        ((each: Options): void => {
          set(each, beside[0], structuredClone(beside[1]));
        })
      );
    };
    for (const [option, value] of options(jsonSchema(), five.options, "")) {
      const changed = await effect((each) => {
        set(each, option, OTHER_VALUES[option] ?? value);
      }, withBeside(option));
      note(option, changed);
    }
    // Of the hosts' own secrets, one host's of a kind: those of the others are alike.
    const rotatable = rotatableNames(KINDS.map(([first]) => first));
    // In the lab all management controllers have one password.
    for (const name of rotatable.filter((each) => !each.startsWith("bmc-"))) {
      const changed = await effect((each) => {
        set(each, `secretVersions.${name}`, 2);
      }, withBeside(name));
      note(`secretVersions.${name}`, changed);
    }
    t.true(rows.length > 120, `${rows.length} rows`);
    t.deepEqual(idle.sort(), [...WITHOUT_EFFECT].sort(), "options without any effect");
    matchFile(t, "EFFECTS.txt", rows.join(""));
  },
);

/** Every option with a value that the cloud of five gives it. */
function options(schema: JsonSchema, value: unknown, at: string): [string, unknown][] {
  if (["hosts", "secretVersions", "secrets", "seed", "backend"].includes(at)) return [];
  if (schema.properties) {
    return Object.entries(schema.properties).flatMap(([name, inner]) =>
      options(inner, (value as Options | undefined)?.[name], at === "" ? name : `${at}.${name}`),
    );
  }
  return value === undefined ? [] : [[at, value]];
}

/** What changes on the other hosts, and what the new one has. */
async function addition(host: { name: string; roles: string[]; id: number }): Promise<string[][]> {
  const bigger = structuredClone(development.options);
  (bigger.hosts as unknown[]).push(host);
  const changed = changes(dev, await planOf(bigger));
  return [
    grouped(changed.filter((name) => !name.endsWith(`-${host.name}`))),
    changed.filter((name) => name.endsWith(`-${host.name}`)),
  ];
}

test.serial("a compute host more changes those who have to know it, and no other", async (t) => {
  const [others, own] = await addition({ name: "new", roles: ["compute"], id: 23 });
  t.deepEqual(others, [
    "base-configure-*",
    // Guests move between compute hosts, which have to know each other's keys.
    "base-secrets-cmp*",
    "lab-machine",
    ...both("nova-compute"),
    // It forgets hosts that the plan does not have, and so has to know those that it has.
    "nova-start-*",
  ]);
  t.deepEqual(own, [
    "base-configure-new",
    "base-install-new",
    "base-runner-new",
    "base-secrets-new",
    "ceph-client-configure-new",
    "ceph-client-install-new",
    "ceph-client-verify-new",
    "host-new",
    "lab-host-new",
    "neutron-metadata-configure-new",
    "neutron-metadata-install-new",
    "neutron-metadata-start-new",
    "nova-compute-configure-new",
    "nova-compute-install-new",
    "nova-compute-start-new",
    "ovn-chassis-configure-new",
    "ovn-chassis-install-new",
    "ovn-chassis-start-new",
  ]);
});

test.serial("a storage host more, of a new kind, needs an image of its own", async (t) => {
  const [others, own] = await addition({ name: "new", roles: ["storage"], id: 31 });
  t.deepEqual(others, [
    "base-configure-*",
    // Four disks have three monitors, as three have; who uses the store waits for all of its hosts.
    "ceph-bootstrap-*",
    "ceph-client-verify-*",
    "ceph-start-*",
    "lab-image-storage",
    "lab-machine",
  ]);
  t.deepEqual(own, [
    "base-configure-new",
    "base-install-new",
    "base-runner-new",
    "base-secrets-new",
    "ceph-bootstrap-new",
    "ceph-client-configure-new",
    "ceph-client-install-new",
    "ceph-client-verify-new",
    "ceph-configure-new",
    "ceph-install-new",
    "ceph-start-new",
    "host-new",
    "lab-host-new",
  ]);
});

test.serial("the first guests' hosts leave what controllers alone have as it is", async (t) => {
  // All of a cloud at once: what is there already is not installed, and no daemon of it restarts but HAProxy.
  const from = await planOf(alone.options);
  const options = structuredClone(alone.options);
  const disks = [21, 22, 23].map((id) => ({
    name: `cmp${id}`,
    roles: ["compute", "network", "storage"],
    id,
  }));
  (options.hosts as unknown[]).push(...disks);
  const whole = await planOf(options);
  const old = new Set(from.resources.map(({ name }) => name));
  const changed = changes(from, whole).filter((name) => old.has(name));
  t.deepEqual(
    [...new Set(changed.map((name) => name.replace(/-ctl\d$/, "")))],
    [
      "base-configure",
      "base-secrets",
      "haproxy-configure",
      "haproxy-start",
      "lab-image-controller",
      "lab-machine",
    ],
  );
});

// ---- Equal configuration, equal plan ----------------------------------------------------------------------------------

test.serial(
  "an equal configuration, written in another order, is an equal plan to the byte",
  async (t) => {
    const reordered = Object.fromEntries(
      Object.entries(structuredClone(development.options))
        .reverse()
        .map(([name, value]) => [
          name,
          isMap(value) ? Object.fromEntries(Object.entries(value).reverse()) : value,
        ]),
    );
    (reordered.hosts as unknown[]).reverse();
    const other = await planOf(reordered);
    t.deepEqual(changes(dev, other), []);
    t.is(JSON.stringify(other.outputs), JSON.stringify(dev.outputs));
  },
);

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

test.serial("two stacks have nothing secret in common, and no identifier", async (t) => {
  const other = await planOf(development.options, { stack: "other" });
  for (const host of HOST_NAMES) {
    const values = (plan: Planned): string[] =>
      Object.values(storeOf(plan, host)).map(({ value }) => value);
    t.true(values(dev).length >= 10);
    t.deepEqual(
      values(other).filter((value) => values(dev).includes(value)),
      [],
      host,
    );
  }
  const uuids = (plan: Planned): Set<string> =>
    new Set(
      stepsOf(plan).flatMap(({ stdin }) =>
        [...stdin.matchAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g)].map(([all]) => all),
      ),
    );
  // The store, its three disks, and libvirt's key of it.
  t.is(uuids(dev).size, 5);
  t.deepEqual(
    [...uuids(other)].filter((uuid) => uuids(dev).has(uuid)),
    [],
  );
});

// ---- Preview ----------------------------------------------------------------------------------------------------

/** Inputs, as `resource.input`, that are not known. */
function unknowns(plan: Planned): string[] {
  return plan.resources.flatMap(({ name, inputs }) =>
    Object.entries(inputs)
      .filter(([, value]) => inspect(value).unknown)
      .map(([input]) => `${name}.${input}`),
  );
}

/** What only the cloud itself can say: ids that it makes up, of what is not there yet. */
const MADE_UP = [
  "content-image-test.properties",
  "content-quota-compute.projectId",
  "content-quota-network.projectId",
  "content-quota-volume.projectId",
  "content-subnet-external.networkId",
  ...["cinder", "glance", "neutron", "nova", "placement"].flatMap((name) => [
    `registration-endpoint-${name}-internal.serviceId`,
    `registration-endpoint-${name}-public.serviceId`,
    ...["admin", "service"].flatMap((role) =>
      ["projectId", "roleId", "userId"].map((id) => `registration-role-${name}-${role}.${id}`),
    ),
  ]),
].sort();

test.serial(
  "a preview knows every input of every resource, but for ids that the cloud makes up",
  async (t) => {
    const preview = await planOf(development.options, { preview: true });
    t.deepEqual(unknowns(preview).sort(), MADE_UP);
    t.deepEqual(
      preview.resources.map(({ name }) => name).sort(),
      dev.resources.map(({ name }) => name).sort(),
    );
    const controllers = await planOf(alone.options, { preview: true });
    t.deepEqual(unknowns(controllers), []);
  },
);

test.serial(
  "a preview without a seed shows the same plan, all texts of steps included",
  async (t) => {
    const seedless = await planOf(development.options, { preview: true, seed: false });
    t.deepEqual(
      seedless.resources.map(({ name, dependsOn }) => [name, dependsOn]).sort(),
      dev.resources.map(({ name, dependsOn }) => [name, dependsOn]).sort(),
    );
    const texts = (plan: Planned): [string, string][] =>
      stepsOf(plan)
        .map(({ resource, stdin }): [string, string] => [resource.name, stdin])
        .sort();
    t.deepEqual(texts(seedless), texts(dev));
    // What hangs on a secret comes later.
    const later = grouped(
      unknowns(seedless)
        .filter((name) => !MADE_UP.includes(name))
        .map((name) => name.replace(/^(.*)-((?:ctl|cmp)\d)\.(\w+)$/, "$1.$3-$2")),
    ).filter((name) => !name.includes(".connection"));
    t.deepEqual(later, [
      "base-secrets.stdin-*",
      "content-provider.password",
      "lab-host.environment-*",
      "lab-host.stdin-*",
      "registration-provider.password",
      ...["cinder", "glance", "neutron", "nova", "placement"].map(
        (name) => `registration-user-${name}.password`,
      ),
    ]);
  },
);

// ---- Any cloud --------------------------------------------------------------------------------------------------

/**
 * Clouds of three to seven controllers, alone or with some other hosts, in any order, with any numbers, some without
 * defaults. Where guests run, the last of the controllers fill up what is missing of network and storage hosts.
 */
const anyOptions = fc
  .record({
    controllers: fc.constantFrom(3, 5, 7),
    others: fc.array(fc.subarray(["compute", "network", "storage"] as const, { minLength: 1 }), {
      maxLength: 3,
    }),
    ids: fc.uniqueArray(fc.integer({ min: 20, max: 90 }), { minLength: 10, maxLength: 10 }),
    extraRoles: fc.array(fc.subarray(["network", "storage"] as const), {
      minLength: 7,
      maxLength: 7,
    }),
    names: fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?$/), {
      minLength: 10,
      maxLength: 10,
    }),
    interMs: fc.option(fc.integer({ min: 100, max: 3000 }), { nil: undefined }),
    version: fc.integer({ min: 1, max: 40 }),
    content: fc.boolean(),
    seed: fc.integer(),
  })
  .map(({ controllers, others, ids, names, extraRoles, interMs, version, content, seed }) => {
    const besides = others.map((roles, i): readonly string[] =>
      i === 0 ? [...new Set([...roles, "compute"])] : roles,
    );
    const missing = (role: string, least: number): number =>
      least - besides.filter((roles) => roles.includes(role)).length;
    const hosts = [...Array(controllers + others.length).keys()].map((i) => ({
      name: names[i]!,
      id: ids[i]!,
      roles:
        i >= controllers
          ? besides[i - controllers]!
          : [
              ...new Set([
                "controller",
                ...(others.length > 0 ? extraRoles[i]! : []),
                ...(others.length > 0 && controllers - i <= missing("network", 2)
                  ? ["network"]
                  : []),
                ...(others.length > 0 && controllers - i <= missing("storage", 3)
                  ? ["storage"]
                  : []),
              ]),
            ],
    }));
    // In any order, the same for the same case.
    hosts.sort((a, b) => ((a.id * 7919 + seed) % 97) - ((b.id * 7919 + seed) % 97));
    const made: Options = structuredClone(development.options);
    made.hosts = hosts;
    set(made, "keystone.fernet.version", version);
    set(made, "content.enabled", content);
    if (interMs !== undefined) set(made, "haproxy.interMs", interMs);
    return made;
  });

test.serial(
  "property: any valid cloud has a plan of unique names, known texts and no secret in them",
  async (t) => {
    t.timeout(600_000);
    const secretsIn = (cloud: Options): string[] =>
      [...secretsOf({ stack: "dev", options: cloud }).values()].filter(
        (value) => !value.includes("\n"),
      );
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        anyOptions.filter((cloud) => isValid(cloud) || ++refused < 0),
        async (options) => {
          const plan = await planOf(options, { preview: true });
          const cloud = cloudOf({ name: "any", stack: "dev", options });
          const names = plan.resources.map(({ name }) => name);
          const steps = stepsOf(plan);
          assert(new Set(names).size === names.length, "names are unique");
          assert(
            unknowns(plan).every((name) => MADE_UP.includes(name)),
            "all that the cloud does not make up is known",
          );
          const texts = plan.resources.flatMap(({ inputs }) => plainTexts(inputs)).join("\n");
          assert(
            !secretsIn(options).some((secret) => texts.includes(secret)),
            "no secret is in a plain text",
          );
          // Each service is on all hosts that carry it, with the stages that it has.
          const of = (service: string, stage: string): PlannedStep[] =>
            steps.filter(
              ({ document: { step } }) => step.service === service && step.stage === stage,
            );
          for (const entry of SERVICES) {
            const on = servicesIn(cloud).includes(entry) ? carriers(cloud, entry).length : 0;
            for (const stage of ["install", "configure", "start"]) {
              const count = of(entry.name, stage).length;
              const without = stage === "start" && ["base", "ceph-client"].includes(entry.name);
              assert(
                count === (without ? 0 : on),
                `${entry.name}-${stage} is on ${on} hosts, and not on ${count}`,
              );
            }
          }
          // A file of a host is one step's, and its secrets are there.
          for (const host of cloud.hosts) {
            const own = steps.filter(({ document: { step } }) => step.host === host.name);
            const files = own.flatMap(({ document }) => Object.keys(document.files ?? {}));
            const twice = files.filter((file, i) => files.indexOf(file) !== i);
            assert(twice.length === 0, `${twice.join(", ")} on ${host.name} is one step's`);
            const store = storeOf(plan, host.name);
            const named = own.flatMap(({ document }) => Object.keys(document.secrets ?? {}));
            assert(
              named.every((name) => name in store),
              `${host.name} has all secrets that its steps name`,
            );
          }
          // Every host is told the same cloud.
          for (const [service, file] of [
            ["pacemaker", "/etc/corosync/corosync.conf"],
            ["haproxy", "/etc/haproxy/haproxy.cfg"],
            ["keystone", "/etc/keystone/keystone.conf"],
            ["ceph-client", "/etc/ceph/ceph.conf"],
            ["ceph", "/etc/ceph/ceph.mon.keyring"],
            ["neutron", "/etc/neutron/plugins/ml2/ml2_conf.ini"],
            ["nova-compute", "/etc/ssh/ssh_known_hosts"],
          ] as const) {
            const contents = of(service, "configure").map(
              ({ document }) => document.files![file]!.content,
            );
            assert(new Set(contents).size <= 1, `${file} is the same everywhere`);
          }
        },
      ),
      { numRuns: 12 },
    );
    // Made to be valid: what is tried is not what the rules leave over by chance.
    t.true(refused <= 12, `${refused} were refused`);
  },
);

function isValid(cloud: Options): boolean {
  try {
    parseCloud(cloud, { project, stack: "dev" });
    return true;
  } catch {
    return false;
  }
}

function assert(condition: boolean, what: string): void {
  if (!condition) throw new Error(`not so: ${what}`);
}

test.serial("the stack with each role on hosts of its own can be planned", async (t) => {
  const apart = await planOf(readStackFile("Pulumi.segregated.yaml"), { stack: "segregated" });
  t.deepEqual(hosts(apart, "ovn-chassis"), ["cmp1", "cmp2", "net1", "net2"]);
  t.deepEqual(hosts(apart, "ceph"), ["sto1", "sto2", "sto3"]);
  t.deepEqual(hosts(apart, "nova"), ["ctl1", "ctl2", "ctl3"]);
});
