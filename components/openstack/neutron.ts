import type * as pulumi from "@pulumi/pulumi";
import { service } from "../../catalogue";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { ini } from "../render";
import { type After, type Context, everywhere, type PerHost } from "../service";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import {
  accountSection,
  apiPort,
  authtokenSection,
  daemonUnit,
  databaseSection,
  dropIn,
  dropInPath,
  PERSISTENT,
  rabbitSection,
  transportUrl,
  uwsgiDropIn,
  uwsgiIni,
} from "./oslo";
import { ovnDatabase } from "./ovn";
import { PHYSICAL_NETWORK } from "./ovn-chassis";

const PORT = apiPort("neutron");
const CONF = "/etc/neutron/neutron.conf";
const ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini";
/** Debian ships these without a unit. */
const WORKERS = ["neutron-ovn-maintenance-worker", "neutron-periodic-workers"] as const;

export interface NeutronArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  readonly bus: PerHost;
  /** OVN's databases. */
  readonly ovn: After;
  /** Its account and endpoints are in Keystone. */
  readonly registered: readonly After[];
}

/** Neutron's API and workers on every controller. */
export class Neutron extends ApiService {
  constructor(context: Context, args: NeutronArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "neutron",
      context,
      {
        database: args.database,
        files: (host) => neutronFiles(context.cloud, host),
        directories: {
          "/var/lib/neutron/tmp": { owner: "neutron", group: "neutron", mode: "0750" },
        },
        bootstrap: { params: { config: [CONF, ML2] } },
        check: neutronCheck,
        after: [everywhere(args.bus), args.ovn, ...args.registered],
      },
      opts,
    );
  }
}

/** Its API answers on this host and its workers run. */
export const neutronCheck: Check = (_cloud, host) => ({
  params: {
    units: service("neutron").units ?? [],
    url: `http://${host.addresses.management}:${PORT}/`,
  },
  verify: "neutron/verify.sh",
});

export function neutronFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  const uwsgi = "/etc/neutron/neutron-api-uwsgi.ini";
  const command = (name: string): string =>
    `/usr/bin/${name} --config-file ${CONF} --config-file ${ML2} --log-file /var/log/neutron/${name}.log`;
  return {
    [CONF]: { content: neutronConf(cloud, host), mode: "0640", group: "neutron" },
    [ML2]: { content: ml2Conf(cloud), mode: "0640", group: "neutron" },
    [uwsgi]: {
      content: uwsgiIni({
        name: "neutron-api",
        account: "neutron",
        script: "/usr/bin/neutron-api",
        processes: cloud.workers.apiProcesses,
        threads: 1,
        options: [
          `pyargv = --config-file=${CONF} --config-file=${ML2}`,
          // By this the processes of one start know each other in OVN's hash ring.
          "start-time = %t",
        ],
      }),
    },
    [dropInPath("neutron-api")]: { content: uwsgiDropIn("neutron-api", host, PORT, uwsgi) },
    [dropInPath("neutron-rpc-server")]: {
      content: dropIn("neutron-rpc-server", command("neutron-rpc-server"), ...PERSISTENT),
    },
    ...Object.fromEntries(
      WORKERS.map((name) => [
        `/etc/systemd/system/${name}.service`,
        { content: daemonUnit(name, "neutron", command(name)) },
      ]),
    ),
  };
}

export function neutronConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  return ini({
    DEFAULT: {
      bind_host: host.addresses.management,
      core_plugin: "ml2",
      debug: cloud.neutron.debug,
      // Of the outer packets: Neutron takes the tunnels' headers off.
      global_physnet_mtu: cloud.networks.external.mtu,
      rpc_workers: cloud.workers.rpc,
      service_plugins: "ovn-router",
      transport_url: transportUrl(cloud),
    },
    database: databaseSection(cloud, "neutron"),
    keystone_authtoken: authtokenSection(cloud, "neutron"),
    nova: { ...accountSection(cloud, "nova"), endpoint_type: "internal" },
    oslo_concurrency: { lock_path: "/var/lib/neutron/tmp" },
    oslo_messaging_notifications: { driver: "noop" },
    oslo_messaging_rabbit: rabbitSection(),
    oslo_middleware: { enable_proxy_headers_parsing: true },
    placement: { ...accountSection(cloud, "placement"), endpoint_type: "internal" },
  });
}

export function ml2Conf(cloud: Cloud): string {
  return ini({
    ml2: {
      extension_drivers: "port_security",
      mechanism_drivers: "ovn",
      overlay_ip_version: 4,
      path_mtu: cloud.networks.tunnel.mtu,
      tenant_network_types: "geneve",
      type_drivers: "local,flat,vlan,geneve",
    },
    ml2_type_flat: { flat_networks: PHYSICAL_NETWORK },
    ml2_type_geneve: {
      // What OVN puts into Geneve's options, and IP, UDP and Geneve themselves.
      max_header_size: 38,
      vni_ranges: "1:65536",
    },
    ml2_type_vlan: { network_vlan_ranges: PHYSICAL_NETWORK },
    ovn: {
      enable_distributed_floating_ip: false,
      ovn_l3_scheduler: "leastloaded",
      ovn_metadata_enabled: true,
      ovn_nb_connection: ovnDatabase(cloud, "nb"),
      ovn_sb_connection: ovnDatabase(cloud, "sb"),
      // A busy database is not a dead one (milliseconds; Neutron's own).
      ovsdb_probe_interval: 60000,
    },
    securitygroup: { enable_security_group: true },
  });
}
