import type { z } from "zod";
import type { Bmc, Cloud, HostConfig, Names, Network, NetworkName, TlsOptions } from "./cloud";
import { ConfigError } from "./errors";
import { explain } from "./explain";
import { libvirtOptions } from "./libvirt";
import { formatAddress, parseAddress, parseCidr, upperHalf } from "./network";
import {
  configSchema,
  hostSchema,
  jsonSchema,
  networkNames,
  portNames,
  roles,
  type HostSettings,
  type Settings,
} from "./schema";
import type { Candidate } from "./rules";
import { checkSemantics } from "./semantics";
import { type Source, UNREADABLE } from "./source";

/** UDP port of IPMI. */
const BMC_PORT = 623;
const BMC_USER = "admin";

/** Corosync's token in milliseconds where none is set; why, see the schema. */
const DEFAULT_TOKEN: Readonly<Record<Settings["backend"], number>> = {
  lab: 500,
  libvirt: 1000,
  inventory: 1000,
};

/** How guests run and their packets are switched, where it is not said. */
const DEFAULT_VIRT_TYPE: Readonly<Record<Settings["backend"], "kvm" | "qemu">> = {
  lab: "qemu",
  libvirt: "kvm",
  inventory: "kvm",
};
const DEFAULT_DATAPATH: Readonly<Record<Settings["backend"], "kernel" | "userspace">> = {
  lab: "userspace",
  libvirt: "kernel",
  inventory: "kernel",
};

/**
 * Checks a configuration and fills in what it leaves out. Pure.
 *
 * @param raw The options by name, without the namespace.
 * @throws ConfigError listing every mistake.
 */
export function parseCloud(raw: unknown, names: Names): Cloud {
  return parseSource({ raw: raw as Source["raw"], mistakes: [] }, names);
}

/**
 * The same for options of which some may be in a file of their own.
 *
 * @throws ConfigError listing every mistake.
 */
export function parseSource(
  { raw, file, texts = {}, mistakes: earlier }: Source,
  names: Names,
): Cloud {
  if (earlier.some(({ path }) => path === UNREADABLE)) {
    throw new ConfigError(names, earlier);
  }
  const result = configSchema.safeParse(raw);
  const mistakes = [
    ...earlier,
    ...(result.success ? [] : explain(result.error.issues, jsonSchema(), raw)),
    ...checkSemantics({ ...soundParts(raw), texts }),
  ];
  if (!result.success || mistakes.length > 0) {
    throw new ConfigError(names, mistakes, file);
  }
  return deepFreeze(complete(result.data, texts, names));
}

/** What is sound in form, so that the rules can be checked although something else is not. */
function soundParts(raw: unknown): Omit<Candidate, "texts"> {
  const given: Record<string, unknown> = isMap(raw) ? raw : {};
  const settings: Record<string, unknown> = {};
  for (const [name, schema] of Object.entries(configSchema.shape)) {
    if (name !== "hosts") {
      settings[name] = soundValue(schema, given[name]);
    }
  }
  const list: unknown[] = Array.isArray(given.hosts) ? given.hosts : [];
  const hosts = list.flatMap((item, index) => {
    const host = soundValue(hostSchema, item) as HostSettings | undefined;
    return host === undefined ? [] : [{ ...host, index }];
  });
  const marks = list.map((item, index) => {
    const host = isMap(item) ? item : {};
    return {
      index,
      name: soundValue(hostSchema.shape.name, host.name) as string | undefined,
      id: soundValue(hostSchema.shape.id, host.id) as number | undefined,
    };
  });
  return {
    settings,
    hosts,
    marks,
    allHosts: Array.isArray(given.hosts) && hosts.length === list.length,
  };
}

/** The value with its defaults, or undefined. An unknown option does not spoil the others beside it. */
function soundValue(schema: z.ZodType, value: unknown): unknown {
  const result = schema.safeParse(value);
  if (result.success) {
    return result.data;
  }
  const unknownKeys = result.error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [],
  );
  if (unknownKeys.length === 0) {
    return undefined;
  }
  const copy = structuredClone(value);
  for (const path of unknownKeys) {
    const parent = path.slice(0, -1).reduce((node, part) => (node as never)[part], copy) as object;
    Reflect.deleteProperty(parent, path.at(-1)!);
  }
  const second = schema.safeParse(copy);
  return second.success ? second.data : undefined;
}

function complete(
  settings: Settings,
  texts: Readonly<Record<string, string>>,
  names: Names,
): Cloud {
  const bases = byNetwork((name) => parseCidr(settings.networks[name].cidr)!.base);
  const { lab, inventory, corosync } = settings;
  return {
    project: names.project,
    stack: names.stack,
    region: settings.region,
    backend: settings.backend,
    networks: byNetwork((name) => network(name, settings)),
    vips: settings.vips,
    ...(settings.tls ? { tls: tlsOptions(settings.tls, settings.vips.public, texts) } : {}),
    hosts: settings.hosts
      .map((host) => hostConfig(host, bases, settings))
      .sort((a, b) => a.id - b.id),
    lab: {
      ...lab,
      machineAddresses: byNetwork((name) => formatAddress(bases[name] + lab.machineId)),
    },
    inventory: {
      ...(inventory.ssh.bastion ? { bastion: inventory.ssh.bastion } : {}),
      confinesGuests: inventory.confinesGuests,
    },
    libvirt: libvirtOptions(settings, bases),
    corosync: { ...corosync, token: corosync.token ?? DEFAULT_TOKEN[settings.backend] },
    pacemaker: settings.pacemaker,
    haproxy: settings.haproxy,
    galera: settings.galera,
    database: settings.database,
    rabbitmq: settings.rabbitmq,
    memcached: settings.memcached,
    keystone: settings.keystone,
    workers: settings.workers,
    ceph: settings.ceph,
    nova: {
      ...settings.nova,
      virtType: settings.nova.virtType ?? defaultVirtType(settings),
    },
    neutron: {
      ...settings.neutron,
      datapath: settings.neutron.datapath ?? DEFAULT_DATAPATH[settings.backend],
    },
    horizon: settings.horizon,
    content: {
      ...settings.content,
      floatingPool:
        settings.content.floatingPool ?? upperHalf(parseCidr(settings.networks.external.cidr)!),
    },
    secretVersions: Object.fromEntries(
      Object.entries(settings.secretVersions).sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
  };
}

function tlsOptions(
  { certificate, authority, name }: NonNullable<Settings["tls"]>,
  address: string,
  texts: Readonly<Record<string, string>>,
): TlsOptions {
  return {
    certificate: texts[certificate]!,
    ...(authority === undefined ? {} : { authority: texts[authority]! }),
    name: name ?? address,
  };
}

/** Emulated hosts have nothing to pass on to their guests. */
function defaultVirtType({ backend, libvirt }: Settings): "kvm" | "qemu" {
  const emulated = backend === "libvirt" && libvirt.hypervisors.some(({ kvm }) => !kvm);
  return emulated ? "qemu" : DEFAULT_VIRT_TYPE[backend];
}

function network(name: NetworkName, settings: Settings): Network {
  const { cidr, mtu, vlan, gateway } = settings.networks[name];
  const { base, prefix } = parseCidr(cidr)!;
  return {
    name,
    cidr,
    prefix,
    base: formatAddress(base),
    mtu,
    ...(vlan === undefined ? {} : { vlan }),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

function hostConfig(
  host: HostSettings,
  bases: Readonly<Record<NetworkName, number>>,
  settings: Settings,
): HostConfig {
  const addresses = byNetwork(
    (name) => host.addresses[name] ?? formatAddress(bases[name] + host.id),
  );
  const bmc = bmcOf(host, addresses.management, settings);
  const { ssh } = settings.inventory;
  return {
    name: host.name,
    id: host.id,
    roles: roles.filter((role) => host.roles.includes(role)),
    failureDomain: host.failureDomain ?? host.name,
    state: host.state,
    rebuild: host.rebuild,
    addresses,
    ssh: {
      address: host.ssh?.address ?? addresses.management,
      port: host.ssh?.port ?? ssh.port,
      user: host.ssh?.user ?? ssh.user,
      ...(host.ssh?.hostKey === undefined ? {} : { hostKey: host.ssh.hostKey }),
    },
    ...(bmc ? { bmc } : {}),
    ports: ports(host, settings),
    disks: host.disks ?? [],
  };
}

/** Virtual machines have none: their hypervisor switches them. */
function bmcOf(host: HostSettings, management: string, settings: Settings): Bmc | undefined {
  switch (settings.backend) {
    case "lab":
      return labBmc(management, settings);
    case "inventory":
      return inventoryBmc(host, settings);
    case "libvirt":
      return undefined;
  }
}

function labBmc(management: string, { lab }: Settings): Bmc {
  return {
    address: formatAddress(parseAddress(management)! + lab.bmcOffset),
    port: BMC_PORT,
    user: BMC_USER,
    ownPassword: false,
  };
}

function inventoryBmc({ bmc }: HostSettings, { inventory }: Settings): Bmc | undefined {
  return (
    bmc && {
      address: bmc.address,
      port: bmc.port ?? inventory.bmc.port,
      user: bmc.user ?? inventory.bmc.user,
      ownPassword: bmc.ownPassword,
    }
  );
}

/** A host's own word for an interface goes before the common one. */
function ports(host: HostSettings, { inventory }: Settings): HostConfig["ports"] {
  return Object.fromEntries(
    portNames.flatMap((port) => {
      const nic = host.nics?.[port] ?? inventory.nics[port];
      return nic === undefined
        ? []
        : [
            [
              port,
              Object.fromEntries(Object.entries(nic).filter(([, value]) => value !== undefined)),
            ],
          ];
    }),
  );
}

function byNetwork<T>(value: (name: NetworkName) => T): Record<NetworkName, T> {
  return Object.fromEntries(networkNames.map((name) => [name, value(name)])) as Record<
    NetworkName,
    T
  >;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
