import type * as pulumi from "@pulumi/pulumi";
import { carriers, service } from "../../catalogue";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { ini, type IniSections, secret } from "../render";
import { type After, type Context, everywhere, type PerHost } from "../service";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import {
  accountSection,
  apiPort,
  authtokenSection,
  cacheSection,
  databaseSection,
  dropIn,
  dropInPath,
  keystoneUrl,
  PERSISTENT,
  rabbitSection,
  serviceUserSection,
  transportUrl,
  uwsgiDropIn,
  uwsgiIni,
} from "./oslo";
import { ovnDatabase } from "./ovn";

const PORT = apiPort("nova");
const METADATA_PORT = 8775;
export const CONSOLE_PORT = 6080;
const CONF = "/etc/nova/nova.conf";
const DAEMONS = ["nova-conductor", "nova-novncproxy", "nova-scheduler"] as const;

export interface NovaArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  readonly bus: PerHost;
  /** Its account and endpoints are in Keystone. */
  readonly registered: readonly After[];
}

/** Nova's API, metadata, conductor, scheduler and console proxy on every controller. */
export class Nova extends ApiService {
  constructor(context: Context, args: NovaArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "nova",
      context,
      {
        database: args.database,
        files: (host) => novaFiles(context.cloud, host),
        directories: NOVA_DIRECTORIES,
        bootstrap: { params: { brokers: hostsWith(context.cloud, "controller").length } },
        check: novaCheck,
        start: (host) => ({
          params: {
            // This host's own: HAProxy may not have found it yet.
            compute: `http://${host.addresses.management}:${PORT}/v2.1`,
            computes: carriers(context.cloud, service("nova-compute")).map(({ name }) => name),
            identity: keystoneUrl(context.cloud, "internal"),
            network: `http://${context.cloud.vips.internal}:${apiPort("neutron")}`,
            southbound: ovnDatabase(context.cloud, "sb"),
          },
          secrets: ["nova"],
        }),
        after: [everywhere(args.bus), ...args.registered],
      },
      opts,
    );
  }
}

/** Its APIs answer on this host, and its workers have been heard of. */
export const novaCheck: Check = (cloud, host) => ({
  params: {
    down: cloud.nova.serviceDownSeconds,
    units: service("nova").units ?? [],
    urls: [
      `http://${host.addresses.management}:${PORT}/`,
      `http://${host.addresses.management}:${METADATA_PORT}/`,
      `http://${host.addresses.management}:${CONSOLE_PORT}/vnc_lite.html`,
    ],
  },
  verify: "nova/verify.sh",
});

export const NOVA_DIRECTORIES = {
  "/var/lib/nova/tmp": { owner: "nova", group: "nova", mode: "0750" },
} as const;

export function novaFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  const api = "/etc/nova/nova-api-uwsgi.ini";
  const metadata = "/etc/nova/nova-api-metadata-uwsgi.ini";
  return {
    [CONF]: { content: novaConf(cloud, host), mode: "0640", group: "nova" },
    [api]: {
      content: uwsgiIni({
        name: "nova-api",
        account: "nova",
        script: "/usr/bin/nova-api-wsgi",
        processes: cloud.workers.apiProcesses,
        threads: 1,
      }),
    },
    [metadata]: {
      content: uwsgiIni({
        name: "nova-api-metadata",
        account: "nova",
        script: "/usr/bin/nova-metadata-wsgi",
        processes: 1,
        threads: cloud.workers.apiThreads,
      }),
    },
    [dropInPath("nova-api")]: { content: uwsgiDropIn("nova-api", host, PORT, api) },
    [dropInPath("nova-api-metadata")]: {
      content: uwsgiDropIn("nova-api-metadata", host, METADATA_PORT, metadata),
    },
    ...Object.fromEntries(
      DAEMONS.map((name) => [
        dropInPath(name),
        {
          content: dropIn(
            name,
            `/usr/bin/${name} --config-file ${CONF} --log-file /var/log/nova/${name}.log`,
            ...PERSISTENT,
          ),
        },
      ]),
    ),
  };
}

export function novaConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  const { management } = host.addresses;
  const common = commonSections(cloud, host);
  return ini({
    ...common,
    DEFAULT: { ...common.DEFAULT, metadata_workers: 1 },
    api_database: databaseSection(cloud, "nova", "nova_api"),
    conductor: { workers: cloud.workers.rpc },
    database: databaseSection(cloud, "nova"),
    keystone_authtoken: authtokenSection(cloud, "nova"),
    neutron: {
      ...common.neutron,
      metadata_proxy_shared_secret: secret("neutron-metadata"),
      service_metadata_proxy: true,
    },
    oslo_middleware: { enable_proxy_headers_parsing: true },
    scheduler: {
      discover_hosts_in_cells_interval: cloud.nova.discoverHostsSeconds,
      workers: cloud.workers.rpc,
    },
    vnc: {
      enabled: true,
      novncproxy_host: management,
      novncproxy_port: CONSOLE_PORT,
    },
  });
}

/** What controllers and compute hosts say alike. */
export function commonSections(
  cloud: Cloud,
  host: Pick<Host, "addresses">,
): Record<"DEFAULT" | "neutron", IniSections[string]> & Record<string, IniSections[string]> {
  return {
    DEFAULT: {
      cpu_allocation_ratio: cloud.nova.cpuAllocationRatio,
      debug: cloud.nova.debug,
      my_ip: host.addresses.management,
      report_interval: cloud.nova.reportIntervalSeconds,
      service_down_time: cloud.nova.serviceDownSeconds,
      state_path: "/var/lib/nova",
      transport_url: transportUrl(cloud),
    },
    cache: cacheSection(cloud),
    cinder: {
      ...accountSection(cloud, "cinder"),
      catalog_info: "volumev3::internalURL",
      os_region_name: cloud.region,
    },
    glance: { region_name: cloud.region, valid_interfaces: "internal" },
    neutron: { ...accountSection(cloud, "neutron"), valid_interfaces: "internal" },
    oslo_concurrency: { lock_path: "/var/lib/nova/tmp" },
    oslo_messaging_notifications: { driver: "noop" },
    oslo_messaging_rabbit: rabbitSection(),
    placement: { ...accountSection(cloud, "placement"), valid_interfaces: "internal" },
    service_user: serviceUserSection(cloud, "nova"),
    spice: { enabled: false },
  };
}
