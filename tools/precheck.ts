import {
  type Cloud,
  ConfigError,
  parseSource,
  refuseMissingPasswords,
  type Source,
} from "../config";
import { placeOf } from "../config/errors";
import { plainSecrets, sshKeyPair } from "../secrets";
import { type Access, gather } from "./precheck/gather";
import { type Finding, judge, type KeyOf } from "./precheck/judge";
import { program } from "./program";
import { PROJECT, type StackSecrets, stackName, stackSecrets, stackSource } from "./stack";

/**
 * npm run precheck [-- --json] [-- --public-key]: look at all hosts of $STACK at once for what would keep a deployment
 * from working, and change nothing on them. Exit code 0 if nothing is wrong, though there may be warnings; 1 if
 * something is; 2 if hosts could not be asked for a mistake in the configuration.
 *
 * With --public-key: the line for authorized_keys of the hosts; of hypervisors, for fencing.
 */

async function main(): Promise<void> {
  const stack = stackName();
  const source = stackSource(stack);
  const cloud = parseSource(source, { project: PROJECT, stack });
  const secrets = stackSecrets(stack);
  if (process.argv.includes("--public-key")) {
    console.log(publicKey(cloud, secrets));
    return;
  }
  refuseMissingPasswords({ project: PROJECT, stack }, cloud, secrets.secrets);
  const findings = judge(cloud, await gather(cloud, access(cloud, secrets)), keyOf(source));
  const asJson = process.argv.includes("--json");
  console.log(asJson ? JSON.stringify(findings, null, 1) : table(cloud, findings));
  process.exitCode = findings.some(({ level }) => level === "error") ? 1 : 0;
}

/**
 * What has to be allowed before the first `up`: on hosts that exist the program's own key, on hypervisors that of the hosts,
 * which fence each other there.
 *
 * @throws Error where a key is set, whose owner has its public half; standard output goes into authorized_keys.
 */
export function publicKey(cloud: Cloud, { seed, sshPrivateKey }: StackSecrets): string {
  const name = cloud.backend === "libvirt" ? "libvirt-fence" : "ssh-deployer";
  if (name === "ssh-deployer" && sshPrivateKey !== undefined)
    throw new Error("sshPrivateKey is set: its public half is `ssh-keygen -y -f FILE`");
  return `${derivedKey(cloud, needSeed(cloud, seed), name)} openstack-ha ${cloud.stack}`;
}

/** The public half of a key pair that is derived. */
function derivedKey({ stack, secretVersions }: Cloud, seed: string, name: string): string {
  return sshKeyPair({ seed, stack, name, version: secretVersions[name] ?? 1 }).publicKey;
}

function needSeed({ backend, stack }: Cloud, seed: string | undefined): string {
  if (seed !== undefined) return seed;
  // The key that is asked for on libvirt is that of fencing.
  const instead = backend === "libvirt" ? "" : ", or sshPrivateKey";
  throw new ConfigError({ project: PROJECT, stack }, [
    {
      path: "seed",
      what: "is missing, and the key is derived from it",
      fix: `set it${instead} (npm run up does it)`,
    },
  ]);
}

function access(cloud: Cloud, { seed, sshPrivateKey, secrets }: StackSecrets): Access {
  // What is set by hand goes before what is derived, as in secrets.ts.
  const derived =
    seed === undefined && sshPrivateKey !== undefined
      ? new Map<string, string>()
      : plainSecrets(cloud, needSeed(cloud, seed));
  const hostKey = (name: string): string =>
    seed === undefined ? "" : derivedKey(cloud, seed, `ssh-host-${name}`);
  return {
    privateKey: sshPrivateKey ?? derived.get("ssh-deployer")!,
    hostKeys: Object.fromEntries(
      cloud.hosts.map(({ name, ssh }) => [name, ssh.hostKey ?? hostKey(name)]),
    ),
    passwords: { ...Object.fromEntries(derived), ...secrets },
  };
}

/** The place of an option as its file has it: hosts are numbered there. */
export function keyOf({ raw, file }: Source): KeyOf {
  const written = (raw.hosts ?? []) as readonly { readonly name: string }[];
  const places = new Map(written.map(({ name }, i) => [name, i]));
  return (path) =>
    placeOf(
      {
        path: path.replace(
          /^hosts\[([^\]]+)\]/,
          (_, name: string) => `hosts[${places.get(name) ?? name}]`,
        ),
      },
      PROJECT,
      file,
    );
}

/** A line for each finding, host by host. */
export function table(cloud: Cloud, findings: readonly Finding[]): string {
  const errors = findings.filter(({ level }) => level === "error").length;
  const warnings = findings.length - errors;
  const order = [...cloud.hosts.map(({ name }) => name as string | undefined), undefined];
  const sorted = order.flatMap((host) => findings.filter((each) => each.host === host));
  const rows = sorted.map((each) => [
    each.host ?? "all",
    each.level === "error" ? "WRONG" : "warning",
    each.check,
    each.found,
  ]);
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((row) => row[i]!.length)));
  const lines = rows.flatMap((row, i) => {
    const { key, fix } = sorted[i]!;
    const indent = " ".repeat((widths[0] ?? 0) + 2);
    return [
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd(),
      `${indent}${key}; ${fix}`,
    ];
  });
  const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
  return [
    ...lines,
    ...(lines.length > 0 ? [""] : []),
    errors + warnings === 0
      ? `${count(cloud.hosts.length, "host")}: nothing is wrong`
      : `${count(cloud.hosts.length, "host")}: ${count(errors, "mistake")}, ${count(warnings, "warning")}`,
  ].join("\n");
}

if (require.main === module) program(main, 2);
