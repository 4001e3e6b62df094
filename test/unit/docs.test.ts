import * as fs from "node:fs";
import * as path from "node:path";
import test, { type ExecutionContext } from "ava";
import { SERVICES, type ServiceEntry } from "../../catalogue";
import { parseCloud } from "../../config";
import {
  changesTable,
  reasonsTable,
  servicesTable,
  timingsTable,
  withSections,
} from "../../tools/architecture";
import { policiesTables } from "../../tools/policies";
import { topologySvg } from "../../tools/topology";
import { AREAS } from "../../policy/rules";
import { project, readStackFile } from "../fixtures/config/fixtures";

// What the documents say of the program is still so. `UPDATE=1 npx ava test/unit/docs.test.ts` writes what is generated.

const ROOT = path.join(__dirname, "../..");
const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), "utf8");
const cloud = parseCloud(readStackFile("Pulumi.dev.yaml"), { project, stack: "dev" });

const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...fs
    .readdirSync(path.join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => path.join("docs", file))
    .sort(),
];

function isCurrent(t: ExecutionContext, file: string, content: string): void {
  if (process.env.UPDATE === "1") fs.writeFileSync(path.join(ROOT, file), content);
  t.is(content, read(file), `${file} is stale: UPDATE=1 npx ava test/unit/docs.test.ts`);
}

// ---- What is generated ------------------------------------------------------------------------------------------

test("the tables of docs/architecture.md are those of the catalogue and of the dev stack", (t) => {
  const file = "docs/architecture.md";
  const sections = {
    services: servicesTable(SERVICES),
    reasons: reasonsTable(SERVICES),
    changes: changesTable(SERVICES),
    timings: timingsTable(cloud),
  };
  isCurrent(t, file, withSections(read(file), sections));
});

test("the tables of docs/policies.md are those of the policy pack", (t) => {
  const file = "docs/policies.md";
  isCurrent(t, file, withSections(read(file), { policies: policiesTables(AREAS) }));
});

test("docs/topology.svg shows the dev stack", (t) => {
  isCurrent(t, "docs/topology.svg", topologySvg(cloud));
});

test("a table has a row for each service, and cells that are no Markdown of their own", (t) => {
  const entry: ServiceEntry = {
    ...(SERVICES[0] as ServiceEntry),
    name: "one",
    roles: ["controller", "network"],
    why: "this | that",
    ports: [
      { port: 80, protocol: "tcp", purpose: "web" },
      { port: 81, protocol: "udp", purpose: "other" },
    ],
    frontends: [{ name: "one", port: 80, vips: ["internal", "public"], mode: "http", check: "/" }],
  };
  const balancer: ServiceEntry = { ...entry, name: "haproxy", ports: [] };
  Reflect.deleteProperty(balancer, "frontends");
  const rows = servicesTable([entry, balancer]).split("\n");
  t.is(rows.length, 4);
  t.true(rows[2]?.includes("| **one** | controller, network |"));
  t.true(
    rows[2]?.endsWith("| 80/tcp web, behind the internal and public VIPs<br>81/udp other |"),
    rows[2],
  );
  t.true(rows[3]?.endsWith("| 80/tcp one, on the internal and public VIPs |"), rows[3]);
  t.true(reasonsTable([entry]).includes("| this \\| that |"));
});

test("times follow from the options", (t) => {
  const row = (options: object, first: string): string =>
    timingsTable({ ...cloud, ...options })
      .split("\n")
      .find((line) => line.includes(first)) ?? "";
  const slow = row({ corosync: { token: 1000, tokenCoefficient: 650 } }, "corosync.token");
  t.regex(slow, /1000 ms, 650 ms .* after 1650 ms .* 3\.6 s/);
  t.regex(row({ rabbitmq: { ...cloud.rabbitmq, netTickSeconds: 60 } }, "netTick"), /45–75 s/);
});

test("sections are replaced between their marks, and must be there", (t) => {
  const marked = "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nz\n";
  const once = withSections(marked, { x: "new" });
  t.is(once, "a\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\nz\n");
  t.is(withSections(once, { x: "new" }), once);
  t.throws(() => withSections(marked, { y: "new" }), { message: /generated: y/ });
});

// ---- What is written by hand ------------------------------------------------------------------------------------

test("links lead to files that are there", (t) => {
  for (const document of documents) {
    for (const [, target = ""] of read(document).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      t.true(
        fs.existsSync(path.join(ROOT, path.dirname(document), target)),
        `${document}: ${target}`,
      );
    }
  }
});

test("files that are named are there", (t) => {
  const folders = "bench|components|config|docs|policy|scripts|test|tools|toolchain";
  const name = new RegExp(`\`((?:${folders})/[\\w./-]+|[\\w-]+\\.ts)\``, "g");
  for (const document of documents) {
    for (const [, file = ""] of read(document).matchAll(name)) {
      t.true(fs.existsSync(path.join(ROOT, file)), `${document}: ${file}`);
    }
  }
});

test("npm scripts that are named are there", (t) => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  for (const document of documents) {
    for (const [, script = ""] of read(document).matchAll(/npm run ([a-z]+(?:[:-][a-z]+)*)/g)) {
      t.true(script in scripts, `${document}: npm run ${script}`);
    }
  }
});

test("decisions are numbered without a gap, have their three parts, and are listed", (t) => {
  const files = documents.filter((file) => file.startsWith("docs/decisions/"));
  const listed = read("docs/architecture.md");
  files.forEach((file, i) => {
    const number = String(i + 1).padStart(4, "0");
    t.true(path.basename(file).startsWith(`${number}-`), file);
    const text = read(file);
    t.true(text.startsWith(`# ${number} `), `${file}: its title`);
    t.deepEqual(
      [...text.matchAll(/^## (.*)$/gm)].map((match) => match[1]),
      ["Context", "Decision", "Consequences"],
      file,
    );
    t.true(listed.includes(`](decisions/${path.basename(file)})`), `${file} is not listed`);
  });
  t.true(files.length > 0);
});
