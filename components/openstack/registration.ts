import * as openstack from "@pulumi/openstack";
import * as pulumi from "@pulumi/pulumi";
import type { Frontend, ServiceEntry } from "../../catalogue";
import type { Cloud } from "../../config";
import type { After, Context } from "../service";
import { resources } from "../service";
import { keystoneUrl } from "./keystone";

export interface RegistrationArgs {
  /** The Identity API works behind the VIP. */
  readonly identity: readonly After[];
}

/**
 * What the cloud's own services need in Keystone, through its API: the project of their accounts. Keystone's own
 * endpoints are there already (keystone-manage bootstrap): the provider finds the API by them.
 *
 * All that the provider is told is known from the configuration, so a preview shows these resources in full without a
 * cloud.
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
        endpointType: "internal",
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
    this.registerOutputs({});
  }
}

/** Where clients find a service. */
export function endpointUrl(cloud: Cloud, entry: ServiceEntry, vip: "internal" | "public"): string {
  const { port } = entry.frontend as Frontend;
  return `http://${cloud.vips[vip]}:${port}${entry.registration?.path ?? ""}`;
}
