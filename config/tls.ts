import { X509Certificate } from "node:crypto";
import { isIPv4 } from "node:net";
import type { Candidate, Report } from "./rules";

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** The certificates of a text in PEM, in their order. Throws where one of them is none. */
function certificatesOf(pem: string): X509Certificate[] {
  return [...pem.matchAll(CERTIFICATE)].map(([text]) => new X509Certificate(text));
}

/** Whether a certificate is for a name, or an address. */
function isFor(certificate: X509Certificate, name: string): boolean {
  const found = isIPv4(name) ? certificate.checkIP(name) : certificate.checkHost(name);
  return found !== undefined;
}

/**
 * The public VIP's certificate can be read and is for what clients call it. How long it lasts is not asked here: the answer
 * would change without a change of the stack; the policies ask.
 */
export function checkTls({ settings, texts }: Candidate, report: Report): void {
  const { tls, tlsPrivateKey, vips } = settings;
  if (tls === undefined) {
    if (tlsPrivateKey !== undefined)
      report(
        "tlsPrivateKey",
        "there is no certificate that it would be for",
        "set tls.certificate",
      );
    return;
  }
  const chain = read("tls.certificate", tls.certificate, texts, report);
  const [certificate] = chain;
  checkAuthority(tls, chain, texts, report);
  const name = tls.name ?? vips?.public;
  if (certificate === undefined || name === undefined || isFor(certificate, name)) return;
  report(
    "tls.certificate",
    `${tls.certificate} is not for ${name}, but for ${certificate.subjectAltName ?? "nobody"}`,
    tls.name === undefined
      ? "set tls.name to what people call the public VIP, or have one made for the address vips.public"
      : "set tls.name to one of these, or have another certificate made: npm run certificate",
  );
}

/** Clients trust what `authority` vouches for; without it, what their machines trust, which a certificate of its own is not. */
function checkAuthority(
  tls: NonNullable<Candidate["settings"]["tls"]>,
  chain: readonly X509Certificate[],
  texts: Candidate["texts"],
  report: Report,
): void {
  const last = chain.at(-1);
  if (tls.authority === undefined) {
    if (last && chain.length === 1 && isIssuedBy(last, last))
      report(
        "tls.authority",
        `is missing, and ${tls.certificate} is signed by itself, so that no client would trust it`,
        `set it to ${tls.certificate}, too`,
      );
    return;
  }
  const authorities = read("tls.authority", tls.authority, texts, report);
  if (!last || !authorities.length) return;
  if (chain.some((each) => authorities.some((authority) => isIssuedBy(each, authority)))) return;
  report(
    "tls.authority",
    `${tls.authority} did not sign ${tls.certificate}, which is by ${issuerOf(last)}`,
    "name the file of who signed it; leave it out if every machine trusts them",
  );
}

function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function issuerOf({ issuer }: X509Certificate): string {
  return issuer.split("\n").join(", ");
}

/** The certificates of a file; none where it is refused. */
function read(
  option: string,
  file: string,
  texts: Candidate["texts"],
  report: Report,
): readonly X509Certificate[] {
  const text = texts[file];
  if (text === undefined) {
    report(
      option,
      `${file} is not there`,
      "name a file in PEM, by its path from the project's folder",
    );
    return [];
  }
  if (text.includes("PRIVATE KEY-----")) {
    report(
      option,
      `${file} has a private key in it, which would be in the plan for all to read`,
      "keep only certificates in it, and count the key as known; a new one goes into the secret tlsPrivateKey",
    );
    return [];
  }
  try {
    const found = certificatesOf(text);
    if (found.length) return found;
    report(option, `${file} has no certificate in it`, "use a file in PEM");
  } catch (error) {
    report(option, `${file} cannot be read (${(error as Error).message})`, "use a file in PEM");
  }
  return [];
}
