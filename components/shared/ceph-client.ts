import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, type HostConfig, hostsWith } from "../../config";
import { ini, secret, uuidFor } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import type { Check, Files, FileSpec } from "../step";

/** Pools by what is in them. */
export const POOLS = ["images", "vms", "volumes"] as const;

/** What each of the store's users may do; `profile rbd` is Ceph's own for block devices. */
export const CEPH_USERS = {
  cinder: {
    mon: "profile rbd",
    mgr: "profile rbd",
    osd: "profile rbd pool=volumes, profile rbd pool=vms, profile rbd-read-only pool=images",
  },
  glance: { mon: "profile rbd", mgr: "profile rbd pool=images", osd: "profile rbd pool=images" },
} as const;

/** Most monitors that take part in each decision. */
const MOST_MONITORS = 5;

/** The hosts that have a monitor: an odd number of those with a disk. */
export function monitors(hosts: Cloud["hosts"]): readonly HostConfig[] {
  const all = hostsWith({ hosts }, "storage");
  return all.slice(0, Math.min(MOST_MONITORS, all.length - ((all.length + 1) % 2)));
}

/** Where the store is, on every host that uses it or is part of it. */
export class CephClient extends Service {
  readonly configured: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("ceph-client", context, opts);

    const install = this.install();
    this.configured = this.stage(
      "configure",
      () => ({ files: { "/etc/ceph/ceph.conf": { content: cephConf(context.cloud) } } }),
      install,
    );
    this.registerOutputs({});
  }

  /** The store answers to each host, once it runs. */
  reached(...after: After[]): PerHost {
    return this.stage(
      "verify",
      (host) => ({ ...cephClientCheck(this.context.cloud, host), script: "lib/verify.sh" }),
      this.configured,
      ...after,
    );
  }
}

/** This host lists what is in the pool of volumes, with the key that is used there. */
export const cephClientCheck: Check = () => ({
  secrets: ["ceph-cinder"],
  verify: "ceph-client/verify.sh",
});

/** The key file of one of the store's users, for the account that reads it. */
export function keyringFile(user: keyof typeof CEPH_USERS, group: string): Files {
  return {
    [`/etc/ceph/ceph.client.${user}.keyring`]: {
      content: ini({ [`client.${user}`]: { key: secret(`ceph-${user}`) } }),
      mode: "0640",
      group,
    } satisfies FileSpec,
  };
}

/** ceph.conf: the same on every host. What is not here is as Ceph has it. */
export function cephConf(cloud: Cloud): string {
  const { ceph, networks } = cloud;
  const members = monitors(cloud.hosts);
  return ini({
    global: {
      auth_allow_insecure_global_id_reclaim: false,
      auth_client_required: "cephx",
      auth_cluster_required: "cephx",
      auth_service_required: "cephx",
      fsid: uuidFor(cloud, "ceph"),
      mon_host: members
        .map(({ addresses: { storage } }) => `[v2:${storage}:3300,v1:${storage}:6789]`)
        .join(","),
      mon_initial_members: members.map((host) => host.name).join(","),
      // A lost monitor is noticed after twice the lease, and the others elect a leader.
      mon_election_timeout: ceph.monitorLeaseSeconds,
      mon_lease: ceph.monitorLeaseSeconds,
      // A disk that was slow before is not given more time than another.
      mon_osd_adjust_heartbeat_grace: false,
      osd_heartbeat_grace: ceph.heartbeatGraceSeconds,
      osd_heartbeat_interval: ceph.heartbeatSeconds,
      osd_pool_default_min_size: ceph.minReplicas,
      osd_pool_default_size: ceph.replicas,
      public_network: networks.storage.cidr,
    },
    osd: {
      bluestore_block_create: true,
      bluestore_block_size: ceph.osdFileGiB * 1024 ** 3,
      osd_memory_target: ceph.osdMemoryMiB * 1024 ** 2,
    },
  });
}
