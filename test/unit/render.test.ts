import * as fs from "node:fs";
import * as path from "node:path";
import test from "ava";
import { jsonSchema, type JsonSchema } from "../../config/schema";
import { ini, lines } from "../../components/render";
import { sortedJson } from "../../components/step";
import type { Options } from "../fixtures/config/fixtures";
import { clouds, five } from "./support/clouds";
import { planOf, stepsOf, type Document, type Planned } from "./support/plan";
import { filesOf, filesOn, hostsOf, labSpecs, type RenderedFile } from "./support/rendered";
import { matchFolder } from "./support/snapshots";

// Every text that the program writes for a host, as plain files under snapshots/, for two clouds. The daemons' own
// checkers are asked about the same texts in checkers.test.ts.

const plans = new Map<string, Planned>();

test.before(async () => {
  for (const { name, stack, options } of clouds) {
    plans.set(name, await planOf(options, { stack }));
  }
});

for (const { name } of clouds) {
  test(`${name}: every rendered text is as reviewed`, (t) => {
    const plan = plans.get(name)!;
    matchFolder(
      t,
      name,
      new Map([
        ["FILES.txt", fileTable(plan)],
        ["STEPS.txt", stepTable(plan)],
        ...fileTexts(plan),
        ...clusterTexts(plan),
        ...labTexts(plan),
      ]),
    );
  });

  test(`${name}: files end with a newline, and have no trailing space and no undefined value`, (t) => {
    for (const { path: file, host, content } of filesOf(plans.get(name)!)) {
      // A key file is its secret and nothing else.
      if (/^\$\{secret:[a-z0-9-]+\}$/.test(content)) continue;
      t.true(content.endsWith("\n"), `${host}:${file}`);
      t.false(/[ \t]$/m.test(content), `${host}:${file} has a trailing space`);
      t.notRegex(content, /undefined|\bNaN\b|\[object/, `${host}:${file}`);
    }
  });

  test(`${name}: no file that names a secret can be read by everyone`, (t) => {
    for (const { path: file, host, content, mode = "0644" } of filesOf(plans.get(name)!)) {
      if (content.includes("${secret:")) {
        t.is(Number.parseInt(mode, 8) & 0o007, 0, `${host}:${file} has mode ${mode}`);
      }
    }
  });

  test(`${name}: each file is written by one step a host`, (t) => {
    for (const host of hostsOf(plans.get(name)!)) {
      const files = filesOf(plans.get(name)!).filter((file) => file.host === host);
      t.is(new Set(files.map((file) => file.path)).size, files.length, host);
      t.is(filesOn(plans.get(name)!, host).size, files.length);
    }
  });
}

test("the cloud of five sets every option there is, and none to its default", (t) => {
  const same: string[] = [];
  visit(jsonSchema(), five.options, "", same);
  // The rest is about what a stack is, or is secret.
  t.deepEqual(same, ["backend", "seed", "secrets"]);
});

/** Collects the options that are missing, or as they are by default. */
function visit(schema: JsonSchema, value: unknown, at: string, same: string[]): void {
  if (schema.properties && at !== "hosts") {
    for (const [name, inner] of Object.entries(schema.properties)) {
      visit(
        inner,
        (value as Options | undefined)?.[name],
        at === "" ? name : `${at}.${name}`,
        same,
      );
    }
    return;
  }
  // Not every network has a router.
  if (/^networks\.(tunnel|storage)\.gateway$/.test(at)) return;
  if (value === undefined || value === schema.default) same.push(at);
}

// ---- The formats that every service shares ------------------------------------------------------------------

test("ini: sections in the order given, options sorted", (t) => {
  t.is(
    ini({ zeta: { b: 2, a: "text", c: true }, alpha: {} }),
    "# Written by openstack-ha: a change made here is lost at the next `pulumi up`.\n\n" +
      "[zeta]\na = text\nb = 2\nc = true\n\n[alpha]\n",
  );
});

test("sortedJson: equal values are equal texts, however they were put together", (t) => {
  t.is(
    sortedJson({ b: [{ d: 1, c: 2 }, "z", "a"], a: { y: true, x: undefined } }),
    sortedJson({ a: { y: true }, b: [{ c: 2, d: 1 }, "z", "a"] }),
  );
  t.is(
    sortedJson({ b: 1, a: { d: 1, c: 2 } }),
    '{\n "a": {\n  "c": 2,\n  "d": 1\n },\n "b": 1\n}\n',
  );
});

test("lines: a heading, then the lines", (t) => {
  t.deepEqual(lines("a", "", "b").split("\n").slice(1), ["a", "", "b", ""]);
});

// ---- Texts of the snapshots -------------------------------------------------------------------------------------

/** A script for a host is not written twice into the repository. */
const sources = new Map(
  fs
    .readdirSync(path.join(__dirname, "../../scripts"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((file) => [
      fs.readFileSync(file, "utf8"),
      path.relative(path.join(__dirname, "../.."), file),
    ]),
);

/** One line a file: who has it, mode, owner, which step writes it, who checks it. */
function fileTable(plan: Planned): string {
  const rows = new Map<string, string[]>();
  for (const file of filesOf(plan)) {
    const source = sources.get(file.content);
    const row = [
      file.mode ?? "0644",
      `${file.owner ?? "root"}:${file.group ?? "root"}`.padEnd(19),
      file.path,
      `by ${file.step}`,
      ...(file.validate ? [`checked by: ${file.validate.join(" ")}`] : []),
      ...(source === undefined ? [] : [`is ${source}`]),
    ].join("  ");
    rows.set(row, [...(rows.get(row) ?? []), file.host]);
  }
  const all = hostsOf(plan).length;
  return `${[...rows]
    .map(([row, hosts]) => `${row}  on ${hosts.length === all ? "every host" : hosts.join(" ")}`)
    .sort((a, b) => (pathIn(a) < pathIn(b) ? -1 : 1))
    .join("\n")}\n`;
}

function pathIn(row: string): string {
  return /\/\S+/.exec(row)![0];
}

/** The texts: once where all hosts that have the file have the same. */
function fileTexts(plan: Planned): [string, string][] {
  const byPath = new Map<string, RenderedFile[]>();
  for (const file of filesOf(plan)) {
    byPath.set(file.path, [...(byPath.get(file.path) ?? []), file]);
  }
  return [...byPath.values()].flatMap((files): [string, string][] => {
    const kept = files.filter((file) => !sources.has(file.content));
    const alike = new Set(files.map((file) => file.content)).size === 1;
    return (alike ? kept.slice(0, 1) : kept).map((file) => [
      `${alike ? "hosts-alike" : file.host}${asText(file.path)}`,
      file.content,
    ]);
  });
}

/** No tool shall take a snapshot for a program. */
function asText(file: string): string {
  return path.extname(file) === "" ? `${file}.txt` : file;
}

/** What the cluster is told, which is a parameter and not a file. */
function clusterTexts(plan: Planned): [string, string][] {
  const { params } = stepsOf(plan).find(
    ({ document: { step } }) => step.service === "pacemaker" && step.stage === "bootstrap",
  )!.document;
  return Object.entries(params as Record<string, string | string[]>).map(([name, value]) =>
    typeof value === "string"
      ? [`cluster/${name}.xml`, value]
      : [`cluster/${name}.txt`, `${value.join("\n")}\n`],
  );
}

/** All of a step but files and script, which are elsewhere; those of a host like those of the first are left out. */
function stepTable(plan: Planned): string {
  const [first, ...others] = hostsOf(plan);
  const summary = ({ step, params = {}, directories, absent, secrets, files }: Document): string =>
    [
      `${step.service}-${step.stage}  timeout ${step.timeout} s`,
      ...(files ? [`  files: ${Object.keys(files).join(" ")}`] : []),
      ...Object.entries(directories ?? {}).map(
        ([name, spec]) => `  directory ${name} ${JSON.stringify(spec)}`,
      ),
      ...(absent ? [`  absent: ${absent.join(" ")}`] : []),
      ...(secrets ? [`  secrets: ${JSON.stringify(secrets)}`] : []),
      ...Object.entries(params)
        .filter(([, value]) => !String(value).includes("\n"))
        .map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`),
    ].join("\n");
  const on = (host: string): string[] =>
    stepsOf(plan)
      .filter(({ document }) => document.step.host === host)
      .map(({ document }) => summary(document))
      .sort();
  const known = new Set(on(first!));
  return [
    `# on ${first!}`,
    ...known,
    ...others.flatMap((host) => [
      `# on ${host}, where it is not the same`,
      ...on(host).filter((text) => !known.has(text)),
    ]),
    "",
  ].join("\n\n");
}

/** What the lab is told. Of images, the list of steps: their content is in STEPS.txt. */
function labTexts(plan: Planned): [string, string][] {
  return [...labSpecs(plan)].map(([name, spec]) => {
    const shown =
      "steps" in spec
        ? {
            ...spec,
            runner: { path: (spec.runner as { path: string }).path },
            steps: (spec.steps as { name: string; stdin: string }[]).map((step) => ({
              name: step.name,
              params: (JSON.parse(step.stdin) as Document).params,
            })),
          }
        : spec;
    return [`lab/${name}.json`, `${JSON.stringify(shown, null, 2)}\n`];
  });
}
