import * as pulumi from "@pulumi/pulumi";
import { type Cloud, type HostConfig, type NetworkName, networkNames } from "../../config";
import type { Secrets } from "../../secrets";
import { CONNECTION_DEFAULTS } from "../step";
import { ipmiFencing } from "./fencing";
import type { Host } from "./host";

export interface InventoryArgs {
  readonly cloud: Cloud;
  readonly secrets: Secrets;
}

/**
 * Machines that exist. Nothing is made: they are reached at the addresses that the configuration names, and their disks
 * and network interfaces are as whoever installed them left them.
 */
export class Inventory extends pulumi.ComponentResource {
  readonly hosts: readonly Host[];

  constructor(name: string, args: InventoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("openstack-ha:hosts:Inventory", name, {}, opts);

    this.hosts = args.cloud.hosts.map((host) => ({
      ...host,
      nics: nics(host),
      providerNic: host.ports.provider?.name ?? "",
      confinesGuests: args.cloud.inventory.confinesGuests,
      up: [],
      // They stay when the stack goes, and what is on them with them: nothing is taken out of a cloud that is given up.
      machine: this,
      connection: connection(args, host),
      ...(host.bmc ? { fencing: ipmiFencing(host.name, host.bmc) } : {}),
    }));
    this.registerOutputs({});
  }
}

function nics({ ports }: HostConfig): Host["nics"] {
  return Object.fromEntries(
    networkNames.map((network) => [network, ports[network]?.name ?? ""]),
  ) as Record<NetworkName, string>;
}

function connection({ cloud, secrets }: InventoryArgs, { ssh }: HostConfig): Host["connection"] {
  const privateKey = secrets.value("ssh-deployer");
  const { bastion } = cloud.inventory;
  return {
    ...CONNECTION_DEFAULTS,
    ...reached(ssh),
    privateKey,
    ...(bastion ? { proxy: { ...CONNECTION_DEFAULTS, ...reached(bastion), privateKey } } : {}),
  };
}

function reached({ address, port, user, hostKey }: HostConfig["ssh"]): {
  host: string;
  port: number;
  user: string;
  hostKey?: string;
} {
  return { host: address, port, user, ...(hostKey === undefined ? {} : { hostKey }) };
}
