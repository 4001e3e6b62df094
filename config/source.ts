import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import type { Names } from "./cloud";
import { ConfigError, didYouMean, type Mistake } from "./errors";

/** Where there are no hosts to judge. */
export const UNREADABLE = "inventory.file";
const NAME_ONE = "name a file with the hosts, by its path from the project's folder";

/** A stack's options, with those of the YAML file that it names for its hosts. */
export interface Source {
  readonly raw: Readonly<Record<string, unknown>>;
  /** Where `hosts` and the options of `inventory` are written, if not in the stack's file. */
  readonly file?: string;
  /** Texts of other files that options name, by path; those that can be read. */
  readonly texts?: Readonly<Record<string, string>>;
  readonly mistakes: readonly Mistake[];
}

/** Of a secret option as it is written, what is not encrypted: an option, or the names in a map. */
export function clearParts(value: unknown, path: string): string[] {
  if (value === undefined || value === null) return [];
  if (typeof value !== "object") return [path];
  if ("secure" in value) return [];
  return Object.entries(value).flatMap(([name, part]) => clearParts(part, `${path}.${name}`));
}

/** A namespace of Pulumi's own that looks like a slip of the project's. */
const PROVIDER = "openstack";

/**
 * The options of the project's namespace, by name.
 *
 * @throws ConfigError naming the keys whose namespace is a misspelling of it: an option under another name would be none.
 */
export function ownOptions(
  all: Readonly<Record<string, unknown>>,
  names: Names,
): Record<string, unknown> {
  const { project } = names;
  const split = Object.entries(all).map(([key, value]) => {
    const [, namespace = "", name = ""] = /^([^:]*):(.*)$/.exec(key) ?? [];
    return { key, namespace, name, value };
  });
  const misspelt = split.filter(
    ({ namespace }) =>
      namespace !== project && namespace !== PROVIDER && didYouMean(namespace, [project]),
  );
  if (misspelt.length > 0) {
    throw new ConfigError(
      names,
      misspelt.map(({ key, name }) => ({
        path: name,
        what: `it is written as ${key}`,
        fix: `write it with the namespace ${project}`,
      })),
    );
  }
  return Object.fromEntries(
    split.filter(({ namespace }) => namespace === project).map(({ name, value }) => [name, value]),
  );
}

/**
 * The options with what the files hold that they name.
 *
 * @param folder The project's: paths are from there.
 */
export function withFiles(raw: Readonly<Record<string, unknown>>, folder = process.cwd()): Source {
  return { ...withInventoryFile(raw, folder), texts: certificates(raw, folder) };
}

/** What cannot be read is named by the rules, as missing. */
function certificates(
  { tls }: Readonly<Record<string, unknown>>,
  folder: string,
): Record<string, string> {
  if (!isMap(tls)) return {};
  const paths = [tls.certificate, tls.authority].filter((value) => typeof value === "string");
  return Object.fromEntries(
    paths.flatMap((name) => {
      try {
        return [[name, fs.readFileSync(path.join(folder, name), "utf8")]];
      } catch {
        return [];
      }
    }),
  );
}

function withInventoryFile(raw: Readonly<Record<string, unknown>>, folder: string): Source {
  const { inventory } = raw;
  const file = raw.backend === "inventory" && isMap(inventory) ? inventory.file : undefined;
  // Its form is the schema's to judge.
  if (typeof file !== "string" || !/\.ya?ml$/.test(file)) return { raw, mistakes: [] };
  const read = readMap(path.join(folder, file));
  if (read instanceof Refusal) {
    return { raw, mistakes: [{ path: UNREADABLE, what: `${file} ${read.what}`, fix: read.fix }] };
  }
  const { hosts, ...rest } = read;
  const twice = [
    ...("hosts" in raw ? ["hosts"] : []),
    ...Object.keys(inventory as object)
      .filter((key) => key !== "file")
      .map((key) => `inventory.${key}`),
  ];
  return {
    raw: { ...raw, hosts, inventory: { ...rest, file } },
    file,
    mistakes: twice.map((key) => ({
      path: key,
      what: `inventory.file is set, and ${file} decides over it`,
      fix: "move it there",
      inStack: true,
    })),
  };
}

/** Why a file is not used. */
class Refusal {
  constructor(
    readonly what: string,
    readonly fix: string,
  ) {}
}

function readMap(file: string): Record<string, unknown> | Refusal {
  try {
    const value: unknown = parse(fs.readFileSync(file, "utf8"));
    return isMap(value) ? value : new Refusal("has no options in it", NAME_ONE);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return new Refusal("is not there", NAME_ONE);
    const [line = ""] = message.split("\n");
    return new Refusal(`cannot be read (${line.replace(/:$/, "")})`, "mend it");
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
