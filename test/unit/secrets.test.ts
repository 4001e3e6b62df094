import { execFileSync } from "node:child_process";
import * as crypto from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import * as pulumi from "@pulumi/pulumi";
import test from "ava";
import fc from "fast-check";
import { ConfigError, loadSecretInputs, parseCloud, type SecretInputs } from "../../config";
import {
  overridableNames,
  rotatableNames,
  type SecretEntry,
  type SecretName,
} from "../../config/secret-names";
import {
  cephxKey,
  deriveBytes,
  fernetKey,
  keyRepository,
  password,
  plainSecrets,
  Secrets,
  secretCatalogue,
  sshKeyPair,
  tlsKey,
  type DerivationKey,
} from "../../secrets";
import { openssl } from "../../tools/certificate";
import { certificateKey, checkPair } from "../../tools/valid-config";
import { project, validOptions, type Options } from "../fixtures/config/fixtures";

const SEED = "Zq8mT1vXw5LkR7yPn3Ds9HbJc2FgA6uE0iOxYtKa";
const key: DerivationKey = { seed: SEED, stack: "dev", name: "keystone-db", version: 1 };

function cloudWith(options: Options = {}) {
  return parseCloud(
    { ...validOptions(), secretVersions: {}, ...options },
    { project, stack: "dev" },
  );
}

function inputs(overrides: Record<string, string> = {}): SecretInputs {
  return {
    seed: pulumi.secret(SEED),
    overrides: Object.fromEntries(
      Object.entries(overrides).map(([name, value]) => [name, pulumi.secret(value)]),
    ),
  };
}

/** The value inside an output, as the engine would get it. */
function inside<T>(output: pulumi.Output<T>): Promise<T> {
  return (output as unknown as { promise(): Promise<T> }).promise();
}

function isKnown(output: pulumi.Output<unknown>): Promise<boolean> {
  return (output as unknown as { isKnown: Promise<boolean> }).isKnown;
}

/** Mocks stand for a running stack: what `loadSecretInputs` sees of preview and up. */
async function runAs(mode: "preview" | "up", config: Record<string, string>): Promise<void> {
  await pulumi.runtime.setMocks(
    { newResource: ({ name }) => ({ id: name, state: {} }), call: () => ({}) },
    project,
    "dev",
    mode === "preview",
  );
  pulumi.runtime.setAllConfig(config, Object.keys(config));
}

// ---- Derivation -----------------------------------------------------------------------------------------------

test("bytes are HKDF-SHA256 of the seed, as RFC 5869 spells it", (t) => {
  const hmac = (k: string | Buffer, data: Buffer) =>
    crypto.createHmac("sha256", k).update(data).digest();
  const extracted = hmac(Buffer.alloc(32), Buffer.from(SEED));
  const info = Buffer.from("openstack-ha/dev/keystone-db/1");
  const first = hmac(extracted, Buffer.concat([info, Buffer.from([1])]));
  const second = hmac(extracted, Buffer.concat([first, info, Buffer.from([2])]));
  t.deepEqual(deriveBytes(key, 50), Buffer.concat([first, second]).subarray(0, 50));
});

test("these are the values of this seed: a change here rotates every secret of every cloud", (t) => {
  t.is(password(key), "VVUc6b9ZT9slbLSpX8X24Myl9RljUT0l");
  t.is(
    fernetKey({ ...key, name: "keystone-fernet-1" }),
    "9FsEeFyKWhAcGO9prhHfKwh3ESqDFP-Kze9AnUYRF9Q=",
  );
  t.is(
    sshKeyPair({ ...key, name: "ssh-deployer" }).publicKey,
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIByOtJ65yieO67mOEivD+9/R6JV15S8lb0NW51RYbcf9",
  );
  // Computed by another program: HKDF, and the struct below.
  t.is(cephxKey({ ...key, name: "ceph-admin" }), "AQAAAAAAAAAAABAAaSf0ZdNniXPOybchwBWo/A==");
});

test("property: seed, stack, name and version all count", (t) => {
  const part = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const keys = fc.record({
    seed: fc.string({ minLength: 32, maxLength: 64 }),
    stack: part,
    name: part,
    version: fc.integer({ min: 1, max: 99 }),
  });
  fc.assert(
    fc.property(keys, keys, fc.constantFrom("seed", "stack", "name", "version"), (a, b, field) => {
      fc.pre(a[field] !== b[field]);
      return (
        password(a) !== password({ ...a, [field]: b[field] }) && password(a) === password({ ...a })
      );
    }),
  );
  t.pass();
});

test("property: a password has the length asked for, of letters and digits alone", (t) => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 600 }), (version, length) =>
      new RegExp(`^[A-Za-z0-9]{${length}}$`).test(password({ ...key, version }, length)),
    ),
  );
  t.pass();
});

test("no letter is likelier than another", (t) => {
  // A byte modulo 62 without rejection would make the first eight letters a quarter likelier: chi² above 3000 here.
  const counts = new Map<string, number>();
  const total = 400 * 500;
  for (let version = 1; version <= 400; version++) {
    for (const letter of password({ ...key, version }, 500)) {
      counts.set(letter, (counts.get(letter) ?? 0) + 1);
    }
  }
  const expected = total / 62;
  const chi2 = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  t.is(counts.size, 62);
  // 61 degrees of freedom: 120 is passed by chance once in 100 000; the seed is fixed, so it is never.
  t.true(chi2 < 120, `chi² ${chi2}`);
});

test("a Fernet key is 32 bytes in URL-safe base64 with padding", (t) => {
  for (let version = 1; version <= 50; version++) {
    const text = fernetKey({ ...key, version });
    t.regex(text, /^[A-Za-z0-9_-]{43}=$/);
    t.deepEqual(Buffer.from(text, "base64url"), deriveBytes({ ...key, version }, 32));
  }
});

test("a cephx key is laid out as Ceph's own: type 1, time, length 16, key, little-endian", (t) => {
  const parts = (text: string) => {
    const bytes = Buffer.from(text, "base64");
    return {
      type: bytes.readUInt16LE(0),
      seconds: bytes.readUInt32LE(2),
      nanoseconds: bytes.readUInt32LE(6),
      length: bytes.readUInt16LE(10),
      key: bytes.subarray(12),
    };
  };
  // Made by `ceph-authtool --gen-print-key`: the example of Ceph's documentation.
  const theirs = parts("AQCj2YpRiAe6CxAA7/ETt7Hcl9IyxyYciVs47w==");
  t.deepEqual([theirs.type, theirs.length, theirs.key.length], [1, 16, 16]);
  t.is(new Date(theirs.seconds * 1000).getUTCFullYear(), 2013);
  for (let version = 1; version <= 50; version++) {
    const text = cephxKey({ ...key, version });
    t.regex(text, /^[A-Za-z0-9+/]{38}==$/);
    const ours = parts(text);
    t.deepEqual([ours.type, ours.length], [1, 16]);
    // A time of making would make another text of the same key.
    t.deepEqual([ours.seconds, ours.nanoseconds], [0, 0]);
    t.deepEqual(ours.key, deriveBytes({ ...key, version }, 16));
  }
});

// ---- Key repositories -----------------------------------------------------------------------------------------

test("a key repository is what Keystone 27.1 leaves after fernet_setup and each fernet_rotate", (t) => {
  // Recorded from keystone.common.fernet_utils: file name -> which key, counted in the order of their making.
  const recorded: Record<string, Record<string, number>> = {
    "3 keys, rotation 1": { 0: 2, 1: 1 },
    "3 keys, rotation 2": { 0: 3, 1: 1, 2: 2 },
    "3 keys, rotation 3": { 0: 4, 2: 2, 3: 3 },
    "3 keys, rotation 7": { 0: 8, 6: 6, 7: 7 },
    "5 keys, rotation 1": { 0: 2, 1: 1 },
    "5 keys, rotation 3": { 0: 4, 1: 1, 2: 2, 3: 3 },
    "5 keys, rotation 4": { 0: 5, 1: 1, 2: 2, 3: 3, 4: 4 },
    "5 keys, rotation 5": { 0: 6, 2: 2, 3: 3, 4: 4, 5: 5 },
    "5 keys, rotation 7": { 0: 8, 4: 4, 5: 5, 6: 6, 7: 7 },
  };
  for (const [title, layout] of Object.entries(recorded)) {
    const [, keys, rotation] = /^(\d) keys, rotation (\d)$/.exec(title)!;
    t.deepEqual(
      keyRepository("keystone-fernet", Number(rotation), Number(keys)),
      Object.entries(layout).map(([file, made]) => ({ file, secret: `keystone-fernet-${made}` })),
      title,
    );
  }
});

test("property: the staged key is the next primary one, and tokens outlive maxActiveKeys - 2 rotations", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 3, max: 20 }),
      (rotation, max) => {
        const at = (r: number) => keyRepository("k", r, max);
        const primary = (files: ReturnType<typeof at>) =>
          files.reduce((a, b) => (Number(a.file) > Number(b.file) ? a : b)).secret;
        const has = (r: number, secret: string) => at(r).some((file) => file.secret === secret);
        return (
          primary(at(rotation + 1)) === at(rotation).find(({ file }) => file === "0")!.secret &&
          at(rotation).length <= max &&
          has(rotation + max - 2, primary(at(rotation))) &&
          !has(rotation + max - 1, primary(at(rotation)))
        );
      },
    ),
  );
  t.pass();
});

// ---- SSH keys -------------------------------------------------------------------------------------------------

test("ssh-keygen reads the private key, finds the same public key, and signs with it", (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "openstack-ha-"));
  t.teardown(() => {
    rmSync(folder, { recursive: true });
  });
  const run = (args: string[], input = ""): string =>
    execFileSync("ssh-keygen", args, { encoding: "utf8", input, stdio: "pipe" });
  // The padding's length follows from the comment's: seven names take every case.
  for (const name of [
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "abcdef",
    "ssh-deployer",
    "ssh-host-ctl1",
  ]) {
    const pair = sshKeyPair({ ...key, name });
    const file = path.join(folder, name);
    writeFileSync(file, pair.privateKey, { mode: 0o600 });
    t.is(run(["-y", "-f", file]), `${pair.publicKey} ${name}@dev\n`);

    const signature = run(["-Y", "sign", "-f", file, "-n", "test"], "text");
    writeFileSync(`${file}.sig`, signature);
    writeFileSync(`${file}.allowed`, `me ${pair.publicKey}\n`);
    t.notThrows(() =>
      run(
        ["-Y", "verify", "-f", `${file}.allowed`, "-I", "me", "-n", "test", "-s", `${file}.sig`],
        "text",
      ),
    );
  }
});

test("a key pair is the same each time, and another for each version", (t) => {
  t.deepEqual(sshKeyPair(key), sshKeyPair({ ...key }));
  t.not(sshKeyPair(key).publicKey, sshKeyPair({ ...key, version: 2 }).publicKey);
  t.regex(sshKeyPair(key).publicKey, /^ssh-ed25519 [A-Za-z0-9+/]{68}$/);
});

// ---- The catalogue --------------------------------------------------------------------------------------------

test("every secret says what it is and who needs it", (t) => {
  for (const [name, entry] of Object.entries<SecretEntry>(secretCatalogue)) {
    t.regex(name, /^[a-z][a-z0-9-]*[a-z]$/);
    t.true(entry.meaning.length > 10, name);
    t.true(entry.neededBy.length > 0, name);
  }
  t.deepEqual(Object.keys(secretCatalogue), Object.keys(secretCatalogue).sort(), "sorted by name");
});

test("what can be rotated and what can be set by hand", (t) => {
  const rotatable = rotatableNames(["ctl1", "cmp1"]);
  const kinds = Object.entries<SecretEntry>(secretCatalogue);
  t.deepEqual(
    rotatable,
    [
      ...kinds.filter(([, { per, of }]) => !per && !of).map(([name]) => name),
      "bmc-cmp1",
      "bmc-ctl1",
      "ssh-host-cmp1",
      "ssh-host-ctl1",
    ].sort(),
  );
  // The public half goes with its pair, and token keys have a number of their own.
  t.false(rotatable.some((name) => /^(ssh-known|keystone-fernet|keystone-credential)/.test(name)));
  const overridable = overridableNames(["ctl1"]);
  t.deepEqual(overridable, [
    "bmc-ctl1",
    ...kinds.filter(([, { kind, per }]) => kind === "password" && !per).map(([name]) => name),
  ]);
  t.true(overridable.length >= 18);
});

test("every service that has an account in Keystone or in the database has a password of its own for each", (t) => {
  for (const name of ["cinder", "glance", "neutron", "nova", "placement"]) {
    for (const each of [name, `${name}-db`] as SecretName[]) {
      t.is((secretCatalogue as Record<string, SecretEntry>)[each]?.kind, "password", each);
    }
  }
  const secrets = plainSecrets(cloudWith(), SEED);
  t.not(secrets.get("nova"), secrets.get("nova-db"));
});

test("daemons with limits get what fits", async (t) => {
  const secrets = new Secrets(cloudWith(), inputs());
  t.true((await inside(secrets.value("corosync-authkey"))).length >= 128);
  t.is((await inside(secrets.value("pacemaker-bmc"))).length, 16);
});

// ---- The secrets of a cloud -----------------------------------------------------------------------------------

test.serial(
  "every value is known in a preview with a seed, secret, and unlike every other",
  async (t) => {
    const secrets = new Secrets(cloudWith(), inputs());
    const seen = new Map<string, string>();
    for (const name of secrets.names()) {
      const output = secrets.value(name);
      t.true(await pulumi.isSecret(output), name);
      t.true(await isKnown(output), name);
      const value = await inside(output);
      t.is(seen.get(value), undefined, name);
      seen.set(value, name);
    }
    t.true(await pulumi.isSecret(secrets.publicKey("ssh-deployer")));
    t.deepEqual(
      secrets.names().filter((name) => name.startsWith("ssh-host-")),
      ["cmp1", "ctl1", "ctl2", "ctl3", "net1"].map((host) => `ssh-host-${host}`),
    );
  },
);

test.serial("a key pair's halves belong together", async (t) => {
  const secrets = new Secrets(cloudWith(), inputs());
  const pair = sshKeyPair({ ...key, name: "ssh-host-ctl1" });
  t.is(await inside(secrets.value("ssh-host-ctl1")), pair.privateKey);
  t.is(await inside(secrets.publicKey("ssh-host-ctl1")), pair.publicKey);
});

test.serial("what a host is known by is the public half of its key, in its version", async (t) => {
  for (const version of [1, 3]) {
    const secrets = new Secrets(
      cloudWith({ secretVersions: { "ssh-host-cmp1": version } }),
      inputs(),
    );
    const pair = sshKeyPair({ ...key, name: "ssh-host-cmp1", version });
    t.is(await inside(secrets.value("ssh-known-cmp1")), pair.publicKey);
    t.is(
      await inside(secrets.value("ssh-known-cmp1")),
      await inside(secrets.publicKey("ssh-host-cmp1")),
    );
    t.deepEqual(secrets.ref("ssh-known-cmp1"), { name: "ssh-known-cmp1", version });
    t.deepEqual(secrets.ref("ssh-known-ctl1"), { name: "ssh-known-ctl1", version: 1 });
  }
});

test.serial(
  "a search for leaked secrets looks for every secret, and for no public key",
  async (t) => {
    const cloud = cloudWith();
    const secrets = new Secrets(cloud, inputs());
    const plain = plainSecrets(cloud, SEED);
    t.deepEqual(
      [...plain.keys()],
      secrets.names().filter((name) => !name.startsWith("ssh-known-")),
    );
    for (const [name, value] of plain) t.is(value, await inside(secrets.value(name)), name);
  },
);

test.serial("names and versions are plain", (t) => {
  const secrets = new Secrets(
    cloudWith({ secretVersions: { "keystone-db": 2, "ssh-host-ctl1": 3 } }),
    inputs(),
  );
  t.deepEqual(secrets.ref("keystone-db"), { name: "keystone-db", version: 2 });
  t.deepEqual(secrets.ref("ssh-host-ctl1"), { name: "ssh-host-ctl1", version: 3 });
  t.deepEqual(secrets.ref("ssh-host-ctl2"), { name: "ssh-host-ctl2", version: 1 });
  t.deepEqual(secrets.ref("keystone-fernet-7"), { name: "keystone-fernet-7", version: 1 });
});

test.serial("a version changes its own secret and no other", async (t) => {
  const before = new Secrets(cloudWith(), inputs());
  const after = new Secrets(cloudWith({ secretVersions: { "keystone-db": 2 } }), inputs());
  for (const name of before.names()) {
    const same = (await inside(before.value(name))) === (await inside(after.value(name)));
    t.is(same, name !== "keystone-db", name);
  }
});

test.serial(
  "a version of a host's key changes both of its halves, and no other secret",
  async (t) => {
    const before = new Secrets(cloudWith(), inputs());
    const after = new Secrets(cloudWith({ secretVersions: { "ssh-host-cmp1": 2 } }), inputs());
    const changed: string[] = [];
    for (const name of before.names()) {
      if ((await inside(before.value(name))) !== (await inside(after.value(name))))
        changed.push(name);
    }
    t.deepEqual(changed, ["ssh-host-cmp1", "ssh-known-cmp1"]);
  },
);

test.serial(
  "a rotation of the token keys makes one key, and keeps the others as they are",
  async (t) => {
    const at = async (version: number) => {
      const secrets = new Secrets(cloudWith({ keystone: { fernet: { version } } }), inputs());
      const values = secrets
        .fernetRepository()
        .map(async ({ file, secret }) => [file, await inside(secrets.value(secret))]);
      return Object.fromEntries(await Promise.all(values)) as Record<string, string>;
    };
    const [four, five] = [await at(4), await at(5)];
    t.deepEqual(Object.keys(four), ["0", "3", "4"]);
    t.deepEqual(Object.keys(five), ["0", "4", "5"]);
    t.is(five["5"], four["0"]);
    t.is(five["4"], four["4"]);
    t.false(Object.values(four).includes(five["0"]!));
  },
);

test.serial("credential keys rotate by their version", (t) => {
  const secrets = new Secrets(
    cloudWith({ secretVersions: { "keystone-credential": 2 } }),
    inputs(),
  );
  t.deepEqual(secrets.credentialRepository(), [
    { file: "0", secret: "keystone-credential-3" },
    { file: "1", secret: "keystone-credential-1" },
    { file: "2", secret: "keystone-credential-2" },
  ]);
});

test.serial("a password set by hand is used, and is secret", async (t) => {
  const secrets = new Secrets(cloudWith(), inputs({ "keystone-db": "correct-horse-battery" }));
  t.is(await inside(secrets.value("keystone-db")), "correct-horse-battery");
  t.true(await pulumi.isSecret(secrets.value("keystone-db")));
  t.not(await inside(secrets.value("keystone-admin")), "correct-horse-battery");
});

test.serial("a secret that is not in the catalogue is a mistake of the program", (t) => {
  const secrets = new Secrets(cloudWith(), inputs());
  for (const name of [
    "keystone-dbs",
    "ssh-host",
    "ssh-host-ctl9",
    "ssh-known",
    "ssh-known-ctl9",
    "ceph-nova",
    "horizon-1",
    "keystone-fernet",
    "keystone-fernet-0",
    "keystone-fernet-x",
    "__proto__",
  ]) {
    t.throws(() => secrets.value(name), { message: /there is no secret/ }, name);
    t.throws(() => secrets.ref(name), { message: /there is no secret/ }, name);
  }
  for (const name of ["keystone-db", "ceph-admin", "ssh-known-ctl1"]) {
    t.throws(() => secrets.publicKey(name as never), { message: /not a key pair/ }, name);
  }
});

test.serial("without a seed, a preview goes on with unknown secrets", async (t) => {
  await runAs("preview", {});
  const secrets = new Secrets(cloudWith());
  for (const output of [
    secrets.value("keystone-db"),
    secrets.value("ssh-deployer"),
    secrets.value("ceph-admin"),
    secrets.value("ssh-known-cmp1"),
    secrets.publicKey("ssh-deployer"),
  ]) {
    t.false(await isKnown(output));
    t.true(await pulumi.isSecret(output));
    // What a component does with it does not run, and does not crash.
    t.false(await isKnown(output.apply((text) => text.length)));
  }
  t.deepEqual(secrets.ref("keystone-db"), { name: "keystone-db", version: 1 });
});

test.serial("without a seed, up is refused and says how to set one", async (t) => {
  await runAs("up", {});
  const error = t.throws(() => new Secrets(cloudWith()), { instanceOf: ConfigError });
  t.deepEqual(error.lines, [
    "openstack-ha:seed: is missing, and every password and key is derived from it; " +
      "set it: openssl rand -base64 48 | tools/cloud run pulumi config set --stack dev --secret --path openstack-ha:seed (npm run up does it)",
  ]);
});

test.serial("the stack's seed and overrides are read as secrets", async (t) => {
  await runAs("up", {
    "openstack-ha:seed": SEED,
    "openstack-ha:secrets": '{"keystone-db":"correct-horse-battery"}',
  });
  const { seed, overrides } = loadSecretInputs();
  t.true(await pulumi.isSecret(seed!));
  t.true(await pulumi.isSecret(overrides["keystone-db"]!));
  const secrets = new Secrets(cloudWith());
  t.is(await inside(secrets.value("keystone-db")), "correct-horse-battery");
  t.is(await inside(secrets.value("keystone-admin")), password({ ...key, name: "keystone-admin" }));
});

test("the key of the public VIP's certificate is one that openssl signs with", (t) => {
  const key = tlsKey({ seed: SEED, stack: "dev", name: "tls-public", version: 1 });
  t.is(key, tlsKey({ seed: SEED, stack: "dev", name: "tls-public", version: 1 }));
  t.not(key, tlsKey({ seed: SEED, stack: "dev", name: "tls-public", version: 2 }));
  const certificate = openssl(["req", "-x509", "-subj", "/CN=test"], key);
  const cloud = { ...cloudWith(), tls: { certificate, name: "test" } };
  t.notThrows(() => {
    checkPair(cloud, key);
  });
  const other = certificateKey(cloud, { seed: `${SEED}x` });
  const error = t.throws(() => {
    checkPair(cloud, other);
  });
  t.regex(
    error.message,
    /tls\.certificate: it is another key's than this stack's; .*npm run certificate/,
  );
  t.false(error.message.includes(key.split("\n")[1]!));
});
