import type { Role } from "./config";

/** How HAProxy offers a service behind the virtual IPs. */
export interface Frontend {
  readonly name: string;
  readonly port: number;
  readonly vips: readonly ("internal" | "public")[];
  readonly mode: "http" | "tcp";
  /** HTTP path that says whether the server can do its work. */
  readonly check: string;
  /** Port of the check, where it is not the service's own. */
  readonly checkPort?: number;
  /** One server takes all connections, the others wait for its end: for what must have one writer. */
  readonly oneAtATime?: boolean;
}

export interface Port {
  readonly port: number;
  readonly protocol: "tcp" | "udp";
  readonly purpose: string;
}

/** What Keystone's catalogue says of a service. */
export interface Registration {
  /** The type that clients look for. */
  readonly type: string;
  readonly description: string;
  /** Appended to the VIP's address. */
  readonly path: string;
}

/**
 * One service, as data. HAProxy's frontends, the images of the lab, the status table, the architecture table and the
 * policies read this: a port or a mode is written down once.
 */
export interface ServiceEntry {
  readonly name: string;
  readonly layer: "hosts" | "ha" | "shared" | "openstack";
  /** A host with any of these roles carries it. */
  readonly roles: readonly Role[];
  readonly mode: "active/active" | "active/passive" | "per host";
  /** Who starts it, watches it and restarts it. */
  readonly manager: "systemd" | "Pacemaker" | "systemd, Pacemaker" | "itself";
  /** Why this mode and this manager. */
  readonly why: string;
  /** What the cluster does when it, or its host, dies. */
  readonly whenItDies: string;
  /** What is asked to know that it works. */
  readonly health: string;
  readonly packages: readonly string[];
  /** Units that Debian enables when it installs the packages; here they start once they are configured. */
  readonly units?: readonly string[];
  /** Units that are never enabled: Pacemaker starts them, or nothing does. */
  readonly disabled?: readonly string[];
  /** Units that must not be started by anyone, also not as another unit's dependency. */
  readonly masked?: readonly string[];
  readonly ports: readonly Port[];
  readonly frontend?: Frontend;
  readonly registration?: Registration;
  /** Secrets that its hosts hold, besides those that the hosts' own names make. */
  readonly secrets: readonly string[];
  readonly dependsOn: readonly string[];
}

const tcp = (port: number, purpose: string): Port => ({ port, protocol: "tcp", purpose });
const udp = (port: number, purpose: string): Port => ({ port, protocol: "udp", purpose });

const ENTRIES = [
  {
    name: "base",
    layer: "hosts",
    roles: ["controller", "compute", "network", "storage"],
    mode: "per host",
    manager: "systemd",
    why: "names, kernel settings and tools that every host needs",
    whenItDies: "nothing runs that could die",
    health: "no failed unit",
    packages: ["ca-certificates", "curl", "jq", "procps", "python3", "rsync", "socat"],
    ports: [tcp(22, "SSH, from the deployer")],
    secrets: [],
    dependsOn: [],
  },
  {
    name: "pacemaker",
    layer: "ha",
    roles: ["controller"],
    mode: "active/active",
    manager: "systemd",
    why: "decides, with quorum and fencing, where what must be one runs; it cannot manage itself",
    whenItDies: "the survivors fence the host through its BMC and take over what it ran",
    health: "quorum, every controller online, no failed resource, a fencing device a node",
    packages: [
      "corosync",
      "fence-agents-ipmilan",
      "ipmitool",
      "pacemaker",
      "pacemaker-cli-utils",
      "pcs",
      "resource-agents",
    ],
    // pcsd listens to the network and takes half a gigabyte; the plan does what it would be asked for.
    disabled: ["pcsd-ruby.service", "pcsd.service"],
    units: ["corosync.service", "pacemaker.service"],
    ports: [udp(5405, "Corosync (knet)"), udp(623, "IPMI, to the BMCs")],
    secrets: ["corosync-authkey", "pacemaker-bmc"],
    dependsOn: ["base"],
  },
  {
    name: "haproxy",
    layer: "ha",
    roles: ["controller"],
    mode: "active/active",
    manager: "Pacemaker",
    why: "runs on every controller so that a VIP finds it wherever it goes; Pacemaker keeps a VIP off a host whose HAProxy is down",
    whenItDies:
      "Pacemaker restarts it in place within its monitor interval; after three failures a VIP on that host moves away",
    health: "the unit is active and answers on its socket",
    packages: ["haproxy"],
    disabled: ["haproxy.service"],
    ports: [],
    secrets: [],
    dependsOn: ["pacemaker"],
  },
  {
    name: "mariadb",
    layer: "shared",
    roles: ["controller"],
    mode: "active/active",
    manager: "Pacemaker",
    why: "Galera replicates to all; HAProxy sends all writes to one node, which spares OpenStack certification conflicts; Pacemaker's agent finds the most advanced node after a total loss",
    whenItDies: "HAProxy turns to the next synced node; the agent restarts or rejoins it",
    health: "wsrep_ready, and wsrep_local_state synced or donor, over HTTP on port 9200",
    packages: [
      "galera-4",
      "mariadb-backup",
      "mariadb-client",
      "mariadb-server",
      "python3-pymysql",
      "socat",
    ],
    // Pacemaker's agent runs the server itself. Debian's OpenStack units want mysql.service, and systemd would start a
    // second server on the same files.
    masked: ["mariadb.service"],
    ports: [
      tcp(3306, "SQL"),
      tcp(4444, "state transfer (SST)"),
      tcp(4567, "Galera"),
      tcp(4568, "incremental state transfer"),
      tcp(9200, "health check"),
    ],
    frontend: {
      name: "mariadb",
      port: 3306,
      vips: ["internal"],
      mode: "tcp",
      check: "/",
      checkPort: 9200,
      oneAtATime: true,
    },
    secrets: [],
    dependsOn: ["pacemaker", "haproxy"],
  },
  {
    name: "rabbitmq",
    layer: "shared",
    roles: ["controller"],
    mode: "active/active",
    manager: "systemd",
    why: "quorum queues elect their leaders themselves; clients know every node, so no VIP is needed",
    whenItDies:
      "queues elect new leaders, clients reconnect to another node; systemd restarts it and it rejoins",
    health: "the node runs with a majority of the members, and no partition or alarm is known",
    packages: ["rabbitmq-server"],
    units: ["rabbitmq-server.service"],
    ports: [tcp(4369, "Erlang port mapper"), tcp(5672, "AMQP"), tcp(25672, "Erlang distribution")],
    secrets: ["rabbitmq-cookie", "rabbitmq-openstack"],
    dependsOn: ["base"],
  },
  {
    name: "memcached",
    layer: "shared",
    roles: ["controller"],
    mode: "active/active",
    manager: "systemd",
    why: "a cache: clients spread keys over all and do without a dead one",
    whenItDies: "its keys are computed again; clients skip it for 30 s",
    health: "answers `version`",
    packages: ["memcached"],
    units: ["memcached.service"],
    ports: [tcp(11211, "memcached")],
    secrets: [],
    dependsOn: ["base"],
  },
  {
    name: "keystone",
    layer: "openstack",
    roles: ["controller"],
    mode: "active/active",
    manager: "systemd",
    why: "stateless: what it knows is in the database, and every host has the same Fernet keys",
    whenItDies: "HAProxy drops it after haproxy.fall failed checks; systemd restarts it",
    health: "/healthcheck for HAProxy; a token is issued and validated for status",
    packages: ["keystone", "python3-memcache", "python3-openstackclient", "python3-pymysql"],
    units: ["keystone.service"],
    ports: [tcp(5000, "Identity API")],
    frontend: {
      name: "keystone",
      port: 5000,
      vips: ["internal", "public"],
      mode: "http",
      check: "/healthcheck",
    },
    registration: { type: "identity", description: "OpenStack Identity", path: "/v3" },
    secrets: ["keystone-admin", "keystone-db"],
    dependsOn: ["mariadb", "memcached", "haproxy"],
  },
] as const satisfies readonly ServiceEntry[];

export type ServiceName = (typeof ENTRIES)[number]["name"];

/** In the order in which a controller needs them. */
export const SERVICES: readonly ServiceEntry[] = ENTRIES;

/** The entry of a service. */
export function service(name: ServiceName): ServiceEntry {
  return ENTRIES.find((entry) => entry.name === name) as ServiceEntry;
}

/** What runs on a host with these roles. */
export function servicesOf(roles: readonly Role[]): readonly ServiceEntry[] {
  return SERVICES.filter((entry) => entry.roles.some((role) => roles.includes(role)));
}
