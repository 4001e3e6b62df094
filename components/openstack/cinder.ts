import type * as pulumi from "@pulumi/pulumi";
import { service } from "../../catalogue";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { ini, secret, uuidFor } from "../render";
import { type After, type Context, everywhere, type PerHost } from "../service";
import { keyringFile } from "../shared/ceph-client";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import {
  accountSection,
  apiPort,
  authtokenSection,
  databaseSection,
  dropIn,
  dropInPath,
  PERSISTENT,
  rabbitSection,
  serviceUserSection,
  transportUrl,
  uwsgiDropIn,
  uwsgiIni,
} from "./oslo";

const PORT = apiPort("cinder");
const CONF = "/etc/cinder/cinder.conf";
/** The backend, and the volume type that stands for it. */
export const BACKEND = "ceph";
const DAEMONS = ["cinder-scheduler", "cinder-volume"] as const;

export interface CinderArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  readonly bus: PerHost;
  /** The store answers to this host. */
  readonly store: PerHost;
  /** Its account and endpoints are in Keystone. */
  readonly registered: readonly After[];
}

/** Cinder's API, scheduler and volume service on every controller: one cluster, any of which works on any volume. */
export class Cinder extends ApiService {
  constructor(context: Context, args: CinderArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "cinder",
      context,
      {
        database: args.database,
        files: (host) => cinderFiles(context.cloud, host),
        directories: { "/var/lib/cinder/tmp": { owner: "cinder", group: "cinder", mode: "0750" } },
        check: cinderCheck,
        after: [everywhere(args.bus), args.store, ...args.registered],
      },
      opts,
    );
  }
}

/** Its API answers on this host, and its workers have been heard of. */
export const cinderCheck: Check = (_cloud, host) => ({
  params: {
    backend: BACKEND,
    // Three signs of life late, at Cinder's own 10 s, and as long again: what it counts as down.
    down: 60,
    units: service("cinder").units ?? [],
    url: `http://${host.addresses.management}:${PORT}/healthcheck`,
  },
  verify: "cinder/verify.sh",
});

export function cinderFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  const uwsgi = "/etc/cinder/cinder-api-uwsgi.ini";
  return {
    ...keyringFile("cinder", "cinder"),
    [CONF]: { content: cinderConf(cloud, host), mode: "0640", group: "cinder" },
    [uwsgi]: {
      content: uwsgiIni({
        name: "cinder-api",
        account: "cinder",
        script: "/usr/bin/cinder-wsgi",
        processes: cloud.workers.apiProcesses,
        threads: cloud.workers.apiThreads,
      }),
    },
    [dropInPath("cinder-api")]: { content: uwsgiDropIn("cinder-api", host, PORT, uwsgi) },
    ...Object.fromEntries(
      DAEMONS.map((name) => [
        dropInPath(name),
        {
          content: dropIn(
            name,
            `/usr/bin/${name} --config-file ${CONF} --log-file /var/log/cinder/${name}.log`,
            ...PERSISTENT,
          ),
        },
      ]),
    ),
  };
}

export function cinderConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  return ini({
    DEFAULT: {
      // All volume services under one name: each may work on every volume.
      cluster: BACKEND,
      ...(cloud.content.enabled ? { default_volume_type: BACKEND } : {}),
      enabled_backends: BACKEND,
      glance_catalog_info: "image:glance:internalURL",
      my_ip: host.addresses.management,
      transport_url: transportUrl(cloud),
    },
    [BACKEND]: {
      rbd_ceph_conf: "/etc/ceph/ceph.conf",
      rbd_pool: "volumes",
      rbd_secret_uuid: uuidFor(cloud, "ceph-cinder"),
      rbd_user: "cinder",
      report_discard_supported: true,
      volume_backend_name: BACKEND,
      volume_driver: "cinder.volume.drivers.rbd.RBDDriver",
    },
    // Locks that all controllers respect, by MariaDB's GET_LOCK on the one member that takes writes.
    coordination: {
      backend_url: `mysql://cinder:${secret("cinder-db")}@${cloud.vips.internal}/cinder`,
    },
    database: databaseSection(cloud, "cinder"),
    keystone_authtoken: authtokenSection(cloud, "cinder"),
    nova: { ...accountSection(cloud, "nova"), interface: "internal" },
    oslo_concurrency: { lock_path: "/var/lib/cinder/tmp" },
    oslo_messaging_notifications: { driver: "noop" },
    oslo_messaging_rabbit: rabbitSection(),
    oslo_middleware: { enable_proxy_headers_parsing: true },
    service_user: serviceUserSection(cloud, "cinder"),
  });
}
