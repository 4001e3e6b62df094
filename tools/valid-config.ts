import { createPrivateKey, X509Certificate } from "node:crypto";
import { type Cloud, ConfigError } from "../config";
import { tlsKey } from "../secrets";
import { program } from "./program";
import {
  PROJECT,
  stackCloud,
  stackName,
  stackSecrets,
  type StackSecrets,
  unexposed,
} from "./stack";

/**
 * tools/valid-config.ts [STACK]: exit code 1, with every mistake on a line of its own, if the stack's configuration has any.
 */

/** The key of the public VIP's certificate: the one that is set, or that of the seed; undefined without a seed. */
export function certificateKey(
  { stack, secretVersions }: Pick<Cloud, "stack" | "secretVersions">,
  { seed, tlsPrivateKey }: StackSecrets,
): string | undefined {
  const name = "tls-public";
  const version = secretVersions[name] ?? 1;
  return tlsPrivateKey ?? (seed === undefined ? seed : tlsKey({ seed, stack, name, version }));
}

/** @throws ConfigError where the certificate is another key's. The program itself never has the two in clear together. */
export function checkPair(cloud: Cloud, key: string | undefined): void {
  if (cloud.tls === undefined || key === undefined) return;
  if (new X509Certificate(cloud.tls.certificate).checkPrivateKey(createPrivateKey(key))) return;
  throw new ConfigError({ project: PROJECT, stack: cloud.stack }, [
    {
      path: "tls.certificate",
      what: "it is another key's than this stack's",
      fix: `have one made for the stack's key, \`STACK=${cloud.stack} npm run certificate -- --request\`, or set the secret tlsPrivateKey to the key that it is for`,
    },
  ]);
}

if (require.main === module) {
  program(() => {
    const stack = stackName();
    unexposed(stack);
    const cloud = stackCloud(stack);
    // Secrets need the passphrase, or whoever else keeps them: only where they are needed.
    if (cloud.tls !== undefined) checkPair(cloud, certificateKey(cloud, stackSecrets(stack)));
  });
}
