import type * as pulumi from "@pulumi/pulumi";
import type { hostStates, networkNames, roles, Settings } from "./schema";

/** What the rest of the program knows about a stack's configuration. */

export type Role = (typeof roles)[number];
export type HostState = (typeof hostStates)[number];
export type NetworkName = (typeof networkNames)[number];

export interface Network {
  readonly name: NetworkName;
  /** The network, such as `10.77.0.0/24`. */
  readonly cidr: string;
  readonly prefix: number;
  /** The network's first address, such as `10.77.0.0`. */
  readonly base: string;
  /** Bytes. */
  readonly mtu: number;
  readonly vlan?: number;
  readonly gateway?: string;
}

/** A host's management controller, which fencing speaks to. */
export interface Bmc {
  readonly address: string;
  /** UDP port. */
  readonly port: number;
  readonly user: string;
  /** Its password is the secret `bmc-HOST`, not the one that all have. */
  readonly ownPassword: boolean;
}

/** How a host's SSH server is reached. */
export interface SshAccess {
  readonly address: string;
  /** TCP port. */
  readonly port: number;
  /** Any other than root uses `sudo`. */
  readonly user: string;
  /** As in known_hosts, without the name. Undefined where the host is given a key of the stack's own. */
  readonly hostKey?: string;
}

/** An interface that the host's own network configuration makes. */
export interface NicConfig {
  readonly name: string;
  readonly mac?: string;
  /** Ports of the bond that it is, or is a VLAN of. */
  readonly bond?: readonly string[];
}

/** `provider` is a port on the external network without an address. */
export type PortName = NetworkName | "provider";

/** What inventory hosts have in common. */
export interface InventoryOptions {
  /** A host that all others are reached through. */
  readonly bastion?: SshAccess;
  readonly confinesGuests: boolean;
}

export interface HostConfig {
  readonly name: string;
  /** Unique; also Corosync's node id. */
  readonly id: number;
  /** In the order of `roles`. */
  readonly roles: readonly Role[];
  /** What the host shares its fate with; the host's own name where none was given. */
  readonly failureDomain: string;
  /** What is wanted of it: a drained host has no guests and takes none. */
  readonly state: HostState;
  /** Counts how often it began anew under its name, from 1. */
  readonly rebuild: number;
  readonly addresses: Readonly<Record<NetworkName, string>>;
  readonly ssh: SshAccess;
  /** Each controller has one. */
  readonly bmc?: Bmc;
  /** Those that are named; a backend that makes hosts names its own. */
  readonly ports: Readonly<Partial<Record<PortName, NicConfig>>>;
  /** Whole disks for the store. None: a file, or what the backend makes. */
  readonly disks: readonly string[];
}

export interface LabOptions {
  readonly machineId: number;
  readonly bmcOffset: number;
  /** Seconds. */
  readonly postSeconds: number;
  /** The machine's own address on each network. */
  readonly machineAddresses: Readonly<Record<NetworkName, string>>;
}

/** A machine that carries hosts as virtual machines. */
export interface Hypervisor {
  readonly name: string;
  readonly uri: string;
  readonly kvm: boolean;
  readonly failureDomains: readonly string[];
  /** Those that were there; other networks are made. */
  readonly bridges: Readonly<Partial<Record<NetworkName, string>>>;
  /** How its SSH server is reached from the hosts. */
  readonly fence: SshAccess;
}

export interface LibvirtOptions extends DeepReadonly<
  Omit<Settings["libvirt"], "hypervisors" | "image">
> {
  /** Path or URL; undefined where it is built. */
  readonly image?: string;
  readonly hypervisors: readonly Hypervisor[];
}

/** Milliseconds; see config/schema.ts. */
export interface CorosyncOptions {
  readonly token: number;
  readonly tokenCoefficient: number;
}

export type PacemakerOptions = DeepReadonly<Settings["pacemaker"]>;
export type HaproxyOptions = DeepReadonly<Settings["haproxy"]>;
export type GaleraOptions = DeepReadonly<Settings["galera"]>;
export type DatabaseOptions = DeepReadonly<Settings["database"]>;
export type RabbitmqOptions = DeepReadonly<Settings["rabbitmq"]>;
export type MemcachedOptions = DeepReadonly<Settings["memcached"]>;
export type KeystoneOptions = DeepReadonly<Settings["keystone"]>;
export type WorkersOptions = DeepReadonly<Settings["workers"]>;
export type CephOptions = DeepReadonly<Settings["ceph"]>;
export type NovaOptions = DeepReadonly<Complete<Settings["nova"]>>;
export type NeutronOptions = DeepReadonly<Complete<Settings["neutron"]>>;
export type HorizonOptions = DeepReadonly<Settings["horizon"]>;
export type ContentOptions = DeepReadonly<Complete<Settings["content"]>>;

/** How the public VIP is offered by TLS. Certificates are texts in PEM. */
export interface TlsOptions {
  readonly certificate: string;
  /** Undefined where clients know who signed it. */
  readonly authority?: string;
  /** What clients call the public VIP: a name, or its address. */
  readonly name: string;
}

/** Everything that decides the plan: known before anything runs, without a secret, sorted, frozen. */
export interface Cloud {
  readonly project: string;
  readonly stack: string;
  readonly region: string;
  readonly backend: Settings["backend"];
  readonly networks: Readonly<Record<NetworkName, Network>>;
  /** `internal` is on the management network, `public` on the external one. */
  readonly vips: Readonly<{ internal: string; public: string }>;
  /** Undefined: in clear. */
  readonly tls?: TlsOptions;
  /** By id. */
  readonly hosts: readonly HostConfig[];
  readonly lab: LabOptions;
  readonly inventory: InventoryOptions;
  readonly libvirt: LibvirtOptions;
  readonly corosync: CorosyncOptions;
  readonly pacemaker: PacemakerOptions;
  readonly haproxy: HaproxyOptions;
  readonly galera: GaleraOptions;
  readonly database: DatabaseOptions;
  readonly rabbitmq: RabbitmqOptions;
  readonly memcached: MemcachedOptions;
  readonly keystone: KeystoneOptions;
  readonly workers: WorkersOptions;
  readonly ceph: CephOptions;
  readonly nova: NovaOptions;
  readonly neutron: NeutronOptions;
  readonly horizon: HorizonOptions;
  readonly content: ContentOptions;
  /** Only the versions that were set, by name; all others are 1. */
  readonly secretVersions: Readonly<Record<string, number>>;
}

/** What secrets.ts works from. Both are secret and are never part of `Cloud`. */
export interface SecretInputs {
  /** Undefined where none is set: allowed in a preview only. */
  readonly seed: pulumi.Output<string> | undefined;
  /** Passwords and keys set by hand, by name. */
  readonly overrides: Readonly<Record<string, pulumi.Output<string>>>;
}

/** What was left out has been filled in. */
type Complete<T> = { [K in keyof T]-?: Exclude<T[K], undefined> };

export type DeepReadonly<T> = T extends object
  ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
  : T;

/** Names that a configuration is read under. */
export interface Names {
  /** Also the namespace of the keys. */
  readonly project: string;
  readonly stack: string;
}
