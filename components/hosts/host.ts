import type * as command from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { HostConfig, NetworkName } from "../../config";
import type { Fencing } from "./fencing";

/**
 * A machine that steps can be run on. It looks the same from each backend (lab, libvirt, inventory): nothing outside
 * components/hosts/ may ask what it is made of.
 */
export interface Host extends HostConfig {
  /** How its SSH server is reached. The private key in it is secret. */
  readonly connection: pulumi.Input<command.types.input.remote.ConnectionArgs>;
  /** The name of its interface on each network; none where no role of it needs the network. */
  readonly nics: Readonly<Record<NetworkName, string>>;
  /** A port on the external network without an address, for Open vSwitch to carry guests' packets through. */
  readonly providerNic: string;
  /** Whole disks for the store; a storage host without one has a file. */
  readonly disks: readonly string[];
  /** Whether it can confine a guest's process by cgroups and namespaces of its own. */
  readonly confinesGuests: boolean;
  /** How the cluster makes sure that it is off; each controller has it. */
  readonly fencing?: Fencing;
  /** What has to exist before a step may run on it. */
  readonly up: readonly pulumi.Resource[];
  /** With what its steps vanish, without being run backwards: a host that is gone needs no cleaning. */
  readonly machine?: pulumi.Resource;
}

/**
 * Options of what is lost with a host's disks: it is made again when the host begins anew. Always there, because the engine
 * takes a trigger that there was not before for no change.
 */
export function asRebuilt({
  rebuild,
}: Pick<HostConfig, "rebuild">): Pick<pulumi.CustomResourceOptions, "replacementTrigger"> {
  return { replacementTrigger: rebuild };
}
