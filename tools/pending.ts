import { keystoneUrl } from "../components/openstack/oslo";
import { plainSecrets } from "../secrets";
import { eventually, type Json, OpenStack } from "./openstack";
import { pulumi, stackCloud, stackName } from "./stack";

/**
 * tools/pending.ts [STACK]: remove from the cloud what a pulumi that was killed had begun to make there and did not note.
 * Its state says so ("pending operations"). Left there, the next `up` would meet it as a conflict (HTTP 409), and nobody
 * would ever own it. Steps that were cut off are repeated anyway. So both are forgotten then, or each plan would begin with a
 * warning. `npm run up` does this by itself.
 */

export interface Pending {
  readonly type: string;
  readonly resource: { readonly urn: string; readonly type: string; readonly inputs: Json };
}

/** How things of a type are found: service, path, key of the list, and what of the inputs has to be alike. */
type Finder = readonly [
  service: string,
  path: string,
  key: string,
  like: Readonly<Record<string, string>>,
];

const FINDERS: Readonly<Record<string, Finder>> = {
  "openstack:blockstorage/volumeTypeV3:VolumeTypeV3": [
    "volumev3",
    "/types",
    "volume_types",
    { name: "name" },
  ],
  "openstack:compute/flavor:Flavor": ["compute", "/flavors", "flavors", { name: "name" }],
  "openstack:identity/endpointV3:EndpointV3": [
    "identity",
    "/endpoints",
    "endpoints",
    { interface: "interface", serviceId: "service_id" },
  ],
  "openstack:identity/project:Project": ["identity", "/projects", "projects", { name: "name" }],
  "openstack:identity/serviceV3:ServiceV3": [
    "identity",
    "/services",
    "services",
    { name: "name", type: "type" },
  ],
  "openstack:identity/user:User": ["identity", "/users", "users", { name: "name" }],
  "openstack:images/image:Image": ["image", "/v2/images", "images", { name: "name" }],
  "openstack:networking/network:Network": [
    "network",
    "/v2.0/networks",
    "networks",
    { name: "name" },
  ],
  "openstack:networking/subnet:Subnet": [
    "network",
    "/v2.0/subnets",
    "subnets",
    { name: "name", networkId: "network_id" },
  ],
};

/** The things of a list that are what was to be made. */
export function matching(list: readonly Json[], inputs: Json, like: Finder[3]): Json[] {
  return list.filter((each) =>
    Object.entries(like).every(([input, key]) => each[key] === inputs[input]),
  );
}

async function main(): Promise<void> {
  const stack = stackName();
  const state = JSON.parse(pulumi(["stack", "export", "--stack", stack])) as {
    deployment?: { pending_operations?: Pending[] };
  };
  const pending = state.deployment?.pending_operations ?? [];
  const made = pending.filter(
    ({ type, resource }) => type === "creating" && resource.type in FINDERS,
  );
  if (made.length) await removeFromCloud(stack, made);
  const left = kept(pending);
  if (!state.deployment || left.length === pending.length) return;
  state.deployment.pending_operations = left;
  // Secrets are encrypted in it.
  pulumi(["stack", "import", "--stack", stack], JSON.stringify(state));
}

async function removeFromCloud(stack: string, pending: readonly Pending[]): Promise<void> {
  const cloud = stackCloud(stack);
  const seed = pulumi(["config", "get", "openstack-ha:seed", "--stack", stack]).trim();
  const login = {
    authUrl: keystoneUrl(cloud, "public"),
    user: "admin",
    password: plainSecrets(cloud, seed).get("keystone-admin") ?? "",
    project: "admin",
  };
  const api = await eventually("a token", 120, () => OpenStack.login(login));
  for (const { resource } of pending) {
    const [service, path, key, like] = FINDERS[resource.type] as Finder;
    const found = matching(await api.get<Json[]>(service, path, key), resource.inputs, like);
    for (const each of found) {
      await api.remove(service, `${path}/${String(each.id)}`);
      console.log(
        `removed ${String(resource.urn.split("::").pop())}, which was made and not noted`,
      );
    }
  }
}

/** What is not forgotten: creations of what this program can neither find nor repeat, and what was begun otherwise. */
export function kept(pending: readonly Pending[]): Pending[] {
  return pending.filter(
    ({ type, resource }) =>
      type !== "creating" || !(resource.type in FINDERS || resource.type.startsWith("command:")),
  );
}

if (require.main === module) {
  main().catch((error: unknown) => {
    // `up` may do without; if not, its error names what is in the way.
    console.error(
      `what a killed pulumi left in the cloud could not be looked for: ${(error as Error).message}`,
    );
  });
}
