import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { rotatableNames } from "../../config/secret-names";
import { jsonSchema, type JsonSchema } from "../../config/schema";
import { isDroppedConnection } from "../../components/step";
import { parseCloud } from "../../config";
import { plainSecrets } from "../../secrets";
import { project, set, type Options } from "../fixtures/config/fixtures";
import { five, three } from "./support/clouds";
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

test.before(async () => {
  dev = await planOf(three.options);
  north = await planOf(five.options, { stack: five.stack });
});

const plans = (): readonly Planned[] => [dev, north];
const REMOTE = "command:remote:Command";
const LOCAL = "command:local:Command";

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

test("what each resource of the development stack waits for is as reviewed, and alike on all hosts", (t) => {
  const rows = (host: string): string[] =>
    dev.resources
      .filter(({ name }) => name.endsWith(`-${host}`) || !/-ctl\d$/.test(name))
      .filter(({ dependsOn }) => dependsOn.length > 0)
      .sort(byName)
      .flatMap((resource) => [resource.name, ...direct(dev, resource).map((each) => `  ${each}`)]);
  for (const other of ["ctl2", "ctl3"]) {
    const swapped = rows(other).map((row) =>
      row.replace(/ctl1$|ctl2$|ctl3$/, (host) =>
        host === "ctl1" ? other : host === other ? "ctl1" : host,
      ),
    );
    t.deepEqual(swapped.sort(), rows("ctl1").sort(), other);
  }
  matchFile(t, "DEPENDENCIES.txt", `# Of ctl1; alike on the others\n${rows("ctl1").join("\n")}\n`);
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
      };
      for (const each of (earlier as Record<string, string[]>)[stage] ?? []) {
        const name = `${service}-${each}-${host}`;
        if (names.has(name))
          t.true(before(plan, name, resource.name), `${name} before ${resource.name}`);
      }
    }
  }
});

test("a step waits for another host only where the cluster needs it", (t) => {
  for (const plan of plans()) {
    const crossing = new Set<string>();
    for (const { resource, document } of stepsOf(plan)) {
      for (const each of resource.dependsOn) {
        const other = stepsOf(plan).find((step) => step.resource.name === each)?.document.step;
        if (other && other.host !== document.step.host) {
          crossing.add(
            `${document.step.service}-${document.step.stage} waits everywhere for ${other.service}-${other.stage}`,
          );
        }
      }
    }
    t.deepEqual([...crossing].sort(), [
      "keystone-bootstrap waits everywhere for keystone-configure",
      "keystone-start waits everywhere for memcached-start",
      "pacemaker-bootstrap waits everywhere for haproxy-configure",
      "pacemaker-bootstrap waits everywhere for mariadb-configure",
      "pacemaker-start waits everywhere for pacemaker-configure",
    ]);
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

test("nothing is asked of the cloud's API before it works on every controller", (t) => {
  for (const plan of plans()) {
    const api = plan.resources.filter(({ type }) => type.startsWith("openstack:"));
    t.true(api.length >= 1);
    for (const resource of api) {
      t.is(resource.provider, "registration-provider", resource.name);
      for (const host of hosts(plan, "keystone")) {
        t.true(before(plan, `keystone-start-${host}`, resource.name), resource.name);
        t.true(before(plan, `haproxy-start-${host}`, resource.name), resource.name);
      }
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
  t.deepEqual(hosts(north, "base"), ["alpha", "bravo-2", "charlie", "delta", "echo", "foxtrot"]);
  for (const service of ["pacemaker", "haproxy", "mariadb", "rabbitmq", "memcached", "keystone"]) {
    t.deepEqual(hosts(north, service), ["alpha", "bravo-2", "charlie", "delta", "echo"], service);
  }
});

// ---- How a host is reached --------------------------------------------------------------------------------------

test("every remote command has its time, is repeated on a dropped connection, and vanishes with its host", (t) => {
  for (const plan of plans()) {
    const remote = plan.resources.filter(({ type }) => type === REMOTE);
    t.true(remote.length > 50);
    for (const resource of remote) {
      const { name, inputs, timeouts } = resource;
      t.regex(timeouts.create, /^\d+[sm]$/, name);
      t.is(timeouts.update, timeouts.create, name);
      t.deepEqual(resource.errorHooks, ["openstack-ha-retry-dropped-connection"], name);
      t.deepEqual(resource.lifecycleHooks, [], name);
      t.is(resource.deletedWith, `lab-host-${hostOf(name)}`, name);
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

function hostOf(name: string): string {
  const [, host] = /^\w+-\w+-(.+)$/.exec(name)!;
  return host!;
}

test("what makes hosts has its time, and is not repeated", (t) => {
  const local = dev.resources.filter(({ type }) => type === LOCAL);
  t.deepEqual(local.map(({ name }) => name).sort(), [
    "lab-host-ctl1",
    "lab-host-ctl2",
    "lab-host-ctl3",
    "lab-image-controller",
    "lab-machine",
    "lab-network",
  ]);
  for (const { name, timeouts, errorHooks, inputs } of local) {
    t.deepEqual(timeouts, { create: "40m", update: "40m", delete: "5m" }, name);
    t.deepEqual(errorHooks, [], name);
    t.is(inputs.addPreviousOutputInEnv, false, name);
  }
});

test("a connection knows the host's key, and is given up after minutes, not at once and not never", (t) => {
  for (const plan of plans()) {
    const cloud = parseCloud((plan === dev ? three : five).options, {
      project,
      stack: plan === dev ? "dev" : five.stack,
    });
    for (const { name, inputs, type } of plan.resources) {
      if (type !== REMOTE) continue;
      const { value } = inspect(inputs.connection) as { value: Record<string, unknown> };
      const host = cloud.hosts.find((each) => each.name === hostOf(name))!;
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
  return plainSecrets(parseCloud(options, { project, stack }), SEED);
}

test("no secret is in any text of the plan that is not marked as secret", (t) => {
  for (const [plan, cloud] of [
    [dev, three],
    [north, five],
  ] as const) {
    const secrets = [...secretsOf(cloud), ["seed", SEED] as const];
    t.true(secrets.length > 12);
    const texts = [
      ...plan.resources.flatMap(({ inputs }) => plainTexts(inputs)),
      ...plainTexts(plan.outputs),
    ];
    t.true(texts.join("").length > 200_000, "the plan's text is looked at");
    for (const [name, value] of secrets) {
      // Of a key pair any line of the private part tells.
      for (const part of value
        .split("\n")
        .filter((line) => line.length >= 12 && !line.startsWith("-----"))) {
        t.false(
          texts.some((text) => text.includes(part)),
          `${name} is in the plan`,
        );
      }
    }
  }
});

test("secrets reach the hosts by one resource each, and the search above can find them", (t) => {
  const secrets = secretsOf(three);
  for (const host of ["ctl1", "ctl2", "ctl3"]) {
    const { value, secret } = inspect(dev.named(`base-secrets-${host}`).inputs.stdin);
    t.true(secret);
    const store = JSON.parse(value as string) as Record<string, { version: number; value: string }>;
    t.deepEqual(Object.keys(store).sort(), [
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
    for (const [name, each] of Object.entries(store)) {
      t.deepEqual(each, { version: 1, value: secrets.get(name)! }, name);
    }
  }
});

test("a host is given every secret that its steps name, in their version, and no other", (t) => {
  for (const plan of plans()) {
    for (const host of hosts(plan, "base")) {
      const store = JSON.parse(
        inspect(plan.named(`base-secrets-${host}`).inputs.stdin).value as string,
      ) as Record<string, { version: number }>;
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

test("what is secret is marked: keys of connections, inputs of hosts, the provider's password, the outputs", (t) => {
  for (const { name, type, inputs, secretOutputs } of dev.resources) {
    if (type === REMOTE) {
      t.true(inspect(inputs.connection).secret, name);
      t.true(secretOutputs.includes("connection"), name);
    }
    if (name.startsWith("lab-host-")) t.true(inspect(inputs.stdin).secret, name);
  }
  t.true(inspect(dev.named("registration-provider").inputs.password).secret);
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

/** `haproxy-start-*` for haproxy-start on all hosts. */
function grouped(names: readonly string[]): string[] {
  const all = ["ctl1", "ctl2", "ctl3"];
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const [, stem, host] = /^(.*)-(ctl\d)$/.exec(name) ?? [undefined, name, ""];
    groups.set(stem, [...(groups.get(stem) ?? []), host]);
  }
  return [...groups].flatMap(([stem, on]) => {
    if (on.length === 1 && on[0] === "") return [stem];
    return on.length === all.length ? [`${stem}-*`] : on.map((host) => `${stem}-${host}`);
  });
}

async function effect(change: (options: Options) => void): Promise<string[]> {
  const options = structuredClone(three.options);
  change(options);
  return grouped(changes(dev, await planOf(options)));
}

const EFFECTS: readonly [option: string, value: unknown, changed: readonly string[]][] = [
  ["haproxy.interMs", 1000, ["haproxy-configure-*", "haproxy-start-*"]],
  ["keystone.processes", 5, ["keystone-configure-*", "keystone-start-*"]],
  ["keystone.debug", true, ["keystone-configure-*", "keystone-start-*"]],
  ["database.poolSize", 9, ["keystone-configure-*", "keystone-start-*"]],
  ["memcached.memoryMiB", 99, ["memcached-configure-*", "memcached-start-*"]],
  // It is the clients' business.
  ["memcached.socketTimeoutMs", 99, ["keystone-configure-*", "keystone-start-*"]],
  ["rabbitmq.netTickSeconds", 30, ["rabbitmq-configure-*", "rabbitmq-start-*"]],
  ["galera.evs.keepalivePeriod", "PT0.4S", ["mariadb-configure-*", "mariadb-start-*"]],
  ["corosync.token", 800, ["pacemaker-configure-*", "pacemaker-start-*"]],
  ["pacemaker.monitorSeconds", 9, ["pacemaker-bootstrap-*"]],
  ["pacemaker.stonithAction", "off", ["pacemaker-bootstrap-*", "pacemaker-start-*"]],
  [
    "secretVersions.keystone-db",
    2,
    ["base-secrets-*", "keystone-bootstrap-*", "keystone-configure-*", "keystone-start-*"],
  ],
  [
    "secretVersions.rabbitmq-cookie",
    2,
    ["base-secrets-*", "rabbitmq-configure-*", "rabbitmq-start-*"],
  ],
  [
    "secretVersions.corosync-authkey",
    2,
    ["base-secrets-*", "pacemaker-configure-*", "pacemaker-start-*"],
  ],
  [
    // Tokens of before stay valid and Keystone reads its keys as it goes.
    "keystone.fernet.version",
    2,
    ["base-secrets-*", "keystone-configure-*", "keystone-start-*"],
  ],
  // The machine checks and makes the networks; hosts follow when their own spec changes.
  ["networks.tunnel.mtu", 9000, ["lab-host-*", "lab-machine", "lab-network"]],
  ["hosts[1].failureDomain", "elsewhere", []],
];

for (const [option, value, changed] of EFFECTS) {
  test.serial(`a change of ${option} changes ${changed.join(", ") || "nothing"}`, async (t) => {
    t.deepEqual(
      await effect((options) => {
        set(options, option, value);
      }),
      [...changed],
    );
  });
}

/** Options that the lab has no use for. */
const WITHOUT_EFFECT = [
  "networks.management.gateway",
  "networks.management.vlan",
  "networks.tunnel.vlan",
  "networks.storage.vlan",
  "networks.external.gateway",
  "networks.external.vlan",
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
  "galera.evs.inactiveTimeout": "PT4S",
  "galera.evs.installTimeout": "PT2.5S",
};

test.serial(
  "what each option and each secret changes is as reviewed, and each changes something",
  async (t) => {
    t.timeout(240_000);
    const rows: string[] = [];
    const idle: string[] = [];
    for (const [option, value] of options(jsonSchema(), five.options, "")) {
      const changed = await effect((each) => {
        set(each, option, OTHER_VALUES[option] ?? value);
      });
      rows.push(`${option}\n${changed.map((each) => `  ${each}\n`).join("")}`);
      if (changed.length === 0) idle.push(option);
    }
    // Of the hosts' own secrets, one host's: those of the others are alike.
    for (const name of rotatableNames(["ctl1"])) {
      const changed = await effect((each) => {
        set(each, `secretVersions.${name}`, 2);
      });
      rows.push(`secretVersions.${name}\n${changed.map((each) => `  ${each}\n`).join("")}`);
      if (changed.length === 0) idle.push(`secretVersions.${name}`);
    }
    t.true(rows.length > 60, `${rows.length} rows`);
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

test.serial(
  "a host more changes those who have to know it, and no other host's packages",
  async (t) => {
    const bigger = structuredClone(three.options);
    (bigger.hosts as unknown[]).push({ name: "cmp1", roles: ["compute"], id: 21 });
    const changed = changes(dev, await planOf(bigger));
    t.deepEqual(grouped(changed.filter((name) => !name.includes("cmp1"))), [
      "base-configure-*",
      // A new kind of host needs an image of its own.
      "lab-image-compute",
      "lab-machine",
    ]);
    t.deepEqual(
      changed.filter((name) => name.includes("cmp1")),
      [
        "base-configure-cmp1",
        "base-install-cmp1",
        "base-runner-cmp1",
        "base-secrets-cmp1",
        "lab-host-cmp1",
      ],
    );
  },
);

// ---- Equal configuration, equal plan ----------------------------------------------------------------------------------

test.serial(
  "an equal configuration, written in another order, is an equal plan to the byte",
  async (t) => {
    const reordered = Object.fromEntries(
      Object.entries(structuredClone(three.options))
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

test.serial("two stacks have nothing secret in common", async (t) => {
  const other = await planOf(three.options, { stack: "other" });
  const values = (plan: Planned): string[] =>
    Object.values(
      JSON.parse(inspect(plan.named("base-secrets-ctl1").inputs.stdin).value as string) as Record<
        string,
        { value: string }
      >,
    ).map(({ value }) => value);
  t.deepEqual(
    values(other).filter((value) => values(dev).includes(value)),
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

test.serial("a preview knows every input of every resource", async (t) => {
  const preview = await planOf(three.options, { preview: true });
  t.deepEqual(unknowns(preview), []);
  t.deepEqual(
    preview.resources.map(({ name }) => name).sort(),
    dev.resources.map(({ name }) => name).sort(),
  );
});

test.serial(
  "a preview without a seed shows the same plan, all texts of steps included",
  async (t) => {
    const seedless = await planOf(three.options, { preview: true, seed: false });
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
      unknowns(seedless).map((name) => name.replace(/^(.*)-(ctl\d)\.(\w+)$/, "$1.$3-$2")),
    ).filter((name) => !name.includes(".connection"));
    t.deepEqual(later.sort(), [
      "base-secrets.stdin-*",
      "lab-host.environment-*",
      "lab-host.stdin-*",
      "registration-provider.password",
    ]);
  },
);

// ---- Any cloud --------------------------------------------------------------------------------------------------

/** Clouds of three to seven controllers and some other hosts, in any order, with any numbers, some without defaults. */
const anyOptions = fc
  .record({
    controllers: fc.constantFrom(3, 5, 7),
    others: fc.array(fc.subarray(["compute", "network", "storage"] as const, { minLength: 1 }), {
      maxLength: 3,
    }),
    ids: fc.uniqueArray(fc.integer({ min: 20, max: 90 }), { minLength: 10, maxLength: 10 }),
    extraRoles: fc.array(fc.subarray(["compute", "network", "storage"] as const), {
      minLength: 7,
      maxLength: 7,
    }),
    names: fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5})?$/), {
      minLength: 10,
      maxLength: 10,
    }),
    interMs: fc.option(fc.integer({ min: 100, max: 3000 }), { nil: undefined }),
    version: fc.integer({ min: 1, max: 40 }),
    seed: fc.integer(),
  })
  .map(({ controllers, others, ids, names, extraRoles, interMs, version, seed }) => {
    const hosts = [...Array(controllers + others.length).keys()].map((i) => ({
      name: names[i]!,
      id: ids[i]!,
      roles: i < controllers ? ["controller", ...extraRoles[i]!] : others[i - controllers]!,
    }));
    // In any order, the same for the same case.
    hosts.sort((a, b) => ((a.id * 7919 + seed) % 97) - ((b.id * 7919 + seed) % 97));
    const made: Options = structuredClone(three.options);
    made.hosts = hosts;
    set(made, "keystone.fernet.version", version);
    if (interMs !== undefined) set(made, "haproxy.interMs", interMs);
    return made;
  });

test.serial(
  "property: any valid cloud has a plan of unique names, known texts and no secret in them",
  async (t) => {
    t.timeout(240_000);
    const secretsIn = (cloud: Options): string[] =>
      [...secretsOf({ stack: "dev", options: cloud }).values()].filter(
        (value) => !value.includes("\n"),
      );
    await fc.assert(
      fc.asyncProperty(anyOptions.filter(isValid), async (cloud) => {
        const plan = await planOf(cloud, { preview: true });
        const count = (cloud.hosts as { roles: string[] }[]).filter(({ roles }) =>
          roles.includes("controller"),
        ).length;
        const names = plan.resources.map(({ name }) => name);
        const steps = stepsOf(plan);
        assert(new Set(names).size === names.length, "names are unique");
        assert(
          unknowns(plan).every((name) => name.endsWith(".serviceId")),
          "all that is not another resource's is known",
        );
        const texts = plan.resources.flatMap(({ inputs }) => plainTexts(inputs)).join("\n");
        assert(
          !secretsIn(cloud).some((secret) => texts.includes(secret)),
          "no secret is in a plain text",
        );
        // Each controller has all stages, and each service as many steps as there are controllers.
        const of = (service: string, stage: string): PlannedStep[] =>
          steps.filter(
            ({ document: { step } }) => step.service === service && step.stage === stage,
          );
        assert(
          of("base", "configure").length === (cloud.hosts as unknown[]).length,
          "base is everywhere",
        );
        for (const service of [
          "pacemaker",
          "haproxy",
          "mariadb",
          "rabbitmq",
          "memcached",
          "keystone",
        ]) {
          for (const stage of ["install", "configure", "start"]) {
            assert(
              of(service, stage).length === count,
              `${service}-${stage} is on every controller`,
            );
          }
        }
        // Every controller is told the same cluster.
        for (const [service, file] of [
          ["pacemaker", "/etc/corosync/corosync.conf"],
          ["haproxy", "/etc/haproxy/haproxy.cfg"],
          ["keystone", "/etc/keystone/keystone.conf"],
        ] as const) {
          const contents = of(service, "configure").map(
            ({ document }) => document.files![file]!.content,
          );
          assert(new Set(contents).size === 1, `${file} is the same everywhere`);
        }
      }),
      { numRuns: 12 },
    );
    t.pass();
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
