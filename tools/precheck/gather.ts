import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { isWhole, servicesOf } from "../../catalogue";
import { asRoot } from "../../components/document";
import { scriptFile } from "../../components/step";
import { portsNeeded } from "../../config/inventory";
import { type Cloud, type HostConfig, networkNames } from "../../config";
import { knownHosts, sshConfig } from "../outputs";
import {
  type BmcFacts,
  type Facts,
  type HostFacts,
  isReached,
  parseBmc,
  parseFacts,
  parseRefusal,
  type Unreached,
} from "./facts";

/** Asks all hosts and management controllers at once, and changes nothing on them. */

/** Seconds that a host has for its answer; apt may wait 60 for its source. */
const TIMEOUT = 120;

/** What gets in. All of it is secret but the host keys. */
export interface Access {
  readonly privateKey: string;
  readonly hostKeys: Readonly<Record<string, string>>;
  /** By name, as in `secrets`. */
  readonly passwords: Readonly<Record<string, string>>;
}

export async function gather(cloud: Cloud, access: Access): Promise<Facts> {
  // For as long as it takes, readable by nobody else.
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-precheck-"));
  try {
    const put = (name: string, content: string): void => {
      fs.writeFileSync(path.join(folder, name), content, { mode: 0o600 });
    };
    put("id_ed25519", access.privateKey);
    put("known_hosts", knownHosts(cloud, access.hostKeys));
    put("ssh_config", sshConfig(cloud, folder));
    const config = path.join(folder, "ssh_config");
    const answers = await Promise.all(
      cloud.hosts.map(async (host) => [host.name, await hostFacts(cloud, host, config)] as const),
    );
    const hosts = Object.fromEntries(answers);
    return { hosts, bmcs: await bmcFacts(cloud, hosts, config, access.passwords) };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function hostFacts(
  cloud: Cloud,
  host: HostConfig,
  config: string,
): Promise<HostFacts | Unreached> {
  const command = asRoot(host, "bash -s");
  const done = await run(
    [
      "ssh",
      "-F",
      config,
      "-o",
      "BatchMode=yes",
      "-o",
      "FingerprintHash=sha256",
      host.name,
      command,
    ],
    `${wanted(cloud, host)}${scriptFile("base/precheck.sh")}`,
  );
  if (done.status !== 0) return parseRefusal(done.stderr, done.status);
  try {
    return parseFacts(done.stdout, done.firstOutput);
  } catch (error) {
    return { problem: "other", detail: error instanceof Error ? error.message : String(error) };
  }
}

/** What the script reads: arrays of Bash. */
export function wanted(cloud: Cloud, host: HostConfig): string {
  const whole = isWhole(cloud);
  const needed = portsNeeded(host.roles, whole);
  const peers = networkNames
    .filter((network) => needed.includes(network))
    .flatMap((network) =>
      cloud.hosts
        .filter((peer) => peer !== host && portsNeeded(peer.roles, whole).includes(network))
        .map((peer) => `${network} ${peer.addresses[network]} ${cloud.networks[network].mtu}`),
    );
  // Only who is on a VIP's network can tell whether somebody has it.
  const vips = [
    ...(needed.includes("management") ? [cloud.vips.internal] : []),
    ...(needed.includes("external") ? [cloud.vips.public] : []),
  ];
  const packages = servicesOf(cloud, host).flatMap((entry) => entry.packages);
  return [
    array("PEERS", peers),
    array("VIPS", vips),
    array("DISKS", host.disks),
    array("PACKAGES", [...new Set(packages)].sort()),
    "",
  ].join("\n");
}

function array(name: string, values: readonly string[]): string {
  return `${name}=(${values.map(quoted).join(" ")})`;
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

// ---- Management controllers -------------------------------------------------------------------------------------

/** From here; where a bastion is in between, or there is no ipmitool, from a host that has it. */
async function bmcFacts(
  cloud: Cloud,
  hosts: Facts["hosts"],
  config: string,
  passwords: Access["passwords"],
): Promise<Record<string, BmcFacts>> {
  const asker = await bmcAsker(cloud, hosts, config);
  if (asker === undefined) return {};
  const answers = cloud.hosts.map(async (host) => {
    const password = passwords[host.bmc?.ownPassword ? `bmc-${host.name}` : "pacemaker-bmc"];
    if (!host.bmc || password === undefined) return undefined;
    const done = await run(asker(bmcCommand(host.bmc)), `${password}\n`);
    return [host.name, parseBmc(done.stdout + done.stderr)] as const;
  });
  const given = (await Promise.all(answers)).filter((each) => each !== undefined);
  return Object.fromEntries(given);
}

type Asker = (script: string) => readonly string[];

async function bmcAsker(
  cloud: Cloud,
  hosts: Facts["hosts"],
  config: string,
): Promise<Asker | undefined> {
  const local: Asker = (script) => ["sh", "-c", script];
  const there = cloud.hosts
    .filter(({ name, roles }) => roles.includes("controller") && isReached(hosts[name]))
    .map((host): Asker => {
      const command = (script: string): string => asRoot(host, `sh -c ${quoted(script)}`);
      return (script) => ["ssh", "-F", config, host.name, command(script)];
    });
  for (const asker of cloud.inventory.bastion ? there : [local, ...there]) {
    if ((await run(asker("command -v ipmitool"), "")).status === 0) return asker;
  }
  return undefined;
}

/** The password comes on standard input and goes on by a pipe: it is in no command line. */
function bmcCommand({ address, port, user }: NonNullable<HostConfig["bmc"]>): string {
  const ask = `ipmitool -I lanplus -C 3 -N 2 -R 2 -H ${address} -p ${port} -U ${quoted(user)} -f /dev/stdin`;
  return [
    "read -r password",
    `ask() { printf '%s\\n' "$password" | ${ask} "$@" 2>&1; }`,
    "ask chassis power status || exit 0",
    "ask mc guid; ask fru print 0; exit 0",
  ].join("\n");
}

// ---- Processes --------------------------------------------------------------------------------------------------

interface Done {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Seconds since 1970. */
  readonly firstOutput: number;
}

function run(command: readonly string[], input: string): Promise<Done> {
  const [program, ...rest] = command;
  return new Promise((resolve) => {
    const child = spawn(program!, rest, { timeout: 1000 * TIMEOUT });
    let stdout = "";
    let stderr = "";
    let firstOutput = 0;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      firstOutput ||= Date.now() / 1000;
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", (error) => {
      resolve({ status: null, stdout, stderr: error.message, firstOutput });
    });
    child.on("close", (status) => {
      resolve({ status, stdout, stderr, firstOutput });
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}
