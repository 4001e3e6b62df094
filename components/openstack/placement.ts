import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import type { Host } from "../hosts/host";
import { ini } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, withParams } from "../step";
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
export class Placement extends Service {
  /** It answers on every controller. */
  readonly ready: PerHost;

  constructor(context: Context, args: PlacementArgs, opts?: pulumi.ComponentResourceOptions) {
    super("placement", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: placementFiles(cloud, host) }),
      install,
    );
    const bootstrap = this.stage(
      "bootstrap",
      () => ({ secrets: ["placement-db"], script: this.script("bootstrap.sh") }),
      configure,
      // Not before all members have joined: HAProxy moves sessions to the first of them, and cuts what is under way.
      everywhere(args.database),
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(placementCheck(cloud, host), {
          files: Object.keys(placementFiles(cloud, host)),
        }),
        script: this.script("start.sh"),
      }),
      bootstrap,
      ...args.registered,
    );
    this.registerOutputs({});
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
