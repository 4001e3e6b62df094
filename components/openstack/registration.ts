import * as openstack from "@pulumi/openstack";
import * as pulumi from "@pulumi/pulumi";
import { type Frontend, SERVICES, type ServiceEntry } from "../../catalogue";
import type { Cloud } from "../../config";
import type { After, Context } from "../service";
import { resources } from "../service";
import { keystoneUrl } from "./keystone";

export interface RegistrationArgs {
  /** The Identity API works behind the VIP. */
  readonly identity: readonly After[];
}

/**
 * Keystone's catalogue, through its API: the service project, and each service's endpoints.
 *
 * All that the provider is told is known from the configuration, so a preview shows these resources in full without a
 * cloud. The URL of the Identity API is given too: there is no catalogue to find it in before this has run.
 */
export class Registration extends pulumi.ComponentResource {
  /** For whatever else is made in the cloud. */
  readonly provider: openstack.Provider;

  constructor(context: Context, args: RegistrationArgs, opts?: pulumi.ComponentResourceOptions) {
    super("openstack-ha:openstack:Registration", "registration", {}, opts);

    const { cloud, secrets } = context;
    this.provider = new openstack.Provider(
      "registration-provider",
      {
        authUrl: keystoneUrl(cloud, "internal"),
        endpointOverrides: { identity: `${keystoneUrl(cloud, "internal")}/` },
        // A VIP that moves while a request is under way is no reason to fail.
        maxRetries: 5,
        password: secrets.value("keystone-admin"),
        projectDomainName: "Default",
        region: cloud.region,
        tenantName: "admin",
        userDomainName: "Default",
        userName: "admin",
      },
      { parent: this },
    );
    const options = {
      parent: this,
      provider: this.provider,
      dependsOn: args.identity.flatMap(resources),
    };

    new openstack.identity.Project(
      "registration-project-service",
      { name: "service", description: "Accounts of the cloud's own services" },
      options,
    );
    for (const entry of SERVICES) {
      if (entry.registration) this.register(cloud, entry, options);
    }
    this.registerOutputs({});
  }

  private register(cloud: Cloud, entry: ServiceEntry, options: pulumi.CustomResourceOptions): void {
    const { type, description } = entry.registration as NonNullable<ServiceEntry["registration"]>;
    const service = new openstack.identity.ServiceV3(
      `registration-service-${entry.name}`,
      { name: entry.name, type, description },
      options,
    );
    for (const face of ["admin", "internal", "public"] as const) {
      new openstack.identity.EndpointV3(
        `registration-endpoint-${entry.name}-${face}`,
        {
          name: `${entry.name}-${face}`,
          serviceId: service.id,
          endpointRegion: cloud.region,
          interface: face,
          url: endpointUrl(cloud, entry, face),
        },
        options,
      );
    }
  }
}

/** Where clients find a service. */
export function endpointUrl(
  cloud: Cloud,
  entry: ServiceEntry,
  face: "admin" | "internal" | "public",
): string {
  const { port } = entry.frontend as Frontend;
  return `http://${cloud.vips[face === "public" ? "public" : "internal"]}:${port}${entry.registration?.path ?? ""}`;
}
