import type { z } from "zod";
import type { Cloud, HostConfig, Names, Network, NetworkName } from "./cloud";
import { ConfigError } from "./errors";
import { explain } from "./explain";
import { formatAddress, parseAddress, parseCidr, upperHalf } from "./network";
import {
  configSchema,
  hostSchema,
  jsonSchema,
  networkNames,
  roles,
  type HostSettings,
  type Settings,
} from "./schema";
import type { Candidate } from "./rules";
import { checkSemantics } from "./semantics";

/** UDP port of IPMI. */
const BMC_PORT = 623;
const BMC_USER = "admin";

/** Corosync's token in milliseconds where none is set; why, see the schema. */
const DEFAULT_TOKEN: Readonly<Record<Settings["backend"], number>> = { lab: 500 };

/** How guests run and their packets are switched, where it is not said. */
const DEFAULT_VIRT_TYPE: Readonly<Record<Settings["backend"], "kvm" | "qemu">> = { lab: "qemu" };
const DEFAULT_DATAPATH: Readonly<Record<Settings["backend"], "kernel" | "userspace">> = {
  lab: "userspace",
};

/**
 * Checks a configuration and fills in what it leaves out. Pure.
 *
 * @param raw The options by name, without the namespace.
 * @throws ConfigError listing every mistake.
 */
export function parseCloud(raw: unknown, names: Names): Cloud {
  const result = configSchema.safeParse(raw);
  const mistakes = [
    ...(result.success ? [] : explain(result.error.issues, jsonSchema(), raw)),
    ...checkSemantics(soundParts(raw)),
  ];
  if (!result.success || mistakes.length > 0) {
    throw new ConfigError(names, mistakes);
  }
  return deepFreeze(complete(result.data, names));
}

/** What is sound in form, so that the rules can be checked although something else is not. */
function soundParts(raw: unknown): Candidate {
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

function complete(settings: Settings, names: Names): Cloud {
  const bases = byNetwork((name) => parseCidr(settings.networks[name].cidr)!.base);
  const { lab, corosync } = settings;
  return {
    project: names.project,
    stack: names.stack,
    region: settings.region,
    backend: settings.backend,
    networks: byNetwork((name) => network(name, settings)),
    vips: settings.vips,
    hosts: settings.hosts.map((host) => hostConfig(host, bases, lab)).sort((a, b) => a.id - b.id),
    lab: {
      ...lab,
      machineAddresses: byNetwork((name) => formatAddress(bases[name] + lab.machineId)),
    },
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
      virtType: settings.nova.virtType ?? DEFAULT_VIRT_TYPE[settings.backend],
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
  lab: Settings["lab"],
): HostConfig {
  const addresses = byNetwork(
    (name) => host.addresses[name] ?? formatAddress(bases[name] + host.id),
  );
  return {
    name: host.name,
    id: host.id,
    roles: roles.filter((role) => host.roles.includes(role)),
    failureDomain: host.failureDomain ?? host.name,
    addresses,
    bmc: {
      address: formatAddress(parseAddress(addresses.management)! + lab.bmcOffset),
      port: BMC_PORT,
      user: BMC_USER,
    },
  };
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
