import type * as pulumi from "@pulumi/pulumi";
import { type Cloud, hostsWith } from "../../config";
import type { Host } from "../hosts/host";
import { lines } from "../render";
import { type Context, type PerHost, Service } from "../service";
import type { Check, Files } from "../step";

/** memcached on every controller: clients spread their keys over all and do without a dead one. */
export class Memcached extends Service {
  readonly ready: PerHost;

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("memcached", context, opts);

    const install = this.install();
    const configure = this.stage(
      "configure",
      (host) => ({ files: memcachedFiles(context.cloud, host) }),
      install,
    );
    this.ready = this.stage(
      "start",
      (host) => ({
        ...memcachedCheck(context.cloud, host),
        script: this.script("start.sh"),
      }),
      configure,
    );
    this.registerOutputs({});
  }
}

/** It answers where its clients look. */
export const memcachedCheck: Check = (_cloud, host) => ({
  params: { address: host.addresses.management },
  verify: "memcached/verify.sh",
});

export function memcachedFiles(cloud: Cloud, host: Pick<Host, "addresses">): Files {
  return {
    "/etc/memcached.conf": {
      content: lines(
        "-u memcache",
        `-l ${host.addresses.management}`,
        "-p 11211",
        // No UDP: it answers to forged addresses.
        "-U 0",
        `-m ${cloud.memcached.memoryMiB}`,
        `-c ${cloud.memcached.maxConnections}`,
      ),
    },
  };
}

/** The list that clients are given. */
export function memcachedServers(cloud: Cloud): string {
  return hostsWith(cloud, "controller")
    .map((host) => `${host.addresses.management}:11211`)
    .join(",");
}
