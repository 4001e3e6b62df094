import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import * as command from "@pulumi/command";
import * as openstack from "@pulumi/openstack";
import * as pulumi from "@pulumi/pulumi";
import type { Cloud } from "../../config";
import { type After, type Context, resources } from "../service";
import { sortedJson } from "../step";
import { BACKEND } from "./cinder";
import { PHYSICAL_NETWORK } from "./ovn-chassis";
import { apiOptions } from "./registration";

/** Where the test image is built. */
const GUEST = path.join(__dirname, "..", "..", "scripts", "guest");
/** No limit. */
const UNLIMITED = -1;

/**
 * What is in the cloud from the first day: a test image, flavors, the external network, a volume type, and a project to
 * try it with. Made through the cloud's API, and switched off by `content.enabled`.
 */
export class Content extends pulumi.ComponentResource {
  constructor(
    context: Context,
    /** The cloud's services. */
    after: readonly After[],
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("openstack-ha:openstack:Content", "content", {}, opts);

    const { cloud } = context;
    const options = apiOptions(this, context, "content", after.flatMap(resources));
    if (cloud.content.testImage) this.testImage(cloud, options);
    this.flavors(cloud, options);
    this.externalNetwork(cloud, options);
    this.volumeType(options);
    this.demo(context, options);
    this.registerOutputs({});
  }

  /** Debian's kernel with a root of a few MiB, booted without a boot loader. */
  private testImage(cloud: Cloud, options: pulumi.CustomResourceOptions): void {
    const spec = sortedJson({ suite: "trixie", user: "debian" });
    const key = guestKey(spec);
    // The same on every machine that makes a plan; a link to the cache on the one that builds it.
    const folder = `.cloud/${cloud.stack}/guest-${key}`;
    const guest = new command.local.Command(
      "content-guest",
      {
        create: `scripts/guest/provide ${folder}`,
        environment: { GUEST_SPEC: spec, GUEST_KEY: key },
        addPreviousOutputInEnv: false,
      },
      { parent: this, customTimeouts: { create: "20m", update: "20m" } },
    );
    const image = (
      name: string,
      format: string,
      file: string,
      properties: Record<string, pulumi.Input<string>> = {},
    ): openstack.images.Image =>
      new openstack.images.Image(
        `content-image-${name}`,
        {
          name,
          containerFormat: format === "raw" ? "bare" : format,
          diskFormat: format,
          localFilePath: `${folder}/${file}`,
          properties,
          visibility: "public",
        },
        // Its name is free only when the one before it is gone.
        { ...options, dependsOn: [guest, ...dependencies(options)], deleteBeforeReplace: true },
      );
    const kernel = image("test-kernel", "aki", "vmlinuz");
    const ramdisk = image("test-ramdisk", "ari", "initrd");
    image("test", "raw", "disk.raw", { kernel_id: kernel.id, ramdisk_id: ramdisk.id });
  }

  private flavors(cloud: Cloud, options: pulumi.CustomResourceOptions): void {
    for (const { name, vcpus, ramMiB, diskGiB } of cloud.content.flavors) {
      new openstack.compute.Flavor(
        `content-flavor-${name}`,
        { name, vcpus, ram: ramMiB, disk: diskGiB, isPublic: true },
        { ...options, deleteBeforeReplace: true },
      );
    }
  }

  private externalNetwork(cloud: Cloud, options: pulumi.CustomResourceOptions): void {
    const { external } = cloud.networks;
    const network = new openstack.networking.Network(
      "content-network-external",
      {
        name: "external",
        adminStateUp: true,
        external: true,
        segments: [{ networkType: "flat", physicalNetwork: PHYSICAL_NETWORK }],
      },
      options,
    );
    new openstack.networking.Subnet(
      "content-subnet-external",
      {
        name: "external",
        networkId: network.id,
        allocationPools: [cloud.content.floatingPool],
        cidr: external.cidr,
        enableDhcp: false,
        ...(external.gateway ? { gatewayIp: external.gateway } : { noGateway: true }),
        ipVersion: 4,
      },
      options,
    );
  }

  private volumeType(options: pulumi.CustomResourceOptions): void {
    new openstack.blockstorage.VolumeTypeV3(
      "content-volume-type-ceph",
      { name: BACKEND, extraSpecs: { volume_backend_name: BACKEND }, isPublic: true },
      options,
    );
  }

  /** A project with limits. */
  private demo({ cloud }: Context, options: pulumi.CustomResourceOptions): void {
    const { cores, floatingips, gigabytes, instances, ramMiB, volumes } = cloud.content.quotas;
    const project = new openstack.identity.Project(
      "content-project-demo",
      { name: "demo", description: "To try the cloud with" },
      options,
    );
    const projectId = project.id;
    new openstack.compute.QuotaSetV2(
      "content-quota-compute",
      { projectId, cores, instances, keyPairs: 100, ram: ramMiB },
      options,
    );
    new openstack.networking.QuotaV2(
      "content-quota-network",
      {
        projectId,
        floatingip: floatingips,
        network: 100,
        port: 500,
        router: 10,
        securityGroup: 100,
        securityGroupRule: 1000,
        subnet: 100,
      },
      options,
    );
    new openstack.blockstorage.QuoteSetV3(
      "content-quota-volume",
      // What is left out would be none at all.
      {
        projectId,
        backupGigabytes: UNLIMITED,
        backups: UNLIMITED,
        gigabytes,
        groups: 10,
        perVolumeGigabytes: UNLIMITED,
        snapshots: volumes,
        volumes,
      },
      options,
    );
  }
}

function dependencies(options: pulumi.CustomResourceOptions): pulumi.Resource[] {
  return options.dependsOn as pulumi.Resource[];
}

/** Changes with all that decides what is in the image. */
function guestKey(spec: string): string {
  const hash = createHash("sha256").update(spec);
  for (const file of fs.readdirSync(GUEST, { recursive: true, encoding: "utf8" }).sort()) {
    const full = path.join(GUEST, file);
    if (fs.statSync(full).isFile()) hash.update(`${file}\0`).update(fs.readFileSync(full));
  }
  return hash.digest("hex").slice(0, 12);
}
