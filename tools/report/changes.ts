import { stringify } from "yaml";
import type { StepDocument } from "../../components/document";
import { hostOfMember, MEMBER } from "../../components/hosts/members";
import {
  BLINDED,
  documentOf,
  nameOf,
  type Plan,
  type PlanStep,
  QUIET,
  type ResourceState,
  UNKNOWN,
} from "./plan";
import { type Diff, unifiedDiff } from "./text";

/** What a plan changes, resource by resource, in words and texts that can be compared. Pure. */

export interface Change {
  readonly op: string;
  readonly urn: string;
  readonly name: string;
  readonly type: string;
  /** The component that it is a part of: a service, `lab`, `registration`, `content`. */
  readonly component: string;
  /** Undefined for what is not on a host. */
  readonly host: string | undefined;
  /** A step's stage, or the resource's name without its host. */
  readonly what: string;
  readonly before: StepDocument | undefined;
  readonly after: StepDocument | undefined;
  readonly texts: readonly TextChange[];
  readonly secrets: readonly SecretChange[];
  /** Inputs that differ in a part that is secret. */
  readonly blinded: readonly string[];
  /** Inputs that are not known before `up`. */
  readonly unknown: readonly string[];
  readonly replaceReasons: readonly string[];
  /** Nothing is run when it is deleted: it goes with its host, or has nothing that undoes it. */
  readonly forgotten: boolean;
  readonly deletedWith: string | undefined;
}

export interface TextChange {
  /** `file /etc/hosts`, `script`, `parameter members` … */
  readonly label: string;
  readonly diff: Diff;
}

export interface SecretChange {
  readonly name: string;
  readonly from: number | undefined;
  readonly to: number | undefined;
}

const REPLACING = new Set(["create-replacement", "delete-replaced"]);

/** Every resource that is not the same, sorted by component, what it is, and host. */
export function changesOf(plan: Plan): Change[] {
  const replaced = new Set(plan.steps.filter(({ op }) => op === "replace").map(({ urn }) => urn));
  return (
    plan.steps
      .filter(({ op }) => !QUIET.has(op))
      // A replacement is three steps of the engine; with its own `replace` it is one line here.
      .filter(({ op, urn }) => !(REPLACING.has(op) && replaced.has(urn)))
      .map(changeOf)
      .sort((a, b) => compare(sortKey(a), sortKey(b)))
  );
}

const sortKey = (change: Change): string =>
  [change.component, change.what, change.host ?? "", change.op].join("\0");

export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function changeOf(step: PlanStep): Change {
  const { op, urn, oldState, newState } = step;
  const state = newState ?? oldState;
  const before = documentOf(oldState);
  const after = documentOf(newState);
  const name = nameOf(urn);
  const type = state?.type ?? urn.split("::").at(-2) ?? "";
  // A host itself is part of nothing but the stack.
  const component = type === MEMBER ? "host" : state?.parent ? nameOf(state.parent) : name;
  const document = after ?? before;
  const host = document?.step.host ?? hostOf(name, type);
  const reasons = step.diffReasons ?? [];
  const texts = textChanges(oldState, newState).filter(
    ({ label }) => op !== "create" || isWorthReading(label, type, name),
  );
  return {
    op,
    urn,
    name,
    type,
    component,
    host,
    what: document?.step.stage ?? whatOf(name, component, host),
    before,
    after,
    texts,
    secrets: op === "delete" ? [] : secretChanges(before, after),
    blinded: reasons.filter((reason) => isBlinded(newState?.inputs?.[reason])),
    unknown: unknownPaths(newState?.inputs ?? {}),
    replaceReasons: step.replaceReasons ?? [],
    forgotten: oldState?.inputs?.delete === undefined && type.startsWith("command:"),
    deletedWith: oldState?.deletedWith,
  };
}

/** Of what is no document: `base-runner-ctl1`, `lab-host-ctl1`, `libvirt-domain-ctl1`. */
function hostOf(name: string, type: string): string | undefined {
  if (type === MEMBER) return hostOfMember(name);
  if (!/^(?:command|libvirt):/.test(type)) return undefined;
  return /^(?:base-runner|base-secrets|lab-host|libvirt-(?:plan|domain|size|boot))-(.+)$/.exec(
    name,
  )?.[1];
}

function whatOf(name: string, component: string, host: string | undefined): string {
  const tail = host === undefined ? "" : `-${host}`;
  const whole = tail && name.endsWith(tail) ? name.slice(0, -tail.length) : name;
  return whole.startsWith(`${component}-`) ? whole.slice(component.length + 1) : whole;
}

function secretChanges(
  before: StepDocument | undefined,
  after: StepDocument | undefined,
): SecretChange[] {
  // What is new has no version to compare with.
  if (!before || !after) return [];
  const from = before.secrets ?? {};
  const to = after.secrets ?? {};
  return [...new Set([...Object.keys(from), ...Object.keys(to)])]
    .sort()
    .filter((name) => from[name] !== to[name])
    .map((name) => ({ name, from: from[name], to: to[name] }));
}

function textChanges(
  before: ResourceState | undefined,
  after: ResourceState | undefined,
): TextChange[] {
  // Nothing is done on a host for what is removed from the plan, so there is nothing to read.
  if (!after) return [];
  const old = textsOf(before);
  const now = textsOf(after);
  return [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((label) => {
    const diff = unifiedDiff(old.get(label) ?? "", now.get(label) ?? "");
    return diff ? [{ label, diff }] : [];
  });
}

/** Of what is new: its files, and what the lab and the cloud are told; not scripts, images and connections, which all have. */
function isWorthReading(label: string, type: string, name: string): boolean {
  if (!type.startsWith("command:")) return true;
  return (
    label.startsWith("file ") ||
    (label === "environment" && /^(?:lab-host|libvirt-plan)-/.test(name))
  );
}

/** All that a resource wants, as texts by what they are. */
export function textsOf(state: ResourceState | undefined): Map<string, string> {
  if (!state) return new Map();
  const document = documentOf(state);
  const inputs = Object.entries(state.inputs ?? {})
    .filter(([name]) => !name.startsWith("__") && !(document && name === "stdin"))
    .map(([name, value]): [string, string] => [name, yaml(readable(value))]);
  return new Map([...inputs, ...(document ? documentTexts(document) : [])]);
}

function documentTexts(document: StepDocument): [string, string][] {
  const files = Object.entries(document.files ?? {});
  return [
    ...files.map(([path, file]): [string, string] => [`file ${path}`, file.content]),
    ...files.map(([path, { content: _, ...attributes }]): [string, string] => [
      `attributes of ${path}`,
      Object.keys(attributes).length ? yaml(attributes) : "",
    ]),
    ...Object.entries(document.params ?? {}).map(([name, value]): [string, string] => [
      `parameter ${name}`,
      yaml(value),
    ]),
    ["directories", document.directories ? yaml(document.directories) : ""],
    ["files to remove", (document.absent ?? []).map((path) => `${path}\n`).join("")],
    ["seconds that it may take", yaml(document.step.timeout)],
    ["script", document.script ?? ""],
    ...unknownTexts(document),
  ];
}

/** Parts of a document that this report has no name for: shown, whatever they are. */
function unknownTexts(document: StepDocument): [string, string][] {
  const named = ["absent", "directories", "files", "params", "script", "secrets", "step"];
  return Object.entries(document)
    .filter(([key]) => !named.includes(key))
    .map(([key, value]): [string, string] => [key, yaml(value)]);
}

/** JSON in a text is read, at any depth: specs of the lab hold documents. */
function readable(value: unknown): unknown {
  if (value === UNKNOWN) return "(not known before up)";
  if (typeof value === "string" && /^\s*[{[]/.test(value)) {
    try {
      return readable(JSON.parse(value));
    } catch {
      return value;
    }
  }
  if (Array.isArray(value)) return value.map(readable);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, readable(each)]));
  }
  return value;
}

function yaml(value: unknown): string {
  if (typeof value === "string") return value.endsWith("\n") ? value : `${value}\n`;
  return value === undefined ? "" : stringify(value, { lineWidth: 0 });
}

function isBlinded(value: unknown): boolean {
  return JSON.stringify(value ?? null).includes(BLINDED);
}

function unknownPaths(value: unknown, path = ""): string[] {
  if (value === UNKNOWN) return [path];
  if (typeof value === "string" && value.includes(UNKNOWN)) return [path];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) =>
    unknownPaths(each, path === "" ? key : `${path}.${key}`),
  );
}
