import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { ini } from "../render";
import type { After, Context, PerHost } from "../service";
import type { Check, Files } from "../step";
import { ApiService } from "./api";
import {
  apiPort,
  authtokenSection,
  databaseSection,
  dropInPath,
  uwsgiDropIn,
  uwsgiIni,
} from "./oslo";

const PORT = apiPort("placement");
const CONF = "/etc/placement";

export interface PlacementArgs {
  /** Galera takes writes through the internal VIP. */
  readonly database: PerHost;
  /** Its account and endpoints are in Keystone. */
  readonly registered: readonly After[];
}

/** Placement on every controller. */
export class Placement extends ApiService {
  constructor(context: Context, args: PlacementArgs, opts?: pulumi.ComponentResourceOptions) {
    super(
      "placement",
      context,
      {
        database: args.database,
        files: (host) => placementFiles(context.cloud, host),
        check: placementCheck,
        after: [...args.registered],
      },
      opts,
    );
  }
}

/** Its API answers on this host. */
export const placementCheck: Check = (_cloud, host) => ({
  params: {
    units: ["placement-api.service"],
    url: `http://${host.addresses.management}:${PORT}/`,
  },
  verify: "placement/verify.sh",
});

export function placementFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  const uwsgi = `${CONF}/placement-api-uwsgi.ini`;
  return {
    [`${CONF}/placement.conf`]: {
      content: ini({
        api: { auth_strategy: "keystone" },
        keystone_authtoken: authtokenSection(cloud, "placement"),
        oslo_middleware: { enable_proxy_headers_parsing: true },
        placement_database: databaseSection(cloud, "placement"),
      }),
      mode: "0640",
      group: "placement",
    },
    [uwsgi]: {
      content: uwsgiIni({
        name: "placement-api",
        account: "placement",
        script: "/usr/bin/placement-api",
        processes: cloud.workers.apiProcesses,
        threads: cloud.workers.apiThreads,
      }),
    },
    [dropInPath("placement-api")]: { content: uwsgiDropIn("placement-api", host, PORT, uwsgi) },
  };
}
