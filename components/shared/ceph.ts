import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { digest, ini, lines, secret, uuidFor } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, TURN_SECONDS, withParams } from "../step";
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
      (host) => ({ files: { ...cephFiles(), ...diskFiles(host) } }),
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
        // A monitor whose configuration is another one waits for its turn, as what a start step restarts does.
        timeout: TURN_SECONDS,
      }),
      // A monitor waits for a majority of them.
      everywhere(configure),
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(cephCheck(cloud, host), {
          ...conf,
          disks_here: disksOf(cloud, host),
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
    disks: hostsWith(cloud, "storage").reduce(
      (sum, { disks }) => sum + Math.max(1, disks.length),
      0,
    ),
    monitor: monitors(cloud.hosts).some(({ name }) => name === host.name),
  },
  verify: "ceph/verify.sh",
});

/** The identifier of each disk, and its device; a host without a device has a file. */
function disksOf(cloud: Cloud, { name, disks }: Pick<Host, "name" | "disks">): string[] {
  return disks.length === 0
    ? [uuidFor(cloud, `osd-${name}`)]
    : disks.map((device) => `${uuidFor(cloud, `osd-${name}-${device}`)} ${device}`);
}

/** Who runs a disk's daemon may open the device, whatever the kernel calls it at this start of the host. */
function diskFiles({ disks }: Pick<Host, "disks">): Files {
  if (disks.length === 0) return {};
  const rules = disks.map((device) => {
    const name = device.replace(/^\/dev\//, "");
    const match = name.includes("/") ? `SYMLINK=="${name}"` : `KERNEL=="${name}"`;
    return `SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ${match}, OWNER="ceph", GROUP="ceph", MODE="0660"`;
  });
  // After the rules that name disks (60-persistent-storage.rules).
  return { "/etc/udev/rules.d/90-openstack-ha-ceph.rules": { content: lines(...rules) } };
}

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
