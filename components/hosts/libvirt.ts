import { createHash } from "node:crypto";
import * as command from "@pulumi/command";
import * as libvirt from "@pulumi/libvirt";
import * as pulumi from "@pulumi/pulumi";
import { service } from "../../catalogue";
import {
  type Cloud,
  type HostConfig,
  type Hypervisor,
  type NetworkName,
  networkNames,
} from "../../config";
import { HYPERVISOR_IS_ON } from "../../config/libvirt";
import type { Secrets } from "../../secrets";
import { CONNECTION_DEFAULTS, readScript, scriptFile, sortedJson } from "../step";
import { virshFencing } from "./fencing";
import { asRebuilt, type Host } from "./host";

/** Debian 13. */
const SUITE = "trixie";
const GIB = 1024 ** 3;

/** Interfaces of a host, named as the lab's, in the order in which it has them. */
const NICS: Readonly<Record<NetworkName, string>> = {
  management: "mgmt0",
  tunnel: "tun0",
  storage: "sto0",
  external: "ext0",
};
const PROVIDER_NIC = "prv0";

/** Attempts to reach a host that boots for the first time, up to 5 s apart: 15 minutes, for one without KVM. */
const BOOT_ATTEMPTS = 180;

export interface LibvirtArgs {
  readonly cloud: Cloud;
  readonly secrets: Secrets;
}

/** What one hypervisor has for the hosts on it. */
interface Ground {
  readonly hypervisor: Hypervisor;
  readonly provider: libvirt.Provider;
  readonly pool: libvirt.Pool;
  readonly base: libvirt.Volume;
  /** What has to outlive every volume of ours in the pool. */
  readonly sweep: pulumi.Resource;
  /** Empty where the network is a bridge that was there. */
  readonly networks: Readonly<Partial<Record<NetworkName, libvirt.Network>>>;
}

/**
 * Hosts as virtual machines, on one hypervisor or spread over several. After this they are hosts like any other: reached
 * over SSH, fenced through the hypervisor that they stand on.
 *
 * A host that exists is never made anew because an option changed: what cannot be done in place is refused, in the
 * preview, before anything is touched (see docs/libvirt.md). `rebuild` of the host is how a person says so.
 */
export class Libvirt extends pulumi.ComponentResource {
  readonly hosts: readonly Host[];

  constructor(
    name: string,
    private readonly args: LibvirtArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("openstack-ha:hosts:Libvirt", name, {}, opts);

    const { cloud } = args;
    const machine = this.local("machine", { create: "scripts/vm/machine" });
    const image = this.image(machine);
    // A refusal comes before anything else is touched, so everything waits for every host's.
    const plans = new Map(cloud.hosts.map((host) => [host.name, this.plan(host, machine)]));
    const grounds = new Map(
      cloud.libvirt.hypervisors.map((hypervisor) => [
        hypervisor.name,
        this.ground(hypervisor, image, [...plans.values()]),
      ]),
    );
    this.hosts = cloud.hosts.map((host) =>
      this.host(host, grounds.get(hypervisorOf(cloud, host).name) as Ground),
    );
    this.registerOutputs({});
  }

  /** The path or URL of the image; built, where none is named. */
  private image(machine: pulumi.Resource): pulumi.Input<string> {
    const { image } = this.args.cloud.libvirt;
    if (image !== undefined) return image;
    const built = this.local("image", {
      create: "scripts/vm/build",
      environment: imageEnvironment(),
      dependsOn: [machine],
    });
    return built.stdout.apply((text) => text.trim().split("\n").at(-1) as string);
  }

  private plan(host: HostConfig, machine: pulumi.Resource): pulumi.Resource {
    return this.local(
      `plan-${host.name}`,
      {
        // What the first run looks at is there later, and is ours.
        create: "scripts/vm/host plan",
        update: "true",
        environment: { VM_SPEC: sortedJson(hostSpec(this.args, host)) },
        dependsOn: [machine],
      },
      { hooks: { beforeUpdate: [refuseLoss()] } },
    );
  }

  private ground(
    hypervisor: Hypervisor,
    image: pulumi.Input<string>,
    plans: pulumi.Resource[],
  ): Ground {
    const { cloud } = this.args;
    const { name, uri } = hypervisor;
    const provider = new libvirt.Provider(`libvirt-${name}`, { uri }, { parent: this });
    const opts = { parent: this, provider, dependsOn: plans };
    const pool = new libvirt.Pool(
      `libvirt-pool-${name}`,
      {
        name: cloud.stack,
        type: "dir",
        target: { path: `${cloud.libvirt.pool}/${cloud.stack}` },
      },
      opts,
    );
    const sweep = this.local(`sweep-${name}`, {
      create: "true",
      delete: "scripts/vm/host sweep",
      environment: { VM_SPEC: sortedJson({ uri, pool: cloud.stack }) },
      dependsOn: [pool],
    });
    const key = digest(cloud.libvirt.image ?? sortedJson(imageSpec()) + scriptFile("vm/build"));
    const base = new libvirt.Volume(
      `libvirt-base-${name}-${key}`,
      { name: `base-${key}.qcow2`, pool: pool.name, source: image },
      // Where the file was when it was sent says nothing about the volume. Disks of earlier hosts stand on it, so a
      // newer image leaves it; the sweep takes it away in the end.
      { ...opts, dependsOn: [sweep], ignoreChanges: ["source"], retainOnDelete: true },
    );
    const networks = Object.fromEntries(
      networkNames
        .filter((network) => hypervisor.bridges[network] === undefined)
        .map((network) => [
          network,
          new libvirt.Network(
            `libvirt-network-${name}-${network}`,
            networkArgs(cloud, network),
            opts,
          ),
        ]),
    );
    return { hypervisor, provider, pool, base, sweep, networks };
  }

  private host(host: HostConfig, ground: Ground): Host {
    const { cloud } = this.args;
    const { hypervisor, provider, pool, base } = ground;
    const spec = hostSpec(this.args, host);
    // A host that is rebuilt has another first disk, and other settings for its first boot, under other names.
    const suffix = spec.rebuild === 1 ? host.name : `${host.name}-${spec.rebuild}`;
    const opts = { parent: this, provider };
    // Sizes change in place, by scripts/vm/host: to the provider each would be another disk.
    const disk = { ...opts, dependsOn: [ground.sweep], ignoreChanges: ["size", "baseVolumeId"] };
    const root = new libvirt.Volume(
      `libvirt-root-${suffix}`,
      {
        name: `root-${suffix}.qcow2`,
        pool: pool.name,
        baseVolumeId: base.id,
        size: (spec.disksGiB.vda as number) * GIB,
      },
      disk,
    );
    const store =
      spec.disksGiB.sda === undefined
        ? undefined
        : new libvirt.Volume(
            `libvirt-store-${host.name}`,
            {
              name: `store-${host.name}.qcow2`,
              pool: pool.name,
              format: "qcow2",
              size: spec.disksGiB.sda * GIB,
            },
            disk,
          );
    const seed = new libvirt.CloudInitDisk(
      `libvirt-seed-${suffix}`,
      {
        name: `seed-${suffix}.iso`,
        pool: pool.name,
        metaData: sortedJson({
          "instance-id": `${cloud.stack}-${suffix}`,
          "local-hostname": host.name,
        }),
        networkConfig: sortedJson(spec.network),
        userData: this.userData(host),
      },
      // Only a first boot reads it. The plan says when it would have to change; see `loss`.
      {
        ...opts,
        dependsOn: [ground.sweep],
        ignoreChanges: ["metaData", "networkConfig", "userData"],
      },
    );
    const domain = new libvirt.Domain(
      `libvirt-domain-${host.name}`,
      {
        name: spec.domain,
        type: spec.type,
        ...(hypervisor.kvm ? { cpu: { mode: "host-passthrough" } } : {}),
        vcpu: spec.vcpus,
        memory: spec.memoryMiB,
        autostart: true,
        cloudinit: seed.id,
        disks: [
          { volumeId: root.id },
          ...(store ? [{ volumeId: store.id, scsi: true, wwn: wwn(cloud, host) }] : []),
        ],
        networkInterfaces: ports(cloud, host).map(({ network, mac }) => {
          const own = ground.networks[network];
          return own
            ? { networkId: own.id, mac }
            : { bridge: hypervisor.bridges[network] as string, mac };
        }),
        consoles: [{ type: "pty", targetPort: "0", targetType: "serial" }],
        // Without this the provider asks for spice, which few have; a socket is for root alone.
        graphics: { type: "vnc", listenType: "socket", autoport: true },
      },
      // To the provider other disks are no reason to make another machine. Its name can be one machine's only.
      {
        ...opts,
        deleteBeforeReplace: true,
        ignoreChanges: ["memory", "vcpu"],
        ...asRebuilt(host),
      },
    );
    const size = this.local(
      `size-${host.name}`,
      {
        create: "scripts/vm/host size",
        environment: { VM_SPEC: sortedJson(sizeSpec(spec)) },
        dependsOn: [domain],
      },
      { deletedWith: domain },
    );
    const connection = this.connection(host);
    const boot = new command.remote.Command(
      `libvirt-boot-${host.name}`,
      {
        connection: { ...connection, dialErrorLimit: BOOT_ATTEMPTS },
        create: "sh -s",
        stdin: `# ${spec.disksGiB.vda} GiB, built ${spec.rebuild} times\n${readScript("vm/boot.sh")}`,
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        dependsOn: [size],
        deletedWith: domain,
        replaceWith: [domain],
        customTimeouts: { create: "30m", update: "30m" },
      },
    );
    return {
      ...host,
      nics: NICS,
      providerNic: PROVIDER_NIC,
      confinesGuests: true,
      disks: store ? [`/dev/disk/by-id/wwn-0x${wwn(cloud, host)}`] : [],
      up: [boot],
      machine: domain,
      connection,
      fencing: virshFencing(hypervisor, spec.domain),
    };
  }

  /** Secret, for the host's own key is in it. So is the volume that it becomes: whoever reads the pool has the key. */
  private userData(host: HostConfig): pulumi.Output<string> {
    const { secrets } = this.args;
    const key = `ssh-host-${host.name}` as const;
    return pulumi
      .all([secrets.value(key), secrets.publicKey(key), secrets.publicKey("ssh-deployer")])
      .apply(
        ([hostKey, hostPublicKey, deployer]) =>
          `#cloud-config\n${sortedJson({
            disable_root: false,
            ssh_authorized_keys: [deployer],
            ssh_deletekeys: true,
            ssh_keys: { ed25519_private: hostKey, ed25519_public: hostPublicKey },
            ssh_pwauth: false,
            users: [],
          })}`,
      );
  }

  private connection(host: HostConfig): command.types.input.remote.ConnectionArgs {
    const { secrets } = this.args;
    return {
      ...CONNECTION_DEFAULTS,
      host: host.ssh.address,
      user: host.ssh.user,
      privateKey: secrets.value("ssh-deployer"),
      hostKey: pulumi.unsecret(secrets.publicKey(`ssh-host-${host.name}`)),
    };
  }

  private local(
    name: string,
    { dependsOn, ...args }: command.local.CommandArgs & { dependsOn?: pulumi.Resource[] },
    opts: pulumi.CustomResourceOptions = {},
  ): command.local.Command {
    return new command.local.Command(
      `libvirt-${name}`,
      { ...args, addPreviousOutputInEnv: false },
      {
        parent: this,
        dependsOn: dependsOn ?? [],
        customTimeouts: { create: "40m", update: "40m", delete: "10m" },
        ...opts,
      },
    );
  }
}

/** The hypervisor that a host stands on; the rules have seen to it that there is one. */
export function hypervisorOf(cloud: Cloud, host: Pick<HostConfig, "failureDomain">): Hypervisor {
  const { hypervisors } = cloud.libvirt;
  return (hypervisors.find(({ failureDomains }) => failureDomains.includes(host.failureDomain)) ??
    hypervisors[0]) as Hypervisor;
}

/** What is planned of a host, for scripts/vm/host and for whoever reviews a change. */
export interface HostSpec {
  readonly uri: string;
  readonly hypervisor: string;
  readonly pool: string;
  readonly domain: string;
  readonly type: "kvm" | "qemu";
  readonly vcpus: number;
  readonly memoryMiB: number;
  /** By the name that the hypervisor has for the disk. */
  readonly disksGiB: Readonly<Record<string, number>>;
  readonly rebuild: number;
  /** What its ports are on: a bridge, or a network that is made. */
  readonly networks: Readonly<Record<NetworkName, string>>;
  /** cloud-init's network configuration, version 2. */
  readonly network: object;
  /** Versions of the keys that a first boot is given. */
  readonly keys: Readonly<Record<string, number>>;
}

export function hostSpec(
  { cloud, secrets }: { cloud: Cloud; secrets: Pick<Secrets, "ref"> },
  host: HostConfig,
): HostSpec {
  const { sizes, storeDiskGiB, pool } = cloud.libvirt;
  const { name, uri, kvm, bridges } = hypervisorOf(cloud, host);
  const roleSizes = host.roles.map((role) => sizes[role]);
  const most = (key: "vcpus" | "diskGiB"): number =>
    Math.max(...roleSizes.map((each) => each[key]));
  return {
    uri,
    hypervisor: name,
    pool: `${pool}/${cloud.stack}`,
    domain: `${cloud.stack}-${host.name}`,
    type: kvm ? "kvm" : "qemu",
    vcpus: most("vcpus"),
    memoryMiB: roleSizes.reduce((sum, each) => sum + each.memoryMiB, 0),
    disksGiB: {
      vda: most("diskGiB"),
      ...(host.roles.includes("storage") ? { sda: storeDiskGiB } : {}),
    },
    rebuild: host.rebuild,
    networks: Object.fromEntries(
      networkNames.map((network) => [network, bridges[network] ?? madeNetwork(cloud, network)]),
    ) as HostSpec["networks"],
    network: networkConfig(cloud, host),
    keys: Object.fromEntries(
      ["ssh-deployer", `ssh-host-${host.name}`].map((key) => [key, secrets.ref(key).version]),
    ),
  };
}

/** The part of the plan that is made so in place. A rebuilt host is measured again. */
function sizeSpec({ uri, domain, vcpus, memoryMiB, disksGiB, rebuild }: HostSpec): object {
  return { uri, domain, vcpus, memoryMiB, disksGiB, rebuild };
}

/**
 * Why a host cannot get from one plan to the next without losing what it holds; undefined where it can.
 *
 * What is not named here is either made so in place (larger disks, memory, processors) or a first boot's matter, which
 * a rebuild brings with it.
 */
export function loss(host: string, before: HostSpec, next: HostSpec): string | undefined {
  const rebuilt = next.rebuild !== before.rebuild;
  const text = (value: unknown): string => (typeof value === "string" ? value : sortedJson(value));
  const changed = (key: keyof HostSpec): boolean => text(before[key]) !== text(next[key]);
  const stays = (["hypervisor", "uri", "pool"] as const).find(changed);
  if (stays) {
    return `host ${host}: its ${stays} would change from ${before[stays]} to ${next[stays]}, and its disks do not follow; leave it, or remove the host and add it again`;
  }
  const network = networkNames.find((each) => before.networks[each] !== next.networks[each]);
  if (network && [before, next].some(({ networks }) => networks[network].startsWith(MADE))) {
    return `host ${host}: the ${network} network would go from ${before.networks[network]} to ${next.networks[network]}, and libvirt takes that in only when it makes the network; leave it, or destroy the stack and make it again`;
  }
  const smaller = Object.entries(before.disksGiB).find(
    ([disk, gib]) => (next.disksGiB[disk] ?? 0) < gib && !(rebuilt && disk === "vda"),
  );
  if (smaller) {
    const [disk, gib] = smaller;
    return `host ${host}: its disk ${disk} would go from ${gib} to ${next.disksGiB[disk] ?? 0} GiB, and what it holds would be lost; leave it as large as it is`;
  }
  const added = Object.keys(next.disksGiB).find((disk) => !(disk in before.disksGiB));
  const first =
    added === undefined
      ? (["networks", "network", "keys", "type"] as const).find(changed)
      : undefined;
  if (!rebuilt && (added !== undefined || first !== undefined)) {
    const what = added === undefined ? FIRST_BOOT[first!] : `a disk ${added}`;
    return `host ${host}: ${what} would change, which it would only notice as a new machine; set rebuild of the host to ${next.rebuild + 1} to make it one, with an empty root disk`;
  }
  return undefined;
}

const FIRST_BOOT = {
  networks: "the bridges of its interfaces",
  network: "its interfaces or addresses",
  keys: "its SSH keys",
  type: "what its processor is",
};

let refusal: pulumi.ResourceHook | undefined;

/** Refuse, in the preview too, what `loss` finds. Made on first use, because it speaks to the engine. */
function refuseLoss(): pulumi.ResourceHook {
  refusal ??= new pulumi.ResourceHook(
    "openstack-ha-libvirt-refuse-loss",
    ({ name, oldInputs, newInputs }) => {
      const reason = loss(name.replace(/^libvirt-plan-/, ""), specOf(oldInputs), specOf(newInputs));
      if (reason !== undefined) throw new pulumi.RunError(reason);
    },
    { onDryRun: true },
  );
  return refusal;
}

function specOf(inputs: Record<string, unknown> | undefined): HostSpec {
  const { VM_SPEC } = inputs?.environment as { VM_SPEC: string };
  return JSON.parse(VM_SPEC) as HostSpec;
}

interface Port {
  readonly nic: string;
  readonly network: NetworkName;
  readonly mac: string;
}

/** The interfaces of a host, in order. The last has no address. */
function ports(cloud: Cloud, host: HostConfig): Port[] {
  const pairs: readonly (readonly [string, NetworkName])[] = [
    ...networkNames.map((network) => [NICS[network], network] as const),
    [PROVIDER_NIC, "external"],
  ];
  return pairs.map(([nic, network], i) => ({ nic, network, mac: mac(cloud, host, i) }));
}

/**
 * Locally administered: the stack's hash, the host's number, the port's. Two stacks on one bridge would have to share
 * 16 bits of a hash to collide.
 */
function mac(cloud: Pick<Cloud, "stack">, host: Pick<HostConfig, "id">, port: number): string {
  const hash = createHash("sha256").update(cloud.stack).digest();
  return [0x52, hash[0]!, hash[1]!, host.id >> 8, host.id & 255, port]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join(":");
}

/** World wide name of a host's disk in the store: 3 says that nobody but us gave it. */
function wwn(cloud: Pick<Cloud, "stack">, host: Pick<HostConfig, "name">): string {
  return `3${createHash("sha256").update(`${cloud.stack}/${host.name}/store`).digest("hex").slice(0, 15)}`;
}

function networkConfig(cloud: Cloud, host: HostConfig): object {
  const gateway = networkWithGateway(cloud);
  return {
    version: 2,
    ethernets: Object.fromEntries(
      ports(cloud, host).map(({ nic, network, mac: macaddress }) => [
        nic,
        {
          match: { macaddress },
          "set-name": nic,
          mtu: cloud.networks[network].mtu,
          dhcp4: false,
          "accept-ra": false,
          ...(nic === PROVIDER_NIC
            ? { optional: true }
            : { addresses: [`${host.addresses[network]}/${cloud.networks[network].prefix}`] }),
          ...(nic === NICS[gateway ?? "management"] && gateway
            ? {
                routes: [{ to: "0.0.0.0/0", via: cloud.networks[gateway].gateway }],
                nameservers: { addresses: [...cloud.libvirt.nameservers] },
              }
            : {}),
        },
      ]),
    ),
  };
}

/** Where the way out is; the external network's comes first. */
function networkWithGateway(cloud: Cloud): NetworkName | undefined {
  return (["external", "management"] as const).find(
    (name) => cloud.networks[name].gateway !== undefined,
  );
}

const MADE = "a network of its own";

function madeNetwork(cloud: Cloud, name: NetworkName): string {
  const { addresses, bridge, mode, mtu } = networkArgs(cloud, name);
  return `${MADE} (${[bridge, mode, `MTU ${mtu}`, ...(addresses ?? [])].join(", ")})`;
}

/** In plain values, for the plan to tell them too. */
interface NetworkPlan {
  readonly name: string;
  readonly bridge: string;
  readonly mtu: number;
  readonly autostart: boolean;
  readonly dhcp: { readonly enabled: boolean };
  readonly mode: "none" | "nat";
  readonly addresses?: string[];
}

function networkArgs(cloud: Cloud, name: NetworkName): NetworkPlan {
  const { cidr, mtu, gateway } = cloud.networks[name];
  const tag = createHash("sha256").update(cloud.stack).digest("hex").slice(0, 4);
  return {
    name: `${cloud.stack}-${name}`,
    bridge: `osha${tag}-${NICS[name]}`,
    mtu,
    autostart: true,
    dhcp: { enabled: false },
    // The hypervisor has the network's first address, and is the way out if the plan says that this is the gateway.
    mode: gateway === undefined ? "none" : "nat",
    ...(HYPERVISOR_IS_ON.includes(name) ? { addresses: [cidr] } : {}),
  };
}

/** What `scripts/vm/build` is told of the image. */
export function imageEnvironment(): { readonly VM_SPEC: string } {
  return { VM_SPEC: sortedJson(imageSpec()) };
}

/** With what every host needs first, so that a host without a package source gets through its first steps. */
function imageSpec(): object {
  return { suite: SUITE, packages: service("base").packages };
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
