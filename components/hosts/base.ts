import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { carriers, servicesOf } from "../../catalogue";
import type { Cloud } from "../../config";
import { once } from "../../config/once";
import { asRoot, RUNNER } from "../document";
import { lines } from "../render";
import { type Context, type PerHost, Service } from "../service";
import {
  type Check,
  type Files,
  retryDroppedConnection,
  scriptFile,
  sortedJson,
  withMachine,
} from "../step";
import type { Host } from "./host";

/**
 * What every host needs before anything else: the step runner, the secrets that its services use, kernel settings and
 * names. `ready` hosts are what the rest of the program builds on.
 */
export class Base extends Service {
  /** The same hosts, usable once this component's steps have run on them. */
  readonly ready: readonly Host[];

  /** Documents of secrets, by the roles of the hosts that get them. */
  private readonly stores = new Map<string, pulumi.Output<string>>();

  constructor(context: Context, opts?: pulumi.ComponentResourceOptions) {
    super("base", context, opts);

    const runner = this.eachHost((host) => this.runner(host));
    const secrets = this.eachHost((host) =>
      this.secrets(host, runner.get(host.name) as pulumi.Resource),
    );
    const install = this.install([runner as unknown as PerHost]);
    const configure = this.stage(
      "configure",
      (host) => ({
        files: baseFiles(context.cloud, host),
        ...baseCheck(context.cloud, host),
        script: this.script("configure.sh"),
      }),
      install,
    );

    this.ready = this.on.map((host) => ({
      ...host,
      up: [...host.up, secrets.get(host.name), configure.get(host.name)].filter(
        (resource) => resource !== undefined,
      ),
    }));
    this.registerOutputs({});
  }

  private eachHost(make: (host: Host) => pulumi.Resource): Map<string, pulumi.Resource> {
    return new Map(this.on.map((host) => [host.name, make(host)]));
  }

  private runner(host: Host): pulumi.Resource {
    return new command.remote.Command(
      `base-runner-${host.name}`,
      {
        connection: host.connection,
        create: asRoot(host, "sh -s"),
        stdin: runnerScript(),
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        dependsOn: [...host.up],
        ...withMachine(host),
        customTimeouts: { create: "10m", update: "10m" },
        hooks: { onError: [retryDroppedConnection()] },
      },
    );
  }

  /** The one resource a host whose input is secret: values go in here, and everything else names them. */
  private secrets(host: Host, runner: pulumi.Resource): pulumi.Resource {
    return new command.remote.Command(
      `base-secrets-${host.name}`,
      {
        connection: host.connection,
        create: asRoot(host, `${RUNNER} --secrets`),
        stdin: this.store(host),
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        dependsOn: [...host.up, runner],
        ...withMachine(host),
        customTimeouts: { create: "5m", update: "5m" },
        hooks: { onError: [retryDroppedConnection()] },
      },
    );
  }

  /** Made once for all hosts of the same roles: it holds a key of each compute host, and there may be hundreds. */
  private store(host: Host): pulumi.Output<string> {
    const roles = host.roles.join(" ");
    const document = this.stores.get(roles) ?? this.makeStore(host);
    this.stores.set(roles, document);
    return document;
  }

  private makeStore(host: Host): pulumi.Output<string> {
    const { secrets } = this.context;
    const names = secretNames(this.context, host);
    const values = pulumi.all(names.map((name) => secrets.value(name)));
    return pulumi.secret(
      values.apply((list) =>
        sortedJson(
          Object.fromEntries(
            names.map((name, i) => [name, { version: secrets.ref(name).version, value: list[i] }]),
          ),
        ),
      ),
    );
  }
}

/** The names of all secrets that a host's services use. */
export function secretNames(
  { cloud, secrets, hosts }: Context,
  host: Pick<Host, "roles">,
): string[] {
  const names = servicesOf(cloud, host).flatMap((entry) => [
    ...entry.secrets,
    ...(entry.secretsPerPeer ?? []).flatMap((family) =>
      carriers(cloud, entry).map((peer) => `${family}-${peer.name}`),
    ),
    ...(entry.name === "pacemaker"
      ? carriers({ hosts }, entry).flatMap(({ fencing }) => fencing?.secrets ?? [])
      : []),
    ...(entry.name === "haproxy" && cloud.tls ? ["tls-public"] : []),
    ...(entry.name === "keystone"
      ? [...secrets.fernetRepository(), ...secrets.credentialRepository()].map((key) => key.secret)
      : []),
  ]);
  return [...new Set(names)].sort();
}

/** The kernel runs with the planned settings and the host is up. */
export const baseCheck: Check = () => ({ verify: "base/verify.sh" });

/** Kernel settings and names, the same on every host. */
export function baseFiles(cloud: Cloud, host: Pick<Host, "name">): Files {
  return {
    "/etc/hosts": { content: etcHosts(cloud) },
    "/etc/hostname": { content: `${host.name}\n` },
    "/etc/sysctl.d/90-openstack-ha.conf": { content: lines(...SYSCTL) },
  };
}

const etcHosts = once((cloud: Cloud) =>
  lines(
    "127.0.0.1 localhost",
    "::1 localhost ip6-localhost ip6-loopback",
    "",
    `${cloud.vips.internal} internal.${cloud.stack}`,
    `${cloud.vips.public} public.${cloud.stack}`,
    ...cloud.hosts.map((each) => `${each.addresses.management} ${each.name}`),
  ),
);

/**
 * Dead connections are dropped in seconds: the defaults keep one to a host that lost power for up to 15 minutes
 * (retransmission) or two hours (idle), and a client that waits on it hangs as long.
 */
const SYSCTL = [
  // HAProxy listens on the VIPs on every controller, also where the VIP is not.
  "net.ipv4.ip_nonlocal_bind = 1",
  // An idle connection is probed after 5 s, each second, and given up after 5 silent probes (as osp-ha-deploy has it).
  "net.ipv4.tcp_keepalive_intvl = 1",
  "net.ipv4.tcp_keepalive_probes = 5",
  "net.ipv4.tcp_keepalive_time = 5",
  // Unanswered data is repeated for about 6 s (0.2 s doubled five times), not for 15 minutes.
  "net.ipv4.tcp_retries2 = 4",
  // A connection attempt gives up after 7 s.
  "net.ipv4.tcp_syn_retries = 2",
];

/** scripts/lib as one shell script that puts the runner on a host. */
export function runnerScript(): string {
  const read = (name: string): string => scriptFile(`lib/${name}`);
  const here = (mode: string, target: string, name: string): string =>
    `install_file ${mode} ${target} <<'END_OF_${name.toUpperCase().replace(/\W/g, "_")}'\n${read(name)}END_OF_${name.toUpperCase().replace(/\W/g, "_")}\n`;
  return [
    read("install.sh"),
    "want_packages jq python3",
    here("644", "/usr/local/lib/openstack-ha/lib.sh", "lib.sh"),
    here("755", RUNNER, "step.py"),
    "finish",
    "",
  ].join("\n");
}
