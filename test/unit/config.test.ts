import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { z } from "zod";
import {
  clearParts,
  ConfigError,
  hostsWith,
  loadCloud,
  networkNames,
  ownOptions,
  parseCloud,
  parseSource,
  withFiles,
  type Cloud,
  type NetworkName,
} from "../../config";
import { didYouMean } from "../../config/errors";
import {
  formatAddress,
  formatCidr,
  isHostAddress,
  overlap,
  parseAddress,
  parseCidr,
} from "../../config/network";
import { jsonSchema, type JsonSchema } from "../../config/schema";
import { schemaFile, stackFileSchema } from "../../tools/config-schema";
import {
  mistakeFixtures,
  parsedCloud,
  project,
  HOST_KEY,
  readStackFile,
  set,
  stackFileText,
  validOptions,
  type Options,
} from "../fixtures/config/fixtures";
import { parse, stringify } from "yaml";

const names = { project, stack: "dev" };
const SEED = "Zq8mT1vXw5LkR7yPn3Ds9HbJc2FgA6uE0iOxYtKa";

/** TypeScript files of a folder, by their path. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => path.join(folder, file));
}

const ROOT = path.join(__dirname, "../..");

/** The lines that the configuration's door answers with; none where it is content. */
function mistakesIn(options: unknown): readonly string[] {
  try {
    const isMap = typeof options === "object" && options !== null;
    const source = isMap ? withFiles(options as Options, ROOT) : undefined;
    if (source === undefined) parseCloud(options, names);
    else parseSource(source, names);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.lines;
    }
    throw error;
  }
}

// ---- One file for each mistake -------------------------------------------------------------------------------

const fixtures = mistakeFixtures();

for (const { name, options, expect } of fixtures) {
  test(`mistake: ${name}`, (t) => {
    t.deepEqual(mistakesIn(options), [expect]);
  });
}

test("there are fixtures, and each says its own thing", (t) => {
  t.true(fixtures.length >= 160, `${fixtures.length} fixtures`);
  // A mistake seen from two sides may have one text; two of the same kind in one place may not.
  t.is(new Set(fixtures.map(({ options }) => JSON.stringify(options))).size, fixtures.length);
  for (const { name, expect } of fixtures) {
    t.regex(expect, /^openstack-ha:[a-zA-Z0-9.[\]-]+: .+; .+$/, name);
  }
});

test("all mistakes are listed, those of form and those of meaning", (t) => {
  const options = validOptions();
  set(options, "hosts[1].id", 11);
  set(options, "vips.public", "10.77.0.20");
  set(options, "keystone.proceses", 3);
  set(options, "galera", { evs: { suspectTimeout: "5s" } });
  set(options, "backend", "docker");
  t.deepEqual(
    mistakesIn(options)
      .map((line) => line.split(": ")[0]!)
      .sort(),
    [
      "openstack-ha:backend",
      "openstack-ha:galera.evs.suspectTimeout",
      "openstack-ha:hosts[1].id",
      "openstack-ha:keystone.proceses",
      "openstack-ha:vips.public",
    ],
  );
});

test("a wrong role does not hide that the host's id and name are another's", (t) => {
  const options = validOptions();
  set(options, "hosts[2]", { name: "ctl1", id: 12, roles: ["controler"] });
  t.deepEqual(mistakesIn(options), [
    'openstack-ha:hosts[2].roles[0]: "controler" is not a valid value; did you mean controller?',
    "openstack-ha:hosts[2].name: ctl1 is already the name of hosts[0]; give every host its own name",
    "openstack-ha:hosts[2].id: 12 is already used by host ctl2; give every host its own id",
  ]);
});

test("one bad host does not hide the mistakes of the others", (t) => {
  const options = validOptions();
  set(options, "hosts[0].roles", ["controler"]);
  set(options, "hosts[2].id", 12);
  t.deepEqual(mistakesIn(options), [
    'openstack-ha:hosts[0].roles[0]: "controler" is not a valid value; did you mean controller?',
    "openstack-ha:hosts[2].id: 12 is already used by host ctl2; give every host its own id",
  ]);
});

test("an unknown option does not hide the mistakes beside it", (t) => {
  const options = validOptions();
  set(options, "galera", { slaveThreads: 4, maxConnections: 50 });
  set(options, "hosts[3].rack", "rack1");
  set(options, "hosts[3].id", 11);
  t.deepEqual(
    mistakesIn(options).map((line) => line.split(": ")[0]!),
    [
      "openstack-ha:hosts[3].rack",
      "openstack-ha:galera.slaveThreads",
      "openstack-ha:hosts[3].id",
      "openstack-ha:galera.maxConnections",
    ],
  );
});

test("the error is one that Pulumi prints without a stack, with a line for each mistake", (t) => {
  const options = validOptions();
  set(options, "hosts[1].id", 11);
  set(options, "swift", {});
  const error = t.throws(() => parseCloud(options, names), { instanceOf: ConfigError });
  t.true(pulumi.RunError.isInstance(error));
  t.is(error.lines.length, 2);
  t.is(error.message.split("\n").length, 3);
  t.true(error.message.startsWith("the configuration of stack dev has 2 mistakes:\n"));
});

test("no secret is ever in a message", (t) => {
  for (const [path, value] of [
    ["seed", "hunter2"],
    ["seed", 424242],
    ["secrets.keystone-db", "hunter 2 hunter"],
    ["secrets.keystone-db", 424242],
    ["secrets.keystone-db", ["hunter2"]],
    ["secrets", "hunter2"],
  ] as const) {
    const options = validOptions();
    set(options, path, value);
    const lines = mistakesIn(options);
    t.is(lines.length, 1, path);
    t.notRegex(lines.join(), /hunter|424242/);
  }
});

// ---- What a valid configuration becomes ------------------------------------------------------------------------

test("the five-host cloud is understood", (t) => {
  const cloud = parseCloud(validOptions(), names);
  t.is(cloud.region, "RegionTwo");
  t.deepEqual(
    cloud.hosts.map(({ name, id, roles, failureDomain }) => ({ name, id, roles, failureDomain })),
    [
      { name: "ctl1", id: 11, roles: ["controller", "storage"], failureDomain: "rack1" },
      { name: "ctl2", id: 12, roles: ["controller", "storage"], failureDomain: "rack2" },
      { name: "ctl3", id: 13, roles: ["controller", "network"], failureDomain: "rack3" },
      { name: "cmp1", id: 21, roles: ["compute"], failureDomain: "rack1" },
      { name: "net1", id: 31, roles: ["network", "storage"], failureDomain: "rack2" },
    ],
  );
  t.deepEqual(cloud.hosts[4]!.addresses, {
    management: "10.77.0.31",
    tunnel: "10.77.1.31",
    storage: "10.77.2.31",
    external: "10.77.3.200",
  });
  t.deepEqual(cloud.hosts[0]!.bmc, {
    address: "10.77.0.111",
    port: 623,
    user: "admin",
    ownPassword: false,
  });
  t.deepEqual(cloud.networks.tunnel, {
    name: "tunnel",
    cidr: "10.77.1.0/24",
    prefix: 24,
    base: "10.77.1.0",
    mtu: 9000,
    vlan: 101,
  });
  t.deepEqual(cloud.vips, { internal: "10.77.0.10", public: "10.77.3.10" });
  t.is(cloud.haproxy.serverTimeout, "90s");
  t.is(cloud.haproxy.clientTimeout, "1m");
  t.deepEqual(cloud.keystone.fernet, { version: 4, maxActiveKeys: 5 });
  t.deepEqual(cloud.secretVersions, { "keystone-db": 2, "ssh-host-ctl1": 3 });
  t.deepEqual(
    hostsWith(cloud, "network").map(({ name }) => name),
    ["ctl3", "net1"],
  );
  t.deepEqual(cloud.content.floatingPool, { start: "10.77.3.100", end: "10.77.3.199" });
});

test("the stack files of the repository are valid", (t) => {
  // Git ignores Pulumi.local*.yaml.
  const files = readdirSync(path.join(__dirname, "../..")).filter((file) =>
    /^Pulumi\.(?!local)[\w-]+\.yaml$/.test(file),
  );
  t.true(files.includes("Pulumi.dev.yaml") && files.includes("Pulumi.controllers.yaml"));
  for (const file of files) t.deepEqual(mistakesIn(readStackFile(file)), [], file);
});

test("floating addresses are the upper half of the external network, without its last address, where they are not set", (t) => {
  const pool = (cidr: string) => {
    const options = readStackFile("test/fixtures/config/valid-smallest.yaml");
    set(options, "networks.external.cidr", cidr);
    const base = cidr.replace(/\d+\/.*/, "");
    set(options, "vips.public", `${base}5`);
    // Hosts where the smallest network has room for them.
    [2, 3, 4].forEach((id, i) => {
      set(options, `hosts[${i}].id`, id);
    });
    return parseCloud(options, names).content.floatingPool;
  };
  t.deepEqual(pool("10.77.3.0/24"), { start: "10.77.3.128", end: "10.77.3.253" });
  t.deepEqual(pool("10.90.0.0/16"), { start: "10.90.128.0", end: "10.90.255.253" });
  t.deepEqual(pool("10.77.3.0/28"), { start: "10.77.3.8", end: "10.77.3.13" });
});

test("floating addresses are nobody's business in a cloud without guests, or without content", (t) => {
  const options = validOptions();
  // net1 is at 10.77.3.200.
  set(options, "content.floatingPool", undefined);
  t.is(mistakesIn(options).length, 1);
  set(options, "content.enabled", false);
  t.deepEqual(mistakesIn(options), []);
  const controllers = readStackFile("Pulumi.controllers.yaml");
  set(controllers, "vips.public", "10.81.3.200");
  t.deepEqual(mistakesIn(controllers), []);
});

test("the defaults are these", (t) => {
  const cloud = parseCloud(readStackFile("test/fixtures/config/valid-smallest.yaml"), names);
  const { region, backend, lab, corosync, pacemaker, haproxy, galera, database } = cloud;
  const { rabbitmq, memcached, keystone, secretVersions } = cloud;
  t.deepEqual(
    { region, backend, lab, corosync, pacemaker, haproxy, galera, database },
    {
      region: "RegionOne",
      backend: "lab",
      lab: {
        machineId: 1,
        postSeconds: 10,
        bmcOffset: 100,
        machineAddresses: {
          management: "10.77.0.1",
          tunnel: "10.77.1.1",
          storage: "10.77.2.1",
          external: "10.77.3.1",
        },
      },
      corosync: { token: 500, tokenCoefficient: 0 },
      pacemaker: {
        stonithAction: "reboot",
        monitorSeconds: 5,
        clusterRecheckSeconds: 60,
        migrationThreshold: 3,
        failureTimeoutSeconds: 60,
        dcDeadtimeSeconds: 20,
      },
      haproxy: {
        interMs: 500,
        observedInterMs: 2000,
        observedCheckTimeout: "10s",
        fall: 2,
        rise: 2,
        connectTimeout: "1s",
        checkTimeout: "3s",
        clientTimeout: "1m",
        serverTimeout: "1m",
        patientTimeout: "1h",
        databaseTimeout: "1h",
        maxconn: 10000,
      },
      galera: {
        bufferPoolMiB: 256,
        maxConnections: 1500,
        gcacheMiB: 128,
        evs: {
          keepalivePeriod: "PT0.5S",
          inactiveCheckPeriod: "PT0.25S",
          suspectTimeout: "PT1.5S",
          inactiveTimeout: "PT15S",
          installTimeout: "PT7.5S",
        },
      },
      database: { poolSize: 5, poolOverflow: 10, recycleSeconds: 600, timeoutSeconds: 60 },
    },
  );
  t.deepEqual(
    { rabbitmq, memcached, keystone, secretVersions },
    {
      rabbitmq: {
        memoryHighWatermarkMiB: 1024,
        diskFreeLimitMiB: 512,
        netTickSeconds: 15,
      },
      memcached: {
        memoryMiB: 64,
        maxConnections: 4096,
        socketTimeoutMs: 200,
        deadRetrySeconds: 30,
      },
      keystone: {
        processes: 2,
        threads: 4,
        passwordHashRounds: 12,
        tokenExpirationSeconds: 3600,
        allowExpiredWindowSeconds: 172800,
        fernet: { version: 1, maxActiveKeys: 3 },
        debug: false,
      },
      secretVersions: {},
    },
  );
  const { workers, ceph, nova, neutron, horizon, content } = cloud;
  t.deepEqual(
    { workers, ceph, nova, neutron, horizon, content },
    {
      workers: { apiProcesses: 2, apiThreads: 4, rpc: 1 },
      ceph: {
        replicas: 3,
        minReplicas: 2,
        placementGroups: 16,
        osdFileGiB: 20,
        osdMemoryMiB: 2048,
        heartbeatSeconds: 2,
        monitorLeaseSeconds: 2,
        heartbeatGraceSeconds: 7,
      },
      nova: {
        // The lab's machine need not have KVM, nor the kernel's openvswitch.
        virtType: "qemu",
        reportIntervalSeconds: 10,
        serviceDownSeconds: 60,
        discoverHostsSeconds: 15,
        cpuAllocationRatio: 4,
        debug: false,
      },
      neutron: { datapath: "userspace", debug: false },
      horizon: { processes: 1, threads: 4, sessionMinutes: 60 },
      content: {
        enabled: true,
        testImage: true,
        flavors: [
          { name: "m1.nano", vcpus: 1, ramMiB: 192, diskGiB: 1 },
          { name: "m1.micro", vcpus: 1, ramMiB: 256, diskGiB: 1 },
          { name: "m1.small", vcpus: 1, ramMiB: 2048, diskGiB: 20 },
        ],
        floatingPool: { start: "10.77.3.128", end: "10.77.3.253" },
        quotas: {
          instances: 20,
          cores: 40,
          ramMiB: 51200,
          volumes: 20,
          gigabytes: 200,
          floatingips: 20,
        },
      },
    },
  );
  // Everything that a cloud has is above, or follows from it.
  t.deepEqual(Object.keys(cloud).sort(), [
    "backend",
    "ceph",
    "content",
    "corosync",
    "database",
    "galera",
    "haproxy",
    "horizon",
    "hosts",
    "inventory",
    "keystone",
    "lab",
    "libvirt",
    "memcached",
    "networks",
    "neutron",
    "nova",
    "pacemaker",
    "project",
    "rabbitmq",
    "region",
    "secretVersions",
    "stack",
    "vips",
    "workers",
  ]);
});

test("an option of a block leaves the block's other defaults", (t) => {
  const options = validOptions();
  set(options, "galera.evs.suspectTimeout", "PT2S");
  const { galera } = parseCloud(options, names);
  t.is(galera.evs.suspectTimeout, "PT2S");
  t.is(galera.evs.installTimeout, "PT7.5S");
  t.is(galera.gcacheMiB, 128);
});

test("a host without a failure domain is one by itself", (t) => {
  const options = validOptions();
  set(options, "hosts[3].failureDomain", undefined);
  t.is(parseCloud(options, names).hosts[3]!.failureDomain, "cmp1");
});

test("network and storage are whichever hosts': controllers, compute hosts, or hosts of their own", (t) => {
  const options = validOptions();
  const host = (name: string, id: number, ...roles: string[]): object => ({ name, id, roles });
  const controllers = ["ctl1", "ctl2", "ctl3"];
  set(options, "secretVersions", {});
  for (const hosts of [
    [
      ...controllers.map((name, i) => host(name, 11 + i, "controller", "network", "storage")),
      host("cmp1", 21, "compute"),
    ],
    [
      ...controllers.map((name, i) => host(name, 11 + i, "controller")),
      ...[21, 22, 23].map((id) => host(`cmp${id}`, id, "compute", "network", "storage")),
    ],
    [
      ...controllers.map((name, i) => host(name, 11 + i, "controller")),
      host("cmp1", 21, "compute"),
      ...[31, 32].map((id) => host(`net${id}`, id, "network")),
      ...[41, 42, 43].map((id) => host(`sto${id}`, id, "storage")),
    ],
    controllers.map((name, i) => host(name, 11 + i, "controller")),
  ]) {
    set(options, "hosts", hosts);
    t.deepEqual(mistakesIn(options), []);
  }
});

test("all in one failure domain is accepted: there is nothing to spread over", (t) => {
  const options = validOptions();
  for (const i of [0, 1, 2, 3, 4]) {
    set(options, `hosts[${i}].failureDomain`, "rack1");
  }
  t.deepEqual(mistakesIn(options), []);
});

test("five controllers outlive the loss of a rack of two, not of three", (t) => {
  const options = validOptions();
  set(options, "hosts[3].roles", ["controller", "network"]);
  set(options, "hosts[4].roles", ["controller", "storage"]);
  set(options, "hosts[5]", { name: "cmp2", id: 22, roles: ["compute"], failureDomain: "rack3" });
  t.deepEqual(mistakesIn(options), []);
  set(options, "hosts[4].failureDomain", "rack1");
  t.deepEqual(mistakesIn(options), [
    "openstack-ha:hosts[4].failureDomain: 3 of 5 controllers are in rack1, and its loss would end the majority; " +
      "have at most 2 in one failure domain, or name the same one for all hosts if there is only one",
  ]);
});

test("the machine that runs the lab may be a network's router", (t) => {
  const options = validOptions();
  set(options, "networks.external.gateway", "10.77.3.1");
  t.is(parseCloud(options, names).networks.external.gateway, "10.77.3.1");
});

test("the result cannot be changed, at any depth", (t) => {
  const cloud = parseCloud(validOptions(), names);
  const walk = (value: unknown, path: string): void => {
    if (typeof value === "object" && value !== null) {
      t.true(Object.isFrozen(value), path);
      Object.entries(value).forEach(([key, inner]) => {
        walk(inner, `${path}.${key}`);
      });
    }
  };
  walk(cloud, "cloud");
  t.throws(() => (cloud.hosts as unknown[]).push({}), { instanceOf: TypeError });
});

// ---- Hosts that exist -------------------------------------------------------------------------------------------

const example = (): Options => readStackFile("Pulumi.production.example.yaml");

test("the production example is valid, and says what follows from it", (t) => {
  const cloud = parsedCloud(example(), "production");
  const [ctl1] = cloud.hosts;
  t.deepEqual(ctl1!.bmc, { address: "10.20.9.11", port: 623, user: "fence", ownPassword: false });
  t.like(ctl1!.ssh, { address: "10.20.0.11", port: 22, user: "deploy" });
  t.deepEqual(ctl1!.ports.tunnel, { name: "bond0.120" });
  t.is(ctl1!.ports.management?.mac, "02:00:00:00:0b:01");
  t.is(cloud.hosts.find(({ name }) => name === "sto2")!.disks.length, 2);
  t.deepEqual(
    [cloud.corosync.token, cloud.nova.virtType, cloud.neutron.datapath],
    [1000, "kvm", "kernel"],
  );
});

test("a host's word for an interface, account or port goes before the common one", (t) => {
  const options = example();
  set(options, "hosts[0].nics.tunnel", { name: "eno7" });
  set(options, "hosts[0].ssh.user", "root");
  set(options, "hosts[0].bmc.port", 6230);
  set(options, "inventory.ssh.bastion", {
    address: "bastion.example.org",
    hostKey: HOST_KEY,
  });
  const cloud = parsedCloud(options, "dev");
  t.is(cloud.hosts[0]!.ports.tunnel?.name, "eno7");
  t.is(cloud.hosts[1]!.ports.tunnel?.name, "bond0.120");
  t.deepEqual([cloud.hosts[0]!.ssh.user, cloud.hosts[1]!.ssh.user], ["root", "deploy"]);
  t.deepEqual([cloud.hosts[0]!.bmc?.port, cloud.hosts[1]!.bmc?.port], [6230, 623]);
  t.deepEqual(cloud.inventory.bastion, {
    address: "bastion.example.org",
    port: 22,
    user: "root",
    hostKey: HOST_KEY,
  });
});

// ---- Certificates --------------------------------------------------------------------------------------------

/** The development cloud by TLS, with certificates in a folder of the test's own. */
function withTls(t: ExecutionContext, files: Readonly<Record<string, string>>, tls: Options) {
  const folder = mkdtempSync(path.join(tmpdir(), "openstack-ha-config-"));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  for (const [name, text] of Object.entries(files)) writeFileSync(path.join(folder, name), text);
  return { stack: { ...readStackFile("Pulumi.dev.yaml"), tls }, folder };
}

const FIVE = readFileSync(path.join(ROOT, "test/fixtures/tls/five.pem"), "utf8");

test("a certificate is for the name that clients use", (t) => {
  const files = { "a.pem": FIVE };
  const own = { certificate: "a.pem", authority: "a.pem" };
  const good = withTls(t, files, { ...own, name: "cloud.north.example" });
  t.deepEqual(parseSource(withFiles(good.stack, good.folder), names).tls, {
    authority: FIVE,
    certificate: FIVE,
    name: "cloud.north.example",
  });
  const bad = withTls(t, files, { certificate: "a.pem", authority: "b.pem" });
  t.deepEqual(mistakesWithFile(bad.stack, bad.folder), [
    "openstack-ha:tls.authority: b.pem is not there; name a file in PEM, by its path from the project's folder",
    "openstack-ha:tls.certificate: a.pem is not for 10.77.3.10, but for DNS:cloud.north.example, DNS:api.north.example; set tls.name to what people call the public VIP, or have one made for the address vips.public",
  ]);
});

test("a machine claims no address where it has no port", (t) => {
  const stack = example();
  const { external, ...networks } = stack.networks as Record<string, Options>;
  const small = {
    ...stack,
    networks: {
      ...networks,
      external: { ...external, cidr: "203.0.113.0/28", gateway: "203.0.113.14" },
    },
    vips: { ...(stack.vips as Options), public: "203.0.113.2" },
    content: {
      ...(stack.content as Options),
      floatingPool: { start: "203.0.113.3", end: "203.0.113.10" },
    },
  };
  t.deepEqual(mistakesIn(small), []);
});

test("a file that is no certificate, or has a key in it, is refused", (t) => {
  const key = `-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n`;
  const files = { "a.pem": "nothing\n", "b.pem": FIVE + key };
  const { stack, folder } = withTls(t, files, { certificate: "a.pem", authority: "b.pem" });
  t.deepEqual(
    mistakesWithFile(stack, folder).map((line) => line.split("; ")[0]),
    [
      "openstack-ha:tls.certificate: a.pem has no certificate in it",
      "openstack-ha:tls.authority: b.pem has a private key in it, which would be in the plan for all to read",
    ],
  );
  const cut = FIVE.replace(/\n.{20}/, "\n");
  const broken = withTls(t, { "a.pem": cut }, { certificate: "a.pem" });
  t.regex(
    mistakesWithFile(broken.stack, broken.folder).join("\n"),
    /^openstack-ha:tls\.certificate: a\.pem cannot be read \(.*\); use a file in PEM$/,
  );
});

/** The example with its hosts in a file, in a folder of the test's own. */
function withFile(
  t: ExecutionContext,
  change: (inventory: Options) => void = () => undefined,
): { readonly stack: Options; readonly folder: string } {
  const { hosts, inventory, ...stack } = example();
  const content: Options = { hosts, ...(inventory as Options) };
  change(content);
  const folder = mkdtempSync(path.join(tmpdir(), "openstack-ha-config-"));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  mkdirSync(path.join(folder, "inventory"));
  cpSync(path.join(ROOT, "tls"), path.join(folder, "tls"), { recursive: true });
  writeFileSync(path.join(folder, "inventory/prod.yaml"), stringify(content));
  return { stack: { ...stack, inventory: { file: "inventory/prod.yaml" } }, folder };
}

function mistakesWithFile(stack: Options, folder: string): readonly string[] {
  try {
    parseSource(withFiles(stack, folder), names);
    return [];
  } catch (error) {
    return (error as ConfigError).lines;
  }
}

test("hosts in a file of their own give the same cloud", (t) => {
  const { stack, folder } = withFile(t);
  t.deepEqual(parseSource(withFiles(stack, folder), names), parsedCloud(example(), "dev"));
});

test("mistakes in the file are told by its name and the key there, with the words of the stack's file", (t) => {
  const { stack, folder } = withFile(t, (inventory) => {
    set(inventory, "hosts[1].id", 11);
    set(inventory, "nics.storage.nmae", "x");
    set(inventory, "ssh.user", "a b");
  });
  set(stack, "vips.public", "10.20.0.10");
  t.deepEqual(
    mistakesWithFile(stack, folder).map((line) => line.split("; ")[0]),
    [
      'inventory/prod.yaml: ssh.user: "a b" is not a user name',
      "inventory/prod.yaml: nics.storage.nmae: there is no such option",
      "inventory/prod.yaml: hosts[1].id: 11 is already used by host ctl1",
      "openstack-ha:vips.public: 10.20.0.10 is not a host address of the external network 203.0.113.0/24",
    ],
  );
});

test("hosts are in one place, and the file is there and can be read", (t) => {
  const { stack, folder } = withFile(t);
  t.deepEqual(mistakesWithFile({ ...stack, hosts: [] }, folder), [
    "openstack-ha:hosts: inventory.file is set, and inventory/prod.yaml decides over it; move it there",
  ]);
  set(stack, "inventory.file", "inventory/none.yaml");
  t.deepEqual(mistakesWithFile(stack, folder), [
    "openstack-ha:inventory.file: inventory/none.yaml is not there; name a file with the hosts, by its path from the project's folder",
  ]);
  writeFileSync(path.join(folder, "inventory/none.yaml"), "hosts: [");
  t.regex(mistakesWithFile(stack, folder)[0]!, /none\.yaml cannot be read \(.+[^:]\); mend it$/);
});

// ---- The schema -----------------------------------------------------------------------------------------------

test("config.schema.json is what config/schema.ts says; npm run schema renews it", (t) => {
  t.is(readFileSync(schemaFile, "utf8"), stackFileSchema(project));
});

test("an editor with config.schema.json accepts the stack files and sees mistakes of form", (t) => {
  const schema = z.fromJSONSchema(JSON.parse(readFileSync(schemaFile, "utf8")) as never);
  const accepts = (options: Options): boolean =>
    schema.safeParse(parse(stackFileText(options))).success;
  t.true(accepts(validOptions()));
  t.true(accepts({ ...validOptions(), seed: { secure: "v1:abc" } }));
  t.false(accepts({ ...validOptions(), seed: SEED }), "a seed in clear text");
  for (const name of [
    "option-misspelt-in-block",
    "mtu-too-small",
    "hosts-missing",
    "role-unknown",
  ]) {
    t.false(accepts(fixtures.find((fixture) => fixture.name === name)!.options), name);
  }
});

test("every option is described, and a default in words is the default in fact", (t) => {
  let options = 0;
  const walk = (node: JsonSchema, path: string): void => {
    t.truthy(node.description, `${path} has no description`);
    if (node.default !== undefined && !node.properties && !node.additionalProperties) {
      options++;
      const { description = "" } = node;
      if (Array.isArray(node.default)) {
        // Of a list, the names of its items.
        const said = /Default: ([^;]+)\.$/.exec(description)?.[1]?.split(", ") ?? [];
        t.deepEqual(
          said,
          (node.default as { name: string }[]).map(({ name }) => name),
          path,
        );
      } else {
        const said = /Default(?: in the lab)?:? ([^\s,]+?)[.,:;]?(?=[\s,]|$)/.exec(
          description,
        )?.[1];
        t.is(said, String(node.default as string | number | boolean), path);
      }
    }
    for (const [name, inner] of Object.entries(node.properties ?? {})) {
      walk(inner, path === "" ? name : `${path}.${name}`);
    }
    if (node.items?.properties) {
      walk({ description: "an item", ...node.items }, `${path}[]`);
    }
  };
  walk({ description: "all", ...jsonSchema() }, "");
  t.true(options > 70, `${options} options with a default`);
});

test("a default that the backend decides is said as it is in the lab", (t) => {
  const cloud = parseCloud(readStackFile("test/fixtures/config/valid-smallest.yaml"), names);
  const properties = jsonSchema().properties ?? {};
  for (const [block, option, value] of [
    ["corosync", "token", cloud.corosync.token],
    ["nova", "virtType", cloud.nova.virtType],
    ["neutron", "datapath", cloud.neutron.datapath],
  ] as const) {
    const { description = "" } = properties[block]?.properties?.[option] ?? {};
    t.true(description.includes(`Default ${value} in the lab`), `${block}.${option}`);
  }
});

// By the option's last word only: it proves that a name is read somewhere, not that it is read well.
test("every option has an effect: the program reads it", (t) => {
  // Read by config and secrets themselves: they decide addresses, values, and what is refused. `bond` and `mac` are the
  // precheck's.
  const own = new Set(
    "addresses backend bond bmcOffset failureDomain gateway id mac machineId secrets secretVersions seed tlsPrivateKey vlan".split(
      " ",
    ),
  );
  const sources = [...filesBelow("components"), "catalogue.ts"]
    .map((file) => readFileSync(file, "utf8"))
    .join("\n");
  const walk = (node: JsonSchema, path: string): void => {
    const options = { ...node.properties, ...node.items?.properties };
    for (const [name, inner] of Object.entries(options)) {
      if (own.has(name)) {
        continue;
      }
      if (inner.properties ?? inner.items?.properties) {
        walk(inner, `${path}${name}.`);
      } else {
        t.regex(sources, new RegExp(`\\b${name}\\b`), `${path}${name}`);
      }
    }
  };
  walk(jsonSchema(), "");
});

// ---- The stack ------------------------------------------------------------------------------------------------

/** As Pulumi hands a stack's configuration over: text, lists and maps as JSON. */
function setStack(options: Options, secretKeys: readonly string[] = []): void {
  const config = Object.entries(options).map(([name, value]) => [
    `${project}:${name}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  pulumi.runtime.setAllConfig(
    { ...Object.fromEntries(config), "pulumi:tags": "{}", "command:unknown": "1" } as Record<
      string,
      string
    >,
    secretKeys.map((name) => `${project}:${name}`),
  );
}

test.before(async () => {
  await pulumi.runtime.setMocks(
    {
      newResource: ({ name, inputs }) => ({ id: name, state: inputs as object }),
      call: ({ inputs }) => inputs as object,
    },
    project,
    "dev",
    true,
  );
});

test.serial("loadCloud reads the stack, and leaves other namespaces alone", (t) => {
  setStack({ ...validOptions(), seed: SEED }, ["seed"]);
  t.deepEqual(loadCloud(), parseCloud({ ...validOptions(), seed: SEED }, names));
});

test.serial("loadCloud sees options that pulumi.Config would not", (t) => {
  setStack({ ...validOptions(), galeraa: {} });
  t.throws(loadCloud, {
    instanceOf: ConfigError,
    message: /openstack-ha:galeraa: there is no such option; did you mean galera\?/,
  });
});

test.serial("a seed in clear text is refused", (t) => {
  setStack({ ...validOptions(), seed: SEED });
  const error = t.throws(loadCloud, { instanceOf: ConfigError });
  t.regex(
    error.lines.join("\n"),
    /^openstack-ha:seed: it is stored in clear text.*pulumi config set --stack dev --secret/,
  );
  t.notRegex(error.message, new RegExp(SEED));
});

test.serial("secrets in clear text are named, each with the command for it", (t) => {
  setStack({ ...validOptions(), seed: SEED, secrets: { "keystone-db": SEED } }, ["seed"]);
  const error = t.throws(loadCloud, { instanceOf: ConfigError });
  t.deepEqual(error.lines, [
    "openstack-ha:secrets.keystone-db: it is stored in clear text, and counts as known to anyone who saw the file; " +
      "set a new one: tools/cloud run pulumi config set --stack dev --secret --path openstack-ha:secrets.keystone-db",
  ]);
  // As the file has them, some encrypted and some not.
  t.deepEqual(clearParts({ a: { secure: "v1:abc" }, b: SEED, c: { d: SEED } }, "secrets"), [
    "secrets.b",
    "secrets.c.d",
  ]);
  t.deepEqual(clearParts({ secure: "v1:abc" }, "secrets"), []);
  t.deepEqual(clearParts(undefined, "seed"), []);
  t.deepEqual(clearParts({}, "secrets"), []);
});

test("an option under a misspelt namespace is named, not missed; other namespaces are left alone", (t) => {
  const error = t.throws(
    () => ownOptions({ "openstackha:vips": {}, [`${project}:region`]: "R" }, names),
    {
      instanceOf: ConfigError,
    },
  );
  t.deepEqual(error.lines, [
    "openstack-ha:vips: it is written as openstackha:vips; write it with the namespace openstack-ha",
  ]);
  t.deepEqual(
    ownOptions({ "openstack:region": "A", "aws:region": "B", [`${project}:region`]: "R" }, names),
    { region: "R" },
  );
});

test("the cloud holds no secret", (t) => {
  const secrets = { "keystone-db": "correct-horse-battery" };
  const text = JSON.stringify(parseCloud({ ...validOptions(), seed: SEED, secrets }, names));
  t.notRegex(text, /correct-horse/);
  t.false(text.includes(SEED));
});

// ---- Properties -----------------------------------------------------------------------------------------------

/**
 * Valid clouds: 3, 5 or 7 controllers, alone or with up to 12 other hosts, in any order, in networks of any place and
 * size. Where guests run, the last of the controllers fill up what is missing of network and storage hosts.
 */
const validCloud: fc.Arbitrary<Options> = fc
  .record({
    controllers: fc.constantFrom(3, 5, 7),
    others: fc.array(
      fc.uniqueArray(fc.constantFrom("compute", "network", "storage"), { minLength: 1 }),
      { maxLength: 12 },
    ),
    // Room for VIPs at 120 and 250: the machine, the hosts, their management controllers 100 further on; floating
    // addresses are in the upper half.
    ids: fc.uniqueArray(fc.integer({ min: 2, max: 99 }), { minLength: 19, maxLength: 19 }),
    second: fc.integer({ min: 0, max: 255 }),
    prefix: fc.integer({ min: 16, max: 24 }),
    racks: fc.boolean(),
    shuffle: fc.array(fc.nat(), { minLength: 19, maxLength: 19 }),
  })
  .map(({ controllers, others, ids, second, prefix, racks, shuffle }) => {
    const besides = others.map((roles, i) =>
      i === 0 ? [...new Set([...roles, "compute"])] : roles,
    );
    const missing = (role: string, least: number): number =>
      others.length === 0 ? 0 : least - besides.filter((roles) => roles.includes(role)).length;
    const hosts = [
      ...Array.from({ length: controllers }, (_, i) => ({
        name: `ctl${i}`,
        roles: [
          "controller",
          ...(controllers - i <= missing("network", 2) ? ["network"] : []),
          ...(controllers - i <= missing("storage", 3) ? ["storage"] : []),
        ],
        ...(racks ? { failureDomain: `rack${i}` } : {}),
      })),
      ...besides.map((roles, i) => ({ name: `host${i}`, roles })),
    ]
      .map((host, i) => ({ host: { ...host, id: ids[i]! }, at: shuffle[i]! }))
      .sort((a, b) => a.at - b.at)
      .map(({ host }) => host);
    const cidr = (i: number): string => {
      const base = (10 * 256 + second) * 65536 + i * 2 ** (32 - prefix);
      return formatCidr(parseCidr(`${formatAddress(base)}/${prefix}`)!);
    };
    const at = (network: string, id: number): string =>
      formatAddress(parseCidr(network)!.base + id);
    return {
      networks: Object.fromEntries(networkNames.map((name, i) => [name, { cidr: cidr(i) }])),
      vips: { internal: at(cidr(0), 250), public: at(cidr(3), 120) },
      hosts,
    };
  });

function hostsOf(options: Options): { name: string; id: number; roles: string[] }[] {
  return options.hosts as never;
}

test("property: a valid cloud is accepted, and every address of a network has one owner", (t) => {
  fc.assert(
    fc.property(validCloud, (options) => {
      const cloud: Cloud = parseCloud(options, names);
      for (const network of networkNames) {
        const cidr = parseCidr(cloud.networks[network].cidr)!;
        const addresses = [
          cloud.lab.machineAddresses[network],
          ...cloud.hosts.map((host) => host.addresses[network]),
          ...(network === "management"
            ? [cloud.vips.internal, ...cloud.hosts.map(({ bmc }) => bmc!.address)]
            : []),
          ...(network === "external" ? [cloud.vips.public] : []),
        ];
        if (new Set(addresses).size !== addresses.length) return false;
        if (!addresses.every((text) => isHostAddress(cidr, parseAddress(text)!))) return false;
      }
      return cloud.hosts.every((host, i) => i === 0 || cloud.hosts[i - 1]!.id < host.id);
    }),
  );
  t.pass();
});

test("property: the order of the hosts, and of the options, changes nothing", (t) => {
  fc.assert(
    fc.property(validCloud, (options) => {
      const turned = Object.fromEntries(Object.entries(options).reverse());
      turned.hosts = hostsOf(options)
        .map((host) => Object.fromEntries(Object.entries(host).reverse()))
        .reverse();
      // As text: the order of keys counts too, because files are written from it.
      t.is(JSON.stringify(parseCloud(turned, names)), JSON.stringify(parseCloud(options, names)));
    }),
  );
});

test("property: a doubled id is always found, alone, wherever it is", (t) => {
  fc.assert(
    fc.property(validCloud, fc.nat(), fc.nat(), (options, a, b) => {
      const hosts = hostsOf(options);
      const first = a % hosts.length;
      const second = b % hosts.length;
      fc.pre(first < second);
      hosts[second]!.id = hosts[first]!.id;
      t.deepEqual(mistakesIn(options), [
        `openstack-ha:hosts[${second}].id: ${hosts[first]!.id} is already used by host ${hosts[first]!.name}; give every host its own id`,
      ]);
    }),
  );
});

test("property: a VIP on a host is always found", (t) => {
  fc.assert(
    fc.property(validCloud, fc.nat(), fc.boolean(), (options, n, internal) => {
      const cloud = parseCloud(options, names);
      const network: NetworkName = internal ? "management" : "external";
      const vip = internal ? "internal" : "public";
      const host = cloud.hosts[n % cloud.hosts.length]!;
      set(options, `vips.${vip}`, host.addresses[network]);
      const lines = mistakesIn(options);
      t.is(lines.length, 1);
      t.true(
        lines[0]!.startsWith(
          `openstack-ha:vips.${vip}: ${host.addresses[network]} is already the address of host ${host.name}; `,
        ),
      );
    }),
  );
});

test("property: one controller fewer or more is always refused", (t) => {
  fc.assert(
    fc.property(validCloud, fc.boolean(), (options, more) => {
      const hosts = hostsOf(options);
      const controller = hosts.find(({ roles }) => roles.includes("controller"))!;
      const others = controller.roles.filter((role) => role !== "controller");
      if (more) hosts.push({ name: "another", id: 100, roles: ["controller"] });
      // What else it carries stays.
      else if (others.length > 0) controller.roles = others;
      else hosts.splice(hosts.indexOf(controller), 1);
      const lines = mistakesIn(options);
      t.is(lines.length, 1);
      t.regex(lines[0]!, /^openstack-ha:hosts: \d hosts have the role controller/);
    }),
  );
});

test("property: where guests run, a host too few for packets or disks is always refused", (t) => {
  const LEAST = { network: 2, storage: 3 } as const;
  fc.assert(
    fc.property(validCloud, fc.constantFrom("network", "storage"), (options, role) => {
      const hosts = hostsOf(options);
      fc.pre(hosts.some(({ roles }) => roles.includes("compute")));
      // Two copies could be on two hosts.
      if (role === "storage") set(options, "ceph", { replicas: 2, minReplicas: 1 });
      for (const host of hosts.filter(({ roles }) => roles.includes(role)).slice(LEAST[role] - 1)) {
        const left = host.roles.filter((each) => each !== role);
        host.roles = left.length > 0 ? left : ["compute"];
      }
      const lines = mistakesIn(options);
      t.is(lines.length, 1, lines.join("\n"));
      t.regex(
        lines[0]!,
        new RegExp(`^openstack-ha:hosts: .* the role ${role}, and .*; give it to`),
      );
    }),
  );
});

test("property: whatever is written, the answer is a list of mistakes and never a crash", (t) => {
  const options = validOptions();
  fc.assert(
    fc.property(
      fc.oneof(
        fc.anything(),
        // A valid cloud with anything in the place of one of its parts.
        fc
          .tuple(fc.constantFrom(...Object.keys(jsonSchema().properties ?? {})), fc.anything())
          .map(([name, value]) => ({ ...options, [name]: value })),
        fc
          .tuple(
            fc.constantFrom("id", "name", "roles", "addresses", "failureDomain"),
            fc.anything(),
          )
          .map(([name, value]) => ({
            ...options,
            hosts: [
              ...(options.hosts as object[]),
              { name: "x", id: 99, roles: ["compute"], [name]: value },
            ],
          })),
      ),
      (raw) =>
        mistakesIn(raw).every((line) => line.startsWith("openstack-ha:") && line.includes("; ")),
    ),
    { numRuns: 500 },
  );
  t.pass();
});

// ---- IPv4 and spelling ----------------------------------------------------------------------------------------

test("property: an address survives being a number", (t) => {
  fc.assert(fc.property(fc.ipV4(), (text) => formatAddress(parseAddress(text)!) === text));
  t.pass();
});

test("addresses and networks that are none", (t) => {
  for (const text of [
    "",
    "10.0.0",
    "10.0.0.0.0",
    "10.0.0.256",
    "10.0.0.01",
    "10.0.0.-1",
    "10.0.0.1 ",
    "a.b.c.d",
    "1e1.0.0.0",
  ]) {
    t.is(parseAddress(text), undefined, text);
  }
  for (const text of [
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "/24",
    "10.0.0.0/24/24",
  ]) {
    t.is(parseCidr(text), undefined, text);
  }
});

test("network arithmetic at the edges", (t) => {
  const whole = parseCidr("0.0.0.0/0")!;
  t.is(whole.last, 0xffffffff);
  t.is(formatAddress(whole.last), "255.255.255.255");
  t.is(formatCidr(parseCidr("192.168.255.255/17")!), "192.168.128.0/17");
  t.true(overlap(parseCidr("10.0.0.0/23")!, parseCidr("10.0.1.0/24")!));
  t.false(overlap(parseCidr("10.0.0.0/24")!, parseCidr("10.0.1.0/24")!));
  const small = parseCidr("10.0.0.8/30")!;
  t.deepEqual(
    [8, 9, 10, 11, 12].map((last) => isHostAddress(small, parseAddress(`10.0.0.${last}`)!)),
    [false, true, true, false, false],
  );
});

test("did you mean", (t) => {
  const words = ["hosts", "haproxy", "id", "secretVersions", "secrets"];
  t.is(didYouMean("host", words), "hosts");
  t.is(didYouMean("hsots", words), "hosts");
  t.is(didYouMean("HAProxy", words), "haproxy");
  t.is(didYouMean("secretVersion", words), "secretVersions");
  t.is(didYouMean("di", words), "id");
  t.is(didYouMean("vlan", words), undefined);
  t.is(didYouMean("x", words), undefined, "a short word is near to everything");
});
