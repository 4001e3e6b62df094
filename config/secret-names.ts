/**
 * Every secret there is, as data: add one here and it can be asked for, rotated and overridden.
 * None is stored; all are derived from the stack's seed (see secrets.ts).
 */

/** `password`: base62 text. `keyfile`: longer base62 text for a daemon's key file. `ssh`: an ed25519 pair. `fernet`: 32 bytes, base64url. */
/** `tls`: a key on the curve P-256, in PEM. `cephx`: an AES key as Ceph writes it. `ssh-public`: the public half of another family's pair; no secret, but it travels with them. */
export type SecretKind = "password" | "keyfile" | "ssh" | "ssh-public" | "fernet" | "cephx" | "tls";

export interface SecretEntry {
  readonly kind: SecretKind;
  readonly meaning: string;
  /** Who has to be given it. */
  readonly neededBy: readonly string[];
  /** Characters of a password or key file. Default 32 (190 bits). */
  readonly length?: number;
  /** The name is a family: one secret for each host, or for each rotation, named `<name>-<host>` or `<name>-<n>`. */
  readonly per?: "host" | "rotation";
  /** The family whose public halves these are; they have its versions. */
  readonly of?: string;
}

/** A service's account in Keystone and the one in the database. */
function account<const Name extends string>(name: Name, title: string) {
  return {
    [name]: {
      kind: "password",
      meaning: `${title}'s account in Keystone`,
      neededBy: [name, "keystone"],
    },
    [`${name}-db`]: {
      kind: "password",
      meaning: `${title}'s database account`,
      neededBy: ["galera", name],
    },
  } as Record<Name | `${Name}-db`, { kind: "password"; meaning: string; neededBy: string[] }>;
}

export const secretCatalogue = {
  bmc: {
    kind: "password",
    meaning: "a management controller that has a password of its own (bmc.ownPassword)",
    neededBy: ["pacemaker"],
    per: "host",
    length: 16,
  },
  "ceph-admin": { kind: "cephx", meaning: "Ceph's administrator", neededBy: ["ceph"] },
  "ceph-cinder": {
    kind: "cephx",
    meaning: "volumes and guests' disks in Ceph",
    neededBy: ["cinder", "nova-compute"],
  },
  "ceph-glance": { kind: "cephx", meaning: "images in Ceph", neededBy: ["glance"] },
  "ceph-mon": {
    kind: "cephx",
    meaning: "key that Ceph's monitors know each other by",
    neededBy: ["ceph"],
  },
  ...account("cinder", "Cinder"),
  "corosync-authkey": {
    kind: "keyfile",
    meaning: "key that encrypts and authenticates Corosync's traffic",
    neededBy: ["corosync"],
    // Corosync takes 128 to 4096 bytes; 256 is what pcs writes.
    length: 256,
  },
  ...account("glance", "Glance"),
  horizon: {
    kind: "password",
    meaning: "key that the dashboard's cookies are signed with",
    neededBy: ["horizon"],
    length: 64,
  },
  "horizon-db": {
    kind: "password",
    meaning: "Horizon's database account",
    neededBy: ["galera", "horizon"],
  },
  "keystone-admin": {
    kind: "password",
    meaning: "the cloud's admin user",
    neededBy: ["keystone", "operator"],
  },
  "keystone-credential": {
    kind: "fernet",
    meaning: "keys that encrypt stored credentials (EC2, TOTP)",
    neededBy: ["keystone"],
    per: "rotation",
  },
  "keystone-db": {
    kind: "password",
    meaning: "Keystone's database account",
    neededBy: ["galera", "keystone"],
  },
  "keystone-fernet": {
    kind: "fernet",
    meaning: "keys that tokens are encrypted with",
    neededBy: ["keystone"],
    per: "rotation",
  },
  "libvirt-fence": {
    kind: "ssh",
    meaning: "key that controllers switch off a lost virtual machine with, on its hypervisor",
    neededBy: ["pacemaker"],
  },
  ...account("neutron", "Neutron"),
  "neutron-metadata": {
    kind: "password",
    meaning: "what the metadata agents sign guests' requests with",
    neededBy: ["neutron-metadata", "nova"],
  },
  ...account("nova", "Nova"),
  "pacemaker-bmc": {
    kind: "password",
    meaning: "the hosts' management controllers, for fencing",
    neededBy: ["pacemaker", "lab"],
    // IPMI 1.5 knows 16 bytes, and some controllers cut the rest off without a word.
    length: 16,
  },
  ...account("placement", "Placement"),
  "rabbitmq-cookie": {
    kind: "password",
    meaning: "Erlang cookie that lets the brokers form one cluster",
    neededBy: ["rabbitmq"],
  },
  "rabbitmq-openstack": {
    kind: "password",
    meaning: "the OpenStack services' account on the message bus",
    neededBy: ["rabbitmq", "keystone"],
  },
  "ssh-deployer": {
    kind: "ssh",
    meaning: "key that this program reaches the hosts with",
    neededBy: ["hosts"],
  },
  "ssh-host": {
    kind: "ssh",
    meaning: "a host's own key, so that the first connection already knows it",
    neededBy: ["hosts"],
    per: "host",
  },
  "ssh-known": {
    kind: "ssh-public",
    of: "ssh-host",
    meaning: "a host's public key, for other hosts to know it by",
    neededBy: ["nova-compute"],
    per: "host",
  },
  "ssh-nova": {
    kind: "ssh",
    meaning: "key that compute hosts reach each other with when a guest moves",
    neededBy: ["nova-compute"],
  },
  "tls-public": {
    kind: "tls",
    meaning: "key of the public VIP's certificate (tls.certificate)",
    neededBy: ["haproxy"],
  },
} as const satisfies Record<string, SecretEntry>;

type Entries = typeof secretCatalogue;
type Where<Condition> = {
  [Name in keyof Entries]: Entries[Name] extends Condition ? Name : never;
}[keyof Entries];
type Single<Names extends keyof Entries> = {
  [Name in Names]: Entries[Name] extends { per: string } ? never : Name;
}[Names];

/** A secret that is text: `value(name)` puts it into a file. */
export type TextSecretName = Single<Where<{ kind: "password" | "keyfile" }>>;
export type SshSecretName = Single<Where<{ kind: "ssh" }>> | `ssh-host-${string}`;
/** One key of a Fernet repository, named after the rotation that made it the primary one. */
export type FernetSecretName = `${Where<{ kind: "fernet" }>}-${number}`;
export type SecretName = TextSecretName | SshSecretName | FernetSecretName;

/**
 * The entry of a secret by its full name, family members included, in a cloud of these hosts. Who asks for each host's own does
 * it with a set.
 */
export function findSecret(
  name: string,
  hosts: readonly string[] | ReadonlySet<string>,
): SecretEntry | undefined {
  const isHost = (member: string): boolean =>
    hosts instanceof Set ? hosts.has(member) : (hosts as readonly string[]).includes(member);
  return Object.entries<SecretEntry>(secretCatalogue).find(([entryName, { per }]) => {
    if (per === undefined) {
      return name === entryName;
    }
    const member = name.startsWith(`${entryName}-`) ? name.slice(entryName.length + 1) : "";
    return per === "host" ? isHost(member) : /^[1-9]\d*$/.test(member);
  })?.[1];
}

/** The names that `secretVersions` can rotate in a cloud of these hosts. Fernet repositories rotate by a count of their own. */
export function rotatableNames(hosts: readonly string[]): string[] {
  return Object.entries<SecretEntry>(secretCatalogue)
    .filter(([, { of }]) => of === undefined)
    .flatMap(([name, { per }]) => {
      if (per === "host") {
        return hosts.map((host) => `${name}-${host}`);
      }
      return per === "rotation" ? [] : [name];
    })
    .sort();
}

/** The names that `secrets` can set by hand: the passwords. */
export function overridableNames(hosts: readonly string[]): string[] {
  return Object.entries<SecretEntry>(secretCatalogue)
    .filter(([, { kind }]) => kind === "password")
    .flatMap(([name, { per }]) => (per ? hosts.map((host) => `${name}-${host}`) : [name]));
}

/** Whether it is what machines have that exist: their passwords are as whoever set them up liked them. */
export function isGiven(name: string): boolean {
  return name === "pacemaker-bmc" || name.startsWith("bmc-");
}
