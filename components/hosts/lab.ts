import { createHash } from "node:crypto";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { isWhole, servicesOf } from "../../catalogue";
import { type Cloud, type HostConfig, type NetworkName, networkNames } from "../../config";
import type { Secrets } from "../../secrets";
import { RUNNER } from "../document";
import { installContent } from "../service";
import { CONNECTION_DEFAULTS, sortedJson, stepDocument } from "../step";
import { runnerScript } from "./base";
import { ipmiFencing } from "./fencing";
import { asRebuilt, type Host } from "./host";
import { leastMemoryMiB } from "./memory";

/** Debian 13. */
const SUITE = "trixie";
/** Logs, database and queues of a lab host; its packages are in the shared image. */
const HOST_DISK_MIB = 2048;

const NICS: Readonly<Record<NetworkName, string>> = {
  management: "mgmt0",
  tunnel: "tun0",
  storage: "sto0",
  external: "ext0",
};

/** As scripts/lab/lib.sh names it. */
const PROVIDER_NIC = "prv0";

export interface LabArgs {
  readonly cloud: Cloud;
  readonly secrets: Secrets;
}

/**
 * Hosts as system containers on the machine that Pulumi runs on, each with a BMC that speaks IPMI. After this they are
 * hosts like any other: reached over SSH, fenced through their BMC. The work is done by scripts/lab/lab.
 */
export class Lab extends pulumi.ComponentResource {
  readonly hosts: readonly Host[];

  constructor(name: string, args: LabArgs, opts?: pulumi.ComponentResourceOptions) {
    super("openstack-ha:hosts:Lab", name, {}, opts);

    const { cloud } = args;
    const machine = this.run("machine", "setup && scripts/lab/lab preflight", machineSpec(cloud));
    const network = this.run(
      "network",
      "network",
      networkSpec(cloud),
      [machine],
      "network --delete",
    );
    const images = new Map(
      [...imageSpecs(cloud, args.secrets)].map(([image, spec]) => [
        image,
        this.run(`image-${image}`, "image", spec, [machine]),
      ]),
    );

    this.hosts = cloud.hosts.map((host) => {
      const image = images.get(imageName(host)) as pulumi.Resource;
      const container = this.host(args, host, [network, image]);
      return {
        ...host,
        nics: NICS,
        providerNic: PROVIDER_NIC,
        confinesGuests: false,
        up: [container],
        machine: container,
        connection: connection(args, host),
        ...(host.bmc ? { fencing: ipmiFencing(host.name, host.bmc) } : {}),
      };
    });
    this.registerOutputs({});
  }

  private host(args: LabArgs, host: HostConfig, dependsOn: pulumi.Resource[]): pulumi.Resource {
    const { cloud, secrets } = args;
    const spec = pulumi
      .unsecret(secrets.publicKey("ssh-deployer"))
      .apply((key) => sortedJson(hostSpec(cloud, host, key)));
    const stdin = pulumi
      .all([secrets.value(`ssh-host-${host.name}`), secrets.value("pacemaker-bmc")])
      .apply(([hostKey, bmcPassword]) => sortedJson({ hostKey, bmcPassword }));
    return this.local(
      `host-${host.name}`,
      {
        create: "scripts/lab/lab host",
        delete: "scripts/lab/lab host --delete",
        environment: { LAB_SPEC: spec },
        stdin: pulumi.secret(stdin),
        dependsOn,
      },
      // Its name and its addresses are free only when the old one is gone.
      { ...asRebuilt(host), deleteBeforeReplace: true },
    );
  }

  private run(
    name: string,
    verb: string,
    spec: object,
    dependsOn: pulumi.Resource[] = [],
    remove?: string,
  ): pulumi.Resource {
    return this.local(name, {
      create: `scripts/lab/lab ${verb}`,
      ...(remove ? { delete: `scripts/lab/lab ${remove}` } : {}),
      environment: { LAB_SPEC: sortedJson(spec) },
      dependsOn,
    });
  }

  private local(
    name: string,
    { dependsOn, ...args }: command.local.CommandArgs & { dependsOn: pulumi.Resource[] },
    options: pulumi.CustomResourceOptions = {},
  ): pulumi.Resource {
    return new command.local.Command(
      `lab-${name}`,
      { ...args, addPreviousOutputInEnv: false },
      {
        ...options,
        parent: this,
        dependsOn,
        // Baking an image downloads and installs some hundred packages.
        customTimeouts: { create: "40m", update: "40m", delete: "5m" },
      },
    );
  }
}

function connection({ secrets }: LabArgs, host: HostConfig): Host["connection"] {
  return {
    ...CONNECTION_DEFAULTS,
    host: host.ssh.address,
    user: host.ssh.user,
    privateKey: secrets.value("ssh-deployer"),
    hostKey: pulumi.unsecret(secrets.publicKey(`ssh-host-${host.name}`)),
  };
}

/** Names of interfaces carry it, and have 15 characters. */
function tag(cloud: Cloud): string {
  return `l${createHash("sha256").update(cloud.stack).digest("hex").slice(0, 3)}`;
}

function networks(cloud: Cloud): object {
  // The machine itself is on the networks that its people use; tunnel and storage are the hosts' own.
  const machineIsOn: readonly NetworkName[] = ["management", "external"];
  return Object.fromEntries(
    networkNames.map((name) => [
      name,
      {
        cidr: cloud.networks[name].cidr,
        mtu: cloud.networks[name].mtu,
        ...(machineIsOn.includes(name) ? { address: cloud.lab.machineAddresses[name] } : {}),
      },
    ]),
  );
}

/** MiB of all hosts. */
function memoryMiB(cloud: Cloud): number {
  return cloud.hosts.reduce((sum, host) => sum + leastMemoryMiB(host, isWhole(cloud)), 0);
}

function machineSpec(cloud: Cloud): object {
  return {
    name: cloud.stack,
    tag: tag(cloud),
    hosts: cloud.hosts.length,
    memoryMiB: Math.ceil(memoryMiB(cloud) / cloud.hosts.length),
    diskMiB: HOST_DISK_MIB,
    networks: networks(cloud),
  };
}

function networkSpec(cloud: Cloud): object {
  return { name: cloud.stack, tag: tag(cloud), networks: networks(cloud) };
}

/** Hosts with the same roles share an image. */
function imageName(host: Pick<HostConfig, "roles">): string {
  return host.roles.join("-");
}

/** What each image of a lab is made of, by the image's name. */
export function imageSpecs(
  cloud: Pick<Cloud, "hosts">,
  secretsFrom: Pick<Secrets, "ref">,
): ReadonlyMap<string, object> {
  const hosts = new Map(cloud.hosts.map((host) => [imageName(host), host]));
  return new Map(
    [...hosts].map(([name, host]) => [name, imageSpec(cloud, name, host, secretsFrom)]),
  );
}

/** An image is baked by the very install steps that a host would run, so that these find their work done. */
function imageSpec(
  cloud: Pick<Cloud, "hosts">,
  name: string,
  host: Pick<HostConfig, "roles">,
  secretsFrom: Pick<Secrets, "ref">,
): object {
  return {
    role: name,
    suite: SUITE,
    base: ["iputils-ping", "less", "nftables", "vim-tiny"],
    runner: { path: RUNNER, install: runnerScript() },
    // Of all that the roles carry, also where a host is drained: an image changes with the packages and nothing else.
    steps: servicesOf(cloud, { roles: host.roles }).map((entry) => ({
      name: `${entry.name}-install`,
      stdin: stepDocument({
        ...installContent(entry),
        service: entry.name,
        stage: "install",
        host: { name: "image" },
        secretsFrom,
      }),
    })),
  };
}

function hostSpec(cloud: Cloud, host: HostConfig, authorizedKey: string): object {
  return {
    lab: cloud.stack,
    name: host.name,
    role: imageName(host),
    id: host.id,
    addresses: host.addresses,
    // So that a changed network is applied to the host too; the lab reads it from its own descriptor.
    networks: Object.fromEntries(
      networkNames.map((name) => [
        name,
        { prefix: cloud.networks[name].prefix, mtu: cloud.networks[name].mtu },
      ]),
    ),
    bmc: {
      address: host.bmc?.address,
      port: host.bmc?.port,
      user: host.bmc?.user,
      postSeconds: cloud.lab.postSeconds,
    },
    authorizedKey,
  };
}
