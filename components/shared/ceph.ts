import type * as pulumi from "@pulumi/pulumi";
import { digest, ini, secret, uuidFor } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, withParams } from "../step";
import { CEPH_USERS, cephConf, monitors, POOLS } from "./ceph-client";

/** Ceph on the storage hosts: a monitor, a manager and a disk on each. */
export class Ceph extends Service {
  /** Every object can be written, with all its copies. */
  readonly ready: PerHost;

  constructor(
    context: Context,
    args: { readonly configured: PerHost },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("ceph", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      () => ({ files: cephFiles() }),
      install,
      args.configured,
    );
    const members = monitors(cloud.hosts);
    // Another component writes the daemons' file; when it changes, they start anew.
    const conf = { configuration: digest(cephConf(cloud)) };
    const bootstrap = this.stage(
      "bootstrap",
      () => ({
        params: {
          ...conf,
          fsid: uuidFor(cloud, "ceph"),
          groups: cloud.ceph.placementGroups,
          min_size: cloud.ceph.minReplicas,
          monitors: members.map((host) => `${host.name} ${host.addresses.storage}`),
          pools: POOLS,
          size: cloud.ceph.replicas,
          users: Object.keys(CEPH_USERS),
        },
        // A rotated key is given to the store under its new version.
        secrets: Object.keys(CEPH_USERS).map((user) => `ceph-${user}`),
        script: this.script("bootstrap.sh"),
      }),
      // A monitor waits for a majority of them.
      everywhere(configure),
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(cephCheck(cloud, host), {
          ...conf,
          osd: uuidFor(cloud, `osd-${host.name}`),
        }),
        script: this.script("start.sh"),
      }),
      bootstrap,
    );
    this.registerOutputs({});
  }

  /** All hosts of the store, for what reads and writes it. */
  get everywhere(): After {
    return everywhere(this.ready);
  }
}

/** This host's part of the store works, and no object lacks a copy. */
export const cephCheck: Check = (cloud, host) => ({
  params: {
    disks: cloud.hosts.filter(({ roles }) => roles.includes("storage")).length,
    monitor: monitors(cloud.hosts).some(({ name }) => name === host.name),
  },
  verify: "ceph/verify.sh",
});

export function cephFiles(): Files {
  const all = { mds: "allow *", mgr: "allow *", mon: "allow *", osd: "allow *" };
  const administrator = { "client.admin": entity("ceph-admin", all) };
  return {
    "/etc/ceph/ceph.client.admin.keyring": { content: ini(administrator), mode: "0600" },
    // What a new monitor starts with, and what the keys of the users are compared with.
    "/etc/ceph/ceph.mon.keyring": {
      content: ini({
        "mon.": entity("ceph-mon", { mon: "allow *" }),
        ...administrator,
        ...Object.fromEntries(
          Object.entries(CEPH_USERS).map(([user, caps]) => [
            `client.${user}`,
            entity(`ceph-${user}`, caps),
          ]),
        ),
      }),
      mode: "0600",
      owner: "ceph",
      group: "ceph",
    },
  };
}

function entity(name: string, caps: Readonly<Record<string, string>>): Record<string, string> {
  return {
    key: secret(name),
    ...Object.fromEntries(
      Object.entries(caps).map(([daemon, cap]) => [`caps ${daemon}`, `"${cap}"`]),
    ),
  };
}
