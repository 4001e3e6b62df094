import type * as pulumi from "@pulumi/pulumi";
import { carriers, service } from "../../catalogue";
import type { Cloud, HostConfig } from "../../config";
import { once } from "../../config/once";
import type { Host } from "../hosts/host";
import { ini, lines, secret, uuidFor } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { keyringFile } from "../shared/ceph-client";
import { type Check, type Files, withParams } from "../step";
import { commonSections, CONSOLE_PORT, NOVA_DIRECTORIES } from "./nova";
import { apiPort, dropIn, dropInPath, keystoneUrl, PERSISTENT, vipUrl } from "./oslo";

const CONF = "/etc/nova/nova.conf";
/** What compute hosts reach each other with when a guest moves. */
const MIGRATION = "/etc/nova/migration";
const KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts";

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
  /** Nova counts each host in; or it is drained. */
  readonly ready: PerHost;
  /** Those that are to be drained, without guests. */
  readonly drained: PerHost;

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
    const active = this.stageOn(
      this.on.filter((host) => !isDrained(host)),
      "start",
      (host) => ({
        ...withParams(novaComputeCheck(cloud, host), {
          // ssh reads its own at each connection: a host that comes or goes restarts nothing here.
          files: Object.keys(novaComputeFiles(cloud, host)).filter((file) => file !== KNOWN_HOSTS),
          reason: DRAINED,
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
    this.drained = this.stageOn(
      this.on.filter(isDrained),
      "start",
      (host) => ({
        ...withParams(novaComputeCheck(cloud, host), {
          guest_seconds: GUEST_SECONDS,
          reason: DRAINED,
        }),
        script: this.script("drain.sh"),
        timeout: DRAIN_SECONDS,
      }),
      configure,
      ...args.apis,
      // Its guests may go to a host that is new.
      everywhere(active),
    );
    this.ready = new Map([...active, ...this.drained]);
    this.registerOutputs({});
  }
}

/** By what Nova says of a host that it gives no guests to, so that what a person has set is told apart. */
const DRAINED = "drained by openstack-ha";
/** Longest that a host has to be empty, and one guest to move; chosen. Run again, it goes on where it was. */
const DRAIN_SECONDS = 3600;
const GUEST_SECONDS = 600;

function isDrained({ state }: Pick<HostConfig, "state">): boolean {
  return state === "drained";
}

/** libvirt answers, and Nova can put guests here; or, of a drained host, it has none and gets none. */
export const novaComputeCheck: Check = (cloud, host) => ({
  params: {
    compute: `http://${cloud.vips.internal}:${apiPort("nova")}/v2.1`,
    identity: keystoneUrl(cloud, "internal"),
    placement: `http://${cloud.vips.internal}:${apiPort("placement")}`,
    state: host.state,
    units: isDrained(host) ? DRAINED_UNITS : COMPUTE_UNITS,
  },
  secrets: ["nova"],
  verify: "nova-compute/verify.sh",
});

/** Those of libvirt that are wanted all the time; it starts the others itself. */
const COMPUTE_UNITS = (service("nova-compute").units ?? []).filter(
  (unit) => !/-(?:admin|ro)\.socket$/.test(unit),
);

/** Those that are there for guests, and would bring a host back that others have forgotten. */
const DRAINED_UNITS = [
  "neutron-ovn-metadata-agent.service",
  "nova-compute.service",
  "ovn-controller.service",
  "ovn-host.service",
];

export function novaComputeFiles(cloud: Cloud, host: Host): Files {
  return {
    ...keyringFile("cinder", "nova"),
    [CONF]: { content: novaComputeConf(cloud, host), mode: "0640", group: "nova" },
    "/etc/libvirt/qemu.conf": { content: qemuConf(host), mode: "0600" },
    [`${MIGRATION}/id_ed25519`]: { content: secret("ssh-nova"), mode: "0600" },
    // libvirt runs the stock ssh as root.
    [KNOWN_HOSTS]: { content: knownHosts(cloud) },
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
      novncproxy_base_url: `${vipUrl(cloud, "public", CONSOLE_PORT)}/vnc_lite.html`,
      server_listen: management,
      server_proxyclient_address: management,
    },
  });
}
