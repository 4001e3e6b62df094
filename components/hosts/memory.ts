import type { HostConfig } from "../../config";

/** MiB that a host was measured to use at rest, with a margin for peaks: by itself, and for each role. */
const MEMORY_MIB = {
  host: 300,
  identity: 1100,
  controller: 2600,
  compute: 900,
  network: 100,
  storage: 700,
};

/**
 * The least MiB of memory that a host works with.
 *
 * @param whole Whether the cloud runs guests, whose services the controllers carry.
 */
export function leastMemoryMiB({ roles }: Pick<HostConfig, "roles">, whole: boolean): number {
  return roles
    .map((role) => MEMORY_MIB[role === "controller" && !whole ? "identity" : role])
    .reduce((sum, each) => sum + each, MEMORY_MIB.host);
}
