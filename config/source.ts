import * as fs from "node:fs";
import * as path from "node:path";
import { parse } from "yaml";
import type { Mistake } from "./errors";

/** Where there are no hosts to judge. */
export const UNREADABLE = "inventory.file";
const FIX = "name a file with the hosts, by its path from the project's folder";

/** A stack's options, with those of the YAML file that it names for its hosts. */
export interface Source {
  readonly raw: Readonly<Record<string, unknown>>;
  /** Where `hosts` and the options of `inventory` are written, if not in the stack's file. */
  readonly file?: string;
  /** Texts of other files that options name, by path; those that can be read. */
  readonly texts?: Readonly<Record<string, string>>;
  readonly mistakes: readonly Mistake[];
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
  if (typeof read === "string") {
    return { raw, mistakes: [{ path: UNREADABLE, what: `${file} ${read}`, fix: FIX }] };
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

function readMap(file: string): Record<string, unknown> | string {
  try {
    const value: unknown = parse(fs.readFileSync(file, "utf8"));
    return isMap(value) ? value : "has no options in it";
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? "is not there" : `cannot be read (${message.split("\n")[0] ?? ""})`;
  }
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
