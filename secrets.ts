import * as crypto from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { loadSecretInputs, type Cloud, type SecretInputs } from "./config";
import {
  findSecret,
  secretCatalogue,
  type SecretEntry,
  type SshSecretName,
} from "./config/secret-names";

/**
 * Passwords and keys, all derived from the stack's one seed by name and version.
 *
 * Nothing is stored and nothing is random: the same seed gives the same cloud, a preview can be run
 * anywhere, and a secret is rotated by adding one to its version.
 */

export { secretCatalogue } from "./config/secret-names";
export type * from "./config/secret-names";

/** What a plan may show of a secret. */
export interface SecretRef {
  readonly name: string;
  readonly version: number;
}

/** A file of a Fernet key repository, and the secret that is its content. */
export interface KeyFile {
  /** `0` is the staged key, the highest number the primary one. */
  readonly file: string;
  /** Such as `keystone-fernet-4`, the key that is primary at rotation 4. Its content never changes. */
  readonly secret: string;
}

/** The part of a cloud that its secrets depend on. */
type SecretsOf = Pick<Cloud, "stack" | "hosts" | "keystone" | "secretVersions">;

/** The secrets of one cloud. Every value is a secret output; names and versions are plain. */
export class Secrets {
  private readonly values = new Map<string, pulumi.Output<string>>();
  private readonly hosts: ReadonlyMap<string, Cloud["hosts"][number]>;
  private readonly hostNames: ReadonlySet<string>;

  /**
   * @param inputs Default: the stack's own.
   * @throws ConfigError where there is no seed, unless this is a preview: then every value is unknown.
   */
  constructor(
    private readonly cloud: SecretsOf,
    private readonly inputs: SecretInputs = loadSecretInputs(),
  ) {
    // Each host asks for the secrets of all: to look through the hosts for each would be the third power of their number.
    this.hosts = new Map(cloud.hosts.map((host) => [host.name, host]));
    this.hostNames = new Set(this.hosts.keys());
  }

  /** @throws Error where there is no such secret: a mistake in this program, not in the configuration. */
  ref(name: string): SecretRef {
    const { of, per } = this.entry(name);
    if (of !== undefined) return { name, version: this.ref(pairOf(name, of)).version };
    // A rotation's key has its number in its name.
    return { name, version: per === "rotation" ? 1 : (this.cloud.secretVersions[name] ?? 1) };
  }

  /**
   * The text of a secret; of a key pair, its private key.
   *
   * @throws Error where there is no such secret.
   */
  value(name: string): pulumi.Output<string> {
    const entry = this.entry(name);
    return this.once(name, () => {
      if (entry.of !== undefined) {
        return pulumi.secret(this.publicKey(pairOf(name, entry.of)));
      }
      const override = this.inputs.overrides[name];
      return override ?? this.derive(name, (key) => deriveText(key, entry));
    });
  }

  /** The public half of a key pair, or what the configuration says of a host that has one already: `ssh-ed25519 AAAA…`, as authorized_keys, known_hosts and `hostKey` take it. */
  publicKey(name: SshSecretName): pulumi.Output<string> {
    if (this.entry(name).kind !== "ssh") {
      throw new Error(`${name} is not a key pair`);
    }
    const host = name.startsWith(HOST_KEY)
      ? this.hosts.get(name.slice(HOST_KEY.length))
      : undefined;
    const pinned = host?.ssh.hostKey;
    if (pinned !== undefined) return pulumi.secret(pinned);
    return this.once(`${name} public`, () => this.derive(name, (key) => sshKeyPair(key).publicKey));
  }

  /** Keystone's token keys at the present rotation. */
  fernetRepository(): readonly KeyFile[] {
    const { version, maxActiveKeys } = this.cloud.keystone.fernet;
    return keyRepository("keystone-fernet", version, maxActiveKeys);
  }

  /** Keystone's keys for stored credentials. */
  credentialRepository(): readonly KeyFile[] {
    const version = this.cloud.secretVersions["keystone-credential"] ?? 1;
    return keyRepository("keystone-credential", version, CREDENTIAL_KEYS);
  }

  /** Every secret of this cloud by name, sorted. */
  names(): readonly string[] {
    const keys = [...this.fernetRepository(), ...this.credentialRepository()];
    return Object.entries<SecretEntry>(secretCatalogue)
      .filter(([, { per }]) => per !== "rotation")
      .flatMap(([name, { per }]) =>
        per === "host" ? this.members(name).map((host) => `${name}-${host.name}`) : [name],
      )
      .concat(keys.map(({ secret }) => secret))
      .sort();
  }

  /** The hosts that have a secret of a family. */
  private members(family: string): Cloud["hosts"] {
    return family === "bmc"
      ? this.cloud.hosts.filter(({ bmc }) => bmc?.ownPassword)
      : this.cloud.hosts;
  }

  private entry(name: string): SecretEntry {
    const entry = findSecret(name, this.hostNames);
    if (entry === undefined) {
      throw new Error(`there is no secret ${name}: add it to config/secret-names.ts`);
    }
    return entry;
  }

  private derive(name: string, derive: (key: DerivationKey) => string): pulumi.Output<string> {
    const { stack } = this.cloud;
    const { version } = this.ref(name);
    // Unknown without a seed: a preview shows the same plan, with values that come later.
    return this.inputs.seed === undefined
      ? pulumi.secret(pulumi.unknown as unknown as string)
      : pulumi.secret(this.inputs.seed).apply((seed) => derive({ seed, stack, name, version }));
  }

  private once(key: string, make: () => pulumi.Output<string>): pulumi.Output<string> {
    const value = this.values.get(key) ?? make();
    this.values.set(key, value);
    return value;
  }
}

const HOST_KEY = "ssh-host-";

/** The pair whose public half a name stands for: `ssh-known-cmp1` for `ssh-host-cmp1`. */
function pairOf(name: string, family: string): SshSecretName {
  const host = name.replace(/^ssh-known-/, "");
  return `${family}-${host}` as SshSecretName;
}

/** Every secret of a cloud in clear, by name: for a search whether one has leaked. */
export function plainSecrets(cloud: SecretsOf, seed: string): Map<string, string> {
  const secrets = new Secrets(cloud, { seed: undefined, overrides: {} });
  const hosts = new Set(cloud.hosts.map((host) => host.name));
  return new Map(
    secrets.names().flatMap((name) => {
      const entry = findSecret(name, hosts);
      const key = { seed, stack: cloud.stack, ...secrets.ref(name) };
      return entry && entry.of === undefined ? [[name, deriveText(key, entry)]] : [];
    }),
  );
}

/** What a secret is derived from. A change of any part gives an unrelated value. */
export interface DerivationKey {
  readonly seed: string;
  readonly stack: string;
  readonly name: string;
  readonly version: number;
}

/** `length` bytes by HKDF-SHA256 (RFC 5869). A longer request starts with the bytes of a shorter one. */
export function deriveBytes({ seed, stack, name, version }: DerivationKey, length: number): Buffer {
  const info = `openstack-ha/${stack}/${name}/${version}`;
  return Buffer.from(crypto.hkdfSync("sha256", seed, "", info, length));
}

const BASE62 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** The largest multiple of 62 that a byte can hold: bytes from here on are skipped, so that no letter is likelier. */
const UNBIASED = 248;

/** Letters and digits only: they need no quoting in a URL, a shell or any daemon's file. 5.95 bits each. */
export function password(key: DerivationKey, length = 32): string {
  for (let bytes = length + 64; ; bytes *= 2) {
    const letters = [...deriveBytes(key, bytes)]
      .filter((byte) => byte < UNBIASED)
      .map((byte) => BASE62.charAt(byte % BASE62.length));
    if (letters.length >= length) {
      return letters.slice(0, length).join("");
    }
  }
}

/** A Fernet key: 32 bytes as base64url with padding. */
export function fernetKey(key: DerivationKey): string {
  return deriveBytes(key, 32).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}

/**
 * A key as `ceph-authtool --gen-print-key` writes it: type 1 (AES-128), time of making (none, or the same key would be
 * another text), length, 16 bytes; little-endian, as base64.
 */
export function cephxKey(key: DerivationKey): string {
  const bytes = deriveBytes(key, 16);
  const head = Buffer.alloc(12);
  head.writeUInt16LE(1, 0);
  head.writeUInt16LE(bytes.length, 10);
  return Buffer.concat([head, bytes]).toString("base64");
}

/** How many credential keys Keystone keeps; it has no option for it. */
const CREDENTIAL_KEYS = 3;

/**
 * The files of a key repository as `keystone-manage fernet_setup` (rotation 1) and `fernet_rotate` (each
 * further one) leave them: `0` is staged and is the next primary, the highest is primary, those between are
 * older. At most `maxActiveKeys` files; the oldest go first.
 *
 * A rotation therefore needs no key to be copied before it is used: each host had the new primary key as its
 * staged one.
 */
export function keyRepository(family: string, rotation: number, maxActiveKeys: number): KeyFile[] {
  const oldest = Math.max(1, rotation - maxActiveKeys + 2);
  const files = [{ file: "0", secret: `${family}-${rotation + 1}` }];
  for (let key = oldest; key <= rotation; key++) {
    files.push({ file: String(key), secret: `${family}-${key}` });
  }
  return files;
}

export interface SshKeyPair {
  /** The text of an OpenSSH private key file, without a passphrase. */
  readonly privateKey: string;
  /** `ssh-ed25519 AAAA…`, without a comment. */
  readonly publicKey: string;
}

/** PKCS #8's fixed head of an ed25519 key (RFC 8410); the 32 bytes of the key follow. */
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

/** An ed25519 pair in OpenSSH's own format (PROTOCOL.key in its source). */
export function sshKeyPair(key: DerivationKey): SshKeyPair {
  const bytes = deriveBytes(key, 36);
  const secret = bytes.subarray(0, 32);
  // OpenSSH compares two copies of a random number to see if a passphrase was right; derived here, as
  // random would be a change at each run.
  const check = bytes.subarray(32);

  const privateKey = crypto.createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, secret]),
    format: "der",
    type: "pkcs8",
  });
  const { x } = crypto.createPublicKey(privateKey).export({ format: "jwk" });
  const point = Buffer.from(x!, "base64url");
  const publicBlob = Buffer.concat([sshString("ssh-ed25519"), sshString(point)]);

  const inner = Buffer.concat([
    check,
    check,
    publicBlob,
    sshString(Buffer.concat([secret, point])),
    sshString(`${key.name}@${key.stack}`),
  ]);
  // To a multiple of the cipher's block (8 for none) with 1, 2, 3 …
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7].slice(0, (8 - (inner.length % 8)) % 8));
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    sshString("none"), // cipher
    sshString("none"), // key derivation
    sshString(""), // its options
    Buffer.from([0, 0, 0, 1]), // number of keys
    sshString(publicBlob),
    sshString(Buffer.concat([inner, padding])),
  ]);
  return {
    privateKey: [
      "-----BEGIN OPENSSH PRIVATE KEY-----",
      ...file.toString("base64").match(/.{1,70}/g)!,
      "-----END OPENSSH PRIVATE KEY-----",
      "",
    ].join("\n"),
    publicKey: `ssh-ed25519 ${publicBlob.toString("base64")}`,
  };
}

/** A string as SSH writes it: its length, then its bytes. */
function sshString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A pair on P-256, which every browser knows; in PKCS #8 as PEM. */
export function tlsKey(key: DerivationKey): string {
  const curve = crypto.createECDH("prime256v1");
  // 16 bytes more than the order has: reduced by it, no number is likelier (FIPS 186-5, A.2.1).
  const bytes = BigInt(`0x${deriveBytes(key, 48).toString("hex")}`);
  const scalar = ((bytes % (P256_ORDER - 1n)) + 1n).toString(16).padStart(64, "0");
  curve.setPrivateKey(scalar, "hex");
  const point = curve.getPublicKey();
  const coordinate = (start: number): string =>
    point.subarray(start, start + 32).toString("base64url");
  const jwk = {
    kty: "EC",
    crv: "P-256",
    // The point is its kind, x and y.
    x: coordinate(1),
    y: coordinate(33),
    d: Buffer.from(scalar, "hex").toString("base64url"),
  };
  return crypto
    .createPrivateKey({ key: jwk, format: "jwk" })
    .export({ format: "pem", type: "pkcs8" })
    .toString();
}

/** FIPS 186-5 (SP 800-186, 3.2.1.3). */
const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/** The text of a secret by its kind. */
export function deriveText(key: DerivationKey, entry: SecretEntry): string {
  switch (entry.kind) {
    case "password":
    case "keyfile":
      return password(key, entry.length);
    case "fernet":
      return fernetKey(key);
    case "cephx":
      return cephxKey(key);
    case "tls":
      return tlsKey(key);
    case "ssh":
    case "ssh-public":
      return sshKeyPair(key).privateKey;
  }
}
