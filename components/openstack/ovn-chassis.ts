import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { lines } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import { type Check, type Files, withParams } from "../step";
import { ovnDatabase } from "./ovn";

/** The bridge that carries the tunnels where packets are switched in userspace, and the one to the outside. */
const TUNNEL_BRIDGE = "br-tun";
const EXTERNAL_BRIDGE = "br-ex";
/** What Neutron calls the external network's wire. */
export const PHYSICAL_NETWORK = "external";

/** Open vSwitch and OVN's controller on compute and network hosts; the latter are gateways. */
export class OvnChassis extends Service {
  /** Guests' packets are switched on each host. */
  readonly ready: PerHost;

  constructor(
    context: Context,
    args: { readonly databases: After },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("ovn-chassis", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: chassisFiles(cloud, host) }),
      install,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(ovnChassisCheck(cloud, host), {
          ...chassisParams(cloud, host),
          files: Object.keys(chassisFiles(cloud, host)),
        }),
        script: this.script("start.sh"),
      }),
      configure,
      args.databases,
    );
    this.registerOutputs({});
  }
}

/** It is connected to the southbound database, and its bridges carry what they have to. */
export const ovnChassisCheck: Check = (cloud, host) => ({
  params: {
    bridge_address: inUserspace(cloud)
      ? `${host.addresses.tunnel}/${cloud.networks.tunnel.prefix}`
      : "",
    external_bridge: isGateway(host) ? EXTERNAL_BRIDGE : "",
    tunnel_bridge: TUNNEL_BRIDGE,
  },
  verify: "ovn-chassis/verify.sh",
});

function inUserspace(cloud: Cloud): boolean {
  return cloud.neutron.datapath === "userspace";
}

function isGateway({ roles }: Pick<Host, "roles">): boolean {
  return roles.includes("network");
}

function chassisParams(
  cloud: Cloud,
  host: Host,
): Record<string, string | number | readonly string[]> {
  const ids: Record<string, string> = {
    hostname: host.name,
    "ovn-bridge-datapath-type": inUserspace(cloud) ? "netdev" : "system",
    "ovn-bridge-mappings": isGateway(host) ? `${PHYSICAL_NETWORK}:${EXTERNAL_BRIDGE}` : "",
    "ovn-cms-options": isGateway(host) ? "enable-chassis-as-gw" : "",
    "ovn-encap-ip": host.addresses.tunnel,
    "ovn-encap-type": "geneve",
    // A busy database is not a dead one (Neutron's own default; milliseconds).
    "ovn-remote-probe-interval": "60000",
    "ovn-remote": ovnDatabase(cloud, "sb"),
    "system-id": host.name,
  };
  return {
    external_ids: Object.entries(ids).map(([key, value]) => `${key}=${value}`),
    mtu: cloud.networks.tunnel.mtu,
    provider_nic: host.providerNic,
    tunnel_nic: host.nics.tunnel,
  };
}

export function chassisFiles(cloud: Cloud, host: Host): Files {
  return {
    // Open vSwitch would make up another name at each start.
    "/etc/openvswitch/system-id.conf": { content: `${host.name}\n` },
    ...(inUserspace(cloud)
      ? {
          // Where packets are switched in userspace the tunnels' address has to be on a bridge that holds the port.
          [networkFile(TUNNEL_BRIDGE)]: {
            content: network(TUNNEL_BRIDGE, [
              `Address=${host.addresses.tunnel}/${cloud.networks.tunnel.prefix}`,
            ]),
          },
          [networkFile(host.nics.tunnel)]: { content: network(host.nics.tunnel) },
          ...(host.roles.includes("compute") ? { [networkFile("taps")]: { content: TAPS } } : {}),
        }
      : {}),
    ...(isGateway(host)
      ? { [networkFile(host.providerNic)]: { content: network(host.providerNic) } }
      : {}),
  };
}

/**
 * Guests' ports stay up. Where packets are switched in userspace, Open vSwitch makes a port promiscuous by writing the flags that
 * it read when it found the port (update_flags in its lib/netdev-linux.c), and so takes down again what libvirt brought up
 * in between: a guest in a hundred got no address.
 */
const TAPS = network("tap*", [], ["ActivationPolicy=always-up", "RequiredForOnline=no"]);

/** Before the files of whoever made the host. */
function networkFile(nic: string): string {
  return `/etc/systemd/network/40-${nic}.network`;
}

/** A port that is up, with these addresses and no others. */
function network(
  nic: string,
  settings: readonly string[] = [],
  link: readonly string[] = [],
): string {
  return lines(
    "[Match]",
    `Name=${nic}`,
    "",
    ...(link.length > 0 ? ["[Link]", ...link, ""] : []),
    "[Network]",
    ...settings,
    "ConfigureWithoutCarrier=yes",
    "IPv6AcceptRA=no",
    "LinkLocalAddressing=no",
  );
}
