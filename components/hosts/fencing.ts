import type { Bmc } from "../../config";
import { secret } from "../render";
import { type Files, scriptFile } from "../step";

/** How a lost host is made sure to be off: an agent of Pacemaker's, and what it needs on each host that runs it. */
export interface Fencing {
  /** Name of the agent, such as `fence_ipmilan`. */
  readonly agent: string;
  readonly parameters: Readonly<Record<string, string | number>>;
  /** No secret is among the parameters: they are in files. */
  readonly files: Files;
  /** Packages besides those that every cluster has. */
  readonly packages: readonly string[];
  /** Secrets that the files name. */
  readonly secrets: readonly string[];
}

/** What the agent runs instead of ipmitool: the password is in no cluster configuration and in no process list. */
const IPMITOOL = "/usr/local/lib/openstack-ha/ipmitool";
const BMC_PASSWORD = "/etc/openstack-ha/bmc-password";

/**
 * Through a management controller that speaks IPMI. One that has another password than all others has the same two files
 * to itself.
 */
export function ipmiFencing(host: string, bmc: Bmc): Fencing {
  const own = bmc.ownPassword ? `-${host}` : "";
  const name = bmc.ownPassword ? `bmc-${host}` : "pacemaker-bmc";
  return {
    agent: "fence_ipmilan",
    parameters: {
      // Without a cipher each call waits 10 s for the list of ciphers.
      cipher: 3,
      ip: bmc.address,
      ipmitool_path: `${IPMITOOL}${own}`,
      ipport: bmc.port,
      lanplus: 1,
      // The BMC's own status says when power is off: no blind wait before asking it.
      power_wait: 0,
      username: bmc.user,
    },
    files: {
      [`${BMC_PASSWORD}${own}`]: {
        content: `${secret(name)}
`,
        mode: "0400",
      },
      [`${IPMITOOL}${own}`]: {
        content: scriptFile("pacemaker/ipmitool").replace(BMC_PASSWORD, `${BMC_PASSWORD}${own}`),
        mode: "0755",
      },
    },
    packages: [],
    secrets: [name],
  };
}
