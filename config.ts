import * as pulumi from "@pulumi/pulumi";
import type { Cloud, HostConfig, Names, Role, SecretInputs } from "./config/cloud";
import { ConfigError, exposed, setSecret, setSeed } from "./config/errors";
import { once } from "./config/once";
import { parseSource } from "./config/parse";
import { secretOptions } from "./config/schema";
import { clearParts, ownOptions, withFiles } from "./config/source";

/**
 * The only door to configuration: nothing else reads `pulumi.Config`.
 *
 * `loadCloud()` gives a plain, checked, deeply frozen value that decides the whole plan. Secrets are
 * not in it; `loadSecretInputs()` gives those, for secrets.ts alone.
 */

export type * from "./config/cloud";
export { ConfigError, exposed, setSeed } from "./config/errors";
export { parseCloud, parseSource } from "./config/parse";
export { clearParts, ownOptions, type Source, withFiles } from "./config/source";
export { isOption, isSecretOption, networkNames, roles, secretOptions } from "./config/schema";

/** The hosts that have a role, by id. */
export function hostsWith(cloud: Pick<Cloud, "hosts">, role: Role): readonly HostConfig[] {
  return withRole(cloud.hosts, role);
}

const withRole = once((hosts: Cloud["hosts"], role: Role): readonly HostConfig[] =>
  hosts.filter((host) => host.roles.includes(role)),
);

/** @throws ConfigError naming the passwords that are not ours to make, because the machines have them already. */
export function refuseMissingPasswords(
  names: Names,
  cloud: Pick<Cloud, "backend" | "hosts">,
  secrets: Readonly<Record<string, string>> = {},
): void {
  const missing = givenPasswords(cloud).filter((name) => !(name in secrets));
  if (missing.length === 0) return;
  throw new ConfigError(
    names,
    missing.map((name) => ({
      path: `secrets.${name}`,
      what: "is missing, and the management controllers have a password already",
      fix: `set it: ${setSecret(names, `secrets.${name}`)}`,
    })),
  );
}

function givenPasswords(cloud: Pick<Cloud, "backend" | "hosts">): readonly string[] {
  if (cloud.backend !== "inventory") return [];
  const names = cloud.hosts.flatMap(({ name, bmc }) =>
    bmc ? [bmc.ownPassword ? `bmc-${name}` : "pacemaker-bmc"] : [],
  );
  return [...new Set(names)].sort();
}

/**
 * Reads the stack's configuration.
 *
 * @throws ConfigError listing every mistake; that of a missing password only where this is no preview.
 */
export function loadCloud(): Cloud {
  const names = currentNames();
  const raw = readStack(names);
  const cloud = parseSource(withFiles(raw), names);
  // Pulumi decrypts before it hands over, so only this tells an encrypted value from one in clear text.
  const inClear = secretOptions
    .filter((key) => !isStoredAsSecret(`${names.project}:${key}`))
    .flatMap((key) => clearParts(raw[key], key));
  if (inClear.length > 0) throw exposed(names, inClear);
  if (!pulumi.runtime.isDryRun()) {
    refuseMissingPasswords(names, cloud, raw.secrets as Record<string, string> | undefined);
  }
  return cloud;
}

/**
 * Reads the secret part of the stack's configuration; for secrets.ts.
 *
 * @throws ConfigError where there is no seed, unless this is a preview.
 */
export function loadSecretInputs(): SecretInputs {
  const names = currentNames();
  const { seed, secrets, sshPrivateKey, tlsPrivateKey } = readStack(names);
  if (seed === undefined && !pulumi.runtime.isDryRun()) {
    throw new ConfigError(names, [
      {
        path: "seed",
        what: "is missing, and every password and key is derived from it",
        fix: `set it: ${setSeed(names)} (npm run up does it)`,
      },
    ]);
  }
  return {
    seed: seed === undefined ? undefined : pulumi.secret(seed as string),
    overrides: Object.fromEntries(
      Object.entries({
        ...(secrets as Record<string, string> | undefined),
        ...(sshPrivateKey === undefined ? {} : { "ssh-deployer": sshPrivateKey as string }),
        ...(tlsPrivateKey === undefined ? {} : { "tls-public": tlsPrivateKey as string }),
      }).map(([name, value]) => [name, pulumi.secret(value)]),
    ),
  };
}

function currentNames(): Names {
  return { project: pulumi.getProject(), stack: pulumi.getStack() };
}

/**
 * The options of the project's namespace by name, lists and maps decoded.
 *
 * `pulumi.Config` cannot list its keys, so that a misspelt option would go unseen.
 */
function readStack(names: Names): Record<string, unknown> {
  const own = ownOptions(pulumi.runtime.allConfig(), names) as Record<string, string>;
  return Object.fromEntries(Object.entries(own).map(([name, text]) => [name, decode(text)]));
}

/** Pulumi hands lists and maps over as JSON, and everything else as text. */
function decode(text: string): unknown {
  if (!/^[[{]/.test(text)) {
    return text;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The SDK knows which keys were encrypted, but does not declare it. */
function isStoredAsSecret(key: string): boolean {
  const runtime = pulumi.runtime as { isConfigSecret?: (key: string) => boolean };
  return runtime.isConfigSecret?.(key) ?? true;
}
