import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { ini } from "../render";
import type { After, Context, PerHost } from "../service";
import { keyringFile } from "../shared/ceph-client";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import {
  apiPort,
  authtokenSection,
  cacheSection,
  databaseSection,
  dropIn,
  dropInPath,
  PERSISTENT,
} from "./oslo";

const PORT = apiPort("glance");
const CONF = "/etc/glance/glance-api.conf";

export interface GlanceArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  /** The store answers to this host. */
  readonly store: PerHost;
  /** Its account and endpoints are in Keystone. */
  readonly registered: readonly After[];
}

/** Glance on every controller: images are in Ceph. */
export class Glance extends ApiService {
  constructor(context: Context, args: GlanceArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "glance",
      context,
      {
        database: args.database,
        files: (host) => glanceFiles(context.cloud, host),
        check: glanceCheck,
        after: [args.store, ...args.registered],
      },
      opts,
    );
  }
}

/** Its API answers on this host. */
export const glanceCheck: Check = (_cloud, host) => ({
  params: {
    units: ["glance-api.service"],
    url: `http://${host.addresses.management}:${PORT}/healthcheck`,
  },
  verify: "glance/verify.sh",
});

export function glanceFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  return {
    ...keyringFile("glance", "glance"),
    [CONF]: { content: glanceConf(cloud, host), mode: "0640", group: "glance" },
    [dropInPath("glance-api")]: {
      content: dropIn(
        "glance-api",
        `/usr/bin/glance-api --config-file ${CONF} --log-file /var/log/glance/glance-api.log`,
        ...PERSISTENT,
      ),
    },
  };
}

export function glanceConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  return ini({
    DEFAULT: {
      bind_host: host.addresses.management,
      bind_port: PORT,
      enabled_backends: "rbd:rbd",
      // So that Cinder and Nova make copies of an image in Ceph instead of fetching it.
      show_image_direct_url: true,
      workers: cloud.workers.apiProcesses,
      // An upload in parts is finished by the controller that has the parts.
      worker_self_reference_url: `http://${host.addresses.management}:${PORT}`,
    },
    cache: cacheSection(cloud),
    database: databaseSection(cloud, "glance"),
    glance_store: { default_backend: "rbd" },
    keystone_authtoken: authtokenSection(cloud, "glance"),
    oslo_middleware: { enable_proxy_headers_parsing: true },
    os_glance_staging_store: { filesystem_store_datadir: "/var/lib/glance/staging" },
    os_glance_tasks_store: { filesystem_store_datadir: "/var/lib/glance/tasks" },
    paste_deploy: { flavor: "keystone" },
    rbd: {
      rbd_store_ceph_conf: "/etc/ceph/ceph.conf",
      rbd_store_pool: "images",
      rbd_store_user: "glance",
    },
  });
}
