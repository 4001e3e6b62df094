import type { Cloud, HostConfig, Role } from "./config";
import { isWhole as areWhole } from "./config/inventory";
import { once } from "./config/once";

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
  /**
   * Asked less often, and watched by its own traffic in between: what every request of the cloud passes (tokens, SQL) is
   * asked every `haproxy.interMs`, everything else every `haproxy.observedInterMs`, because asking costs CPU at rest.
   */
  readonly observed?: boolean;
  /** While it is up, asked five times less often still: an answer costs a process, or a page drawn for people. */
  readonly costlyCheck?: boolean;
  /** A name for the check's Host header, where the server answers to no other. */
  readonly checkHost?: "vip";
  /** Where the public VIP offers it by TLS, if not at the same port; who asks in clear is sent there. */
  readonly tlsPort?: number;
  /** Requests that last: image data, consoles. */
  readonly patient?: boolean;
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
 * What a changed file does to what runs, and who notices: scripts/<service>/ do it, this says it. The report of a preview,
 * `explain` and docs/architecture.md read it.
 */
export interface TakeUp {
  /** The step that does it. Default start. */
  readonly stage?: "configure" | "bootstrap";
  /** Paths of files that it is for, whichever service writes them; a last `*` stands for any rest. */
  readonly files: readonly string[];
  /** Beginning of lines that its step leaves for the next start. */
  readonly exceptLines?: string;
  readonly how: "reloads" | "restarts";
  /** What does: units, in the words of an operator. */
  readonly what: string;
  /** Hosts take turns, the next one when the one before is well again; otherwise all at once. */
  readonly turns: boolean;
  readonly notice: string;
  /** Whether a request to an API of the cloud can fail meanwhile that its client has to repeat. */
  readonly apiCallsMayFail: boolean;
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
  /** Draining a host stops it: a drained host carries it no more. */
  readonly leaves?: boolean;
  /** Only in a cloud that has compute hosts: controllers alone are an identity service, and a valid cloud. */
  readonly whole?: boolean;
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
  /** The first is that of its API. */
  readonly frontends?: readonly Frontend[];
  readonly registration?: Registration;
  /** Secrets that its hosts hold, besides those that the hosts' own names make. */
  readonly secrets: readonly string[];
  /** Families of secrets of which its hosts hold one for each host that carries it. */
  readonly secretsPerPeer?: readonly string[];
  /** What of a change interrupts something. Empty: nothing does. */
  readonly takeUp: readonly TakeUp[];
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
    takeUp: [],
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
    // And those that its fencing needs, which are the hosts' to name.
    secrets: ["corosync-authkey"],
    takeUp: [
      {
        files: ["/etc/corosync/authkey"],
        how: "reloads",
        what: "Corosync with another key",
        turns: false,
        notice:
          "hosts with the new key and those with the old one do not hear each other until all have it, and may fence each other; not tried yet",
        apiCallsMayFail: true,
      },
      {
        files: ["/etc/corosync/corosync.conf"],
        how: "reloads",
        what: "Corosync",
        turns: false,
        notice: "nobody: timers and members are taken over while it runs",
        apiCallsMayFail: false,
      },
    ],
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
    takeUp: [
      {
        files: ["/etc/haproxy/certs/public.pem", "/etc/haproxy/haproxy.cfg"],
        how: "reloads",
        what: "HAProxy",
        turns: false,
        notice:
          "nobody: listening sockets are handed over; the old process ends with its last connection",
        apiCallsMayFail: false,
      },
    ],
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
    frontends: [
      {
        name: "mariadb",
        port: 3306,
        vips: ["internal"],
        mode: "tcp",
        check: "/",
        checkPort: 9200,
        oneAtATime: true,
      },
    ],
    secrets: [],
    takeUp: [
      {
        stage: "configure",
        files: [
          "/usr/local/lib/openstack-ha/galera-check.py",
          "/etc/systemd/system/galera-check.service",
        ],
        how: "restarts",
        what: "the health check that HAProxy asks",
        turns: true,
        notice:
          "HAProxy may count this node as down for a second; if it is the one that takes writes, its connections are cut and go to another",
        apiCallsMayFail: true,
      },
      {
        files: ["/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf"],
        exceptLines: "wsrep_cluster_address ",
        how: "restarts",
        what: "MariaDB (by Pacemaker)",
        turns: true,
        notice:
          "connections to this node are cut; when it is the one that takes writes, HAProxy fails over to the next, and back to it when it is synced",
        apiCallsMayFail: true,
      },
    ],
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
    takeUp: [
      {
        files: ["/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/rabbitmq-env.conf"],
        how: "restarts",
        what: "RabbitMQ",
        turns: true,
        notice: "services reconnect to another node; queues elect new leaders",
        apiCallsMayFail: true,
      },
      {
        files: ["/var/lib/rabbitmq/.erlang.cookie"],
        how: "restarts",
        what: "RabbitMQ with another cookie",
        turns: true,
        notice:
          "nodes with the new cookie and those with the old one are no cluster until all have it; not tried yet",
        apiCallsMayFail: true,
      },
    ],
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
    takeUp: [
      {
        files: ["/etc/memcached.conf"],
        how: "restarts",
        what: "memcached",
        turns: true,
        notice: "what it held is computed again: some requests take longer",
        apiCallsMayFail: false,
      },
    ],
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
    frontends: [
      {
        name: "keystone",
        port: 5000,
        vips: ["internal", "public"],
        mode: "http",
        check: "/healthcheck",
      },
    ],
    registration: { type: "identity", description: "OpenStack Identity", path: "/v3" },
    secrets: ["keystone-admin", "keystone-db"],
    takeUp: [
      {
        files: ["/etc/keystone/keystone.conf", "/etc/keystone/keystone-uwsgi.ini"],
        how: "reloads",
        what: "Keystone",
        turns: true,
        notice: "nobody: new workers take over and the socket stays",
        apiCallsMayFail: false,
      },
      {
        files: ["/etc/systemd/system/keystone.service.d/*"],
        how: "restarts",
        what: "Keystone",
        turns: true,
        notice: "requests that it is working on end; HAProxy sends the next ones to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "memcached", "haproxy"],
  },
  {
    name: "ceph-client",
    layer: "shared",
    roles: ["controller", "compute", "storage"],
    whole: true,
    mode: "per host",
    manager: "itself",
    why: "where the store is, and the keys of those who use it",
    whenItDies: "nothing runs that could die",
    health: "the store's monitors answer to the host's key",
    packages: ["ceph-common"],
    ports: [],
    secrets: ["ceph-cinder"],
    takeUp: [],
    dependsOn: ["base"],
  },
  {
    name: "ceph",
    layer: "shared",
    roles: ["storage"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "every object is on three hosts; the monitors keep a majority, and one of the managers is active",
    whenItDies:
      "requests to its objects wait until the monitors mark it down (ceph.heartbeatGraceSeconds); the copies take over, and what it missed is copied when it is back",
    health:
      "a majority of the monitors, every disk of the host up and in, no placement group without its copies",
    packages: ["ceph-mgr", "ceph-mon", "ceph-osd"],
    units: [
      "ceph-crash.service",
      "ceph-mgr.target",
      "ceph-mon.target",
      "ceph-osd.target",
      "ceph.target",
      "lvm2-monitor.service",
    ],
    ports: [
      tcp(3300, "monitor"),
      tcp(6789, "monitor, for older clients"),
      tcp(6800, "disks and managers, up to 7300"),
    ],
    secrets: ["ceph-admin", "ceph-cinder", "ceph-glance", "ceph-mon"],
    takeUp: [
      {
        stage: "bootstrap",
        files: ["/etc/ceph/ceph.conf"],
        how: "restarts",
        what: "Ceph's monitor",
        turns: true,
        notice: "nobody while a majority is left; if it was the leader, a new one is elected first",
        apiCallsMayFail: false,
      },
      {
        files: ["/etc/ceph/ceph.conf"],
        how: "restarts",
        what: "Ceph's manager and disk",
        turns: true,
        notice:
          "guests' writes to its objects wait until the other copies take over, or it is back",
        apiCallsMayFail: false,
      },
    ],
    dependsOn: ["ceph-client"],
  },
  {
    name: "glance",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "stateless: images are in Ceph, and what is known of them in the database",
    whenItDies: "HAProxy drops it; an upload through it fails and is repeated by its client",
    health: "/healthcheck",
    packages: ["glance-api", "python3-memcache", "python3-pymysql", "python3-rbd"],
    units: ["glance-api.service"],
    ports: [tcp(9292, "Image API")],
    frontends: [
      {
        name: "glance",
        port: 9292,
        vips: ["internal", "public"],
        mode: "http",
        check: "/healthcheck",
        observed: true,
        patient: true,
      },
    ],
    registration: { type: "image", description: "OpenStack Image", path: "" },
    secrets: ["ceph-glance", "glance", "glance-db"],
    takeUp: [
      {
        files: [
          "/etc/ceph/ceph.client.glance.keyring",
          "/etc/glance/glance-api.conf",
          "/etc/systemd/system/glance-api.service.d/*",
        ],
        how: "restarts",
        what: "Glance's API",
        turns: true,
        notice:
          "uploads and downloads through it end and are repeated by their clients; HAProxy sends the next requests to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "memcached", "haproxy", "keystone", "ceph-client"],
  },
  {
    name: "placement",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "stateless: what it knows is in the database",
    whenItDies: "HAProxy drops it; systemd restarts it",
    health: "its root answers with its versions",
    packages: ["placement-api", "python3-memcache", "python3-pymysql"],
    units: ["placement-api.service"],
    ports: [tcp(8778, "Placement API")],
    frontends: [
      {
        name: "placement",
        port: 8778,
        vips: ["internal", "public"],
        mode: "http",
        check: "/",
        observed: true,
      },
    ],
    registration: { type: "placement", description: "OpenStack Placement", path: "" },
    secrets: ["placement", "placement-db"],
    takeUp: [
      {
        files: ["/etc/placement/placement.conf", "/etc/placement/placement-api-uwsgi.ini"],
        how: "reloads",
        what: "Placement's API",
        turns: true,
        notice: "nobody: new workers take over and the socket stays",
        apiCallsMayFail: false,
      },
      {
        files: ["/etc/systemd/system/placement-api.service.d/*"],
        how: "restarts",
        what: "Placement's API",
        turns: true,
        notice: "requests that it is working on end; HAProxy sends the next ones to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "memcached", "haproxy", "keystone"],
  },
  {
    name: "nova",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "APIs are stateless; conductors and schedulers take turns at the same queues",
    whenItDies:
      "HAProxy drops its APIs; other conductors and schedulers take what is in the queues; a console has to be opened again",
    health:
      "the API answers with its versions, and the database has seen conductor and scheduler lately",
    packages: [
      "nova-api",
      "nova-conductor",
      "nova-consoleproxy",
      "nova-scheduler",
      "python3-memcache",
      "python3-pymysql",
    ],
    units: [
      "nova-api-metadata.service",
      "nova-api.service",
      "nova-conductor.service",
      "nova-novncproxy.service",
      "nova-scheduler.service",
    ],
    disabled: ["nova-serialproxy.service", "nova-spicehtml5proxy.service"],
    ports: [
      tcp(8774, "Compute API"),
      tcp(8775, "metadata, for the agents on the compute hosts"),
      tcp(6080, "consoles (noVNC)"),
    ],
    frontends: [
      {
        name: "nova",
        port: 8774,
        vips: ["internal", "public"],
        mode: "http",
        check: "/",
        observed: true,
      },
      {
        name: "nova-metadata",
        port: 8775,
        vips: ["internal"],
        mode: "http",
        check: "/",
        observed: true,
      },
      {
        name: "nova-novncproxy",
        port: 6080,
        vips: ["public"],
        mode: "http",
        check: "/vnc_lite.html",
        observed: true,
        costlyCheck: true,
        patient: true,
      },
    ],
    registration: { type: "compute", description: "OpenStack Compute", path: "/v2.1" },
    secrets: [
      "cinder",
      "neutron",
      "neutron-metadata",
      "nova",
      "nova-db",
      "placement",
      "rabbitmq-openstack",
    ],
    takeUp: [
      {
        files: [
          "/etc/nova/nova.conf",
          "/etc/nova/nova-api-uwsgi.ini",
          "/etc/nova/nova-api-metadata-uwsgi.ini",
        ],
        how: "restarts",
        what: "Nova's conductor, scheduler and console proxy",
        turns: true,
        notice:
          "open consoles end; work in the queues is taken by the other controllers; the APIs reload, and their sockets stay",
        apiCallsMayFail: false,
      },
      {
        files: [
          "/etc/systemd/system/nova-api*",
          "/etc/systemd/system/nova-conductor.service.d/*",
          "/etc/systemd/system/nova-novncproxy.service.d/*",
          "/etc/systemd/system/nova-scheduler.service.d/*",
        ],
        how: "restarts",
        what: "all of Nova's units",
        turns: true,
        notice:
          "open consoles end; requests that it is working on end; HAProxy sends the next ones to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "rabbitmq", "memcached", "haproxy", "keystone", "placement"],
  },
  {
    name: "ovn",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "itself",
    why: "its two databases are Raft clusters and elect their leaders; one northd of all holds their lock and works",
    whenItDies:
      "the databases elect a leader within seconds and another northd takes the lock; guests' packets go on all the while",
    health: "both databases have a leader, this host is a member, northd is active or waits",
    packages: ["ovn-central"],
    units: [
      "ovn-central.service",
      "ovn-northd.service",
      "ovn-ovsdb-server-nb.service",
      "ovn-ovsdb-server-sb.service",
    ],
    ports: [
      tcp(6641, "northbound database"),
      tcp(6642, "southbound database"),
      tcp(6643, "northbound Raft"),
      tcp(6644, "southbound Raft"),
    ],
    secrets: [],
    takeUp: [
      {
        files: [
          "/etc/default/ovn-central",
          "/etc/systemd/system/ovn-northd.service.d/*",
          "/etc/systemd/system/ovn-ovsdb-server-*",
        ],
        how: "restarts",
        what: "OVN's databases and northd",
        turns: true,
        notice:
          "a change of a network may wait for seconds while a leader is elected; guests' packets go on",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["pacemaker"],
  },
  {
    name: "ovn-chassis",
    layer: "openstack",
    roles: ["compute", "network"],
    leaves: true,
    whole: true,
    mode: "per host",
    manager: "systemd",
    why: "switches the packets of the guests on its host; a network host is also a gateway, and each router has gateways in order of priority",
    whenItDies: "the next gateway in a router's order takes over (BFD over the tunnels)",
    health:
      "Open vSwitch runs, the controller is connected to the southbound database, the planned bridges and ports are up",
    packages: ["openvswitch-switch", "ovn-host"],
    units: [
      "openvswitch-switch.service",
      "ovn-controller.service",
      "ovn-host.service",
      "ovs-record-hostname.service",
    ],
    ports: [udp(6081, "Geneve, on the tunnel network"), udp(3784, "BFD, in the tunnels")],
    secrets: [],
    takeUp: [
      {
        files: ["/etc/openvswitch/system-id.conf", "/etc/systemd/network/40-*"],
        how: "restarts",
        what: "Open vSwitch and OVN's controller",
        turns: false,
        notice:
          "guests of the host, and floating addresses through it if it is a gateway, lose packets for seconds; controllers take turns, all other hosts do it at once",
        apiCallsMayFail: false,
      },
    ],
    dependsOn: ["base"],
  },
  {
    name: "neutron",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "stateless: networks are in its database and in OVN's; the maintenance workers agree by a lock there",
    whenItDies:
      "HAProxy drops its API; what it had begun is mended by another's maintenance worker",
    health: "the API answers with its versions, and all workers run",
    packages: [
      "neutron-api",
      "neutron-ovn-maintenance-worker",
      "neutron-periodic-workers",
      "neutron-rpc-server",
      "python3-memcache",
      "python3-pymysql",
    ],
    units: [
      "neutron-api.service",
      "neutron-ovn-maintenance-worker.service",
      "neutron-periodic-workers.service",
      "neutron-rpc-server.service",
    ],
    ports: [tcp(9696, "Network API")],
    frontends: [
      {
        name: "neutron",
        port: 9696,
        vips: ["internal", "public"],
        mode: "http",
        check: "/",
        observed: true,
      },
    ],
    registration: { type: "network", description: "OpenStack Network", path: "" },
    secrets: ["neutron", "neutron-db", "nova", "placement", "rabbitmq-openstack"],
    takeUp: [
      {
        files: [
          "/etc/neutron/neutron.conf",
          "/etc/neutron/plugins/ml2/ml2_conf.ini",
          "/etc/neutron/neutron-api-uwsgi.ini",
        ],
        how: "restarts",
        what: "Neutron's RPC server and workers",
        turns: true,
        notice:
          "nobody: what they had begun is taken by another controller; the API reloads, and its socket stays",
        apiCallsMayFail: false,
      },
      {
        files: [
          "/etc/systemd/system/neutron-api.service.d/*",
          "/etc/systemd/system/neutron-rpc-server.service.d/*",
          "/etc/systemd/system/neutron-ovn-maintenance-worker.service",
          "/etc/systemd/system/neutron-periodic-workers.service",
        ],
        how: "restarts",
        what: "all of Neutron's units",
        turns: true,
        notice: "requests that it is working on end; HAProxy sends the next ones to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "rabbitmq", "memcached", "haproxy", "keystone", "ovn"],
  },
  {
    name: "cinder",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "volumes are in Ceph, so any host can work on any of them: all are one `cluster`, and agree by locks in the database",
    whenItDies: "HAProxy drops its API; another member of the cluster takes what is in the queue",
    health: "/healthcheck, and the database has seen scheduler and volume service lately",
    packages: [
      "cinder-api",
      "cinder-scheduler",
      "cinder-volume",
      "python3-memcache",
      "python3-pymysql",
      "python3-rbd",
    ],
    units: ["cinder-api.service", "cinder-scheduler.service", "cinder-volume.service"],
    disabled: ["iscsid.socket", "open-iscsi.service", "tgt.service"],
    ports: [tcp(8776, "Block Storage API")],
    frontends: [
      {
        name: "cinder",
        port: 8776,
        vips: ["internal", "public"],
        mode: "http",
        check: "/healthcheck",
        observed: true,
      },
    ],
    // The type that clients of today and of yesterday find it by.
    registration: {
      type: "volumev3",
      description: "OpenStack Block Storage",
      path: "/v3",
    },
    secrets: ["ceph-cinder", "cinder", "cinder-db", "nova", "rabbitmq-openstack"],
    takeUp: [
      {
        files: [
          "/etc/ceph/ceph.client.cinder.keyring",
          "/etc/cinder/cinder.conf",
          "/etc/cinder/cinder-api-uwsgi.ini",
        ],
        how: "restarts",
        what: "Cinder's scheduler and volume service",
        turns: true,
        notice:
          "a volume that is being made or moved there may end in an error; another controller takes what is in the queue; the API reloads, and its socket stays",
        apiCallsMayFail: false,
      },
      {
        files: [
          "/etc/systemd/system/cinder-api.service.d/*",
          "/etc/systemd/system/cinder-scheduler.service.d/*",
          "/etc/systemd/system/cinder-volume.service.d/*",
        ],
        how: "restarts",
        what: "all of Cinder's units",
        turns: true,
        notice: "requests that it is working on end; HAProxy sends the next ones to the others",
        apiCallsMayFail: true,
      },
    ],
    dependsOn: ["mariadb", "rabbitmq", "memcached", "haproxy", "keystone", "ceph-client"],
  },
  {
    name: "horizon",
    layer: "openstack",
    roles: ["controller"],
    whole: true,
    mode: "active/active",
    manager: "systemd",
    why: "stateless: sessions are in the database, so a person stays logged in when a controller dies",
    whenItDies: "HAProxy drops it; the next click goes to another controller",
    health: "its login page, asked under the public address",
    packages: [
      "libapache2-mod-wsgi-py3",
      "openstack-dashboard",
      "openstack-dashboard-apache",
      "python3-mysqldb",
    ],
    units: ["apache2.service"],
    disabled: ["apache-htcacheclean.service"],
    ports: [tcp(80, "dashboard")],
    frontends: [
      {
        name: "horizon",
        port: 80,
        vips: ["public"],
        mode: "http",
        check: "/horizon/auth/login/",
        checkHost: "vip",
        tlsPort: 443,
        observed: true,
        costlyCheck: true,
      },
    ],
    secrets: ["horizon", "horizon-db"],
    takeUp: [
      {
        files: [
          "/etc/apache2/ports.conf",
          "/etc/apache2/sites-enabled/openstack-ha.conf",
          "/etc/openstack-dashboard/local_settings.d/*",
        ],
        how: "restarts",
        what: "Apache",
        turns: true,
        notice: "a click may fail once; sessions stay",
        apiCallsMayFail: false,
      },
    ],
    dependsOn: ["mariadb", "haproxy", "keystone"],
  },
  {
    name: "nova-compute",
    layer: "openstack",
    roles: ["compute"],
    whole: true,
    mode: "per host",
    manager: "systemd",
    why: "runs the guests of its host; their disks are in Ceph, so that they can move",
    whenItDies:
      "its guests go on without it; if the host dies, so do they, and can be evacuated to another",
    health: "libvirt answers, and Nova counts the service as up and the host as mapped to its cell",
    packages: ["nova-compute", "nova-compute-kvm", "python3-memcache"],
    units: [
      "libvirtd-admin.socket",
      "libvirtd-ro.socket",
      "libvirtd.service",
      "libvirtd.socket",
      "nova-compute.service",
      "virtlogd-admin.socket",
      "virtlogd.socket",
    ],
    disabled: [
      "iscsid.socket",
      "libvirt-guests.service",
      "open-iscsi.service",
      "virtlockd-admin.socket",
      "virtlockd.socket",
    ],
    ports: [
      tcp(5900, "consoles (VNC), up to 6900, for the proxies"),
      tcp(49152, "live migration, up to 49215"),
    ],
    secrets: [
      "ceph-cinder",
      "cinder",
      "neutron",
      "nova",
      "placement",
      "rabbitmq-openstack",
      "ssh-nova",
    ],
    secretsPerPeer: ["ssh-known"],
    takeUp: [
      {
        files: ["/etc/libvirt/qemu.conf"],
        how: "restarts",
        what: "libvirt and nova-compute",
        turns: false,
        notice:
          "guests go on; a server that is being made, moved or removed on the host may end in an error",
        apiCallsMayFail: false,
      },
      {
        files: [
          "/etc/ceph/ceph.client.cinder.keyring",
          "/etc/nova/migration/id_ed25519",
          "/etc/nova/nova.conf",
          "/etc/systemd/system/nova-compute.service.d/*",
        ],
        how: "restarts",
        what: "nova-compute",
        turns: false,
        notice:
          "guests go on; a server that is being made, moved or removed on the host may end in an error",
        apiCallsMayFail: false,
      },
    ],
    dependsOn: ["nova", "neutron", "ovn-chassis", "ceph-client"],
  },
  {
    name: "neutron-metadata",
    layer: "openstack",
    roles: ["compute"],
    leaves: true,
    whole: true,
    mode: "per host",
    manager: "systemd",
    why: "answers the guests of its host on 169.254.169.254",
    whenItDies:
      "guests of its host get no metadata until systemd has restarted it; those that run are not touched",
    health: "it runs, and is connected to the southbound database",
    packages: ["haproxy", "neutron-ovn-metadata-agent"],
    units: ["neutron-ovn-metadata-agent.service"],
    // It starts HAProxy itself, one for each network.
    disabled: ["haproxy.service"],
    ports: [],
    secrets: ["neutron-metadata"],
    takeUp: [
      {
        files: [
          "/etc/neutron/neutron_ovn_metadata_agent.ini",
          "/etc/systemd/system/neutron-ovn-metadata-agent.service.d/*",
        ],
        how: "restarts",
        what: "the metadata agent",
        turns: false,
        notice: "guests that boot meanwhile ask again",
        apiCallsMayFail: false,
      },
    ],
    dependsOn: ["ovn", "ovn-chassis", "nova"],
  },
] as const satisfies readonly ServiceEntry[];

export type ServiceName = (typeof ENTRIES)[number]["name"];

/** In the order in which a controller needs them. */
export const SERVICES: readonly ServiceEntry[] = ENTRIES;

/** The entry of a service. */
export function service(name: ServiceName): ServiceEntry {
  return ENTRIES.find((entry) => entry.name === name) as ServiceEntry;
}

/** Whether a cloud runs guests, and so has all services. */
export function isWhole(cloud: Pick<Cloud, "hosts">): boolean {
  return hasCompute(cloud.hosts);
}

const hasCompute = once((hosts: Cloud["hosts"]) => areWhole(hosts));

/** The services that a cloud has. */
export function servicesIn(cloud: Pick<Cloud, "hosts">): readonly ServiceEntry[] {
  const whole = isWhole(cloud);
  return SERVICES.filter((entry) => whole || !entry.whole);
}

/** A host as it is asked what it carries; one whose state is not told is active. */
type Carrier = Pick<HostConfig, "roles"> & Partial<Pick<HostConfig, "state">>;

/** What runs on a host of a cloud. */
export function servicesOf(cloud: Pick<Cloud, "hosts">, host: Carrier): readonly ServiceEntry[] {
  return servicesIn(cloud).filter((entry) => carries(host, entry));
}

/** The hosts that carry a service. */
export function carriers<H extends Carrier>(
  { hosts }: { readonly hosts: readonly H[] },
  entry: Pick<ServiceEntry, "leaves" | "roles">,
): readonly H[] {
  return carriersAmong(hosts, String(entry.leaves === true), ...entry.roles) as readonly H[];
}

const carriersAmong = once((hosts: readonly Carrier[], leaves: string, ...roles: string[]) =>
  hosts.filter((host) => carries(host, { leaves: leaves === "true", roles: roles as Role[] })),
);

function carries(host: Carrier, entry: Pick<ServiceEntry, "leaves" | "roles">): boolean {
  return (
    host.roles.some((role) => entry.roles.includes(role)) &&
    !(entry.leaves && host.state === "drained")
  );
}
