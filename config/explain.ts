import type { z } from "zod";
import { chooseAmong, didYouMean, formatPath, type Mistake } from "./errors";
import { isSecretOption, type JsonSchema } from "./schema";

/** Says in plain words what the schema found wrong: one mistake for each thing a person has to change. */
export function explain(
  issues: readonly z.core.$ZodIssue[],
  schema: JsonSchema,
  raw: unknown,
): Mistake[] {
  const misspelt = new Set<string>();
  for (const issue of issues) {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys) {
        const meant = didYouMean(key, keysOf(schemaAt(schema, issue.path)));
        if (meant !== undefined) {
          misspelt.add(formatPath([...issue.path, meant]));
        }
      }
    }
  }
  return (
    issues
      .flatMap((issue) => mistakesOf(issue, schema, raw))
      // A misspelt option is also a missing one; that is the same mistake.
      .filter(({ path, what }) => !(what === MISSING && misspelt.has(path)))
  );
}

const MISSING = "is missing";

function mistakesOf(issue: z.core.$ZodIssue, schema: JsonSchema, raw: unknown): Mistake[] {
  if (issue.code === "unrecognized_keys") {
    const known = keysOf(schemaAt(schema, issue.path));
    return issue.keys.map((key) => ({
      path: formatPath([...issue.path, key]),
      what: "there is no such option",
      fix: chooseAmong(key, known),
    }));
  }

  const path = formatPath(issue.path);
  const node = schemaAt(schema, issue.path);
  // Secrets are named, never shown.
  const isSecret = isSecretOption(String(issue.path[0]));
  const value = valueAt(raw, issue.path);
  const shown = isSecret ? "the value" : JSON.stringify(value);

  // The schema's own words, where it has some.
  const split = issue.message.lastIndexOf("; ");
  if (split >= 0) {
    return [{ path, what: issue.message.slice(0, split), fix: issue.message.slice(split + 2) }];
  }
  if (value === undefined) {
    return [{ path, what: MISSING, fix: `add it${suchAs(node)}` }];
  }
  switch (issue.code) {
    case "invalid_type":
      return [
        {
          path,
          what: `${shown} is not ${kindOf(issue.expected)}`,
          fix: typeFix(issue.expected, value, node),
        },
      ];
    case "invalid_value": {
      const options = issue.values.map(String);
      return [
        {
          path,
          what: `${shown} is not a valid value`,
          fix: chooseAmong(typeof value === "string" ? value : "", options),
        },
      ];
    }
    case "too_small":
    case "too_big":
      return [{ path, ...sizeMistake(issue, shown, node) }];
    default:
      return [
        {
          path,
          what: `${shown} is not right (${issue.message})`,
          fix: `see config.schema.json${suchAs(node)}`,
        },
      ];
  }
}

function sizeMistake(
  issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig,
  shown: string,
  node: JsonSchema | undefined,
): Omit<Mistake, "path"> {
  const small = issue.code === "too_small";
  if (issue.origin === "string") {
    return small
      ? { what: `${shown} is too short`, fix: `use at least ${String(issue.minimum)} characters` }
      : { what: `${shown} is too long`, fix: `use at most ${String(issue.maximum)} characters` };
  }
  if (issue.origin === "array") {
    const least = Number(issue.code === "too_small" ? issue.minimum : 1);
    return least > 1
      ? { what: "the list is too short", fix: `name at least ${least}` }
      : { what: "the list is empty", fix: "name at least one" };
  }
  return {
    what: `${shown} is too ${small ? "small" : "large"}`,
    fix: `use ${String(node?.minimum)} to ${String(node?.maximum)}`,
  };
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map of options",
  record: "a map of names to values",
};

function kindOf(expected: string): string {
  return KINDS[expected] ?? `of type ${expected}`;
}

function typeFix(expected: string, value: unknown, node: JsonSchema | undefined): string {
  switch (expected) {
    case "number":
    case "int":
      return typeof value === "string" && /^\d+$/.test(value)
        ? "write it without quotes"
        : `use a whole number from ${String(node?.minimum)} to ${String(node?.maximum)}`;
    case "boolean":
      return "write true or false, without quotes";
    case "string":
      return `write text${suchAs(node)}`;
    case "array":
      return `write a list${suchAs(node)}`;
    case "record":
      return "write names and values below it";
    default:
      return `write its options below it: ${keysOf(node).join(", ")}`;
  }
}

/** The schema's example, if it has one. */
function suchAs(node: JsonSchema | undefined): string {
  const example = node?.examples?.[0];
  return example === undefined ? "" : `, such as ${flow(example)}`;
}

/** A value as a person would write it on one line of YAML. */
function flow(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(flow).join(", ")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, inner]) => `${key}: ${flow(inner)}`);
    return `{ ${entries.join(", ")} }`;
  }
  return String(value);
}

function keysOf(node: JsonSchema | undefined): string[] {
  return Object.keys(node?.properties ?? {});
}

function schemaAt(schema: JsonSchema, path: readonly PropertyKey[]): JsonSchema | undefined {
  return path.reduce<JsonSchema | undefined>((node, part) => {
    if (typeof part === "number") {
      return node?.items;
    }
    const inner = node?.additionalProperties;
    return node?.properties?.[String(part)] ?? (typeof inner === "object" ? inner : undefined);
  }, schema);
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null
        ? (value as Record<PropertyKey, unknown>)[part]
        : undefined,
    raw,
  );
}
