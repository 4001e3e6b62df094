import * as fs from "node:fs";
import * as path from "node:path";
import { stringify } from "yaml";
import { isWhole } from "../catalogue";
import type { Cloud, SshAccess } from "../config";
import { program } from "./program";
import { cloudFolder, type Outputs, stackCloud, stackName, stackOutputs } from "./stack";
import { dashboardUrl } from "./tempest-conf";
import { topologySvg } from "./topology";

/**
 * npm run outputs [STACK]: write what a person needs into .cloud/STACK, from the stack's outputs, on any machine that
 * may read the stack: clouds.yaml, openrc, ssh_config with its key and known hosts, and the topology as a picture.
 */

const ONLY_OWNER = 0o600;
const SSH_PORT = 22;
/** What the host that others are reached through is called in these files; no host of a cloud has a dot in its name. */
const BASTION = "bastion.inventory";

function main(): void {
  const stack = stackName();
  const cloud = stackCloud(stack);
  const outputs = stackOutputs(stack);
  const folder = cloudFolder(stack);
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const write = (name: string, content: string, mode = ONLY_OWNER): void => {
    const temporary = path.join(folder, `.${name}.new`);
    fs.writeFileSync(temporary, content, { mode });
    fs.chmodSync(temporary, mode);
    fs.renameSync(temporary, path.join(folder, name));
  };
  const authority = authorityFile(outputs, stack);
  if (outputs.authority === undefined) fs.rmSync(path.join(folder, AUTHORITY), { force: true });
  else write(AUTHORITY, outputs.authority, 0o644);
  write("clouds.yaml", cloudsYaml(stack, outputs, authority));
  write("openrc", openrc(outputs, authority));
  write("id_ed25519", outputs.sshPrivateKey);
  write("known_hosts", knownHosts(cloud, outputs.sshHostKeys));
  write("ssh_config", sshConfig(cloud, folder));
  write("topology.svg", topologySvg(cloud), 0o644);

  const shown = path.relative(process.cwd(), folder);
  for (const [name, url] of Object.entries(outputs.endpoints))
    console.log(`${name.padEnd(12)} ${url}`);
  if (isWhole(cloud)) console.log(`dashboard    ${dashboardUrl(cloud)} (admin, OS_PASSWORD)`);
  console.log(`openrc       source ${shown}/openrc`);
  console.log(`clouds.yaml  OS_CLIENT_CONFIG_FILE=${shown}/clouds.yaml OS_CLOUD=${stack}`);
  console.log(`hosts        ssh -F ${shown}/ssh_config ${cloud.hosts[0]?.name ?? "HOST"}`);
  console.log(`topology     ${shown}/topology.svg`);
}

/** Where clients find who vouches for the cloud, if they do not know them. */
const AUTHORITY = "authority.pem";

export function authorityFile(
  { authority }: Pick<Outputs, "authority">,
  stack: string,
): string | undefined {
  return authority === undefined ? undefined : path.join(cloudFolder(stack), AUTHORITY);
}

/** https://docs.openstack.org/openstacksdk/latest/user/config/configuration.html */
export function cloudsYaml(stack: string, outputs: Outputs, authority?: string): string {
  return stringify({
    clouds: {
      [stack]: {
        auth: {
          auth_url: outputs.authUrl,
          password: outputs.adminPassword,
          project_domain_name: "Default",
          project_name: "admin",
          user_domain_name: "Default",
          username: "admin",
        },
        ...(authority === undefined ? {} : { cacert: authority }),
        identity_api_version: 3,
        interface: "public",
        region_name: outputs.region,
      },
    },
  });
}

export function openrc(outputs: Outputs, authority?: string): string {
  const variables = {
    OS_AUTH_URL: outputs.authUrl,
    ...(authority === undefined ? {} : { OS_CACERT: authority }),
    OS_IDENTITY_API_VERSION: "3",
    OS_INTERFACE: "public",
    OS_PASSWORD: outputs.adminPassword,
    OS_PROJECT_DOMAIN_NAME: "Default",
    OS_PROJECT_NAME: "admin",
    OS_REGION_NAME: outputs.region,
    OS_USERNAME: "admin",
    OS_USER_DOMAIN_NAME: "Default",
  };
  return Object.entries(variables)
    .map(([name, value]) => `export ${name}='${value.replaceAll("'", "'\\''")}'\n`)
    .join("");
}

export function knownHosts(cloud: Cloud, keys: Outputs["sshHostKeys"]): string {
  const line = (name: string, { address, port }: SshAccess, key: string): string =>
    `${name},${port === SSH_PORT ? address : `[${address}]:${port}`} ${key}\n`;
  const { bastion } = cloud.inventory;
  return [
    ...cloud.hosts.map((host) => line(host.name, host.ssh, keys[host.name] ?? "")),
    ...(bastion ? [line(BASTION, bastion, bastion.hostKey ?? "")] : []),
  ].join("");
}

/** @param folder Where the key and known_hosts are. */
export function sshConfig(cloud: Cloud, folder: string): string {
  const host = (name: string, { address, port, user }: SshAccess, ...more: string[]): string =>
    [
      `Host ${name}`,
      `  HostName ${address}`,
      // known_hosts has it by its name.
      `  HostKeyAlias ${name}`,
      ...(port === SSH_PORT ? [] : [`  Port ${port}`]),
      ...(user === "root" ? [] : [`  User ${user}`]),
      ...more,
      "",
    ].join("\n");
  const { bastion } = cloud.inventory;
  const jump = bastion ? [`  ProxyJump ${BASTION}`] : [];
  return [
    ...cloud.hosts.map(({ name, ssh }) => host(name, ssh, ...jump)),
    ...(bastion ? [host(BASTION, bastion)] : []),
    `Host ${[...cloud.hosts.map(({ name }) => name), ...(bastion ? [BASTION] : [])].join(" ")}
  User root
  IdentityFile ${folder}/id_ed25519
  IdentitiesOnly yes
  UserKnownHostsFile ${folder}/known_hosts
  StrictHostKeyChecking yes
  ConnectTimeout 5
`,
  ].join("\n");
}

if (require.main === module) program(main);
