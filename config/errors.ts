import * as pulumi from "@pulumi/pulumi";
import type { Names } from "./cloud";

/** One thing wrong with the configuration: where, what was found, and what to do about it. */
export interface Mistake {
  /** Path inside the project's namespace, such as `hosts[1].id`. */
  readonly path: string;
  readonly what: string;
  readonly fix: string;
  /** Although `hosts` and `inventory` are in a file of their own. */
  readonly inStack?: boolean;
}

/**
 * The configuration cannot be used. Lists every mistake, one a line, as
 * `openstack-ha:hosts[1].id: 11 is already used by host ctl1; give every host its own id`.
 *
 * A `RunError`, because that is the class that Pulumi prints without a stack.
 */
export class ConfigError extends pulumi.RunError {
  readonly mistakes: readonly Mistake[];
  /** The mistakes as lines of text. */
  readonly lines: readonly string[];

  /** @param file Where `hosts` and the options of `inventory` are written, if not in the stack's file. */
  constructor(names: Names, mistakes: readonly Mistake[], file?: string) {
    const lines = mistakes.map(
      (mistake) => `${placeOf(mistake, names.project, file)}: ${mistake.what}; ${mistake.fix}`,
    );
    const count = mistakes.length === 1 ? "a mistake" : `${mistakes.length} mistakes`;
    super([`the configuration of stack ${names.stack} has ${count}:`, ...lines].join("\n"));
    this.name = "ConfigError";
    this.mistakes = mistakes;
    this.lines = lines;
  }
}

/** The key as a person finds it: `openstack-ha:vips.public`, or `inventory/production.yaml: hosts[1].id`. */
export function placeOf(
  { path, inStack }: Pick<Mistake, "path" | "inStack">,
  project: string,
  file?: string,
): string {
  const own = /^(?:inventory\.(?!file$)|(?=hosts\b))/.exec(path);
  return file !== undefined && own && !inStack
    ? `${file}: ${path.slice(own[0].length)}`
    : `${project}:${path}`;
}

/** The command that sets a secret; it asks for the value. */
export function setSecret({ project, stack }: Names, path: string): string {
  return `tools/cloud run pulumi config set --stack ${stack} --secret --path ${project}:${path}`;
}

/** The command that makes a seed. */
export function setSeed(names: Names): string {
  return `openssl rand -base64 48 | ${setSecret(names, "seed")}`;
}

/** Secrets that stand in clear text: `seed`, `secrets.NAME`. */
export function exposed(names: Names, paths: readonly string[]): ConfigError {
  return new ConfigError(
    names,
    paths.map((path) => ({
      path,
      what: "it is stored in clear text, and counts as known to anyone who saw the file",
      fix:
        path === "seed"
          ? `make a new one: ${setSeed(names)}`
          : `set a new one: ${setSecret(names, path)}`,
    })),
  );
}

/** `hosts[1].id` from `["hosts", 1, "id"]`. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") {
      return `${text}[${part}]`;
    }
    return text === "" ? String(part) : `${text}.${String(part)}`;
  }, "");
}

/** The candidate that `word` is most likely a misspelling of, if any is near enough. */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  // One slip for each three letters: short words are near to everything.
  const limit = Math.ceil(word.length / 3);
  const ranked = candidates
    .map((candidate) => ({
      candidate,
      distance: editDistance(word.toLowerCase(), candidate.toLowerCase()),
    }))
    .filter(({ distance }) => distance <= limit)
    .sort((a, b) => a.distance - b.distance);
  return ranked[0]?.candidate;
}

/** A fix for a word that is not among the `candidates`. */
export function chooseAmong(word: string, candidates: readonly string[]): string {
  const near = didYouMean(word, candidates);
  return near === undefined ? `choose from ${candidates.join(", ")}` : `did you mean ${near}?`;
}

/** Levenshtein's distance, a swap of neighbours counting once. */
function editDistance(a: string, b: string): number {
  const rows = [[...Array(b.length + 1).keys()]];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let best = Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (same ? 0 : 1),
      );
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        best = Math.min(best, rows[i - 2]![j - 2]! + 1);
      }
      row.push(best);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
