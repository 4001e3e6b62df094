import { type Change, changesOf, compare, type SecretChange } from "./changes";
import { type Event, eventsOf } from "./events";
import { type Diagnostic, nameOf, type Plan } from "./plan";
import type { Verdict } from "./rules";
import { code, type Diff, fenced, html } from "./text";

/** A plan as a comment of a pull request: what is dangerous first, then what changes, within a limit. Pure. */

export interface ReportOptions {
  readonly stack: string;
  /** Bytes. Default 60,000: GitHub takes 65,536 characters, GitLab 1,000,000. */
  readonly limit?: number;
  /** Lines that say what was compared with what. */
  readonly notes?: readonly string[];
  /** Left out where nobody was asked. */
  readonly verdict?: Verdict;
}

const DEFAULT_LIMIT = 60_000;
/** Least that a report needs: its dangers, counts and groups. */
export const LEAST_LIMIT = 8_000;

/** How much is shown, from all to next to nothing; the first that fits is taken. Diffs go first. */
interface Detail {
  /** Lines of a diff; none: only how many were added and removed. */
  readonly lines: number;
  /** Names in a list of hosts. */
  readonly hosts: number;
  /** Entries of a list of groups, resources or messages. */
  readonly rows: number;
}

const DETAILS: readonly Detail[] = [
  ...[Infinity, 400, 200, 100, 50, 25, 12, 6, 0].map((lines) => ({
    lines,
    hosts: Infinity,
    rows: Infinity,
  })),
  { lines: 0, hosts: 12, rows: Infinity },
  ...[100, 40, 15, 5, 0].map((rows) => ({ lines: 0, hosts: 6, rows })),
  { lines: 0, hosts: 2, rows: 0 },
];

export function report(plan: Plan, options: ReportOptions): string {
  const { limit = DEFAULT_LIMIT } = options;
  const changes = changesOf(plan);
  const events = eventsOf(plan, changes);
  for (const detail of DETAILS) {
    const text = render(plan, changes, events, options, detail);
    if (Buffer.byteLength(text) <= limit) return text;
  }
  const least = DETAILS.at(-1) as Detail;
  return clipped(render(plan, changes, events, options, least), limit);
}

/** Whole lines from its beginning: where nothing else helps, what comes first is what matters most. */
function clipped(text: string, limit: number): string {
  const end = "\n\n**Cut: more does not fit into a comment.** See `pulumi preview --diff`.\n";
  const kept: string[] = [];
  let left = limit - Buffer.byteLength(end);
  for (const line of text.split("\n")) {
    left -= Buffer.byteLength(line) + 1;
    if (left < 0) break;
    kept.push(line);
  }
  return kept.join("\n") + end;
}

function render(
  plan: Plan,
  changes: readonly Change[],
  events: readonly Event[],
  { notes = [], stack, verdict }: ReportOptions,
  detail: Detail,
): string {
  return `${[
    heading(plan, changes, stack),
    ...notes.map((note) => `> ${note}`),
    dangers(events, changes, detail),
    ...(verdict === undefined ? [] : [rules(verdict, detail)]),
    problems(plan, detail),
    unknowns(changes, detail),
    changedText(changes, detail),
    resourceList(changes, detail),
    detail.lines < Infinity || detail.rows < Infinity ? cutNote(detail) : "",
  ]
    .filter(Boolean)
    .join("\n\n")}\n`;
}

// ---- The head ---------------------------------------------------------------------------------------------------

const COUNTED: readonly (readonly [word: string, matches: (op: string) => boolean])[] = [
  ["to replace", (op) => op.includes("replace")],
  ["to delete", (op) => op === "delete"],
  ["to update", (op) => op === "update"],
  ["to create", (op) => op === "create"],
];

function heading(plan: Plan, changes: readonly Change[], stack: string): string {
  const total = new Set(plan.steps.map(({ urn }) => urn)).size;
  const known = COUNTED.map(([word, matches]) => `${count(changes, matches)} ${word}`);
  const others = changes.filter(({ op }) => !COUNTED.some(([, matches]) => matches(op))).length;
  const hosts = hostsOf(changes);
  if (changes.length === 0) {
    return `## Preview of ${code(stack)}: nothing changes\n\nAll ${total} resources stay as they are.`;
  }
  return [
    `## Preview of ${code(stack)}: ${changes.length} of ${total} resources change`,
    `${[...known, ...(others ? [`${others} with another operation`] : [])].join(", ")}; on ${plural(hosts.length, "host")}.`,
  ].join("\n\n");
}

function count(changes: readonly Change[], matches: (op: string) => boolean): number {
  return changes.filter(({ op }) => matches(op)).length;
}

function hostsOf(changes: readonly Change[]): string[] {
  return [...new Set(changes.flatMap(({ host }) => host ?? []))].sort();
}

function plural(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

// ---- What somebody may notice -----------------------------------------------------------------------------------

function dangers(events: readonly Event[], changes: readonly Change[], detail: Detail): string {
  if (changes.length === 0) return "";
  const calls = events.some((event) => event.apiCallsMayFail)
    ? "**API calls can fail meanwhile**: see the last column."
    : "No API call fails for it.";
  if (events.length === 0) {
    return "### Nothing restarts, moves or is removed\n\nNo API call fails for it.";
  }
  return [
    "### What restarts, moves or is removed",
    calls,
    [
      "| # | what | hosts | who notices | API calls can fail |",
      "| --- | --- | --- | --- | --- |",
      ...merged(events).map((event) =>
        [
          "",
          String(event.order),
          `${event.destructive ? "**" : ""}${code(event.what)} ${event.how}${event.destructive ? "**" : ""}`,
          event.hosts
            ? `${hostList(event.hosts, detail)}${event.hosts.length > 1 ? (event.turns ? ", one after the other" : ", at once") : ""}`
            : "",
          html(event.notice),
          event.apiCallsMayFail ? "**yes**" : "no",
          "",
        ]
          .join(" | ")
          .trim(),
      ),
    ].join("\n"),
    "What has the same number may happen at the same time; of all that happens *one after the other*, one host's at a time.",
  ].join("\n\n");
}

/** Most rows of one kind: a plan can delete a thousand things, and the table has to stay. */
const MOST_ALIKE = 20;

/** More events of a kind than can be shown are one row that counts them. */
function merged(events: readonly Event[]): Event[] {
  const kinds = new Map<string, Event[]>();
  for (const event of events) {
    const key = JSON.stringify([event.how, event.notice, event.destructive]);
    kinds.set(key, [...(kinds.get(key) ?? []), event]);
  }
  return events.flatMap((event) => {
    const alike = kinds.get(JSON.stringify([event.how, event.notice, event.destructive])) ?? [];
    const place = alike.indexOf(event);
    if (alike.length <= MOST_ALIKE || place < MOST_ALIKE - 1) return [event];
    if (place > MOST_ALIKE - 1) return [];
    const rest = alike.slice(place);
    return [
      {
        ...event,
        what: `${rest.length} more such as ${event.what}`,
        apiCallsMayFail: rest.some((each) => each.apiCallsMayFail),
      },
    ];
  });
}

function hostList(hosts: readonly string[], { hosts: most }: Detail): string {
  const shown = hosts.slice(0, most).map(code).join(", ");
  return hosts.length > most ? `${shown} and ${hosts.length - most} more` : shown;
}

// ---- What the rules and the engine say ---------------------------------------------------------------------------

function rules({ broken, rules: asked }: Verdict, detail: Detail): string {
  const mandatory = broken.filter(({ severity }) => severity === "mandatory");
  const advisory = broken.filter(({ severity }) => severity === "advisory");
  if (broken.length === 0)
    return `All ${asked} rules of docs/policies.md are kept, as far as a plan without secrets shows.`;
  // What stops `up` is a danger: it stays.
  const listed = [...mandatory.slice(0, MOST_ALIKE), ...advisory.slice(0, detail.rows)];
  return [
    "### Rules that are broken",
    mandatory.length > 0
      ? `**\`up\` refuses this plan**: ${plural(mandatory.length, "violation")} of mandatory rules.`
      : "`up` goes on: these are advice.",
    [
      ...listed.map(
        ({ rule, severity, message }) =>
          `- ${severity === "mandatory" ? "**mandatory**" : severity} ${code(rule)}: ${code(short(message))}`,
      ),
      ...rest(broken.length - listed.length, "violation"),
    ].join("\n"),
  ].join("\n\n");
}

function problems({ diagnostics = [] }: Plan, detail: Detail): string {
  const shown = diagnostics.filter(
    // The upstream provider says this to everyone who does not use load balancers.
    ({ severity, message }) => severity !== "debug" && !message.includes("neutron-lbaas"),
  );
  if (shown.length === 0) return "";
  // Errors are dangers: they stay.
  const errors = shown.filter(({ severity }) => severity === "error");
  const others = shown.filter(({ severity }) => severity !== "error");
  const listed = [...errors.slice(0, MOST_ALIKE), ...others.slice(0, detail.rows)];
  return [
    "### What the engine says",
    [...listed.map(problemLine), ...rest(shown.length - listed.length, "message")].join("\n"),
  ].join("\n\n");
}

const MOST_MESSAGE = 400;

function problemLine({ severity, message, urn }: Diagnostic): string {
  return `- ${severity === "error" ? "**error**" : code(severity)}${urn ? ` ${code(nameOf(urn))}` : ""}: ${code(short(message.trim()))}`;
}

function short(text: string): string {
  return text.length > MOST_MESSAGE ? `${text.slice(0, MOST_MESSAGE)}…` : text;
}

function rest(number: number, noun: string): string[] {
  return number > 0 ? [`- … and ${plural(number, noun)} more`] : [];
}

function unknowns(changes: readonly Change[], detail: Detail): string {
  // What is to be created has a great many: ids that its provider gives.
  const unknown = changes.filter(({ op, unknown: paths }) => op !== "create" && paths.length > 0);
  if (unknown.length === 0) return "";
  return [
    "### Not known before `up`",
    "These change to values that this preview does not have.",
    [
      ...unknown
        .slice(0, detail.rows)
        .map(({ name, unknown: paths }) => `- ${code(name)}: ${paths.map(code).join(", ")}`),
      ...rest(unknown.length - detail.rows, "resource"),
    ].join("\n"),
  ].join("\n\n");
}

// ---- What changes, as texts -------------------------------------------------------------------------------------

interface Group {
  readonly component: string;
  readonly what: string;
  readonly label: string;
  readonly diff: Diff;
  /** Of the resources with the very same diff; the resource's own name for what is not on a host. */
  readonly where: string[];
  readonly created: boolean;
}

function groupsOf(changes: readonly Change[]): Group[] {
  const groups = new Map<string, Group>();
  for (const change of changes) {
    for (const { label, diff } of change.texts) {
      const created = change.op === "create";
      const key = [change.component, change.what, label, created, ...diff.lines].join("\0");
      const group = groups.get(key) ?? {
        ...{ component: change.component, what: change.what, label, diff, created },
        where: [],
      };
      group.where.push(change.host ?? change.name);
      groups.set(key, group);
    }
  }
  // What is changed says more than what is new.
  return [...groups.values()].sort(
    (a, b) => Number(a.created) - Number(b.created) || compare(a.component, b.component),
  );
}

function changedText(changes: readonly Change[], detail: Detail): string {
  const components = [...new Set(changes.map(({ component }) => component))].sort();
  const groups = groupsOf(changes);
  const parts = components.flatMap((component) => {
    const own = groups.filter((group) => group.component === component);
    const secrets = secretLines(
      changes.filter((change) => change.component === component),
      detail,
    );
    if (own.length === 0 && secrets.length === 0) return [];
    return [
      [
        `#### ${code(component)}`,
        ...(secrets.length ? [secrets.join("\n")] : []),
        ...own.slice(0, detail.rows).map((group) => groupText(group, detail)),
        ...rest(own.length - detail.rows, "changed text"),
      ].join("\n\n"),
    ];
  });
  return parts.length ? ["### What changes", ...parts].join("\n\n") : "";
}

function groupText({ created, diff, label, what, where }: Group, detail: Detail): string {
  const size = `+${diff.added} −${diff.removed}`;
  const hosts = where.slice(0, detail.hosts).join(", ");
  const more = where.length > detail.hosts ? ` and ${where.length - detail.hosts} more` : "";
  const head = `${label} (${created ? "new, " : ""}${what}; ${size}) on ${hosts}${more}`;
  if (detail.lines === 0) return `- ${code(head)}`;
  // A wide line counts as several.
  const { shown, hidden } = cut(diff.lines, detail.lines);
  return [
    `<details${created ? "" : " open"}><summary>${html(head)}</summary>`,
    fenced([...shown, ...(hidden ? [`… ${hidden} more lines`] : [])], "diff"),
    "</details>",
  ].join("\n\n");
}

const WIDTH = 200;

function cut(lines: readonly string[], most: number): { shown: string[]; hidden: number } {
  const shown: string[] = [];
  let used = 0;
  for (const line of lines) {
    const space = most - used;
    if (space <= 0) break;
    const room = space * WIDTH;
    shown.push(
      line.length > room ? `${line.slice(0, room)}… (${line.length - room} more characters)` : line,
    );
    used += Math.max(1, Math.ceil(line.length / WIDTH));
  }
  return { shown, hidden: lines.length - shown.length };
}

/** By version, never by value. */
function secretLines(changes: readonly Change[], detail: Detail): string[] {
  const lines = new Map<string, string[]>();
  const add = (text: string, where: string): void => {
    lines.set(text, [...(lines.get(text) ?? []), where]);
  };
  for (const change of changes) {
    const where = change.host ?? change.name;
    for (const secret of change.secrets)
      add(`secret ${code(secret.name)}: ${versions(secret)}, used by ${change.what}`, where);
    for (const input of change.blinded) {
      if (change.op === "update")
        add(`a secret in ${code(input)} of ${change.what} changes; its value is not shown`, where);
    }
  }
  return [
    ...[...lines]
      .slice(0, detail.rows)
      .map(([text, where]) => `- ${text}: ${hostList(where, detail)}`),
    ...rest(lines.size - detail.rows, "secret"),
  ];
}

function versions({ from, to }: SecretChange): string {
  if (from === undefined) return `new, version ${to ?? "?"}`;
  if (to === undefined) return `no longer used (was version ${from})`;
  return `version ${from} to ${to}`;
}

// ---- All of it --------------------------------------------------------------------------------------------------

/** Every resource that changes, none left out: by operation and name, with its hosts. */
function resourceList(changes: readonly Change[], detail: Detail): string {
  if (changes.length === 0) return "";
  const rows = new Map<string, { op: string; name: string; hosts: string[] }>();
  for (const { component, host, name, op, what } of changes) {
    const key = host === undefined ? name : component === what ? what : `${component}-${what}`;
    const row = rows.get(`${op}\0${key}`) ?? { op, name: key, hosts: [] };
    if (host !== undefined) row.hosts.push(host);
    rows.set(`${op}\0${key}`, row);
  }
  const lines = [...rows.values()].map(
    ({ hosts, name, op }) =>
      `- ${op} ${code(name)}${hosts.length ? ` on ${hostList(hosts, detail)}` : ""}`,
  );
  const shown = lines.slice(0, detail.rows);
  return [
    "### All changed resources",
    `<details><summary>${plural(changes.length, "resource")}</summary>`,
    [...shown, ...rest(lines.length - shown.length, "group")].join("\n"),
    "</details>",
  ].join("\n\n");
}

function cutNote({ lines, rows }: Detail): string {
  const what = [
    lines === 0 ? "diffs are left out" : lines < Infinity ? `diffs end after ${lines} lines` : "",
    rows < Infinity ? `lists after ${rows} entries` : "",
  ].filter(Boolean);
  return `_Cut to fit into a comment: ${what.join(", ")}. Counts and dangers are complete; the whole is in ${code("pulumi preview --diff")}._`;
}
