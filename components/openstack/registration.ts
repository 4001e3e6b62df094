import * as openstack from "@pulumi/openstack";
import * as pulumi from "@pulumi/pulumi";
import { type Frontend, type ServiceEntry, servicesIn } from "../../catalogue";
import type { Cloud } from "../../config";
import type { After, Context } from "../service";
import { resources } from "../service";
import { keystoneUrl, vipUrl } from "./oslo";

export interface RegistrationArgs {
  /** The Identity API works behind the VIP. */
  readonly identity: readonly After[];
  /** Ids of Keystone's own roles by name, as it answers. */
  readonly roles: pulumi.Output<Readonly<Record<string, string>>>;
}

/** What an account of the cloud's own services may do: anything, and act for a user whose token has run out. */
const SERVICE_ROLES = ["admin", "service"] as const;

/**
 * What the cloud's own services need in Keystone, through its API: their accounts, and their place in the catalogue.
 * Keystone's own endpoints are there already (keystone-manage bootstrap): the provider finds the API by them.
 *
 * All that the provider is told is known from the configuration, so a preview shows these resources in full without a
 * cloud. Only the roles' ids are Keystone's; they are known once it has answered.
 */
export class Registration extends pulumi.ComponentResource {
  private readonly entries = new Map<string, pulumi.Resource[]>();

  constructor(context: Context, args: RegistrationArgs, opts?: pulumi.ComponentResourceOptions) {
    super("openstack-ha:openstack:Registration", "registration", {}, opts);

    const { cloud } = context;
    const options = {
      ...apiOptions(this, context, "registration", args.identity.flatMap(resources)),
      parent: this,
    };
    const project = new openstack.identity.Project(
      "registration-project-service",
      { name: "service", description: "Accounts of the cloud's own services" },
      options,
    );
    for (const entry of servicesIn(cloud)) {
      if (!entry.registration || entry.name === "keystone") continue;
      this.entries.set(entry.name, [
        ...this.account(context, entry.name, project, args.roles, options),
        ...this.endpoints(cloud, entry, options),
      ]);
    }
    this.registerOutputs({});
  }

  /** What a service waits for that starts with its account. */
  of(...services: readonly string[]): After[] {
    return services.flatMap((name) => this.entries.get(name) ?? []);
  }

  private account(
    { secrets }: Context,
    name: string,
    project: openstack.identity.Project,
    roles: RegistrationArgs["roles"],
    options: pulumi.CustomResourceOptions,
  ): pulumi.Resource[] {
    const user = new openstack.identity.User(
      `registration-user-${name}`,
      { name, password: secrets.value(name), description: `Account of ${name}` },
      options,
    );
    return SERVICE_ROLES.map(
      (role) =>
        new openstack.identity.RoleAssignment(
          `registration-role-${name}-${role}`,
          {
            projectId: project.id,
            roleId: roles.apply((ids) => ids[role] ?? missingRole(role)),
            userId: user.id,
          },
          // Keystone's own roles keep their ids. To ask for them again, as after a rotation, is no reason to plan another one.
          { ...options, ignoreChanges: ["roleId"] },
        ),
    );
  }

  private endpoints(
    cloud: Cloud,
    entry: ServiceEntry,
    options: pulumi.CustomResourceOptions,
  ): pulumi.Resource[] {
    const { type, description } = entry.registration as NonNullable<ServiceEntry["registration"]>;
    const service = new openstack.identity.ServiceV3(
      `registration-service-${entry.name}`,
      { name: entry.name, type, description },
      options,
    );
    return (["internal", "public"] as const).map(
      (vip) =>
        new openstack.identity.EndpointV3(
          `registration-endpoint-${entry.name}-${vip}`,
          {
            endpointRegion: cloud.region,
            interface: vip,
            serviceId: service.id,
            url: endpointUrl(cloud, entry, vip),
          },
          options,
        ),
    );
  }
}

function missingRole(role: string): never {
  throw new Error(
    `wanted the role ${role} in Keystone, found none; was keystone-manage bootstrap run?`,
  );
}

/**
 * Options of what is made through the cloud's API, with a provider of its own: it reads the catalogue once, so what is
 * made after a service was registered needs another than the one that registered it.
 */
export function apiOptions(
  parent: pulumi.Resource,
  { cloud, hosts, secrets }: Context,
  name: string,
  dependsOn: readonly pulumi.Resource[],
): pulumi.CustomResourceOptions {
  // It goes with the cloud: nothing is deleted through an API that is about to vanish.
  const machine = hosts[0]?.machine;
  const provider = new openstack.Provider(
    `${name}-provider`,
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
    { parent },
  );
  return {
    parent,
    provider,
    dependsOn: [...dependsOn],
    ...(machine ? { deletedWith: machine } : {}),
  };
}

/** Where clients find a service. */
export function endpointUrl(cloud: Cloud, entry: ServiceEntry, vip: "internal" | "public"): string {
  const { port } = entry.frontends?.[0] as Frontend;
  return `${vipUrl(cloud, vip, port)}${entry.registration?.path ?? ""}`;
}
