import { hostOfMember, MEMBER } from "../../components/hosts/members";
import { CERTIFICATE, type Plan } from "../plan";
import { readIni } from "../readers";
import type { Rule } from "../rule";

/** What a lab may leave out. A stack that has no lab in it is held to these. */

const ENDPOINT = "openstack:identity/endpointV3:EndpointV3";
/** As long before its end as Let's Encrypt advises to renew one of theirs, which last three months. */
const ENOUGH_DAYS = 30;
const DAY_MS = 24 * 3600 * 1000;
/** Keystone's own. */
const HASH_ROUNDS = 12;

function outside(find: Rule["find"]): Rule["find"] {
  return (plan) => (plan.isLab ? [] : find(plan));
}

const now = (): number => Date.now();
const day = (time: number): string => new Date(time).toISOString().slice(0, 10);
const isTls = (url: unknown): boolean => typeof url !== "string" || url.startsWith("https://");

/** The one of the public VIP, once: it is the same on each controller. */
function certificates(plan: Plan) {
  const certificate = plan.certificate();
  if (certificate === undefined) return [];
  const { host, step } = plan.file(CERTIFICATE)[0]!;
  const [from, until] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  return [{ where: `the certificate in ${CERTIFICATE}`, host, at: step.resource, from, until }];
}

/** Hosts that keep what cannot be computed again. */
function hostsWithData(plan: Plan): readonly string[] {
  return ["mariadb", "ceph"].flatMap((service) => plan.hostsOf(service));
}

export const production: readonly Rule[] = [
  {
    name: "tls-outside-the-lab",
    severity: "mandatory",
    demand: "Outside the lab the public APIs are offered by TLS.",
    reason: "Passwords and tokens cross the network in clear.",
    fix: "set tls.certificate (npm run certificate asks for one)",
    find: outside((plan) => {
      const clear = plan
        .ofType(ENDPOINT)
        .filter(({ props }) => props.interface === "public" && !isTls(props.url));
      return clear.length === 0
        ? []
        : [
            {
              where: `${clear.length} public endpoints`,
              wanted: "https",
              found: String(clear[0]!.props.url),
              at: clear[0],
            },
          ];
    }),
  },
  {
    name: "certificate-in-date",
    severity: "mandatory",
    demand: "The certificate of the public APIs is valid today.",
    reason: "Clients refuse it, and with it the cloud.",
    fix: "have another one made (npm run certificate) and put it where tls.certificate says",
    find: (plan) =>
      certificates(plan)
        .filter(({ from, until }) => from > now() || until < now())
        .map(({ from, until, ...where }) => ({
          ...where,
          wanted: "today in it",
          found: `${day(from)} to ${day(until)}`,
        })),
  },
  {
    name: "certificate-lasts",
    severity: "advisory",
    demand: `The certificate of the public APIs is valid for ${ENOUGH_DAYS} days more.`,
    reason: "Who renews it on its last day has no time for what goes wrong.",
    fix: "have another one made (npm run certificate) and put it where tls.certificate says",
    find: (plan) =>
      certificates(plan)
        .filter(({ until }) => until >= now() && until < now() + ENOUGH_DAYS * DAY_MS)
        .map(({ from: _, until, ...where }) => ({
          ...where,
          wanted: `${ENOUGH_DAYS} days`,
          found: `until ${day(until)}`,
        })),
  },
  {
    name: "data-protected-outside-the-lab",
    severity: "mandatory",
    demand: "Outside the lab a host with data is protected from deletion.",
    reason: "A host that is renamed by mistake would be deleted with its disks.",
    fix: "set protect on what stands for the host (components/hosts/members.ts)",
    find: outside((plan) =>
      plan
        .ofType(MEMBER)
        .filter(({ name, protect }) => !protect && hostsWithData(plan).includes(hostOfMember(name)))
        .map((member) => ({
          where: member.name,
          wanted: `protect, for the data of ${hostOfMember(member.name)}`,
          found: "none",
          at: member,
        })),
    ),
  },
  {
    name: "hashes-outside-the-lab",
    severity: "mandatory",
    demand: `Outside the lab checking a password costs ${HASH_ROUNDS} rounds or more.`,
    reason: "A stolen database gives the passwords away sixteen times as fast with eight.",
    fix: "leave out keystone.passwordHashRounds",
    find: outside((plan) =>
      plan.file("/etc/keystone/keystone.conf").flatMap(({ content, host, step }) => {
        const found = readIni(content).get("identity")?.get("password_hash_rounds");
        return Number(found ?? HASH_ROUNDS) >= HASH_ROUNDS
          ? []
          : [
              {
                where: "password_hash_rounds of Keystone",
                host,
                wanted: `${HASH_ROUNDS} or more`,
                found: found!,
                at: step.resource,
              },
            ];
      }),
    ),
  },
  {
    name: "passphrase-outside-the-lab",
    severity: "advisory",
    demand: "Outside the lab the stack's secrets are encrypted with a key that somebody keeps.",
    reason:
      "The passphrase that tools/env makes is on one machine; who loses it has lost the cloud's passwords.",
    fix: "move ~/.local/state/openstack-ha/passphrase to where it is backed up and set PULUMI_CONFIG_PASSPHRASE_FILE to it, or use a key service (tools/cloud run pulumi stack change-secrets-provider)",
    find: outside(({ passphrase }) =>
      passphrase === "own"
        ? []
        : [{ where: "the stack's passphrase", wanted: "one of its owner's", found: passphrase }],
    ),
  },
];
