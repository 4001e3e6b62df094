import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { MANAGED, secret } from "../render";
import { type Context, type PerHost, Service } from "../service";
import type { Check, Files } from "../step";

/** RabbitMQ on every controller: quorum queues, one cluster that forms by itself, no mirroring and no VIP. */
export class Rabbitmq extends Service {
  /** All nodes are in one cluster and OpenStack's account works. */
  readonly ready: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("rabbitmq", context, opts);

    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: rabbitmqFiles(context.cloud, host) }),
      install,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...rabbitmqCheck(context.cloud, host),
        secrets: ["rabbitmq-openstack"],
        script: this.script("start.sh"),
      }),
      configure,
    );
    this.registerOutputs({});
  }
}

/** The node is in one cluster with a majority of all, without partition or alarm. */
export const rabbitmqCheck: Check = (cloud) => ({
  params: { members: hostsWith(cloud, "controller").map((host) => host.name) },
  verify: "rabbitmq/verify.sh",
});

export function rabbitmqFiles(cloud: Cloud, host: Pick<Host, "name" | "addresses">): Files {
  const owned = { owner: "rabbitmq", group: "rabbitmq" };
  return {
    "/etc/rabbitmq/enabled_plugins": { content: "[].\n" },
    "/etc/rabbitmq/rabbitmq-env.conf": { content: rabbitmqEnv(cloud, host) },
    "/etc/rabbitmq/rabbitmq.conf": {
      content: rabbitmqConf(cloud, host),
      mode: "0640",
      ...owned,
      owner: "root",
    },
    "/var/lib/rabbitmq/.erlang.cookie": {
      content: secret("rabbitmq-cookie"),
      mode: "0400",
      ...owned,
    },
  };
}

/** rabbitmq.conf: the cluster forms from a fixed list, and the smaller part of a split stops. */
export function rabbitmqConf(cloud: Cloud, host: Pick<Host, "addresses">): string {
  const members = hostsWith(cloud, "controller");
  const settings: Record<string, string> = {
    "cluster_formation.peer_discovery_backend": "classic_config",
    cluster_name: cloud.stack,
    cluster_partition_handling: "pause_minority",
    // Made at the very first start only; the start step keeps its password as planned.
    default_pass: secret("rabbitmq-openstack"),
    default_queue_type: "quorum",
    default_user: "openstack",
    "disk_free_limit.absolute": `${cloud.rabbitmq.diskFreeLimitMiB}MiB`,
    "listeners.tcp.1": `${host.addresses.management}:5672`,
    "vm_memory_high_watermark.absolute": `${cloud.rabbitmq.memoryHighWatermarkMiB}MiB`,
  };
  members.forEach((each, i) => {
    settings[`cluster_formation.classic_config.nodes.${i + 1}`] = `rabbit@${each.name}`;
  });
  return `${[
    MANAGED,
    ...Object.entries(settings)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `${key} = ${value}`),
  ].join("\n")}\n`;
}

function rabbitmqEnv(cloud: Cloud, host: Pick<Host, "name" | "addresses">): string {
  const { netTickSeconds, schedulers } = cloud.rabbitmq;
  const erlang = [
    // A node that lost power is noticed after this many seconds; the default is 60.
    `-kernel net_ticktime ${netTickSeconds}`,
    `-kernel inet_dist_use_interface {${host.addresses.management.split(".").join(",")}}`,
    // Idle schedulers sleep at once instead of spinning: hosts are shared with other services.
    "+sbwt none +sbwtdcpu none +sbwtdio none",
    ...(schedulers ? [`+S ${schedulers}:${schedulers}`] : []),
  ];
  return `${[
    MANAGED,
    `NODENAME=rabbit@${host.name}`,
    `RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="${erlang.join(" ")}"`,
  ].join("\n")}\n`;
}
