import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { servicesIn } from "../catalogue";
import { type Cloud, hostsWith } from "../config";
import type { OpenStack } from "./openstack";
import type { Outputs } from "./stack";

/**
 * tempest.conf: what tempest has to know of a cloud.
 *
 * What should be there comes from the plan (a service that is missing shall fail tests, not skip them), what it is called
 * from the stack's outputs, and what only the cloud knows (ids, extensions, formats) from its APIs.
 */

/** Names of what the program makes in each cloud. */
const IMAGE = "test";
const FLAVOR = "m1.nano";
const LARGER_FLAVOR = "m1.micro";
const EXTERNAL_NETWORK = "external";
/** The test guest's user. */
const USER = "debian";

/** Tempest's own resources start with this. */
export const PREFIX = "tempest";

/** Disk of the image that scenarios make themselves. */
const DISK = "disk.raw";

/** Services that the plan has, as far as tempest tests them. */
export interface Planned {
  readonly image: boolean;
  readonly compute: boolean;
  readonly network: boolean;
  /** The type that the volume service is registered as, for there are two in use. */
  readonly volume: string | undefined;
  readonly dashboard: boolean;
  /** Compute hosts. */
  readonly computes: number;
}

/** What only the cloud knows; undefined where the plan has no such service. */
export interface Found {
  readonly image?: {
    readonly containerFormats: readonly string[];
    readonly diskFormats: readonly string[];
    readonly id: string;
    /** Kernel and ramdisk that it boots with. */
    readonly properties: Readonly<Record<string, string>>;
  };
  readonly flavors?: { readonly normal: string; readonly larger: string };
  readonly network?: { readonly externalId: string; readonly extensions: readonly string[] };
  readonly volume?: {
    readonly backends: readonly string[];
    readonly backup: boolean;
    readonly extensions: readonly string[];
    /** A volume type whose volumes several guests can have at once. */
    readonly multiattachType?: string;
    readonly protocol: string;
    readonly vendor: string;
  };
}

export interface TempestInput {
  readonly outputs: Pick<Outputs, "adminPassword" | "authUrl" | "region">;
  readonly planned: Planned;
  readonly found: Found;
  readonly dashboardUrl: string;
  /** Path of the certificate of who vouches for the cloud, if they are not known. */
  readonly authority: string | undefined;
  /** Where tempest works, and logs. */
  readonly folder: string;
}

export function planned(cloud: Cloud): Planned {
  const services = servicesIn(cloud);
  const types: readonly string[] = services.flatMap(({ registration }) =>
    registration ? [registration.type] : [],
  );
  return {
    image: types.includes("image"),
    compute: types.includes("compute"),
    network: types.includes("network"),
    volume: types.find((type) => type === "block-storage" || type === "volumev3"),
    dashboard: services.some(({ name }) => name === "horizon"),
    computes: hostsWith(cloud, "compute").length,
  };
}

export function dashboardUrl(cloud: Cloud): string {
  return cloud.tls ? `https://${cloud.tls.name}/horizon/` : `http://${cloud.vips.public}/horizon/`;
}

// ---- The file ---------------------------------------------------------------------------------------------------

type Value = string | number | boolean | readonly string[];
type Sections = Readonly<Record<string, Readonly<Record<string, Value>>>>;

/** Seconds for a guest to be built or changed: there may be no KVM, and two tests at once on two cores. */
const BUILD_TIMEOUT = 600;
/** Seconds between two looks; at 1, tempest's own, the looks take a good part of two cores. */
const BUILD_INTERVAL = 2;
const PATIENCE = { build_interval: BUILD_INTERVAL, build_timeout: BUILD_TIMEOUT };

export function tempestConf(input: TempestInput): string {
  const { outputs, planned, found, folder } = input;
  const { image, flavors, network, volume } = found;
  const extensions = network?.extensions ?? [];
  return ini({
    DEFAULT: {
      debug: true,
      log_dir: folder,
      log_file: "tempest.log",
      resource_name_prefix: PREFIX,
    },
    oslo_concurrency: { lock_path: path.join(folder, "locks") },
    auth: {
      // Each class of tests gets users, a project and networks of its own.
      use_dynamic_credentials: true,
      create_isolated_networks: true,
      admin_username: "admin",
      // In quotes, which oslo.config takes off, whatever it begins or ends with.
      admin_password: `"${outputs.adminPassword}"`,
      admin_project_name: "admin",
      admin_domain_name: "Default",
    },
    identity: {
      ...(input.authority === undefined ? {} : { ca_certificates_file: input.authority }),
      uri_v3: outputs.authUrl,
      region: outputs.region,
      v3_endpoint_type: "public",
    },
    service_available: {
      glance: planned.image,
      nova: planned.compute,
      neutron: planned.network,
      cinder: planned.volume !== undefined,
      horizon: planned.dashboard,
      swift: false,
    },
    // Nova's own policy since 2023.
    enforce_scope: { nova: true },
    dashboard: { dashboard_url: input.dashboardUrl },
    image: {
      ...PATIENCE,
      ...(image
        ? { container_formats: image.containerFormats, disk_formats: image.diskFormats }
        : {}),
      // None that the cloud could reach: tests that need one are skipped.
      http_image: "",
    },
    compute: {
      ...PATIENCE,
      ...(image ? { image_ref: image.id, image_ref_alt: image.id } : {}),
      ...(flavors ? { flavor_ref: flavors.normal, flavor_ref_alt: flavors.larger } : {}),
      min_compute_nodes: Math.max(1, planned.computes),
      // Without it, tests of newer APIs are skipped.
      max_microversion: "latest",
    },
    "compute-feature-enabled": computeFeatures(planned, volume?.multiattachType !== undefined),
    placement: { max_microversion: "latest" },
    network: {
      ...PATIENCE,
      ...(network
        ? { public_network_id: network.externalId, floating_network_name: EXTERNAL_NETWORK }
        : {}),
    },
    "network-feature-enabled": {
      // "all" would have tests look for agents and routers that OVN does not have.
      api_extensions: extensions,
      ipv6: true,
      ipv6_subnet_attributes: true,
      floating_ips: true,
      port_admin_state_change: true,
      port_security: extensions.includes("port-security"),
    },
    volume: {
      ...PATIENCE,
      ...(planned.volume !== undefined ? { catalog_type: planned.volume } : {}),
      ...(volume
        ? {
            backend_names: volume.backends,
            storage_protocol: volume.protocol,
            vendor_name: volume.vendor,
            ...(volume.multiattachType !== undefined && {
              volume_type_multiattach: volume.multiattachType,
            }),
          }
        : {}),
      // How Cinder names what it keeps in RBD.
      manage_volume_ref: ["source-name", "volume-%s"],
      manage_snapshot_ref: ["source-name", "snapshot-%s"],
      max_microversion: "latest",
    },
    "volume-feature-enabled": {
      api_extensions: volume?.extensions ?? [],
      backup: volume?.backup ?? false,
      multi_backend: (volume?.backends.length ?? 0) > 1,
      // What RBD can do.
      clone: true,
      extend_attached_volume: true,
      extend_volume_with_snapshot: true,
      manage_snapshot: true,
      manage_volume: true,
      snapshot: true,
    },
    validation: {
      run_validation: true,
      connect_method: "floating",
      auth_method: "keypair",
      image_ssh_user: USER,
      image_alt_ssh_user: USER,
      // A guest boots in 24 s on an idle machine without KVM, and in minutes on a busy one.
      ping_timeout: 300,
      ssh_timeout: 300,
      // Chosen, not measured; tempest's own are 5 and 6 s, for hardware.
      allowed_network_downtime: 30,
      allowed_metadata_downtime: 30,
    },
    scenario: {
      img_file: path.join(folder, DISK),
      img_disk_format: "raw",
      img_container_format: "bare",
      ...(image
        ? { img_properties: Object.entries(image.properties).map(([k, v]) => `${k}:${v}`) }
        : {}),
      dhcp_client: "udhcpc",
      // The test guest lives in memory, and has its disk here.
      target_dir: "/mnt",
    },
    // HAProxy gives up after 60 s and says so; wait for that.
    "service-clients": { http_timeout: 90 },
  });
}

/** What QEMU with disks in Ceph can do. */
function computeFeatures({ computes }: Planned, multiattach: boolean): Record<string, Value> {
  return {
    // Would need a key manager.
    attach_encrypted_volume: false,
    // Only memory moves: disks are in Ceph, and Nova refuses to copy them.
    block_migration_for_live_migration: false,
    // Would need an agent in the guest.
    change_password: false,
    // Nova itself would need a key to the other compute hosts; only libvirt has one, for live migration.
    cold_migration: false,
    config_drive: true,
    console_output: true,
    hostname_fqdn_sanitization: true,
    interface_attach: true,
    live_migration: computes > 1,
    metadata_service: true,
    pause: true,
    // Files at boot are no longer part of the API.
    personality: false,
    rescue: true,
    // A cold migration to a host that has room.
    resize: false,
    serial_console: false,
    shelve: true,
    shelve_migrate: false,
    snapshot: true,
    spice_console: false,
    stable_rescue: true,
    suspend: true,
    // Nova does not do it with RBD.
    swap_volume: false,
    vnc_console: true,
    volume_backed_live_migration: computes > 1,
    volume_multiattach: multiattach,
  };
}

/** As oslo.config reads it: a list has commas, and a dollar would name another option. */
function ini(sections: Sections): string {
  const text = (value: Value): string =>
    (Array.isArray(value) ? value.join(",") : String(value)).replaceAll("$", "$$$$");
  const blocks = Object.entries(sections).map(([name, options]) =>
    [
      `[${name}]`,
      ...Object.entries(options).map(([key, value]) => `${key} = ${text(value)}`.trimEnd()),
    ].join("\n"),
  );
  return `${["# Written by openstack-ha, anew for each `npm run verify`.", ...blocks].join("\n\n")}\n`;
}

/** tempest.conf and the disk that it names, in a folder for their owner only. */
export function writeTempestFiles(input: TempestInput): void {
  fs.mkdirSync(input.folder, { recursive: true, mode: 0o700 });
  const file = path.join(input.folder, "tempest.conf");
  fs.writeFileSync(`${file}.new`, tempestConf(input), { mode: 0o600 });
  fs.renameSync(`${file}.new`, file);
  writeDisk(path.join(input.folder, DISK));
}

/**
 * A small disk with a file system. Its first block must not be empty: tempest would take the file for a tar archive with
 * a kernel in it.
 */
function writeDisk(file: string): void {
  if (fs.existsSync(file)) return;
  const made = `${file}.new`;
  fs.rmSync(made, { force: true });
  fs.writeFileSync(made, Buffer.alloc(4 << 20));
  execFileSync("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "^has_journal", made], {
    env: { ...process.env, PATH: `${process.env.PATH ?? ""}:/usr/sbin:/sbin` },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const handle = fs.openSync(made, "r+");
  fs.writeSync(handle, "openstack-ha: a disk for tests\n", 0);
  fs.closeSync(handle);
  fs.renameSync(made, file);
}

// ---- What only the cloud knows ----------------------------------------------------------------------------------

interface Named {
  readonly id: string;
  readonly name: string;
}

/** @throws Error that names what is missing in the cloud. */
export async function lookUp(api: OpenStack, planned: Planned): Promise<Found> {
  const [image, flavors, network, volume] = await Promise.all([
    planned.image ? lookUpImage(api) : undefined,
    planned.compute ? lookUpFlavors(api) : undefined,
    planned.network ? lookUpNetwork(api) : undefined,
    planned.volume !== undefined ? lookUpVolume(api, planned.volume) : undefined,
  ]);
  return {
    ...(image && { image }),
    ...(flavors && { flavors }),
    ...(network && { network }),
    ...(volume && { volume }),
  };
}

async function lookUpImage(api: OpenStack): Promise<NonNullable<Found["image"]>> {
  const images = await api.get<(Named & { kernel_id?: string; ramdisk_id?: string })[]>(
    "image",
    `/v2/images?name=${IMAGE}&status=active`,
    "images",
  );
  const { id, kernel_id, ramdisk_id } = one("image", IMAGE, images);
  const schema = await api.get<
    Record<"container_format" | "disk_format", { readonly enum: readonly (string | null)[] }>
  >("image", "/v2/schemas/image", "properties");
  return {
    id,
    // Tests that upload a few random bytes take the first of each.
    containerFormats: first("bare", schema.container_format.enum),
    diskFormats: first("raw", schema.disk_format.enum),
    properties: {
      ...(kernel_id !== undefined && { kernel_id }),
      ...(ramdisk_id !== undefined && { ramdisk_id }),
    },
  };
}

async function lookUpFlavors(api: OpenStack): Promise<NonNullable<Found["flavors"]>> {
  const flavors = await api.get<Named[]>("compute", "/flavors?is_public=none", "flavors");
  return {
    normal: one("flavor", FLAVOR, flavors).id,
    larger: one("flavor", LARGER_FLAVOR, flavors).id,
  };
}

async function lookUpNetwork(api: OpenStack): Promise<NonNullable<Found["network"]>> {
  const networks = await api.get<Named[]>(
    "network",
    `/v2.0/networks?name=${EXTERNAL_NETWORK}&router:external=true`,
    "networks",
  );
  return {
    externalId: one("external network", EXTERNAL_NETWORK, networks).id,
    extensions: await aliases(api, "network", "/v2.0/extensions"),
  };
}

async function lookUpVolume(api: OpenStack, type: string): Promise<NonNullable<Found["volume"]>> {
  const pools = await api.get<{ capabilities: Record<string, unknown> }[]>(
    type,
    "/scheduler-stats/get_pools?detail=true",
    "pools",
  );
  const [pool] = pools;
  if (!pool) throw new Error("Cinder: wanted a pool of volumes, found none; run npm run status");
  const backups = await api.get<unknown[]>(type, "/os-services?binary=cinder-backup", "services");
  const types = await api.get<{ name: string; extra_specs?: Record<string, string> }[]>(
    type,
    "/types",
    "volume_types",
  );
  const shared = types.find(({ extra_specs }) => extra_specs?.multiattach === "<is> True")?.name;
  // A driver may report a list of names for the same.
  const [protocol] = [pool.capabilities.storage_protocol].flat();
  return {
    backends: [...new Set(pools.map((each) => String(each.capabilities.volume_backend_name)))],
    backup: backups.length > 0,
    extensions: await aliases(api, type, "/extensions"),
    ...(shared !== undefined && { multiattachType: shared }),
    protocol: String(protocol),
    vendor: String(pool.capabilities.vendor_name),
  };
}

async function aliases(api: OpenStack, type: string, where: string): Promise<string[]> {
  const extensions = await api.get<{ alias: string }[]>(type, where, "extensions");
  return extensions.map(({ alias }) => alias).sort();
}

function one<T extends Named>(kind: string, name: string, found: readonly T[]): T {
  const [match, ...others] = found.filter((each) => each.name === name);
  if (!match || others.length > 0) {
    throw new Error(
      `${kind} ${name}: wanted one in the cloud, found ${match ? others.length + 1 : "none"}; ${
        match ? "remove or rename the others" : "run npm run up"
      }`,
    );
  }
  return match;
}

/** All but null, the favourite first. */
function first(favourite: string, formats: readonly (string | null)[]): string[] {
  const all = formats.filter((format) => format !== null);
  return [favourite, ...all.filter((format) => format !== favourite)];
}
