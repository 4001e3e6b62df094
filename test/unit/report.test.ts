import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import test from "ava";
import fc from "fast-check";
import { SERVICES } from "../../catalogue";
import { sortedJson } from "../../components/step";
import { closest } from "../../tools/explain";
import { between, readOptions } from "../../tools/report";
import { changesOf } from "../../tools/report/changes";
import { eventsOf, isFor } from "../../tools/report/events";
import { LEAST_LIMIT, report } from "../../tools/report/markdown";
import { BLINDED, type Inputs, parsePlan, type Plan, type PlanStep } from "../../tools/report/plan";
import { withoutSecrets } from "../../tools/report/room";
import { verdictOn } from "../../tools/report/rules";
import { code, diffLines, fenced, html, unifiedDiff } from "../../tools/report/text";
import { type Options, parsedCloud, set } from "../fixtures/config/fixtures";
import { development } from "./support/clouds";
import { inspect, planOf, stepsOf } from "./support/plan";

// The report of a preview by itself: texts, order, limits. What it says of real plans is in test/engine/report.test.ts.

const URN = "urn:pulumi:dev::openstack-ha::openstack-ha:ha:Haproxy$command:remote:Command::";
const STACK = { stack: "dev" };

interface Wanted {
  readonly service?: string;
  readonly stage?: string;
  readonly files?: Record<string, { content: string }>;
  readonly params?: Record<string, unknown>;
  readonly secrets?: Record<string, number>;
}

function state(
  name: string,
  host: string,
  wanted: Wanted,
  dependencies: readonly string[] = [],
): PlanStep["newState"] {
  const { service = "haproxy", stage = "configure", ...content } = wanted;
  return {
    urn: URN + name,
    type: "command:remote:Command",
    parent: `urn:pulumi:dev::openstack-ha::openstack-ha:ha:Haproxy::${service}`,
    dependencies: dependencies.map((each) => URN + each),
    inputs: {
      connection: "[secret]",
      create: "/usr/local/sbin/openstack-ha-step",
      stdin: sortedJson({ ...content, step: { service, stage, host, timeout: 300 } }),
    },
  };
}

function update(
  host: string,
  before: Wanted,
  after: Wanted,
  dependencies: readonly string[] = [],
): PlanStep {
  const name = `${after.service ?? "haproxy"}-${after.stage ?? "configure"}-${host}`;
  return {
    op: "update",
    urn: URN + name,
    oldState: state(name, host, before)!,
    newState: state(name, host, after, dependencies)!,
    diffReasons: ["stdin"],
  };
}

const file = (content: string, path = "/etc/haproxy/haproxy.cfg"): Wanted => ({
  files: { [path]: { content } },
});

// ---- Diffs ------------------------------------------------------------------------------------------------------

const texts = fc
  .array(fc.constantFrom("a", "b", "c", "`", ""))
  .map((lines) => lines.map((line) => `${line}\n`).join(""));

test("a diff leads from one text to the other, and keeps what it can", (t) => {
  fc.assert(
    fc.property(texts, texts, (before, after) => {
      const lines = diffLines(before, after);
      const side = (mark: string): string =>
        lines
          .filter(([each]) => each === " " || each === mark)
          .map(([, line]) => `${line}\n`)
          .join("");
      return side("-") === before && side("+") === after;
    }),
  );
  t.is(unifiedDiff("a\n", "a\n"), undefined);
  t.deepEqual(unifiedDiff("1\n2\n3\n4\n5\n", "1\n2\n3\n4\nfive\n"), {
    lines: ["@@ -2,4 +2,4 @@", " 2", " 3", " 4", "-5", "+five"],
    added: 1,
    removed: 1,
  });
  t.deepEqual(unifiedDiff("", "a\n")?.lines, ["@@ -0,0 +1,1 @@", "+a"]);
  t.deepEqual(unifiedDiff("a\n", "a")?.lines, [
    "@@ -1,1 +1,1 @@",
    "-a",
    "+a",
    "\\ No newline at end of file",
  ]);
});

// ---- Markdown ---------------------------------------------------------------------------------------------------

test("no text ends the block or the span that it is in", (t) => {
  const block = fenced(["a", "```", "````js"], "diff").split("\n");
  t.is(block[0], "`````diff");
  t.is(block.at(-1), "`````");
  t.is(code("a`b``c"), "```a`b``c```");
  t.is(code("`"), "`` ` ``");
  t.is(code("a|b\nc"), "`a\\|b c`");
  t.is(code("a\u202eb\u001b[1m"), "`a\\u202eb\\u001b[1m`");
  t.is(
    html("<b>@all [x](http://y) *z* _w_"),
    "&#60;b&#62;&#64;all &#91;x&#93;(http&#58;//y) &#42;z&#42; &#95;w&#95;",
  );
});

test("what a host or a file says stays text", (t) => {
  const nasty = "```\n</details>\n<img src=x>\n@everyone\n";
  const text = report({ steps: [update("ctl1", file(""), file(nasty, "/etc/<b>`x`"))] }, STACK);
  const outside = text
    .replaceAll(/^(`{3,}).*\n[\s\S]*?^\1$/gm, "")
    .replaceAll(/(`+)[^`][\s\S]*?\1/g, "");
  t.notRegex(outside, /<img|@everyone|<b>/);
});

// ---- What is said -----------------------------------------------------------------------------------------------

test("equal diffs of several hosts are one; another one is another", (t) => {
  const text = report(
    {
      steps: [
        update("ctl1", file("fall 2\n"), file("fall 3\n")),
        update("ctl2", file("fall 2\n"), file("fall 3\n")),
        update("ctl3", file("fall 2\n"), file("fall 4\n")),
      ],
    },
    STACK,
  );
  t.is(text.match(/^\+fall 3$/gm)?.length, 1);
  t.is(text.match(/^\+fall 4$/gm)?.length, 1);
  t.regex(text, /on ctl1, ctl2<\/summary>/);
});

test("a start step takes up what has changed of its files, and nothing else", (t) => {
  const start = (host: string): PlanStep =>
    update(
      host,
      { service: "keystone", stage: "start" },
      { service: "keystone", stage: "start", params: { x: 1 } },
      [`keystone-configure-${host}`],
    );
  const configure = (path: string): PlanStep =>
    update(
      "ctl1",
      { service: "keystone", ...file("a", path) },
      { service: "keystone", ...file("b", path) },
    );
  const events = (path: string): string[] =>
    eventsOf({ steps: [configure(path), start("ctl1")] }).map(({ how, what }) => `${what} ${how}`);
  t.deepEqual(events("/etc/keystone/keystone.conf"), ["Keystone reloads"]);
  t.deepEqual(events("/etc/systemd/system/keystone.service.d/openstack-ha.conf"), [
    "Keystone restarts",
  ]);
  t.deepEqual(events("/etc/keystone/fernet-keys/1"), []);
});

test("more controllers: Galera goes on, and restarts for whatever else changes", (t) => {
  const galera = (members: string, log = "/var/log/mysql/error.log"): string =>
    `<primitive id="galera" type="galera"><instance_attributes id="galera-attributes">
      <nvpair id="a" name="cluster_host_map" value="${members}"/>
      <nvpair id="b" name="log" value="${log}"/>
      <nvpair id="c" name="wsrep_cluster_address" value="gcomm://${members}"/>
    </instance_attributes></primitive>`;
  const conf = (members: string, buffers = "64M"): Wanted => ({
    service: "mariadb",
    ...file(
      `innodb_buffer_pool_size = ${buffers}\nwsrep_cluster_address = gcomm://${members}\n`,
      "/etc/mysql/mariadb.conf.d/90-openstack-ha.cnf",
    ),
  });
  const events = (before: [string, Wanted], after: [string, Wanted]): string[] => {
    const bootstrap = (resources: string): Wanted => ({
      service: "pacemaker",
      stage: "bootstrap",
      params: { resources },
    });
    const start = (x: number): Wanted => ({ service: "mariadb", stage: "start", params: { x } });
    return eventsOf({
      steps: [
        update("ctl1", bootstrap(before[0]), bootstrap(after[0])),
        update("ctl1", before[1], after[1]),
        update("ctl1", start(3), start(5)),
      ],
    })
      .map(({ what, how, apiCallsMayFail }) => `${what} ${how}${apiCallsMayFail ? "!" : ""}`)
      .sort();
  };
  t.deepEqual(events([galera("1,2,3"), conf("1,2,3")], [galera("1,2,3,4,5"), conf("1,2,3,4,5")]), [
    "galera is told who the members are",
  ]);
  t.deepEqual(
    events([galera("1,2,3"), conf("1,2,3")], [galera("1,2,3,4,5", "/x"), conf("1,2,3,4,5", "1G")]),
    ["MariaDB (by Pacemaker) restarts!", "galera restarts!"],
  );
});

test("a secret in a new version changes the files that it is in", (t) => {
  const conf = file("connection = ${secret:keystone-db}\n", "/etc/keystone/keystone.conf");
  const plan: Plan = {
    steps: [
      update(
        "ctl1",
        { service: "keystone", ...conf, secrets: { "keystone-db": 1 } },
        { service: "keystone", ...conf, secrets: { "keystone-db": 2 } },
      ),
      update(
        "ctl1",
        { service: "keystone", stage: "start" },
        { service: "keystone", stage: "start", params: { x: 1 } },
      ),
    ],
  };
  t.deepEqual(
    eventsOf(plan).map(({ how }) => how),
    ["reloads"],
  );
  t.regex(report(plan, STACK), /secret `keystone-db`: version 1 to 2, used by configure: `ctl1`/);
});

test("order follows what waits for what, through resources that do not change", (t) => {
  const same: PlanStep = {
    op: "same",
    urn: `${URN}between`,
    newState: state("between", "ctl1", {}, ["haproxy-start-ctl1"])!,
  };
  const steps = [
    update(
      "ctl1",
      { service: "rabbitmq", ...file("a", "/etc/rabbitmq/rabbitmq.conf") },
      { service: "rabbitmq", ...file("b", "/etc/rabbitmq/rabbitmq.conf") },
    ),
    update(
      "ctl1",
      { service: "rabbitmq", stage: "start" },
      { service: "rabbitmq", stage: "start", params: { x: 1 } },
      ["between"],
    ),
    same,
    update("ctl1", file("a"), file("b")),
    update("ctl1", { stage: "start" }, { stage: "start", params: { x: 1 } }),
  ];
  t.deepEqual(
    eventsOf({ steps }).map(({ order, what }) => [order, what]),
    [
      [1, "HAProxy"],
      [2, "RabbitMQ"],
    ],
  );
});

test("a replacement, a deletion, an operation nobody has heard of: each is said first", (t) => {
  const other = (op: string, name: string): PlanStep => ({
    op,
    urn: `urn:pulumi:dev::openstack-ha::openstack:networking/network:Network::${name}`,
    oldState: { urn: name, type: "openstack:networking/network:Network", inputs: { name: "a" } },
    ...(op === "delete"
      ? {}
      : {
          newState: {
            urn: name,
            type: "openstack:networking/network:Network",
            inputs: { name: "b" },
          },
        }),
    replaceReasons: ["name"],
  });
  const plan = {
    steps: [
      other("replace", "net"),
      other("create-replacement", "net"),
      other("delete-replaced", "net"),
      other("delete", "gone"),
      other("explode", "odd"),
    ],
  };
  t.is(changesOf(plan).length, 3);
  const text = report(plan, STACK);
  for (const row of [/`net` is replaced/, /`gone` is deleted/, /`odd` has the operation explode/]) {
    t.regex(text, row);
    t.true(text.search(row) < text.indexOf("### All changed resources"));
  }
});

/** What the engine plans for a virtual machine, and for a step and a setting that go with it. */
function machineSteps(op: string): PlanStep[] {
  const urn = "urn:pulumi:dev::openstack-ha::libvirt:index/domain:Domain::libvirt-domain-ctl1";
  const domain = { urn, type: "libvirt:index/domain:Domain", inputs: {} };
  const step = { ...state("haproxy-start-ctl1", "ctl1", { stage: "start" })!, deletedWith: urn };
  const size = "urn:pulumi:dev::openstack-ha::command:local:Command::libvirt-size-ctl1";
  return [
    { op, urn, oldState: domain, ...(op === "delete" ? {} : { newState: domain }) },
    { op, urn: step.urn, oldState: step, ...(op === "delete" ? {} : { newState: step }) },
    {
      ...{ op: op === "delete" ? op : "update", urn: size },
      oldState: { urn: size, type: "command:local:Command", inputs: {}, deletedWith: urn },
      ...(op === "delete"
        ? {}
        : { newState: { urn: size, type: "command:local:Command", inputs: {} } }),
    },
  ];
}

test("a virtual machine that is made anew or removed is told once, with all that goes with it", (t) => {
  const told = (op: string): string[] =>
    eventsOf({ steps: machineSteps(op) })
      .filter(({ destructive }) => destructive)
      .map(({ apiCallsMayFail, how, hosts, what }) =>
        [hosts?.join(), what, how, apiCallsMayFail].join(" "),
      );
  t.deepEqual(told("replace"), ["ctl1 the host with its root disk is made anew true"]);
  t.deepEqual(told("delete"), ["ctl1 the host with its disks is deleted true"]);
  t.true(
    eventsOf({ steps: machineSteps("replace") }).some(
      ({ destructive, how }) => !destructive && how === "changes in place",
    ),
  );
});

test("a step that leaves the plan while its host stays is said to be left as it is", (t) => {
  const { newState, ...step } = update("ctl1", {}, file("a"));
  const gone: PlanStep = { ...step, op: "delete", oldState: newState! };
  t.regex(report({ steps: [gone] }, STACK), /nothing is undone/);
});

test("values that are not known are named, and the resource is there", (t) => {
  const step = update("ctl1", file("a"), file("b"));
  const unknown: PlanStep = {
    ...step,
    newState: {
      ...step.newState!,
      inputs: { ...step.newState!.inputs, stdin: "04da6b54-80e4-46f7-96ec-b56ff0331ba9" },
    },
  };
  const text = report({ steps: [unknown] }, STACK);
  t.regex(text, /### Not known before `up`[\s\S]*`haproxy-configure-ctl1`: `stdin`/);
  t.regex(text, /- update `haproxy-configure` on `ctl1`/);
});

test("policies' words are there, errors first", (t) => {
  const text = report(
    {
      steps: [],
      diagnostics: [
        { severity: "warning", message: "advisory: quorum" },
        { severity: "error", message: "mandatory: VIP outside" },
      ],
    },
    STACK,
  );
  t.true(text.indexOf("mandatory: VIP outside") < text.indexOf("advisory: quorum"));
});

// ---- Limits -----------------------------------------------------------------------------------------------------

test("whatever the size: within the limit, with all dangers and counts", (t) => {
  const hosts = Array.from({ length: 600 }, (_, i) => `host-with-a-long-name-${i}`);
  const steps = hosts.flatMap((host, i) => [
    update(host, file(`old ${i}\n`.repeat(80)), file(`new ${i} \`\`\`\n`.repeat(80))),
    update(host, { stage: "start" }, { stage: "start", params: { x: 1 } }),
  ]);
  const gone = hosts.map((host): PlanStep => ({
    op: "delete",
    urn: `urn:pulumi:dev::openstack-ha::openstack:compute/flavor:Flavor::content-flavor-${host}`,
    oldState: { urn: host, type: "openstack:compute/flavor:Flavor", inputs: {} },
  }));
  for (const limit of [LEAST_LIMIT, 20_000, 60_000]) {
    const text = report({ steps: [...steps, ...gone] }, { ...STACK, limit });
    t.true(Buffer.byteLength(text) <= limit, `${Buffer.byteLength(text)} bytes`);
    t.regex(text, /1800 of 1800 resources change/);
    t.regex(text, /600 to delete, 1200 to update/);
    t.regex(text, /`HAProxy` reloads/);
    t.regex(text, /content-flavor-.* is deleted/);
    t.regex(text, /Cut to fit into a comment/);
  }
  const diagnostics = hosts.map((host) => ({
    severity: "error",
    message: `${host}: ${"no ".repeat(200)}`,
  }));
  const crowded = report(
    { steps: [...gone, ...steps], diagnostics },
    { ...STACK, limit: LEAST_LIMIT },
  );
  t.true(Buffer.byteLength(crowded) <= LEAST_LIMIT);
  t.regex(crowded, /`HAProxy` reloads/);
  const small = report({ steps: steps.slice(0, 2) }, STACK);
  t.notRegex(small, /Cut to fit/);
});

// ---- The catalogue ----------------------------------------------------------------------------------------------

test.serial(
  "what is said of a changed file covers every file that a start step looks at, and only such as there are",
  async (t) => {
    const steps = stepsOf(await planOf(development.options)).map(({ document }) => document);
    // Or taken away, where an option leaves it out.
    const written = new Set(
      steps.flatMap(({ absent = [], files = {} }) => [...Object.keys(files), ...absent]),
    );
    for (const { name, takeUp } of SERVICES) {
      for (const each of takeUp) {
        for (const pattern of each.files) {
          t.true(
            [...written].some((path) => isFor({ files: [pattern] }, path)),
            `${name}: ${pattern} is no file of the plan`,
          );
        }
        const stage = each.stage ?? "start";
        t.true(
          steps.some(({ step }) => step.service === name && step.stage === stage),
          `${name} has no ${stage}`,
        );
      }
      const read = steps.flatMap(({ params, step }) =>
        step.service === name && step.stage === "start" ? ((params?.files ?? []) as string[]) : [],
      );
      t.deepEqual(
        [...new Set(read)].filter((path) => !takeUp.some((each) => isFor(each, path))),
        [],
        `${name}: a change of these restarts it, and the catalogue does not say so`,
      );
    }
  },
);

// ---- Commands ---------------------------------------------------------------------------------------------------

test("a stack file loses what is encrypted, and nothing else", (t) => {
  const text = [
    "encryptionsalt: v1:abc",
    "config:",
    "  openstack-ha:region: RegionOne",
    "  openstack-ha:seed:",
    "    secure: v1:xyz",
    "  openstack-ha:secrets:",
    "    keystone-admin:",
    "      secure: v1:xyz",
    "  openstack-ha:hosts:",
    "    - {name: ctl1, id: 11}",
    "",
  ].join("\n");
  const left = withoutSecrets(text);
  // Nor a map that had nothing else: it would pass for one in clear.
  t.notRegex(left, /v1:|seed|secrets/);
  t.regex(left, /region: RegionOne/);
  t.regex(left, /name: ctl1/);
});

test("a base that is no checkout, or has no packages, is refused with what to do", async (t) => {
  await t.throwsAsync(between("dev", "/nonexistent"), {
    message: /git worktree add \/nonexistent/,
  });
  const base = fs.mkdtempSync(path.join(os.tmpdir(), "openstack-ha-base-"));
  t.teardown(() => {
    fs.rmSync(base, { recursive: true });
  });
  fs.writeFileSync(path.join(base, "Pulumi.yaml"), "");
  await t.throwsAsync(between("dev", base), { message: /run there: npm ci/ });
});

test("options and plans that are none are refused in one line", (t) => {
  t.deepEqual(readOptions(["--stack", "dev", "--limit", "9000"]), { stack: "dev", limit: "9000" });
  t.throws(() => readOptions(["--frist", "1"]), { message: /^--frist: wanted --stack/ });
  t.throws(() => readOptions(["--base"]), { message: /each with a value/ });
  t.throws(() => parsePlan("oops", "plan.json"), {
    message: /^plan\.json: wanted the JSON of a preview/,
  });
});

test("an unknown name gets the closest ones", (t) => {
  t.is(closest(["keystone", "glance", "nova", "nova-compute"], "keystoen")[0], "keystone");
  t.is(closest(["keystone", "glance", "nova-compute", "nova"], "nova-comptue")[0], "nova-compute");
});

// ---- What the rules say -----------------------------------------------------------------------------------------

/** A plan as pulumi prints it: without outputs, and with secrets blinded. */
async function printed(options: Options): Promise<Plan> {
  const { resources } = await planOf(options);
  return {
    steps: resources.map(({ inputs, name, type }) => ({
      op: "create",
      urn: `urn:pulumi:dev::openstack-ha::${type}::${name}`,
      newState: {
        urn: `urn:pulumi:dev::openstack-ha::${type}::${name}`,
        type,
        inputs: blinded(inspect(inputs)),
        customTimeouts: { create: 1440, update: 1440 },
      },
    })),
  };
}

/** What has a secret in it is blinded at the top, as pulumi does. */
function blinded({ value }: { value: unknown }): Inputs {
  const { connection, ...inputs } = value as Inputs;
  return connection === undefined ? inputs : { ...inputs, connection: BLINDED };
}

test.serial("a report has what the rules say, and who stops", async (t) => {
  const plan = await printed(development.options);
  const { hosts } = parsedCloud(development.options, "dev");
  const good = verdictOn(plan, hosts);
  t.deepEqual(good.broken, []);
  t.regex(
    report(plan, { stack: "dev", verdict: good }),
    /All \d+ rules of docs\/policies\.md are kept/,
  );

  const steps = plan.steps.map((step) => {
    const text = JSON.stringify(step).replaceAll(" on-marked-down shutdown-sessions", "");
    return JSON.parse(text) as (typeof plan.steps)[number];
  });
  const bad = verdictOn(
    { steps },
    hosts.map((host) => ({ ...host, failureDomain: host.name === "ctl3" ? "b" : "a" })),
  );
  t.deepEqual(
    [...new Set(bad.broken.map(({ rule, severity }) => `${severity} ${rule}`))],
    [
      "mandatory controllers-spread",
      "mandatory dead-sessions-are-cut",
      // The text alone was changed, and not the digest that a start step has of it.
      "mandatory start-follows-configuration",
      "advisory monitors-spread",
      "advisory copies-spread",
    ],
  );
  const text = report({ steps }, { stack: "dev", verdict: bad });
  t.regex(text, /\*\*`up` refuses this plan\*\*: \d+ violations of mandatory rules/);
  t.regex(text, /- \*\*mandatory\*\* `dead-sessions-are-cut`: `.*`/);
});

test.serial(
  "a host that is drained is said to be, and nothing of it to be forgotten",
  async (t) => {
    const drained = structuredClone(development.options);
    set(drained, "hosts[4].state", "drained");
    const before = (await printed(development.options)).steps;
    const after = new Map((await printed(drained)).steps.map((step) => [step.urn, step.newState]));
    const steps = before.map(({ urn, newState: oldState }) => {
      const newState = after.get(urn);
      const same = JSON.stringify(oldState) === JSON.stringify(newState);
      return newState === undefined
        ? { op: "delete", urn, oldState: oldState! }
        : { op: same ? "same" : "update", urn, oldState: oldState!, newState };
    });
    const text = report({ steps }, { stack: "dev" });
    t.regex(text, /\*\*the host is drained\*\*|the host.*is drained/);
    t.notRegex(text, /is left as it is/);
  },
);
