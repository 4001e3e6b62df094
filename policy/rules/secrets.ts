import { RUNNER, withoutSudo } from "../../components/document";
import { findSecret } from "../../config/secret-names";
import type { Plan, Resource } from "../plan";
import type { Finding, Rule } from "../rule";

/** That secrets go one way, and are nowhere else. A message names a secret, and never shows it. */

/** Shortest part of a secret that is looked for, and shortest secret. Characters; chosen. */
const SHORTEST = 12;
const REFERENCE = /\$\{secret:([a-z0-9-]+)\}/g;

interface Stored {
  readonly value?: string;
  readonly version: number;
}

/** The secrets that each host is given, by name; none where they are not known yet. */
function stores(plan: Plan): { resource: Resource; host: string; store: Record<string, Stored> }[] {
  return plan.resources
    .filter(({ props }) => isStore(props))
    .filter(({ props }) => typeof props.stdin === "string")
    .map((resource) => ({
      resource,
      host: resource.name.replace(/^base-secrets-/, ""),
      store: JSON.parse(resource.props.stdin as string) as Record<string, Stored>,
    }));
}

function isStore({ create }: Resource["props"]): boolean {
  return withoutSudo(create) === `${RUNNER} --secrets`;
}

/** Parts of secret values that must be nowhere, with the names of the secrets. */
function tellTales(plan: Plan): ReadonlyMap<string, string> {
  const hosts = new Set(plan.hosts());
  const values = new Map<string, string>();
  for (const { store } of stores(plan)) {
    for (const [name, { value = "" }] of Object.entries(store)) {
      if (findSecret(name, hosts)?.kind === "ssh-public") continue;
      for (const line of value.split("\n")) {
        const part = line.replace(/=+$/, "");
        if (part.length >= SHORTEST && !part.startsWith("-----")) values.set(part, name);
      }
    }
  }
  return values;
}

/** What the engine knows to be secret, or has to be given in clear. */
function isChannel(resource: Resource, key: string): boolean {
  const { name, props, type } = resource;
  if (key === "connection") return true;
  if (key === "stdin") return isStore(props) || type === "command:local:Command";
  if (type === "pulumi:pulumi:Stack") return ["adminPassword", "sshPrivateKey"].includes(key);
  return key === "password" && (type.startsWith("openstack:") || name.endsWith("-provider"));
}

/** Every text in a value, also in the JSON that is in a text. */
function texts(value: unknown): string[] {
  if (typeof value === "string") {
    return value.startsWith("{") ? texts(parsed(value)) : [value];
  }
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(texts);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not the text itself, which would be taken for JSON again.
    return [` ${text}`];
  }
}

/** Words as long as a secret: of all that can be in one, and of letters and digits alone. */
function words(text: string): string[] {
  return [...(text.match(/[\w.~+/-]{12,}/g) ?? []), ...(text.match(/[A-Za-z0-9]{12,}/g) ?? [])];
}

/** An option that is a secret by its name, in the formats of this program's files, and its value. */
const SECRET_OPTION =
  /^\s*["']?((?:[\w.-]*(?:password|passwd|_pass|secret|secret_key))|key)["']?\s*[=:]\s*["']?([^\s"',][^\n]*)$/gim;
/** The password in a URL. */
const IN_URL = /:\/\/[^\s:/@]+:([^\s@/]+)@/g;

export const secrets: readonly Rule[] = [
  {
    name: "secret-nowhere-else",
    severity: "mandatory",
    demand:
      "No secret's value is in a document, a command, an environment or any other plain text of the plan.",
    reason: "Plain texts are in previews, in logs and in process lists.",
    fix: "name the secret as ${secret:NAME} in a file, or read it with secret_file in a script",
    find: (plan) => {
      const values = tellTales(plan);
      if (values.size === 0) return [];
      return plan.resources.flatMap((resource) =>
        Object.entries(resource.props)
          .filter(([key]) => !isChannel(resource, key))
          .flatMap(([key, value]) => {
            const found = new Set(
              texts(value)
                .flatMap(words)
                .flatMap((word) => values.get(word) ?? []),
            );
            return [...found].map((name) => ({
              where: `${key} of ${resource.name}`,
              wanted: "no secret",
              found: `the value of ${name}`,
              at: resource,
            }));
          }),
      );
    },
  },
  {
    name: "secret-by-reference",
    severity: "mandatory",
    demand: "An option that is a secret by its name has a reference to one, not a value.",
    reason:
      "A password that is written into the program is the same for every cloud, and known to all who read it.",
    fix: "add the secret to config/secret-names.ts and write ${secret:NAME}",
    find: (plan) =>
      plan
        .allFiles()
        .filter(({ path }) => path.startsWith("/etc/"))
        .flatMap(({ content, host, path, step }) =>
          [
            ...[...content.matchAll(SECRET_OPTION)].map(([, option, value]) => [option!, value!]),
            ...[...content.matchAll(IN_URL)].map(([, value]) => ["the password in a URL", value!]),
          ]
            .filter(([, value]) => !value!.startsWith("${secret:"))
            .map(([option]) => ({
              where: `${option!} in ${path}`,
              host,
              wanted: "${secret:NAME}",
              found: "a value",
              at: step.resource,
            })),
        ),
  },
  {
    name: "secret-is-on-its-host",
    severity: "mandatory",
    demand: "A host is given every secret that its steps name, in the version that they name.",
    reason: "The step would fail half-way, on a host that serves.",
    fix: "add the secret to the service in catalogue.ts",
    find: (plan) => {
      const byHost = new Map(stores(plan).map(({ host, store }) => [host, store]));
      return plan.steps.flatMap(
        ({ files = {}, host, resource, secrets: named = {} }): Finding[] => {
          const store = byHost.get(host);
          const inFiles = Object.values(files).flatMap(({ content }) =>
            [...content.matchAll(REFERENCE)].map(([, name]) => name!),
          );
          return [
            ...[...new Set(inFiles)]
              .filter((name) => !(name in named))
              .map((name) => ({
                where: `the document of ${resource.name}`,
                wanted: `${name} among its secrets`,
                found: "none",
                at: resource,
              })),
            ...Object.entries(named)
              .filter(([name, version]) => store !== undefined && store[name]?.version !== version)
              .map(([name, version]) => ({
                where: `the secrets of ${host}`,
                wanted: `${name} in version ${version} for ${resource.name}`,
                found: store?.[name] ? `version ${store[name].version}` : "none",
                at: resource,
              })),
          ];
        },
      );
    },
  },
  {
    name: "secret-strong",
    severity: "mandatory",
    demand: `A secret has ${SHORTEST} characters or more, and no other has the same value.`,
    reason: "Short ones are guessed; of two that are alike, each opens what the other guards.",
    fix: "leave it out of openstack-ha:secrets, so that it is derived from the seed; one that a device knows (a BMC) has to be changed there first",
    find: (plan) => {
      const names = new Map<string, string>();
      const seen = new Set<string>();
      return stores(plan).flatMap(({ resource, store }) =>
        Object.entries(store).flatMap(([name, { value }]): Finding[] => {
          if (value === undefined || seen.has(name)) return [];
          seen.add(name);
          const other = names.get(value);
          names.set(value, name);
          const place = { where: `the secret ${name}`, at: resource };
          return [
            ...(value.length < SHORTEST
              ? [{ ...place, wanted: `${SHORTEST} characters`, found: `${value.length}` }]
              : []),
            ...(other === undefined
              ? []
              : [{ ...place, wanted: "a value of its own", found: `that of ${other}` }]),
          ];
        }),
      );
    },
  },
  {
    name: "secret-file-closed",
    severity: "mandatory",
    demand: "A file with a secret in it is closed to other users of its host.",
    reason: "Any process on the host could read it.",
    fix: "give the file the mode 0640 or 0600, and the group that reads it",
    find: (plan) => {
      const hosts = new Set(plan.hosts());
      return (
        plan
          .allFiles()
          .filter(
            ({ content, mode = "0644" }) => content.includes("${secret:") && !mode.endsWith("0"),
          )
          // Public keys are no secrets, but travel with them.
          .filter(({ content }) =>
            [...content.matchAll(REFERENCE)].some(
              ([, name]) => findSecret(name!, hosts)?.kind !== "ssh-public",
            ),
          )
          .map(({ host, mode = "0644", path, step }) => ({
            where: `the mode of ${path}`,
            host,
            wanted: "nothing for others",
            found: mode,
            at: step.resource,
          }))
      );
    },
  },
];
