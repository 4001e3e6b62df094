import type * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import { ini, secret } from "../render";
import { type After, type Context, type PerHost, Service } from "../service";
import { type Check, type Files, withParams } from "../step";
import { dropIn, dropInPath, PERSISTENT } from "./oslo";
import { ovnDatabase } from "./ovn";

const CONF = "/etc/neutron/neutron_ovn_metadata_agent.ini";
const UNIT = "neutron-ovn-metadata-agent";

export interface NeutronMetadataArgs {
  /** Guests' packets are switched on this host. */
  readonly network: PerHost;
  /** What it passes guests' requests to. */
  readonly apis: readonly After[];
}

/** The agent that answers guests on 169.254.169.254, on every compute host. */
export class NeutronMetadata extends Service {
  readonly ready: PerHost;

  constructor(context: Context, args: NeutronMetadataArgs, opts?: pulumi.ComponentResourceOptions) {
    super("neutron-metadata", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      () => ({
        files: metadataFiles(cloud),
        directories: {
          "/var/lib/neutron/tmp": { owner: "neutron", group: "neutron", mode: "0750" },
        },
      }),
      install,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(neutronMetadataCheck(cloud, host), {
          files: Object.keys(metadataFiles(cloud)),
        }),
        script: this.script("start.sh"),
      }),
      configure,
      args.network,
      ...args.apis,
    );
    this.registerOutputs({});
  }
}

/** It runs and is connected to the southbound database. */
export const neutronMetadataCheck: Check = () => ({
  params: { units: [`${UNIT}.service`] },
  verify: "neutron-metadata/verify.sh",
});

export function metadataFiles(cloud: Cloud): Files {
  return {
    [CONF]: {
      content: ini({
        DEFAULT: {
          metadata_proxy_shared_secret: secret("neutron-metadata"),
          metadata_workers: 1,
          nova_metadata_host: cloud.vips.internal,
          state_path: "/var/lib/neutron",
        },
        agent: { root_helper: "sudo neutron-rootwrap /etc/neutron/rootwrap.conf" },
        oslo_concurrency: { lock_path: "/var/lib/neutron/tmp" },
        ovn: { ovn_sb_connection: ovnDatabase(cloud, "sb") },
        ovs: { ovsdb_connection: "unix:/run/openvswitch/db.sock" },
      }),
      mode: "0640",
      group: "neutron",
    },
    [dropInPath(UNIT)]: {
      content: dropIn(
        UNIT,
        `/usr/bin/${UNIT} --config-file ${CONF} --log-file /var/log/neutron/${UNIT}.log`,
        ...PERSISTENT,
      ),
    },
  };
}
