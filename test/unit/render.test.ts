import * as fs from "node:fs";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import test from "ava";
import { jsonSchema, type JsonSchema } from "../../config/schema";
import { findSecret } from "../../config/secret-names";
import { SERVICES } from "../../catalogue";
import { hostsWith, type Cloud } from "../../config";
import { ini, lines, uuidFor } from "../../components/render";
import { sortedJson } from "../../components/step";
import { parsedCloud, type Options } from "../fixtures/config/fixtures";
import { alone, clouds, development, five, type SnapshotCloud } from "./support/clouds";
import { planOf, stepsOf, type Document, type Planned } from "./support/plan";
import { filesOf, filesOn, hostsOf, labSpecs, type RenderedFile } from "./support/rendered";
import { matchFolder } from "./support/snapshots";

// Every text that the program writes for a host, as plain files under snapshots/, for two clouds. The daemons' own
// checkers are asked about the same texts in checkers.test.ts.

const plans = new Map<string, Planned>();

test.before(async () => {
  for (const { name, stack, options } of clouds) {
    plans.set(name, await planOf(options, { stack }));
  }
});

for (const { name } of clouds) {
  test(`${name}: every rendered text is as reviewed`, (t) => {
    const plan = plans.get(name)!;
    matchFolder(
      t,
      name,
      new Map([
        ["FILES.txt", fileTable(plan)],
        ["STEPS.txt", stepTable(plan)],
        ...fileTexts(plan),
        ...clusterTexts(plan),
        ...labTexts(plan),
      ]),
    );
  });

  test(`${name}: files end with a newline, and have no trailing space and no undefined value`, (t) => {
    for (const { path: file, host, content } of filesOf(plans.get(name)!)) {
      // A key file is its secret and nothing else.
      if (/^\$\{secret:[a-z0-9-]+\}$/.test(content)) continue;
      t.true(content.endsWith("\n"), `${host}:${file}`);
      t.false(/[ \t]$/m.test(content), `${host}:${file} has a trailing space`);
      t.notRegex(content, /undefined|\bNaN\b|\[object/, `${host}:${file}`);
    }
  });

  test(`${name}: no file that names a secret can be read by everyone`, (t) => {
    const on = hostsOf(plans.get(name)!);
    for (const { path: file, host, content, mode = "0644" } of filesOf(plans.get(name)!)) {
      const kinds = [...content.matchAll(/\$\{secret:([^}]*)\}/g)].map(
        ([, secret]) => findSecret(secret!, on)?.kind,
      );
      t.false(kinds.includes(undefined), `${host}:${file}`);
      // What hosts know each other by travels with secrets, and is none.
      if (kinds.some((kind) => kind !== "ssh-public")) {
        t.is(Number.parseInt(mode, 8) & 0o007, 0, `${host}:${file} has mode ${mode}`);
      }
    }
  });

  test(`${name}: each file is written by one step a host`, (t) => {
    for (const host of hostsOf(plans.get(name)!)) {
      const files = filesOf(plans.get(name)!).filter((file) => file.host === host);
      t.is(new Set(files.map((file) => file.path)).size, files.length, host);
      t.is(filesOn(plans.get(name)!, host).size, files.length);
    }
  });
}

test("the cloud of five sets every option there is, and none to its default", (t) => {
  const same: string[] = [];
  visit(jsonSchema(), five.options, "", same);
  // The rest is about what a stack is, or is secret; another backend's options are not the lab's.
  t.deepEqual(
    same.filter((option) => !/^(?:inventory|libvirt)\./.test(option)),
    ["backend", "seed", "sshPrivateKey", "tlsPrivateKey", "secrets"],
  );
});

/** Defaults that the backend decides, in the lab. */
const OF_THE_LAB: Readonly<Record<string, unknown>> = {
  "corosync.token": 500,
  "neutron.datapath": "userspace",
  "nova.virtType": "qemu",
};

/** Collects the options that are missing, or as they are by default. */
function visit(schema: JsonSchema, value: unknown, at: string, same: string[]): void {
  if (schema.properties && at !== "hosts") {
    for (const [name, inner] of Object.entries(schema.properties)) {
      visit(
        inner,
        (value as Options | undefined)?.[name],
        at === "" ? name : `${at}.${name}`,
        same,
      );
    }
    return;
  }
  // Not every network has a router.
  if (/^networks\.(tunnel|storage)\.gateway$/.test(at)) return;
  if (value === undefined || isDeepStrictEqual(value, schema.default ?? OF_THE_LAB[at])) {
    same.push(at);
  }
}

// ---- The formats that every service shares ------------------------------------------------------------------

test("ini: sections in the order given, options sorted", (t) => {
  t.is(
    ini({ zeta: { b: 2, a: "text", c: true }, alpha: {} }),
    "# Written by openstack-ha: a change made here is lost at the next `pulumi up`.\n\n" +
      "[zeta]\na = text\nb = 2\nc = true\n\n[alpha]\n",
  );
});

test("sortedJson: equal values are equal texts, however they were put together", (t) => {
  t.is(
    sortedJson({ b: [{ d: 1, c: 2 }, "z", "a"], a: { y: true, x: undefined } }),
    sortedJson({ a: { y: true }, b: [{ c: 2, d: 1 }, "z", "a"] }),
  );
  t.is(
    sortedJson({ b: 1, a: { d: 1, c: 2 } }),
    '{\n "a": {\n  "c": 2,\n  "d": 1\n },\n "b": 1\n}\n',
  );
});

test("lines: a heading, then the lines", (t) => {
  t.deepEqual(lines("a", "", "b").split("\n").slice(1), ["a", "", "b", ""]);
});

test("uuidFor: an identifier that a cloud keeps, and shares with no other and with nothing else", (t) => {
  const dev = { stack: "dev" };
  // The store knows itself by it: another value here is a store that its monitors do not take part in.
  t.is(uuidFor(dev, "ceph"), "18acaaf0-a184-853d-874b-4db4c2c801f1");
  t.is(uuidFor(dev, "ceph"), uuidFor({ stack: "dev" }, "ceph"));
  const all = [dev, { stack: "other" }].flatMap((cloud) =>
    ["ceph", "ceph-cinder", "osd-ctl1", "osd-ctl2"].map((what) => uuidFor(cloud, what)),
  );
  t.is(new Set(all).size, all.length);
  // Version 8 and variant 10 of RFC 9562.
  for (const uuid of all)
    t.regex(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
});

// ---- What has to be so in the files, whatever else is in them ---------------------------------------------------

interface Text extends RenderedFile {
  readonly cloud: Cloud;
}

/** Every file of every cloud whose path matches. */
function texts(path: RegExp): Text[] {
  return clouds.flatMap((each) =>
    filesOf(plans.get(each.name)!)
      .filter((file) => path.test(file.path))
      .map((file) => ({ ...file, cloud: cloudOf(each) })),
  );
}

/** The public VIP as clients call it. */
function publicOf({ tls, vips }: Cloud): string {
  return tls ? `https://${tls.name}` : `http://${vips.public}`;
}

function cloudOf({ stack, options }: SnapshotCloud): Cloud {
  return parsedCloud(options, stack);
}

type Sections = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

/** An INI file or a systemd unit: values by section and option. */
function sectionsOf(content: string): Sections {
  const sections = new Map<string, Map<string, string[]>>();
  let section = new Map<string, string[]>();
  for (const line of content.split("\n")) {
    const [, heading] = /^\[(.*)\]$/.exec(line) ?? [];
    const [, key, value] = /^([^#\s=][^=]*?)\s*=\s*(.*)$/.exec(line) ?? [];
    if (heading !== undefined) {
      section = sections.get(heading) ?? new Map<string, string[]>();
      sections.set(heading, section);
    } else if (key !== undefined && value !== undefined) {
      section.set(key, [...(section.get(key) ?? []), value]);
    }
  }
  return sections;
}

/** The one value of an option; undefined where it is not set. */
function option(file: Text, section: string, name: string): string | undefined {
  const values = sectionsOf(file.content).get(section)?.get(name) ?? [];
  if (values.length > 1) throw new Error(`${file.path}: ${name} is set ${values.length} times`);
  return values[0];
}

const OPENSTACK = /^\/etc\/(?:cinder|glance|keystone|neutron|nova|placement)\/.*\.(?:conf|ini)$/;

test("no password stands in a file: where one belongs, its name does", (t) => {
  let seen = 0;
  for (const { path: file, host, content } of texts(/./)) {
    const values = [
      ...content.matchAll(
        /^\s*(?:"PASSWORD":|(?:password|default_pass|key|SECRET_KEY|metadata_proxy_shared_secret)\s*=)\s*(.*)$/gm,
      ),
      ...content.matchAll(/:\/\/[^:@/\s]+:([^@\s]+)@/g),
      ...content.matchAll(/,openstack:([^@\s]+)@/g),
    ].map(([, value]) => value!.replace(/^"|"?,?$/g, ""));
    seen += values.length;
    for (const value of values) t.regex(value, /^\$\{secret:[a-z0-9-]+\}$/, `${host}:${file}`);
  }
  t.true(seen > 100, `${seen} passwords`);
});

test("who uses the bus asks for quorum queues and streams, and knows every broker", (t) => {
  const users = texts(OPENSTACK).filter((file) => file.content.includes("transport_url"));
  t.deepEqual([...new Set(users.map(({ step }) => step))].sort(), [
    "cinder-configure",
    "neutron-configure",
    "nova-compute-configure",
    "nova-configure",
  ]);
  for (const file of users) {
    const label = `${file.host}:${file.path}`;
    for (const name of [
      "rabbit_quorum_queue",
      "rabbit_transient_quorum_queue",
      "rabbit_stream_fanout",
      // Reply queues that outlive a restart, under names of their own on each host and for each process.
      "use_queue_manager",
    ]) {
      t.is(option(file, "oslo_messaging_rabbit", name), "true", `${label} ${name}`);
    }
    // Streams are read with a limit or not at all.
    t.true(Number(option(file, "oslo_messaging_rabbit", "rabbit_qos_prefetch_count")) > 0, label);
    // Classic mirrored queues, which RabbitMQ 4 does not have.
    t.false(file.content.includes("rabbit_ha_queues"), label);
    t.is(
      option(file, "DEFAULT", "transport_url"),
      `rabbit://${hostsWith(file.cloud, "controller")
        .map(
          ({ addresses }) => `openstack:\${secret:rabbitmq-openstack}@${addresses.management}:5672`,
        )
        .join(",")}/`,
      label,
    );
  }
});

test("each process on the bus has a name of its own on its host", (t) => {
  const names = texts(/^\/etc\/systemd\/system\//).flatMap(({ cloud, host, content }) =>
    [...content.matchAll(/RABBIT__PROCESSNAME=(\S+)/g)].map(
      ([, name]) => `${name!} on ${host} of ${cloud.stack}`,
    ),
  );
  t.true(names.length > 100);
  t.is(new Set(names).size, names.length);
});

test("a database is reached through the internal VIP, by the account of its service, and not waited for for ever", (t) => {
  const connections = texts(OPENSTACK).flatMap((file) =>
    [...file.content.matchAll(/^connection = (.*)$/gm)].map(([, url]) => ({ ...file, url: url! })),
  );
  t.deepEqual(
    [
      ...new Set(connections.map(({ step, url }) => `${step} ${/\/(\w+)\?/.exec(url)![1]!}`)),
    ].sort(),
    [
      "cinder-configure cinder",
      "glance-configure glance",
      "keystone-configure keystone",
      "neutron-configure neutron",
      "nova-configure nova",
      "nova-configure nova_api",
      "placement-configure placement",
    ],
  );
  for (const { cloud, host, path: file, step, url, content } of connections) {
    const account = step.replace("-configure", "");
    const { timeoutSeconds, recycleSeconds, poolSize, poolOverflow } = cloud.database;
    const label = `${host}:${file}`;
    t.true(
      url.startsWith(`mysql+pymysql://${account}:\${secret:${account}-db}@${cloud.vips.internal}/`),
      label,
    );
    const query = new URLSearchParams(url.split("?")[1]);
    t.is(query.get("charset"), "utf8mb4", label);
    t.is(query.get("read_timeout"), String(timeoutSeconds), label);
    t.is(query.get("write_timeout"), String(timeoutSeconds), label);
    for (const [name, value] of [
      ["connection_recycle_time", recycleSeconds],
      ["max_pool_size", poolSize],
      ["max_overflow", poolOverflow],
      ["max_retries", -1],
    ] as const) {
      const found = [...content.matchAll(new RegExp(`^${name} = (.*)$`, "gm"))];
      t.true(found.length >= 1, `${label} ${name}`);
      for (const [, each] of found) t.is(each, String(value), `${label} ${name}`);
    }
  }
});

test("what checks tokens asks the internal API, and takes what a service says for a user whose token has run out", (t) => {
  const files = texts(OPENSTACK).filter(({ content }) => content.includes("[keystone_authtoken]"));
  t.deepEqual([...new Set(files.map(({ step }) => step.replace("-configure", "")))].sort(), [
    "cinder",
    "glance",
    "neutron",
    "nova",
    "placement",
  ]);
  for (const file of files) {
    const { cloud, host, step } = file;
    const service = step.replace("-configure", "");
    const of = (name: string): string | undefined => option(file, "keystone_authtoken", name);
    t.is(of("auth_url"), `http://${cloud.vips.internal}:5000/v3`, host);
    t.is(of("www_authenticate_uri"), `${publicOf(cloud)}:5000/v3`, host);
    t.is(of("username"), service);
    t.is(of("password"), `\${secret:${service}}`);
    t.is(of("service_token_roles"), "service");
    t.is(of("service_token_roles_required"), "true");
    t.is(of("interface"), "internal");
    t.is(of("region_name"), cloud.region);
    t.is(
      of("memcached_servers"),
      hostsWith(cloud, "controller")
        .map(({ addresses }) => `${addresses.management}:11211`)
        .join(","),
    );
  }
});

test("a compute host knows no database", (t) => {
  const files = texts(/./).filter(({ cloud, host }) =>
    cloud.hosts.some(({ name, roles }) => name === host && !roles.includes("controller")),
  );
  t.true(files.length > 20);
  for (const { host, path: file, content } of files) {
    t.notRegex(content, /mysql|-db\}|^\[(?:api_)?database\]/m, `${host}:${file}`);
  }
});

test("both sides of the metadata service sign with the same secret", (t) => {
  const wanted = "${secret:neutron-metadata}";
  for (const file of texts(/neutron_ovn_metadata_agent\.ini$/)) {
    t.is(option(file, "DEFAULT", "metadata_proxy_shared_secret"), wanted);
    t.is(option(file, "DEFAULT", "nova_metadata_host"), file.cloud.vips.internal);
  }
  for (const file of texts(/nova\.conf$/).filter(({ step }) => step === "nova-configure")) {
    t.is(option(file, "neutron", "metadata_proxy_shared_secret"), wanted);
    t.is(option(file, "neutron", "service_metadata_proxy"), "true");
  }
});

test("the store's identifier, and libvirt's of its key, are one everywhere", (t) => {
  for (const each of clouds.filter(({ name }) => name !== alone.name)) {
    const cloud = cloudOf(each);
    const own = (path: RegExp): Text[] =>
      texts(path).filter((file) => file.cloud.stack === cloud.stack);
    const params = (service: string, stage: string): Record<string, unknown>[] =>
      stepsOf(plans.get(each.name)!)
        .filter(({ document: { step } }) => step.service === service && step.stage === stage)
        .map(({ document }) => document.params ?? {});
    const fsids = [
      ...own(/\/ceph\.conf$/).map((file) => option(file, "global", "fsid")),
      ...params("ceph", "bootstrap").map(({ fsid }) => fsid),
    ];
    t.deepEqual([...new Set(fsids)], [uuidFor(cloud, "ceph")]);
    const secrets = [
      ...own(/cinder\.conf$/).map((file) => option(file, "ceph", "rbd_secret_uuid")),
      ...own(/nova\.conf$/)
        .filter(({ step }) => step === "nova-compute-configure")
        .map((file) => option(file, "libvirt", "rbd_secret_uuid")),
      ...params("nova-compute", "start").map(({ secret }) => secret),
    ];
    t.deepEqual([...new Set(secrets)], [uuidFor(cloud, "ceph-cinder")]);
    const disks = params("ceph", "start").map(({ disks_here }) =>
      (disks_here as string[]).join(" "),
    );
    t.is(new Set(disks).size, hostsWith(cloud, "storage").length, "each disk has its own");
  }
});

test("the store has an odd number of monitors, on the first of its hosts", (t) => {
  for (const [name, members] of [
    [development.name, ["ctl1", "ctl2", "ctl3"]],
    // Four disks: a fourth monitor would outlive no more losses.
    [five.name, ["charlie", "delta", "echo"]],
  ] as const) {
    const cloud = cloudOf(clouds.find((each) => each.name === name)!);
    const [conf] = texts(/\/ceph\.conf$/).filter((file) => file.cloud.stack === cloud.stack);
    const address = (host: string): string =>
      cloud.hosts.find((each) => each.name === host)!.addresses.storage;
    t.is(option(conf!, "global", "mon_initial_members"), members.join(","));
    t.is(
      option(conf!, "global", "mon_host"),
      members.map((host) => `[v2:${address(host)}:3300,v1:${address(host)}:6789]`).join(","),
    );
    const starts = stepsOf(plans.get(name)!).filter(
      ({ document: { step } }) => step.service === "ceph" && step.stage === "start",
    );
    t.deepEqual(
      starts
        .filter(({ document }) => document.params?.monitor === true)
        .map(({ document }) => document.step.host),
      members,
    );
    t.is(starts.length, hostsWith(cloud, "storage").length);
  }
});

test("the users of the store may do what they are for, in their pools", (t) => {
  for (const { content } of texts(/ceph\.mon\.keyring$/)) {
    const users = sectionsOf(content);
    t.deepEqual([...users.keys()], ["mon.", "client.admin", "client.cinder", "client.glance"]);
    for (const user of ["client.cinder", "client.glance"]) {
      for (const [, [caps]] of [...users.get(user)!].filter(([key]) => key.startsWith("caps"))) {
        t.notRegex(caps!, /allow|\*/, user);
      }
    }
    t.deepEqual(users.get("client.glance")!.get("caps osd"), ['"profile rbd pool=images"']);
    t.true(users.get("client.cinder")!.get("caps osd")![0]!.includes("rbd-read-only pool=images"));
  }
});

test("packets are switched in the kernel, or in userspace by a bridge that has the tunnels' address", (t) => {
  for (const { name } of [development, five]) {
    const cloud = cloudOf(clouds.find((each) => each.name === name)!);
    const userspace = cloud.neutron.datapath === "userspace";
    t.is(userspace, name === development.name);
    const starts = stepsOf(plans.get(name)!).filter(
      ({ document: { step } }) => step.service === "ovn-chassis" && step.stage === "start",
    );
    for (const { document } of starts) {
      const { host } = document.step;
      const { addresses, roles } = cloud.hosts.find((each) => each.name === host)!;
      const files = [...filesOn(plans.get(name)!, host).keys()];
      const params = document.params as Record<string, string | string[]>;
      const ids = params.external_ids as string[];
      const gateway = roles.includes("network");
      t.true(ids.includes(`ovn-encap-ip=${addresses.tunnel}`));
      t.true(ids.includes(`ovn-bridge-datapath-type=${userspace ? "netdev" : "system"}`));
      t.true(ids.includes(`ovn-cms-options=${gateway ? "enable-chassis-as-gw" : ""}`));
      t.true(ids.includes(`ovn-bridge-mappings=${gateway ? "external:br-ex" : ""}`));
      t.is(params.external_bridge, gateway ? "br-ex" : "");
      t.is(params.bridge_address, userspace ? `${addresses.tunnel}/24` : "");
      const networks = files.filter((file) => file.startsWith("/etc/systemd/network/"));
      t.deepEqual(networks, [
        ...(userspace ? ["/etc/systemd/network/40-br-tun.network"] : []),
        ...(gateway ? ["/etc/systemd/network/40-prv0.network"] : []),
        ...(userspace && roles.includes("compute") ? ["/etc/systemd/network/40-taps.network"] : []),
        ...(userspace ? ["/etc/systemd/network/40-tun0.network"] : []),
      ]);
    }
  }
});

test("guests run in hardware or in software, and each console and each guest's memory goes over the management network", (t) => {
  const files = texts(/nova\.conf$/).filter(({ step }) => step === "nova-compute-configure");
  t.true(files.length >= 4);
  for (const file of files) {
    const { management } = file.cloud.hosts.find(({ name }) => name === file.host)!.addresses;
    const kvm = file.cloud.nova.virtType === "kvm";
    t.is(kvm, file.cloud.stack === five.stack);
    t.is(option(file, "libvirt", "virt_type"), kvm ? "kvm" : "qemu");
    t.is(option(file, "libvirt", "cpu_mode"), kvm ? "host-model" : "none");
    t.is(option(file, "libvirt", "images_type"), "rbd");
    t.is(option(file, "libvirt", "live_migration_inbound_addr"), management);
    t.is(option(file, "vnc", "server_listen"), management);
    t.true(option(file, "vnc", "novncproxy_base_url")!.startsWith(`${publicOf(file.cloud)}:6080/`));
  }
});

test("an API listens where HAProxy asks it: on the management address, at the port of the catalogue", (t) => {
  const listeners = texts(/\.service\.d\/openstack-ha\.conf$/).flatMap((file) =>
    [...file.content.matchAll(/--http-socket (\S+):(\d+)/g)].map(([, address, port]) => ({
      ...file,
      address: address!,
      port: Number(port),
    })),
  );
  t.deepEqual(
    [...new Set(listeners.map(({ port }) => port))].sort(),
    [5000, 8774, 8775, 8776, 8778, 9696],
  );
  for (const { cloud, host, step, address, port } of listeners) {
    t.is(address, cloud.hosts.find(({ name }) => name === host)!.addresses.management);
    const entry = SERVICES.find(({ name }) => `${name}-configure` === step)!;
    t.true(
      entry.ports.some((each) => each.port === port),
      `${step} ${port}`,
    );
  }
});

test("a service's own check asks what HAProxy asks", (t) => {
  for (const { name } of [development, five]) {
    for (const { document } of stepsOf(plans.get(name)!)) {
      const { service, stage, host } = document.step;
      // Keystone and the database are asked for more.
      if (stage !== "start" || ["keystone", "mariadb"].includes(service)) continue;
      const { url, urls } = (document.params ?? {}) as { url?: string; urls?: string[] };
      const { frontends = [] } = SERVICES.find((entry) => entry.name === service)!;
      const { management } = cloudOf(clouds.find((each) => each.name === name)!).hosts.find(
        (each) => each.name === host,
      )!.addresses;
      if (frontends.length === 0) continue;
      t.deepEqual(
        urls ?? [url],
        frontends.map(({ port, check }) => `http://${management}:${port}${check}`),
        `${service} on ${host}`,
      );
    }
  }
});

test("a unit is started again for each file that its configure step writes", (t) => {
  for (const { name } of clouds) {
    const steps = stepsOf(plans.get(name)!);
    for (const { document } of steps) {
      const { service, stage, host } = document.step;
      const { files } = (document.params ?? {}) as { files?: string[] };
      if (stage !== "start" || files === undefined) continue;
      const configure = steps.find(
        ({ document: { step } }) =>
          step.service === service && step.stage === "configure" && step.host === host,
      )!;
      t.deepEqual(
        [...files].sort(),
        Object.keys(configure.document.files ?? {})
          // Keystone reads its keys as it goes, and ssh the keys of other hosts.
          .filter((file) => !/\/(?:fernet|credential)-keys\/|\/ssh_known_hosts$/.test(file))
          .sort(),
        `${service} on ${host}`,
      );
    }
  }
});

/** The lines of each section of haproxy.cfg, by its heading. */
function haproxySections(content: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let lines: string[] = [];
  for (const line of content.split("\n")) {
    if (/^\w/.test(line)) found.set(line, (lines = []));
    else if (line.startsWith("    ")) lines.push(line.trim());
  }
  return found;
}

test("HAProxy offers each frontend of the catalogue on its VIPs, and asks it as often as it has to", (t) => {
  const files = texts(/haproxy\.cfg$/);
  t.true(files.length >= 11);
  const expected: Readonly<Record<string, string>> = {
    mariadb: "internal",
    keystone: "internal public",
    glance: "internal public, observed, patient",
    placement: "internal public, observed",
    nova: "internal public, observed",
    "nova-metadata": "internal, observed",
    "nova-novncproxy": "public, observed, costly, patient",
    neutron: "internal public, observed",
    cinder: "internal public, observed",
    horizon: "public, observed, costly, by name",
  };
  for (const { cloud, content } of files) {
    const sections = haproxySections(content);
    const { haproxy, vips } = cloud;
    const controllers = hostsWith(cloud, "controller");
    const whole = cloud.hosts.some(({ roles }) => roles.includes("compute"));
    const frontends = SERVICES.flatMap((entry) => entry.frontends ?? []);
    t.deepEqual(
      [...sections.keys()].filter((heading) => heading.startsWith("listen ")),
      (whole ? Object.keys(expected) : ["mariadb", "keystone"]).map((name) => `listen ${name}`),
    );
    for (const [heading, lines] of sections) {
      if (!heading.startsWith("listen ")) continue;
      const name = heading.replace("listen ", "");
      const { port, mode, check, checkPort } = frontends.find((each) => each.name === name)!;
      const has = (line: string): boolean => lines.includes(line);
      const paced = (pace: string): boolean =>
        has(
          `default-server ${pace} fastinter 500ms observe layer4 error-limit 2 on-error mark-down`,
        );
      const costly = paced(
        `inter ${5 * haproxy.observedInterMs}ms downinter ${haproxy.observedInterMs}ms`,
      );
      const observed = costly || paced(`inter ${haproxy.observedInterMs}ms`);
      // The dashboard is where people look for one.
      const bound = cloud.tls
        ? `bind ${vips.public}:${name === "horizon" ? 443 : port} ssl crt /etc/haproxy/certs/public.pem`
        : `bind ${vips.public}:${port}`;
      const redirected = `http-request redirect location https://${cloud.tls?.name ?? ""}%[path] code 301 unless { ssl_fc }`;
      const sent = name === "horizon" && cloud.tls !== undefined;
      t.is(has(redirected) && has(`bind ${vips.public}:80`), sent, name);
      // A service behind believes what this header says.
      t.is(
        has("http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]"),
        cloud.tls !== undefined && expected[name]!.includes("public"),
        name,
      );
      const said = [
        (["internal", "public"] as const)
          .filter((vip) => has(vip === "public" ? bound : `bind ${vips.internal}:${port}`))
          .join(" "),
        ...(observed ? ["observed"] : []),
        ...(costly ? ["costly"] : []),
        ...(has(`timeout tunnel ${haproxy.patientTimeout}`) ? ["patient"] : []),
        ...(has(
          `http-check send meth GET uri ${check} hdr User-Agent haproxy-check hdr Host ${vips.public}`,
        )
          ? ["by name"]
          : []),
      ].join(", ");
      t.is(said, expected[name]!, name);
      t.is(
        lines.filter((line) => line.startsWith("bind ")).length,
        said.match(/internal|public/g)!.length + (sent ? 1 : 0),
      );
      // A database has no way to say that it is about to go.
      t.is(has("http-check disable-on-404"), mode === "http", name);
      // An answer is waited for longer by what is asked less often, and by nothing else.
      t.is(has(`timeout check ${haproxy.observedCheckTimeout}`), observed, name);
      t.is(
        lines.some((line) => line.startsWith("timeout check")),
        observed,
        name,
      );
      t.is(
        lines.some((line) => line.startsWith("default-server")),
        observed,
        name,
      );
      const patience = said.includes("patient")
        ? haproxy.patientTimeout
        : name === "mariadb"
          ? haproxy.databaseTimeout
          : undefined;
      for (const side of ["client", "server"]) {
        t.deepEqual(
          lines.filter((line) => line.startsWith(`timeout ${side} `)),
          patience === undefined ? [] : [`timeout ${side} ${patience}`],
          name,
        );
      }
      // What a server that went away had not answered is asked of another, if asking twice does no harm.
      for (const line of [
        "http-request disable-l7-retry unless METH_GET",
        "retry-on conn-failure empty-response",
      ]) {
        t.is(has(line), mode === "http", name);
      }
      t.true(has("option httpchk") && has("http-check expect status 200"), name);
      const servers = lines.filter((line) => line.startsWith("server "));
      t.deepEqual(
        servers.map((line) => line.split(" ").slice(1, 4).join(" ")),
        controllers.map((host) => `${host.name} ${host.addresses.management}:${port} check`),
      );
      t.is(
        servers.every((line) => line.includes(` port ${checkPort!}`)),
        checkPort !== undefined,
      );
      // One writer.
      t.is(
        servers.filter((line) => line.endsWith(" backup")).length,
        name === "mariadb" ? controllers.length - 1 : 0,
      );
    }
    t.true(
      sections
        .get("defaults")!
        .some((line) => line.startsWith(`default-server inter ${haproxy.interMs}ms `)),
    );
  }
});

test("a section of a unit has only what systemd reads there", (t) => {
  for (const { path: file, host, content } of texts(/^\/etc\/systemd\/system\//)) {
    const sections = sectionsOf(content);
    t.deepEqual(
      [...sections.keys()].filter((name) => !["Unit", "Service", "Install"].includes(name)),
      [],
      `${host}:${file}`,
    );
    for (const name of [
      "ExecStart",
      "ExecReload",
      "Environment",
      "Restart",
      "RestartSec",
      "User",
    ]) {
      t.false(sections.get("Unit")?.has(name) ?? false, `${host}:${file} ${name}`);
    }
    // What Debian's unit says is taken away before it is said anew.
    const starts = sections.get("Service")?.get("ExecStart") ?? [];
    if (file.includes(".service.d/") && starts.length > 0) {
      t.is(starts.length, 2, `${host}:${file}`);
      t.is(starts[0], "", `${host}:${file}`);
    }
  }
});

/** Units of OpenStack's that are started again whatever ends them, with how often at most. */
function startLimits(path: RegExp): [string, readonly string[] | undefined][] {
  return texts(path).flatMap(({ path: file, host, content }) => {
    const sections = sectionsOf(content);
    return sections.get("Service")?.get("Restart")?.[0] === "always"
      ? [[`${host}:${file}`, sections.get("Unit")?.get("StartLimitIntervalSec")]]
      : [];
  });
}

// In [Service] systemd has no such key, and ignores it.
test("a daemon that ends because something it needs is not there is tried again as often as it takes", (t) => {
  const limits = startLimits(/\.service\.d\/openstack-ha\.conf$/);
  t.true(limits.length > 50);
  for (const [unit, limit] of limits) t.deepEqual(limit, ["0"], unit);
});

// A known mistake of the program: a test that fails until it is mended, and then says so.
test("… and so is one that Debian ships without a unit", (t) => {
  const limits = startLimits(/^\/etc\/systemd\/system\/neutron-[\w-]+\.service$/);
  t.true(limits.length > 10);
  for (const [unit, limit] of limits) t.deepEqual(limit, ["0"], unit);
});

// ---- Texts of the snapshots -------------------------------------------------------------------------------------

/** A script for a host is not written twice into the repository. */
const sources = new Map(
  fs
    .readdirSync(path.join(__dirname, "../../scripts"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => [
      fs.readFileSync(file, "utf8"),
      path.relative(path.join(__dirname, "../.."), file),
    ]),
);

/** One line a file: who has it, mode, owner, which step writes it, who checks it. */
function fileTable(plan: Planned): string {
  const rows = new Map<string, string[]>();
  for (const file of filesOf(plan)) {
    const source = sources.get(file.content);
    const row = [
      file.mode ?? "0644",
      `${file.owner ?? "root"}:${file.group ?? "root"}`.padEnd(19),
      file.path,
      `by ${file.step}`,
      ...(file.validate ? [`checked by: ${file.validate.join(" ")}`] : []),
      ...(source === undefined ? [] : [`is ${source}`]),
    ].join("  ");
    rows.set(row, [...(rows.get(row) ?? []), file.host]);
  }
  const all = hostsOf(plan).length;
  return `${[...rows]
    .map(([row, hosts]) => `${row}  on ${hosts.length === all ? "every host" : hosts.join(" ")}`)
    .sort((a, b) => (pathIn(a) < pathIn(b) ? -1 : 1))
    .join("\n")}\n`;
}

function pathIn(row: string): string {
  return /\/\S+/.exec(row)![0];
}

/** The texts: once where all hosts that have the file have the same. */
function fileTexts(plan: Planned): [string, string][] {
  const byPath = new Map<string, RenderedFile[]>();
  for (const file of filesOf(plan)) {
    byPath.set(file.path, [...(byPath.get(file.path) ?? []), file]);
  }
  return [...byPath.values()].flatMap((files): [string, string][] => {
    const kept = files.filter((file) => !sources.has(file.content));
    const alike = new Set(files.map((file) => file.content)).size === 1;
    return (alike ? kept.slice(0, 1) : kept).map((file) => [
      `${alike ? "hosts-alike" : file.host}${asText(file.path)}`,
      file.content,
    ]);
  });
}

/** No tool shall take a snapshot for a program. */
function asText(file: string): string {
  return path.extname(file) === "" ? `${file}.txt` : file;
}

/** What the cluster is told, which is a parameter and not a file. */
function clusterTexts(plan: Planned): [string, string][] {
  const { params } = stepsOf(plan).find(
    ({ document: { step } }) => step.service === "pacemaker" && step.stage === "bootstrap",
  )!.document;
  return Object.entries(params as Record<string, string | string[]>).map(([name, value]) =>
    typeof value === "string"
      ? [`cluster/${name}.xml`, value]
      : [`cluster/${name}.txt`, `${value.join("\n")}\n`],
  );
}

/** All of a step but files and script, which are elsewhere; those of a host like those of the first are left out. */
function stepTable(plan: Planned): string {
  const [first, ...others] = hostsOf(plan);
  const summary = ({ step, params = {}, directories, absent, secrets, files }: Document): string =>
    [
      `${step.service}-${step.stage}  timeout ${step.timeout} s`,
      ...(files ? [`  files: ${Object.keys(files).join(" ")}`] : []),
      ...Object.entries(directories ?? {}).map(
        ([name, spec]) => `  directory ${name} ${JSON.stringify(spec)}`,
      ),
      ...(absent ? [`  absent: ${absent.join(" ")}`] : []),
      ...(secrets ? [`  secrets: ${JSON.stringify(secrets)}`] : []),
      ...Object.entries(params)
        .filter(([, value]) => !String(value).includes("\n"))
        .map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`),
    ].join("\n");
  const on = (host: string): string[] =>
    stepsOf(plan)
      .filter(({ document }) => document.step.host === host)
      .map(({ document }) => summary(document))
      .sort();
  const known = new Set(on(first!));
  return [
    `# on ${first!}`,
    ...known,
    ...others.flatMap((host) => [
      `# on ${host}, where it is not the same`,
      ...on(host).filter((text) => !known.has(text)),
    ]),
    "",
  ].join("\n\n");
}

/** What the lab is told. Of images, the list of steps: their content is in STEPS.txt. */
function labTexts(plan: Planned): [string, string][] {
  return [...labSpecs(plan)].map(([name, spec]) => {
    const shown =
      "steps" in spec
        ? {
            ...spec,
            runner: { path: (spec.runner as { path: string }).path },
            steps: (spec.steps as { name: string; stdin: string }[]).map((step) => ({
              name: step.name,
              params: (JSON.parse(step.stdin) as Document).params,
            })),
          }
        : spec;
    return [`lab/${name}.json`, `${JSON.stringify(shown, null, 2)}\n`];
  });
}
