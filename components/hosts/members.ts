import * as pulumi from "@pulumi/pulumi";
import type { Host } from "./host";

/** The type of what stands for a host in the stack's state. */
export const MEMBER = "openstack-ha:hosts:Member";

const NAME = "host-";

/** The host that a resource of this type stands for. */
export function hostOfMember(name: string): string {
  return name.slice(NAME.length);
}

/** What the state says of a host. */
export interface MemberRecord {
  /** Its number; a state of an earlier version has none. */
  readonly id?: number;
  readonly roles: Host["roles"];
  readonly rebuild: number;
  readonly state: Host["state"];
}

/**
 * A host in the stack's state, without anything that is made. The engine refuses to remove one that is protected, already in the
 * preview; and only a host that has been drained is not.
 */
export class Member extends pulumi.ComponentResource {
  /** @param emptied What has to have succeeded before the host counts as drained. */
  constructor(host: Host, emptied: pulumi.Resource | undefined) {
    const drained = host.state === "drained" && emptied !== undefined;
    super(
      MEMBER,
      `${NAME}${host.name}`,
      {},
      {
        // What waits for what is told to the engine too: the host itself is not removed before this.
        dependsOn: [...host.up, ...(emptied ? [emptied] : [])],
        protect: !drained,
      },
    );
    const { id, roles, rebuild, state } = host;
    this.registerOutputs({ id, roles, rebuild, state } satisfies MemberRecord);
  }
}
