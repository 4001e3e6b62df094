import type { Bmc, Hypervisor } from "../../config";
import { lines, secret } from "../render";
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
  /** The key pair that it logs in with, for an operator to allow. */
  readonly keyPair?: "libvirt-fence";
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
      [`${BMC_PASSWORD}${own}`]: { content: `${secret(name)}\n`, mode: "0400" },
      [`${IPMITOOL}${own}`]: {
        content: scriptFile("pacemaker/ipmitool").replace(BMC_PASSWORD, `${BMC_PASSWORD}${own}`),
        mode: "0755",
      },
    },
    packages: [],
    secrets: [name],
  };
}

const FENCE_KEY = "/etc/openstack-ha/fence-key";
const KNOWN_HYPERVISORS = "/etc/openstack-ha/fence-known-hosts";

/** By the hypervisor that the host stands on: the agent logs in there and runs virsh. */
export function virshFencing({ fence }: Hypervisor, domain: string): Fencing {
  const known = `${KNOWN_HYPERVISORS}-${fence.address}`;
  return {
    agent: "fence_virsh",
    parameters: {
      identity_file: FENCE_KEY,
      ip: fence.address,
      ipport: fence.port,
      // A host that was removed on its hypervisor is off for good.
      missing_as_off: 1,
      plug: domain,
      power_wait: 0,
      // The agent's own options, after those that make it know the hypervisor: left alone, it takes whoever answers.
      ssh_options: `${fence.hostKey === undefined ? "" : `-o UserKnownHostsFile=${known} -o StrictHostKeyChecking=yes `}${AGENT_SHELL}`,
      username: fence.user,
      ...(fence.user === "root" ? {} : { sudo: 1 }),
    },
    files: {
      [FENCE_KEY]: { content: secret("libvirt-fence"), mode: "0400" },
      ...(fence.hostKey === undefined
        ? {}
        : { [known]: { content: lines(`${knownName(fence)} ${fence.hostKey}`), mode: "0644" } }),
    },
    packages: ["fence-agents-virsh"],
    secrets: ["libvirt-fence"],
    keyPair: "libvirt-fence",
  };
}

/** The default of the agent's ssh_options (fence_virsh in fence-agents 4.16). */
const AGENT_SHELL = String.raw`-t '/bin/bash -c "PS1=\\[EXPECT\\]# /bin/bash --noprofile --norc"'`;

/** As ssh looks a server up: by its port too, where that is not 22. */
function knownName({ address, port }: Hypervisor["fence"]): string {
  return port === 22 ? address : `[${address}]:${port}`;
}
