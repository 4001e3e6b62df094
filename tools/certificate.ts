import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { isIPv4 } from "node:net";
import * as os from "node:os";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { parseSource, setSeed } from "../config";
import { program } from "./program";
import { PROJECT, ROOT, stackSecrets, stackSource } from "./stack";
import { certificateKey } from "./valid-config";

const USAGE = `npm run certificate: for the stack's own key, which is derived from its seed or is the secret tlsPrivateKey

  npm run certificate -- --request          a request for a certificate (PKCS #10), for an authority to sign
  npm run certificate -- --self-signed FILE  a certificate that vouches for itself, for a lab: FILE, from the project's folder

Both are for tls.name, or the public VIP; --name NAME, as often as there are names, says others. The stack is $STACK, by default
dev.`;

/** Days of one that vouches for itself: a lab's. Two years and a bit, the most that browsers take of a private one (825). */
const DAYS = "825";

function main(): void {
  const { name, request, "self-signed": file } = options();
  if (!request && file === undefined) throw new Error(USAGE);
  if (file !== undefined && path.relative(ROOT, path.resolve(ROOT, file)).startsWith("..")) {
    throw new Error(
      `--self-signed ${file}: wanted a file in the project's folder, where tls.certificate can name it`,
    );
  }
  const stack = process.env.STACK ?? "dev";
  const { key, subject } = wanted(stack, name);
  if (file === undefined) {
    process.stdout.write(openssl(["req", "-new", ...subject], key));
    return;
  }
  const certificate = openssl(["req", "-x509", "-days", DAYS, ...subject], key);
  const target = path.resolve(ROOT, file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(`${target}.new`, certificate);
  fs.renameSync(`${target}.new`, target);
  console.log(
    `wrote ${file}; take it by: tools/cloud run pulumi config set --stack ${stack} --path openstack-ha:tls.certificate ${file}, and the same for tls.authority`,
  );
}

function options() {
  try {
    return parseArgs({
      options: {
        name: { type: "string", multiple: true },
        request: { type: "boolean" },
        "self-signed": { type: "string" },
      },
    }).values;
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`, { cause: error });
  }
}

function wanted(
  stack: string,
  named: readonly string[] | undefined,
): { key: string; subject: string[] } {
  const source = stackSource(stack);
  // What is asked for cannot be there yet.
  const { tls, ...raw } = source.raw as { readonly tls?: { readonly name?: string } };
  const cloud = parseSource({ ...source, raw }, { project: PROJECT, stack });
  const key = certificateKey(cloud, stackSecrets(stack));
  if (key === undefined) {
    throw new Error(
      `the stack ${stack} has no seed yet, which its key is derived from; make one: ${setSeed({ project: PROJECT, stack })}`,
    );
  }
  const names = named ?? [tls?.name ?? cloud.vips.public];
  const alternatives = names.map((name) => `${isIPv4(name) ? "IP" : "DNS"}:${name}`).join(",");
  return {
    key,
    subject: ["-subj", `/CN=${names[0]}`, "-addext", `subjectAltName=${alternatives}`],
  };
}

/** The key is in no command line, and in a file only as long as this takes: openssl opens no socket, which Node's pipes are. */
export function openssl(args: readonly string[], key: string): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-certificate-"));
  const file = path.join(folder, "key.pem");
  try {
    fs.writeFileSync(file, key, { mode: 0o600 });
    const done = spawnSync("openssl", [...args, "-key", file], { encoding: "utf8" });
    if (done.status === 0) return done.stdout;
    throw new Error(
      `wanted a certificate of openssl, found: ${done.error?.message ?? done.stderr.trim()}`,
    );
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

if (require.main === module) program(main);
