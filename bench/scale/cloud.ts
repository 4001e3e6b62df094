import { stringify } from "yaml";
import { sshKeyPair } from "../../secrets";

/** A cloud of any number of existing machines, as a stack file has it: what the bench of scale and its test plan. */

export type Options = Readonly<Record<string, unknown>>;

const CONTROLLERS = 3;
const HOSTS_A_RACK = 20;
/** Of ten hosts three are for storage, of a hundred ten; a gateway serves fifty. */
const storageHosts = (hosts: number): number => Math.max(3, Math.floor(hosts / 10));
const networkHosts = (hosts: number): number => Math.max(2, Math.floor(hosts / 50));

type Role = "controller" | "storage" | "network" | "compute";

interface Machine {
  readonly name: string;
  readonly role: Role;
  readonly id: number;
  readonly rack: number;
}

/** Three controllers, storage and network hosts, and the rest for guests, dealt out to the racks in turn. */
export function machines(hosts: number): readonly Machine[] {
  const racks = Math.max(CONTROLLERS, Math.ceil(hosts / HOSTS_A_RACK));
  const counts: Readonly<Record<Role, number>> = {
    controller: CONTROLLERS,
    storage: storageHosts(hosts),
    network: networkHosts(hosts),
    compute: hosts - CONTROLLERS - storageHosts(hosts) - networkHosts(hosts),
  };
  if (counts.compute < 1) throw new Error(`wanted ten hosts or more, found ${hosts}`);
  return Object.entries(counts)
    .flatMap(([role, count]) =>
      Array.from({ length: count }, (_, i) => ({ role: role as Role, number: i + 1, rack: i })),
    )
    .map(({ role, number, rack }, i) => ({
      name: `${role.slice(0, 3)}${number}`,
      role,
      id: 11 + i,
      rack: (rack % racks) + 1,
    }));
}

/** The options by bare name, without any secret. */
export function scaleOptions(hosts: number): Options {
  return {
    backend: "inventory",
    networks: {
      management: { cidr: "10.20.0.0/16" },
      tunnel: { cidr: "10.21.0.0/16" },
      storage: { cidr: "10.22.0.0/16" },
      external: { cidr: "10.23.0.0/16" },
    },
    vips: { internal: "10.20.0.10", public: "10.23.0.10" },
    inventory: {
      nics: {
        management: { name: "bond0.110" },
        tunnel: { name: "bond0.120" },
        storage: { name: "bond0.130" },
        external: { name: "bond0.140" },
        provider: { name: "bond1.140" },
      },
    },
    hosts: machines(hosts).map(({ name, role, id, rack }) => ({
      name,
      id,
      roles: [role],
      failureDomain: `rack${rack}`,
      ssh: { hostKey: hostKey(name) },
      bmc: { address: `10.24.${id >> 8}.${id & 255}` },
      ...(role === "storage"
        ? { disks: ["/dev/disk/by-id/nvme-1", "/dev/disk/by-id/nvme-2"] }
        : {}),
    })),
    // What is made through the cloud's API does not grow with its hosts, and its test image would be built here.
    content: { enabled: false },
  };
}

/** A real key of nobody's. */
function hostKey(name: string): string {
  return sshKeyPair({ seed: "scale", stack: "scale", name, version: 1 }).publicKey;
}

export function stackFile(options: Options): string {
  return stringify({
    config: Object.fromEntries(
      Object.entries(options).map(([name, value]) => [`openstack-ha:${name}`, value]),
    ),
  });
}
