import { readStackFile, type Options } from "../../fixtures/config/fixtures";

/** The clouds whose files are kept as snapshots and shown to the daemons' own checkers. */
export interface SnapshotCloud {
  /** Also the folder of its snapshots. */
  readonly name: string;
  readonly stack: string;
  readonly options: Options;
}

/** The development stack as it is committed: three controllers that are network and storage hosts too, and two compute hosts. */
export const development: SnapshotCloud = {
  name: "development",
  stack: "dev",
  options: readStackFile("Pulumi.dev.yaml"),
};

/** Controllers and nothing else: an identity service. As it is committed. */
export const alone: SnapshotCloud = {
  name: "controllers-alone",
  stack: "controllers",
  options: readStackFile("Pulumi.controllers.yaml"),
};

/** Five controllers, hosts of every mixture of roles, and another value than the default for every option there is. */
export const five: SnapshotCloud = {
  name: "five-controllers",
  stack: "north-5",
  options: {
    region: "Region.North_2",
    backend: "lab",
    networks: {
      management: { cidr: "172.20.0.0/22", mtu: 9000, vlan: 20, gateway: "172.20.3.254" },
      tunnel: { cidr: "172.20.4.0/22", mtu: 9000, vlan: 21 },
      storage: { cidr: "172.20.8.0/22", mtu: 8000, vlan: 22 },
      external: { cidr: "198.51.100.0/24", mtu: 1400, vlan: 23, gateway: "198.51.100.254" },
    },
    vips: { internal: "172.20.0.250", public: "198.51.100.250" },
    tls: {
      certificate: "test/fixtures/tls/five.pem",
      authority: "test/fixtures/tls/five.pem",
      name: "cloud.north.example",
    },
    hosts: [
      { name: "alpha", id: 11, roles: ["controller"], failureDomain: "room-a" },
      { name: "bravo-2", id: 12, roles: ["controller", "network"], failureDomain: "room-b" },
      { name: "charlie", id: 13, roles: ["controller", "storage"], failureDomain: "room-a" },
      { name: "delta", id: 14, roles: ["controller", "storage"], failureDomain: "room-b" },
      {
        name: "echo",
        id: 15,
        roles: ["controller", "network", "storage"],
        failureDomain: "room-c",
        addresses: {
          management: "172.20.1.5",
          tunnel: "172.20.5.5",
          storage: "172.20.9.5",
          external: "198.51.100.55",
        },
      },
      { name: "foxtrot", id: 21, roles: ["compute"], failureDomain: "room-c" },
      {
        name: "golf",
        id: 22,
        roles: ["compute", "network", "storage"],
        failureDomain: "room-a",
      },
    ],
    lab: { machineId: 2, bmcOffset: 200, postSeconds: 7 },
    corosync: { token: 1500, tokenCoefficient: 325 },
    pacemaker: {
      stonithAction: "off",
      monitorSeconds: 7,
      clusterRecheckSeconds: 90,
      migrationThreshold: 2,
      failureTimeoutSeconds: 120,
      dcDeadtimeSeconds: 5,
    },
    haproxy: {
      interMs: 1250,
      observedInterMs: 3500,
      observedCheckTimeout: "8s",
      fall: 3,
      rise: 4,
      connectTimeout: "1500ms",
      checkTimeout: "2s",
      clientTimeout: "90s",
      serverTimeout: "95s",
      patientTimeout: "3h",
      databaseTimeout: "2h",
      maxconn: 2500,
    },
    galera: {
      bufferPoolMiB: 512,
      maxConnections: 2000,
      gcacheMiB: 256,
      evs: {
        keepalivePeriod: "PT0.75S",
        inactiveCheckPeriod: "PT0.5S",
        suspectTimeout: "PT2.5S",
        inactiveTimeout: "PT5S",
        installTimeout: "PT4S",
      },
    },
    database: { poolSize: 7, poolOverflow: 20, recycleSeconds: 900, timeoutSeconds: 45 },
    rabbitmq: {
      memoryHighWatermarkMiB: 768,
      diskFreeLimitMiB: 256,
      netTickSeconds: 20,
      schedulers: 2,
    },
    memcached: {
      memoryMiB: 128,
      maxConnections: 2048,
      socketTimeoutMs: 350,
      deadRetrySeconds: 45,
    },
    keystone: {
      processes: 3,
      threads: 2,
      tokenExpirationSeconds: 7200,
      allowExpiredWindowSeconds: 86400,
      fernet: { version: 7, maxActiveKeys: 4 },
      passwordHashRounds: 10,
      debug: true,
    },
    workers: { apiProcesses: 3, apiThreads: 6, rpc: 2 },
    ceph: {
      replicas: 4,
      minReplicas: 3,
      placementGroups: 32,
      osdFileGiB: 40,
      osdMemoryMiB: 1536,
      heartbeatSeconds: 3,
      monitorLeaseSeconds: 4,
      heartbeatGraceSeconds: 12,
    },
    nova: {
      virtType: "kvm",
      reportIntervalSeconds: 7,
      serviceDownSeconds: 35,
      discoverHostsSeconds: 45,
      cpuAllocationRatio: 2.5,
      debug: true,
    },
    neutron: { datapath: "kernel", debug: true },
    horizon: { processes: 2, threads: 3, sessionMinutes: 90 },
    content: {
      enabled: false,
      testImage: false,
      flavors: [{ name: "s1.large", vcpus: 4, ramMiB: 8192, diskGiB: 80 }],
      floatingPool: { start: "198.51.100.100", end: "198.51.100.199" },
      quotas: {
        instances: 11,
        cores: 22,
        ramMiB: 33000,
        volumes: 44,
        gigabytes: 55,
        floatingips: 6,
      },
    },
    secretVersions: { "keystone-db": 2, "pacemaker-bmc": 3, "ssh-host-golf": 2 },
  },
};

export const clouds: readonly SnapshotCloud[] = [development, alone, five];
