import * as pulumi from "@pulumi/pulumi";
import { servicesIn } from "../catalogue";
import { keystoneUrl } from "./openstack/oslo";
import { endpointUrl } from "./openstack/registration";
import type { Context } from "./service";

/**
 * The stack's outputs: few, and enough for `npm run outputs` to write clouds.yaml, openrc, the SSH configuration and
 * the topology on any machine that may read the stack.
 */
export function outputs(context: Context): Record<string, unknown> {
  const { cloud, secrets } = context;
  return {
    authUrl: keystoneUrl(cloud, "public"),
    endpoints: Object.fromEntries(
      servicesIn(cloud)
        .filter((entry) => entry.registration)
        .map((entry) => [entry.name, endpointUrl(cloud, entry, "public")]),
    ),
    hosts: Object.fromEntries(
      cloud.hosts.map((host) => [
        host.name,
        {
          address: host.addresses.management,
          // For the policies: nothing else in the plan says it.
          failureDomain: host.failureDomain,
          roles: host.roles,
        },
      ]),
    ),
    region: cloud.region,
    // Of no step: clients need it.
    ...(cloud.tls?.authority === undefined ? {} : { authority: cloud.tls.authority }),
    vips: cloud.vips,
    ...fenceKey(context),
    adminPassword: secrets.value("keystone-admin"),
    sshPrivateKey: secrets.value("ssh-deployer"),
    sshHostKeys: pulumi.unsecret(
      pulumi.all(
        Object.fromEntries(
          cloud.hosts.map((host) => [host.name, secrets.publicKey(`ssh-host-${host.name}`)]),
        ),
      ),
    ),
  };
}

/** What has to be allowed wherever fencing logs in. */
function fenceKey({ hosts, secrets }: Context): { fenceKey?: pulumi.Output<string> } {
  const pair = hosts.map(({ fencing }) => fencing?.keyPair).find((each) => each !== undefined);
  return pair === undefined ? {} : { fenceKey: pulumi.unsecret(secrets.publicKey(pair)) };
}
