import type * as pulumi from "@pulumi/pulumi";
import { service } from "../../catalogue";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { lines } from "../render";
import { type After, type Context, everywhere, type PerHost, Service } from "../service";
import { type Check, type Files, withParams } from "../step";

/** Ports of OVN's two databases, for clients and among themselves. */
const DATABASES = { nb: { port: 6641, raft: 6643 }, sb: { port: 6642, raft: 6644 } } as const;

/** OVN's databases, a Raft cluster each, and northd on every controller. */
export class Ovn extends Service {
  /** Both databases have a leader. */
  readonly ready: PerHost;

  constructor(
    context: Context,
    args: { readonly cluster: PerHost },
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("ovn", context, opts);

    const { cloud } = context;
    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: ovnFiles(cloud, host) }),
      install,
    );
    const bootstrap = this.stage(
      "bootstrap",
      (host) => ({
        params: {
          address: host.addresses.management,
          others: others(cloud, host),
          ...Object.fromEntries(
            Object.entries(DATABASES).map(([name, { raft }]) => [`raft_${name}`, raft]),
          ),
        },
        script: this.script("bootstrap.sh"),
      }),
      configure,
      // It lends the lock under which one host founds the cluster.
      args.cluster,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...withParams(ovnCheck(cloud, host), {
          address: host.addresses.management,
          files: Object.keys(ovnFiles(cloud, host)),
          members: this.on.map(({ addresses }) => addresses.management),
        }),
        script: this.script("start.sh"),
      }),
      bootstrap,
    );
    this.registerOutputs({});
  }

  get everywhere(): After {
    return everywhere(this.ready);
  }
}

/** Both databases have a leader and this host is a member; northd works or waits for its turn. */
export const ovnCheck: Check = () => ({
  params: { units: (service("ovn").units ?? []).filter((unit) => unit !== "ovn-central.service") },
  verify: "ovn/verify.sh",
});

/** Where clients find a database: every member, and they follow the leader. */
export function ovnDatabase(cloud: Cloud, name: keyof typeof DATABASES): string {
  return hostsWith(cloud, "controller")
    .map((host) => `tcp:${host.addresses.management}:${DATABASES[name].port}`)
    .join(",");
}

function others(cloud: Cloud, host: Pick<Host, "name">): string[] {
  return hostsWith(cloud, "controller")
    .filter(({ name }) => name !== host.name)
    .map((each) => each.addresses.management);
}

export function ovnFiles(cloud: Cloud, host: Pick<Host, "name" | "addresses">): Files {
  const { management } = host.addresses;
  const options = Object.keys(DATABASES).flatMap((db) => [
    `--db-${db}-addr=${management}`,
    `--db-${db}-create-insecure-remote=yes`,
    `--db-${db}-cluster-local-addr=${management}`,
    // Never none: a member whose database is gone would otherwise found a cluster of its own at its next start.
    `--db-${db}-cluster-remote-addr=${others(cloud, host)[0] ?? management}`,
    `--ovn-northd-${db}-db=${ovnDatabase(cloud, db as keyof typeof DATABASES)}`,
  ]);
  return {
    "/etc/default/ovn-central": { content: lines(`OVN_CTL_OPTS="${options.join(" ")}"`) },
    ...Object.fromEntries(
      ["ovn-northd", "ovn-ovsdb-server-nb", "ovn-ovsdb-server-sb"].map((unit) => [
        `/etc/systemd/system/${unit}.service.d/openstack-ha.conf`,
        {
          content: lines(
            "[Unit]",
            "StartLimitIntervalSec=0",
            "[Service]",
            "Restart=always",
            "RestartSec=1",
          ),
        },
      ]),
    ),
  };
}
