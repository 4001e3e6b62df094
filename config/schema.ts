import { z } from "zod";

/**
 * Every option there is: its type, range, default, and where the number comes from.
 *
 * Rules that need more than one value are in semantics.ts. `config.schema.json` is written from
 * here, and editors show the descriptions.
 */

export const roles = ["controller", "compute", "network", "storage"] as const;
export const networkNames = ["management", "tunnel", "storage", "external"] as const;
export const hostStates = ["active", "drained"] as const;
export const backends = ["lab", "libvirt", "inventory"] as const;

/** Options that are encrypted in the stack's file. */
export const secretOptions = ["seed", "secrets", "sshPrivateKey", "tlsPrivateKey"] as const;

export function isSecretOption(name: string): boolean {
  return (secretOptions as readonly string[]).includes(name);
}

/** There is such an option, secret or not. */
export function isOption(name: string): boolean {
  return name in configSchema.shape;
}

/** What follows a check would only say the same in other words. */
const ABORT = { abort: true } as const;

/** Text of one form. The message reads `"<value>" <what>; <fix>`. */
function text(pattern: RegExp, what: string, fix: string) {
  return z
    .string()
    .regex(pattern, { error: ({ input }) => `${JSON.stringify(input)} ${what}; ${fix}`, ...ABORT });
}

function integer(minimum: number, maximum: number, description: string) {
  return z.int().min(minimum, ABORT).max(maximum, ABORT).describe(description);
}

const address = z.string().meta({ description: "An IPv4 address.", examples: ["10.77.0.10"] });

const label = (what: string, dots = false) =>
  text(
    dots ? /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/ : /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/,
    `is not a valid ${what}`,
    `use lower-case letters, digits and inner hyphens${dots ? " or dots" : ""}`,
  );

const haproxyDuration = (description: string) =>
  text(
    /^[1-9]\d*(?:ms|s|m|h)$/,
    "is not a duration as HAProxy writes it",
    "write a whole number with ms, s, m or h, such as 3s",
  ).meta({ description, examples: ["3s"] });

const galeraDuration = (description: string) =>
  text(
    /^PT\d+(?:\.\d{1,3})?S$/,
    "is not a duration as Galera writes it",
    "write seconds as PT1.5S",
  ).meta({ description, examples: ["PT1.5S"] });

const privateKey = (description: string) =>
  z
    .string()
    .regex(/^-----BEGIN [A-Z ]*PRIVATE KEY-----\n[\s\S]+\n-----END [A-Z ]*PRIVATE KEY-----\n?$/, {
      error: () =>
        "the value is not a private key; use the text of a file as ssh-keygen or openssl write it, without a passphrase",
    })
    .describe(description);

const pemFile = (description: string) =>
  text(
    /^(?!\/|(?:.*\/)?\.\.\/).*\.(?:pem|crt)$/,
    "is not the path of a certificate in the project",
    "name a file that ends in .pem, by its path from the project's folder",
  ).meta({ description, examples: ["tls/production.pem"] });

const network = z
  .strictObject({
    cidr: z
      .string()
      .meta({ description: "The network. IPv4 only for now.", examples: ["10.77.0.0/24"] }),
    mtu: integer(
      1280,
      9216,
      "Bytes of the largest packet on the wire. At least what IPv6 guests need, at most what switches call jumbo. Guests' networks get theirs from that of tunnel when they are made, and keep it. Default 1500.",
    ).default(1500),
    vlan: integer(
      1,
      4094,
      "VLAN id, where the hosts' port carries the network tagged. Without effect in the lab.",
    ).optional(),
    gateway: address
      .describe("The network's router, if it has one. No host can have this address.")
      .optional(),
  })
  .meta({ examples: [{ cidr: "10.77.0.0/24" }] });

const sshUser = text(
  /^[a-z_][a-z0-9_-]{0,31}$/,
  "is not a user name",
  "write the account that this program logs in as, such as root",
).describe(
  "Account that this program logs in as. Any other than root has to be allowed `sudo` without a password. Default root.",
);

const port = (description: string) => integer(1, 65535, description);

/** A public key is fields, each after its length in four bytes; the first is its kind (RFC 4253, 6.6). */
function isWholeKey(line: string): boolean {
  const [kind = "", base64 = ""] = line.split(" ");
  const bytes = Buffer.from(base64, "base64");
  const fields: Buffer[] = [];
  let at = 0;
  while (at + 4 <= bytes.length) {
    const end = at + 4 + bytes.readUInt32BE(at);
    fields.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return at === bytes.length && fields.length > 1 && fields[0]?.toString() === kind;
}

const hostKey = text(
  /^(?:ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$/,
  "is not a host key as known_hosts has it, without the name before and the comment behind",
  "write its kind and its base64, as `ssh-keyscan -t ed25519 HOST` shows them, and compare with the host's console",
)
  .refine(isWholeKey, {
    error:
      "the key is cut off, or of another kind than it says; copy the whole line, as `ssh-keyscan -t ed25519 HOST` shows it",
  })
  .meta({
    description: "The SSH server's own key, so that no other machine is taken for it.",
    examples: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0K..."],
  });

const interfaceName = text(
  /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/,
  "is not the name of a network interface",
  "write it as `ip link` shows it, 15 characters at most",
).meta({ description: "The interface, as `ip link` shows it.", examples: ["bond0.110"] });

export const portNames = [...networkNames, "provider"] as const;

/** An entry for each network, and one for the port of the guests' external network. */
function ports<T extends z.ZodType>(port: T) {
  return z.strictObject(
    Object.fromEntries(portNames.map((name) => [name, port.optional()])) as Record<
      (typeof portNames)[number],
      z.ZodOptional<T>
    >,
  );
}

/** What is said of an interface of one host. */
const nic = z
  .strictObject({
    name: interfaceName,
    mac: text(
      /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/,
      "is not a MAC address",
      "write six pairs of lower-case hexadecimal digits with colons, as `ip link` shows them",
    )
      .meta({
        description:
          "Its MAC address, by which the precheck knows that this is the machine it is meant to be.",
        examples: ["52:54:00:12:34:56"],
      })
      .optional(),
    bond: z
      .array(interfaceName)
      .min(2)
      .refine((ports) => new Set(ports).size === ports.length, {
        error: "the bond has a port twice; name each of its ports once",
      })
      .meta({
        description:
          "The ports of the bond that it is, or is a VLAN of; the precheck looks whether each is in it and has a carrier.",
        examples: [["eno1", "eno2"]],
      })
      .optional(),
  })
  .describe("An interface that the host's own network configuration makes; none is changed.");

const commonNic = nic.omit({ mac: true }).describe("An interface that has this name on all hosts.");

const host = z.strictObject({
  name: label("host name")
    .max(15)
    .meta({
      description:
        "Host name, unique. At most 15 characters: network interfaces are named after it.",
      examples: ["ctl1"],
    }),
  id: integer(
    2,
    65534,
    "Number of the host, unique. Its address on each network is the network's first address plus this.",
  ).meta({ examples: [11] }),
  roles: z
    .array(z.enum(roles))
    .min(1)
    .meta({
      description: "What the host is for; a host can have several roles.",
      examples: [["controller"]],
    }),
  failureDomain: label("failure domain")
    .max(63)
    .describe(
      "What the host shares its fate with: a rack, a room, a power feed. Default: the host alone.",
    )
    .optional(),
  state: z
    .enum(hostStates)
    .describe(
      "What is wanted of the host. `drained`: its guests are moved to others, no new ones come, and its services stop; then it can be taken out of the list. For hosts whose only role is compute. Default active.",
    )
    .default("active"),
  rebuild: integer(
    1,
    1000,
    "Raised by one where the host begins anew under the same name, because it or its disks are lost: a lab host or virtual machine is made anew (its disk in the store stays), an existing machine was installed anew, and all steps run there again. Default 1.",
  ).default(1),
  addresses: z
    .strictObject({
      management: address.optional(),
      tunnel: address.optional(),
      storage: address.optional(),
      external: address.optional(),
    })
    .describe("Addresses that do not follow from the id.")
    .prefault({}),
  ssh: z
    .strictObject({
      address: address
        .describe("Where its SSH server is reached. Default: its management address.")
        .optional(),
      port: port("TCP port of its SSH server. Default: that of inventory.ssh.").optional(),
      user: sshUser
        .describe("As in inventory.ssh, for this host. Default: the one there.")
        .optional(),
      hostKey: hostKey.optional(),
    })
    .describe("How the host is reached. For backend inventory.")
    .optional(),
  bmc: z
    .strictObject({
      address,
      port: port("UDP port. Default: that of inventory.bmc.").optional(),
      user: z
        .string()
        .min(1)
        .max(16)
        .describe("Account with IPMI's privilege Administrator. Default: that of inventory.bmc.")
        .optional(),
      ownPassword: z
        .boolean()
        .describe(
          "Whether its password is the secret bmc-HOST, and not the one that all have, pacemaker-bmc. Default false.",
        )
        .default(false),
    })
    .describe("Its management controller, which speaks IPMI 2.0. For backend inventory.")
    .optional(),
  nics: ports(nic)
    .describe("Its interfaces, where they are not those of inventory.nics. For backend inventory.")
    .optional(),
  disks: z
    .array(
      text(
        /^\/dev\/(?!(?:[shv]d[a-z]+|xvd[a-z]+|nvme\d+n|mmcblk\d|dm-\d)[0-9p]*$)[A-Za-z0-9_.:+/-]+$/,
        "is not the path of a disk, or one that is another disk's after the next boot",
        "write one that stays the same, such as /dev/disk/by-id/nvme-eui.0025385b01404e5a",
      ),
    )
    .meta({
      description:
        "Whole, empty disks that a storage host gives to the store. An empty list: a file of ceph.osdFileGiB. For backend inventory.",
      examples: [["/dev/disk/by-id/nvme-eui.0025385b01404e5a"]],
    })
    .optional(),
});

const inventory = z
  .strictObject({
    file: text(
      /^[^\0]+\.ya?ml$/,
      "is not the name of a YAML file",
      "write its path from the project's folder, such as inventory/production.yaml",
    )
      .meta({
        description:
          "A YAML file with `hosts`, as openstack-ha:hosts, and the other options of this block; neither is in the stack's file then.",
        examples: ["inventory/production.yaml"],
      })
      .optional(),
    ssh: z
      .strictObject({
        user: sshUser.default("root"),
        port: port("TCP port of the hosts' SSH servers. Default 22.").default(22),
        bastion: z
          .strictObject({
            address: z
              .string()
              .min(1)
              .meta({
                description: "Its address or name.",
                examples: ["bastion.example.org"],
              }),
            port: port("TCP port. Default 22.").default(22),
            user: sshUser.default("root"),
            hostKey,
          })
          .describe("A host that all others are reached through, with the same key.")
          .optional(),
      })
      .describe("How hosts are reached.")
      .prefault({}),
    bmc: z
      .strictObject({
        user: z
          .string()
          .min(1)
          .max(16)
          .describe("Account with IPMI's privilege Administrator. Default admin.")
          .default("admin"),
        port: port("UDP port. Default 623.").default(623),
      })
      .describe("What the hosts' management controllers have in common.")
      .prefault({}),
    nics: ports(commonNic)
      .describe("Interfaces that have the same name on all hosts.")
      .prefault({}),
    confinesGuests: z
      .boolean()
      .describe(
        "Whether the hosts can confine a guest by cgroups and namespaces of its own, as any machine can. Default true; false where hosts are themselves containers.",
      )
      .default(true),
  })
  .describe("Existing machines; only for backend inventory.");

const size = (roleName: string, vcpus: number, memoryMiB: number, diskGiB: number) =>
  z
    .strictObject({
      vcpus: integer(1, 256, `Processors. Default ${vcpus}.`).default(vcpus),
      memoryMiB: integer(512, 16777216, `MiB of memory. Default ${memoryMiB}.`).default(memoryMiB),
      diskGiB: integer(3, 65536, `GiB of the root disk. Default ${diskGiB}.`).default(diskGiB),
    })
    .describe(`What the role ${roleName} needs.`)
    .prefault({});

const hypervisor = z.strictObject({
  name: label("hypervisor name")
    .max(15)
    .meta({ description: "Unique; resources are named after it.", examples: ["hv1"] }),
  uri: text(
    /^qemu(?:\+(?:ssh|tls|tcp|unix))?:\/\/[^\s]*\/system(?:\?\S*)?$/,
    "is not the address of a libvirt that runs QEMU",
    "write one such as qemu:///system or qemu+ssh://root@hv1.example.org/system",
  ).meta({
    description:
      "Where its libvirt is reached. With ssh, the key has to be one that needs no passphrase, and the server's own key a known one (`?keyfile=` and `?knownhosts=` name files).",
    examples: ["qemu+ssh://root@hv1.example.org/system"],
  }),
  kvm: z
    .boolean()
    .describe(
      "Whether hosts run in hardware (KVM). Default true; false emulates every instruction, some ten times slower, for a machine that has no KVM.",
    )
    .default(true),
  failureDomains: z
    .array(label("failure domain").max(63))
    .describe("Failure domains whose hosts stand on it. A sole hypervisor has all. Default none.")
    .default([]),
  bridges: z
    .strictObject(
      Object.fromEntries(networkNames.map((name) => [name, interfaceName.optional()])) as Record<
        (typeof networkNames)[number],
        z.ZodOptional<typeof interfaceName>
      >,
    )
    .describe(
      "Bridges of the hypervisor's that carry a network. A network that is not named is made there, between the hosts of this hypervisor alone.",
    )
    .prefault({}),
  fence: z
    .strictObject({
      address: z
        .string()
        .min(1)
        .describe(
          "Where its SSH server is reached from the hosts, to switch off a lost one. Default: the machine in the uri, else its own address on the management network.",
        )
        .optional(),
      port: port("TCP port. Default 22.").default(22),
      user: sshUser.default("root"),
      hostKey: hostKey.optional(),
    })
    .describe("How hosts on it are fenced (fence_virsh), with the key libvirt-fence.")
    .prefault({}),
});

const libvirt = z
  .strictObject({
    image: z
      .string()
      .min(1)
      .meta({
        description:
          "Path or URL of a Debian 13 disk image with cloud-init, qcow2 or raw, that boots from BIOS. Default: one that is built here from Debian packages. Name each version differently: only hosts that are made later stand on a new one.",
        examples: [
          "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-genericcloud-amd64.qcow2",
        ],
      })
      .optional(),
    hypervisors: z
      .array(hypervisor)
      .min(1)
      .meta({
        description: "Where the hosts stand; `local` is this machine. Default: local.",
        examples: [[{ name: "hv1", uri: "qemu+ssh://root@hv1.example.org/system" }]],
      })
      .prefault([{ name: "local", uri: "qemu:///system" }]),
    pool: text(
      /^\/[A-Za-z0-9_./-]+[A-Za-z0-9_-]$/,
      "is not the path of a folder",
      "write an absolute path, such as /var/lib/libvirt/images",
    )
      .describe(
        "Folder on each hypervisor; the disks are in a folder below it that has the stack's name. Default /var/lib/libvirt/images.",
      )
      .default("/var/lib/libvirt/images"),
    sizes: z
      .strictObject({
        controller: size("controller", 4, 8192, 40),
        compute: size("compute", 4, 4096, 40),
        network: size("network", 2, 1024, 20),
        storage: size("storage", 2, 4096, 20),
      })
      .describe(
        "A host has the memory of all its roles together, and the most processors and root disk of any.",
      )
      .prefault({}),
    storeDiskGiB: integer(
      4,
      65536,
      "GiB of the disk that a storage host gives to the store. It takes what was written. Default 50.",
    ).default(50),
    nameservers: z
      .array(address)
      .describe("Name servers of the hosts, where a network has a gateway. Default none.")
      .default([]),
  })
  .describe("Virtual machines; only for backend libvirt.");

const lab = z
  .strictObject({
    machineId: integer(
      1,
      254,
      "Number of the machine that runs the lab; its address on each network is the network's first address plus this. Default 1.",
    ).default(1),
    postSeconds: integer(
      0,
      600,
      "Seconds between power on by a management controller and the start of the system: the firmware's self-test. " +
        "Default 10. Real servers take minutes; none at all would let a fenced host compete with the survivors for this machine's processors.",
    ).default(10),
    bmcOffset: integer(
      1,
      65534,
      "A host's management controller answers on the host's management address plus this. Default 100.",
    ).default(100),
  })
  .describe("The lab on this machine; only for backend lab.");

const corosync = z
  .strictObject({
    token: integer(
      500,
      30000,
      "Milliseconds without the token until a host is suspected; it is declared lost after about 2.2 times that. " +
        "500 is the least that was measured to be stable under load (six CPU burners on two cores). " +
        "Default 500 in the lab, 1000 elsewhere, because a virtual host can stall for longer.",
    ).optional(),
    tokenCoefficient: integer(
      0,
      5000,
      "Milliseconds added to the token for each host above two. Default 0, so that the token is what it says (Corosync's own: 650).",
    ).default(0),
  })
  .describe("Cluster membership: how soon a lost host is noticed.");

const pacemaker = z
  .strictObject({
    stonithAction: z
      .enum(["reboot", "off"])
      .describe(
        "What fencing does to a lost host. `off` leaves it to be started by hand, which spares a small lab the load. Default reboot.",
      )
      .default("reboot"),
    monitorSeconds: integer(1, 60, "Seconds between two checks of a resource. Default 5.").default(
      5,
    ),
    clusterRecheckSeconds: integer(
      10,
      900,
      "Seconds between two looks at time-based rules, such as the failure timeout. Default 60.",
    ).default(60),
    migrationThreshold: integer(
      1,
      10,
      "Failures of a resource on one host after which it moves to another. Default 3.",
    ).default(3),
    failureTimeoutSeconds: integer(
      10,
      3600,
      "Seconds after which a failure is forgiven. Default 60.",
    ).default(60),
    dcDeadtimeSeconds: integer(
      1,
      120,
      "Seconds that a starting host looks for others before it acts for the cluster. Default 20 (Pacemaker's own).",
    ).default(20),
  })
  .describe("The cluster's resource manager.");

const haproxy = z
  .strictObject({
    interMs: integer(
      100,
      60000,
      "Milliseconds between two health checks of a server. Default 500: a dead one is out after 1.5 s (with 2000: 4.4 to 7.9 s).",
    ).default(500),
    observedInterMs: integer(
      100,
      60000,
      "Milliseconds between two health checks of a server that its own traffic watches too: all but Keystone and the database. Default 2000; at 500 the checks took most of a core at rest.",
    ).default(2000),
    observedCheckTimeout: haproxyDuration(
      "Wait for the answer to such a check. Default 10s: the first request to an API that has just started takes seconds.",
    ).default("10s"),
    fall: integer(1, 10, "Failed checks in a row that take a server out. Default 2.").default(2),
    rise: integer(1, 10, "Good checks in a row that take it in again. Default 2.").default(2),
    connectTimeout: haproxyDuration(
      "Wait for a server to accept a connection. Default 1s, so that a request meets the next server quickly.",
    ).default("1s"),
    checkTimeout: haproxyDuration(
      "Wait for the answer to a health check. Default 3s; at 1s a busy but healthy Keystone was taken out.",
    ).default("3s"),
    clientTimeout: haproxyDuration("Longest silence of a client. Default 1m.").default("1m"),
    serverTimeout: haproxyDuration("Longest silence of a server. Default 1m.").default("1m"),
    patientTimeout: haproxyDuration(
      "Longest silence of a client or server of images and consoles. Default 1h.",
    ).default("1h"),
    databaseTimeout: haproxyDuration(
      "Longest silence of a database connection, on both sides. Default 1h: pooled connections idle.",
    ).default("1h"),
    maxconn: integer(
      100,
      1000000,
      "Connections at once, on each controller. Default 10000.",
    ).default(10000),
  })
  .describe("The load balancer in front of every service.");

const galera = z
  .strictObject({
    bufferPoolMiB: integer(
      64,
      1048576,
      "MiB of memory for InnoDB's pages, on each controller. Default 256, enough for a control plane that fits a lab.",
    ).default(256),
    maxConnections: integer(
      50,
      100000,
      "Connections at once. All services write through one member, so this is for all controllers together. Default 1500.",
    ).default(1500),
    gcacheMiB: integer(
      32,
      1048576,
      "MiB of recent writes kept on disk; a member that missed no more than this rejoins without a full copy. Default 128 (Galera's own).",
    ).default(128),
    evs: z
      .strictObject({
        keepalivePeriod: galeraDuration("Between two signs of life. Default PT0.5S.").default(
          "PT0.5S",
        ),
        inactiveCheckPeriod: galeraDuration(
          "Between two looks at who is silent. Default PT0.25S.",
        ).default("PT0.25S"),
        suspectTimeout: galeraDuration(
          "Silence after which a member is suspected; if all agree, it is out. Default PT1.5S: writes stop for 2.5 s when a member dies (Galera's own PT5S: 6.2 s).",
        ).default("PT1.5S"),
        inactiveTimeout: galeraDuration(
          "Silence after which a member is out in any case. Default PT15S (Galera's own).",
        ).default("PT15S"),
        installTimeout: galeraDuration(
          "Wait for all to accept the new membership. Default PT7.5S (Galera's own): with PT3S a second member that died a second after the first took the rest out for 27 s.",
        ).default("PT7.5S"),
      })
      .describe("Galera's own membership (gcomm's extended virtual synchrony).")
      .prefault({}),
  })
  .describe("The database cluster.");

const database = z
  .strictObject({
    poolSize: integer(1, 100, "Connections that a service process keeps open. Default 5.").default(
      5,
    ),
    poolOverflow: integer(
      0,
      200,
      "Connections that it may open on top of these. Default 10.",
    ).default(10),
    recycleSeconds: integer(
      10,
      86400,
      "Seconds after which a pooled connection is renewed; less than haproxy.databaseTimeout. Default 600.",
    ).default(600),
    timeoutSeconds: integer(
      5,
      3600,
      "Seconds that a service waits for an answer of the database before it gives the connection up. Default 60: a connection whose server died in the moment it was opened would hang for ever.",
    ).default(60),
  })
  .describe("How OpenStack services use the database.");

const rabbitmq = z
  .strictObject({
    memoryHighWatermarkMiB: integer(
      128,
      1048576,
      "MiB of memory at which a broker stops taking messages. Absolute, because a lab host sees the whole machine's memory. Default 1024.",
    ).default(1024),
    diskFreeLimitMiB: integer(
      50,
      1048576,
      "MiB of free disk below which a broker stops taking messages. Default 512.",
    ).default(512),
    netTickSeconds: integer(
      5,
      300,
      "Seconds of silence after which a broker counts another as gone. Default 15 (RabbitMQ's own: 60, and it warns of less than 5).",
    ).default(15),
    schedulers: integer(
      1,
      64,
      "Erlang scheduler threads of a broker. Default: one for each CPU; fewer where hosts share CPUs.",
    ).optional(),
  })
  .describe("The message bus.");

const memcached = z
  .strictObject({
    memoryMiB: integer(16, 65536, "MiB for cached items, on each controller. Default 64.").default(
      64,
    ),
    maxConnections: integer(64, 65536, "Connections at once. Default 4096.").default(4096),
    socketTimeoutMs: integer(
      50,
      10000,
      "Milliseconds a service waits for a cache before it does without. Default 200: a dead one costs little.",
    ).default(200),
    deadRetrySeconds: integer(
      1,
      600,
      "Seconds before a service tries a dead cache again. Default 30.",
    ).default(30),
  })
  .describe("The cache, and how services use it.");

const keystone = z
  .strictObject({
    processes: integer(
      1,
      64,
      "Worker processes on each controller, 114 MB each. Default 2.",
    ).default(2),
    threads: integer(1, 64, "Threads of each process. Default 4.").default(4),
    passwordHashRounds: integer(
      4,
      16,
      "Doublings of the work that checking a password takes. Default 12 (Keystone's own): 0.25 s of CPU each login.",
    ).default(12),
    tokenExpirationSeconds: integer(
      60,
      604800,
      "Seconds that a token is valid. Default 3600 (Keystone's own).",
    ).default(3600),
    allowExpiredWindowSeconds: integer(
      0,
      1209600,
      "Seconds after which a service can still use an expired token to finish a long operation. Default 172800 (Keystone's own).",
    ).default(172800),
    fernet: z
      .strictObject({
        version: integer(
          1,
          1000000,
          "Number of the current rotation of the token keys. Add one to rotate. Default 1.",
        ).default(1),
        maxActiveKeys: integer(
          3,
          100,
          "Keys kept: the staged, the primary and the older ones. Tokens of maxActiveKeys - 2 earlier rotations stay valid. Default 3.",
        ).default(3),
      })
      .describe("The token keys.")
      .prefault({}),
    debug: z.boolean().describe("Log at debug level. Default false.").default(false),
  })
  .describe("The identity service.");

/** Shortest seed taken: 32 characters of base64 are 192 bits. */
const workers = z
  .strictObject({
    apiProcesses: integer(
      1,
      64,
      "Processes of each API on each controller, 110 to 200 MB each; Keystone has its own option. Default 2: with one, a slow request holds up the health check behind it.",
    ).default(2),
    apiThreads: integer(
      1,
      64,
      "Threads of each process of the Placement and Block Storage APIs and of Nova's metadata. Default 4. Compute and Network have one, as Debian ships them: they are not made for more.",
    ).default(4),
    rpc: integer(
      1,
      64,
      "Workers of each service that takes its work from the message bus. Default 1.",
    ).default(1),
  })
  .describe("How many processes serve the OpenStack services.");

/** The next one that is not less. */
function powerOfTwo(count: number): number {
  return 2 ** Math.ceil(Math.log2(count));
}

const ceph = z
  .strictObject({
    replicas: integer(2, 5, "Copies of each object, each on another host. Default 3.").default(3),
    minReplicas: integer(
      1,
      4,
      "Copies that have to be there for a write to be taken. Default 2: one host can be lost.",
    ).default(2),
    placementGroups: integer(
      1,
      4096,
      "Placement groups of each of the three pools at the start, a power of two. Nothing adds more later (README, limits), so choose for the disks there will be. Default 16.",
    )
      .refine((count) => count === powerOfTwo(count), {
        error: ({ input }) =>
          `${String(input)} is not a power of two, of which Ceph warns for good; use ${powerOfTwo(Number(input))}`,
      })
      .default(16),
    osdFileGiB: integer(
      4,
      65536,
      "GiB of the file that is a host's disk in the store. Sparse: it takes what was written. Default 20.",
    ).default(20),
    osdMemoryMiB: integer(
      896,
      262144,
      "MiB that a disk's daemon aims at. Default 2048 (Ceph's own: 4096; its least: 896).",
    ).default(2048),
    heartbeatSeconds: integer(
      1,
      30,
      "Seconds between two signs of life of a disk's daemon. Default 2 (Ceph's own: 6).",
    ).default(2),
    monitorLeaseSeconds: integer(
      1,
      30,
      "Seconds for which the monitors trust each other; twice that until a lost one is noticed. Default 2 (Ceph's own: 5).",
    ).default(2),
    heartbeatGraceSeconds: integer(
      3,
      120,
      "Seconds of silence after which a disk counts as down, and what waits for it goes on. Default 7 (Ceph's own: 20).",
    ).default(7),
  })
  .describe("The store of images, volumes and the guests' disks.");

const nova = z
  .strictObject({
    virtType: z
      .enum(["kvm", "qemu"])
      .describe(
        "How guests run: kvm in hardware, qemu in software. Default qemu in the lab, whose machine need not have KVM, kvm elsewhere.",
      )
      .optional(),
    reportIntervalSeconds: integer(
      1,
      300,
      "Seconds between two signs of life of a service. Default 10 (Nova's own).",
    ).default(10),
    serviceDownSeconds: integer(
      5,
      3600,
      "Seconds of silence after which a service counts as down. Default 60 (Nova's own).",
    ).default(60),
    discoverHostsSeconds: integer(
      5,
      3600,
      "Seconds between two looks for new compute hosts. Default 15.",
    ).default(15),
    cpuAllocationRatio: z
      .number()
      .min(1)
      .max(64)
      .describe("Virtual processors of guests for each of a host's. Default 4 (Nova's own).")
      .default(4),
    debug: z.boolean().describe("Log at debug level. Default false.").default(false),
  })
  .describe("Compute.");

const neutron = z
  .strictObject({
    datapath: z
      .enum(["kernel", "userspace"])
      .describe(
        "What switches packets: the kernel's openvswitch module, or Open vSwitch itself where the kernel has none. Default userspace in the lab, kernel elsewhere.",
      )
      .optional(),
    debug: z.boolean().describe("Log at debug level. Default false.").default(false),
  })
  .describe("Networks of the guests.");

const horizon = z
  .strictObject({
    processes: integer(1, 64, "Processes on each controller, 150 MB each. Default 1.").default(1),
    threads: integer(1, 64, "Threads of each process. Default 4.").default(4),
    sessionMinutes: integer(5, 10080, "Minutes until a login ends. Default 60.").default(60),
  })
  .describe("The dashboard.");

const flavor = z.strictObject({
  name: label("flavor name", true)
    .max(64)
    .meta({ description: "Unique.", examples: ["m1.small"] }),
  vcpus: integer(1, 256, "Virtual processors."),
  ramMiB: integer(32, 16777216, "MiB of memory."),
  diskGiB: integer(0, 65536, "GiB of the root disk."),
});

const content = z
  .strictObject({
    enabled: z
      .boolean()
      .describe(
        "Whether this program makes content in the cloud: image, flavors, external network, volume type, quotas. Default true; without compute hosts there is none.",
      )
      .default(true),
    testImage: z
      .boolean()
      .describe(
        "A tiny guest image, built from Debian packages on the machine that runs Pulumi. Default true.",
      )
      .default(true),
    flavors: z
      .array(flavor)
      .describe("Sizes of guests. Default: m1.nano, m1.micro, m1.small.")
      .default([
        { name: "m1.nano", vcpus: 1, ramMiB: 192, diskGiB: 1 },
        { name: "m1.micro", vcpus: 1, ramMiB: 256, diskGiB: 1 },
        { name: "m1.small", vcpus: 1, ramMiB: 2048, diskGiB: 20 },
      ]),
    floatingPool: z
      .strictObject({
        start: address,
        end: address,
      })
      .describe(
        "First and last floating address, on the external network. Default: the upper half of the network without its last address.",
      )
      .optional(),
    quotas: z
      .strictObject({
        instances: integer(0, 100000, "Guests. Default 20.").default(20),
        cores: integer(0, 1000000, "Virtual processors. Default 40.").default(40),
        ramMiB: integer(0, 1000000000, "MiB of memory. Default 51200 (Nova's own).").default(51200),
        volumes: integer(0, 100000, "Volumes. Default 20.").default(20),
        gigabytes: integer(0, 10000000, "GiB of volumes. Default 200.").default(200),
        floatingips: integer(0, 100000, "Floating addresses. Default 20.").default(20),
      })
      .describe("What the project demo may use.")
      .prefault({}),
  })
  .describe("What is in the cloud from the first day.");

export const minimumSeedLength = 32;

export const configSchema = z.strictObject({
  region: text(
    /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62})$/,
    "is not a valid region name",
    "use letters, digits, dots, hyphens and underscores, 63 at most",
  )
    .describe("Region that the endpoints are registered in. Default RegionOne.")
    .default("RegionOne"),
  backend: z
    .enum(backends)
    .describe(
      "What the hosts are made of: `lab` makes them as containers on this machine, `libvirt` as virtual machines; `inventory` takes existing machines. Default lab.",
    )
    .default("lab"),
  networks: z
    .strictObject({
      management: network.describe("APIs, database, message bus, cluster traffic."),
      tunnel: network.describe("Traffic between guests on different hosts."),
      storage: network.describe("Traffic of the volume and image store."),
      external: network.describe("Public API and floating addresses."),
    })
    .meta({
      description: "The networks that each host has a port on.",
      examples: [{ management: { cidr: "10.77.0.0/24" } }],
    }),
  vips: z
    .strictObject({
      internal: address.describe("Address of the APIs on the management network."),
      public: address.meta({
        description: "Address of the APIs on the external network.",
        examples: ["10.77.3.10"],
      }),
    })
    .meta({
      description: "Addresses that move to a healthy controller.",
      examples: [{ internal: "10.77.0.10", public: "10.77.3.10" }],
    }),
  tls: z
    .strictObject({
      certificate: pemFile(
        "Certificate of the public VIP, with those that it is vouched for by behind it: a file in PEM, by its path from the project's folder. `npm run certificate` asks for one.",
      ),
      authority: pemFile(
        "Certificate of who signed it, for clients that do not know them: a file in PEM. Default: one that everybody knows.",
      ).optional(),
      name: label("host name", true)
        .max(253)
        .meta({
          description:
            "Name that leads people to the public VIP, and that the certificate is for. Default: the VIP's address.",
          examples: ["cloud.example.org"],
        })
        .optional(),
    })
    .meta({
      description: "The public APIs by TLS, which HAProxy ends. Default: in clear.",
      examples: [{ certificate: "tls/production.pem", name: "cloud.example.org" }],
    })
    .optional(),
  hosts: z.array(host).meta({
    description:
      "The hosts: an odd number of controllers, at least three, and others with further roles.",
    examples: [[{ name: "ctl1", roles: ["controller"], id: 11 }]],
  }),
  lab: lab.prefault({}),
  inventory: inventory.prefault({}),
  libvirt: libvirt.prefault({}),
  corosync: corosync.prefault({}),
  pacemaker: pacemaker.prefault({}),
  haproxy: haproxy.prefault({}),
  galera: galera.prefault({}),
  database: database.prefault({}),
  rabbitmq: rabbitmq.prefault({}),
  memcached: memcached.prefault({}),
  keystone: keystone.prefault({}),
  workers: workers.prefault({}),
  ceph: ceph.prefault({}),
  nova: nova.prefault({}),
  neutron: neutron.prefault({}),
  horizon: horizon.prefault({}),
  content: content.prefault({}),
  secretVersions: z
    .record(z.string(), integer(1, 1000000, "Number of the secret's current version."))
    .describe("Version of a derived secret, by name; add one to rotate it. Default 1 for each.")
    .default({}),
  seed: z
    .string()
    .min(minimumSeedLength)
    .describe("The secret that all passwords and keys are derived from.")
    .optional(),
  sshPrivateKey: privateKey(
    "The key that hosts are reached with. Default: one derived from the seed.",
  ).optional(),
  tlsPrivateKey: privateKey(
    "The key of `tls.certificate`. Default: one derived from the seed.",
  ).optional(),
  secrets: z
    .record(z.string(), z.string())
    .describe("Passwords to use instead of the derived ones, by name.")
    .default({}),
});

/** The host entry by itself, so that one bad host does not hide mistakes in the others. */
export const hostSchema = host;

/** The configuration with its defaults filled in, before any rule was checked. */
export type Settings = z.output<typeof configSchema>;
export type HostSettings = z.output<typeof host>;
/** Top-level options, by name. */
export type Section = keyof Settings;

/** The schema as JSON Schema (2020-12), of what a person writes. */
export function jsonSchema(): JsonSchema {
  return z.toJSONSchema(configSchema, { io: "input" }) as JsonSchema;
}

/** The part of JSON Schema that z.toJSONSchema uses here. */
export interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly additionalProperties?: boolean | JsonSchema;
  readonly [keyword: string]: unknown;
}
