import type * as pulumi from "@pulumi/pulumi";
import { carriers, service } from "../../catalogue";
import type { Cloud } from "../../config";
import { once } from "../../config/once";
import type { Host } from "../hosts/host";
import { ini, lines, secret, uuidFor } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import { keyringFile } from "../shared/ceph-client";
import { type Check, type Files, withParams } from "../step";
import { commonSections, NOVA_DIRECTORIES } from "./nova";
import { apiPort, dropIn, dropInPath, keystoneUrl, PERSISTENT } from "./oslo";

const CONF = "/etc/nova/nova.conf";
/** What compute hosts reach each other with when a guest moves. */
const MIGRATION = "/etc/nova/migration";

export interface NovaComputeArgs {
  /** The store answers to this host. */
  readonly store: PerHost;
  /** Guests' packets are switched on this host. */
  readonly network: PerHost;
  /** The APIs that it asks at its start. */
  readonly apis: readonly After[];
}

/** libvirt and nova-compute on every compute host. */
export class NovaCompute extends Service {
  /** Nova counts each host in. */
  readonly ready: PerHost;

  constructor(context: Context, args: NovaComputeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("nova-compute", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({
        files: novaComputeFiles(cloud, host),
        directories: {
          ...NOVA_DIRECTORIES,
          "/var/lib/nova/.ssh": { owner: "nova", group: "nova", mode: "0700" },
          "/var/lib/nova/instances": { owner: "nova", group: "nova", mode: "0755" },
        },
        script: this.script("configure.sh"),
        secrets: ["ssh-nova"],
      }),
      install,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(novaComputeCheck(cloud, host), {
          files: Object.keys(novaComputeFiles(cloud, host)),
          secret: uuidFor(cloud, "ceph-cinder"),
        }),
        secrets: ["ceph-cinder", "nova"],
        script: this.script("start.sh"),
      }),
      configure,
      args.store,
      args.network,
      ...args.apis,
    );
    this.registerOutputs({});
  }
}

/** libvirt answers, and Nova can put guests here. */
export const novaComputeCheck: Check = (cloud) => ({
  params: {
    compute: `http://${cloud.vips.internal}:${apiPort("nova")}/v2.1`,
    identity: keystoneUrl(cloud, "internal"),
    units: COMPUTE_UNITS,
  },
  secrets: ["nova"],
  verify: "nova-compute/verify.sh",
});

/** Those of libvirt that are wanted all the time; it starts the others itself. */
const COMPUTE_UNITS = (service("nova-compute").units ?? []).filter(
  (unit) => !/-(?:admin|ro)\.socket$/.test(unit),
);

export function novaComputeFiles(cloud: Cloud, host: Host): Files {
  return {
    ...keyringFile("cinder", "nova"),
    [CONF]: { content: novaComputeConf(cloud, host), mode: "0640", group: "nova" },
    "/etc/libvirt/qemu.conf": { content: qemuConf(host), mode: "0600" },
    [`${MIGRATION}/id_ed25519`]: { content: secret("ssh-nova"), mode: "0600" },
    // libvirt runs the stock ssh as root.
    "/etc/ssh/ssh_known_hosts": { content: knownHosts(cloud) },
    [dropInPath("nova-compute")]: {
      content: dropIn(
        "nova-compute",
        `/usr/bin/nova-compute --config-file ${CONF} --log-file /var/log/nova/nova-compute.log`,
        ...PERSISTENT,
      ),
    },
  };
}

/** What a guest has to be kept apart with, where the host can do it. */
function qemuConf(host: Pick<Host, "confinesGuests">): string {
  return host.confinesGuests
    ? lines('user = "libvirt-qemu"')
    : lines(
        // A system container has no cgroups, namespaces or labels of its own to give to a guest.
        "cgroup_controllers = []",
        "namespaces = []",
        "remember_owner = 0",
        'security_driver = "none"',
      );
}

/** All compute hosts, the same on each. */
const knownHosts = once((cloud: Cloud) =>
  lines(
    ...carriers(cloud, service("nova-compute")).map(
      (peer) => `${peer.addresses.management} ${secret(`ssh-known-${peer.name}`)}`,
    ),
  ),
);

export function novaComputeConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  const { management } = host.addresses;
  const common = commonSections(cloud, host);
  return ini({
    ...common,
    DEFAULT: {
      ...common.DEFAULT,
      compute_driver: "libvirt.LibvirtDriver",
      instances_path: "/var/lib/nova/instances",
      // A host that lost power starts its guests again.
      resume_guests_state_on_host_boot: true,
    },
    libvirt: {
      // In software there is nothing of the host's to show to a guest.
      cpu_mode: cloud.nova.virtType === "kvm" ? "host-model" : "none",
      disk_cachemodes: "network=writeback",
      images_rbd_ceph_conf: "/etc/ceph/ceph.conf",
      images_rbd_pool: "vms",
      images_type: "rbd",
      live_migration_inbound_addr: management,
      live_migration_uri: `qemu+ssh://nova@%s/system?keyfile=${MIGRATION}/id_ed25519`,
      rbd_secret_uuid: uuidFor(cloud, "ceph-cinder"),
      rbd_user: "cinder",
      virt_type: cloud.nova.virtType,
    },
    vnc: {
      enabled: true,
      novncproxy_base_url: `http://${cloud.vips.public}:6080/vnc_lite.html`,
      server_listen: management,
      server_proxyclient_address: management,
    },
  });
}
